"""The style of all figures: sizes, colours of models and families, panel letters, and fixed layouts."""

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import colors as matplotlib_colors
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.typing import ColorType

from sbnn.data.cell_labels import modal_colors

#: Width of a page in inches, and the smallest text in points: no figure is wider, no text is smaller.
FULL_WIDTH, SMALLEST_TEXT = 7.1, 6

STYLE: dict[Any, Any] = {
    "font.size": 7,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "legend.borderpad": 0.1,
    "figure.dpi": 120,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
}


class ModelStyle(NamedTuple):
    """The style of a model in every figure."""

    color: str
    linestyle: str | tuple[float, tuple[float, ...]] = "-"
    filled: bool = True


_DASHED = (0, (4, 1.5))
#: The single definition of the colours of models; means of classes, which use no genes, are grey.
MODEL_STYLES = {
    "sBNN-2": ModelStyle("#1b9e77"),
    "sBNN-64": ModelStyle("#e6761c"),
    "sRRR-2": ModelStyle("#b08fd8", _DASHED),
    "sRRR-3": ModelStyle("#7f55c0", (0, (2, 1))),
    "sRRR-full": ModelStyle("#46207f"),
    "elastic net": ModelStyle("#c2508f"),
    "ridge": ModelStyle("#8c6d1f"),
    "extra trees": ModelStyle("#1b98c9"),
    "ridge, rank 2": ModelStyle("#8c6d1f", _DASHED),
    "PCA": ModelStyle("#3b6fb0"),
    "family mean": ModelStyle("#4d4d4d"),
    "type mean": ModelStyle("#8a8a8a", _DASHED, filled=False),
}
#: Colours of models without an assigned one, in order of occurrence.
SPARE_COLORS = ("#33658a", "#a23b3b", "#5f8a2d", "#6b6b9a", "#b08d00")

#: Colours not related to models: names and lines in the background, pale points, highlighted points.
MUTED, PALE, HIGHLIGHT = "#666666", "#c8c8c8", "#c0392b"
#: White outline that keeps text over points legible.
OUTLINE = [patheffects.withStroke(linewidth=1.6, foreground="white")]


def use_style() -> None:
    """Switch Matplotlib to the style of the figures."""
    plt.rcParams.update(STYLE)


def model_styles(names: Iterable[str]) -> dict[str, ModelStyle]:
    """Return the style of each model, the same in every figure.

    Parameters
    ----------
    names : iterable of str
        Names that are not in `MODEL_STYLES` get spare colours in their order.

    Returns
    -------
    dict
        Name -> ModelStyle.
    """
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in MODEL_STYLES]
    spare = {name: ModelStyle(SPARE_COLORS[i % len(SPARE_COLORS)]) for i, name in enumerate(unknown)}
    return {name: MODEL_STYLES.get(name) or spare[name] for name in names}


def shades(color: ColorType, n_shades: int) -> list[str]:
    """Return shades of a colour from light to dark, the colour itself two thirds of the way.

    Parameters
    ----------
    color : colour
    n_shades : int

    Returns
    -------
    list of str
        Hexadecimal colours.
    """
    middle = np.array(matplotlib_colors.to_rgb(color))
    ends = (0.55 * middle + 0.45, middle, 0.3 * middle)
    places = np.linspace(0, 1, n_shades) if n_shades > 1 else [0.7]
    channels = [np.interp(places, (0, 0.7, 1), [end[channel] for end in ends]) for channel in range(3)]
    return [matplotlib_colors.to_hex(shade) for shade in np.transpose(channels)]


def family_colors(cells: pd.DataFrame) -> dict[str, str]:
    """Return the colour of each family.

    Parameters
    ----------
    cells : DataFrame
        `cell_family`, and `family_color`, or else `type_color`: a family then has the colour of its most frequent type.

    Returns
    -------
    dict
        Family -> colour.
    """
    if "family_color" in cells:
        return dict(zip(cells["cell_family"], cells["family_color"], strict=True))
    return modal_colors(cells["cell_family"], cells["type_color"])


