"""How many genes: a path of numbers, the one-standard-error rule, and networks that choose for themselves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold

from sbnn import (
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    load_model,
    recommend_n_selected,
    simulate_patchseq,
)
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models import gene_number
from sbnn.models.gene_number import InnerFold, choose_number, numbers_within, one_standard_error
from sbnn.models.inner_folds import inner_folds
from sbnn.models.schedules import Schedule, Stage
from sbnn.validation.folds import Fold, donors_of, make_folds, view_fold
from sbnn.validation.gene_number import GeneNumber
from sbnn.validation.stability import nogueira_index

FINETUNED = Stage("finetuned", 6, 1e-2, batch_size=64, decay="cosine", input_dropout=0.2, evaluate_every=6)
PRUNED = Stage("pruned", 6, 1e-2, batch_size=64, decay="cosine", input_dropout=0.1, evaluate_every=6)
PRETRAINED = Stage("pretrained", 3, 1e-2, batch_size=64, cell_fraction=0.6, cluster_starts=3)
SCHEDULE = Schedule("small", (PRETRAINED, Stage("frozen", 2, 1e-2, freeze_hidden=True), FINETUNED, PRUNED))
LAYOUT = Schedule("of a layout", (replace(PRETRAINED, layout="pca"), FINETUNED, PRUNED))
PLAIN = Schedule("plain", (FINETUNED, PRUNED))
STARTS = Schedule("of three starts", (FINETUNED, replace(PRUNED, n_starts=3)))
NUMBERS = (4, 12)


def network(**settings):
    return SparseBottleneckRegressor(**{"hidden": (16, 8), "schedule": SCHEDULE, "group_lasso": 0.05} | settings)


def recommend(data, estimator=None, **settings):
    settings = {"n_genes": NUMBERS, "folds": KFold(3, shuffle=True, random_state=0)} | settings
    return recommend_n_selected(data, estimator or network(), progress=False, **settings)


@pytest.fixture(scope="module")
def found(small):
    return recommend(small[0], network(schedule=PLAIN))


@pytest.fixture()
def few_numbers(monkeypatch):
    monkeypatch.setattr(gene_number, "N_GENES", NUMBERS)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": LAYOUT},
        {"schedule": PLAIN, "n_networks": 2},
        {"schedule": PLAIN, "random_state": 3, "bottleneck_dim": 3},
        {"schedule": STARTS},
    ],
    ids=["clusters", "a layout", "an ensemble", "another seed", "three starts"],
)
def test_r2_and_genes_are_those_of_a_cross_validation_with_that_number(small, settings):
    data, folds = small[0], KFold(3, shuffle=True, random_state=0)
    found = recommend(data, network(**settings))
    models = {str(number): network(n_selected=number, **settings) for number in NUMBERS}
    run = {"within_fold": True, "n_jobs": 1, "stack_size": 5, "progress": False}
    expected = cross_validate(data, models, folds, **run)
    last = expected.scores.groupby(["fold", "model"]).last()["r2_test"]
    for fold, number, r2 in found.scores.itertuples(index=False):
        assert r2 == pytest.approx(last[fold, str(number)], abs=1e-5)
        genes = expected.selected.query(f"fold == {fold} and model == '{number}'")["gene"]
        of_number = found.selected.query(f"fold == {fold} and n_selected == {number}")["gene"]
        assert list(of_number) == list(genes)
    assert found.scores["n_selected"].tolist() == [*NUMBERS] * 3


def test_the_summary_is_that_of_the_scores(found):
    table = found.scores.pivot(index="fold", columns="n_selected", values="r2_test").to_numpy()
    np.testing.assert_allclose(found.summary["r2_mean"], table.mean(axis=0))
    np.testing.assert_allclose(found.summary["r2_se"], table.std(axis=0, ddof=1) / np.sqrt(3))
    best = int(np.argmax(table.mean(axis=0)))
    floor = table.mean(axis=0)[best] - table[:, best].std(ddof=1) / np.sqrt(3)
    assert found.best == NUMBERS[best]
    assert found.recommended == NUMBERS[int(np.argmax(table.mean(axis=0) >= floor))]
    assert found.selected.groupby(["fold", "n_selected"]).size().tolist() == [*NUMBERS] * 3


def scores_from(means, deviation=0.1):
    """R2 of four folds with given means, and a standard error of `deviation` / sqrt(3)."""
    spread = deviation * np.array([-1, 1, -1, 1])
    rows = [
        (fold, n, mean + shift)
        for n, mean in means.items()
        for fold, shift in enumerate(spread if mean else spread * 9)
    ]
    return pd.DataFrame(rows, columns=["fold", "n_selected", "r2_test"])


def test_the_rule_takes_the_smallest_number_within_one_standard_error_of_the_best():
    error = 0.1 / np.sqrt(3)
    edge = 0.5 - error
    choice = one_standard_error(scores_from({40: 0.49, 20: 0.5, 10: edge + 1e-9, 5: edge - 1e-9}))
    assert (choice.best, choice.recommended) == (20, 10)
    assert choice.summary["n_selected"].tolist() == [5, 10, 20, 40]
    np.testing.assert_allclose(choice.summary["r2_se"], error)
    # A smaller number is not taken because its own standard error is large; of equal ones, the smaller is the best.
    assert one_standard_error(scores_from({5: 0.0, 10: 0.5, 20: 0.5}, 0.01)).best == 10
    assert one_standard_error(scores_from({5: 0.0, 10: 0.5, 20: 0.5}, 0.01)).recommended == 10
    assert one_standard_error(scores_from({5: -0.1, 10: -0.5}, 0.01)).recommended == 5


def test_a_number_without_r2_in_a_fold_is_not_chosen():
    scores = scores_from({5: 0.4, 10: 0.5, 20: 0.9}, 0.01)
    scores.loc[scores["n_selected"].eq(20) & scores["fold"].eq(2), "r2_test"] = np.nan
    choice = one_standard_error(scores)
    assert (choice.best, choice.recommended) == (10, 10)
    assert np.isnan(choice.summary["r2_mean"].iloc[2]) and np.isnan(choice.summary["r2_se"].iloc[2])
    with pytest.raises(ValueError, match="no number of genes has an R2 in every fold: training diverged"):
        one_standard_error(scores.assign(r2_test=np.nan))
    with pytest.raises(ValueError, match="a standard error needs at least 2 folds, got 1"):
        one_standard_error(scores.query("fold == 0"))


def test_the_stability_is_that_of_the_index_of_nogueira(found, small):
    data = small[0]
    for number, value in zip(found.summary["n_selected"], found.summary["nogueira"], strict=True):
        runs = [set(genes["gene"]) for _, genes in found.selected.query(f"n_selected == {number}").groupby("fold")]
        # With equally many genes in every run the index is the mean over pairs of (common - expected) / (k - expected).
        chance = number**2 / data.n_genes
        pairs = [len(runs[i] & runs[j]) for i in range(3) for j in range(i)]
        assert value == pytest.approx((np.mean(pairs) - chance) / (number - chance))
    same = np.tile(np.arange(10) < 4, (5, 1))
    assert nogueira_index(same).value == pytest.approx(1)
    assert np.isnan(nogueira_index(np.ones((3, 10), dtype=bool)).value)
    random = np.random.default_rng(0)
    drawn = [np.stack([random.permutation(50) < 10 for _ in range(5)]) for _ in range(200)]
    assert np.mean([nogueira_index(runs).value for runs in drawn]) == pytest.approx(0, abs=0.02)


def test_all_genes_may_be_compared_and_have_no_stability(small):
    found = recommend(small[0], network(schedule=PLAIN), n_genes=[60, 8])
    assert found.summary["n_selected"].tolist() == [8, 60]
    assert np.isnan(found.summary["nogueira"].iloc[1]) and np.isfinite(found.summary["nogueira"].iloc[0])


def test_it_says_the_recommendation_in_words():
    summary = pd.DataFrame({"n_selected": [10, 20], "r2_mean": [0.39, 0.401], "r2_se": 0.0125, "nogueira": [0.6, 0.7]})
    scores = pd.DataFrame({"fold": [0, 1, 0, 1], "n_selected": [10, 10, 20, 20], "r2_test": 0.4})
    assert repr(GeneNumber(scores, summary, 10, 20)) == (
        "10 genes recommended: R2 0.390 on held-out cells, 2 folds; within one SE (0.013) of the best, 0.401 with 20 "
        "genes"
    )
    assert repr(GeneNumber(scores, summary, 20, 20)) == (
        "20 genes recommended: R2 0.401 on held-out cells, 2 folds; the best of 2 numbers, and no smaller one is "
        "within one SE (0.013)"
    )


def test_about_as_many_genes_as_were_planted_are_recommended():
    """Features follow 12 independent genes, so that each counts; of 200 genes, more than these add noise only."""
    random = np.random.default_rng(0)
    data = simulate_patchseq(n_cells=500, n_genes=200, n_features=12, n_informative=12, random_state=0)[0]
    X = random.standard_normal(data.X.shape)
    Y = np.tanh(X[:, :12] @ random.standard_normal((12, 2)) / 2) @ random.standard_normal((2, 12))
    Y += 0.3 * random.standard_normal(Y.shape)
    data = replace(data, X=X, Y=Y, counts=None, features=None)
    stage = {"learning_rate": 5e-3, "decay": "cosine", "evaluate_every": 20}
    schedule = [Stage("finetuned", 20, **stage), Stage("pruned", 20, **stage)]
    found = recommend(data, network(schedule=schedule, hidden=(64, 32)), n_genes=(3, 12, 24, 100))
    assert found.recommended in (12, 24)
    planted = found.selected.query("n_selected == 12")["gene"].isin(data.gene_names[:12])
    assert planted.mean() > 0.8


def test_simulated_cells_need_no_more_genes_than_follow_their_coordinates(small):
    """Genes that follow the same two coordinates stand in for one another: fewer of the 8 may do, more do not help."""
    found = recommend(small[0], network(schedule=PLAIN), n_genes=(1, 4, 12, 40))
    assert found.recommended in (4, 12)


def test_folds_keep_donors_together_where_they_are_known(small):
    data = small[0]
    settings = {"estimator": network(schedule=PLAIN), "n_genes": (5, 10)}
    by_default = recommend(data, **settings, folds=None)
    pd.testing.assert_frame_equal(by_default.scores, recommend(data, **settings, folds="donor").scores)
    assert by_default.scores["fold"].nunique() == len(make_folds(data, "donor"))
    random = recommend(replace(data, donors=None), **settings, folds=None)
    partly = replace(data, donors=np.where(np.arange(data.n_cells) < 3, "unknown", data.donors))
    assert random.scores["fold"].nunique() == 5
    pd.testing.assert_frame_equal(random.scores, recommend(partly, **settings, folds=None).scores)


def test_donors_are_used_only_if_all_are_known(small):
    data = small[0]
    np.testing.assert_array_equal(donors_of(data, np.array([3, 1])), data.donors[[3, 1]])
    assert donors_of(replace(data, donors=None)) is None
    partly = replace(data, donors=np.where(np.arange(data.n_cells) < 3, "unknown", data.donors))
    assert donors_of(partly) is None and donors_of(partly, np.arange(3, 50)) is not None
    assert donors_of(data, np.flatnonzero(data.donors == data.donors[0])) is None  # a single donor


def test_inner_folds_are_a_partition_in_random_order_with_groups_together():
    groups = np.repeat(np.arange(8), 5)
    for folds in (inner_folds(40, 1), inner_folds(40, 1, groups)):
        np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(40))
        for train, test in folds:
            np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(40))
            assert (np.diff(train) < 0).any()
        assert len(folds) == 5
    assert all(not set(groups[train]) & set(groups[test]) for train, test in inner_folds(40, 1, groups))
    assert len(inner_folds(3, 0)) == 3 and len(inner_folds(40, 0, groups > 3)) == 2
    assert not np.array_equal(inner_folds(40, 1)[0][1], inner_folds(40, 2)[0][1])
    with pytest.raises(ValueError, match="at least 2 groups of cells are needed, got 1"):
        inner_folds(40, 0, np.zeros(40))
    with pytest.raises(ValueError, match="at least 2 cells are needed, got 1"):
        inner_folds(1, 0)


def test_numbers_are_those_that_the_data_have():
    assert numbers_within(1000) == [5, 10, 15, 20, 25, 30, 40, 60, 100]
    assert numbers_within(30) == [5, 10, 15, 20, 25, 30]
    assert numbers_within(4) == [4]


@pytest.mark.parametrize("grouped", [False, True], ids=["random folds", "animals together"])
def test_fit_chooses_what_a_cross_validation_on_its_inner_folds_recommends(small, few_numbers, grouped):
    """Without pre-training on clusters, the networks of `cross_validate` see what those of the inner folds see."""
    data = small[0]
    groups = data.donors if grouped else None
    settings = {"schedule": PLAIN, "random_state": 5}
    model = network(n_selected="auto", **settings).fit(data.X, data.Y, groups=groups)
    models = {str(number): network(n_selected=number, **settings) for number in NUMBERS}
    codes = None if groups is None else pd.factorize(groups)[0]
    scores = cross_validate(data, models, inner_folds(data.n_cells, 5, codes), n_jobs=1, progress=False).scores
    last = scores.query("stage == 'pruned'").assign(n_selected=lambda table: table["model"].astype(int))
    assert model.n_selected_ == one_standard_error(last).recommended
    fixed = network(n_selected=model.n_selected_, **settings).fit(data.X, data.Y)
    np.testing.assert_array_equal(model.selected_, fixed.selected_)
    np.testing.assert_array_equal(model.predict(data.X), fixed.predict(data.X))
    assert model.n_selected == "auto" and model.selected_.sum() == model.n_selected_


@pytest.mark.parametrize("settings", [{}, {"schedule": PLAIN, "n_networks": 2}])
def test_every_kind_of_network_chooses(small, few_numbers, settings):
    data = small[0]
    model = network(n_selected="auto", **settings).fit(data.X, data.Y)
    assert model.n_selected_ in NUMBERS
    fixed = network(n_selected=model.n_selected_, **settings).fit(data.X, data.Y)
    np.testing.assert_array_equal(model.predict(data.X), fixed.predict(data.X))
    np.testing.assert_array_equal(model.gene_frequency_, fixed.gene_frequency_)


def test_ones_own_layout_is_that_of_the_inner_folds(small, few_numbers, monkeypatch):
    data, seen = small[0], []
    monkeypatch.setattr(gene_number, "TrainingTask", lambda *a, **k: seen.append((a, k)) or task(*a, **k))
    own = np.random.default_rng(0).standard_normal((data.n_cells, 2)).astype("f4")
    network(n_selected="auto", schedule=LAYOUT).fit(data.X, data.Y, layout=own)
    assert len(seen) == 5
    for (train, *_), settings in seen:
        np.testing.assert_array_equal(settings["layout"], own[train])


task = gene_number.TrainingTask


def test_a_fixed_number_is_reported_too(small):
    data = small[0]
    assert network(n_selected=4, schedule=PLAIN).fit(data.X, data.Y).n_selected_ == 4
    assert network(n_selected=4, schedule=[FINETUNED]).fit(data.X, data.Y).n_selected_ == 60


def test_groups_do_not_change_a_fixed_number(small):
    data = small[0]
    plain, grouped = (
        network(n_selected=4, schedule=PLAIN).fit(data.X, data.Y, groups=groups) for groups in (None, data.donors)
    )
    np.testing.assert_array_equal(plain.predict(data.X), grouped.predict(data.X))


def test_cells_of_weight_zero_have_no_part_in_the_choice(small, few_numbers):
    data = small[0]
    weights = np.repeat([0.0, 1.0], [30, data.n_cells - 30])
    changed = data.Y.copy()
    changed[:30] = 7
    estimator = network(n_selected="auto", schedule=PLAIN)
    found = [estimator.fit(data.X, Y, sample_weight=weights) for Y in (data.Y, changed)]
    np.testing.assert_array_equal(*(model.predict(data.X) for model in found))
    # The scale of weights is that of no fold.
    numbers = [choose_number(estimator, data.X, data.Y, 0, weights=weights * factor) for factor in (1, 9)]
    assert numbers[0] == numbers[1] == choose_number(estimator, data.X[30:], data.Y[30:], 0)


def test_held_out_cells_count_by_their_weight(small):
    data = small[0]
    weights = np.random.default_rng(0).uniform(0.5, 2, data.n_cells)
    view = InnerFold(data.X, data.Y, np.arange(100), np.arange(100, 150))
    (fit,) = gene_number.follow_numbers(network(schedule=PLAIN), [view], [8], 0, weights)
    model = network(schedule=PLAIN, n_selected=8).fit(data.X[:100], data.Y[:100], weights[:100])
    assert fit.r2_test == pytest.approx(model.score(data.X[100:], data.Y[100:], weights[100:]), abs=1e-4)


def test_missing_values_are_taken_as_in_a_cross_validation(small):
    data = small[0]
    gaps = np.random.default_rng(0).random(data.Y.shape) < 0.2
    gaps[gaps.all(axis=1)] = False
    holey = replace(data, Y=np.where(gaps, np.nan, data.Y), features=np.where(gaps, np.nan, data.features))
    found = recommend(holey, network(schedule=PLAIN))
    run = {"folds": KFold(3, shuffle=True, random_state=0), "within_fold": True, "n_jobs": 1, "progress": False}
    expected = cross_validate(holey, {"12": network(schedule=PLAIN, n_selected=12)}, **run).scores
    of_twelve = found.scores.query("n_selected == 12")["r2_test"]
    np.testing.assert_allclose(of_twelve, expected.query("stage == 'pruned'")["r2_test"], atol=1e-5)


@pytest.fixture(scope="module")
def validated(small):
    """A cross-validation of networks that choose, beside one that does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gene_number, "N_GENES", NUMBERS)
        models = {
            name: network(n_selected=number, schedule=PLAIN) for name, number in {"auto": "auto", "eight": 8}.items()
        }
        return cross_validate(small[0], models, folds=KFold(2), within_fold=True, n_jobs=1, progress=False)


