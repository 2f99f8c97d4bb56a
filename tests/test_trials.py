"""Results carry what made them; other settings make trials, which compute what is missing and leave the rest alone."""

import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sbnn import ReducedRankRegressor, SparseBottleneckRegressor, cross_validate, load_results, save_results
from sbnn.models.schedules import SCHEDULES
from sbnn.validation.provenance import describe_models, list_differences, list_runs, select_rows
from sbnn.validation.result import CrossValidation

SCHEDULE = SCHEDULES["paper_no_pretraining"].shortened(0.02)
FOLDS = KFold(2)


def network(penalty, **settings):
    return SparseBottleneckRegressor(
        group_lasso=penalty, **{"hidden": (16, 8), "n_selected": 10, "schedule": SCHEDULE} | settings
    )


@pytest.fixture
def helpers(monkeypatch, tmp_path):
    """The notebooks' helpers with an output folder of their own."""
    helpers = importlib.import_module("helpers")
    for name, folder in {
        "ROOT": "",
        "RESULTS": "KerasSavedModels",
        "FIGURES": "figures",
        "TRIALS": "trials",
    }.items():
        monkeypatch.setattr(helpers, name, tmp_path / folder)
    monkeypatch.setattr(helpers, "_trials", {})
    return helpers


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        *((text, True, False) for text in ("False", "false", "FALSE", "0", "no")),
        *((text, False, True) for text in ("True", "true", "TRUE ", "1", "yes")),
        ("3", 25, 3),
        ("0.5", 1, 0.5),
        ("2", 0.1, 2),
        ("(2, 64)", (2,), (2, 64)),
        ("scala_2020", "simulated", "scala_2020"),
        ("None", None, None),
        ("-1", None, -1),
    ],
)
def test_a_parameter_is_read_as_what_its_default_is(helpers, monkeypatch, text, default, value):
    monkeypatch.setenv("RETRAIN", text)
    found = helpers.parameter("RETRAIN", default)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "default", "message"),
    [
        ("maybe", False, "RETRAIN must be true or false, got 'maybe'"),
        ("", True, "RETRAIN must be true or false, got ''"),
        ("2", False, "RETRAIN must be true or false, got '2'"),
        ("many", 25, "RETRAIN must be a number, got 'many'"),
        ("True", 25, "RETRAIN must be a number, got True"),
        ("None", 0.1, "RETRAIN must be a number, got None"),
    ],
)
def test_a_parameter_of_another_kind_is_refused(helpers, monkeypatch, text, default, message):
    monkeypatch.setenv("RETRAIN", text)
    with pytest.raises(ValueError, match=message):
        helpers.parameter("RETRAIN", default)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def run(helpers, data, penalties, retrain=False, latents_of=(), **settings):
    models = {"sBNN-2": [network(penalty, **settings) for penalty in penalties]}
    kept = ["scores", "curves", "selected"]
    settings = {"tables": kept, "latents_of": latents_of, "folds": FOLDS}
    return helpers.cross_validated("here", "cv", data, models, retrain, **settings)


def test_one_more_penalty_trains_its_networks_and_leaves_the_committed_file(helpers, small, tmp_path, capsys):
    data, _ = small
    committed = run(helpers, data, (0.01, 0.1))
    helpers.finish("here")
    before = files(tmp_path)
    assert "fits of a model in a fold: 4 computed" in capsys.readouterr().out

    more = run(helpers, data, (0.01, 0.03, 0.1))
    said = capsys.readouterr().out
    assert "group_lasso 0.01, 0.1 on disk, 0.01, 0.03, 0.1 requested" in said
    assert "4 taken from KerasSavedModels/here/cv.pickle, 2 computed" in said
    assert more["path"] == tmp_path / "trials/KerasSavedModels/here/cv.pickle"
    assert list(dict.fromkeys(more["scores"]["group_lasso"])) == [0.01, 0.03, 0.1]
    anew = cross_validate(data, {"sBNN-2": [network(penalty) for penalty in (0.01, 0.03, 0.1)]}, FOLDS, progress=False)
    pd.testing.assert_frame_equal(more["scores"], anew.scores, check_dtype=False)
    pd.testing.assert_frame_equal(more["curves"], anew.curves, check_dtype=False)
    assert before.items() <= files(tmp_path).items()

    again = run(helpers, data, (0.01, 0.03, 0.1))
    assert "2 taken from trials/store/here/cv, 0 computed" in capsys.readouterr().out
    pd.testing.assert_frame_equal(again["scores"], more["scores"])

    fewer = run(helpers, data, (0.1,))
    assert set(fewer["scores"]["group_lasso"]) == {0.1} and "2 taken from KerasSavedModels" in capsys.readouterr().out

    back = run(helpers, data, (0.01, 0.1))
    assert "Loaded" in capsys.readouterr().out and not back["computed"]
    pd.testing.assert_frame_equal(back["scores"], committed["scores"])


