"""Another cohort: predictions of models fitted on one data set for the cells of another."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn._checks import check_choice, check_length, check_matrix, check_same_cells, preview
from sbnn._hints import Labels
from sbnn.data.count_tables import CountTable, rows_of
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import Preprocessor, align_genes
from sbnn.models.r2 import r2_from_sums
from sbnn.validation.baselines import class_means
from sbnn.validation.bootstrap import draw_groups, interval_over_units, resampled_groups
from sbnn.validation.comparison import vote_of_neighbours

#: Name of the row of `cohort_scores` that combines all features.
ALL_FEATURES = "all features"

#: Sources of the means and SDs with which genes and features of a cohort are z-scored.
STANDARDISATIONS = ("training", "cohort")

#: How predictions of a cohort are scored: (name, standardisation, whether they are centred on the cohort).
SCORINGS = (("training", "training", False), ("centred", "training", True), ("cohort", "cohort", True))


class ExternalValidation(NamedTuple):
    """Tables of how models of one data set predict another (see `validate_externally`)."""

    scores: pd.DataFrame
    differences: pd.DataFrame
    latents: pd.DataFrame
    training_latents: pd.DataFrame
    family_votes: pd.DataFrame
    shifts: pd.DataFrame
    missing_genes: list[str]


class AlignedCohort(NamedTuple):
    """A cohort on the genes, features and scales of the data set that models were fitted on."""

    X: np.ndarray
    Y: np.ndarray
    missing_genes: list[str]


class _Resamples(NamedTuple):
    """Bootstrap resamples of whole groups of cells."""

    weights: np.ndarray  # (n_bootstrap, n_cells): how often each cell is drawn
    n_groups: int

    def intervals(self, drawn: np.ndarray, level: float = 0.95) -> np.ndarray:
        """Return the bounds of each column of scores, (2, n_columns); none for a single group."""
        return interval_over_units(drawn, np.full(drawn.shape[1], self.n_groups), level)


def validate_externally(
    reference: PairedData,
    cohort: PairedData,
    table: CountTable,
    models: Mapping[str, BaseEstimator],
    rename: Mapping[str, str] | None = None,
    n_bootstrap: int = 2000,
    random_state: int = 0,
) -> ExternalValidation:
    """Predict another cohort with models fitted on a reference, and with the means of families and types.

    Everything is scored three ways. "training": genes and features z-scored as in training, which is what a new cell
    gets. "centred": the same, with the mean of the predictions over the cohort shifted to the mean of its features, so
    that a shift common to all cells does not count. "cohort": genes and features z-scored within the cohort, and
    predictions centred as well; this uses means and SDs of the very features that are predicted, and mixes
    differences between cohorts with differences in composition. Means of classes are scored in the same ways.
    Intervals are from bootstrapping the cohort's animals (its cells if animals are not known), as wide as Student's t
    makes them for few animals (`sbnn.validation.bootstrap.interval_over_units`); models are the same in every resample,
    so that intervals do not include the variation of training.

    Parameters
    ----------
    reference, cohort, table
        See `align_cohort`; both sets of cells need `cell_types` and `cell_families`.
    models : dict
        Name -> model fitted on `reference.X` and `reference.Y`.
    rename : dict, optional
        Parts of the cohort's type and family names -> their names in the reference.
    n_bootstrap, random_state : int
        See `cohort_scores`.

    Returns
    -------
    ExternalValidation
        `scores`: `model`, `scoring`, and the columns of `cohort_scores`;
        `differences`: pooled R2 of the first model minus that of each other model, on the same resamples: `model`,
        `scoring`, `difference`, `low`, `high`;
        `latents`: `model`, `standardise`, `cell`, `z1`, `z2` of models with two latent dimensions;
        `training_latents`: `model`, `cell`, `z1`, `z2` of the reference cells in the same models;
        `family_votes`: `model`, `standardise`, `family`, `n_cells`, `recall`: the fraction of a family's cells whose
        ten neighbours among the reference cells vote for the right family;
        `shifts`: `feature`, `shift` (mean of the cohort in SDs of the reference), `within_families` (the same, after
        subtracting the reference's mean of each cell's family: what composition does not explain);
        `missing_genes` of the cohort.

    Raises
    ------
    ValueError
        As in `align_cohort` and `baselines.class_means`; also if types or families are not known.
    """
    reference_types, reference_families = _classes(reference, "reference")
    types, families = _classes(cohort, "cohort")
    for old, new in (rename or {}).items():
        types, families = np.char.replace(types, old, new), np.char.replace(families, old, new)
    means = {
        "family mean": class_means(reference.Y, reference_families, families),
        "type mean": class_means(reference.Y, reference_types, types),
    }
    aligned = {name: align_cohort(reference, cohort, table, name) for name in STANDARDISATIONS}
    resamples = _resample(cohort.n_cells, cohort.donors, n_bootstrap, random_state)
    scores, differences = [], []
    for scoring, standardise, centre in SCORINGS:
        X, Y, _ = aligned[standardise]
        predictions = {name: model.predict(X) for name, model in models.items()} | means
        if centre:
            predictions = {name: P - P.mean(axis=0) + Y.mean(axis=0) for name, P in predictions.items()}
        pooled = {}
        for name, predicted in predictions.items():
            of_model, drawn = _scores_with_draws(Y, predicted, reference.feature_names, resamples)
            scores.append(_with_names(of_model, model=name, scoring=scoring))
            pooled[name] = (of_model["r2"].iloc[-1], drawn["r2"][:, -1:])
        differences += _differences(pooled, resamples, scoring)
    latents, training_latents, votes = _project(reference, cohort, aligned, models, families)
    return ExternalValidation(
        pd.concat(scores, ignore_index=True),
        pd.DataFrame(differences),
        latents,
        training_latents,
        votes,
        _shifts(aligned["training"].Y, means["family mean"], reference.feature_names),
        aligned["training"].missing_genes,
    )


def _classes(data: PairedData, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Types and families of the cells; ValueError where they are not known."""
    if data.cell_types is None or data.cell_families is None:
        raise ValueError(f"{what} {data.name!r} needs cell_types and cell_families, it has none")
    return data.cell_types, data.cell_families


