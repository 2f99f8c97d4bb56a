"""Bounds of CV+: against the definition, nested in coverage, infinite where there is too little to tell."""

import math
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from sbnn.models import cross_conformal
from sbnn.models.cross_conformal import (
    Calibration,
    calibration_folds,
    cross_conformal_bounds,
    order_of_bound,
    residuals_needed,
)
from sbnn.models.fit_arguments import group_numbers
from sbnn.models.inner_folds import inner_folds

COVERAGES = (0.02, 0.1, 0.3, 0.5, 0.55, 0.7, 0.8, 0.9, 0.95, 0.99)


def by_hand(predictions, residuals, folds, coverage):
    """The definition, one cell and one feature after the other."""
    n_new, n_features = predictions.shape[1:]
    low, high = np.full((n_new, n_features), -np.inf), np.full((n_new, n_features), np.inf)
    for feature in range(n_features):
        seen = [cell for cell in range(len(folds)) if not math.isnan(residuals[cell, feature])]
        order = math.ceil(Fraction(str(coverage)) * (len(seen) + 1))  # exact
        if order > len(seen):
            continue
        for cell in range(n_new):
            centres = [predictions[folds[other], cell, feature] for other in seen]
            reach = [residuals[other, feature] for other in seen]
            above = sorted(centre + far for centre, far in zip(centres, reach, strict=True))
            below = sorted((centre - far for centre, far in zip(centres, reach, strict=True)), reverse=True)
            low[cell, feature], high[cell, feature] = below[order - 1], above[order - 1]
    return low, high


@pytest.fixture
def case():
    random = np.random.default_rng(0)
    residuals = np.abs(random.standard_normal((40, 3)))
    residuals[random.random(residuals.shape) < 0.2] = np.nan
    residuals[7:, 2] = np.nan
    return random.standard_normal((4, 9, 3)), residuals, random.integers(4, size=40)


@pytest.mark.parametrize("coverage", [coverage for coverage in COVERAGES if coverage > 0.5])
def test_bounds_are_those_of_the_definition(case, coverage):
    found, (low, high) = cross_conformal_bounds(*case, coverage), by_hand(*case, coverage)
    np.testing.assert_allclose(found.low, low, rtol=1e-12)
    np.testing.assert_allclose(found.high, high, rtol=1e-12)
    assert np.isinf(found.low[:, 2]).all() == (residuals_of(case, 2) < residuals_needed(coverage))


def residuals_of(case, feature):
    return int((~np.isnan(case[1][:, feature])).sum())


def test_below_one_half_bounds_only_move_apart_to_hold_the_median_prediction(case):
    moved = 0
    for coverage in (0.02, 0.1, 0.3):
        low, high = by_hand(*case, coverage)
        found = cross_conformal_bounds(*case, coverage)
        for feature in range(3):
            seen = ~np.isnan(case[1][:, feature])
            middle = np.median(case[0][case[2][seen], :, feature], axis=0)
            np.testing.assert_allclose(found.low[:, feature], np.minimum(low[:, feature], middle))
            np.testing.assert_allclose(found.high[:, feature], np.maximum(high[:, feature], middle))
            moved += (low[:, feature] > high[:, feature]).sum()
    assert moved > 0  # the definition alone gives empty intervals here


def test_bounds_are_nested_in_coverage(case):
    bounds = [cross_conformal_bounds(*case, coverage) for coverage in np.linspace(0.01, 0.99, 99)]
    for narrow, wide in pairwise(bounds):
        assert (wide.low <= narrow.low).all() and (narrow.low <= narrow.high).all() and (narrow.high <= wide.high).all()
    assert (bounds[-1].high > bounds[0].high).all()


def test_models_that_agree_give_the_prediction_and_a_quantile(case):
    """Then CV+ is split conformal prediction with all residuals."""
    _, residuals, folds = case
    one = np.random.default_rng(1).standard_normal((9, 3))
    found = cross_conformal_bounds(np.stack([one] * 4), residuals, folds, 0.8)
    for feature in range(2):
        known = np.sort(residuals[~np.isnan(residuals[:, feature]), feature])
        reach = known[math.ceil(0.8 * (len(known) + 1)) - 1]
        np.testing.assert_allclose(found.high[:, feature], one[:, feature] + reach)
        np.testing.assert_allclose(found.low[:, feature], one[:, feature] - reach)


def test_new_cells_may_come_in_blocks(case, monkeypatch):
    whole = cross_conformal_bounds(*case, 0.8)
    monkeypatch.setattr(cross_conformal, "_HELD_AT_ONCE", 100)
    parts = cross_conformal_bounds(*case, 0.8)
    np.testing.assert_array_equal(whole.low, parts.low)
    np.testing.assert_array_equal(whole.high, parts.high)


def test_which_order_statistic_is_a_bound_despite_rounding():
    for percent in range(1, 100):
        for n in (1, 5, 9, 19, 99, 100, 1213, 10_000):
            assert order_of_bound(n, percent / 100) == math.ceil(Fraction(percent, 100) * (n + 1)), (percent, n)


def test_how_many_residuals_a_coverage_needs():
    for percent in range(1, 100):
        needed = residuals_needed(percent / 100)
        assert order_of_bound(needed, percent / 100) <= needed
        assert needed == 1 or order_of_bound(needed - 1, percent / 100) > needed - 1
    assert residuals_needed(0.9) == 9 and residuals_needed(0.95) == 19
    assert residuals_needed(1 - 1e-12) > 10**11  # at once, and without an end to wait for


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, float("nan"), True, "0.9", None, [0.9]])
def test_coverage_must_be_between_0_and_1(case, coverage):
    with pytest.raises(ValueError, match="coverage must be a number between 0 and 1, such as 0.9 for 90 %, got"):
        cross_conformal_bounds(*case, coverage)


