"""Figure of an ensemble: where on the map its networks disagree about a cell's place and features."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from sbnn.figures.drawing import bare_map, draw_cells, masked_triangulation, name_overlay, places_of
from sbnn.figures.style import FULL_WIDTH, MUTED, axes_at, freeze, panel_title, wrapped

#: Little to much disagreement; not the colours of z-scores, and without those that are hardly seen on white.
CMAP = ListedColormap(plt.get_cmap("YlGnBu")(np.linspace(0.2, 1, 256)), name="disagreement")
_LEFTS, _LARGE, _SMALL = (0.06, 2.4, 4.78), 2.2, 0.71  # inches
_NAME_WIDTH = 13


def plot_disagreement(panel: Mapping[str, Any], cells: pd.DataFrame) -> Figure:
    """Draw the map of an ensemble, how certain the place of each cell is, and how certain its features are.

    Its message: which parts of the map, and which predictions, do not depend on the seed.

    Parameters
    ----------
    panel : dict
        `coordinates` (n_cells, 2); `spread` (n_cells,), from `transform_spread`, in the units of the coordinates;
        `feature_spread` (DataFrame, the first nine columns are drawn), from `predict_spread`, in SDs of the features;
        `n_longest` triangles that are always masked.
    cells : DataFrame
        `cell_family`, and `family_color` or `type_color`.

    Returns
    -------
    Figure
    """
    Z = np.asarray(panel["coordinates"])
    spread = np.asarray(panel["spread"]) / np.sqrt(Z.var(axis=0).sum())
    features = panel["feature_spread"].iloc[:, :9]
    n_lines = max(wrapped(name, _NAME_WIDTH).count("\n") + 1 for name in features.columns)
    row = 0.65 + 0.1 * n_lines
    figure = plt.figure(figsize=(FULL_WIDTH, 0.24 + 3 * row + 0.4), layout="none")
    titles = "the map", "how uncertain a place is", "how uncertain a prediction is"
    for letter, left, title in zip("abc", _LEFTS, titles, strict=True):
        panel_title(figure, left, 0.16, letter, title)
    top, height = 0.24, 3 * row - 0.05
    size = 4 if len(cells) > 600 else 8
    draw_cells(axes_at(figure, _LEFTS[0], top, _LARGE, height), Z, cells, size=size, color_by="family")
    axis = axes_at(figure, _LEFTS[1], top, _LARGE, height)
    limit = float(np.quantile(spread, 0.98))
    order = np.argsort(spread, kind="stable")  # uncertain cells on top
    places = places_of(Z)[order]
    look: dict[str, Any] = {"cmap": CMAP, "vmin": 0, "vmax": limit, "linewidths": 0, "rasterized": True}
    dots = axis.scatter(places[:, 0], places[:, 1], c=spread[order], s=size, **look)
    bare_map(axis, Z)
    _draw_scale(figure, dots, _LEFTS[1] + _LARGE / 2 - 0.45, top + height + 0.06, limit, "distance / size of the map")
    triangulation = masked_triangulation(Z, panel.get("n_longest", 20))
    limit = float(np.quantile(features.to_numpy(), 0.98))
    step = (_LARGE - _SMALL) / 2
    for number, name in enumerate(features.columns):
        line, column = divmod(number, 3)
        place = top + line * row + 0.1 * n_lines + 0.02
        axis = axes_at(figure, _LEFTS[2] + column * step, place, _SMALL, 0.6)
        values = features[name].clip(0, limit)
        drawn = axis.tricontourf(triangulation, values, levels=np.linspace(0, limit, 13), cmap=CMAP)
        drawn.set_rasterized(True)
        bare_map(axis, Z)
        name_overlay(axis, name, "normal", _NAME_WIDTH)
    _draw_scale(figure, drawn, _LEFTS[2] + _LARGE / 2 - 0.45, top + height + 0.06, limit, "SD over networks (z-score)")
    return freeze(figure)


def _draw_scale(figure, drawn, left, top, limit, label):
    """Draw a horizontal colour bar from 0 to the limit."""
    axis = axes_at(figure, left, top, 0.9, 0.06)
    bar = figure.colorbar(drawn, cax=axis, orientation="horizontal")
    bar.set_ticks([0, limit], labels=["0", f"{limit:.2g}"])
    bar.outline.set_visible(False)
    axis.tick_params(labelsize=6, length=1.5, pad=1.5)
    axis.set_xlabel(label, fontsize=6, labelpad=1, color=MUTED)
