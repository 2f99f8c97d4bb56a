"""Logarithms of skewed features: which, said how, and predictions that come back in the features' own units."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sbnn import PairedData, PairedModel, ReducedRankRegressor, coverage_table, load_model, simulate_patchseq
from sbnn.data.feature_transforms import (
    find_skewed,
    from_own_units,
    own_names,
    own_units,
    take_logarithms,
    to_own_units,
)

NAMES = ["R_input (MOhm)", "V_rest (mV)", "rate", "Rebound (mV)"]
MODEL = ReducedRankRegressor(2, 0.1)


@pytest.fixture(scope="module")
def tables():
    """Counts, and features of which R_input is log-normal; V_rest is negative, rate symmetric, Rebound mostly zero."""
    data, _ = simulate_patchseq(n_cells=300, n_genes=60, n_features=4, n_informative=10, random_state=2)
    Y = data.Y.astype(float)
    features = np.column_stack(
        [100 * 10 ** (0.4 * Y[:, 0]), -60 + 5 * Y[:, 1], 50 + 5 * Y[:, 2], np.maximum(0, Y[:, 3] - 1) ** 2]
    )
    counts = pd.DataFrame(data.counts, data.cell_names, data.gene_names)
    cells = pd.DataFrame({"Mouse": data.donors}, data.cell_names)
    return {"counts": counts, "features": pd.DataFrame(features, data.cell_names, NAMES), "cells": cells}


def paired(tables, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PairedData.from_tables(**tables, genes=None, donors="Mouse", **settings)


def test_auto_takes_positive_skewed_features_and_says_so(tables):
    with pytest.warns(UserWarning, match="logarithms to base 10 are taken of 1 of 4 features: 'R_input'"):
        data = PairedData.from_tables(**tables, genes=None, transform="auto")
    assert data.feature_transforms == ("log10", None, None, None)
    assert data.feature_names.tolist() == ["log10(R_input)", "V_rest", "rate", "Rebound"]
    assert data.feature_units == ("log10 MOhm", "mV", None, "mV")
    plain = paired(tables)
    np.testing.assert_allclose(data.features[:, 0], np.log10(plain.features[:, 0]))
    np.testing.assert_array_equal(data.features[:, 1:], plain.features[:, 1:])
    assert data.subset(np.arange(5)).feature_transforms == data.feature_transforms


def test_none_changes_nothing_and_warns_of_skewed_features(tables):
    with pytest.warns(UserWarning, match="transform=\"auto\" takes logarithms of 'R_input'.*Rebound"):
        data = PairedData.from_tables(**tables, genes=None)
    assert data.feature_transforms is None and data.feature_names[0] == "R_input"
    np.testing.assert_array_equal(data.features, tables["features"])
    symmetric = tables | {"features": tables["features"][["V_rest (mV)", "rate"]]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PairedData.from_tables(**symmetric, genes=None)
    with pytest.warns(UserWarning, match="no feature is skewed and positive"):
        assert PairedData.from_tables(**symmetric, genes=None, transform="auto").feature_transforms is None


def test_named_features_are_taken(tables):
    data = paired(tables, transform=["rate"])
    assert data.feature_names.tolist() == ["R_input", "V_rest", "log10(rate)", "Rebound"]
    assert data.feature_units == ("MOhm", "mV", "log10", "mV")


@pytest.mark.parametrize(
    "transform, message",
    [
        ("log", 'transform must be None, "auto" or a list'),
        (3, 'transform must be None, "auto" or a list'),
        (b"rate", 'transform must be None, "auto" or a list'),
        (["weight"], "transform names 'weight': expected among 'R_input'"),
        ([], "transform names none"),
        (["rate", "rate"], "duplicate names in transform"),
        (["V_rest"], "'V_rest' have values of zero or below, which have no logarithm"),
        (["Rebound"], "'Rebound' have values of zero or below"),
    ],
)
def test_what_cannot_be_transformed_is_refused(tables, transform, message):
    with pytest.raises(ValueError, match=message):
        paired(tables, transform=transform)


def test_skewness_and_tails():
    """As SciPy has them, NaN left out; few values, or few different ones, are not judged."""
    random = np.random.default_rng(0)
    log_normal = 10 ** random.standard_normal(500)
    holed = np.where(random.random(500) < 0.2, np.nan, log_normal)
    few = np.where(np.arange(500) < 15, log_normal, np.nan)
    values = np.column_stack(
        [log_normal, holed, few, log_normal - 0.5, random.standard_t(2, 500), random.random(500), np.arange(500) // 480]
    )
    found = find_skewed(values)
    assert found.log.tolist() == [True, True, False, False, False, False, False]
    assert found.other.tolist() == [False, False, False, True, True, False, False]
    known = holed[~np.isnan(holed)]
    assert found.skewness[1] == pytest.approx(stats.skew(known))
    assert found.kurtosis[1] == pytest.approx(stats.kurtosis(known))
    assert np.isnan(found.skewness[[2, 6]]).all()


def test_there_and_back():
    values = np.array([[1.0, -2.0], [100.0, 3.0], [np.nan, 0.0]])
    transforms = ("log10", None)
    modelled = from_own_units(values, transforms)
    np.testing.assert_allclose(modelled, [[0, -2], [2, 3], [np.nan, 0]])
    np.testing.assert_allclose(to_own_units(modelled, transforms), values)
    assert np.isnan(from_own_units(np.array([[0.0, 0.0], [-1.0, 0.0]]), transforms)[:, 0]).all()
    assert to_own_units(values, None) is values and from_own_units(values, None) is values
    made = take_logarithms(np.array([[1.0, 2], [10, 3]]), ["a", "b"], ("s", None), ["a", "b"])
    assert own_names(made.names, made.transforms).tolist() == ["a", "b"]
    assert made.units == ("log10 s", "log10") and own_units(made.units, made.transforms) == ("s", None)
    assert own_units(None, made.transforms) is None


def test_predictions_come_in_the_features_own_units(tables, tmp_path):
    """As if the user had taken the logarithm, and its inverse; from the file as well."""
    data = paired(tables, transform="auto")
    model = PairedModel(MODEL).fit(data)
    by_hand = tables["features"].assign(**{"R_input (MOhm)": np.log10(tables["features"]["R_input (MOhm)"])})
    plain = PairedModel(MODEL).fit(paired(tables | {"features": by_hand}))
    predicted, expected = model.predict(data), plain.predict(data)
    assert predicted.columns.tolist() == ["R_input", "V_rest", "rate", "Rebound"]
    np.testing.assert_allclose(predicted["R_input"], 10 ** expected["R_input"], rtol=1e-6)
    np.testing.assert_allclose(predicted.iloc[:, 1:], expected.iloc[:, 1:], rtol=1e-6)
    loaded = load_model(model.save(tmp_path / "map.sbnn"))
    assert loaded.feature_transforms_ == model.feature_transforms_ == data.feature_transforms
    pd.testing.assert_frame_equal(loaded.predict(data), predicted)
    model.calibrate(data, n_folds=3, progress=False)
    plain.calibrate(paired(tables | {"features": by_hand}), n_folds=3, progress=False)
    for bound, expected in zip(model.predict_interval(data), plain.predict_interval(data), strict=True):
        assert bound.columns.tolist() == predicted.columns.tolist()
        np.testing.assert_allclose(bound["R_input"], 10 ** expected["R_input"], rtol=1e-5)
    table, same = (
        coverage_table(one, given) for one, given in ((model, data), (plain, paired(tables | {"features": by_hand})))
    )
    np.testing.assert_allclose(table[["coverage", "width"]], same[["coverage", "width"]], rtol=1e-5)


def test_containers_keep_what_was_done(tables):
    pytest.importorskip("anndata")
    pytest.importorskip("mudata")
    data = paired(tables, transform="auto")
    again = PairedData.from_anndata(data.to_anndata(), "features", "counts", genes=None)
    both = PairedData.from_mudata(data.to_mudata(), counts="counts", genes=None)
    for one in (again, both):
        assert one.feature_transforms == data.feature_transforms and one.feature_units == data.feature_units
        assert one.feature_names.tolist() == data.feature_names.tolist()
    with pytest.raises(ValueError, match="logarithms of these features were taken before"):
        PairedData.from_anndata(data.to_anndata(), "features", "counts", genes=None, transform="auto")
    adata = paired(tables).to_anndata()
    with pytest.warns(UserWarning, match="logarithms to base 10 are taken of 1 of 4"):
        found = PairedData.from_anndata(adata, "features", "counts", genes=None, transform="auto")
    assert found.feature_names[0] == "log10(R_input)"


@pytest.mark.parametrize("transforms", [("log10",), ("ln", None, None, None), "log10", 3, (None, "log10", None, None)])
def test_transforms_that_do_not_fit_are_refused(tables, transforms):
    with pytest.raises(ValueError, match="feature_transforms"):
        replace(paired(tables, transform="auto"), feature_transforms=transforms)
    assert replace(paired(tables), feature_transforms=[None] * 4).feature_transforms is None
