"""Genes of a report: how often they are selected, what stands in for them, and which feature needs which gene."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from sbnn.data.paired_data import PairedData
from sbnn.models.latent_regressor import is_network
from sbnn.reporting.contest import Splits
from sbnn.reporting.finished import Tables
from sbnn.reporting.modes import Mode
from sbnn.reporting.scores import fitted_models
from sbnn.validation.importance import GeneImportance, gene_importance
from sbnn.validation.result import CrossValidation
from sbnn.validation.stability import GeneStability, gene_stability, nogueira_index

#: Substitutes that are named for each gene.
_N_SUBSTITUTES = 3
#: Fewest donors that can be resampled.
LEAST_DONORS = 3


def sparse_models(scores: pd.DataFrame, result: CrossValidation, n_genes: int) -> list[str]:
    """Return the models that select genes and have a map, the one with the best R2 first.

    Parameters
    ----------
    scores : DataFrame
        `score_table`.
    result : CrossValidation
    n_genes : int
        Number of genes in the data.

    Returns
    -------
    list of str
    """
    mapped = set(result.latents["model"]) if len(result.latents) else set()
    useful = scores[scores["r2"].notna() & (scores["n_genes"] > 0) & (scores["n_genes"] < n_genes)]
    return [name for name in useful["model"] if name in mapped]


def frequency_table(result: CrossValidation, data: PairedData, models: list[str]) -> pd.DataFrame:
    """Return how often each gene is selected.

    Parameters
    ----------
    result : CrossValidation
        With fitted models, for `networks`.
    data : PairedData
    models : list of str

    Returns
    -------
    DataFrame
        `model`, `gene`; `folds`, the share of outer folds that select it; `networks`, the share of the networks of an
        ensemble that have it among their own choice, the mean over folds (NaN for other models): they differ in their
        seed. The most frequent genes come first; among equals those with the larger norm.
    """
    n_folds, parts = len(result.folds), []
    for model in models:
        of_model = result.selected[result.selected["model"] == model]
        by_gene = of_model.groupby("gene", sort=False)
        table = pd.DataFrame({"folds": by_gene.size() / n_folds, "norm": by_gene["norm"].sum() / n_folds})
        table = table.rename_axis("gene").reset_index().assign(model=model)
        table["networks"] = table["gene"].map(_frequency_in_ensembles(result, data, model))
        parts.append(table.sort_values(["folds", "norm"], ascending=False, kind="stable"))
    columns = ["model", "gene", "folds", "networks", "norm"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _frequency_in_ensembles(result, data, model):
    """Gene -> share of the networks of an ensemble that would select it, the mean over folds; empty for others."""
    shares = [getattr(one, "gene_frequency_", None) for one in fitted_models(result, model)]
    if not shares or any(share is None for share in shares):
        return {}
    return dict(zip(data.gene_names, np.mean(shares, axis=0), strict=True))


def stability_over_folds(result: CrossValidation, data: PairedData, models: list[str]) -> GeneStability:
    """Return the stability of the genes over the outer folds, as if each were a run of `sbnn.gene_stability`.

    Training cells of two folds are the same in part, so that genes are more stable than from experiment to experiment.

    Parameters
    ----------
    result : CrossValidation
    data : PairedData
    models : list of str

    Returns
    -------
    GeneStability
        `resample` is "fold"; without maps.
    """
    table = result.selected[result.selected["model"].isin(models)]
    selected = table.rename(columns={"fold": "run"})[["model", "run", "gene"]].reset_index(drop=True)
    n_runs, index, frequencies = len(result.folds), [], []
    for model in models:
        chosen = np.zeros((n_runs, data.n_genes), dtype=bool)
        own = selected[selected["model"] == model]
        chosen[own["run"].to_numpy(dtype=int), pd.Index(data.gene_names).get_indexer(own["gene"])] = True
        share, found = chosen.mean(axis=0), nogueira_index(chosen)
        order = np.argsort(-share, kind="stable")[: int((share > 0).sum())]
        frequencies.append(pd.DataFrame({"model": model, "gene": data.gene_names[order], "frequency": share[order]}))
        numbers = {"n_genes": chosen.sum(axis=1).mean(), "in_all_runs": int((share == 1).sum())}
        index.append({"model": model, **numbers, "nogueira": found.value, "low": found.low, "high": found.high})
    found = pd.concat(frequencies, ignore_index=True)
    genes = found["gene"].unique()
    columns = pd.Index(data.gene_names).get_indexer(genes)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.atleast_2d(np.corrcoef(data.X[:, columns].astype(np.float64), rowvar=False))
    correlations = pd.DataFrame(values, index=genes, columns=genes)
    empty = pd.DataFrame()
    return GeneStability("fold", n_runs, selected, found, pd.DataFrame(index), empty, empty, correlations)


def stability_tables(stability: GeneStability) -> Tables:
    """Return the tables `stability`, `substitutes` and `frequencies` of a result, with what was resampled.

    Parameters
    ----------
    stability : GeneStability

    Returns
    -------
    dict of DataFrame
    """
    models = stability.index["model"]
    found = [stability.substitutes(name, _N_SUBSTITUTES).assign(model=name) for name in models]
    substitutes = [table for table in found if len(table)] or found[:1]
    tables = {
        "stability": stability.index,
        "substitutes": pd.concat(substitutes, ignore_index=True),
        "frequencies": stability.frequencies,
    }
    about = {"resampled": stability.resample, "n_runs": stability.n_runs}
    return {name: table.assign(**about).reset_index(drop=True) for name, table in tables.items()}


def refitted_stability(
    data: PairedData, models: dict[str, BaseEstimator], splits: Splits, mode: Mode, random_state: int, **running: Any
) -> Tables:
    """Return the stability of the genes of models that are fitted again, with other seeds and on other donors.

    Parameters
    ----------
    data : PairedData
    models : dict
        Name -> estimator with the settings that were chosen.
    splits : Splits
        Other donors only where intervals are over donors, and there are at least three.
    mode : Mode
    random_state : int
    **running
        `store`, `n_jobs` and `progress` of `sbnn.cross_validate`.

    Returns
    -------
    dict of DataFrame
        `stability_tables` of both, one after the other.
    """
    parts = []
    networks = {name: one for name, one in models.items() if is_network(one)}
    enough = splits.unit == "donor" and data.donors is not None and len(np.unique(data.donors)) >= LEAST_DONORS
    choices = {"seed": networks, "donor": models if enough else {}}
    for resample, chosen in choices.items():
        pruning = {name: clone(one) for name, one in chosen.items() if getattr(one, "n_selected", 0) != data.n_genes}
        if pruning:
            settings = {"resample": resample, "n": mode.n_seeds, "random_state": random_state, **running}
            parts.append(stability_tables(gene_stability(data, pruning, **settings)))
    names = parts[0] if parts else ()
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in names}


def importance_tables(
    result: CrossValidation, data: PairedData, model: str, splits: Splits, mode: Mode, progress: bool
) -> Tables:
    """Return the tables `importance`, `importance_total` and `importance_scores` of `sbnn.gene_importance`.

    Parameters
    ----------
    result : CrossValidation
        With the fitted models.
    data : PairedData
    model : str
        One that selects genes.
    splits : Splits
    mode : Mode
    progress : bool

    Returns
    -------
    dict of DataFrame
    """
    settings: dict[str, Any] = {"n_repeats": mode.n_repeats, "n_bootstrap": mode.n_bootstrap, "unit": splits.unit}
    found = gene_importance(result, data, model, **settings, progress=progress)
    return {"importance": found.table, "importance_total": found.total, "importance_scores": found.scores}


def importance_of(tables: Tables, model: str, splits: Splits, mode: Mode, n_units: int) -> GeneImportance:
    """Return the importance of genes from its tables, as its figure takes it.

    Parameters
    ----------
    tables : dict of DataFrame
        `importance_tables`.
    model : str
    splits : Splits
    mode : Mode
    n_units : int

    Returns
    -------
    GeneImportance
    """
    return GeneImportance(
        table=tables["importance"],
        total=tables["importance_total"],
        scores=tables["importance_scores"],
        model=model,
        unit=splits.unit,
        n_units=n_units,
        n_folds=len(splits.folds),
        n_repeats=mode.n_repeats,
        n_bootstrap=mode.n_bootstrap,
        level=0.95,
    )
