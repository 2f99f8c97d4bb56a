"""Variable genes chosen on the training cells of each fold: nothing of the test cells, and nothing but these genes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sbnn import (
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    gene_importance,
    load_results,
    save_results,
    select_variable_genes,
    simulate_patchseq,
)
from sbnn.models.schedules import Stage
from sbnn.validation.baselines import ClassMean
from sbnn.validation.completion import identify, other_folds
from sbnn.validation.execution import Job, Plan, cut_into_chunks, stack_shape
from sbnn.validation.folds import make_folds, view_fold
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.result import CrossValidation

CHOICE = {"within_fold": True, "n_variable_genes": 30, "detection_threshold": 3}
SCHEDULE = [Stage("finetuned", 3, 3e-3, batch_size=64), Stage("pruned", 3, 3e-3, batch_size=64)]
NETWORK = SparseBottleneckRegressor(hidden=(16, 8), n_selected=8, schedule=SCHEDULE)
LINEAR = {"sRRR-2": ReducedRankRegressor(2, 0.1, relaxed=True), "ridge": Ridge(10.0)}
MODELS = {"sBNN-2": NETWORK, **LINEAR}


@pytest.fixture(scope="module")
def data():
    return simulate_patchseq(n_cells=159, n_genes=70, n_features=5, n_informative=10, n_types=4, random_state=3)[0]


@pytest.fixture(scope="module")
def folds(data):
    return make_folds(data, KFold(3, shuffle=True, random_state=0))


@pytest.fixture(scope="module")
def result(data, folds):
    return validate(data, folds)


def validate(data, folds, models=MODELS, **settings):
    return cross_validate(data, models, folds, n_jobs=1, progress=False, **{"stack_size": 1, **CHOICE, **settings})


def only_genes(data, genes):
    """The data as if no other genes had been measured; their X, which is not used within folds, stays as it is."""
    return replace(data, X=data.X[:, genes], counts=data.counts[:, genes], gene_names=data.gene_names[genes])


def chosen_by_hand(counts, n_genes, threshold):
    """Genes by how far the curve zero_rate = exp(-1.5 (mean_log - offset)) + .02 can be moved before they are below."""
    largest_offset = {}
    for gene, values in enumerate(counts.T.tolist()):
        above = [value for value in values if value > threshold]
        zero_rate = 1 - len(above) / len(values)
        if len(above) >= 10 and zero_rate > 0.02:
            largest_offset[gene] = np.mean(np.log2(above)) + np.log(zero_rate - 0.02) / 1.5
    return sorted(sorted(largest_offset, key=largest_offset.get)[-n_genes:])


def test_the_genes_of_a_fold_are_those_of_its_training_cells_by_the_definition(data, folds):
    chosen = []
    for fold in folds:
        view = view_fold(data, fold, **CHOICE)
        chosen.append(np.flatnonzero(view.genes).tolist())
        assert chosen[-1] == chosen_by_hand(data.counts[fold.train], 30, 3)
        np.testing.assert_array_equal(view.genes, select_variable_genes(data.counts[fold.train], 30, threshold=3))
        assert view.seen(data.gene_names).tolist() == data.gene_names[chosen[-1]].tolist()
    assert len({tuple(genes) for genes in chosen}) > 1, "folds should differ, or the tests below show nothing"


def test_x_is_normalised_over_the_genes_chosen_with_moments_of_the_training_cells(data, folds):
    for fold in folds:
        view = view_fold(data, fold, **CHOICE)
        counts = data.counts[:, view.genes].astype(float)
        depth = counts.sum(axis=1, keepdims=True)
        logs = np.log2(1 + counts / depth * np.median(depth[fold.train]))
        expected = (logs - logs[fold.train].mean(axis=0)) / logs[fold.train].std(axis=0)
        np.testing.assert_allclose(view.X, expected, atol=1e-5)
        np.testing.assert_array_equal(view.Y, view_fold(data, fold, within_fold=True).Y)


def test_noise_in_test_cells_changes_neither_genes_nor_weights(data, folds, result):
    random = np.random.default_rng(5)
    for number, fold in enumerate(folds):
        counts, features = data.counts.copy(), data.features.copy()
        counts[fold.test] = random.poisson(random.gamma(0.3, 300, counts[fold.test].shape))
        features[fold.test] = 100 * random.standard_normal(features[fold.test].shape)
        noisy = replace(data, counts=counts, features=features, X=random.permutation(data.X), Y=data.Y[::-1].copy())
        assert not np.array_equal(select_variable_genes(counts, 30, 3), select_variable_genes(data.counts, 30, 3))
        seen, seen_noisy = (view_fold(one, fold, **CHOICE) for one in (data, noisy))
        np.testing.assert_array_equal(seen.genes, seen_noisy.genes)
        np.testing.assert_array_equal(seen.X[fold.train], seen_noisy.X[fold.train])
        if number:  # a single fold is called 0, from which networks draw
            continue
        network, linear, ridge = validate(noisy, [fold]).estimators
        for mine, theirs in zip(network.weights_, result.estimators[0].weights_, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(linear.W_, result.estimators[3].W_)
        np.testing.assert_array_equal(ridge.coef_, result.estimators[6].coef_)


def test_a_fold_is_that_of_data_in_which_no_other_gene_was_measured(data, folds, result):
    """Bit for bit: scores, predictions, coordinates, genes and their norms by name."""
    view = view_fold(data, folds[0], **CHOICE)
    few = only_genes(data, view.genes)
    alone = cross_validate(few, MODELS, folds[:1], within_fold=True, n_jobs=1, stack_size=1, progress=False)
    for name, table in alone.tables.items():
        mine = result.tables[name].query("fold == 0").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, table[mine.columns], check_exact=name != "scores", obj=name)


def test_no_other_gene_is_in_the_tables_and_scores_are_those_of_models_fitted_by_hand(data, folds, result):
    for number, fold in enumerate(folds):
        view = view_fold(data, fold, **CHOICE)
        names = data.gene_names[view.genes]
        here = f"fold == {number}"
        assert result.gene_norms.query(here)["gene"].tolist() == names.tolist()
        selected = result.selected.query(here)
        assert set(selected["gene"]) <= set(names)
        network = result.estimators[number]
        assert selected.query("model == 'sBNN-2'")["gene"].tolist() == names[network.selected_].tolist()
        model = ReducedRankRegressor(2, 0.1, relaxed=True).fit(view.X[fold.train], view.Y[fold.train])
        assert selected.query("model == 'sRRR-2'")["gene"].tolist() == names[model.selected_].tolist()
        ridge = Ridge(10.0).fit(view.X[fold.train], view.Y[fold.train])
        residuals = view.Y[fold.test] - ridge.predict(view.X[fold.test])
        expected = 1 - (residuals**2).sum() / ((view.Y[fold.test] - view.Y[fold.train].mean(axis=0)) ** 2).sum()
        found = result.scores.query(f"model == 'ridge' and {here}")["r2_test"].item()
        assert found == pytest.approx(expected, abs=1e-5)


def test_networks_of_folds_that_see_other_genes_are_the_same_alone_and_in_a_stack(data, folds):
    alone, stacked = (validate(data, folds, {"sBNN-2": NETWORK}, stack_size=size) for size in (1, 3))
    for one, other in zip(alone.estimators, stacked.estimators, strict=True):
        np.testing.assert_allclose(one.weights_[0], other.weights_[0], atol=1e-5)


def test_without_the_choice_folds_see_what_they_saw_before(data, folds):
    assert view_fold(data, folds[0]).X is data.X and view_fold(data, folds[0]).genes is None
    view = view_fold(data, folds[0], within_fold=True)
    assert view.genes is None and view.X.shape == data.X.shape and view.seen(data.gene_names) is data.gene_names


def test_sparse_counts_give_the_same(data, folds):
    stored = replace(data, counts=sparse.csr_matrix(data.counts))
    for fold in folds:
        mine, theirs = (view_fold(one, fold, **CHOICE) for one in (data, stored))
        np.testing.assert_array_equal(mine.genes, theirs.genes)
        np.testing.assert_allclose(mine.X, theirs.X, atol=1e-6)


def test_class_means_do_not_read_genes(data, folds):
    models = {"type": ClassMean("cell_types")}
    plain = cross_validate(data, models, folds, within_fold=True, progress=False)
    pd.testing.assert_frame_equal(validate(data, folds, models).scores, plain.scores)


def twins(data):
    """Every gene twice under two names: no curve comes between the two."""
    names = np.concatenate([data.gene_names, np.char.add(data.gene_names, "b")])
    both = np.hstack([data.counts, data.counts])
    return replace(data, X=np.hstack([data.X, data.X]), counts=both, gene_names=names)


def test_the_nearest_number_is_taken_with_one_warning(data, folds):
    doubled = twins(data)
    views = view_folds(doubled, folds, FoldProtocol(True, 31, 3))
    numbers = [view.X.shape[1] for view in views]
    assert set(numbers) <= {30, 32}
    with pytest.warns(UserWarning) as caught:
        found = validate(doubled, folds, {"ridge": Ridge()}, n_variable_genes=31)
    assert [str(one.message) for one in caught] == [
        "n_variable_genes=31: in fold(s) 0, 1, 2 no curve selects exactly as many genes; the nearest numbers, "
        f"{', '.join(map(str, numbers))}, are taken"
    ]
    assert [model.n_features_in_ for model in found.estimators] == numbers


def test_networks_that_see_other_numbers_of_genes_are_not_stacked(data, folds):
    views = [view_fold(data, fold, True, number, 3) for fold, number in zip(folds, (30, 28, 30), strict=True)]
    plan = Plan(data, [("sBNN-2", NETWORK)], views, {}, ())
    chunks = cut_into_chunks(plan, [Job(0, fold) for fold in range(3)], lambda estimator: 3)
    assert stack_shape(plan, Job(0, 0)) != stack_shape(plan, Job(0, 1))
    assert all(len({views[job.fold].X.shape[1] for job in chunk}) == 1 for chunk in chunks)


def test_the_choice_is_in_the_address_of_a_fit_and_what_is_stored_is_restored(data, folds, tmp_path, result):
    assert validate(data, folds, store=tmp_path).n_fitted == 9
    for settings in ({"n_variable_genes": 29}, {"detection_threshold": 2}):
        assert validate(data, folds, LINEAR, store=tmp_path, **settings).n_fitted == 6
    plain = cross_validate(data, LINEAR, folds, store=tmp_path, within_fold=True, progress=False)
    assert plain.n_fitted == 6
    again = validate(data, folds, store=tmp_path)
    assert again.n_fitted == 0
    for name, table in result.tables.items():
        pd.testing.assert_frame_equal(table, again.tables[name], obj=name)
    X = view_fold(data, folds[1], **CHOICE).X
    np.testing.assert_array_equal(again.estimators[1].predict(X), result.estimators[1].predict(X))
    counts = data.counts.copy()
    counts[0] += 1  # X and Y stay
    assert validate(replace(data, counts=counts), folds, LINEAR, store=tmp_path).n_fitted == 6


def test_a_result_says_how_genes_were_chosen(data, folds, result, tmp_path):
    assert result.protocol == "training cells, 30 variable genes of more than 3 counts"
    others = [
        {"detection_threshold": 2},
        {"n_variable_genes": 29},
        {"n_variable_genes": None, "detection_threshold": 0},
    ]
    for settings in others:
        with pytest.raises(ValueError, match="protocol differs"):
            result.join(validate(data, folds, {"other": Ridge()}, **settings))
    path = tmp_path / "cv.pickle"
    save_results(path, result, tables=["scores", "selected"], **identify(data))
    saved = load_results(path)
    assert CrossValidation.from_results(saved).protocol == result.protocol
    assert other_folds(saved, data, folds, **CHOICE) == []
    for settings in ({"within_fold": True}, {}, {**CHOICE, "n_variable_genes": 20}):
        assert other_folds(saved, data, folds, **settings) == ["a different protocol"]


@pytest.mark.parametrize(
    "protocol",
    [
        FoldProtocol(),
        FoldProtocol(True),
        FoldProtocol(True, 1000, 30),
        FoldProtocol(True, 7, 0),
        FoldProtocol(True, np.int64(7), 0.1),
        FoldProtocol(True, 7, 1e-7),
        FoldProtocol(True, 7, 123456789.125),
    ],
)
def test_protocols_are_read_as_they_were_written(protocol):
    assert FoldProtocol.read(str(protocol)) == protocol


def test_texts_of_protocols_are_those_of_earlier_results_and_others_are_refused():
    assert [str(FoldProtocol(flag)) for flag in (False, True)] == ["all cells", "training cells"]
    with pytest.raises(ValueError, match="unknown protocol 'training cells, 5 genes' .* newer version of sbnn"):
        FoldProtocol.read("training cells, 5 genes")


@pytest.mark.parametrize("model", ["sBNN-2", "sRRR-2", "ridge"])
def test_importance_is_that_of_data_in_which_no_other_gene_was_measured(data, folds, result, model):
    quick = {"model": model, "unit": "cell", "n_repeats": 3, "n_bootstrap": 50, "progress": False}
    genes = view_fold(data, folds[0], **CHOICE).genes
    few = only_genes(data, genes)
    mine = gene_importance(validate(data, folds[:1]), data, **quick)
    theirs = gene_importance(
        cross_validate(few, MODELS, folds[:1], within_fold=True, n_jobs=1, progress=False), few, **quick
    )
    pd.testing.assert_frame_equal(mine.table, theirs.table)
    assert mine.scores["r2_test"].iloc[-1] == pytest.approx(theirs.scores["r2_test"].iloc[-1])
    frequency = gene_importance(result, data, **quick).total.set_index("gene")["frequency"]
    seen = pd.Series(np.mean([view_fold(data, fold, **CHOICE).genes for fold in folds], axis=0), data.gene_names)
    if model == "ridge":  # reads all genes that it sees
        pd.testing.assert_series_equal(frequency.sort_index(), seen[seen > 0].sort_index(), check_names=False)
    else:
        assert (frequency <= seen[frequency.index] + 1e-9).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"within_fold": False}, "n_variable_genes=30 chooses genes on the training cells .* needs within_fold=True"),
        ({"n_variable_genes": 0}, "n_variable_genes must be between 1 and 70, got 0"),
        ({"n_variable_genes": 71}, "n_variable_genes must be between 1 and 70, got 71"),
        ({"n_variable_genes": 2.5}, "n_variable_genes must be a whole number"),
        ({"n_variable_genes": True}, "n_variable_genes must be a whole number"),
        ({"detection_threshold": -1}, "detection_threshold must be finite and at least 0, got -1"),
        ({"detection_threshold": "30"}, "detection_threshold must be a number, got '30'"),
        ({"n_variable_genes": None}, "detection_threshold=3 is for the choice of variable genes: give n_var"),
        ({"detection_threshold": 1e6}, r"n_variable_genes must be at most 0, .* at least 10 of 106 training cells"),
        ({"n_variable_genes": 6}, r"models\['sBNN-2'\], with n_variable_genes=6: n_selected must be"),
        ({"n_variable_genes": 4, "models": {"a": ReducedRankRegressor(5)}}, r"models\['a'\], with n_.*=4: rank must"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_refused(data, folds, settings, message):
    with pytest.raises(ValueError, match=message):
        validate(data, folds, **settings)


def test_data_without_counts_and_cells_without_counts_are_refused(data, folds):
    with pytest.raises(ValueError, match="n_variable_genes=30 chooses genes by their counts, but data.counts is None"):
        validate(replace(data, counts=None), folds)
    counts = data.counts.copy()
    cell, chosen = folds[1].test[0], view_fold(data, folds[1], **CHOICE).genes
    counts[cell, chosen] = 0
    message = (
        rf"1 cell\(s\) have no count of the 30 genes that a fold's training cells choose \('{data.cell_names[cell]}'\)"
    )
    with pytest.raises(ValueError, match=message) as caught:
        view_folds(replace(data, counts=counts), folds[1:2], FoldProtocol(**CHOICE))
    assert caught.value.__notes__ == ["in fold 0"]
