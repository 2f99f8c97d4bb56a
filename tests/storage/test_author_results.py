"""The authors' pickles as tables: the numbers of method.md, section 7, and files that are not what they should be."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbnn import find_author_results, read_author_results
from sbnn.data.sources import FILES, locate
from sbnn.storage.author_results import AUTHOR_FOLDERS, paper_penalty
from sbnn.validation.comparison import author_alphas, linear_references, published_curves

PENALTIES = (1e-4, 1e-2, 1e-1, 1.0)
NETWORKS = {  # (model, schedule) -> last epoch of the curves, mean over folds
    "scala_2020": {
        ("sBNN-2", "paper"): (0.331, 0.384, 0.397, 0.373), ("sBNN-64", "paper"): (0.289, 0.249, 0.409, 0.399),
        ("sBNN-2", "paper_no_pretraining"): 0.374, ("sBNN-64", "paper_no_pretraining"): 0.412,
        ("sBNN-2", "paper_no_frozen"): 0.396,
    },
    "scala_2020_ion_channels": {
        ("sBNN-2", "paper"): (0.290, 0.320, 0.349, 0.340), ("sBNN-2", "paper_no_pretraining"): 0.339,
        ("sBNN-2", "paper_no_frozen"): 0.363,
    },
    "gouwens_2020": {
        ("sBNN-2", "paper"): (0.178, 0.264, 0.259, 0.228), ("sBNN-64", "paper"): (0.180, 0.276, 0.294, 0.256),
        ("sBNN-2", "paper_no_pretraining"): 0.246, ("sBNN-64", "paper_no_pretraining"): 0.294,
        ("sBNN-2", "paper_no_frozen"): 0.255,
    },
    "stoeckius_2017": {
        ("sBNN-2", "paper"): (0.384, 0.418, 0.379, 0.341), ("sBNN-64", "paper"): (0.305, 0.431, 0.410, 0.266),
        ("sBNN-2", "paper_no_pretraining"): 0.374, ("sBNN-64", "paper_no_pretraining"): 0.361,
        ("sBNN-2", "paper_no_frozen"): 0.363,
    },
}  # fmt: skip
LINEAR = {  # sRRR-2 and full rank at about 25 genes; the best of full rank and its genes
    "scala_2020": (0.350, 0.398, 0.438, 83),
    "scala_2020_ion_channels": (0.328, 0.358, 0.384, 59),
    "gouwens_2020": (0.188, 0.248, 0.278, 51),
    "stoeckius_2017": (0.230, 0.352, 0.417, 113),
}
FULL_RANK = {"stoeckius_2017": 13}


@pytest.fixture(scope="module")
def authors():
    name = "reference/scala_2020_tf2/for_hist.pickle"
    if locate(name) is None:
        pytest.skip("the authors' results are not here (set SBNN_REFERENCE)")
    return {dataset: read_author_results(find_author_results(dataset)) for dataset in AUTHOR_FOLDERS}


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", NETWORKS)
def test_networks_have_the_numbers_of_the_table(authors, dataset):
    scores = authors[dataset]["scores"].query("stage == 'pruned'")
    means = scores.groupby(["model", "schedule", "group_lasso"])["r2_test"].mean().round(3)
    ablation = 0.01 if dataset == "stoeckius_2017" else 0.1
    for (model, schedule), expected in NETWORKS[dataset].items():
        if isinstance(expected, tuple):
            assert means[model, schedule].to_dict() == dict(zip(PENALTIES, expected, strict=True))
        else:
            assert means[model, schedule].to_dict() == {ablation: expected}


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", LINEAR)
def test_linear_models_have_the_numbers_of_the_table(authors, dataset):
    scores = authors[dataset]["scores"]
    references = linear_references(scores, author_alphas(scores))
    full = scores.query("model == 'sRRR-full' and relaxed == True")
    best = full.groupby("alpha")[["r2_test", "n_selected"]].mean()
    best = best.loc[best["r2_test"].idxmax()]
    found = (references["sRRR-2"], references["sRRR-full"], best["r2_test"])
    assert tuple(round(value, 3) for value in found) == LINEAR[dataset][:3]
    assert round(best["n_selected"]) == LINEAR[dataset][3]
    assert set(full["rank"]) == {FULL_RANK.get(dataset, 16)}
    if dataset in ("gouwens_2020", "stoeckius_2017"):
        assert full.groupby("alpha")["r2_test"].mean().idxmax() == full["alpha"].min()


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", LINEAR)
def test_curves_of_the_figures_are_those_of_the_paper(authors, dataset):
    """Figure 1 has all penalties of sBNN-2, figure 2 one penalty, and both end where the table says."""
    found = published_curves(dataset, authors[dataset])
    assert tuple(round(found["references"][model], 3) for model in ("sRRR-2", "sRRR-full")) == LINEAR[dataset][:2]
    final = {what: found[what].query("stage == 'pruned'") for what in ("penalties", "bottlenecks")}
    last = {what: table[table["epoch"] == table["epoch"].max()] for what, table in final.items()}
    ends = last["penalties"].groupby("group_lasso")["r2_test"].mean().round(3)
    assert ends.tolist() == list(NETWORKS[dataset]["sBNN-2", "paper"])
    assert set(last["penalties"]["model"]) == {"sBNN-2"}
    assert set(found["bottlenecks"]["group_lasso"]) == {paper_penalty(dataset)}
    assert set(found["bottlenecks"]["model"]) == {model for model, _ in NETWORKS[dataset]}


@pytest.mark.real_data
def test_what_is_said_of_motor_cortex_beside_the_table(authors):
    tables = authors["scala_2020"]
    at_reference = tables["scores"].query("model == 'sBNN-2' and schedule == 'paper' and group_lasso == 0.1")
    pruned = at_reference.query("stage == 'pruned'")
    assert round(pruned["r2_test_best_epoch"].mean(), 3) == 0.405
    assert round(np.std(pruned["r2_test"]), 3) == 0.022
    features = tables["feature_scores"].query("model == 'sBNN-2'").set_index("feature")["r2_test"].round(2)
    assert features[["UDR", "Max AP num", "AP width", "AP amp CV"]].tolist() == [0.77, 0.73, 0.72, 0.03]
    genes = tables["gene_frequencies"].set_index(["model", "n_networks"])["n_genes"]
    assert genes["sBNN-2", 10] == 2 and genes["sBNN-2"].sum() == 70
    assert genes["sBNN-64", 10] == 16 and genes["sBNN-64"].sum() == 36
    assert tables["scores"].query("model == 'sBNN-64' and schedule == 'paper'")["fold"].nunique() == 3


@pytest.mark.real_data
def test_tables_have_our_columns_and_stages_end_where_curves_do(authors):
    for tables in authors.values():
        scores, curves = tables["scores"], tables["curves"]
        assert {"model", "schedule", "group_lasso", "fold", "stage", "r2_test", "r2_test_best_epoch"} <= set(scores)
        keys = ["model", "schedule", "group_lasso", "fold", "stage"]
        last = curves.sort_values("epoch").groupby(keys)["r2_test"].last()
        networks = scores.dropna(subset="group_lasso").set_index(keys)["r2_test"]
        pd.testing.assert_series_equal(networks.sort_index(), last.sort_index())
        stages = curves.query("schedule == 'paper'").groupby("stage")["epoch"].agg(["min", "max"])
        assert stages.to_dict("index") == {
            "frozen": {"min": 1, "max": 50}, "finetuned": {"min": 51, "max": 100}, "pruned": {"min": 101, "max": 200},
        }  # fmt: skip
        linear = scores.query("stage == 'fitted'")
        assert linear.loc[linear["n_selected"].isna(), "r2_test"].isna().all()


@pytest.fixture
def own_copy(authors, tmp_path):
    """A writable copy of one of the folders."""
    folder = tmp_path / "scala_2020_tf2"
    shutil.copytree(find_author_results("scala_2020"), folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


@pytest.mark.real_data
def test_the_file_that_belongs_to_nothing_is_left_out(own_copy):
    (own_copy / "Bottleneck_r2_straight_regr_lasso_tf2.pickle").unlink()
    alone = read_author_results(own_copy)
    complete = read_author_results(find_author_results("scala_2020"))
    for name in ("scores", "curves"):
        pd.testing.assert_frame_equal(alone[name], complete[name])


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.real_data
def test_a_malicious_pickle_is_refused_before_it_runs(own_copy, tmp_path):
    mark = tmp_path / "was-run"
    (own_copy / "for_hist.pickle").write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises(ValueError, match=r"for_hist.pickle refused: it names (posix|nt)\.system"):
        read_author_results(own_copy)
    assert not mark.exists()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([np.zeros((10, 4, 1))] * 6, "should hold a list of 8 entries, it holds 6"),
        ([np.zeros((10, 3, 1))] * 6 + [np.zeros((10, 3, 1, 200))] * 2, "4 penalties or one, it holds 3"),
        ([np.zeros((10, 4, 1))] * 6 + [np.zeros((10, 4, 1, 90))] * 2, "curves should have 200 epochs"),
        ([np.zeros((10, 4, 1))] * 8, "entry 6 should have 4 dimensions"),
        ({"a": 1}, "should hold a list of 8 entries, it holds dict"),
    ],
)
def test_another_layout_is_refused(own_copy, content, message):
    path = own_copy / "Bottleneck_r2_pre_tr_and_freeze_unfreeze_lasso.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_author_results(own_copy)


@pytest.mark.real_data
def test_a_truncated_download_is_refused(own_copy, monkeypatch):
    path = own_copy / "for_hist_nb.pickle"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match="is truncated or not a pickle"):
        read_author_results(own_copy)
    monkeypatch.setenv("SBNN_REFERENCE", str(own_copy.parent))
    with pytest.raises(ValueError, match="for_hist_nb.pickle is not the published file: its git blob id is"):
        find_author_results("scala_2020")


@pytest.mark.real_data
def test_a_folder_that_is_completed_elsewhere_is_refused(own_copy, tmp_path, monkeypatch):
    (tmp_path / "data/reference/scala_2020_tf2").mkdir(parents=True)
    (own_copy / "for_hist.pickle").rename(tmp_path / "data/reference/scala_2020_tf2/for_hist.pickle")
    monkeypatch.setenv("SBNN_REFERENCE", str(own_copy.parent))
    monkeypatch.setenv("SBNN_DATA", str(tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match="files of scala_2020_tf2 are in several folders"):
        find_author_results("scala_2020")


def test_unknown_or_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="unknown folder of the authors' results .* expected one of 'scala_2020_tf2'"):
        read_author_results(tmp_path / "scala_2020")
    with pytest.raises(
        FileNotFoundError, match=r"lacks 'Bottleneck_pre_tr_lasso.pickle', .*\(14 in all\): get them by"
    ):
        read_author_results(tmp_path / "scala_2020_tf2")
    with pytest.raises(ValueError, match="unknown dataset of the authors' results 'scala_2020_phys_temp'"):
        find_author_results("scala_2020_phys_temp")


def test_every_file_of_the_authors_has_an_address_and_an_id():
    names = [name for name in FILES if name.startswith("reference/")]
    assert len(names) == 41 and {Path(name).parts[1] for name in names} == set(AUTHOR_FOLDERS.values())
    assert all(len(FILES[name].blob_id) == 40 and FILES[name].url.endswith(Path(name).name) for name in names)
