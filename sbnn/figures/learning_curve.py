"""The figure of the learning curve: R2 of models against the number of training cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from sbnn.figures.drawing import steady
from sbnn.figures.labels import axes_size, label_at_right, text_size
from sbnn.figures.style import MUTED, OUTLINE, axes_at, freeze, model_styles, text_at

if TYPE_CHECKING:
    from sbnn.validation.learning_curve import LearningCurve

_WIDTH, _HEIGHT = 3.1, 2.6  # of the panel in inches
_LOWEST = -0.1  # a lower mean R2 is written, not drawn
_LINE: dict[str, Any] = {"linewidth": 1.2, "marker": "o", "markersize": 2.8, "markeredgewidth": 0.7}


def plot_learning_curve(curve: LearningCurve, lowest: float | None = None) -> Figure:
    """Plot R2 of held-out cells against the number of training cells, a line for each model.

    Its message: which model to use for so many cells, and what more cells would bring.

    Parameters
    ----------
    curve : LearningCurve
        From `sbnn.learning_curve`.
    lowest : float, optional
        Where the R2 axis starts; by default below all means, but at -0.1 if some are lower. Lower means are written.

    Returns
    -------
    Figure
        Mean R2 over folds with a bar of one standard error; a ring marks the best model of each number of cells, class
        means aside.
    """
    summary, best = curve.summary, curve.recommended
    styles = model_styles(summary["model"])
    names = max(text_size(name, 6.5)[0] for name in styles) / 72
    figure = plt.figure(figsize=(0.62 + _WIDTH + 0.3 + names, _HEIGHT + 0.74), layout="none")
    axis = axes_at(figure, 0.52, 0.28, _WIDTH, _HEIGHT)
    sizes = np.sort(summary["n_cells"].unique())
    _set_sizes(axis, sizes)
    _set_r2(axis, summary, lowest)
    below: list[tuple[float, str, str]] = []
    shifts = _shifts(sizes, len(styles))
    for (name, style), shift in zip(styles.items(), shifts, strict=True):
        part = summary[summary["model"] == name].dropna(subset="r2_mean")
        places, means = steady(part["n_cells"].to_numpy() * shift), steady(part["r2_mean"].to_numpy())
        errors = steady(part["r2_se"].fillna(0).to_numpy())
        axis.vlines(places, means - errors, means + errors, color=style.color, linewidth=0.8, zorder=2)
        face = style.color if style.filled else "white"
        axis.plot(places, means, color=style.color, linestyle=style.linestyle, mfc=face, **_LINE, zorder=3)
        for place, mean in zip(places, means, strict=True):
            if mean < axis.get_ylim()[0]:
                below.append((float(place), f"▾ {mean:.2f}".replace("-", "−"), style.color))
        marked = best[best["model"] == name]
        ring: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7, "mfc": "none", "markeredgewidth": 0.7}
        axis.plot(steady(marked["n_cells"].to_numpy() * shift), steady(marked["r2_mean"].to_numpy()), **ring,
                  color=style.color, zorder=4)  # fmt: skip
    _write_below(axis, below)
    last = summary.groupby("model", sort=False)["r2_mean"].last()
    label_at_right(axis, [(float(last[name]), name, style.color) for name, style in styles.items()])
    n_folds = curve.scores["fold"].nunique()
    words = f"mean ± SE over {n_folds} folds" if n_folds > 1 else "one fold"
    words += ("; ○ best model" + " (class means aside)" * bool(curve.baselines)) * bool(len(best))
    text_at(figure, 0.1, 0.14, words, color=MUTED, va="baseline")
    return freeze(figure)


def _set_sizes(axis: Axes, sizes: np.ndarray) -> None:
    """Make the numbers of cells the ticks of a logarithmic axis; of names without space, the smaller is left out."""
    margin = (sizes[-1] / sizes[0]) ** 0.06 if len(sizes) > 1 else 1.5
    low, high = sizes[0] / margin, sizes[-1] * margin
    axis.set(xscale="log", xlim=(low, high), xlabel="training cells")
    places = np.log(sizes / low) / np.log(high / low) * axes_size(axis)[0]
    named: list[int] = []
    for one in range(len(sizes) - 1, -1, -1):
        room = (text_size(f"{sizes[one]}", 6.5)[0] + text_size(f"{sizes[named[-1]]}", 6.5)[0]) / 2 if named else 0
        if not named or places[named[-1]] - places[one] >= room + 2.5:
            named.append(one)
    shown = {float(sizes[one]): f"{sizes[one]}" for one in named}
    axis.xaxis.set_major_locator(FixedLocator(sizes.astype(float).tolist()))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown.get(float(value), "")))


def _set_r2(axis: Axes, summary: pd.DataFrame, lowest: float | None) -> None:
    """Set the limits of R2: all means with their errors, unless the axis is to start elsewhere."""
    errors = summary["r2_se"].fillna(0)
    low, high = (summary["r2_mean"] - errors).min(), (summary["r2_mean"] + errors).max()
    low = max(low, _LOWEST) if lowest is None else lowest
    margin = max(0.05 * (high - low), 0.02)
    axis.set(ylim=(low - margin * (lowest is None), high + margin))
    axis.yaxis.set_major_locator(MaxNLocator(6))
    start = axis.get_ylim()[0]
    axis.set_ylabel("test R²" if start <= 0 else f"test R² (axis starts at {start:.2f})")


def _write_below(axis: Axes, below: list[tuple[float, str, str]]) -> None:
    """Write means below the axis at its lower edge, at their number of cells; those of one number in lines."""
    low, width = axis.get_xlim()[0], axes_size(axis)[0]
    scale = np.log(axis.get_xlim()[1] / low)
    taken: list[tuple[float, float, int]] = []
    for place, text, color in below:
        size = text_size(text, 6)[0]
        left = round(float(np.clip(np.log(place / low) / scale * width - size / 2, 1, width - size - 1)), 3)
        lines = {line for start, end, line in taken if start < left + size + 2 and left < end + 2}
        line = min(set(range(len(below))) - lines)
        taken.append((left, left + size, line))
        axis.annotate(text, (0, 0), (left, 2 + 8 * line), xycoords="axes fraction", textcoords="offset points",
                      fontsize=6, color=color, ha="left", va="bottom", path_effects=OUTLINE, zorder=6)  # fmt: skip


def _shifts(sizes: np.ndarray, n_models: int) -> np.ndarray:
    """Factors that put the models of one size side by side, so that their bars can be seen."""
    if n_models == 1:
        return np.ones(1)
    nearest = np.min(np.log(sizes[1:] / sizes[:-1])) if len(sizes) > 1 else 1.0
    return np.exp(np.linspace(-1, 1, n_models) * min(0.04, 0.12 * nearest))
