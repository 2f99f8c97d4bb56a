"""Pictures of cells: latent spaces with overlays, t-SNE, runs side by side, biplots."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.tri import Triangulation
from scipy.linalg import orthogonal_procrustes

from sbnn.plotting import plot_gene_frequencies
from sbnn.style import OUTLINE, freeze, wrapped

#: Characters after which the name of an overlay goes on in a second line.
_NAME_WIDTH = 18


def _bare(axis):
    """Make a map without ticks, frame or distortion."""
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_aspect("equal", adjustable="datalim")


def draw_bare_cells(axis, coordinates, colors, size=4):
    """Draw cells as points without axes; points are rasterised in vector files.

    Parameters
    ----------
    axis : Axes
    coordinates : array, shape (n_cells, 2)
    colors : colour or sequence of colours
    size : float
        Area of a cell in points squared.
    """
    axis.scatter(*np.asarray(coordinates).T, s=size, c=colors, linewidths=0, rasterized=True)
    _bare(axis)


def draw_cells(axis, coordinates, cells, size=4, label_size=6.5):
    """Draw cells coloured by type, with the names of families at their medians.

    Parameters
    ----------
    axis : Axes
    coordinates : array, shape (n_cells, 2)
    cells : DataFrame
        `type_color` and, to name them, `cell_family` of the same cells.
    size : float
        Area of a cell in points squared.
    label_size : float or None
        Size of the names of families in points; None leaves them out.

    Returns
    -------
    Axes
    """
    coordinates = np.asarray(coordinates)
    draw_bare_cells(axis, coordinates, cells["type_color"].to_numpy(), size)
    if label_size:
        for family, rows in pd.Series(np.arange(len(cells))).groupby(cells["cell_family"].to_numpy()):
            place = np.median(coordinates[rows], axis=0)
            axis.text(*place, family, fontsize=label_size, ha="center", va="center", path_effects=OUTLINE, zorder=3)
    return axis


def masked_triangulation(coordinates, n_longest=20):
    """Triangulate cells and mask the triangles that bridge empty space.

    Parameters
    ----------
    coordinates : array, shape (n_cells, 2)
    n_longest : int
        The triangles whose longest edge is among this many longest ones are masked.

    Returns
    -------
    Triangulation
    """
    triangulation = Triangulation(*np.asarray(coordinates, dtype=np.float64).T)
    corners = np.column_stack([triangulation.x, triangulation.y])[triangulation.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    mask = np.zeros(len(longest), dtype=bool)
    mask[np.argsort(-longest, kind="stable")[: min(n_longest, len(longest) - 1)]] = True
    triangulation.set_mask(mask)
    return triangulation


def _draw_contours(axis, triangulation, values, limit):
    """Draw filled contours of values over the cells; beyond the limits the colours stay at their ends."""
    contours = axis.tricontourf(
        triangulation,
        values.to_numpy(dtype=float),
        levels=np.linspace(-limit, limit, 21),
        cmap="inferno",
        extend="both",
    )
    contours.set_rasterized(True)
    return contours


def _draw_overlays(figure, place, triangulation, values, limit, title, n_lines):
    """3 x 3 contour pictures of values over the cells, names in up to `n_lines`; returns the last contour set."""
    axes = place.subgridspec(3, 3, wspace=0.04, hspace=0.2 * n_lines).subplots()
    for axis in axes.flat:
        _bare(axis)
    size = 6.5 if max(map(len, values.columns)) <= 15 else 4.8
    for axis, name in zip(axes.flat, values.columns, strict=False):
        contours = _draw_contours(axis, triangulation, values[name], limit)
        axis.set_title(
            wrapped(name, _NAME_WIDTH), fontsize=size, pad=2, style="italic" if title == "genes" else "normal"
        )
    axes[0, 1].annotate(title, (0.5, 1.16 + 0.12 * n_lines), xycoords="axes fraction", ha="center", fontsize=7.5)
    return contours


def plot_latent_space(panels, cells):
    """Figure 3: the cells in latent space, with decoded genes to the left and predicted features to the right.

    Parameters
    ----------
    panels : list of dict
        One a row: `title`; `coordinates` (n_cells, 2); `genes` and `features` (DataFrames of up to nine columns
        each, values to draw over the cells); `n_longest` triangles to mask; `gene_limit` of the colours of genes.
    cells : DataFrame
        `type_color`, `cell_family` of the cells.

    Returns
    -------
    Figure
    """
    height = 2.75 * len(panels)
    figure = plt.figure(figsize=(7.4, height), layout="none")
    rows = figure.add_gridspec(
        len(panels), 1, hspace=0.24, left=0.01, right=0.935, top=1 - 0.38 / height, bottom=0.05 / height
    )
    for letter, panel, row in zip("abcdefgh", panels, rows, strict=False):
        places = row.subgridspec(1, 3, width_ratios=(1, 1.15, 1), wspace=0.06)
        triangulation = masked_triangulation(panel["coordinates"], panel.get("n_longest", 20))
        names = [*panel["genes"], *panel["features"]]
        n_lines = max(wrapped(name, _NAME_WIDTH).count("\n") + 1 for name in names)
        _draw_overlays(figure, places[0], triangulation, panel["genes"], panel.get("gene_limit", 2), "genes", n_lines)
        contours = _draw_overlays(figure, places[2], triangulation, panel["features"], 2, "features", n_lines)
        centre = draw_cells(figure.add_subplot(places[1]), panel["coordinates"], cells)
        title = f"{letter}  {panel['title']}" if len(panels) > 1 else panel["title"]
        centre.set_title(title, loc="left", fontweight="bold")
        box = places[2].get_position(figure)
        scale = figure.add_axes((0.945, box.y0 + 0.3 * box.height, 0.008, 0.4 * box.height))
        colorbar = figure.colorbar(contours, cax=scale, ticks=[-2, 0, 2], extendfrac=0)
        colorbar.outline.set_visible(False)
        gene_limit = panel.get("gene_limit", 2)
        label = "z-score" if gene_limit == 2 else f"z-score (genes: $\\pm${gene_limit:g})"
        colorbar.set_label(label, fontsize=6, labelpad=1)
        colorbar.ax.tick_params(labelsize=6, length=2)
    return freeze(figure)


def align(coordinates, reference):
    """Centre, turn, mirror and scale coordinates so that they lie over a reference (Procrustes).

    Parameters
    ----------
    coordinates, reference : arrays, shape (n_cells, 2)

    Returns
    -------
    array, shape (n_cells, 2)
    """
    centred, target = (np.asarray(points) - np.mean(points, axis=0) for points in (coordinates, reference))
    rotation, scale = orthogonal_procrustes(centred, target)
    return centred @ rotation * (scale / np.sum(centred**2))


def plot_seeds(latents, cells, frequencies):
    """Figure 5: the latent space of nine runs that differ in their seed, and how often genes were selected.

    Parameters
    ----------
    latents : DataFrame
        `random_state`, `cell`, `z1`, `z2`, cells in the order of `cells`.
    cells : DataFrame
        `type_color`, `cell_family`.
    frequencies : dict
        Name -> Series of `comparison.gene_frequencies`.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(7.4, 4.2), layout="constrained")
    left, right = figure.add_gridspec(1, 2, width_ratios=(1.25, 1))
    axes = left.subgridspec(3, 3, wspace=0.05, hspace=0.12).subplots()
    reference = None
    for axis in axes.flat:
        _bare(axis)
    for axis, (seed, part) in zip(axes.flat, latents.groupby("random_state"), strict=False):
        coordinates = part[["z1", "z2"]].to_numpy()
        reference = coordinates if reference is None else reference
        draw_cells(
            axis, align(coordinates, reference), cells, size=1.5, label_size=4.5 if reference is coordinates else None
        )
        axis.set_title(f"seed {seed:g}", fontsize=6.5, pad=2)
    histogram = figure.add_subplot(right)
    plot_gene_frequencies(frequencies, histogram)
    histogram.set_box_aspect(0.8)
    return freeze(figure)