def test_tables_show_the_number_that_a_fold_chose(validated):
    for fold in range(2):
        model = validated.estimators[fold]
        assert model.n_selected_ in NUMBERS and model.n_selected == "auto"
        scores = validated.scores.query(f"model == 'auto' and fold == {fold}").set_index("stage")["n_selected"]
        assert scores.to_dict() == {"finetuned": 60, "pruned": model.n_selected_}
        for table in (validated.curves, validated.selected, validated.predictions, validated.latents):
            rows = table.query(f"model == 'auto' and fold == {fold}")
            assert set(rows["n_selected"]) == {model.n_selected_} and len(rows)
        assert len(validated.selected.query(f"model == 'auto' and fold == {fold}")) == model.n_selected_
    assert pd.api.types.is_integer_dtype(validated.selected["n_selected"])
    assert {one["model"]: one["n_selected"] for one in validated.models} == {"auto": "auto", "eight": 8}
    assert len(validated.select(validated.models[:1]).scores) == 4


def test_every_fold_chooses_as_a_fit_on_its_training_cells(small, validated, few_numbers):
    data = small[0]
    for fold, model in enumerate(validated.estimators[:2]):
        train, test = validated.folds[fold]
        view = view_fold(data, Fold(train, test), within_fold=True)
        alone = network(n_selected="auto", schedule=PLAIN).fit(view.X[train], view.Y[train], groups=data.donors[train])
        assert alone.n_selected_ == model.n_selected_


