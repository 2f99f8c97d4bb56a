"""Types, families and donors of cells as text, and their colours."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import UNKNOWN_LABELS

#: What cells without a type, family or donor are called, and their colour.
UNKNOWN, UNKNOWN_COLOR = "unknown", "#BBBBBB"
#: Colour of cells without types.
PLAIN_COLOR = "#4477AA"


def known_or_not(values: npt.ArrayLike) -> np.ndarray:
    """Return types, families or donors of cells as text, with `UNKNOWN` where they are missing, blank or "NA"."""
    values = np.asarray(values)
    texts = values.astype(str)
    missing = np.isin(np.char.lower(np.char.strip(texts)), list(UNKNOWN_LABELS))
    if values.dtype.kind not in "SU":
        missing |= np.asarray(pd.isna(values))
    return np.where(missing, UNKNOWN, texts)


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
