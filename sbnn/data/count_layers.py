"""Counts of an AnnData: which layer holds them, and how they come into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sbnn._checks import preview, warn
from sbnn._hints import Counts

if TYPE_CHECKING:
    from anndata import AnnData

#: Layer of an AnnData that holds raw counts by convention of scanpy.
COUNTS_LAYER = "counts"
#: Rows of a dense table on disk that are read at a time.
ROWS_AT_ONCE = 1000
#: Rows in which counts of X are told from those of the layer.
_LOOKED_AT = 100


def _other_counts(first: Any, second: Any) -> bool:
    """Whether two tables hold whole numbers, which differ; by their first rows."""
    if first is None:
        return False
    some = [one[:_LOOKED_AT] for one in (first, second)]
    some = [np.asarray(one.toarray() if sparse.issparse(one) else one) for one in some]
    whole = [np.issubdtype(one.dtype, np.number) and bool((one == np.round(one)).all()) for one in some]
    return all(whole) and not np.array_equal(*some)


def counts_of(adata: AnnData, layer: str | None, where: str = "adata") -> Counts:
    """Return counts in memory: sparse if they are sparse already, or come from disk.

    Without `layer`, those of the layer "counts", where scanpy keeps raw counts, if there is one; "X" stands for X.
    Warns if both hold counts, which differ.
    """
    layers = adata.layers
    if layer is None and COUNTS_LAYER in layers:
        layer = COUNTS_LAYER
        if _other_counts(adata.X, layers[layer]):
            warn(
                f"{where}.X and {where}.layers[{layer!r}] hold counts, and these differ: those of the layer are taken, "
                f"give 'X' in place of the layer's name to take those of {where}.X"
            )
    if layer == "X" and layer not in layers:
        layer = None
    if layer is not None and layer not in layers:
        raise ValueError(f"{where}.layers lacks {layer!r} (counts); it has {preview(layers)}; 'X' stands for {where}.X")
    counts = adata.X if layer is None else layers[layer]
    if counts is None:
        raise ValueError(f"{where}.X is empty: name the layer that holds counts, one of {preview(adata.layers)}")
    if sparse.issparse(counts) or isinstance(counts, np.ndarray):
        return counts
    if hasattr(counts, "to_memory"):  # a sparse matrix on disk
        return counts.to_memory()
    rows = (counts[start : start + ROWS_AT_ONCE] for start in range(0, counts.shape[0], ROWS_AT_ONCE))
    return sparse.vstack([sparse.csr_matrix(block) for block in rows], format="csr")
