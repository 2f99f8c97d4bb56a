import figure_cases
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.text import Annotation, Text

from sbnn.data.variable_genes import find_variable_genes, gene_statistics
from sbnn.figures import curves as curve_figures
from sbnn.figures import labels, maps, plotting, style
from sbnn.figures.embedding import principal_components, tsne
from sbnn.figures.style import wrapped


@pytest.fixture(autouse=True)
def close_figures():
    plotting.use_style()
    yield
    plt.close("all")


@pytest.fixture
def cells(small):
    data, _ = small
    colors = [data.type_colors[name] for name in data.cell_types]
    return pd.DataFrame({"cell_type": data.cell_types, "cell_family": data.cell_families, "type_color": colors})


@pytest.fixture
def curves():
    rows = []
    for group_lasso in (1e-4, 0.1):
        for bottleneck_dim in (2, 64):
            for schedule in ("paper", "paper_no_pretraining"):
                for fold in range(3):
                    for epoch in range(1, 7):
                        stage = ("frozen", "finetuned", "pruned")[(epoch - 1) // 2]
                        rows.append(
                            (group_lasso, bottleneck_dim, schedule, fold, stage, epoch, epoch / 10 + fold / 100)
                        )
    return pd.DataFrame(
        rows, columns=["group_lasso", "bottleneck_dim", "schedule", "fold", "stage", "epoch", "r2_test"]
    )


def saved(figure, tmp_path):
    """Draw for real: what cannot be rendered fails here."""
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_curves_show_means_over_folds(curves, tmp_path):
    part = curves.query("bottleneck_dim == 2 and schedule == 'paper'")
    norms = pd.DataFrame({"group_lasso": np.repeat([1e-4, 0.1], 40), "norm": np.random.default_rng(0).random(80)})
    figure = curve_figures.plot_training_curves(part, norms, {"sRRR-2": 0.3, "sRRR-full": 0.4})
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), np.arange(1, 7) / 10 + 0.01)
    assert sorted(figure.axes[1].get_lines()[0].get_ydata())[::-1] == figure.axes[1].get_lines()[0].get_ydata().tolist()
    saved(figure, tmp_path)
    saved(curve_figures.plot_bottleneck_comparison(curves, {"sRRR-2": 0.3}), tmp_path)


def test_authors_stand_beside_here_with_the_same_limits(curves, tmp_path):
    penalties = curves.query("bottleneck_dim == 2 and schedule == 'paper'")
    theirs = {
        "penalties": penalties.assign(r2_test=penalties["r2_test"] + 0.3),
        "bottlenecks": curves.assign(r2_test=curves["r2_test"] + 0.3).query("group_lasso == 0.1"),
        "references": {"sRRR-2": 0.5},
    }
    ours = {"penalties": penalties, "bottlenecks": curves.query("group_lasso == 0.1"), "references": {"sRRR-2": 0.3}}
    norms = pd.DataFrame({"group_lasso": np.repeat([1e-4, 0.1], 40), "norm": np.random.default_rng(0).random(80)})
    for figure in (
        curve_figures.plot_training_curves(penalties, norms, ours["references"], authors=theirs),
        curve_figures.plot_bottleneck_comparison(ours["bottlenecks"], ours["references"], authors=theirs),
    ):
        here, authors = figure.axes[:2]
        assert here.get_ylim() == authors.get_ylim() and "batches of 32 cells" in authors.get_xlabel()
        assert authors.get_lines()[0].get_ydata()[-1] == pytest.approx(here.get_lines()[0].get_ydata()[-1] + 0.3)
        saved(figure, tmp_path)
    both = {"scala_2020": theirs, "gouwens_2020": theirs}
    figure = curve_figures.plot_published_curves(both, {"scala_2020": ours})
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert titles == ["scala_2020\nauthors", "scala_2020\nhere", "gouwens_2020\nauthors"]
    saved(figure, tmp_path)


