"""Patch-seq of mouse motor cortex (Scala et al. 2020): the paper's data set, its warm cohort, their ion channels."""

import io
import zipfile
from typing import Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_choice, check_unique, preview
from sbnn._hints import PathLike
from sbnn.data.count_tables import CountTable, read_counts, require_columns, require_same_cells, rows_of, standardise
from sbnn.data.paired_data import PairedData
from sbnn.data.sources import find_file, locate
from sbnn.data.variable_genes import select_variable_genes

#: Cells that the paper leaves out, and why (column "Exclusion reasons" of the metadata).
EXCLUDED_CELLS = {
    "20180315sample6": "fast-spiking firing but excitatory RNA",
    "20181116sample10": "fast-spiking firing but excitatory RNA",
    "20190325sample2": "fast-spiking firing but excitatory RNA",
    "20180321sample4": "Martinotti firing and morphology but excitatory RNA",
    "20190611sample1": "L1 firing and morphology but excitatory RNA",
    "20190611sample11": "L1 firing and morphology but excitatory RNA",
    "20190704sample2": "outside of M1",
}


class Feature(NamedTuple):
    """A column of the laboratory's feature tables: its short name, its unit, whether it is log-transformed."""

    short_name: str
    unit: str | None
    log: bool = False


#: The 16 features of the paper. The other 12 of the table are left out: mostly zero, skewed, full of outliers
#: (Latency), with too many missing values, or correlated with one that is kept.
SCALA_FEATURES = {
    "AP amplitude (mV)": Feature("AP amp", "mV"),
    "AP amplitude adaptation index": Feature("AP amp adapt", None),
    "AP coefficient of variation": Feature("AP amp CV", "log", log=True),
    "AP threshold (mV)": Feature("AP thresh", "mV"),
    "AP width (ms)": Feature("AP width", "ms"),
    "Afterhyperpolarization (mV)": Feature("AHP", "mV"),
    "ISI adaptation index": Feature("AI", "log", log=True),
    "ISI coefficient of variation": Feature("ISI CV", "log", log=True),
    "Input resistance (MOhm)": Feature("R_input", "MOhm"),
    "Max number of APs": Feature("Max AP num", None),
    "Membrane time constant (ms)": Feature("Tau", "ms"),
    "Rebound (mV)": Feature("Rebound", "mV"),
    "Resting membrane potential (mV)": Feature("V_rest", "mV"),
    "Rheobase (pA)": Feature("Rheobase", "pA"),
    "Sag ratio": Feature("Sag", None),
    "Upstroke-to-downstroke ratio": Feature("UDR", None),
}

#: Parts of type and family names of the cohort at 33-34 C -> what the paper calls the same neurons.
PAPER_NAMES = {"ET": "PT"}
#: The family names of the metadata -> their names in the Allen Institute's table of colours.
_FAMILY_SUBCLASS = {"IT": "L5 IT", "CT": "L6 CT", "PT": "L5 ET", "NP": "L5/6 NP"}

#: The cohorts: recorded at room temperature (the paper's), and at 33-34 C.
COHORTS = ("scala_2020", "scala_2020_phys_temp")
#: Suffix of the data sets whose genes are ion channels rather than the most variable genes.
ION_CHANNELS = "_ion_channels"
#: Suffix of the data set with further genes (`sbnn.data.published.scala_wide`).
WIDE = "_wide"
#: Reads in one cell above which a gene counts as detected.
DETECTION_THRESHOLD = 30
N_VARIABLE_GENES = 1000
#: Reads over all cells of a table that an ion-channel gene needs.
MIN_ION_CHANNEL_READS = 10
FULL_TABLE_GENES = 42184
_FULL_TABLE = "scala_2020/final_patch_seq_allcells_exon_allreads"
_PHYS_TEMP = "scala_2020_phys_temp/m1_patchseq_phys_temp_"
_GO_LIST = "GO_term_summary_20211104_075621.txt"


