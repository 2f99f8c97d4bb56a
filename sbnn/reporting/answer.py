"""The answer in plain words: can features be told from genes, better than from the class, with which model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sbnn.data.paired_data import PairedData
from sbnn.reporting.contest import (
    BY_SIMPLICITY,
    LABELS_ONLY,
    LINEAR,
    WITH_CLASS,
    Splits,
    class_of,
    unseen_share,
    with_class_and_best_mean,
)
from sbnn.reporting.phrases import MEAN, count_of_genes, lower, number, with_interval, words_for
from sbnn.reporting.scores import difference
from sbnn.validation.baselines import CLASSES
from sbnn.validation.guards import CONFOUNDED, Finding

#: Fewer donors (or cells) than this give rough intervals.
FEW_UNITS = 20
#: Names of classes in plain words.
CLASS_WORDS = {"cell_families": "family", "cell_types": "type"}
#: What sentences begin with, to be printed bold.
LEADS = (
    "Can the features be told from genes?",
    "Better than from the class?",
    "More than the class?",
    "Careful:",
    "Which features?",
    "Recommended:",
    "Not told apart from it:",
    "How many genes?",
    "How sure?",
)
#: Findings of `check_data` that cast doubt on the scores themselves.
CASTS_DOUBT = ("normalised counts", "features made of counts", "depth", "confounded donors")
#: Features that the answer names.
_BEST_TOLD, _NOT_TOLD = 3, 6
#: Share of the predicted cells whose class no training cell has, above which a mean of classes is no fair rival.
UNSEEN = 0.1


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


def answer_from(
    data: PairedData, splits: Splits, tables: Mapping[str, pd.DataFrame], findings: Sequence[Finding] = ()
) -> Answer:
    """Return the answer that the tables of a report give.

    Parameters
    ----------
    data : PairedData
        For its numbers of cells, genes and features.
    splits : Splits
    tables : dict of DataFrame
        `scores` and `differences`; with `within_class`, it is said what genes tell within classes, with `features`,
        which features they tell.
    findings : sequence of Finding
        From `sbnn.check_data`: those that cast doubt on the scores themselves are repeated in the answer.

    Returns
    -------
    Answer
    """
    scores = tables["scores"].dropna(subset="r2").set_index("model")
    means = [name for name in scores.index if name in LABELS_ONLY]
    readers = [name for name in scores.index if name not in (*means, *WITH_CLASS)]
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
        *parts.more_than_class(tables.get("beyond_class", pd.DataFrame())),
        *(f"Careful: {one.message}." for one in findings if _casts_doubt(one)),
        *parts.features(reader, tables.get("features", pd.DataFrame())),
        *parts.recommendation(best, alike, simplest),
        *parts.linear_or_network({best, *alike}),
        *parts.genes(best),
        *parts.certainty(),
    ]
    headline = parts.headline(reader, of_class, best, simplest)
    return Answer(best, alike, simplest, reader, of_class, headline, tuple(sentences))


def _casts_doubt(finding):
    """Whether a finding casts doubt on all scores: of confounded donors, if that is so for most classes."""
    mostly = finding.numbers.get("adjusted mutual information", 1) > CONFOUNDED
    return finding.name in CASTS_DOUBT and mostly


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
        #: The model of class and genes, and the best mean of a class.
        self.pair = with_class_and_best_mean(scores.index)
        self.unseen = {of: unseen_share(data, splits.folds, of) for of in CLASSES if getattr(data, of) is not None}
        #: Gain of class and genes together over the best mean of a class, with its interval; NaN without such models.
        #: The best: genes carry the class, and would make up for a mean that is shrunken too much.
        self.gain = (np.nan,) * 3 if self.pair is None else difference(differences, *self.pair)
        #: Whether genes add to the class: class and genes predict, and better than any mean of a class.
        self.adds = (
            self.pair is not None
            and self.is_fair(self.pair[0])
            and bool(self.gain[1] > 0 and scores.loc[self.pair[0], "low"] > 0)
        )
        #: Of models that read genes, in sentences.
        self.alone = "" if self.pair is None else " alone"

    def score(self, name):
        """R2 of a model with its interval."""
        return with_interval(*self.scores.loc[name, ["r2", "low", "high"]])

    def told(self, reader):
        """Whether genes predict: 1 yes, 0 unclear, -1 no."""
        if reader is None or self.scores.loc[reader, "r2"] <= 0:
            return -1
        return 1 if self.scores.loc[reader, "low"] > 0 else 0

    def is_fair(self, name):
        """Whether a model of classes has seen the classes of most cells that it predicts."""
        return self.unseen.get(class_of(name), 0.0) <= UNSEEN

    def against_class(self, reader, of_class):
        """Whether genes predict better than classes: 1 yes, 0 not told apart, -1 worse; None if that cannot be said."""
        if reader is None or of_class is None or not self.is_fair(of_class):
            return None
        _, low, high = difference(self.differences, reader, of_class)
        return 1 if low > 0 else -1 if high < 0 else 0

    def headline(self, reader, of_class, best, simplest):
        told, against = self.told(reader), self.against_class(reader, of_class)
        if told < 0:
            first = f"Genes{self.alone} tell nothing about these features here"
            if self.adds:
                first += ", but they add to what the class tells"
            elif against == -1:
                first += ", and the class predicts them better"
        elif told == 0:
            first = f"Whether genes{self.alone} tell anything about these features is not clear"
            first += ", but they add to what the class tells" * self.adds
        else:
            first = {
                1: "Genes tell these features, and better than the class does",
                0: "Genes tell these features, about as well as the class does" + ", and add to it" * self.adds,
                -1: "Genes tell these features; the class tells them better, but genes add to it"
                if self.adds
                else "Genes tell these features, but the class tells them better",
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
        readers = f"that read genes{self.alone}"
        found = f"of the models {readers}, {words_for(reader)} predicts best: {what} of {whose} with an R² of "
        found += f"{self.score(reader)}. An R² of 1 would be perfect; 0 is no better than the mean of all cells"
        yield {
            1: f"Can the features be told from genes? Yes, in part: {found}.",
            0: f"Can the features be told from genes? That is not clear: {found}, which the interval includes.",
            -1: f"Can the features be told from genes? No: {found}. None of those {readers} is better.",
        }[self.told(reader)]

    def beyond_class(self, reader, of_class):
        against = self.against_class(reader, of_class)
        if reader is not None and of_class is not None and not self.is_fair(of_class):
            kind = CLASS_WORDS[class_of(of_class)]
            yield (
                f"Better than from the class? That cannot be said: {self.unseen[class_of(of_class)]:.0%} of the cells "
                f"are of a {kind} that no training cell has, so that {words_for(of_class)} knows nothing of them."
            )
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
            if self.pair is not None:  # that is the better test
                more = ""
            elif row.low > 0:
                more = f": genes tell something that the {kind} does not"
            else:
                more = f": it is not shown that genes tell anything more than the {kind}"
            yield f"Among cells of one {kind}, the R² of {reader} is {share}{more}."

    def more_than_class(self, by_feature):
        if self.pair is None or not np.isfinite(self.gain[0]) or not self.is_fair(self.pair[0]):
            return
        both, alone = self.pair
        start = f"{words_for(both)} has an R² of {self.score(both)}"
        start = start[0].upper() + start[1:]
        if self.adds:
            yield (
                f"More than the class? Yes. {start}, higher by {with_interval(*self.gain)} than "
                f"{words_for(alone)}: genes tell something that the class does not."
            )
        else:
            yield (
                f"More than the class? Not shown. {start}, which differs by {with_interval(*self.gain, signed=True)} "
                f"from {words_for(alone)}."
            )
        if len(by_feature) < 2:
            return
        more = by_feature[by_feature["low"] > 0]
        if len(more):
            listed = ", ".join(
                f"{row.feature} +{number(row.difference)} ({number(row.low)} to {number(row.high)})"
                for row in more.head(_NOT_TOLD).itertuples()
            )
            chance = f"{len(by_feature) / 40:.1f}"
            more_of_them = ", ..." if len(more) > _NOT_TOLD else ""
            yield (
                f"Genes add to the class in {len(more)} of {len(by_feature)} features (interval above 0, each by "
                f"itself; of as many without a gain about {chance} would have that): {listed}{more_of_them}."
            )

    def features(self, reader, table):
        if self.told(reader) < 0 or len(table) < 2:
            return
        best = [f"{row.feature} ({number(row.r2)})" for row in table[table["low"] > 0].head(_BEST_TOLD).itertuples()]
        rest = table.loc[~(table["low"] > 0), "feature"].tolist()
        told = f"{len(table) - len(rest)} of {len(table)} are told by {reader} (their interval is above 0)"
        told += f", best of all {', '.join(best)}" if best else ""
        shown = ", ".join(rest[:_NOT_TOLD]) + (f" and {len(rest) - _NOT_TOLD} more" if len(rest) > _NOT_TOLD else "")
        yield f"Which features? {told}{f'; not shown to be told: {shown}' if rest else ''}."

    def recommendation(self, best, alike, simplest):
        if best == MEAN:
            yield (
                "Recommended: no model. None has an R² above 0 on held-out cells, so that the mean of all cells "
                "predicts as well, and genes found here would say nothing."
            )
            return
        n_models = len(self.scores)
        needs = ""
        if best in (*LABELS_ONLY, *WITH_CLASS):
            needs = " It needs the class of a cell" + (", and reads no gene." if best in LABELS_ONLY else " as well.")
            readers = [name for name in self.scores.index if name not in (*LABELS_ONLY, *WITH_CLASS)]
            if self.told(readers[0] if readers else None) > 0:
                needs += f" For cells without a class: {words_for(readers[0])}, {self.score(readers[0])}."
        yield (
            f"Recommended: {words_for(best)}. Of {n_models} models it has the best R² on {self.splits.of_whom}, "
            f"{self.score(best)}; models, and settings where there is a choice, are those of the training cells.{needs}"
        )
        others = [name for name in alike if name != MEAN]
        if others:
            listed = ", ".join(f"{name}, {lower(*difference(self.differences, best, name))}" for name in others)
            yield (
                f"Not told apart from it: {listed} (R²; the interval of the difference includes 0, or R² is within one "
                f"standard error). The simplest of them all is {words_for(simplest)}."
            )
        if MEAN in alike:
            yield f"The interval of its R² includes 0: it may be no better than {words_for(MEAN)}, the simplest of all."

    def linear_or_network(self, alike):
        linear = [name for name in self.scores.index if name in LINEAR]
        networks = [name for name in self.scores.index if name.startswith("sBNN")]
        if not linear or not networks or max(self.scores.loc[linear[0], "r2"], self.scores.loc[networks[0], "r2"]) <= 0:
            return
        gain = difference(self.differences, linear[0], networks[0])
        start = f"Of models that read genes alone, with {self.data.n_cells} cells"
        told_apart = not {linear[0], networks[0]} <= alike  # else the sentence before says that they are not
        if told_apart and gain[1] > 0:
            yield (
                f"{start} the linear model {linear[0]} predicts better than the network {networks[0]}, whose R² is "
                f"{lower(*gain)}: use it."
            )
        elif told_apart and gain[2] < 0:
            yield (
                f"{start} the network {networks[0]} predicts better than the linear model {linear[0]}, whose R² is "
                f"{lower(-gain[0], -gain[2], -gain[1])}."
            )
        else:
            worse, gain = (networks[0], gain) if gain[0] >= 0 else (linear[0], (-gain[0], -gain[2], -gain[1]))
            more, use = ("at least as well as", ": use it") if worse == networks[0] else ("about as well as", "")
            reads_all = self.scores.loc[linear[0], "n_genes"] >= self.data.n_genes
            reads = f", although it reads all {self.data.n_genes} genes" if reads_all else ""
            yield (
                f"{start} the linear model {linear[0]} predicts {more} the network {networks[0]} (R² of {worse} is "
                f"{lower(*gain)}), and is simpler{reads}{use}."
            )

    def genes(self, best):
        if best == MEAN:
            return
        sparse = self.scores[(self.scores["n_genes"] > 0) & (self.scores["n_genes"] < self.data.n_genes)]
        if best in sparse.index:
            yield f"How many genes? {best} reads {count_of_genes(sparse.loc[best, 'n_genes'])} of {self.data.n_genes}."
            return
        start = f"How many genes? {best} reads all {self.data.n_genes}"
        if best in LABELS_ONLY:
            start = f"How many genes? {best} reads none"
        if not len(sparse):
            yield f"{start}."
            return
        few = sparse.index[0]
        gain = difference(self.differences, best, few)
        yield (
            f"{start}; with few genes, {few} reads {count_of_genes(sparse.loc[few, 'n_genes'])} and has an R² of "
            f"{self.score(few)}, {lower(*gain)}."
        )

    def certainty(self):
        n_units = int(self.scores["n_units"].max()) if len(self.scores) else 0
        few = f" With {n_units} {self.splits.units} they are rough." if n_units < FEW_UNITS else ""
        what = "whole donors" if self.splits.unit == "donor" else "cells"
        yield (
            f"How sure? Cells were predicted in {self.splits.words}. Intervals are 95 %, from resampling {what}; they "
            f"do not include how a model would change with other training cells.{few} The best of several models is "
            "slightly flattered."
        )
