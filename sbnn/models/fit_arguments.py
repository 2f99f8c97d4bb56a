"""What `SparseBottleneckRegressor.fit` is given beside X and y, checked: validation cells, weights, groups of cells."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_length, check_matrix, check_weights, unmasked
from sbnn.data.cell_labels import UNKNOWN


def with_validation_cells(
    X: np.ndarray,
    Y: np.ndarray,
    validation_X: npt.ArrayLike,
    validation_Y: npt.ArrayLike,
    gene_names: Sequence[str] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Append validation cells to the training cells.

    Parameters
    ----------
    X, Y : arrays, shapes (n_cells, n_genes) and (n_cells, n_features)
        The training cells.
    validation_X, validation_Y : arrays
        Other cells, with the same columns.
    gene_names : sequence of str, optional
        Columns that `validation_X` must have if it is a DataFrame.

    Returns
    -------
    tuple of float32 arrays
        X and Y of both.

    Raises
    ------
    ValueError
        Other genes or features, another number of cells, or values that are not finite.
    """
    if gene_names is not None and list(getattr(validation_X, "columns", gene_names)) != list(gene_names):
        raise ValueError("X of validation_data should have the genes of X, in their order, as its columns")
    validation_X = check_matrix(validation_X, "X of validation_data", np.float32)
    validation_Y = np.asarray(unmasked(validation_Y))
    validation_Y = validation_Y[:, None] if validation_Y.ndim == 1 else validation_Y
    validation_Y = check_matrix(validation_Y, "Y of validation_data", np.float32, allow_nan=True)
    if validation_X.shape[1] != X.shape[1] or validation_Y.shape != (len(validation_X), Y.shape[1]):
        raise ValueError(
            f"validation_data should have {X.shape[1]} genes and {Y.shape[1]} features for the same cells, got "
            f"shapes {validation_X.shape} and {validation_Y.shape}"
        )
    return np.concatenate([X, validation_X]), np.concatenate([Y, validation_Y])


def relative_weights(sample_weight: npt.ArrayLike | None, n_cells: int) -> np.ndarray | None:
    """Return weights of cells divided by their mean, float32: their scale does not matter; None for no weights."""
    if sample_weight is None:
        return None
    weights = check_weights(sample_weight, n_cells)
    return np.asarray(weights / weights.mean(), dtype=np.float32)


def group_numbers(groups: npt.ArrayLike | None, n_cells: int, advice: str = "give no groups") -> np.ndarray | None:
    """Return the groups of cells (their animals, say) as whole numbers.

    Parameters
    ----------
    groups : array, shape (n_cells,), optional
        Names or numbers.
    n_cells : int
    advice : str
        What to do instead of leaving cells out, for the error.

    Returns
    -------
    int array, shape (n_cells,), or None
        From 0, without gaps, in the alphabetical order of the names; None if no groups are given.

    Raises
    ------
    ValueError
        Another number of cells, or cells whose group is missing or "unknown": these are not one more animal.
    """
    if groups is None:
        return None
    masked = np.ma.isMaskedArray(groups)
    labels = np.asarray(np.ma.filled(groups.astype(object), np.nan) if masked else groups, dtype=object)  # type: ignore[union-attr]  # a masked array
    if labels.ndim != 1:
        raise ValueError(f"groups must have one entry per cell, shape ({n_cells},), got shape {labels.shape}")
    check_length(labels, n_cells, "groups", "cell")
    missing = np.asarray(pd.isna(labels)) | (labels == UNKNOWN)
    if missing.any():
        raise ValueError(
            f"the group (animal) of {int(missing.sum())} of {n_cells} cells is not known, the first in row "
            f"{int(np.argmax(missing))}: leave these cells out, or {advice}"
        )
    codes, names = pd.factorize(labels)
    # In the order of their names, not of the cells: folds of whole groups are the same whatever the order of cells.
    order = sorted(range(len(names)), key=lambda place: (str(names[place]), type(names[place]).__name__))
    return np.argsort(order)[codes]
