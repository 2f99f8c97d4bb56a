"""The style of all figures, and what makes a figure stay as it was laid out."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.layout_engine import PlaceHolderLayoutEngine

STYLE = {
    "font.size": 7,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.5,
    # White, without an edge: lines do not run through its text.
    "legend.framealpha": 1,
    "legend.facecolor": "white",
    "legend.edgecolor": "none",
    "legend.borderpad": 0.1,
    "figure.dpi": 120,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
}

GREEN, ORANGE, LINEAR = "#1b9e77", "#e6761c", "#7570b3"
#: White rim that keeps text over points legible.
OUTLINE = [patheffects.withStroke(linewidth=1.6, foreground="white")]


def use_style():
    """Switch Matplotlib to the style of the figures."""
    plt.rcParams.update(STYLE)


def penalty_label(group_lasso):
    """Return a penalty as the figures write it: 0.1, 1, or a power of ten."""
    exponent = np.log10(group_lasso)
    if group_lasso < 0.1 and np.isclose(exponent, round(exponent)):
        return rf"$10^{{{round(exponent)}}}$"
    return f"{group_lasso:g}"


def wrapped(name, width=15):
    """Break a long name into lines of about `width` letters."""
    return textwrap.fill(str(name), width, break_long_words=False)


def freeze(figure):
    """Lay a figure out once and for all: everything that is saved or shown later is this picture.

    Saving turns the layout engine off and then on again. A figure without one is given that of `plt.rcParams` in its
    place, so that whatever was saved second was laid out anew: PNG, PDF and the picture in the notebook differed. Here
    an engine that does nothing takes its place.

    Parameters
    ----------
    figure : Figure
        Complete: what is added later is not laid out.

    Returns
    -------
    Figure
        The same.
    """
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine(PlaceHolderLayoutEngine(True, True if engine is None else engine.colorbar_gridspec))
    return figure


def show_whole_figures():
    """Have notebooks show figures as they are saved: Jupyter crops them otherwise."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.config import InlineBackend
    except ImportError:  # no notebook
        return
    shell = get_ipython()
    if shell is not None:
        backend = InlineBackend.instance(parent=shell)
        backend.print_figure_kwargs = {**backend.print_figure_kwargs, "bbox_inches": None}
