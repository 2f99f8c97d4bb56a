"""Two-sample tests by random groups of animals, against their definitions and against chance."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata, ttest_ind

from sbnn.validation.cohort_tests import Groups, compare_animals, compare_cells, draw_old_units, exchange_units


def energy(x, y):
    """The definition, pair by pair."""
    apart = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=2)  # noqa: E731
    within = [apart(one, one).sum() / (len(one) * (len(one) - 1)) for one in (x, y)]
    return 2 * apart(x, y).mean() - sum(within)


def sample(n_animals, shift=0.0, seed=0, size=5, n_genes=4, animal_sd=0.7):
    """Cells whose animals differ."""
    random = np.random.default_rng(seed)
    donors = np.repeat(np.arange(n_animals), random.integers(2, size + 1, n_animals))
    places = animal_sd * random.standard_normal((n_animals, n_genes))
    return places[donors] + random.standard_normal((len(donors), n_genes)) + shift, donors


def test_every_group_is_judged_by_the_definition():
    """All ways to choose 2 of 6 animals, statistics computed pair by pair."""
    new, new_donors = sample(2, 0.5, seed=1)
    old, old_donors = sample(4, seed=2)
    units = np.concatenate([new_donors, old_donors + 2])
    chosen = list(combinations(range(6), 2))
    members = np.zeros((len(chosen), 6))
    for row, pair in enumerate(chosen):
        members[row, list(pair)] = 1
    found = compare_cells(new, old, Groups(members, units, np.ones(6, dtype=bool)))
    cells, joint, by_gene = np.vstack([new, old]), [], []
    for pair in chosen:
        inside = np.isin(units, pair)
        n, m = inside.sum(), (~inside).sum()
        joint.append(n * m / (n + m) * energy(cells[inside], cells[~inside]))
        ranks = rankdata(cells, axis=0)
        by_gene.append(n * m / (n + m) * (ranks[inside].mean(axis=0) - ranks[~inside].mean(axis=0)) ** 2)
    assert found.distance == pytest.approx(energy(new, old))
    assert found.p == pytest.approx(np.mean(np.array(joint) >= joint[0] - 1e-12))
    np.testing.assert_allclose(found.gene_p, np.mean(np.array(by_gene) >= by_gene[0] - 1e-9, axis=0))


def test_cells_as_units_give_the_rank_test_of_mann_and_whitney():
    random = np.random.default_rng(0)
    new, old = random.standard_normal((15, 3)) + np.array([0, 0.5, 1.2]), random.standard_normal((40, 3))
    found = compare_cells(new, old, exchange_units(np.arange(15), np.arange(40), 19999, np.random.default_rng(1)))
    np.testing.assert_allclose(found.gene_p, mannwhitneyu(new, old).pvalue, atol=0.012)


def test_groups_have_the_sizes_that_they_should():
    random = np.random.default_rng(0)
    new_donors, old_donors = np.array(["a", "a", "b"]), np.array(["a", "c", "c", "d"])
    exchanged = exchange_units(new_donors, old_donors, 50, random)
    assert exchanged.members.shape == (51, 5) and exchanged.pool.all()  # both have an "a": two animals
    assert (exchanged.members.sum(axis=1) == 2).all() and exchanged.members[0].tolist() == [1, 1, 0, 0, 0]
    assert exchanged.units.tolist() == [0, 0, 1, 2, 3, 3, 4]
    _, donors = sample(30)
    drawn = draw_old_units(20, donors, 200, random)
    sizes = drawn.members @ np.bincount(drawn.units)
    assert not drawn.members[1:, 0].any() and (sizes[1:] >= 20).all() and (sizes[1:] < 20 + 5).all()
    assert drawn.pool.tolist() == [False] + [True] * 30
    most = draw_old_units(10_000, donors, 20, random)
    assert (most.members[1:].sum(axis=1) < 30).all()  # something is left to compare with


@pytest.mark.parametrize("known", [True, False], ids=["donors known", "donors of new cells unknown"])
def test_p_values_are_calibrated_although_cells_of_an_animal_are_alike(known):
    """Of the same population: about a tenth below 0.1. With cells as units it would be far more."""
    found, naive = [], []
    for seed in range(150):
        cells, donors = sample(40, seed=seed)
        new = donors < 6
        random = np.random.default_rng(seed)
        if known:
            groups = exchange_units(donors[new], donors[~new], 99, random)
        else:
            groups = draw_old_units(new.sum(), donors[~new], 99, random)
        found.append(compare_cells(cells[new], cells[~new], groups).p)
        units = exchange_units(np.arange(new.sum()), np.arange((~new).sum()), 99, random)
        naive.append(compare_cells(cells[new], cells[~new], units).p)
    assert 0.03 < np.mean(np.array(found) <= 0.1) < 0.19 and 0.4 < np.mean(found) < 0.6
    assert np.mean(np.array(naive) <= 0.1) > 0.25


def test_another_population_is_recognised_also_if_only_its_spread_differs():
    old, old_donors = sample(40, animal_sd=0.2)
    for new, new_donors in (sample(10, 1.0, seed=5, animal_sd=0.2), (sample(10, seed=6, animal_sd=0.2)[0] * 4, None)):
        new_donors = sample(10, seed=6)[1][: len(new)] if new_donors is None else new_donors
        found = compare_cells(new, old, exchange_units(new_donors, old_donors, 199, np.random.default_rng(0)))
        assert found.p == pytest.approx(1 / 200) and found.distance > 0.2


def test_animals_are_compared_by_the_definition():
    random = np.random.default_rng(3)
    new, old = random.standard_normal((9, 2)), random.standard_normal((20, 2))
    new_animals, old_animals = np.repeat(["a", "b", "c"], [1, 3, 5]), np.repeat(list("abcdef"), [1, 2, 5, 4, 4, 4])
    found = compare_animals(new, old, new_animals, old_animals, 50, np.random.default_rng(8))
    ranks = rankdata(np.vstack([new, old]), axis=0)
    animals = np.concatenate([np.char.add("new", new_animals), np.char.add("old", old_animals)])
    names = np.unique(animals)
    means = np.array([ranks[animals == name].mean(axis=0) for name in names])
    squares = []
    for members in exchange_units(new_animals, old_animals, 50, np.random.default_rng(8)).members.astype(bool):
        squares.append(ttest_ind(means[members], means[~members], equal_var=False).statistic ** 2)
    squares = np.array(squares)
    np.testing.assert_allclose(found.gene_p, (squares >= squares[0] - 1e-9).mean(axis=0))
    joint = np.log1p(squares / 2).sum(axis=1)  # the smaller group has three animals
    assert found.p == pytest.approx((joint >= joint[0] - 1e-9).mean())
    assert (
        0 < found.p <= 1
        and found.distance == compare_cells(new, old, exchange_units(new_animals, old_animals, 1, random)).distance
    )


def test_a_single_new_animal_has_pooled_variances():
    random = np.random.default_rng(3)
    old, animals = random.standard_normal((40, 3)), np.repeat(np.arange(20), 2)
    found = compare_animals(old[:4] + 9, old, np.zeros(4), animals, 199, random)
    assert found.p == pytest.approx(1 / 21, abs=0.05) and np.isfinite(found.gene_p).all()