def plot_embeddings(panels, cells):
    """Figure 6: t-SNE of each modality, coloured by type.

    Parameters
    ----------
    panels : dict
        Title -> coordinates (n_cells, 2).
    cells : DataFrame
        `type_color`, `cell_family`.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.2), squeeze=False, layout="constrained")
    for axis, (title, coordinates) in zip(axes[0], panels.items(), strict=True):
        draw_cells(axis, coordinates, cells)
        axis.set_title(title, loc="left", fontweight="bold")
    return freeze(figure)


def plot_type_legend(cells, n_rows=18):
    """Draw the legend of all cell types, family by family, with the number of cells of each.

    Parameters
    ----------
    cells : DataFrame
        `cell_type`, `cell_family`, `type_color`.
    n_rows : int
        Lines a column.

    Returns
    -------
    Figure
    """
    lines = []  # (text, colour or None for the name of a family)
    families_are_types = (cells["cell_family"] == cells["cell_type"]).all()
    for family, part in [("", cells)] if families_are_types else cells.groupby("cell_family"):
        # The name of a family never stands alone at the foot of a column.
        lines += [("", None)] * ((len(lines) + 1) % n_rows == 0)
        lines += [(family, None)] if family else []
        types = part.groupby("cell_type")["type_color"].agg(["first", "size"])
        lines += [(f"{name} ({row['size']})", row["first"]) for name, row in types.iterrows()]
    n_columns = -(-len(lines) // n_rows)
    rows_used = min(n_rows, len(lines))
    figure, axis = plt.subplots(figsize=(1.32 * n_columns, 0.15 * rows_used + 0.1), layout="none")
    figure.subplots_adjust(0, 0, 1, 1)
    axis.set(xlim=(0, n_columns), ylim=(rows_used - 0.2, -0.8))
    axis.set_axis_off()
    for number, (text, color) in enumerate(lines):
        column, row = divmod(number, n_rows)
        if color is None:
            axis.text(column + 0.04, row, text, va="center", fontweight="bold", fontsize=6.5)
        else:
            axis.plot(column + 0.08, row, "o", color=color, markersize=4.5, markeredgewidth=0)
            axis.text(column + 0.14, row, text, va="center", fontsize=6.5)
    return freeze(figure)


def plot_double_biplot(biplot, gene_arrows, feature_arrows, cells, n_arrows=20):
    """Figure 8: cells as seen from genes (X W) and from features (Y V), with correlations as arrows.

    Parameters
    ----------
    biplot : DataFrame
        `x1`, `x2`, `y1`, `y2`: components of each cell, divided by their SD.
    gene_arrows, feature_arrows : DataFrame
        `name`, `r1`, `r2`: correlations with the two axes of their side.
    cells : DataFrame
        `type_color`, `cell_family`.
    n_arrows : int
        How many genes and features to draw, those with the longest arrows.

    Returns
    -------
    Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), layout="constrained")
    gene_arrows, feature_arrows = (
        arrows.iloc[np.argsort(-np.hypot(arrows["r1"], arrows["r2"]))[:n_arrows]]
        for arrows in (gene_arrows, feature_arrows)
    )
    sides = (
        ("a  transcriptomic side, X W", ["x1", "x2"], gene_arrows, "italic"),
        ("b  electrophysiological side, Y V", ["y1", "y2"], feature_arrows, "normal"),
    )
    for axis, (title, columns, arrows, style) in zip(axes, sides, strict=True):
        draw_cells(axis, biplot[columns].to_numpy(), cells, size=3, label_size=None)
        radius = 2.6
        axis.add_patch(plt.Circle((0, 0), radius, fill=False, color="0.4", linewidth=0.6))
        tips = arrows[["r1", "r2"]].to_numpy() * radius
        for tip in tips:
            axis.plot([0, tip[0]], [0, tip[1]], color="0.25", linewidth=0.5, zorder=3)
        for tip, place, name in zip(tips, _spread_labels(tips, radius), arrows["name"], strict=True):
            axis.plot([tip[0], place[0]], [tip[1], place[1]], color="0.7", linewidth=0.3, zorder=2)
            axis.text(
                *place,
                name,
                fontsize=5.5,
                style=style,
                va="center",
                ha="left" if place[0] > 0 else "right",
                path_effects=OUTLINE,
                zorder=4,
            )
        axis.set_aspect("equal", adjustable="box")
        axis.set(xlim=(-4.3, 4.3), ylim=(-3.6, 3.6))
        axis.set_title(title, loc="left", fontweight="bold")
    return freeze(figure)