def points_of(axis, color, filled=True):
    """Heights and values of the markers of a colour."""
    lines = [line for line in axis.get_lines() if line.get_marker() in ("o", "D") and line.get_color() == color]
    lines = [line for line in lines if (line.get_markerfacecolor() == color) == filled]
    return dict(zip(np.concatenate([line.get_ydata() for line in lines]).round(1).tolist(),
                    np.concatenate([line.get_xdata() for line in lines]).tolist(), strict=True))  # fmt: skip


def test_feature_scores_are_rows_of_all_models_sorted_by_the_first(tmp_path):
    """All features together come first; class means and authors stand in the same rows."""
    models = {"sBNN-2": (0.2, 0.6, 0.4), "sBNN-64": (0.3, 0.5, 0.45), "family mean": (0.1, 0.7, 0.3)}
    rows = [
        (m, fold, f, r2) for m, values in models.items() for f, r2 in zip("abc", values, strict=True) for fold in (0, 1)
    ]
    scores = pd.DataFrame(rows, columns=["model", "fold", "feature", "r2_test"])
    authors = pd.DataFrame({"model": "sBNN-2", "feature": ["c", "a"], "r2_test": [0.9, 0.8], "r2_test_sd": 0.1})
    pooled = {"sBNN-2": 0.5, "sBNN-64": 0.55, "family mean": 0.42}
    figure = plotting.plot_feature_scores(scores, pooled, authors)
    axis = figure.axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["all features", "b", "c", "a"]
    heights = dict(zip(names, axis.get_yticks(), strict=True))
    for model, expected in (
        ("sBNN-2", [0.5, 0.6, 0.4, 0.2]), ("sBNN-64", [0.55, 0.5, 0.45, 0.3]), ("family mean", [0.42, 0.7, 0.3, 0.1]),
    ):  # fmt: skip
        found = points_of(axis, style.MODEL_STYLES[model].color)
        for name, value in zip(names, expected, strict=True):
            near = [x for height, x in found.items() if abs(height - heights[name]) < 0.45]
            assert near == pytest.approx([value])
    hollow = points_of(axis, style.MODEL_STYLES["sBNN-2"].color, filled=False)
    assert sorted(hollow.values()) == [0.8, 0.9] and min(hollow) > heights["b"] + 0.5
    assert heights["b"] - heights["all features"] > heights["c"] - heights["b"]  # the first row stands apart
    saved(figure, tmp_path)


def test_scores_below_the_axis_are_written():
    scores = pd.DataFrame({"model": "sBNN-2", "fold": 0, "feature": ["a", "b"], "r2_test": [0.5, -3.0]})
    texts = [text.get_text() for text in plotting.plot_feature_scores(scores, {"sBNN-2": 0.3}).axes[0].texts]
    assert texts == ["◂ −3.0"]


@pytest.mark.parametrize("n_features", [3, 16, 55])
def test_figures_of_many_features_have_a_row_for_each(n_features, tmp_path):
    figure = plotting.plot_feature_scores(figure_cases.feature_scores(n_features=n_features), {"sBNN-2": 0.4})
    assert len(figure.axes[0].get_yticks()) == n_features + 1
    assert figure.get_size_inches()[1] < 12
    saved(figure, tmp_path)


def test_legends_without_families_have_no_headings():
    cells = pd.DataFrame({"cell_type": ["B", "NK", "B"], "cell_family": ["B", "NK", "B"], "type_color": "#112233"})
    texts = [text.get_text() for text in maps.plot_type_legend(cells).axes[0].texts]
    assert texts == ["B (2)", "NK (1)"]


