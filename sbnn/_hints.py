"""Types that the signatures of several modules name."""

import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard

import numpy as np
import pandas as pd
from scipy import sparse

#: Where a file or a folder is.
PathLike: TypeAlias = str | os.PathLike[str]
#: A table with names of rows and columns, or the file that it is in.
Table: TypeAlias = pd.DataFrame | PathLike
#: Counts of cells x genes, dense or sparse.
Counts: TypeAlias = np.ndarray | sparse.spmatrix | sparse.sparray
#: Which genes: so many, or those named, by themselves or by a column of an AnnData; all if None.
Genes: TypeAlias = int | str | Sequence[str] | None
#: Names of genes, features or cells, or their classes.
Labels: TypeAlias = Sequence[str] | np.ndarray
#: Some of the rows of a table.
Rows: TypeAlias = np.ndarray | slice
#: A tensor of TensorFlow or JAX, whichever trains.
Tensor: TypeAlias = Any


class Paired(Protocol):
    """PairedData, for the modules that its own module imports."""

    @property
    def X(self) -> np.ndarray: ...  # noqa: N802
    @property
    def Y(self) -> np.ndarray: ...  # noqa: N802
    @property
    def gene_names(self) -> np.ndarray: ...
    @property
    def feature_names(self) -> np.ndarray: ...
    @property
    def cell_names(self) -> np.ndarray: ...
    @property
    def counts(self) -> Counts | None: ...
    @property
    def features(self) -> np.ndarray | None: ...
    @property
    def feature_units(self) -> tuple[str | None, ...] | None: ...
    @property
    def feature_transforms(self) -> tuple[str | None, ...] | None: ...
    @property
    def name(self) -> str: ...


def is_sparse(matrix: object) -> TypeGuard[sparse.spmatrix | sparse.sparray]:
    """Whether a matrix is sparse: `scipy.sparse.issparse` for type checkers, to whom that says nothing."""
    return sparse.issparse(matrix)
