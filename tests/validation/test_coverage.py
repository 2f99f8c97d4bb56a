"""Shares of cells inside their intervals: counted independently, for models, class means and cross-validations."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold, RepeatedKFold

from sbnn import (
    CrossConformal,
    PairedModel,
    ReducedRankRegressor,
    coverage_table,
    cross_validate,
    load_model,
    simulate_patchseq,
)
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.cross_conformal import order_of_bound
from sbnn.validation.baselines import ClassMean
from sbnn.validation.intervals import calibrate

LINEAR = ReducedRankRegressor(2, 0.1)


@pytest.fixture(scope="module")
def split():
    data, _ = simulate_patchseq(n_cells=240, n_genes=40, n_features=4, n_informative=8, n_types=4, missing=0.05)
    data = data.subset(~np.isnan(data.Y).all(axis=1))
    data = replace(data, features=data.features * np.array([1, 10, 100, 0.1]), feature_units=("mV", "ms", None, "pA"))
    new = np.isin(data.donors, np.unique(data.donors)[:12])
    return data.subset(~new), data.subset(new)


@pytest.fixture(scope="module")
def model(split):
    return PairedModel(LINEAR).fit(split[0]).calibrate(split[0], n_folds=3)


def test_shares_and_widths_are_those_counted_by_hand(split, model):
    training, new = split
    table = coverage_table(model, new, 0.8, training=training)
    assert list(table.columns) == [
        "model", "by", "name", "n_values", "coverage", "width", "class_coverage", "class_width",
    ]  # fmt: skip
    assert set(table["model"]) == {"ReducedRankRegressor"}
    assert list(table["by"]) == ["all", *["feature"] * 4, *["family"] * 2]
    low, high = model.predict_interval(new, 0.8)
    means = CrossConformal(ClassMean(), n_folds=3)
    means.fit(training.cell_families, training.features, groups=training.donors)
    of_class = means.predict_interval(new.cell_families, 0.8)
    sds = np.nanstd(training.features, axis=0)
    for row in table.itertuples():
        cells = np.flatnonzero(new.cell_families == row.name) if row.by == "family" else range(new.n_cells)
        columns = [list(new.feature_names).index(row.name)] if row.by == "feature" else range(4)
        values = [(cell, column) for cell in cells for column in columns if not np.isnan(new.features[cell, column])]
        for (below, above), share, width in (
            ((low.to_numpy(), high.to_numpy()), row.coverage, row.width),
            (of_class, row.class_coverage, row.class_width),
        ):
            inside = [below[place] <= new.features[place] <= above[place] for place in values]
            widths = [(above[place] - below[place]) / sds[place[1]] for place in values]
            assert row.n_values == len(values)
            np.testing.assert_allclose([share, width], [np.mean(inside), np.mean(widths)], rtol=1e-6)
    alone = coverage_table(model, new, 0.8)
    assert alone["class_coverage"].isna().all() and alone["coverage"].equals(table["coverage"])
    plain = coverage_table(model, replace(new, cell_families=None, family_colors=None))
    assert list(plain["by"]) == ["all", *["feature"] * 4]


def test_estimators_are_compared_on_the_scale_of_y(split):
    training, new = split
    estimator = calibrate(clone(LINEAR).fit(training.X, training.Y), training.X, training.Y, training.donors, 3)
    table = coverage_table(estimator, new, training=training)
    wrapped = CrossConformal(LINEAR, n_folds=3).fit(training.X, training.Y, groups=training.donors)
    pd.testing.assert_frame_equal(table, coverage_table(wrapped, new, training=training))
    low, high = estimator.predict_interval(new.X)
    measured = ~np.isnan(new.Y)
    sds = np.nanstd(training.Y, axis=0)
    np.testing.assert_allclose(table["width"][0], ((high - low) / sds)[measured].mean(), rtol=1e-6)
    alone = coverage_table(estimator, new)  # without training cells, widths are in units of Y
    np.testing.assert_allclose(alone["width"][0], (high - low)[measured].mean())
    np.testing.assert_allclose(table["coverage"][0], ((low <= new.Y) & (high >= new.Y))[measured].mean())


def test_cells_may_be_given_as_a_table_and_features_in_another_order(split, model):
    _, new = split
    counts = pd.DataFrame(new.counts.copy(), new.cell_names, new.gene_names)
    expected = coverage_table(model, new)
    pd.testing.assert_frame_equal(coverage_table(model, new, cells=counts.iloc[:, ::-1]), expected)
    turned = replace(
        new, Y=new.Y[:, ::-1], features=new.features[:, ::-1], feature_names=new.feature_names[::-1],
        feature_units=new.feature_units[::-1],
    )  # fmt: skip
    pd.testing.assert_frame_equal(coverage_table(model, turned), expected)
    gone = model.selected_genes_[0]
    with pytest.warns(UserWarning, match="training mean"):
        filled = coverage_table(model, new, cells=counts.drop(columns=gone), fill_missing=True)
    assert filled["n_values"].equals(expected["n_values"])
    counts.iloc[0] = 0
    with pytest.warns(UserWarning, match="no count"):
        fewer = coverage_table(model, new, cells=counts)
    assert fewer["n_values"][0] == expected["n_values"][0] - (~np.isnan(new.features[0])).sum()


def test_a_model_is_compared_with_what_it_was_fitted_on(split):
    training, new = (replace(cells, feature_units=None) for cells in split)
    of_Y = replace(training, features=None)
    model = PairedModel(LINEAR).fit(of_Y).calibrate(of_Y, n_folds=3)
    expected = coverage_table(model, replace(new, features=None), training=of_Y)
    other_units = replace(new, features=new.features * 100 + 7)
    pd.testing.assert_frame_equal(coverage_table(model, other_units, training=training), expected)
    # As measured, without units: on another scale than Y, and still what the model predicts.
    model = PairedModel(LINEAR).fit(training).calibrate(training, n_folds=3)
    with_units = PairedModel(LINEAR).fit(split[0]).calibrate(split[0], n_folds=3)
    pd.testing.assert_frame_equal(coverage_table(model, new), coverage_table(with_units, new))
    with pytest.raises(ValueError, match="data needs features as measured"):
        coverage_table(model, replace(new, features=None))
    with pytest.raises(ValueError, match="training needs features as measured"):
        coverage_table(model, new, training=of_Y)


def test_files_that_do_not_say_what_the_model_predicts(split, tmp_path):
    training, new = (replace(cells, feature_units=None) for cells in split)
    of_Y = replace(training, features=None)
    for cells in (training, of_Y):
        model = PairedModel(LINEAR).fit(cells).calibrate(cells, n_folds=3)
        loaded = load_model(model.save(tmp_path / "map.sbnn"))
        pd.testing.assert_frame_equal(coverage_table(loaded, new), coverage_table(model, new))
        loaded.features_measured_ = None
        with pytest.raises(ValueError, match="does not say whether .*: calibrate it again"):
            coverage_table(load_model(loaded.save(tmp_path / "old.sbnn")), new)
        loaded.calibrate(cells, n_folds=3)
        pd.testing.assert_frame_equal(coverage_table(loaded, new), coverage_table(model, new))


@pytest.mark.parametrize("within_fold", [False, True])
def test_of_a_cross_validation_bounds_come_from_the_other_folds(split, within_fold):
    data, _ = split
    models = {"sRRR-2": LINEAR, "family": ClassMean()}
    result = cross_validate(data, models, folds="donor", within_fold=within_fold, progress=False)
    table = coverage_table(result, data, 0.8)
    assert list(dict.fromkeys(table["model"])) == ["sRRR-2", "family"]
    sds = np.nanstd(data.features, axis=0) if within_fold else np.ones(4)
    residuals = np.full((2, data.n_cells, 4), np.nan)
    for number, fold in enumerate(result.folds):
        rows = result.predictions[(result.predictions["fold"] == number)]
        for place, name in enumerate(models):
            predicted = rows[rows["model"] == name].set_index("cell").loc[data.cell_names[fold.test]]
            predicted, truth = predicted[data.feature_names].to_numpy(), data.Y[fold.test]
            if within_fold:
                predicted = fit_preprocessor(data, fold.train)[0].inverse_transform_features(predicted)
                truth = data.features[fold.test]
            residuals[place, fold.test] = np.abs(truth - predicted)
    for place, name in enumerate(models):
        inside, widths = [], []
        for fold in result.folds:
            others = np.setdiff1d(np.concatenate([one.test for one in result.folds]), fold.test)
            for feature in range(4):
                known = np.sort(residuals[place, others, feature][~np.isnan(residuals[place, others, feature])])
                limit = known[order_of_bound(len(known), 0.8) - 1]
                own = residuals[place, fold.test, feature]
                own = own[~np.isnan(own)]
                inside += (own <= limit).tolist()
                widths += [2 * limit / sds[feature]] * len(own)
        found = table[(table["model"] == name) & (table["by"] == "all")].iloc[0]
        np.testing.assert_allclose([found["coverage"], found["width"]], [np.mean(inside), np.mean(widths)], rtol=1e-6)
        assert found["n_values"] == len(inside) and abs(found["coverage"] - 0.8) < 0.06
    own = table[table["model"] == "family"]
    np.testing.assert_allclose(own[["coverage", "width"]], own[["class_coverage", "class_width"]], rtol=1e-6)


def test_a_result_with_too_few_cells_has_infinite_widths(split):
    data = split[0].subset(np.arange(12))
    data = replace(data, donors=None, cell_families=None, family_colors=None)
    folds = [(np.arange(6), np.arange(6, 12)), (np.arange(6, 12), np.arange(6))]
    result = cross_validate(data, {"mean": ReducedRankRegressor(None, 1.0, l1_ratio=0)}, folds=folds)
    table = coverage_table(result, data)
    assert np.isposinf(table["width"]).all() and (table["coverage"] == 1).all()
    assert table["class_width"].isna().all()


def spoilt(result, what):
    """A result in which the first model failed in the last fold."""
    failed = result.predictions["model"].eq("a") & result.predictions["fold"].eq(len(result.folds) - 1)
    of_scores = result.scores["model"].eq("a") & result.scores["fold"].eq(len(result.folds) - 1)
    predictions, scores = result.predictions.copy(), result.scores.copy()
    names = predictions.columns[predictions.columns.str.startswith("feature ")]
    if what != "no score":
        predictions.loc[failed, names] = what
    scores.loc[of_scores, "r2_test"] = np.nan
    return replace(result, predictions=predictions, scores=scores)


@pytest.mark.parametrize("within_fold", [False, True])
@pytest.mark.parametrize("what", [np.nan, np.inf, "no score"])
def test_a_model_that_failed_in_a_fold_has_no_coverage(split, within_fold, what):
    data, _ = split
    models = {"a": LINEAR, "b": ReducedRankRegressor(None, 1.0, l1_ratio=0)}
    result = cross_validate(data, models, folds="donor", within_fold=within_fold, progress=False)
    whole, found = coverage_table(result, data), coverage_table(spoilt(result, what), data)
    failed = found["model"] == "a"
    pd.testing.assert_frame_equal(found[~failed], whole[~failed])
    assert found.loc[failed, ["coverage", "width"]].isna().all(axis=None)
    others = ["by", "name", "n_values", "class_coverage", "class_width"]  # of the same cells as for the other model
    pd.testing.assert_frame_equal(found[failed][others], whole[failed][others])
    without_scores = replace(spoilt(result, what), scores=pd.DataFrame())
    if what != "no score":
        pd.testing.assert_frame_equal(coverage_table(without_scores, data), found)


def test_a_joined_result_has_the_models_with_predictions(split):
    data, _ = split
    settings = {"folds": "donor", "progress": False}
    result = cross_validate(data, {"a": LINEAR}, **settings)
    joined = cross_validate(data, {"without": LINEAR}, keep=[], **settings).join(result)
    pd.testing.assert_frame_equal(coverage_table(joined, data), coverage_table(result, data))


def test_a_cell_counts_for_each_fold_that_tests_it(split):
    data, _ = split
    once = coverage_table(cross_validate(data, {"a": LINEAR}, folds=KFold(3), progress=False), data)
    repeated = RepeatedKFold(n_splits=3, n_repeats=2, random_state=0)
    twice = coverage_table(cross_validate(data, {"a": LINEAR}, folds=repeated, progress=False), data)
    assert once["n_values"][0] == (~np.isnan(data.Y)).sum()
    assert twice["n_values"].tolist() == (2 * once["n_values"]).tolist()


def test_unknown_is_no_family(split):
    data, _ = split
    families = np.where(np.arange(data.n_cells) < 9, "unknown", data.cell_families)
    data = replace(data, cell_families=families, family_colors=None)
    table = coverage_table(cross_validate(data, {"a": LINEAR}, folds="donor", progress=False), data)
    families = table.loc[table["by"] == "family"]
    assert families["name"].tolist() == sorted(set(data.cell_families) - {"unknown"})
    assert families["n_values"].sum() == (~np.isnan(data.Y[9:])).sum()


def test_what_a_result_cannot_tell_is_refused(split):
    data, _ = split
    two = cross_validate(data, {"a": [LINEAR, ReducedRankRegressor(2, 0.2)]}, folds="donor", progress=False)
    with pytest.raises(ValueError, match="several times for 'a', which has several settings"):
        coverage_table(two, data)
    result = cross_validate(data, {"a": LINEAR}, folds="donor", within_fold=True, progress=False)
    others = replace(data, features=data.features + np.random.default_rng(0).normal(0, 30, data.features.shape))
    with pytest.raises(ValueError, match="give the data, with the counts and features, that were given"):
        coverage_table(result, others)


def test_what_has_no_coverage_is_refused(split, model):
    training, new = split
    counts = pd.DataFrame(new.counts.copy(), new.cell_names, new.gene_names)
    estimator = calibrate(clone(LINEAR).fit(training.X, training.Y), training.X, training.Y, training.donors, 2)
    result = cross_validate(new, {"a": LINEAR}, folds="donor", keep=["latents"])
    whole = cross_validate(new, {"a": LINEAR}, folds="all")
    single = cross_validate(new, {"a": LINEAR}, folds=[(np.arange(50), np.arange(50, new.n_cells))])
    other = replace(new, feature_units=("V", "ms", None, "pA"))
    three = replace(
        new, Y=new.Y[:, :3], features=new.features[:, :3], feature_names=new.feature_names[:3], feature_units=None
    )
    no_families = replace(training, cell_families=None, family_colors=None)
    cases = [
        (lambda: coverage_table(model, counts), "data must be PairedData"),
        (lambda: coverage_table(model, new, 1.5), "coverage must be a number between 0 and 1"),
        (lambda: coverage_table(model, new, of="colour"), "unknown of 'colour'"),
        (lambda: coverage_table(3, new), "model_or_result must be a model with predict_interval or a CrossValidation"),
        (lambda: coverage_table(PairedModel, new), "model_or_result must be a model"),
        (lambda: coverage_table(PairedModel(LINEAR).fit(training), new), "has no intervals"),
        (lambda: coverage_table(model, other), "feature 'feature 1' is in 'mV' in the model but in 'V' in data"),
        (lambda: coverage_table(model, three), "data lacks features of the model: 'feature 4'"),
        (lambda: coverage_table(model, replace(new, features=None)), "data needs features as measured"),
        (lambda: coverage_table(model, new, cells=counts[::-1]), "cells must be those of data, in their order"),
        (lambda: coverage_table(model, new, training=no_families), "needs cell_families of 'simulated', which is None"),
        (lambda: coverage_table(model, new, training=counts), "training must be PairedData"),
        (lambda: coverage_table(model, new, training=three), "training must have the features of the model"),
        (lambda: coverage_table(estimator, new, cells=counts), "cells are for a PairedModel"),
        (lambda: coverage_table(estimator, three), "the model predicts 4 features, but data has 3"),
        (lambda: coverage_table(result, new), r'no predictions: call cross_validate with keep=\["predictions"\]'),
        (lambda: coverage_table(whole, new), "result has no test cells"),
        (lambda: coverage_table(single, new), "at least two folds with held-out cells"),
        (lambda: coverage_table(whole, training), "result must be of these data"),
        (lambda: coverage_table(whole, new, training=training), "training and cells are for a model"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
