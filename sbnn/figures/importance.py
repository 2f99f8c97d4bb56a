"""The figure of importance: for which feature a model needs which gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.cluster.hierarchy import leaves_list, linkage

from sbnn._checks import check_whole
from sbnn.figures.drawing import steady
from sbnn.figures.gene_labels import cut_names, shown_genes
from sbnn.figures.labels import text_size
from sbnn.figures.style import FULL_WIDTH, MUTED, axes_at, freeze, panel_title, text_at
from sbnn.validation.transfer import ALL_FEATURES

if TYPE_CHECKING:
    from sbnn.validation.importance import GeneImportance

#: Rows whose q is lower are marked.
_RATE = 0.05
_CMAP = "Blues"
_ROW, _WIDEST, _NARROWEST = 0.15, 0.23, 0.088  # height and width of a cell of the heat map, in inches
_TOP, _GAP, _BARS, _FOLDS = 0.62, 0.14, 1.15, 0.36
_TITLE = 2.5  # inches from the left that the title and the colour bar take


def plot_gene_importance(importance: GeneImportance, n_genes: int = 25) -> Figure:
    """Draw the drop in R2 of every feature when a gene is permuted, and that of all features together.

    Its message: which genes the model reads for which feature. A dot marks drops with q below 0.05. Genes with the
    largest total come first; similar features are next to each other (average linkage of their profiles over genes).
    Drops below zero have the colour of zero.

    Parameters
    ----------
    importance : GeneImportance
        From `sbnn.gene_importance`.
    n_genes : int
        How many genes are drawn; of the features, no more than fit on a page are, those with the largest drops.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        `n_genes` is not a whole number of at least 1.
    """
    check_whole(n_genes, "n_genes")
    total = importance.total[:n_genes]
    names = importance.scores.set_index("feature")["r2_test"].drop(ALL_FEATURES)
    genes = cut_names(shown_genes(total["gene"], importance.total["gene"]))
    left = 0.12 + max(text_size(gene, 6.5, style="italic")[0] for gene in genes) / 72
    room = FULL_WIDTH - left - _GAP - _BARS - _FOLDS
    drops, q = (_by_feature(importance.table, total["gene"], value) for value in ("importance", "q"))
    drops = _similar_together(_largest(drops, int(room / _NARROWEST)))
    shown = zip(cut_names(drops), drops, strict=True)
    labels = [f"{cut} ({names[feature]:.2f})".replace("(-", "(−") for cut, feature in shown]
    width = min(_WIDEST, room / drops.shape[1]) * drops.shape[1]
    start, height = max(left + width, _TITLE) + _GAP, _ROW * len(drops)
    below = max(0.32 + max(text_size(label, 6)[0] for label in labels) / 72, 0.68)
    size = (start + _BARS + _FOLDS, _TOP + height + below)
    figure = plt.figure(figsize=size, layout="none")
    axis = axes_at(figure, left, _TOP, width, height)
    mesh = _draw_drops(axis, drops, q[drops.columns])
    axis.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=90, fontsize=6)
    axis.set_yticks(np.arange(len(drops)) + 0.5, genes, style="italic", fontsize=6.5)
    text_at(figure, 0.08, size[1] - 0.1, f"features, with R² of {importance.model} on held-out cells", va="baseline")
    panel_title(figure, 0.06, 0.17, "a", "drop in R² when a gene is permuted")
    _draw_scale(figure, mesh, left)
    _draw_totals(axes_at(figure, start, _TOP, _BARS, height), total, importance)
    panel_title(figure, start, 0.17, "b", "all features")
    if importance.n_folds > 1:
        place = start + _BARS + 14 / 72, _TOP - 0.03
        text_at(figure, *place, f"of {importance.n_folds}\nfolds", fontsize=6, color=MUTED, ha="center", va="bottom")
    return freeze(figure)


def _by_feature(table, genes, value):
    """Genes x features, in the order of the genes and of the table."""
    return table.pivot_table(value, "gene", "feature", sort=False, dropna=False).loc[list(genes)]


def _largest(drops, n_features):
    """As many features as fit, those with the largest drops, in their order."""
    most = drops.max().sort_values(ascending=False, kind="stable").index[:n_features]
    return drops[[feature for feature in drops if feature in set(most)]]


def _similar_together(drops):
    """Features in the order of the leaves of their dendrogram; profiles are compared whatever their size."""
    if drops.shape[1] < 3:
        return drops
    profiles = np.nan_to_num(drops.to_numpy().T)
    lengths = np.linalg.norm(profiles, axis=1, keepdims=True)
    profiles = steady(profiles / np.where(lengths > 0, lengths, 1))
    return drops.iloc[:, leaves_list(linkage(profiles, "average", optimal_ordering=True))]


def _draw_drops(axis, drops, q):
    """Draw the heat map, and a dot where q is low; return the mesh."""
    values = steady(drops.to_numpy())
    norm = Normalize(0, max(np.nanmax(values, initial=0), 1e-3))
    mesh = axis.pcolormesh(values, cmap=_CMAP, norm=norm, edgecolors="white", linewidth=0.4)
    rows, columns = np.nonzero(q.to_numpy() < _RATE)
    dark = norm(values[rows, columns]) > 0.55
    for there, color in ((~dark, "0.15"), (dark, "white")):
        axis.plot(columns[there] + 0.5, rows[there] + 0.5, "o", color=color, markersize=1.7, markeredgewidth=0)
    axis.invert_yaxis()
    axis.tick_params(length=0, pad=2)
    axis.spines[:].set_visible(False)
    return mesh


def _draw_scale(figure, mesh, left):
    """Draw the colour bar above the heat map, and what a dot means to the right of it."""
    axis = axes_at(figure, left, 0.27, 1.0, 0.07)
    bar = figure.colorbar(mesh, cax=axis, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.locator, bar.formatter = MaxNLocator(3), FuncFormatter(_short)
    bar.update_ticks()
    axis.tick_params(labelsize=6, length=1.5, pad=1.5)
    dot = Line2D([], [], linestyle="", marker="o", color="0.15", markersize=2.2, markeredgewidth=0)
    width, height = figure.get_size_inches()
    place = {"loc": "center left", "bbox_to_anchor": ((left + 1.1) / width, 1 - 0.31 / height)}
    figure.legend([dot], [f"q < {_RATE:g}"], **place, fontsize=6, handletextpad=0, handlelength=1.2)


def _draw_totals(axis, total, importance):
    """Draw the drop in R2 of all features with its interval, and how many folds select the gene."""
    rows = np.arange(len(total)) + 0.5
    axis.barh(rows, steady(total["importance"]), height=0.66, color="0.72")
    axis.hlines(rows, steady(total["low"]), steady(total["high"]), color="0.15", linewidth=0.8)
    axis.axvline(0, color="0.4", linewidth=0.6)
    axis.set(ylim=(len(total), 0), yticks=[])
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_locator(MaxNLocator(3))
    axis.xaxis.set_major_formatter(FuncFormatter(_short))
    axis.set_xlabel(f"drop in R², {100 * importance.level:g} % interval\nover {importance.n_units} {importance.unit}s")
    if importance.n_folds > 1:
        for row, frequency in zip(rows, total["frequency"], strict=True):
            axis.annotate(
                f"{round(frequency * importance.n_folds)}", (1, row), (14, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", fontsize=6, color=MUTED, va="center_baseline", ha="center",
            )  # fmt: skip


def _short(value, _):
    """Label of a tick without superfluous zeros."""
    return f"{round(value, 10):g}".replace("-", "−")
