"""The data sets of the paper, from the public files to PairedData."""

import io
import warnings
import zipfile
from typing import NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, check_unique, preview
from sbnn.paired_data import PairedData
from sbnn.preprocessing import Preprocessor, select_variable_genes
from sbnn.simulation import simulate_patchseq
from sbnn.sources import find_file, locate

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
    """A column of the laboratory's feature tables: its short name, its unit, whether logarithms are taken."""

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

#: The family names of the metadata, as the Allen Institute's table of colours calls them.
_FAMILY_SUBCLASS = {"IT": "L5 IT", "CT": "L6 CT", "PT": "L5 ET", "ET": "L5 ET", "NP": "L5/6 NP"}

_FULL_TABLE = "scala_2020/final_patch_seq_allcells_exon_allreads"
FULL_TABLE_GENES = 42184
_PHYS_TEMP = "scala_2020_phys_temp/m1_patchseq_phys_temp_"


class CountTable(NamedTuple):
    """Counts of a whole transcriptome, cells x genes."""

    counts: np.ndarray
    gene_names: np.ndarray
    cell_names: np.ndarray


def load_dataset(name, data_dir=None, drop_spike_ins=False):
    """Load a data set as the paper models it.

    Parameters
    ----------
    name : {"scala_2020", "scala_2020_phys_temp", "simulated"}
        "scala_2020": 1213 neurons of mouse motor cortex, 1000 genes, 16 features (Scala et al. 2020).
        "scala_2020_phys_temp": neurons of the same laboratory recorded at 33-34 C, same features, the 1000 genes
        most variable in them.
        "simulated": `simulate_patchseq()`, embedded, for trying things out.
    data_dir : path-like, optional
        Folder of the data; else $SBNN_DATA, else data/. Missing files are downloaded and verified.
    drop_spike_ins : bool
        Leave out the ERCC spike-ins, which are no genes; the paper kept the three among its 1000.

    Returns
    -------
    PairedData

    Raises
    ------
    ValueError
        Unknown name; or a file that is not the published one, or tables whose cells do not match.
    FileNotFoundError
        A file is missing and cannot be downloaded; says where to put it.
    """
    loaders = {
        "scala_2020": _load_scala_2020,
        "scala_2020_phys_temp": _load_phys_temp,
        "simulated": lambda data_dir: simulate_patchseq()[0],
    }
    data = loaders[check_choice(name, loaders, "dataset")](data_dir)
    return _without_spike_ins(data) if drop_spike_ins else data


def _without_spike_ins(data):
    """Leave out ERCC spike-ins and normalise again over the genes that remain."""
    genes = ~np.char.startswith(data.gene_names, "ERCC")
    counts = data.counts[:, genes]
    return _paired(
        counts,
        data.features,
        gene_names=data.gene_names[genes],
        feature_names=data.feature_names,
        **{
            key: getattr(data, key)
            for key in (
                "cell_names",
                "feature_units",
                "cell_types",
                "cell_families",
                "type_colors",
                "family_colors",
                "donors",
                "name",
            )
        },
    )


def _paired(counts, features, **names):
    """Normalise, z-score and wrap."""
    preprocessor = Preprocessor().fit(
        counts, features, gene_names=names["gene_names"], feature_names=names["feature_names"]
    )
    return PairedData(
        X=preprocessor.transform_genes(counts),
        Y=preprocessor.transform_features(features),
        counts=counts,
        features=features,
        **names,
    )


def _load_scala_2020(data_dir):
    """Cells in the order of Cell_Features_M1.csv: the paper's folds depend on it."""
    *_, features = _select_cells("scala_2020", data_dir).values()
    metadata = scala_metadata("scala_2020", data_dir)
    table = read_count_table("scala_2020", data_dir)
    if table is not None:
        missing = features.index[~features.index.isin(table.cell_names)]
        if len(missing):
            raise ValueError(f"the table of all genes lacks cells of Cell_Features_M1.csv: {preview(missing)}")
        counts = _rows_of(table, features.index)
        genes = select_variable_genes(counts, n_genes=1000, threshold=30)
        counts, gene_names = counts[:, genes], table.gene_names[genes]
    else:
        table = _read_counts(find_file("scala_2020/gene_counts.csv", data_dir))
        _require_same_cells(table.cell_names, features.index, "gene_counts.csv", "Cell_Features_M1.csv")
        counts, gene_names = _rows_of(table, features.index), table.gene_names
    return _scala_paired("scala_2020", counts, gene_names, features, metadata, data_dir)


