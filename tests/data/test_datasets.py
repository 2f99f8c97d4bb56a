import math
import shutil
import subprocess
import time
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import requests
from conftest import accept, copy_real, require_real
from scipy.sparse import csr_matrix

from sbnn import PairedData, load_dataset
from sbnn.data import datasets, sources
from sbnn.data.datasets import cell_selection, measured_features, whole_transcriptomes
from sbnn.data.published import scala
from sbnn.data.published.mimitou import load_mimitou
from sbnn.data.published.scala import ion_channel_genes, read_count_table, read_go_symbols
from sbnn.data.sources import blob_id, data_folder, find_file
from sbnn.data.variable_genes import find_variable_genes, select_variable_genes

GO_LIST = "GO_term_summary_20211104_075621.txt"
FULL_TABLE = "scala_2020/final_patch_seq_allcells_exon_allreads"


@pytest.fixture
def own_data(tmp_path):
    """A writable copy of the real M1 files."""
    return copy_real("scala_2020", tmp_path)


@pytest.mark.real_data
def test_scala_2020_is_the_papers_data_set(m1):
    assert m1.X.shape == (1213, 1000) and m1.Y.shape == (1213, 16)
    assert m1.X.dtype == m1.Y.dtype == np.float32
    assert len(set(m1.cell_types)) == 77 and len(set(m1.cell_families)) == 9 and len(set(m1.donors)) == 259
    for values in (m1.X, m1.Y):
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-4)
    assert cell_selection(m1).tolist() == [1319, 1312, 1304, 1213, 1213]


@pytest.mark.real_data
def test_scala_2020_features_equal_the_published_ones(m1):
    published = pd.read_csv(find_file("scala_2020/ephys_values.csv"), index_col=0)
    assert m1.cell_names.tolist() == published.index.tolist()
    assert m1.feature_names.tolist() == published.columns.tolist()
    np.testing.assert_allclose(m1.features, published.to_numpy(), atol=1e-9, rtol=0)
    raw = measured_features(m1)
    np.testing.assert_allclose(np.log(raw["ISI CV"]), published["ISI CV"], atol=1e-9)


@pytest.mark.real_data
def test_scala_2020_counts_are_the_published_ones_in_their_order(m1):
    published = pd.read_csv(find_file("scala_2020/gene_counts.csv"), index_col=0)
    assert m1.cell_names.tolist() == published.columns.tolist()
    np.testing.assert_array_equal(m1.counts, published.to_numpy().T)


@pytest.mark.real_data
def test_spike_ins_can_be_left_out(m1):
    without = load_dataset("scala_2020", drop_spike_ins=True)
    assert without.n_genes == 997 and not any(name.startswith("ERCC") for name in without.gene_names)
    np.testing.assert_allclose(without.X.std(0), 1, atol=1e-4)


def test_genes_whose_names_begin_like_spike_ins_are_kept(small, monkeypatch):
    names = small[0].gene_names.astype(object)
    names[:3] = ["ERCC1", "ERCC-00009", "ERCC6L2"]
    data = replace(small[0], gene_names=names)
    monkeypatch.setattr(datasets, "simulate_patchseq", lambda: (data, None))
    kept = load_dataset("simulated", drop_spike_ins=True)
    assert kept.gene_names.tolist() == ["ERCC1", "ERCC6L2", *names[3:]]
    np.testing.assert_allclose(kept.X.mean(0), 0, atol=1e-5)


@pytest.mark.real_data
def test_physiological_temperature_cohort():
    require_real("scala_2020_phys_temp")
    data = load_dataset("scala_2020_phys_temp")
    assert data.X.shape == (176, 1000) and data.n_features == 16
    assert cell_selection(data)["in the data set"] == 176
    table = read_count_table("scala_2020_phys_temp")
    assert table.counts.shape == (185, 30749)
    ((cohort, (table, threshold)),) = whole_transcriptomes("scala_2020_phys_temp").items()
    assert (cohort, table.counts.shape, threshold) == ("scala_2020_phys_temp", (185, 30749), 30)


