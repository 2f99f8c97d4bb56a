"""The picture of another cohort: its cells in the maps of the first, and how well its features are predicted."""

from itertools import product
from string import ascii_lowercase

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from sbnn.maps import draw_bare_cells
from sbnn.style import GREEN, LINEAR, ORANGE, freeze
from sbnn.transfer import ALL_FEATURES, STANDARDISATIONS

_WHERE = {"training": "as in training", "cohort": "within the cohort"}
#: How predictions are scored: colour and name.
_SCORINGS = {
    "training": (ORANGE, "z-scored as in training"),
    "centred": (LINEAR, "the same, cohort mean removed"),
    "cohort": (GREEN, "z-scored within the cohort, mean removed"),
}
_LOWEST = -2  # R2 below it is written, not drawn
_FEWEST_NAMED = 20  # cells of a family whose name is drawn


def plot_external_cohort(training_latents, latents, cells, scores, model):
    """Draw the cells of another cohort in the maps of the first, and R2 by feature and by model.

    Parameters
    ----------
    training_latents : DataFrame
        `model`, `cell_family`, `z1`, `z2` of the cells that models were fitted on; a map for each model.
    latents : DataFrame
        `model`, `standardise`, `cell`, `z1`, `z2` of the cohort (`transfer.validate_externally`).
    cells : DataFrame
        `cell`, `cell_family`, `family_color` of the cohort.
    scores : DataFrame
        `transfer.ExternalValidation.scores`.
    model : str
        Whose features are drawn one by one.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(7.4, 6.8), layout="constrained")
    top, bottom = figure.add_gridspec(2, 1, height_ratios=(1, 1.3))
    maps = list(product(training_latents["model"].unique(), STANDARDISATIONS))
    letters = iter(ascii_lowercase)
    for axis, (name, standardise) in zip(top.subgridspec(1, len(maps), wspace=0.05).subplots(), maps, strict=True):
        new = latents[(latents["model"] == name) & (latents["standardise"] == standardise)]
        _draw_cohort(axis, training_latents[training_latents["model"] == name], new.merge(cells, on="cell"))
        title = f"{next(letters)}  {name},\ngenes z-scored\n{_WHERE[standardise]}"
        axis.set_title(title, loc="left", fontweight="bold", fontsize=7)
    families = cells.drop_duplicates("cell_family").sort_values("cell_family")
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=4, markeredgewidth=0, color=row.family_color,
               label=f"{row.cell_family} ({(cells['cell_family'] == row.cell_family).sum()})")
        for row in families.itertuples()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), title="families of the new cells")

    left, middle, right = bottom.subgridspec(1, 3, width_ratios=(1.25, 1, 0.8)).subplots()
    by_feature = scores[(scores["model"] == model) & (scores["feature"] != ALL_FEATURES)]
    order = by_feature[by_feature["scoring"] == "cohort"].sort_values("r2")["feature"].tolist()
    pooled = scores[scores["feature"] == ALL_FEATURES]
    models = list(dict.fromkeys(pooled["model"]))[::-1]
    _draw_intervals(left, by_feature, "feature", order, "r2")
    _draw_intervals(middle, pooled, "model", models, "r2")
    # Correlations do not see means: "training" and "centred" are one.
    _draw_intervals(right, pooled[pooled["scoring"] != "centred"], "model", models, "correlation")
    right.set(yticklabels=[])
    for axis, title, label in (
        (left, f"{model}, by feature", r"$R^2$ around the cohort's mean"),
        (middle, "all features", r"pooled $R^2$"),
        (right, "correlation", "mean over features"),
    ):
        axis.set_title(f"{next(letters)}  {title}", loc="left", fontweight="bold")
        axis.set_xlabel(label)
    figure.legend(*middle.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return freeze(figure)


def _draw_cohort(axis, training, new):
    """Grey training cells with the names of their families, new cells in the colours of theirs."""
    draw_bare_cells(axis, training[["z1", "z2"]].to_numpy(), "0.85", size=2)
    axis.scatter(new["z1"], new["z2"], s=6, c=new["family_color"], linewidths=0, rasterized=True)
    for family, part in training.groupby("cell_family"):
        if len(part) >= _FEWEST_NAMED:
            axis.text(*part[["z1", "z2"]].median(), family, fontsize=5.5, color="0.35", ha="center", va="center")


def _draw_intervals(axis, table, rows, order, value):
    """Points with intervals, one line a name and one colour a scoring; what lies below _LOWEST is written."""
    scorings = [scoring for scoring in _SCORINGS if (table["scoring"] == scoring).any()]
    shifts = np.linspace(-0.22, 0.22, len(scorings))
    for scoring, shift in zip(scorings, shifts, strict=True):
        part = table[table["scoring"] == scoring].set_index(rows).loc[order]
        height = np.arange(len(order)) + shift
        color, label = _SCORINGS[scoring]
        inside = (part[value] >= _LOWEST).to_numpy()
        low, high = part[f"{value}_low"].clip(lower=_LOWEST), part[f"{value}_high"]
        axis.hlines(height[inside], low[inside], high[inside], color=color, linewidth=1)
        axis.plot(part[value][inside], height[inside], "o", color=color, markersize=2.5, label=label)
        for place, number in zip(height[~inside], part[value][~inside], strict=True):
            axis.annotate(f"◂ {number:.1f}", (_LOWEST, place), fontsize=5, color=color, va="center")
    axis.axvline(0, color="0.5", linewidth=0.6)
    axis.set(yticks=range(len(order)), yticklabels=order, ylim=(-0.6, len(order) - 0.4))
