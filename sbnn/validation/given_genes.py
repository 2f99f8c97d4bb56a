"""Genes that are given instead of selected: their positions in the data, and models that read genes by position."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer

from sbnn._checks import check_unique, preview
from sbnn.validation.class_ridge import ClassRidge


def named_positions(genes: Any, gene_names: np.ndarray, name: str = "genes") -> np.ndarray:
    """Return the positions of named genes in the data, in their order there: the order of a list changes nothing.

    Parameters
    ----------
    genes : iterable of str
    gene_names : str array, shape (n_genes,)
        Of the data.
    name : str
        What the argument is called, for errors.

    Returns
    -------
    int array, shape (n_given,)
        Ascending.

    Raises
    ------
    ValueError
        A text or a number instead of a list, no gene, or one that is repeated or not in the data.
    """
    if isinstance(genes, (str, bytes)) or not np.iterable(genes):
        raise ValueError(f"{name} must be a list of names of genes, got {genes!r}")
    named = check_unique(genes, name)
    if not len(named):
        raise ValueError(f"{name} must be one or more names of genes, got none")
    unknown = np.setdiff1d(named, gene_names)
    if len(unknown):
        raise ValueError(f"{name} include {preview(unknown)}, not among the {len(gene_names)} genes of the data")
    return np.flatnonzero(np.isin(gene_names, named))


def check_any_genes(estimator: BaseEstimator, name: str, why: str) -> None:
    """Raise ValueError if a model, or a part of it, reads genes by their position: it would read others in fewer genes.

    Parameters
    ----------
    estimator : estimator
        Unfitted. What a function of one's own chooses cannot be seen.
    name : str
        What the model is called, for the error.
    why : str
        What the model would be given instead of all genes.

    Raises
    ------
    ValueError
        A `ClassRidge` with `columns`, or a `ColumnTransformer` with positions, as that of `on_genes`.
    """
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if _reads_positions(part):
            what = f"a {type(part).__name__} that chooses columns"
            raise ValueError(
                f"{name} has {what}, which are positions among all genes of the data, but {why}: it would read other "
                "genes there; give a model that reads all genes it is given"
            )


def _reads_positions(part: Any) -> bool:
    """Whether an estimator chooses columns by number, not by a function of the table that it is fitted on."""
    if isinstance(part, ClassRidge):
        return part.columns is not None
    if not isinstance(part, ColumnTransformer):
        return False
    return any(not callable(columns) for _, _, columns in part.transformers)


def genes_by_fold(genes: Any) -> dict[int, Sequence[str]] | None:
    """Return the genes of each fold, from a dict or a table; None if there is one list for all folds.

    Parameters
    ----------
    genes : dict, DataFrame with `fold` and `gene`, or anything else

    Returns
    -------
    dict or None

    Raises
    ------
    ValueError
        A table without these columns, of several models, or with a gene twice in a fold.
    """
    if isinstance(genes, Mapping):
        return dict(genes)
    if not isinstance(genes, pd.DataFrame):
        return None
    missing = {"fold", "gene"} - set(genes)
    if missing:
        raise ValueError(f"genes is a table without the column(s) {preview(sorted(missing))}: it needs fold and gene")
    if "model" in genes and genes["model"].nunique() > 1:
        raise ValueError(f"genes is a table of the models {preview(genes['model'].unique())}: give the rows of one")
    if genes.duplicated(["fold", "gene"]).any():
        raise ValueError("genes is a table with a gene twice in a fold: give the rows of one setting of one model")
    return {fold: part.tolist() for fold, part in genes.groupby("fold")["gene"]}
