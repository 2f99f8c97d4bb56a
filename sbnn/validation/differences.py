"""Differences in R2 between models on the same held-out cells, with intervals over animals and over folds."""

from collections.abc import Collection
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, check_coverage, check_whole, preview
from sbnn.data.paired_data import PairedData
from sbnn.models.r2 import r2_from_sums
from sbnn.validation.bootstrap import draw_groups, interval_over_units, resampling_units
from sbnn.validation.held_out import held_out_rows, predictions_of_models, sums_over_units
from sbnn.validation.result import CrossValidation
from sbnn.validation.significance import benjamini_hochberg, corrected_resampled_t
from sbnn.validation.transfer import ALL_FEATURES

#: What is compared: all features pooled, or each by itself.
SCOPES = ("all", "feature")


def compare(
    result: CrossValidation,
    data: PairedData,
    reference: str | None = None,
    unit: str | None = None,
    by: str = "all",
    n_bootstrap: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
    features: Collection[str] | None = None,
) -> pd.DataFrame:
    r"""Say by how much models differ in R2 on held-out cells, and how sure that is.

    R2 is pooled over the test cells of all folds,

    .. math:: R^2 = 1 - \frac{\sum_i \lVert y_i - \hat y_i \rVert^2}{\sum_i \lVert y_i - \bar y \rVert^2}

    with means :math:`\bar y` of the training cells of each fold. Its interval is from a bootstrap over animals (or
    cells): the same animals are drawn for all models, so that what makes animals easy or hard to predict cancels in the
    difference. Models are the same in every resample; with few animals the interval is widened as by Student's t
    (`sbnn.validation.bootstrap.interval_over_units`). Beside it, the differences of the folds' R2 are tested with the
    correction of Nadeau & Bengio for training cells that folds share; this includes the variation of training, but has
    only as many values as there are folds.

    Parameters
    ----------
    result : CrossValidation
        With `predictions` of at least two models; fitted, or loaded (`CrossValidation.from_results`). Settings of a
        model may differ between folds, as in a nested cross-validation, but not within a fold.
    data : PairedData
        The data that it was made from. Missing values of Y are left out.
    reference : str, optional
        Compare all other models with this one; by default every model with each that is named after it.
    unit : {"donor", "cell"}, optional
        What is resampled; by default donors if `data.donors` is given, else cells.
    by : {"all", "feature"}
        R2 of all features pooled, or of each.
    n_bootstrap : int
        Resamples.
    level : float
        Coverage of the intervals.
    random_state : int
        Of the resamples.
    features : collection of str, optional
        Score only these features; all if None.

    Returns
    -------
    DataFrame
        `model`, `reference`, `feature`; `r2`, `r2_reference` (pooled over folds), `difference` (the first minus the
        second) and its interval `low`, `high` over animals; `fold_difference` (mean over folds) with `fold_low`,
        `fold_high` and `p` (two-sided) of the corrected resampled t test; with by="feature" `q`, which is `p` after
        Benjamini & Hochberg over the features of one pair of models; `unit`, `n_units` (animals with values). NaN where
        a model has no score in some fold.

    Raises
    ------
    ValueError
        Other data, no predictions, fewer than two models or an unknown one, several settings of a model in a fold,
        fewer than two animals, cells of unknown animals, or unknown features.

    See Also
    --------
    sbnn.validation.differences.r2_intervals : R2 of each model with its interval.

    References
    ----------
    Nadeau & Bengio, "Inference for the generalization error", Machine Learning 52:239 (2003).
    Benjamini & Hochberg, "Controlling the false discovery rate", JRSS B 57:289 (1995).
    """
    found = _errors(result, data, unit, by, n_bootstrap, level, random_state, features)
    models = list(found.residual)
    if len(models) < 2:
        raise ValueError(f"a comparison needs predictions of at least 2 models, result has those of {preview(models)}")
    if reference is not None and reference not in models:
        raise ValueError(f"reference must be one of the models of result, {preview(models, 12)}, got {reference!r}")
    pairs = combinations(models, 2) if reference is None else permutations(models, 2)
    tables = [_compare_pair(found, *pair) for pair in pairs if reference in (None, pair[1])]
    table = pd.concat(tables, ignore_index=True)
    return table if by == "feature" else table.drop(columns="q")


