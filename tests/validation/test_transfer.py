"""Another cohort: alignment by name, both standardisations, scores with intervals."""

import copy
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import require_real
from scipy.stats import bootstrap, norm, pearsonr
from scipy.stats import t as student_t
from sklearn.metrics import r2_score

from sbnn import PairedModel, ReducedRankRegressor, SparseBottleneckRegressor, load_dataset, simulate_patchseq
from sbnn.data.count_tables import CountTable
from sbnn.data.preprocessing import Preprocessor
from sbnn.data.published.scala import read_count_table
from sbnn.figures.cohort import plot_external_cohort
from sbnn.models.schedules import get_schedule
from sbnn.validation.baselines import class_means
from sbnn.validation.comparison import vote_of_neighbours
from sbnn.validation.transfer import (
    ALL_FEATURES,
    SCORINGS,
    align_cohort,
    cohort_scores,
    validate_externally,
)


@pytest.fixture(scope="module")
def cohorts():
    """Two halves of simulated cells; the counts of the second in another order of genes, with others among them."""
    data, _ = simulate_patchseq(n_cells=300, n_genes=80, n_features=6, n_types=4, random_state=3)
    first, second = data.subset(np.arange(200)), data.subset(np.arange(200, 300))
    random = np.random.default_rng(0)
    order = random.permutation(80)
    counts = np.hstack([second.counts[:, order], random.poisson(5, (100, 7))])
    names = np.concatenate([second.gene_names[order], [f"Other{index}" for index in range(7)]])
    cells = random.permutation(100)
    preprocessor = Preprocessor().fit(first.counts, first.features)
    first = replace(
        first, X=preprocessor.transform_genes(first.counts), Y=preprocessor.transform_features(first.features)
    )
    return first, second, CountTable(counts[cells], names, second.cell_names[cells])


def test_with_all_genes_a_new_cell_is_preprocessed_as_in_training(cohorts):
    first, second, table = cohorts
    aligned = align_cohort(first, second, table)
    fitted = Preprocessor().fit(first.counts, first.features)
    np.testing.assert_allclose(aligned.X, fitted.transform_genes(second.counts), atol=1e-5)
    np.testing.assert_allclose(aligned.Y, fitted.transform_features(second.features), atol=1e-5)
    assert aligned.missing_genes == []


def test_within_the_cohort_every_gene_and_feature_has_mean_0_and_sd_1(cohorts):
    aligned = align_cohort(*cohorts, standardise="cohort")
    for values in (aligned.X, aligned.Y):
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-4)


def test_missing_genes_take_their_training_mean_and_leave_the_depth_to_the_others(cohorts):
    first, second, table = cohorts
    kept = ~np.isin(table.gene_names, first.gene_names[[3, 40]])
    without = CountTable(table.counts[:, kept], table.gene_names[kept], table.cell_names)
    aligned = align_cohort(first, second, without)
    assert aligned.missing_genes == first.gene_names[[3, 40]].tolist()
    assert (aligned.X[:, [3, 40]] == 0).all()
    common = np.delete(np.arange(80), [3, 40])
    depth = second.counts[:, common].sum(1, keepdims=True)
    share = first.counts[:, common].sum() / first.counts.sum()
    fitted = Preprocessor().fit(first.counts, first.features)
    logs = np.log2(1 + second.counts[:, common] / depth * np.median(first.counts.sum(1)) * share)
    expected = (logs - fitted.gene_means_[common]) / fitted.gene_sds_[common]
    np.testing.assert_allclose(aligned.X[:, common], expected, atol=1e-5)


