"""Which genes for which feature: how much R2 of held-out cells drops when a gene is permuted among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from sbnn._checks import check_coverage, check_whole, preview
from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.r2 import r2_from_sums
from sbnn.storage.writing import all_or_nothing
from sbnn.validation.baselines import ClassMean
from sbnn.validation.bootstrap import draw_groups, interval_over_units, resampling_units
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.dispatch import hide_bar
from sbnn.validation.held_out import check_made_from, check_same_score, sums_over_units
from sbnn.validation.permutations import HeldOutCells
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.provenance import select_rows
from sbnn.validation.significance import benjamini_hochberg, t_test_over_units
from sbnn.validation.transfer import ALL_FEATURES

if TYPE_CHECKING:
    from sbnn.validation.result import CrossValidation


@dataclass(eq=False, repr=False)
class GeneImportance:
    """Which genes a model needs to predict which feature of held-out cells.

    Attributes
    ----------
    table : DataFrame
        `gene`, `feature`, `importance` (drop in R2 of the feature), its bounds `low` and `high`, `p` (one-sided, of no
        drop), `q` (`p` after Benjamini & Hochberg over all rows), `frequency` (share of folds that select the gene).
        Every gene that at least one fold selects, in the order of `total`, with every feature.
    total : DataFrame
        `gene`, `importance` (drop in R2 of all features together), `low`, `high`, `frequency`; the largest comes first.
    scores : DataFrame
        `feature`, `r2_test`: R2 of the model without any permutation, pooled over folds; in the last row that of
        "all features".
    model : str
        Name of the model.
    unit : {"donor", "cell"}
        What was resampled.
    n_units, n_folds, n_repeats, n_bootstrap : int
        Numbers of animals (or cells) that were tested, of folds, of permutations, and of resamples.
    level : float
        Coverage of the intervals.
    """

    table: pd.DataFrame
    total: pd.DataFrame
    scores: pd.DataFrame
    model: str
    unit: str
    n_units: int
    n_folds: int
    n_repeats: int
    n_bootstrap: int
    level: float

    def __repr__(self) -> str:
        """Describe the content in a few lines."""
        first = [
            f"{row.gene} {row.importance:.3f} ({row.low:.3f} to {row.high:.3f})" for row in self.total[:3].itertuples()
        ]
        return (
            f"GeneImportance of {self.model!r}: {len(self.total)} genes x {len(self.scores) - 1} features, "
            f"{self.n_folds} folds\n"
            f"  drop in R2 of {self.scores['r2_test'].iloc[-1]:.3f}: {', '.join(first)}\n"
            f"  {100 * self.level:g} % intervals and p values over {self.n_units} {self.unit}s"
        )

    def to_csv(self, path: PathLike) -> None:
        """Write one CSV file, all or nothing: the rows of `table`, then those of `total` as feature "all features".

        Parameters
        ----------
        path : path-like
            An existing file is replaced.
        """
        whole = pd.concat([self.table, self.total.assign(feature=ALL_FEATURES)], ignore_index=True)
        with all_or_nothing(Path(path)) as temporary:
            whole[self.table.columns].to_csv(temporary, index=False)


def gene_importance(
    result: CrossValidation,
    data: PairedData,
    model: str | Mapping[str, Any] | None = None,
    unit: str | None = None,
    n_repeats: int = 10,
    n_bootstrap: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
    progress: bool = True,
) -> GeneImportance:
    r"""Say for which feature a model needs which gene: the drop in R2 when the gene is permuted among held-out cells.

    In every fold, the values of one selected gene are exchanged among the test cells, so that each gets the value of
    another one, and the fold's model (of an ensemble, the mean of its networks) predicts again:

    .. math:: \text{importance}_{gk} = R^2_k - R^2_{k,\,g\text{ permuted}}
        = \frac{\sum_i \left[(y_{ik} - \hat y_{ik}^{(g)})^2 - (y_{ik} - \hat y_{ik})^2\right]}
        {\sum_i (y_{ik} - \bar y_k)^2}

    with sums over the test cells of all folds, averaged over permutations, and means :math:`\bar y_k` of each fold's
    training cells. A gene that a fold does not select adds nothing in that fold.

    Intervals are expanded percentiles of a bootstrap over animals, or over cells where animals are not known (see
    `sbnn.validation.bootstrap.interval_over_units`). p values are those of a one-sided t test that the mean over
    animals of their summed increase of squared error is not above zero; q values are those of Benjamini & Hochberg over
    all genes and features. Models are the same in every resample, so that neither includes the variation of training.
    With simulated features that do not depend on the genes, the t test rejected 2 to 7 % of pairs at a level of 5 %,
    with 10 or 40 animals; the share of resamples without a drop, which could take its place, 4 to 8 %.

    Parameters
    ----------
    result : CrossValidation
        Of `cross_validate`, with its fitted models; with folds="donor" test cells are those of other animals.
    data : PairedData
        The data that it was made from. Missing values of Y are left out.
    model : str or dict, optional
        Name of the model in `result`, or an entry of `result.models` if there are several settings of that name; not
        needed if there is one model. Networks, reduced-rank models, or scikit-learn regressors (which are taken to
        select all genes).
    unit : {"donor", "cell"}, optional
        What is resampled; by default donors if `data.donors` is given, else cells.
    n_repeats : int
        Permutations of the test cells in each fold, the same for all genes and all models.
    n_bootstrap : int
        Resamples.
    level : float
        Coverage of the intervals.
    random_state : int
        Of permutations and resamples.
    progress : bool
        Show a progress bar.

    Returns
    -------
    GeneImportance

    Raises
    ------
    ValueError
        The result was made from other data, has no fitted models (it was loaded from a file), several models, or one
        that reads no genes or predicts values that are not finite; a fold with fewer than two test cells; fewer than
        two animals, or cells of unknown animals.

    Notes
    -----
    Correlated genes share importance: while one of them is permuted the other stays in place, and the model may read
    the same from it. A gene without importance may therefore be informative, and an important one is what this model
    reads, not necessarily a cause. A permuted gene also gives cells that do not occur, on which networks extrapolate.

    References
    ----------
    Breiman, "Random forests", Machine Learning 45:5 (2001), for the permutation of single variables.
    Benjamini & Hochberg, "Controlling the false discovery rate", JRSS B 57:289 (1995).
    """
    check_paired(data)
    for value, name in ((n_repeats, "n_repeats"), (n_bootstrap, "n_bootstrap")):
        check_whole(value, name)
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    check_coverage(level, "level")
    name, estimators = _fitted_models(result, data, model)
    unit, unit_of_cell = resampling_units(data, result.folds, unit)
    held_out = _hold_out(result, data, estimators, unit_of_cell, n_repeats, random_state)
    _check_same_cells(held_out, result, model, name)
    errors = _pool(held_out, unit_of_cell.max() + 1)
    draws = draw_groups(len(errors.total), n_bootstrap, random_state)
    frequency = np.mean([fold.selected for fold in held_out], axis=0)
    genes = np.flatnonzero(frequency)
    if not len(genes):
        raise ValueError(f"{name!r} selects no gene in any fold: fit it with a smaller penalty")
    rows, totals = [], []
    for gene in tqdm(genes, desc="genes", disable=hide_bar(progress)):
        increase = np.zeros_like(errors.total)
        for fold in held_out:
            if fold.selected[gene]:
                np.add.at(increase, fold.units, fold.increase(gene))
        keys = {"gene": data.gene_names[gene], "frequency": frequency[gene]}
        by_feature = {"feature": data.feature_names, "p": t_test_over_units(increase, errors.n_values)}
        rows.append(pd.DataFrame({**keys, **by_feature, **_drop(errors, increase, draws, level)}))
        pooled = _drop(errors.pooled(), increase.sum(axis=1, keepdims=True), draws, level)
        totals.append(pd.DataFrame({**keys, **pooled}))
    order = np.argsort([-total["importance"].iloc[0] for total in totals], kind="stable")
    table, total = (pd.concat([parts[place] for place in order], ignore_index=True) for parts in (rows, totals))
    table["q"] = benjamini_hochberg(table["p"])
    return GeneImportance(
        table=table[["gene", "feature", "importance", "low", "high", "p", "q", "frequency"]],
        total=total[["gene", "importance", "low", "high", "frequency"]],
        scores=errors.scores(data.feature_names),
        model=name,
        unit=unit,
        n_units=len(errors.total),
        n_folds=len(held_out),
        n_repeats=n_repeats,
        n_bootstrap=n_bootstrap,
        level=float(level),
    )


def _fitted_models(result, data, model):
    """Return the name of a model of a result, and its fitted estimators, one for each fold."""
    check_made_from(result, data)
    names = [entry["model"] for entry in result.models]
    found = [number for number, entry in enumerate(result.models) if model is None or model in (entry, entry["model"])]
    if len(found) != 1:
        hint = "give an entry of result.models" if isinstance(model, str) and found else "give the name of one"
        among = preview(dict.fromkeys(names))
        raise ValueError(f"model must be one of the {len(names)} models of result, {among}: {hint}, got {model!r}")
    (number,) = found
    estimators = result.estimators[number * len(result.folds) :][: len(result.folds)]
    if len(estimators) < len(result.folds) or any(estimator is None for estimator in estimators):
        raise ValueError(
            f"result has no fitted {names[number]!r}: results from files have none, nor do models of other "
            "packages from a store; call cross_validate (networks and reduced-rank models are restored from its store)"
        )
    if isinstance(estimators[0], (ClassMean, ClassRidge)):
        kind = type(estimators[0]).__name__
        raise ValueError(f"{names[number]!r} is a {kind}, which reads the classes of the cells, not genes alone")
    return names[number], estimators


def _hold_out(result, data, estimators, unit_of_cell, n_repeats, random_state):
    """Test cells of every fold, each with permutations of its own."""
    views = view_folds(data, result.folds, FoldProtocol.read(result.protocol))
    return [
        HeldOutCells(
            number,
            estimator,
            view,
            unit_of_cell[view.test],
            n_repeats,
            np.random.default_rng([random_state, number]),
        )
        for number, (view, estimator) in enumerate(zip(views, estimators, strict=True))
    ]


def _check_same_cells(held_out, result, model, name):
    """Raise ValueError if models do not predict the cells of the data as they did those of the result.

    The fingerprint of data does not hold counts and features as measured, from which z-scores are made within folds.
    """
    entry = model if isinstance(model, Mapping) else next(one for one in result.models if one["model"] == name)
    known = select_rows(result.scores, [entry]).groupby("fold", sort=True)["r2_test"].last()
    for fold in held_out:
        if fold.number in known.index:
            found = float(r2_from_sums(np.sum(fold.residuals**2), np.sum(fold.deviations**2)))
            check_same_score(name, fold.number, found, known[fold.number])


class _Errors(NamedTuple):
    """Sums of squares around predictions and around means, and numbers of values: (n_units, n_features)."""

    residual: np.ndarray
    total: np.ndarray
    n_values: np.ndarray

    def pooled(self) -> _Errors:
        """Return the sums over all features, shape (n_units, 1)."""
        return _Errors(*(values.sum(axis=1, keepdims=True) for values in self))

    def scores(self, feature_names: np.ndarray) -> pd.DataFrame:
        """Return R2 of each feature, and of all."""
        by_feature = r2_from_sums(self.residual.sum(axis=0), self.total.sum(axis=0))
        together = r2_from_sums(self.residual.sum(), self.total.sum())
        return pd.DataFrame({"feature": [*feature_names, ALL_FEATURES], "r2_test": [*by_feature, float(together)]})


def _pool(held_out, n_units):
    """Sum squares over all test cells of each animal."""
    units = np.concatenate([fold.units for fold in held_out])
    squares = zip(*((fold.residuals**2, fold.deviations**2, fold.observed) for fold in held_out), strict=True)
    return _Errors(*(sums_over_units(np.concatenate(values), units, n_units) for values in squares))


def _drop(errors, increase, draws, level):
    """R2 before minus R2 after the squared errors increase, and its interval over resamples."""

    def drop(residual, increase, total):
        return r2_from_sums(residual, total) - r2_from_sums(residual + increase, total)

    sums = errors.residual, increase, errors.total
    drawn = drop(*(draws @ values for values in sums))
    low, high = interval_over_units(drawn, np.full(drawn.shape[1], len(errors.total)), level)
    return {"importance": drop(*(values.sum(axis=0) for values in sums)), "low": low, "high": high}