def penalty_label(group_lasso: float) -> str:
    """Return a penalty as text for figures: 0.1, 1, or a power of ten."""
    if group_lasso == 0:
        return "0"
    exponent = np.log10(group_lasso)
    if group_lasso < 0.1 and np.isclose(exponent, round(exponent)):
        return _power_of_ten(round(exponent))
    return f"{group_lasso:g}"


def _power_of_ten(exponent):
    """10 with its exponent in Unicode superscripts: those of mathtext are too small."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def name_powers(axis: Axis) -> None:
    """Label a logarithmic axis (`Axes.xaxis` or `.yaxis`, with its limits) with legible numbers."""
    low, high = np.log10(axis.get_view_interval())

    def name(value, _):
        return f"{value:g}" if 0.01 <= value <= 1000 else penalty_label(value)

    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high - low < 1.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(name))
    axis.set_minor_formatter(NullFormatter())


_CONSONANTS = set("bcdfghjklmnpqrstvwxz")


def wrapped(name: str, width: int = 15) -> str:
    """Break a long name into lines of about `width` letters; words of half as many more are hyphenated."""
    words = [_hyphenated(word) if len(word) > 1.5 * width else word for word in str(name).split(" ")]
    return textwrap.fill(" ".join(words), width, break_long_words=False)


def _hyphenated(word):
    """Hyphenate a word between the two consonants nearest to its middle, in two parts."""
    if "-" in word:
        return word  # is broken there
    middle = len(word) / 2
    places = [place for place in range(3, len(word) - 2) if _CONSONANTS.issuperset(word[place - 1 : place + 1].lower())]
    place = min(places, key=lambda one: abs(one - middle), default=round(middle))
    return f"{word[:place]}-{word[place:]}"


def axes_at(figure: Figure, left: float, top: float, width: float, height: float, **settings: Any) -> Axes:
    """Add axes at a position in inches from the upper left corner of the figure."""
    full_width, full_height = figure.get_size_inches()
    box = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    return figure.add_axes(box, **settings)


def text_at(figure: Figure, left: float, top: float, text: str, **settings: Any) -> Text:
    """Write text at a position in inches from the upper left corner of the figure."""
    width, height = figure.get_size_inches()
    return figure.text(left / width, 1 - top / height, text, **settings)


def panel_title(figure: Figure, left: float, top: float, letter: str, title: str = "") -> None:
    """Write the bold letter of a panel and its title, with the baseline `top` inches below the figure's upper edge."""
    text_at(figure, left, top, letter, fontsize=8.5, fontweight="bold", va="baseline", gid="panel letter")
    if title:
        text_at(figure, left + 0.16, top, title, va="baseline")


def freeze(figure: Figure) -> Figure:
    """Fix the layout of a figure: everything that is saved or shown later is identical.

    Saving turns the layout engine off and then on again. A figure without an engine is given that of `plt.rcParams`
    instead, so that anything saved later had another layout: PNG, PDF and the figure in the notebook differed. Here an
    engine that does nothing is set. Texts are shown as they are: a name with two $ is not a formula.

    Parameters
    ----------
    figure : Figure
        Complete: later additions are not laid out.

    Returns
    -------
    Figure
        The same figure.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # type: ignore[attr-defined]  # all are of class Text
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    figure.set_layout_engine(PlaceHolderLayoutEngine(True, True if engine is None else engine.colorbar_gridspec))
    return figure


def show_whole_figures() -> None:
    """Make notebooks show figures as they are saved: by default Jupyter crops them."""
    try:
        from IPython import get_ipython
        from matplotlib_inline.config import InlineBackend
    except ImportError:  # not in a notebook
        return
    shell = get_ipython()
    if shell is not None:
        backend = InlineBackend.instance(parent=shell)
        backend.print_figure_kwargs = {**backend.print_figure_kwargs, "bbox_inches": None}  # type: ignore[dict-item]  # None: uncropped