def test_new_cells_are_scaled_by_one_rule(cohorts):
    """A cohort that lacks genes gets the same X for validation as a PairedModel gives it."""
    first, second, table = cohorts
    kept = ~np.isin(table.gene_names, first.gene_names[[3, 40]])
    without = CountTable(table.counts[:, kept], table.gene_names[kept], table.cell_names)
    model = PairedModel(ReducedRankRegressor(rank=2, alpha=0.05)).fit(first)
    counts = pd.DataFrame(without.counts, index=without.cell_names, columns=without.gene_names)
    expected = model.estimator_.transform(align_cohort(first, second, without).X)
    found = model.transform(counts.loc[second.cell_names], fill_missing=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_missing_gene_moves_no_prediction(cohorts):
    first, second, table = cohorts
    model = ReducedRankRegressor(rank=2, alpha=0.1).fit(first.X, first.Y)
    gene = int(np.argmax(model.gene_norms_))
    kept = table.gene_names != first.gene_names[gene]
    X = align_cohort(first, second, CountTable(table.counts[:, kept], table.gene_names[kept], table.cell_names)).X
    silent = copy.copy(model)
    silent.W_ = np.where(np.arange(80)[:, None] == gene, 0, model.W_)
    np.testing.assert_allclose(silent.predict(X), model.predict(X), atol=1e-5)


def test_features_are_matched_by_name_and_unit(cohorts):
    first, second, table = cohorts
    order = np.array([5, 0, 3, 1, 2, 4])
    turned = replace(
        second, Y=second.Y[:, order], features=second.features[:, order], feature_names=second.feature_names[order],
        feature_units=tuple(np.array(second.feature_units, dtype=object)[order]),
    )  # fmt: skip
    np.testing.assert_array_equal(align_cohort(first, turned, table).Y, align_cohort(first, second, table).Y)
    lacking = replace(
        second, Y=second.Y[:, 1:], features=second.features[:, 1:], feature_names=second.feature_names[1:],
        feature_units=second.feature_units[1:],
    )  # fmt: skip
    with pytest.raises(ValueError, match=f"lacks the feature.s. '{second.feature_names[0]}'"):
        align_cohort(first, lacking, table)
    other = replace(second, feature_units=("V", *second.feature_units[1:]))
    with pytest.raises(ValueError, match=f"feature '{second.feature_names[0]}' is in .* but in 'V'"):
        align_cohort(first, other, table)


def test_cohorts_that_do_not_fit_are_refused(cohorts):
    first, second, table = cohorts
    with pytest.raises(ValueError, match="has none of the 80 genes of"):
        align_cohort(first, second, table._replace(gene_names=np.char.add(table.gene_names, "x")))
    with pytest.raises(ValueError, match="the table of counts lacks cells"):
        align_cohort(first, second, CountTable(table.counts[1:], table.gene_names, table.cell_names[1:]))
    with pytest.raises(ValueError, match="unknown standardise 'none': expected one of 'training', 'cohort'"):
        align_cohort(first, second, table, standardise="none")


def test_scores_are_those_of_scikit_learn_and_scipy():
    random = np.random.default_rng(1)
    Y = random.normal(size=(90, 3))
    predictions = 0.6 * Y + random.normal(scale=0.5, size=Y.shape) + [0, 1, -3]
    scores = cohort_scores(Y, predictions, ["a", "b", "c"], n_bootstrap=500)
    assert scores["feature"].tolist() == ["a", "b", "c", ALL_FEATURES]
    np.testing.assert_allclose(scores["r2"][:3], r2_score(Y, predictions, multioutput="raw_values"))
    correlations = [pearsonr(Y[:, index], predictions[:, index])[0] for index in range(3)]
    np.testing.assert_allclose(scores["correlation"], [*correlations, np.mean(correlations)])
    pooled = 1 - ((Y - predictions) ** 2).sum() / ((Y - Y.mean(0)) ** 2).sum()
    assert scores["r2"].iloc[3] == pytest.approx(pooled) and pooled < 0  # a shift costs R2, not correlation
    for value in ("r2", "correlation"):
        assert (scores[f"{value}_low"] < scores[value]).all() and (scores[value] < scores[f"{value}_high"]).all()
    pd.testing.assert_frame_equal(scores, cohort_scores(Y, predictions, ["a", "b", "c"], n_bootstrap=500))


@pytest.mark.parametrize(("n_animals", "tolerance"), [(120, {"atol": 0.02}), (8, {"rtol": 0.15})])
def test_intervals_are_those_of_scipys_bootstrap(n_animals, tolerance):
    """Of few animals they are wider than percentiles, as Student's t is."""
    random = np.random.default_rng(2)
    Y = random.normal(size=(n_animals, 1))
    predictions = 0.5 * Y + random.normal(scale=0.7, size=Y.shape)
    ours = cohort_scores(Y, predictions, ["a"], n_bootstrap=4000).iloc[0]
    width = np.sqrt(n_animals / (n_animals - 1)) * student_t.ppf(0.975, n_animals - 1)
    theirs = bootstrap(
        (Y[:, 0], predictions[:, 0]), r2_score, paired=True, vectorized=False, n_resamples=4000, method="percentile",
        confidence_level=1 - 2 * norm.sf(width), rng=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose([ours["r2_low"], ours["r2_high"]], theirs, **tolerance)


def test_cells_of_one_animal_say_nothing_about_others():
    Y = np.random.default_rng(2).normal(size=(8, 1))
    one = cohort_scores(Y, 0.5 * Y, ["a"], groups=["mouse"] * 8, n_bootstrap=20)
    assert one["r2"].notna().all() and one[["r2_low", "correlation_high"]].isna().all(axis=None)


def test_class_means_are_means_of_training_cells(cohorts):
    first, second, _ = cohorts
    predicted = class_means(first.Y, first.cell_types, second.cell_types)
    name = second.cell_types[7]
    np.testing.assert_allclose(predicted[7], first.Y[first.cell_types == name].mean(0), atol=1e-6)
    with pytest.raises(ValueError, match="no training cell has the class.es. 'Martian'"):
        class_means(first.Y, first.cell_types, ["Martian"])


@pytest.fixture(scope="module")
def external(cohorts):
    """The second half predicted by models of the first; the network in a small setting."""
    first, second, table = cohorts
    second = replace(second, cell_families=np.char.replace(second.cell_families, "inner", "core"), family_colors=None)
    schedule = get_schedule("paper_no_pretraining").shortened(0.2, 20)
    network = SparseBottleneckRegressor(hidden=(32, 16), n_selected=15, schedule=schedule)
    models = {
        "sBNN-2": network.fit(first.X, first.Y),
        "ridge": ReducedRankRegressor(None, 1, l1_ratio=0).fit(first.X, first.Y),
    }
    return models, validate_externally(first, second, table, models, rename={"core": "inner"}, n_bootstrap=200)


def test_validation_covers_models_class_means_and_all_scorings(cohorts, external):
    first, second, table = cohorts
    models, found = external
    scores = found.scores.set_index(["model", "scoring", "feature"])["r2"].sort_index()
    assert set(found.scores["model"]) == {"sBNN-2", "ridge", "family mean", "type mean"}
    assert len(scores) == 4 * 3 * 7 and scores.index.is_unique
    for scoring, standardise, centre in SCORINGS:
        X, Y, _ = align_cohort(first, second, table, standardise)
        predicted = models["ridge"].predict(X)
        predicted = predicted - predicted.mean(0) + Y.mean(0) if centre else predicted
        expected = r2_score(Y, predicted, multioutput="raw_values")
        np.testing.assert_allclose(scores["ridge", scoring][first.feature_names], expected, atol=1e-5)
    assert scores["ridge", "training", ALL_FEATURES] > 0.1  # the halves come from one population
    assert (scores.xs("centred", level="scoring") >= scores.xs("training", level="scoring") - 1e-9).all()


def test_differences_are_paired(external):
    _, found = external
    pooled = found.scores[found.scores["feature"] == ALL_FEATURES].set_index(["model", "scoring"])["r2"]
    assert set(found.differences["model"]) == {"ridge", "family mean", "type mean"}
    for row in found.differences.itertuples():
        expected = pooled["sBNN-2", row.scoring] - pooled[row.model, row.scoring]
        assert row.difference == pytest.approx(expected) and row.low <= row.difference <= row.high


def test_new_cells_are_placed_and_their_families_named(cohorts, external):
    first, second, table = cohorts
    models, found = external
    assert set(found.latents["model"]) == {"sBNN-2"} and len(found.latents) == 2 * second.n_cells
    Z = models["sBNN-2"].transform(align_cohort(first, second, table).X)
    of_training = found.latents.query("standardise == 'training'")
    np.testing.assert_allclose(of_training[["z1", "z2"]], Z, atol=1e-5)
    np.testing.assert_allclose(found.training_latents[["z1", "z2"]], models["sBNN-2"].transform(first.X), atol=1e-5)
    votes = found.family_votes.query("standardise == 'training'").set_index("family")
    assert votes["n_cells"].to_dict() == pd.Series(second.cell_families).value_counts().to_dict()
    right = vote_of_neighbours(models["sBNN-2"].transform(first.X), first.cell_families, Z) == second.cell_families
    assert votes.loc["inner", "recall"] == pytest.approx(right[second.cell_families == "inner"].mean())


def test_shifts_are_told_from_composition(cohorts):
    """A cohort of one family alone is shifted, but not within its family; one that was moved is."""
    first, second, table = cohorts
    model = {"ridge": ReducedRankRegressor(None, 1, l1_ratio=0).fit(first.X, first.Y)}
    first, second = (replace(data, cell_families=data.cell_types, family_colors=None) for data in (first, second))
    only = second.subset(second.cell_types == second.cell_types[0])
    shifts = validate_externally(first, only, table, model, n_bootstrap=20).shifts.set_index("feature")
    assert shifts["within_families"].abs().mean() < shifts["shift"].abs().mean() / 2
    moved = replace(only, features=only.features + first.features.std(0))
    again = validate_externally(first, moved, table, model, n_bootstrap=20).shifts.set_index("feature")
    np.testing.assert_allclose(again - shifts, 1, atol=1e-5)


def test_whole_animals_are_drawn():
    """Cells that are copies of each other carry no more than one of them does."""
    random = np.random.default_rng(5)
    Y = random.normal(size=(40, 2))
    predictions = 0.5 * Y + random.normal(scale=0.5, size=Y.shape)
    copies = [np.repeat(values, 5, axis=0) for values in (Y, predictions)]
    animals = np.repeat([f"animal {number:02d}" for number in range(40)], 5)
    once = cohort_scores(Y, predictions, ["a", "b"], n_bootstrap=300)
    grouped = cohort_scores(*copies, ["a", "b"], groups=animals, n_bootstrap=300)
    pd.testing.assert_frame_equal(once, grouped)
    naive = cohort_scores(*copies, ["a", "b"], n_bootstrap=300)
    width = {name: table["r2_high"] - table["r2_low"] for name, table in (("grouped", grouped), ("naive", naive))}
    assert (width["naive"] < 0.7 * width["grouped"]).all()


def test_what_cannot_be_compared_is_named(cohorts):
    first, second, table = cohorts
    gap = second.features.copy()
    gap[3, 2] = np.nan
    for cohort, message in (
        (replace(second, features=gap), "features of 'simulated' holds 1 NaN or infinite value"),
        (replace(second, features=None), "'simulated' needs features as measured"),
        (replace(second, cell_types=None, type_colors=None), "cohort 'simulated' needs cell_types and cell_families"),
    ):
        with pytest.raises(ValueError, match=message):
            validate_externally(first, cohort, table, {}, n_bootstrap=5)


def test_the_picture_shows_every_cell_and_every_model(cohorts, external, tmp_path):
    first, second, _ = cohorts
    _, found = external
    cells = pd.DataFrame({"cell": second.cell_names, "cell_family": second.cell_families, "family_color": "#336699"})
    families = dict(zip(first.cell_names, first.cell_families, strict=True))
    training = found.training_latents.assign(cell_family=found.training_latents["cell"].map(families))
    figure = plot_external_cohort(training, found.latents, cells, found.scores, model="sBNN-2")
    drawn = [sum(len(points.get_offsets()) for points in axis.collections) for axis in figure.axes[:2]]
    assert drawn == [first.n_cells + second.n_cells] * 2
    names = [label.get_text() for label in figure.axes[3].get_yticklabels()]
    assert names == ["type mean", "family mean", "ridge", "sBNN-2"]
    figure.savefig(tmp_path / "figure.png")
    plt.close(figure)


def test_neighbours_vote():
    training = np.array([[0.0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [8, 9]])
    voted = vote_of_neighbours(training, ["a"] * 3 + ["b"] * 3, [[0.5, 0.5], [8.5, 9]], n_neighbours=3)
    assert voted.tolist() == ["a", "b"]


@pytest.mark.real_data
def test_the_warm_cohort_lacks_five_genes(m1):
    require_real("scala_2020_phys_temp")
    cohort, table = load_dataset("scala_2020_phys_temp"), read_count_table("scala_2020_phys_temp")
    aligned = align_cohort(m1, cohort, table)
    assert aligned.X.shape == (176, 1000) and aligned.Y.shape == (176, 16)
    assert aligned.missing_genes == ["ERCC-00009", "ERCC-00108", "ERCC-00136", "Gabrq", "Npy2r"]
    width = m1.feature_names.tolist().index("AP width")
    assert aligned.Y[:, width].mean() < -0.9  # warm spikes are narrow: shown on the training scale, gone within
    within = align_cohort(m1, cohort, table, standardise="cohort")
    assert abs(within.Y[:, width].mean()) < 1e-5