def load_scala(name: str, data_dir: PathLike | None = None) -> PairedData:
    """Load one of the laboratory's data sets.

    Kept: cells with counts, a transcriptomic type and all 16 features of SCALA_FEATURES; left out: EXCLUDED_CELLS,
    for the reasons given there. Cells keep the order of the table of features: the paper's folds depend on it.

    Genes of a cohort: the 1000 most variable ones (detection above 30 reads). For scala_2020 they are chosen from
    its table of 42184 genes if available; else the published selection, gene_counts.csv, is read. Genes of
    "..._ion_channels": see `ion_channel_genes`.

    Parameters
    ----------
    name : str
        A cohort of COHORTS, with or without the suffix "_ion_channels".
    data_dir : path-like, optional

    Returns
    -------
    PairedData
    """
    cohort = cohort_of(name)
    *_, features = select_cells(cohort, data_dir).values()
    if name == cohort:
        table = read_count_table(cohort, data_dir)
        genes = None
    else:
        table = read_count_table(cohort, data_dir, download=True)
        genes = ion_channel_genes(table, data_dir)
    if table is None:
        table = read_counts(find_file("scala_2020/gene_counts.csv", data_dir), cell_name=_short_cell_name)
        require_same_cells(table.cell_names, features.index, "gene_counts.csv", "Cell_Features_M1.csv")
        genes = np.ones(len(table.gene_names), dtype=bool)
    features = _with_counts(features, table, cohort)
    counts = rows_of(table, features.index)
    if genes is None:
        genes = select_variable_genes(counts, n_genes=N_VARIABLE_GENES, threshold=DETECTION_THRESHOLD)
    return pair_cells(name, counts[:, genes], table.gene_names[genes], features, data_dir)


def cohort_of(name: str) -> str:
    """Return the cohort of a data set: its name without the suffix "_ion_channels" or "_wide"."""
    return name.removesuffix(ION_CHANNELS).removesuffix(WIDE)


def _with_counts(features, table, cohort):
    """Leave out cells without counts: one cell of the warm cohort has none, all of the other cohort must have them."""
    found = features.index.isin(table.cell_names)
    if cohort == "scala_2020" and not found.all():
        raise ValueError(
            f"the table of all genes lacks cells of Cell_Features_M1.csv: {preview(features.index[~found])}"
        )
    return features[found]


def ion_channel_genes(table: CountTable, data_dir: PathLike | None = None) -> np.ndarray:
    """Find the ion-channel genes of a table: every symbol of the GO list with at least 10 reads over all its cells.

    The list is taken whole, without a filter on term or qualifier, as the paper did (427 of its symbols are in
    the table of scala_2020, 423 of them with enough reads).

    Parameters
    ----------
    table : CountTable
        Counts of all genes and cells.
    data_dir : path-like, optional

    Returns
    -------
    bool array, shape (n_genes,)
    """
    enough = np.asarray(table.counts.sum(axis=0)).ravel() >= MIN_ION_CHANNEL_READS
    return np.isin(table.gene_names, read_go_symbols(data_dir)) & enough


def read_go_symbols(data_dir: PathLike | None = None) -> list[str]:
    """Read the gene symbols of the GO list of ion channels.

    Its rows have one tab more than its header, so columns are found from the left, by the position of their name.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    list of str
        Unique, sorted.
    """
    path = find_file(_GO_LIST, data_dir)
    header, *rows = path.read_text().splitlines()
    columns = header.split("\t")
    if "Symbol" not in columns:
        raise ValueError(f"{path} lacks the column 'Symbol'; it has {preview(columns, 12)}")
    place = columns.index("Symbol")
    return sorted({fields[place] for row in rows if len(fields := row.split("\t")) > place})


def select_cells(name: str, data_dir: PathLike | None = None) -> dict[str, pd.DataFrame]:
    """Return the features of the cells that are left after each step of the selection, in order.

    Parameters
    ----------
    name : str
        A cohort.
    data_dir : path-like, optional

    Returns
    -------
    dict
        Step -> DataFrame (cells x features, log-transformed where the paper does so).
    """
    check_choice(name, COHORTS, "cohort")
    metadata = scala_metadata(name, data_dir)
    features = scala_features(name, data_dir)
    steps = {"features measured": features}
    features = features[~features.index.isin(list(EXCLUDED_CELLS))]
    steps["not excluded"] = features
    features = features.dropna()
    steps["no feature missing"] = features
    steps["with an RNA type"] = features[features.index.isin(metadata.index[metadata["RNA type"].notna()])]
    return steps


