"""Pictures of a report: intervals as drawings that follow the page's colours, and figures that keep theirs."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

#: Scores below this are drawn there: one failure would hide the differences between all others.
LOWEST = -0.5
#: A scale reaches this value at least.
_LEAST_HIGH = 0.1
_HEIGHT = 18


class Scale(NamedTuple):
    """From values to per cent of the width of a drawing.

    Attributes
    ----------
    low, high : float
        What the left and the right end stand for.
    ticks : tuple of float
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Return the place of a value in per cent, between 1 and 99."""
        share = (value - self.low) / (self.high - self.low)
        return round(float(np.clip(1 + 98 * share, 1, 99)), 2)


class Mark(NamedTuple):
    """A value with its interval; `kind` is the class of the drawing: "model" or "class"."""

    value: float
    low: float
    high: float
    kind: str = "model"


def scale_for(values: Sequence[float], lowest: float = LOWEST) -> Scale:
    """Return a scale that holds zero and all values; those that are not finite do not count.

    Parameters
    ----------
    values : sequence of float
    lowest : float
        The scale does not go further down.

    Returns
    -------
    Scale
    """
    known = np.array([value for value in values if np.isfinite(value)] or [0.0])
    low, high = min(0.0, max(lowest, known.min())), max(_LEAST_HIGH, known.max())
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    ticks = [round(tick, 6) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    return Scale(float(low), float(high), tuple(ticks))


def draw_intervals(marks: Sequence[Mark], scale: Scale) -> Markup:
    """Return a drawing of values with their intervals on one line each, as SVG that takes its colours from the page.

    Parameters
    ----------
    marks : sequence of Mark
        Of one row of a table; those without a value are left out.
    scale : Scale
        That of the whole table.

    Returns
    -------
    Markup
        Hidden from screen readers: the numbers stand beside it.
    """
    shown = [mark for mark in marks if np.isfinite(mark.value)]
    height = _HEIGHT if len(shown) < 2 else _HEIGHT + 4
    parts = [f'<line class="zero" x1="{scale.place(0)}%" x2="{scale.place(0)}%" y1="0" y2="{height}"/>']
    for number, mark in enumerate(shown):
        y = height / 2 if len(shown) == 1 else height * (1 + 2 * number) / (2 * len(shown))
        if np.isfinite(mark.low) and np.isfinite(mark.high):
            ends = scale.place(mark.low), scale.place(mark.high)
            parts.append(f'<line class="range {mark.kind}" x1="{ends[0]}%" x2="{ends[1]}%" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{mark.kind}" cx="{scale.place(mark.value)}%" cy="{y}" r="4"/>')
    return Markup(f'<svg class="intervals" height="{height}" aria-hidden="true">{"".join(parts)}</svg>')


def draw_axis(scale: Scale) -> Markup:
    """Return the numbers of a scale, for the head of the column of drawings."""
    ticks = [
        f'<text x="{scale.place(tick)}%" y="12" text-anchor="middle">{f"{tick:g}".replace("-", "−")}</text>'
        for tick in scale.ticks
    ]
    return Markup(f'<svg class="intervals axis" height="16" aria-hidden="true">{"".join(ticks)}</svg>')


def picture(figure: Figure) -> str:
    """Return a figure as the address of an image that holds it (SVG in base64), and close it.

    Parameters
    ----------
    figure : Figure

    Returns
    -------
    str
        For the attribute `src` of an image; nothing is requested.
    """
    content = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "sbnn", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None}, facecolor="white")
    plt.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"
