"""The answer in plain words: can features be told from genes, better than from the class, with which model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sbnn.data.paired_data import PairedData
from sbnn.reporting.contest import LINEAR, Splits
from sbnn.reporting.evidence import FEW_UNITS, LEAST_UNITS, UNSEEN, Evidence
from sbnn.reporting.phrases import MEAN, below, count_of_genes, lower, number, share, with_interval, words_for
from sbnn.reporting.scores import difference
from sbnn.validation.class_models import LABELS_ONLY, WITH_CLASS, kinds_of
from sbnn.validation.guards import CONFOUNDED, Finding

#: Names of classes in plain words.
CLASS_WORDS = {"cell_families": "family", "cell_types": "type"}
#: What sentences begin with, to be printed bold.
LEADS = (
    "Can the features be told from genes?",
    "Better than from the class?",
    "More than the class?",
    "Careful:",
    "Which features?",
    "Which genes?",
    "Recommended:",
    "Not told apart from it:",
    "How many genes?",
    "How sure?",
    "Left out:",
)
#: Findings of `check_data` that cast doubt on the scores themselves.
CASTS_DOUBT = ("normalised counts", "features made of counts", "outlying values", "depth", "confounded donors")
#: Features, and genes, that the answer names; the rate of false discoveries of what is said after a correction.
_BEST_TOLD, _NAMED, _RATE = 3, 6, 0.05


@dataclass(frozen=True)
class Answer:
    """What the tables say, in plain words.

    Attributes
    ----------
    recommended : str
        The model with the best R2 on held-out cells; "mean of all cells" if none is above 0.
    alike : tuple of str
        Models that cannot be told apart from it: the interval of the difference includes 0.
    simplest : str
        The simplest of these and of the recommended one.
    best_of_genes, best_of_classes : str or None
        The best of the models that read genes alone, and of those that read classes alone and have seen the classes of
        most cells that they predict.
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
    data: PairedData,
    splits: Splits,
    tables: Mapping[str, pd.DataFrame],
    findings: Sequence[Finding] = (),
    left_out: Sequence[str] = (),
) -> Answer:
    """Return the answer that the tables of a report give.

    Parameters
    ----------
    data : PairedData
        For its numbers of cells, genes and features, and its classes.
    splits : Splits
    tables : dict of DataFrame
        `scores` and `differences`; with `within_class`, it is said what genes tell within classes; with `features` and
        `beyond_class`, which features they tell; with `genes` and `importance`, which genes.
    findings : sequence of Finding
        From `sbnn.check_data`: those that cast doubt on the scores themselves are repeated in the answer.
    left_out : sequence of str
        Models that could not be scored, and why.

    Returns
    -------
    Answer
    """
    shown = Evidence(data, splits, tables)
    empty = pd.DataFrame()
    sentences = [
        *_from_genes(shown),
        *_beyond_class(shown, tables.get("within_class", empty)),
        *_more_than_class(shown, tables.get("beyond_class", empty)),
        *(f"Careful: {one.message}.{_without(shown, one)}" for one in findings if _casts_doubt(one)),
        *_features(shown, tables.get("features", empty)),
        *_which_genes(shown, tables.get("genes", empty), tables.get("importance", empty)),
        *_recommendation(shown),
        *_linear_or_network(shown),
        *_how_many_genes(shown),
        *_certainty(shown),
        *(f"Left out: {what}" for what in left_out),
    ]
    return Answer(
        shown.best, shown.alike, shown.simplest, shown.reader, shown.of_class, _headline(shown), tuple(sentences)
    )


def _casts_doubt(finding):
    """Whether a finding casts doubt on all scores: of confounded donors, if that is so for most classes."""
    mostly = finding.numbers.get("adjusted mutual information", 1) > CONFOUNDED
    return finding.name in CASTS_DOUBT and mostly


def _score(shown, name):
    """R2 of a model with its interval."""
    return with_interval(*shown.scores.loc[name, ["r2", "low", "high"]])