def test_variable_genes_and_distributions(small, tmp_path):
    data, _ = small
    chosen = find_variable_genes(data.counts, 20)
    figure = plotting.plot_variable_genes(gene_statistics(data.counts), *chosen, labels={3: "gene03"}, title="t")
    assert "selected (20)" in [text.get_text() for text in figure.legends[0].get_texts()]
    saved(figure, tmp_path)
    before = pd.DataFrame(data.features, columns=data.feature_names)
    after = pd.DataFrame(data.Y, columns=data.feature_names)
    unit = {data.feature_names[1]: "mV"}
    figure = plotting.plot_feature_distributions(before, after, unit)
    for axis, values in zip(figure.axes, [*data.features.T, *data.Y.T], strict=True):
        assert sum(bar.get_height() for bar in axis.patches) == np.isfinite(values).sum()
    titles = [axis.get_title().replace("\n", " ") for axis in figure.axes]
    assert titles == [f"{name} (mV)" if name in unit else name for name in data.feature_names] + [*data.feature_names]
    saved(figure, tmp_path)


def test_gene_frequencies_and_linear_path(tmp_path):
    figure = plotting.plot_gene_frequencies({"sBNN-2": pd.Series([3, 3, 1]), "sBNN-64": pd.Series([2, 1])})
    assert [bar.get_height() for bar in figure.axes[0].patches][:3] == [1, 0, 2]
    saved(figure, tmp_path)
    scores = pd.DataFrame({
        "model": "sRRR-2", "alpha": [0.1, 0.2] * 4, "relaxed": [False, False, True, True] * 2,
        "fold": np.repeat([0, 1], 4), "n_selected": [40, 20] * 4, "r2_test": np.linspace(0.2, 0.4, 8),
    })  # fmt: skip
    saved(plotting.plot_linear_path(scores, {"sRRR-2": 0.2}), tmp_path)


def points_in(axis):
    """Places and colours of the cells that are drawn as points."""
    (points,) = [one for one in axis.collections if isinstance(one, PathCollection)]
    return np.asarray(points.get_offsets()), points.get_facecolors()


def test_maps_show_every_cell_at_its_place_in_the_colour_of_its_type(small, cells, tmp_path):
    data, truth = small
    figure = maps.plot_embeddings({"a": truth.coordinates, "b": 2 * truth.coordinates}, cells)
    for factor, axis in zip((1, 2), figure.axes, strict=True):
        places, colors = points_in(axis)
        np.testing.assert_allclose(places, factor * truth.coordinates, atol=1e-5 * np.abs(places).max())
        np.testing.assert_array_equal(colors, to_rgba_array(cells["type_color"]))
        (low, high), (bottom, top) = axis.get_xlim(), axis.get_ylim()
        assert (places > [low, bottom]).all() and (places < [high, top]).all()
        named = [text.get_text() for text in axis.texts if text.get_gid() == "cluster label"]
        assert sorted(named) == sorted(set(data.cell_families))
    saved(figure, tmp_path)
    saved(maps.plot_type_legend(cells), tmp_path)


def test_a_map_stands_between_its_genes_and_its_features(small, cells, tmp_path):
    data, truth = small
    genes = pd.DataFrame(data.X[:, :9], columns=data.gene_names[:9])
    features = pd.DataFrame(data.Y, columns=data.feature_names)
    panel = {"title": "map", "coordinates": truth.coordinates, "genes": genes, "features": features}
    figure = maps.plot_latent_space([panel, {**panel, "gene_limit": 1}], cells)
    overlays = [axis for axis in figure.axes if axis.get_title()]
    titles = [axis.get_title().replace("\n", " ") for axis in overlays]
    assert titles == 2 * [*data.gene_names[:9], *data.feature_names]
    limits = [one.levels.max() for axis in overlays for one in axis.collections]
    assert limits == [2] * 9 + [2] * 6 + [1] * 9 + [2] * 6
    left = np.array([axis.get_position().x0 for axis in overlays])
    (first, second) = [axis for axis in figure.axes if any(text.get_gid() == "cluster label" for text in axis.texts)]
    middle = first.get_position()
    is_gene = np.isin(titles, data.gene_names)
    assert (left[is_gene] < middle.x0).all() and (left[~is_gene] > middle.x1).all()
    assert second.get_position().y1 < middle.y0
    saved(figure, tmp_path)
    figure = maps.plot_overview(panel, cells)
    titles = [axis.get_title().replace("\n", " ") for axis in figure.axes if axis.get_title()]
    assert titles == [*data.gene_names[:6], *data.feature_names[:6]]
    saved(figure, tmp_path)


