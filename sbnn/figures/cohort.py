"""The figure of another cohort: its cells in the maps of the first, and how well its features are predicted."""

from itertools import product
from string import ascii_lowercase

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sbnn.figures.drawing import draw_bare_cells, family_handles
from sbnn.figures.labels import label_clusters
from sbnn.figures.style import FULL_WIDTH, axes_at, freeze, model_styles, panel_title, text_at
from sbnn.validation.transfer import ALL_FEATURES, STANDARDISATIONS

_WHERE = {"training": "genes z-scored\nas in training", "cohort": "genes z-scored\nwithin the cohort"}
#: How predictions are scored: colour (not that of a model) and name.
_SCORINGS = {
    "training": ("#7ab8dc", "z-scored as in training"),
    "centred": ("#2f7fbc", "the same, cohort mean removed"),
    "cohort": ("#08306b", "z-scored within the cohort, mean removed"),
}
_MAPS = 2.75  # height of the maps with their legend in inches
_LOWEST = -2  # lower R2 is written, not drawn
_FEWEST_NAMED = 20  # cells that a family needs for its name to be drawn


def plot_external_cohort(
    training_latents: pd.DataFrame, latents: pd.DataFrame, cells: pd.DataFrame, scores: pd.DataFrame, model: str
) -> Figure:
    """Draw the cells of another cohort in the maps of the first, and R2 by feature and by model.

    Its message: whether new animals lie where the map expects them, and how well the models predict them.

    Parameters
    ----------
    training_latents : DataFrame
        `model`, `cell_family`, `z1`, `z2` of the cells that models were fitted on; one map per model.
    latents : DataFrame
        `model`, `standardise`, `cell`, `z1`, `z2` of the cohort (`transfer.validate_externally`).
    cells : DataFrame
        `cell`, `cell_family`, `family_color` of the cohort.
    scores : DataFrame
        `transfer.ExternalValidation.scores`.
    model : str
        The model whose scores are drawn feature by feature.

    Returns
    -------
    Figure
    """
    by_feature = scores[(scores["model"] == model) & (scores["feature"] != ALL_FEATURES)]
    height = max(2.4, 0.19 * by_feature["feature"].nunique() + 0.15)
    figure = plt.figure(figsize=(FULL_WIDTH, _MAPS + height + 0.75), layout="none")
    letters = iter(ascii_lowercase)
    _draw_maps(figure, training_latents, latents, cells, letters)
    _draw_scores(figure, by_feature, scores[scores["feature"] == ALL_FEATURES], height, letters)
    return freeze(figure)


def _draw_maps(figure, training_latents, latents, cells, letters):
    """Draw a map for each model and way of z-scoring, with the legend of families below."""
    maps = list(product(training_latents["model"].unique(), STANDARDISATIONS))
    width = FULL_WIDTH / len(maps)
    for number, (name, standardise) in enumerate(maps):
        new = latents[(latents["model"] == name) & (latents["standardise"] == standardise)]
        axis = axes_at(figure, width * number + 0.04, 0.52, width - 0.08, 1.65)
        _draw_cohort(axis, training_latents[training_latents["model"] == name], new.merge(cells, on="cell"))
        panel_title(figure, width * number + 0.06, 0.16, next(letters), name)
        text_at(figure, width * number + 0.22, 0.2, _WHERE[standardise], va="top")
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 1 - 2.2 / figure.get_size_inches()[1])}
    title = "families of the new cells (training cells in grey)"
    handles = family_handles(cells, numbers=True)
    figure.legend(handles=handles, title=title, **place, ncols=9, handletextpad=0.1, columnspacing=1.2)


def _draw_scores(figure, by_feature, pooled, height, letters):
    """Draw R2 by feature, R2 and correlation of all features by model."""
    model = by_feature["model"].iloc[0]
    features = by_feature[by_feature["scoring"] == "cohort"].sort_values("r2")["feature"].tolist()
    models = list(dict.fromkeys(pooled["model"]))[::-1]
    # Correlations do not depend on means: "training" and "centred" are the same.
    correlations = pooled[pooled["scoring"] != "centred"]
    parts = (
        (1.05, 1.75, f"{model}, by feature", by_feature, "feature", features, "r2", "R² around the cohort's mean"),
        (3.7, 1.75, "all features", pooled, "model", models, "r2", "R², all features together"),
        (5.65, 1.35, "correlation", correlations, "model", models, "correlation", "mean correlation over features"),
    )
    axes = []
    for left, width, title, table, rows, names, value, label in parts:
        axes.append(axes_at(figure, left, _MAPS + 0.23, width, height))
        _draw_intervals(axes[-1], table, rows, names, value)
        axes[-1].set_xlabel(label)
        panel_title(figure, left - (0.1 if value == "correlation" else 0.75), _MAPS + 0.15, next(letters), title)
    for name, text in zip(models, axes[1].get_yticklabels(), strict=True):
        text.set_color(model_styles(models)[name].color)
    axes[2].set_yticklabels([])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=3)


def _draw_cohort(axis, training, new):
    """Draw training cells in grey with the names of their families, new cells in the colours of their families."""
    draw_bare_cells(axis, training[["z1", "z2"]].to_numpy(), "0.87", size=2)
    limits = axis.get_xlim(), axis.get_ylim()
    axis.scatter(new["z1"], new["z2"], s=6, c=new["family_color"], linewidths=0, rasterized=True)
    axis.set(xlim=limits[0], ylim=limits[1])
    families = training.groupby("cell_family")[["z1", "z2"]]
    label_clusters(axis, {name: part.to_numpy() for name, part in families if len(part) >= _FEWEST_NAMED}, 6, "0.25")


def _draw_intervals(axis, table, rows, order, value):
    """Draw points with intervals, one line per name and one colour per scoring; values below _LOWEST are written."""
    scorings = [scoring for scoring in _SCORINGS if (table["scoring"] == scoring).any()]
    shifts = np.linspace(0.26, -0.26, len(scorings))
    for scoring, shift in zip(scorings, shifts, strict=True):
        part = table[table["scoring"] == scoring].set_index(rows).loc[order]
        height = np.arange(len(order)) + shift
        color, label = _SCORINGS[scoring]
        inside = (part[value] >= _LOWEST).to_numpy()
        low, high = part[f"{value}_low"].clip(lower=_LOWEST), part[f"{value}_high"]
        axis.hlines(height[inside], low[inside], high[inside], color=color, linewidth=1.1)
        axis.plot(part[value][inside], height[inside], "o", color=color, markersize=2.8, label=label)
        for place, number in zip(height[~inside], part[value][~inside], strict=True):
            axis.annotate(f"◂ {number:.1f}".replace("-", "−"), (_LOWEST, place), (1, 0), textcoords="offset points",
                          fontsize=6, color="0.3", va="center_baseline")  # fmt: skip
    axis.axvline(0, color="0.5", linewidth=0.6, zorder=0)
    for place in range(0, len(order), 2):
        axis.axhspan(place - 0.5, place + 0.5, color="0.96", linewidth=0, zorder=-1)
    axis.set(yticks=range(len(order)), yticklabels=order, ylim=(-0.6, len(order) - 0.4))
    axis.tick_params(axis="y", length=0)
