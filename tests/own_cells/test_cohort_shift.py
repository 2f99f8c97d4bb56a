"""Whether new cells are of another population: recognised if they are, and not if they are not."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import require_real
from sklearn.exceptions import NotFittedError

from sbnn import PairedModel, ReducedRankRegressor, load_dataset, load_model, simulate_patchseq
from sbnn.data.count_tables import rows_of
from sbnn.data.published.scala import read_count_table
from sbnn.own_cells import cohort_shift
from sbnn.own_cells.cohort_shift import CohortShift
from sbnn.validation.cohort_tests import compare_animals
from sbnn.validation.significance import benjamini_hochberg

SCALA_MODEL = ReducedRankRegressor(2, 0.4, relaxed=True)
TRAINING = np.arange(300)


@pytest.fixture(scope="module")
def cells():
    data, _ = simulate_patchseq(n_cells=400, n_genes=80, n_features=6, n_informative=10, n_types=4, random_state=1)
    order = np.argsort(data.donors, kind="stable")  # animals one after another: 30 for training, 10 new ones
    return data.subset(order)


@pytest.fixture(scope="module")
def model(cells):
    return PairedModel(ReducedRankRegressor(2, 0.1)).fit(cells.subset(TRAINING))


def table_of(data):
    return pd.DataFrame(data.counts, index=data.cell_names, columns=data.gene_names)


def changed(data, genes, factor=6):
    """Cells in which some genes have more counts."""
    counts = np.array(data.counts)
    counts[:, np.isin(data.gene_names, genes)] = counts[:, np.isin(data.gene_names, genes)] * factor + 10
    return replace(data, counts=counts)


def test_other_animals_of_the_same_population_do_not_differ(cells, model):
    new = cells.subset(np.arange(300, 400))
    for found in (model.shift(new), model.shift(table_of(new)), model.shift(table_of(new), donors=new.donors)):
        assert found.p > 0.05 and not found.is_another and (found.genes["q"] > 0.05).all()
        assert "100 cells are not found to differ" in str(found) == repr(found)
    assert [model.shift(new).unit, model.shift(table_of(new)).unit] == ["donors", "training donors"]


def test_another_population_and_its_genes_are_recognised(cells, model):
    genes = model.selected_genes_[:3]
    new = changed(cells.subset(np.arange(300, 400)), genes)
    for found in (model.shift(new), model.shift(table_of(new))):
        assert found.p == pytest.approx(1 / 2000) and found.is_another and found.distance > 0.1
        assert set(found.genes.index[:3]) == set(genes) and (found.genes["q"][:3] < 0.01).all()
        assert (found.genes["difference"][:3] > 0).all()
        assert "100 cells differ from the training cells" in str(found)


def test_it_is_the_test_of_the_selected_genes(cells, model):
    new = cells.subset(np.arange(300, 400))
    found = model.shift(new, n_permutations=99, random_state=5)
    X = model.preprocessor_.transform_genes(new.counts)[:, model.estimator_.selected_]
    donors = np.unique(cells.donors[TRAINING], return_inverse=True)[1]
    given = X, model.training_genes_, new.donors, donors, 99
    p, distance, gene_p = compare_animals(*given, np.random.default_rng(5))
    assert (found.p, found.distance, found.n_permutations, found.n_cells) == (p, pytest.approx(distance), 99, 100)
    genes = found.genes.loc[model.selected_genes_]
    np.testing.assert_allclose(genes["p"], gene_p)
    np.testing.assert_allclose(genes["q"], benjamini_hochberg(gene_p))
    np.testing.assert_allclose(genes["difference"], X.mean(axis=0) - model.training_genes_.mean(axis=0), atol=1e-6)
    assert found.genes["p"].is_monotonic_increasing


def test_donors_are_given_in_many_ways(cells, model):
    anndata = pytest.importorskip("anndata")
    new = cells.subset(np.arange(300, 400))
    expected = model.shift(new, n_permutations=99)
    series = pd.Series(new.donors, new.cell_names)[::-1]
    adata = anndata.AnnData(new.counts, pd.DataFrame({"Mouse": new.donors}, new.cell_names), table_of(new).T[[]])
    for found in (
        model.shift(table_of(new), donors=series, n_permutations=99),
        model.shift(adata, donors="Mouse", n_permutations=99),
    ):
        assert (found.p, found.unit) == (expected.p, "donors")
    partly = replace(new, donors=np.where(np.arange(100) < 3, "unknown", new.donors))
    assert model.shift(partly, n_permutations=99).unit == "training donors"
    for donors, given, message in (
        ("Mouse", table_of(new), "cells is no AnnData: give one donor per cell"),
        ("animal", adata, "adata.obs has 'Mouse'"),
        (new.donors[:5], new, "donors must have one entry per cell"),
        (partly.donors, new, "donors of 3 of 100 cells are not known"),
    ):
        with pytest.raises(ValueError, match=message):
            model.shift(given, donors=donors)


def test_without_donors_of_the_training_cells_cells_are_the_units(cells):
    model = PairedModel(ReducedRankRegressor(2, 0.1)).fit(replace(cells.subset(TRAINING), donors=None))
    new = cells.subset(np.arange(300, 400))
    assert model.training_donors_ is None and model.shift(new).unit == "cells" and model.shift(new).p > 0.01
    assert model.shift(changed(new, model.selected_genes_[:3])).p < 0.01


def test_genes_that_were_not_measured_and_cells_without_counts_are_left_out(cells, model):
    new = cells.subset(np.arange(300, 400))
    lacking = table_of(new).drop(columns=model.selected_genes_[0])
    lacking.iloc[:2] = 0
    with pytest.raises(ValueError, match="lack 1 of the 80 genes"):
        model.shift(lacking)
    with pytest.warns(UserWarning, match="lack 1 of the 80 genes"):
        found = model.shift(lacking, donors=new.donors, fill_missing=True)
    assert model.selected_genes_[0] not in found.genes.index and found.n_cells == 98 and found.p > 0.01


def test_arguments_are_checked(cells, model):
    new = cells.subset(np.arange(300, 400))
    for settings, message in (
        ({"n_permutations": 18}, "n_permutations must be at least 19"),
        ({"random_state": -1}, "random_state must be at least 0"),
        ({"cells": new.subset([0])}, "at least two cells with counts"),
    ):
        with pytest.raises(ValueError, match=message):
            model.shift(**{"cells": new} | settings)
    with pytest.raises(NotFittedError):
        PairedModel(ReducedRankRegressor()).shift(new)


def test_many_cells_are_drawn_by_animal(cells, model, monkeypatch):
    donors = cells.donors
    rows = cohort_shift._some(donors, 120, np.random.default_rng(0))
    assert 100 < len(rows) <= 120 and set(donors[rows]).isdisjoint(np.delete(donors, rows))
    one = cohort_shift._some(np.repeat("a", 300), 120, np.random.default_rng(0))
    assert len(one) == 120 == len(set(one))
    monkeypatch.setattr(cohort_shift, "MOST_CELLS", 150)
    new = cells.subset(np.arange(300, 400))
    assert model.shift(new).p > 0.01 and model.shift(changed(new, model.selected_genes_)).p < 0.01


def test_predict_says_it_in_one_sentence(cells, model):
    new = cells.subset(np.arange(300, 400))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(new)
        model.predict(cells.subset(TRAINING))
        model.predict(changed(new, model.selected_genes_).subset(np.arange(9)))  # too few to tell
    for given in (changed(new, model.selected_genes_[:3]), table_of(changed(new, model.selected_genes_[:3]))):
        with pytest.warns(UserWarning, match="these 100 cells differ from the training cells .*recalibrate") as caught:
            model.predict(given)
        assert len(caught) == 1 and caught[0].filename == __file__


def test_the_file_keeps_the_animals(cells, model, tmp_path):
    new = cells.subset(np.arange(300, 400))
    loaded = load_model(model.save(tmp_path / "map.sbnn"))
    np.testing.assert_array_equal(loaded.training_donors_, model.training_donors_)
    pd.testing.assert_frame_equal(loaded.shift(new).genes, model.shift(new).genes)
    model_without = PairedModel(ReducedRankRegressor(2, 0.1)).fit(replace(cells.subset(TRAINING), donors=None))
    assert load_model(model_without.save(tmp_path / "other.sbnn")).training_donors_ is None


@pytest.mark.parametrize("donors", [np.zeros(300, dtype=int), np.arange(-1, 299), np.arange(299), np.ones(300) * 0.5])
def test_a_file_with_other_animals_is_refused(model, donors, tmp_path):
    broken = PairedModel(ReducedRankRegressor(2, 0.1))
    broken.__dict__.update(model.__dict__ | {"training_donors_": donors.astype(int) if len(donors) < 300 else donors})
    if donors.dtype.kind == "f":
        broken.training_donors_ = np.zeros((300, 1))
    with pytest.raises(ValueError, match="training_donors"):
        broken.save(tmp_path / "map.sbnn")
    assert not (tmp_path / "map.sbnn").exists()


def test_the_answer_is_a_plain_object():
    genes = pd.DataFrame({"difference": [1.0], "p": [0.001], "q": [0.001]}, index=["Pvalb"])
    found = CohortShift(0.0005, 0.3, genes, "cells", 12, 1999)
    assert str(found) == (
        "these 12 cells differ from the training cells in the genes that the model reads (joint test over cells, "
        "p = 0.0005; 1 of 1 genes with q < 0.01: 'Pvalb')"
    )


def alike(sizes, n_genes, random):
    """Cells of donors that differ a little, and their donors."""
    donors = np.repeat(np.arange(len(sizes)), sizes)
    own = 0.3 * random.standard_normal((len(sizes), n_genes))
    return random.standard_normal((len(donors), n_genes)) + own[donors], donors.astype(str)


@pytest.mark.parametrize("size", [5, 22])
def test_a_few_new_donors_with_many_cells_are_not_another_cohort(size):
    """Were cells counted instead of donors, 40 % of such cohorts would have p below 5 %."""
    p = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        new, new_donors = alike([size] * 8, 10, random)
        old, old_donors = alike(random.integers(2, 9, 80), 10, random)
        p.append(compare_animals(new, old, new_donors, old_donors, 199, random).p)
    assert (np.array(p) <= 0.05).sum() <= 4 and (np.array(p) <= 0.01).sum() <= 1
    new, new_donors = alike([size] * 8, 10, random)
    assert compare_animals(new + 1, old, new_donors, old_donors, 199, random).p <= 0.01


def test_with_few_donors_nothing_can_be_told(cells, model):
    new = changed(cells.subset(np.arange(300, 400)), model.selected_genes_)
    one = new.subset(new.donors == new.donors[0])
    found = model.shift(one)
    assert not found.is_another and found.least_p == found.p == 1 / 31
    assert "cannot be told: with so few donors p cannot be below 0.032" in str(found)
    few = PairedModel(ReducedRankRegressor(2, 0.1)).fit(cells.subset(np.arange(100)))
    assert "their donors are not given, and there are fewer than 20" in str(few.shift(table_of(new)))
    assert few.shift(table_of(new)).least_p == 1 and not few.shift(table_of(new)).is_another
    assert "give donors" in str(model.shift(table_of(new)))  # if they are few with many cells


@pytest.mark.real_data
def test_the_warm_cohort_is_recognised_and_held_out_animals_are_not():
    require_real("scala_2020")
    require_real("scala_2020_phys_temp")
    data, cohort = load_dataset("scala_2020"), load_dataset("scala_2020_phys_temp")
    table = read_count_table("scala_2020_phys_temp")
    counts = pd.DataFrame(np.asarray(rows_of(table, cohort.cell_names)), cohort.cell_names, table.gene_names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the cells lack")
        found = PairedModel(SCALA_MODEL).fit(data).shift(counts, donors=cohort.donors, fill_missing=True)
    assert found.p < 0.01 and found.unit == "donors"
    held = np.isin(data.donors, np.random.default_rng(1).choice(np.unique(data.donors), 25, replace=False))
    assert PairedModel(SCALA_MODEL).fit(data.subset(~held)).shift(data.subset(held)).p > 0.01