def _load_phys_temp(data_dir):
    """Cells with counts, the 16 features and a type; genes most variable in them."""
    name = "scala_2020_phys_temp"
    *_, features = _select_cells(name, data_dir).values()
    metadata = scala_metadata(name, data_dir)
    table = read_count_table(name, data_dir)
    features = features[features.index.isin(table.cell_names)]
    counts = _rows_of(table, features.index)
    genes = select_variable_genes(counts, n_genes=1000, threshold=30)
    return _scala_paired(name, counts[:, genes], table.gene_names[genes], features, metadata, data_dir)


def _select_cells(name, data_dir):
    """Features of the cells that are left after each step of the selection, in order."""
    metadata = scala_metadata(name, data_dir)
    features = scala_features(name, data_dir)
    steps = {"features measured": features}
    features = features[~features.index.isin(list(EXCLUDED_CELLS))]
    steps["not excluded"] = features
    features = features.dropna()
    steps["no feature missing"] = features
    steps["with an RNA type"] = features[features.index.isin(metadata.index[metadata["RNA type"].notna()])]
    return steps


def cell_selection(data, data_dir=None):
    """Return how many cells are left after each step from the files to the data set.

    Parameters
    ----------
    data : PairedData
        As `load_dataset` returns it.
    data_dir : path-like, optional

    Returns
    -------
    Series
        Number of cells by step.
    """
    steps = {}
    if data.name in ("scala_2020", "scala_2020_phys_temp"):
        steps = {step: len(features) for step, features in _select_cells(data.name, data_dir).items()}
    return pd.Series({**steps, "in the data set": data.n_cells}, name="cells")


def measured_features(data, data_dir=None):
    """Return the features of a data set as the files hold them, before any transformation.

    Parameters
    ----------
    data : PairedData
        As `load_dataset` returns it.
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        One row a cell, one column a feature.
    """
    if data.name in ("scala_2020", "scala_2020_phys_temp"):
        return raw_scala_features(data.name, data_dir).loc[data.cell_names, data.feature_names]
    return pd.DataFrame(data.features, index=data.cell_names, columns=data.feature_names)


def whole_transcriptomes(name, data_dir=None):
    """Return the tables of all genes from which variable genes can be chosen.

    Parameters
    ----------
    name : str
        A data set.
    data_dir : path-like, optional

    Returns
    -------
    dict
        Name of the table -> (CountTable, detection threshold). For scala_2020 that is the table of
        scala_2020_phys_temp (30749 genes) and, where its archive is there, its own (42184 genes).
    """
    if name == "simulated":
        data = simulate_patchseq()[0]
        return {name: (CountTable(data.counts, data.gene_names, data.cell_names), 0)}
    tables = {}
    for table_name in dict.fromkeys(("scala_2020_phys_temp", name)):
        try:
            tables[table_name] = read_count_table(table_name, data_dir)
        except FileNotFoundError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return {table_name: (table, 30) for table_name, table in tables.items() if table is not None}


