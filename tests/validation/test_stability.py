"""Stability of a selection: the index against its definitions, runs against fits made one by one."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import procrustes
from sklearn.base import clone
from sklearn.linear_model import Lasso

import sbnn
from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, cross_validate, gene_stability
from sbnn.data.preprocessing import Preprocessor
from sbnn.models.clusters import cluster_features, fold_clusters, leave_out_small_clusters
from sbnn.models.schedules import Stage
from sbnn.validation import cross_validation
from sbnn.validation.bootstrap import donor_bootstraps
from sbnn.validation.cross_validation import fit_on_folds
from sbnn.validation.folds import Fold, view_fold
from sbnn.validation.stability import GeneStability, _index_row, nogueira_index

#: Without clusters: `fit` and folds treat small ones differently.
STAGES = [
    Stage("finetuned", 2, 1e-3, batch_size=64, evaluate_every=2),
    Stage("pruned", 2, 1e-3, batch_size=64, evaluate_every=2),
]
NETWORK = SparseBottleneckRegressor(hidden=(8, 4), n_selected=10, schedule=STAGES, random_state=3)
LINEAR = ReducedRankRegressor(2, 0.4, relaxed=True)
N = 3


@pytest.fixture(scope="module")
def data(small):
    return small[0]


@pytest.fixture(scope="module")
def by_seed(data):
    ensemble = clone(NETWORK).set_params(n_networks=2)
    return gene_stability(data, {"sBNN-2": NETWORK, "two": [ensemble]}, "seed", N, random_state=5, progress=False)


@pytest.fixture(scope="module")
def by_donor(data):
    models = {"sBNN-2": NETWORK, "sRRR-2": LINEAR, "full": ReducedRankRegressor(None, 0.4)}
    return gene_stability(data, models, "donor", N, random_state=7, progress=False)


def random_selection(n_runs=12, n_genes=30, random_state=0):
    """Runs that agree on some genes and differ in their number of genes."""
    random = np.random.default_rng(random_state)
    return random.random((n_runs, n_genes)) < np.linspace(0.05, 0.95, n_genes) ** 2


def genes_of(stability, model, run):
    rows = stability.selected
    return set(rows.loc[rows["model"].eq(model) & rows["run"].eq(run), "gene"])


def stability_of(chosen, name="m", correlations=None):
    """A GeneStability of one model from a table runs x genes."""
    run, gene = np.nonzero(chosen)
    frequency = chosen.mean().sort_values(ascending=False, kind="stable")
    frequency = frequency[frequency > 0]
    return GeneStability(
        resample="seed",
        n_runs=len(chosen),
        selected=pd.DataFrame({"model": name, "run": run, "gene": chosen.columns[gene]}),
        frequencies=pd.DataFrame({"model": name, "gene": frequency.index, "frequency": frequency.to_numpy()}),
        index=pd.DataFrame({"model": [name]}),
        maps=pd.DataFrame(),
        pairs=pd.DataFrame(),
        correlations=chosen.astype(float).corr() if correlations is None else correlations,
    )


def test_index_is_kunchevas_mean_over_pairs_if_all_runs_select_as_many_genes():
    random = np.random.default_rng(1)
    n_genes, n_selected = 40, 8
    selected = np.zeros((7, n_genes), dtype=bool)
    for run in selected:
        run[random.choice(15, n_selected, replace=False)] = True
    expected = n_selected**2 / n_genes
    consistency = [((a & b).sum() - expected) / (n_selected - expected) for a, b in combinations(selected, 2)]
    assert nogueira_index(selected).value == pytest.approx(np.mean(consistency), abs=1e-12)


def test_index_follows_its_definition_if_numbers_differ():
    selected = random_selection()
    share = selected.sum(axis=1).mean() / selected.shape[1]
    variances = np.var(selected.astype(float), axis=0, ddof=1)
    assert nogueira_index(selected).value == pytest.approx(1 - variances.mean() / (share * (1 - share)), abs=1e-12)


def test_interval_is_that_of_the_influence_of_each_run():
    """The variance of a function of means is the mean square of its derivatives by the weights of runs."""
    selected = random_selection()
    n_runs = len(selected)

    def index(weights):
        weights = weights / weights.sum()
        frequency = weights @ selected
        share = frequency.mean()
        return 1 - n_runs / (n_runs - 1) * np.mean(frequency * (1 - frequency)) / (share * (1 - share))

    even, step = np.full(n_runs, 1 / n_runs), 1e-5
    slopes = [(index(even + step * own) - index(even - step * own)) / (2 * step) for own in np.eye(n_runs)]
    # The factor m / (m - 1), which makes the variances of genes unbiased, leads to a difference of order 1 / m.
    found = nogueira_index(selected)
    error = (found.high - found.value) / 1.959963985
    assert error == pytest.approx(np.sqrt(np.sum(np.square(slopes))) / n_runs, rel=0.1)
    assert found.value - found.low == pytest.approx(found.high - found.value)
    narrower = nogueira_index(selected, level=0.5)
    assert (narrower.high - narrower.value) / error == pytest.approx(0.674489750)


def runs_of_a_noisy_ranking(n_runs, random, n_genes=300, n_selected=25):
    """Every run selects the first genes of one ranking that it sees with noise."""
    scores = -np.log(np.arange(1, n_genes + 1)) + 0.6 * random.standard_normal((n_runs, n_genes))
    return scores >= np.partition(scores, -n_selected, axis=1)[:, [-n_selected]]


def test_intervals_cover_the_index_of_many_runs_as_often_as_is_documented():
    random = np.random.default_rng(0)
    truth = nogueira_index(runs_of_a_noisy_ranking(5000, random)).value
    for n_runs, least, most in ((5, 0.65, 0.77), (20, 0.89, 0.945), (50, 0.92, 0.965)):
        found = [nogueira_index(runs_of_a_noisy_ranking(n_runs, random)) for _ in range(500)]
        assert least < np.mean([one.low <= truth <= one.high for one in found]) < most
        assert np.mean([one.value for one in found]) == pytest.approx(truth, abs=0.01)  # no bias


def test_index_of_extremes():
    same = np.tile([True, True, False, False], (5, 1))
    assert nogueira_index(same) == (1, 1, 1)
    for value in (True, False):
        assert np.isnan(nogueira_index(np.full((3, 4), value))).all()
    by_chance = np.random.default_rng(0).random((200, 100)) < 0.25
    assert nogueira_index(by_chance).value == pytest.approx(0, abs=0.01)
    two = nogueira_index(random_selection(2))
    assert 0 < two.value < 1 and np.isnan([two.low, two.high]).all()
    nearly = np.vstack([same] * 2)
    nearly[0] = ~nearly[0]
    assert nogueira_index(nearly).high <= 1


@pytest.mark.parametrize(
    "selected", [np.ones((3, 4)), np.ones(4, dtype=bool), np.ones((1, 4), dtype=bool), np.ones((3, 0), dtype=bool)]
)
def test_index_refuses_what_is_no_selection(selected):
    with pytest.raises(ValueError, match="selected must be a bool array of two or more runs x genes"):
        nogueira_index(selected)


@pytest.mark.parametrize("level", [0, 1, 1.5])
def test_index_refuses_levels_out_of_range(level):
    with pytest.raises(ValueError, match="level must be a number between 0 and 1"):
        nogueira_index(random_selection(), level)


def test_run_of_a_seed_is_the_model_with_that_random_state(by_seed, data):
    """Bit by bit: the genes, and the agreement of the maps."""
    for name, n_networks in (("sBNN-2", 1), ("two", 2)):
        fitted = [
            clone(NETWORK).set_params(random_state=5 + run, n_networks=n_networks).fit(data.X, data.Y)
            for run in range(N)
        ]
        for run, model in enumerate(fitted):
            assert genes_of(by_seed, name, run) == set(data.gene_names[model.selected_])
        maps = [model.transform(data.X) for model in fitted]
        agreement = [1 - procrustes(one, other)[2] for one, other in combinations(maps, 2)]
        row = by_seed.maps.set_index("model").loc[name]
        assert row["procrustes_r2"] == pytest.approx(np.mean(agreement), abs=1e-5)
        assert row["procrustes_r2_min"] == pytest.approx(np.min(agreement), abs=1e-5)


def test_neighbours_are_counted_among_all_cells(by_seed, data):
    maps = [clone(NETWORK).set_params(random_state=5 + run).fit(data.X, data.Y).transform(data.X) for run in range(N)]
    nearest = []
    for Z in maps:
        distances = np.linalg.norm(Z[:, None] - Z, axis=2) + np.diag(np.full(len(Z), np.inf))
        nearest.append([set(row) for row in np.argsort(distances, axis=1)[:, :30]])
    shares = [np.mean([len(a & b) / 30 for a, b in zip(*pair, strict=True)]) for pair in combinations(nearest, 2)]
    row = by_seed.maps.set_index("model").loc["sBNN-2"]
    assert row["common_neighbours"] == pytest.approx(np.mean(shares), abs=2e-3)
    pairs = by_seed.pairs[by_seed.pairs["model"] == "sBNN-2"]
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == list(combinations(range(N), 2))
    np.testing.assert_allclose(pairs["common_neighbours"], shares, atol=5e-3)


def fitted_on_drawn_cells(data, fold, estimator):
    """Fit on rows that are really repeated; returns the model, and X of all cells in its z-scores."""
    preprocessor = Preprocessor(allow_constant=True).fit(data.counts[fold.train], data.features[fold.train])
    X, Y = preprocessor.transform_genes(data.counts), preprocessor.transform_features(data.features)
    dtype = np.float32 if estimator is NETWORK else np.float64
    return clone(estimator).fit(X[fold.train].astype(dtype), Y[fold.train].astype(dtype)), X


def test_run_of_a_donor_bootstrap_is_the_fit_on_repeated_cells(by_donor, data):
    folds = donor_bootstraps(data, N, random_state=7)
    maps = []
    for run, fold in enumerate(folds):
        model, X = fitted_on_drawn_cells(data, fold, LINEAR)
        assert genes_of(by_donor, "sRRR-2", run) == set(data.gene_names[model.selected_])
        maps.append(model.transform(X))
    agreement = [1 - procrustes(one, other)[2] for one, other in combinations(maps, 2)]
    row = by_donor.maps.set_index("model").loc["sRRR-2"]
    assert row["procrustes_r2"] == pytest.approx(np.mean(agreement), abs=1e-5)
    # A network of the first run starts from the weights of `fit`; later runs start from others.
    network, _ = fitted_on_drawn_cells(data, folds[0], NETWORK)
    assert genes_of(by_donor, "sBNN-2", 0) == set(data.gene_names[network.selected_])
    result = fit_on_folds(data, [("sBNN-2", NETWORK)], folds[:1], within_fold=True, progress=False)
    for here, there in zip(result.estimators[0].weights_, network.weights_, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)


def test_clusters_are_those_of_the_drawn_cells(data):
    fold = donor_bootstraps(data, 1)[0]
    view = view_fold(data, fold, within_fold=True)
    (clusters,) = fold_clusters([view], 2, within_fold=True)
    expected = leave_out_small_clusters(cluster_features(view.Y[fold.train], 2))
    np.testing.assert_array_equal(clusters, expected)
    assert len(clusters) == len(fold.train) != data.n_cells - len(fold.test)


def test_cells_of_animals_that_are_not_drawn_change_no_gene(data):
    folds = donor_bootstraps(data, 2, random_state=7)
    results = []
    for factor in (1, 3):
        counts, features = data.counts.copy(), data.features.copy()
        counts[folds[0].test, :30] *= factor
        features[folds[0].test] *= factor
        changed = replace(data, counts=counts, features=features)
        results.append(gene_stability(changed, {"m": LINEAR}, "donor", 2, random_state=7, progress=False))
    assert genes_of(results[0], "m", 0) == genes_of(results[1], "m", 0)
    assert genes_of(results[0], "m", 1) != genes_of(results[1], "m", 1)  # where some of them are drawn


def test_donors_are_drawn_whole_as_often_as_there_are_donors(data):
    folds = donor_bootstraps(data, 30, random_state=1)
    animals, sizes = np.unique(data.donors, return_counts=True)
    size_of = dict(zip(animals, sizes, strict=True))
    shares = []
    for fold in folds:
        rows, times = np.unique(fold.train, return_counts=True)
        drawn = pd.Series(times).groupby(data.donors[rows]).agg(["nunique", "size", "first"])
        assert (drawn["nunique"] == 1).all() and (drawn["size"] == drawn.index.map(size_of)).all()
        assert drawn["first"].sum() == len(animals)
        np.testing.assert_array_equal(np.sort(np.concatenate([rows, fold.test])), np.arange(data.n_cells))
        assert not np.array_equal(fold.train, np.sort(fold.train))
        shares.append(len(drawn) / len(animals))
    assert np.mean(shares) == pytest.approx(1 - (1 - 1 / len(animals)) ** len(animals), abs=0.03)
    for more, fewer in zip(donor_bootstraps(data, 2, random_state=1), folds[:2], strict=True):
        np.testing.assert_array_equal(more.train, fewer.train)
    assert not np.array_equal(np.sort(folds[0].train), np.sort(donor_bootstraps(data, 1, random_state=2)[0].train))


def test_tables_sum_up_the_selections(by_donor, data):
    for row in by_donor.index.itertuples():
        part = by_donor.selected[by_donor.selected["model"] == row.model]
        chosen = pd.crosstab(part["run"], part["gene"]).reindex(index=range(N), columns=data.gene_names, fill_value=0)
        assert row.nogueira == pytest.approx(nogueira_index(chosen.to_numpy() > 0).value)
        assert (row.low, row.high) == pytest.approx(nogueira_index(chosen.to_numpy() > 0)[1:])
        assert row.low < row.nogueira < row.high
        numbers, times = chosen.sum(axis=1), chosen.sum()
        assert (row.n_genes, row.n_genes_sd) == pytest.approx((numbers.mean(), numbers.std()))
        assert row.in_all_runs == row.in_80_percent == (times == N).sum()  # of three runs
        in_frequent = np.mean([part["gene"].map(times)[part["run"] == run].eq(N).sum() for run in range(N)])
        assert row.share_in_80_percent == pytest.approx(in_frequent / row.n_genes)
        frequencies = by_donor.frequencies[by_donor.frequencies["model"] == row.model].set_index("gene")["frequency"]
        pd.testing.assert_series_equal(
            frequencies.sort_index(), (times[times > 0] / N).sort_index(), check_names=False, check_index_type=False
        )
        assert frequencies.is_monotonic_decreasing
    assert by_donor.index["model"].tolist() == ["sBNN-2", "sRRR-2", "full"]
    assert by_donor.maps["n_dims"].tolist() == [2, 2, data.n_features]
    genes = by_donor.correlations.index
    assert set(genes) == set(by_donor.frequencies["gene"])
    expected = pd.DataFrame(data.X, columns=data.gene_names)[genes].corr()
    np.testing.assert_allclose(by_donor.correlations, expected, atol=1e-5)


def test_four_of_five_runs_are_80_percent():
    chosen = np.zeros((5, 6), dtype=bool)
    chosen[:, 0] = chosen[:4, 1] = chosen[:3, 2] = True
    row = _index_row("m", chosen)
    assert (row["in_all_runs"], row["in_80_percent"], row["share_in_80_percent"]) == (1, 2, pytest.approx(9 / 12))


def test_short_repr(by_seed):
    lines = repr(by_seed).split("\n")
    assert lines[0] == "GeneStability: 3 runs, each with another seed; Nogueira index (95 %)"
    assert lines[1].startswith("  sBNN-2: ") and lines[1].endswith("genes in all runs") and len(lines) == 3


def test_substitutes_stand_in_where_a_gene_is_missing():
    chosen = pd.DataFrame({
        "always": [1, 1, 1, 1, 1, 1],
        "often": [1, 1, 1, 1, 0, 0],
        "instead": [0, 0, 0, 0, 1, 1],
        "partly": [1, 0, 0, 0, 1, 0],
        "rare": [0, 0, 1, 1, 0, 0],
        "never": [0, 0, 0, 0, 0, 0],
    }).astype(bool)  # fmt: skip
    found = stability_of(chosen).substitutes("m")
    assert found.columns.tolist() == ["gene", "frequency", "substitute", "gain", "correlation"]
    assert found["gene"].unique().tolist() == ["often"]  # the others are in all, or in fewer than half of the runs
    assert found["frequency"].tolist() == pytest.approx([4 / 6] * 2)
    assert found["substitute"].tolist() == ["instead", "partly"]
    assert found["gain"].tolist() == pytest.approx([1, 1 / 2 - 1 / 4])
    assert found["correlation"].tolist() == pytest.approx(chosen.astype(float).corr()["often"][["instead", "partly"]])
    assert stability_of(chosen).substitutes("m", n=1)["substitute"].tolist() == ["instead"]
    nothing = stability_of(chosen[["always"]]).substitutes("m")
    assert len(nothing) == 0 and nothing.columns.tolist() == found.columns.tolist()


def test_among_equal_substitutes_the_more_correlated_comes_first():
    chosen = pd.DataFrame({"a": [1, 1, 0], "b": [0, 0, 1], "c": [0, 0, 1]}).astype(bool)
    correlations = pd.DataFrame([[1, 0.1, -0.4], [0.1, 1, 0], [-0.4, 0, 1]], index=list("abc"), columns=list("abc"))
    found = stability_of(chosen, correlations=correlations).substitutes("m")
    assert found["substitute"].tolist() == ["c", "b"] and found["correlation"].tolist() == [-0.4, 0.1]


def test_substitutes_of_unknown_models_or_numbers_are_refused(by_seed):
    with pytest.raises(ValueError, match="unknown model 'none': expected one of 'sBNN-2', 'two'"):
        by_seed.substitutes("none")
    with pytest.raises(ValueError, match="n must be at least 1"):
        by_seed.substitutes("two", n=0)


@pytest.mark.parametrize("resample", ["seed", "donor"])
def test_a_store_holds_finished_runs_when_more_are_wanted(data, resample, tmp_path, monkeypatch):
    models = {"m": LINEAR if resample == "donor" else NETWORK}
    first = gene_stability(data, models, resample, 2, store=tmp_path / "store", progress=False)
    fitted = []
    run_jobs = cross_validation.run_jobs

    def counted(plan, missing, *more):
        fitted.append(len(missing))
        return run_jobs(plan, missing, *more)

    monkeypatch.setattr(cross_validation, "run_jobs", counted)
    again = gene_stability(data, models, resample, 2, store=tmp_path / "store", progress=False)
    for name in ("selected", "frequencies", "index", "maps", "pairs"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name))
    if resample == "donor":
        more = gene_stability(data, models, resample, 3, store=tmp_path / "store", progress=False)
        assert genes_of(more, "m", 1) == genes_of(first, "m", 1) and fitted == [0, 1]
    else:
        assert fitted == [0]


def test_runs_without_genes_have_no_map(data):
    """Their number of genes is zero, and all their cells are at one place."""
    none = gene_stability(data, {"m": ReducedRankRegressor(2, 50.0)}, "donor", 2, progress=False)
    row = none.index.iloc[0]
    assert row["n_genes"] == row["in_all_runs"] == 0 and np.isnan([row["nogueira"], row["share_in_80_percent"]]).all()
    assert none.maps[["procrustes_r2", "procrustes_r2_min", "common_neighbours"]].isna().all(axis=None)
    assert len(none.frequencies) == len(none.selected) == len(none.correlations) == 0
    assert len(none.substitutes("m")) == 0


def test_maps_of_one_dimension_are_not_compared(data):
    found = gene_stability(data, {"m": ReducedRankRegressor(1, 0.4)}, "donor", 2, progress=False)
    assert len(found.maps) == len(found.pairs) == 0 and len(found.index) == 1


def test_without_counts_values_are_z_scored_again(data):
    bare = replace(data, counts=None, features=None)
    found = gene_stability(bare, {"m": LINEAR}, "donor", 2, progress=False)
    for run, fold in enumerate(donor_bootstraps(data, 2)):
        X, Y = (table[fold.train].astype(float) for table in (data.X, data.Y))
        model = clone(LINEAR).fit((X - X.mean(axis=0)) / X.std(axis=0), (Y - Y.mean(axis=0)) / Y.std(axis=0))
        assert genes_of(found, "m", run) == set(data.gene_names[model.selected_])


def test_diverged_runs_are_an_error(data):
    wild = clone(NETWORK).set_params(schedule=[replace(stage, learning_rate=1e30) for stage in STAGES])
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(ValueError, match=r"models\['m'\] diverged in run"):
        gene_stability(data, {"m": wild}, "seed", 2, progress=False)


def test_folds_with_repeated_cells_repeat_them_in_latents(data):
    fold = Fold(np.array([*range(60), *range(30)]), np.arange(60, 80))
    result = fit_on_folds(data, [("m", LINEAR)], [fold], progress=False)
    assert len(result.latents) == 110 and result.latents["cell"].value_counts().max() == 2
    with pytest.raises(ValueError, match="every cell must occur once"):
        cross_validate(data, {"m": LINEAR}, folds=[tuple(fold)], progress=False)


def unnamed(data):
    return replace(data, donors=np.where(np.arange(data.n_cells) < 2, "unknown", data.donors))


CASES = [
    ({"resample": "cells"}, "unknown resample 'cells': expected one of 'seed', 'donor'"),
    ({"n": 1}, "n must be at least 2, got 1"),
    ({"n": 2.0}, "n must be a whole number, at least 2, got 2.0"),
    ({"random_state": None}, "random_state must be a whole number, between 0 and 4294967276, got None"),
    ({"random_state": -1}, "random_state must be between 0 and"),
    ({"data": np.zeros((3, 3))}, "data must be PairedData"),
    ({"models": NETWORK}, "models must be a dict"),
    ({"models": {}}, "models is empty"),
    ({"models": {"m": [NETWORK, clone(NETWORK).set_params(random_state=9)]}}, "holds several estimators"),
    ({"models": {"m": LINEAR}}, r'models\[.m.\] is linear and does not depend on a seed: .* use resample="donor"'),
    ({"models": {"m": Lasso()}}, r"models\['m'\] should be a model that selects genes, Sparse.* got Lasso"),
    ({"models": {"m": clone(NETWORK).set_params(n_selected=None)}}, "keeps every gene: give it n_selected, and"),
    ({"models": {"m": clone(NETWORK).set_params(n_selected=60)}}, "keeps all 60 genes of the data: give it a smaller"),
    ({"models": {"m": clone(NETWORK).set_params(schedule=STAGES[:1])}}, "a schedule with a stage \"pruned\""),
    ({"models": {"m": clone(NETWORK).set_params(group_lasso=-1)}}, r"models\['m'\]: group_lasso must be"),
    ({"models": {"m": ReducedRankRegressor(2, l1_ratio=0)}, "resample": "donor"}, "l1_ratio must be above 0"),
    ({"donors": None, "resample": "donor"}, 'but data.donors is None: give them, or use resample="seed"'),
    ({"donors": "one", "resample": "donor"}, "needs at least 3 animals in data.donors, got 1"),
    ({"donors": "unknown", "resample": "donor"}, r"that of 2 of 150 cells is not known \('cell000', 'cell001'\)"),
    ({"store": __file__}, "store must be a folder"),
    ({"n_jobs": 1.5}, "n_jobs must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_what_is_wrong_is_said_before_anything_is_fitted(data, changed, message, monkeypatch):
    monkeypatch.setattr("sbnn.validation.cross_validation.run_jobs", None)
    changed = dict(changed)
    donors = changed.pop("donors", "as they are")
    if donors != "as they are":
        named = {None: None, "one": np.full(data.n_cells, "a"), "unknown": unnamed(data).donors}[donors]
        changed["data"] = replace(data, donors=named)
    arguments = {"data": data, "models": {"m": NETWORK}, "progress": False, **changed}
    with pytest.raises(ValueError, match=message):
        gene_stability(**arguments)


def test_the_name_is_public():
    assert sbnn.gene_stability is gene_stability and "gene_stability" in sbnn.__all__


def test_a_draw_holds_two_animals_and_leaves_one_out(small):
    data = small[0]
    few = replace(data, donors=np.array(["a", "b", "c"])[np.arange(data.n_cells) % 3])
    for fold in donor_bootstraps(few, 30):
        assert len(set(few.donors[fold.train])) == 2 and len(set(few.donors[fold.test])) == 1
