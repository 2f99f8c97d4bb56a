"""How often networks that choose their genes together would have chosen each for themselves."""

from typing import Any

import numpy as np
import pandas as pd


def chose_together(estimator: Any) -> bool:
    """Whether several networks chose the genes of a fitted model: those of an ensemble, or starts of a schedule."""
    shares = getattr(estimator, "gene_frequency_", None)
    if shares is None:
        return False
    return estimator.n_networks > 1 or not np.array_equal(shares, estimator.selected_)


def gene_shares(estimator: Any, gene_names: np.ndarray) -> pd.Series:
    """Return the share of networks that would have chosen a gene, the largest first; see `PairedModel`.

    Parameters
    ----------
    estimator : SparseBottleneckRegressor or ReducedRankRegressor
        Fitted.
    gene_names : str array, shape (n_genes,)

    Returns
    -------
    Series
        By gene, of all genes that any network would have chosen; 1 for each gene of a model of one network. Of equal
        shares, the genes that the model reads come first, then those of larger norm.
    """
    selected = estimator.selected_
    shares = np.asarray(getattr(estimator, "gene_frequency_", selected), dtype=np.float64)
    order = np.lexsort([-estimator.gene_norms_, ~selected, -shares.round(6)])
    found = pd.Series(shares[order], pd.Index(gene_names[order], name="gene"), name="share")
    return found[found > 0]
