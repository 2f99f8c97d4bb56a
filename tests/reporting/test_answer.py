"""The answer in plain words, from tables whose message is known."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from sbnn import simulate_patchseq
from sbnn.reporting.answer import LEADS, MEAN, answer_from
from sbnn.reporting.contest import outer_folds, unseen_share
from sbnn.reporting.phrases import below, number, with_interval
from sbnn.reporting.scores import difference
from sbnn.validation.guards import Finding

DATA = simulate_patchseq(n_cells=60, n_genes=40, n_features=4, n_informative=5, n_types=3, random_state=0)[0]
SPLITS = outer_folds(DATA, None, 5, 0)
GENES = {
    "family + type + genes": 40,
    "type + genes": 40,
    "family + type": 0,
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
    first = "Genes predict 50 % of the variance of these features (46 % to 54 %), more than the class does."
    assert found.headline == f"{first} Recommended: sBNN-2."
    assert "Yes, in part: of the models that read genes, the network sBNN-2 predicts best" in found.text
    assert "an R² of 0.50 (95 % interval 0.46 to 0.54)" in found.text
    higher = "Yes: R² is higher by 0.30 (95 % interval 0.28 to 0.32) than that of the mean of the cell's type"
    assert higher in found.text
    assert "Among cells of one type, the R² of sBNN-2 is 0.30 (95 % interval 0.20 to 0.40)" in found.text
    assert "genes tell something that the type does not" in found.text
    better = "with 60 cells the network sBNN-2 predicts better than the linear model ridge, whose R² is lower by 0.10"
    assert better in found.text
    assert "How many genes? sBNN-2 reads 25 of 40." in found.text
    assert "Not told apart" not in found.text


def test_the_linear_model_is_to_be_used_where_it_predicts_better():
    found = say({"ridge": 0.4, "sBNN-2": 0.3, "sRRR-2": 0.2})
    assert found.recommended == "ridge" and found.best_of_classes is None
    assert found.headline.endswith("of these features (36 % to 44 %). Recommended: ridge.")
    assert "with 60 cells the linear model ridge predicts better than the network sBNN-2" in found.text
    assert "use it." in found.text and "Better than from the class?" not in found.text
    assert "ridge reads all 40; with few genes, sBNN-2 reads 25 and has an R² of 0.30" in found.text


def test_a_class_that_predicts_better_is_recommended_and_the_best_of_the_genes_named():
    found = say({"type mean": 0.6, "family mean": 0.3, "ridge": 0.4, "sBNN-2": 0.35}, within=(0.0, -0.1, 0.1))
    assert found.recommended == "type mean" and found.best_of_classes == "type mean"
    assert found.headline.endswith("(36 % to 44 %); the class predicts more. Recommended: type mean.")
    assert "No: R² is 0.20 (95 % interval 0.18 to 0.22) lower than that of the mean of the cell's type" in found.text
    assert "it is not shown that genes tell anything more than the type" in found.text
    assert "For cells without a class: the linear model ridge, 0.40" in found.text
    assert "type mean reads none" in found.text


def test_models_that_cannot_be_told_apart_are_named_and_the_simplest_of_them():
    found = say({"sBNN-2": 0.41, "ridge": 0.40, "type mean": 0.395, "sRRR-2": 0.1})
    assert found.recommended == "sBNN-2"
    assert set(found.alike) == {"ridge", "type mean"} and found.simplest == "type mean"
    assert "; whether that is more or less than the class does is not clear." in found.headline
    assert found.headline.endswith("type mean is simpler, and cannot be told apart from it.")
    assert "Better than from the class? That cannot be told" in found.text
    assert "Not told apart from it: ridge, lower by 0.01 (−0.01 to 0.03), type mean" in found.text
    alike = "the linear model ridge and the network sBNN-2 cannot be told apart (R² of ridge is lower by 0.01"
    assert alike in found.text and "use it" not in found.text


def test_a_model_that_is_lower_for_sure_is_told_apart_whatever_the_folds_vary():
    assert say({"sBNN-2": 0.45, "ridge": 0.40}, se=0.06).alike == ()


@pytest.mark.parametrize(("r2", "half", "said"), [(-0.05, 0.01, "is not so"), (-0.05, 0.3, "is not shown")])
def test_no_is_said_only_where_the_interval_leaves_nothing(r2, half, said):
    rows = [("a", 0.6, 0.4), ("b", -0.2, -0.4)]
    features = {"features": pd.DataFrame(rows, columns=["feature", "r2", "low"])}
    found = answer_from(DATA, SPLITS, tables({"ridge": r2, "sBNN-2": -0.1, "type mean": -0.02}, half=half) | features)
    assert found.recommended == MEAN and found.simplest == MEAN
    assert found.headline.startswith(f"That genes predict these features {said} (R² −0.05, ")
    assert "Recommended: no model" in found.text and "1 of 2 are told by ridge" in found.text  # whatever the mean
    assert ("None of those that read genes is better." in found.text) is (said == "is not so")


def test_with_five_donors_nothing_is_shown():
    found = say({"sBNN-2": 0.5, "ridge": 0.3, "type mean": 0.2}, n_units=5)
    assert found.headline.startswith("That genes predict these features is not shown (R² 0.50")
    assert set(found.alike) == {"ridge", "type mean", MEAN}
    assert "with 5 donors no interval can show it" in found.text and "Better than from the class? Yes" not in found.text
    assert say({"sBNN-2": 0.5, "ridge": 0.3, "type mean": 0.2}, n_units=6).alike == ()


def test_few_donors_and_what_is_left_out_are_said():
    assert "With 8 donors they are rough." in say({"ridge": 0.4}, n_units=8).text
    assert "rough" not in say({"ridge": 0.4}, n_units=40).text
    left = answer_from(DATA, SPLITS, tables({"ridge": 0.4}), left_out=["sRRR-2: it diverged."])
    assert left.sentences[-1] == "Left out: sRRR-2: it diverged."


def test_every_sentence_with_a_lead_is_known_to_the_page():
    both = {"family + type + genes": 0.38, "family + type": 0.39}
    found = tables({"sBNN-2": 0.41, "ridge": 0.40, "type mean": 0.395, **both})
    rows = [("a", 0.8, 0.7), ("b", 0.5, 0.4), ("c", 0.1, -0.1)]
    found["features"] = pd.DataFrame(rows, columns=["feature", "r2", "low"])
    found["genes"] = pd.DataFrame({"model": "sBNN-2", "gene": ["g", "h"], "folds": [1.0, 0.8]})
    found["importance"] = pd.DataFrame({"q": [0.5, 0.7]})
    one = {"adjusted mutual information": 0.1}
    some = Finding("confounded donors", "cell_types", "one type comes from one donor", one)
    doubt = [
        some,
        Finding("depth", "counts", "depth predicts a"),
        Finding("small classes", "cell_types", "they are small"),
    ]
    sentences = answer_from(DATA, SPLITS, found, doubt, ["sRRR-2: it diverged."]).sentences
    assert all(any(sentence.startswith(lead) for sentence in sentences) for lead in LEADS)
    assert "Careful: depth predicts a." in sentences
    assert "they are small" not in "".join(sentences) and "one donor" not in "".join(sentences)
    told = "2 of 3 are told by sBNN-2 (their interval is above 0; by chance about 0.1), best of all a (0.80), b (0.50)"
    assert f"Which features? {told}; not shown to be told: c." in sentences
    genes = "sBNN-2 selects 1 in each of the 5 folds: g. Exchanging the values of one gene: no gene is shown to be"
    assert f"Which genes? {genes} needed for a feature (smallest q 0.50)." in sentences


def test_scores_without_features_that_hang_on_one_cell_are_said():
    found = tables({"ridge": 0.2, "type mean": 0.1})
    found["scores"]["r2_without"] = [0.32, 0.3]
    doubt = [Finding("outlying values", "features", "one cell holds much of a", {"share": {"a": 0.9}})]
    sentences = answer_from(DATA, SPLITS, found, doubt).sentences
    assert "Careful: one cell holds much of a. Without these features R² is 0.32 for ridge." in sentences


def test_class_and_genes_together_say_whether_genes_add_to_the_class():
    scores = {"family + type + genes": 0.45, "type mean": 0.4, "family + type": 0.41, "ridge": 0.3, "sBNN-2": 0.25}
    found = tables(scores, within=(0.0, -0.1, 0.1))
    rows = [("a", 0.2, 0.1, 0.3, 0.2), ("b", 0.0, -0.1, 0.1, 0.9)]
    found["beyond_class"] = pd.DataFrame(rows, columns=["feature", "difference", "low", "high", "q"])
    said = answer_from(DATA, SPLITS, found)
    assert said.recommended == "family + type + genes" and said.best_of_genes == "ridge"
    assert said.best_of_classes == "family + type"
    assert "; the class predicts more, but genes add to it. Recommended" in said.headline
    assert "More than the class? Yes. The linear model of family, type and genes has an R² of 0.45" in said.text
    assert "higher by 0.04 (95 % interval 0.02 to 0.06) than the mean of the cell's type, drawn to" in said.text
    gains = "in 1 of 2 the interval of the gain is above 0 (by chance in about 0.1): a +0.20 (0.10 to 0.30). After"
    assert f"Feature by feature, {gains} correction for their number, tests over folds show a gain in 0" in said.text
    assert "not shown that genes tell anything more" not in said.text  # the weaker test
    assert "It needs the class of a cell as well. For cells without a class: the linear model ridge" in said.text
    # Genes carry the class: what was shrunken too much may be undone by them, and says nothing beyond the class.
    shrunken = answer_from(DATA, SPLITS, tables({**scores, "type mean": 0.5, "family + type + genes": 0.47}))
    assert "More than the class? Not shown." in shrunken.text and "add to it" not in shrunken.headline
    unsure = answer_from(DATA, SPLITS, tables(scores, half=0.5))
    assert "More than the class? Not shown." in unsure.text
    less = answer_from(DATA, SPLITS, tables({**scores, "family + type + genes": 0.40}))
    assert "More than the class? Not shown." in less.text and "the class predicts more. Rec" in less.headline


def test_genes_that_tell_nothing_alone_may_add_to_the_class():
    scores = {"family + type + genes": 0.5, "type mean": 0.4, "family + type": 0.39, "ridge": -0.1, "sBNN-2": -0.2}
    adds = answer_from(DATA, SPLITS, tables(scores))
    assert adds.headline.startswith(
        "That genes alone predict these features is not so (R² −0.10, −0.14 to −0.06), but they"
    )
    assert adds.recommended == "family + type + genes" and "None of those that read genes alone is better." in adds.text
    unclear = answer_from(DATA, SPLITS, tables({**scores, "ridge": 0.02}))
    assert unclear.headline.startswith("That genes alone predict these features is not shown (R² 0.02")
    little = answer_from(DATA, SPLITS, tables({**scores, "family + type + genes": 0.401}))
    assert "to −0.06); the class predicts more. Recommended" in little.headline


@pytest.mark.parametrize(("unseen", "said"), [(False, "Better than from the class? Yes"), (True, "cannot be said")])
def test_classes_that_no_training_cell_has_are_no_rival(unseen, said):
    """Each type is one donor, and donors are held out: the mean of a type is that of all cells."""
    labels = DATA.donors if unseen else DATA.cell_types
    data = replace(DATA, cell_types=labels, type_colors=None)
    scores = {"type + genes": 0.5, "ridge": 0.4, "sBNN-2": 0.3, "type mean": 0.1, "type mean, shrunken": 0.11}
    found = answer_from(data, SPLITS, tables(scores))
    assert said in found.text
    assert ("more than the class does" in found.headline) is not unseen
    assert ("More than the class?" in found.text) is not unseen
    assert unseen_share(data, SPLITS.folds, "type mean") == float(unseen)
    assert unseen_share(data, SPLITS.folds, "family + type") == 0  # families are known
    fair = answer_from(data, SPLITS, tables({**scores, "family + type": 0.2, "family + type + genes": 0.3}))
    assert fair.best_of_classes == "family + type"
    assert ("Type mean is no fair rival here: 100% of the cells" in fair.text) is unseen


def test_differences_are_found_in_either_order():
    some = tables({"ridge": 0.4, "sBNN-2": 0.3})["differences"]
    assert difference(some, "ridge", "sBNN-2") == pytest.approx((0.1, 0.08, 0.12))
    assert difference(some, "sBNN-2", "ridge") == pytest.approx((-0.1, -0.12, -0.08))
    assert np.isnan(difference(some, "ridge", "trees")).all()


def test_numbers_as_text():
    assert [number(value) for value in (0.126, -0.126, -0.001, np.nan)] == ["0.13", "−0.13", "0.00", "–"]
    assert [number(value, True) for value in (0.1, -0.1, 0.0)] == ["+0.10", "−0.10", "0.00"]
    assert with_interval(0.1, -0.1, 0.3) == "0.10 (95 % interval −0.10 to 0.30)"
    assert with_interval(0.0012, -0.0004, 0.015, True) == "+0.001 (95 % interval 0.000 to +0.015)"
    assert [below(q) for q in (0.004, 0.5)] == ["below 0.01", "0.50"]