@pytest.mark.real_data
def test_further_genes_of_the_cells_of_scala_2020(m1):
    """method.md, section 13: 1978 genes of 1192 cells; the curve for 1000 of them is nearly that of all 42184 genes."""
    require_real("scala_2020_wide")
    pytest.importorskip("rdata")
    ((cohort, (table, threshold)),) = whole_transcriptomes("scala_2020").items()
    assert (cohort, table.counts.shape, threshold) == ("scala_2020", (1192, 1978), 30)
    assert table.gene_names[:1000].tolist() == m1.gene_names.tolist()
    rows = pd.Index(m1.cell_names).get_indexer(table.cell_names)
    np.testing.assert_array_equal(table.counts[:, :1000], m1.counts[rows])
    chosen = find_variable_genes(table.counts, 1000, threshold)
    assert chosen.offset == pytest.approx(7.56, abs=0.01) and chosen.mask[:1000].sum() >= 985


@pytest.mark.real_data
def test_counts_that_differ_between_two_tables_are_refused(own_data, monkeypatch):
    require_real("scala_2020_wide")
    pytest.importorskip("rdata")
    path = own_data / "scala_2020/gene_counts.csv"
    counts = pd.read_csv(path, index_col=0)
    counts.loc["Vip"] += 1
    counts.to_csv(path)
    accept(monkeypatch, "scala_2020/gene_counts.csv", path)
    shutil.copytree(data_folder() / "scala_2020_wide", own_data / "scala_2020_wide")
    with pytest.raises(ValueError, match="hold different counts of the same genes in '20180918sample1'"):
        whole_transcriptomes("scala_2020", own_data)


def full_table(folder, n_genes=1500):
    """A table of the layout of the 42184-gene archive: tab separated, first column gene, long cell names.

    It has the real 1320 cells of the metadata, the published genes and others; counts are simulated.
    """
    metadata = pd.read_csv(folder / "scala_2020/mini-atlas-meta-data.csv", sep="\t")
    published = pd.read_csv(folder / "scala_2020/gene_counts.csv", index_col=0)
    random = np.random.default_rng(0)
    rate = np.exp(random.uniform(0, 9, (n_genes, 1))) * random.gamma(0.4, 2.5, (n_genes, len(metadata)))
    genes = [*published.index[:400], *(f"Other{index}" for index in range(n_genes - 400))]
    cells = [f"{cell}_A1_S1.sorted" for cell in metadata["Cell"]]
    return pd.DataFrame(random.poisson(rate), index=pd.Index(genes, name="gene"), columns=cells)


@pytest.mark.real_data
def test_variable_genes_of_the_raw_cohort_are_those_of_the_definition():
    """Cell by cell and gene by gene, as method.md words it, on all 185 cells."""
    require_real("scala_2020_phys_temp")
    table = read_count_table("scala_2020_phys_temp")
    zero_rate, mean_log = {}, {}
    for gene, counts in zip(table.gene_names.tolist(), table.counts.T.tolist(), strict=True):
        above = [count for count in counts if count > 30]
        if len(above) >= 10:
            zero_rate[gene] = (len(counts) - len(above)) / len(counts)
            mean_log[gene] = sum(math.log2(count) for count in above) / len(above)
    low, offset, high = 0, 5, 10
    while True:
        chosen = {g for g in zero_rate if zero_rate[g] > math.exp(min(-1.5 * (mean_log[g] - offset), 50)) + 0.02}
        if len(chosen) == 1000:
            break
        low, high = (low, offset) if len(chosen) < 1000 else (offset, high)
        offset = (low + high) / 2
    mask = select_variable_genes(table.counts, n_genes=1000, threshold=30)
    assert set(table.gene_names[mask]) == chosen
    assert set(table.gene_names[select_variable_genes(csr_matrix(table.counts), 1000, threshold=30)]) == chosen


