"""More genes of the cells of scala_2020: counts published by another group, in addition to the paper's 1000 genes."""

import warnings

import numpy as np
import pandas as pd

from sbnn._checks import check_unique, preview
from sbnn._hints import PathLike
from sbnn.data.count_tables import CountTable, rows_of
from sbnn.data.paired_data import PairedData
from sbnn.data.published.scala import pair_cells, select_cells
from sbnn.data.sources import find_file

_TABLE = "scala_2020_wide/motor_data_filtered.rda"
_PAPER_COUNTS = "scala_2020/gene_counts.csv"
#: The one cell whose counts of the same genes differ between the two tables.
DIFFERING_CELL = "20171207sample6"


def load_scala_wide(data_dir: PathLike | None = None) -> PairedData:
    """Load 1192 neurons of mouse motor cortex: 1978 genes, the 16 features of scala_2020.

    The cells of scala_2020 that scMNC's table has as well, in their order, without DIFFERING_CELL; types, families,
    donors and features are those of scala_2020. Genes: the 1000 of scala_2020, in their order, and 978 others.

    This is no whole transcriptome. The first 1000 genes were chosen as the most variable of 42184 on all cells, test
    cells of any fold included, and the others by the authors of scMNC: a choice within folds is a choice among these.
    114 of the 434 ion channels are among them, too few for the paper's analysis of ion channels.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    PairedData

    Raises
    ------
    ImportError, FileNotFoundError, ValueError
        As `read_wide_counts`; or a file of scala_2020 is missing or not the published one.

    References
    ----------
    Scala et al., Nature 598:144 (2021); counts of the further genes from github.com/daifengwanglab/scMNC.
    """
    table = read_wide_counts(data_dir)
    *_, features = select_cells("scala_2020", data_dir).values()
    features = features[features.index.isin(table.cell_names)]
    return pair_cells("scala_2020_wide", rows_of(table, features.index), table.gene_names, features, data_dir)


def read_wide_counts(data_dir: PathLike | None = None) -> CountTable:
    """Read the counts of 1978 genes: the paper's 1000, and 978 further ones, for 1192 of its 1213 cells.

    The further genes are from the data of scMNC (Nguyen et al.), 1286 genes of 1208 cells. The overlap of the two
    tables is compared: 308 genes have identical counts in all common cells but one, which is left out.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    CountTable
        Cells in the order of the paper's, its genes first. The 1000 were chosen on all cells of the paper.

    Raises
    ------
    ImportError
        The package rdata is not installed.
    FileNotFoundError
        A file is missing and cannot be downloaded.
    ValueError
        The tables have no gene or no cell in common, or differ in the counts of these.

    References
    ----------
    Scala et al., Nature 598:144 (2021); counts from github.com/daifengwanglab/scMNC.
    """
    try:
        import rdata  # only for such files
    except ImportError as error:
        raise ImportError("the further genes of scala_2020 are in an R data file: pip install rdata") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dates and tibbles in parts that are not used
        further = rdata.read_rda(find_file(_TABLE, data_dir))["gdata"]
    genes, cells = (further.coords[axis].to_numpy().astype(str) for axis in further.dims)
    further = pd.DataFrame(np.asarray(further).T, index=[name.replace("_", "") for name in cells], columns=genes)
    paper = pd.read_csv(find_file(_PAPER_COUNTS, data_dir), index_col=0).T
    common = [cell for cell in paper.index if cell in further.index and cell != DIFFERING_CELL]
    shared = [gene for gene in paper.columns if gene in further.columns]
    if not common or not shared:
        raise ValueError(
            f"{_TABLE} and {_PAPER_COUNTS} have no cell or no gene in common: their counts cannot be matched"
        )
    differing = (paper.loc[common, shared] != further.loc[common, shared]).any(axis=1)
    if differing.any():
        raise ValueError(
            f"{_TABLE} and {_PAPER_COUNTS} hold different counts of the same genes in "
            f"{preview(differing.index[differing])}"
        )
    both = pd.concat([paper.loc[common], further.loc[common].drop(columns=shared)], axis=1)
    return CountTable(both.to_numpy(np.int32), check_unique(both.columns, "genes"), check_unique(both.index, "cells"))