def _alone(shown):
    """Of models that read genes: "alone" where there are others that read classes beside them."""
    return " alone" if any(name in WITH_CLASS for name in shown.scores.index) else ""


def _headline(shown):
    told, against, adds = shown.told(), shown.against_class(), shown.adds
    if shown.reader is None:
        first = "No model that reads genes could be scored"
    elif told == 1:
        r2, low, high = shown.scores.loc[shown.reader, ["r2", "low", "high"]]
        first = f"Genes predict {share(r2)} of the variance of these features ({share(low)} to {share(high)})"
        first += {
            1: ", more than the class does",
            0: "; whether that is more or less than the class does is not clear" + ", but genes add to it" * adds,
            -1: "; the class predicts more" + ", but genes add to it" * adds,
            None: "",
        }[against]
    else:
        what = "is not shown" if told == 0 else "is not so"
        first = f"That genes{_alone(shown)} predict these features {what} (R² {_short(shown, shown.reader)})"
        if adds:
            first += ", but they add to what the class tells"
        elif against == -1:
            first += "; the class predicts more"
    chosen = (
        "No model is recommended: take the mean of all cells" if shown.best == MEAN else f"Recommended: {shown.best}"
    )
    if shown.simplest != shown.best:
        chosen += f"; {shown.simplest} is simpler, and cannot be told apart from it"
    return f"{first}. {chosen}."


def _short(shown, name):
    """R2 and its interval, without words."""
    r2, low, high = shown.scores.loc[name, ["r2", "low", "high"]]
    return f"{number(r2)}, {number(low)} to {number(high)}"


def _from_genes(shown):
    if shown.reader is None:
        yield "No model that reads genes could be scored."
        return
    n, readers = shown.data.n_features, f"that read genes{_alone(shown)}"
    what = "the feature" if n == 1 else f"the {n} features"
    found = f"of the models {readers}, {words_for(shown.reader)} predicts best: {what} of {shown.splits.of_whom} with "
    found += f"an R² of {_score(shown, shown.reader)}. An R² of 1 would be perfect; 0 is no better than the mean of "
    found += "all cells"
    few = f"with {shown.n_units} {shown.splits.units} no interval can show it; " * (shown.n_units < LEAST_UNITS)
    yield {
        1: f"Can the features be told from genes? Yes, in part: {found}.",
        0: f"Can the features be told from genes? That is not shown: {few}{found}.",
        -1: f"Can the features be told from genes? No: {found}. None of those {readers} is better.",
    }[shown.told()]


def _beyond_class(shown, within):
    if shown.reader is None or not shown.means:
        return
    if shown.of_class is None:
        kind, unseen = CLASS_WORDS[kinds_of(shown.means[0])[-1]], shown.unseen[shown.means[0]]
        yield (
            f"Better than from the class? That cannot be said: {unseen:.0%} of the cells have no {kind}, or one that "
            f"no training cell has, so that {words_for(shown.means[0])} knows nothing of them."
        )
        return
    gain = difference(shown.differences, shown.reader, shown.of_class)
    class_words = f"{words_for(shown.of_class)}, which has an R² of {_score(shown, shown.of_class)}"
    yield {
        1: f"Better than from the class? Yes: R² is higher by {with_interval(*gain)} than that of {class_words}.",
        0: f"Better than from the class? That cannot be told: compared with {class_words}, R² differs by "
        f"{with_interval(*gain, signed=True)}.",
        -1: f"Better than from the class? No: R² is {with_interval(*(-gain[0], -gain[2], -gain[1]))} lower than "
        f"that of {class_words}.",
    }[shown.against_class()]
    for name in shown.means:
        if shown.unseen[name] > UNSEEN:
            yield (
                f"{name[0].upper()}{name[1:]} is no fair rival here: {shown.unseen[name]:.0%} of the cells have no "
                "such class, or one that no training cell has."
            )
    if shown.told() < 0:
        return
    for row in within.itertuples():
        if not np.isfinite(row.within_r2):
            continue
        kind, value = CLASS_WORDS[row.classes], with_interval(row.within_r2, row.low, row.high)
        more = ""
        if shown.pair is None:  # otherwise that is the better test
            more = f": it is not shown that genes tell anything more than the {kind}"
            more = f": genes tell something that the {kind} does not" if shown.is_shown(row.low) else more
        yield f"Among cells of one {kind}, the R² of {shown.reader} is {value}{more}."