def _scala_paired(name, counts, gene_names, features, metadata, data_dir):
    """Put counts, features and metadata of the same cells together."""
    metadata = metadata.loc[features.index]
    types, families = metadata["RNA type"].to_numpy(str), metadata["RNA family"].to_numpy(str)
    type_colors, family_colors = _read_colors(types, families, data_dir)
    return _paired(
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


def raw_scala_features(name="scala_2020", data_dir=None):
    """Read the kept features as the laboratory's table holds them, before logarithms.

    Parameters
    ----------
    name : {"scala_2020", "scala_2020_phys_temp"}
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        One row a cell (all cells of the table), one column a feature, short names, units of SCALA_FEATURES.
    """
    if name == "scala_2020":
        path = find_file("scala_2020/Cell_Features_M1.csv", data_dir)
        table = pd.read_csv(path, index_col=0)
        _require_columns(table, ["name sample", *SCALA_FEATURES], path)
        cells = [_cell_of_recording(recording, path) for recording in table["name sample"]]
    else:
        path = find_file(_PHYS_TEMP + "ephys_features.csv", data_dir)
        table = pd.read_csv(path, index_col=0)
        _require_columns(table, SCALA_FEATURES, path)
        cells = [_short_cell_name(cell) for cell in table.index]
    table = table[list(SCALA_FEATURES)]
    table.columns = [feature.short_name for feature in SCALA_FEATURES.values()]
    table.index = pd.Index(check_unique(cells, f"cells in {path.name}"), name="cell")
    return table


def scala_features(name="scala_2020", data_dir=None):
    """Read the features with the paper's transformations: natural logarithms of the three skewed ones.

    Same arguments and shape as `raw_scala_features`; missing values stay NaN.
    """
    table = raw_scala_features(name, data_dir).astype(np.float64)
    for feature in SCALA_FEATURES.values():
        if feature.log:
            table[feature.short_name] = np.log(table[feature.short_name])
    return table.replace([np.inf, -np.inf], np.nan)


def scala_metadata(name="scala_2020", data_dir=None):
    """Read types, families and donors of the laboratory's cells.

    Parameters
    ----------
    name : {"scala_2020", "scala_2020_phys_temp"}
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        Indexed by cell name, among others with columns `RNA type`, `RNA family` and `Mouse`.
    """
    file = "scala_2020/mini-atlas-meta-data.csv" if name == "scala_2020" else _PHYS_TEMP + "meta_data.csv"
    path = find_file(file, data_dir)
    table = pd.read_csv(path, sep="\t")
    _require_columns(table, ["Cell", "RNA type", "RNA family", "Mouse"], path)
    cells = [_short_cell_name(cell) for cell in table["Cell"]]
    return table.set_index(pd.Index(check_unique(cells, f"cells in {path.name}"), name="cell"))


def read_count_table(name, data_dir=None):
    """Read the counts of every gene.

    Parameters
    ----------
    name : {"scala_2020", "scala_2020_phys_temp"}
        The table of "scala_2020" (42184 genes, 1320 cells) is a large archive, read where it lies in the data
        folder as .zip or unpacked as .txt, and never downloaded by itself.
    data_dir : path-like, optional

    Returns
    -------
    CountTable or None
        None where the archive of scala_2020 is not there.
    """
    if name == "scala_2020_phys_temp":
        return _read_counts(find_file(_PHYS_TEMP + "exon_counts.csv.gz", data_dir))
    archive = find_file(_FULL_TABLE + ".zip", data_dir, download=False)
    if archive is not None:
        with zipfile.ZipFile(archive) as members:
            tables = [member for member in members.namelist() if member.endswith(".txt")]
            if len(tables) != 1:
                raise ValueError(f"{archive} should hold one .txt table, it holds {members.namelist()}")
            return _read_counts(io.BytesIO(members.read(tables[0])), sep="\t", what=tables[0])
    unpacked = locate(_FULL_TABLE + ".txt", data_dir)
    if unpacked is None:
        return None
    # No blob id is published for the unpacked table: a truncated one is told by its number of genes.
    table = _read_counts(unpacked, sep="\t")
    n_genes = len(table.gene_names)
    if n_genes != FULL_TABLE_GENES:
        raise ValueError(f"{unpacked} should hold {FULL_TABLE_GENES} genes, it holds {n_genes}: truncated?")
    return table


def _read_counts(source, sep=",", what=None):
    """Read a table of genes (rows) x cells (columns) and turn it to cells x genes."""
    what = what or getattr(source, "name", source)
    table = pd.read_csv(source, sep=sep, index_col=0)
    bad = table.isna().any().to_numpy() | [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    if bad.any():
        raise ValueError(f"{what} holds missing values or text, first in column {table.columns[bad][0]!r}")
    counts = np.ascontiguousarray(table.to_numpy().T)
    if (counts < 0).any():
        raise ValueError(f"{what} holds negative counts, the smallest is {counts.min()}")
    counts = counts.astype(np.int32) if np.array_equal(counts, counts.astype(np.int32)) else counts
    cells = [_short_cell_name(cell) for cell in table.columns]
    return CountTable(counts, check_unique(table.index, f"genes in {what}"), check_unique(cells, f"cells in {what}"))


def _rows_of(table, cells):
    """Return the counts of the named cells, in their order."""
    return table.counts[pd.Index(table.cell_names).get_indexer(cells)]


def _read_colors(types, families, data_dir):
    """Colours of types and families; where the laboratory says PT the table of colours says ET."""
    path = find_file("scala_2020/cluster.annotation.csv", data_dir)
    table = pd.read_csv(path)
    _require_columns(table, ["cluster_label", "cluster_color", "subclass_label", "subclass_color"], path)
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


def _require_columns(table, columns, path):
    """Raise ValueError where the table lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path} lacks the column(s) {preview(missing)}; it has {preview(table.columns, 12)}")


def _require_same_cells(cells, expected, cells_from, expected_from):
    """Raise ValueError where two tables are not about the same cells."""
    missing, surplus = sorted(set(expected) - set(cells)), sorted(set(cells) - set(expected))
    if missing or surplus:
        raise ValueError(
            f"the cells of {cells_from} and {expected_from} do not match: {cells_from} lacks "
            f"{len(missing)} ({preview(missing)}) and has {len(surplus)} too many ({preview(surplus)})"
        )