def test_shapes_must_agree(case):
    predictions, residuals, folds = case
    with pytest.raises(ValueError, match=r"predictions must have the shape .* got \(9, 3\) and \(40, 3\)"):
        cross_conformal_bounds(predictions[0], residuals, folds)
    with pytest.raises(ValueError, match=r"of the same features, got \(4, 9, 2\) and \(40, 3\)"):
        cross_conformal_bounds(predictions[:, :, :2], residuals, folds)
    with pytest.raises(ValueError, match=r"folds must have one entry per cell of residuals \(40\), got 39"):
        cross_conformal_bounds(predictions, residuals, folds[1:])
    for wrong in (folds + 1, folds - 1, folds.astype(float)):
        with pytest.raises(ValueError, match="folds must be numbers below 4"):
            cross_conformal_bounds(predictions, residuals, wrong)


class Constant:
    def __init__(self, value, n_features=3):
        self.value, self.n_features = value, n_features

    def predict(self, X):
        return np.full((len(X), self.n_features), self.value)


def test_a_calibration_says_which_features_have_too_few_cells(case):
    _, residuals, folds = case
    models = [Constant(value) for value in range(4)]
    names = ["AP width", "Tau", "Sag"]
    calibration = Calibration(models, residuals, folds, 12, names)
    assert repr(calibration) == "Calibration: 4 folds, 40 cells, 3 features, 12 groups of cells kept together"
    assert repr(Calibration(models, residuals, folds)).endswith("3 features, random cells")
    few = residuals_of(case, 2)
    message = rf"bounds of 1 feature\(s\) are infinite: .* coverage of 0.9, which needs 9: 'Sag \({few} cells\)'"
    with pytest.warns(UserWarning, match=message):
        low, high = calibration.interval(np.zeros((5, 2)), 0.9)
    assert np.isinf(low[:, 2]).all() and np.isinf(high[:, 2]).all() and np.isfinite(low[:, :2]).all()
    with pytest.warns(UserWarning, match=rf"'2 \({few} cells\)'"):
        Calibration(models, residuals, folds).interval(np.zeros((5, 2)), 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(calibration.interval(np.zeros((5, 2)), 0.5).high).all()
    with pytest.raises(ValueError, match="predictions must have the shape of Y"):
        Calibration([Constant(0, 2)] * 4, residuals, folds).interval(np.zeros((5, 2)), 0.5)


def test_folds_hold_out_every_cell_once_and_never_split_a_group():
    groups = np.random.default_rng(0).integers(23, size=200)
    made = calibration_folds(200, 5, groups, random_state=3)
    assert len(made.folds) == 5 and made.n_groups == len(np.unique(groups))
    assert sorted(np.concatenate([test for _, test in made.folds])) == list(range(200))
    for train, test in made.folds:
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(200)) and (np.diff(train) < 0).any()  # in random order
    again = calibration_folds(200, 5, [f"mouse {group}" for group in groups], random_state=3)
    other = calibration_folds(200, 5, groups, random_state=4)
    assert all(np.array_equal(one[0], two[0]) for one, two in zip(made.folds, again.folds, strict=True))
    assert not all(np.array_equal(one[1], two[1]) for one, two in zip(made.folds, other.folds, strict=True))
    assert len(calibration_folds(200, 50, groups % 3).folds) == 3


def test_folds_of_groups_do_not_depend_on_the_order_of_cells():
    """The same animals are held out together, however cells are sorted, and whether groups are names or numbers."""
    groups = np.random.default_rng(0).integers(23, size=200)
    order = np.random.default_rng(1).permutation(200)
    made = calibration_folds(200, 5, groups, random_state=3)
    again = calibration_folds(200, 5, groups[order], random_state=3)
    for (_, test), (_, other) in zip(made.folds, again.folds, strict=True):
        assert set(groups[test]) == set(groups[order][other])
    numbers = group_numbers(["b", "a", 2, "2", "b"], 5)
    assert numbers.tolist() == [3, 2, 0, 1, 3]  # 2 and "2" are two groups


def test_folds_are_those_on_which_anything_else_is_chosen():
    groups = np.random.default_rng(0).integers(7, size=50)
    for given, n_folds in ((groups, 5), (groups, 20), (np.arange(50), 3)):
        made = calibration_folds(50, n_folds, given, random_state=2)
        for one, other in zip(made.folds, inner_folds(50, 2, made.groups, n_folds), strict=True):
            np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))


def test_folds_without_groups_are_random_and_say_so():
    with pytest.warns(UserWarning, match="folds of the calibration are random cells"):
        made = calibration_folds(20, 4)
    assert made.n_groups is None and sorted(np.concatenate([test for _, test in made.folds])) == list(range(20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert calibration_folds(20, 4, np.arange(20)).n_groups == 20  # independent cells, on purpose


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_folds": 1}, "n_folds must be at least 2, got 1"),
        ({"n_folds": 2.5}, "n_folds must be a whole number"),
        ({"random_state": -1}, "random_state must be between 0 and"),
        ({"random_state": None}, "random_state must be a whole number"),
        ({"groups": [1] * 20}, "at least 2 groups of cells are needed, got 1"),
        ({"groups": [1] * 19}, r"groups must have one entry per cell \(20\), got 19"),
        ({"groups": ["unknown"] + ["m"] * 19}, r"the group \(animal\) of 1 of 20 cells is not known"),
        ({"n_cells": 1}, "at least 2 cells are needed, got 1"),
    ],
)
def test_folds_that_cannot_be_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        calibration_folds(**{"n_cells": 20} | arguments)
