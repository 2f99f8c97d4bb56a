"""The figure of your own cells: their map, held-out cells on it, genes, and features measured beside predicted."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from sbnn.data.cell_labels import UNKNOWN
from sbnn.figures.drawing import (
    CMAP,
    bare_map,
    draw_bare_cells,
    draw_cells,
    draw_contours,
    draw_z_scale,
    masked_triangulation,
    name_families,
    name_overlay,
    places_of,
    steady,
)
from sbnn.figures.style import FULL_WIDTH, MUTED, axes_at, freeze, panel_title, text_at, wrapped

#: Most genes and features that are drawn.
MOST_SHOWN = 9
_EDGE, _GAP = 0.06, 0.16  # inches at the edge of the page, and between its parts
_GENES, _SMALL, _NAME_WIDTH = 2.25, 0.71, 13  # inches of the block of genes and of one of them; letters of a name
_HEAD = 0.36  # inches of a title and the line below it
_PAIR, _PANEL = 2.2, 0.84  # inches: a feature measured and predicted, and the height of its two maps
_PAIR_LETTERS = 40  # of the name of a feature
_LINE = 0.11  # inches of a line of small text
_NO_VALUE = "0.88"  # colour of cells without a value
_LIMIT = 2  # z-scores at the ends of the colours


class HeldOutMap(NamedTuple):
    """Cells on the map of a model that was fitted without some of them.

    Attributes
    ----------
    coordinates : array, shape (n_cells, 2)
    held_out : bool array, shape (n_cells,)
        Of which cells the model knew nothing.
    cells : DataFrame
        `type_color`, `cell_family` of the same cells.
    title, about : str
        Which map this is: a title, and a line in small letters.
    """

    coordinates: npt.ArrayLike
    held_out: np.ndarray
    cells: pd.DataFrame
    title: str
    about: str


def plot_cell_map(panel: Mapping[str, Any], cells: pd.DataFrame, held_out: HeldOutMap | None = None) -> Figure:
    """Draw cells on their map, the genes decoded from it, and their features, measured beside predicted.

    Its message: where cells lie in the map, and how well the features are predicted that are predicted best.

    Parameters
    ----------
    panel : dict
        `title`, with the R2 of all features; `about`, of which cells it is; `coordinates` (n_cells, 2); `genes`,
        DataFrame of up to nine columns of z-scores; `about_genes`; `measured` and `predicted`, DataFrames of z-scores
        with the same columns, of which up to nine are drawn, NaN where not known; `r2`, Series by feature;
        `about_features`; `notes`, list of sentences below the figure.
    cells : DataFrame
        `type_color`, `cell_family`. Cells of the family "unknown" are not named, but counted below the figure, as are
        families for whose names there is no room.
    held_out : HeldOutMap, optional
        Drawn beside the map: held-out cells in their colours, the others pale.

    Returns
    -------
    Figure
    """
    genes = panel["genes"].iloc[:, :MOST_SHOWN]
    features = list(panel["r2"].index[:MOST_SHOWN])
    lines = max([wrapped(name, _NAME_WIDTH).count("\n") + 1 for name in genes] or [1])
    above = 3 * (0.6 + 0.1 * lines + 0.05)
    headings = [wrapped(f"{name}: {_as_text(panel['r2'][name])}", _PAIR_LETTERS) for name in features]
    rows = [
        max(heading.count("\n") + 1 for heading in headings[start : start + 3]) for start in range(0, len(features), 3)
    ]
    row_heights = [_LINE * (n_lines + 1) + 0.04 + _PANEL + 0.08 for n_lines in rows]
    below = _HEAD + sum(row_heights) + 0.3
    n_notes = len(panel["notes"]) + 1  # about the classes
    top = _HEAD + above + 0.38
    height = top + below + _LINE * n_notes + 0.08
    figure = plt.figure(figsize=(FULL_WIDTH, height), layout="none")
    letters = iter("abcd")
    about_classes = _draw_maps(figure, panel, cells, held_out, above, letters)
    left = FULL_WIDTH - _EDGE - _GENES
    _title(figure, left, 0, next(letters), "decoded genes", panel["about_genes"])
    _draw_genes(figure, left, panel["coordinates"], genes, lines)
    scale = axes_at(figure, left + _GENES / 2 - 0.45, _HEAD + above + 0.04, 0.9, 0.06)
    draw_z_scale(scale, _LIMIT)
    _title(figure, _EDGE, top, next(letters), "features, measured beside predicted", panel["about_features"])
    _draw_features(figure, top + _HEAD, panel, features, headings, rows, row_heights)
    scale = axes_at(figure, FULL_WIDTH / 2 - 0.45, top + _HEAD + sum(row_heights), 0.9, 0.06)
    draw_z_scale(scale, _LIMIT)
    for number, note in enumerate([*panel["notes"], about_classes]):
        text_at(figure, _EDGE, top + below + _LINE * (number + 1), note, fontsize=6, color=MUTED, va="baseline")
    return freeze(figure)


def _as_text(r2):
    """R2 in words that fit a title."""
    return f"R² {r2:.2f}".replace("-", "−") if np.isfinite(r2) else "R² not known"


def _title(figure, left, top, letter, title, about, bold=False):
    """Write letter and title of a panel, and a line in small letters below them."""
    panel_title(figure, left, top + 0.16, letter)
    weight = "bold" if bold else "normal"
    text_at(figure, left + 0.16, top + 0.16, title, va="baseline", fontweight=weight)
    if about:
        text_at(figure, left + 0.16, top + 0.28, about, fontsize=6, color=MUTED, va="baseline")


def _draw_maps(figure, panel, cells, held_out, height, letters):
    """Draw the map, and beside it that with held-out cells; return what to say of names that are not there."""
    room = FULL_WIDTH - 2 * _EDGE - _GENES - _GAP
    width = room if held_out is None else (room - _GAP) / 2
    size = _size_of(len(cells))
    _title(figure, _EDGE, 0, next(letters), panel["title"], panel["about"], bold=True)
    axis = axes_at(figure, _EDGE, _HEAD, width, height)
    draw_cells(axis, panel["coordinates"], cells, size=size)
    if held_out is not None:
        left = _EDGE + width + _GAP
        _title(figure, left, 0, next(letters), held_out.title, held_out.about, bold=True)
        _draw_held_out(axes_at(figure, left, _HEAD, width, height), held_out, size)
    families = set(cells["cell_family"]) - {"", UNKNOWN}
    named = {text.get_text() for text in axis.texts if text.get_gid() == "cluster label"}
    n_unnamed, n_unknown = len(families - named), int((cells["cell_family"] == UNKNOWN).sum())
    notes = [f"{n_unnamed} of {len(families)} classes, the smallest, are not named on the map."] if n_unnamed else []
    notes += [f"Grey: {n_unknown} cells of unknown type."] if n_unknown else []
    return " ".join(notes)


def _size_of(n_cells):
    """Area of a cell in points squared."""
    return 8 if n_cells <= 600 else 4 if n_cells <= 3000 else 1.5


def _draw_held_out(axis, shown, size):
    """Draw held-out cells in their colours over the others, with the names of their families."""
    places, held_out = places_of(shown.coordinates), np.asarray(shown.held_out, dtype=bool)
    draw_bare_cells(axis, places[~held_out], "0.87", size=0.7 * size)
    colors = shown.cells["type_color"].to_numpy()[held_out]
    axis.scatter(*places[held_out].T, s=size, c=colors, linewidths=0, rasterized=True)
    bare_map(axis, places)
    name_families(axis, places[held_out], shown.cells["cell_family"].to_numpy()[held_out])


def _draw_genes(figure, left, coordinates, genes, n_lines):
    """Draw genes over the map, in rows of three."""
    triangulation = masked_triangulation(coordinates)
    step = (_GENES - _SMALL) / 2
    for number, name in enumerate(genes.columns):
        row, column = divmod(number, 3)
        place = _HEAD + row * (0.65 + 0.1 * n_lines) + 0.1 * n_lines + 0.02
        axis = axes_at(figure, left + column * step, place, _SMALL, 0.6)
        draw_contours(axis, triangulation, genes[name], _LIMIT)
        name_overlay(axis, name, "italic", _NAME_WIDTH)


def _draw_features(figure, top, panel, features, headings, rows, row_heights):
    """Draw two maps for each feature, measured and predicted, with its name and R2 above them."""
    step = (FULL_WIDTH - 2 * _EDGE - _PAIR) / 2
    half = (_PAIR - 0.06) / 2
    size = _size_of(len(panel["measured"])) / 2
    for number, (name, heading) in enumerate(zip(features, headings, strict=True)):
        row, column = divmod(number, 3)
        left, start = _EDGE + column * step, top + sum(row_heights[:row])
        n_lines = heading.count("\n") + 1
        first = start + _LINE * (rows[row] - n_lines + 0.85)
        text_at(figure, left + _PAIR / 2, first - 0.085, heading, fontsize=6.5, ha="center", va="top", linespacing=1.1)
        for side, what in enumerate(("measured", "predicted")):
            middle = left + side * (half + 0.06) + half / 2
            place = start + _LINE * (rows[row] + 0.85)
            text_at(figure, middle, place, what, fontsize=6, color=MUTED, ha="center", va="baseline")
            axis = axes_at(figure, middle - half / 2, start + _LINE * (rows[row] + 1) + 0.04, half, _PANEL)
            _draw_values(axis, panel["coordinates"], panel[what][name], size)


def _draw_values(axis, coordinates, values, size):
    """Draw cells in the colours of their z-scores, and below them, grey, those without one."""
    places, values = places_of(coordinates), steady(values)
    known = np.isfinite(values)
    axis.scatter(places[~known, 0], places[~known, 1], s=size, c=_NO_VALUE, linewidths=0, rasterized=True)
    look = {"cmap": CMAP, "vmin": -_LIMIT, "vmax": _LIMIT, "linewidths": 0.2, "edgecolors": "0.5"}
    axis.scatter(places[known, 0], places[known, 1], s=size, c=values[known], **look, rasterized=True)
    bare_map(axis, places)
