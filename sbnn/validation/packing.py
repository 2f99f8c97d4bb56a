"""Conversion of fits to plain values and arrays, for the files of a store, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from sbnn.models.latent_regressor import is_network
from sbnn.models.reduced_rank import ReducedRankFit, ReducedRankRegressor
from sbnn.models.tasks import TrainedNetwork
from sbnn.storage.results import pack_table, unpack_table
from sbnn.validation.execution import Fit, Job, Plan, adopt_network
from sbnn.validation.tables import LARGE_TABLES, fit_tables


def pack_fit(fit: Fit) -> dict[str, Any]:
    """Return a fit as plain values and arrays; for models of other packages, only their tables."""
    tables = {name: pack_table(table) for name, table in fit.tables.items()}
    return {"tables": tables, "problem": fit.problem, "model": _pack_model(fit)}


def _pack_model(fit):
    """Return what is needed to restore the model: weights, or the rows of W that are not zero."""
    model = fit.model
    if is_network(fit.estimator):
        names = ("weights_", "selected_", "gene_norms_", "x_mean_", "y_mean_")
        state = {name.rstrip("_"): getattr(model, name) for name in names}
        state |= {"members": model.members_, "gene_frequency": model.gene_frequency_}
        return {**state, "history": pack_table(model.history_), "feature_r2": fit.feature_r2}
    if isinstance(fit.estimator, ReducedRankRegressor):
        state = {"W": model.W_[model.selected_], "V": model.V_}
        state |= {"selected": model.selected_, "gene_norms": model.gene_norms_}
        state |= {"x_mean": model.x_mean_, "y_mean": model.y_mean_}
        return {**state, "offset": model.intercept_ - model.y_mean_}
    return None


def unpack_fit(plan: Plan, job: Job, content: Mapping[str, Any]) -> Fit:
    """Return the fit that `pack_fit` packed, with its current name and fold number."""
    name, estimator, state = plan.name(job), plan.estimator(job), content["model"]
    if state is None:
        fit = Fit(job, name, estimator, None)
    elif is_network(estimator):
        fit = adopt_network(plan, job, TrainedNetwork(**{**state, "history": unpack_table(state["history"])}))
    else:
        fit = Fit(job, name, estimator, _restored_linear(estimator, state))
    fit.problem = content["problem"]
    tables = {table: unpack_table(columns) for table, columns in content["tables"].items()}
    fit.tables = {table: columns.assign(model=name, fold=job.fold) for table, columns in tables.items()}
    return fit


def _restored_linear(estimator, state):
    """Fitted reduced-rank model from its packed rows."""
    W = np.zeros((len(state["selected"]), state["V"].shape[1]))
    W[state["selected"]] = state["W"]
    kept = (state[name] for name in ("selected", "gene_norms", "x_mean", "y_mean"))
    return clone(estimator).adopt(ReducedRankFit(W, state["V"], state["offset"]), *kept)


def add_large_tables(plan: Plan, fit: Fit) -> bool:
    """Fill requested large tables that are missing from a restored fit; return False if this needs a new fit."""
    wanted = [name for name in plan.keep if name not in fit.tables]
    if fit.model is None:
        wanted = [name for name in wanted if name != "latents" or hasattr(fit.estimator, "transform")]
        if wanted:
            return False
    if wanted:
        found = fit_tables(plan.data, plan.view(fit.job), fit, wanted)
        fit.tables |= {name: found[name] for name in wanted if name in found}
    fit.tables = {name: table for name, table in fit.tables.items() if name not in LARGE_TABLES or name in plan.keep}
    return True
