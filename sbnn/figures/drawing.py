"""Elements of pictures of cells: points, names of families, contours of values over the cells."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.tri import Triangulation, TriContourSet
from matplotlib.typing import ColorType
from sklearn.neighbors import NearestNeighbors

from sbnn.data.cell_labels import UNKNOWN
from sbnn.figures.labels import axes_size, label_clusters
from sbnn.figures.style import MUTED, family_colors, wrapped

#: A triangle is empty where its longest edge is this many times the spacing of the cells at its corners ...
_EMPTY = 2.5
#: ... which is the distance to this neighbour, and counts for no more than this many times that of a typical cell.
_NEIGHBOUR, _SPARSEST = 5, 2.0
#: Holes with edges below this many times the typical spacing are not gaps between continents.
_HOLE = 10.0
_MARGIN = 0.04  # of a map, around the cells
_EMPTY_TRIANGLE = [0, 0, 0]  # stands for the triangles of a map that has none
CMAP = "inferno"


def bare_map(axis: Axes, coordinates: np.ndarray) -> None:
    """Set up a map without ticks, frame or distortion, with limits that include all cells for any shape of the axes."""
    axis.set(xticks=[], yticks=[])
    axis.patch.set_visible(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    coordinates = np.asarray(coordinates, dtype=float)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    box = axes_size(axis)
    scale = np.max((high - low) / box) * (1 + 2 * _MARGIN) or 1.0  # all cells may be at one place
    reach = scale * box / 2
    middle = (low + high) / 2
    axis.set(xlim=(middle[0] - reach[0], middle[0] + reach[0]), ylim=(middle[1] - reach[1], middle[1] + reach[1]))
    axis.set_aspect("equal", adjustable="datalim")


def steady(values: npt.ArrayLike) -> np.ndarray:
    """Round values to a millionth of the largest: the last bits, which differ between processors, are not drawn."""
    values = np.asarray(values, dtype=np.float64)
    largest = np.max(np.abs(values[np.isfinite(values)]), initial=0)
    return values if largest == 0 else np.round(values, 6 - int(np.floor(np.log10(largest))))


def places_of(coordinates: npt.ArrayLike) -> np.ndarray:
    """Return the places of cells in a map, as they are drawn.

    Parameters
    ----------
    coordinates : array, shape (n_cells, 2)

    Returns
    -------
    array, shape (n_cells, 2)
        See `steady`.

    Raises
    ------
    ValueError
        Not two coordinates per cell, or some are NaN or infinite.
    """
    coordinates = np.asarray(coordinates, dtype=np.float64)
    if coordinates.ndim != 2 or coordinates.shape[1] != 2:
        raise ValueError(f"coordinates of a map must have shape (n_cells, 2), got {coordinates.shape}")
    nowhere = ~np.isfinite(coordinates).all(axis=1)
    if nowhere.any():
        raise ValueError(
            f"{int(nowhere.sum())} of {len(nowhere)} cells have NaN or infinite coordinates, the first in row "
            f"{int(np.argmax(nowhere))}, and cannot be drawn: leave them out, or check that training did not diverge"
        )
    return steady(coordinates)


def draw_bare_cells(
    axis: Axes, coordinates: npt.ArrayLike, colors: ColorType | Sequence[ColorType], size: float = 4
) -> None:
    """Draw cells as points without axes; points are rasterised in vector files.

    Parameters
    ----------
    axis : Axes
    coordinates : array, shape (n_cells, 2)
    colors : colour or sequence of colours
    size : float
        Area of a cell in points squared.

    Raises
    ------
    ValueError
        See `places_of`.
    """
    coordinates = places_of(coordinates)
    x, y = coordinates.T
    axis.scatter(x, y, s=size, c=colors, linewidths=0, rasterized=True)
    bare_map(axis, coordinates)


def draw_cells(
    axis: Axes,
    coordinates: npt.ArrayLike,
    cells: pd.DataFrame,
    size: float = 4,
    label_size: float | None = 6.5,
    color_by: str = "type",
) -> Axes:
    """Draw cells with the names of families where these are densest; names do not overlap (`label_clusters`).

    Cells of the family "unknown" are not named.

    Parameters
    ----------
    axis : Axes
        In its final position: names are laid out for its current size.
    coordinates : array, shape (n_cells, 2)
    cells : DataFrame
        `type_color`, `cell_family` and, if available, `family_color` of the same cells.
    size : float
        Area of a cell in points squared.
    label_size : float or None
        Size of the names of families in points; None leaves them out.
    color_by : {"type", "family"}
        Whether cells have the colours of types or of families.

    Returns
    -------
    Axes
    """
    coordinates = places_of(coordinates)
    of_family = family_colors(cells) if color_by == "family" else None
    colors = cells["type_color"] if of_family is None else cells["cell_family"].map(of_family)
    draw_bare_cells(axis, coordinates, colors.to_numpy(), size)
    if label_size:
        name_families(axis, coordinates, cells["cell_family"], label_size)
    return axis


def name_families(axis: Axes, coordinates: np.ndarray, families: npt.ArrayLike, size: float = 6.5) -> list[Annotation]:
    """Name families where they are densest, but for "unknown" and ""; see `label_clusters`."""
    rows = pd.Series(np.arange(len(coordinates))).groupby(np.asarray(families))
    return label_clusters(axis, {name: coordinates[part] for name, part in rows if name not in ("", UNKNOWN)}, size)


def family_handles(cells: pd.DataFrame, numbers: bool = False) -> list[Line2D]:
    """Return legend handles of the families in their colours, with their numbers of cells if requested."""
    sizes = cells["cell_family"].value_counts()
    return [
        Line2D([], [], marker="o", linestyle="", markersize=4, markeredgewidth=0, color=color,
               label=f"{family} ({sizes[family]})" if numbers else family)
        for family, color in sorted(family_colors(cells).items()) if family
    ]  # fmt: skip


def masked_triangulation(coordinates: npt.ArrayLike, n_longest: int = 20) -> Triangulation:
    """Triangulate cells and mask the triangles over places without cells.

    Triangles with the longest edges are masked, as in the paper, and those with an edge much longer than the distances
    between cells at their corners, so that gaps between continents are empty with few cells as well. Small holes within
    a continent are closed.

    Parameters
    ----------
    coordinates : array, shape (n_cells, 2)
    n_longest : int
        This many triangles, those with the longest edges, are always masked.

    Returns
    -------
    Triangulation
        If all cells are on a line, or there are fewer than three, one empty triangle: see `draw_contours`.

    Raises
    ------
    ValueError
        See `places_of`.
    """
    points = places_of(coordinates)
    x, y = points.T
    try:
        triangulation = Triangulation(x, y)
    except (RuntimeError, ValueError):  # Qhull finds no triangle
        return Triangulation(x, y, triangles=[_EMPTY_TRIANGLE])
    corners = points[triangulation.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    neighbours = NearestNeighbors(n_neighbors=min(_NEIGHBOUR + 1, len(points))).fit(points)
    spacing = neighbours.kneighbors(points)[0][:, -1]
    typical = np.median(spacing)
    local = np.minimum(np.median(spacing[triangulation.triangles], axis=1), _SPARSEST * typical)
    empty = longest > _EMPTY * local
    for hole in enclosed(triangulation.neighbors, empty):
        if longest[hole].max() < _HOLE * typical:
            empty[hole] = False
    empty[np.argsort(-longest, kind="stable")[:n_longest]] = True
    if empty.all():  # contours need a triangle
        empty[np.argmin(longest)] = False
    triangulation.set_mask(empty)
    return triangulation


def enclosed(neighbours: np.ndarray, empty: np.ndarray) -> Iterator[Sequence[np.integer]]:
    """Yield groups of adjacent empty triangles that do not reach the outer edge.

    Parameters
    ----------
    neighbours : int array, shape (n_triangles, 3)
        Of each triangle; -1 beyond the outer edge.
    empty : bool array, shape (n_triangles,)

    Yields
    ------
    list of int
    """
    seen = np.zeros(len(empty), dtype=bool)
    for start in np.flatnonzero(empty):
        if seen[start]:
            continue
        group, queue, reaches_edge = [], [start], False
        seen[start] = True
        while queue:
            triangle = queue.pop()
            group.append(triangle)
            reaches_edge |= bool((neighbours[triangle] < 0).any())
            for neighbour in neighbours[triangle]:
                if neighbour >= 0 and empty[neighbour] and not seen[neighbour]:
                    seen[neighbour] = True
                    queue.append(neighbour)
        if not reaches_edge:
            yield group


def draw_contours(axis: Axes, triangulation: Triangulation, values: npt.ArrayLike, limit: float) -> ScalarMappable:
    """Draw values over the cells; beyond the limits the extreme colours are used.

    Parameters
    ----------
    axis : Axes
    triangulation : Triangulation
        From `masked_triangulation`.
    values : array, shape (n_cells,)
    limit : float
        Colours are those of values between -limit and limit.

    Returns
    -------
    TriContourSet
        Filled contours; for a map without triangles, the points of `Axes.scatter`.
    """
    values = steady(values)
    drawn: TriContourSet | PathCollection
    if (triangulation.triangles == _EMPTY_TRIANGLE).all():
        look: dict[str, Any] = {"s": 4, "linewidths": 0, "rasterized": True}
        drawn = axis.scatter(triangulation.x, triangulation.y, c=values, cmap=CMAP, vmin=-limit, vmax=limit, **look)
    else:
        levels = np.linspace(-limit, limit, 21)
        drawn = axis.tricontourf(triangulation, values, levels=levels, cmap=CMAP, extend="both")
        drawn.set_rasterized(True)
    bare_map(axis, np.column_stack([triangulation.x, triangulation.y]))
    return drawn


def name_overlay(axis: Axes, name: str, style: str, width: int = 14, size: float = 6.5) -> None:
    """Write the name of an overlay above it, in as many lines as needed."""
    axis.set_title(wrapped(name, width), fontsize=size if len(str(name)) <= width else 6, pad=1.5, style=style, y=1)


def draw_z_scale(axis: Axes, limit: float, label: str = "z-score") -> None:
    """Draw the scale of the overlays as a horizontal colour bar in the given axes."""
    norm = plt.Normalize(-limit, limit)
    bar = axis.figure.colorbar(plt.cm.ScalarMappable(norm, CMAP), cax=axis, orientation="horizontal")
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:g}", "0", f"{limit:g}"])
    bar.outline.set_visible(False)
    axis.tick_params(labelsize=6, length=1.5, pad=1.5)
    axis.set_xlabel(label, fontsize=6, labelpad=1, color=MUTED)
