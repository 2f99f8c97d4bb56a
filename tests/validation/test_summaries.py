"""What the tables of a cross-validation say in short: stages, R2 in words, by feature, genes by share of fits."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sbnn import ClassMean, ReducedRankRegressor, cross_validate, nested_cross_validate, simulate_patchseq
from sbnn.models.consensus import CONSENSUS_STAGE, ENSEMBLE_STAGE
from sbnn.models.schedules import STAGE_NAMES
from sbnn.validation.summaries import STAGES, means_by_feature, shares_of_fits, words_of_scores

LINEAR = ReducedRankRegressor(2, 0.1)


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=90, n_genes=30, n_features=5, n_informative=6, n_types=3, random_state=0)[0]


@pytest.fixture(scope="module")
def result(data):
    models = {"linear": LINEAR, "family mean": ClassMean(), "ridge": Ridge(10.0)}
    return cross_validate(data, models, KFold(3), n_jobs=1, progress=False)


@pytest.fixture(scope="module")
def several(data):
    models = {"linear": [ReducedRankRegressor(2, alpha) for alpha in (0.1, 0.3)], "ridge": Ridge(10.0)}
    return cross_validate(data, models, KFold(3), n_jobs=1, progress=False)


def test_every_stage_is_defined_here_and_in_the_guide():
    assert set(STAGES) == {*STAGE_NAMES, CONSENSUS_STAGE, ENSEMBLE_STAGE, "fitted", "final"}
    guide = (Path(__file__).parents[2] / "docs/guide.md").read_text()
    table = dict(re.findall(r"^\| \*(\w+)\* \| (.*) \|$", guide, re.M))
    assert {name: text.replace("`", "").replace("²", "2") for name, text in table.items()} == STAGES


def test_features_have_the_mean_over_folds_of_their_own_model(result):
    found = result.by_feature()
    assert list(found.columns) == ["linear", "family mean", "ridge"] and len(found) == 5
    assert found["linear"].is_monotonic_decreasing
    for model in found:
        for feature in found.index:
            rows = result.feature_scores.query("model == @model and feature == @feature")
            assert len(rows) == 3 and found.loc[feature, model] == pytest.approx(rows["r2_test"].mean(), abs=1e-12)


def test_settings_of_one_model_have_columns_of_their_own(several):
    found = several.by_feature()
    assert found.columns.names[:2] == ["model", "alpha"] and found.shape == (5, 3)
    for alpha in (0.1, 0.3):
        rows = (
            several.feature_scores.query("model == 'linear' and alpha == @alpha").groupby("feature")["r2_test"].mean()
        )
        own = found.xs(("linear", alpha), axis=1, level=("model", "alpha")).iloc[:, 0]
        np.testing.assert_allclose(own, rows[found.index])


def test_a_fold_without_a_score_of_a_feature_is_left_out():
    table = pd.DataFrame({"model": "a", "fold": [0, 1, 0, 1], "feature": ["x", "x", "y", "y"]})
    found = means_by_feature(table.assign(r2_test=[0.2, np.nan, 0.3, 0.5]))
    assert found["a"].to_dict() == {"y": 0.4, "x": 0.2} and list(found.index) == ["y", "x"]


def test_genes_are_counted_over_all_fits_of_a_model(result, several):
    found = result.gene_frequency()
    assert list(found.columns) == ["linear"]  # the others do not select genes
    for gene in found.index:
        assert found.loc[gene, "linear"] == pytest.approx((result.selected["gene"] == gene).sum() / 3)
    assert found["linear"].is_monotonic_decreasing and 0 < found["linear"].min() <= found["linear"].max() == 1
    both = several.gene_frequency()["linear"]
    gene = both.index[-1]
    assert both[gene] == pytest.approx((several.selected["gene"] == gene).sum() / 6)


def test_genes_of_models_whose_settings_were_chosen_are_counted_by_fold(data):
    models = {"linear": [ReducedRankRegressor(2, alpha) for alpha in (0.3, 0.1)]}
    found = nested_cross_validate(data, models, KFold(3), inner=2, n_jobs=1, progress=False)
    assert found.gene_frequency()["linear"].max() == 1
    assert len(found.by_feature().columns) == 1


def test_the_final_summary_has_the_last_stage_of_each(result):
    table = result.scores.iloc[[0]].assign(stage="earlier", r2_test=-5.0)
    staged = replace(result, scores=pd.concat([table, result.scores], ignore_index=True))
    assert len(staged.summary()) == len(result.summary()) + 1
    pd.testing.assert_frame_equal(staged.final_summary(), result.summary())


def test_without_rows_tables_are_empty(result):
    empty = replace(result, selected=result.selected[:0], feature_scores=result.feature_scores[:0])
    assert empty.by_feature().empty and empty.gene_frequency().empty
    assert shares_of_fits(pd.DataFrame(), pd.Series(dtype=int)).empty


def test_the_repr_has_the_r2_of_every_model(result, several):
    text = repr(result)
    for model, part in result.scores.groupby("model"):
        assert f"{model} {part['r2_test'].mean():.2f} ± {part['r2_test'].std():.2f}" in text
    assert "networks only" not in text and len(text) < 600
    means = several.scores.query("model == 'linear'").groupby("alpha")["r2_test"].mean()
    assert f"linear {means.min():.2f} to {means.max():.2f} (2 settings)" in repr(several)


def test_the_words_say_what_is_missing(result, data):
    final, folds = result.final_summary(), result.folds
    networks = [{"model": "sBNN-2", "kind": "sbnn.SparseBottleneckRegressor"}]
    assert 'networks only: add "type": ClassMean("cell_types") and "ridge"' in words_of_scores(final, networks, folds)
    chosen = [{"model": "sBNN-2", "candidates": networks}]
    assert "networks only" in words_of_scores(final, chosen, folds)
    assert "networks only" not in words_of_scores(final, [*networks, {"model": "a", "kind": "sbnn.ClassMean"}], folds)
    assert "networks only" not in words_of_scores(final, [], folds)
    assert words_of_scores(final[:0], networks, folds) == ""
    lost = final.assign(mean=np.nan)
    assert "linear not known" in words_of_scores(lost, [], folds)
    many = pd.concat([final.rename(index=lambda name, n=n: f"{name}{n}", level="model") for n in range(3)])
    assert " and 3 more" in words_of_scores(many, [], folds)
    whole = cross_validate(data, {"linear": LINEAR}, "all", n_jobs=1, progress=False)
    assert "no R2: no cells were held out" in repr(whole)
