"""Scores of a report: every model on the same held-out cells, overall and by feature, with intervals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.reporting.contest import Splits, networks_among
from sbnn.reporting.modes import Mode
from sbnn.validation.beyond_class import BY_MODEL, beyond_class
from sbnn.validation.class_models import LABELS_ONLY
from sbnn.validation.class_scores import ALL_CELLS
from sbnn.validation.cross_validation import cross_validate
from sbnn.validation.differences import compare, r2_intervals
from sbnn.validation.nested import NoScoreError, nested_cross_validate
from sbnn.validation.result import CrossValidation
from sbnn.validation.transfer import ALL_FEATURES


class Scored(NamedTuple):
    """Scores of models, and of those that have none the reason."""

    result: CrossValidation
    left_out: dict[str, str]


def score_models(
    data: PairedData,
    models: dict[str, list[BaseEstimator]],
    splits: Splits,
    mode: Mode,
    random_state: int,
    **running: Any,
) -> Scored:
    """Score models on the outer folds, their settings chosen on inner folds of the training cells.

    A model with one setting has nothing to choose: its outer folds are then fitted at once, which gives the same.

    Parameters
    ----------
    data : PairedData
    models : dict
        Name -> list of unfitted estimators; all networks, or none.
    splits : Splits
    mode : Mode
    random_state : int
        Of the inner folds.
    **running
        `store`, `n_jobs` and `progress` of `sbnn.cross_validate`. Without `n_jobs` networks are trained where this is
        fastest, and other models in as many processes as there are cores.

    Returns
    -------
    Scored
        Left out are models none of whose settings has an R2 in every inner fold.

    Raises
    ------
    ValueError
        No models, or none with a score.
    """
    networks, left_out = set(networks_among(models)), {}
    found = None
    for are_networks in (False, True):
        chosen = {name: candidates for name, candidates in models.items() if (name in networks) == are_networks}
        settings = dict(running)
        if settings.get("n_jobs") is None and not are_networks:
            settings["n_jobs"] = -1
        several = {name: candidates for name, candidates in chosen.items() if len(candidates) > 1}
        single = {name: candidates[0] for name, candidates in chosen.items() if len(candidates) == 1}
        parts = []
        if single:
            parts.append(cross_validate(data, single, splits.folds, within_fold=True, **settings))
        more: dict[str, Any] = {"inner": mode.n_inner, "random_state": random_state}
        for name, candidates in several.items():  # one by one, because each may have no score
            try:
                parts.append(nested_cross_validate(data, {name: candidates}, splits.folds, **more, **settings))
            except NoScoreError:
                left_out[name] = "none of its settings has an R² in every inner fold (too few genes, or it diverged)"
        for part in parts:
            found = part if found is None else found.join(part)
    if found is None:
        raise ValueError(f"no model could be scored: {left_out}" if left_out else "models is empty: give at least one")
    return Scored(found, left_out)


def fitted_models(result: CrossValidation, name: str) -> list[BaseEstimator]:
    """Return the fitted estimators of a model, one per fold; empty if the result has none."""
    (place,) = (place for place, entry in enumerate(result.models) if entry["model"] == name)
    n_folds = len(result.folds)
    return result.estimators[place * n_folds :][:n_folds]


def only(result: CrossValidation, names: Sequence[str]) -> CrossValidation:
    """Return the rows of some models, with their fitted estimators.

    Parameters
    ----------
    result : CrossValidation
        One entry of `models` per name.
    names : sequence of str

    Returns
    -------
    CrossValidation
    """
    entries = [entry for entry in result.models if entry["model"] in names]
    estimators = [one for entry in entries for one in fitted_models(result, entry["model"])]
    tables = {
        name: table[table["model"].isin(names)].reset_index(drop=True) if len(table) else table
        for name, table in result.tables.items()
    }
    return replace(result, **tables, estimators=estimators, models=entries)


def score_table(
    result: CrossValidation, data: PairedData, splits: Splits, n_bootstrap: int, outlying: Sequence[str] = ()
) -> pd.DataFrame:
    """Return R2 of every model on held-out cells, the best first.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData
    splits : Splits
    n_bootstrap : int
    outlying : sequence of str
        Features that hang on single cells.

    Returns
    -------
    DataFrame
        `model`; `r2`, pooled over the test cells of all folds, with its 95 % interval `low`, `high`; `r2_mean`, `r2_sd`
        and `r2_se` over folds; `n_genes` (mean over folds; 0 for means of classes), `n_folds`, `unit`, `n_units`.
        Models without an R2 come last. With outlying features, and others beside them, `r2_without`: R2 of the others.
    """
    table = r2_intervals(result, data, unit=splits.unit, n_bootstrap=n_bootstrap).drop(columns="feature")
    final = result.scores.groupby(["model", "fold"], sort=False).tail(1).groupby("model", sort=False)
    by_fold = final["r2_test"].agg(r2_mean=lambda r2: r2.mean(skipna=False), r2_sd=lambda r2: r2.std(skipna=False))
    by_fold["r2_se"] = by_fold["r2_sd"] / np.sqrt(len(result.folds))
    # A model that does not count its genes reads all of them.
    by_fold["n_genes"] = final["n_selected"].agg(lambda numbers: numbers.fillna(data.n_genes).mean())
    by_fold.loc[by_fold.index.isin(LABELS_ONLY), "n_genes"] = 0
    table = table.merge(by_fold.reset_index(), on="model").assign(n_folds=len(result.folds))
    columns = ["model", "r2", "low", "high", "r2_mean", "r2_sd", "r2_se", "n_genes", "n_folds", "unit", "n_units"]
    others = [name for name in map(str, data.feature_names) if name not in outlying]
    if 0 < len(others) < data.n_features:
        of_others = r2_intervals(result, data, unit=splits.unit, n_bootstrap=1, features=others).set_index("model")[
            "r2"
        ]
        table["r2_without"] = table["model"].map(of_others)
        columns.insert(4, "r2_without")
    return table.sort_values("r2", ascending=False, kind="stable", ignore_index=True)[columns]


def difference_table(result: CrossValidation, data: PairedData, splits: Splits, n_bootstrap: int) -> pd.DataFrame:
    """Return differences in R2 between all pairs of models, as `sbnn.compare`; empty with a single model."""
    if len(result.models) < 2:
        return pd.DataFrame(columns=["model", "reference", "difference", "low", "high"])
    return compare(result, data, unit=splits.unit, n_bootstrap=n_bootstrap)


def difference(differences: pd.DataFrame, model: str, reference: str) -> tuple[float, float, float]:
    """Return by how much R2 of a model exceeds that of another, and the interval.

    Parameters
    ----------
    differences : DataFrame
        `sbnn.compare`: each pair once, in either order.
    model, reference : str

    Returns
    -------
    tuple of float
        Difference, low, high; NaN if the pair is not there.
    """
    for sign, first, second in ((1, model, reference), (-1, reference, model)):
        row = differences[(differences["model"] == first) & (differences["reference"] == second)]
        if len(row):
            value, low, high = row[["difference", "low", "high"]].iloc[0]
            return (value, low, high) if sign == 1 else (-value, -high, -low)
    return (np.nan, np.nan, np.nan)


def gain_table(
    result: CrossValidation, data: PairedData, splits: Splits, n_bootstrap: int, pair: tuple[str, str] | None
) -> pd.DataFrame:
    """Return by how much a model of classes and genes exceeds one of classes, by feature, the largest gain first.

    As `sbnn.compare`; empty if there is no such pair of models.
    """
    if pair is None:
        return pd.DataFrame()
    both, alone = pair
    settings: dict[str, Any] = {"unit": splits.unit, "by": "feature", "n_bootstrap": n_bootstrap}
    found = compare(only(result, [alone, both]), data, reference=alone, **settings)
    return found.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def feature_table(
    result: CrossValidation, data: PairedData, splits: Splits, model: str, reference: str | None, n_bootstrap: int
) -> pd.DataFrame:
    """Return R2 of each feature, of a model and of the mean of a class beside it.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData
    splits : Splits
    model : str
    reference : str or None
        The mean of a class; None if there are no classes.
    n_bootstrap : int

    Returns
    -------
    DataFrame
        `feature`, `model`, `r2`, `low`, `high`; with a reference `r2_class` with `class_low`, `class_high`, and the
        difference `gain` with `gain_low`, `gain_high`, `p` and `q`. The best predicted feature comes first.
    """
    settings: dict[str, Any] = {"unit": splits.unit, "by": "feature", "n_bootstrap": n_bootstrap}
    shown = only(result, [model] if reference is None else [model, reference])
    scores = r2_intervals(shown, data, **settings)
    table = scores[scores["model"] == model][["feature", "model", "r2", "low", "high"]]
    if reference is not None:
        beside = scores[scores["model"] == reference][["feature", "r2", "low", "high"]]
        names = {"r2": "r2_class", "low": "class_low", "high": "class_high"}
        table = table.merge(beside.rename(columns=names), on="feature")
        gains = compare(shown, data, reference=reference, **settings)
        names = {"difference": "gain", "low": "gain_low", "high": "gain_high"}
        table = table.merge(gains.rename(columns=names)[["feature", *names.values(), "p", "q"]], on="feature")
    return table.sort_values("r2", ascending=False, kind="stable", ignore_index=True)


def within_class_table(
    result: CrossValidation, data: PairedData, splits: Splits, model: str, classes: Sequence[str], n_bootstrap: int
) -> pd.DataFrame:
    """Return R2 of a model's predictions within classes: what it says beyond the class.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData
    splits : Splits
    model : str
        One that reads genes.
    classes : sequence of {"cell_families", "cell_types"}
    n_bootstrap : int

    Returns
    -------
    DataFrame
        `classes`, `model`, `within_r2`, `low`, `high`, `p`, `n_cells`: all features and cells together.
    """
    columns = ["classes", "model", "within_r2", "low", "high", "p", "n_cells"]
    parts = []
    shown = replace(only(result, [model]), latents=pd.DataFrame())
    for of in classes:
        labels = getattr(data, of)
        known = [np.isin(labels[fold.test], np.setdiff1d(labels[fold.train], [UNKNOWN])) for fold in splits.folds]
        if not np.concatenate(known).any():  # no class is in training and test cells of a fold
            continue
        found = beyond_class(shown, data, of, unit=splits.unit, n_bootstrap=n_bootstrap).within
        whole = found["family"].eq(ALL_CELLS) & found["feature"].eq(ALL_FEATURES) & found["predicted_by"].eq(BY_MODEL)
        parts.append(found[whole].assign(classes=of)[columns])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
