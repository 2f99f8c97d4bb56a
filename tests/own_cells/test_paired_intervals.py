"""Intervals of a PairedModel: in units, from folds that know nothing of the cells held out, the same from its file."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from test_model_file import parts_of, replaced, write

from sbnn import PairedModel, ReducedRankRegressor, SparseBottleneckRegressor, load_model, simulate_patchseq
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.cross_conformal import calibration_folds, order_of_bound
from sbnn.models.schedules import Schedule, Stage

STAGES = Schedule("test", (Stage("finetuned", 6, 3e-3), Stage("pruned", 4, 3e-3)))
NETWORK = SparseBottleneckRegressor(hidden=(16, 8), n_selected=5, schedule=STAGES)
ESTIMATORS = {
    "linear": ReducedRankRegressor(2, 0.1),
    "full rank": ReducedRankRegressor(None, 0.1, relaxed=True),
    "ensemble": clone(NETWORK).set_params(n_networks=2),
}


@pytest.fixture(scope="module")
def cells():
    data, _ = simulate_patchseq(n_cells=200, n_genes=40, n_features=4, n_informative=8, n_types=4, missing=0.05)
    data = data.subset(~np.isnan(data.Y).all(axis=1))
    return replace(data, features=data.features * np.array([1, 10, 100, 0.1]) + np.array([0, 5, -70, 3]))


@pytest.fixture(scope="module")
def split(cells):
    new = np.isin(cells.donors, np.unique(cells.donors)[:10])
    return cells.subset(~new), cells.subset(new)


@pytest.fixture(scope="module")
def linear(split):
    return PairedModel(ESTIMATORS["linear"]).fit(split[0]).calibrate(split[0], n_folds=3, progress=False)


def test_cv_plus_in_units_by_hand(split, linear):
    training, new = split
    folds = calibration_folds(training.n_cells, 3, training.donors).folds
    above, below = np.full((2, training.n_cells, new.n_cells, 4), np.nan)
    for train, test in folds:
        preprocessor, X, Y = fit_preprocessor(training, train)
        model = ReducedRankRegressor(2, 0.1).fit(X[train], Y[train])
        residuals = np.abs(training.features[test] - preprocessor.inverse_transform_features(model.predict(X[test])))
        centre = preprocessor.inverse_transform_features(model.predict(preprocessor.transform_genes(new.counts)))
        above[test], below[test] = centre + residuals[:, None], centre - residuals[:, None]
    low, high = linear.predict_interval(new, coverage=0.8)
    for feature, name in enumerate(training.feature_names):
        seen = ~np.isnan(training.features[:, feature])
        order = order_of_bound(int(seen.sum()), 0.8)
        np.testing.assert_allclose(high[name], np.sort(above[seen, :, feature], axis=0)[order - 1], rtol=1e-6)
        np.testing.assert_allclose(low[name], np.sort(below[seen, :, feature], axis=0)[-order], rtol=1e-6)


def test_bounds_are_tables_of_cells_and_features(split, linear):
    new = split[1]
    low, high = linear.predict_interval(new)
    predicted = linear.predict(new)
    for bound in (low, high):
        assert list(bound.index) == list(new.cell_names) and list(bound.columns) == list(new.feature_names)
    assert ((low < predicted) & (predicted < high)).all(axis=None)
    wide = linear.predict_interval(new, 0.95)
    assert (wide.low <= low).all(axis=None) and (wide.high >= high).all(axis=None)
    inside = (low.to_numpy() <= new.features) & (new.features <= high.to_numpy())
    assert 0.8 < inside[~np.isnan(new.features)].mean() < 1


def test_cells_without_counts_and_lacking_genes(split, linear):
    new = split[1]
    table = pd.DataFrame(new.counts.copy(), new.cell_names, new.gene_names)
    shuffled = table.iloc[:, np.random.default_rng(0).permutation(40)].assign(other=1)
    pd.testing.assert_frame_equal(linear.predict_interval(shuffled).low, linear.predict_interval(new).low)
    table.iloc[3] = 0
    with pytest.warns(UserWarning, match="1 of .* cells have no count"):
        low, high = linear.predict_interval(table)
    assert np.isnan(low.iloc[3]).all() and np.isnan(high.iloc[3]).all() and low.notna().sum().sum() == low.size - 4
    without = shuffled.drop(columns=linear.selected_genes_[0])
    with pytest.raises(ValueError, match="the cells lack 1 of the 40 genes"):
        linear.predict_interval(without)
    with pytest.warns(UserWarning, match="set to their training mean"):
        filled = linear.predict_interval(without, fill_missing=True)
    assert np.isfinite(filled.low.to_numpy()).all() and not filled.low.equals(linear.predict_interval(new).low)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_loaded_model_gives_the_same_intervals(split, tmp_path, name):
    training, new = split
    model = PairedModel(ESTIMATORS[name]).fit(training)
    plain = model.save(tmp_path / "plain.sbnn")
    model.calibrate(training, n_folds=2, progress=False)
    loaded = load_model(path := model.save(tmp_path / "map.sbnn"))
    for bound, other in zip(model.predict_interval(new), loaded.predict_interval(new), strict=True):
        pd.testing.assert_frame_equal(bound, other, check_exact=True)
    assert repr(loaded.calibration_) == repr(model.calibration_) and loaded.calibration_.n_groups == 30
    assert load_model(loaded.save(tmp_path / "again.sbnn")).calibration_ is not None
    assert (tmp_path / "again.sbnn").read_bytes() == path.read_bytes()
    pd.testing.assert_frame_equal(loaded.predict(new), load_model(plain).predict(new))
    networks = sum(fold.model.weights[number].nbytes for fold in model.calibration_.models for number in (0, 1))
    rest = 8 * (training.n_cells * 5 + 2 * (3 * 40 + 3 * 4 + 40)) + 8000
    weights = sum(weight.nbytes for fold in model.calibration_.models for weight in fold.model.weights)
    assert networks <= weights and path.stat().st_size - plain.stat().st_size < weights + rest


def test_a_file_of_full_rank_with_fewer_genes_than_features(tmp_path):
    data, _ = simulate_patchseq(n_cells=90, n_genes=5, n_features=8, n_informative=5, n_types=3, random_state=4)
    model = PairedModel(ReducedRankRegressor(None, 0.1)).fit(data).calibrate(data, n_folds=2, progress=False)
    loaded = load_model(model.save(tmp_path / "map.sbnn"))
    pd.testing.assert_frame_equal(model.predict(data), loaded.predict(data))
    pd.testing.assert_frame_equal(model.predict_interval(data).low, loaded.predict_interval(data).low)


def test_a_model_of_expression_alone(split, tmp_path):
    training, new = (replace(cells, counts=None) for cells in split)
    model = PairedModel(ESTIMATORS["linear"]).fit(training).calibrate(training, n_folds=2)
    loaded = load_model(model.save(tmp_path / "map.sbnn"))
    pd.testing.assert_frame_equal(model.predict_interval(new).high, loaded.predict_interval(new).high)


def test_files_without_intervals_still_load_and_say_what_to_do(split, linear, tmp_path):
    config, arrays = parts_of(linear.save(tmp_path / "map.sbnn"))
    del config["intervals"]
    old = {name: array for name, array in arrays.items() if not name.startswith("intervals")}
    model = load_model(write(tmp_path / "old.sbnn", config | {"format_version": [2, 1]}, old))
    pd.testing.assert_frame_equal(model.predict(split[1]), linear.predict(split[1]))
    with pytest.raises(ValueError, match=r"this PairedModel has no intervals: call calibrate\(data\)"):
        model.predict_interval(split[1])
    again = model.calibrate(split[0], n_folds=3, progress=False).predict_interval(split[1])
    pd.testing.assert_frame_equal(again.low, linear.predict_interval(split[1]).low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intervals": 3}, "its intervals are '3', not a dict"),
        ({"intervals": {"n_groups": 1, "median_depths": [1.0] * 3}}, "n_groups must be at least 2"),
        ({"intervals": {"n_groups": 30, "median_depths": [1.0]}}, "its median_depths should be 3, one per fold"),
        ({"intervals": {"n_groups": 30, "median_depths": [1.0, 1.0, -1.0]}}, "median_depth must be finite and more"),
        (
            {"intervals": {"n_groups": 30, "median_depths": None}},
            "holds an array 'intervals gene_shares_' that no such",
        ),
    ],
)
def test_a_description_of_intervals_that_cannot_be_is_refused(linear, tmp_path, change, message):
    config, arrays = parts_of(linear.save(tmp_path / "map.sbnn"))
    with pytest.raises(ValueError, match=rf"new.sbnn is not a model of sbnn.*{message}"):
        load_model(write(tmp_path / "new.sbnn", config | change, arrays))


def test_arrays_of_intervals_that_cannot_be_are_refused(linear, tmp_path):
    config, arrays = parts_of(linear.save(tmp_path / "map.sbnn"))
    names = [name for name in arrays if name.startswith("intervals")]
    assert len(names) == 11
    changes = [(name, change) for name in names for change in ("short", "another kind")]
    changes += [(f"intervals {name}", "NaN") for name in ("weights", "x_mean", "y_mean", "gene_means_", "gene_sds_")]
    changes += [(f"intervals {name}", "zero") for name in ("gene_sds_", "feature_sds_")]
    changes += [(f"intervals {name}", "negative") for name in ("residuals", "folds", "gene_shares_")]
    changes.append(("intervals residuals", "infinite"))
    for name, change in changes:
        path = write(tmp_path / "new.sbnn", config, arrays | {name: replaced(arrays[name], change)})
        with pytest.raises(ValueError, match="new.sbnn is not a model of sbnn, or is truncated or damaged"):
            load_model(path)
    for name in names:
        others = {other: array for other, array in arrays.items() if other != name}
        with pytest.raises(ValueError, match="it lacks the array|do not have one residual"):
            load_model(write(tmp_path / "new.sbnn", config, others))
    shares = arrays["intervals gene_shares_"] * 2
    with pytest.raises(ValueError, match="gene_shares_ of its fold 0 add up to 2, not to 1"):
        load_model(write(tmp_path / "new.sbnn", config, arrays | {"intervals gene_shares_": shares}))
    with pytest.raises(ValueError, match="in other folds than the 3 of its intervals"):
        folds = np.where(arrays["intervals folds"] == 2, 1, arrays["intervals folds"])
        load_model(write(tmp_path / "new.sbnn", config, arrays | {"intervals folds": folds}))
    without = {name: value for name, value in config.items() if name != "intervals"}
    with pytest.raises(ValueError, match="holds an array 'intervals feature_means_' that no such model has"):
        load_model(write(tmp_path / "new.sbnn", without, arrays))


def test_a_new_fit_needs_a_new_calibration(split):
    model = PairedModel(ESTIMATORS["linear"]).fit(split[0]).calibrate(split[0], n_folds=2)
    with pytest.raises(ValueError, match="data must be PairedData"):
        model.fit(None)
    assert model.calibration_ is not None
    assert model.fit(split[0]).calibration_ is None


def test_what_cannot_be_calibrated_is_refused(split, linear):
    training, new = split
    other = replace(training, features=training.features * 2)
    fewer = training.subset(np.arange(100))
    renamed = replace(training, gene_names=training.gene_names[::-1])
    for data in (new, other, fewer, renamed):
        with pytest.raises(ValueError, match="data must be the cells, genes and features that the model was fitted on"):
            linear.calibrate(data)
    with pytest.raises(ValueError, match="data must be PairedData"):
        linear.calibrate(training.X)
    with pytest.raises(ValueError, match="n_folds must be at least 2, got 1"):
        linear.calibrate(training, n_folds=1)
    with pytest.raises(NotFittedError):
        PairedModel().calibrate(training)
    with pytest.raises(NotFittedError):
        PairedModel().predict_interval(new)
    for coverage in (0, 1, 90):
        with pytest.raises(ValueError, match="coverage must be a number between 0 and 1"):
            linear.predict_interval(new, coverage)
    assert linear.calibration_ is not None
    with pytest.warns(UserWarning, match="folds of the calibration are random cells"):
        PairedModel(ESTIMATORS["linear"]).fit(training).calibrate(replace(training, donors=None), n_folds=2)


def test_a_feature_that_few_cells_have_gets_no_bounds(cells):
    features = cells.features.copy()
    features[np.flatnonzero(~np.isnan(features[:, 2]))[12:], 2] = np.nan
    data = replace(cells, features=features).subset(~np.isnan(features).all(axis=1))
    model = PairedModel(ESTIMATORS["linear"]).fit(data).calibrate(data, n_folds=3)
    assert np.isfinite(model.predict_interval(data, 0.9).low.to_numpy()).all()
    message = r"bounds of 1 feature\(s\) are infinite: .* a coverage of 0.95, which needs 19: 'feature 3 \(12 cells\)'"
    with pytest.warns(UserWarning, match=message):
        low, high = model.predict_interval(data, 0.95)
    assert np.isneginf(low["feature 3"]).all() and np.isposinf(high["feature 3"]).all()
    assert np.isfinite(high.drop(columns="feature 3").to_numpy()).all()
