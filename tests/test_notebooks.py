"""Every notebook runs from top to bottom, and is committed executed."""

import json
import os
import re
import time
from pathlib import Path

import nbformat
import pytest
from conftest import require_real
from nbclient import NotebookClient

from sbnn import load_model, load_results
from sbnn.sources import locate

ROOT = Path(__file__).parent.parent
NAMES = ("preprocess", "sBNN_training", "linear_models", "latent_visualisation")


def execute(name, monkeypatch, **environment):
    """Run a notebook in the repository with environment variables; return its printed text and its seconds."""
    for key, value in {"TQDM_DISABLE": "1", "MPLBACKEND": "agg", **environment}.items():
        monkeypatch.setenv(key, str(value))
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    start = time.monotonic()
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": ROOT}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs), time.monotonic() - start


def own_tables():
    """The CSV files that stand for one's own, where they are there."""
    names = {"counts": "exon_counts.csv.gz", "features": "ephys_features.csv", "cells": "meta_data.csv"}
    paths = {what: locate(f"scala_2020_phys_temp/m1_patchseq_phys_temp_{name}") for what, name in names.items()}
    return None if None in paths.values() else {what: str(path.absolute()) for what, path in paths.items()}


class Runs:
    """The notebooks on simulated data, each executed once, after those whose results it needs."""

    def __init__(self, folder):
        self.folder, self.executed = folder, []

    def up_to(self, name):
        """Execute the notebooks up to this one, in reading order; return the folder of their output."""
        settings = {"DATASET": "simulated", "RETRAIN": True, "EPOCH_FACTOR": 0.02, "OWN_TABLES": own_tables()}
        for one in NAMES[: NAMES.index(name) + 1]:
            if one not in self.executed:
                with pytest.MonkeyPatch.context() as monkeypatch:
                    execute(one, monkeypatch, SBNN_OUTPUT=self.folder, **settings)
                self.executed.append(one)
        return self.folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("output"))


@pytest.mark.notebook
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_on_simulated_data(name, runs):
    """Each finds what the ones before it wrote."""
    assert list((runs.up_to(name) / "figures/simulated").glob("*.png"))


@pytest.mark.notebook
@pytest.mark.real_data
def test_tables_of_ones_own_went_from_csv_files_through_anndata_to_figures(runs):
    """The sections "Your own data": notebook 1 wrote an AnnData, notebook 2 went on from it."""
    require_real("scala_2020_phys_temp")
    output = runs.up_to("sBNN_training")
    results = output / "KerasSavedModels/simulated"
    scores = load_results(results / "own_cells.pickle")["scores"]
    assert set(scores["model"]) == {"sBNN-2", "sRRR-2"} and scores["r2_test"].notna().all()
    assert len(load_model(results / "own_cells.sbnn").selected_genes_) == 25
    for name in ("own_cells_tsne", "own_cells_map"):
        assert (output / f"figures/simulated/{name}.png").stat().st_size > 20_000


@pytest.mark.notebook
def test_without_data_and_network_simulated_data_are_used_and_said_to_be(tmp_path, monkeypatch):
    monkeypatch.delenv("DATASET", raising=False)
    settings = {
        "SBNN_DATA": tmp_path,
        "SBNN_OUTPUT": tmp_path,
        "EPOCH_FACTOR": 0.02,
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    text, _ = execute("preprocess", monkeypatch, **settings)
    assert "scala_2020 CANNOT BE LOADED" in text and "THIS RUN USES SIMULATED DATA" in text
    assert (tmp_path / "KerasSavedModels/simulated/cells.pickle").exists()


@pytest.mark.notebook
def test_the_figures_are_redrawn_from_the_committed_results_alone(tmp_path, monkeypatch):
    (tmp_path / "KerasSavedModels").symlink_to(ROOT / "KerasSavedModels")
    monkeypatch.delenv("DATASET", raising=False)
    nothing = {"SBNN_DATA": tmp_path / "none", "SBNN_REFERENCE": tmp_path / "none", "HTTPS_PROXY": "http://127.0.0.1:9"}
    text, seconds = execute("latent_visualisation", monkeypatch, SBNN_OUTPUT=tmp_path, **nothing)
    drawn = {path.stem for path in (tmp_path / "figures/scala_2020").glob("*.pdf")}
    assert {f"figure{number}" for number in range(1, 7)} <= {name.split("_")[0] for name in drawn}
    assert {"figure3_linear_latent_space", "external_cohort"} <= drawn
    assert "THE AUTHORS' RESULTS CANNOT BE READ" in text and not (tmp_path / "figures/authors").exists()
    assert seconds < 150  # 20 on an idle machine: nothing is trained


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_committed_executed_and_clean(name):
    text = (ROOT / f"{name}.ipynb").read_text()
    cells = json.loads(text)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    for cell in code:
        source = "".join(cell["source"])
        assert source.count("\n") < 25, source
        assert not re.search(r"^\s*(def|class) ", source, re.M), source
        for output in cell["outputs"]:
            assert output["output_type"] in ("stream", "display_data", "execute_result"), output
            assert "widget" not in str(output.get("data", {}).keys())
            assert output.get("name") != "stderr", output
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    assert "THIS RUN USES SIMULATED DATA" not in text and "CANNOT BE READ" not in text


def test_all_tests_see_the_repository_as_it_is():
    assert (ROOT / "helpers.py").exists() and os.access(ROOT / ".ci/run", os.X_OK)
