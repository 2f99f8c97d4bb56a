"""The protocol of a cross-validation: on which cells its genes are chosen, and z-scores and clusters fitted."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from sbnn.data.paired_data import PairedData
from sbnn.validation.folds import Fold, FoldView, name_of_fold, view_fold

_TEXT = re.compile(r"training cells, (\d+) variable genes of more than (\S+) counts")


class FoldProtocol(NamedTuple):
    """What `cross_validate` was told about it; as text, it is in results and in the keys of a store.

    Attributes
    ----------
    within_fold : bool
    n_variable_genes : int or None
    detection_threshold : float
        See `sbnn.cross_validate`.
    """

    within_fold: bool = False
    n_variable_genes: int | None = None
    detection_threshold: float = 0.0

    def __str__(self) -> str:
        """Write "all cells", "training cells", or the latter with the choice of genes."""
        if not self.within_fold:
            return "all cells"
        if self.n_variable_genes is None:
            return "training cells"
        threshold = np.format_float_positional(float(self.detection_threshold), trim="-")
        return f"training cells, {int(self.n_variable_genes)} variable genes of more than {threshold} counts"

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the protocol that a text describes.

        Parameters
        ----------
        text : str
            `CrossValidation.protocol`.

        Returns
        -------
        FoldProtocol
            Its fields are the last arguments of `sbnn.validation.folds.view_fold`.

        Raises
        ------
        ValueError
            A text that this version does not write.
        """
        if text in ("all cells", "training cells"):
            return cls(text == "training cells")
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"unknown protocol {text!r} of a cross-validation: made by a newer version of sbnn?")
        return cls(True, int(found[1]), float(found[2]))


def view_folds(
    data: PairedData,
    splits: Iterable[Fold],
    protocol: FoldProtocol,
    names: Sequence[str] = (),
    only_fold: int | None = None,
) -> list[FoldView]:
    """Return what the models of each fold see (`sbnn.validation.folds.view_fold`); errors say in which fold.

    With `only_fold`, the others are None.
    """
    views: list[Any] = []
    for number, split in enumerate(splits):
        if only_fold not in (None, number):
            views.append(None)
            continue
        try:
            views.append(view_fold(data, split, *protocol))
        except ValueError as error:
            error.add_note(f"in {name_of_fold(number, names)}")
            raise
    return views