def test_runs_are_drawn_turned_onto_the_first(small, cells, tmp_path):
    _, truth = small
    turned = [truth.coordinates @ [[0, seed + 1], [-seed - 1, 0]] + seed for seed in range(9)]
    tables = [pd.DataFrame(Z, columns=["z1", "z2"]).assign(random_state=seed) for seed, Z in enumerate(turned)]
    figure = maps.plot_seeds(pd.concat(tables), cells, {"sBNN-2": pd.Series([9, 2, 1])})
    runs = [axis for axis in figure.axes if axis.get_title().startswith("seed")]
    assert [axis.get_title() for axis in runs] == [f"seed {seed}" for seed in range(9)]
    expected = turned[0] - turned[0].mean(axis=0)
    for axis in runs:
        np.testing.assert_allclose(points_in(axis)[0], expected, atol=1e-5 * np.abs(expected).max())
    saved(figure, tmp_path)


@pytest.mark.parametrize("what", ["one place", "a line", "two cells"])
def test_maps_without_a_triangle_are_drawn_as_points(small, cells, what, tmp_path):
    data, truth = small
    n_cells = 2 if what == "two cells" else data.n_cells
    coordinates = truth.coordinates[:n_cells] * {"one place": [0, 0], "a line": [1, 0], "two cells": [1, 1]}[what] + 3
    genes, features = pd.DataFrame(data.X[:n_cells, :9]), pd.DataFrame(data.Y[:n_cells])
    panel = {"title": "map", "coordinates": coordinates, "genes": genes, "features": features}
    figure = maps.plot_latent_space([panel], cells[:n_cells])
    overlays = [axis for axis in figure.axes if axis.get_title()]
    for axis, values in zip(overlays, [*genes.to_numpy().T, *features.to_numpy().T], strict=True):
        np.testing.assert_allclose(points_in(axis)[0], coordinates, atol=1e-4)
        np.testing.assert_allclose(axis.collections[0].get_array(), values, atol=1e-4)
    saved(figure, tmp_path)
    saved(maps.plot_overview(panel, cells[:n_cells]), tmp_path)
    latents = pd.concat([pd.DataFrame(coordinates, columns=["z1", "z2"]).assign(random_state=seed) for seed in (0, 1)])
    saved(maps.plot_seeds(latents, cells[:n_cells], {"sBNN-2": pd.Series([2, 1])}), tmp_path)


def test_cells_without_a_place_are_refused(small, cells):
    data, truth = small
    coordinates = truth.coordinates.copy()
    coordinates[[3, 5], 1] = np.nan
    message = f"2 of {data.n_cells} cells have NaN or infinite coordinates, the first in row 3, and cannot be drawn"
    with pytest.raises(ValueError, match=message):
        maps.plot_embeddings({"a": coordinates}, cells)
    with pytest.raises(ValueError, match=message):
        maps.masked_triangulation(coordinates)
    with pytest.raises(ValueError, match=r"must have shape \(n_cells, 2\), got \(.*, 3\)"):
        maps.masked_triangulation(np.ones((20, 3)))
    with pytest.raises(ValueError, match="coordinates holds 2 NaN or infinite value"):
        maps.align(coordinates, truth.coordinates)


