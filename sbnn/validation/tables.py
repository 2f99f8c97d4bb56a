"""Tidy tables of fitted models: every row carries model, hyperparameters and fold."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn.data.cell_labels import PLAIN_COLOR, modal_colors
from sbnn.data.paired_data import PairedData
from sbnn.models.gene_number import chooses_number
from sbnn.models.latent_regressor import is_network
from sbnn.models.r2 import as_columns, feature_r2, r2
from sbnn.models.schedules import get_schedule
from sbnn.validation.folds import FoldView

TABLES = ("scores", "curves", "feature_scores", "selected", "gene_norms", "predictions", "latents")
#: Columns of the tables besides hyperparameters and features.
COLUMNS = {"model", "fold", "stage", "cell", "held_out", "feature", "gene", "norm", "epoch"}
COLUMNS |= {"r2_train", "r2_test", "r2_test_best_epoch"}
#: Tables that are filled on request.
LARGE_TABLES = ("predictions", "latents")


class FittedJob(Protocol):
    """What is read of `sbnn.validation.execution.Fit`."""

    job: Any
    name: str
    estimator: BaseEstimator
    model: BaseEstimator


def fit_tables(data: PairedData, view: FoldView, fit: FittedJob, keep: Collection[str]) -> dict[str, pd.DataFrame]:
    """Turn one fitted model into tidy tables.

    Parameters
    ----------
    data : PairedData
    view : FoldView
        What the model saw.
    fit : sbnn.validation.execution.Fit
    keep : collection of {"predictions", "latents"}
        Large tables to fill.

    Returns
    -------
    dict of DataFrames
        Those of TABLES that this model has, by name.
    """
    keys = {**setting_columns(fit.name, fit.estimator, len(data.feature_names)), "fold": fit.job.fold}
    if chooses_number(fit.estimator):
        keys["n_selected"] = fit.model.n_selected_
    gene_names = view.seen(data.gene_names)
    if is_network(fit.estimator):
        rows = _network_tables(keys, fit, gene_names, data.feature_names)
    else:
        rows = _linear_tables(keys, fit, view, gene_names, data.feature_names)
    cells = view.test if len(view.test) else view.train
    keys = {**keys, "stage": fit.model.history_["stage"].iloc[-1] if is_network(fit.estimator) else "fitted"}
    dtype = np.float32 if is_network(fit.estimator) else None
    if "predictions" in keep:
        predicted = as_columns(fit.model.predict(view.X[cells]), (len(cells), len(data.feature_names)))
        predictions = pd.DataFrame(predicted, columns=data.feature_names, dtype=dtype)
        rows["predictions"] = _with_keys(keys, {"cell": data.cell_names[cells]}, predictions)
    if "latents" in keep and hasattr(fit.model, "transform"):
        latents = pd.DataFrame(np.asarray(fit.model.transform(view.X)), dtype=dtype).rename(
            columns=lambda index: f"z{index + 1}"
        )
        held_out = np.isin(np.arange(len(view.X)), view.test)
        used = np.sort(np.concatenate([view.train, view.test]))
        rows["latents"] = _with_keys(keys, {"cell": data.cell_names, "held_out": held_out}, latents).iloc[used]
    return rows


def join_tables(parts: Sequence[Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Concatenate the tables of many fits, by the names of TABLES."""
    found = {name: [part[name] for part in parts if name in part] for name in TABLES}
    return {name: pd.concat(rows, ignore_index=True) if rows else pd.DataFrame() for name, rows in found.items()}


def setting_columns(name: str, estimator: BaseEstimator, n_features: int) -> dict[str, Any]:
    """Return the name of a model and its hyperparameters as values of columns.

    Parameters
    ----------
    name : str
    estimator : estimator
    n_features : int
        The rank written for `rank=None` of a reduced-rank model, also where there are fewer genes: they may differ in
        number between folds, and a column names the setting.

    Returns
    -------
    dict
    """
    columns: dict[str, Any] = {"model": name}
    for key, value in estimator.get_params(deep=False).items():
        if key == "schedule" and is_network(estimator):
            value = get_schedule(value).name
        elif key == "hidden" and is_network(estimator):
            value = "-".join(map(str, value))
        elif key == "rank" and value is None and hasattr(estimator, "check_settings"):
            value = n_features
        elif key == "n_networks" and value == 1:
            continue  # a single network, as in results from before there were ensembles
        value = value.item() if isinstance(value, np.generic) else value
        columns[key] = value if isinstance(value, (int, float, str, bool)) else str(value)
    return columns


