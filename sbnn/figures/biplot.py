"""Figure 8: the double biplot of sparse reduced-rank regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sbnn.data.paired_data import PairedData
from sbnn.figures.drawing import draw_bare_cells, family_handles
from sbnn.figures.gene_labels import shown_genes
from sbnn.figures.labels import axes_size, push_apart
from sbnn.figures.style import FULL_WIDTH, MUTED, OUTLINE, axes_at, family_colors, freeze, panel_title

if TYPE_CHECKING:
    from sbnn.models.reduced_rank import ReducedRankRegressor


_REACH = np.array([5.2, 4.69])  # range of the components that is drawn at least, in SDs to each side
_RADIUS = 2.6  # of the circle of correlation 1, in SDs
_SIZE = 6.2  # of names
_AXES = (3.05, 3.05 * 4.69 / 5.2)  # in inches


def biplot_tables(model: ReducedRankRegressor, data: PairedData) -> dict[str, pd.DataFrame]:
    """Return the tables for a double biplot: cells placed by genes and by features, and correlations.

    Parameters
    ----------
    model : ReducedRankRegressor
        Fitted, with at least two components.
    data : PairedData
        The cells to draw.

    Returns
    -------
    dict of DataFrames
        `biplot`: `x1`, `x2` (X W) and `y1`, `y2` (Y V), each divided by its SD; `gene_arrows`, `feature_arrows`:
        `name`, `r1`, `r2`, correlations of selected genes (features) with the two axes of their side.
    """
    sides = {
        "x": (np.asarray(model.transform(data.X))[:, :2], data.X[:, model.selected_], data.gene_names[model.selected_]),
        "y": ((data.Y - model.y_mean_) @ model.V_[:, :2], data.Y, data.feature_names),
    }
    biplot, arrows = pd.DataFrame(), {}
    for side, (components, values, names) in sides.items():
        components = (components - components.mean(axis=0)) / components.std(axis=0)
        biplot[[f"{side}1", f"{side}2"]] = components.astype(np.float32)
        correlations = np.corrcoef(components.T, values.T)[:2, 2:]
        arrows[side] = pd.DataFrame({"name": names, "r1": correlations[0], "r2": correlations[1]})
    return {"biplot": biplot, "gene_arrows": arrows["x"], "feature_arrows": arrows["y"]}


def plot_double_biplot(
    biplot: pd.DataFrame,
    gene_arrows: pd.DataFrame,
    feature_arrows: pd.DataFrame,
    cells: pd.DataFrame,
    n_arrows: int = 20,
) -> Figure:
    """Figure 8: cells as seen from genes (X W) and from features (Y V), with correlations as arrows.

    Its message: both sides order the cells alike, and which genes go with which features.

    Parameters
    ----------
    biplot : DataFrame
        `x1`, `x2`, `y1`, `y2`: components of each cell, divided by their SD.
    gene_arrows, feature_arrows : DataFrame
        `name`, `r1`, `r2`: correlations with the two axes of their side.
    cells : DataFrame
        `cell_family`, and `family_color` or `type_color`.
    n_arrows : int
        How many genes and features to draw, those with the longest arrows.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(FULL_WIDTH, 0.95 + _AXES[1]), layout="none")
    colors = cells["cell_family"].map(family_colors(cells)).to_numpy()
    gene_arrows = gene_arrows.assign(name=shown_genes(gene_arrows["name"]))
    sides = (
        ("a", "cells from their genes, X W", ["x1", "x2"], gene_arrows, "italic"),
        ("b", "cells from their features, Y V", ["y1", "y2"], feature_arrows, "normal"),
    )
    for number, (letter, title, columns, arrows, style) in enumerate(sides):
        left = 3.56 * number
        panel_title(figure, left + 0.06, 0.16, letter, title)
        axis = axes_at(figure, left + 0.42, 0.28, *_AXES)
        draw_bare_cells(axis, biplot[columns].to_numpy(), colors, size=3)
        reach = _REACH * max(1, 1.03 * np.abs(biplot[columns].to_numpy()).max() / _REACH[1])
        _draw_axes(axis, reach)
        longest = np.argsort(-np.hypot(arrows["r1"], arrows["r2"]).round(6), kind="stable")[:n_arrows]
        _draw_arrows(axis, arrows.iloc[longest], style, reach[1])
    handles = family_handles(cells)
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), columnspacing=1, handletextpad=0.1)
    return freeze(figure)


def _draw_axes(axis, reach):
    """Name the components, and draw the circle of correlation 1."""
    axis.set_aspect("equal", adjustable="box")
    axis.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axis.set(xlabel="component 1 (SD)", ylabel="component 2 (SD)")
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(True)
    for line in (axis.axhline, axis.axvline):
        line(0, color="0.85", linewidth=0.5, zorder=0)
    axis.add_patch(plt.Circle((0, 0), _RADIUS, fill=False, color="0.4", linewidth=0.6))
    corner = {"transform": axis.transAxes, "ha": "right", "va": "bottom"}
    axis.text(1, 0.015, "circle: correlation 1", fontsize=6, color=MUTED, **corner)


def _draw_arrows(axis, arrows, style, reach):
    """Draw arrows to the correlations, with their names in two columns next to the circle."""
    tips = arrows[["r1", "r2"]].to_numpy(dtype=float) * _RADIUS
    for tip, place, name in zip(tips, _label_places(axis, tips, reach), arrows["name"], strict=True):
        axis.annotate(
            "", tip, (0, 0), zorder=3,
            arrowprops={"arrowstyle": "-|>,head_width=0.13,head_length=0.3", "color": "0.15", "linewidth": 0.6,
                        "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        axis.plot([tip[0], place[0]], [tip[1], place[1]], color="0.55", linewidth=0.4, zorder=2)
        axis.text(
            *place,
            f" {name} ",
            fontsize=_SIZE,
            style=style,
            va="center_baseline",
            ha="left" if place[0] > 0 else "right",
            path_effects=OUTLINE,
            zorder=4,
            gid="arrow label",
        )


def _label_places(axis, tips, reach):
    """Positions just outside the circle, left and right, with space for all names and without overlap."""
    gap = 1.25 * _SIZE / axes_size(axis)[1] * 2 * reach
    order = np.argsort(tips[:, 0].round(6), kind="stable")
    sides = np.ones(len(tips))
    most = int(2 * (reach - 0.2) / gap)  # names that a side holds
    n_left = int(np.clip((tips[:, 0] < 0).sum(), len(tips) - most, most))
    sides[order[:n_left]] = -1
    places = np.array(tips, dtype=float)
    for side in (-1, 1):
        rows = np.flatnonzero(sides == side)
        if not len(rows):
            continue
        directions = tips[rows] / np.maximum(np.linalg.norm(tips[rows], axis=1, keepdims=True), 1e-9)
        rows = rows[np.argsort(directions[:, 1].round(6), kind="stable")]
        heights = np.sort(directions[:, 1].round(6)) * 1.1 * _RADIUS
        heights = push_apart(heights, gap, -reach + 0.2, reach - 0.2)
        places[rows, 1] = heights
        places[rows, 0] = side * (np.sqrt(np.maximum((1.12 * _RADIUS) ** 2 - heights**2, 0.25)))
    return places.round(4)
