"""How many genes a network needs: R2 of held-out cells, and stability of the genes, against their number."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from sbnn.figures.labels import axes_size, text_size
from sbnn.figures.style import HIGHLIGHT, MUTED, OUTLINE, SPARE_COLORS, axes_at, freeze, panel_title
from sbnn.validation.gene_number import GeneNumber

_COLOR = SPARE_COLORS[0]  # whatever network was compared
_LINE: dict[str, Any] = {"color": _COLOR, "linewidth": 1.2, "marker": "o", "markersize": 2.5, "markeredgewidth": 0}
_GAP = 2.5  # points between the names of numbers


def plot_gene_number(result: GeneNumber) -> Figure:
    """Plot R2 of held-out cells and the stability of the genes against the number of genes.

    Its message: from which number on more genes hardly predict more, and whether folds agree on the genes.

    Parameters
    ----------
    result : GeneNumber
        From `sbnn.recommend_n_selected`.

    Returns
    -------
    Figure
        Above, the mean over folds with a band of one standard error, the best number (hollow) and the recommended one;
        the line is the best mean minus one standard error. Below, Nogueira's index over folds: 1 if all select the same
        genes, 0 if they select at random.
    """
    figure = plt.figure(figsize=(3.5, 3.55), layout="none")
    panel_title(figure, 0.06, 0.17, "a", f"prediction: mean ± SE over {result.scores['fold'].nunique()} folds")
    panel_title(figure, 0.06, 2.2, "b", "agreement of the folds on the genes")
    above = axes_at(figure, 0.55, 0.28, 2.8, 1.6)
    below = axes_at(figure, 0.55, 2.31, 2.8, 0.8, sharex=above)
    _set_numbers(above, below, result)
    _draw_r2(above, result)
    _draw_stability(below, result)
    for axis in (above, below):
        axis.axvline(result.recommended, color=HIGHLIGHT, linewidth=0.6, alpha=0.5, zorder=0)
    return freeze(figure)


def _set_numbers(above, below, result):
    """Make the numbers the ticks of both panels; names without space are left out, first of all the smaller ones."""
    numbers = result.summary["n_selected"].to_numpy(dtype=float)
    margin = (numbers.max() / numbers.min()) ** 0.05 if len(numbers) > 1 else 2.0
    low, high = numbers.min() / margin, numbers.max() * margin
    above.set(xscale="log", xlim=(low, high))
    places = np.log(numbers / low) / np.log(high / low) * axes_size(above)[0]
    halves = [text_size(f"{number:g}", 6.5)[0] / 2 for number in numbers]
    first = [*np.flatnonzero(np.isin(numbers, [result.recommended])), *np.flatnonzero(numbers == result.best)]
    named: list[int] = []
    for one in [*first, *range(len(numbers) - 1, -1, -1)]:
        if all(abs(places[one] - places[other]) >= halves[one] + halves[other] + _GAP for other in named):
            named.append(one)
    above.xaxis.set_major_locator(FixedLocator(numbers))
    above.xaxis.set_minor_locator(NullLocator())
    above.xaxis.set_major_formatter(
        FixedFormatter([f"{number:g}" if one in named else "" for one, number in enumerate(numbers)])
    )
    above.tick_params(labelbottom=False)
    below.set_xlabel("genes selected")


def _draw_r2(axis: Axes, result: GeneNumber) -> None:
    """Draw mean R2 with its band; mark the best and the recommended number."""
    table = result.summary.set_index("n_selected")
    mean, error = table["r2_mean"], table["r2_se"]
    axis.fill_between(table.index, mean - error, mean + error, color=_COLOR, alpha=0.15, linewidth=0)
    axis.plot(table.index, mean, **_LINE)
    floor = mean[result.best] - error[result.best]
    axis.axhline(floor, color=MUTED, linewidth=0.6, linestyle=(0, (4, 2)), zorder=1)
    low, high = (mean - error).min(), (mean + error).max()
    span = max(high - low, 0.02)
    axis.set(ylim=(low - 0.15 * span, high + 0.2 * span), ylabel="R² of held-out cells")
    axis.yaxis.set_major_locator(MaxNLocator(5))
    note: dict[str, Any] = {"textcoords": "offset points", "fontsize": 6, "path_effects": OUTLINE}
    axis.annotate("best − SE", (axis.get_xlim()[0], floor), (2, 2), color=MUTED, **note)
    ring: dict[str, Any] = {"marker": "o", "markersize": 5, "markeredgewidth": 1, "zorder": 5}
    if result.best != result.recommended:
        axis.plot(result.best, mean[result.best], **ring, markerfacecolor="white", markeredgecolor=_COLOR)
        _name(axis, result.best, f"best: {result.best}", mean[result.best], (0, 7), _COLOR)
    axis.plot(result.recommended, mean[result.recommended], **ring, color=HIGHLIGHT)
    name = "recommended" if result.best != result.recommended else "best and recommended"
    _name(axis, result.recommended, f"{name}: {result.recommended}", axis.get_ylim()[0], (3, 3), HIGHLIGHT)


def _name(axis, number, text, height, shift, color):
    """Write text above a place: in the middle if it is not shifted sideways, else beside it; within the axes."""
    low, high = np.log(axis.get_xlim())
    width, size = axes_size(axis)[0], text_size(text, 6.5)[0]
    place = (np.log(number) - low) / (high - low) * width
    left = place - size / 2 if shift[0] == 0 else place + shift[0]
    if left + size > width:  # no room on the right
        left = width - size - 1 if shift[0] == 0 else place - shift[0] - size
    left = round(float(max(left, 1)) - place, 3)
    axis.annotate(
        text, (number, height), (left, shift[1]), textcoords="offset points", fontsize=6.5, color=color, ha="left",
        va="bottom", path_effects=OUTLINE, zorder=6,
    )  # fmt: skip


def _draw_stability(axis: Axes, result: GeneNumber) -> None:
    """Draw the index of Nogueira, where there is one."""
    table = result.summary.dropna(subset="nogueira")
    axis.plot(table["n_selected"], table["nogueira"], **_LINE)
    axis.set(ylim=(min(0.0, table["nogueira"].min() - 0.05) if len(table) else 0.0, 1.0), ylabel="Nogueira's index")
    axis.set_yticks([0, 0.5, 1])
