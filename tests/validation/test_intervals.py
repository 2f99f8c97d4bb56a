"""Prediction intervals: against CV+ by hand, on donors that nobody has seen, and refused where they would be wrong."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from sbnn import CrossConformal, ReducedRankRegressor, SparseBottleneckRegressor, cross_validate, simulate_patchseq
from sbnn.models import training
from sbnn.models.calibration_models import reduce_model
from sbnn.models.cross_conformal import calibration_folds
from sbnn.models.schedules import Schedule, Stage
from sbnn.validation.baselines import ClassMean
from sbnn.validation.intervals import calibrate, calibrate_paired

STAGES = Schedule("test", (Stage("finetuned", 6, 3e-3), Stage("pruned", 4, 3e-3)))
NETWORK = SparseBottleneckRegressor(hidden=(16, 8), n_selected=5, schedule=STAGES)
MODELS = {
    "network": NETWORK,
    "ensemble": clone(NETWORK).set_params(n_networks=2),
    "linear": ReducedRankRegressor(2, 0.1),
}


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=120, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)[0]


def linear_problem(n_donors, random, n_per_donor=6):
    """Cells of donors that differ in their means, two features and four genes."""
    donors = np.repeat(np.arange(n_donors), n_per_donor)
    X = random.standard_normal((len(donors), 4))
    Y = X[:, :2] + random.standard_normal((len(donors), 2)) + 0.5 * random.standard_normal((n_donors, 2))[donors]
    return X, Y, donors


def test_cv_plus_by_hand():
    random = np.random.default_rng(0)
    X, Y, donors = linear_problem(10, random)
    Y[random.random(Y.shape) < 0.1] = np.nan
    Y[np.isnan(Y).all(axis=1), 0] = 0.0
    new = random.standard_normal((7, 4))
    found = CrossConformal(Ridge(2.0), n_folds=5, random_state=1).fit(X, Y, groups=donors)
    complete = ~np.isnan(Y).any(axis=1)
    np.testing.assert_allclose(found.predict(new), Ridge(2.0).fit(X[complete], Y[complete]).predict(new))
    above, below = [], []  # of each cell: mu_-k(i)(x) + R_i and - R_i
    for train, test in GroupKFold(5, shuffle=True, random_state=1).split(X, groups=donors):
        kept = train[complete[train]]
        centre, slope = Y[kept].mean(axis=0), X[kept] - X[kept].mean(axis=0)
        B = np.linalg.solve(slope.T @ slope + 2 * np.eye(4), slope.T @ (Y[kept] - centre))
        mean = X[kept].mean(axis=0)
        for cell in test:
            residual = np.abs(Y[cell] - centre - (X[cell] - mean) @ B)
            above.append(centre + (new - mean) @ B + residual)
            below.append(centre + (new - mean) @ B - residual)
    for coverage in (0.6, 0.9):
        low, high = found.predict_interval(new, coverage)
        for feature in range(2):
            tops, bottoms = (np.array(part)[:, :, feature] for part in (above, below))
            seen = ~np.isnan(tops[:, 0])
            order = math.ceil(coverage * (seen.sum() + 1))
            np.testing.assert_allclose(high[:, feature], np.sort(tops[seen], axis=0)[order - 1], rtol=1e-9)
            np.testing.assert_allclose(low[:, feature], np.sort(bottoms[seen], axis=0)[::-1][order - 1], rtol=1e-9)


@pytest.mark.parametrize("coverage", [0.6, 0.9])
def test_new_donors_are_covered_as_often_as_asked(coverage):
    """Exchangeable donors: the share over many of them, each with training donors of its own."""
    inside = []
    for seed in range(40):
        X, Y, donors = linear_problem(50, np.random.default_rng(seed))
        seen = donors < 30
        model = CrossConformal(Ridge()).fit(X[seen], Y[seen], groups=donors[seen])
        low, high = model.predict_interval(X[~seen], coverage)
        inside.append(((low <= Y[~seen]) & (Y[~seen] <= high)).mean())
    assert abs(np.mean(inside) - coverage) < 0.02


def test_random_folds_are_too_narrow_for_new_donors_and_donor_folds_are_not():
    """With as many genes as donors and strong effects of donors, a model that knows a donor knows its cells."""
    inside = {"donors": [], "cells": []}
    for seed in range(10):
        random = np.random.default_rng(seed)
        donors = np.repeat(np.arange(40), 8)
        marks = random.standard_normal((40, 60))  # genes that differ between donors, not between their cells
        X = marks[donors] + 0.1 * random.standard_normal((len(donors), 60))
        Y = 2 * random.standard_normal((40, 1))[donors] + random.standard_normal((len(donors), 1))
        seen = donors < 30
        for kept, groups in (("donors", donors[seen]), ("cells", np.arange(seen.sum()))):
            model = CrossConformal(Ridge(0.1)).fit(X[seen], Y[seen], groups=groups)
            low, high = model.predict_interval(X[~seen])
            inside[kept].append(((low <= Y[~seen]) & (Y[~seen] <= high)).mean())
    assert np.mean(inside["cells"]) < 0.75 and 0.85 < np.mean(inside["donors"]) < 0.97


@pytest.mark.parametrize("name", ["network", "linear"])
def test_calibrated_models_have_residuals_of_models_that_did_not_see_the_cells(data, name):
    """Those of cross_validate on the same folds, fitted there for themselves."""
    model = clone(MODELS[name]).fit(data.X, data.Y)
    before = model.predict(data.X)
    assert calibrate(model, data.X, data.Y, groups=data.donors, n_folds=3, progress=False) is model
    np.testing.assert_array_equal(model.predict(data.X), before)
    folds = calibration_folds(data.n_cells, 3, data.donors).folds
    result = cross_validate(data, {"same": MODELS[name]}, folds=folds, progress=False)
    for number, (_, test) in enumerate(folds):
        rows = result.predictions[result.predictions["fold"] == number].set_index("cell")
        predicted = rows.loc[data.cell_names[test], data.feature_names].to_numpy()
        np.testing.assert_allclose(model.calibration_.residuals[test], np.abs(data.Y[test] - predicted), atol=2e-6)
        assert (model.calibration_.folds[test] == number).all()
    low, high = model.predict_interval(data.X[:11], coverage=0.8)
    assert low.shape == high.shape == (11, 4) and (low < high).all()
    wide = model.predict_interval(data.X[:11], coverage=0.95)
    assert (wide.low <= low).all() and (wide.high >= high).all()


def test_genes_of_a_table_are_checked_by_name(data):
    table = pd.DataFrame(data.X, columns=data.gene_names)
    model = calibrate(clone(MODELS["linear"]).fit(table, data.Y), table, data.Y, data.donors, n_folds=3)
    with pytest.raises(ValueError, match="feature names"):
        model.predict_interval(table.iloc[:, ::-1])
    assert model.predict_interval(table).low.shape == data.Y.shape


@pytest.mark.parametrize("name", MODELS)
def test_what_is_kept_of_a_model_predicts_what_the_model_does(data, name):
    model = clone(MODELS[name]).fit(data.X, data.Y)
    np.testing.assert_allclose(reduce_model(model).predict(data.X), model.predict(data.X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["network", "linear"])
def test_a_new_fit_needs_a_new_calibration(data, name):
    model = clone(MODELS[name]).fit(data.X, data.Y)
    calibrate(model, data.X, data.Y, groups=data.donors, n_folds=2, progress=False)
    with pytest.raises(ValueError):
        model.fit(data.X, data.Y[:5])
    assert model.predict_interval(data.X).low.shape == data.Y.shape  # that of the fit that stays
    model.fit(data.X, data.Y)
    for uncalibrated in (model, clone(model).fit(data.X, data.Y)):
        with pytest.raises(ValueError, match=r"has no intervals yet: call sbnn.validation.intervals.calibrate\(model"):
            uncalibrated.predict_interval(data.X)


def test_missing_features_are_left_out(data):
    Y = np.where(np.random.default_rng(0).random(data.Y.shape) < 0.2, np.nan, data.Y)
    Y[np.isnan(Y).all(axis=1), 0] = 0
    few = np.flatnonzero(~np.isnan(Y[:, 3]))[8:]
    Y[few, 3] = np.nan
    Y[np.isnan(Y).all(axis=1), 0] = 0
    for model in (clone(MODELS["linear"]), clone(NETWORK)):
        calibrate(model.fit(data.X, Y), data.X, Y, groups=np.arange(120) % 10, n_folds=3, progress=False)
        np.testing.assert_array_equal(np.isnan(model.calibration_.residuals), np.isnan(Y))
        with pytest.warns(UserWarning, match=r"bounds of 1 feature\(s\) are infinite.*'3 \(8 cells\)'"):
            low, high = model.predict_interval(data.X)
        assert np.isinf(high[:, 3]).all() and np.isinf(low[:, 3]).all() and np.isfinite(high[:, :3]).all()


def test_one_feature_stays_one_dimensional(data):
    y = data.Y[:, 0]
    for model in (clone(MODELS["linear"]).set_params(rank=1), clone(NETWORK)):
        calibrate(model.fit(data.X, y), data.X, y, groups=data.donors, n_folds=2, progress=False)
        assert model.predict_interval(data.X).low.shape == model.predict(data.X).shape == (120,)
    wrapped = CrossConformal(Ridge(), n_folds=3).fit(data.X, y, groups=data.donors)
    assert wrapped.predict_interval(data.X).high.shape == wrapped.predict(data.X).shape == (120,)
    column = CrossConformal(Ridge(), n_folds=3).fit(data.X, y[:, None], groups=data.donors).predict_interval(data.X)
    np.testing.assert_allclose(column.high[:, 0], wrapped.predict_interval(data.X).high)


def test_finished_networks_are_taken_from_a_store(data, tmp_path, monkeypatch):
    model = clone(NETWORK).fit(data.X, data.Y)
    settings = {"groups": data.donors, "n_folds": 3, "progress": False, "store": tmp_path / "runs"}
    first = calibrate(model, data.X, data.Y, **settings).calibration_

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "train_stack", refuse)
    again = calibrate(model, data.X, data.Y, **settings).calibration_
    np.testing.assert_array_equal(first.residuals, again.residuals)
    linear = ReducedRankRegressor(2, 0.1)
    stored = calibrate_paired(data, linear, 3, store=tmp_path / "others")
    np.testing.assert_allclose(
        calibrate_paired(data, linear, 3, store=tmp_path / "others").residuals, stored.residuals, rtol=1e-12
    )


def test_any_regressor_can_be_wrapped(data):
    wrapped = CrossConformal(clone(NETWORK), n_folds=2).fit(data.X, data.Y, groups=data.donors)
    alone = calibrate(clone(NETWORK).fit(data.X, data.Y), data.X, data.Y, data.donors, n_folds=2, progress=False)
    for bound, other in zip(wrapped.predict_interval(data.X), alone.predict_interval(data.X), strict=True):
        np.testing.assert_array_equal(bound, other)
    np.testing.assert_array_equal(wrapped.predict(data.X), alone.predict(data.X))
    chooses = ReducedRankRegressor(None, 1.0, l1_ratio=0)
    assert CrossConformal(chooses).fit(data.X, data.Y, groups=data.donors).predict_interval(data.X).low.shape == (
        120,
        4,
    )
    classes = CrossConformal(ClassMean(), n_folds=4).fit(data.cell_families, data.Y, groups=data.donors)
    low, _ = classes.predict_interval(data.cell_families)
    for family in ("inner", "outer"):
        assert len(np.unique(low[data.cell_families == family], axis=0)) == 1
    table = CrossConformal(Ridge()).fit(pd.DataFrame(data.X), data.Y, groups=data.donors)
    np.testing.assert_allclose(
        table.predict_interval(pd.DataFrame(data.X)).low,
        CrossConformal(Ridge()).fit(data.X.tolist(), data.Y, groups=data.donors).predict_interval(data.X).low,
        atol=1e-4,  # single precision of data.X
    )
    for kind in (sparse.coo_matrix, sparse.csc_array, sparse.csr_matrix):
        found = CrossConformal(Ridge()).fit(kind(data.X), data.Y, groups=data.donors).predict_interval(kind(data.X))
        np.testing.assert_allclose(found.low, table.predict_interval(pd.DataFrame(data.X)).low, atol=1e-3)
    assert clone(CrossConformal(Ridge(2.0), n_folds=3)).estimator.alpha == 2.0


def test_networks_that_choose_their_number_do_so_within_groups(data, monkeypatch):
    from sbnn.models import gene_number

    monkeypatch.setattr(gene_number, "N_GENES", (3, 5))
    seen = []
    true_folds = gene_number.inner_folds

    def spy(n_cells, random_state, groups=None):
        seen.append(groups is not None)
        return true_folds(n_cells, random_state, groups)

    monkeypatch.setattr(gene_number, "inner_folds", spy)
    auto = clone(NETWORK).set_params(n_selected="auto")
    model = CrossConformal(auto, n_folds=2).fit(data.X, data.Y, groups=data.donors)
    assert seen == [True] * 3  # of all cells, and of both folds
    assert model.estimator_.n_selected_ in (3, 5)
    assert all(fold.selected.sum() in (3, 5) for fold in model.calibration_.models)


class NotFinite(DummyRegressor):
    """Predicts NaN for the first cell it is asked about."""

    def predict(self, X):
        predictions = super().predict(X)
        predictions[0] = np.nan
        return predictions


def test_what_cannot_be_calibrated_is_refused(data):
    X, Y, donors = data.X, data.Y, data.donors
    linear = clone(MODELS["linear"]).fit(X, Y)
    other = Y[::-1] * 2 + 1
    cases = [
        (lambda: calibrate(Ridge(), X, Y, donors), "model must be a fitted .* for other regressors see sbnn.CrossConf"),
        (lambda: calibrate(linear, X, other, donors), "must be the cells that the model was fitted on"),
        (lambda: calibrate(linear, X + 1, Y, donors), "must be the cells that the model was fitted on"),
        (lambda: calibrate(linear, X, Y[:, :2], donors), "must be the cells that the model was fitted on"),
        (lambda: calibrate(linear, X, Y[:50], donors), r"Y must have one entry per cell of X \(120\), got 50"),
        (lambda: calibrate(linear, X[:, :9], Y, donors), "30 features"),
        (lambda: calibrate(linear, X, Y, donors[:50]), "groups must have one entry per cell"),
        (lambda: calibrate(linear, X, Y, donors, n_folds=1), "n_folds must be at least 2"),
        (lambda: calibrate_paired(X, linear), "data must be PairedData"),
        (lambda: calibrate_paired(data, Ridge()), "estimator must be a SparseBottleneckRegressor or a Reduced"),
        (lambda: CrossConformal(Ridge).fit(X, Y, donors), "estimator must be a regressor, such as Ridge"),
        (lambda: CrossConformal(3).fit(X, Y, donors), "estimator must be a regressor, such as Ridge"),
        (
            lambda: CrossConformal(Ridge()).fit(X, Y[:50], donors),
            r"y must have one entry per cell of X \(120\), got 50",
        ),
        (lambda: CrossConformal(NotFinite(), 3).fit(X, Y, donors), "without fold 0 of the calibration predicts values"),
        (lambda: linear.predict_interval(X), "this ReducedRankRegressor has no intervals yet"),
        (lambda: linear.predict_interval(X, 90), "coverage must be a number between 0 and 1"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(NotFittedError):
        calibrate(ReducedRankRegressor(), X, Y, donors)
    for method in ("predict", "predict_interval"):
        with pytest.raises(NotFittedError):
            getattr(CrossConformal(Ridge()), method)(X)
    with pytest.raises(ValueError, match="coverage must be a number"):
        CrossConformal(Ridge()).fit(X, Y, donors).predict_interval(X, 0)
    assert not hasattr(linear, "calibration_")


def test_folds_without_a_value_of_a_feature_are_refused(data):
    halves = np.repeat(["one", "two"], 60)
    Y = data.Y.astype(np.float64)
    Y[:60, 0] = np.nan  # only donor "two" has the feature
    linear = clone(MODELS["linear"]).fit(data.X, Y)
    with pytest.raises(ValueError, match="has no value at all for feature"):
        calibrate(linear, data.X, Y, halves)
    Y[60:, 1] = np.nan
    with pytest.raises(ValueError, match="no training cell with a value of every feature"):
        CrossConformal(Ridge(), n_folds=2).fit(data.X, Y, groups=halves)


def test_random_folds_are_announced(data):
    linear = clone(MODELS["linear"]).fit(data.X, data.Y)
    with pytest.warns(UserWarning, match="folds of the calibration are random cells"):
        calibrate(linear, data.X, data.Y)
    assert repr(linear.calibration_).endswith("random cells")
    with pytest.warns(UserWarning, match="folds of the calibration are random cells"):
        calibrate_paired(replace(data, donors=np.where(np.arange(120) < 2, "unknown", data.donors)), linear, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrate(linear, data.X, data.Y, groups=data.donors)