def test_test_cells_have_no_part_in_the_choice(small, few_numbers):
    """Noise in their place leaves weights and genes as they were, bit by bit."""
    data, random = small[0], np.random.default_rng(0)
    train, test = np.arange(100), np.arange(100, 150)
    counts, features, X, Y = (values.copy() for values in (data.counts, data.features, data.X, data.Y))
    counts[test] = random.integers(1, 1000, counts[test].shape)
    features[test] = 100 * random.standard_normal(features[test].shape)
    X[test], Y[test] = (9 * random.standard_normal(values[test].shape) for values in (X, Y))
    noisy = replace(data, counts=counts, features=features, X=X, Y=Y)
    run = {"folds": [(train, test)], "within_fold": True, "n_jobs": 1, "progress": False}
    models = {"auto": network(n_selected="auto")}
    (found,), (expected,) = (cross_validate(cells, models, **run).estimators for cells in (noisy, data))
    assert found.n_selected_ == expected.n_selected_
    np.testing.assert_array_equal(found.selected_, expected.selected_)
    for mine, theirs in zip(found.weights_, expected.weights_, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_donors_decide_the_inner_folds_and_are_in_the_address(small, few_numbers, tmp_path, monkeypatch):
    data, seen = small[0], []
    chosen = gene_number.inner_folds
    monkeypatch.setattr(
        gene_number, "inner_folds", lambda n, seed, groups=None: seen.append(groups) or chosen(n, seed, groups)
    )
    settings = {"folds": KFold(2), "n_jobs": 1, "progress": False, "store": tmp_path / "store"}
    models = {"auto": network(n_selected="auto", schedule=PLAIN), "8": network(n_selected=8, schedule=PLAIN)}
    first = cross_validate(data, models, **settings)
    assert first.n_fitted == 4 and all(groups is not None for groups in seen)
    for groups, (train, _) in zip(seen, first.folds, strict=True):
        np.testing.assert_array_equal(groups, np.unique(data.donors[train], return_inverse=True)[1])
    again = cross_validate(data, models, **settings)
    assert again.n_fitted == 0 and len(seen) == 2
    for name, table in first.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)
    assert [m.n_selected_ for m in again.estimators] == [m.n_selected_ for m in first.estimators]
    unknown = cross_validate(replace(data, donors=None), models, **settings)
    assert unknown.n_fitted == 2 and seen[2:] == [None, None]