def pair_cells(
    name: str, counts: np.ndarray, gene_names: npt.ArrayLike, features: pd.DataFrame, data_dir: PathLike | None
) -> PairedData:
    """Combine counts (n_cells, n_genes), features (from `select_cells`) and metadata of the same cells, in order."""
    metadata = scala_metadata(cohort_of(name), data_dir).loc[features.index]
    types, families = paper_names(metadata["RNA type"]), paper_names(metadata["RNA family"])
    type_colors, family_colors = _read_colors(types, families, data_dir)
    return PairedData(
        **standardise(
            counts,
            features.to_numpy(np.float64),
            gene_names=gene_names,
            feature_names=features.columns,
            cell_names=features.index,
            feature_units=tuple(feature.unit for feature in SCALA_FEATURES.values()),
            cell_types=types,
            cell_families=families,
            type_colors=type_colors,
            family_colors=family_colors,
            donors=metadata["Mouse"].to_numpy(str),
            name=name,
        )
    )


def paper_names(names: npt.ArrayLike) -> np.ndarray:
    """Return types or families by their names in the paper: extratelencephalic (ET) are pyramidal tract (PT) neurons.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    str array
    """
    names = np.asarray(names, dtype=str)
    for other, name in PAPER_NAMES.items():
        names = np.char.replace(names, other, name)
    return names


def raw_scala_features(name: str = "scala_2020", data_dir: PathLike | None = None) -> pd.DataFrame:
    """Read the kept features as in the laboratory's table, before logarithms.

    Parameters
    ----------
    name : {"scala_2020", "scala_2020_phys_temp"}
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        One row per cell (all cells of the table), one column per feature, short names, units of SCALA_FEATURES.
    """
    if check_choice(name, COHORTS, "cohort") == "scala_2020":
        path = find_file("scala_2020/Cell_Features_M1.csv", data_dir)
        table = pd.read_csv(path, index_col=0)
        require_columns(table, ["name sample", *SCALA_FEATURES], path)
        cells = [_cell_of_recording(recording, path) for recording in table["name sample"]]
    else:
        path = find_file(_PHYS_TEMP + "ephys_features.csv", data_dir)
        table = pd.read_csv(path, index_col=0)
        require_columns(table, SCALA_FEATURES, path)
        cells = [_short_cell_name(cell) for cell in table.index]
    table = table[list(SCALA_FEATURES)]
    table.columns = [feature.short_name for feature in SCALA_FEATURES.values()]
    table.index = pd.Index(check_unique(cells, f"cells in {path.name}"), name="cell")
    return table


def scala_features(name: str = "scala_2020", data_dir: PathLike | None = None) -> pd.DataFrame:
    """Read the features with the paper's transformations: natural logarithms of the three skewed ones.

    Same arguments and shape as `raw_scala_features`; missing values stay NaN.
    """
    table = raw_scala_features(name, data_dir).astype(np.float64)
    for feature in SCALA_FEATURES.values():
        if feature.log:
            table[feature.short_name] = np.log(table[feature.short_name])
    return table.replace([np.inf, -np.inf], np.nan)


def scala_metadata(name: str = "scala_2020", data_dir: PathLike | None = None) -> pd.DataFrame:
    """Read types, families and donors of the laboratory's cells.

    Parameters
    ----------
    name : {"scala_2020", "scala_2020_phys_temp"}
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        Indexed by cell name; columns include `RNA type`, `RNA family` and `Mouse`.
    """
    check_choice(name, COHORTS, "cohort")
    file = "scala_2020/mini-atlas-meta-data.csv" if name == "scala_2020" else _PHYS_TEMP + "meta_data.csv"
    path = find_file(file, data_dir)
    table = pd.read_csv(path, sep="\t")
    require_columns(table, ["Cell", "RNA type", "RNA family", "Mouse"], path)
    cells = [_short_cell_name(cell) for cell in table["Cell"]]
    return table.set_index(pd.Index(check_unique(cells, f"cells in {path.name}"), name="cell"))


