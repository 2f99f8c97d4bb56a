"""The part of a model file that concerns cohorts: donors of the training cells, and a recalibration.

Both are optional: files of format 2.2 and earlier have neither.

- array "training_donors" (n_cells,): the number of each training cell's animal, for `PairedModel.shift`
- arrays "recalibration offset", "recalibration scale" and "recalibration n_values" (n_features,)
"""

from collections.abc import Callable, Collection
from typing import Protocol

import numpy as np
import pandas as pd

_DONORS, _RECALIBRATION = "training_donors", "recalibration"


class KnowsCohorts(Protocol):
    """What is read of a fitted PairedModel."""

    training_donors_: np.ndarray | None
    recalibration_: pd.DataFrame | None


def pack_cohorts(model: KnowsCohorts) -> dict[str, np.ndarray]:
    """Return what a PairedModel knows of cohorts as arrays by name."""
    arrays: dict[str, np.ndarray] = {}
    if model.training_donors_ is not None:
        arrays[_DONORS] = np.asarray(model.training_donors_, dtype=np.int64)
    if model.recalibration_ is not None:
        table = model.recalibration_
        arrays |= {f"{_RECALIBRATION} {name}": table[name].to_numpy() for name in table}
    return arrays


def unpack_cohorts(
    held: Collection[str], take: Callable[..., np.ndarray], own_names: np.ndarray, n_cells: int
) -> tuple[np.ndarray | None, pd.DataFrame | None]:
    """Return the donors and the recalibration that `pack_cohorts` packed, each None if there is none.

    Parameters
    ----------
    held : collection of str
        Names of the arrays of the file.
    take : callable
        Takes an array out of the file, after checking its kind and shape; see `sbnn.own_cells.model_file`.
    own_names : str array, shape (n_features,)
        Features as they are predicted.
    n_cells : int
        Training cells of the model.

    Returns
    -------
    donors : int array, shape (n_cells,), or None
    recalibration : DataFrame or None

    Raises
    ------
    ValueError
        An array does not fit the features or the cells, or holds values that cannot be.
    """
    donors = take(_DONORS, "iu", (n_cells,)) if _DONORS in held else None
    if donors is not None and (len(np.unique(donors)) < 2 or donors.min() < 0):
        raise ValueError(f"its {_DONORS} are not the numbers of two animals or more")
    if not any(name.startswith(_RECALIBRATION) for name in held):
        return donors, None
    n = (len(own_names),)
    columns = {
        "offset": take(f"{_RECALIBRATION} offset", "f", n),
        "scale": take(f"{_RECALIBRATION} scale", "f", n, least=0, above=True),
        "n_values": take(f"{_RECALIBRATION} n_values", "iu", n),
    }
    return donors, pd.DataFrame(columns, index=pd.Index(own_names, name="feature"))
