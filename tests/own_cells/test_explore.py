"""The interactive map of a model, an estimator or a cross-validation: what it shows, where it is written."""

import warnings
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from chromium import Chromium, require_chromium
from embedded_cells import embedded
from scipy import sparse
from sklearn.cross_decomposition import PLSRegression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

import sbnn
from sbnn import (
    CrossValidation,
    PairedData,
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    explore,
    load_model,
    nested_cross_validate,
    normalise_counts,
    simulate_patchseq,
)
from sbnn.models.schedules import Schedule, Stage
from sbnn.own_cells import explore as module

LINEAR = ReducedRankRegressor(2, 0.1)
STAGES = Schedule("test", (Stage("finetuned", 20, 3e-3), Stage("pruned", 10, 3e-3)))
ENSEMBLE = SparseBottleneckRegressor(hidden=(16,), n_selected=5, schedule=STAGES, group_lasso=0.03, n_networks=2)
GENES, MEASURED, PREDICTED, CELLS = "Genes", "Features, measured", "Features, predicted", "Cells"


@pytest.fixture(scope="module")
def cells():
    """Features in units of their own, some values missing."""
    data, _ = simulate_patchseq(n_cells=200, n_genes=60, n_features=4, n_informative=10, missing=0.1, random_state=3)
    features = data.features * np.array([1, 10, 100, 0.01]) + np.array([0, 5, -70, 1])
    Y = (features - np.nanmean(features, axis=0)) / np.nanstd(features, axis=0)
    return replace(data, features=features, Y=Y, feature_units=("mV", "ms", None, "log"))


@pytest.fixture(scope="module")
def fitted(cells):
    return PairedModel(LINEAR).fit(cells)


@pytest.fixture(scope="module")
def result(cells):
    models = {"linear": LINEAR, "ridge": Ridge(10.0)}
    return cross_validate(cells, models, folds="donor", progress=False, within_fold=True)


def shown(given, data, folder, **more):
    """Header, columns and names of the page that is written."""
    found = explore(given, data, folder / "map.html", **more)
    assert (folder / "map.html").read_text(encoding="utf-8") == found.html
    return embedded(found.html)


