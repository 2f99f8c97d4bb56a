"""The answer in plain words: can features be told from genes, better than from the class, with which model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sbnn.data.paired_data import PairedData
from sbnn.reporting.contest import BY_SIMPLICITY, CLASS_MEANS, LINEAR, Splits

#: What is recommended if no model predicts better: R2 is 0 by definition.
MEAN = "mean of all cells"
#: Fewer animals (or cells) than this give rough intervals.
FEW_UNITS = 20
#: Names of classes in plain words.
CLASS_WORDS = {"cell_families": "family", "cell_types": "type"}
#: What sentences begin with, to be printed bold.
LEADS = (
    "Can the features be told from genes?",
    "Better than from the class?",
    "Recommended:",
    "Not told apart from it:",
    "How many genes?",
    "How sure?",
)
_WORDS = {
    "family mean": "the mean of the cell's family",
    "type mean": "the mean of the cell's type",
    "sRRR-2": "the sparse linear model sRRR-2",
    "ridge": "the linear model ridge",
    "sBNN-2": "the network sBNN-2",
    "sBNN-64": "the wide network sBNN-64",
    MEAN: "the mean of all cells",
}


@dataclass(frozen=True)
class Answer:
    """What the tables say, in plain words.

    Attributes
    ----------
    recommended : str
        The model with the best R2 on held-out cells; "mean of all cells" if none is above 0.
    alike : tuple of str
        Models that cannot be told apart from it: the interval of the difference includes 0, or their mean R2 is within
        one standard error of its own.
    simplest : str
        The simplest of these and of the recommended one.
    best_of_genes, best_of_classes : str or None
        The best of the models that read genes, and of the means of classes.
    headline : str
    sentences : tuple of str
    """

    recommended: str
    alike: tuple[str, ...]
    simplest: str
    best_of_genes: str | None
    best_of_classes: str | None
    headline: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """Headline and sentences, one paragraph a line."""
        return "\n".join([self.headline, *self.sentences])


def answer_from(data: PairedData, splits: Splits, tables: Mapping[str, pd.DataFrame]) -> Answer:
    """Return the answer that the tables of a report give.

    Parameters
    ----------
    data : PairedData
        For its numbers of cells, genes and features.
    splits : Splits
    tables : dict of DataFrame
        `scores` and `differences`; with `within_class`, it is said what genes tell within classes.

    Returns
    -------
    Answer
    """
    scores = tables["scores"].dropna(subset="r2").set_index("model")
    means = [name for name in scores.index if name in CLASS_MEANS.values()]
    readers = [name for name in scores.index if name not in means]
    best = scores.index[0] if len(scores) and scores["r2"].iloc[0] > 0 else MEAN
    reader, of_class = (names[0] if names else None for names in (readers, means))
    alike = _alike(best, scores, tables["differences"])
    order = [MEAN, *BY_SIMPLICITY]
    simplest = min([best, *alike], key=order.index)
    within = tables.get("within_class", pd.DataFrame())
    parts = _Parts(data, splits, scores, tables["differences"], within)
    sentences = [
        *parts.from_genes(reader),
        *parts.beyond_class(reader, of_class),
        *parts.recommendation(best, alike, simplest),
        *parts.linear_or_network(),
        *parts.genes(best),
        *parts.certainty(),
    ]
    headline = parts.headline(reader, of_class, best, simplest)
    return Answer(best, alike, simplest, reader, of_class, headline, tuple(sentences))


def difference(differences: pd.DataFrame, model: str, reference: str) -> tuple[float, float, float]:
    """Return by how much R2 of a model exceeds that of another, and the interval.

    Parameters
    ----------
    differences : DataFrame
        `sbnn.compare`: each pair once, in either order.
    model, reference : str

    Returns
    -------
    tuple of float
        Difference, low, high; NaN if the pair is not there.
    """
    for sign, first, second in ((1, model, reference), (-1, reference, model)):
        row = differences[(differences["model"] == first) & (differences["reference"] == second)]
        if len(row):
            value, low, high = row[["difference", "low", "high"]].iloc[0]
            return (value, low, high) if sign == 1 else (-value, -high, -low)
    return (np.nan, np.nan, np.nan)


def number(value: float, signed: bool = False, decimals: int = 2) -> str:
    """Return an R2 as text: a proper minus, "+" if asked for, zero without a sign."""
    if not np.isfinite(value):
        return "–"
    text, zero = f"{value:{'+' if signed else ''}.{decimals}f}", f"{0:.{decimals}f}"
    return zero if text.strip("+-") == zero else text.replace("-", "−")


def with_interval(value: float, low: float, high: float, signed: bool = False) -> str:
    """Return an R2 and its interval as text."""
    return f"{number(value, signed)} (95 % interval {number(low, signed)} to {number(high, signed)})"


def words_for(model: str) -> str:
    """Return a model in plain words."""
    return _WORDS.get(model, model)


def _alike(best, scores, differences):
    """Models that cannot be told apart from the best."""
    if best == MEAN:
        return tuple(name for name in scores.index if scores.loc[name, "high"] >= 0)
    least = scores.loc[best, "r2_mean"] - scores.loc[best, "r2_se"]
    others = [name for name in scores.index if name != best]
    found = [
        name for name in others if scores.loc[name, "r2_mean"] >= least or difference(differences, best, name)[1] <= 0
    ]
    return (*found, *((MEAN,) if scores.loc[best, "low"] <= 0 else ()))


class _Parts:
    """Sentences of the answer, each from the same tables."""

    def __init__(
        self,
        data: PairedData,
        splits: Splits,
        scores: pd.DataFrame,
        differences: pd.DataFrame,
        within: pd.DataFrame,
    ):
        self.data, self.splits, self.scores, self.differences = data, splits, scores, differences
        self.within = within

    def score(self, name):
        """R2 of a model with its interval."""
        return with_interval(*self.scores.loc[name, ["r2", "low", "high"]])

    def told(self, reader):
        """Whether genes predict: 1 yes, 0 unclear, -1 no."""
        if reader is None or self.scores.loc[reader, "r2"] <= 0:
            return -1
        return 1 if self.scores.loc[reader, "low"] > 0 else 0

    def against_class(self, reader, of_class):
        """Whether genes predict better than classes: 1 yes, 0 not told apart, -1 worse; None without classes."""
        if reader is None or of_class is None:
            return None
        _, low, high = difference(self.differences, reader, of_class)
        return 1 if low > 0 else -1 if high < 0 else 0

    def headline(self, reader, of_class, best, simplest):
        told, against = self.told(reader), self.against_class(reader, of_class)
        if told < 0:
            first = "Genes tell nothing about these features here"
            first += ", and the class predicts them better" if against == -1 else ""
        elif told == 0:
            first = "Whether genes tell anything about these features is not clear"
        else:
            first = {
                1: "Genes tell these features, and better than the class does",
                0: "Genes tell these features, about as well as the class does",
                -1: "Genes tell these features, but the class tells them better",
                None: "Genes tell these features",
            }[against]
        chosen = f"Recommended: {best}" if best != MEAN else "No model is recommended: take the mean of all cells"
        if simplest != best:
            chosen += f"; {simplest} is simpler, and cannot be told apart from it"
        return f"{first}. {chosen}."

    def from_genes(self, reader):
        whose, n = self.splits.of_whom, self.data.n_features
        if reader is None:
            yield "No model that reads genes could be scored."
            return
        what = "the feature" if n == 1 else f"the {n} features"
        found = f"of the models that read genes, {words_for(reader)} predicts best: {what} of {whose} with an R² of "
        found += f"{self.score(reader)}. An R² of 1 would be perfect; 0 is no better than the mean of all cells"
        yield {
            1: f"Can the features be told from genes? Yes, in part: {found}.",
            0: f"Can the features be told from genes? That is not clear: {found}, which the interval includes.",
            -1: f"Can the features be told from genes? No: {found}. No model that reads genes is better than that.",
        }[self.told(reader)]

    def beyond_class(self, reader, of_class):
        against = self.against_class(reader, of_class)
        if against is None:
            return
        gain = difference(self.differences, reader, of_class)
        class_words = f"{words_for(of_class)}, which has an R² of {self.score(of_class)}"
        yield {
            1: f"Better than from the class? Yes: R² is higher by {with_interval(*gain)} than that of {class_words}.",
            0: f"Better than from the class? That cannot be told: compared with {class_words}, R² differs by "
            f"{with_interval(*gain, signed=True)}, and this interval includes 0.",
            -1: f"Better than from the class? No: R² is {with_interval(*(-gain[0], -gain[2], -gain[1]))} lower than "
            f"that of {class_words}.",
        }[against]
        if self.told(reader) < 0:
            return
        for row in self.within.itertuples():
            kind = CLASS_WORDS[row.classes]
            share = with_interval(row.within_r2, row.low, row.high)
            if not np.isfinite(row.within_r2):
                continue
            if row.low > 0:
                more = f"genes tell something that the {kind} does not"
            else:
                more = f"it is not shown that genes tell anything more than the {kind}"
            yield f"Among cells of one {kind}, the R² of {reader} is {share}: {more}."

    def recommendation(self, best, alike, simplest):
        if best == MEAN:
            yield (
                "Recommended: no model. None has an R² above 0 on held-out cells, so that the mean of all cells "
                "predicts as well, and genes found here would say nothing."
            )
            return
        n_models = len(self.scores)
        needs = ""
        if best in CLASS_MEANS.values():
            needs = " It needs the class of a cell, and reads no gene."
            readers = [name for name in self.scores.index if name not in CLASS_MEANS.values()]
            if self.told(readers[0] if readers else None) > 0:
                needs += f" For cells without a class: {words_for(readers[0])}, {self.score(readers[0])}."
        yield (
            f"Recommended: {words_for(best)}. Of {n_models} models it has the best R² on {self.splits.of_whom}, "
            f"{self.score(best)}, with all settings chosen inside of the training cells (nested).{needs}"
        )
        others = [name for name in alike if name != MEAN]
        if others:
            listed = ", ".join(f"{name}, {_short(*difference(self.differences, best, name))}" for name in others)
            yield (
                f"Not told apart from it: {listed} (the difference in R²; its interval includes 0, or R² is within one "
                f"standard error). The simplest of them all is {words_for(simplest)}."
            )
        if MEAN in alike:
            yield f"The interval of its R² includes 0: it may be no better than {words_for(MEAN)}, the simplest of all."

    def linear_or_network(self):
        linear = [name for name in self.scores.index if name in LINEAR]
        networks = [name for name in self.scores.index if name.startswith("sBNN")]
        if not linear or not networks or max(self.scores.loc[linear[0], "r2"], self.scores.loc[networks[0], "r2"]) <= 0:
            return
        gain = difference(self.differences, linear[0], networks[0])
        start = f"With {self.data.n_cells} cells"
        if gain[1] > 0:
            yield (
                f"{start} the linear model {linear[0]} predicts better than the network {networks[0]}, by "
                f"{_short(*gain)}: use it."
            )
        elif gain[2] < 0:
            yield (
                f"{start} the network {networks[0]} predicts better than the linear model {linear[0]}, by "
                f"{_short(-gain[0], -gain[2], -gain[1])}."
            )
        else:
            more = "at least as well and is simpler: use it" if gain[0] >= 0 else "about as well, and is simpler"
            yield (
                f"{start} the linear model {linear[0]} predicts {more}. Its difference from the network {networks[0]} "
                f"is {_short(*gain)}."
            )

    def genes(self, best):
        if best == MEAN:
            return
        sparse = self.scores[(self.scores["n_genes"] > 0) & (self.scores["n_genes"] < self.data.n_genes)]
        if best in sparse.index:
            yield f"How many genes? {best} reads {_count(sparse.loc[best, 'n_genes'])} of {self.data.n_genes}."
            return
        start = f"How many genes? {best} reads all {self.data.n_genes}"
        if best in CLASS_MEANS.values():
            start = f"How many genes? {best} reads none"
        if not len(sparse):
            yield f"{start}."
            return
        few = sparse.index[0]
        gain = difference(self.differences, few, best)
        yield (
            f"{start}; with few genes, {few} reads {_count(sparse.loc[few, 'n_genes'])} and has an R² of "
            f"{self.score(few)}, a difference of {_short(*gain)}."
        )

    def certainty(self):
        n_units = int(self.scores["n_units"].max()) if len(self.scores) else 0
        few = f" With {n_units} {self.splits.units} they are rough." if n_units < FEW_UNITS else ""
        what = "whole animals" if self.splits.unit == "donor" else "cells"
        yield (
            f"How sure? Cells were predicted in {self.splits.words}. Intervals are 95 %, from resampling {what}; they "
            f"do not include how a model would change with other training cells.{few} The best of several models is "
            "slightly flattered."
        )


def _count(n_genes):
    """Mean number of genes over folds in words."""
    return f"{n_genes:.0f}" if float(n_genes).is_integer() else f"about {n_genes:.0f}"


def _short(value, low, high):
    """Difference and its interval."""
    return f"{number(value, True)} ({number(low, True)} to {number(high, True)})"
