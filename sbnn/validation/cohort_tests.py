"""Two-sample tests of cells that keep the cells of an animal together."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

#: Rows of random groups that are handled at a time.
_AT_ONCE = 500


class Groups(NamedTuple):
    """Random groups of units (animals, or cells), the observed one first.

    Attributes
    ----------
    members : float64 array, shape (1 + n_permutations, n_units)
        1 for the units of the group, 0 for the units it is compared with.
    units : int array, shape (n_cells,)
        The unit of each cell.
    pool : bool array, shape (n_units,)
        Which units random groups and their complements are made of; in the first row, all units are used.
    """

    members: np.ndarray
    units: np.ndarray
    pool: np.ndarray


class CellComparison(NamedTuple):
    """Results of `compare_cells`.

    Attributes
    ----------
    p : float
        Of the joint test.
    distance : float
        Energy distance between the two samples.
    gene_p : float64 array, shape (n_genes,)
        Of each gene by itself, not corrected for their number.
    """

    p: float
    distance: float
    gene_p: np.ndarray


def exchange_units(
    new_units: np.ndarray, old_units: np.ndarray, n_permutations: int, random: np.random.Generator
) -> Groups:
    """Draw groups of as many units as the new cells have, out of the units of both samples.

    Parameters
    ----------
    new_units, old_units : arrays, shape (n_new,) and (n_old,)
        The unit (animal) of each new and each old cell. The same name in both samples means two different animals.
    n_permutations : int
    random : Generator

    Returns
    -------
    Groups
        Cells in the order new, old.
    """
    new_names, new = np.unique(new_units, return_inverse=True)
    old_names, old = np.unique(old_units, return_inverse=True)
    n_new, n_units = len(new_names), len(new_names) + len(old_names)
    members = np.zeros((1 + n_permutations, n_units))
    members[0, :n_new] = 1
    for row in members[1:]:
        row[random.choice(n_units, n_new, replace=False)] = 1
    return Groups(members, np.concatenate([new, old + n_new]), np.ones(n_units, dtype=bool))


def draw_old_units(n_new: int, old_units: np.ndarray, n_permutations: int, random: np.random.Generator) -> Groups:
    """Draw groups of whole old units with about as many cells as the new ones, whose units are not known.

    The new cells are then compared with what whole animals of the old sample would give. This is exact if the new cells
    come from animals with about as many cells each; a few animals with many cells look like another cohort.

    Parameters
    ----------
    n_new : int
        Number of new cells.
    old_units : array, shape (n_old,)
    n_permutations : int
    random : Generator

    Returns
    -------
    Groups
        Cells in the order new, old; all new cells are one unit.
    """
    names, old = np.unique(old_units, return_inverse=True)
    sizes = np.bincount(old)
    members = np.zeros((1 + n_permutations, 1 + len(names)))
    members[0, 0] = 1
    target = min(n_new, sizes.sum() / 2)
    for row in members[1:]:
        order = random.permutation(len(names))
        reached = int(np.searchsorted(np.cumsum(sizes[order]), target)) + 1
        row[1 + order[: min(reached, len(names) - 1)]] = 1
    pool = np.ones(1 + len(names), dtype=bool)
    pool[0] = False
    return Groups(members, np.concatenate([np.zeros(n_new, dtype=int), old + 1]), pool)


def compare_cells(new: np.ndarray, old: np.ndarray, groups: Groups) -> CellComparison:
    r"""Test whether two samples of cells come from the same population, by random groups of whole animals.

    Joint test: the energy distance

    .. math:: E = 2\,\mathrm{mean}\|x - y\| - \mathrm{mean}\|x - x'\| - \mathrm{mean}\|y - y'\|

    times nm / (n + m), for n cells x of a group and m cells y outside, means over pairs of different cells. Test of a
    gene: the squared difference of mean ranks, times nm / (n + m). p is the share of groups, the observed one included,
    whose statistic is at least the observed one.

    Parameters
    ----------
    new, old : arrays, shape (n_new, n_genes) and (n_old, n_genes)
    groups : Groups
        Of `exchange_units` or `draw_old_units`.

    Returns
    -------
    CellComparison

    References
    ----------
    Székely & Rizzo, "Energy statistics", Journal of Statistical Planning and Inference 143:1249 (2013).
    """
    cells = np.vstack([new, old]).astype(np.float64)
    n_units = groups.members.shape[1]
    sums = _sum_by_unit(_sum_by_unit(cdist(cells, cells), groups.units, n_units).T, groups.units, n_units)
    ranks = _sum_by_unit(rankdata(cells, axis=0), groups.units, n_units)
    sizes = np.bincount(groups.units, minlength=n_units).astype(np.float64)
    joint, by_gene, distance = [], [], np.nan
    for start in range(0, len(groups.members), _AT_ONCE):
        inside = groups.members[start : start + _AT_ONCE]
        outside = np.where(groups.pool, 1 - inside, 0.0)
        if start == 0:
            outside[0] = 1 - inside[0]
        n, m = inside @ sizes, outside @ sizes
        of_inside = inside @ sums
        within = (of_inside * inside).sum(axis=1) / np.maximum(n * (n - 1), 1)
        between = (of_inside * outside).sum(axis=1) / (n * m)
        without = ((outside @ sums) * outside).sum(axis=1) / np.maximum(m * (m - 1), 1)
        energy, weight = 2 * between - within - without, n * m / (n + m)
        difference = inside @ ranks / n[:, None] - outside @ ranks / m[:, None]
        joint.append(weight * energy)
        by_gene.append(weight[:, None] * difference**2)
        distance = float(energy[0]) if start == 0 else distance
    return CellComparison(
        float(_share_as_large(np.concatenate(joint))), distance, _share_as_large(np.concatenate(by_gene))
    )


def compare_animals(
    new: np.ndarray,
    old: np.ndarray,
    new_animals: np.ndarray,
    old_animals: np.ndarray,
    n_permutations: int,
    random: np.random.Generator,
) -> CellComparison:
    r"""Test whether animals come from the same population, also if new and old ones have other numbers of cells.

    Each gene is ranked over all cells, and an animal is the mean rank of its cells; every animal counts the same. For a
    group of k animals and the l others, with means m and variances :math:`s^2` of the animals' ranks,

    .. math:: t_g = \frac{m_g - m'_g}{\sqrt{s_g^2 / k + s_g'^2 / l}}, \quad
        T = \sum_g \log\left(1 + \frac{t_g^2}{\min(k, l) - 1}\right)

    p of a gene, and of all genes together, is the share of random groups of k animals, the observed one included, whose
    :math:`t_g^2`, or T, is at least the observed one. Because it is studentised, the test keeps its level (about) where
    the new animals have many more cells each than the old ones, and so vary less; an exchange of animals with a plain
    difference of cells does not.

    Parameters
    ----------
    new, old : arrays, shape (n_new, n_genes) and (n_old, n_genes)
    new_animals, old_animals : arrays, shape (n_new,) and (n_old,)
        The same name in both means two different animals.
    n_permutations : int
    random : Generator

    Returns
    -------
    CellComparison
        Its distance is the energy distance between the cells of both samples, as in `compare_cells`. With a single
        animal in one of the samples variances are pooled.

    References
    ----------
    Janssen, "Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher problem",
    Statistics & Probability Letters 36:9 (1997).
    """
    groups = exchange_units(new_animals, old_animals, n_permutations, random)
    n_units = groups.members.shape[1]
    sizes = np.bincount(groups.units, minlength=n_units)
    ranks = _sum_by_unit(rankdata(np.vstack([new, old]), axis=0), groups.units, n_units) / sizes[:, None]
    ranks = (ranks - ranks.mean(axis=0)) / len(groups.units)
    k = int(groups.members[0].sum())
    (first, of_first), (second, of_second) = (
        _mean_and_squares(members, ranks) for members in (groups.members, 1 - groups.members)
    )
    other = n_units - k
    if min(k, other) < 2:
        variance = (of_first + of_second) / max(n_units - 2, 1) * (1 / k + 1 / other)
    else:
        variance = of_first / (k - 1) / k + of_second / (other - 1) / other
    squares = (first - second) ** 2 / np.maximum(variance, np.finfo(float).tiny)
    joint = np.log1p(squares / max(min(k, other) - 1, 1)).sum(axis=1)
    distance = compare_cells(new, old, groups._replace(members=groups.members[:1])).distance
    return CellComparison(float(_share_as_large(joint)), distance, _share_as_large(squares))


def _mean_and_squares(members, values):
    """Mean of the units of each group, and their sum of squares around it; (n_groups, n_genes) each."""
    n = members.sum(axis=1, keepdims=True)
    mean = members @ values / n
    return mean, np.maximum(members @ values**2 - n * mean**2, 0)


def _sum_by_unit(values, units, n_units):
    """Sum the rows of the cells of each unit."""
    order = np.argsort(units, kind="stable")
    sums = np.zeros((n_units, values.shape[1]))
    present, starts = np.unique(units[order], return_index=True)
    sums[present] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def _share_as_large(statistics):
    """Share of rows that are at least as large as the first one, itself included; equal up to rounding counts."""
    tolerance = 1e-9 * np.abs(statistics).max(axis=0)
    return (statistics >= statistics[0] - tolerance).mean(axis=0)