def test_other_settings_of_the_same_name_are_never_shown_under_the_new_ones(helpers, small, tmp_path, capsys):
    data, _ = small
    run(helpers, data, (0.1,))
    capsys.readouterr()
    for settings, words in (
        ({"n_selected": 20}, "n_selected 10 on disk, 20 requested"),
        (
            {"schedule": replace(SCHEDULE, stages=[replace(s, learning_rate=0.01) for s in SCHEDULE])},
            "learning_rate of",
        ),
    ):
        found = run(helpers, data, (0.1,), **settings)
        said = capsys.readouterr().out
        assert words in said and "2 computed" in said and "taken from" not in said
        pruned = found["scores"].query("stage == 'pruned'")
        assert set(pruned["n_selected"]) == {settings.get("n_selected", 10)}
    assert load_results(tmp_path / "KerasSavedModels/here/cv.pickle")["scores"]["n_selected"].isin([10, 60]).all()


def test_coordinates_are_computed_where_they_are_asked_for_and_not_on_disk(helpers, small, capsys):
    data, _ = small
    run(helpers, data, (0.01, 0.1), latents_of=[("sBNN-2", network(0.1))])
    capsys.readouterr()
    other = run(helpers, data, (0.01, 0.1), latents_of=[("sBNN-2", network(0.01))])
    assert "2 taken from KerasSavedModels/here/cv.pickle, 2 computed" in capsys.readouterr().out
    assert set(other["latents"]["group_lasso"]) == {0.01} and len(other["latents"]) == 300
    counts = other["scores"].groupby(["group_lasso", "fold", "stage"]).size()
    assert (counts == 1).all() and len(counts) == 2 * 2 * 2  # nothing comes twice
    same = run(helpers, data, (0.01, 0.1), latents_of=[("sBNN-2", network(0.1))])
    assert not same["computed"] and set(same["latents"]["group_lasso"]) == {0.1}


def test_models_that_tables_cannot_tell_apart_are_refused(helpers, small):
    data, _ = small
    for other in (
        {"n_selected": 20},
        {"schedule": replace(SCHEDULE, stages=[replace(s, batch_size=64) for s in SCHEDULE])},
    ):
        models = {"sBNN-2": [network(0.1), network(0.1, **other)]}
        with pytest.raises(ValueError, match="two models called 'sBNN-2' have the same values in the tables"):
            helpers.cross_validated("here", "cv", data, models, tables=["scores"], folds=FOLDS)
        with pytest.raises(ValueError, match="give them different names"):
            cross_validate(data, models, FOLDS, progress=False)


def test_one_of_two_models_changed_is_the_one_that_is_computed(helpers, small, capsys):
    data, _ = small
    run(helpers, data, (0.01, 0.1))
    capsys.readouterr()
    models = {"sBNN-2": [network(0.01), network(0.1, n_selected=20)]}
    found = helpers.cross_validated("here", "cv", data, models, tables=["scores", "curves", "selected"], folds=FOLDS)
    assert "2 taken from KerasSavedModels/here/cv.pickle, 2 computed" in capsys.readouterr().out
    pruned = found["scores"].query("stage == 'pruned'").groupby("group_lasso")["n_selected"].agg(list)
    assert pruned.to_dict() == {0.01: [10, 10], 0.1: [20, 20]}


def test_other_values_under_the_same_names_are_other_data(helpers, small, capsys):
    data, _ = small
    run(helpers, data, (0.1,))
    helpers.find_result("here", "map", {"a": 1}, data).save({"t": pd.DataFrame({"x": [1.0]})}, data)
    capsys.readouterr()
    other = replace(data, Y=data.Y[::-1].copy(), features=None)
    run(helpers, other, (0.1, 0.01))
    said = capsys.readouterr().out
    assert "different measurements of the same cells" in said and "4 computed" in said and "taken from" not in said
    assert helpers.find_result("here", "map", {"a": 1}, other).missing
    rounded = replace(data, X=data.X * (1 + 1e-7))  # a machine that rounds differently
    assert rounded.fingerprint != data.fingerprint and not run(helpers, rounded, (0.1,))["computed"]


def test_notebook_4_never_draws_a_trial_that_is_no_longer_asked_for(helpers, small):
    data, _ = small
    run(helpers, data, (0.1,))
    run(helpers, data, (0.01,))
    assert set(helpers.load_result("here", "cv", trial=True)["scores"]["group_lasso"]) == {0.01}
    run(helpers, data, (0.1,))
    assert set(helpers.load_result("here", "cv", trial=True)["scores"]["group_lasso"]) == {0.1}


