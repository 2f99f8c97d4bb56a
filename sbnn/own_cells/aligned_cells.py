"""Cells from any container, as an estimator takes them: genes found by name, cells without counts set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import preview
from sbnn.data.containers import counts_of
from sbnn.data.named_tables import read_table
from sbnn.data.paired_data import PairedData

if TYPE_CHECKING:
    from anndata import AnnData


class AlignedCells(NamedTuple):
    """Cells as the estimator takes them.

    `X` holds those with counts of the model's genes; `has_counts` marks these among the named cells; `present` marks
    the genes that were measured (the others are filled); `measured` are counts, or expression, of these cells and
    genes, as a `Preprocessor` takes them.
    """

    X: np.ndarray
    names: np.ndarray
    has_counts: np.ndarray
    present: np.ndarray
    measured: dict[str, np.ndarray]

    def table(self, values: np.ndarray, columns: Sequence[str]) -> pd.DataFrame:
        """Return values of the cells in X as a table of all cells, NaN for those without counts."""
        everything = np.full((len(self.names), len(columns)), np.nan)
        everything[self.has_counts] = values
        return pd.DataFrame(everything, index=self.names, columns=columns)


def values_and_names(
    cells: pd.DataFrame | AnnData | PairedData, layer: str | None, raw: bool
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return values (cells x genes, dense or sparse), gene names and cell names from any container of cells.

    Parameters
    ----------
    cells : DataFrame (cells x genes), AnnData or PairedData
    layer : str or None
        Layer of an AnnData.
    raw : bool
        Whether counts are taken of PairedData, or X.

    Returns
    -------
    tuple

    Raises
    ------
    ValueError
        A container of another kind, or one without counts or without the layer.
    """
    if isinstance(cells, PairedData):
        values = cells.counts if raw else cells.X
        if values is not None:
            return values, cells.gene_names, cells.cell_names
        raise ValueError(f"the model takes counts, but PairedData {cells.name!r} has none")
    if isinstance(cells, pd.DataFrame):
        table = read_table(cells, "cells")
        return table.to_numpy(), table.columns.to_numpy(str), table.index.to_numpy(str)
    if hasattr(cells, "mod") and hasattr(cells, "obs_names"):
        raise ValueError(f"cells is a MuData: give the modality that holds the genes, one of {preview(cells.mod)}")
    if hasattr(cells, "obs_names") and hasattr(cells, "var_names"):
        return counts_of(cells, layer), cells.var_names.to_numpy(str), cells.obs_names.to_numpy(str)
    raise ValueError(
        f"cells must be a DataFrame, an AnnData or PairedData, which name their genes, got {type(cells).__name__}"
    )
