"""The figure of stability: which genes and which map models find again with other seeds or other animals."""

from collections.abc import Sequence
from string import ascii_lowercase

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sbnn.figures.style import FULL_WIDTH, MUTED, axes_at, freeze, model_styles, panel_title, wrapped
from sbnn.validation.stability import GeneStability

_KINDS = {"seed": "other seeds", "donor": "other animals"}
_MARKERS = {"seed": "o", "donor": "D"}
_ROW, _TOP, _CURVES = 0.25, 0.5, 1.6  # inches: height of a model, where panels begin, height of the curves
_NAMES = 1.2  # width of the names of models in inches
_SHARED_MAPS = {"procrustes_r2": "Procrustes R² of two runs", "common_neighbours": "common share of 30 neighbours"}


def plot_stability(stability: GeneStability | Sequence[GeneStability]) -> Figure:
    """Draw which genes and which maps models find again from run to run.

    Its message: how much of a selection, and of a map, is the model's and how much is that of one seed or cohort.

    Parameters
    ----------
    stability : GeneStability, or sequence of one or two
        From `sbnn.gene_stability`: with other seeds, with other animals, or both, side by side. Models that are only in
        one of them have a single point in each row.

    Returns
    -------
    Figure
        Nogueira's index with its 95 % interval; agreement of maps, mean and range over pairs of runs; and how many
        genes are selected in how many runs.

    Raises
    ------
    ValueError
        Not one or two results, or two that resample the same thing.
    """
    results = _check_results(stability)
    models = list(dict.fromkeys(name for result in results for name in result.index["model"]))
    styles, letters = model_styles(models), iter(ascii_lowercase)
    height = _ROW * len(models) + 0.1
    below = _TOP + height + 0.72
    figure = plt.figure(figsize=(FULL_WIDTH, below + _CURVES + 0.42), layout="none")
    axis = axes_at(figure, _NAMES + 0.1, _TOP, 1.95, height)
    panel_title(figure, 0.06, _TOP - 0.12, next(letters), "selected genes")
    _draw_rows(axis, [result.index for result in results], results, "nogueira", models, styles)
    axis.set_xlabel("Nogueira index, 95 % interval")
    axis.set_yticks(range(len(models)), [wrapped(name, 20) for name in models])
    for name, label in zip(models, axis.get_yticklabels(), strict=True):
        label.set_color(styles[name].color)
    panel_title(figure, 3.5, _TOP - 0.12, next(letters), "maps, mean and range over pairs of runs")
    for left, (value, what) in zip((3.52, 5.36), _SHARED_MAPS.items(), strict=True):
        axis = axes_at(figure, left, _TOP, 1.62, height)
        _draw_rows(axis, [_over_pairs(result, value) for result in results], results, value, models, styles)
        axis.set(xlabel=what, yticklabels=[], xticks=[0, 0.5, 1])
    _add_kinds(figure, results)
    _draw_frequencies(figure, results, models, styles, letters, below)
    return freeze(figure)


def _check_results(stability):
    """Return one or two results that differ in what they resample, seeds first."""
    results = [stability] if isinstance(stability, GeneStability) else stability
    if not isinstance(results, (list, tuple)) or not all(isinstance(result, GeneStability) for result in results):
        raise ValueError(f"stability must be a GeneStability, or a list of one or two, got {stability!r}")
    kinds = [result.resample for result in results]
    if len(results) not in (1, 2) or len(set(kinds)) < len(kinds):
        raise ValueError(f"stability must be one result, or one of seeds and one of donors, got {kinds}")
    return sorted(results, key=lambda result: list(_KINDS).index(result.resample))


def _over_pairs(result, value):
    """Mean and range of a measure over pairs of runs, by model."""
    if not len(result.pairs):
        return pd.DataFrame({"model": [], value: [], "low": [], "high": []})
    groups = result.pairs.groupby("model", sort=False)[value]
    table = groups.agg(**{value: "mean", "low": "min", "high": "max"})
    return table.reset_index()


def _draw_rows(axis, tables, results, value, models, styles):
    """Draw a point and a range for each model, one row per model; results above one another within it."""
    shifts = [0.0] if len(tables) == 1 else [-0.17, 0.17]
    lowest = 0.0  # an index is below 0 if runs agree less than by chance
    for table, result, shift in zip(tables, results, shifts, strict=True):
        for row in table.dropna(subset=value).to_dict("records"):
            height, color = models.index(row["model"]) + shift, styles[row["model"]].color
            face = color if result.resample == "seed" else "white"
            axis.hlines(height, row["low"], row["high"], color=color, linewidth=1.0)
            axis.plot(row[value], height, _MARKERS[result.resample], color=color, markersize=3.6, markerfacecolor=face,
                      markeredgewidth=0.8, zorder=3)  # fmt: skip
            lowest = min(lowest, row["low"])
    axis.set(xlim=(np.floor(10 * lowest) / 10, 1.02), ylim=(len(models) - 0.4, -0.6), yticks=range(len(models)))
    axis.tick_params(axis="y", length=0)
    for place in range(0, len(models), 2):
        axis.axhspan(place - 0.5, place + 0.5, color="0.96", linewidth=0, zorder=-1)
    if lowest < 0:
        axis.axvline(0, color="0.5", linewidth=0.6, zorder=0)


def _add_kinds(figure, results):
    """Say above the panels which marker stands for what."""
    handles = [
        Line2D([], [], linestyle="", marker=_MARKERS[result.resample], color=MUTED, markersize=3.6, markeredgewidth=0.8,
               markerfacecolor=MUTED if result.resample == "seed" else "white",
               label=f"{_KINDS[result.resample]}, {result.n_runs} runs")
        for result in results
    ]  # fmt: skip
    figure.legend(handles=handles, loc="upper center", ncols=2, handletextpad=0.2, bbox_to_anchor=(0.5, 1))


def _draw_frequencies(figure, results, models, styles, letters, top):
    """Draw the sorted frequencies of genes, one panel per result, with the names of the models at their right."""
    width = 2.45 if len(results) == 2 else 3.6
    most = max((len(part) for result in results for _, part in result.frequencies.groupby("model")), default=1)
    for number, result in enumerate(results):
        left = 0.5 + (width + 0.42) * number
        axis = axes_at(figure, left, top, width, _CURVES)
        panel_title(figure, left - 0.44 if not number else left - 0.2, top - 0.12, next(letters),
                    f"genes, the most frequent first: {_KINDS[result.resample]}")  # fmt: skip
        for name, part in result.frequencies.groupby("model", sort=False):
            values = [1.0, *part["frequency"], 0.0]
            style = styles[name]
            axis.step([0, *range(1, len(part) + 1), len(part)], values, where="pre", linewidth=1.1,
                      color=style.color, linestyle=style.linestyle)  # fmt: skip
        axis.set(xlim=(0, 1.02 * most), ylim=(0, 1.03), xlabel="number of genes")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if number:
            axis.set_yticklabels([])
        else:
            axis.set_ylabel("share of runs that select the gene")
    handles = [
        Line2D([], [], color=styles[name].color, linestyle=styles[name].linestyle, linewidth=1.1, label=wrapped(name))
        for name in models
    ]
    right = 0.5 + (width + 0.42) * len(results) - 0.32
    place = right / FULL_WIDTH, 1 - (top + _CURVES / 2) / figure.get_size_inches()[1]
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=place, handlelength=1.8)
