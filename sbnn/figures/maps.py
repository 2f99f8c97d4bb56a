"""Figures of cells: latent spaces with overlays, t-SNE, runs side by side, the legend of types."""

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from sbnn._checks import check_matrix
from sbnn.figures.biplot import plot_double_biplot
from sbnn.figures.drawing import (
    draw_bare_cells,
    draw_cells,
    draw_contours,
    draw_z_scale,
    family_handles,
    masked_triangulation,
    name_overlay,
)
from sbnn.figures.gene_labels import with_shown_names
from sbnn.figures.overview import plot_overview
from sbnn.figures.plotting import draw_gene_frequencies
from sbnn.figures.style import FULL_WIDTH, axes_at, freeze, panel_title, text_at, wrapped
from sbnn.models.map_agreement import rotation_onto

__all__ = [
    "align",
    "draw_bare_cells",
    "draw_cells",
    "masked_triangulation",
    "plot_double_biplot",
    "plot_embeddings",
    "plot_latent_space",
    "plot_overview",
    "plot_seeds",
    "plot_type_legend",
]

#: Characters after which the name of an overlay continues on the next line.
_NAME_WIDTH = 13
_BLOCK, _CENTRE, _SMALL = 2.2, 2.3, 0.71  # widths in inches: nine overlays, the map, one overlay


def plot_latent_space(panels: Sequence[Mapping[str, Any]], cells: pd.DataFrame) -> Figure:
    """Figure 3: the cells in latent space, with decoded genes to the left and predicted features to the right.

    Its message: where families lie in the map, and which genes and which physiology belong to each part of it.

    Parameters
    ----------
    panels : list of dict
        One per row: `title`; `coordinates` (n_cells, 2); `genes` and `features` (DataFrames of up to nine columns
        each, z-scores to draw over the cells); `n_longest` triangles that are always masked; `gene_limit` of the
        colours of genes.
    cells : DataFrame
        `type_color`, `cell_family` of the cells.

    Returns
    -------
    Figure
    """
    panels = [{**panel, "genes": with_shown_names(panel["genes"])} for panel in panels]
    n_lines = [_lines_of_names(panel) for panel in panels]
    heights = [0.24 + _block_height(lines) + 0.36 for lines in n_lines]
    figure = plt.figure(figsize=(FULL_WIDTH, sum(heights)), layout="none")
    tops = np.cumsum([0, *heights[:-1]])
    for row, (panel, top, lines) in enumerate(zip(panels, tops, n_lines, strict=True)):
        _draw_row(figure, panel, cells, top, lines, letters=ascii_lowercase[row] if len(panels) > 1 else "abc")
    return freeze(figure)


def _lines_of_names(panel):
    """Count the lines of the longest name of an overlay."""
    names = [*panel["genes"].columns[:9], *panel["features"].columns[:9]]
    return max(wrapped(name, _NAME_WIDTH).count("\n") + 1 for name in names)


def _block_height(n_lines):
    """Height of three rows of overlays with names of the given number of lines."""
    return 3 * (0.6 + 0.1 * n_lines + 0.05)


def _draw_row(figure, panel, cells, top, n_lines, letters):
    """Draw one map between its overlays, with a letter for the row, or one for each of its three parts."""
    lefts = {"genes": 0.06, "map": 0.06 + _BLOCK + 0.14, "features": FULL_WIDTH - 0.06 - _BLOCK}
    titles = {"genes": "decoded genes", "map": panel["title"], "features": "predicted features"}
    for part, letter in zip(lefts, letters.ljust(3), strict=True):
        indent = 0.16 if letter != " " else 0
        if indent:
            panel_title(figure, lefts[part], top + 0.16, letter)
        bold = "bold" if part == "map" else "normal"
        text_at(figure, lefts[part] + indent, top + 0.16, titles[part], va="baseline", fontweight=bold)
    triangulation = masked_triangulation(panel["coordinates"], panel.get("n_longest", 20))
    limits = {"genes": panel.get("gene_limit", 2), "features": 2}
    height = _block_height(n_lines)
    for part, limit in limits.items():
        _draw_overlays(figure, lefts[part], top + 0.24, triangulation, panel[part], limit, n_lines)
        scale = axes_at(figure, lefts[part] + _BLOCK / 2 - 0.45, top + 0.24 + height + 0.05, 0.9, 0.06)
        draw_z_scale(scale, limit)
    centre = axes_at(figure, lefts["map"], top + 0.24, _CENTRE, height)
    draw_cells(centre, panel["coordinates"], cells, size=4 if len(cells) > 600 else 8)


def _draw_overlays(figure, left, top, triangulation, values, limit, n_lines):
    """Draw 3 x 3 contour plots of values over the cells, with their names above them."""
    step = (_BLOCK - _SMALL) / 2
    for number, name in enumerate(values.columns[:9]):
        row, column = divmod(number, 3)
        place = top + row * (0.65 + 0.1 * n_lines) + 0.1 * n_lines + 0.02
        axis = axes_at(figure, left + column * step, place, _SMALL, 0.6)
        draw_contours(axis, triangulation, values[name], limit)
        name_overlay(axis, name, "italic" if left < 1 else "normal", _NAME_WIDTH)


