"""What the tables of a cross-validation say in short: stages of training, R2 in words, by feature, genes by share."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sbnn.validation.folds import Fold

#: What the rows of `CrossValidation.scores` and its `summary` are: the state of a model whose R2 they hold.
STAGES = {
    "pretrained": "the layers up to the bottleneck have learnt clusters, or a layout, of the features; it has no R2",
    "frozen": "the layers after the bottleneck have learnt the features; those before it kept their weights",
    "finetuned": "all layers have learnt the features, with the group lasso on genes; it still reads all genes",
    "pruned": "only the n_selected genes of largest weight are kept, and trained without penalty: the final network",
    "consensus": "the network of an ensemble's map, which has learnt the mean of the maps of its networks",
    "ensemble": "the mean prediction of all networks of an ensemble: the final model, if there are several",
    "fitted": "a model without stages: linear models, class means, models of other packages",
    "final": "the final models of folds, if these chose models of different stages (nested_cross_validate)",
}
#: Columns of tables that are not hyperparameters.
_NO_SETTINGS = ("model", "fold", "stage", "n_selected", "r2_train", "r2_test", "r2_test_best_epoch", "feature")
_NETWORK = "sbnn.SparseBottleneckRegressor"
#: How many models are named in words.
_MOST_NAMED = 6
_ONLY_NETWORKS = (
    '  networks only: add "type": ClassMean("cell_types") and "ridge": ReducedRankRegressor(None, 1.0, l1_ratio=0)'
)


def settings_that_differ(table: pd.DataFrame) -> list[str]:
    """Return the columns of hyperparameters that have several values in a table."""
    return [column for column in table if column not in _NO_SETTINGS and table[column].nunique(dropna=False) > 1]


def words_of_scores(final: pd.DataFrame, models: Sequence[Mapping[str, Any]], folds: Sequence[Fold]) -> str:
    """Return lines with the R2 of every model, and of what to add if there are only networks.

    Parameters
    ----------
    final : DataFrame
        `CrossValidation.final_summary`.
    models : list of dict
        `CrossValidation.models`.
    folds : list of Fold

    Returns
    -------
    str
        Each line ends in a line break; empty without scores.
    """
    if not len(final):
        return ""
    if not any(len(fold.test) for fold in folds):
        return "  no R2: no cells were held out\n"
    parts = [_in_words(name, part) for name, part in final.groupby(level="model", sort=False)]
    more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    lines = [f"  R2 of held-out cells, mean ± SD over folds: {', '.join(parts[:_MOST_NAMED])}{more}"]
    kinds = {one.get("kind") for model in models for one in (model, *model.get("candidates", ()))} - {None}
    return "".join(f"{line}\n" for line in (*lines, *([_ONLY_NETWORKS] if kinds == {_NETWORK} else [])))


def _in_words(name, part):
    """R2 of a model, or of all its settings."""
    means = part["mean"]
    if means.isna().all():
        return f"{name} not known"
    if len(part) > 1:
        return f"{name} {means.min():.2f} to {means.max():.2f} ({len(part)} settings)"
    return f"{name} {means.iloc[0]:.2f} ± {part['SD'].iloc[0]:.2f}"


def means_by_feature(feature_scores: pd.DataFrame) -> pd.DataFrame:
    """Return R2 by feature and model, mean over folds; see `CrossValidation.by_feature`."""
    if not len(feature_scores):
        return pd.DataFrame()
    settings = settings_that_differ(feature_scores)
    repeated = bool(feature_scores.duplicated(["model", "fold", "feature"]).any())
    keys = ["model", *settings] if repeated and settings else ["model"]
    rows = feature_scores.groupby([*keys, "feature"], sort=False, dropna=False)["r2_test"].mean()
    # Not unstack: with sort=False, pandas 2 puts values into the wrong columns.
    columns = {name if len(keys) > 1 else name[0]: part for name, part in rows.groupby(keys, sort=False, dropna=False)}
    found = pd.concat({name: part.droplevel(keys) for name, part in columns.items()}, axis=1, names=keys)
    return found.sort_values(found.columns[0], ascending=False, kind="stable")


def shares_of_fits(selected: pd.DataFrame, n_fits: pd.Series) -> pd.DataFrame:
    """Return in which share of the fits of a model a gene is selected; see `CrossValidation.gene_frequency`.

    Parameters
    ----------
    selected : DataFrame
        `model`, `gene`: a row for each fit that selects the gene.
    n_fits : Series
        Number of fits by model.
    """
    if not len(selected):
        return pd.DataFrame()
    counts = selected.groupby(["model", "gene"]).size().unstack("model", fill_value=0)
    counts = counts[list(dict.fromkeys(selected["model"]))]
    found = counts / n_fits.reindex(counts.columns)
    return found.sort_values(list(found.columns), ascending=False, kind="stable")
