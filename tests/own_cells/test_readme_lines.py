"""The lines that README shows for the reader's own cells."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import require_real

from sbnn import load_model
from sbnn.data.sources import data_folder

ROOT = Path(__file__).parents[2]
#: Instead of ten, which take minutes.
TWO_NETWORKS = "sbnn.models.default_network.N_NETWORKS = 2"


def readme_blocks():
    """The two blocks of Python under "Your own cells"."""
    section = (ROOT / "README.md").read_text().split("## Your own cells\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_it_is_at_most_ten_lines():
    assert len([line for line in readme_blocks()[0].splitlines() if line]) <= 10


@pytest.mark.real_data
def test_from_files_to_scores_genes_figure_and_model(tmp_path, monkeypatch):
    require_real("scala_2020_phys_temp")
    for path in (data_folder() / "scala_2020_phys_temp").glob("m1_patchseq_phys_temp_*"):
        (tmp_path / path.name.removeprefix("m1_patchseq_phys_temp_")).symlink_to(path)
    lines = f"import sbnn.models.default_network\n{TWO_NETWORKS}\n{readme_blocks()[0]}"
    done = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "1 of 185 cells of counts are left out, features lacks them" in done.stderr
    stages = re.findall(r"^(?:sBNN-2)? +(\w+) +[\d.]+ +(-?[\d.]+) +[\d.]+$", done.stdout, re.MULTILINE)
    assert [stage for stage, _ in stages] == ["frozen", "finetuned", "pruned", "consensus", "ensemble"]
    assert 0.15 < float(stages[-1][1]) < 0.6
    assert (tmp_path / "map.png").stat().st_size > 50_000
    model = load_model(tmp_path / "map.sbnn")
    assert len(model.selected_genes_) == 25
    features = pd.read_csv(tmp_path / "ephys_features.csv", index_col=0)
    counts = pd.read_csv(tmp_path / "exon_counts.csv.gz", index_col=0)[features.index].T
    with pytest.warns(UserWarning, match="1 of 184 cells have no count of the model's genes"):
        predicted = model.predict(counts)["Input resistance"]
    assert dict(zip(model.feature_names_, model.feature_units_, strict=True))["Input resistance"] == "MOhm"
    assert 50 < predicted.median() < 500
    assert predicted.corr(features["Input resistance (MOhm)"]) > 0.4
    run_the_second_block(tmp_path, counts, monkeypatch)


def run_the_second_block(folder, counts, monkeypatch):
    """What README shows for later: on other cells, and on an AnnData."""
    anndata = pytest.importorskip("anndata")
    monkeypatch.chdir(folder)
    names = pd.DataFrame(index=counts.index), pd.DataFrame(index=counts.columns)
    known = {"new_counts": counts, "adata": anndata.AnnData(None, *names, layers={"counts": counts.to_numpy()})}
    exec(readme_blocks()[1], known)
    assert known["predictions"].shape == (len(counts), 29)
    assert known["outliers"]["is_outlier"].mean() < 0.05
    assert known["adata"].obsm["X_sbnn"].shape == (len(counts), 2)
