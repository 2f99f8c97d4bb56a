"""Which folds and models a report takes."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import KFold

from sbnn import simulate_patchseq
from sbnn.reporting.contest import (
    BY_SIMPLICITY,
    LABELS_ONLY,
    LEAST_CELLS,
    WITH_CLASS,
    check_enough_cells,
    classes_of,
    contestants,
    network_genes,
    networks_among,
    outer_folds,
)
from sbnn.reporting.modes import MODES, get_mode
from sbnn.validation.shared_donors import share_of_known_donors


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=80, n_genes=40, n_features=4, n_informative=5, n_types=3, random_state=0)[0]


def test_folds_are_of_animals_where_these_are_known(data):
    found = outer_folds(data, None, 5, 0)
    assert share_of_known_donors(data, found.folds) == 0 and len(found.folds) == 5
    assert sorted(np.concatenate([fold.test for fold in found.folds])) == list(range(80))
    assert (found.unit, found.by_donor, found.of_whom) == ("donor", True, "cells of other donors")
    assert f"{len(set(data.donors))} donors" in found.words
    assert all(np.array_equal(a.train, b.train) for a, b in zip(found.folds, outer_folds(data, None, 5, 0).folds))  # noqa: B905


@pytest.mark.parametrize(
    ("donors", "words"),
    [
        (None, "were not given"),
        (["one"] * 80, "there is one donor, 'one'"),
        (["unknown"] * 3 + ["a", "b"] * 38 + ["a"], "the donors of some cells are not known"),
        (["unknown"] * 40 + ["a"] * 40, "the donors of some cells are not known"),
        (["unknown"] * 80, "the donors of the cells are not known"),
        (["lonely"] + ["b"] * 40 + ["c"] * 39, "donors have too few cells"),
        (["lonely"] + ["many"] * 79, "the donor 'many' has 79 of the 80 cells: the other cells are too few"),
    ],
)
def test_folds_are_random_otherwise_and_it_is_said_why(data, donors, words):
    some = replace(data, donors=donors)
    found = outer_folds(some, None, 5, 0)
    assert words in found.words and "further cells of these donors" in found.words
    assert not found.by_donor and found.of_whom == "held-out cells" and len(found.folds) == 5
    assert found.unit == ("donor" if donors and "lonely" in donors else "cell")


def test_two_animals_are_two_folds(data):
    found = outer_folds(replace(data, donors=["a"] * 40 + ["b"] * 40), None, 5, 0)
    assert [len(fold.test) for fold in found.folds] == [40, 40] and found.by_donor


def test_given_folds_are_taken(data):
    found = outer_folds(data, KFold(3, shuffle=True, random_state=0), 5, 0)
    assert len(found.folds) == 3 and not found.by_donor and "given" in found.words
    assert outer_folds(data, "donor", 5, 0).by_donor
    for folds in ("all", [(range(40), range(40, 80))]):
        with pytest.raises(ValueError, match="folds must be at least two, each with test cells"):
            outer_folds(data, folds, 5, 0)


def test_too_few_cells_are_refused_with_the_number_needed(data):
    check_enough_cells(data.subset(np.arange(LEAST_CELLS)))
    with pytest.raises(
        ValueError, match=f"data has {LEAST_CELLS - 1} cells, and a report needs at least {LEAST_CELLS}"
    ):
        check_enough_cells(data.subset(np.arange(LEAST_CELLS - 1)))


def test_the_quick_models(data):
    found = contestants(data, MODES["quick"], 3)
    shrunken = {"family + type", "family + type + genes"}
    assert set(found) == {"family mean", "type mean", "ridge", "sRRR-2", "sBNN-2"} | shrunken
    of_families = contestants(replace(data, cell_types=None, type_colors=None), MODES["quick"], 3)
    assert {"family mean, shrunken", "family + genes"} <= set(of_families) and not shrunken & set(of_families)
    missing = np.where(np.arange(data.n_cells)[:, None] < 40, np.nan, data.Y)
    missing[:, 1:] = data.Y[:, 1:]  # every second cell is without a value
    assert not shrunken & set(contestants(replace(data, Y=missing), MODES["quick"], 3))
    assert list(found) == [name for name in BY_SIMPLICITY if name in found]
    (network,) = found["sBNN-2"]
    assert (network.n_networks, network.n_selected, network.random_state) == (10, 20, 3)  # 80 cells, four for a gene
    assert networks_among(found) == ["sBNN-2"]
    assert len(found["sRRR-2"]) < len(contestants(data, MODES["full"], 3)["sRRR-2"])


def test_the_full_models(data):
    found = contestants(data, MODES["full"], 3)
    single = {"family mean, shrunken", "family + genes", "type mean, shrunken", "type + genes"}
    assert set(found) == set(BY_SIMPLICITY) - single
    assert [one.n_selected for one in found["sBNN-2"]] == [10, 20]
    missing = data.Y.copy()
    missing[:30, 0] = np.nan
    assert "extra trees" not in contestants(replace(data, Y=missing), MODES["full"], 3)


def test_classes_are_compared_with_where_there_are_some(data):
    assert classes_of(data) == ["cell_families", "cell_types"]
    assert classes_of(replace(data, cell_types=None, cell_families=["one"] * 80, family_colors=None)) == []
    assert not {*LABELS_ONLY, *WITH_CLASS} & set(
        contestants(replace(data, cell_types=None, cell_families=None), MODES["quick"], 0)
    )


def test_few_genes_and_one_feature(data):
    one = replace(data, Y=data.Y[:, :1], features=None, feature_names=data.feature_names[:1], feature_units=None)
    assert "sRRR-2" not in contestants(one, MODES["quick"], 0)
    few = replace(data, X=data.X[:, :6], counts=None, gene_names=data.gene_names[:6])
    assert network_genes(few) == 6


def test_modes():
    assert get_mode("quick").n_outer <= get_mode("full").n_outer
    with pytest.raises(ValueError, match="unknown mode 'slow': expected one of 'quick', 'full'"):
        get_mode("slow")
