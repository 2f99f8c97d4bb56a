"""The figure of the honest comparison: R2 of every model on the same held-out cells, beside the means of classes."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sbnn.figures.drawing import steady
from sbnn.figures.labels import text_size
from sbnn.figures.style import MUTED, axes_at, freeze, model_styles, text_at
from sbnn.validation.honest_comparison import split_name

_WIDTH, _ROW = 3.9, 0.185  # of the panel, and of a row, in inches
_TOP, _BOTTOM = 0.42, 0.8
_BASELINES = ("family mean", "type mean")
#: Markers of the genes that models read, in the order of the legend.
_MARKERS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "markersize": 4.6},
    {"marker": "D", "markersize": 3.6, "mfc": "white"},
    {"marker": "^", "markersize": 4.0, "mfc": "white"},
)


def plot_honest_scores(intervals: pd.DataFrame) -> Figure:
    """Plot R2 on held-out cells of all models, with intervals.

    Its message: which models predict more than the mean of a cell's class, and what fewer genes cost.

    Parameters
    ----------
    intervals : DataFrame
        From `sbnn.compare`'s companion `sbnn.validation.differences.r2_intervals`: `model`, `r2`, `low`, `high`,
        `unit`, `n_units`; models named as `sbnn.validation.honest_comparison.honest_comparison` does.

    Returns
    -------
    Figure
        A row for each model, the best above; a marker for each choice of genes; dashed lines at the means of classes.
    """
    names, genes = zip(*map(split_name, intervals["model"]), strict=True)
    table = intervals.assign(name=names, genes=genes)
    kinds = list(dict.fromkeys(table["genes"]))
    rows = table.sort_values("r2", ascending=False).drop_duplicates("name")["name"].tolist()
    colors = {name: style.color for name, style in model_styles(name.split(", ")[0] for name in rows).items()}
    colors = {name: colors[name.split(", ")[0]] for name in rows}
    left = 0.15 + max(text_size(name, 7)[0] for name in rows) / 72
    height = _ROW * len(rows)
    figure = plt.figure(figsize=(left + _WIDTH + 0.2, _TOP + height + _BOTTOM), layout="none")
    axis = axes_at(figure, left, _TOP, _WIDTH, height)
    for place, name in enumerate(rows):
        part = table[table["name"] == name]
        shifts = steady((np.arange(len(part)) - (len(part) - 1) / 2) * 0.24)
        for shift, row in zip(shifts, part.itertuples(), strict=True):
            ends = steady(np.array([row.low, row.high]))
            axis.plot(ends, [place + shift] * 2, color=colors[name], linewidth=0.8, solid_capstyle="butt")
            marker = {"mfc": colors[name], **_MARKERS[kinds.index(row.genes)]}
            axis.plot(*steady(np.array([row.r2, place + shift]))[:, None], color=colors[name], **marker)
    axis.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)), yticklabels=rows)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("R² on cells of other animals" if intervals["unit"].iloc[0] == "donor" else "R² on held-out cells")
    lines = {name: float(table.loc[table["name"] == name, "r2"].iloc[0]) for name in _BASELINES if name in rows}
    for name, found in lines.items():
        axis.axvline(steady(np.array([found]))[0], color=MUTED, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0)
        side = "right" if len(lines) > 1 and found == min(lines.values()) else "left"  # apart, however close they are
        axis.annotate(name, (found, 1), (-2 if side == "right" else 2, 3), xycoords=("data", "axes fraction"),
                      textcoords="offset points", ha=side, va="bottom", color=MUTED)  # fmt: skip
    handles = [
        Line2D([], [], color=MUTED, linestyle="", label=kind, **{"mfc": MUTED, **marker})
        for kind, marker in zip(kinds, _MARKERS, strict=False)
    ]
    figure.legend(handles=handles, loc="lower left", ncols=len(handles), frameon=False, borderaxespad=0,
                  bbox_to_anchor=(0.1 / figure.get_size_inches()[0], 0.22 / figure.get_size_inches()[1]))  # fmt: skip
    unit = {"donor": "animals", "cell": "cells"}[intervals["unit"].iloc[0]]
    words = f"bars: 95 % intervals, bootstrap over {int(intervals['n_units'].max())} {unit}"
    text_at(figure, 0.1, figure.get_size_inches()[1] - 0.08, words, color=MUTED, va="baseline")
    return freeze(figure)
