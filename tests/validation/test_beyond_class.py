"""Gains over class means and R2 within classes: by hand, cell by cell, and on simulations with a known answer."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from expanded_tails import expanded_tails
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GroupKFold, KFold

from sbnn import (
    ClassMean,
    CrossValidation,
    ReducedRankRegressor,
    beyond_class,
    compare,
    cross_validate,
    nested_cross_validate,
    simulate_patchseq,
)
from sbnn.validation import folds
from sbnn.validation.bootstrap import draw_groups
from sbnn.validation.class_residuals import mean_of_neighbours
from sbnn.validation.class_scores import ALL_CELLS
from sbnn.validation.folds import view_fold
from sbnn.validation.transfer import ALL_FEATURES

MODELS = {"map": ReducedRankRegressor(2, 1.0, l1_ratio=0), "type": ClassMean("cell_types")}
DATA, _ = simulate_patchseq(120, 30, n_features=4, n_informative=8, n_types=4, n_donors=15, missing=0.1)
K = 7
QUICK = {"n_neighbours": K, "n_bootstrap": 40}


def validated(data=DATA, models=MODELS, folds="donor", **settings):
    return cross_validate(data, models, folds=folds, progress=False, **settings)


@pytest.fixture(scope="module", params=["all cells", "training cells"])
def result(request):
    return validated(within_fold=request.param == "training cells")


@pytest.fixture(scope="module")
def found(result):
    return beyond_class(result, DATA, **QUICK)


def by_hand(result, data=DATA, labels=DATA.cell_types):
    """Cell by cell: predictions of class mean, map, and both; squared errors, and residuals within classes."""
    parts = []
    for number, fold in enumerate(result.folds):
        view = view_fold(data, fold, result.protocol == "training cells")
        Y = view.Y.astype(float)
        table = result.latents.query("model == 'map' and fold == @number").set_index("cell")
        Z = table.loc[data.cell_names, ["z1", "z2"]].to_numpy(dtype=float)
        means = {
            name: np.nanmean(Y[fold.train[labels[fold.train] == name]], axis=0) for name in set(labels[fold.train])
        }
        fitted = result.estimators[number].predict(view.X).astype(float)
        observed = np.where(np.isnan(Y), np.nan, fitted)
        offsets = {name: np.nanmean(observed[fold.train[labels[fold.train] == name]], axis=0) for name in means}
        centre = np.nanmean(Y[fold.train], axis=0)
        for cell in fold.test:
            near = fold.train[np.argsort(np.linalg.norm(Z[fold.train] - Z[cell], axis=1), kind="stable")[:K]]
            mean = means[labels[cell]]
            both = mean + np.nanmean(Y[near] - [means[labels[one]] for one in near], axis=0)
            errors = [Y[cell] - what for what in (centre, mean, np.nanmean(Y[near], axis=0), both)]
            within = Y[cell] - mean, fitted[cell] - offsets[labels[cell]]
            parts.append((cell, np.square(errors), np.square(within[0]), np.square(within[0] - within[1])))
    cells, squares, total, left = (np.array(column) for column in zip(*parts, strict=True))
    return cells, squares, total, left


def test_neighbours_predict_their_mean():
    random = np.random.default_rng(0)
    Z, new, values = random.normal(size=(20, 2)), random.normal(size=(6, 2)), random.normal(size=(20, 3))
    values[random.random(values.shape) < 0.3] = np.nan
    values[:, 2] = np.nan
    values[3, 2] = 4.0
    expected = []
    for place in new:
        near = sorted(range(20), key=lambda cell: np.hypot(*(Z[cell] - place)))[:5]
        expected.append([np.nanmean(values[near, column]) for column in (0, 1)])
    predicted = mean_of_neighbours(Z, values, new, 5)
    np.testing.assert_allclose(predicted[:, :2], expected)
    np.testing.assert_array_equal(predicted[:, 2], 4)  # if no neighbour has a value: the mean of all that have one
    np.testing.assert_allclose(mean_of_neighbours(Z, values, new, 99), np.tile(np.nanmean(values, axis=0), (6, 1)))


def test_gains_are_those_computed_cell_by_cell(result, found):
    cells, squares, _, _ = by_hand(result)
    rows = found.gains.set_index(["family", "feature"])
    everywhere = np.ones(len(cells), dtype=bool)
    scopes = [((ALL_CELLS, ALL_FEATURES), everywhere, slice(None))]
    scopes += [((ALL_CELLS, name), everywhere, [column]) for column, name in enumerate(DATA.feature_names)]
    scopes += [((name, ALL_FEATURES), DATA.cell_families[cells] == name, slice(None)) for name in ("inner", "outer")]
    assert len(rows) == len(scopes)
    for key, here, columns in scopes:
        total, *errors = np.nansum(squares[here][:, :, columns], axis=(0, 2))
        of_class, of_map, of_both = (1 - error / total for error in errors)
        row = rows.loc[key]
        np.testing.assert_allclose(row[["r2_class", "r2_map", "r2_both"]].astype(float), [of_class, of_map, of_both])
        assert row["gain"] == pytest.approx(of_both - of_class)
        assert row["explained"] == pytest.approx(1 - errors[2] / errors[0])
        assert row["n_cells"] == (~np.isnan(squares[here][:, 0, columns]).all(axis=1)).sum()
    assert found.n_cells == len(np.unique(cells)) and found.n_unknown == found.n_new == 0


def test_r2_within_classes_is_that_computed_cell_by_cell(result, found):
    cells, _, total, left = by_hand(result)
    rows = found.within.query("predicted_by == 'model' and model == 'map'").set_index(["family", "feature"])
    assert rows["centred_on"].eq("training cells").all()
    expected = 1 - np.nansum(left) / np.nansum(total)
    assert rows.loc[(ALL_CELLS, ALL_FEATURES), "within_r2"] == pytest.approx(expected, abs=1e-6)
    column = 1 - np.nansum(left[:, 2]) / np.nansum(total[:, 2])
    assert rows.loc[(ALL_CELLS, "feature 3"), "within_r2"] == pytest.approx(column, abs=1e-6)
    inner = DATA.cell_families[cells] == "inner"
    of_family = 1 - np.nansum(left[inner]) / np.nansum(total[inner])
    assert rows.loc[("inner", ALL_FEATURES), "within_r2"] == pytest.approx(of_family, abs=1e-6)


def test_intervals_bootstrap_animals_and_p_and_q_values_are_those_of_scipy(result, found):
    """Recomputed by putting the cells of the drawn animals together, as often as they are drawn."""
    cells, squares, total, left = by_hand(result)
    names, drawn = np.unique(DATA.donors), []
    for draw in draw_groups(len(names), 40, 0):
        chosen = np.concatenate(
            [np.flatnonzero(DATA.donors[cells] == name) for name in np.repeat(names, draw.astype(int))]
        )
        around, of_class, _, of_both = np.nansum(squares[chosen], axis=(0, 2))
        within = 1 - np.nansum(left[chosen]) / np.nansum(total[chosen])
        drawn.append(((of_class - of_both) / around, 1 - of_both / of_class, within))
    low, high = np.quantile(drawn, expanded_tails(0.95, len(names)), axis=0)
    row = found.overall.iloc[0]
    np.testing.assert_allclose(row[["low", "explained_low"]].astype(float), low[:2])
    np.testing.assert_allclose(row[["high", "explained_high"]].astype(float), high[:2])
    of_model = found.within.query("predicted_by == 'model' and model == 'map'").iloc[0]
    np.testing.assert_allclose(of_model[["low", "high"]].astype(float), [low[2], high[2]], atol=1e-6)
    smaller = pd.DataFrame(np.nan_to_num(squares[:, 1] - squares[:, 3])).groupby(DATA.donors[cells]).sum()
    expected = stats.ttest_1samp(smaller, 0, alternative="greater").pvalue
    np.testing.assert_allclose(found.by_feature["p"], expected)
    for table in (found.by_feature, found.by_family):
        np.testing.assert_allclose(table["q"], stats.false_discovery_control(table["p"]))


def test_a_class_mean_has_no_r2_within_classes_and_scores_as_the_model_does(result, found):
    rows = found.within.query("model == 'type'")
    assert set(rows["predicted_by"]) == {"model"} and set(rows["centred_on"]) == {"training cells"}
    np.testing.assert_allclose(rows["within_r2"], 0, atol=1e-6)
    score = compare(result, DATA, "map", n_bootstrap=10)["r2"].item()
    assert found.overall["r2_class"].item() == pytest.approx(score, abs=1e-6)


def loaded(result, predictions=None):
    """The result as it comes from a file: without its fitted models."""
    tables = {**result.tables, "predictions": result.predictions if predictions is None else predictions}
    about = {"dataset": result.dataset, "fingerprint": result.fingerprint, "protocol": result.protocol}
    folds = [fold._asdict() for fold in result.folds]
    return CrossValidation.from_results({**tables, **about, "folds": folds, "models": result.models})


def test_of_a_loaded_result_predictions_are_centred_on_the_test_cells_of_the_class(result, found):
    with pytest.warns(UserWarning, match=r"of 'map \(model\)', .* centred on test cells, .* 'map \(map\)' on train"):
        again = beyond_class(loaded(result), DATA, **QUICK)
    assert repr(again).count("centred on test cells") == result.predictions["model"].nunique()
    assert "centred on" not in repr(found)
    pd.testing.assert_frame_equal(again.gains, found.gains)
    kinds = again.within.groupby("predicted_by")["centred_on"].unique().map(list).to_dict()
    assert kinds == {"map": ["training cells"], "model": ["test cells"]}
    np.testing.assert_allclose(again.within.query("model == 'type'")["within_r2"], 0, atol=1e-6)
    residual = total = 0
    for number, fold in enumerate(result.folds):
        Y = view_fold(DATA, fold, result.protocol == "training cells").Y.astype(float)
        table = result.predictions
        table = table[table["model"].eq("map") & table["fold"].eq(number)].set_index("cell")
        for name in np.unique(DATA.cell_types):
            cells = fold.test[DATA.cell_types[fold.test] == name]
            predicted = table.loc[DATA.cell_names[cells], DATA.feature_names].to_numpy(dtype=float)
            for column in range(DATA.n_features):
                there = ~np.isnan(Y[cells, column])
                y, guess = Y[cells[there], column], predicted[there, column]
                if there.sum() > 1:
                    residual += np.sum((y - y.mean() - guess + guess.mean()) ** 2)
                    total += np.sum((y - y.mean()) ** 2)
    row = again.within.query("predicted_by == 'model' and model == 'map'").iloc[0]
    assert row["within_r2"] == pytest.approx(1 - residual / total, abs=1e-6)
    before = found.within.query("predicted_by == 'model' and model == 'map'").iloc[0]
    assert abs(row["within_r2"] - before["within_r2"]) < 0.15


def test_scores_of_one_kind_give_no_warning_and_nested_results_hold_their_models(result):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beyond_class(result, DATA, **QUICK)
        beyond_class(replace(loaded(result), latents=pd.DataFrame()), DATA, **QUICK)
    models = {"ridge": [ReducedRankRegressor(None, alpha, l1_ratio=0.0) for alpha in (1.0, 0.1)]}
    nested = nested_cross_validate(DATA, models, KFold(2, shuffle=True, random_state=0), inner=2, progress=False)
    assert set(beyond_class(nested, DATA, **QUICK).within["centred_on"]) == {"training cells"}


def test_perfect_predictions_explain_all_within_classes(result):
    parts = []
    for number, fold in enumerate(result.folds):
        Y = view_fold(DATA, fold, result.protocol == "training cells").Y[fold.test].astype(float)
        table = pd.DataFrame(np.nan_to_num(Y), columns=DATA.feature_names)
        parts.append(table.assign(model="perfect", fold=number, cell=DATA.cell_names[fold.test]))
    perfect = replace(loaded(result, pd.concat(parts)), latents=pd.DataFrame(), scores=pd.DataFrame())
    found = beyond_class(perfect, DATA, **QUICK)
    np.testing.assert_allclose(found.within["within_r2"], 1)
    np.testing.assert_allclose(found.within[["low", "high"]], 1)
    assert len(found.gains) == len(found.overall) == len(found.by_feature) == 0


class ReadsFeatures(RegressorMixin, BaseEstimator):
    """Knows the features, which are among the genes: a perfect model of any that are observed."""

    def fit(self, X, y):
        self.lines_ = [np.polyfit(X[:, place], y[:, place], 1) for place in range(y.shape[1])]
        return self

    def predict(self, X):
        return np.column_stack([np.polyval(line, X[:, place]) for place, line in enumerate(self.lines_)])


def test_predictions_are_centred_on_the_cells_whose_feature_is_observed():
    """Otherwise a perfect model would not explain all within classes where high values are missing."""
    whole, _ = simulate_patchseq(120, 30, n_features=4, n_types=4, n_donors=15)
    features = whole.features.copy()
    features[features > np.quantile(features, 0.8, axis=0)] = np.nan
    X = np.concatenate([whole.features, whole.X[:, 4:]], axis=1)
    Y = np.where(np.isnan(features), np.nan, whole.Y)
    seen = ~np.isnan(features).all(axis=1)
    data = replace(whole, X=X, counts=None, features=features, Y=Y).subset(seen)
    result = validated(data, {"perfect": ReadsFeatures()})
    np.testing.assert_allclose(beyond_class(result, data, **QUICK).within["within_r2"], 1)


def test_cells_without_a_class_mean_are_left_out_and_counted():
    """Of unknown type, and the only cell of its type; scores are those of the remaining cells."""
    types = DATA.cell_types.copy()
    types[:5], types[7] = "unknown", "rare"
    data = replace(DATA, cell_types=types, type_colors=None)
    result = validated(data, {"map": MODELS["map"]})
    found = beyond_class(result, data, **QUICK)
    assert (found.n_unknown, found.n_new, found.n_cells) == (5, 1, DATA.n_cells - 6)
    assert "114 cells (5 of unknown class and 1 without training cells of it left out)" in repr(found)
    total = of_class = of_map = 0
    for number, fold in enumerate(result.folds):
        Y, labels = data.Y.astype(float), data.cell_types
        table = result.latents[result.latents["fold"] == number].set_index("cell")
        Z = table.loc[data.cell_names, ["z1", "z2"]].to_numpy(dtype=float)
        kept = [cell for cell in fold.test if labels[cell] not in ("unknown", "rare")]
        alone = mean_of_neighbours(Z[fold.train], Y[fold.train], Z[kept], K)  # unknown training cells are neighbours
        means = [np.nanmean(Y[fold.train[labels[fold.train] == labels[cell]]], axis=0) for cell in kept]
        total += np.nansum((Y[kept] - np.nanmean(Y[fold.train], axis=0)) ** 2)
        of_class += np.nansum((Y[kept] - means) ** 2)
        of_map += np.nansum((Y[kept] - alone) ** 2)
    row = found.overall.iloc[0]
    np.testing.assert_allclose(row[["r2_class", "r2_map"]].astype(float), [1 - of_class / total, 1 - of_map / total])
    assert np.isfinite(found.gains["gain"]).all()


def test_a_class_without_a_value_of_a_feature_has_no_mean_of_it():
    Y = DATA.Y.copy()
    first = np.flatnonzero(DATA.cell_types == "type 1")
    Y[first, 0] = np.nan
    Y[first[0], 0] = 1.0  # whose fold has no training cell of the class with a value
    data = replace(DATA, Y=Y, counts=None, features=None)
    found = beyond_class(validated(data, {"map": MODELS["map"]}), data, **QUICK)
    of_feature = found.by_feature.set_index("feature").loc["feature 1"]
    assert of_feature["n_cells"] == (~np.isnan(Y[:, 0])).sum() - 1 and found.n_cells == DATA.n_cells


def test_families_are_the_classes_on_request_and_cells_are_drawn_without_donors(result):
    without = replace(DATA, donors=None)
    found = beyond_class(result, without, "cell_families", **QUICK)
    assert (found.classes, found.unit, found.n_units) == ("cell_families", "cell", DATA.n_cells)
    means = compare(validated(models={"a": ClassMean("cell_families"), "b": ClassMean("cell_types")}), DATA)
    if result.protocol == "all cells":
        assert found.overall["r2_class"].item() == pytest.approx(means["r2"].item(), abs=1e-6)
    assert "BeyondClass of families" in repr(found) and "over 120 cells" in repr(found)
    no_families = replace(DATA, cell_families=None, family_colors=None)
    assert len(beyond_class(result, no_families, **QUICK).by_family) == 0


def test_a_family_of_a_single_animal_has_no_interval(result):
    families = np.where(DATA.donors == DATA.donors[0], "one animal", DATA.cell_families)
    data = replace(DATA, cell_families=families, family_colors=None)
    rows = beyond_class(result, data, **QUICK).by_family.set_index("family")
    assert rows.loc["one animal", "n_units"] == 1 and np.isfinite(rows.loc["one animal", "gain"])
    assert rows.loc["one animal", ["low", "high", "explained_low", "p", "q"]].isna().all()
    assert rows.drop(index="one animal")[["low", "high", "q"]].notna().all(axis=None)


def test_a_model_without_a_score_has_no_r2_within_classes():
    models = {"none": ReducedRankRegressor(2, 50.0), "type": ClassMean("cell_types")}
    result = validated(models=models)
    for one in (result, replace(loaded(result), latents=pd.DataFrame())):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what has no score is compared with nothing
            rows = beyond_class(one, DATA, **QUICK).within.query("model == 'none' and predicted_by == 'model'")
        assert len(rows) and rows[["within_r2", "low", "high", "p", "q"]].isna().all(axis=None)


def test_what_cannot_be_scored_is_said(result):
    untyped = replace(DATA, cell_types=None, type_colors=None)
    unknown = replace(DATA, cell_types=np.full(DATA.n_cells, "unknown"), type_colors=None)
    empty = replace(result, latents=pd.DataFrame(), predictions=pd.DataFrame())
    astray = result.latents.copy()
    astray.loc[astray.index[0], "z1"] = np.nan
    twice = replace(result, latents=pd.concat([result.latents, result.latents]))
    torn = replace(result, latents=astray)
    cases = [
        ("unknown classes 'types'", lambda: beyond_class(result, DATA, "types")),
        ("needs data.cell_types, which is None", lambda: beyond_class(result, untyped)),
        ("no test cell has a class mean", lambda: beyond_class(result, unknown)),
        ("neither latents nor predictions", lambda: beyond_class(empty, DATA)),
        ("map of 'map' in fold 0 has coordinates that are not finite", lambda: beyond_class(torn, DATA)),
        ("result.latents holds cells of fold 0 several times for 'map'", lambda: beyond_class(twice, DATA)),
        ("n_neighbours must be at least 1, got 0", lambda: beyond_class(result, DATA, n_neighbours=0)),
        ("n_bootstrap must be a whole number", lambda: beyond_class(result, DATA, n_bootstrap=1.5)),
        ("random_state must be", lambda: beyond_class(result, DATA, random_state=None)),
        ("level must be", lambda: beyond_class(result, DATA, level=0)),
        ("unknown unit", lambda: beyond_class(result, DATA, unit="fold")),
        ("result must be a CrossValidation", lambda: beyond_class(DATA, DATA)),
        ("data must be PairedData", lambda: beyond_class(result, DATA.Y)),
    ]  # fmt: skip
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("within_type", [0.0, 1.0])
def test_what_varies_within_types_is_found_and_nothing_else(within_type):
    """As benchmarks/within_type.py, in which 20 draws of each kind are larger."""
    for seed in range(3):
        data, _ = simulate_patchseq(300, 400, n_informative=400, within_type=within_type, random_state=seed)
        models = {"map": ReducedRankRegressor(2, 5.0, l1_ratio=0)}
        result = validated(data, models, GroupKFold(5, shuffle=True, random_state=seed))
        found = beyond_class(result, data, n_bootstrap=300)
        within = found.within.drop_duplicates("predicted_by").set_index("predicted_by")["within_r2"]
        gain = found.overall.iloc[0]
        if within_type:
            assert gain["low"] > 0 and gain["p"] < 0.05 and within.min() > 0.1
        else:
            assert gain["low"] <= 0 and gain["p"] > 0.05 and within.abs().max() < 0.04
            assert found.by_feature["q"].min() > 0.05


def test_folds_need_not_test_all_cells():
    result = validated(folds=list(KFold(4, shuffle=True, random_state=0).split(DATA.X))[:2])
    found = beyond_class(result, DATA, unit="cell", **QUICK)
    assert found.n_cells == found.n_units == 60 and np.isfinite(found.within["within_r2"]).all()


def test_what_a_fold_sees_is_made_once(monkeypatch):
    models = {"one": MODELS["map"], "two": ReducedRankRegressor(2, 2.0, l1_ratio=0)}
    result = validated(models=models, within_fold=True)
    fit, made = folds.fit_preprocessor, []
    monkeypatch.setattr(folds, "fit_preprocessor", lambda *arguments: made.append(1) or fit(*arguments))
    found = beyond_class(result, DATA, **QUICK)
    assert found.within["centred_on"].eq("training cells").all()  # their predictions were made
    assert len(made) == len(result.folds)
