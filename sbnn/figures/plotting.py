"""Figures of genes and features; every function takes tables and returns a Figure.

Scores are in `sbnn.figures.scores`, training curves in `sbnn.figures.curves`, pictures of cells in `sbnn.figures.maps`.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sbnn.data.variable_genes import variable_gene_curve
from sbnn.figures.gene_labels import shown_genes
from sbnn.figures.labels import spread_boxes, text_size
from sbnn.figures.scores import plot_feature_scores, plot_linear_path
from sbnn.figures.style import (
    FULL_WIDTH,
    HIGHLIGHT,
    OUTLINE,
    PALE,
    axes_at,
    freeze,
    model_styles,
    panel_title,
    penalty_label,
    use_style,
    wrapped,
)

__all__ = [
    "draw_gene_frequencies",
    "penalty_label",
    "plot_feature_distributions",
    "plot_feature_scores",
    "plot_gene_frequencies",
    "plot_linear_path",
    "plot_variable_genes",
    "use_style",
    "wrapped",
]


def plot_gene_frequencies(frequencies: Mapping[str, pd.Series]) -> Figure:
    """Figure 5, histogram: how many genes were selected in how many runs.

    Its message: on how many genes all runs agree, and how many occur only once.

    Parameters
    ----------
    frequencies : dict
        Name -> Series of `comparison.gene_frequencies`.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(3.4, 2.75), layout="none")
    draw_gene_frequencies(axes_at(figure, 0.5, 0.45, 2.8, 1.85), frequencies)
    return freeze(figure)


def draw_gene_frequencies(axis: Axes, frequencies: Mapping[str, pd.Series]) -> None:
    """Draw how many genes were selected in how many runs, with the legend above the axes.

    Parameters
    ----------
    axis : Axes
    frequencies : dict
        Name -> Series of `comparison.gene_frequencies`.
    """
    most = max(series.max() for series in frequencies.values())
    runs = np.arange(1, most + 1)
    width = 0.84 / len(frequencies)
    styles = model_styles(frequencies)
    for index, (name, series) in enumerate(frequencies.items()):
        number = [int((series == run).sum()) for run in runs]
        place = runs + (index - (len(frequencies) - 1) / 2) * width
        bars = axis.bar(place, number, width, color=styles[name].color, label=f"{name} ({len(series)} genes in all)")
        axis.bar_label(bars, labels=[str(n) if n else "" for n in number], fontsize=6, padding=1, path_effects=OUTLINE)
    axis.set(xlabel="runs in which a gene was selected", ylabel="number of genes", xticks=runs)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(y=0.1)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.01), handlelength=1)


