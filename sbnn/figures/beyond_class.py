"""The figure of what a map adds to the class of a cell: by feature, and by family."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sbnn._checks import preview
from sbnn.figures.drawing import steady
from sbnn.figures.labels import text_size
from sbnn.figures.style import FULL_WIDTH, MODEL_STYLES, PALE, axes_at, freeze, model_styles, panel_title, text_at
from sbnn.validation.beyond_class import BeyondClass
from sbnn.validation.class_scores import ALL_CELLS
from sbnn.validation.transfer import ALL_FEATURES

#: Rows whose q is lower are coloured.
_RATE = 0.05
_ROW, _TOP, _BOTTOM = 0.165, 0.82, 0.54  # height of a row and of what is above and below the axes, in inches
_BETWEEN, _PANELS = 0.16, 0.3  # between the axes of a panel, and between panels
_LOWEST = -0.5  # lower R2 is drawn at the edge of the axes
_FEWEST = 2  # animals without which there is no interval


def plot_beyond_class(beyond: BeyondClass, model: str | None = None) -> Figure:
    """Draw what a map adds to the mean of a cell's class, by feature and by family.

    Its message: where the map says something about a cell that its class does not, and where it does not. The largest
    gains come first. On the left of each panel R2 of class means (grey) and that of class and map together (coloured),
    on the right the difference with its interval; rows whose gain is not significant (q of 0.05 or more) are pale.

    Parameters
    ----------
    beyond : BeyondClass
        From `sbnn.beyond_class`.
    model : str, optional
        Whose map; not needed if there is one.

    Returns
    -------
    Figure
        R2 below -0.5 is drawn at the edge of its axes. Families with cells of a single animal have no interval, and are
        left out.

    Raises
    ------
    ValueError
        No map of this model, or several maps.
    """
    models = list(dict.fromkeys(beyond.gains["model"]))
    if model not in models and (model is not None or len(models) != 1):
        hint = "give the name of one" if models else "beyond_class needs coordinates of cells (latents)"
        raise ValueError(f"model must be one whose map was scored, {preview(models)}: {hint}, got {model!r}")
    model = models[0] if model is None else model
    gains = beyond.gains[beyond.gains["model"] == model]
    overall = gains[(gains["family"] == ALL_CELLS) & (gains["feature"] == ALL_FEATURES)]
    features = _sorted(gains[gains["feature"] != ALL_FEATURES], "feature")
    families = _sorted(gains[gains["family"] != ALL_CELLS], "family")
    families = families[families["n_units"] >= _FEWEST]
    tables = [pd.concat([overall.assign(name="all features"), features])]
    tables += [families.assign(name=[f"{r.family} ({r.n_cells})" for r in families.itertuples()])] * bool(len(families))
    rows = max(len(table) + 0.7 * (number == 0) for number, table in enumerate(tables))
    kind = beyond.classes.removeprefix("cell_")
    message = _message(model, kind, features, families)
    needed = min(max(4.4, text_size(message, 7.5, "bold")[0] / 72 + 0.15), FULL_WIDTH)
    size = FULL_WIDTH if len(tables) > 1 else needed, _TOP + _ROW * rows + _BOTTOM
    figure = plt.figure(figsize=size, layout="none")
    names = [max(text_size(name, 6.5, "bold")[0] for name in table["name"]) / 72 + 0.1 for table in tables]
    room = (size[0] - sum(names) - _PANELS * (len(tables) - 1) - 0.16 - _BETWEEN * len(tables)) / len(tables)
    color, left = model_styles([model])[model].color, 0.06
    for letter, table, width in zip("ab", tables, names, strict=False):
        what = "feature" if letter == "a" else "family (number of cells)"
        panel_title(figure, left, 0.7, letter, f"by {what}")
        _draw_panel(figure, table, left + width, room, color, beyond, first_apart=letter == "a")
        left += width + room + _BETWEEN + _PANELS
    _write_message(figure, message, kind, color)
    return freeze(figure)


def _sorted(table, name):
    """Rows with the largest gain first, and their names."""
    table = table.assign(name=table[name], order=-steady(table["gain"]))
    return table.sort_values("order", kind="stable", na_position="last")


def _draw_panel(figure, table, left, room, color, beyond, first_apart):
    """Draw R2 of class, and of class and map, with names of rows; beside it gains with their intervals."""
    places = np.arange(len(table)) + 0.5 + (np.arange(len(table)) > 0) * 0.7 * first_apart
    height = _ROW * (places[-1] + 0.5)
    scores = axes_at(figure, left, _TOP, 0.5 * room, height)
    gains = axes_at(figure, left + 0.5 * room + _BETWEEN, _TOP, 0.5 * room, height)
    found = (table["q"] < _RATE).to_numpy()
    for axis in (scores, gains):
        axis.set_ylim(places[-1] + 0.5, 0)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        for place in places[first_apart::2]:
            axis.axhspan(place - 0.5, place + 0.5, color="0.96", linewidth=0, zorder=0)
        axis.xaxis.set_major_formatter(FuncFormatter(_short))
    _draw_scores(scores, table, places, found, color)
    _draw_gains(gains, table, places, found, color)
    scores.set_yticks(places, table["name"], fontsize=6.5)
    if first_apart:
        scores.get_yticklabels()[0].set_fontweight("bold")
    for text, coloured in zip(scores.get_yticklabels(), found, strict=True):
        text.set_color("black" if coloured else "0.5")
    gains.set_yticks([])
    scores.set_xlabel("R² of held-out cells")
    over = f"{beyond.n_units} {beyond.unit}s" if first_apart else f"the {beyond.unit}s of each"
    gains.set_xlabel(f"gain, {100 * beyond.level:g} % interval\nover {over}")


def _draw_scores(axis, table, places, found, color):
    """Draw an arrow-like line from R2 of the class mean to that of class and map."""
    grey = MODEL_STYLES["family mean"].color
    before, after = (np.maximum(steady(table[name]), _LOWEST) for name in ("r2_class", "r2_both"))
    for coloured in (False, True):
        chosen = found == coloured
        line = color if coloured else PALE
        axis.hlines(places[chosen], before[chosen], after[chosen], color=line, linewidth=2.2, zorder=2)
        axis.plot(after[chosen], places[chosen], "o", color=line, markersize=3.8, markeredgewidth=0, zorder=3)
    axis.plot(before, places, "o", color=grey, markersize=3.4, markeredgewidth=0, zorder=4)
    low = min(0.0, np.nanmin([*before, *after, 0]))
    axis.set_xlim(low - 0.03, max(0.1, np.nanmax([*before, *after, 0])) + 0.04)
    axis.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5]))
    axis.axvline(0, color="0.6", linewidth=0.6, zorder=1)


def _draw_gains(axis, table, places, found, color):
    """Draw gains with their intervals."""
    gain, low, high = (steady(table[name]) for name in ("gain", "low", "high"))
    for coloured in (False, True):
        chosen = found == coloured
        line = color if coloured else "0.62"
        axis.hlines(places[chosen], low[chosen], high[chosen], color=line, linewidth=1, zorder=2)
        axis.plot(gain[chosen], places[chosen], "o", color=line, markersize=3.4, markeredgewidth=0, zorder=3)
    ends = np.array([*low, *high, *gain, 0.0])
    span = max(np.nanmax(ends) - np.nanmin(ends), 0.01)
    axis.set_xlim(np.nanmin(ends) - 0.05 * span, np.nanmax(ends) + 0.05 * span)
    axis.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5]))
    axis.axvline(0, color="0.3", linewidth=0.7, zorder=1)


def _message(model, kind, features, families):
    """Say where the map adds something."""
    n_features = int((features["q"] < _RATE).sum())
    message = f"The map of {model} adds to a cell's {_SINGULAR[kind]} in {n_features} of {len(features)} features"
    if len(families):
        message += f" and {int((families['q'] < _RATE).sum())} of {len(families)} families"
    return message


def _write_message(figure, message, kind, color):
    """Write on top where the map adds something, and what the points are."""
    text_at(figure, 0.06, 0.16, message, va="baseline", fontweight="bold", fontsize=7.5)
    grey = MODEL_STYLES["family mean"].color
    point = {"linestyle": "", "marker": "o", "markeredgewidth": 0}
    handles = [
        Line2D([], [], **point, markersize=3.4, color=grey, label=f"{_SINGULAR[kind]} mean"),
        Line2D([], [], **point, markersize=3.8, color=color, label=f"{_SINGULAR[kind]} mean and map"),
        Line2D([], [], **point, markersize=3.8, color=PALE, label=f"the same, gain not significant (q ≥ {_RATE:g})"),
    ]
    height = figure.get_size_inches()[1]
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(0.0, 1 - 0.36 / height),
                  ncols=3, columnspacing=1.2, handletextpad=0.1, handlelength=1.2)  # fmt: skip


_SINGULAR = {"types": "type", "families": "family"}


def _short(value, _):
    """Label of a tick without superfluous zeros."""
    return f"{round(value, 10):g}".replace("-", "−")
