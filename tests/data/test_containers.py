"""The reader's own tables, AnnData and MuData become PairedData, and come back."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sbnn import PairedData

anndata = pytest.importorskip("anndata")
mudata = pytest.importorskip("mudata")


@pytest.fixture
def tables(small):
    data, _ = small
    counts = pd.DataFrame(data.counts, index=data.cell_names, columns=data.gene_names)
    return counts, pd.DataFrame(data.features, index=data.cell_names, columns=data.feature_names)


def assert_same(found, data):
    for name in ("gene_names", "feature_names", "cell_names", "cell_types", "cell_families", "donors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(data, name), name)
    np.testing.assert_array_equal(found.features, data.features)
    counts = [table.toarray() if sparse.issparse(table) else table for table in (found.counts, data.counts)]
    np.testing.assert_array_equal(*counts)
    np.testing.assert_allclose(found.X, data.X, atol=1e-5)
    np.testing.assert_allclose(found.Y, data.Y, atol=1e-6)
    for name in ("type_colors", "family_colors", "feature_units", "name"):
        assert getattr(found, name) == getattr(data, name), name


def test_tables_and_files_give_the_same(small, tables, tmp_path):
    data, _ = small
    counts, features = tables
    named = {
        what: pd.Series(getattr(data, what), index=data.cell_names)[::-1]
        for what in ("cell_types", "cell_families", "donors")
    }
    kept = {"type_colors": data.type_colors, "family_colors": data.family_colors}
    kept |= {"feature_units": data.feature_units, "name": "simulated"}
    found = PairedData.from_tables(counts.iloc[::-1], features, genes=None, **named, **kept)
    assert_same(found, data)
    counts.T.to_csv(tmp_path / "counts.csv.gz")
    features.to_csv(tmp_path / "features.tsv", sep="\t")
    read = PairedData.from_tables(tmp_path / "counts.csv.gz", tmp_path / "features.tsv", 20, genes_as_rows=True)
    assert read.n_genes == 20 and set(read.gene_names) <= set(data.gene_names)
    assert list(PairedData.from_tables(counts, features, ["gene07", "gene03"]).gene_names) == ["gene07", "gene03"]


def test_what_is_known_of_cells_comes_from_a_table_of_its_own(small, tables, tmp_path):
    data, _ = small
    counts, features = tables
    known = {"RNA type": data.cell_types, "mouse": data.donors, "cell": data.cell_names, "depth": data.counts.sum(1)}
    known = pd.DataFrame(known)[::-1].reset_index(names="number")
    known.to_csv(tmp_path / "cells.csv", sep="\t", index=False)  # tabs, whatever the name says
    for cells in (known, known.set_index("cell"), tmp_path / "cells.csv"):
        found = PairedData.from_tables(counts, features, 20, cells=cells, cell_types="RNA type", donors="mouse")
        np.testing.assert_array_equal(found.cell_types, data.cell_types)
        np.testing.assert_array_equal(found.donors, data.donors.astype(str))
    with pytest.raises(ValueError, match=r"cells lacks the column\(s\) 'type'; it has 'number', 'RNA type', 'mouse'"):
        PairedData.from_tables(counts, features, 20, cells=known, cell_types="type")
    with pytest.raises(ValueError, match="cells has no column with names of the cells of features"):
        PairedData.from_tables(counts, features, 20, cells=known.drop(columns="cell"), cell_types="RNA type")
    with pytest.raises(ValueError, match="cell_types='RNA type' names a column: give the table that has it as cells"):
        PairedData.from_tables(counts, features, 20, cell_types="RNA type")


def test_nullable_columns_are_read(tables):
    counts, features = tables
    features = features.astype("Float64")
    features.iloc[3, 1] = pd.NA
    found = PairedData.from_tables(counts.astype("Int64"), features, 20)
    assert np.isnan(found.features[3, 1]) and np.isnan(found.Y).sum() == 1


def test_log_normalised_values_in_place_of_counts_are_noticed(tables):
    counts, features = tables
    adata = anndata.AnnData(np.log1p(counts), obsm={"features": features})
    for pair in (
        lambda: PairedData.from_tables(np.log1p(counts), features, genes=None),
        lambda: PairedData.from_anndata(adata, "features", genes=None),
    ):
        with pytest.warns(UserWarning, match="counts holds fractions .* wrong for normalised values: give raw") as seen:
            pair()
        assert seen[0].filename == __file__  # the reader's own line


def test_anndata_there_and_back(small, tmp_path):
    data, _ = small
    data = replace(data, feature_units=("mV", None, "log", "ms", None, "pA"))
    for counts in (data.counts, sparse.csr_matrix(data.counts), sparse.csc_matrix(data.counts)):
        adata = replace(data, counts=counts).to_anndata()
        named = {"cell_types": "cell_type", "cell_families": "cell_family", "donors": "donor"}
        assert_same(PairedData.from_anndata(adata, "features", "counts", genes=None, **named), data)
    adata.X = adata.layers.pop("counts")
    for kind in (sparse.csr_matrix, np.asarray):
        adata.X = kind(data.counts)
        adata.write_h5ad(tmp_path / f"{kind.__name__}.h5ad")
        backed = anndata.read_h5ad(tmp_path / f"{kind.__name__}.h5ad", backed="r")
        assert_same(PairedData.from_anndata(backed, "features", genes=None, **named), data)


def test_anndata_with_columns_arrays_and_highly_variable_genes(small):
    data, _ = small
    adata = data.to_anndata()
    adata.obs["depth"], adata.obs["age"] = data.counts.sum(1), np.arange(150.0)
    adata.var["highly_variable"] = np.arange(60) % 2 == 0
    found = PairedData.from_anndata(adata, ["age", "depth"], "counts", genes="highly_variable")
    assert list(found.feature_names) == ["age", "depth"] and found.n_genes == 30
    for kind in (np.asarray, sparse.csr_matrix):
        adata.obsm["protein"] = kind(data.features)
        found = PairedData.from_anndata(adata, "protein", "counts")
        assert found.feature_names[1] == "protein2"
        np.testing.assert_array_equal(found.features, data.features)


def test_what_comes_back_of_a_part_and_what_does_not(small):
    data, _ = small
    part = replace(data.subset(np.arange(100)), feature_names=["a/b", "_index", *data.feature_names[2:]])
    part.counts[:, 7] = 0
    adata = part.to_anndata()
    assert "features_names" in adata.uns
    with pytest.warns(UserWarning, match=f"1 of 60 genes have no count and are left out: '{data.gene_names[7]}'"):
        found = PairedData.from_anndata(adata, "features", "counts", genes=None)
    np.testing.assert_array_equal(found.gene_names, np.delete(data.gene_names, 7))
    np.testing.assert_array_equal(found.feature_names, part.feature_names)
    np.testing.assert_array_equal(found.features, part.features)
    assert found.name == "simulated"
    assert list(part.to_mudata()["ephys"].var_names) == list(part.feature_names)


def test_cells_without_a_type_are_grey_and_leftover_colours_ignored(small, tables):
    data, _ = small
    types = pd.Series(data.cell_types, index=data.cell_names)
    types.iloc[:10] = None
    found = PairedData.from_tables(*tables, 20, cell_types=types)
    assert (found.cell_types[:10] == "unknown").all() and found.type_colors["unknown"] == "#BBBBBB"
    adata = data.to_anndata()
    adata.uns["cell_type_colors"] = adata.uns["cell_type_colors"][:-1]
    found = PairedData.from_anndata(adata, "features", "counts", genes=20, cell_types="cell_type")
    assert set(found.type_colors) == set(data.cell_types)


def test_sparse_tables_stay_sparse_and_settings_are_checked(small, tables):
    counts, features = tables
    found = PairedData.from_tables(counts.astype(pd.SparseDtype("int64", 0)), features, genes=20)
    assert sparse.issparse(found.counts)
    with pytest.raises(TypeError, match="unknown argument.s. 'celltype': expected among 'cell_families', 'cell_types'"):
        PairedData.from_tables(counts, features, celltype=small[0].cell_types)
    with pytest.raises(
        ValueError, match=r"cell_types must have one entry per cell, shape \(150,\), got ndarray of shape \(149,\)"
    ):
        PairedData.from_tables(counts, features, 20, cell_types=small[0].cell_types[1:])
    with pytest.raises(ValueError, match="genes must be a whole number, at least 1, got 20.5"):
        PairedData.from_tables(counts, features, genes=20.5)


def test_mudata_there_and_back(small, tmp_path):
    data, _ = small
    data = replace(data, feature_units=("mV", None, "log", "ms", None, "pA"))
    mdata = data.to_mudata()
    named = {"cell_types": "cell_type", "cell_families": "cell_family", "donors": "donor", "name": "simulated"}
    assert_same(PairedData.from_mudata(mdata, counts="counts", genes=None, **named), data)
    mdata.write(tmp_path / "cells.h5mu")
    read = mudata.read(tmp_path / "cells.h5mu")
    assert_same(PairedData.from_mudata(read, counts="counts", genes=None, **named), data)
    with pytest.raises(ValueError, match="mdata lacks the modalities 'protein'; it has 'rna', 'ephys'"):
        PairedData.from_mudata(mdata, y="protein")


def test_cells_are_matched_by_name_and_the_others_reported(tables):
    counts, features = tables
    with pytest.warns(UserWarning) as warned:
        data = PairedData.from_tables(counts.iloc[10:], features.iloc[:-5])
    assert "5 of 140 cells of counts are left out, features lacks them" in str(warned[0].message)
    assert "10 of 145 cells of features are left out, counts lacks them" in str(warned[1].message)
    np.testing.assert_array_equal(data.cell_names, counts.index[10:-5])
    np.testing.assert_array_equal(data.features, features.to_numpy()[10:-5])


def test_cells_without_counts_are_left_out_and_reported(tables):
    counts, features = tables[0].copy(), tables[1]
    counts.iloc[7] = 0
    message = "1 of 150 cells have no count of the chosen genes and are left out: 'cell007'"
    with pytest.warns(UserWarning, match=message):
        data = PairedData.from_tables(counts, features, cell_types=np.arange(150).astype(str))
    assert data.n_cells == 149 and "cell007" not in data.cell_names
    assert list(data.cell_types[6:8]) == ["6", "8"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, f: (c.T, f), "counts is transposed: its columns, not its rows, are the cells"),
        (lambda c, f: (c.set_axis([f"x{i}" for i in range(150)]), f), "counts and features have no cell in common"),
        (
            lambda c, f: (c, f.assign(layer="L5")),
            "features must hold real numbers .*, but column.s. 'layer' hold text",
        ),
        (lambda c, f: (c.astype(np.int8) - np.int8(100), f), "counts must not be negative.* an integer overflow?"),
        (
            lambda c, f: (c, f.assign(**{"feature 2": np.nan})),
            "features has no value at all for feature.s. 'feature 2'",
        ),
        (
            lambda c, f: (c, f.assign(**dict.fromkeys(f, f["feature 1"].where(f.index != f.index[3])))),
            "features has no value at all for cell.s. 'cell003'",
        ),
        (lambda c, f: (pd.concat([c, c[:1]]), f), "duplicate cells in counts"),
        (lambda c, f: (c, f.replace(f.iloc[3, 1], np.inf)), "features is infinite for feature.s. 'feature 2'"),
        (
            lambda c, f: (c.astype(float).replace(0, np.nan), f),
            "counts holds .* NaN or infinite value.s., the first in cell .* where counts",
        ),
        (lambda c, f: (c, f[[]]), "features is empty: 150 rows and 0 columns"),
    ],
)
def test_what_cannot_be_paired_is_explained(tables, change, message):
    counts, features = change(*tables)
    with pytest.raises(ValueError, match=message):
        PairedData.from_tables(counts, features, genes=None)


def test_more_genes_than_vary_are_refused_by_name(tables):
    counts, features = tables
    counts = counts + 1
    counts.iloc[5:, 40:] = 0
    with pytest.raises(
        ValueError,
        match=r"genes=50 cannot be chosen by their variability: 40 genes have more than 0 counts \(detection_th",
    ):
        PairedData.from_tables(counts, features, genes=50)


def test_small_integers_do_not_overflow(tables):
    counts, features = tables
    counts = counts.clip(upper=120)
    small_type, wide = (
        PairedData.from_tables(counts.astype(kind), features, genes=30) for kind in (np.int8, np.float64)
    )
    np.testing.assert_array_equal(small_type.gene_names, wide.gene_names)
    np.testing.assert_allclose(small_type.X, wide.X, atol=1e-5)
    adata = anndata.AnnData(sparse.csr_matrix(counts.to_numpy(np.int8)), obs=features, var=counts.T[[]])
    np.testing.assert_allclose(PairedData.from_anndata(adata, list(features), genes=30).X, wide.X, atol=1e-5)


def test_what_an_anndata_lacks_is_named(small):
    adata = small[0].to_anndata()
    with pytest.raises(
        ValueError, match=r"adata.layers lacks 'raw' \(counts\); it has 'counts'; 'X' stands for adata.X"
    ):
        PairedData.from_anndata(adata, "features", "raw")
    with pytest.raises(ValueError, match=r"adata.obsm lacks 'ephys' \(features\); it has 'features'"):
        PairedData.from_anndata(adata, "ephys")
    with pytest.raises(ValueError, match=r"adata.obs lacks the column\(s\) 'age'"):
        PairedData.from_anndata(adata, ["age"])
    with pytest.raises(ValueError, match="counts must not be negative"):
        PairedData.from_anndata(adata, "features", "X")
    adata.uns["features_units"] = "mV"
    with pytest.raises(ValueError, match=r"adata.uns\['features_units'\] must be a list, got 'mV'"):
        PairedData.from_anndata(adata, "features", "counts")
    adata.uns["features_units"] = ["mV"]
    with pytest.raises(ValueError, match=r"\['features_units'\] must have one entry per feature \(6\), got \['mV'"):
        PairedData.from_anndata(adata, "features", "counts")


def test_counts_are_those_of_the_layer_counts_unless_x_is_asked_for(small):
    adata = small[0].to_anndata()
    total = np.asarray(adata.layers["counts"]).sum()
    adata.X = 3 * np.asarray(adata.layers["counts"])
    for layer, factor in ((None, 1), ("counts", 1), ("X", 3)):
        doubt = pytest.warns(UserWarning, match="adata.X and adata.layers\\['counts'\\] hold counts, and these differ")
        with nullcontext() if layer else doubt:
            found = PairedData.from_anndata(adata, "features", layer, genes=None)
        assert np.asarray(found.counts).sum() == factor * total
    del adata.layers["counts"]
    assert np.asarray(PairedData.from_anndata(adata, "features", genes=None).counts).sum() == 3 * total


def test_constant_features_are_left_out_with_their_units_and_said(small):
    data = small[0]
    counts = pd.DataFrame(np.asarray(data.counts), data.cell_names, data.gene_names)
    features = pd.DataFrame(data.features, data.cell_names, data.feature_names)
    features.insert(1, "holding", -65.0)
    units = tuple(f"unit {place}" for place in range(features.shape[1]))
    with pytest.warns(UserWarning, match="features with one value in all cells are left out: 'holding'"):
        found = PairedData.from_tables(counts, features, genes=None, feature_units=units)
    assert found.feature_names.tolist() == data.feature_names.tolist()
    assert found.feature_units == (units[0], *units[2:])


MEMORY = """
import resource, sys
import anndata, numpy as np
from scipy import sparse
from sbnn import PairedData
import sbnn.data.containers, sbnn.models.latent_regressor
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
before = peak()
adata = anndata.read_h5ad(sys.argv[1], backed="r")
data = PairedData.from_anndata(adata, "features", genes=500)
print(peak() - before, data.X.shape, sparse.issparse(data.counts))
"""


def test_sparse_counts_on_disk_are_never_dense(tmp_path):
    """4000 cells x 10000 genes, 5 % filled: 320 MB as a dense table of doubles, 24 MB sparse."""
    random = np.random.default_rng(0)
    counts = sparse.random_array((4000, 10_000), density=0.05, format="csr", dtype=np.float32, rng=random)
    counts.data = np.ceil(20 * counts.data)
    adata = anndata.AnnData(sparse.csr_matrix(counts), obsm={"features": random.normal(size=(4000, 3))})
    adata.write_h5ad(tmp_path / "large.h5ad")
    found = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "large.h5ad")],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert found.returncode == 0, found.stderr
    megabytes, rest = found.stdout.split(" ", 1)
    assert rest.strip() == "(4000, 500) True"
    assert float(megabytes) < 140


@pytest.mark.parametrize("colors", ["red", 5, {"type 1": "red"}])
def test_colours_of_an_anndata_are_a_list(small, colors):
    adata = small[0].to_anndata()
    adata.uns["cell_type_colors"] = colors
    with pytest.raises(ValueError, match=r"adata.uns\['cell_type_colors'\] must be a list, got"):
        PairedData.from_anndata(adata, "features", "counts", genes=None, cell_types="cell_type")