def _spread_labels(tips, radius):
    """Places for labels just outside the circle, left and right, spaced so that none covers another."""
    places = np.array(tips, dtype=float)
    for side in (-1, 1):
        rows = np.flatnonzero(np.where(tips[:, 0] >= 0, 1, -1) == side)
        if not len(rows):
            continue
        rows = rows[np.argsort(tips[rows, 1])]
        gap = min(0.42, 2.4 * radius / len(rows))
        heights = tips[rows, 1] / np.maximum(np.linalg.norm(tips[rows], axis=1), 1e-9) * radius
        heights = _push_apart(heights, gap)
        places[rows, 1] = heights
        places[rows, 0] = side * (np.sqrt(np.maximum((1.08 * radius) ** 2 - heights**2, 0)) + 0.12)
    return places


def _push_apart(heights, gap):
    """Smallest ordered shifts that leave at least `gap` between neighbours, centred where they were."""
    steps = gap * np.arange(len(heights))
    low = np.maximum.accumulate(heights - steps) + steps
    high = np.minimum.accumulate((heights - steps)[::-1])[::-1] + steps
    return (low + high) / 2


def plot_overview(network_panel, linear_panel, cells, tsne):
    """Draw the README's picture: what goes in, the network's map beside the linear one, what is read off it.

    Parameters
    ----------
    network_panel, linear_panel : dict
        `title`, `coordinates`; the first also `genes` and `features` (DataFrames, four columns drawn).
    cells : DataFrame
        `type_color`, `cell_family`.
    tsne : array, shape (n_cells, 2)
        All genes, for comparison.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(7.4, 4.1), layout="none")
    grid = figure.add_gridspec(
        2, 5, height_ratios=(1.9, 1), left=0.01, right=0.99, top=0.93, bottom=0.02, hspace=0.16, wspace=0.08
    )
    top = grid[0, :].subgridspec(1, 3, wspace=0.04)
    titles = ("all genes, t-SNE", linear_panel["title"], network_panel["title"])
    places = (tsne, linear_panel["coordinates"], network_panel["coordinates"])
    for place, title, coordinates in zip(top, titles, places, strict=True):
        axis = draw_cells(figure.add_subplot(place), coordinates, cells, size=3)
        axis.set_title(title, loc="left", fontweight="bold")
    triangulation = masked_triangulation(network_panel["coordinates"], network_panel.get("n_longest", 20))
    bottom = grid[1, :].subgridspec(1, 8, wspace=0.06)
    columns = [(network_panel["genes"], name, "italic") for name in network_panel["genes"].columns[:4]]
    columns += [(network_panel["features"], name, "normal") for name in network_panel["features"].columns[:4]]
    for place, (values, name, style) in zip(bottom, columns, strict=False):
        axis = figure.add_subplot(place)
        _bare(axis)
        _draw_contours(axis, triangulation, values[name], 2)
        axis.set_title(wrapped(name), fontsize=7 if len(name) <= 15 else 5.5, style=style, pad=2)
    return freeze(figure)
