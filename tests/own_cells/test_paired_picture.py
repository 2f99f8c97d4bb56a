"""The picture of a PairedModel: which features, with which R2, of which cells; its description."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sbnn import (
    ClassMean,
    CrossValidation,
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    load_model,
    load_results,
    nested_cross_validate,
    save_results,
    simulate_patchseq,
)
from sbnn.data.cell_labels import PLAIN_COLOR, UNKNOWN_COLOR
from sbnn.figures.drawing import CMAP
from sbnn.models.schedules import Schedule, Stage
from sbnn.own_cells import map_picture

LINEAR = ReducedRankRegressor(2, 0.1)
STAGES = Schedule("test", (Stage("finetuned", 5, 3e-3), Stage("pruned", 5, 3e-3)))
ENSEMBLE = SparseBottleneckRegressor(hidden=(8,), n_selected=5, schedule=STAGES, group_lasso=0.03, n_networks=2)


@pytest.fixture(scope="module")
def cells():
    """Twelve features in units of their own, some values missing."""
    data, _ = simulate_patchseq(n_cells=120, n_genes=50, n_features=12, n_informative=9, missing=0.05, random_state=3)
    features = data.features * np.linspace(1, 30, 12) + np.linspace(-70, 5, 12)
    Y = (features - np.nanmean(features, axis=0)) / np.nanstd(features, axis=0)
    return replace(data, features=features, Y=Y)


@pytest.fixture(scope="module")
def fitted(cells):
    return PairedModel(LINEAR).fit(cells)


@pytest.fixture(scope="module")
def result(cells):
    models = {"linear": LINEAR, "ridge": Ridge(10.0), "family mean": ClassMean()}
    return cross_validate(cells, models, KFold(4, shuffle=True, random_state=0), n_jobs=1, progress=False)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(monkeypatch, fitted, /, *arguments, **settings):
    """What a picture is made of: the panel, the table of cells, and the map of a fold."""
    calls = []
    monkeypatch.setattr(map_picture, "plot_cell_map", lambda *given: calls.append(given))
    fitted.plot(*arguments, **settings)
    return calls[0]


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def test_without_a_cross_validation_it_is_training_fit_and_says_so(cells, fitted, monkeypatch):
    panel, _, held_out = drawn(monkeypatch, fitted, cells)
    Z = fitted.preprocessor_.transform_features(cells.features)
    predicted = fitted.estimator_.predict(fitted._align(cells, None, False).X)
    errors, total = np.nansum((Z - predicted) ** 2, axis=0), np.nansum(Z**2, axis=0)
    expected = pd.Series(1 - errors / total, cells.feature_names).nlargest(9)
    assert list(panel["r2"].index) == list(expected.index)
    np.testing.assert_allclose(panel["r2"], expected, atol=1e-5)
    assert panel["title"].endswith(f": R² {1 - errors.sum() / total.sum():.2f}")
    assert panel["about"].startswith("R²: training fit") and "(training fit)" in panel["about_features"]
    np.testing.assert_allclose(panel["measured"], Z, atol=1e-5)
    np.testing.assert_allclose(panel["predicted"], predicted, atol=1e-5)
    assert held_out is None and panel["notes"] == []


def test_with_a_cross_validation_features_are_chosen_by_its_r2(cells, fitted, result, monkeypatch):
    panel, table, held_out = drawn(monkeypatch, fitted, cells, result, fold=2)
    rows = result.feature_scores.query("model == 'linear'")
    expected = rows.groupby("feature")["r2_test"].mean().nlargest(9)
    assert list(panel["r2"].index) == list(expected.index)
    np.testing.assert_allclose(panel["r2"], expected)
    overall = result.scores.groupby("model")["r2_test"].mean()
    assert panel["title"] == f"120 cells, {len(fitted.selected_genes_)} genes: R² {overall['linear']:.2f}"
    assert panel["about"] == "R²: held-out cells, 4 folds; map: of all cells"
    assert "each cell predicted by a model that had not seen it" in panel["about_features"]
    (note,) = panel["notes"]
    for name, value in overall.items():
        assert f"{name} {value:.2f}".replace("-0", "−0") in note
    # Predictions of the table, on the scale of the measured values.
    predicted = result.predictions.query("model == 'linear'").set_index("cell").loc[cells.cell_names]
    name = panel["r2"].index[0]
    column = cells.feature_names.tolist().index(name)
    scale, centre = np.nanstd(cells.Y[:, column]), np.nanmean(cells.Y[:, column])
    np.testing.assert_allclose(panel["predicted"][name], (predicted[name] - centre) / scale, atol=1e-4)
    np.testing.assert_allclose(panel["measured"][name], (cells.Y[:, column] - centre) / scale, atol=1e-4)
    test = result.folds[2].test
    np.testing.assert_array_equal(np.flatnonzero(held_out.held_out), np.sort(test))
    assert held_out.title == "held-out cells (fold=2)" and f"in colour: {len(test)} held-out cells" in held_out.about
    # The map of the fold, turned but not deformed: distances are those of its latents.
    latents = result.latents.query("model == 'linear' and fold == 2").set_index("cell").loc[cells.cell_names]
    there = latents[["z1", "z2"]].to_numpy()
    for place in (0, 7, int(test[0])):
        apart = np.linalg.norm(held_out.coordinates - held_out.coordinates[place], axis=1)
        np.testing.assert_allclose(apart, np.linalg.norm(there - there[place], axis=1), atol=1e-4)
    correlation = np.corrcoef(np.ravel(held_out.coordinates), np.ravel(panel["coordinates"]))[0, 1]
    assert correlation > 0.9  # turned onto it
    assert table["type_color"].tolist() == held_out.cells["type_color"].tolist()


def test_titles_have_names_and_r2_and_points_have_the_colours_of_values(cells, fitted, result):
    figure = fitted.plot(cells, result)
    texts = texts_of(figure)
    r2 = result.by_feature()["linear"].nlargest(9)
    for name, value in r2.items():
        assert f"{name}: R² {value:.2f}".replace("-", "−") in texts
    assert texts.count("measured") == texts.count("predicted") == 9
    pairs = figure.axes[-19:-1]  # before the last scale
    places = {axis.get_position().bounds[:2] for axis in pairs}
    assert len(places) == 18
    values = [axis.collections[-1].get_array() for axis in pairs]
    missing = np.isnan(cells.Y[:, cells.feature_names.tolist().index(r2.index[0])])
    assert len(values[0]) == 120 - missing.sum() and len(values[1]) == 120
    assert all(axis.collections[-1].get_cmap().name == CMAP for axis in pairs)


def test_held_out_cells_are_coloured_and_training_cells_pale(cells, fitted, result):
    figure = fitted.plot(cells, result, fold=1)
    pale, bright = [one for one in figure.axes[1].collections if isinstance(one, PathCollection)]
    n_test = len(result.folds[1].test)
    assert len(pale.get_offsets()) == 120 - n_test and len(bright.get_offsets()) == n_test
    expected = {to_rgba(cells.type_colors[name]) for name in cells.cell_types[result.folds[1].test]}
    assert {tuple(color) for color in bright.get_facecolors()} == expected


def test_cells_that_the_model_was_not_fitted_on_are_told_from_others(cells, monkeypatch):
    model = PairedModel(LINEAR).fit(cells.subset(np.arange(80)))
    new = drawn(monkeypatch, model, cells.subset(np.arange(80, 120)))[0]
    assert new["about"] == "R²: these cells, on none of which the model was fitted"
    mixed = drawn(monkeypatch, model, cells)[0]
    assert mixed["about"] == "R²: these cells: the model was fitted on 80 of the 120 (training fit)"
    assert drawn(monkeypatch, model, cells.subset(np.arange(30)))[0]["about"].startswith("R²: training fit")


def test_a_saved_model_knows_its_cells(cells, fitted, monkeypatch, tmp_path):
    fitted.save(tmp_path / "map.sbnn")
    loaded = load_model(tmp_path / "map.sbnn")
    assert drawn(monkeypatch, loaded, cells)[0]["about"].startswith("R²: training fit")
    assert repr(loaded) == repr(fitted)


def test_features_that_data_lacks_are_shown_as_predicted_only(cells, fitted, monkeypatch):
    two = {"feature_names": cells.feature_names[:2], "feature_units": None}
    fewer = replace(cells, features=cells.features[:, :2], Y=cells.Y[:, :2], **two)
    panel = drawn(monkeypatch, fitted, fewer)[0]
    assert set(panel["r2"].index[:2]) == set(cells.feature_names[:2]) and panel["r2"][2:].isna().all()
    assert panel["measured"].iloc[:, 2:].isna().all(axis=None) and panel["predicted"].notna().all(axis=None)
    for data in (replace(cells, features=None), replace(cells, feature_names=[f"f{i}" for i in range(12)])):
        panel = drawn(monkeypatch, fitted, data)[0]
        assert panel["about"] == "features were not measured" and "R²" not in panel["title"]
        assert panel["measured"].isna().all(axis=None)


def test_pictures_without_measured_features_are_drawn(cells, fitted, tmp_path):
    figure = fitted.plot(replace(cells, features=None))
    assert sum("R² not known" in text for text in texts_of(figure)) == 9
    figure.savefig(tmp_path / "map.png")


def test_a_loaded_result_without_large_tables_gives_r2(cells, fitted, result, monkeypatch, tmp_path):
    small = cross_validate(cells, {"linear": LINEAR}, KFold(3), n_jobs=1, progress=False, keep=())
    panel, _, held_out = drawn(monkeypatch, fitted, cells, small)
    assert held_out is None and "the result has no predictions" in panel["about_features"]
    np.testing.assert_allclose(panel["r2"], small.by_feature()["linear"].head(9))
    assert "compare with ClassMean" in panel["notes"][0]


def test_cells_of_unknown_type_are_grey_and_families_alone_have_colours(cells, fitted, monkeypatch):
    types = np.where(np.arange(120) < 10, "unknown", cells.cell_types)
    plain = {"type_colors": None, "family_colors": None}
    table = drawn(monkeypatch, fitted, replace(cells, cell_types=types, cell_families=None, **plain))[1]
    assert set(table["type_color"][:10]) == {UNKNOWN_COLOR} and UNKNOWN_COLOR not in set(table["type_color"][10:])
    table = drawn(monkeypatch, fitted, replace(cells, cell_types=None, cell_families=None, **plain))[1]
    assert set(table["type_color"]) == {PLAIN_COLOR}
    table = drawn(monkeypatch, fitted, replace(cells, cell_types=None, **plain))[1]
    assert table["type_color"].nunique() == len(np.unique(cells.cell_families)) > 1


def test_genes_are_shown_without_the_assembly_and_files_keep_it(cells, monkeypatch):
    data = replace(cells, gene_names=np.char.add("hg19_", cells.gene_names.astype(str)))
    model = PairedModel(LINEAR).fit(data)
    panel = drawn(monkeypatch, model, data)[0]
    assert not any("hg19_" in name for name in panel["genes"]) and "hg19_" not in repr(model)
    assert all(name.startswith("hg19_") for name in model.selected_genes_)
    assert {f"hg19_{name}" for name in panel["genes"]} <= set(model.selected_genes_)


def test_networks_of_an_ensemble_say_how_often_they_choose_a_gene(cells, monkeypatch):
    model = PairedModel(ENSEMBLE).fit(cells)
    frequency = model.gene_frequency_
    assert frequency.is_monotonic_decreasing and (frequency > 0).all() and frequency.sum() == pytest.approx(5)
    assert set(frequency.round(6)) <= {0.5, 1.0}
    for gene, share in frequency.items():
        assert share == model.estimator_.gene_frequency_[model.gene_names_.tolist().index(gene)]
    panel = drawn(monkeypatch, model, cells)[0]
    shares = frequency.reindex(model.selected_genes_).fillna(0)
    assert set(panel["genes"].columns) == {f"{gene} {share:.0%}" for gene, share in shares.items()}
    assert "of 2 networks" in panel["about_genes"] and "ensemble of 2 networks" in repr(model)


def test_a_model_describes_itself(cells, fitted):
    assert repr(PairedModel()) == "PairedModel(), not fitted"
    assert repr(PairedModel(LINEAR)) == f"PairedModel({LINEAR!r}), not fitted"
    text = repr(fitted)
    assert "linear model, 120 cells, 50 genes -> 12 features" in text and len(text.split("\n")) == 3
    assert f"reads {len(fitted.selected_genes_)} genes: " in text
    assert set(fitted.gene_frequency_) == {1.0} and set(fitted.gene_frequency_.index) == set(fitted.selected_genes_)


def test_other_settings_are_told(cells, fitted, result, monkeypatch):
    other = PairedModel(ReducedRankRegressor(2, 0.2)).fit(cells)
    with pytest.warns(UserWarning, match=r"R2 is that of 'linear' .* settings differ .*: alpha 0.1, here 0.2"):
        drawn(monkeypatch, other, cells, result)
    with pytest.warns(UserWarning, match=r"R2 is that of 'ridge' in result.*: it is sklearn.*Ridge, this one sbnn"):
        drawn(monkeypatch, fitted, cells, result, model="ridge")


def test_a_model_of_other_cells_than_those_of_the_result_is_told(cells, fitted, result, monkeypatch, recwarn):
    drawn(monkeypatch, fitted, cells, result)
    assert not recwarn.list
    other = PairedModel(LINEAR).fit(cells.subset(np.arange(50)))
    with pytest.warns(UserWarning, match="only 50 of 120 cells of data are training cells of this model"):
        drawn(monkeypatch, other, cells, result)


def test_of_several_models_that_with_the_settings_of_this_one_is_taken(cells, fitted, recwarn, monkeypatch):
    models = {"sparser": ReducedRankRegressor(2, 0.3), "mine": LINEAR}
    models["path"] = [ReducedRankRegressor(2, alpha, relaxed=True) for alpha in (0.1, 0.3)]
    found = cross_validate(cells, models, KFold(3), n_jobs=1, progress=False)
    panel = drawn(monkeypatch, fitted, cells, found)[0]
    mean = found.scores.set_index("model").loc["mine", "r2_test"].mean()
    assert panel["title"].endswith(f"R² {mean:.2f}")
    relaxed = PairedModel(ReducedRankRegressor(2, 0.3, relaxed=True)).fit(cells)
    panel = drawn(monkeypatch, relaxed, cells, found)[0]
    mean = found.scores.query("model == 'path' and alpha == 0.3")["r2_test"].mean()
    assert panel["title"].endswith(f"R² {mean:.2f}") and not [one for one in recwarn if "settings" in str(one.message)]
    other = PairedModel(ReducedRankRegressor(2, 0.25)).fit(cells)
    with pytest.raises(ValueError, match="holds 3 models of the kind of this map: say which, model= one of 'sparser'"):
        other.plot(cells, found)
    with pytest.raises(ValueError, match="result holds 2 settings of 'path', none or several .*result.select"):
        other.plot(cells, found, model="path")


def test_settings_that_were_chosen_in_every_fold_are_found(cells, fitted, recwarn, monkeypatch):
    models = {"linear": [ReducedRankRegressor(2, 0.3), LINEAR], "ridge": Ridge(10.0)}
    found = nested_cross_validate(cells, models, KFold(3), inner=2, n_jobs=1, progress=False)
    panel, _, held_out = drawn(monkeypatch, fitted, cells, found)
    mean = found.scores.query("model == 'linear'")["r2_test"].mean()
    assert panel["title"].endswith(f"R² {mean:.2f}") and held_out.held_out.sum() == len(found.folds[0].test)
    assert not [one for one in recwarn if "settings differ" in str(one.message)]


def test_wrong_arguments_are_named(cells, fitted, result):
    without = cross_validate(cells, {"ridge": Ridge(10.0)}, KFold(3), n_jobs=1, progress=False)
    whole = cross_validate(cells, {"linear": LINEAR}, "all", n_jobs=1, progress=False)
    saved = {"scores": result.scores}
    cases = [
        ((cells, None), {"model": "linear"}, "model= and fold= choose from a cross-validation: give result="),
        ((cells, None), {"fold": 1}, "model= and fold= choose from a cross-validation"),
        ((cells, result), {"fold": 4}, "fold must be between 0 and 3, got 4"),
        ((cells, result), {"model": "sBNN"}, "model 'sBNN' is not in result: expected one of 'linear', 'ridge'"),
        ((cells, saved), {}, "result must be a CrossValidation.*CrossValidation.from_results"),
        ((cells.subset(np.arange(100)), result), {}, "result must be of these data"),
        ((cells, whole), {}, "result has no test cells"),
        ((cells, without), {}, "no model of the kind of this map, sbnn.ReducedRankRegressor: its models are 'ridge'"),
    ]  # fmt: skip
    for arguments, settings, message in cases:
        with pytest.raises(ValueError, match=message):
            fitted.plot(*arguments, **settings)


def test_a_saved_result_gives_the_same_picture(cells, fitted, result, monkeypatch, tmp_path):
    path = tmp_path / "result.pickle"
    save_results(path, result)
    loaded = CrossValidation.from_results(load_results(path))
    mine, theirs = (drawn(monkeypatch, fitted, cells, one)[0] for one in (result, loaded))
    pd.testing.assert_series_equal(mine["r2"], theirs["r2"], check_dtype=False, rtol=1e-5)
    pd.testing.assert_frame_equal(mine["predicted"], theirs["predicted"], check_dtype=False, atol=1e-4)