def test_names_with_dollars_are_not_formulas(small, cells, tmp_path):
    """Of families, genes and features: in maps, on axes and in legends; the last is no valid formula."""
    data, truth = small
    names = ["a$b$", "$x^2$", r"$\nothing{$"]
    families = dict(zip(sorted(set(cells["cell_family"])), names, strict=False))
    cells = cells.assign(cell_family=cells["cell_family"].replace(families))
    genes, features = pd.DataFrame(data.X[:, :3], columns=names), pd.DataFrame(data.Y[:, :3], columns=names)
    panel = {"title": names[0], "coordinates": truth.coordinates, "genes": genes, "features": features}
    scores = pd.DataFrame({"model": "sBNN-2", "fold": 0, "feature": names, "r2_test": [0.5, 0.4, 0.3]})
    latents = pd.DataFrame(truth.coordinates, columns=["z1", "z2"]).assign(random_state=0)
    for figure in (
        maps.plot_latent_space([panel], cells),
        maps.plot_seeds(latents, cells, {"sBNN-2": pd.Series([2, 1])}),
        plotting.plot_feature_scores(scores, {"sBNN-2": 0.3}),
    ):
        saved(figure, tmp_path)
        texts = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert len(texts) >= 2 and not any(text.get_parse_math() for text in texts)


def test_numbers_of_genes_are_ticks_and_the_two_that_matter_are_marked():
    result = figure_cases.gene_number()
    figure = figure_cases.plot_gene_number(result)
    table = result.summary.set_index("n_selected")
    above, below = figure.axes
    for axis, column in ((above, "r2_mean"), (below, "nogueira")):
        line = max(axis.get_lines(), key=lambda line: len(line.get_xdata()))
        np.testing.assert_allclose(line.get_xydata(), table[[column]].reset_index().to_numpy())
        assert axis.get_xscale() == "log" and list(axis.get_xticks()) == list(table.index)
    (band,) = above.collections
    corners = band.get_paths()[0].vertices
    error = table["r2_se"].iloc[0]
    assert corners[:, 1].min() == pytest.approx(table["r2_mean"].min() - error)
    assert corners[:, 1].max() == pytest.approx(table["r2_mean"].max() + error)
    points = {line.get_xdata()[0] for line in above.get_lines() if len(line.get_xdata()) == 1}
    assert points == {25, 100}
    texts = {text.get_text(): text for text in above.texts}
    assert set(texts) == {"best − SE", "best: 100", "recommended: 25"}
    assert texts["best − SE"].xy[1] == pytest.approx(table["r2_mean"][100] - error)
    assert "mean ± SE over 10 folds" in " ".join(text.get_text() for text in figure.texts)
    names = [text.get_text() for text in below.get_xticklabels()]
    assert "25" in names and "100" in names
    # Two numbers that are too close for two names: the recommended one has its name.
    close = figure_cases.plot_gene_number(figure_cases.gene_number(25, (24, 25, 100)))
    assert [text.get_text() for text in close.axes[1].get_xticklabels()] == ["", "25", "100"]
    assert "best and recommended: 25" in {text.get_text() for text in close.axes[0].texts}


def test_linear_paths_have_the_networks_beside_them():
    figure = plotting.plot_linear_path(figure_cases.linear_scores(), {"sRRR-2": 0.2}, figure_cases.networks())
    axis = figure.axes[0]
    for name, mean in {"sBNN-2": 0.51, "sBNN-64": 0.59}.items():
        color = style.MODEL_STYLES[name].color
        (point,) = [line for line in axis.get_lines() if line.get_color() == color and line.get_marker() == "D"]
        assert point.get_ydata() == pytest.approx([mean]) and point.get_xdata() == pytest.approx([25], rel=0.1)
    start = axis.get_ylim()[0]
    assert f"axis starts at {start:.2f}" in axis.get_ylabel()


