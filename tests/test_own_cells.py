"""The lines that README shows for the reader's own cells."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import require_real

from sbnn import load_model
from sbnn.sources import data_folder

ROOT = Path(__file__).parent.parent


def readme_lines():
    """The first block of Python under "Your own cells"."""
    section = (ROOT / "README.md").read_text().split("## Your own cells\n")[1]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def test_it_is_at_most_ten_lines():
    assert len(readme_lines().replace(",\n", ",").replace("\n\n", "\n").strip().splitlines()) <= 11  # two are imports


@pytest.mark.real_data
def test_from_files_to_scores_genes_figure_and_model(tmp_path):
    require_real("scala_2020_phys_temp")
    for path in (data_folder() / "scala_2020_phys_temp").glob("m1_patchseq_phys_temp_*"):
        (tmp_path / path.name.removeprefix("m1_patchseq_phys_temp_")).symlink_to(path)
    done = subprocess.run(
        [sys.executable, "-c", readme_lines()], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 185 cells of counts are left out, features lacks them" in done.stderr
    scores = dict(re.findall(r"^(\w+) +(-?[\d.]+)$", done.stdout, re.MULTILINE))
    assert 0.15 < float(scores["pruned"]) < 0.6
    assert (tmp_path / "map.png").stat().st_size > 50_000
    model = load_model(tmp_path / "map.sbnn")
    assert len(model.selected_genes_) == 25
    features = pd.read_csv(tmp_path / "ephys_features.csv", index_col=0)
    counts = pd.read_csv(tmp_path / "exon_counts.csv.gz", index_col=0)[features.index].T
    with pytest.raises(ValueError, match="the cells '.*' have no count of the model's genes"):
        model.predict(counts)
    counts = counts[counts[model.gene_names_].sum(axis=1) > 0]
    predicted = model.predict(counts)["Input resistance (MOhm)"]
    assert 50 < predicted.median() < 500
    assert predicted.corr(features["Input resistance (MOhm)"]) > 0.4