def _differences(pooled, resamples, scoring):
    """Pooled R2 of the first model minus that of the others, with intervals from paired resamples."""
    first, *others = pooled
    rows = []
    for name in others:
        ((low,), (high,)) = resamples.intervals(pooled[first][1] - pooled[name][1])
        difference = pooled[first][0] - pooled[name][0]
        rows.append({"model": name, "scoring": scoring, "difference": difference, "low": low, "high": high})
    return rows


def _project(reference, cohort, aligned, models, families):
    """Place new and old cells in the two-dimensional models, and let neighbours vote on families."""
    latents, training_latents, votes = [], [], []
    for name, model in models.items():
        training = np.asarray(model.transform(reference.X))
        if training.shape[1] != 2:
            continue
        training_latents.append(_with_names(_coordinates(reference, training), model=name))
        for standardise in STANDARDISATIONS:
            Z = np.asarray(model.transform(aligned[standardise].X))
            latents.append(_with_names(_coordinates(cohort, Z), model=name, standardise=standardise))
            right = vote_of_neighbours(training, reference.cell_families, Z) == families
            by_family = pd.Series(right).groupby(families).agg(["size", "mean"]).reset_index()
            by_family.columns = ["family", "n_cells", "recall"]
            votes.append(_with_names(by_family, model=name, standardise=standardise))
    return tuple(
        pd.concat(part, ignore_index=True) if part else pd.DataFrame() for part in (latents, training_latents, votes)
    )


def _coordinates(data, Z):
    """Table of cells and their two coordinates."""
    return pd.DataFrame({"cell": data.cell_names, "z1": Z[:, 0], "z2": Z[:, 1]})


def _shifts(Y, family_means, feature_names):
    """Shift of the cohort's features from those of the reference, in its SDs, overall and within families."""
    within = (Y - family_means).mean(axis=0)
    return pd.DataFrame({"feature": feature_names, "shift": Y.mean(axis=0), "within_families": within})


def _with_names(table, **names):
    """Put columns of names before the others."""
    return pd.concat([pd.DataFrame(names, index=table.index), table], axis=1)


def align_cohort(
    reference: PairedData, cohort: PairedData, table: CountTable, standardise: str = "training"
) -> AlignedCohort:
    """Align the cells of another cohort to the genes, features and scales of the data that models are fitted on.

    Genes and features are matched by name, in any order. Depth is computed over the genes that both have, and scaled
    by their share in the counts of the reference (`Preprocessor.normalise`). A gene that the cohort lacks is set to
    zero in every cell, its mean in the training cells, so that it changes no prediction.

    Parameters
    ----------
    reference : PairedData
        The cells that models are fitted on, with `counts` and `features`.
    cohort : PairedData
        The new cells, with `features` in the same units.
    table : CountTable
        Counts of the new cells for all genes (`sbnn.data.published.scala.read_count_table`).
    standardise : {"training", "cohort"}
        z-score genes and features with the means and SDs of the reference ("training": what a new cell gets, including
        batch differences), or each cohort with its own ("cohort": removes shifts and scales that all its cells share,
        but needs a whole cohort of the same composition).

    Returns
    -------
    AlignedCohort
        `X` float32 (n_cells, n_genes of the reference), `Y` float32 (n_cells, n_features), `missing_genes`.

    Raises
    ------
    ValueError
        Values as measured are missing, no common gene, a feature that the cohort lacks, has in another unit or has not
        in every cell, cells without counts.
    """
    check_choice(standardise, STANDARDISATIONS, "standardise")
    if reference.counts is None or reference.features is None or cohort.features is None:
        raise ValueError(
            f"{reference.name!r} needs counts and features as measured, and {cohort.name!r} needs features as "
            "measured, to be brought to one scale"
        )
    features = _matching_features(reference, cohort)
    columns, present = align_genes(reference.gene_names, table.gene_names)
    if not present.any():
        raise ValueError(
            f"the cohort has none of the {reference.n_genes} genes of {reference.name!r}: "
            f"{preview(reference.gene_names, 3)} expected, {preview(table.gene_names, 3)} found"
        )
    counts = rows_of(table, cohort.cell_names)[:, columns]
    fitted = Preprocessor().fit(reference.counts, reference.features)
    if standardise == "training":
        X, Y = fitted.transform_genes(counts, present=present), fitted.transform_features(features)
    else:
        expression = fitted.normalise(counts, present)
        own = Preprocessor(allow_constant=True).fit(expression=expression, features=features)
        X = np.zeros((cohort.n_cells, reference.n_genes), dtype=np.float32)
        X[:, present], Y = own.transform_genes(expression=expression), own.transform_features(features)
    return AlignedCohort(X, Y, reference.gene_names[~present].tolist())