@pytest.mark.real_data
def test_ion_channels_are_the_listed_genes_with_enough_reads():
    require_real("scala_2020_phys_temp")
    assert len(read_go_symbols()) == 434
    table = read_count_table("scala_2020_phys_temp")
    data = load_dataset("scala_2020_phys_temp_ion_channels")
    genes = ion_channel_genes(table)
    reads = dict(zip(table.gene_names, table.counts.sum(0), strict=True))
    symbols = set(read_go_symbols())
    expected = [gene for gene in table.gene_names if gene in symbols and reads[gene] >= 10]
    assert table.gene_names[genes].tolist() == expected
    assert data.gene_names.tolist() == expected and {"Kcna1", "Scn1a", "Hcn1"} <= set(expected)
    assert data.X.shape == (176, 363) and data.name == "scala_2020_phys_temp_ion_channels"
    depth = data.counts.sum(1, keepdims=True)
    logs = np.log2(1 + data.counts / depth * np.median(depth))
    np.testing.assert_allclose(data.X, (logs - logs.mean(0)) / logs.std(0), atol=1e-4)


@pytest.mark.real_data
def test_ion_channels_of_the_papers_cells_come_from_the_archive(own_data, monkeypatch):
    shutil.copyfile(data_folder() / GO_LIST, own_data / GO_LIST)
    table = full_table(own_data)
    symbols = read_go_symbols(own_data)
    table.index = pd.Index([*symbols[:427], *table.index[427:]], name="gene")
    table.iloc[:4] = 0  # too few reads
    table.to_csv(own_data / f"{FULL_TABLE}.txt", sep="\t")
    monkeypatch.setattr(scala, "FULL_TABLE_GENES", len(table))
    data = load_dataset("scala_2020_ion_channels", own_data)
    assert data.X.shape == (1213, 423)
    assert data.gene_names.tolist() == symbols[4:427]


@pytest.mark.real_data
def test_ion_channels_of_the_papers_cells_ask_for_the_archive(own_data, monkeypatch):
    monkeypatch.setattr(sources, "_check_reachable", lambda _: (_ for _ in ()).throw(ConnectionError("no network")))
    with pytest.raises(FileNotFoundError, match=r"exon_allreads.zip is missing .* Download https://"):
        load_dataset("scala_2020_ion_channels", own_data)


@pytest.mark.real_data
def test_a_go_list_without_symbols_is_refused(tmp_path, monkeypatch):
    require_real("scala_2020")
    path = tmp_path / GO_LIST
    path.write_text((data_folder() / GO_LIST).read_text().replace("Symbol", "Gene", 1))
    accept(monkeypatch, GO_LIST, path)
    with pytest.raises(ValueError, match="lacks the column 'Symbol'; it has 'MGI Gene/Marker ID', 'Gene'"):
        read_go_symbols(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("packed", [True, False])
def test_the_whole_transcriptome_is_used_where_its_archive_is(own_data, monkeypatch, packed):
    table = full_table(own_data)
    text = own_data / f"{FULL_TABLE}.txt"
    table.to_csv(text, sep="\t")
    if packed:
        archive = text.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w") as members:
            members.write(text, text.name)
        text.unlink()
        accept(monkeypatch, f"{FULL_TABLE}.zip", archive)
    monkeypatch.setattr(scala, "FULL_TABLE_GENES", len(table))
    data = load_dataset("scala_2020", own_data)
    cells = ["".join(name.split("_")[:3]) for name in table.columns]
    counts = table.to_numpy().T[[cells.index(cell) for cell in data.cell_names]]
    chosen = select_variable_genes(counts, n_genes=1000, threshold=30)
    assert data.X.shape == (1213, 1000)
    assert data.gene_names.tolist() == table.index[chosen].tolist()
    np.testing.assert_array_equal(data.counts, counts[:, chosen])


@pytest.mark.real_data
def test_an_archive_without_the_table_is_refused(own_data, monkeypatch):
    archive = own_data / f"{FULL_TABLE}.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("README", "nothing")
    accept(monkeypatch, f"{FULL_TABLE}.zip", archive)
    with pytest.raises(ValueError, match=r"should hold one .txt table, it holds \['README'\]"):
        load_dataset("scala_2020", own_data)


@pytest.mark.real_data
def test_a_truncated_file_is_refused_and_left_alone(own_data):
    path = own_data / "scala_2020/gene_counts.csv"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"gene_counts.csv is not the published file.*blob id is .* expected 1f44c85"):
        load_dataset("scala_2020", own_data)
    assert path.stat().st_size == 100_000


