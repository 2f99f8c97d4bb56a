"""Every notebook runs from top to bottom, and is committed executed."""

import importlib
import json
import re
import time
from pathlib import Path

import nbformat
import pytest
from conftest import require_real
from nbclient import NotebookClient

from sbnn import load_model, load_results
from sbnn.data.sources import data_folder, locate

ROOT = Path(__file__).parent.parent
PAPER = ("preprocess", "sBNN_training", "linear_models", "latent_visualisation")
EXAMPLES = ("your_own_cells", "another_cohort", "which_genes", "honest_numbers")
NAMES = (*PAPER, *(f"examples/{name}" for name in EXAMPLES))


def execute(name, monkeypatch, folder=None, **environment):
    """Run a notebook in its folder, or another, with environment variables; return its printed text and its seconds."""
    for key, value in {"TQDM_DISABLE": "1", "MPLBACKEND": "agg", **environment}.items():
        monkeypatch.setenv(key, str(value))
    path = ROOT / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder or path.parent}}).execute()
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
        """Execute the paper's notebooks up to this one, in reading order, or an example; return where output is."""
        settings = {"DATASET": "simulated", "RETRAIN": True, "EPOCH_FACTOR": 0.02, "ALPHA_STEP": 0.6}
        settings["OWN_TABLES"] = own_tables()
        needed = PAPER[: PAPER.index(name) + 1] if name in PAPER else [name]
        for one in needed:
            if one not in self.executed:
                with pytest.MonkeyPatch.context() as monkeypatch:
                    execute(one, monkeypatch, SBNN_OUTPUT=self.folder, **settings)
                self.executed.append(one)
        return self.folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("output"))


@pytest.mark.notebook
@pytest.mark.parametrize("name", PAPER)
def test_notebook_runs_on_simulated_data(name, runs):
    """Each finds what the ones before it wrote."""
    assert list((runs.up_to(name) / "figures/simulated").glob("*.png"))


@pytest.mark.notebook
@pytest.mark.parametrize(
    "name, figures, group",
    [
        ("examples/your_own_cells", ["own_cells_map"], "own"),
        ("examples/another_cohort", ["external_cohort"], "external"),
        ("examples/which_genes", ["genes_number", "genes_importance"], "genes"),
        ("examples/honest_numbers", ["honest_scores", "beyond_families", "beyond_types", "learning_curve"], "honest"),
    ],
)
def test_example_runs_on_simulated_data(name, figures, group, runs):
    """Each stands alone, and removes its finished fits."""
    output = runs.up_to(name)
    for figure in figures:
        assert (output / f"figures/simulated/{figure}.png").stat().st_size > 20_000
    assert not (output / "build/unfinished/simulated" / group).exists()


@pytest.mark.notebook
@pytest.mark.real_data
def test_tables_of_ones_own_went_from_csv_files_to_a_report_a_map_and_a_model(runs):
    require_real("scala_2020_phys_temp")
    results = runs.up_to("examples/your_own_cells") / "KerasSavedModels/simulated"
    saved = load_results(results / "own_cells.pickle")
    assert {"sBNN-2", "sRRR-2", "ridge", "type mean"} <= set(saved["scores"]["model"])
    pages = results.parents[1] / "build/reports/simulated"
    page = (pages / "own_cells.html").read_text()
    assert saved["answer"].splitlines()[0] in page and "A trial: networks were trained for 0.02" in saved["answer"]
    assert str(results) not in page  # no path of this machine
    assert (pages / "own_cells_map.html").exists() and (pages / "own_cells_tables/scores.csv").exists()
    model = load_model(results / "own_cells.sbnn")
    assert len(model.selected_genes_) == 25 and "Input resistance" in model.feature_names_


