"""Nested cross-validation: nothing of a test cell reaches a model or a choice, and choices follow their rule."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from sbnn import (
    ClassMean,
    CrossValidation,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    load_results,
    nested_cross_validate,
    save_results,
    simulate_patchseq,
)
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.schedules import Schedule, Stage
from sbnn.validation import dispatch, execution, protocol
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.contestants import on_genes
from sbnn.validation.folds import FoldView, make_folds, view_fold
from sbnn.validation.nested import choose_candidate
from sbnn.validation.provenance import describe_models, found_in, list_differences

#: Clusters, group lasso, pruning and features in two epochs: most of the time is that of the compiler.
STAGE = {"epochs": 1, "learning_rate": 1e-2, "evaluate_every": 1}
SHORT = Schedule("short", (Stage("pretrained", cluster_starts=1, **STAGE), Stage("pruned", **STAGE)))
ALPHAS = (3.0, 1.0, 0.3, 0.1)
LINEAR = {
    "family mean": ClassMean("cell_families"),
    "sRRR-2": [ReducedRankRegressor(2, alpha, relaxed=True) for alpha in ALPHAS],
    "ridge": [Ridge(alpha) for alpha in (1000.0, 100.0)],
}

#: Tables of one cross-validation could not tell them apart.
NETWORKS = [SparseBottleneckRegressor(hidden=(8, 4), n_selected=number, schedule=SHORT) for number in (4, 7)]


@pytest.fixture(scope="module")
def data():
    """Twelve animals of twelve cells: all folds have equal sizes."""
    return simulate_patchseq(
        n_cells=144, n_genes=40, n_features=5, n_informative=8, n_types=4, n_donors=12, random_state=3
    )[0]


def nested(data, models=LINEAR, outer=None, inner=2, **settings):
    outer = GroupKFold(3) if outer is None else outer
    return nested_cross_validate(data, models, outer, inner, **{"n_jobs": 1, "progress": False, **settings})


@pytest.fixture(scope="module")
def result(data):
    return nested(data)


def assert_same(found, expected, atol=1e-8):
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(found.tables[name], table, check_dtype=False, obj=name, atol=atol)


# No leak


def kinds_of_models():
    return {
        **LINEAR,
        "type + genes": [ClassRidge("cell_types", alpha) for alpha in (1.0, 0.1)],
        "kNN": [make_pipeline(PCA(number, random_state=0), KNeighborsRegressor(5)) for number in (3, 6)],
        "trees": [ExtraTreesRegressor(5, min_samples_leaf=size, random_state=0) for size in (8, 2)],
        "sBNN-2": NETWORKS,
    }


def with_noise(data, cells):
    """The same data, but all that was measured in some cells is noise."""
    random = np.random.default_rng(0)
    changed = {}
    for name, noise in (
        ("X", random.normal(3, 9, (len(cells), data.n_genes))),
        ("Y", random.normal(-5, 9, (len(cells), data.n_features))),
        ("counts", random.poisson(500, (len(cells), data.n_genes))),
        ("features", random.normal(100, 90, (len(cells), data.n_features))),
        ("cell_types", random.choice(np.unique(data.cell_types), len(cells))),
        ("cell_families", random.choice(np.unique(data.cell_families), len(cells))),
    ):
        changed[name] = getattr(data, name).copy()
        changed[name][cells] = noise
    return replace(data, **changed)


def learnt(model):
    """Arrays that a model has learnt, however deep they lie; names ending in _ are fitted attributes."""
    if isinstance(model, np.ndarray):
        return [model]
    if isinstance(model, (list, tuple)):
        return [array for part in model for array in learnt(part)]
    if hasattr(model, "get_params"):
        fitted = {
            name: value for name, value in vars(model).items() if name.endswith("_") or name in ("steps", "_scale")
        }
        fitted |= {"genes": getattr(model, "_training_genes", None)}
        return [array for name in sorted(fitted) for array in learnt(fitted[name])]
    return [model.value, model.threshold, model.feature] if hasattr(model, "children_left") else []


def differences(one, other, data, train):
    """Name what differs between two nested runs of one outer fold that should not."""
    found = []
    for name in ("choices", "inner_scores", "selected", "gene_norms"):
        if not one.tables[name].equals(other.tables[name]):
            found.append(name)
    for name in ("n_selected", "r2_train"):
        if not one.scores[name].equals(other.scores[name]):
            found.append(name)
    known = [result.latents[~result.latents["held_out"].astype(bool)] for result in (one, other)]
    if not known[0].equals(known[1]):
        found.append("latents")
    view = view_fold(data, one.folds[0], within_fold=True)
    for name, mine, theirs in zip(dict.fromkeys(one.scores["model"]), one.estimators, other.estimators, strict=True):
        arrays = [learnt(mine), learnt(theirs)]
        assert arrays[0], name
        same = len(arrays[0]) == len(arrays[1]) and all(map(np.array_equal, *arrays))
        X = view.X[train]
        if isinstance(mine, ClassMean):
            X = data.cell_families[train]
        if isinstance(mine, ClassRidge):
            X = mine.add_classes(data, view.X)[train]
        if not same or not np.array_equal(mine.predict(X), theirs.predict(X)):
            found.append(name)
    return found


@pytest.fixture(scope="module")
def clean(data):
    return nested(data, kinds_of_models(), make_folds(data, GroupKFold(3))[:1])


def run_with_noise(data, clean):
    split = clean.folds[0]
    return nested(with_noise(data, split.test), kinds_of_models(), [split])


def test_no_value_of_a_test_cell_changes_a_bit_of_any_model_or_choice(data, clean):
    split = clean.folds[0]
    noisy = run_with_noise(data, clean)
    assert differences(clean, noisy, data, split.train) == []
    # ... and the noise was there
    assert (noisy.scores["r2_test"] != clean.scores["r2_test"]).all()
    assert not set(data.donors[split.train]) & set(data.donors[split.test])


def test_the_comparison_finds_z_scores_of_all_cells(data, clean, monkeypatch):
    """A planted leak: the models of the outer fold see z-scores over all cells."""

    def leaky(data, fold, *choice):
        _, X, Y = fit_preprocessor(data)
        return FoldView(X, Y, fold.train, fold.test)

    monkeypatch.setattr(protocol, "view_fold", leaky)
    linear = {name: models for name, models in kinds_of_models().items() if name != "sBNN-2"}
    own = nested(data, linear, clean.folds)
    noisy = nested(with_noise(data, own.folds[0].test), linear, own.folds)
    found = differences(own, noisy, data, own.folds[0].train)
    assert {"family mean", "sRRR-2", "ridge", "type + genes", "kNN"} <= set(found)
    assert "inner_scores" not in found  # inner folds hold no test cell that could leak


def test_the_comparison_finds_a_choice_on_all_cells(data, clean, monkeypatch):
    """Another: the inner folds are made of all cells, test cells included."""
    monkeypatch.setattr(type(data), "subset", lambda self, cells: self)
    own, noisy = (nested(one, outer=clean.folds) for one in (data, with_noise(data, clean.folds[0].test)))
    assert "inner_scores" in differences(own, noisy, data, clean.folds[0].train)


# The choice


def test_choices_are_those_of_an_independent_computation(data, result):
    """Inner folds and scores by scikit-learn and NumPy alone, z-scores of the inner training cells by hand."""
    for number in range(3):
        split = result.folds[number]
        donors = data.donors[split.train]
        splitter = GroupKFold(2, shuffle=True, random_state=42)
        scores, genes = np.zeros((len(ALPHAS), 2)), np.zeros((len(ALPHAS), 2))
        for place, (inside, outside) in enumerate(splitter.split(donors, groups=donors)):
            train, test = split.train[inside], split.train[outside]
            depth = data.counts.sum(axis=1)
            logged = np.log2(1 + data.counts / depth[:, None] * np.median(depth[train]))
            X = (logged - logged[train].mean(axis=0)) / logged[train].std(axis=0)
            Y = (data.features - data.features[train].mean(axis=0)) / data.features[train].std(axis=0)
            for candidate, alpha in enumerate(ALPHAS):
                model = ReducedRankRegressor(2, alpha, relaxed=True).fit(X[train], Y[train])
                residual = np.sum((Y[test] - model.predict(X[test])) ** 2)
                enough = model.selected_.sum() >= 2
                scores[candidate, place] = 1 - residual / np.sum(Y[test] ** 2) if enough else np.nan
                genes[candidate, place] = model.selected_.sum()
        found = result.inner_scores.query(f"model == 'sRRR-2' and fold == {number}")
        np.testing.assert_allclose(found["r2_test"].to_numpy().reshape(len(ALPHAS), 2), scores, atol=2e-4)
        np.testing.assert_array_equal(found["n_genes"].to_numpy().reshape(len(ALPHAS), 2), genes)
        means = {candidate: scores[candidate].mean() for candidate in range(len(ALPHAS))}
        best = max((candidate for candidate in means if means[candidate] == means[candidate]), key=means.get)
        limit = means[best] - abs(scores[best][0] - scores[best][1]) / 2  # SD of two numbers / root of 2
        sparsest = min((genes[candidate].sum(), candidate) for candidate in means if means[candidate] >= limit)[1]
        row = result.choices.query(f"model == 'sRRR-2' and fold == {number}").iloc[0]
        assert (row["candidate"], row["best_candidate"]) == (sparsest, best)
        assert row["settings"] == f"alpha={ALPHAS[sparsest]}" and row["best_settings"] == f"alpha={ALPHAS[best]}"
        np.testing.assert_allclose(row["best_r2_mean"], means[best], atol=2e-4)
        np.testing.assert_allclose(row["best_r2_se"], means[best] - limit, atol=2e-4)
        np.testing.assert_allclose(row["r2_mean"], means[sparsest], atol=2e-4)
        assert row["n_genes"] == genes[sparsest].mean()


def test_rules_on_random_scores():
    random = np.random.default_rng(0)
    for _ in range(200):
        n_candidates, n_folds = random.integers(1, 7), random.integers(2, 6)
        r2 = random.normal(0.3, 0.1, (n_candidates, n_folds)).round(2)
        genes = random.integers(1, 4, (n_candidates, n_folds)).astype(float)
        r2[random.random(r2.shape) < 0.05] = np.nan
        whole = [place for place in range(n_candidates) if not np.isnan(r2[place]).any()]
        if not whole:
            continue
        best = max(whole, key=lambda place: (np.mean(r2[place]), -place))
        se = pd.Series(r2[best]).sem()
        within = [place for place in whole if np.mean(r2[place]) >= np.mean(r2[best]) - se]
        fewest = sorted(within, key=lambda place: (np.mean(genes[place]), place))[0]
        assert choose_candidate(r2, genes) == (fewest, best)
        assert choose_candidate(r2, genes, "best") == (best, best)


@pytest.mark.parametrize(
    ("r2", "n_genes", "chosen", "best"),
    [
        # Means .40, .40 and .43; SE of the best .02: nothing is close.
        ([[0.5, 0.3], [0.41, 0.39], [0.45, 0.41]], [[5, 5], [4, 4], [9, 9]], 2, 2),
        # The same with an SE of .04: both are close, the second has fewer genes.
        ([[0.5, 0.3], [0.41, 0.39], [0.47, 0.39]], [[5, 5], [4, 4], [9, 9]], 1, 2),
        ([[0.25, 0.2], [0.4, 0.2]], [[7, 7], [7, 7]], 0, 1),  # equally many genes: the earlier
        ([[0.2, 0.2], [0.2, 0.2]], [[7, 7], [7, 6]], 1, 0),  # fewer on average; of equal means the first is best
        ([[np.nan, 0.9], [0.1, 0.1]], [[1, 1], [9, 9]], 1, 1),  # not in every fold
    ],
)
def test_rule_by_hand(r2, n_genes, chosen, best):
    assert choose_candidate(r2, n_genes) == (chosen, best)
    assert choose_candidate(r2, n_genes, "best") == (best, best)


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="no candidate has an R2 in every fold"):
        choose_candidate([[np.nan, 1.0]], [[1, 1]])
    with pytest.raises(ValueError, match="at least 2 folds, got \\(1, 1\\)"):
        choose_candidate([[0.5]], [[1]])
    with pytest.raises(ValueError, match="must have one shape"):
        choose_candidate([[0.5, 0.4]], [[1, 1], [1, 1]])
    with pytest.raises(ValueError, match="unknown rule 'worst'"):
        choose_candidate([[0.5, 0.4]], [[1, 1]], "worst")


def test_the_best_rule_takes_the_best(data, result):
    found = nested(data, rule="best")
    pd.testing.assert_frame_equal(found.inner_scores, result.inner_scores)
    assert (found.choices["candidate"] == found.choices["best_candidate"]).all()
    assert (found.choices["best_candidate"] == result.choices["best_candidate"]).all()


def test_numbers_of_genes_are_a_choice_as_well(clean):
    rows = clean.inner_scores[clean.inner_scores["model"] == "sBNN-2"]
    assert rows.groupby("candidate")["n_genes"].unique().map(list).to_dict() == {0: [4.0], 1: [7.0]}
    (row,) = clean.choices[clean.choices["model"] == "sBNN-2"].to_dict("records")
    n_selected = NETWORKS[row["candidate"]].n_selected
    assert row["settings"] == f"n_selected={n_selected}"
    assert clean.estimators[-1].n_selected_ == clean.scores["n_selected"].iloc[-1] == n_selected


# The result


def test_outer_fits_are_those_of_cross_validate(data, result):
    for place, name in enumerate(LINEAR):
        for number, split in enumerate(result.folds):
            candidate = result.choices.query(f"model == {name!r} and fold == {number}")["candidate"].iloc[0]
            models = LINEAR[name] if isinstance(LINEAR[name], list) else [LINEAR[name]]
            alone = cross_validate(data, {name: models[candidate]}, folds=[split], within_fold=True, progress=False)
            for table in ("scores", "feature_scores", "predictions", "selected"):
                mine = result.tables[table]
                if not len(mine) or not len(alone.tables[table]):
                    continue
                mine = mine.query(f"model == {name!r} and fold == {number}").reset_index(drop=True)
                theirs = alone.tables[table].assign(fold=number)
                pd.testing.assert_frame_equal(mine[theirs.columns], theirs, check_dtype=False)
            model = result.estimators[place * len(result.folds) + number]
            assert type(model) is type(models[candidate])
            if name == "sRRR-2":
                assert model.alpha == models[candidate].alpha


def test_predictions_are_of_cells_held_out(data, result):
    for number, split in enumerate(result.folds):
        cells = result.predictions.query(f"model == 'ridge' and fold == {number}")["cell"]
        assert cells.tolist() == data.cell_names[split.test].tolist()
        assert not set(data.donors[split.train]) & set(data.donors[split.test])
    assert len(result.predictions) == 3 * data.n_cells


def test_summary_has_one_row_per_model_over_all_folds(result):
    summary = result.summary().reset_index()
    assert summary["model"].tolist() == list(LINEAR)
    expected = result.scores.groupby("model", sort=False)["r2_test"]
    np.testing.assert_allclose(summary["mean"], expected.mean(), atol=1e-4)
    np.testing.assert_allclose(summary["SD"], expected.std(), atol=1e-4)
    assert (expected.size() == 3).all()
    text = repr(result)
    assert len(text) < 500 and "3 models" in text and "settings chosen on inner folds" in text


def test_summary_of_networks_has_their_final_stage_only(clean):
    summary = clean.summary().reset_index()
    assert summary["model"].tolist() == list(kinds_of_models())
    assert summary.set_index("model").loc["sBNN-2", "stage"] == "pruned"
    assert summary.set_index("model").loc["sBNN-2", "mean"] == round(clean.scores["r2_test"].iloc[-1], 4)


def test_summary_where_stages_and_settings_differ_between_folds(data):
    plain = cross_validate(data, {"other": Ridge(5.0)}, GroupKFold(3), within_fold=True, progress=False)
    found = nested(data, {"mixed": [Ridge(1000.0), Ridge(100.0)], "one": Ridge(7.0)}).join(plain)
    found.scores.loc[found.scores["fold"].eq(0) & found.scores["model"].eq("mixed"), "alpha"] = 1000.0
    found.scores.loc[found.scores["fold"].gt(0) & found.scores["model"].eq("mixed"), ["alpha", "stage"]] = [1.0, "late"]
    summary = found.summary().reset_index().set_index("model")
    assert summary.index.tolist() == ["mixed", "one", "other"]
    assert summary.loc["mixed", "stage"] == "final" and summary.loc["one", "stage"] == "fitted"
    several = cross_validate(data, {"other": [Ridge(5.0), Ridge(6.0)]}, GroupKFold(3), within_fold=True, progress=False)
    joined = nested(data, {"mixed": [Ridge(1000.0), Ridge(100.0)], "one": Ridge(7.0)}).join(several)
    joined.scores.loc[joined.scores["model"].eq("mixed"), "alpha"] = [1.0, 2.0, 2.0]
    rows = joined.summary().reset_index()[["model", "alpha"]].to_numpy().tolist()
    assert rows == [["mixed", "chosen"], ["one", 7.0], ["other", 5.0], ["other", 6.0]]


def test_results_on_disk_keep_choices(result, tmp_path):
    path = save_results(tmp_path / "nested.pickle", result)
    saved = load_results(path)
    loaded = CrossValidation.from_results(saved)
    assert_same(loaded, result)
    assert loaded.models == result.models
    pd.testing.assert_frame_equal(loaded.summary(), result.summary())
    selected = loaded.select(loaded.models[1:2])
    assert selected.scores["fold"].tolist() == [0, 1, 2] and set(selected.choices["model"]) == {"sRRR-2"}
    assert "choices" not in load_results(save_results(tmp_path / "p.pickle", selected, tables=["scores"]))


def test_saved_choices_are_not_taken_for_models_with_fixed_settings(data, result, tmp_path):
    """Their rows of one setting are those of some folds only."""
    saved = load_results(save_results(tmp_path / "nested.pickle", result))
    for name in LINEAR:
        runs = [(name, one) for one in (LINEAR[name] if isinstance(LINEAR[name], list) else [LINEAR[name]])]
        assert not any(found_in(saved, describe_models(runs, data.n_features), ["scores"]))
    assert all(found_in(saved, result.models, ["scores"]))
    lines = list_differences(saved["models"], describe_models([("ridge", Ridge(100.0))], data.n_features))
    assert any(line.startswith("rule one_standard_error on disk") for line in lines)
    assert any("alpha" in line and len(line) < 200 for line in lines)


def test_results_with_a_name_in_common_are_not_joined(data, result):
    plain = cross_validate(data, {"ridge": Ridge(5.0)}, GroupKFold(3), within_fold=True, progress=False)
    for one, other in ((result, plain), (plain, result)):
        with pytest.raises(ValueError, match="both have a model 'ridge'"):
            one.join(other)
    plain = cross_validate(data, {"b": Ridge(5.0)}, GroupKFold(3), within_fold=True, progress=False)
    assert not {"choices", "inner_scores"} & set(plain.tables)
    for joined in (result.join(plain), plain.join(result)):
        assert len(joined.choices) == 9 and len(joined.estimators) == 12
        pd.testing.assert_frame_equal(joined.tables["inner_scores"], result.inner_scores)


# Store, folds and other arguments


def test_a_second_call_fits_nothing_and_a_killed_one_goes_on(data, result, tmp_path, monkeypatch):
    started = []

    def run(plan, chunk, *arguments):
        started.append(chunk)
        if len(started) > 12:
            raise KeyboardInterrupt
        return execution.run_chunk(plan, chunk, *arguments)

    monkeypatch.setattr(dispatch, "run_chunk", run)
    with pytest.raises(KeyboardInterrupt):
        nested(data, store=tmp_path)
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("chunk-*/*.pickle")}
    assert kept
    resumed = nested(data, store=tmp_path)
    assert_same(resumed, result)
    whole = 3 * (2 * (4 + 2) + 3)  # outer folds x (inner folds x candidates + models)
    assert result.n_fitted == whole
    assert resumed.n_fitted == whole - len(kept)
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.glob("chunk-*/*.pickle")}.items()
    again = nested(data, store=tmp_path)
    assert again.n_fitted == 0
    assert_same(again, result)
    np.testing.assert_array_equal(again.estimators[3].W_, result.estimators[3].W_)


def test_more_processes_change_nothing(data, result):
    assert_same(nested(data, n_jobs=2), result)


def test_without_donors_inner_folds_are_random(data):
    outer = [(np.arange(96), np.arange(96, 144))]
    unknown = replace(data, donors=None)
    found = nested(unknown, {"ridge": LINEAR["ridge"]}, outer, inner=3)
    assert found.inner_scores["inner_fold"].max() == 2
    assert not found.inner_scores.equals(nested(data, {"ridge": LINEAR["ridge"]}, outer, inner=3).inner_scores)
    other = nested(unknown, {"ridge": LINEAR["ridge"]}, outer, inner=3, random_state=1)
    assert not found.inner_scores.equals(other.inner_scores)


def test_fewer_animals_than_inner_folds(data):
    found = nested(data, {"ridge": LINEAR["ridge"]}, GroupKFold(3), inner=20)
    assert set(found.choices["n_inner"]) == {8}


def test_a_choice_on_all_cells_scores_nothing(data):
    found = nested(data, outer="all")
    assert found.scores["r2_test"].isna().all() and found.choices["r2_mean"].notna().sum() == 2
    assert len(found.predictions) == 3 * data.n_cells


def test_single_estimators_are_no_choice(data):
    found = nested(data, {"ridge": Ridge(10.0), "family mean": [ClassMean()]})
    assert found.n_fitted == 6 and not len(found.inner_scores)
    assert (found.choices["candidate"] == 0).all() and found.choices["r2_mean"].isna().all()


def test_missing_values(data):
    random = np.random.default_rng(0)
    gaps = (random.random(data.Y.shape) < 0.1) & (np.arange(data.n_features) > 0)
    holey = replace(data, Y=np.where(gaps, np.nan, data.Y), features=np.where(gaps, np.nan, data.features))
    found = nested(holey)
    assert np.isfinite(found.scores["r2_test"]).all()


UNSCORED = r"models\['a'\]: none of the 2 candidates has an R2 in every inner fold of outer fold 0.*'alpha=50.0'"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "1se"}, "unknown rule '1se': expected one of 'one_standard_error', 'best'"),
        ({"inner": 1}, "inner must be at least 2, got 1"),
        ({"inner": 2.5}, "inner must be a whole number"),
        ({"outer": "animals"}, "unknown folds 'animals'"),
        ({"random_state": None}, "random_state must be a whole number"),
        ({"random_state": 2**32}, "random_state must be between 0 and 4294967295"),
        ({"keep": ["weights"]}, "unknown table to keep 'weights'"),
        ({"models": {}}, "models is empty"),
        ({"models": {"a": []}}, "is an empty list"),
        ({"models": [LINEAR] * 2}, "models is a list of 2, and there are 3 outer folds: give one dict for each"),
        ({"models": [LINEAR, {"ridge": Ridge()}, LINEAR]}, r"models\[1\] has the names 'ridge', models\[0\] 'family"),
        ({"models": {"a": [Ridge(), 3]}}, "should be an estimator or a list"),
        ({"models": {"a": [ReducedRankRegressor(2), ReducedRankRegressor(9)]}}, "rank must be between 1 and 5, got 9"),
        ({"models": {"a": ClassRidge("cell_kinds")}}, "unknown of 'cell_kinds'"),
        ({"outer": [([0, 1, 2], [3, 4])], "inner": 5}, "inner=5 folds need .* and outer fold 0 has 3"),
        ({"models": {"a": [ReducedRankRegressor(2, alpha) for alpha in (50.0, 60.0)]}}, UNSCORED),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(data, change, message):
    settings = {"models": LINEAR, **change}
    with pytest.raises(ValueError, match=message):
        nested(data, **settings)


def test_data_must_be_paired(data):
    with pytest.raises(ValueError, match="data must be PairedData"):
        nested(data.X)


def test_errors_of_inner_folds_say_which_outer_fold(data):
    """A feature that is measured in the animals of one inner fold only."""
    measured = np.isin(data.donors, np.unique(data.donors)[:1])
    features, Y = data.features.copy(), data.Y.copy()
    features[~measured, 0] = Y[~measured, 0] = np.nan
    sparse = replace(data, features=features, Y=Y)
    inside = np.flatnonzero(measured)
    others = np.flatnonzero(~measured)
    with pytest.raises(ValueError, match="has no training cell with a value of 'feature 1'") as error:
        nested(sparse, outer=[(np.r_[inside, others[:60]], others[60:])])
    assert "in the inner folds of outer fold 0" in error.value.__notes__


def test_models_of_each_fold(data, result):
    """Genes that were selected on the training cells of a fold, given in another order of settings."""
    splits = [(fold.train, fold.test) for fold in result.folds]
    columns = [[3, 1, 2], [5, 4, 6], [7, 8, 9]]
    listed = [
        {"ridge": [on_genes(Ridge(alpha), chosen, data) for alpha in (10.0, 1.0)], "mean": ClassMean()}
        for chosen in columns
    ]
    found = nested(data, listed, splits)
    for number, (split, models) in enumerate(zip(splits, listed, strict=True)):
        alone = nested(data, models, [split])
        for table in ("scores", "predictions", "choices", "inner_scores"):
            mine = getattr(found, table)
            mine = mine[mine["fold"] == number].drop(columns="fold").reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, getattr(alone, table).drop(columns="fold"), check_dtype=False)
    described = {one["model"]: one for one in found.models}
    assert [one["fold"] for one in described["ridge"]["candidates"]] == [0, 0, 1, 1, 2, 2]
    assert "fold" not in described["mean"]["candidates"][0]
    assert set(found.choices.query("model == 'ridge'")["settings"]) <= {"model__alpha=10.0", "model__alpha=1.0"}
    assert found.summary().index.get_level_values("model").tolist() == ["ridge", "mean"]


def test_networks_are_those_of_cross_validate_with_and_without_a_store(data, tmp_path):
    """They start from random numbers that depend on the number of their outer fold."""
    model = {"network": NETWORKS[0]}
    settings = {"n_jobs": 1, "progress": False}
    expected = cross_validate(data, model, GroupKFold(3), within_fold=True, **settings)
    assert_same(nested(data, model), expected)
    found = nested(data, model, store=tmp_path)
    assert_same(found, expected)
    assert found.n_fitted == 3 and nested(data, model, store=tmp_path).n_fitted == 0
    # In other places, the same cells are other folds: not restored as what they are not.
    turned = [(fold.train, fold.test) for fold in expected.folds][::-1]
    again = nested(data, model, turned, store=tmp_path)
    whole = cross_validate(data, model, turned, within_fold=True, **settings)
    assert_same(again, whole, atol=1e-5)  # two networks are trained together there, three here: their last bits differ
    assert again.n_fitted == 2  # the one in the middle is the same


class Lost(DummyRegressor):
    """Predicts nothing."""

    def predict(self, X):
        return np.full((len(X), 5), np.nan)


def test_warnings_name_the_outer_fold(data):
    with pytest.warns(UserWarning, match="in fold") as caught:
        nested(data, {"lost": Lost()})
    assert [str(one.message).split("in fold ")[1][0] for one in caught] == ["0", "1", "2"]


def test_variable_genes_are_chosen_in_inner_and_outer_folds(data, result, monkeypatch):
    seen = []

    def view(*arguments):
        found = view_fold(*arguments)
        seen.append(found.X.shape[1])
        return found

    monkeypatch.setattr(protocol, "view_fold", view)
    found = nested(data, {"ridge": LINEAR["ridge"]}, n_variable_genes=20, detection_threshold=1)
    assert set(seen) <= {19, 20, 21} and len(seen) == 3 + 3 * 2
    assert found.protocol == "training cells, 20 variable genes of more than 1 counts"
    assert set(found.inner_scores["n_genes"]) == {20.0}
    assert not np.isclose(found.scores["r2_test"], result.scores.query("model == 'ridge'")["r2_test"]).any()