@pytest.mark.real_data
def test_cells_that_do_not_match_are_named(own_data, monkeypatch):
    path = own_data / "scala_2020/gene_counts.csv"
    table = pd.read_csv(path, index_col=0).rename(columns={"20180918sample1": "19990101sample1"})
    table.to_csv(path)
    accept(monkeypatch, "scala_2020/gene_counts.csv", path)
    message = r"cells of gene_counts.csv and Cell_Features_M1.csv do not match: .* lacks 1 \('20180918sample1'\)"
    with pytest.raises(ValueError, match=message):
        load_dataset("scala_2020", own_data)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.rename(index={table.index[0]: table.index[1]}), "duplicate genes in"),
        (lambda table: table.replace({table.columns[3]: {table.iloc[5, 3]: -4}}), "negative counts, the smallest"),
        (lambda table: table.astype(object).replace({table.columns[3]: {table.iloc[5, 3]: "many"}}), "or text"),
    ],
)
def test_bad_count_tables_are_refused(own_data, monkeypatch, change, message):
    path = own_data / "scala_2020/gene_counts.csv"
    change(pd.read_csv(path, index_col=0)).to_csv(path)
    accept(monkeypatch, "scala_2020/gene_counts.csv", path)
    with pytest.raises(ValueError, match=message):
        load_dataset("scala_2020", own_data)


@pytest.mark.real_data
def test_a_renamed_column_is_named(own_data, monkeypatch):
    path = own_data / "scala_2020/Cell_Features_M1.csv"
    pd.read_csv(path, index_col=0).rename(columns={"Sag ratio": "sag"}).to_csv(path)
    accept(monkeypatch, "scala_2020/Cell_Features_M1.csv", path)
    with pytest.raises(ValueError, match=r"lacks the column\(s\) 'Sag ratio'"):
        load_dataset("scala_2020", own_data)


def test_blob_id_is_that_of_git(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a\0b\n" * 1000)
    expected = subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True).stdout.strip()
    assert blob_id(path) == expected


@pytest.mark.parametrize("read", [scala.select_cells, scala.raw_scala_features, scala.scala_metadata, read_count_table])
def test_the_tables_of_a_laboratory_are_those_of_a_cohort(read):
    with pytest.raises(ValueError, match="unknown cohort 'scala_2020_ion_channels': expected one of 'scala_2020', "):
        read("scala_2020_ion_channels")


def test_unknown_dataset_lists_the_known():
    with pytest.raises(ValueError, match="unknown dataset 'scala': expected one of 'scala_2020'"):
        load_dataset("scala")


def test_an_unreachable_download_gives_up_and_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CONNECTION_TIMEOUT", 0.5)
    monkeypatch.setattr(requests, "head", lambda *_, **__: time.sleep(30))
    start = time.monotonic()
    with pytest.raises(FileNotFoundError, match="Download https://.* put it at .*scala_2020/.*SBNN_DATA"):
        load_dataset("scala_2020", tmp_path)
    assert time.monotonic() - start < 5
    assert not list(tmp_path.rglob("*.csv"))


def test_the_real_time_limit_is_below_ten_seconds():
    assert sources.CONNECTION_TIMEOUT < 10


def serve(monkeypatch, content):
    """Answer every download with some bytes."""
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)

    def download(self, url, output_file, pooch_instance, check_only=False):
        with open(output_file, "wb") as stream:
            stream.write(content)

    monkeypatch.setattr(sources.pooch.HTTPDownloader, "__call__", download)