def r2_intervals(
    result: CrossValidation,
    data: PairedData,
    unit: str | None = None,
    by: str = "all",
    n_bootstrap: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
    features: Collection[str] | None = None,
) -> pd.DataFrame:
    """Return R2 of each model on held-out cells, pooled over folds, with its interval over animals.

    Parameters
    ----------
    result, data, unit, by, n_bootstrap, level, random_state, features
        As in `sbnn.compare`; one model is enough.

    Returns
    -------
    DataFrame
        `model`, `feature`, `r2`, `low`, `high`, `unit`, `n_units` (animals with values).

    Raises
    ------
    ValueError
        As in `sbnn.compare`.
    """
    found = _errors(result, data, unit, by, n_bootstrap, level, random_state, features)
    tables = []
    for model in found.residual:
        low, high = interval_over_units(found.drawn[model], found.n_units, found.level)
        columns = {"model": model, "feature": found.features, "r2": found.r2(model), "low": low, "high": high}
        tables.append(pd.DataFrame({**columns, "unit": found.unit, "n_units": found.n_units}))
    return pd.concat(tables, ignore_index=True)


class _Errors(NamedTuple):
    """Sums of squared errors: `total` and, by model, `residual` (n_units, n_columns); R2 of folds and of resamples."""

    features: list[str]
    total: np.ndarray
    residual: dict[str, np.ndarray]
    by_fold: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    sizes: tuple[list[int], list[int]]
    n_units: np.ndarray
    unit: str
    level: float

    def r2(self, model):
        """R2 of a model pooled over folds, shape (n_columns,)."""
        return r2_from_sums(self.residual[model].sum(axis=0), self.total.sum(axis=0))


def _errors(result, data, unit, by, n_bootstrap, level, random_state, features):
    """Check arguments; sum squared errors over the cells of each animal and of each fold."""
    check_choice(by, SCOPES, "by")
    check_whole(n_bootstrap, "n_bootstrap")
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    check_coverage(level, "level")
    rows = held_out_rows(result, data)
    chosen = _chosen_features(data, features)
    unit, unit_of_cell = resampling_units(data, result.folds, unit)
    predictions = predictions_of_models(result, data, rows)
    if not predictions:
        raise ValueError('result has no predictions: call cross_validate with keep=("predictions", "latents")')

    def columns(errors):
        squares = np.where(rows.observed, errors**2, 0)[:, chosen]
        return squares if by == "feature" else squares.sum(axis=1, keepdims=True)

    places = unit_of_cell[rows.cells], unit_of_cell.max() + 1
    in_folds = rows.folds, len(result.folds)
    squares = {model: columns(rows.Y - predicted) for model, predicted in predictions.items()}
    deviations = columns(rows.deviations)
    total, total_by_fold = sums_over_units(deviations, *places), sums_over_units(deviations, *in_folds)
    residual = {model: sums_over_units(values, *places) for model, values in squares.items()}
    draws = draw_groups(len(total), n_bootstrap, random_state)
    total_drawn = draws @ total
    observed = rows.observed[:, chosen]
    observed = observed if by == "feature" else observed.any(axis=1, keepdims=True)
    return _Errors(
        features=list(map(str, data.feature_names[chosen])) if by == "feature" else [ALL_FEATURES],
        total=total,
        residual=residual,
        by_fold={m: r2_from_sums(sums_over_units(values, *in_folds), total_by_fold) for m, values in squares.items()},
        drawn={model: r2_from_sums(draws @ values, total_drawn) for model, values in residual.items()},
        sizes=([len(fold.train) for fold in result.folds], [len(fold.test) for fold in result.folds]),
        n_units=(sums_over_units(observed, *places) > 0).sum(axis=0),
        unit=unit,
        level=level,
    )


def _chosen_features(data, features):
    """Columns of the features to score."""
    if features is None:
        return np.arange(data.n_features)
    if isinstance(features, str) or not len(features):
        raise ValueError(f"features must be names of one or more features, got {features!r}")
    unknown = [name for name in features if name not in data.feature_names]
    if unknown:
        raise ValueError(f"features has {preview(unknown)}: the data have {preview(data.feature_names, 12)}")
    return np.flatnonzero(np.isin(data.feature_names, list(features)))


def _compare_pair(found, model, reference):
    """Differences between two models: one row per feature, or one for all together."""
    by_fold = corrected_resampled_t(found.by_fold[model] - found.by_fold[reference], *found.sizes, found.level)
    drawn = found.drawn[model] - found.drawn[reference]
    low, high = interval_over_units(drawn, found.n_units, found.level)
    r2, of_reference = found.r2(model), found.r2(reference)
    # A model without a score in a fold has none at all: the other folds are other cells.
    scored = np.isfinite(r2 - of_reference)
    folds = {name: np.where(scored, values, np.nan) for name, values in by_fold._asdict().items()}
    return pd.DataFrame(
        {
            "model": model,
            "reference": reference,
            "feature": found.features,
            "r2": r2,
            "r2_reference": of_reference,
            "difference": r2 - of_reference,
            "low": low,
            "high": high,
            "fold_difference": folds["mean"],
            "fold_low": folds["low"],
            "fold_high": folds["high"],
            "p": folds["p"],
            "q": benjamini_hochberg(folds["p"]),
            "unit": found.unit,
            "n_units": found.n_units,
        }
    )
