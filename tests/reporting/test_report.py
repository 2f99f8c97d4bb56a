"""The report as a whole: what is written, what it recommends, and how it starts again."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from short_network import short_network, shorten

import sbnn
from sbnn import PairedModel, ReducedRankRegressor, nested_cross_validate, report, simulate_patchseq
from sbnn.reporting.analysis import _without_score
from sbnn.reporting.contest import outer_folds
from sbnn.reporting.modes import MODES
from sbnn.reporting.report import Report, with_logarithms
from sbnn.reporting.rows import choice_rows
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
    labels = {"family mean", "type mean", "family + type"}
    assert set(scores["model"]) == {*labels, "family + type + genes", "ridge", "sRRR-2", "sBNN-2"}
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
    assert found.answer.startswith("That genes alone predict these features is not s")


def test_a_report_without_animals_classes_and_some_values(data, short, tmp_path):
    Y, features = data.Y.copy(), data.features.copy()
    Y[::7, 1], features[::7, 1] = np.nan, np.nan
    bare = replace(data, Y=Y, features=features, donors=None, cell_types=None, cell_families=None)
    found = report(bare, tmp_path / "bare.html", progress=False, n_jobs=1)
    page = page_of(found)
    assert "donors (the animal, or person, of each cell) were not given" in page and "held-out cells" in found.answer
    assert set(found.tables["scores"]["model"]) == {"ridge", "sRRR-2", "sBNN-2"}
    assert "Better than from the class?" not in found.answer and "No classes of cells" in page
    assert "12 of 320 values of features are missing" in page


def test_noise_gives_a_report_that_leaves_out_what_has_no_score(data, short, tmp_path):
    """A map of two dimensions needs two genes, and no penalty selects so many."""
    noise = np.random.default_rng(0)
    plain = replace(data.subset(np.arange(72)), counts=None, features=None, feature_units=None)
    plain = replace(plain, X=noise.standard_normal((72, 30)), Y=noise.standard_normal((72, 4)))
    with pytest.MonkeyPatch.context() as patch:
        strong = [ReducedRankRegressor(2, alpha, relaxed=True) for alpha in (50.0, 30.0)]
        original = sbnn.reporting.analysis.contestants
        patch.setattr("sbnn.reporting.analysis.contestants", lambda *given: {**original(*given), "sRRR-2": strong})
        found = report(plain, tmp_path / "noise.html", progress=False, n_jobs=1)
    assert "Left out: sRRR-2: none of its settings has an R² in every inner fold" in found.answer
    assert "sRRR-2" not in set(found.tables["scores"]["model"]) and "predict these features is not s" in found.answer
    assert "Depth, z-scores" not in page_of(found) and "Z-scores, settings" in page_of(found)


def test_a_model_without_a_score_in_a_fold_is_left_out_with_the_reason():
    final = pd.DataFrame({"model": "sRRR-2", "fold": [0, 1], "r2_test": [0.3, np.nan], "n_selected": [5, 1]})
    result = SimpleNamespace(scores=final, folds=[0, 1])
    scores = pd.DataFrame({"model": ["sRRR-2", "ridge"], "r2": [np.nan, 0.2]})
    assert _without_score(result, scores)["sRRR-2"].startswith(
        "in 1 of 2 folds it selects 1 genes, too few for a score"
    )
    result.scores["n_selected"] = 5
    assert list(_without_score(result, scores)) == ["sRRR-2"]
    assert "it diverged" in _without_score(result, scores)["sRRR-2"]


def test_with_logarithms_the_result_belongs_to_the_data_of_the_report(data, short, tmp_path):
    positive = replace(data, features=np.exp(data.features))
    names = np.array([str(data.feature_names[2])])
    with pytest.warns(UserWarning, match="logarithms to base 10"):
        found = report(positive, tmp_path / "logs.html", transform=names, shorten=0.2, progress=False, n_jobs=1)
    assert found.data.feature_transforms == (None, None, "log10", None)
    setting = found.estimators["sRRR-2"]
    PairedModel(setting).fit(found.data).plot(found.data, found.result)
    page = page_of(found)
    if isinstance(found.estimators.get(found.recommended), ReducedRankRegressor):
        assert "with_logarithms(data, [" in page
    assert "transform=[&#39;feature 3&#39;]" in page


def test_the_class_beside_the_intervals_is_the_one_that_is_named(written):
    """Not the mean of another class: coverage and width are its own."""
    found = written[0]
    table = found.tables["intervals"].query("by == 'all'").set_index("model")
    page = page_of(found)
    named = re.search(r">Width, ([a-z +,]+)</th>", page)[1]
    row = re.search(r"<tr><th>all features</th>(.*?)</tr>", page[page.index('id="intervals"') :])[1]
    shown = re.findall(r">([^<>]+)</td>", row)
    assert shown[3:] == [f"{100 * table.loc[named, 'coverage']:.1f} %", f"{table.loc[named, 'width']:.2f}"]


def test_settings_at_an_end_of_their_list_are_counted():
    rows = [("ridge", 0, 3, "alpha=10"), ("ridge", 1, 3, "alpha=1"), ("ridge", 2, 3, "alpha=0.1"), ("two", 0, 2, "a=1")]
    choices = pd.DataFrame(rows, columns=["model", "candidate", "n_candidates", "settings"])
    analysis = SimpleNamespace(tables={"choices": choices}, splits=SimpleNamespace(folds=[0, 1, 2]))
    found = {row["model"]: row["settings"] for row in choice_rows(analysis)["choices"]}
    assert found == {"ridge": "alpha=10: 1; alpha=1: 1; alpha=0.1: 1 (at an end of its list: 2)", "two": "a=1: 1"}


def test_guards_say_nothing_about_what_the_report_decides(data, short, tmp_path, recwarn):
    report(data, tmp_path / "quiet.html", progress=False, n_jobs=1)
    assert [str(one.message) for one in recwarn if issubclass(one.category, UserWarning)] == []


def test_models_with_one_setting_are_scored_as_nested_ones(data):
    splits = outer_folds(data, None, 3, 0)
    mode, model = MODES["quick"], ReducedRankRegressor(2, 0.5, relaxed=True)
    other = [ReducedRankRegressor(None, alpha, l1_ratio=0) for alpha in (1.0, 0.1)]
    running = {"progress": False, "n_jobs": 1}
    found = score_models(data, {"one": [model], "two": other}, splits, mode, 7, **running).result
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
        ({"folds": [(range(79), [79]), (range(1, 80), [0])]}, "folds must have at least 2 test cells each"),
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