def _more_than_class(shown, by_feature):
    if shown.pair is None or not np.isfinite(shown.gain[0]):
        return
    both, alone = shown.pair
    start = f"{words_for(both)} has an R² of {_score(shown, both)}"
    start = start[0].upper() + start[1:]
    if shown.adds:
        yield (
            f"More than the class? Yes. {start}, higher by {with_interval(*shown.gain)} than {words_for(alone)}: genes "
            "tell something that the class does not."
        )
    else:
        yield (
            f"More than the class? Not shown. {start}, which differs by {with_interval(*shown.gain, signed=True)} from "
            f"{words_for(alone)}."
        )
    if len(by_feature) < 2 or shown.n_units < LEAST_UNITS:
        return
    more, n = shown.told_features(by_feature), len(by_feature)
    named = ", ".join(
        f"{row.feature} +{number(row.difference)} ({number(row.low)} to {number(row.high)})"
        for row in more.head(_NAMED).itertuples()
    )
    corrected, least = int((by_feature["q"] < _RATE).sum()), by_feature["q"].min()
    found = f"in {len(more)} of {n} the interval of the gain is above 0 (by chance in about {n / 40:.1f})"
    found += f": {named}" + ", ..." * (len(more) > _NAMED) if len(more) else ""
    yield (
        f"Feature by feature, {found}. After correction for their number, tests over folds show a gain in {corrected} "
        f"(smallest q {below(least)})."
    )


def _without(shown, finding):
    """Say what R2 is without features that hang on single cells, after the finding that names them."""
    if finding.name != "outlying values" or "r2_without" not in shown.scores or shown.best == MEAN:
        return ""
    names = dict.fromkeys([shown.best, *([shown.reader] if shown.reader else [])])
    values = [f"{number(shown.scores.loc[name, 'r2_without'])} for {name}" for name in names]
    return f" Without these features R² is {', '.join(values)}."


def _features(shown, table):
    if shown.reader is None or len(table) < 2 or shown.n_units < LEAST_UNITS:
        return
    told = shown.told_features(table)
    rest = [name for name in table["feature"] if name not in set(told["feature"])]
    best = [f"{row.feature} ({number(row.r2)})" for row in told.head(_BEST_TOLD).itertuples()]
    said = f"{len(told)} of {len(table)} are told by {shown.reader} (their interval is above 0; by chance about "
    said += f"{len(table) / 40:.1f})" + (f", best of all {', '.join(best)}" if best else "")
    listed = ", ".join(rest[:_NAMED]) + (f" and {len(rest) - _NAMED} more" if len(rest) > _NAMED else "")
    yield f"Which features? {said}{f'; not shown to be told: {listed}' if rest else ''}."


def _which_genes(shown, genes, importance):
    """Genes that every fold selects, and whether any is shown to be needed."""
    if not len(genes) or shown.told() < 0:
        return
    model = genes["model"].iloc[0]
    always = genes[(genes["model"] == model) & (genes["folds"] >= 1)]["gene"].tolist()
    named = ", ".join(always[: 2 * _NAMED]) + ", ..." * (len(always) > 2 * _NAMED)
    said = f"{model} selects {len(always)} in each of the {len(shown.splits.folds)} folds"
    said += f": {named}" if always else ", so that none is certain"
    if len(importance):
        n = int((importance["q"] < _RATE).sum())
        needed = f"{n} of {len(importance)} pairs of gene and feature are shown to belong together"
        needed = "no gene is shown to be needed for a feature" if not n else needed
        said += f". Exchanging the values of one gene: {needed} (smallest q {below(importance['q'].min())})"
    yield f"Which genes? {said}."