def test_processes_choose_the_same():
    """From 12 genes, 5 or 10: other processes would not see a patched list of numbers."""
    data = simulate_patchseq(150, n_genes=12, n_features=6, n_informative=8, n_types=4, random_state=1)[0]
    models = {"auto": network(n_selected="auto", schedule=PLAIN)}
    runs = [cross_validate(data, models, KFold(2), n_jobs=n_jobs, progress=False).scores for n_jobs in (1, 2)]
    assert runs[0]["n_selected"].tolist() == runs[1]["n_selected"].tolist()
    assert set(runs[0].query("stage == 'pruned'")["n_selected"]) <= {5, 10}
    np.testing.assert_allclose(runs[0]["r2_test"], runs[1]["r2_test"], atol=1e-3)


def test_a_paired_model_chooses_with_donors_together_and_is_saved(small, few_numbers, tmp_path):
    data = small[0]
    estimator = network(n_selected="auto", schedule=PLAIN)
    model = PairedModel(estimator).fit(data)
    _, X, Y = fit_preprocessor(data)
    assert model.estimator_.n_selected_ == estimator.fit(X, Y, groups=data.donors).n_selected_
    assert len(model.selected_genes_) == model.estimator_.n_selected_
    loaded = load_model(model.save(tmp_path / "model.sbnn"))
    assert loaded.estimator_.n_selected == "auto"
    assert loaded.estimator_.n_selected_ == model.estimator_.n_selected_
    np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
    without = PairedModel(estimator).fit(replace(data, donors=None))
    assert without.estimator_.n_selected_ == estimator.fit(X, Y).n_selected_