def plot_variable_genes(
    statistics: pd.DataFrame,
    selected: npt.ArrayLike,
    offset: float,
    decay: float = 1.5,
    labels: Mapping[int, str] | None = None,
    title: str | None = None,
) -> Figure:
    """Figure 7: zero rate against mean expression, with the curve that separates variable genes.

    Its message: the selected genes are strongly expressed in some cells and absent in others.

    Parameters
    ----------
    statistics : DataFrame
        `zero_rate`, `mean_log` of every gene (`preprocessing.gene_statistics`).
    selected : bool array
    offset, decay : float
        The curve.
    labels : dict, optional
        Row -> name, of the genes to label.
    title : str, optional

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(3.5, 3.1), layout="none")
    axis = axes_at(figure, 0.5, 0.45, 2.9, 2.2)
    selected = np.asarray(selected, dtype=bool)
    for mask, color, what in ((~selected, PALE, "not selected"), (selected, HIGHLIGHT, "selected")):
        n_shown = int((mask & statistics["zero_rate"].notna()).sum())
        points = statistics.loc[mask, ["mean_log", "zero_rate"]]
        look: dict[str, Any] = {"color": color, "markersize": 1.6, "markeredgewidth": 0, "rasterized": True}
        axis.plot(*points.to_numpy().T, ".", **look, label=f"{what} ({n_shown})")
    high = float(np.nanmax(statistics["mean_log"])) + 0.3
    low = float(np.nanmin(statistics["mean_log"])) - 0.3
    grid = np.linspace(low, high, 500)
    curve = variable_gene_curve(grid, offset, decay)
    axis.plot(grid[curve <= 1.02], curve[curve <= 1.02], "k-", linewidth=0.9, label="threshold")
    axis.set(xlim=(low, high), ylim=(-0.02, 1.02), xlabel="mean log₂ count where detected")
    axis.set_ylabel("fraction of cells without the gene")
    _name_points(axis, statistics, dict(zip(labels, shown_genes(labels.values()), strict=True)) if labels else {})
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.57, 0.935)}
    figure.legend(**place, ncols=3, markerscale=4, columnspacing=1, handlelength=1.2)
    figure.text(0.57, 0.945, title or "", ha="center", va="bottom")
    return freeze(figure)


def _name_points(axis, statistics, labels):
    """Write names of genes to the upper right of their points, without overlap."""
    if not labels:
        return
    points = statistics.loc[list(labels), ["mean_log", "zero_rate"]].to_numpy(dtype=float)
    limits = np.array([axis.get_xlim(), axis.get_ylim()])
    box = axis.get_position().size * axis.figure.get_size_inches() * 72
    anchors = (points - limits[:, 0]) / (limits[:, 1] - limits[:, 0]) * box
    sizes = np.array([text_size(name, 6.5, style="italic") for name in labels.values()])
    places = spread_boxes(anchors + np.column_stack([sizes[:, 0] / 2 + 6, np.full(len(sizes), 7.0)]), sizes, box)
    for name, point, shift in zip(labels.values(), points, (places - anchors).round(3), strict=True):
        axis.plot(*point, "o", color="black", markersize=2.2, mew=0, zorder=4)
        axis.annotate(
            name, point, shift, textcoords="offset points", fontsize=6.5, style="italic", ha="center", va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1}, path_effects=OUTLINE,
            zorder=5,
        )  # fmt: skip


def plot_feature_distributions(
    before: pd.DataFrame, after: pd.DataFrame, units: Mapping[str, str | None] | None = None
) -> Figure:
    """Plot distributions of all features before and after transformation and z-scoring.

    Its message: what the network predicts is nearly symmetric, with few outliers.

    Parameters
    ----------
    before : DataFrame
        Features as measured, one column per feature.
    after : DataFrame
        The same, transformed and z-scored.
    units : dict, optional
        Feature -> unit of `before`.

    Returns
    -------
    Figure
    """
    n_columns = 8 if before.shape[1] <= 32 else 11
    row, step = 0.84, (FULL_WIDTH - 0.06) / n_columns
    block = 0.24 + row * -(-before.shape[1] // n_columns)
    figure = plt.figure(figsize=(FULL_WIDTH, 2 * block), layout="none")
    parts = (
        ("a", "cells by feature, as measured", before, "0.62"),
        ("b", "as modelled, z-scores (what lies beyond ±4 is counted there)", after, "0.3"),
    )
    for part, (letter, title, table, color) in enumerate(parts):
        panel_title(figure, 0.06, part * block + 0.16, letter, title)
        for index, feature in enumerate(before.columns):
            line, column = divmod(index, n_columns)
            top = part * block + 0.24 + row * line + 0.23
            axis = axes_at(figure, 0.09 + step * column, top, step - 0.15, row - 0.42)
            values = table[feature].dropna()
            bins: int | list[float] = 30
            if letter == "b":
                values, bins = values.clip(-4, 4), np.linspace(-4, 4, 31).tolist()
            axis.hist(values, bins=bins, color=color)
            axis.set(yticks=[])
            axis.spines["left"].set_visible(False)
            axis.xaxis.set_major_locator(MaxNLocator(2 if n_columns > 8 else 3, min_n_ticks=2))
            axis.tick_params(labelsize=6, pad=1.5)
            unit = (units or {}).get(feature) if letter == "a" else None
            axis.set_title(wrapped(feature + (f" ({unit})" if unit else ""), 112 // n_columns), fontsize=6, pad=2)
            if letter == "b":
                axis.set(xlim=(-4, 4), xticks=[-3, 0, 3])
    return freeze(figure)
