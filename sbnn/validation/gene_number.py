"""How many genes: R2 of held-out cells and stability of the genes against their number, and a recommendation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.base import clone
from tqdm.auto import tqdm

from sbnn._checks import check_targets, check_whole
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.gene_number import (
    N_GENES,
    check_prunes,
    follow_numbers,
    numbers_within,
    one_standard_error,
    scores_of,
)
from sbnn.models.inner_folds import inner_folds
from sbnn.models.latent_regressor import is_network
from sbnn.models.schedules import get_schedule
from sbnn.validation.dispatch import hide_bar
from sbnn.validation.folds import FoldChoice, donors_of, make_folds, view_fold
from sbnn.validation.stability import nogueira_index

if TYPE_CHECKING:
    from sbnn.models.bottleneck import SparseBottleneckRegressor

#: Seed of the random folds for cells whose donors are not known.
_FOLD_SEED = 42


@dataclass(repr=False)
class GeneNumber:
    """R2 and stability against the number of genes, and a recommendation.

    Attributes
    ----------
    scores : DataFrame
        `fold`, `n_selected`, `r2_test`: R2 of the cells that a fold holds out.
    summary : DataFrame
        `n_selected`, `r2_mean` and its standard error over folds `r2_se`, `nogueira`: stability of the genes over folds
        (1 if all folds select the same, 0 on average if they select at random; NaN if all genes are selected).
    recommended : int
        The smallest number whose mean R2 is at least the best minus one standard error of the best.
    best : int
        The number with the largest mean R2.
    selected : DataFrame
        `fold`, `n_selected`, `gene`: the genes that a network keeps.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    recommended: int
    best: int
    selected: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        """Say the recommendation in words."""
        table = self.summary.set_index("n_selected")
        chosen, best = table.loc[self.recommended], table.loc[self.best]
        n_folds = self.scores["fold"].nunique()
        said = f"{self.recommended} genes recommended: R2 {chosen['r2_mean']:.3f} on held-out cells, {n_folds} folds; "
        if self.recommended == self.best:
            return f"{said}the best of {len(table)} numbers, and no smaller one is within one SE ({best['r2_se']:.3f})"
        return f"{said}within one SE ({best['r2_se']:.3f}) of the best, {best['r2_mean']:.3f} with {self.best} genes"


def recommend_n_selected(
    data: PairedData,
    estimator: SparseBottleneckRegressor | None = None,
    n_genes: Sequence[int] = N_GENES,
    folds: FoldChoice | None = None,
    progress: bool = True,
) -> GeneNumber:
    """Recommend how many genes a network should keep: the fewest that predict about as well as any number.

    In every fold the stages of the schedule before pruning are trained once; then a copy is pruned to each number of
    genes, trained with the last stage, and predicts the cells that are held out. z-scores, depth, clusters and layout
    are those of the training cells of the fold, as in `cross_validate(..., within_fold=True)`.

    Parameters
    ----------
    data : PairedData
    estimator : SparseBottleneckRegressor, optional
        Provides all settings but `n_selected`; a single network of "fast" if None, which takes a tenth of the time of
        `default_network(data.n_cells)`. Of an ensemble (`n_networks`), the genes are those with the largest mean norm,
        and the mean prediction is scored.
    n_genes : sequence of int
        Numbers to compare, in any order. The default is cut at the number of genes in the data.
    folds : see `sbnn.validation.folds.make_folds`
        If None, "donor" where the donors of all cells are known, else five random folds, always the same.
    progress : bool
        Show a progress bar.

    Returns
    -------
    GeneNumber
        The R2 of the recommended number is that of a choice on the same folds, and slightly optimistic: for the R2 of
        the whole procedure give `cross_validate` a network with `n_selected="auto"`.

    Raises
    ------
    ValueError
        Not a network, a schedule that does not prune, numbers that the data do not have or that are given twice, fewer
        than two folds, or no number has an R2 in every fold.

    References
    ----------
    One-standard-error rule: Breiman, Friedman, Olshen & Stone 1984, section 3.4.3. Stability: Nogueira, Sechidis &
    Brown 2018 (JMLR 18:174).
    """
    from sbnn.models.bottleneck import SparseBottleneckRegressor

    check_paired(data)
    network = _checked_network(SparseBottleneckRegressor() if estimator is None else estimator, data)
    numbers = _checked_numbers(n_genes, data.n_genes)
    if folds is None and donors_of(data) is not None:
        folds = "donor"
    splits = make_folds(data, inner_folds(data.n_cells, _FOLD_SEED) if folds is None else folds)
    if len(splits) < 2:
        raise ValueError(f"folds must be at least 2, for a standard error over them, got {len(splits)}")
    check_targets(data.Y, np.float32, data.feature_names, data.cell_names)
    views = [view_fold(data, split, within_fold=True) for split in splits]
    total = len(splits) * len(numbers) * network.count_trained()
    with tqdm(total=total, desc="networks x numbers of genes", disable=hide_bar(progress)) as bar:
        fits = follow_numbers(network, views, numbers, network.seed(), advance=bar.update)
    scores = scores_of(fits)
    lost = set(scores.loc[scores["r2_test"].isna(), "n_selected"])  # diverged: their genes say nothing
    choice = one_standard_error(scores)
    stability = [
        np.nan if n in lost else nogueira_index(np.stack([fit.selected for fit in fits if fit.n_selected == n])).value
        for n in numbers
    ]
    genes = [(fit.fold, fit.n_selected, gene) for fit in fits for gene in data.gene_names[fit.selected]]
    return GeneNumber(
        scores,
        choice.summary.assign(nogueira=stability),
        choice.recommended,
        choice.best,
        pd.DataFrame(genes, columns=["fold", "n_selected", "gene"]),
    )


def _checked_network(estimator, data):
    """Return a network with these settings, after checking that they can be fitted; its own number does not matter."""
    if not is_network(estimator) or isinstance(estimator, type):
        raise ValueError(f"estimator should be a SparseBottleneckRegressor, got {estimator!r}")
    network = clone(estimator).set_params(n_selected=None)
    network.check_settings(data.n_genes, data.n_features)
    check_prunes(get_schedule(network.schedule), "recommend_n_selected")
    return network


def _checked_numbers(n_genes, n_available):
    """Return numbers of genes in ascending order."""
    if isinstance(n_genes, (str, bytes)) or not np.iterable(n_genes):
        raise ValueError(f"n_genes must be a list of whole numbers such as (10, 25, 50), got {n_genes!r}")
    numbers = [check_whole(number, "every number in n_genes") for number in n_genes]
    if numbers == list(N_GENES):
        return numbers_within(n_available)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"n_genes must be one or more numbers, each once, got {n_genes!r}")
    if max(numbers) > n_available:
        raise ValueError(f"n_genes must be at most {n_available}, the genes in the data, got {max(numbers)}")
    return sorted(numbers)
