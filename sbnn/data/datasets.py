"""The data sets by name: from the public files to PairedData, and how many cells were kept at each step."""

from dataclasses import replace

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, warn
from sbnn._hints import PathLike
from sbnn.data.count_tables import CountTable, rows_of
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import Preprocessor
from sbnn.data.published import gouwens, mimitou, scala, scala_wide, stoeckius
from sbnn.data.simulation import simulate_patchseq

_WIDE = "scala_2020" + scala.WIDE
_SCALA = (*(cohort + ending for ending in ("", scala.ION_CHANNELS) for cohort in scala.COHORTS), _WIDE)

#: Names that `load_dataset` knows.
DATASETS = (*_SCALA, "gouwens_2020", "stoeckius_2017", "ctcl_2019", "simulated")


def load_dataset(name: str, data_dir: PathLike | None = None, drop_spike_ins: bool = False) -> PairedData:
    """Load a data set as the paper models it.

    Parameters
    ----------
    name : str
        "scala_2020": 1213 neurons of mouse motor cortex, 1000 genes, 16 features (Scala et al. 2020).
        "scala_2020_ion_channels": the same cells with the 423 ion-channel genes of a GO list; needs the table of
        all genes, a large archive that is downloaded if it is missing.
        "scala_2020_phys_temp": 176 neurons of the same laboratory recorded at 33-34 C, same features, their 1000
        most variable genes; "scala_2020_phys_temp_ion_channels": with the ion-channel genes.
        "scala_2020_wide": 1192 of the cells of scala_2020 with its 1000 genes and 978 others, from which variable genes
        can be chosen within folds (`cross_validate(..., n_variable_genes=1000, detection_threshold=30)`).
        "gouwens_2020": 3395 interneurons of mouse visual cortex, 1252 genes, 55 features (Gouwens et al. 2020).
        "stoeckius_2017": 7652 cord blood cells, 1000 genes, 13 surface proteins (CITE-seq, Stoeckius et al. 2017).
        "ctcl_2019": 500 cells of a T-cell lymphoma, 1001 genes, 49 surface proteins (CITE-seq, Mimitou et al. 2019).
        "simulated": `simulate_patchseq()`, needs no files, for trying things out.
    data_dir : path-like, optional
        Folder of the data; else $SBNN_DATA, else data/. Missing files are downloaded and verified.
    drop_spike_ins : bool
        Leave out the ERCC spike-ins, which are not genes; the paper kept the three among its 1000 of scala_2020.

    Returns
    -------
    PairedData

    Raises
    ------
    ValueError
        Unknown name; a file that is not the published one; or tables that do not match.
    FileNotFoundError
        A file is missing and cannot be downloaded; the message tells where to put it.

    See Also
    --------
    sbnn.data.published : one module per laboratory; what is kept and what is left out.
    """
    check_choice(name, DATASETS, "dataset")
    if name == _WIDE:
        data = scala_wide.load_scala_wide(data_dir)
    elif name in _SCALA:
        data = scala.load_scala(name, data_dir)
    elif name == "gouwens_2020":
        data = gouwens.load_gouwens(data_dir)
    elif name == "stoeckius_2017":
        data = stoeckius.load_stoeckius(data_dir)
    elif name == "ctcl_2019":
        data = mimitou.load_mimitou(data_dir)
    else:
        data = simulate_patchseq()[0]
    return _without_spike_ins(data) if drop_spike_ins else data


def _without_spike_ins(data):
    """Leave out ERCC spike-ins and normalise again over the genes that remain."""
    genes = ~np.char.startswith(data.gene_names, "ERCC-")  # not ERCC1 and the like, which are genes
    if genes.all():
        return data
    counts = data.counts[:, genes]
    X = Preprocessor().fit(counts, data.features).transform_genes(counts)
    return replace(data, X=X, counts=counts, gene_names=data.gene_names[genes])


def cell_selection(data: PairedData, data_dir: PathLike | None = None) -> pd.Series:
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
    if data.name in _SCALA:
        steps = scala.select_cells(scala.cohort_of(data.name), data_dir)
    elif data.name == "gouwens_2020":
        features = gouwens.gouwens_features(data_dir)
        steps = {"in the file": features, "no feature missing": features.dropna()}
    elif data.name == "stoeckius_2017":
        steps = stoeckius.select_cells(data_dir)
    numbers = {step: len(cells) for step, cells in steps.items()}
    return pd.Series({**numbers, "in the data set": data.n_cells}, name="cells")


def measured_features(data: PairedData, data_dir: PathLike | None = None) -> pd.DataFrame:
    """Return the features of a data set as in the files, before any transformation.

    Parameters
    ----------
    data : PairedData
        As `load_dataset` returns it.
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        One row per cell, one column per feature.
    """
    if data.name in _SCALA:
        table = scala.raw_scala_features(scala.cohort_of(data.name), data_dir)
        return table.loc[data.cell_names, data.feature_names]
    return pd.DataFrame(data.features, index=data.cell_names, columns=data.feature_names)


def whole_transcriptomes(name: str, data_dir: PathLike | None = None) -> dict[str, tuple[CountTable, int]]:
    """Return the tables of all genes from which variable genes can be chosen.

    Parameters
    ----------
    name : str
        A data set.
    data_dir : path-like, optional

    Returns
    -------
    dict
        Name of the table -> (CountTable, detection threshold). For scala_2020 that is the table of all 42184 genes
        if its archive is available, else that of 1978 genes (`scala_wide.read_wide_counts`). Empty for gouwens_2020,
        whose genes were chosen by its authors. A table that cannot be obtained is left out with a warning.
    """
    if name == "simulated":
        data = simulate_patchseq()[0]
        return {name: (CountTable(data.counts, data.gene_names, data.cell_names), 0)}
    if name == "stoeckius_2017":
        table = stoeckius.read_rna_table(data_dir)
        *_, cells = stoeckius.select_cells(data_dir).values()
        return {name: (CountTable(rows_of(table, cells.index), table.gene_names, cells.index.to_numpy()), 0)}
    if name == "ctcl_2019":
        return {name: (mimitou.read_tables(data_dir)[0], 0)}
    if name not in _SCALA:
        return {}
    cohort = name if name == _WIDE else scala.cohort_of(name)
    try:
        whole = None if name == _WIDE else scala.read_count_table(cohort, data_dir)
        table = scala_wide.read_wide_counts(data_dir) if whole is None else whole
    except (FileNotFoundError, ImportError) as error:
        warn(f"left out: {error}")
        return {}
    return {cohort: (table, scala.DETECTION_THRESHOLD)}