def test_r2_axes_start_at_the_contest_and_say_so(curves):
    """Curves that begin at zero do not stretch the axis; what ends below it is written beside its name."""
    part = curves.query("bottleneck_dim == 2 and schedule == 'paper'").copy()
    part["r2_test"] = 0.5 + part["r2_test"] / 10
    part.loc[part["epoch"] == 1, "r2_test"] = 0
    axis = curve_figures.plot_training_curves(part, figure_cases.norms()).axes[0]
    assert 0.4 < axis.get_ylim()[0] < 0.55 and f"axis starts at {axis.get_ylim()[0]:.2f}" in axis.get_ylabel()
    part.loc[part["group_lasso"] == 0.1, "r2_test"] -= 1
    axis = curve_figures.plot_training_curves(part, figure_cases.norms()).axes[0]
    assert "penalty 0.1 (−0.44)" in [text.get_text() for text in axis.texts]


def test_double_biplot_shows_cells_and_the_longest_arrows_of_both_sides(small, cells, tmp_path):
    data, truth = small
    places = np.hstack([truth.coordinates, -truth.coordinates])
    biplot = pd.DataFrame(places, columns=["x1", "x2", "y1", "y2"])
    genes = pd.DataFrame({"name": data.gene_names[:30], "r1": np.linspace(-1, 1, 30), "r2": 0.1})
    features = pd.DataFrame({"name": data.feature_names, "r1": 0.2, "r2": np.linspace(-0.9, 0.9, data.n_features)})
    figure = maps.plot_double_biplot(biplot, genes, features, cells, n_arrows=8)
    longest = genes["name"][genes["r1"].abs().nlargest(8).index]
    sides = (
        (figure.axes[0], places[:, :2], genes, longest),
        (figure.axes[1], places[:, 2:], features, data.feature_names),
    )
    for axis, expected, arrows, names in sides:
        np.testing.assert_allclose(points_in(axis)[0], expected, atol=1e-5 * np.abs(expected).max())
        named = [text.get_text().strip() for text in axis.texts if text.get_gid() == "arrow label"]
        assert sorted(named) == sorted(names)
        (circle,) = [patch for patch in axis.patches if isinstance(patch, Circle)]
        tips = [one.xy for one in axis.texts if isinstance(one, Annotation)]
        correlations = arrows.set_index("name").loc[named, ["r1", "r2"]].to_numpy()
        np.testing.assert_allclose(tips, circle.radius * correlations, atol=1e-6)
    saved(figure, tmp_path)


def test_labels_are_pushed_apart_and_no_further():
    heights = np.array([0.0, 0.1, 0.2, 5.0])
    pushed = labels.push_apart(heights, 0.5)
    assert (np.diff(pushed) >= 0.5 - 1e-12).all()
    np.testing.assert_array_equal(labels.push_apart(pushed, 0.5), pushed)
    kept_in = labels.push_apart(np.array([0.0, 0.1, 0.2, 0.3]), 0.5, 0, 2)
    assert (np.diff(kept_in) >= 0.5 - 1e-12).all() and kept_in.min() >= 0 and kept_in.max() <= 2


def test_boxes_are_spread_within_their_limits():
    """From one place, and from a corner."""
    sizes = np.tile([20.0, 8.0], (12, 1))
    for anchors in (np.full((12, 2), 50.0), np.zeros((12, 2))):
        places = labels.spread_boxes(anchors, sizes, np.array([100.0, 100.0]))
        apart = np.abs(places[:, None] - places[None])
        overlap = (apart < sizes[0] - 1e-6).all(axis=2)
        assert overlap.sum() == 12  # each with itself
        assert (places >= sizes / 2).all() and (places <= 100 - sizes / 2).all()
    apart = np.array([[20.0, 20.0], [80.0, 80.0]])
    np.testing.assert_array_equal(labels.spread_boxes(apart, sizes[:2], np.array([100.0, 100.0])), apart)


def test_clusters_are_named_where_they_are_dense():
    """The median of two islands lies in the sea between them."""
    random = np.random.default_rng(0)
    islands = np.vstack([random.normal(size=(60, 2)), random.normal(size=(50, 2)) + 100])
    assert np.linalg.norm(labels.place_of_cluster(islands)) < 2


