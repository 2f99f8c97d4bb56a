import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sbnn import curves as curve_figures
from sbnn import maps, plotting
from sbnn.embedding import principal_components, tsne
from sbnn.preprocessing import find_variable_genes, gene_statistics


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


def test_feature_scores_of_the_authors_are_points_on_our_bars(tmp_path):
    features = ["a", "b"]
    scores = pd.DataFrame({"model": "m", "fold": [0, 0, 1, 1], "feature": features * 2, "r2_test": [0.1, 0.6] * 2})
    authors = pd.DataFrame({"model": "m", "feature": features[::-1], "r2_test": [0.7, 0.2], "r2_test_sd": 0.1})
    figure = plotting.plot_feature_scores(scores, {"m": 0.4}, authors)
    points = next(line for line in figure.axes[0].get_lines() if line.get_marker() == "o")
    assert points.get_xdata().tolist() == [0.2, 0.7]  # in the order of the bars
    saved(figure, tmp_path)


def test_legends_without_families_have_no_headings():
    cells = pd.DataFrame({"cell_type": ["B", "NK", "B"], "cell_family": ["B", "NK", "B"], "type_color": "#112233"})
    texts = [text.get_text() for text in maps.plot_type_legend(cells).axes[0].texts]
    assert texts == ["B (2)", "NK (1)"]


@pytest.mark.parametrize("n_features", [3, 16, 55])
def test_feature_scores_are_sorted(n_features, tmp_path):
    table = pd.DataFrame({
        "model": "sBNN-2", "fold": np.repeat([0, 1], n_features),
        "feature": [f"feature {i}" for i in range(n_features)] * 2,
        "r2_test": np.random.default_rng(0).random(2 * n_features),
    })  # fmt: skip
    figure = plotting.plot_feature_scores(table, {"sBNN-2": 0.4})
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == sorted(widths) and len(widths) == n_features
    saved(figure, tmp_path)


def test_variable_genes_and_distributions(small, tmp_path):
    data, _ = small
    chosen = find_variable_genes(data.counts, 20)
    figure = plotting.plot_variable_genes(gene_statistics(data.counts), *chosen, labels={3: "gene03"}, title="t")
    assert "selected (20)" in figure.axes[0].get_legend().get_texts()[1].get_text()
    saved(figure, tmp_path)
    before = pd.DataFrame(data.features, columns=data.feature_names)
    after = pd.DataFrame(data.Y, columns=data.feature_names)
    saved(plotting.plot_feature_distributions(before, after, {"feature 1": "mV"}), tmp_path)


def test_gene_frequencies_and_linear_path(tmp_path):
    figure = plotting.plot_gene_frequencies({"sBNN-2": pd.Series([3, 3, 1]), "sBNN-64": pd.Series([2, 1])})
    assert [bar.get_height() for bar in figure.axes[0].patches][:3] == [1, 0, 2]
    saved(figure, tmp_path)
    scores = pd.DataFrame({
        "model": "sRRR-2", "alpha": [0.1, 0.2] * 4, "relaxed": [False, False, True, True] * 2,
        "fold": np.repeat([0, 1], 4), "n_selected": [40, 20] * 4, "r2_test": np.linspace(0.2, 0.4, 8),
    })  # fmt: skip
    saved(plotting.plot_linear_path(scores, {"sRRR-2": 0.2}), tmp_path)


def test_maps_are_drawn(small, cells, tmp_path):
    data, truth = small
    genes = pd.DataFrame(data.X[:, :9], columns=data.gene_names[:9])
    features = pd.DataFrame(data.Y, columns=data.feature_names)
    panel = {"title": "map", "coordinates": truth.coordinates, "genes": genes, "features": features}
    saved(maps.plot_latent_space([panel, {**panel, "gene_limit": 1}], cells), tmp_path)
    saved(maps.plot_embeddings({"a": truth.coordinates}, cells), tmp_path)
    saved(maps.plot_type_legend(cells), tmp_path)
    saved(maps.plot_overview(panel, panel, cells, truth.coordinates), tmp_path)
    latents = pd.concat([
        pd.DataFrame(truth.coordinates, columns=["z1", "z2"]).assign(random_state=seed) for seed in range(9)
    ])  # fmt: skip
    saved(maps.plot_seeds(latents, cells, {"sBNN-2": pd.Series([9, 2, 1])}), tmp_path)


def test_double_biplot(small, cells, tmp_path):
    data, truth = small
    biplot = pd.DataFrame(np.hstack([truth.coordinates, truth.coordinates]), columns=["x1", "x2", "y1", "y2"])
    arrows = pd.DataFrame({"name": data.gene_names[:30], "r1": np.linspace(-1, 1, 30), "r2": 0.1})
    saved(maps.plot_double_biplot(biplot, arrows, arrows, cells), tmp_path)


def test_labels_are_pushed_apart_and_no_further():
    heights = np.array([0.0, 0.1, 0.2, 5.0])
    pushed = maps._push_apart(heights, 0.5)
    assert (np.diff(pushed) >= 0.5 - 1e-12).all()
    np.testing.assert_array_equal(maps._push_apart(pushed, 0.5), pushed)


def test_the_longest_triangles_are_masked():
    random = np.random.default_rng(0)
    islands = np.vstack([random.normal(size=(50, 2)), random.normal(size=(50, 2)) + 100])
    triangulation = maps.masked_triangulation(islands, n_longest=30)
    assert triangulation.mask.sum() == 30
    corners = islands[triangulation.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    assert longest[triangulation.mask].min() >= longest[~triangulation.mask].max()


def test_alignment_undoes_turning_mirroring_and_scaling():
    points = np.random.default_rng(0).normal(size=(60, 2))
    turned = 5 * points @ np.array([[0.6, 0.8], [0.8, -0.6]]) + 3
    np.testing.assert_allclose(maps.align(turned, points), points - points.mean(0), atol=1e-9)


def test_penalties_are_written_as_people_do():
    assert [plotting.penalty_label(value) for value in (1e-4, 0.01, 0.1, 1.0, 0.03)] == [
        "$10^{-4}$", "$10^{-2}$", "0.1", "1", "0.03",
    ]  # fmt: skip


def test_embedding_is_reproducible_and_small_data_are_embedded():
    values = np.random.default_rng(0).normal(size=(40, 8))
    np.testing.assert_array_equal(tsne(values), tsne(values))
    components = principal_components(values, 0.8)
    assert 1 < components.shape[1] < 8
    assert components.var(0).sum() / values.var(0).sum() >= 0.8
