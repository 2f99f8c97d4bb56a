"""Bootstrap over animals: whole animals are drawn, because cells of one animal are alike."""

import warnings

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_length
from sbnn.data.cell_labels import UNKNOWN


def number_groups(groups: npt.ArrayLike | None, n_cells: int, advice: str = "groups=None") -> np.ndarray:
    """Return the number of the group (animal) of each cell; every cell is a group if `groups` is None.

    Parameters
    ----------
    groups : sequence, shape (n_cells,), or None
    n_cells : int
    advice : str
        The argument with which cells are drawn instead, for the error.

    Returns
    -------
    int array, shape (n_cells,)
        From 0, without gaps.

    Raises
    ------
    ValueError
        Not one group per cell, or the animal of a cell is not known.
    """
    groups = np.arange(n_cells) if groups is None else np.asarray(groups)
    check_length(groups, n_cells, "groups", "cell")
    if groups.dtype.kind == "U" and (groups == UNKNOWN).any():
        raise ValueError(
            f"the animal of {int((groups == UNKNOWN).sum())} of {n_cells} cells is not known: leave them out, or "
            f"resample cells ({advice})"
        )
    return np.unique(groups, return_inverse=True)[1]


def draw_groups(n_groups: int, n_bootstrap: int, random_state: int) -> np.ndarray:
    """Draw as many groups as there are, with replacement, many times.

    Parameters
    ----------
    n_groups, n_bootstrap, random_state : int

    Returns
    -------
    float64 array, shape (n_bootstrap, n_groups)
        How often each group is drawn in each resample.
    """
    draws = np.random.default_rng(random_state).integers(n_groups, size=(n_bootstrap, n_groups))
    return np.apply_along_axis(np.bincount, 1, draws, minlength=n_groups).astype(float)


def percentile_interval(drawn: np.ndarray, level: float) -> np.ndarray:
    """Return the percentile interval over resamples, without those in which a score does not exist (no variance).

    Parameters
    ----------
    drawn : array, shape (n_bootstrap, ...)
        A score in every resample.
    level : float
        Coverage, such as 0.95.

    Returns
    -------
    array, shape (2, ...)
        Low and high; NaN where the score exists in no resample.
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # a score that exists in no resample stays NaN
        tails = [(1 - level) / 2, (1 + level) / 2]
        return np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan), tails, axis=0)