def _matching_features(reference, cohort):
    """Return the cohort's features in the order of the reference, units checked."""
    missing = [name for name in reference.feature_names if name not in cohort.feature_names]
    if missing:
        raise ValueError(f"the cohort {cohort.name!r} lacks the feature(s) {preview(missing)}")
    columns = pd.Index(cohort.feature_names).get_indexer(reference.feature_names)
    if reference.feature_units is not None and cohort.feature_units is not None:
        for name, unit, column in zip(reference.feature_names, reference.feature_units, columns, strict=True):
            if cohort.feature_units[column] != unit:
                raise ValueError(
                    f"feature {str(name)!r} is in {unit!r} in {reference.name!r} but in "
                    f"{cohort.feature_units[column]!r} in {cohort.name!r}"
                )
    return check_matrix(cohort.features[:, columns], f"features of {cohort.name!r}")


def cohort_scores(
    Y: npt.ArrayLike,
    predictions: npt.ArrayLike,
    feature_names: Labels,
    groups: npt.ArrayLike | None = None,
    n_bootstrap: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """Score predictions of a cohort feature by feature, with bootstrap intervals.

    R2 = 1 - sum (Y - prediction)^2 / sum (Y - mean of the cohort)^2: below zero where predicting the cohort's own
    mean would have been better, for example because of a shift between cohorts. Pearson correlations ignore shifts.

    Parameters
    ----------
    Y, predictions : arrays, shape (n_cells, n_features)
    feature_names : sequence of str
    groups : sequence, shape (n_cells,), optional
        Animal of each cell: whole animals are resampled, because cells of one animal are alike; cells if None.
    n_bootstrap : int
        Number of bootstrap resamples of animals or cells (intervals: `sbnn.validation.bootstrap.interval_over_units`).
    level : float
        Coverage of the intervals.
    random_state : int

    Returns
    -------
    DataFrame
        `feature`, and `r2`, `correlation` with their bounds `..._low`, `..._high`; in the last row, "all features",
        R2 pooled over features and the mean of their correlations. Bounds are NaN if all cells are of one animal.

    Raises
    ------
    ValueError
        Shapes disagree, or values are missing.
    """
    Y, predictions = check_matrix(Y, "Y"), check_matrix(predictions, "predictions")
    check_same_cells(Y, predictions)
    check_length(feature_names, Y.shape[1], "feature_names", "feature")
    resamples = _resample(len(Y), groups, n_bootstrap, random_state)
    return _scores_with_draws(Y, predictions, feature_names, resamples, level)[0]


def _resample(n_cells, groups, n_bootstrap, random_state):
    """Draw cells, or whole groups of them, many times."""
    group_of_cell = resampled_groups(groups, n_cells)
    n_groups = int(group_of_cell.max()) + 1
    return _Resamples(draw_groups(n_groups, n_bootstrap, random_state)[:, group_of_cell], n_groups)


def _scores_with_draws(Y, predictions, feature_names, resamples, level=0.95):
    """Return the table of `cohort_scores`, and the scores of every resample."""
    columns = {"feature": [*feature_names, ALL_FEATURES]}
    estimate = _weighted_scores(Y, predictions, np.ones((1, len(Y))))
    drawn = _weighted_scores(Y, predictions, resamples.weights)
    for name, values in drawn.items():
        columns[name] = estimate[name][0]
        columns[f"{name}_low"], columns[f"{name}_high"] = resamples.intervals(values, level)
    return pd.DataFrame(columns), drawn


def _weighted_scores(Y, predictions, weights):
    """R2 and correlation of every feature and of all, for each row of cell weights: (n_draws, n_features + 1)."""
    n_cells = weights.sum(axis=1, keepdims=True)

    def covariance(first, second):
        return weights @ (first * second) / n_cells - (weights @ first / n_cells) * (weights @ second / n_cells)

    residual, total = weights @ (Y - predictions) ** 2 / n_cells, covariance(Y, Y)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance(Y, predictions) / np.sqrt(total * covariance(predictions, predictions))
    pooled = r2_from_sums(residual.sum(axis=1), total.sum(axis=1))
    return {
        "r2": np.column_stack([r2_from_sums(residual, total), pooled]),
        "correlation": np.column_stack([correlation, correlation.mean(axis=1)]),
    }
