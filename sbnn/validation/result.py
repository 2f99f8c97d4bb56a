"""The result of a cross-validation: tidy tables, and the models that produced them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn._checks import preview
from sbnn.validation.comparison import table_of_scores
from sbnn.validation.folds import Fold
from sbnn.validation.provenance import select_rows
from sbnn.validation.summaries import means_by_feature, settings_that_differ, shares_of_fits, words_of_scores
from sbnn.validation.tables import TABLES

#: Tables of a nested cross-validation only.
CHOICE_TABLES = ("choices", "inner_scores")
#: What `summary` shows where settings, or the last stage, differ between the folds of a nested model.
_CHOSEN, _FINAL = "chosen", "final"


@dataclass(repr=False)
class CrossValidation:
    """Tidy tables of a cross-validation; every row carries `model`, all hyperparameters and `fold`.

    Attributes
    ----------
    scores : DataFrame
        `stage`, `n_selected` (genes in use), `r2_train`, `r2_test` (last epoch), `r2_test_best_epoch` (networks:
        the best epoch on the test cells, optimistic by construction).
    curves : DataFrame
        Networks: `stage`, `epoch`, `r2_train`, `r2_test` after every epoch that the schedule evaluates.
    feature_scores : DataFrame
        `feature`, `r2_test` of the final model.
    selected : DataFrame
        `gene`, `norm`: genes of the final model and their row norms before pruning or relaxation.
    gene_norms : DataFrame
        `gene`, `norm`: the same for all genes that the models of a fold see (networks).
    predictions : DataFrame
        `cell` and a column for each feature: predictions for test cells (for all cells if none are tested).
    latents : DataFrame
        `cell`, `held_out`, `z1`, `z2`, ...: coordinates of training and test cells in every fold's model.
    folds : list of Fold
    dataset, fingerprint : str
        Name and fingerprint of the data.
    protocol : str
        On which cells z-scores and clusters were fitted, "all cells" (the paper) or "training cells"; and genes, as in
        "training cells, 1000 variable genes of more than 30 counts" (`sbnn.validation.protocol.FoldProtocol`).
    estimators : list
        Fitted models, one for each final row of `scores`; not saved. With `n_variable_genes` they take the genes of
        their fold, `view_folds(data, folds, FoldProtocol.read(protocol))[fold].genes`.
    models : list of dict
        Every model with all its settings (`sbnn.validation.provenance.describe_models`).
    n_fitted : int
        How many models were fitted by this call; the others came from its store.
    choices : DataFrame
        Of `sbnn.nested_cross_validate`, else empty: which settings were chosen for each `model` and `fold`.
    inner_scores : DataFrame
        Of `sbnn.nested_cross_validate`, else empty: R2 of all settings on the inner folds.
    """

    scores: pd.DataFrame
    curves: pd.DataFrame
    feature_scores: pd.DataFrame
    selected: pd.DataFrame
    gene_norms: pd.DataFrame
    predictions: pd.DataFrame
    latents: pd.DataFrame
    folds: list[Fold]
    dataset: str
    fingerprint: str
    protocol: str = "all cells"
    estimators: list[BaseEstimator | None] = field(default_factory=list, repr=False)
    models: list[dict[str, Any]] = field(default_factory=list, repr=False)
    n_fitted: int = 0
    choices: pd.DataFrame = field(default_factory=pd.DataFrame)
    inner_scores: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        """Describe the content in a few lines."""
        names = list(dict.fromkeys(one["model"] for one in self.models))
        rows = ", ".join(f"{name} {len(table)}" for name, table in self.tables.items() if len(table))
        nested = ", settings chosen on inner folds" if len(self.choices) else ""
        return (
            f"CrossValidation of {self.dataset!r}: {len(names)} models ({preview(names)}), {len(self.folds)} folds\n"
            f"  z-scores and clusters of {self.protocol}{nested}\n"
            f"{words_of_scores(self.final_summary(), self.models, self.folds)}"
            f"  rows: {rows or 'none'}; stages are in .summary(), features in .by_feature()"
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name; `choices` and `inner_scores` only if settings were chosen."""
        names = (*TABLES, *CHOICE_TABLES) if len(self.choices) else TABLES
        return {name: getattr(self, name) for name in names}

    def summary(self) -> pd.DataFrame:
        """Return mean and SD of R2 over folds, model by model, stages in the order of training.

        The last stage of a network ("pruned", of an ensemble "ensemble") is the final model; earlier stages show how it
        was reached: `sbnn.validation.summaries.STAGES` says what each is. A model whose settings were chosen in every
        fold (`sbnn.nested_cross_validate`) has one row: its final models, over all folds.

        Returns
        -------
        DataFrame
            `mean`, `SD`, `n_selected`, indexed by model, the hyperparameters that differ, and stage. Hyperparameters
            that differ between the folds of a nested model are "chosen", stages "final".
        """
        nested = self.scores["model"].isin(self._nested_models())
        plain = self.scores[~nested]
        kept = settings_that_differ(plain)
        scores = self.scores
        if nested.any():
            final = self.scores[nested].groupby(["model", "fold"], sort=False).tail(1)
            final = _one_setting(final, kept)
            scores = pd.concat([plain, final]).sort_index() if len(plain) else final
        return table_of_scores(scores, by=["model", *kept, "stage"])

    def final_summary(self) -> pd.DataFrame:
        """Return mean and SD of R2 over folds of the final models: the last row of each in `summary`.

        Returns
        -------
        DataFrame
            As `summary`.
        """
        table = self.summary()
        return table[~table.index.droplevel("stage").duplicated(keep="last")]

    def by_feature(self) -> pd.DataFrame:
        """Return R2 of each feature by model, mean over folds, the features that the first model predicts best first.

        Returns
        -------
        DataFrame
            Features x models; of models with several settings, one column for each of these. Folds without a score of
            the feature are left out.
        """
        return means_by_feature(self.feature_scores)

    def gene_frequency(self) -> pd.DataFrame:
        """Return in which share of its fits (folds, and seeds or settings if there are several) a model selects a gene.

        Genes that few folds select are interchangeable with others. `sbnn.gene_stability` measures the same over seeds
        or animals; `PairedModel.gene_frequency_` has it for the networks of one ensemble.

        Returns
        -------
        DataFrame
            Genes x models that select genes, from 0 to 1; the most frequent of the first model come first.
        """
        n_fits = pd.Series([one["model"] for one in self.models]).value_counts()
        n_fits = n_fits.where(~n_fits.index.isin(self._nested_models()), 1) * len(self.folds)
        return shares_of_fits(self.selected, n_fits)

    def _nested_models(self):
        """Names of the models whose settings were chosen in every fold."""
        return set(self.choices["model"]) if len(self.choices) else set()

    def join(self, other: Self) -> Self:
        """Return one result with the rows of both; both must have the same data, folds and protocol.

        Parameters
        ----------
        other : CrossValidation

        Returns
        -------
        CrossValidation
        """
        for what in ("dataset", "fingerprint", "protocol"):
            if getattr(self, what) != getattr(other, what):
                raise ValueError(
                    f"cannot join results whose {what} differs: {getattr(self, what)} and {getattr(other, what)}"
                )
        same_folds = len(self.folds) == len(other.folds) and all(
            np.array_equal(mine.test, theirs.test) and np.array_equal(np.sort(mine.train), np.sort(theirs.train))
            for mine, theirs in zip(self.folds, other.folds, strict=True)
        )
        if not same_folds:
            raise ValueError("cannot join results of different folds")
        names = [{one["model"] for one in result.models} for result in (self, other)]
        shared = names[0] & names[1] & (self._nested_models() | other._nested_models())
        if shared:
            raise ValueError(
                f"cannot join results that both have a model {min(shared)!r}, if its settings were chosen in every "
                "fold: give it another name in one of them"
            )
        joined = {
            name: pd.concat([table for table in (mine, getattr(other, name)) if len(table)] or [mine])
            for name, mine in ((name, getattr(self, name)) for name in (*TABLES, *CHOICE_TABLES))
        }
        joined = {name: table.reset_index(drop=True) for name, table in joined.items()}
        estimators = [*self._fitted_or_none(), *other._fitted_or_none()]
        added = {name: getattr(self, name) + getattr(other, name) for name in ("models", "n_fitted")}
        return replace(self, **joined, **added, estimators=estimators)

    def _fitted_or_none(self):
        """Return one estimator for each model and fold: None for those of a result that was loaded."""
        return self.estimators or [None] * (len(self.models) * len(self.folds))

    def select(self, models: Iterable[dict[str, Any]]) -> Self:
        """Return the rows of some of the models, in the order given.

        Parameters
        ----------
        models : list of dict
            Entries of `models`.

        Returns
        -------
        CrossValidation
            Without estimators.
        """
        tables = {name: select_rows(table, models) for name, table in self.tables.items()}
        return replace(self, **tables, models=list(models), estimators=[], n_fitted=0)

    @classmethod
    def from_results(cls, results: Mapping[str, Any]) -> Self:
        """Return a saved cross-validation; tables that were not saved are empty.

        Parameters
        ----------
        results : dict
            From `sbnn.load_results`.

        Returns
        -------
        CrossValidation
            Without estimators.
        """
        about = {name: results[name] for name in ("dataset", "fingerprint", "protocol")}
        folds = [Fold(fold["train"], fold["test"]) for fold in results["folds"]]
        tables = {name: results.get(name, pd.DataFrame()) for name in (*TABLES, *CHOICE_TABLES)}
        return cls(**tables, **about, folds=folds, models=results.get("models", []))


def _one_setting(final, columns):
    """Rows of the final models of nested models, with one value per model in the columns and in the stage."""
    final = final.copy()
    for column, word in (*((name, _CHOSEN) for name in columns), ("stage", _FINAL)):
        differs = final.groupby("model")[column].transform("nunique", dropna=False) > 1
        if differs.any():
            final[column] = final[column].astype(object).mask(differs, word)
    return final
