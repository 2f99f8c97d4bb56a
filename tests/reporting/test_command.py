"""The command line: files in, a report out."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from short_network import shorten

from sbnn import simulate_patchseq
from sbnn.reporting.command import _parser, main
from sbnn.reporting.files import read_cells


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=60, n_genes=30, n_features=4, n_informative=5, n_types=3, random_state=0)[0]


@pytest.fixture
def tables(data, tmp_path):
    """Names of the files of counts (cells x genes), features and cells."""
    counts = data.counts.toarray() if hasattr(data.counts, "toarray") else data.counts
    about = {"type": data.cell_types, "family": data.cell_families, "mouse": data.donors}
    parts = {
        "counts": pd.DataFrame(counts, data.cell_names, data.gene_names),
        "features": pd.DataFrame(data.features, data.cell_names, data.feature_names),
        "cells": pd.DataFrame(about, data.cell_names),
    }
    for name, table in parts.items():
        table.to_csv(tmp_path / f"{name}.csv")
    return {name: str(tmp_path / f"{name}.csv") for name in parts}


def read(*arguments):
    return read_cells(_parser().parse_args(["report", *map(str, arguments)]))


ABOUT = ["--donors", "mouse", "--types", "type", "--families", "family"]


def test_tables_are_read_with_what_is_known_about_the_cells(tables, data):
    found = read(tables["counts"], tables["features"], "--cells", tables["cells"], *ABOUT, "--threshold", 3)
    np.testing.assert_array_equal(found.data.cell_types, data.cell_types)
    np.testing.assert_array_equal(found.data.donors, data.donors)
    np.testing.assert_allclose(found.data.features, data.features)
    assert found.detection_threshold == 3


def test_a_table_with_genes_as_rows_is_recognised_and_python_reads_the_same(tables):
    pd.read_csv(tables["counts"], index_col=0).T.to_csv(tables["counts"])
    found = read(tables["counts"], tables["features"], "--cells", tables["cells"], *ABOUT, "--genes", "all")
    assert any("a row for each gene" in note for note in found.notes)
    known = {}
    exec(found.snippet, known)
    assert known["data"].fingerprint == found.data.fingerprint
    np.testing.assert_array_equal(known["data"].donors, found.data.donors)


@pytest.mark.parametrize(("factor", "kind", "threshold"), [(1, "UMIs", 0), (300, "reads", 30)])
def test_the_threshold_follows_the_counts(tables, factor, kind, threshold):
    random = np.random.default_rng(0)
    counts = pd.read_csv(tables["counts"], index_col=0)
    counts[:] = random.poisson(0.7, counts.shape) * factor
    counts.iloc[:, 0] += factor
    counts.to_csv(tables["counts"])
    found = read(tables["counts"], tables["features"])
    assert found.detection_threshold == threshold and any(f"look like {kind}" in note for note in found.notes)


def test_logarithms_are_asked_for_by_name_or_found(tables):
    features = pd.read_csv(tables["features"], index_col=0)
    np.exp(features).to_csv(tables["features"])
    first = features.columns[0]
    found = read(tables["counts"], tables["features"], "--transform", first)
    assert found.data.feature_transforms[0] == "log10" and any("logarithms" in note for note in found.notes)
    assert read(tables["counts"], tables["features"]).data.feature_transforms is not None  # as are skewed ones
    assert read(tables["counts"], tables["features"], "--transform", "none").data.feature_transforms is None


def test_cells_left_out_are_told(tables):
    features = pd.read_csv(tables["features"], index_col=0)
    features.iloc[2:].to_csv(tables["features"])
    assert any(
        "2 of 60 cells of counts are left out" in note for note in read(tables["counts"], tables["features"]).notes
    )


@pytest.mark.parametrize("package", ["anndata", "mudata"])
def test_containers_are_read_and_python_reads_the_same(data, package, tmp_path):
    pytest.importorskip(package)
    path = tmp_path / ("cells.h5ad" if package == "anndata" else "cells.h5mu")
    container = data.to_anndata() if package == "anndata" else data.to_mudata()
    container.write(path)
    columns = ["--donors", "donor", "--types", "cell_type", "--families", "cell_family"]
    found = read(path, *columns, "--genes", "all")
    np.testing.assert_allclose(found.data.features, data.features)
    np.testing.assert_array_equal(found.data.cell_types, data.cell_types)
    known = {}
    exec(found.snippet, known)
    assert known["data"].fingerprint == found.data.fingerprint


def test_features_may_be_columns_of_obs(data, tmp_path):
    pytest.importorskip("anndata")
    adata = data.to_anndata()
    for number in (0, 1):
        adata.obs[f"feature{number}"] = data.features[:, number]
    adata.write(tmp_path / "cells.h5ad")
    found = read(tmp_path / "cells.h5ad", "--features", "feature0,feature1")
    assert found.data.feature_names.tolist() == ["feature0", "feature1"]


def complaint(capsys, *arguments):
    """What is said, after checking that it is an error without a traceback."""
    assert main(["report", *map(str, arguments)]) == 1
    said = capsys.readouterr().err
    *notes, error = said.splitlines()
    assert error.startswith("sbnn report: ") and all(note.startswith("note: ") for note in notes)
    return error


def test_errors_are_one_sentence(tables, tmp_path, capsys):
    counts, features = tables["counts"], tables["features"]
    assert "there is no file nothing.csv" in complaint(capsys, "nothing.csv", features)
    assert "give two tables, counts.csv and features.csv, or one file" in complaint(capsys, counts)
    assert "--types name columns of the table of cells: give it as --cells" in complaint(
        capsys, counts, features, "--types", "type"
    )
    assert '--genes must be a whole number or "all"' in complaint(capsys, counts, features, "--genes", "many")
    assert "--features is for an .h5ad" in complaint(capsys, counts, features, "--features", "ephys")
    assert "path must be an HTML file" in complaint(capsys, counts, features, "-o", tmp_path / "report.pdf")
    assert "lacks" in complaint(capsys, counts, features, "--cells", tables["cells"], "--donors", "donor")


def test_errors_about_containers(data, tmp_path, capsys):
    pytest.importorskip("mudata")
    one, two = tmp_path / "cells.h5ad", tmp_path / "cells.h5mu"
    data.to_anndata().write(one)
    data.to_mudata().write(two)
    assert "are for tables" in complaint(capsys, one, "--cells", one)
    assert "--features must name a table of obsm, or columns of obs, got 'ephys': obsm has 'features'" in complaint(
        capsys, one, "--features", "ephys"
    )
    assert "--counts raw: layers are counts" in complaint(capsys, one, "--counts", "raw")
    assert "--modalities must be two of rna, ephys" in complaint(capsys, two, "--modalities", "rna,adt")
    assert "in an .h5mu features are a modality" in complaint(capsys, two, "--features", "x")


def test_it_writes_the_report_and_prints_the_answer(tables, tmp_path, monkeypatch, capsys):
    shorten(monkeypatch)
    page = tmp_path / "report.html"
    arguments = ["report", tables["counts"], tables["features"], "--cells", tables["cells"], *ABOUT, "-o", str(page)]
    assert main([*arguments, "--jobs", "1", "--seed", "3"]) == 0
    said = capsys.readouterr()
    text = page.read_text()
    assert "Recommended" in said.out and str(page) in said.out
    assert "note: counts" in said.err
    assert "sbnn report" in text and "random_state=3" in text and "PairedData.from_tables(" in text
    assert (tmp_path / "report_tables" / "scores.csv").exists()


def test_an_interruption_says_how_to_go_on(tables, monkeypatch, capsys, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sbnn.reporting.command.write_report", stop)
    arguments = ["report", tables["counts"], tables["features"]]
    assert main([*arguments, "--store", str(tmp_path / "kept")]) == 130
    assert f"resumes from {tmp_path / 'kept'}" in capsys.readouterr().err
    assert main(arguments) == 130
    assert "with --store FOLDER" in capsys.readouterr().err


def test_it_is_a_module_and_imports_no_backend_for_its_help():
    code = "import sys; from sbnn.reporting.command import main\n"
    code += "try: main(['report', '--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--threshold" in done.stdout and done.stdout.endswith("[]\n")
    done = subprocess.run([sys.executable, "-m", "sbnn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sbnn ")
