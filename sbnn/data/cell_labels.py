"""Types, families and donors of cells as text, and their colours."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import UNKNOWN_LABELS, check_unique, preview

#: What cells without a type, family or donor are called, and their colour.
UNKNOWN, UNKNOWN_COLOR = "unknown", "#BBBBBB"
#: Colour of cells of data without types: grey, darker than that of few unknown cells among others.
PLAIN_COLOR = "#8C8C8C"


def known_or_not(values: npt.ArrayLike) -> np.ndarray:
    """Return types, families or donors of cells as text, with `UNKNOWN` where they are missing, blank or "NA"."""
    masked = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else False
    values = np.asarray(values)
    texts = values.astype(str)
    missing = masked | np.isin(np.char.lower(np.char.strip(texts)), list(UNKNOWN_LABELS))
    if values.dtype.kind not in "SU":
        missing |= np.asarray(pd.isna(values))
    return np.where(missing, UNKNOWN, texts)


def check_labels(values: npt.ArrayLike, cells: npt.ArrayLike, name: str) -> np.ndarray:
    """Return types, families or donors as text, in the order of `cells`.

    Parameters
    ----------
    values : array or Series, shape (n_cells,)
        In the order of the cells, or a Series indexed by their names, in any order.
    cells : sequence of str
        Names of the cells.
    name : str
        Name of the argument, for errors.

    Raises
    ------
    ValueError
        There is not one label per cell, or a Series is indexed by other names.
    """
    cells = np.asarray(cells).astype(str)
    shape = getattr(values, "shape", None) or np.shape(np.asarray(values, dtype=object))
    if isinstance(values, (str, bytes)) or shape != cells.shape:
        raise ValueError(
            f"{name} must have one entry per cell, shape {cells.shape}, got {type(values).__name__} of shape {shape}"
        )
    if not isinstance(values, pd.Series):
        return known_or_not(values)
    if set(values.index.astype(str)) == set(cells):
        return aligned_labels(values, cells, name)
    if values.index.equals(pd.RangeIndex(len(cells))):
        return known_or_not(values)
    raise ValueError(
        f"{name} is a Series whose index is not the names of the cells: it has {preview(values.index, 3)}, the cells "
        f"are {preview(cells, 3)}; give .to_numpy() if it is in their order"
    )


def aligned_labels(series: pd.Series, cells: np.ndarray, name: str) -> np.ndarray:
    """Return the labels of the named cells as text, from a Series indexed by cell that may have more of them."""
    series = series.set_axis(series.index.astype(str))
    series = series[series.index.isin(cells)]  # only these must be present, once each
    check_unique(series.index, f"cells in {name}")
    missing = cells[~np.isin(cells, series.index)]
    if len(missing):
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(cells)} cells: {preview(missing, 3)}; add them, with a missing "
            "value where it is unknown"
        )
    return known_or_not(series.loc[cells].astype(object).to_numpy())


def check_colors(colors: object, name: str) -> dict[str, str]:
    """Return colours of types or families; ValueError unless they are a dict of colours that matplotlib knows."""
    from matplotlib.colors import is_color_like

    if not isinstance(colors, dict):
        raise ValueError(f"{name} must be a dict such as {{'Pvalb': '#D93137'}}, got {type(colors).__name__}")
    for label, color in colors.items():
        if not is_color_like(color):
            raise ValueError(f"{name}[{label!r}] must be a colour such as '#D93137', got {color!r}")
    return colors


def complete_colors(labels: np.ndarray, given: object, name: str) -> dict[str, str]:
    """Return the colours given, or one for each label; grey for cells without a label."""
    grey = {UNKNOWN: UNKNOWN_COLOR} if UNKNOWN in labels else {}
    if given is not None:
        return grey | check_colors(given, name)
    from seaborn import color_palette

    known = [label for label in np.unique(labels).tolist() if label != UNKNOWN]
    return grey | dict(zip(known, color_palette("husl", len(known)).as_hex(), strict=True))


def modal_colors(groups: npt.ArrayLike, colors: Iterable[str]) -> dict[str, str]:
    """Return the most frequent colour of each group of cells (the first in order if two are equally frequent).

    Parameters
    ----------
    groups, colors : sequences of str, shape (n_cells,)
        Family and colour of each cell.

    Returns
    -------
    dict
        Family -> colour.
    """
    by_group = pd.Series(list(colors)).groupby(np.asarray(groups))
    return by_group.agg(lambda values: values.mode().iloc[0]).to_dict()
