"""The models of an honest comparison, on all genes and on given ones; and the linear model of class and genes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.linear_model import Lasso, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sbnn import (
    ClassMean,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    gene_importance,
    nested_cross_validate,
    simulate_patchseq,
)
from sbnn.data.cell_labels import UNKNOWN
from sbnn.models.schedules import Stage
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.contestants import honest_models, on_genes, reads_genes
from sbnn.validation.folds import make_folds, view_fold

NETWORKS = ["sBNN-2", "sBNN-64", "sBNN-2, ten networks", "sBNN-64, ten networks"]
SOME = ["gene03", "gene07", "gene11", "gene12", "gene25"]


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(
        n_cells=96, n_genes=30, n_features=4, n_informative=8, n_types=4, n_donors=8, random_state=2
    )[0]


@pytest.fixture(scope="module")
def split(data):
    return [(np.arange(64), np.arange(64, 96))]


def validate(data, models, folds, **settings):
    return cross_validate(data, models, folds, within_fold=True, n_jobs=1, progress=False, **settings)


# The list


def test_all_models_with_settings_that_the_data_allow(data):
    models = honest_models(data)
    assert (
        list(models)[:4] == ["family mean", "type mean", "family + type", "family + type + genes"]
        and list(models)[-4:] == NETWORKS
    )
    assert {"lasso", "elastic net", "sRRR-2", "sRRR-3", "sRRR-full", "kernel ridge", "extra trees", "PCA + kNN",
            "gradient boosting", "family + type + genes"} <= set(models)  # fmt: skip
    assert "sRRR-4" not in models  # that is full rank with four features
    for estimators in models.values():
        assert len({str(one.get_params(deep=True)) for one in estimators}) == len(estimators)
        for one in estimators:
            if hasattr(one, "check_settings"):
                one.check_settings(data.n_genes, data.n_features)


def test_lists_go_from_simple_to_complex(data, split):
    """More genes, or a closer fit to the training cells, from one candidate to the next."""
    names = ["ridge", "lasso", "elastic net", "family + type + genes", "PCA + kNN", "extra trees", "gradient boosting"]
    models = honest_models(data, names=names, shorten=0.1)
    for name, estimators in models.items():
        fitted = [validate(data, {name: one}, split, keep=[]).scores.iloc[-1] for one in estimators]
        genes, r2 = (np.array([row[column] for row in fitted], float) for column in ("n_selected", "r2_train"))
        assert np.isnan(genes).all() or (np.diff(genes) >= 0).all(), name
        scored = r2[~np.isnan(r2)]  # no gene, no score
        assert (np.diff(scored) > -1e-6).all() and len(scored) > 0.5 * len(r2), (name, r2)


def test_every_model_but_networks_fits_in_a_nested_run(data, split):
    names = [name for name in honest_models(data) if name not in NETWORKS]
    models = {name: estimators[-2:] for name, estimators in honest_models(data, names=names, shorten=0.03).items()}
    found = nested_cross_validate(data, models, split, inner=2, n_jobs=1, progress=False)
    assert found.summary().index.get_level_values("model").tolist() == names
    assert np.isfinite(found.scores["r2_test"]).all()
    assert found.scores.set_index("model").loc["lasso", "r2_test"] > 0.2


def test_seed_and_lengths(data):
    trees = honest_models(data, names=["extra trees"], shorten=0.1, random_state=5)["extra trees"]
    assert {(one.n_estimators, one.random_state) for one in trees} == {(10, 5)}
    networks = honest_models(data, names=["sBNN-2"], random_state=5)["sBNN-2"]
    assert {(one.schedule, one.random_state, one.n_networks) for one in networks} == {("small", 5, 1)}
    short = honest_models(data, names=["sBNN-64"], shorten=0.5)["sBNN-64"]
    assert {(one.schedule.name, one.bottleneck_dim) for one in short} == {("wide x 0.5", 64)}
    assert {one.n_selected for one in networks} == {10, 25}
    assert {one.n_networks for one in honest_models(data, names=NETWORKS[2:])[NETWORKS[2]]} == {10}


def test_class_and_genes_differ_from_the_shrunken_mean_by_the_genes_alone(data, split):
    """With a penalty that leaves nothing of the genes, both predict the same, and other than the plain mean."""
    models = honest_models(data, names=["type mean", "family + type", "family + type + genes"])
    (shrunken,), with_genes = models["family + type"], models["family + type + genes"]
    assert not reads_genes(shrunken) and all(map(reads_genes, with_genes))
    both = {"alone": shrunken, "with": clone(with_genes[0]).set_params(alpha=1e12), "plain": models["type mean"][0]}
    found = validate(data, both, split, keep=["predictions"]).predictions
    alone, beside, plain = (found[found["model"] == name][data.feature_names].to_numpy() for name in both)
    np.testing.assert_allclose(alone, beside, atol=1e-6)
    assert np.abs(alone - plain).max() > 0.01
    on_some = honest_models(data, genes=SOME, names=["family + type", "family + type + genes"])
    assert on_some["family + type"][0].columns == () and len(on_some["family + type + genes"][0].columns) == len(SOME)
    with pytest.raises(ValueError, match="estimator is a ClassRidge that reads the classes of the cells and no gene"):
        on_genes(shrunken, SOME, data)


def test_few_genes_and_no_classes(data):
    few = simulate_patchseq(n_cells=40, n_genes=6, n_features=2, n_informative=3, n_types=2, n_donors=4)[0]
    assert {one.n_selected for one in honest_models(few)["sBNN-2"]} == {6}
    models = honest_models(replace(data, cell_types=None, type_colors=None))
    assert "family mean" in models and not {"type mean", "family + type", "family + type + genes"} & set(models)


def test_each_model_selects_its_own_number_of_genes(data, split):
    models = honest_models(data, n_genes=6, shorten=0.05)
    assert list(models)[-4:] == NETWORKS and {"ridge", "lasso", "sRRR-2", "extra trees"} <= set(models)
    assert not {"family mean", "PCA + kNN", "kernel ridge", "family + type + genes", "gradient boosting"} & set(models)
    assert {one.n_selected for name in NETWORKS for one in models[name]} == {6}
    others = {name: estimators[-1] for name, estimators in models.items() if name not in NETWORKS}
    found = validate(data, others, split, keep=[])
    for name, model in zip(others, found.estimators, strict=True):
        if name in ("ridge", "extra trees"):
            view = view_fold(data, make_folds(data, split)[0], within_fold=True)
            first, second = model.named_steps.values()
            importances = clone(first.estimator).fit(view.X[view.train], view.Y[view.train])
            importances = getattr(importances, "feature_importances_" if name == "extra trees" else "gene_norms_")
            assert set(np.flatnonzero(first.get_support())) == set(np.argsort(-importances)[:6]), name
            assert second.n_features_in_ == 6
        else:
            assert abs(int(model.selected_.sum()) - 6) <= 1, name


def test_all_genes_are_the_largest_number(data):
    with pytest.raises(ValueError, match="n_genes must be between 1 and the 30 genes of the data, got 31"):
        honest_models(data, n_genes=31)
    with pytest.raises(ValueError, match="n_genes must be a whole number"):
        honest_models(data, n_genes=2.5)
    with pytest.raises(ValueError, match="give either genes, .* or n_genes"):
        honest_models(data, genes=data.gene_names[:3], n_genes=3)
    with pytest.raises(ValueError, match="names has 'kernel ridge'"):
        honest_models(data, n_genes=3, names=["kernel ridge"])


def test_the_solver_is_passed_on(data):
    pytest.importorskip("glmnet")
    models = honest_models(data, solver="glmnet")
    assert {one.solver for name in ("lasso", "elastic net", "sRRR-2") for one in models[name]} == {"glmnet"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ["lasso", "forest"]}, "names has 'forest': with these data there are 'family mean'"),
        ({"names": "lasso"}, "names must be a list of names of models, got the text 'lasso'"),
        ({"genes": ["gene03", "Xkr4"]}, "genes include 'Xkr4', not among the 30 genes of the data"),
        ({"genes": []}, "genes must be one or more names of genes, got none"),
        ({"solver": "lars"}, "unknown solver 'lars'"),
        ({"shorten": 0}, "shorten must be finite and more than 0"),
        ({"random_state": -1}, "random_state must be between 0"),
    ],
)
def test_bad_arguments_are_refused(data, settings, message):
    with pytest.raises(ValueError, match=message):
        honest_models(data, **settings)


# Given genes


def test_given_genes_are_all_that_is_read(data, split):
    """Noise in all other genes changes nothing; z-scores and depth are those of the data."""
    names = ["family mean", "ridge", "sRRR-2", "kernel ridge", "PCA + kNN", "family + type + genes"]
    models = {name: estimators[:1] for name, estimators in honest_models(data, SOME, names).items()}
    kept = np.isin(data.gene_names, SOME)
    X = np.where(kept, data.X, np.random.default_rng(0).normal(size=data.X.shape)).astype(np.float32)
    one, other = (validate(each, models, split).predictions for each in
                  (replace(data, counts=None), replace(data, counts=None, X=X)))  # fmt: skip
    np.testing.assert_array_equal(one[data.feature_names], other[data.feature_names])
    assert len(one) == len(names) * 32


def test_a_model_on_genes_is_the_model_of_these_columns(data, split):
    columns = np.flatnonzero(np.isin(data.gene_names, SOME))
    alone = ReducedRankRegressor(2, 0.1)
    found = validate(data, {"a": on_genes(alone, SOME[::-1], data)}, split)
    view = view_fold(data, type("F", (), {"train": split[0][0], "test": split[0][1]}), True)
    X, Y = view.X[:, columns].astype(np.float64), view.Y.astype(np.float64)
    expected = alone.fit(X[view.train], Y[view.train])
    np.testing.assert_allclose(found.predictions[data.feature_names], expected.predict(X[view.test]), atol=1e-6)
    np.testing.assert_allclose(
        found.latents.loc[found.latents["held_out"], ["z1", "z2"]], expected.transform(X[view.test]), atol=1e-6
    )


@pytest.mark.parametrize("form", ["names", "positions", "mask"])
def test_forms_of_genes(data, form):
    mask = np.isin(data.gene_names, SOME)
    genes = {"names": SOME, "positions": np.flatnonzero(mask), "mask": mask}[form]
    model = on_genes(Ridge(), genes, data)
    np.testing.assert_array_equal(model["genes"].fit_transform(data.X), data.X[:, mask])
    assert on_genes(ClassRidge(), genes, data).columns == tuple(np.flatnonzero(mask))


def test_networks_on_given_genes(data):
    networks = honest_models(data, SOME, NETWORKS[:1])["sBNN-2"]
    assert {pipeline["model"].n_selected for pipeline in networks} == {None}
    short = SparseBottleneckRegressor(hidden=(8, 4), n_selected=None, schedule=[Stage("finetuned", 1, 1e-2)])
    model = on_genes(short, SOME, data)
    assert model["model"] is not short
    with pytest.raises(ValueError, match="n_selected must be between 1 and the 5 genes, got 25"):
        on_genes(SparseBottleneckRegressor(), SOME, data)


@pytest.mark.parametrize(
    ("estimator", "genes", "message"),
    [
        (ClassMean(), SOME, "estimator is a ClassMean that reads the classes"),
        (Ridge, SOME, "estimator should be an unfitted estimator"),
        (3, SOME, "estimator should be an unfitted estimator, got 3"),
        (Ridge(), "gene03", "genes must be a list of names of genes, got 'gene03'"),
        (Ridge(), 3, "genes must be a list of names of genes, got 3"),
        (Ridge(), ["gene03", "gene03"], "duplicate genes"),
        (Ridge(), [3, 30], "genes must be rows between 0 and 29, got 3 to 30"),
        (Ridge(), np.zeros(30, dtype=bool), "genes is empty: give at least one"),
        (Ridge(), np.zeros(7, dtype=bool), "genes is a mask of shape"),
        (Ridge(), pd.Series(True, index=[f"gene{row:02d}" for row in range(30)][::-1]), "genes is a mask whose index"),
        (Ridge(), np.ma.masked_array([3, 4], [False, True]), "genes is a masked array"),
    ],
)
def test_bad_genes_are_refused(data, estimator, genes, message):
    with pytest.raises(ValueError, match=message):
        on_genes(estimator, genes, data)


@pytest.mark.parametrize(
    "model",
    [
        lambda data: on_genes(Ridge(), SOME, data),
        lambda data: on_genes(ClassRidge(), SOME, data),
        lambda data: TransformedTargetRegressor(on_genes(Ridge(), SOME, data)),
        lambda data: make_pipeline(StandardScaler(), on_genes(Ridge(), SOME, data)),
    ],
)
def test_genes_by_position_are_refused_where_folds_choose_genes(data, split, model):
    """The first of 20 variable genes of a fold is another gene than the first of the data."""
    with pytest.raises(ValueError, match=r"models\['a'\] has a C\w+ that chooses columns, .* n_variable_genes=20"):
        validate(data, {"a": model(data)}, split, n_variable_genes=20)


def test_columns_that_are_found_in_the_fold_are_not_positions(data, split):
    first = ColumnTransformer([("first", "passthrough", lambda X: [0])])
    models = {"a": make_pipeline(first, Ridge()), "b": ClassRidge()}
    assert len(validate(data, models, split, n_variable_genes=20, keep=[]).scores) == 2


@pytest.mark.parametrize("n_genes", [1, 2, 3, 6])
def test_fewer_genes_than_features(n_genes):
    data, _ = simulate_patchseq(n_cells=80, n_genes=20, n_features=9, n_informative=8, n_types=3, n_donors=4)
    models = honest_models(data, data.gene_names[:n_genes], shorten=0.02)
    others = {name: estimators[-2:] for name, estimators in models.items() if name not in NETWORKS}
    assert ("sRRR-2" in models, "sRRR-4" in models) == (n_genes > 2, n_genes > 4)
    found = nested_cross_validate(data, others, KFold(2), inner=2, n_jobs=1, progress=False, keep=["predictions"])
    assert np.isfinite(found.scores["r2_test"]).all()


def test_a_store_tells_gene_sets_apart(data, split, tmp_path):
    def run(genes):
        return validate(data, {"a": on_genes(Lasso(0.01), genes, data)}, split, store=tmp_path)

    first = run(SOME)
    assert (first.n_fitted, run(SOME).n_fitted) == (1, 0)
    other = run(SOME[:4])
    assert other.n_fitted == 1 and not other.predictions.equals(first.predictions)


# Class and genes


def class_codes(data):
    return np.unique(data.cell_types, return_inverse=True)[1]


def test_class_ridge_solves_its_equations(data):
    """The gradient of the stated objective is zero."""
    model = ClassRidge("cell_types", alpha=0.3, class_cells=5.0)
    XC = model.add_classes(data, data.X.astype(np.float64))
    Y = data.Y.astype(np.float64)
    model.fit(XC, Y)
    C = (class_codes(data)[:, None] == np.arange(4)).astype(float)
    B, W, n = model.class_effects_, model.coef_, len(Y)
    fit = model.intercept_ + C @ B + data.X @ W
    np.testing.assert_allclose(model.predict(XC), fit, atol=1e-8)
    residual = Y - fit
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(C.T @ residual / n, 5.0 / n * B, atol=1e-8)
    np.testing.assert_allclose(data.X.T @ residual / n, 0.3 * W, atol=1e-8)


def test_class_ridge_between_class_means_and_ridge(data, split):
    models = {
        "class": ClassRidge("cell_types", alpha=1e9, class_cells=1e-6),
        "type mean": ClassMean("cell_types"),
        "genes": ClassRidge("cell_types", alpha=0.5, class_cells=1e9),
        "ridge": ReducedRankRegressor(None, 0.5, l1_ratio=0),
    }
    tables = validate(data, models, split).predictions
    found = {name: part[data.feature_names].to_numpy() for name, part in tables.groupby("model")}
    np.testing.assert_allclose(found["class"], found["type mean"], atol=1e-5)
    np.testing.assert_allclose(found["genes"], found["ridge"], atol=1e-5)


def test_unknown_and_new_classes_have_no_effect(data):
    labels = data.cell_types.astype("U20")
    labels[:3], labels[3:5] = UNKNOWN, "new"
    changed = replace(data, cell_types=labels, type_colors=None)
    model = ClassRidge("cell_types")
    XC = model.add_classes(changed, data.X)
    model.fit(XC[5:], data.Y[5:])
    np.testing.assert_allclose(model.predict(XC[:5]), data.X[:5] @ model.coef_ + model.intercept_, atol=1e-8)
    assert [len(one) for one in model.classes_] == [4]
    model.fit(XC, data.Y)
    assert [len(one) for one in model.classes_] == [5]


def test_class_ridge_in_other_processes_with_gaps_and_one_feature(data, split):
    gaps = np.random.default_rng(0).random(data.Y.shape) < 0.1
    gaps[gaps.all(axis=1)] = False
    models = {"a": [ClassRidge("cell_types", 1.0), ClassRidge("cell_families", 1.0, columns=(1, 2))]}
    holey = replace(data, Y=np.where(gaps, np.nan, data.Y), features=np.where(gaps, np.nan, data.features))
    here = validate(holey, models, split)
    there = cross_validate(holey, models, split, within_fold=True, n_jobs=2, progress=False)
    np.testing.assert_allclose(there.scores["r2_test"], here.scores["r2_test"], rtol=1e-9)
    one = replace(data, Y=data.Y[:, :1], features=data.features[:, :1], feature_names=data.feature_names[:1],
                  feature_units=None)  # fmt: skip
    assert np.isfinite(validate(one, models, split).scores["r2_test"]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, "alpha must be finite and more than 0"),
        ({"class_cells": -1.0}, "class_cells must be finite and more than 0"),
        ({"columns": (1, 99)}, "columns must be rows between 0 and 29"),
        ({"columns": np.arange(3)}, "columns must be a tuple or list of positions, or None"),
        ({"of": "donors"}, "unknown of 'donors'"),
    ],
)
def test_bad_settings_of_class_ridge(data, settings, message, split):
    with pytest.raises(ValueError, match=message):
        validate(data, {"a": ClassRidge(**settings)}, split)


def test_class_ridge_refuses_other_tables(data, split):
    with pytest.raises(ValueError, match="needs data.cell_types, which is None"):
        validate(replace(data, cell_types=None, type_colors=None), {"a": ClassRidge()}, split)
    model = ClassRidge()
    XC = model.add_classes(data, data.X)
    with pytest.raises(ValueError, match="X and y must have the same cells"):
        model.fit(XC, data.Y[1:])
    model.fit(XC, data.Y)
    with pytest.raises(ValueError, match="X must have the classes and 30 genes"):
        model.predict(XC[:, :-1])
    result = validate(data, {"a": ClassRidge()}, split)
    with pytest.raises(ValueError, match="'a' is a ClassRidge, which reads the classes of the cells"):
        gene_importance(result, data)