@overload
def read_count_table(name: str, data_dir: PathLike | None = None, *, download: Literal[True]) -> CountTable: ...


@overload
def read_count_table(name: str, data_dir: PathLike | None = None, download: bool = False) -> CountTable | None: ...


def read_count_table(name: str, data_dir: PathLike | None = None, download: bool = False) -> CountTable | None:
    """Read the counts of every gene.

    Parameters
    ----------
    name : str
        A cohort. The table of "scala_2020" (42184 genes, 1320 cells) is a large archive, read if it is in the data
        folder as .zip, or unpacked as .txt.
    data_dir : path-like, optional
    download : bool
        Download that archive if it is missing.

    Returns
    -------
    CountTable or None
        None if the archive of scala_2020 is missing.

    Raises
    ------
    ValueError
        The archive does not hold exactly one table, or the unpacked table is incomplete.
    FileNotFoundError
        The file is required and cannot be downloaded.
    """
    if check_choice(name, COHORTS, "cohort") == "scala_2020_phys_temp":
        return read_counts(find_file(_PHYS_TEMP + "exon_counts.csv.gz", data_dir), cell_name=_short_cell_name)
    unpacked = locate(_FULL_TABLE + ".txt", data_dir)
    archive = find_file(_FULL_TABLE + ".zip", data_dir, download=download and unpacked is None)
    if archive is not None:
        with zipfile.ZipFile(archive) as members:
            tables = [member for member in members.namelist() if member.endswith(".txt")]
            if len(tables) != 1:
                raise ValueError(f"{archive} should hold one .txt table, it holds {members.namelist()}")
            content = io.BytesIO(members.read(tables[0]))
        return read_counts(content, sep="\t", what=tables[0], cell_name=_short_cell_name)
    if unpacked is None:
        return None
    # No blob id is published for the unpacked table: a truncated one is recognised by its number of genes.
    table = read_counts(unpacked, sep="\t", cell_name=_short_cell_name)
    n_genes = len(table.gene_names)
    if n_genes != FULL_TABLE_GENES:
        raise ValueError(f"{unpacked} should hold {FULL_TABLE_GENES} genes, it holds {n_genes}: truncated?")
    return table


def _read_colors(types, families, data_dir):
    """Colours of types and families; the laboratory's PT is ET in the table of colours."""
    path = find_file("scala_2020/cluster.annotation.csv", data_dir)
    table = pd.read_csv(path)
    require_columns(table, ["cluster_label", "cluster_color", "subclass_label", "subclass_color"], path)
    by_type = dict(zip(table["cluster_label"], table["cluster_color"], strict=True))
    by_subclass = dict(zip(table["subclass_label"], table["subclass_color"], strict=True))
    type_colors = {name: by_type[name.replace("PT", "ET")] for name in np.unique(types).tolist()}
    family_colors = {name: by_subclass[_FAMILY_SUBCLASS.get(name, name)] for name in np.unique(families).tolist()}
    return type_colors, family_colors


def _short_cell_name(name):
    """'20171204_sample_2_more' and '20171204_sample_2' -> '20171204sample2'; short names stay."""
    parts = str(name).split("_")
    return "".join(parts[:3]) if len(parts) >= 3 else str(name)


def _cell_of_recording(path_of_recording, source):
    """'../09 18 2018 sample 1.mat' (month day year) -> '20180918sample1'."""
    words = str(path_of_recording).split("/")[-1].removesuffix(".mat").split()
    if len(words) != 5 or words[3] != "sample":
        raise ValueError(
            f"{source}: column 'name sample' should end in 'MM DD YYYY sample N.mat', got {path_of_recording!r}"
        )
    month, day, year, _, sample = words
    return f"{year}{month}{day}sample{sample}"
