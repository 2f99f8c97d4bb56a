"""The loader of stoeckius_2017: real proteins and types, and an RNA table of the real layout with fewer genes."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import copy_real
from layouts import write_rna_table

from sbnn import load_dataset
from sbnn.data.datasets import cell_selection, whole_transcriptomes
from sbnn.data.published import stoeckius
from sbnn.data.sources import find_file
from sbnn.data.variable_genes import select_variable_genes

pytestmark = pytest.mark.real_data

RNA = "stoeckius_2017/GSE100866_CBMC_8K_13AB_10X-RNA_umi.csv.gz"
N_HUMAN = 1100  # 20400 in the real table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = copy_real("stoeckius_2017", tmp_path_factory.mktemp("citeseq"))
    write_rna_table(folder / RNA, stoeckius.protein_counts(folder).index, N_HUMAN)
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.setattr(stoeckius, "HUMAN_ROWS", N_HUMAN)
    return made


def test_cells_genes_and_proteins_are_those_of_the_paper(folder):
    data = load_dataset("stoeckius_2017", folder)
    assert data.X.shape == (7652, 1000) and data.Y.shape == (7652, 13)
    assert cell_selection(data, folder).tolist() == [8005, 7733, 7652, 7652]
    assert len(set(data.cell_types)) == 8 and "Ery" not in data.cell_types
    assert set(data.type_colors) == set(data.cell_types) and data.donors is None
    np.testing.assert_allclose(data.Y.std(0), 1, atol=1e-4)


def test_counts_are_those_of_the_table_without_mouse_and_spike_in(folder):
    data = load_dataset("stoeckius_2017", folder)
    table = pd.read_csv(folder / RNA, index_col=0)[data.cell_names]
    human = table[table.index.str.startswith("HUMAN_")]
    assert len(human) == N_HUMAN - 1
    chosen = select_variable_genes(human.to_numpy().T, n_genes=1000)
    assert data.gene_names.tolist() == [name.removeprefix("HUMAN_") for name in human.index[chosen]]
    np.testing.assert_array_equal(data.counts, human.to_numpy()[chosen].T)
    proteins = pd.read_csv(folder / "stoeckius_2017/GSE100866_CBMC_8K_13AB_10X-ADT_umi.csv", index_col=0)
    np.testing.assert_array_equal(data.features, proteins[data.cell_names].to_numpy().T)
    types = pd.read_csv(folder / "stoeckius_2017/CBMC_clustering.csv").set_index("cell_barcode")["type"]
    assert data.cell_types.tolist() == types[data.cell_names].tolist()


def test_the_table_stays_sparse(folder):
    ((table, threshold),) = whole_transcriptomes("stoeckius_2017", folder).values()
    assert table.counts.format == "csr" and table.counts.shape == (7652, N_HUMAN - 1) and threshold == 0


def test_a_partial_table_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / RNA
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"is not the published file: it is not an intact .gz file"):
        load_dataset("stoeckius_2017", tmp_path)


def test_an_unpacked_table_with_too_few_rows_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with gzip.open(folder / RNA, "rt") as stream:
        lines = stream.readlines()
    (tmp_path / RNA).unlink()
    (tmp_path / RNA).with_suffix("").write_text("".join(lines[:900]))
    with pytest.raises(ValueError, match=r"should begin with 1100 rows named HUMAN_... or ERCC_..., it has 899"):
        load_dataset("stoeckius_2017", tmp_path)


def test_mouse_rows_among_the_human_ones_are_refused(folder, monkeypatch):
    monkeypatch.setattr(stoeckius, "HUMAN_ROWS", N_HUMAN + 5)
    stoeckius._read_rna.cache_clear()
    with pytest.raises(ValueError, match=r"it has 1105 \('MOUSE_Gene0', 'MOUSE_Gene1'"):
        load_dataset("stoeckius_2017", folder)


def test_a_table_about_other_cells_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    table = gzip.decompress((folder / RNA).read_bytes()).replace(b"CTGTTTACACCGCTAG", b"x", 1)
    (tmp_path / RNA).write_bytes(gzip.compress(table, compresslevel=1))
    with pytest.raises(ValueError, match="the RNA table lacks 1 .'CTGTTTACACCGCTAG'. and has 1 too many"):
        load_dataset("stoeckius_2017", tmp_path)


def test_without_the_table_its_address_is_named(tmp_path, monkeypatch):
    copy_real("stoeckius_2017", tmp_path)
    monkeypatch.setattr("sbnn.data.sources._check_reachable", lambda _: (_ for _ in ()).throw(ConnectionError("none")))
    with pytest.raises(FileNotFoundError, match=r"RNA_umi.csv.gz is missing .* Download https://ftp.ncbi.nlm.nih.gov"):
        find_file(RNA, tmp_path)