def close(found, expected, share=1 / 65534):
    """Whether values are the same to half of the stated resolution."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (np.isnan(found) == np.isnan(expected)).all()
    known = ~np.isnan(expected)
    return np.abs(found - expected)[known].max() <= np.ptp(expected[known]) * share / 2 * 1.001


def test_the_map_of_a_model_is_what_the_model_says(cells, fitted, tmp_path):
    header, columns, names = shown(fitted, cells, tmp_path)
    assert names == cells.cell_names.tolist()
    assert header["title"] == f"simulated: 200 cells, {len(fitted.selected_genes_)} genes"
    Z, predicted = fitted.transform(cells), fitted.predict(cells)
    assert close(columns["map", "z1"], Z["z1"]) and close(columns["map", "z2"], Z["z2"])
    expression = pd.DataFrame(normalise_counts(cells.counts), columns=cells.gene_names)
    genes = [name for group, name in columns if group == GENES]
    assert set(genes) == set(fitted.selected_genes_)
    norms = pd.Series(fitted.estimator_.gene_norms_, cells.gene_names)[genes]
    assert norms.is_monotonic_decreasing
    assert all(close(columns[GENES, gene], expression[gene], 1 / 254) for gene in genes)
    for place, name in enumerate(cells.feature_names):
        assert close(columns[MEASURED, name], cells.features[:, place]) and close(
            columns[PREDICTED, name], predicted[name]
        )
    units = {one["name"]: one["unit"] for one in header["values"] if one["group"] == PREDICTED}
    assert list(units.values()) == ["mV", "ms", "", "log"]
    assert {one["unit"] for one in header["values"] if one["group"] == GENES} == {"log₂ count"}
    assert [one["name"] for one in header["residuals"]] == cells.feature_names.tolist()
    residuals = (cells.features - predicted.to_numpy()) / np.nanstd(cells.features, axis=0)
    assert close(columns[CELLS, "mean residual"], np.sqrt(np.nanmean(residuals**2, axis=1)), 1 / 254)
    assert (columns["class", "type"] == cells.cell_types).all()
    assert (columns["class", "family"] == cells.cell_families).all()
    colors = {label: color.lower() for label, color in (cells.family_colors | cells.type_colors).items()}
    for one in header["classes"]:
        assert one["colors"] == [colors[label] for label in one["labels"]]
    assert (CELLS, "uncertainty of the place") not in columns and ("class", "in this fold") not in columns


def test_features_with_logarithms_are_shown_in_own_units_with_residuals(cells, tmp_path):
    """Measured as predicted, also if logarithms were taken before; and genes without the name of their assembly."""
    positive = 10 ** ((cells.features - np.nanmean(cells.features, axis=0)) / np.nanstd(cells.features, axis=0))
    tables = {"counts": pd.DataFrame(cells.counts, cells.cell_names, [f"hg19_{name}" for name in cells.gene_names])}
    tables["features"] = pd.DataFrame(positive, cells.cell_names, ["a", "b", "c (ms)", "d"])
    data = PairedData.from_tables(**tables, genes=None, transform=["a", "c"])
    assert data.feature_names.tolist() == ["log10(a)", "b", "log10(c)", "d"]
    model = PairedModel(LINEAR).fit(data)
    header, columns, _ = shown(model, data, tmp_path)
    assert [one["name"] for one in header["residuals"]] == ["a", "b", "c", "d"]
    for place, name in enumerate("abcd"):
        assert close(columns[MEASURED, name], positive[:, place])
        assert close(columns[PREDICTED, name], model.predict(data)[name])
    assert {one["unit"] for one in header["values"] if one["name"] == "c"} == {"ms"}
    genes = [name for group, name in columns if group == GENES]
    assert len(genes) and {f"hg19_{name}" for name in genes} <= set(data.gene_names)
    unread = next(name.removeprefix("hg19_") for name in data.gene_names if name not in set(model.selected_genes_))
    assert (GENES, unread) in shown(model, data, tmp_path, genes=[unread])[1]


def test_an_ensemble_shows_how_its_networks_disagree(cells, tmp_path):
    model = PairedModel(ENSEMBLE).fit(cells)
    _, columns, _ = shown(model, cells, tmp_path)
    assert close(columns[CELLS, "uncertainty of the place"], model.transform_spread(cells), 1 / 254)
    _, columns, _ = shown(
        model.estimator_, replace(cells, X=model.preprocessor_.transform_genes(cells.counts)), tmp_path
    )
    assert close(columns[CELLS, "uncertainty of the place"], model.transform_spread(cells), 1 / 254)


def test_an_estimator_predicts_in_units_where_y_is_a_z_score(cells, tmp_path):
    estimator = ReducedRankRegressor(2, 0.1).fit(cells.X, cells.Y)
    header, columns, _ = shown(estimator, cells, tmp_path)
    predicted = estimator.predict(cells.X) * np.nanstd(cells.features, axis=0) + np.nanmean(cells.features, axis=0)
    for place, name in enumerate(cells.feature_names):
        assert close(columns[MEASURED, name], cells.features[:, place])
        assert close(columns[PREDICTED, name], predicted[:, place], 1 / 1000)  # Y has single precision
    logs = replace(cells, features=np.exp(cells.features / 100))  # Y is of something else than these
    header, columns, _ = shown(estimator, logs, tmp_path)
    assert close(columns[MEASURED, "feature 1"], cells.Y[:, 0])
    assert {one["unit"] for one in header["values"] if one["group"] in (MEASURED, PREDICTED)} == {"z-score"}


def test_estimators_that_do_not_say_which_genes_they_read_and_more_than_two_dimensions(cells, tmp_path):
    full = replace(cells, Y=np.nan_to_num(cells.Y), features=None, counts=None, cell_types=None, cell_families=None)
    three = PLSRegression(3).fit(full.X, full.Y)
    header, columns, _ = shown(three, full, tmp_path, genes=["gene05"])
    assert [one["name"] for one in header["coordinates"]] == ["t-SNE 1", "t-SNE 2"] and not header["classes"]
    assert close(columns[GENES, "gene05"], full.X[:, 5], 1 / 254)
    assert header["title"] == "simulated: 200 cells"
    assert "t-SNE of 3 dimensions" in (tmp_path / "map.html").read_text(encoding="utf-8")


def test_predictions_of_a_cross_validation_are_of_held_out_cells_in_units(cells, result, tmp_path):
    header, columns, _ = shown(result, cells, tmp_path, fold=1)
    table = result.latents.query("model == 'linear' and fold == 1").set_index("cell").loc[cells.cell_names]
    assert close(columns["map", "z1"], table["z1"]) and close(columns["map", "z2"], table["z2"])
    assert ((columns["class", "in this fold"] == "held out") == table["held_out"]).all()
    predictions = result.predictions.query("model == 'linear'")
    for place, name in enumerate(cells.feature_names):
        by_cell = pd.Series(0.0, cells.cell_names)
        for number, fold in enumerate(result.folds):  # z-scores are those of the training cells of each fold
            values = predictions[predictions["fold"] == number].set_index("cell").loc[cells.cell_names[fold.test], name]
            training = cells.features[fold.train, place]
            by_cell[values.index] = values * np.nanstd(training) + np.nanmean(training)
        assert close(columns[PREDICTED, name], by_cell, 1 / 1000)
    genes = {one["name"] for one in header["values"] if one["group"] == GENES}
    assert genes == set(result.selected.query("model == 'linear' and fold == 1")["gene"])
    scores = result.feature_scores.query("model == 'linear'").groupby("feature")["r2_test"].mean()
    notes = {one["name"]: one["note"] for one in header["values"] if one["group"] == PREDICTED}
    assert notes == {name: f"R² {scores[name]:.2f} in held-out cells (mean over folds)" for name in cells.feature_names}


def test_several_predictions_of_a_cell_are_averaged_and_cells_outside_the_fold_left_out(cells, tmp_path):
    from sbnn.validation.folds import Fold

    rows = np.arange(200)
    folds = [Fold(rows[50:180], rows[:50]), Fold(rows[80:], rows[30:80])]
    result = cross_validate(cells, {"linear": LINEAR}, folds=folds, progress=False)
    _, columns, names = shown(result, cells, tmp_path)
    assert names == cells.cell_names[:180].tolist()
    both = result.predictions.groupby("cell")["feature 1"].mean()
    scale = np.nanstd(cells.features[:, 0]), np.nanmean(cells.features[:, 0])
    expected = both.reindex(names) * scale[0] + scale[1]
    assert expected.isna().sum() == 100 and close(columns[PREDICTED, "feature 1"], expected, 1 / 1000)
    assert (columns["class", "in this fold"] == np.where(np.arange(180) < 50, "held out", "training")).all()


def test_a_cross_validation_without_test_cells_shows_its_model(cells, tmp_path):
    result = cross_validate(cells, {"linear": LINEAR, "net": ENSEMBLE}, folds="all", progress=False)
    header, columns, _ = shown(result, cells, tmp_path, model="net")
    predicted = result.predictions.query("model == 'net'")["feature 2"].to_numpy()
    expected = predicted * np.nanstd(cells.features[:, 1]) + np.nanmean(cells.features[:, 1])
    assert close(columns[PREDICTED, "feature 2"], expected, 1 / 1000) and ("class", "in this fold") not in columns
    assert (CELLS, "uncertainty of the place") in columns  # it still holds its models
    assert not any(one["note"] for one in header["values"] if one["group"] == PREDICTED)
    folds = [fold._asdict() for fold in result.folds]
    saved = CrossValidation.from_results({**vars(result), **result.tables, "folds": folds})
    _, columns, _ = shown(saved, cells, tmp_path, model="net")
    assert (CELLS, "uncertainty of the place") not in columns


def test_cells_without_counts_are_left_out_and_features_matched_by_name(cells, fitted, tmp_path):
    counts = cells.counts.copy()
    counts[7] = 0
    columns = [2, 0]
    other = PairedData(
        cells.X, cells.Y[:, columns], cells.gene_names, np.array(["feature 3", "new"]), cells.cell_names,
        counts=sparse.csr_array(counts), features=np.nan_to_num(cells.features[:, columns]), feature_units=("pA", "Hz"),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="1 of 200 cells have no count"):
        header, columns, names = shown(fitted, other, tmp_path)
    assert names == np.delete(cells.cell_names, 7).tolist() and header["classes"] == []
    assert [name for group, name in columns if group == MEASURED] == ["feature 3", "new"]
    assert [name for group, name in columns if group == PREDICTED] == cells.feature_names.tolist()
    assert [one["name"] for one in header["residuals"]] == ["feature 3"]
    units = {(one["group"], one["name"]): one["unit"] for one in header["values"]}
    assert units[MEASURED, "new"] == "Hz"


def test_models_from_files_and_of_z_scores_alone(cells, fitted, tmp_path):
    loaded = load_model(fitted.save(tmp_path / "map.sbnn"))
    assert explore(loaded, cells, tmp_path / "a.html").html == explore(fitted, cells, tmp_path / "b.html").html
    plain = replace(cells, counts=None, features=None, feature_units=None)
    model = PairedModel(LINEAR).fit(plain)
    header, columns, _ = shown(model, cells, tmp_path)  # its predictions are on the scale of Y
    assert close(columns[MEASURED, "feature 3"], cells.Y[:, 2])
    assert close(columns[PREDICTED, "feature 3"], model.predict(cells)["feature 3"])
    assert {one["unit"] for one in header["values"] if one["group"] in (MEASURED, PREDICTED)} == {"z-score"}


def test_settings_chosen_within_folds(cells, tmp_path):
    models = {"linear": [ReducedRankRegressor(2, alpha) for alpha in (0.05, 0.3)]}
    result = nested_cross_validate(cells, models, outer=KFold(3), inner=2, progress=False)
    _, columns, _ = shown(result, cells, tmp_path, fold=2)
    table = result.latents.query("fold == 2").set_index("cell").loc[cells.cell_names]
    assert close(columns["map", "z2"], table["z2"])


def test_many_genes_are_cut_and_others_added(cells, tmp_path, monkeypatch):
    model = PairedModel(ReducedRankRegressor(2, 0.001)).fit(cells)
    assert len(model.selected_genes_) > 8
    monkeypatch.setattr(module, "MOST_GENES", 5)
    norms = pd.Series(model.estimator_.gene_norms_, cells.gene_names).sort_values(ascending=False, kind="stable")
    header, _, _ = shown(model, cells, tmp_path, genes=[norms.index[0], norms.index[7]], title="a <b>")
    assert [one["name"] for one in header["values"] if one["group"] == GENES] == [*norms.index[:5], norms.index[7]]
    assert header["title"] == "a <b>"


def test_colours_of_families_come_from_types_where_they_have_none(cells, fitted, tmp_path):
    header, *_ = shown(fitted, replace(cells, family_colors=None, type_colors=None), tmp_path)
    assert len(set(header["classes"][1]["colors"])) == 8
    plain = replace(cells, family_colors=None)
    header, *_ = shown(fitted, plain, tmp_path)
    assert set(header["classes"][0]["colors"]) <= {color.lower() for color in cells.type_colors.values()}
    unknown = replace(plain, cell_types=np.where(np.arange(200) < 9, "", cells.cell_types), cell_families=None)
    header, columns, _ = shown(fitted, unknown, tmp_path)
    assert (columns["class", "type"][:9] == "unknown").all()


def test_notebooks_show_a_frame_that_nbconvert_keeps(cells, fitted, tmp_path):
    found = explore(fitted, cells, tmp_path / "new" / "map.html")
    assert repr(found) == f"Explorer of 200 cells: {found.path} ({len(found.html.encode()) / 1000:.0f} kB)"
    frame = found._repr_html_()
    start, end = frame.index('srcdoc="') + 8, frame.index('"></iframe>')
    assert '"' not in frame[start:end] and unescape(frame[start:end]) == found.html
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed")
    new = pytest.importorskip("nbformat", reason="nbformat is not installed").v4
    output = new.new_output("execute_result", {"text/html": frame, "text/plain": repr(found)}, execution_count=1)
    cell = new.new_code_cell("explore(...)", outputs=[output], execution_count=1)
    page, _ = nbconvert.HTMLExporter().from_notebook_node(new.new_notebook(cells=[cell]))
    frames = Frames()
    frames.feed(page)
    assert frames.contents == [found.html]


class Frames(HTMLParser):
    """What the frames of a page hold."""

    def __init__(self):
        super().__init__()
        self.contents = []

    def handle_starttag(self, tag, attributes):
        if tag == "iframe":
            self.contents.append(dict(attributes)["srcdoc"])


def test_the_frame_is_drawn_by_a_browser(cells, fitted, tmp_path):
    require_chromium()
    frame = explore(fitted, cells, tmp_path / "map.html")._repr_html_()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frame}<script>const find = (id) => 0</script>")
    with Chromium(900, 800) as browser:
        inside = "document.querySelector('iframe')?.contentWindow"  # not there before the page is read
        browser.open(path, f"{inside}.document.body")
        assert browser.evaluate(f"{inside}.explorer.columns.names") == cells.cell_names.tolist()
        assert browser.evaluate(f"{inside}.explorer.panels.every((panel) => panel.width > 300)")
        assert browser.requests == [path.resolve().as_uri()] and browser.messages == []


def test_the_file_is_written_all_or_nothing(cells, fitted, tmp_path, monkeypatch):
    path = tmp_path / "map.html"
    path.write_text("before")
    monkeypatch.setattr(module, "explorer_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explore(fitted, cells, path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_the_same_call_gives_the_same_file(cells, fitted, tmp_path):
    assert explore(fitted, cells, tmp_path / "a.html").html == explore(fitted, cells, tmp_path / "b.html").html


def test_no_warning_but_those_of_the_cells(cells, fitted, result, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explore(fitted, cells, tmp_path / "map.html")
        explore(result, cells, tmp_path / "map.html")


def wrong_calls(cells, fitted, result):
    alone = replace(result, latents=result.latents[:0]), replace(result, predictions=result.predictions[:0])
    two = replace(result, latents=pd.concat([result.latents, result.latents.assign(model="other")]))
    without = replace(cells, features=None)
    one = ReducedRankRegressor(1, 0.1).fit(cells.X, cells.Y)
    return [
        ((fitted, cells.X), {}, "data must be PairedData"),
        (("map", cells), {}, "model_or_result must be a fitted PairedModel.* got str"),
        ((Ridge(), cells), {}, "got Ridge"),
        ((PairedModel, cells), {}, "got PairedModel"),
        (({"scores": 1}, cells), {}, "CrossValidation.from_results"),
        ((fitted, cells), {"path": "map.png"}, "path must be an HTML file, such as 'map.html', got 'map.png'"),
        ((fitted, cells), {"path": None}, "path must be the name of a file"),
        ((fitted, cells), {"model": "linear"}, "choose from a CrossValidation, but PairedModel was given"),
        ((fitted, cells), {"fold": 1}, "choose from a CrossValidation"),
        ((fitted, cells), {"genes": "Pvalb"}, "genes must be a list of names"),
        ((fitted, cells), {"genes": ["Pvalb"]}, "data does not have: 'Pvalb'; it has 'gene00'"),
        ((fitted, without), {}, "data has no features as measured"),
        ((one, cells), {}, "at least two latent dimensions, the model has 1"),
        ((result, cells), {"model": "ridge"}, "model 'ridge' has no map in result: expected one of 'linear'"),
        ((result, cells), {"fold": 99}, "fold must be between 0 and"),
        ((result, cells.subset(np.arange(100))), {}, "result must be of these data"),
        ((two, cells), {}, "result holds maps of 2 models: say which, model= one of 'linear', 'other'"),
        ((alone[0], cells), {}, "result has no latents"),
        ((alone[1], cells), {}, "result has no predictions"),
    ]


@pytest.mark.parametrize("number", range(19))
def test_bad_input_is_named(cells, fitted, result, tmp_path, number):
    calls = wrong_calls(cells, fitted, result)
    assert len(calls) == 19
    (model, data), more, message = calls[number]
    path = more.pop("path", tmp_path / "map.html")
    with pytest.raises(ValueError, match=message):
        explore(model, data, path, **more)
    assert not list(tmp_path.iterdir())


def test_models_that_are_not_fitted(cells, tmp_path):
    for model in (PairedModel(), LINEAR):
        with pytest.raises(NotFittedError):
            explore(model, cells, tmp_path / "map.html")


def test_the_paper_s_cells_take_three_hundred_kilobytes(m1, tmp_path):
    model = PairedModel(ReducedRankRegressor(2, 0.4, relaxed=True)).fit(m1)
    found = explore(model, m1, tmp_path / "map.html")
    assert found.n_cells == 1213 and found.path.stat().st_size < 3e5
    header, columns, _ = embedded(found.html)
    assert sum(one["group"] == MEASURED for one in header["values"]) == 16 and len(header["residuals"]) == 16
    assert (columns["class", "family"] == m1.cell_families).all()
    families = next(one for one in header["classes"] if one["name"] == "family")
    assert families["colors"] == [m1.family_colors[name].lower() for name in families["labels"]]


def test_it_is_public():
    assert sbnn.explore is explore and "explore" in sbnn.__all__
