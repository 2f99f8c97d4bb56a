"""Bootstrap over animals: whole animals are drawn, because cells of one animal are alike."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student_t

from sbnn._checks import check_choice, preview
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.models.fit_arguments import group_numbers
from sbnn.validation.folds import Fold

#: What is resampled: whole animals, because cells of one animal are alike, or cells.
UNITS = ("donor", "cell")


def resampled_groups(groups: npt.ArrayLike | None, n_cells: int, advice: str = "groups=None") -> np.ndarray:
    """Return the number of the group (animal) of each cell; every cell is a group of its own if `groups` is None.

    Parameters
    ----------
    groups : sequence, shape (n_cells,), or None
    n_cells : int
    advice : str
        The argument with which cells are drawn instead, for the error.

    Returns
    -------
    int array, shape (n_cells,)
        See `sbnn.models.fit_arguments.group_numbers`.

    Raises
    ------
    ValueError
        Not one group per cell, or the animal of a cell is not known.
    """
    numbers = group_numbers(groups, n_cells, f"resample cells ({advice})")
    return np.arange(n_cells) if numbers is None else numbers


def resampling_units(data: PairedData, folds: Sequence[Fold], unit: str | None = None) -> tuple[str, np.ndarray]:
    """Return what is resampled, and the number of the unit of each cell.

    Parameters
    ----------
    data : PairedData
    folds : list of Fold
        Only their test cells are numbered.
    unit : {"donor", "cell"}, optional
        By default donors if `data.donors` is given, else cells.

    Returns
    -------
    unit : str
    unit_of_cell : int array, shape (n_cells,)
        From 0, without gaps; -1 for a cell that no fold tests.

    Raises
    ------
    ValueError
        An unknown unit, donors that are not given or not known for every test cell, or fewer than two units.
    """
    if unit is None:
        unit = "cell" if data.donors is None else "donor"
    check_choice(unit, UNITS, "unit")
    if unit == "donor" and data.donors is None:
        raise ValueError("unit='donor' needs data.donors, which is None: resample cells (unit='cell')")
    tested = np.unique(np.concatenate([fold.test for fold in folds]))
    groups = data.donors[tested] if unit == "donor" and data.donors is not None else None
    unit_of_cell = np.full(data.n_cells, -1)
    if len(tested):
        unit_of_cell[tested] = resampled_groups(groups, len(tested), "unit='cell'")
    if unit_of_cell.max() < 1:
        advice = " (or resample cells: unit='cell')" if unit == "donor" else ""
        raise ValueError(
            f"intervals need at least 2 {unit}s among the test cells, got {unit_of_cell.max() + 1}{advice}"
        )
    return unit, unit_of_cell


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


def donor_bootstraps(data: PairedData, n: int, random_state: int = 0) -> list[Fold]:
    """Draw as many animals as there are with replacement, n times.

    Parameters
    ----------
    data : PairedData
        With `donors`.
    n : int
    random_state : int
        Draw i comes from `numpy.random.default_rng([random_state, i])`. A draw of each animal once, which leaves no
        other animal to test, and one of a single animal are drawn again; with few animals both happen.

    Returns
    -------
    list of Fold
        `train`: rows of the cells of the drawn animals in random order, as often as their animal was drawn; `test`:
        rows of the cells of the other animals.

    Raises
    ------
    ValueError
        `data.donors` is None, the donor of a cell is not known, or there are fewer than three.
    """
    if data.donors is None:
        raise ValueError('resample="donor" draws animals, but data.donors is None: give them, or use resample="seed"')
    unknown = data.donors == UNKNOWN
    if unknown.any():
        raise ValueError(
            f'resample="donor" draws animals, but that of {int(unknown.sum())} of {data.n_cells} cells is not known '
            f"({preview(data.cell_names[unknown], 3)}): leave them out with data.subset(data.donors != {UNKNOWN!r})"
        )
    animals, animal_of_cell = np.unique(data.donors, return_inverse=True)
    if len(animals) < 3:
        raise ValueError(f'resample="donor" needs at least 3 animals in data.donors, got {len(animals)}')
    folds = []
    for run in range(n):
        random = np.random.default_rng([random_state, run])
        times = np.ones(len(animals), dtype=int)
        while times.all() or (times > 0).sum() < 2:
            times = np.bincount(random.integers(len(animals), size=len(animals)), minlength=len(animals))
        drawn = times[animal_of_cell]
        folds.append(Fold(random.permutation(np.repeat(np.arange(data.n_cells), drawn)), np.flatnonzero(drawn == 0)))
    return folds


def interval_over_units(drawn: np.ndarray, n_units: np.ndarray, level: float) -> np.ndarray:
    r"""Return the expanded percentile interval over resamples; none with one animal, which would be drawn every time.

    Percentiles of a bootstrap of few animals are too narrow: with 8 animals, those of 95 % hold about 89 %. Taken are
    those of a normal distribution at :math:`\pm \sqrt{n / (n - 1)}\, t_{n-1}`, for n animals, which widens intervals
    as Student's t does.

    Parameters
    ----------
    drawn : array, shape (n_bootstrap, n_columns)
        A score in every resample.
    n_units : int array, shape (n_columns,)
        Animals (or cells) that have values.
    level : float
        Coverage, such as 0.95.

    Returns
    -------
    array, shape (2, n_columns)
        Of fewer than six animals no interval holds 95 %: the widest is from the smallest to the largest resample.

    References
    ----------
    Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69:371 (2015).
    """
    found = np.full((2, drawn.shape[1]), np.nan)
    for n in np.unique(n_units[n_units > 1]):
        columns = n_units == n
        expanded = 2 * norm.cdf(np.sqrt(n / (n - 1)) * student_t.ppf((1 + level) / 2, n - 1)) - 1
        found[:, columns] = percentile_interval(drawn[:, columns], expanded)
    return found


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
