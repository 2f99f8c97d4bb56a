"""Cells from any container, as an estimator takes them: genes found by name, cells without counts set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from scipy import sparse

from sbnn._checks import check_counts, preview, warn, warn_of_fractions
from sbnn.data.count_layers import counts_of
from sbnn.data.named_tables import read_table
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import Preprocessor, align_genes

if TYPE_CHECKING:
    from anndata import AnnData


#: Share of the genes of the model that cells may lack if it reads none of them: depth changes little.
_FEW = 0.05


class ReadsGenes(Protocol):
    """What is read of a fitted PairedModel."""

    estimator_: Any
    preprocessor_: Preprocessor
    gene_names_: np.ndarray

    @property
    def selected_genes_(self) -> np.ndarray:
        """Names of the genes that the model reads."""


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
        layer = layer if raw or layer is not None else "X"
        return counts_of(cells, layer, "cells"), cells.var_names.to_numpy(str), cells.obs_names.to_numpy(str)
    raise ValueError(
        f"cells must be a DataFrame, an AnnData or PairedData, which name their genes, got {type(cells).__name__}"
    )


def align_cells(
    model: ReadsGenes, cells: pd.DataFrame | AnnData | PairedData, layer: str | None, fill_missing: bool
) -> AlignedCells:
    """Return cells as the estimator of a model takes them, in the order of its genes; arguments as for `predict`.

    Parameters
    ----------
    model : PairedModel
        Fitted.
    cells, layer, fill_missing
        See `PairedModel.predict`, also for the errors.

    Returns
    -------
    AlignedCells
    """
    raw = model.preprocessor_.median_depth_ is not None
    values, genes, names = values_and_names(cells, layer, raw)
    columns, present = align_genes(model.gene_names_, genes)
    if not present.any():
        raise ValueError(
            f"the cells have none of the {len(present)} genes of the model ({preview(model.gene_names_, 3)}); they "
            f"have {preview(genes, 3)}: give cells as rows and genes as columns, with matching names"
        )
    if not present[model.estimator_.selected_].any():
        raise ValueError(f"the cells lack every gene that the model reads: {preview(model.selected_genes_)}")
    if not present.all():
        _report_lacking(model, present, fill_missing)
    chosen = values[:, columns]
    chosen = chosen.toarray() if sparse.issparse(chosen) else np.asarray(chosen)
    has_counts = np.ones(len(names), dtype=bool)
    if raw:
        chosen = check_counts(chosen, "cells")
        warn_of_fractions(chosen, "cells")
        has_counts = chosen.sum(axis=1) > 0
    if not has_counts.any():
        raise ValueError("none of the cells has a count of the model's genes")
    if not has_counts.all():
        empty = f"{int((~has_counts).sum())} of {len(names)} cells have no count of the model's genes"
        warn(f"{empty} and are not predicted (NaN): {preview(names[~has_counts], 3)}")
    measured = {"counts" if raw else "expression": chosen[has_counts]}
    X = model.preprocessor_.transform_genes(**measured, present=present)
    return AlignedCells(X, names, has_counts, present, measured)


def _report_lacking(model, present, fill_missing):
    """Warn of genes that cells lack if these may be filled, or are not read; else raise ValueError."""
    lacking = model.gene_names_[~present]
    n_lost = int((model.estimator_.selected_ & ~present).sum())
    report = (
        f"the cells lack {len(lacking)} of the {len(present)} genes of the model, {n_lost} of the "
        f"{int(model.estimator_.selected_.sum())} selected: {preview(lacking)}"
    )
    if n_lost == 0 and not fill_missing and len(lacking) <= _FEW * len(present):
        warn(f"{report}; the model reads none of these, and depth is estimated from the others")
        return
    if not fill_missing:
        raise ValueError(f"{report}; fill_missing=True sets them to their training mean")
    warn(f"{report}; they are set to their training mean")
