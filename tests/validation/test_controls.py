"""Selected genes against random genes of the same expression."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import false_discovery_control, kstest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

import sbnn
from sbnn import (
    ClassMean,
    PairedData,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    matched_controls,
    simulate_patchseq,
)
from sbnn.models.schedules import Stage
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.contestants import on_genes
from sbnn.validation.control_genes import (
    describe_pairs,
    draw_controls,
    expression_statistics,
    match_quality,
)
from sbnn.validation.controls import MatchedControls, _summarise
from sbnn.validation.folds import make_folds, view_fold

FOLDS = KFold(3, shuffle=True, random_state=0)
RIDGE = Ridge(5.0)


@pytest.fixture(scope="module")
def planted():
    """Cells in which eight of 120 genes are informative, and these genes."""
    data, truth = simulate_patchseq(200, 120, 4, 8, n_types=4, n_donors=20, random_state=2)
    return data, data.gene_names[truth.informative]


@pytest.fixture(scope="module")
def found(planted):
    data, genes = planted
    return matched_controls(data, genes, RIDGE, 12, FOLDS, 5, name="ridge", progress=False)


def statistics(n_genes=60, seed=0):
    """Statistics of made genes, without any cells."""
    values = np.random.default_rng(seed).random((n_genes, 2)) * [10, 1]
    names = pd.Index([f"gene{number}" for number in range(n_genes)], name="gene")
    return pd.DataFrame(values, index=names, columns=["mean_log", "detection"])


def test_statistics_are_those_of_a_loop_over_genes(planted):
    data = planted[0]
    cells = np.arange(0, 200, 3)
    table = expression_statistics(data, cells, detection_threshold=2)
    counts = np.asarray(data.counts)[cells].astype(float)
    depth = counts.sum(axis=1)
    for place in (0, 7, 119):
        values = [
            np.log2(1 + count / own * np.median(depth)) for count, own in zip(counts[:, place], depth, strict=True)
        ]
        assert table["mean_log"].iloc[place] == pytest.approx(np.mean(values))
        assert table["detection"].iloc[place] == np.mean([count > 2 for count in counts[:, place]])
    assert list(table.index) == list(data.gene_names)
    mask = np.isin(np.arange(200), cells)
    pd.testing.assert_frame_equal(table, expression_statistics(data, mask, 2))


def test_sparse_counts_give_the_same_statistics(planted):
    data = planted[0]
    fields = {name: getattr(data, name) for name in ("X", "Y", "gene_names", "feature_names", "cell_names")}
    other = PairedData(**fields, counts=sparse.csr_array(data.counts))
    pd.testing.assert_frame_equal(expression_statistics(data), expression_statistics(other))


def test_controls_are_among_the_closest_never_selected_and_never_twice_in_a_set():
    table, selected = statistics(), np.array([3, 11, 12, 40, 59])
    drawn = draw_controls(table, selected, 200, n_closest=4, random_state=1)
    assert drawn.genes.shape == (200, 5)
    assert not np.isin(drawn.genes, selected).any()
    assert all(len(set(genes)) == 5 for genes in drawn.genes)
    scaled = table.to_numpy() / table.to_numpy().std(axis=0)
    pool = np.setdiff1d(np.arange(60), selected)
    for column, gene in enumerate(selected):
        distance = np.sqrt(((scaled[pool] - scaled[gene]) ** 2).sum(axis=1))
        np.testing.assert_allclose(
            drawn.distances[:, column], [distance[pool == control][0] for control in drawn.genes[:, column]]
        )
        # Of the closest, others of the set may have taken four at most.
        assert set(drawn.genes[:, column]) <= set(pool[np.argsort(distance)][:8])


def test_each_of_the_closest_is_drawn_as_often():
    table = statistics()
    drawn = draw_controls(table, np.array([20]), 4000, n_closest=5)
    times = np.unique(drawn.genes, return_counts=True)[1]
    assert len(times) == 5 and (abs(times - 800) < 5 * np.sqrt(800)).all()
    nearest = draw_controls(table, np.array([20]), 3, n_closest=1)
    scaled = table.to_numpy() / table.to_numpy().std(axis=0)
    distance = np.linalg.norm(scaled - scaled[20], axis=1)
    assert (nearest.genes == np.argsort(distance)[1]).all()


def test_sets_do_not_depend_on_their_number_and_are_alike_for_folds_that_share_genes():
    table, selected = statistics(200), np.array([3, 11, 12, 40, 59])
    many, few = (draw_controls(table, selected, n, 5, random_state=3) for n in (50, 7))
    np.testing.assert_array_equal(many.genes[:7], few.genes)
    assert not np.array_equal(draw_controls(table, selected, 7, 5, random_state=4).genes, few.genes)
    # Another fold selects one other gene, and its cells have slightly other statistics.
    other = draw_controls(table * [1.01, 0.99], np.array([3, 11, 12, 40, 150]), 50, 5, random_state=3)
    assert (other.genes[:, :4] == many.genes[:, :4]).mean() > 0.9


def test_controls_match_where_unmatched_genes_would_not():
    table = statistics(400)
    selected = np.argsort(table["mean_log"].to_numpy())[-60:-20:4]  # strongly expressed
    drawn = draw_controls(table, selected, 30, 5)
    pairs = describe_pairs(table, selected, drawn)
    quality = match_quality(pairs, [table])
    assert abs(quality.loc["mean_log", "difference"]) < 0.1 < 1 < -quality.loc["mean_log", "unmatched"]
    sd = table.std(ddof=0)
    own, other = table.iloc[np.tile(selected, 30)], table.iloc[drawn.genes.ravel()]
    for name in ("mean_log", "detection"):
        gap = (other[name].to_numpy() - own[name].to_numpy()) / sd[name]
        assert quality.loc[name, "difference"] == pytest.approx(gap.mean())
        assert quality.loc[name, "within_pairs"] == pytest.approx(abs(gap).mean())
        assert quality.loc[name, "unmatched"] == pytest.approx((table[name].mean() - own[name].mean()) / sd[name])
    squares = sum(((pairs[f"control_{name}"] - pairs[name]) / sd[name]) ** 2 for name in ("mean_log", "detection"))
    np.testing.assert_allclose(pairs["distance"], np.sqrt(squares))


def test_a_coordinate_that_does_not_vary_is_no_obstacle():
    drawn = draw_controls(statistics().assign(detection=1.0), np.array([0, 1]), 3, 2)
    assert np.isfinite(drawn.distances).all()


def test_informative_genes_exceed_every_control(found, planted):
    data = planted[0]
    pooled = found.summary.loc["all features"]
    assert list(found.summary.index) == ["all features", *data.feature_names]
    assert pooled["percentile"] == 100 and pooled["p"] == 1 / 13 and pooled["n_scored"] == 12
    assert (found.summary["percentile"] == 100).all() and found.summary["difference"].min() > 0.2
    assert repr(found).startswith("MatchedControls: ridge from 8 selected genes, 3 folds: R2 0.")
    assert "percentile 100" in repr(found) and "12 sets" in repr(found) and len(repr(found)) < 400


def test_r2_is_that_of_an_independent_computation(found, planted):
    """The selected genes and each control set: z-scores of the training cells, depth over all genes."""
    data, genes = planted
    counts, features = np.asarray(data.counts, dtype=float), data.features
    for number in (0, 1, 12):
        for fold, (train, test) in enumerate(FOLDS.split(data.X)):
            pairs = found.pairs[found.pairs["fold"].eq(fold) & found.pairs["set"].eq(max(number, 1))]
            names = genes if number == 0 else pairs["control"]
            depth = counts.sum(axis=1)
            logs = np.log2(1 + counts / depth[:, None] * np.median(depth[train]))[:, np.isin(data.gene_names, names)]
            X = (logs - logs[train].mean(axis=0)) / logs[train].std(axis=0)
            Y = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
            residual = Y[test] - Ridge(5.0).fit(X[train], Y[train]).predict(X[test])
            row = found.scores[found.scores["set"].eq(number) & found.scores["fold"].eq(fold)]
            assert row["r2_test"].item() == pytest.approx(1 - (residual**2).sum() / (Y[test] ** 2).sum(), abs=1e-5)
            part = found.feature_scores[found.feature_scores["set"].eq(number) & found.feature_scores["fold"].eq(fold)]
            own = 1 - (residual**2).sum(axis=0) / (Y[test] ** 2).sum(axis=0)
            np.testing.assert_allclose(part["r2_test"], own, atol=1e-5)


def test_the_summary_counts_ties_half_and_corrects_over_features():
    scores = pd.DataFrame({"set": np.arange(5).repeat(2), "fold": [0, 1] * 5})
    scores["r2_test"] = [0.5, 0.3, 0.4, 0.4, 0.3, 0.3, 0.6, 0.4, 0.1, 0.3]  # means .4, .4, .3, .5, .2
    features = pd.concat([scores.assign(feature="a"), scores.assign(feature="b", r2_test=-scores["r2_test"])])
    table = _summarise(scores, features, ["a", "b"])
    row = table.loc["all features"]
    assert row["r2"] == pytest.approx(0.4) and row["control_mean"] == pytest.approx(0.35)
    assert row["control_sd"] == pytest.approx(np.std([0.4, 0.3, 0.5, 0.2], ddof=1))
    assert row["difference"] == pytest.approx(0.05) and row["n_scored"] == 4
    assert row["percentile"] == 62.5 and row["p"] == 3 / 5 and np.isnan(row["q"])
    assert table.loc["b", "percentile"] == 37.5 and table.loc["b", "p"] == 4 / 5
    np.testing.assert_allclose(table.loc[["a", "b"], "q"], false_discovery_control([3 / 5, 4 / 5]))


def test_sets_without_r2_are_left_out_with_a_warning():
    scores = pd.DataFrame({"set": [0, 1, 2, 3], "fold": 0, "r2_test": [0.4, np.nan, 0.5, 0.1]})
    features = scores.assign(feature="a")
    with pytest.warns(UserWarning, match="1 of 3 control sets have no R2"):
        table = _summarise(scores, features, ["a"])
    assert table.loc["a", "n_scored"] == 2 and table.loc["a", "percentile"] == 50
    lost = scores.assign(r2_test=[np.nan, 0.2, 0.5, 0.1])
    table = _summarise(lost, lost.assign(feature="a"), ["a"])
    assert table.loc["a", ["percentile", "p", "q"]].isna().all() and table.loc["a", "control_mean"] > 0
    none = scores.assign(r2_test=[0.4, np.nan, np.nan, np.nan])
    with pytest.warns(UserWarning, match="3 of 3"):
        table = _summarise(none, none.assign(feature="a"), ["a"])
    assert table["n_scored"].eq(0).all() and table["percentile"].isna().all()


def test_percentiles_of_arbitrary_genes_are_uniform(planted):
    """Genes drawn at random are worse than the controls as often as they are better."""
    data, genes = planted
    others = np.setdiff1d(data.gene_names, genes)
    random = np.random.default_rng(0)
    percentiles = [
        matched_controls(
            data, random.choice(others, 6, replace=False), RIDGE, 9, KFold(2), 5, random_state=n, progress=False
        ).summary.loc["all features", "percentile"]
        for n in range(15)
    ]
    assert kstest(np.array(percentiles) / 100, "uniform").pvalue > 0.01


def test_the_selected_genes_alone_are_what_cross_validation_finds(found, planted):
    """A cross-validation of data that hold the same values of these genes only."""
    data, genes = planted
    for fold, split in enumerate(make_folds(data, FOLDS)):
        view = view_fold(data, split, within_fold=True)
        few = PairedData(
            X=view.X[:, np.isin(data.gene_names, genes)], Y=view.Y, gene_names=genes,
            feature_names=data.feature_names, cell_names=data.cell_names,
        )  # fmt: skip
        result = cross_validate(few, {"ridge": RIDGE}, [split], progress=False)
        row = found.scores[found.scores["set"].eq(0) & found.scores["fold"].eq(fold)]
        assert row["r2_test"].item() == pytest.approx(result.scores["r2_test"].item())
        assert row["r2_train"].item() == pytest.approx(result.scores["r2_train"].item())


def test_genes_of_each_fold_however_they_are_given(planted):
    data, _ = planted
    model = ReducedRankRegressor(2, 0.15, relaxed=True)
    result = cross_validate(data, {"sRRR-2": model}, FOLDS, within_fold=True, keep=(), progress=False)
    settings = {"estimator": RIDGE, "n_sets": 3, "n_closest": 3, "progress": False}
    whole = matched_controls(data, result, **settings)
    table = matched_controls(data, result.selected, folds=FOLDS, **settings)
    named = {fold: part["gene"].tolist()[::-1] for fold, part in result.selected.groupby("fold")}
    listed = matched_controls(data, named, folds=result.folds, **settings)
    for other in (table, listed):
        pd.testing.assert_frame_equal(whole.scores, other.scores)
        pd.testing.assert_frame_equal(whole.pairs, other.pairs)
    assert whole.per_fold and "selected genes of each fold" in repr(whole)
    for fold, genes in named.items():
        pairs = whole.pairs[whole.pairs["fold"] == fold]
        assert set(pairs["gene"]) == set(genes) and not set(pairs["control"]) & set(genes)
        own = expression_statistics(data, result.folds[fold].train)  # matched on the training cells
        np.testing.assert_array_equal(pairs["mean_log"], own.loc[pairs["gene"], "mean_log"])
        np.testing.assert_array_equal(pairs["control_detection"], own.loc[pairs["control"], "detection"])


def test_test_cells_have_no_part_in_the_controls_of_a_fold(planted):
    data, genes = planted
    split = make_folds(data, FOLDS)[:1]
    changed = np.asarray(data.counts).copy()
    changed[split[0].test] = changed[split[0].test][:, ::-1]
    fields = {name: getattr(data, name) for name in ("X", "Y", "gene_names", "feature_names", "cell_names", "features")}
    settings = {"estimator": RIDGE, "n_sets": 2, "folds": split, "n_closest": 3, "progress": False}
    one = matched_controls(data, {0: genes}, **settings)
    other = matched_controls(PairedData(**fields, counts=changed), {0: genes}, **settings)
    pd.testing.assert_frame_equal(one.pairs, other.pairs)
    pd.testing.assert_series_equal(one.scores["r2_train"], other.scores["r2_train"])
    assert not np.allclose(one.scores["r2_test"], other.scores["r2_test"])


def network(**settings):
    stages = [Stage("finetuned", epochs=4, learning_rate=3e-3, batch_size=64)]
    return SparseBottleneckRegressor(**{"hidden": (8, 4), "group_lasso": 0.0, "schedule": stages} | settings)


def test_networks_read_every_gene_and_do_not_depend_on_the_stack(planted):
    data, genes = planted
    settings = {"n_sets": 2, "folds": KFold(2), "n_closest": 3, "progress": False, "n_jobs": 1}
    stacked = matched_controls(data, genes, network(n_selected=5), stack_size=10, **settings)
    alone = matched_controls(data, genes, network(n_selected=None), stack_size=1, **settings)
    np.testing.assert_allclose(stacked.scores["r2_test"], alone.scores["r2_test"], atol=1e-5)
    split = make_folds(data, KFold(2))[0]
    view = view_fold(data, split, within_fold=True)
    X = view.X[:, np.isin(data.gene_names, genes)]
    fitted = network(n_selected=None).fit(X[split.train], view.Y[split.train])
    Y, predicted = view.Y[split.test], fitted.predict(X[split.test])
    centre = view.Y[split.train].mean(axis=0)
    r2 = 1 - ((Y - predicted) ** 2).sum() / ((Y - centre) ** 2).sum()
    assert stacked.scores["r2_test"].iloc[0] == pytest.approx(r2, abs=1e-4)


def test_networks_with_other_numbers_of_genes_in_each_fold(planted):
    data, genes = planted
    by_fold = {0: genes[:5], 1: genes}
    found = matched_controls(data, by_fold, network(), 1, KFold(2), 3, progress=False, n_jobs=1, stack_size=9)
    assert found.scores["r2_test"].notna().all() and len(found.pairs) == 13


def test_a_store_holds_finished_fits(planted, tmp_path):
    data, genes = planted
    settings = {"folds": KFold(2), "n_closest": 3, "store": tmp_path / "store", "progress": False}
    first = matched_controls(data, genes, RIDGE, 2, **settings)
    again = matched_controls(data, genes[::-1], RIDGE, 2, **settings)
    more = matched_controls(data, genes, RIDGE, 3, **settings)
    assert (first.n_fitted, again.n_fitted, more.n_fitted) == (6, 0, 2)
    pd.testing.assert_frame_equal(first.scores, again.scores)
    pd.testing.assert_frame_equal(more.scores[more.scores["set"] < 3], first.scores)
    other = matched_controls(data, genes[:-1], RIDGE, 2, **settings)
    assert other.n_fitted == 6
    cross_validate(data, {"ridge": RIDGE}, KFold(2), store=tmp_path / "store", progress=False, within_fold=True)
    assert matched_controls(data, genes, RIDGE, 2, **settings).n_fitted == 0


def test_full_rank_is_the_number_of_genes_if_there_are_fewer_than_features(planted):
    """Ridge of full rank on two genes, with four features, is ridge."""
    data, genes = planted
    settings = {"genes": genes[:2], "n_sets": 1, "folds": KFold(2), "n_closest": 3, "progress": False}
    found = matched_controls(data, estimator=ReducedRankRegressor(None, 0.1, l1_ratio=0.0), **settings)
    ridge = matched_controls(data, estimator=Ridge(10.0), **settings)  # 0.1 for each of 100 training cells
    np.testing.assert_allclose(found.scores["r2_test"], ridge.scores["r2_test"], atol=1e-6)


class Nothing(RegressorMixin, BaseEstimator):
    """Predicts what is not finite."""

    def fit(self, X, y):
        self.n_ = y.shape[1]
        return self

    def predict(self, X):
        return np.full((len(X), self.n_), np.nan)


def test_a_model_that_fails_is_named(planted):
    data, genes = planted
    with pytest.warns(UserWarning) as warned:
        found = matched_controls(data, genes, Nothing(), 2, KFold(2), 3, progress=False)
    assert [str(one.message) for one in warned] == [
        "'Nothing' in fold 0 of the selected genes predicts values that are not finite, for 100 training and 100 test "
        "cells: no R2 (6 of 6 fits)",
        "2 of 2 control sets have no R2 in a fold and are left out",
    ]
    assert found.summary["percentile"].isna().all() and "nan" in repr(found)


class Picky(Nothing):
    """Fails on cells whose first feature has this value."""

    def __init__(self, first=0.0):
        self.first = first

    def fit(self, X, y):
        if np.isclose(X[0, 0], self.first):
            raise ValueError("not these")
        return super().fit(X, y)

    def predict(self, X):
        return np.zeros((len(X), self.n_))


def test_an_error_says_in_which_set_and_fold(planted):
    data, genes = planted
    settings = {"n_sets": 3, "folds": KFold(2), "n_closest": 3, "progress": False}
    pairs = matched_controls(data, genes, Picky(np.inf), **settings).pairs
    own = pairs[pairs["fold"].eq(1) & pairs["set"].eq(2)]
    columns = np.flatnonzero(np.isin(data.gene_names, own["control"]))
    split = make_folds(data, KFold(2))[1]
    view = view_fold(data, split, within_fold=True)
    with pytest.raises(ValueError, match="not these") as caught:
        matched_controls(data, genes, Picky(float(view.X[split.train[0], columns[0]])), **settings)
    assert caught.value.__notes__ == ["while fitting 'Picky' in fold 1 of control set 2"]


def bare(data):
    return PairedData(data.X, data.Y, data.gene_names, data.feature_names, data.cell_names)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": np.zeros((3, 3))}, "data must be PairedData"),
        ({"data": "bare"}, "has no counts, only z-scores"),
        ({"genes": "gene001"}, "genes must be a list of names"),
        ({"genes": 3}, "genes must be a list of names"),
        ({"genes": []}, "one or more names of genes, got none"),
        ({"genes": ["gene001", "gene001"]}, "duplicate genes"),
        ({"genes": ["gene001", "Nope1"]}, "genes include 'Nope1', not among the 120 genes of the data"),
        ({"genes": "most"}, "60 genes with n_closest=5 need at least 64 others .* 60 of them not selected"),
        ({"genes": {0: ["gene001"]}, "folds": None}, "give the folds in which they were selected"),
        ({"genes": {0: ["gene001"]}}, "an entry for each fold, 0 to 2, got '0'"),
        ({"genes": {0: ["gene001"], 1: ["gene002"], 2: []}}, "genes of fold 2 must be one or more"),
        ({"genes": pd.DataFrame({"gene": ["gene001"]})}, r"without the column\(s\) 'fold'"),
        ({"genes": pd.DataFrame({"gene": ["gene001"] * 2, "fold": 0})}, "a gene twice in a fold"),
        ({"genes": "result"}, "folds must be None if genes is a CrossValidation"),
        ({"genes": "result", "folds": None, "data": "other"}, "a cross-validation of other data"),
        ({"genes": "two", "folds": None}, "one model, got 'a', 'b'"),
        ({"genes": "none", "folds": None}, "selects no genes"),
        ({"estimator": ClassMean()}, "should read genes only, but ClassMean reads classes"),
        ({"estimator": ClassRidge()}, "should read genes only, but ClassRidge reads classes"),
        ({"estimator": ClassRidge(columns=(0, 1, 2))}, "should read genes only, but ClassRidge reads classes"),
        ({"estimator": "some"}, "estimator has a ColumnTransformer that chooses columns, .* some of these genes only"),
        (
            {"estimator": ReducedRankRegressor(4), "genes": ["gene001", "gene002"]},
            "estimator, on the 2 selected genes: rank must be between 1 and 2, got 4",
        ),
        (
            {"estimator": ReducedRankRegressor(3), "genes": {0: ["gene001"], 1: ["gene002"], 2: ["gene003"]}},
            "estimator, on the 1 selected genes of fold 0: rank must be",
        ),
        ({"estimator": Ridge}, "should be an estimator"),
        ({"estimator": [RIDGE]}, "should be an estimator"),
        ({"estimator": SparseBottleneckRegressor}, "should be an estimator"),
        ({"estimator": SparseBottleneckRegressor(random_state=None)}, "random_state of the network must be a whole"),
        ({"estimator": SparseBottleneckRegressor(group_lasso=-1)}, "group_lasso must be"),
        ({"n_sets": 0}, "n_sets must be at least 1"),
        ({"n_closest": 0}, "n_closest must be at least 1"),
        ({"detection_threshold": -1}, "detection_threshold must be"),
        ({"random_state": None}, "random_state must be a whole number"),
        ({"folds": "all"}, "folds must have test cells"),
        ({"folds": "nowhere"}, "unknown folds"),
        ({"n_jobs": 1.5}, "n_jobs must be"),
    ],
)
def test_errors_name_the_argument(planted, changed, message):
    data, genes = planted
    special = {"bare": bare(data), "other": simulate_patchseq(50, 120, n_informative=8)[0]}
    arguments = {"data": data, "genes": genes, "estimator": RIDGE, "n_sets": 2, "folds": FOLDS, "n_closest": 5}
    arguments |= changed
    if arguments["estimator"] == "some":
        arguments["estimator"] = on_genes(Ridge(), data.gene_names[:5], data)
    if isinstance(arguments["data"], str):
        arguments["data"] = special[arguments["data"]]
    if isinstance(arguments["genes"], str) and arguments["genes"] in ("result", "two", "none", "most"):
        models = {"a": ReducedRankRegressor(2, 0.15)}
        if arguments["genes"] != "result":
            models = {"two": models | {"b": RIDGE}, "none": {"b": RIDGE}, "most": models}[arguments["genes"]]
        result = cross_validate(data, models, FOLDS, keep=(), progress=False)
        arguments["genes"] = data.gene_names[:60] if arguments["genes"] == "most" else result
    with pytest.raises(ValueError, match=message):
        matched_controls(**arguments, progress=False)


def test_a_table_of_two_models_is_refused_and_a_choice_among_variable_genes_said(planted):
    data, genes = planted
    tables = [
        pd.DataFrame({"model": name, "fold": [0, 1, 2], "gene": gene})
        for name, gene in zip("ab", genes[:2], strict=True)
    ]
    with pytest.raises(ValueError, match="genes is a table of the models 'a', 'b': give the rows of one"):
        matched_controls(data, pd.concat(tables), RIDGE, 2, FOLDS, 5, progress=False)
    choosing = {"within_fold": True, "n_variable_genes": 60, "keep": (), "progress": False}
    result = cross_validate(data, {"a": ReducedRankRegressor(2, 0.15)}, FOLDS, **choosing)
    with pytest.warns(UserWarning, match="selected among the 60 most variable of each fold"):
        matched_controls(data, result, RIDGE, 2, n_closest=5, progress=False)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "cells is empty"),
        ([0, 0], "more than once"),
        ([999], "must be rows between"),
        ([True], "one entry per cell"),
    ],
)
def test_cells_of_statistics_are_checked(planted, cells, message):
    with pytest.raises(ValueError, match=message):
        expression_statistics(planted[0], np.array(cells, dtype=bool if cells == [True] else int))


def test_it_is_public():
    assert sbnn.matched_controls is matched_controls and "matched_controls" in sbnn.__all__
    assert MatchedControls.__doc__