def test_retrain_replaces_the_committed_file(helpers, small, tmp_path, capsys):
    data, _ = small
    run(helpers, data, (0.1,))
    found = run(helpers, data, (0.01,), retrain=True)
    assert found["path"] == tmp_path / "KerasSavedModels/here/cv.pickle" and not (tmp_path / "trials").exists()
    assert set(load_results(found["path"])["scores"]["group_lasso"]) == {0.01}


def test_results_of_other_cells_or_folds_are_no_results(helpers, small, capsys):
    data, _ = small
    run(helpers, data, (0.1,))
    capsys.readouterr()
    run(helpers, data.subset(np.arange(100)), (0.1,))
    said = capsys.readouterr().out
    assert "different cells, genes or features" in said and "2 computed" in said
    models = {"sBNN-2": network(0.1)}
    helpers.cross_validated("here", "cv", data, models, tables=["scores"], folds=FOLDS, within_fold=True)
    assert "a different protocol" in capsys.readouterr().out


def test_figures_of_trials_go_to_trials(helpers, small, tmp_path):
    data, _ = small
    figure = Figure((1, 1))
    run(helpers, data, (0.1,))
    helpers.save_figure(figure, "here/a")
    run(helpers, data, (0.01,))
    helpers.save_figure(figure, "here/b")
    run(helpers, data, (0.1,))
    helpers.save_figure(figure, "here/c")
    assert sorted(path.name for path in (tmp_path / "figures/here").glob("*.png")) == ["a.png", "c.png"]
    assert [path.name for path in (tmp_path / "trials/figures/here").glob("*.png")] == ["b.png"]


def test_a_result_is_found_by_its_settings(helpers, small, tmp_path, capsys):
    data, _ = small
    table = {"a": pd.DataFrame({"x": [1.0]})}
    first = helpers.find_result("here", "map", {"perplexity": 30}, data)
    assert first.missing and not first.trial
    first.save(table, data)
    assert not helpers.find_result("here", "map", {"perplexity": 30}, data).missing
    capsys.readouterr()
    other = helpers.find_result("here", "map", {"perplexity": 50}, data)
    assert other.missing and other.trial and "perplexity 30 on disk, 50 requested" in capsys.readouterr().out
    other.save(table, data)
    assert helpers.find_result("here", "map", {"perplexity": 50}, data) == replace(other, missing=False)
    assert helpers.find_result("here", "map", {"perplexity": 30}, data).path == first.path
    assert helpers.find_result("here", "map", {"perplexity": 30}, data.subset(np.arange(90))).missing
    for settings, trial in (({"perplexity": 30}, False), ({"perplexity": 5}, True)):  # a file beside it is missing
        lacking = helpers.find_result("here", "map", settings, data, also=["more.keras"])
        assert (lacking.missing, lacking.trial) == (True, trial)
    other.save(table, data)
    assert helpers.load_result("here", "map", trial=True)["settings"] == {"perplexity": 50}
    assert helpers.load_result("here", "map")["settings"] == {"perplexity": 30}


def test_a_saved_cross_validation_comes_back(small, tmp_path):
    data, _ = small
    models = {"ridge": [Ridge(alpha) for alpha in (1.0, 2.0)], "sRRR": ReducedRankRegressor(None, 0.2)}
    result = cross_validate(data, models, FOLDS, progress=False)
    assert result.models == describe_models(list_runs(models), data.n_features)
    loaded = CrossValidation.from_results(load_results(save_results(tmp_path / "cv.pickle", result)))
    assert loaded.models == result.models
    for name, table in result.tables.items():
        pd.testing.assert_frame_equal(loaded.tables[name], table, check_dtype=False)
    part = loaded.select(result.models[2:0:-1])
    assert list(dict.fromkeys(part.scores["model"])) == ["sRRR", "ridge"] and set(part.scores["alpha"]) == {2.0, 0.2}
    joined = part.join(loaded.select(result.models[:1])).select(result.models)
    pd.testing.assert_frame_equal(joined.scores, result.scores, check_dtype=False)
    assert len(select_rows(result.curves, result.models)) == 0


def test_differences_are_said_in_words():
    models = describe_models([("a", network(0.1))], 3)
    assert list_differences(models, models) == []
    later = describe_models([("a", network(0.1, schedule="paper"))], 3)
    lines = list_differences(models, later)
    assert f"schedule {SCHEDULE.name} on disk, paper requested" in lines
    assert list_differences({"k": 1}, {"k": 1, "new": "x"}) == ["new not on disk, x requested"]
