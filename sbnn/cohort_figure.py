"""The picture of another cohort: its cells in the maps of the first, and how well its features are predicted."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from sbnn.maps import draw_bare_cells
from sbnn.plotting import GREEN, ORANGE
from sbnn.transfer import ALL_FEATURES, STANDARDISATIONS

_LABELS = {"training": "z-scored as in training", "cohort": "z-scored within the cohort"}
_COLORS = dict(zip(STANDARDISATIONS, (ORANGE, GREEN), strict=True))


def plot_external_cohort(maps, latents, cells, scores, model):
    """Draw the cells of another cohort in the maps of the first, and R2 by feature and by model.

    Parameters
    ----------
    maps : dict
        Model -> DataFrame of the training cells: `z1`, `z2`, `cell_family`.
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
    figure = plt.figure(figsize=(7.4, 6.6))
    top, bottom = figure.add_gridspec(2, 1, height_ratios=(1, 1.25))
    places = top.subgridspec(1, 2 * len(maps), wspace=0.05)
    panels = [(name, standardise) for name in maps for standardise in STANDARDISATIONS]
    for letter, place, (name, standardise) in zip("abcdefgh", [places[0, i] for i in range(len(panels))], panels,
                                                  strict=False):  # fmt: skip
        axis = figure.add_subplot(place)
        new = latents[(latents["model"] == name) & (latents["standardise"] == standardise)]
        _draw_cohort(axis, maps[name], new.merge(cells, on="cell"))
        axis.set_title(f"{letter}  {name}\n{_LABELS[standardise]}", loc="left", fontweight="bold", fontsize=7)
    families = cells.drop_duplicates("cell_family").sort_values("cell_family")
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=4, markeredgewidth=0, color=row.family_color,
               label=row.cell_family) for row in families.itertuples()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), title="families of the new cells")
    left, middle, right = bottom.subgridspec(1, 3, width_ratios=(1.25, 1, 0.8)).subplots()
    by_feature = scores[(scores["model"] == model) & (scores["feature"] != ALL_FEATURES)]
    order = by_feature[by_feature["standardise"] == "cohort"].sort_values("r2")["feature"].tolist()
    _draw_intervals(left, by_feature, "feature", order, "r2", lowest=-2)
    left.set_title(f"e  {model}, feature by feature", loc="left", fontweight="bold")
    pooled = scores[scores["feature"] == ALL_FEATURES]
    models = list(dict.fromkeys(pooled["model"]))[::-1]
    _draw_intervals(middle, pooled, "model", models, "r2", lowest=-2)
    middle.set_title("f  all features", loc="left", fontweight="bold")
    _draw_intervals(right, pooled, "model", models, "correlation", lowest=-1)
    right.set(yticklabels=[], xlim=(0, 0.8))
    right.set_title("g  correlation", loc="left", fontweight="bold")
    left.set_xlabel(r"$R^2$ around the cohort's mean")
    middle.set_xlabel(r"pooled $R^2$")
    right.set_xlabel("mean over features")
    middle.legend(loc="upper center", bbox_to_anchor=(0.6, -0.16), ncols=2)
    return figure


def _draw_cohort(axis, training, new):
    """Grey training cells with the names of their families, new cells in the colours of theirs."""
    draw_bare_cells(axis, training[["z1", "z2"]].to_numpy(), "0.85", size=2)
    axis.scatter(new["z1"], new["z2"], s=6, c=new["family_color"], linewidths=0, rasterized=True)
    for family, part in training.groupby("cell_family"):
        if len(part) >= 20:
            axis.text(*part[["z1", "z2"]].median(), family, fontsize=5.5, color="0.35", ha="center", va="center")


def _draw_intervals(axis, table, rows, order, value, lowest):
    """Points with intervals, one line a name, both standardisations; what lies below `lowest` is marked, not drawn."""
    shifts = dict(zip(STANDARDISATIONS, (-0.16, 0.16), strict=True))
    for standardise, part in table.groupby("standardise"):
        part = part.set_index(rows).loc[order]
        height = np.arange(len(order)) + shifts[standardise]
        color = _COLORS[standardise]
        inside = (part[value] >= lowest).to_numpy()
        low, high = part[f"{value}_low"].clip(lower=lowest), part[f"{value}_high"]
        axis.hlines(height[inside], low[inside], high[inside], color=color, linewidth=1)
        axis.plot(part[value][inside], height[inside], "o", color=color, markersize=3, label=_LABELS[standardise])
        for place, number in zip(height[~inside], part[value][~inside], strict=True):
            axis.annotate(f"◂ {number:.1f}", (lowest, place), fontsize=5, color=color, va="center")
    axis.axvline(0, color="0.5", linewidth=0.6)
    axis.set(yticks=range(len(order)), yticklabels=order, ylim=(-0.6, len(order) - 0.4))