def test_a_download_is_verified_before_it_is_kept(tmp_path, monkeypatch):
    name = "scala_2020/Cell_Features_M1.csv"
    serve(monkeypatch, b"half a file")
    with pytest.raises(FileNotFoundError, match="could not be downloaded .* the download is not the published file"):
        find_file(name, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    good = tmp_path / "good"
    good.write_bytes(b"half a file")
    accept(monkeypatch, name, good)
    assert find_file(name, tmp_path).read_bytes() == b"half a file"


def test_the_large_archive_is_never_downloaded_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_download", lambda *_: pytest.fail("downloaded"))
    assert read_count_table("scala_2020", tmp_path) is None


@pytest.mark.real_data
def test_a_truncated_table_of_all_genes_is_refused(own_data):
    full_table(own_data).to_csv(own_data / f"{FULL_TABLE}.txt", sep="\t")
    with pytest.raises(ValueError, match="should hold 42184 genes, it holds 1500: truncated?"):
        load_dataset("scala_2020", own_data)


@pytest.mark.real_data
def test_a_table_of_all_genes_that_lacks_cells_is_refused(own_data, monkeypatch):
    table = full_table(own_data).drop(columns="20180918_sample_1_A1_S1.sorted")
    table.to_csv(own_data / f"{FULL_TABLE}.txt", sep="\t")
    monkeypatch.setattr(scala, "FULL_TABLE_GENES", len(table))
    with pytest.raises(ValueError, match=r"lacks cells of Cell_Features_M1.csv: '20180918sample1'"):
        load_dataset("scala_2020", own_data)


@pytest.mark.real_data
def test_a_cohort_that_cannot_be_had_is_left_out_with_a_warning(own_data, monkeypatch):
    monkeypatch.setattr(sources, "_download", lambda *_: (_ for _ in ()).throw(FileNotFoundError("no network")))
    with pytest.warns(UserWarning, match="left out: no network"):
        assert whole_transcriptomes("scala_2020", own_data) == {}


@pytest.mark.real_data
def test_ctcl_2019_has_the_nearest_number_of_genes(recwarn):
    require_real("ctcl_2019")
    data = load_dataset("ctcl_2019")
    assert (data.n_cells, data.n_genes, data.n_features) == (500, 1001, 49)
    assert {"CD3D", "CD8A"} <= set(data.gene_names) and {"CD4", "CD8", "B220 (CD45R)"} <= set(data.feature_names)
    assert not any(name.startswith("hg19_") for name in data.gene_names)
    assert data.cell_types is None and data.donors is None and data.feature_units == ("log(1 + UMI)",) * 49
    cd8 = data.Y[:, data.feature_names == "CD8"][:, 0]
    assert np.corrcoef(data.X[:, data.gene_names == "CD8A"][:, 0], cd8)[0, 1] > 0.5


@pytest.mark.real_data
def test_the_default_number_of_genes_works_on_ctcl_2019():
    """As a reader's own tables: all genes go in, and what is taken is said in terms of the argument."""
    require_real("ctcl_2019")
    import rdata

    from sbnn.data.published.mimitou import _named_matrix

    path = data_folder() / "ctcl_2019/CITEseq_example.rda"
    tables = rdata.read_rda(path, constructor_dict={"dgCMatrix": _named_matrix})["CITEseq_example"]
    counts, proteins = (
        pd.DataFrame(tables[name][0].toarray(), index=tables[name][2], columns=tables[name][1])
        for name in ("RNA", "ADT")
    )
    with pytest.warns(UserWarning, match="genes=1000: no curve selects exactly 1000 genes, the nearest selects 1001"):
        data = PairedData.from_tables(counts, proteins)
    np.testing.assert_allclose(data.X, load_dataset("ctcl_2019").X)


@pytest.mark.real_data
def test_all_genes_of_ctcl_2019_can_be_had_for_a_choice_within_folds():
    require_real("ctcl_2019")
    data, whole = load_dataset("ctcl_2019"), load_mimitou(n_genes=None)
    ((name, (table, threshold)),) = whole_transcriptomes("ctcl_2019").items()
    assert (name, table.counts.shape, threshold) == ("ctcl_2019", (500, 19521), 0)
    expressed = np.asarray((table.counts > 0).sum(axis=0)).ravel() > 0
    assert whole.gene_names.tolist() == table.gene_names[expressed].tolist()
    np.testing.assert_array_equal(whole.counts, table.counts[:, expressed].toarray())
    assert whole.gene_names[find_variable_genes(whole.counts, 1000).mask].tolist() == data.gene_names.tolist()
    np.testing.assert_array_equal(whole.Y, data.Y)
