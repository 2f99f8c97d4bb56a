"""The figure of the README: from genes to a map to physiology."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from sbnn.figures.drawing import draw_cells, draw_contours, draw_z_scale, masked_triangulation, name_overlay
from sbnn.figures.gene_labels import with_shown_names
from sbnn.figures.style import FULL_WIDTH, MUTED, axes_at, freeze, text_at

_HEIGHT = 3.7
_MAP, _SIDE, _SMALL = 2.9, 1.6, 0.77  # widths in inches: the map, the overlays of one side, one overlay
_TOP, _ROW = 0.62, 0.98


def plot_overview(panel: Mapping[str, Any], cells: pd.DataFrame) -> Figure:
    """Draw the figure of the README: genes, the map that is made from them, and the physiology that it predicts.

    Its message: a network goes from genes to a map of the cells to their physiology, and was never told of families.

    Parameters
    ----------
    panel : dict
        `title` of the map; `coordinates` (n_cells, 2); `genes` and `features` (DataFrames of z-scores, the first six
        columns are drawn); `n_longest` triangles that are always masked; `n_genes` that the map is made from.
    cells : DataFrame
        `cell_family`, and `family_color` or `type_color`.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(FULL_WIDTH, _HEIGHT), layout="none")
    sentence = f"From genes to a map to physiology: a sparse bottleneck network lays out {len(cells)} neurons"
    text_at(figure, FULL_WIDTH / 2, 0.2, sentence, fontsize=9, fontweight="bold", ha="center", va="baseline")
    triangulation = masked_triangulation(panel["coordinates"], panel.get("n_longest", 20))
    left, right = 0.08, FULL_WIDTH - 0.08 - _SIDE
    for start, values, style in (
        (left, with_shown_names(panel["genes"]), "italic"),
        (right, panel["features"], "normal"),
    ):
        for number, name in enumerate(values.columns[:6]):
            row, column = divmod(number, 2)
            place = (start + column * (_SIDE - _SMALL), _TOP + 0.12 + row * _ROW)
            axis = axes_at(figure, *place, _SMALL, _ROW - 0.16)
            draw_contours(axis, triangulation, values[name], 2)
            name_overlay(axis, name, style)
    centre = (FULL_WIDTH - _MAP) / 2
    axis = axes_at(figure, centre, _TOP + 0.02, _MAP, _HEIGHT - _TOP - 0.42)
    draw_cells(axis, panel["coordinates"], cells, size=7 if len(cells) > 600 else 12, label_size=7.5, color_by="family")
    heads = ((left + _SIDE / 2, f"{panel['n_genes']} genes" if "n_genes" in panel else "genes"),
             (FULL_WIDTH / 2, panel["title"]), (right + _SIDE / 2, "electrophysiology"))  # fmt: skip
    for middle, text in heads:
        text_at(figure, middle, 0.47, text, fontsize=8, fontweight="bold", ha="center", va="baseline")
    for start, end in ((left + _SIDE + 0.06, centre - 0.02), (centre + _MAP + 0.02, right - 0.06)):
        _draw_arrow(figure, start, end, _TOP + 1.5 * _ROW)
    scale = axes_at(figure, FULL_WIDTH / 2 - 0.5, _HEIGHT - 0.32, 1.0, 0.06)
    draw_z_scale(scale, 2, "z-score of genes and features over the map")
    return freeze(figure)


def _draw_arrow(figure, start, end, top):
    """Draw a thin arrow from one part to the next."""
    height = 1 - top / _HEIGHT
    ends = [(place / FULL_WIDTH, height) for place in (start, end)]
    style = {"arrowstyle": "-|>,head_width=2.2,head_length=4", "linewidth": 1, "color": MUTED}
    figure.add_artist(FancyArrowPatch(*ends, transform=figure.transFigure, shrinkA=0, shrinkB=0, **style))
