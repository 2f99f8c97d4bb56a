"""Differences between models: pooled R2 by hand, resampling cell by cell, folds with the correction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from expanded_tails import expanded_tails
from scipy import stats
from sklearn.model_selection import RepeatedKFold

from sbnn import (
    ClassMean,
    CrossValidation,
    ReducedRankRegressor,
    compare,
    cross_validate,
    load_results,
    save_results,
    simulate_patchseq,
)
from sbnn.validation.bootstrap import draw_groups, interval_over_units
from sbnn.validation.differences import r2_intervals
from sbnn.validation.folds import view_fold
from sbnn.validation.significance import corrected_resampled_t
from sbnn.validation.transfer import ALL_FEATURES

MODELS = {
    "map": ReducedRankRegressor(2, 1.0, l1_ratio=0),
    "ridge": ReducedRankRegressor(None, 1.0, l1_ratio=0),
    "type": ClassMean("cell_types"),
}
DATA, _ = simulate_patchseq(120, 30, n_features=4, n_informative=8, n_types=4, n_donors=15, missing=0.1)


def validated(data=DATA, models=MODELS, folds="donor", **settings):
    return cross_validate(data, models, folds=folds, progress=False, **settings)


@pytest.fixture(scope="module", params=["all cells", "training cells"])
def result(request):
    return validated(within_fold=request.param == "training cells")


def errors_by_hand(result, model):
    """Cell by cell: row of the data, fold, squared errors and squared deviations, all on the scale of the fold."""
    parts = []
    for number, fold in enumerate(result.folds):
        Y = view_fold(DATA, fold, result.protocol == "training cells").Y.astype(float)
        table = result.predictions.query("model == @model and fold == @number").set_index("cell")
        predicted = table.loc[DATA.cell_names[fold.test], DATA.feature_names].to_numpy()
        centre = np.nanmean(Y[fold.train], axis=0)
        for row, cell in enumerate(fold.test):
            parts.append((cell, number, (Y[cell] - predicted[row]) ** 2, (Y[cell] - centre) ** 2))
    cells, folds, residual, total = zip(*parts, strict=True)
    return np.array(cells), np.array(folds), np.array(residual), np.array(total)


def pooled(residual, total):
    return 1 - np.nansum(residual) / np.nansum(total)


def test_r2_is_pooled_over_the_held_out_cells_of_all_folds(result):
    found = r2_intervals(result, DATA, n_bootstrap=10).set_index("model")
    by_feature = r2_intervals(result, DATA, by="feature", n_bootstrap=10).set_index(["model", "feature"])
    for model in MODELS:
        _, _, residual, total = errors_by_hand(result, model)
        assert found.loc[model, "r2"] == pytest.approx(pooled(residual, total), abs=1e-9)
        for column, feature in enumerate(DATA.feature_names):
            expected = pooled(residual[:, column], total[:, column])
            assert by_feature.loc[(model, feature), "r2"] == pytest.approx(expected, abs=1e-9)
    table = compare(result, DATA, n_bootstrap=10)
    assert list(zip(table["model"], table["reference"], strict=True)) == [
        ("map", "ridge"), ("map", "type"), ("ridge", "type"),
    ]  # fmt: skip
    np.testing.assert_allclose(table["r2"], found.loc[table["model"], "r2"])
    np.testing.assert_allclose(table["r2_reference"], found.loc[table["reference"], "r2"])
    np.testing.assert_allclose(table["difference"], table["r2"] - table["r2_reference"])
    assert set(table["feature"]) == {ALL_FEATURES} and "q" not in table and set(table["n_units"]) == {15}


def test_intervals_bootstrap_animals_the_same_for_both_models(result):
    """Recomputed by putting the cells of the drawn animals together, as often as they are drawn."""
    row = compare(result, DATA, "type", n_bootstrap=60, level=0.8, random_state=3).set_index("model").loc["map"]
    alone = r2_intervals(result, DATA, n_bootstrap=60, level=0.8, random_state=3).set_index("model").loc["map"]
    (cells, _, first, total), (_, _, second, _) = (errors_by_hand(result, name) for name in ("map", "type"))
    names = np.unique(DATA.donors)
    differences, scores = [], []
    for draw in draw_groups(len(names), 60, 3):
        chosen = np.concatenate(
            [np.flatnonzero(DATA.donors[cells] == name) for name in np.repeat(names, draw.astype(int))]
        )
        scores.append(pooled(first[chosen], total[chosen]))
        differences.append(scores[-1] - pooled(second[chosen], total[chosen]))
    tails = expanded_tails(0.8, len(names))
    np.testing.assert_allclose(row[["low", "high"]].astype(float), np.quantile(differences, tails), atol=1e-9)
    np.testing.assert_allclose(alone[["low", "high"]].astype(float), np.quantile(scores, tails), atol=1e-9)


@pytest.mark.parametrize(("n", "least"), [(6, 0.92), (8, 0.93), (20, 0.935), (200, 0.94)])
def test_intervals_of_few_animals_hold_what_they_say(n, least):
    """The mean of a normal value of n animals: percentiles of 95 % alone would hold 86 % with six, 89 % with eight."""
    values = np.random.default_rng(n).standard_normal((1000, n))
    means = draw_groups(n, 2000, 0) @ values.T / n
    low, high = interval_over_units(means, np.full(1000, n), 0.95)
    assert least < ((low < 0) & (high > 0)).mean() < 0.97
    assert np.isnan(interval_over_units(means, np.ones(1000, dtype=int), 0.95)).all()


def test_some_features_are_scored_as_if_there_were_no_others(result):
    names = DATA.feature_names[[2, 0]].tolist()
    every = r2_intervals(result, DATA, by="feature", n_bootstrap=20).query("feature in @names")
    some = r2_intervals(result, DATA, by="feature", n_bootstrap=20, features=names)
    pd.testing.assert_frame_equal(some, every.reset_index(drop=True))
    squares, total = (values[:, [0, 2]] for values in errors_by_hand(result, "map")[2:])
    pooled_r2 = r2_intervals(result, DATA, n_bootstrap=20, features=names).set_index("model").loc["map", "r2"]
    np.testing.assert_allclose(pooled_r2, pooled(squares, total))
    for features, message in (("a", "must be names"), ([], "must be names"), (["odd"], "features has 'odd'")):
        with pytest.raises(ValueError, match=message):
            compare(result, DATA, features=features)


def test_differences_over_folds_are_those_of_the_scores_with_the_correction(result):
    row = compare(result, DATA, "ridge", n_bootstrap=10, level=0.9).set_index("model").loc["type"]
    scores = result.scores.pivot_table("r2_test", "fold", "model")
    sizes = [len(fold.train) for fold in result.folds], [len(fold.test) for fold in result.folds]
    expected = corrected_resampled_t(scores["type"] - scores["ridge"], *sizes, 0.9)
    found = row[["fold_difference", "fold_low", "fold_high", "p"]].astype(float)
    np.testing.assert_allclose(found, np.ravel(expected), atol=1e-5)


def test_a_pair_turned_round_has_the_opposite_difference(result):
    one = compare(result, DATA, "type", by="feature", n_bootstrap=50).query("model == 'map'").reset_index()
    other = compare(result, DATA, "map", by="feature", n_bootstrap=50).query("model == 'type'").reset_index()
    for first, second in (("difference", "difference"), ("low", "high"), ("fold_difference", "fold_difference"),
                          ("fold_low", "fold_high"), ("fold_high", "fold_low")):  # fmt: skip
        np.testing.assert_allclose(one[first], -other[second], atol=1e-12)
    np.testing.assert_allclose(one["p"], other["p"])
    np.testing.assert_allclose(one["q"], stats.false_discovery_control(one["p"]))


def test_a_model_does_not_differ_from_itself(result):
    of_map = result.predictions.query("model == 'map'")
    twice = replace(result, predictions=pd.concat([of_map, of_map.assign(model="copy")]))
    table = compare(twice, DATA, by="feature", n_bootstrap=20)
    for column in ("difference", "low", "high", "fold_difference", "fold_low", "fold_high"):
        np.testing.assert_array_equal(table[column], 0)
    assert table["p"].eq(1).all() and table["q"].eq(1).all()


def test_a_loaded_result_gives_the_same_table(result, tmp_path):
    folds = [fold._asdict() for fold in result.folds]
    about = {"dataset": result.dataset, "fingerprint": result.fingerprint, "protocol": result.protocol}
    save_results(tmp_path / "cv.pickle", result.tables, **about, folds=folds, models=result.models)
    loaded = CrossValidation.from_results(load_results(tmp_path / "cv.pickle"))
    pd.testing.assert_frame_equal(compare(loaded, DATA, n_bootstrap=20), compare(result, DATA, n_bootstrap=20))


def test_settings_may_differ_between_folds_but_not_within_one():
    grid = validated(models={"map": [ReducedRankRegressor(2, alpha, l1_ratio=0) for alpha in (1.0, 5.0)]})
    with pytest.raises(ValueError, match="result.predictions holds cells of fold 0 several times for 'map'"):
        r2_intervals(grid, DATA)
    chosen = np.where(grid.predictions["fold"] % 2, 1.0, 5.0)
    nested = replace(grid, predictions=grid.predictions[grid.predictions["alpha"] == chosen])
    nested = replace(nested, scores=grid.scores[grid.scores["alpha"] == np.where(grid.scores["fold"] % 2, 1.0, 5.0)])
    _, _, residual, total = errors_by_hand(nested, "map")
    assert r2_intervals(nested, DATA, n_bootstrap=10)["r2"].item() == pytest.approx(pooled(residual, total), abs=1e-9)


def test_cells_that_several_folds_test_count_in_each():
    result = validated(models={"map": MODELS["map"]}, folds=RepeatedKFold(n_splits=3, n_repeats=2, random_state=0))
    cells, _, residual, total = errors_by_hand(result, "map")
    assert len(cells) == 2 * DATA.n_cells
    found = r2_intervals(result, DATA, unit="cell", n_bootstrap=10)
    assert found["r2"].item() == pytest.approx(pooled(residual, total), abs=1e-9)
    assert found["unit"].item() == "cell" and found["n_units"].item() == DATA.n_cells


def test_without_donors_cells_are_drawn(result):
    without = replace(DATA, donors=None)
    found = compare(result, without, n_bootstrap=20)
    assert set(found["unit"]) == {"cell"} and set(found["n_units"]) == {DATA.n_cells}
    pd.testing.assert_frame_equal(found, compare(result, DATA, unit="cell", n_bootstrap=20))


def test_a_model_without_a_score_in_a_fold_has_no_difference():
    """With so large a penalty no gene is left, and fewer genes than the rank have no score, as in the tables."""
    models = {"none": ReducedRankRegressor(2, 50.0), "ridge": MODELS["ridge"]}
    result = validated(models=models)
    row = compare(result, DATA, n_bootstrap=20).iloc[0]
    assert row[["r2", "difference", "low", "high", "fold_difference", "fold_low", "fold_high", "p"]].isna().all()
    assert np.isfinite(row["r2_reference"])
    assert (
        r2_intervals(result, DATA, n_bootstrap=20).query("model == 'none'")[["r2", "low", "high"]].isna().all(axis=None)
    )


def test_not_finite_predictions_are_no_number():
    result = validated(models={name: MODELS[name] for name in ("map", "ridge")})
    result.predictions.loc[result.predictions["model"].eq("map").idxmax(), "feature 2"] = np.inf
    table = compare(result, DATA, by="feature", n_bootstrap=20).set_index("feature")
    numbers = ["r2", "difference", "low", "high", "p", "q"]
    assert table.loc["feature 2", numbers].isna().all()
    assert table.drop(index="feature 2")[numbers].notna().all(axis=None)


def test_a_single_animal_has_no_interval():
    """Drawn every time, it would give one without width."""
    Y = DATA.Y.copy()
    random = np.random.default_rng(0)
    Y[:, 0] = np.where(DATA.donors == DATA.donors[0], Y[:, 0], np.nan)
    seldom = replace(DATA, Y=Y, features=None, counts=None)
    order = random.permutation(DATA.n_cells)
    folds = [(order[60:], order[:60]), (order[:60], order[60:])]
    if not all(np.isfinite(Y[train, 0]).any() for train, _ in folds):
        pytest.skip("the animal is in one fold only")
    result = validated(seldom, {name: MODELS[name] for name in ("map", "ridge")}, folds)
    table = compare(result, seldom, by="feature", n_bootstrap=20)
    assert table["n_units"].tolist() == [1, 15, 15, 15]
    assert table[["low", "high"]].isna().all(axis=1).tolist() == [True, False, False, False]


def test_what_cannot_be_compared_is_said(result):
    other, _ = simulate_patchseq(120, 30, n_features=4, n_informative=8, n_types=4, n_donors=15, random_state=5)
    one = replace(result, predictions=result.predictions.query("model == 'map'"))
    lacking = replace(result, predictions=result.predictions.iloc[1:])
    no_fold = replace(result, predictions=result.predictions.query("fold > 0"))
    changed = result.predictions.assign(**{"feature 1": result.predictions["feature 1"] + 0.5})
    one_animal = replace(DATA, donors=np.full(DATA.n_cells, "mouse"))
    unknown = replace(DATA, donors=np.where(np.arange(DATA.n_cells) < 3, "unknown", DATA.donors))
    cases = [
        ("result must be a CrossValidation.*got NoneType", lambda: compare(None, DATA)),
        ("got dict; make one .* CrossValidation.from_results", lambda: compare({}, DATA)),
        ("data must be PairedData", lambda: compare(result, "type")),
        ("was made from others, 'simulated'", lambda: compare(result, other)),
        ("result has no predictions", lambda: compare(replace(result, predictions=pd.DataFrame()), DATA)),
        ("at least 2 models, result has those of 'map'", lambda: compare(one, DATA)),
        ("reference must be one of .*'map', 'ridge', 'type', got 'lasso'", lambda: compare(result, DATA, "lasso")),
        ("unknown by 'genes'", lambda: compare(result, DATA, by="genes")),
        ("unknown unit 'fold'", lambda: compare(result, DATA, unit="fold")),
        ("unit='donor' needs data.donors", lambda: compare(result, replace(DATA, donors=None), unit="donor")),
        ("at least 2 donors among the test cells, got 1", lambda: compare(result, one_animal)),
        (r"the group \(animal\) of 3 of 120 cells is not known", lambda: compare(result, unknown)),
        ("n_bootstrap must be at least 1, got 0", lambda: compare(result, DATA, n_bootstrap=0)),
        ("random_state must be", lambda: compare(result, DATA, random_state=-1)),
        ("level must be", lambda: compare(result, DATA, level=95)),
        ("'map' lacks 1 of .* cells of fold 0", lambda: compare(lacking, DATA)),
        ("'map' lacks .* cells of fold 0", lambda: compare(no_fold, DATA)),
        ("predicts them with an R2 of", lambda: compare(replace(result, predictions=changed), DATA)),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_result_without_test_cells_is_refused():
    with pytest.raises(ValueError, match="result has no test cells"):
        compare(validated(folds="all"), DATA)


@pytest.mark.real_data
def test_the_papers_network_against_class_means_is_as_measured_before(m1):
    """Over the committed folds: -0.008 (-0.031 to 0.014) and -0.081 (-0.106 to -0.056), measured elsewhere."""
    results = Path(__file__).resolve().parents[2] / "KerasSavedModels/scala_2020/sbnn_cv.pickle"
    scores = load_results(results)["scores"].query("model == 'sBNN-2' and stage == 'pruned'")
    chosen = scores["schedule"].eq("paper") & scores["group_lasso"].eq(0.1)
    of_network = scores[chosen].sort_values("fold")["r2_test"].to_numpy()
    means = validated(m1, {"family": ClassMean("cell_families"), "type": ClassMean("cell_types")}, "paper")
    sizes = [len(fold.train) for fold in means.folds], [len(fold.test) for fold in means.folds]
    for name, expected in (("family", (-0.008, -0.031, 0.014)), ("type", (-0.081, -0.106, -0.056))):
        of_class = means.scores[means.scores["model"] == name].sort_values("fold")["r2_test"].to_numpy()
        found = corrected_resampled_t(of_network - of_class, *sizes)
        np.testing.assert_allclose(np.ravel(found)[:3], expected, atol=6e-4)