@pytest.mark.parametrize("n_cells", [90, 1200])
def test_triangles_over_gaps_are_masked_and_continents_have_no_holes(n_cells):
    """Two squares as far apart as they are wide, with few cells (the paper masks one triangle) and with many."""
    random = np.random.default_rng(n_cells)
    squares = random.random((n_cells, 2))
    inside = (np.abs(squares - 0.5) < 0.35).all(axis=1)
    island = np.arange(n_cells) % 2
    squares[:, 0] += 2 * island
    triangulation = maps.masked_triangulation(squares, n_longest=round(20 * n_cells / 1213))
    of_island = island[triangulation.triangles]
    bridges = (of_island != of_island[:, :1]).any(axis=1)
    within = inside[triangulation.triangles].all(axis=1) & ~bridges
    assert bridges.sum() > 5 and triangulation.mask[bridges].all()
    assert within.sum() > n_cells / 2 and not triangulation.mask[within].any()


def test_the_longest_triangles_are_masked():
    random = np.random.default_rng(0)
    islands = np.vstack([random.normal(size=(50, 2)), random.normal(size=(50, 2)) + 100])
    triangulation = maps.masked_triangulation(islands, n_longest=30)
    assert triangulation.mask.sum() >= 30
    corners = islands[triangulation.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    assert triangulation.mask[np.argsort(-longest)[:30]].all()


def test_alignment_undoes_turning_mirroring_and_scaling():
    points = np.random.default_rng(0).normal(size=(60, 2))
    turned = 5 * points @ np.array([[0.6, 0.8], [0.8, -0.6]]) + 3
    np.testing.assert_allclose(maps.align(turned, points), points - points.mean(0), atol=1e-9)


def test_penalties_are_written_as_people_do():
    assert [plotting.penalty_label(value) for value in (1e-4, 0.01, 0.1, 1.0, 0.03)] == [
        "10⁻⁴", "10⁻²", "0.1", "1", "0.03",
    ]  # fmt: skip


def test_embedding_is_reproducible_and_small_data_are_embedded():
    values = np.random.default_rng(0).normal(size=(40, 8))
    np.testing.assert_array_equal(tsne(values), tsne(values))
    components = principal_components(values, 0.8)
    assert 1 < components.shape[1] < 8
    assert components.var(0).sum() / values.var(0).sum() >= 0.8


def test_single_precision_is_aligned_in_double():
    """Means in single precision differ between processors in digits that are drawn."""
    points, other = np.random.default_rng(0).normal(size=(2, 500, 2)).astype(np.float32)
    expected = maps.align(points.astype(np.float64), other.astype(np.float64))
    np.testing.assert_array_equal(maps.align(points, other), expected)
    norms = pd.DataFrame({"group_lasso": 0.1, "norm": np.linspace(0.01, 1, 40, dtype=np.float32)})
    curves = pd.DataFrame({"group_lasso": 0.1, "fold": 0, "stage": "pruned", "epoch": range(1, 5), "r2_test": 0.3})
    figure = curve_figures.plot_training_curves(curves, norms)
    drawn = [line.get_ydata() for axis in figure.axes for line in axis.get_lines() if len(line.get_ydata()) == 40]
    assert len(drawn) == 1 and drawn[0].dtype == np.float64


def test_long_words_of_names_are_hyphenated():
    assert wrapped("Afterhyperpolarization", 13) == "Afterhyper-\npolarization"
    assert wrapped("Max number of APs", 13) == "Max number of\nAPs"
    assert wrapped("Upstroke-to-downstroke ratio", 13).splitlines() == ["Upstroke-to-", "downstroke", "ratio"]
    assert wrapped("aeiouaeiouaeiouaeiouaeiou", 13).splitlines() == ["aeiouaeiouae-", "iouaeiouaeiou"]
    assert wrapped("Gm49948", 13) == "Gm49948"
