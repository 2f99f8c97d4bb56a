"""What the tables of a report show: whether genes predict, better or more than the class; which models are alike."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sbnn.data.paired_data import PairedData
from sbnn.reporting.contest import BY_SIMPLICITY, Splits, unseen_share
from sbnn.reporting.phrases import MEAN
from sbnn.reporting.scores import difference
from sbnn.validation.class_models import LABELS_ONLY, WITH_CLASS

#: With fewer donors (or cells) no interval of 95 % exists: if each of five is above 0, that is chance once in 32 times.
LEAST_UNITS = 6
#: Fewer than this give rough intervals.
FEW_UNITS = 20
#: An R2 that is surely below this is none.
LITTLE = 0.05
#: Share of the predicted cells of whose classes a model has seen none, above which it is no fair rival.
UNSEEN = 0.1


class Evidence:
    """Decisions, each from the same tables and by intervals alone.

    Parameters
    ----------
    data : PairedData
    splits : Splits
    tables : dict of DataFrame
        `scores` and `differences`.

    Attributes
    ----------
    scores : DataFrame
        `scores` of the models that have an R2, by name, the best first.
    means, readers : list of str
        Models that read classes and no gene, and models that read genes and no class, the best first.
    unseen : dict
        Name of a model that reads classes -> share of the predicted cells of whose classes it has seen none.
    best : str
        The model with the best R2; "mean of all cells" if none is above 0.
    reader : str or None
        The best of the models that read genes alone.
    of_class : str or None
        The best of those that read classes alone and are a fair rival.
    pair : tuple of str, or None
        The best model of classes and genes, and `of_class`.
    gain : tuple of float
        By how much R2 of the first exceeds that of the second, with its interval. The best of all is taken, because
        genes carry the class: they would make up for a mean that is shrunken too much.
    adds : bool
        Whether genes add to the class: classes and genes predict, and better than all that read classes alone.
    alike : tuple of str
        Models that cannot be told apart from the best: the interval of the difference includes 0.
    simplest : str
        The simplest of these and of the best.
    n_units : int
        Donors (or cells) that intervals resample.
    """

    def __init__(self, data: PairedData, splits: Splits, tables: Mapping[str, pd.DataFrame]):
        self.data, self.splits, self.differences = data, splits, tables["differences"]
        self.scores = tables["scores"].dropna(subset="r2").set_index("model")
        names = list(self.scores.index)
        self.means = [name for name in names if name in LABELS_ONLY]
        self.readers = [name for name in names if name not in (*LABELS_ONLY, *WITH_CLASS)]
        self.n_units = int(self.scores["n_units"].max()) if names else 0
        self.best = names[0] if names and self.scores["r2"].iloc[0] > 0 else MEAN
        self.reader = self.readers[0] if self.readers else None
        reading = [name for name in names if name in (*LABELS_ONLY, *WITH_CLASS)]
        self.unseen = {name: unseen_share(data, splits.folds, name) for name in reading}
        fair = [name for name in reading if self.unseen[name] <= UNSEEN]
        alone, both = ([name for name in fair if name in kind] for kind in (LABELS_ONLY, WITH_CLASS))
        self.of_class = alone[0] if alone else None
        self.pair = (both[0], alone[0]) if both and alone else None
        self.gain = (np.nan,) * 3 if self.pair is None else difference(self.differences, *self.pair)
        self.adds = self.pair is not None and self.is_shown(self.gain[1]) and self.is_shown(self._low(self.pair[0]))
        self.alike = self._alike()
        order = [MEAN, *BY_SIMPLICITY]
        self.simplest = min([self.best, *self.alike], key=order.index)

    def is_shown(self, low: float) -> bool:
        """Whether a lower end of an interval shows that something is above 0."""
        return bool(low > 0 and self.n_units >= LEAST_UNITS)

    def told(self) -> int:
        """Whether genes predict: 1 yes, 0 not shown, -1 no, or so little that it does not count."""
        if self.reader is None:
            return -1
        if self.is_shown(self._low(self.reader)):
            return 1
        return -1 if self.scores.loc[self.reader, "high"] < LITTLE and self.n_units >= LEAST_UNITS else 0

    def against_class(self) -> int | None:
        """Whether genes predict better than classes: 1 yes, 0 not told apart, -1 worse; None if nothing can be said."""
        if self.reader is None or self.of_class is None:
            return None
        _, low, high = difference(self.differences, self.reader, self.of_class)
        return 1 if self.is_shown(low) else -1 if self.is_shown(-high) else 0

    def told_features(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of those features whose interval is above 0."""
        return table[[self.is_shown(low) for low in table["low"]]]

    def _low(self, name):
        return self.scores.loc[name, "low"]

    def _alike(self) -> tuple[str, ...]:
        """Models that cannot be told apart from the best."""
        if self.best == MEAN:
            return tuple(name for name in self.scores.index if self.scores.loc[name, "high"] >= 0)
        others = [name for name in self.scores.index if name != self.best]
        found = [name for name in others if not self.is_shown(difference(self.differences, self.best, name)[1])]
        return (*found, *(() if self.is_shown(self._low(self.best)) else (MEAN,)))
