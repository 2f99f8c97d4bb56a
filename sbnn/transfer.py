"""Another cohort: what models fitted on one data set say about the cells of another."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier

from sbnn._checks import check_choice, check_length, check_same_cells, preview
from sbnn._reading import rows_of
from sbnn.preprocessing import Preprocessor, normalise_counts

#: Name of the row of `cohort_scores` that sums up all features.
ALL_FEATURES = "all features"


#: Whose means and SDs genes and features of a cohort are z-scored with.
STANDARDISATIONS = ("training", "cohort")


class ExternalValidation(NamedTuple):
    """What models of one data set say about another, as tables."""

    scores: pd.DataFrame
    latents: pd.DataFrame
    family_accuracy: pd.DataFrame
    missing_genes: list


class AlignedCohort(NamedTuple):
    """A cohort in the terms of the data set that models were fitted on."""

    X: np.ndarray
    Y: np.ndarray
    missing_genes: list


def validate_externally(reference, cohort, table, models, rename=None, n_bootstrap=2000, random_state=0):
    """Predict another cohort with models fitted on a reference, beside the means of families and types.

    Everything is done twice: with genes and features z-scored as in training, and each cohort with its own means
    and SDs. In the second case predictions are centred on the cohort as well, so that the means of classes, which
    standardisation does not touch, are on a par with the models.

    Parameters
    ----------
    reference, cohort, table
        See `align_cohort`; both sets of cells need `cell_types` and `cell_families`.
    models : dict
        Name -> model fitted on `reference.X` and `reference.Y`.
    rename : dict, optional
        Parts of the cohort's type and family names -> what the reference calls them.
    n_bootstrap, random_state : int
        See `cohort_scores`.

    Returns
    -------
    ExternalValidation
        `scores`: `model`, `standardise`, and the columns of `cohort_scores`;
        `latents`: `model`, `standardise`, `cell`, `z1`, `z2` of models with two latent dimensions, and
        `family_accuracy`: how often ten neighbours among the reference cells name the family of a cell there;
        `missing_genes` of the cohort.
    """
    types, families = cohort.cell_types, cohort.cell_families
    for old, new in (rename or {}).items():
        types, families = np.char.replace(types, old, new), np.char.replace(families, old, new)
    means = {
        "family mean": class_means(reference.Y, reference.cell_families, families),
        "type mean": class_means(reference.Y, reference.cell_types, types),
    }
    scores, latents, accuracy = [], [], []
    for standardise in STANDARDISATIONS:
        aligned = align_cohort(reference, cohort, table, standardise)
        predictions = {name: model.predict(aligned.X) for name, model in models.items()} | means
        for name, predicted in predictions.items():
            if standardise == "cohort":
                predicted = predicted - predicted.mean(axis=0)
            table_of_model = cohort_scores(
                aligned.Y, predicted, reference.feature_names, n_bootstrap, random_state=random_state
            )
            scores.append(_with_names(table_of_model, name, standardise))
        for name, model in models.items():
            Z = model.transform(aligned.X)
            if Z.shape[1] != 2:
                continue
            coordinates = pd.DataFrame({"cell": cohort.cell_names, "z1": Z[:, 0], "z2": Z[:, 1]})
            latents.append(_with_names(coordinates, name, standardise))
            voted = neighbours_family(model.transform(reference.X), reference.cell_families, Z)
            accuracy.append({"model": name, "standardise": standardise, "accuracy": np.mean(voted == families)})
    return ExternalValidation(
        pd.concat(scores, ignore_index=True),
        pd.concat(latents, ignore_index=True) if latents else pd.DataFrame(),
        pd.DataFrame(accuracy),
        aligned.missing_genes,
    )


def _with_names(table, model, standardise):
    """Put the names of model and standardisation before the columns of a table."""
    names = pd.DataFrame({"model": model, "standardise": standardise}, index=table.index)
    return pd.concat([names, table], axis=1)


def align_cohort(reference, cohort, table, standardise="training"):
    """Bring the cells of another cohort to the genes, features and scales of the data that models are fitted on.

    Genes and features are matched by name, in any order. Depth is taken over the genes that both have, and scaled to
    the reference's median depth over the same genes. A gene that the cohort lacks is set to zero in every cell,
    its mean in the training cells, so that it moves no prediction.

    Parameters
    ----------
    reference : PairedData
        The cells that models are fitted on, with `counts` and `features`.
    cohort : PairedData
        The new cells, with `features` in the same units.
    table : CountTable
        Counts of the new cells for all genes (`sbnn.scala.read_count_table`).
    standardise : {"training", "cohort"}
        z-score genes and features with the means and SDs of the reference ("training": what a new cell gets, batch
        differences and all), or each cohort with its own ("cohort": takes out shifts and scales that all its cells
        share, but needs a whole cohort of the same composition).

    Returns
    -------
    AlignedCohort
        `X` float32 (n_cells, n_genes of the reference), `Y` float32 (n_cells, n_features), `missing_genes`.

    Raises
    ------
    ValueError
        No common gene, a feature the cohort lacks or has in another unit, cells without counts.
    """
    check_choice(standardise, STANDARDISATIONS, "standardise")
    features = _matching_features(reference, cohort)
    found = np.isin(reference.gene_names, table.gene_names)
    if not found.any():
        raise ValueError(
            f"the cohort has none of the {reference.n_genes} genes of {reference.name!r}: "
            f"{preview(reference.gene_names, 3)} expected, {preview(table.gene_names, 3)} came"
        )
    columns = pd.Index(table.gene_names).get_indexer(reference.gene_names[found])
    depth = np.asarray(reference.counts[:, found].sum(axis=1), dtype=float)
    expression = normalise_counts(rows_of(table, cohort.cell_names)[:, columns], np.median(depth))
    fitted = Preprocessor().fit(reference.counts, reference.features)
    means, sds = fitted.gene_means_[found], fitted.gene_sds_[found]
    if standardise == "cohort":
        own = Preprocessor(allow_constant=True).fit(expression=expression, features=features)
        means, sds, Y = own.gene_means_, own.gene_sds_, own.transform_features(features)
    else:
        Y = fitted.transform_features(features)
    X = np.zeros((cohort.n_cells, reference.n_genes), dtype=np.float32)
    X[:, found] = (expression - means) / sds
    return AlignedCohort(X, Y, reference.gene_names[~found].tolist())


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
    return cohort.features[:, columns]


def class_means(Y, labels, new_labels):
    """Predict the features of new cells by the mean of the training cells of the same class.

    Parameters
    ----------
    Y : array, shape (n_training_cells, n_features)
        z-scored features.
    labels : sequence of str, shape (n_training_cells,)
        Type or family of each training cell.
    new_labels : sequence of str, shape (n_new_cells,)

    Returns
    -------
    array, shape (n_new_cells, n_features)

    Raises
    ------
    ValueError
        A class without training cells.
    """
    check_length(labels, len(Y), "labels", "cell of Y")
    means = pd.DataFrame(np.asarray(Y, dtype=float)).groupby(np.asarray(labels)).mean()
    unknown = sorted(set(new_labels) - set(means.index))
    if unknown:
        raise ValueError(f"no training cell has the class(es) {preview(unknown)}; known: {preview(means.index, 12)}")
    return means.loc[list(new_labels)].to_numpy()


def cohort_scores(Y, predictions, feature_names, n_bootstrap=2000, level=0.95, random_state=0):
    """Score predictions of a cohort feature by feature, with bootstrap intervals over cells.

    R2 = 1 - sum (Y - prediction)^2 / sum (Y - mean of the cohort)^2: below zero where predicting the cohort's own
    mean would have been better, as a shift between cohorts makes it. Correlations (Pearson) do not see shifts.

    Parameters
    ----------
    Y, predictions : arrays, shape (n_cells, n_features)
    feature_names : sequence of str
    n_bootstrap : int
        How often cells are drawn anew, with replacement (percentile intervals).
    level : float
        Coverage of the intervals.
    random_state : int

    Returns
    -------
    DataFrame
        `feature`, and `r2`, `correlation` with their bounds `..._low`, `..._high`; in the last row, "all features",
        R2 pooled over features and the mean of their correlations.

    Raises
    ------
    ValueError
        Where shapes disagree.
    """
    Y, predictions = np.asarray(Y, dtype=float), np.asarray(predictions, dtype=float)
    check_same_cells(Y, predictions)
    check_length(feature_names, Y.shape[1], "feature_names", "feature")
    draws = np.random.default_rng(random_state).integers(len(Y), size=(n_bootstrap, len(Y)))
    weights = np.apply_along_axis(np.bincount, 1, draws, minlength=len(Y)).astype(float)
    tails = [(1 - level) / 2, (1 + level) / 2]
    columns = {"feature": [*feature_names, ALL_FEATURES]}
    estimate = _weighted_scores(Y, predictions, np.ones((1, len(Y))))
    for name, drawn in _weighted_scores(Y, predictions, weights).items():
        columns[name] = estimate[name][0]
        columns[f"{name}_low"], columns[f"{name}_high"] = np.quantile(drawn, tails, axis=0)
    return pd.DataFrame(columns)


def _weighted_scores(Y, predictions, weights):
    """R2 and correlation of every feature and of all, for each row of cell weights: (n_draws, n_features + 1)."""
    n_cells = weights.sum(axis=1, keepdims=True)

    def covariance(first, second):
        return weights @ (first * second) / n_cells - (weights @ first / n_cells) * (weights @ second / n_cells)

    residual, total = weights @ (Y - predictions) ** 2 / n_cells, covariance(Y, Y)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance(Y, predictions) / np.sqrt(total * covariance(predictions, predictions))
        r2 = 1 - residual / total
    pooled = 1 - residual.sum(axis=1) / total.sum(axis=1)
    return {
        "r2": np.column_stack([r2, pooled]),
        "correlation": np.column_stack([correlation, correlation.mean(axis=1)]),
    }


def neighbours_family(coordinates, families, new_coordinates, n_neighbours=10):
    """Name the family of new cells by a vote of their nearest training cells in latent space.

    Parameters
    ----------
    coordinates : array, shape (n_training_cells, n_dimensions)
    families : sequence of str, shape (n_training_cells,)
    new_coordinates : array, shape (n_new_cells, n_dimensions)
    n_neighbours : int

    Returns
    -------
    str array, shape (n_new_cells,)
    """
    classifier = KNeighborsClassifier(n_neighbours).fit(np.asarray(coordinates), np.asarray(families))
    return classifier.predict(np.asarray(new_coordinates))
