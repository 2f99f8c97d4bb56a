"""The figure of one fold: how R2 rises in training, and where held-out cells lie in the map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sbnn.figures.drawing import draw_bare_cells, family_handles, steady
from sbnn.figures.style import MODEL_STYLES, MUTED, axes_at, family_colors, freeze, panel_title

if TYPE_CHECKING:
    from sbnn.validation.result import CrossValidation


def plot_one_fold(result: CrossValidation, cells: pd.DataFrame) -> Figure:
    """Draw training and test R2 of one network by epoch, and its map with the held-out cells.

    Its message: the effect of one setting, within seconds, before all folds are run.

    Parameters
    ----------
    result : CrossValidation
        Of one network in one fold, with `curves` and `latents`; the map is drawn if the bottleneck has two units.
    cells : DataFrame
        `cell`, `cell_family`, and `family_color` or `type_color`, of all cells.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        Several models or folds.
    """
    curves, latents = result.curves, result.latents
    if len(result.models) != 1 or len(result.folds) != 1:
        raise ValueError(
            f"result must be of one network in one fold, got {len(result.models)} models and {len(result.folds)} folds"
        )
    figure = plt.figure(figsize=(6.4, 3.0), layout="none")
    panel_title(figure, 0.06, 0.17, "a", "training")
    _draw_r2(axes_at(figure, 0.5, 0.42, 2.1, 2.1), curves)
    if {"z1", "z2"} <= set(latents) and "z3" not in latents:
        panel_title(figure, 3.3, 0.17, "b", "test cells (large) among training cells")
        axis = axes_at(figure, 3.3, 0.3, 3.0, 2.25)
        _draw_map(axis, latents.merge(cells, on="cell", sort=False), cells)
        figure.legend(handles=family_handles(cells), loc="lower right", ncols=5, columnspacing=1, handletextpad=0.1)
    return freeze(figure)


def _draw_r2(axis, curves):
    """R2 of training and test cells after every epoch, with lines between stages."""
    epochs = curves["epoch"].to_numpy()
    styles = {"r2_train": (MUTED, "training cells"), "r2_test": (MODEL_STYLES["sBNN-2"].color, "test cells")}
    for column, (color, name) in styles.items():
        r2 = steady(curves[column])
        axis.plot(epochs, r2, color=color, linewidth=1.3, label=f"{name} {r2[-1]:.3f}")
    stages = curves["stage"].to_numpy()
    for epoch in epochs[:-1][stages[1:] != stages[:-1]]:
        axis.axvline(epoch, color="0.7", linestyle="--", linewidth=0.6, zorder=0)
    highest = steady(curves[list(styles)]).max()
    axis.set(
        xlabel="epoch after pre-training", ylabel="R²", xlim=(0, epochs[-1]), ylim=(min(0, highest), highest + 0.05)
    )
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, columnspacing=1, handlelength=1.2)


def _draw_map(axis, latents, cells):
    """Draw training cells small and pale, test cells in the colours of their families."""
    held_out = latents["held_out"].to_numpy(dtype=bool)
    places = steady(latents[["z1", "z2"]])
    draw_bare_cells(axis, places, "0.85", size=3)
    colors = latents["cell_family"].map(family_colors(cells)).to_numpy()
    axis.scatter(*places[held_out].T, s=9, c=colors[held_out], linewidths=0, rasterized=True)
