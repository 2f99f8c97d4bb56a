"""The report as a whole: what is written, what it recommends, and how it starts again."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from short_network import short_network, shorten

import sbnn
from sbnn import PairedModel, ReducedRankRegressor, nested_cross_validate, report, simulate_patchseq
from sbnn.reporting.contest import LABELS_ONLY, outer_folds
from sbnn.reporting.modes import MODES
from sbnn.reporting.report import Report, with_logarithms
from sbnn.reporting.scores import only, score_models
from sbnn.validation.differences import r2_intervals

SECTIONS = ["answer", "checks", "scores", "genes", "map", "intervals", "done"]


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=80, n_genes=30, n_features=4, n_informative=5, n_types=3, random_state=0)[0]


@pytest.fixture(scope="module")
def short():
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield patch


@pytest.fixture(scope="module")
def written(data, short, tmp_path_factory):
    """A report, and the folder of its store."""
    folder = tmp_path_factory.mktemp("report")
    return report(data, folder / "my.html", store=folder / "store", progress=False, n_jobs=1), folder / "store"


def page_of(found):
    return found.path.read_text(encoding="utf-8")


def test_one_page_with_the_answer_first_and_everything_in_order(written):
    found, page = written[0], page_of(written[0])
    places = [page.index(f'id="{name}"') for name in SECTIONS]
    assert places == sorted(places)
    assert found.answer.splitlines()[0] in page.replace("&#39;", "'")
    outside = re.sub(r'srcdoc="[^"]*"', "", page)
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', outside)
    assert "<script" not in outside and not re.findall(r"https?://", re.sub(r'src="data:[^"]*"', "", outside))
    assert "Content-Security-Policy" in page and "prefers-color-scheme: dark" in page and "@media print" in page


def test_tables_beside_it_are_those_of_the_result(written):
    found = written[0]
    assert found.folder == found.path.with_name("my_tables")
    assert {path.stem for path in found.folder.glob("*.csv")} == set(found.tables)
    needed = {
        "scores",
        "differences",
        "features",
        "within_class",
        "genes",
        "importance",
        "intervals",
        "choices",
        "folds",
    }
    assert needed <= set(found.tables)
    pd.testing.assert_frame_equal(pd.read_csv(found.folder / "scores.csv"), found.tables["scores"], check_dtype=False)


def test_the_best_of_the_scores_is_recommended(written):
    found = written[0]
    scores = found.tables["scores"]
    assert scores["r2"].is_monotonic_decreasing and scores["r2"].iloc[0] > 0
    assert found.recommended == scores["model"].iloc[0]
    models = {*LABELS_ONLY, "type + genes", "ridge", "sRRR-2", "sBNN-2"}
    assert set(scores["model"]) == models - {"family mean, shrunken"}
    assert f"<th>{found.recommended} (recommended)</th>" in page_of(found)
    assert repr(found).startswith(found.answer) and str(found.path) in repr(found)


def test_every_cell_is_held_out_once(written, data):
    assert sorted(written[0].tables["folds"]["cell"]) == sorted(data.cell_names)


def test_its_result_and_settings_make_a_model_and_its_picture(written, data):
    found = written[0]
    assert set(found.result.scores["model"]) == set(found.estimators)
    setting = found.estimators["sBNN-2"]
    assert setting.n_networks == 2 and not hasattr(setting, "selected_")  # that of short_network, not fitted
    figure = PairedModel(setting).fit(data).plot(data, found.result)
    assert any("held-out cells (fold=0)" in text.get_text() for text in figure.findobj(Text))


def test_a_trial_with_fewer_epochs_says_so(data, short, tmp_path):
    found = report(data, tmp_path / "trial.html", shorten=0.5, progress=False, n_jobs=1)
    assert "A trial: networks were trained for 0.5 times their epochs" in found.answer
    assert "shorten=0.5" in page_of(found)
    asked, usual = found.estimators["sBNN-2"].schedule, short_network(data.n_cells).schedule
    for one, other in zip(asked.stages, usual.stages, strict=True):
        assert one.epochs == pytest.approx(other.epochs / 2, abs=1)


def test_the_same_call_computes_nothing_again(written, data, short, tmp_path):
    """Neither fits nor tables: what computes them is not called."""

    def refuse(*_, **__):
        raise AssertionError("computed again")

    found, store = written
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sbnn.validation.cross_validation.run_jobs", lambda plan, jobs, *_: refuse() if jobs else iter(())
        )
        for name in ("score_table", "difference_table", "feature_table", "within_class_table", "importance_tables"):
            patch.setattr(f"sbnn.reporting.analysis.{name}", refuse)
        again = report(data, tmp_path / "again.html", store=store, progress=False, n_jobs=1)
    for name, table in found.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table, check_dtype=False)
    assert again.answer == found.answer


def test_tables_of_an_earlier_report_are_removed_and_ones_own_stay(data, short, tmp_path, written):
    folder = tmp_path / "again_tables"
    folder.mkdir()
    for name in ("substitutes.csv", "beyond_class.csv", "mine.csv"):
        (folder / name).write_text("old")
    found = report(data.subset(np.arange(60)), tmp_path / "again.html", progress=False, n_jobs=1, shorten=0.2)
    assert {path.stem for path in folder.iterdir()} == {*found.tables, "mine"}
    assert (folder / "mine.csv").read_text() == "old"


def test_what_fails_leaves_the_earlier_report_and_no_folder(data, short, tmp_path, monkeypatch):
    (tmp_path / "old.html").write_text("old")
    (tmp_path / "old_tables").mkdir()
    (tmp_path / "old_tables" / "scores.csv").write_text("old")
    for name in ("old", "new"):
        monkeypatch.setattr("sbnn.reporting.report.report_page", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            report(data.subset(np.arange(60)), tmp_path / f"{name}.html", progress=False, n_jobs=1, shorten=0.2)
    assert (tmp_path / "old_tables" / "scores.csv").read_text() == (tmp_path / "old.html").read_text() == "old"
    assert {path.name for path in tmp_path.rglob("*")} == {"old.html", "old_tables", "scores.csv"}


def test_other_data_are_not_taken_for_finished(written, data, short, tmp_path):
    order = np.random.default_rng(0).permutation(data.n_cells)
    other = replace(data, Y=data.Y[order], features=data.features[order])
    found = report(other, tmp_path / "other.html", store=written[1], progress=False, n_jobs=1)
    assert found.tables["scores"]["r2"].max() < 0.1  # nothing is left to be predicted
    assert "tell nothing" in found.answer or "not clear" in found.answer


def test_a_report_without_animals_classes_and_some_values(data, short, tmp_path):
    Y, features = data.Y.copy(), data.features.copy()
    Y[::7, 1], features[::7, 1] = np.nan, np.nan
    bare = replace(data, Y=Y, features=features, donors=None, cell_types=None, cell_families=None)
    found = report(bare, tmp_path / "bare.html", progress=False, n_jobs=1)
    page = page_of(found)
    assert "donors (the donor of each cell) were not given" in page and "held-out cells" in found.answer
    assert set(found.tables["scores"]["model"]) == {"ridge", "sRRR-2", "sBNN-2"}
    assert "Better than from the class?" not in found.answer and "No classes of cells" in page
    assert "12 of 320 values of features are missing" in page


def test_guards_say_nothing_about_what_the_report_decides(data, short, tmp_path, recwarn):
    report(data, tmp_path / "quiet.html", progress=False, n_jobs=1)
    assert [str(one.message) for one in recwarn if issubclass(one.category, UserWarning)] == []


def test_models_with_one_setting_are_scored_as_nested_ones(data):
    splits = outer_folds(data, None, 3, 0)
    mode, model = MODES["quick"], ReducedRankRegressor(2, 0.5, relaxed=True)
    other = [ReducedRankRegressor(None, alpha, l1_ratio=0) for alpha in (1.0, 0.1)]
    running = {"progress": False, "n_jobs": 1}
    found = score_models(data, {"one": [model], "two": other}, splits, mode, 7, **running)
    known = nested_cross_validate(data, {"one": model, "two": other}, splits.folds, random_state=7, **running)
    pd.testing.assert_frame_equal(r2_intervals(found, data), r2_intervals(known, data))
    part = only(found, ["two"])
    assert len(part.estimators) == 3 and set(part.scores["model"]) == {"two"}
    alone = r2_intervals(known, data)
    pd.testing.assert_frame_equal(
        r2_intervals(part, data), alone[alone["model"] == "two"].reset_index(drop=True), check_dtype=False
    )


def test_logarithms_are_taken_as_when_tables_are_read(data):
    positive = replace(data, features=np.exp(data.features))
    with pytest.warns(UserWarning, match="logarithms to base 10 are taken of 1 of 4 features"):
        found = with_logarithms(positive, [str(data.feature_names[2])])
    assert found.feature_transforms == (None, None, "log10", None)
    np.testing.assert_allclose(found.features[:, 2], data.features[:, 2] / np.log(10))
    np.testing.assert_allclose(np.nanmean(found.Y, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(found.Y, axis=0), 1, atol=1e-5)
    assert with_logarithms(data, None) is data
    with pytest.warns(UserWarning, match="no feature is skewed"):
        assert with_logarithms(data, "auto") is data  # Y is not computed anew
    with pytest.raises(ValueError, match="data.features is None"):
        with_logarithms(replace(data, features=None), "auto")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mode": "slow"}, "unknown mode 'slow'"),
        ({"path": "report.pdf"}, "path must be an HTML file"),
        ({"path": 3}, "path must be the name of a file"),
        ({"random_state": -1}, "random_state must be"),
        ({"progress": "yes"}, "progress must be True or False"),
        ({"detection_threshold": -1}, "detection_threshold must be"),
        ({"folds": "all"}, "folds must be at least two"),
        ({"transform": "log"}, "transform must be None"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_computed(data, tmp_path, more, message):
    path = more.pop("path", tmp_path / "report.html")
    with pytest.raises(ValueError, match=message):
        report(data, path, **more)
    assert not (tmp_path / "report.html").exists()


def test_a_path_that_cannot_be_written_is_refused(data, tmp_path):
    (tmp_path / "a_tables").write_text("")
    with pytest.raises(ValueError, match="which is a file: choose another path"):
        report(data, tmp_path / "a.html")
    with pytest.raises(ValueError, match="cannot be written"):
        report(data, tmp_path / "a_tables" / "b.html")


def test_other_things_than_data_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="data must be PairedData"):
        report(data.X, tmp_path / "report.html")
    with pytest.raises(ValueError, match="a report needs at least 40"):
        report(data.subset(np.arange(30)), tmp_path / "report.html")


def test_it_is_public():
    assert sbnn.report is report and "report" in sbnn.__all__
    assert Report(path="x", recommended="ridge", answer="Yes.").tables == {}
