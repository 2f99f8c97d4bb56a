"""Tests over folds and over animals, against their formulas and scipy."""

import numpy as np
import pytest
from scipy import stats

from sbnn.validation.significance import benjamini_hochberg, corrected_resampled_t, t_test_over_units

DIFFERENCES = np.array([0.02, -0.01, 0.05, 0.03, 0.01])


def test_the_corrected_t_test_is_that_of_nadeau_and_bengio():
    """By hand: t = mean / sqrt((1 / J + n_test / n_train) s^2), J - 1 degrees of freedom."""
    found = corrected_resampled_t(DIFFERENCES, [80] * 5, [20] * 5, 0.9)
    error = np.sqrt((1 / 5 + 20 / 80) * np.var(DIFFERENCES, ddof=1))
    assert found.mean[0] == pytest.approx(0.02)
    assert found.p[0] == pytest.approx(2 * stats.t.sf(0.02 / error, 4))
    reach = stats.t.ppf(0.95, 4) * error
    np.testing.assert_allclose([found.low[0], found.high[0]], [0.02 - reach, 0.02 + reach])
    opposite = corrected_resampled_t(-DIFFERENCES, [80] * 5, [20] * 5, 0.9)
    np.testing.assert_allclose([opposite.low[0], opposite.high[0]], [-found.high[0], -found.low[0]])
    assert opposite.p[0] == pytest.approx(found.p[0])


def test_without_test_cells_the_correction_is_none():
    found = corrected_resampled_t(DIFFERENCES, [80] * 5, [0] * 5)
    assert found.p[0] == pytest.approx(stats.ttest_1samp(DIFFERENCES, 0).pvalue)
    interval = stats.ttest_1samp(DIFFERENCES, 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.low[0], found.high[0]], interval)


def test_columns_are_tested_by_themselves_and_folds_without_a_score_are_left_out():
    columns = np.column_stack(
        [DIFFERENCES, np.append(DIFFERENCES[:4], np.nan), [np.nan] * 4 + [1.0], [0.0] * 5, [0.1] * 5]
    )
    n_train, n_test = [80, 80, 80, 80, 70], [20, 20, 20, 20, 30]
    found = corrected_resampled_t(columns, n_train, n_test)
    for column, rows in ((0, slice(0, 5)), (1, slice(0, 4))):
        alone = corrected_resampled_t(columns[rows, column], n_train[rows], n_test[rows])
        np.testing.assert_allclose([values[column] for values in found], [values[0] for values in alone])
    assert np.isnan([values[2] for values in found]).all()
    assert [values[3] for values in found] == [0, 0, 0, 1]
    np.testing.assert_allclose([values[4] for values in found], [0.1, 0.1, 0.1, 0], atol=1e-12)


def test_what_cannot_be_tested_is_said():
    with pytest.raises(ValueError, match="n_train must have one entry per fold"):
        corrected_resampled_t(DIFFERENCES, [80], [20] * 5)
    with pytest.raises(ValueError, match="n_test must have one entry per fold"):
        corrected_resampled_t(DIFFERENCES, [80] * 5, [20])
    for level in (0, 1, 1.5, "0.9", True, None):
        with pytest.raises(ValueError, match="level must be a number between 0 and 1, such as 0.9 for 90 %, got"):
            corrected_resampled_t(DIFFERENCES, [80] * 5, [20] * 5, level)


def test_the_t_test_over_animals_is_that_of_scipy_over_those_with_values():
    random = np.random.default_rng(0)
    gains, n_values = random.normal(0.3, 1, (12, 3)), np.ones((12, 3))
    n_values[:4, 1] = gains[:4, 1] = 0
    expected = [
        stats.ttest_1samp(gains[rows, column], 0, alternative="greater").pvalue
        for column, rows in enumerate([slice(None), slice(4, None), slice(None)])
    ]
    np.testing.assert_allclose(t_test_over_units(gains, n_values), expected)
    np.testing.assert_array_equal(t_test_over_units(np.zeros((3, 1)), np.ones((3, 1))), [1.0])
    assert np.isnan(t_test_over_units(np.ones((3, 1)), np.array([[1], [0], [0]]))).all()
    assert np.isnan(t_test_over_units(np.array([[1.0], [np.nan], [2.0]]), np.ones((3, 1)))).all()


def test_q_values_are_those_of_scipy_without_missing_ones():
    p = np.array([0.04, 0.001, np.nan, 0.3, 0.02])
    there = ~np.isnan(p)
    q = benjamini_hochberg(p)
    np.testing.assert_allclose(q[there], stats.false_discovery_control(p[there]))
    assert np.isnan(q[2]) and np.isnan(benjamini_hochberg([np.nan])).all() and len(benjamini_hochberg([])) == 0
