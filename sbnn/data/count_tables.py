"""Reading published tables: counts of whole transcriptomes, required columns, cells that must match."""

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_unique, preview
from sbnn._hints import Counts, PathLike
from sbnn.data.preprocessing import Preprocessor


class CountTable(NamedTuple):
    """Counts of a whole transcriptome, cells x genes (dense or CSR)."""

    counts: Counts
    gene_names: np.ndarray
    cell_names: np.ndarray


def read_counts(
    source: PathLike | BinaryIO, sep: str = ",", what: str | None = None, cell_name: Callable[[str], str] = str
) -> CountTable:
    """Read a table of genes (rows) x cells (columns) and transpose it to cells x genes.

    Parameters
    ----------
    source : path-like or binary stream
    sep : str
        Separator of the columns.
    what : str, optional
        Name of the table in errors; the path if None.
    cell_name : callable
        Maps the name of a column to the name of the cell.

    Returns
    -------
    CountTable
        Dense; int32 if all values are whole numbers.

    Raises
    ------
    ValueError
        Missing values, text, negative counts, duplicate names.
    """
    what = what or str(getattr(source, "name", source))
    table = pd.read_csv(source, sep=sep, index_col=0)
    bad = table.isna().any().to_numpy() | [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    if bad.any():
        raise ValueError(f"{what} holds missing values or text, first in column {table.columns[bad][0]!r}")
    counts = np.ascontiguousarray(table.to_numpy().T)
    if (counts < 0).any():
        raise ValueError(f"{what} holds negative counts, the smallest is {counts.min()}")
    counts = counts.astype(np.int32) if np.array_equal(counts, counts.astype(np.int32)) else counts
    cells = [cell_name(cell) for cell in table.columns]
    return CountTable(counts, check_unique(table.index, f"genes in {what}"), check_unique(cells, f"cells in {what}"))


def rows_of(table: CountTable, cells: npt.ArrayLike) -> Counts:
    """Return the counts of the named cells, in their order.

    Parameters
    ----------
    table : CountTable
    cells : sequence of str

    Returns
    -------
    array or CSR matrix, shape (len(cells), n_genes)

    Raises
    ------
    ValueError
        The table lacks a cell.
    """
    rows = pd.Index(table.cell_names).get_indexer(cells)
    if (rows < 0).any():
        raise ValueError(f"the table of counts lacks cells: {preview(np.asarray(cells)[rows < 0])}")
    return table.counts[rows]


def require_columns(table: pd.DataFrame, columns: Iterable[str], path: PathLike) -> None:
    """Raise ValueError if the table read from `path` lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path} lacks the column(s) {preview(missing)}; it has {preview(table.columns, 12)}")


def require_same_cells(cells: Iterable[str], expected: Iterable[str], cells_from: str, expected_from: str) -> None:
    """Raise ValueError if two tables do not describe the same cells."""
    missing, surplus = sorted(set(expected) - set(cells)), sorted(set(cells) - set(expected))
    if missing or surplus:
        raise ValueError(
            f"the cells of {cells_from} and {expected_from} do not match: {cells_from} lacks "
            f"{len(missing)} ({preview(missing)}) and has {len(surplus)} too many ({preview(surplus)})"
        )


def standardise(counts: Counts, features: np.ndarray, **names: Any) -> dict[str, Any]:
    """Normalise counts, z-score both sides, and return all as arguments of PairedData, with their names."""
    preprocessor = Preprocessor().fit(
        counts, features, gene_names=names["gene_names"], feature_names=names["feature_names"]
    )
    X, Y = preprocessor.transform_genes(counts), preprocessor.transform_features(features)
    return {"X": X, "Y": Y, "counts": counts, "features": features, **names}
