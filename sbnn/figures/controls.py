"""The figure of matched controls: selected genes beside as many random genes of the same expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sbnn.figures.drawing import steady
from sbnn.figures.labels import text_size
from sbnn.figures.style import FULL_WIDTH, MUTED, axes_at, freeze, model_styles, panel_title, text_at
from sbnn.validation.transfer import ALL_FEATURES

if TYPE_CHECKING:
    from sbnn.validation.controls import MatchedControls

_CONTROLS, _DARK = "#d0d0d0", "#7a7a7a"  # distribution of the control sets, and its mean
_ROW, _TOP, _LEFT = 0.165, 0.36, 2.05  # inches: height of a feature, where panels begin, width of the left panels
_LEAST_HEIGHT, _HISTOGRAM, _SQUARE = 2.62, 0.92, 0.82  # of panel c, a, and the two of b
_RATE = 0.05
_COORDINATES = {"mean_log": "mean log₂\nexpression", "detection": "detection\nrate"}


def plot_matched_controls(controls: MatchedControls) -> Figure:
    """Draw R2 of the selected genes among those of control sets: all features together, and one by one.

    Its message: whether the selection is better than chance among genes of the same expression, and for which features.

    Parameters
    ----------
    controls : MatchedControls
        From `sbnn.matched_controls`.

    Returns
    -------
    Figure
        a: all features, histogram of the control sets. b: how well controls match; a point for each selected gene, mean
        and 95 % of its controls over sets and folds. c: each feature, in the order of R2; bars hold 95 % of the control
        sets, with their mean; the percentile of the selected genes is written in bold where q < 0.05.
    """
    color = model_styles([controls.model])[controls.model].color
    table = controls.summary.drop(ALL_FEATURES).sort_values("r2", ascending=False, kind="stable")
    names = max(text_size(name, 6.5)[0] for name in table.index) / 72
    height = max(_ROW * len(table), _LEAST_HEIGHT)
    figure = plt.figure(figsize=(FULL_WIDTH, _TOP + height + 0.72), layout="none")
    panel_title(figure, 0.06, 0.17, "a", "all features together")
    _draw_pooled(axes_at(figure, 0.42, _TOP, _LEFT - 0.42, _HISTOGRAM), controls, color)
    top = _TOP + _LEAST_HEIGHT - _SQUARE
    panel_title(figure, 0.06, top - 0.14, "b", "controls match the selected genes")
    for number, name in enumerate(_COORDINATES):
        _draw_match(axes_at(figure, 0.42 + 0.93 * number, top, 0.7, _SQUARE), controls, name, number)
    start = _LEFT + 0.45 + names
    panel_title(figure, _LEFT + 0.32, 0.17, "c", "feature by feature")
    axis = axes_at(figure, start, _TOP, FULL_WIDTH - start - 0.55, height)
    _draw_features(axis, table, color)
    text_at(figure, FULL_WIDTH - 0.06, _TOP - 0.05, "percentile", fontsize=6, color=MUTED, ha="right", va="bottom")
    n_genes = len(controls.pairs) / (controls.n_sets * controls.scores["fold"].nunique())
    handles = [
        Line2D([], [], linestyle="", marker="o", color=color, markersize=3.6, markeredgewidth=0,
               label=f"{controls.model} from the {n_genes:.3g} selected genes"),
        Patch(color=_CONTROLS, label=f"from matched controls, {controls.n_sets} set{'s' * (controls.n_sets > 1)}"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 0.0), handletextpad=0.4)
    return freeze(figure)


def _draw_pooled(axis: Axes, controls: MatchedControls, color: str) -> None:
    """Draw the histogram of the control sets, and the selected genes as a line."""
    means = controls.scores.groupby("set")["r2_test"].agg(lambda values: values.mean(skipna=False))
    values, own = steady(means.loc[1:].dropna().to_numpy()), controls.summary.loc[ALL_FEATURES]
    ends = [*values, own["r2"]]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    margin = 0.06 * max(high - low, 0.01)
    if len(values):
        reach = values.min() - 0.3 * margin, values.max() + 0.3 * margin
        axis.hist(values, bins=max(4, min(20, len(values) // 5)), range=reach, color=_CONTROLS)
        axis.axvline(own["control_mean"], ymax=0.7, color=_DARK, linewidth=0.8)
    axis.axvline(own["r2"], color=color, linewidth=1.4)
    axis.set(xlim=(low - margin, high + margin), xlabel="test R², mean over folds", ylabel="control sets")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.set_ylim(0, 1.42 * max(axis.get_ylim()[1], 1))  # room for the words above the bars
    note: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 6.5, "va": "top"}
    left = own["r2"] > (low + high) / 2
    words = f"percentile {own['percentile']:.3g}\ndifference {own['difference']:+.3f}".replace("-", "−")
    axis.annotate(words, (0, 1) if left else (1, 1), (3 if left else -3, 0), ha="left" if left else "right", **note)


def _draw_match(axis: Axes, controls: MatchedControls, name: str, number: int) -> None:
    """Draw controls against their genes in one coordinate, with the line on which they are equal."""
    groups = controls.pairs.groupby("gene", sort=False)
    own, other = groups[name].mean(), groups[f"control_{name}"]
    low, high = (steady(other.quantile(tail).to_numpy()) for tail in (0.025, 0.975))
    places = steady(own.to_numpy())
    axis.vlines(places, low, high, color=_CONTROLS, linewidth=0.9)
    axis.plot(places, steady(other.mean().to_numpy()), "o", color=_DARK, markersize=1.8, markeredgewidth=0)
    ends = min(low.min(), places.min()), max(high.max(), places.max())
    margin = 0.06 * max(ends[1] - ends[0], 0.01)
    limits = ends[0] - margin, ends[1] + margin
    axis.axline((limits[0], limits[0]), slope=1, color="0.4", linewidth=0.5, zorder=0)
    axis.set(xlim=limits, ylim=limits)
    ticks = MaxNLocator(3, steps=[1, 2, 2.5, 4, 5, 10]).tick_values(*limits)
    ticks = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
    axis.set(xticks=ticks, yticks=ticks)
    axis.tick_params(labelsize=6)
    axis.set_xlabel(_COORDINATES[name], fontsize=6.5)
    if number == 0:
        axis.set_ylabel("of controls", fontsize=6.5)


def _draw_features(axis: Axes, table: pd.DataFrame, color: str) -> None:
    """Draw a row for each feature: the control sets as a bar with their mean, the selected genes as a point."""
    rows = np.arange(len(table))
    low, high = (steady(table[name].to_numpy()) for name in ("control_low", "control_high"))
    axis.barh(rows, high - low, left=low, height=0.56, color=_CONTROLS)
    axis.vlines(steady(table["control_mean"].to_numpy()), rows - 0.28, rows + 0.28, color=_DARK, linewidth=1.0)
    axis.plot(steady(table["r2"].to_numpy()), rows, "o", color=color, markersize=3.6, markeredgewidth=0, zorder=3)
    axis.set(ylim=(len(table) - 0.4, -0.6), xlabel="test R², mean over folds")
    axis.set_yticks(rows, table.index)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    low_end, high_end = axis.get_xlim()
    if low_end < 0 < high_end:
        axis.axvline(0, color="0.5", linewidth=0.6, zorder=0)
    for place in rows[::2]:
        axis.axhspan(place - 0.5, place + 0.5, color="0.965", linewidth=0, zorder=-1)
    for row, percentile, q in zip(rows, table["percentile"], table["q"], strict=True):
        axis.annotate(
            "–" if np.isnan(percentile) else f"{percentile:.3g}", (1, row), (27, 0), ha="right", va="center_baseline",
            xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=6.5,
            fontweight="bold" if q < _RATE else "normal",
        )  # fmt: skip