def _with_keys(keys, *columns):
    """Put key columns before the others."""
    table = pd.concat([pd.DataFrame(part).reset_index(drop=True) for part in columns], axis=1)
    return pd.concat([pd.DataFrame(keys, index=table.index), table], axis=1)


def _network_tables(keys, fit, gene_names, feature_names):
    """Scores and curves of every stage, features, genes."""
    model, history, after_pruning = fit.model, fit.model.history_, ("pruned", "consensus", "ensemble")
    scores = []
    for stage, part in history.groupby("stage", sort=False):
        last = part.iloc[-1]
        score = {
            "stage": stage,
            "n_selected": int(model.selected_.sum()) if stage in after_pruning else len(model.selected_),
            "r2_train": last["r2_train"],
            "r2_test": last["r2_test"],
            "r2_test_best_epoch": part["r2_test"].max(),
        }
        scores.append({**keys, **score})
    final = {**keys, "stage": history["stage"].iloc[-1]}
    names = [stage.name for stage in get_schedule(fit.estimator.schedule)]
    before_pruning = {**keys, "stage": names[names.index("pruned") - 1] if "pruned" in names[1:] else names[-1]}
    norms = pd.DataFrame({"gene": gene_names, "norm": model.gene_norms_})
    return {
        "scores": pd.DataFrame(scores),
        "curves": _with_keys(keys, history),
        "feature_scores": _with_keys(final, {"feature": feature_names, "r2_test": fit.feature_r2}),
        "gene_norms": _with_keys(before_pruning, norms),
        "selected": _with_keys(final, norms[model.selected_]),
    }


def _linear_tables(keys, fit, view, gene_names, feature_names):
    """Scores, features and genes of a model that is fitted in one step."""
    model, keys = fit.model, {**keys, "stage": "fitted"}
    centre = np.nanmean(view.Y[view.train].astype(np.float64), axis=0)
    predictions = as_columns(model.predict(view.X), view.Y.shape, f"predictions of {fit.name!r}")
    if not np.isfinite(predictions).all():
        odd = ~np.isfinite(predictions).all(axis=1)
        n_train, n_test = (int(odd[cells].sum()) for cells in (view.train, view.test))
        fit.problem = f"predicts values that are not finite, for {n_train} training and {n_test} test cells"
    train, test = ((view.Y[cells], predictions[cells], centre) for cells in (view.train, view.test))
    selected = getattr(model, "selected_", None)
    score = {
        "n_selected": np.nan if selected is None else int(selected.sum()),
        "r2_train": r2(*train) if fit.has_score else np.nan,
        "r2_test": r2(*test) if fit.has_score else np.nan,
        "r2_test_best_epoch": np.nan,
    }
    by_feature = feature_r2(*test) if fit.has_score else np.nan
    tables = {
        "scores": pd.DataFrame([{**keys, **score}]),
        "feature_scores": _with_keys(keys, {"feature": feature_names, "r2_test": by_feature}),
    }
    if selected is not None:
        norms = pd.DataFrame({"gene": gene_names, "norm": model.gene_norms_})
        tables["selected"] = _with_keys(keys, norms[selected])
    return tables


def table_of_cells(data: PairedData) -> pd.DataFrame:
    """Return names, types, families, their colours and donors of the cells as a table for results."""
    n_cells = data.n_cells
    types = np.full(n_cells, "cell") if data.cell_types is None else data.cell_types
    families = types if data.cell_families is None else data.cell_families
    colors = data.type_colors or dict.fromkeys(np.unique(types), PLAIN_COLOR)
    type_colors = [colors[name] for name in types]
    family_colors = data.family_colors or modal_colors(families, type_colors)
    return pd.DataFrame({
        "cell": data.cell_names,
        "cell_type": types,
        "cell_family": families,
        "type_color": type_colors,
        "family_color": [family_colors[name] for name in families],
        "donor": np.full(n_cells, "") if data.donors is None else data.donors,
    })  # fmt: skip