def test_seeds_from_a_generator_are_drawn_once(small, few_numbers):
    data = small[0]
    generator = np.random.RandomState(4)
    network(n_selected="auto", schedule=PLAIN, random_state=generator).fit(data.X, data.Y)
    one = np.random.RandomState(4)
    one.randint(2**31)
    assert generator.randint(2**31) == one.randint(2**31)


def test_networks_that_diverge_are_said_and_not_chosen(small, few_numbers):
    data = small[0]
    diverging = network(n_selected="auto", schedule=[Stage("finetuned", 1, 1e30), PRUNED])
    said = r"with \d+ genes, training diverged in fold \d, in the stage 'finetuned'"
    with (
        pytest.warns(UserWarning, match=said),
        pytest.raises(ValueError, match="no number of genes has an R2 in every"),
    ):
        diverging.fit(data.X, data.Y)


def test_what_has_no_number_to_choose_is_refused(small):
    data = small[0]
    auto = network(n_selected="auto", schedule=[FINETUNED])
    message = (
        r'n_selected="auto" chooses how many genes the stage "pruned" keeps, and the schedule has none \(only finet'
    )
    with pytest.raises(ValueError, match=message):
        auto.fit(data.X, data.Y)
    with pytest.raises(ValueError, match=rf"models\['a'\]: {message}"):
        cross_validate(data, {"a": auto}, progress=False)
    with pytest.raises(ValueError, match=message):
        PairedModel(auto).fit(data)
    with pytest.raises(ValueError, match="recommend_n_selected chooses how many genes"):
        recommend(data, auto)
    for odd in ("all", "25"):
        with pytest.raises(ValueError, match=f"n_selected must be a whole number, \"auto\" or None, got '{odd}'"):
            network(n_selected=odd).fit(data.X, data.Y)
    for estimator in (Ridge(), ReducedRankRegressor(2), SparseBottleneckRegressor):
        with pytest.raises(ValueError, match="estimator should be a SparseBottleneckRegressor, got"):
            recommend(data, estimator)
    with pytest.raises(ValueError, match="ridge must be finite"):
        recommend(data, network(ridge=np.nan))


