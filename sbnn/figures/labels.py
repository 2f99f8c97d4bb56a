"""Positions of text in figures: next to curves and over clusters, without overlap.

Sizes and positions are in points and rounded: they do not depend on resolution or on rounding errors of a processor.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.text import Annotation
from matplotlib.textpath import text_to_path
from matplotlib.typing import ColorType

from sbnn.figures.style import OUTLINE

_GAP = 1.0  # points between labels
_FEW = 12  # names of clusters of at most this many points are written above them, to hide none
_MOST_COVERED = 0.25  # of the axes, by names of clusters


def text_size(
    text: str, size: float, weight: str = "normal", style: Literal["normal", "italic", "oblique"] = "normal"
) -> tuple[float, float]:
    """Return width and height of a text in points; the line spacing is 1.2 times the size."""
    font = FontProperties(size=size, weight=weight, style=style)
    widths = [text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n")]
    return round(max(widths), 3), round(1.2 * size * len(widths), 3)


def axes_size(axis: Axes) -> np.ndarray:
    """Return width and height of axes in points."""
    return axis.get_position().size * axis.figure.get_size_inches() * 72  # type: ignore[union-attr]  # no SubFigure


def push_apart(heights: np.ndarray, gap: float, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    """Return heights shifted as little as possible to leave at least `gap` between neighbours.

    Parameters
    ----------
    heights : array, ascending
    gap : float
    low, high : float
        Limits of the heights.

    Returns
    -------
    array
    """
    steps = gap * np.arange(len(heights))
    lowest = np.maximum.accumulate(heights - steps) + steps
    highest = np.minimum.accumulate((heights - steps)[::-1])[::-1] + steps
    places = np.minimum((lowest + highest) / 2, high - steps[::-1])
    return np.maximum(places, low + steps)


def spread_boxes(anchors: npt.ArrayLike, sizes: npt.ArrayLike, limits: npt.ArrayLike) -> np.ndarray:
    """Place boxes one after another as near to their anchors as space permits, within the limits.

    Parameters
    ----------
    anchors : array, shape (n_boxes, 2)
        Preferred centres; the first box has the first choice.
    sizes : array, shape (n_boxes, 2)
        Width and height.
    limits : array, shape (2,)
        Boxes stay between zero and these, if they fit.

    Returns
    -------
    array, shape (n_boxes, 2)
        Centres, rounded to a thousandth.
    """
    limits = np.asarray(limits, dtype=float)
    half = np.asarray(sizes, dtype=float) / 2 + _GAP / 2
    lowest, highest = np.minimum(half, limits / 2), np.maximum(limits - half, limits / 2)
    anchors = np.clip(np.round(np.asarray(anchors, dtype=float), 1), lowest, highest)
    shifts = _spiral(np.hypot(*limits))
    places = anchors.copy()
    for number in range(1, len(places)):
        candidates = np.clip(anchors[number] + shifts, lowest[number], highest[number])
        apart = np.abs(candidates[:, None] - places[:number])
        free = (apart >= half[number] + half[:number] - 1e-6).any(axis=2).all(axis=1)
        if free.any():
            fitting = candidates[free]
            nearest = np.argmin(np.linalg.norm(fitting - anchors[number], axis=1).round(3))
            places[number] = fitting[nearest]
    return np.round(places, 3)


def _spiral(reach):
    """Shifts in all directions, in steps of one point up to a maximum; the first is zero."""
    radii = np.arange(1, int(reach) + 1)
    angles = np.pi / 2 + 2 * np.pi * np.arange(24) / 24
    circles = radii[:, None, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    return np.vstack([np.zeros((1, 2)), circles.reshape(-1, 2)]).round(3)


def place_of_cluster(points: npt.ArrayLike) -> np.ndarray:
    """Return the centre of the densest part of a cluster, which a median over two islands would miss."""
    points = np.asarray(points, dtype=float)
    n_near = max(1, len(points) // 4)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2).round(6)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :n_near]
    spread = np.take_along_axis(distances, nearest, axis=1).sum(axis=1).round(4)
    return points[nearest[np.argmin(spread)]].mean(axis=0)


def label_clusters(
    axis: Axes, clusters: Mapping[str, np.ndarray], size: float = 6.5, color: ColorType = "black"
) -> list[Annotation]:
    """Name clusters of points where they are densest; names that would overlap are moved, with a thin line.

    Where there is no room for all names, or they would cover more than a quarter of the axes, the smallest clusters
    have none.

    Parameters
    ----------
    axis : Axes
        In its final position, with its final limits.
    clusters : dict
        Name -> points (n, 2).
    size : float
        Of the names in points.
    color : colour

    Returns
    -------
    list of Annotation
        Of the clusters that are named.
    """
    if not clusters:
        return []
    clusters = dict(sorted(clusters.items(), key=lambda item: (len(item[1]), item[0])))  # small ones have less room
    box, limits = axes_size(axis), np.array([axis.get_xlim(), axis.get_ylim()])
    centres = np.array([place_of_cluster(points) for points in clusters.values()])
    anchors = (centres - limits[:, 0]) / (limits[:, 1] - limits[:, 0]) * box
    few = np.array([len(points) <= _FEW for points in clusters.values()])
    above = anchors + np.column_stack([np.zeros(len(few)), 0.9 * size * few])  # the few cells of a family stay visible
    first, places = _places_with_room(above, np.array([text_size(name, size, "bold") for name in clusters]), box)
    named, centres, anchors = list(clusters)[first:], centres[first:], anchors[first:]
    line = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.25", "shrinkA": 0, "shrinkB": 0}
    look: dict[str, Any] = {
        "fontsize": size,
        "fontweight": "bold",
        "color": color,
        "ha": "center",
        "va": "center",
        "zorder": 5,
    }
    look |= {"path_effects": OUTLINE, "annotation_clip": False, "gid": "cluster label"}
    return [
        axis.annotate(name, centre, shift, textcoords="offset points", **look,
                      arrowprops=line if np.hypot(*shift) > 1.5 * size else None)
        for name, centre, shift in zip(named, centres, (places - anchors).round(3), strict=True)
    ]  # fmt: skip


def _places_with_room(anchors, sizes, box):
    """Return how many of the first boxes are left out, for the others to be apart, and where these are."""
    areas = (sizes + _GAP).prod(axis=1)
    for first in range(len(sizes)):
        if areas[first:].sum() <= _MOST_COVERED * box.prod() or first == len(sizes) - 1:
            places = spread_boxes(anchors[first:], sizes[first:], box)
            if not _overlap(places, sizes[first:]):
                break
    return first, places


def _overlap(places, sizes):
    """Whether any two boxes overlap."""
    apart = np.abs(places[:, None] - places[None])
    overlapping = (apart < (sizes[:, None] + sizes[None]) / 2 - 1e-6).all(axis=2)
    return bool(overlapping.sum() > len(places))


def label_at_right(axis: Axes, labels: Sequence[tuple[float, str, ColorType]], size: float = 6.5) -> None:
    """Write the names of curves and lines next to the axes, at their last height; values below the axes are stated.

    Parameters
    ----------
    axis : Axes
        In its final position, with its final limits.
    labels : list of (float, str, colour)
        Height in data coordinates, text, colour.
    size : float
        Of the text in points.
    """
    low, height = axis.get_ylim()[0], axes_size(axis)[1]
    labels = [
        (value, text, color) if np.isfinite(value) else (low, f"{text} (no score)", color)
        for value, text, color in labels
    ]
    labels = sorted(labels, key=lambda label: round(label[0], 6))
    scale = axis.yaxis.get_transform().transform  # logarithms if the axis is logarithmic
    limits, values = scale(axis.get_ylim()), scale([value for value, *_ in labels])
    ends = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1) * height
    places = push_apart(ends, 1.25 * size, 0, height + size).round(3)
    for (value, text, color), end, place in zip(labels, ends, places, strict=True):
        text = text if value >= low else f"{text} ({value:.2f})".replace("-", "−")
        axis.annotate(
            text, (1, end / height), (9, round(place - end, 3)), xycoords="axes fraction", textcoords="offset points",
            fontsize=size, color=color, va="center_baseline", ha="left", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": color, "shrinkA": 0.5, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        )  # fmt: skip