def align(coordinates: npt.ArrayLike, reference: npt.ArrayLike) -> np.ndarray:
    """Translate, rotate, reflect and scale coordinates onto a reference (Procrustes).

    Parameters
    ----------
    coordinates, reference : arrays, shape (n_cells, 2)

    Returns
    -------
    array, shape (n_cells, 2)
        Zeros if all cells are at one place.

    Raises
    ------
    ValueError
        Coordinates that are not finite.
    """
    points = (check_matrix(one, name) for one, name in ((coordinates, "coordinates"), (reference, "reference")))
    centred, target = (one - one.mean(axis=0) for one in points)
    rotation, scale = rotation_onto(centred, target)
    return centred @ rotation * scale


def plot_seeds(latents: pd.DataFrame, cells: pd.DataFrame, frequencies: Mapping[str, pd.Series]) -> Figure:
    """Figure 5: the latent space of nine runs that differ in their seed, and how often genes were selected.

    Its message: how much of the map, and how many of its genes, are reproduced with another seed.

    Parameters
    ----------
    latents : DataFrame
        `random_state`, `cell`, `z1`, `z2`, cells in the order of `cells`.
    cells : DataFrame
        `cell_family`, and `family_color` or `type_color`.
    frequencies : dict
        Name -> Series of `comparison.gene_frequencies`.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(FULL_WIDTH, 4.35), layout="none")
    panel_title(figure, 0.06, 0.17, "a", "the map of nine runs that differ in their seed")
    reference = None
    for number, (seed, part) in enumerate(list(latents.groupby("random_state"))[:9]):
        coordinates = part[["z1", "z2"]].to_numpy()
        reference = coordinates if reference is None else reference
        row, column = divmod(number, 3)
        axis = axes_at(figure, 0.06 + 1.32 * column, 0.4 + 1.22 * row, 1.25, 1.05)
        draw_cells(
            axis,
            align(coordinates, reference),
            cells,
            size=2 if len(cells) > 600 else 3,
            label_size=None,
            color_by="family",
        )
        axis.set_title(f"seed {seed:g}", fontsize=6.5, pad=2)
    place = (0.06 + 1.32 * 1.5 - 0.03) / FULL_WIDTH
    handles = family_handles(cells)
    spacing = {"columnspacing": 1, "handletextpad": 0.1}
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(place, 0), ncols=5, **spacing)
    panel_title(figure, 4.42, 0.17, "b", "in how many runs a gene was selected")
    histogram = axes_at(figure, 4.86, 0.72, 2.14, 2.95)
    draw_gene_frequencies(histogram, frequencies)
    return freeze(figure)


def plot_embeddings(panels: Mapping[str, npt.ArrayLike], cells: pd.DataFrame) -> Figure:
    """Figure 6: t-SNE of each modality, coloured by type.

    Its message: how well each modality alone separates families and types.

    Parameters
    ----------
    panels : dict
        Title -> coordinates (n_cells, 2); panels get letters if there are several.
    cells : DataFrame
        `type_color`, `cell_family`.

    Returns
    -------
    Figure
    """
    width = FULL_WIDTH / max(2, len(panels))
    figure = plt.figure(figsize=(width * len(panels), width - 0.1), layout="none")
    for number, (title, coordinates) in enumerate(panels.items()):
        if len(panels) > 1:
            panel_title(figure, width * number + 0.06, 0.16, ascii_lowercase[number], title)
        else:
            text_at(figure, 0.06, 0.16, title, va="baseline")
        axis = axes_at(figure, width * number + 0.06, 0.26, width - 0.12, width - 0.42)
        draw_cells(axis, coordinates, cells, size=5 if len(cells) > 600 else 9)
    return freeze(figure)


def plot_type_legend(cells: pd.DataFrame, n_rows: int = 18) -> Figure:
    """Draw the legend of all cell types, family by family, with the number of cells of each.

    Parameters
    ----------
    cells : DataFrame
        `cell_type`, `cell_family`, `type_color`.
    n_rows : int
        Lines per column; more if the page is not wide enough.

    Returns
    -------
    Figure
    """
    most_columns = 6
    lines = _legend_lines(cells, n_rows)
    while len(lines) > most_columns * n_rows:
        n_rows += 1
        lines = _legend_lines(cells, n_rows)
    n_columns = -(-len(lines) // n_rows)
    rows_used = min(n_rows, len(lines))
    width, height = FULL_WIDTH / most_columns * n_columns, 0.135 * rows_used + 0.08
    figure = plt.figure(figsize=(width, height), layout="none")
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, n_columns), ylim=(rows_used - 0.3, -0.8))
    axis.set_axis_off()
    for number, (text, color) in enumerate(lines):
        column, row = divmod(number, n_rows)
        if color is None:
            axis.text(column + 0.03, row, text, va="center_baseline", fontweight="bold", fontsize=6.5)
        else:
            axis.plot(column + 0.07, row, "o", color=color, markersize=4.5, markeredgewidth=0)
            axis.text(column + 0.13, row, text, va="center_baseline", fontsize=6.5)
    return freeze(figure)


def _legend_lines(cells, n_rows):
    """Text and colour of each line; the colour is None for names of families, which never end a column."""
    lines = []
    families_are_types = (cells["cell_family"] == cells["cell_type"]).all()
    for family, part in [("", cells)] if families_are_types else cells.groupby("cell_family"):
        lines += [("", None)] * ((len(lines) + 1) % n_rows == 0)
        lines += [(family, None)] if family else []
        types = part.groupby("cell_type")["type_color"].agg(["first", "size"])
        lines += [(f"{name} ({row['size']})", row["first"]) for name, row in types.iterrows()]
    return lines