def test_numbers_that_cannot_be_compared_are_refused(small):
    for numbers, message in (
        ((5, 61), "n_genes must be at most 60, the genes in the data, got 61"),
        ((5, 5), "n_genes must be one or more numbers, each once"),
        ((), "n_genes must be one or more numbers"),
        ((0, 5), "every number in n_genes must be at least 1, got 0"),
        ((2.5,), "every number in n_genes must be a whole number"),
        ("25", "n_genes must be a list of whole numbers such as"),
        (25, "n_genes must be a list of whole numbers such as"),
    ):
        with pytest.raises(ValueError, match=message):
            recommend(small[0], n_genes=numbers)


def test_folds_that_give_no_standard_error_are_refused(small):
    for folds in ("all", [(np.arange(100), np.arange(100, 150))]):
        with pytest.raises(ValueError, match="folds must be at least 2, for a standard error over them, got 1"):
            recommend(small[0], folds=folds)
    with pytest.raises(ValueError, match="data must be PairedData, .* got ndarray"):
        recommend(small[0].X)


def test_a_feature_without_values_in_a_fold_is_named(small):
    data = small[0]
    Y = data.Y.copy()
    Y[1:, 2] = np.nan
    with pytest.raises(ValueError, match=r"has no training cell with a value of the feature\(s\) in column '2' of Y"):
        network(n_selected="auto", schedule=PLAIN).fit(data.X, Y)


def test_groups_are_checked(small):
    data = small[0]
    for groups, message in (
        (np.zeros(3), "groups must have one entry per cell"),
        (np.zeros((150, 1)), "groups must have one entry per cell, shape"),
        (
            np.where(np.arange(150) < 2, "unknown", data.donors),
            r"the group \(animal\) of 2 of 150 cells is not known, the first in r",
        ),
        ([None, *data.donors[1:]], r"the group \(animal\) of 1 of 150 cells is not known, the first in row 0"),
        (
            np.ma.masked_array(np.arange(150), np.arange(150) == 4),
            r"the group \(animal\) of 1 of 150 cells is not known, .* row 4",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            network(n_selected=5).fit(data.X, data.Y, groups=groups)
    with pytest.raises(ValueError, match="at least 2 groups of cells are needed, got 1"):
        network(n_selected="auto").fit(data.X, data.Y, groups=np.zeros(150))


def test_group_folds_of_scikit_learn_are_taken(small):
    found = recommend(small[0], network(schedule=PLAIN), folds=GroupKFold(3), n_genes=(5,))
    assert found.scores["fold"].tolist() == [0, 1, 2] and found.recommended == found.best == 5
