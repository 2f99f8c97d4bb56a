"""The loader of gouwens_2020 on a file of exactly the layout and size of the real one."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import accept, copy_real
from layouts import write_gouwens_file
from scipy.io import loadmat, savemat

from sbnn import load_dataset
from sbnn.data.datasets import cell_selection, measured_features, whole_transcriptomes
from sbnn.data.published.gouwens import DROPPED_FEATURES

pytestmark = pytest.mark.real_data  # names of features and cells are the real ones

MAT_FILE = "gouwens_2020/PS_v5_beta_0-4_pc_scaled_ipfx_eqTE.mat"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the made file and the real names and metadata."""
    folder = copy_real("gouwens_2020", tmp_path_factory.mktemp("v1"))
    metadata = pd.read_csv(folder / "gouwens_2020/20200711_patchseq_metadata_mouse.csv", dtype=str)
    names = folder / "gouwens_2020/E_names.json"
    write_gouwens_file(folder / MAT_FILE, names, metadata["transcriptomics_sample_id"][:3411])
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    accept(monkeypatch, MAT_FILE, made / MAT_FILE)
    return made


def test_shapes_names_and_selection_are_the_papers(folder):
    data = load_dataset("gouwens_2020", folder)
    assert data.X.shape == (3395, 1252) and data.Y.shape == (3395, 55)
    assert not set(DROPPED_FEATURES) & set(data.feature_names) and len(DROPPED_FEATURES) == 13
    assert set(data.cell_families) == {"Lamp5", "Pvalb", "Sncg", "Sst", "Vip"}
    assert cell_selection(data, folder).tolist() == [3411, 3395, 3395]
    assert whole_transcriptomes("gouwens_2020", folder) == {} and data.counts is None
    assert load_dataset("gouwens_2020", folder, drop_spike_ins=True).n_genes == 1252


def test_values_are_those_of_the_file(folder):
    data = load_dataset("gouwens_2020", folder)
    content = loadmat(folder / MAT_FILE, squeeze_me=True)
    row = [str(name).strip() for name in content["sample_id"]].index(data.cell_names[100])
    genes = content["T_dat"][[str(name).strip() in set(data.cell_names) for name in content["sample_id"]]]
    np.testing.assert_allclose(data.X, (genes - genes.mean(0)) / genes.std(0), atol=1e-4)
    assert data.cell_types[100] == str(content["cluster"][row]).strip()
    assert data.type_colors[data.cell_types[100]] == str(content["cluster_color"][row]).strip()
    raw_names = {short: raw for raw, short in json.loads((folder / "gouwens_2020/E_names.json").read_text()).items()}
    column = [str(name).strip() for name in content["feature_name"]].index(raw_names["rheobase i"])
    assert measured_features(data, folder).loc[data.cell_names[100], "rheobase i"] == content["E_feature"][row, column]
    np.testing.assert_allclose(data.Y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(data.Y.std(0), 1, atol=1e-4)


def test_donors_are_those_of_the_metadata(folder):
    data = load_dataset("gouwens_2020", folder)
    metadata = pd.read_csv(folder / "gouwens_2020/20200711_patchseq_metadata_mouse.csv", dtype=str)
    known = metadata.set_index("transcriptomics_sample_id")["donor_id"]
    assert data.donors.tolist() == known[data.cell_names].tolist()


def changed(folder, tmp_path, monkeypatch, change):
    """A copy of the folder whose MATLAB file was changed."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    content = {key: value for key, value in loadmat(folder / MAT_FILE).items() if not key.startswith("__")}
    savemat(tmp_path / MAT_FILE, change(content))
    accept(monkeypatch, MAT_FILE, tmp_path / MAT_FILE)
    return tmp_path


def renamed_feature(content):
    names = np.array([str(name).strip() for name in content["feature_name"]])
    return {**content, "feature_name": np.where(names == "tau", "tau_ms", names)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: {key: value for key, value in content.items() if key != "pc_name"},
            r"lacks the key\(s\) 'pc_name'; it holds .*'E_feature'",
        ),
        (renamed_feature, r"E_names.json gives no short name for the feature\(s\) 'tau_ms'"),
        (
            lambda content: {**content, "T_dat": content["T_dat"][:-1]},
            r"E_pc_scaled should have shape \(3410, 44\) to match the rest, it has \(3411, 44\)",
        ),
        (
            lambda content: {**content, "gene_id": content["gene_id"][:5]},
            r"T_dat should have shape \(3411, 5\) to match the rest",
        ),
    ],
)
def test_another_layout_is_refused(folder, tmp_path, monkeypatch, change, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("gouwens_2020", changed(folder, tmp_path, monkeypatch, change))


def test_unknown_cells_leave_no_donors_and_say_so(folder, tmp_path, monkeypatch):
    ids = np.array([f"cell{number}" for number in range(3411)])
    other = changed(folder, tmp_path, monkeypatch, lambda content: {**content, "sample_id": ids})
    with pytest.warns(UserWarning, match="does not name the animal of 3395 cells"):
        assert load_dataset("gouwens_2020", other).donors is None


def test_a_partial_file_is_refused(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / MAT_FILE
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(ValueError, match="is not the published file: its git blob id is .*truncated or changed"):
        load_dataset("gouwens_2020", tmp_path)
    accept(monkeypatch, MAT_FILE, path)  # even where the id fits, what cannot be read is named
    with pytest.raises(ValueError, match="is not a readable MATLAB file"):
        load_dataset("gouwens_2020", tmp_path)
