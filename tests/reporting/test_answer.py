"""The answer in plain words, from tables whose message is known."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from sbnn import simulate_patchseq
from sbnn.reporting.answer import LEADS, MEAN, answer_from
from sbnn.reporting.contest import Splits, outer_folds, unseen_share
from sbnn.reporting.phrases import number, with_interval
from sbnn.reporting.scores import difference
from sbnn.validation.guards import Finding

DATA = simulate_patchseq(n_cells=60, n_genes=40, n_features=4, n_informative=5, n_types=3, random_state=0)[0]
SPLITS = outer_folds(DATA, None, 5, 0)
GENES = {
    "type + genes": 40,
    "type mean, shrunken": 0,
    "sRRR-2": 12,
    "ridge": 40,
    "sBNN-2": 25,
    "family mean": 0,
    "type mean": 0,
}


def tables(r2, half=0.04, se=0.001, gap=0.02, n_units=40, within=None):
    """Tables of a report: intervals of R2 reach `half`, those of differences `gap` to both sides."""
    ordered = sorted(r2.items(), key=lambda item: -item[1])
    scores = pd.DataFrame(
        [(name, value, value - half, value + half, value, 0.05, se, GENES[name], n_units) for name, value in ordered],
        columns=["model", "r2", "low", "high", "r2_mean", "r2_sd", "r2_se", "n_genes", "n_units"],
    )
    pairs = [(a, b, r2[a] - r2[b]) for a, b in combinations(r2, 2)]
    differences = pd.DataFrame(
        [(a, b, d, d - gap, d + gap) for a, b, d in pairs], columns=["model", "reference", "difference", "low", "high"]
    )
    found = {"scores": scores, "differences": differences}
    if within is not None:
        columns = ["classes", "model", "within_r2", "low", "high"]
        found["within_class"] = pd.DataFrame([("cell_types", ordered[0][0], *within)], columns=columns)
    return found


def say(*arguments, **more):
    return answer_from(DATA, SPLITS, tables(*arguments, **more))


def test_genes_that_tell_more_than_the_class():
    found = say({"sBNN-2": 0.5, "ridge": 0.4, "sRRR-2": 0.3, "type mean": 0.2}, within=(0.3, 0.2, 0.4))
    assert (found.recommended, found.simplest, found.alike) == ("sBNN-2", "sBNN-2", ())
    assert found.headline == "Genes tell these features, and better than the class does. Recommended: sBNN-2."
    assert "Yes, in part: of the models that read genes, the network sBNN-2 predicts best" in found.text
    assert "an R² of 0.50 (95 % interval 0.46 to 0.54)" in found.text
    assert (
        "Yes: R² is higher by 0.30 (95 % interval 0.28 to 0.32) than that of the mean of the cell's type" in found.text
    )
    assert "Among cells of one type, the R² of sBNN-2 is 0.30 (95 % interval 0.20 to 0.40)" in found.text
    assert "genes tell something that the type does not" in found.text
    assert (
        "with 60 cells the network sBNN-2 predicts better than the linear model ridge, whose R² is lower by 0.10"
        in found.text
    )
    assert "How many genes? sBNN-2 reads 25 of 40." in found.text
    assert "Not told apart" not in found.text


def test_the_linear_model_is_to_be_used_where_it_predicts_better():
    found = say({"ridge": 0.4, "sBNN-2": 0.3, "sRRR-2": 0.2})
    assert found.recommended == "ridge" and found.best_of_classes is None
    assert found.headline == "Genes tell these features. Recommended: ridge."
    assert "with 60 cells the linear model ridge predicts better than the network sBNN-2" in found.text
    assert "use it." in found.text and "Better than from the class?" not in found.text
    assert "ridge reads all 40; with few genes, sBNN-2 reads 25 and has an R² of 0.30" in found.text


def test_a_class_that_predicts_better_is_recommended_and_the_best_of_the_genes_named():
    found = say({"type mean": 0.6, "family mean": 0.3, "ridge": 0.4, "sBNN-2": 0.35}, within=(0.0, -0.1, 0.1))
    assert found.recommended == "type mean" and found.best_of_classes == "type mean"
    assert found.headline == "Genes tell these features, but the class tells them better. Recommended: type mean."
    assert "No: R² is 0.20 (95 % interval 0.18 to 0.22) lower than that of the mean of the cell's type" in found.text
    assert "it is not shown that genes tell anything more than the type" in found.text
    assert "For cells without a class: the linear model ridge, 0.40" in found.text
    assert "type mean reads none" in found.text


def test_models_that_cannot_be_told_apart_are_named_and_the_simplest_of_them():
    found = say({"sBNN-2": 0.41, "ridge": 0.40, "type mean": 0.395, "sRRR-2": 0.1})
    assert found.recommended == "sBNN-2"
    assert set(found.alike) == {"ridge", "type mean"} and found.simplest == "type mean"
    assert "about as well as the class does" in found.headline
    assert found.headline.endswith("type mean is simpler, and cannot be told apart from it.")
    assert "Better than from the class? That cannot be told" in found.text
    assert "Not told apart from it: ridge, lower by 0.01 (−0.01 to 0.03), type mean" in found.text
    assert (
        "the linear model ridge predicts about as well as the network sBNN-2 (R² of ridge is lower by 0.01"
        in found.text
    )


def test_within_one_standard_error_is_not_told_apart_either():
    apart = {"sBNN-2": 0.45, "ridge": 0.40}
    assert say(apart).alike == ()
    assert say(apart, se=0.06).alike == ("ridge",)
    linear = {"ridge": 0.45, "sBNN-2": 0.40}
    assert "the linear model ridge predicts better than the network" in say(linear).text
    found = say(linear, se=0.06).text
    assert "predicts better" not in found and "the linear model ridge predicts at least as well as the network" in found


@pytest.mark.parametrize("half", [0.01, 0.1])
def test_genes_that_tell_nothing(half):
    found = say({"ridge": -0.05, "sBNN-2": -0.1, "type mean": -0.02}, half=half)
    assert found.recommended == MEAN and found.simplest == MEAN
    assert found.headline.startswith("Genes tell nothing about these features here")
    assert "None of those that read genes is better." in found.text
    assert "Recommended: no model." in found.text
    assert "How many genes?" not in found.text and "With 60 cells" not in found.text
    assert set(found.alike) == (set() if half == 0.01 else {"type mean", "ridge", "sBNN-2"})


def test_an_interval_with_zero_is_not_clear():
    found = say({"ridge": 0.02, "sBNN-2": -0.1})
    assert found.recommended == "ridge" and MEAN in found.alike and found.simplest == MEAN
    assert "is not clear" in found.headline and "That is not clear" in found.text
    assert "it may be no better than the mean of all cells" in found.text


def test_nothing_from_genes_and_something_from_classes():
    found = say({"ridge": -0.1, "family mean": 0.3})
    assert found.headline.startswith("Genes tell nothing about these features here, and the class predicts them better")
    assert found.recommended == "family mean"


def test_models_without_a_score_take_no_part():
    some = tables({"ridge": 0.4, "sBNN-2": 0.3})
    some["scores"].loc[some["scores"]["model"] == "ridge", "r2"] = np.nan
    assert answer_from(DATA, SPLITS, some).recommended == "sBNN-2"


def test_few_animals_and_how_cells_were_divided_are_said():
    assert "With 8 donors they are rough" in say({"ridge": 0.4}, n_units=8).text
    assert "they are rough" not in say({"ridge": 0.4}).text
    assert SPLITS.words in say({"ridge": 0.4}).text
    cells = Splits(SPLITS.folds, "cell", "5 random folds of cells", False)
    text = answer_from(DATA, cells, tables({"ridge": 0.4})).text
    assert "of held-out cells" in text and "from resampling cells" in text


def test_every_sentence_with_a_lead_is_known_to_the_page():
    found = tables({"sBNN-2": 0.41, "ridge": 0.40, "type mean": 0.395})
    rows = [("a", 0.8, 0.7), ("b", 0.5, 0.4), ("c", 0.1, -0.1)]
    found["features"] = pd.DataFrame(rows, columns=["feature", "r2", "low"])
    one = {"adjusted mutual information": 0.1}
    some = Finding("confounded donors", "cell_types", "one type comes from one donor", one)
    doubt = [
        some,
        Finding("depth", "counts", "depth predicts a"),
        Finding("small classes", "cell_types", "they are small"),
    ]
    both = {"type + genes": 0.38, "type mean, shrunken": 0.39}
    found = tables({"sBNN-2": 0.41, "ridge": 0.40, "type mean": 0.395, **both}) | {"features": found["features"]}
    sentences = answer_from(DATA, SPLITS, found, doubt).sentences
    assert all(any(sentence.startswith(lead) for sentence in sentences) for lead in LEADS)
    assert (
        "Careful: depth predicts a." in sentences
        and "small" not in "".join(sentences)
        and "one donor" not in "".join(sentences)
    )
    told = "2 of 3 are told by sBNN-2 (their interval is above 0), best of all a (0.80), b (0.50)"
    assert f"Which features? {told}; not shown to be told: c." in sentences


def test_class_and_genes_together_say_whether_genes_add_to_the_class():
    scores = {"type + genes": 0.45, "type mean": 0.4, "type mean, shrunken": 0.41, "ridge": 0.3, "sBNN-2": 0.25}
    found = tables(scores, within=(0.0, -0.1, 0.1))
    rows = [("a", 0.2, 0.1, 0.3), ("b", 0.0, -0.1, 0.1)]
    found["beyond_class"] = pd.DataFrame(rows, columns=["feature", "difference", "low", "high"])
    said = answer_from(DATA, SPLITS, found)
    assert said.recommended == "type + genes" and said.best_of_genes == "ridge"
    assert said.best_of_classes == "type mean, shrunken"
    assert said.headline.startswith("Genes tell these features; the class tells them better, but genes add to it.")
    assert "More than the class? Yes. The linear model of type and genes has an R² of 0.45" in said.text
    assert "higher by 0.04 (95 % interval 0.02 to 0.06) than the mean of the cell's type, shrunken" in said.text
    assert "Genes add to the class in 1 of 2 features (interval above 0, each by itself; of as many" in said.text
    assert "without a gain about 0.1 would have that): a +0.20 (0.10 to" in said.text
    assert "not shown that genes tell anything more" not in said.text  # the weaker test
    assert "It needs the class of a cell as well. For cells without a class: the linear model ridge" in said.text
    # Genes carry the class: what was shrunken too much may be undone by them, and says nothing beyond the class.
    shrunken = answer_from(DATA, SPLITS, tables({**scores, "type mean": 0.5, "type + genes": 0.47}))
    assert "More than the class? Not shown." in shrunken.text and "add to it" not in shrunken.headline
    unsure = answer_from(DATA, SPLITS, tables(scores, half=0.5))
    assert "More than the class? Not shown." in unsure.text
    less = answer_from(DATA, SPLITS, tables({**scores, "type + genes": 0.40}))
    assert "More than the class? Not shown." in less.text and "but the class tells them better" in less.headline


def test_genes_that_tell_nothing_alone_may_add_to_the_class():
    scores = {"type + genes": 0.5, "type mean": 0.4, "type mean, shrunken": 0.39, "ridge": -0.1, "sBNN-2": -0.2}
    adds = answer_from(DATA, SPLITS, tables(scores))
    assert adds.headline.startswith(
        "Genes alone tell nothing about these features here, but they add to what the class"
    )
    assert adds.recommended == "type + genes" and "None of those that read genes alone is better." in adds.text
    unclear = answer_from(DATA, SPLITS, tables({**scores, "ridge": 0.02}))
    assert unclear.headline.startswith("Whether genes alone tell anything about these features is not clear, but they")
    little = answer_from(DATA, SPLITS, tables({**scores, "type + genes": 0.401}))
    assert little.headline.startswith("Genes alone tell nothing about these features here, and the class predicts")


@pytest.mark.parametrize(("unseen", "said"), [(False, "Better than from the class? Yes"), (True, "cannot be said")])
def test_classes_that_no_training_cell_has_are_no_rival(unseen, said):
    """Each type is one donor, and donors are held out: the mean of a type is that of all cells."""
    labels = DATA.donors if unseen else DATA.cell_types
    data = replace(DATA, cell_types=labels, type_colors=None)
    scores = {"type + genes": 0.5, "ridge": 0.4, "sBNN-2": 0.3, "type mean": 0.1, "type mean, shrunken": 0.11}
    found = answer_from(data, SPLITS, tables(scores))
    assert said in found.text
    assert found.headline.startswith("Genes tell these features" + (". " if unseen else ", and better than the class"))
    assert ("More than the class?" in found.text) is not unseen
    assert unseen_share(data, SPLITS.folds, "cell_types") == float(unseen)


def test_differences_are_found_in_either_order():
    some = tables({"ridge": 0.4, "sBNN-2": 0.3})["differences"]
    assert difference(some, "ridge", "sBNN-2") == pytest.approx((0.1, 0.08, 0.12))
    assert difference(some, "sBNN-2", "ridge") == pytest.approx((-0.1, -0.12, -0.08))
    assert np.isnan(difference(some, "ridge", "trees")).all()


def test_numbers_as_text():
    assert [number(value) for value in (0.126, -0.126, -0.001, np.nan)] == ["0.13", "−0.13", "0.00", "–"]
    assert [number(value, True) for value in (0.1, -0.1, 0.0)] == ["+0.10", "−0.10", "0.00"]
    assert with_interval(0.1, -0.1, 0.3) == "0.10 (95 % interval −0.10 to 0.30)"
