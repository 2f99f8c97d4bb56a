from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sbnn import PairedData, simulate_patchseq


@pytest.fixture
def data():
    return simulate_patchseq(n_cells=40, n_genes=12, n_features=3, n_informative=4, n_types=2, n_donors=5)[0]


def test_holds_float32_and_counts_things(data):
    assert data.X.dtype == data.Y.dtype == np.float32
    assert (data.n_cells, data.n_genes, data.n_features) == (40, 12, 3)
    assert "40 cells" in repr(data) and "2 types" in repr(data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_x_must_be_finite(data, bad):
    X = data.X.copy()
    X[3, 2] = bad
    with pytest.raises(ValueError, match="X holds 1 NaN or infinite value.* row 3, column 2"):
        replace(data, X=X)


def test_y_may_be_missing_but_not_infinite(data):
    Y = data.Y.copy()
    Y[1, 1] = np.nan
    assert "1 values of Y are missing" in repr(replace(data, Y=Y))
    Y[1, 1] = np.inf
    with pytest.raises(ValueError, match="Y holds 1 infinite value"):
        replace(data, Y=Y)


def test_text_in_y_is_refused(data):
    with pytest.raises(ValueError, match="Y must hold real numbers only, got dtype"):
        replace(data, Y=np.full(data.Y.shape, "high"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gene_names": ["Sst"] * 12}, "duplicate gene names: 'Sst'"),
        ({"cell_names": ["a"] * 40}, "duplicate cell names"),
        ({"feature_names": ["a", "b"]}, r"feature_names must have one entry per feature \(3\), got 2"),
        ({"counts": np.full((40, 12), -1)}, "counts must not be negative, the smallest value is -1"),
        ({"counts": np.zeros((40, 11))}, r"counts has shape \(40, 11\), expected \(40, 12\)"),
        ({"features": np.zeros((4, 3))}, r"features has shape \(4, 3\), expected \(40, 3\)"),
        ({"donors": ["a"]}, r"donors must have one entry per cell, shape \(40,\), got list of shape \(1,\)"),
        ({"donors": 5}, r"donors must have one entry per cell, shape \(40,\), got int of shape \(\)"),
        ({"donors": "m" * 40}, "donors must have one entry per cell, .* got str"),
        ({"cell_types": np.full((40, 1), "a")}, r"cell_types must have one entry per cell, .* shape \(40, 1\)"),
        ({"cell_families": pd.DataFrame({"a": ["b"] * 40})}, "cell_families must have one entry .* got DataFrame"),
        ({"donors": pd.Series(["a"] * 40, [f"x{n}" for n in range(40)])}, "donors is a Series whose index is not the"),
        ({"donors": pd.Series(["a"] * 41)[1:]}, "donors is a Series whose index is not the names of the cells"),
        ({"type_colors": ["red"]}, r"type_colors must be a dict such as .* got list"),
        ({"type_colors": {"type 1": "reddish"}}, r"type_colors\['type 1'\] must be a colour such as .* got 'reddish'"),
        ({"cell_families": None, "family_colors": "red"}, "family_colors must be a dict such as .* got str"),
        ({"feature_units": ("mV",)}, "feature_units must have one entry per feature"),
        ({"type_colors": {"type 1": "red"}}, "type_colors lacks a colour for 'type 2'"),
        ({"feature_names": ["a", "all features", "b"]}, "feature_names has 'all features', by which tables"),
        ({"cell_families": ["a"] * 39 + ["all cells"], "family_colors": None}, "cell_families has 'all cells', by"),
        ({"Y": np.zeros((39, 3))}, "Y must have one entry per cell of X"),
        ({"X": np.zeros(40)}, "X must be two-dimensional"),
    ],
)
def test_what_does_not_fit_is_named(data, change, message):
    with pytest.raises(ValueError, match=message):
        replace(data, **change)


def test_subset_takes_every_table_along(data):
    part = data.subset(np.arange(40) % 2 == 0)
    assert part.n_cells == 20
    np.testing.assert_array_equal(part.counts, data.counts[::2])
    np.testing.assert_array_equal(part.cell_types, data.cell_types[::2])
    assert part.fingerprint != data.fingerprint


def test_bare_tables_are_enough():
    data = PairedData(np.eye(3), np.eye(3)[:, :2], ["a", "b", "c"], ["f", "g"], ["1", "2", "3"])
    assert data.cell_types is None and "3 cells" in repr(data)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found_in_every_block(monkeypatch, bad):
    monkeypatch.setattr("sbnn._checks.CHECKED_AT_ONCE", 4)
    X = np.ones((10, 3))
    X[5, 1] = X[9, 0] = bad
    with pytest.raises(ValueError, match=r"X holds 2 .* the first at row 5, column 1"):
        PairedData(X, np.ones((10, 2)), gene_names=list("abc"), feature_names=list("de"), cell_names=range(10))


def test_labels_are_matched_by_the_names_of_cells(data):
    donors = pd.Series([f"m{cell % 7}" for cell in range(40)], index=data.cell_names)
    for given in (donors, donors.iloc[::-1], donors.sample(frac=1, random_state=0).astype("category")):
        assert replace(data, donors=given).donors.tolist() == donors.tolist()
    for given in (donors.reset_index(drop=True), donors.to_numpy(), donors.tolist()):
        assert replace(data, donors=given).donors.tolist() == donors.tolist()
    masked = np.ma.masked_array(donors.to_numpy(str), np.arange(40) < 3)
    assert replace(data, donors=masked).donors.tolist() == ["unknown"] * 3 + donors.tolist()[3:]
