"""The data set scala_2020_wide: the cells of scala_2020 with 978 further genes."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import accept, copy_real, require_real

from sbnn import load_dataset
from sbnn.data.datasets import cell_selection, measured_features, whole_transcriptomes
from sbnn.data.published.scala_wide import DIFFERING_CELL, read_wide_counts
from sbnn.data.sources import find_file

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def wide():
    require_real("scala_2020_wide")
    pytest.importorskip("rdata")
    return load_dataset("scala_2020_wide")


@pytest.fixture(scope="module")
def further():
    """Counts of scMNC's file, gene -> cell -> count, with the names that it uses."""
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = rdata.read_rda(find_file("scala_2020_wide/motor_data_filtered.rda"))["gdata"]
    genes, cells = (table.coords[axis].to_numpy().astype(str) for axis in table.dims)
    return pd.DataFrame(np.asarray(table), index=genes, columns=cells)


def test_it_has_the_cells_features_and_classes_of_scala_2020(wide, m1):
    assert wide.X.shape == (1192, 1978) and wide.n_features == 16 and wide.name == "scala_2020_wide"
    rows = [m1.cell_names.tolist().index(cell) for cell in wide.cell_names]
    assert rows == sorted(rows)
    for name in ("cell_types", "cell_families", "donors", "features"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(m1, name)[rows])
    assert wide.feature_names.tolist() == m1.feature_names.tolist() and wide.feature_units == m1.feature_units
    assert wide.gene_names[:1000].tolist() == m1.gene_names.tolist()
    np.testing.assert_array_equal(wide.counts[:, :1000], m1.counts[rows])
    assert wide.type_colors == {name: m1.type_colors[name] for name in wide.type_colors}


def test_the_further_counts_are_those_of_the_file_cell_by_cell(wide, further):
    assert further.shape == (1286, 1208)
    assert wide.gene_names[1000:].tolist() == [
        gene for gene in further.index if gene not in set(wide.gene_names[:1000])
    ]
    assert len(wide.gene_names) - 1000 == 978
    renamed = {cell.replace("_", ""): cell for cell in further.columns}
    assert len(renamed) == 1208 and not any("_" in cell for cell in wide.cell_names)
    for cell, counts in zip(wide.cell_names[::100], wide.counts[::100, 1000:], strict=True):
        np.testing.assert_array_equal(counts, further.loc[wide.gene_names[1000:], renamed[cell]])


def test_only_the_cell_that_is_left_out_differs_in_the_shared_genes(wide, m1, further):
    assert DIFFERING_CELL not in wide.cell_names and DIFFERING_CELL in m1.cell_names
    shared = [gene for gene in m1.gene_names if gene in further.index]
    both = [cell for cell in further.columns if cell.replace("_", "") in set(m1.cell_names)]
    assert (len(shared), len(both)) == (308, 1193)
    ours = pd.DataFrame(m1.counts, m1.cell_names, m1.gene_names)
    ours = ours.loc[[cell.replace("_", "") for cell in both], shared]
    differs = (ours.to_numpy() != further.loc[shared, both].to_numpy().T).any(axis=1)
    assert ours.index[differs].tolist() == [DIFFERING_CELL]


def test_x_is_normalised_over_all_1978_genes(wide):
    depth = wide.counts.sum(axis=1, keepdims=True)
    logs = np.log2(1 + wide.counts / depth * np.median(depth))
    np.testing.assert_allclose(wide.X, (logs - logs.mean(0)) / logs.std(0), atol=1e-4)


def test_what_is_said_about_its_cells_and_genes(wide):
    selection = cell_selection(wide)
    assert selection["with an RNA type"] == 1213 and selection["in the data set"] == 1192
    assert measured_features(wide).index.tolist() == wide.cell_names.tolist()
    ((name, (table, threshold)),) = whole_transcriptomes("scala_2020_wide").items()
    assert (name, threshold, table.gene_names.tolist()) == ("scala_2020_wide", 30, wide.gene_names.tolist())
    assert load_dataset("scala_2020_wide", drop_spike_ins=True).n_genes == 1975


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda counts: counts.rename(index=lambda gene: f"mm10_{gene}"), "have no cell or no gene in common"),
        (lambda counts: counts.rename(columns=lambda cell: f"x{cell}"), "have no cell or no gene in common"),
        (lambda counts: counts.assign(**{counts.columns[0]: counts[counts.columns[0]] + 1}), "hold different counts"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(tmp_path, monkeypatch, change, message):
    pytest.importorskip("rdata")
    copy_real("scala_2020", tmp_path)
    copy_real("scala_2020_wide", tmp_path)
    path = tmp_path / "scala_2020/gene_counts.csv"
    change(pd.read_csv(path, index_col=0)).to_csv(path)
    accept(monkeypatch, "scala_2020/gene_counts.csv", path)
    with pytest.raises(ValueError, match=message):
        read_wide_counts(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    pytest.importorskip("rdata")
    copy_real("scala_2020", tmp_path)
    copy_real("scala_2020_wide", tmp_path)
    path = tmp_path / "scala_2020_wide/motor_data_filtered.rda"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match="motor_data_filtered.rda is not the published file"):
        load_dataset("scala_2020_wide", tmp_path)


def test_without_the_package_that_reads_it_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdata", None)
    with pytest.raises(ImportError, match="pip install rdata"):
        load_dataset("scala_2020_wide")
