"""Names in figures: genes without their assembly, classes where there is room, cells of unknown type grey."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from sbnn.data.cell_labels import PLAIN_COLOR
from sbnn.figures import maps
from sbnn.figures.drawing import draw_cells
from sbnn.figures.gene_labels import genome_prefix, shown_genes, with_shown_names
from sbnn.figures.labels import label_clusters
from sbnn.figures.style import axes_at, use_style


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


@pytest.mark.parametrize("prefix", ["hg19_", "GRCh38_", "mm10_", "mm10___", "GRCm39_", "GRCh38-2020-A_", "Mmul_10_"])
def test_an_assembly_that_all_genes_have_is_not_shown(prefix):
    names = np.array([f"{prefix}CD3E", f"{prefix}HLA-A", f"{prefix}MT-CO1"])
    assert genome_prefix(names) == prefix
    assert shown_genes(names) == ["CD3E", "HLA-A", "MT-CO1"]
    assert names[0] == f"{prefix}CD3E"


@pytest.mark.parametrize("names", [
    ["hg19_CD3E", "mm10_Cd3e"], ["hg19_CD3E", "CD4"], ["hg19_", "hg19_CD4"], ["Gm10_a", "Gm10_b"], ["CD3E"], [],
    ["gene_1", "gene_2"], ["H2-Aa", "H2-Ab1"], ["HIST1_A", "HIST1_B"], ["mm10", "mm10"],
])  # fmt: skip
def test_other_names_are_shown_whole(names):
    assert genome_prefix(names) == "" and shown_genes(names) == names


def test_all_genes_decide_not_only_those_shown():
    """Of a mixture of two species the nine that are shown may be of one."""
    shown = ["hg19_CD3E", "hg19_CD4"]
    assert shown_genes(shown, [*shown, "mm10_Cd4"]) == shown
    assert shown_genes(shown, [*shown, "hg19_CD8A"]) == ["CD3E", "CD4"]
    assert shown_genes(["hg19_CD3E 90%"], ["hg19_CD3E"]) == ["CD3E 90%"]


def test_figures_show_genes_without_the_assembly_and_tables_keep_it():
    random = np.random.default_rng(0)
    genes = pd.DataFrame(random.normal(size=(40, 3)), columns=["hg19_CD3E", "hg19_CD4", "hg19_CD8A"])
    features = pd.DataFrame(random.normal(size=(40, 2)), columns=["hg19_a", "hg19_b"])  # no genes
    panel = {"title": "map", "coordinates": random.normal(size=(40, 2)), "genes": genes, "features": features}
    cells = pd.DataFrame({"type_color": "#000000", "cell_family": ["a"] * 40})
    for figure in (maps.plot_latent_space([panel], cells), maps.plot_overview(panel, cells)):
        titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
        assert titles[:3] == ["CD3E", "CD4", "CD8A"] and titles[3:] == ["hg19_a", "hg19_b"]
    assert list(genes.columns) == ["hg19_CD3E", "hg19_CD4", "hg19_CD8A"]
    assert list(with_shown_names(genes).columns) == ["CD3E", "CD4", "CD8A"]


def clusters_of(n_clusters, random, size=10):
    """Clusters of growing size, all over the map."""
    return {
        f"a long family {n:02}": random.normal(size=(size + n, 2)) + 8 * random.random(2) for n in range(n_clusters)
    }


def boxes_of(axis):
    axis.figure.draw_without_rendering()
    texts = [text for text in axis.texts if text.get_gid() == "cluster label"]
    return {text.get_text(): Text.get_window_extent(text) for text in texts}


@pytest.mark.parametrize("n_clusters", [3, 12, 40, 90])
def test_names_of_any_number_of_clusters_are_apart(n_clusters):
    """Where there is no room, the smallest have none."""
    axes = []
    for _ in range(2):
        random = np.random.default_rng(n_clusters)
        axis = axes_at(plt.figure(figsize=(2.3, 2.3), layout="none"), 0, 0, 2.3, 2.3)
        axis.set(xlim=(-4, 12), ylim=(-4, 12))
        clusters = clusters_of(n_clusters, random)
        named = label_clusters(axis, clusters)
        axes.append(axis)
        assert len(named) == len(boxes_of(axis))
    boxes = list(boxes_of(axes[0]).values())
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            assert min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)) < 1.5  # pixels
    assert all(axes[0].bbox.x0 - 1 <= b.x0 and b.x1 <= axes[0].bbox.x1 + 1 for b in boxes)
    assert set(boxes_of(axes[0])) == set(list(clusters)[n_clusters - len(boxes) :])  # the largest
    assert len(boxes) == n_clusters if n_clusters == 3 else 3 < len(boxes) <= n_clusters
    shown = [{name: box.bounds for name, box in boxes_of(axis).items()} for axis in axes]
    assert shown[0] == shown[1]


def test_one_name_that_is_wider_than_the_axes_stays():
    axis = axes_at(plt.figure(figsize=(1, 0.3), layout="none"), 0, 0, 0.5, 0.2)
    assert len(label_clusters(axis, {"a name that is wider than the axes": np.zeros((20, 2))})) == 1


def test_cells_of_unknown_type_are_not_named():
    random = np.random.default_rng(0)
    cells = pd.DataFrame({"type_color": "#BBBBBB", "cell_family": np.repeat(["unknown", "Pvalb", ""], 10)})
    axis = axes_at(plt.figure(figsize=(2, 2), layout="none"), 0, 0, 2, 2)
    draw_cells(axis, random.normal(size=(30, 2)), cells)
    assert set(boxes_of(axis)) == {"Pvalb"}


def test_cells_of_data_without_types_are_grey():
    red, green, blue = (int(PLAIN_COLOR[start : start + 2], 16) for start in (1, 3, 5))
    assert red == green == blue
