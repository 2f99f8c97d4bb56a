"""The figure of importance shows every number of its tables where it belongs."""

from dataclasses import replace

import figure_cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_rgba

from sbnn.figures.importance import plot_gene_importance


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def panels(figure):
    """The heat map with names of genes and features, and the axes of totals."""
    drops, totals = figure.axes[0], figure.axes[2]
    genes = [text.get_text() for text in drops.get_yticklabels()]
    features = [text.get_text().rsplit(" (", 1)[0] for text in drops.get_xticklabels()]
    return drops, totals, genes, features


def test_colours_are_drops_and_dots_low_q_values():
    found = figure_cases.importance()
    drops, _, genes, features = panels(plot_gene_importance(found))
    assert genes == list(found.total["gene"]) and sorted(features) == sorted(set(found.table["feature"]))
    (mesh,) = drops.findobj(QuadMesh)
    table = found.table.set_index(["gene", "feature"])
    expected = [[table.loc[(gene, feature), "importance"] for feature in features] for gene in genes]
    np.testing.assert_allclose(np.ma.getdata(mesh.get_array()).reshape(len(genes), -1), expected, atol=1e-6)
    assert mesh.norm.vmin == 0 and mesh.norm.vmax == pytest.approx(np.max(expected), abs=1e-6)
    np.testing.assert_array_equal(mesh.to_rgba(-0.1), mesh.to_rgba(0))
    dots = {(genes[int(y)], features[int(x)]) for line in drops.lines for x, y in line.get_xydata()}
    assert dots == set(table.index[table["q"] < 0.05]) and 0 < len(dots) < len(table)
    for line in drops.lines:  # a dot is seen on its colour
        for x, y in line.get_xydata():
            background = np.mean(mesh.to_rgba(expected[int(y)][int(x)])[:3])
            assert abs(np.mean(to_rgba(line.get_color())[:3]) - background) > 0.25


def test_features_have_their_r2_and_similar_ones_are_neighbours():
    found = figure_cases.importance(6, 4)
    profiles = {"feature 0": [1, 0, 0], "feature 1": [0, 1, 0.1], "feature 2": [2, 0.1, 0], "feature 3": [0, 3, 0]}
    values = np.array([profiles[feature] for feature in found.table["feature"][:4]])
    found.table["importance"] = np.vstack([values.T, values.T]).ravel()
    drops, _, _, features = panels(plot_gene_importance(found))
    order = {feature: place for place, feature in enumerate(features)}
    assert abs(order["feature 0"] - order["feature 2"]) == abs(order["feature 1"] - order["feature 3"]) == 1
    scores = found.scores.set_index("feature")["r2_test"]
    for text in drops.get_xticklabels():
        feature, score = text.get_text()[:-1].split(" (")
        assert score == f"{scores[feature]:.2f}".replace("-", "−")


def test_bars_are_totals_with_their_intervals_and_folds():
    found = figure_cases.importance()
    _, totals, _, _ = panels(plot_gene_importance(found))
    np.testing.assert_allclose([bar.get_width() for bar in totals.patches], found.total["importance"], atol=1e-6)
    (lines,) = totals.findobj(LineCollection)
    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, found.total[["low", "high"]], atol=1e-6)
    rows = [bar.get_y() + bar.get_height() / 2 for bar in totals.patches]
    np.testing.assert_allclose(rows, np.arange(8) + 0.5)
    assert totals.get_ylim() == (8, 0) == tuple(panels(totals.figure)[0].get_ylim())
    folds = [text.get_text() for text in totals.texts]
    assert folds == [str(round(10 * frequency)) for frequency in found.total["frequency"]]
    assert "95 %" in totals.get_xlabel() and "40 donors" in totals.get_xlabel()


def test_the_largest_are_drawn_where_not_all_fit():
    found = figure_cases.importance(40, 70)
    figure = plot_gene_importance(found, n_genes=10)
    _, totals, genes, features = panels(figure)
    assert genes == list(found.total["gene"][:10]) and len(totals.patches) == 10
    most = found.table[found.table["gene"].isin(genes)].groupby("feature")["importance"].max()
    assert 40 < len(features) < 70 and set(features) == set(most.nlargest(len(features)).index)


def test_names_of_a_hundred_characters_are_cut():
    found = figure_cases.importance()
    long = {gene: f"{gene}_{'x' * 100}" for gene in found.total["gene"]}
    tables = {
        name: getattr(found, name).assign(gene=getattr(found, name)["gene"].map(long)) for name in ("total", "table")
    }
    genes = panels(plot_gene_importance(replace(found, **tables)))[2]
    assert genes == [f"{name[:29]}…" for name in tables["total"]["gene"]]


def test_a_number_of_genes_that_is_none_is_refused():
    for wrong, message in ((0, "n_genes must be at least 1"), (2.5, "n_genes must be a whole number")):
        with pytest.raises(ValueError, match=message):
            plot_gene_importance(figure_cases.importance(), n_genes=wrong)