def _recommendation(shown):
    best = shown.best
    if best == MEAN:
        yield (
            "Recommended: no model. None has an R² above 0 on held-out cells, so that the mean of all cells predicts "
            "as well."
        )
        return
    needs = ""
    if best in (*LABELS_ONLY, *WITH_CLASS):
        needs = " It needs the class of a cell" + (", and reads no gene." if best in LABELS_ONLY else " as well.")
        if shown.told() > 0:
            needs += f" For cells without a class: {words_for(shown.reader)}, {_score(shown, shown.reader)}."
    yield (
        f"Recommended: {words_for(best)}. Of {len(shown.scores)} models it has the best R² on {shown.splits.of_whom}, "
        f"{_score(shown, best)}; models, and settings where there is a choice, are those of the training cells.{needs}"
    )
    others = [name for name in shown.alike if name != MEAN]
    if others:
        listed = ", ".join(f"{name}, {lower(*difference(shown.differences, best, name))}" for name in others)
        yield (
            f"Not told apart from it: {listed} (R²; the interval of the difference includes 0). The simplest of them "
            f"all is {words_for(shown.simplest)}."
        )
    if MEAN in shown.alike:
        yield f"The interval of its R² includes 0: it may be no better than {words_for(MEAN)}, the simplest of all."


def _linear_or_network(shown):
    linear = [name for name in shown.readers if name in LINEAR]
    networks = [name for name in shown.readers if name.startswith("sBNN")]
    if not linear or not networks or max(shown.scores.loc[one[0], "r2"] for one in (linear, networks)) <= 0:
        return
    gain = difference(shown.differences, linear[0], networks[0])
    start = f"Of models that read genes alone, with {shown.data.n_cells} cells"
    names = f"the linear model {linear[0]}", f"the network {networks[0]}"
    if shown.is_shown(gain[1]):
        yield f"{start} {names[0]} predicts better than {names[1]}, whose R² is {lower(*gain)}: use it."
    elif shown.is_shown(-gain[2]):
        yield f"{start} {names[1]} predicts better than {names[0]}, whose R² is {lower(-gain[0], -gain[2], -gain[1])}."
    else:
        worse, gain = (networks[0], gain) if gain[0] >= 0 else (linear[0], (-gain[0], -gain[2], -gain[1]))
        reads_all = shown.scores.loc[linear[0], "n_genes"] >= shown.data.n_genes
        reads = f"; the linear one is simpler, although it reads all {shown.data.n_genes} genes" if reads_all else ""
        yield f"{start} {names[0]} and {names[1]} cannot be told apart (R² of {worse} is {lower(*gain)}){reads}."


def _how_many_genes(shown):
    best, n_genes = shown.best, shown.data.n_genes
    if best == MEAN:
        return
    sparse = shown.scores[(shown.scores["n_genes"] > 0) & (shown.scores["n_genes"] < n_genes)]
    if best in sparse.index:
        yield f"How many genes? {best} reads {count_of_genes(sparse.loc[best, 'n_genes'])} of {n_genes}."
        return
    start = f"How many genes? {best} reads {'none' if best in LABELS_ONLY else f'all {n_genes}'}"
    if not len(sparse):
        yield f"{start}."
        return
    few = sparse.index[0]
    yield (
        f"{start}; with few genes, {few} reads {count_of_genes(sparse.loc[few, 'n_genes'])} and has an R² of "
        f"{_score(shown, few)}, {lower(*difference(shown.differences, best, few))}."
    )


def _certainty(shown):
    units = shown.splits.units
    few = f" With {shown.n_units} {units} they are rough." if shown.n_units < FEW_UNITS else ""
    what = "whole donors" if shown.splits.unit == "donor" else "cells"
    yield (
        f"How sure? Cells were predicted in {shown.splits.words}. Intervals are 95 %, from resampling {what}; they do "
        f"not include how a model would change with other training cells.{few} The best of {len(shown.scores)} models "
        "is flattered by the choice: its lead over those that cannot be told apart from it may be chance."
    )