@pytest.mark.notebook
@pytest.mark.parametrize(
    "name, lacking, written",
    [
        ("preprocess", "scala_2020 CANNOT BE LOADED", "cells.pickle"),
        ("examples/your_own_cells", "The example of own cells CANNOT BE LOADED", "own_cells.sbnn"),
    ],
)
def test_without_data_and_network_simulated_data_are_used_and_said_to_be(name, lacking, written, tmp_path, monkeypatch):
    monkeypatch.delenv("DATASET", raising=False)
    settings = {
        "SBNN_DATA": tmp_path,
        "SBNN_OUTPUT": tmp_path,
        "EPOCH_FACTOR": 0.02,
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    text, _ = execute(name, monkeypatch, **settings)
    assert lacking in text and "THIS RUN USES SIMULATED DATA" in text
    assert (tmp_path / "KerasSavedModels/simulated" / written).exists()


@pytest.mark.notebook
def test_the_figures_are_redrawn_from_the_committed_results_alone(tmp_path, monkeypatch):
    (tmp_path / "KerasSavedModels").symlink_to(ROOT / "KerasSavedModels")
    monkeypatch.delenv("DATASET", raising=False)
    nothing = {"SBNN_DATA": tmp_path / "none", "SBNN_REFERENCE": tmp_path / "none", "HTTPS_PROXY": "http://127.0.0.1:9"}
    text, seconds = execute("latent_visualisation", monkeypatch, SBNN_OUTPUT=tmp_path, **nothing)
    drawn = {path.stem for path in (tmp_path / "figures/scala_2020").glob("*.pdf")}
    assert {f"figure{number}" for number in range(1, 7)} <= {name.split("_")[0] for name in drawn}
    assert "figure3_linear_latent_space" in drawn
    assert "THE AUTHORS' RESULTS CANNOT BE READ" in text and not (tmp_path / "figures/authors").exists()
    assert seconds < 150  # 20 on an idle machine: nothing is trained


@pytest.mark.notebook
def test_the_other_cohort_is_drawn_from_the_committed_result_alone(tmp_path, monkeypatch):
    """Also in the root of the repository instead of its own folder."""
    (tmp_path / "KerasSavedModels").symlink_to(ROOT / "KerasSavedModels")
    monkeypatch.delenv("DATASET", raising=False)
    nothing = {"SBNN_DATA": tmp_path / "none", "HTTPS_PROXY": "http://127.0.0.1:9"}
    text, seconds = execute("examples/another_cohort", monkeypatch, ROOT, SBNN_OUTPUT=tmp_path, **nothing)
    assert "scala_2020 CANNOT BE LOADED" in text and "scala_2020_phys_temp CANNOT BE LOADED" in text
    assert (tmp_path / "figures/scala_2020/external_cohort.png").stat().st_size > 20_000
    assert seconds < 150  # 15 on an idle machine: nothing is trained


@pytest.mark.real_data
def test_examples_find_the_data_folder_of_the_repository(tmp_path, monkeypatch):
    require_real("scala_2020_phys_temp")
    (tmp_path / "data").symlink_to(data_folder().absolute())
    (tmp_path / "examples").mkdir()
    helpers = importlib.import_module("helpers")
    monkeypatch.setattr(helpers, "HERE", tmp_path)
    monkeypatch.delenv("SBNN_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "examples")
    monkeypatch.syspath_prepend(ROOT / "examples")
    example_data = importlib.import_module("example_data")
    dataset, tables = example_data.own_tables("scala_2020", None)
    assert dataset == "scala_2020" and all(Path(path).is_absolute() for path in tables.values())
    assert example_data.own_tables("mine", {"counts": "counts.csv"}) == ("mine", {"counts": "counts.csv"})


@pytest.mark.parametrize("name", NAMES)
def test_prose_and_code_come_in_short_cells(name):
    for cell in nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            assert len(cell.source.split()) < 120, cell.source
        else:
            assert len(cell.source.splitlines()) <= 20, cell.source


def test_every_notebook_is_tested_and_executed_by_make():
    found = {
        str(path.relative_to(ROOT).with_suffix(""))
        for folder in ("", "examples")
        for path in (ROOT / folder).glob("*.ipynb")
    }
    assert found == set(NAMES)
    makefile = (ROOT / "Makefile").read_text()
    assert f"PAPER := {' '.join(PAPER)}\n" in makefile
    assert f"EXAMPLES := {' '.join(NAMES[len(PAPER) :])}\n" in makefile


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
        assert not re.search(r"^\s*(def|class) ", source, re.M), source
        for output in cell["outputs"]:
            assert output["output_type"] in ("stream", "display_data", "execute_result"), output
            assert "widget" not in str(output.get("data", {}).keys())
            assert output.get("name") != "stderr", output
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    for lacking in ("THIS RUN USES SIMULATED DATA", "CANNOT BE READ", "CANNOT BE LOADED", "A TRIAL"):
        assert lacking not in text
