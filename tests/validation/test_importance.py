"""Importance of genes: permutations on held-out cells, intervals over animals, p and q values."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from expanded_tails import expanded_tails
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, Ridge

from sbnn import (
    ClassMean,
    CrossValidation,
    PairedData,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    gene_importance,
    load_results,
    save_results,
    simulate_patchseq,
)
from sbnn.models.schedules import Stage
from sbnn.validation import permutations
from sbnn.validation.bootstrap import draw_groups
from sbnn.validation.folds import view_fold
from sbnn.validation.permutations import HeldOutCells
from sbnn.validation.transfer import ALL_FEATURES

SCHEDULE = [Stage("finetuned", 15, 3e-3, batch_size=64), Stage("pruned", 15, 3e-3, batch_size=64)]
NETWORK = {"n_selected": 8, "hidden": (32, 16), "schedule": SCHEDULE, "group_lasso": 0.05}
QUICK = {"n_bootstrap": 50, "progress": False}


def validated(data, model, folds="donor", **settings):
    models = model if isinstance(model, dict) else {"model": model}
    return cross_validate(data, models, folds=folds, progress=False, **settings)


@pytest.fixture(scope="module")
def simulated():
    """Cells with missing values, and a linear model whose folds select different genes."""
    data, truth = simulate_patchseq(200, 40, n_features=5, n_informative=8, n_types=4, n_donors=25, missing=0.15)
    result = validated(data, ReducedRankRegressor(2, 0.35, relaxed=True))
    return data, truth, result, gene_importance(result, data, n_bootstrap=200, progress=False)


def held_out_cells(data, result, random_state=0, n_repeats=10):
    """The test cells of all folds with the permutations that `gene_importance` draws."""
    return [
        HeldOutCells(
            number,
            estimator,
            view_fold(data, fold, result.protocol == "training cells"),
            np.zeros(len(fold.test), dtype=int),
            n_repeats,
            np.random.default_rng([random_state, number]),
        )
        for number, (fold, estimator) in enumerate(zip(result.folds, result.estimators, strict=True))
    ]


def test_importance_is_r2_before_minus_r2_after_with_means_over_permutations(simulated):
    """Recomputed cell by cell from the same permutations, with the R2 of the package and means of each fold."""
    data, _, result, found = simulated
    for gene_name in found.total["gene"][[0, len(found.total) - 1]]:
        gene = list(data.gene_names).index(gene_name)
        residual, permuted, total = np.zeros(5), np.zeros(5), np.zeros(5)
        for fold, estimator, cells in zip(result.folds, result.estimators, held_out_cells(data, result), strict=True):
            Y, X = data.Y[fold.test].astype(float), data.X[fold.test]
            centre = np.nanmean(data.Y[fold.train].astype(float), axis=0)
            residual += np.nansum((Y - estimator.predict(X)) ** 2, axis=0)
            total += np.nansum((Y - centre) ** 2, axis=0)
            for partners in cells.partners:
                changed = X.copy()
                if estimator.selected_[gene]:
                    changed[:, gene] = X[partners, gene]
                permuted += np.nansum((Y - estimator.predict(changed)) ** 2, axis=0) / 10
        rows = found.table[found.table["gene"] == gene_name]
        np.testing.assert_allclose(rows["importance"], (permuted - residual) / total, atol=1e-6)
        pooled = found.total.set_index("gene").loc[gene_name, "importance"]
        np.testing.assert_allclose(pooled, (permuted - residual).sum() / total.sum(), atol=1e-6)


def test_scores_are_r2_of_the_predictions_pooled_over_folds(simulated):
    data, _, result, found = simulated
    for name, columns in (("feature 2", ["feature 2"]), (ALL_FEATURES, data.feature_names)):
        residual = total = 0
        for number, fold in enumerate(result.folds):
            table = result.predictions[result.predictions["fold"] == number].set_index("cell")
            chosen = np.isin(data.feature_names, columns)
            truth = data.Y[fold.test][:, chosen].astype(float)
            centre = np.nanmean(data.Y[fold.train][:, chosen].astype(float), axis=0)
            residual += np.nansum((truth - table.loc[data.cell_names[fold.test], columns].to_numpy()) ** 2)
            total += np.nansum((truth - centre) ** 2)
        score = found.scores.set_index("feature").loc[name, "r2_test"]
        np.testing.assert_allclose(score, 1 - residual / total, rtol=1e-6)


def test_intervals_bootstrap_animals(simulated):
    """Recomputed by putting the cells of the drawn animals together, with the R2 of the package."""
    data, _, result, found = simulated
    gene_name, feature = found.total["gene"][1], 3
    gene = list(data.gene_names).index(gene_name)
    parts = held_out_cells(data, result)
    donors = np.concatenate([data.donors[fold.test] for fold in result.folds])
    deviations, residuals = (np.concatenate([getattr(part, what)[:, feature] for part in parts])
                             for what in ("deviations", "residuals"))  # fmt: skip
    increase = np.concatenate(
        [part.increase(gene)[:, feature] if part.selected[gene] else np.zeros(len(part.X)) for part in parts]
    )
    draws = draw_groups(25, 200, 0)
    names = np.unique(donors)
    drops = []
    for draw in draws:
        cells = np.concatenate(
            [np.flatnonzero(donors == names[number]) for number in np.repeat(np.arange(25), draw.astype(int))]
        )
        before = 1 - np.sum(residuals[cells] ** 2) / np.sum(deviations[cells] ** 2)
        after = 1 - np.sum(residuals[cells] ** 2 + increase[cells]) / np.sum(deviations[cells] ** 2)
        drops.append(before - after)
    row = found.table[(found.table["gene"] == gene_name) & (found.table["feature"] == data.feature_names[feature])]
    expected = np.quantile(drops, expanded_tails(0.95, len(names)))
    np.testing.assert_allclose(row[["low", "high"]].to_numpy()[0], expected, atol=1e-9)
    assert (draws.sum(axis=1) == 25).all()


def test_p_values_are_those_of_a_t_test_over_animals_and_q_values_those_of_scipy(simulated):
    data, _, result, found = simulated
    gene_name, feature = found.total["gene"][2], 1
    gene = list(data.gene_names).index(gene_name)
    increase = pd.Series(0.0, index=np.unique(data.donors))
    for fold, cells in zip(result.folds, held_out_cells(data, result), strict=True):
        if cells.selected[gene]:
            values = pd.Series(cells.increase(gene)[:, feature]).groupby(data.donors[fold.test]).sum()
            increase = increase.add(values, fill_value=0)
    expected = stats.ttest_1samp(increase, 0, alternative="greater").pvalue
    row = found.table[(found.table["gene"] == gene_name) & (found.table["feature"] == data.feature_names[feature])]
    np.testing.assert_allclose(row["p"], expected, rtol=1e-6)
    np.testing.assert_allclose(found.table["q"], stats.false_discovery_control(found.table["p"]))


def test_the_table_has_every_gene_that_a_fold_selects_with_its_frequency(simulated):
    data, _, result, found = simulated
    times = result.selected.groupby("gene").size() / len(result.folds)
    assert len(set(times)) > 2
    frequency = found.total.set_index("gene")["frequency"]
    pd.testing.assert_series_equal(frequency.sort_index(), times.sort_index(), check_names=False)
    assert list(found.table["gene"]) == list(np.repeat(found.total["gene"], 5))
    assert list(found.table["feature"]) == list(data.feature_names) * len(found.total)
    assert found.total["importance"].is_monotonic_decreasing
    assert (found.table["low"] <= found.table["high"]).all() and found.table.notna().all(axis=None)


def test_planted_genes_come_first(simulated):
    data, truth, _, found = simulated
    planted = set(data.gene_names[truth.informative])
    assert set(found.total["gene"][: len(planted) - 2]) <= planted
    significant = found.table[found.table["q"] < 0.05]
    assert len(significant) > 5 and significant["gene"].isin(planted).mean() > 0.9


@pytest.mark.parametrize("settings", [{}, {"n_networks": 2}], ids=["network", "ensemble"])
def test_networks_and_ensembles(small, settings):
    """Planted genes come first, and R2 is that of what `predict` says: for an ensemble, of the mean."""
    data, truth = small
    result = validated(data, SparseBottleneckRegressor(**NETWORK, **settings), within_fold=True, n_jobs=1)
    found = gene_importance(result, data, **QUICK)
    assert set(found.total["gene"][:4]) <= set(data.gene_names[truth.informative])
    assert (found.model, found.unit, found.n_units, found.n_folds) == ("model", "donor", 40, 10)
    residual = total = 0
    for fold, estimator in zip(result.folds, result.estimators, strict=True):
        view = view_fold(data, fold, within_fold=True)
        residual += np.sum((view.Y[fold.test] - estimator.predict(view.X[fold.test])) ** 2)
        total += np.sum((view.Y[fold.test] - view.Y[fold.train].mean(axis=0)) ** 2)
    np.testing.assert_allclose(found.scores["r2_test"].iloc[-1], 1 - residual / total, rtol=1e-5)


class Fixed(RegressorMixin, BaseEstimator):
    """Y = X B with B that is given, whatever the training cells are."""

    def __init__(self, B=None):
        self.B = B

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X @ np.asarray(self.B, dtype=X.dtype)


def with_coefficients(n_cells, B, noise=0.5, random_state=0):
    """Independent genes, features that are linear in them, and what `Fixed` makes of them."""
    random = np.random.default_rng(random_state)
    X = random.standard_normal((n_cells, len(B))).astype(np.float32)
    Y = X @ B + noise * random.standard_normal((n_cells, B.shape[1]))
    genes, features = ([f"{what}{number}" for number in range(size)] for what, size in zip("gf", B.shape, strict=True))
    cells = [f"c{number}" for number in range(n_cells)]
    data = PairedData(X, Y, genes, features, cells, donors=[f"d{number % 50}" for number in range(n_cells)])
    return data, validated(data, Fixed(B))


def test_of_a_linear_model_with_independent_genes_importance_is_known():
    """2 beta^2 var(x) / var(y), whatever the noise; a gene that the model ignores has exactly 0."""
    B = np.array([[1.0, 0.0], [0.5, -2.0], [0.0, 0.25], [0.0, 0.0]])
    data, result = with_coefficients(4000, B)
    found = gene_importance(result, data, **QUICK)
    expected = 2 * B**2 * data.X.var(axis=0)[:, None] / data.Y.var(axis=0)
    table = found.table.pivot(index="gene", columns="feature", values="importance").to_numpy()
    np.testing.assert_allclose(table, expected, atol=0.02, rtol=0.05)
    nothing = found.table[found.table["gene"] == "g3"]
    assert (nothing[["importance", "low", "high"]] == 0).all(axis=None) and (nothing["p"] == 1).all()
    assert (table[B == 0] == 0).all() and (found.table["p"][found.table["importance"] > 0] < 1e-10).all()
    assert list(found.total["gene"])[-1] == "g3" and (found.total["frequency"] == 1).all()


def test_importance_does_not_depend_on_the_size_of_folds():
    """Every cell gets the value of another one: with two cells in a fold, permuted cells could stay in place."""
    B = np.array([[1.0], [0.5]])
    data, _ = with_coefficients(600, B)
    order = np.random.default_rng(0).permutation(600)
    pairs = [(np.setdiff1d(order, pair), pair) for pair in order.reshape(-1, 2)]
    found = gene_importance(validated(data, Fixed(B), folds=pairs), data, **QUICK).total
    np.testing.assert_allclose(found["importance"], [2 / 1.5, 0.5 / 1.5], rtol=0.12)


def test_rows_are_predicted_in_blocks(simulated, monkeypatch):
    data, _, result, found = simulated
    monkeypatch.setattr(permutations, "VALUES_AT_ONCE", 7 * data.n_genes)
    again = gene_importance(result, data, n_bootstrap=200, progress=False)
    pd.testing.assert_frame_equal(again.table, found.table, rtol=1e-9, atol=1e-12)


def test_a_seed_determines_everything_and_another_one_changes_little(simulated):
    data, _, result, found = simulated
    again = gene_importance(result, data, n_bootstrap=200, progress=False)
    pd.testing.assert_frame_equal(again.table, found.table)
    other = gene_importance(result, data, n_bootstrap=200, progress=False, random_state=1)
    assert not np.array_equal(other.table["importance"], found.table["importance"])
    both = found.total.merge(other.total, on="gene")
    assert np.corrcoef(both["importance_x"], both["importance_y"])[0, 1] > 0.97
    assert ((both["importance_y"] > both["low_x"] - 0.01) & (both["importance_y"] < both["high_x"] + 0.01)).all()


def test_correlated_genes_share_importance():
    """Two copies of a gene, each read with half the weight: each has a quarter of what one alone would have."""
    B = np.array([[1.0], [0.0], [0.5]])
    data, _ = with_coefficients(2000, B, noise=0.1)
    X = data.X.copy()
    X[:, 1] = X[:, 0]
    shared = replace(data, X=X)
    alone = gene_importance(validated(shared, Fixed(B)), shared, **QUICK).total.set_index("gene")["importance"]
    halves = np.array([[0.5], [0.5], [0.5]])
    both = gene_importance(validated(shared, Fixed(halves)), shared, **QUICK).total.set_index("gene")["importance"]
    np.testing.assert_allclose(both[["g0", "g1"]], alone["g0"] / 4, rtol=0.05)
    assert both["g0"] == both["g1"]  # the same permutations for both


def test_without_signal_p_values_keep_their_level():
    """Cells of an animal are alike in genes and features, which have nothing to do with each other."""
    p = []
    for seed in range(16):
        random = np.random.default_rng(seed)
        donors = np.repeat(np.arange(30), random.integers(2, 12, 30))
        X, Y = (
            random.standard_normal((30, size))[donors] + random.standard_normal((len(donors), size)) for size in (8, 4)
        )
        names = (
            [f"{what}{number}" for number in range(size)] for what, size in (("g", 8), ("f", 4), ("c", len(donors)))
        )
        data = PairedData(X / X.std(0), Y / Y.std(0), *names, donors=donors.astype(str))
        result = validated(data, Ridge(alpha=1.0), keep=())
        p.append(gene_importance(result, data, n_repeats=4, **QUICK).table["p"].to_numpy())
    p = np.concatenate(p)
    assert len(p) == 16 * 32
    assert np.mean(p <= 0.05) < 0.09 and np.mean(p <= 0.01) < 0.03
    assert 0.4 < np.mean(p) < 0.65


def test_cells_are_resampled_where_animals_are_not_known(simulated):
    data, _, result, found = simulated
    by_cell = gene_importance(result, data, unit="cell", n_bootstrap=200, progress=False)
    assert (by_cell.unit, by_cell.n_units, found.unit, found.n_units) == ("cell", 200, "donor", 25)
    pd.testing.assert_series_equal(by_cell.table["importance"], found.table["importance"])
    without = replace(data, donors=None)
    again = gene_importance(result, without, n_bootstrap=200, progress=False)
    pd.testing.assert_frame_equal(again.table, by_cell.table)
    assert again.unit == "cell" and "200 cells" in repr(again)
    with pytest.raises(ValueError, match="unit='donor' needs data.donors, which is None"):
        gene_importance(result, without, unit="donor")
    unknown = replace(data, donors=np.where(np.arange(200) < 3, "unknown", data.donors))
    with pytest.raises(ValueError, match=r"the group \(animal\) of 3 of 200 cells is not known.*\(unit='cell'\)"):
        gene_importance(result, unknown)
    assert gene_importance(result, unknown, unit="cell", **QUICK).n_units == 200
    alone = replace(data, donors=np.full(200, "mouse"))
    with pytest.raises(ValueError, match="at least 2 donors among the test cells, got 1"):
        gene_importance(result, alone)


def test_cells_that_no_fold_tests_do_not_count(simulated):
    """Donors that are unknown, or few, matter only where they are tested."""
    data, _, _, _ = simulated
    test = np.flatnonzero(np.isin(data.donors, ["donor1", "donor2", "donor3"]))
    folds = [(np.setdiff1d(np.arange(200), test), test)]
    result = validated(data, Ridge(1.0), folds=folds, keep=()) if not np.isnan(data.Y).any() else None
    result = result or validated(data, ReducedRankRegressor(2, 0.35), folds=folds)
    donors = np.where(data.donors == "donor7", "unknown", data.donors)
    found = gene_importance(result, replace(data, donors=donors), **QUICK)
    assert (found.n_units, found.n_folds) == (3, 1)


def test_animals_without_a_value_of_a_feature_do_not_count_in_its_test():
    B = np.array([[1.0, 1.0], [0.5, -2.0]])
    data, _ = with_coefficients(300, B, noise=1.0)
    Y = data.Y.copy()
    there = np.isin(data.donors, [f"d{number}" for number in range(12)])
    Y[~there, 1] = np.nan
    partial = replace(data, Y=Y)
    folds = [(np.arange(150), np.arange(150, 300)), (np.arange(150, 300), np.arange(150))]
    result = validated(partial, ReducedRankRegressor(2, 0.01), folds=folds)
    found = gene_importance(result, partial, **QUICK).table.set_index(["gene", "feature"])
    increase = pd.Series(0.0, index=np.unique(data.donors[there]))
    for fold, cells in zip(result.folds, held_out_cells(partial, result), strict=True):
        own = pd.Series(cells.increase(0)[:, 1]).groupby(data.donors[fold.test]).sum()
        increase += own.reindex(increase.index, fill_value=0)
    expected = stats.ttest_1samp(increase, 0, alternative="greater").pvalue
    np.testing.assert_allclose(found.loc[("g0", "f1"), "p"], expected, rtol=1e-6)
    Y = Y.copy()
    Y[data.donors != "d0", 1] = np.nan  # one animal: no test, and the q values are those of the others
    single = replace(data, Y=Y)
    table = gene_importance(validated(single, ReducedRankRegressor(2, 0.01), folds=folds), single, **QUICK).table
    none = table["feature"] == "f1"
    assert table.loc[none, ["p", "q"]].isna().all(axis=None)
    np.testing.assert_allclose(table.loc[~none, "q"], stats.false_discovery_control(table.loc[~none, "p"]))


def test_models_of_a_result_are_chosen_by_name_or_by_their_settings(small):
    data, _ = small
    models = {
        "sRRR": [ReducedRankRegressor(2, alpha, relaxed=True) for alpha in (0.2, 0.6)],
        "ridge": Ridge(1.0),
        "family": ClassMean(),
    }
    result = validated(data, models)
    for entry, model in zip(result.models[:2], models["sRRR"], strict=True):
        alone = gene_importance(validated(data, model), data, **QUICK)
        pd.testing.assert_frame_equal(gene_importance(result, data, entry, **QUICK).table, alone.table)
    every = gene_importance(result, data, "ridge", **QUICK)
    assert len(every.total) == data.n_genes and (every.total["frequency"] == 1).all() and every.model == "ridge"
    with pytest.raises(ValueError, match="one of the 4 models of result, 'sRRR', 'ridge', 'family': give the name"):
        gene_importance(result, data)
    with pytest.raises(ValueError, match="give an entry of result.models, got 'sRRR'"):
        gene_importance(result, data, "sRRR")
    with pytest.raises(ValueError, match="give the name of one, got 'other'"):
        gene_importance(result, data, "other")
    with pytest.raises(ValueError, match="'family' is a ClassMean, which reads the classes"):
        gene_importance(result, data, "family")


def test_models_that_are_not_there_are_asked_for(small, tmp_path):
    data, _ = small
    models = {"sRRR": ReducedRankRegressor(2, 0.4), "ridge": Ridge(1.0)}
    result = validated(data, models, store=tmp_path / "store")
    expected = gene_importance(result, data, "sRRR", **QUICK)
    restored = validated(data, models, store=tmp_path / "store")
    assert restored.n_fitted == 0
    pd.testing.assert_frame_equal(gene_importance(restored, data, "sRRR", **QUICK).table, expected.table)
    with pytest.raises(ValueError, match=r"no fitted 'ridge'.* call cross_validate"):
        gene_importance(restored, data, "ridge")
    with pytest.raises(ValueError, match="no fitted 'sRRR': results from files have none"):
        gene_importance(result.select(result.models[:1]), data)
    save_results(tmp_path / "result.pickle", result)
    with pytest.raises(ValueError, match="no fitted 'sRRR'"):
        gene_importance(CrossValidation.from_results(load_results(tmp_path / "result.pickle")), data, "sRRR")


class Overflowing(LinearRegression):
    """Predicts infinity for a gene above 3 standard deviations."""

    def predict(self, X):
        return np.where(X[:, :1] > self.limit, np.inf, super().predict(X))


def test_errors_name_the_argument(simulated, small):
    data, _, result, _ = simulated
    for wrong, message in (
        ({"n_repeats": 0}, "n_repeats must be at least 1, got 0"),
        ({"n_bootstrap": 1.5}, "n_bootstrap must be a whole number"),
        ({"random_state": -1}, "random_state must be between 0"),
        ({"random_state": None}, "random_state must be a whole number"),
        ({"level": 1}, "level must be a number between 0 and 1"),
        ({"level": 0}, "level must be a number between 0 and 1"),
        ({"level": "a"}, "level must be a number"),
        ({"unit": "animal"}, "unknown unit 'animal': expected one of 'donor', 'cell'"),
    ):
        with pytest.raises(ValueError, match=message):
            gene_importance(result, data, **wrong)
    with pytest.raises(ValueError, match="data must be PairedData"):
        gene_importance(result, data.X)
    with pytest.raises(ValueError, match="result must be a CrossValidation, .* got DataFrame"):
        gene_importance(result.scores, data)
    with pytest.raises(ValueError, match="result must be of these data, 'simulated', but was made from others"):
        gene_importance(result, small[0])
    alone = [(np.arange(1, 150), [0]), (np.arange(149), [149])]
    with pytest.raises(ValueError, match="fold 0 has 1 test cell.*choose larger folds"):
        gene_importance(validated(small[0], Ridge(), folds=alone), small[0], unit="cell")
    with pytest.raises(ValueError, match="at least 2 donors among the test cells, got 0"):
        gene_importance(validated(small[0], Ridge(), folds="all"), small[0])
    with pytest.raises(ValueError, match="'model' selects no gene in any fold: fit it with a smaller penalty"):
        gene_importance(validated(small[0], ReducedRankRegressor(2, 50.0)), small[0])


def test_predictions_that_are_not_finite_are_refused(small):
    data, _ = small
    result = validated(data, LinearRegression())
    for estimator in result.estimators:
        estimator.__class__ = Overflowing
        estimator.limit = np.inf
    gene_importance(result, data, **QUICK)
    result.estimators[4].limit = -np.inf
    with pytest.raises(ValueError, match="the model of fold 4 predicts values that are not finite"):
        gene_importance(result, data, **QUICK)


def test_one_feature_is_predicted_in_one_dimension(small):
    data, _ = small
    one = replace(data, Y=data.Y[:, :1], features=None, feature_names=data.feature_names[:1], feature_units=None)
    found = gene_importance(validated(one, Ridge(1.0)), one, **QUICK)
    np.testing.assert_allclose(found.table["importance"], found.total["importance"], atol=1e-12)
    assert found.scores["r2_test"].nunique() == 1


def test_it_is_printed_in_short_and_written_to_a_file(simulated, tmp_path, monkeypatch):
    found = simulated[-1]
    text = repr(found)
    assert len(text) < 300 and "'model'" in text and "25 donors" in text and found.total["gene"][0] in text
    path = tmp_path / "new folder" / "importance.csv"
    found.to_csv(path)
    table = pd.read_csv(path)
    assert list(table) == list(found.table)
    pd.testing.assert_frame_equal(table[: len(found.table)], found.table, rtol=1e-12)
    totals = table[len(found.table) :].reset_index(drop=True)
    assert (totals["feature"] == ALL_FEATURES).all() and totals[["p", "q"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(totals[list(found.total)], found.total, rtol=1e-12)

    def fail(*_, **__):
        raise OSError("disk full")

    before = path.read_bytes()
    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        found.to_csv(str(path))
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_joined_results_keep_each_model_with_its_name(simulated):
    data = simulated[0]
    first = validated(data, {"A": ReducedRankRegressor(2, 0.2)})
    second = validated(data, {"B": ReducedRankRegressor(2, 0.5)})
    loaded = replace(first, estimators=[])
    joined = loaded.join(second)
    found = gene_importance(joined, data, "B", **QUICK)
    pd.testing.assert_frame_equal(found.table, gene_importance(second, data, **QUICK).table)
    with pytest.raises(ValueError, match="result has no fitted 'A'"):
        gene_importance(joined, data, "A", **QUICK)
    both = gene_importance(first.join(second), data, "A", **QUICK)
    pd.testing.assert_frame_equal(both.table, gene_importance(first, data, **QUICK).table)


def test_other_counts_than_those_that_were_fitted_are_refused():
    data, _ = simulate_patchseq(120, 30, n_features=4, n_informative=6, n_types=4, n_donors=12)
    result = validated(data, ReducedRankRegressor(2, 0.1), within_fold=True)
    gene_importance(result, data, **QUICK)
    mixed = replace(data, counts=data.counts[np.random.default_rng(0).permutation(data.n_cells)])
    with pytest.raises(ValueError, match="must be of these data, but in fold 0 'model' predicts them with"):
        gene_importance(result, mixed, **QUICK)
