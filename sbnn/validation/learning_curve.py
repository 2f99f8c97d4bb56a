"""The learning curve: R2 of models against the number of cells that they are trained on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn._checks import check_length, check_whole, preview, warn
from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.gene_number import within_one_error
from sbnn.validation.baselines import ClassMean
from sbnn.validation.bootstrap import resampled_groups
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.cross_validation import check_observed, checked_models, fit_jobs
from sbnn.validation.execution import Plan, draw_seeds
from sbnn.validation.fit_keys import fit_keys
from sbnn.validation.folds import Fold, FoldChoice, make_folds
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.tables import join_tables

#: A model, or a function of the number of training cells that returns one (`sbnn.default_network`).
SizedModel: TypeAlias = BaseEstimator | Callable[[int], BaseEstimator]
#: Numbers of training cells; None: all of a fold.
SIZES = (150, 300, 600, None)
_SCORES = ["model", "n_cells", "draw", "fold", "n_train", "n_selected", "r2_train", "r2_test"]


@dataclass(repr=False)
class LearningCurve:
    """R2 of held-out cells against the number of training cells.

    Attributes
    ----------
    scores : DataFrame
        `model`, `n_cells`, `draw` (from 0), `fold`, `n_train` (training cells in this fold: `n_cells`, or all),
        `n_selected` (genes read; NaN for models that select none), `r2_train`, `r2_test`. For all training cells,
        `n_cells` is their mean number over folds, rounded, and there is one draw.
    feature_scores : DataFrame
        `model`, `n_cells`, `draw`, `fold`, `feature`, `r2_test`.
    baselines : tuple of str
        Models that read classes of cells, instead of genes or beside them (`ClassMean`, `ClassRidge`).
    n_fitted : int
        How many models were fitted by this call; the others came from its store.
    """

    scores: pd.DataFrame
    feature_scores: pd.DataFrame
    baselines: tuple[str, ...] = ()
    n_fitted: int = 0

    @property
    def summary(self) -> pd.DataFrame:
        """Mean R2, its SE and SD over folds, by model and number of cells: `summarise_scores`."""
        return summarise_scores(self.scores)

    @property
    def recommended(self) -> pd.DataFrame:
        """The best model of each number of cells, baselines aside, and those as good: `best_models`."""
        return best_models(self.scores, self.baselines)

    def __repr__(self) -> str:
        """Name the best model of each size."""
        n_folds, n_draws = self.scores["fold"].nunique(), self.scores["draw"].nunique()
        best, n_models = self.recommended, self.scores["model"].nunique()
        follows = "best R2" if len(best) else "none to recommend (only baselines, or no R2)"
        lines = [f"LearningCurve: {n_models} models, {n_folds} folds, {n_draws} draws; {follows}"]
        for row in best.itertuples():
            others = [name for name in row.within_one_se if name != row.model]
            also = f"; within one SE: {', '.join(others)}" if others else ""
            lines.append(f"  {row.n_cells} cells: {row.model} {row.r2_mean:.3f} ± {row.r2_se:.3f}{also}")
        return "\n".join(lines)


def learning_curve(
    data: PairedData,
    models: Mapping[str, SizedModel],
    sizes: Sequence[int | None] = SIZES,
    n_draws: int = 5,
    folds: FoldChoice = "donor",
    random_state: int = 0,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    stack_size: int | None = None,
    progress: bool = True,
) -> LearningCurve:
    """Fit models on fewer and fewer training cells, and score them on the same held-out cells.

    From the training cells of each fold whole animals are drawn until there are enough cells; of the last animal as
    many as are needed. In each draw, smaller sets are parts of larger ones. All models are fitted on the same cells,
    and at every size they are scored on all test cells of the fold; depth, z-scores, clusters and layouts are those of
    the drawn cells, as in `cross_validate(..., within_fold=True)`.

    Parameters
    ----------
    data : PairedData
        Where `donors` are not known (None), single cells are drawn; `folds` must then be others than "donor".
    models : dict
        Name -> estimator as in `cross_validate`, or a function that returns one for a number of training cells, such as
        `sbnn.default_network`.
    sizes : sequence of int or None
        Numbers of training cells, in any order; None for all of each fold.
    n_draws : int
        How often cells are drawn in each fold; all training cells of a fold are fitted once. Draws stay the same if the
        number grows, and whatever the sizes are.
    folds : see `sbnn.validation.folds.make_folds`
    random_state : int
        Of the draws: `numpy.random.default_rng([random_state, draw, fold])`.
    store, n_jobs, stack_size, progress
        See `cross_validate`.

    Returns
    -------
    LearningCurve

    Raises
    ------
    ValueError
        Sizes that are not whole numbers of at least 2, given twice, or more than the training cells of a fold; a model
        that is neither an estimator nor a function that returns one; cells of unknown donor; folds without test cells.
        And as `cross_validate`.
    RuntimeError
        Another process is using the same store.
    """
    check_paired(data)
    check_whole(n_draws, "n_draws")
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    splits = make_folds(data, folds)
    if any(not len(fold.test) for fold in splits):
        raise ValueError('folds must have test cells, to be predicted: choose others than "all"')
    numbered = _checked_sizes(sizes, splits)
    asked = {n_cells: _models_for(models, n_cells, data) for n_cells in numbered}
    animals = resampled_groups(data.donors, data.n_cells, "data without donors")
    parts, n_fitted = [], 0
    running: dict[str, Any] = {"store": store, "n_jobs": n_jobs, "stack_size": stack_size, "progress": progress}
    for n_cells, size in numbered.items():
        drawn = splits if size is None else _draws(splits, animals, size, n_draws, random_state)
        names = [_name_of(*divmod(number, len(splits)), size) for number in range(len(drawn))]
        tables, newly_fitted = _fit(data, asked[n_cells], drawn, names, **running)
        parts.append(_numbered(tables, n_cells, drawn, len(splits)))
        n_fitted += newly_fitted
    labelled = ClassMean, ClassRidge
    baselines = [name for name, estimator in next(iter(asked.values())) if isinstance(estimator, labelled)]
    tables = join_tables(parts)
    return LearningCurve(tables["scores"], tables["feature_scores"], tuple(baselines), n_fitted)


def draw_animals(animals: npt.ArrayLike, n_cells: int, random: np.random.Generator) -> np.ndarray:
    """Draw whole animals at random until there are `n_cells` cells; the cells of the last one in part.

    Parameters
    ----------
    animals : sequence, shape (n_all,)
        Animal of each cell.
    n_cells : int
        At most n_all.
    random : numpy.random.Generator
        In the same state it draws the same animals and cells first, whatever `n_cells`.

    Returns
    -------
    int array, shape (n_cells,)
        Positions, animal by animal.

    Raises
    ------
    ValueError
        More cells than there are.
    """
    animals = np.asarray(animals)
    if n_cells > len(animals):
        raise ValueError(f"n_cells must be at most the {len(animals)} cells there are, got {n_cells}")
    drawn = np.empty(0, dtype=int)
    for animal in random.permutation(np.unique(animals)):
        own = np.flatnonzero(animals == animal)
        drawn = np.concatenate([drawn, random.permutation(own)[: n_cells - len(drawn)]])
        if len(drawn) == n_cells:
            break
    return drawn


def _draws(splits, animals, n_cells, n_draws, random_state):
    """Folds with fewer training cells, draw by draw; in random order, as those of whole folds are."""
    drawn = []
    for draw in range(n_draws):
        for number, fold in enumerate(splits):
            random = np.random.default_rng([random_state, draw, number])
            places = draw_animals(animals[fold.train], n_cells, random)
            drawn.append(Fold(fold.train[random.permutation(places)], fold.test))
    return drawn


def _name_of(draw, fold, size):
    """Name what models are fitted in, for warnings and errors."""
    return f"fold {fold}" if size is None else f"draw {draw}, fold {fold} ({size} cells)"


def _fit(data, listed, drawn, names, store, **running):
    """Fit models on the drawn cells; return their tables, and how many were not in the store."""
    protocol = FoldProtocol(within_fold=True)
    check_observed(data, drawn, names)
    views = view_folds(data, drawn, protocol, names)
    plan = Plan(data, listed, views, {}, (), draw_seeds(listed, len(views)), fold_names=names)
    keys = None if store is None else fit_keys(data, listed, drawn, str(protocol), plan.seeds)
    fits, n_fitted = fit_jobs(plan, keys, store, within_fold=True, keep_models=False, **running)
    for fit in fits:
        if fit.problem is not None:
            warn(f"{plan.describe(fit.job)} {fit.problem}: R2 of these cells is NaN")
    return join_tables([fit.tables for fit in fits]), n_fitted


def _checked_sizes(sizes, splits):
    """Return {number of cells for the tables: size as asked}, ascending."""
    listed = [] if isinstance(sizes, (str, bytes)) or not np.iterable(sizes) else list(sizes)
    if not listed:
        raise ValueError(f"sizes must be a list of numbers of cells such as (150, 300, None), got {sizes!r}")
    in_folds = [len(fold.train) for fold in splits]
    found = {}
    for size in listed:
        number = round(np.mean(in_folds)) if size is None else check_whole(size, "every number in sizes", least=2)
        if size is not None and number > min(in_folds):
            raise ValueError(
                f"every number in sizes must be at most {min(in_folds)}, the training cells of the smallest fold, got "
                f"{number}: use None for all training cells"
            )
        if number in found:
            raise ValueError(f"sizes must be different numbers of cells, got {number} twice in {tuple(listed)}")
        found[number] = size
    return dict(sorted(found.items()))


def _models_for(models, n_cells, data):
    """Return [(name, estimator)] for a number of training cells."""
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models must be a dict of name: estimator, or name: function of n_cells, got {models!r}")
    made = {}
    for name, model in models.items():
        if not hasattr(model, "fit") and callable(model) and not isinstance(model, type):
            model = model(n_cells)
        made[name] = [model]  # a list within would be several settings of one name
    return checked_models(made, data)


def _numbered(tables, n_cells, drawn, n_folds):
    """Scores of final models of one size, with the numbers of draw and fold."""
    found = {}
    for name in ("scores", "feature_scores"):
        table = tables[name]
        last = table.groupby(["model", "fold"])["stage"].transform("last")
        table = table[table["stage"] == last]
        number = table["fold"].to_numpy(dtype=int)
        keys = {"n_cells": n_cells, "draw": number // n_folds, "fold": number % n_folds}
        found[name] = table.assign(n_train=[len(drawn[one].train) for one in number], **keys)
    return {
        "scores": found["scores"][_SCORES],
        "feature_scores": found["feature_scores"][["model", "n_cells", "draw", "fold", "feature", "r2_test"]],
    }


def summarise_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean R2 of each model and number of cells, and how it varies.

    Parameters
    ----------
    scores : DataFrame
        `model`, `n_cells`, `draw`, `fold`, `r2_test`, of `LearningCurve` or read from a file.

    Returns
    -------
    DataFrame
        `model` (in the order of `scores`), `n_cells`; `r2_mean`, mean over folds of the means over draws; `r2_se` and
        `r2_sd`, SE and SD of the latter over folds, which share no test cells; `sd_of_draws`, the SD over draws
        of the mean over folds (NaN for a single draw). NaN where a fit has no R2.

    Raises
    ------
    ValueError
        A column is missing, or models of one size have other draws or folds than each other.
    """
    _check_scores(scores)
    rows = []
    for (model, n_cells), part in scores.groupby(["model", "n_cells"], sort=False):
        table = part.pivot(index="draw", columns="fold", values="r2_test")
        by_fold, by_draw = table.mean(axis=0, skipna=False), table.mean(axis=1, skipna=False)
        sd = by_fold.std(skipna=False)
        row = {"model": model, "n_cells": n_cells, "r2_mean": by_fold.mean(skipna=False)}
        rows.append(row | {"r2_se": sd / np.sqrt(len(by_fold)), "r2_sd": sd, "sd_of_draws": by_draw.std(skipna=False)})
    order = {name: place for place, name in enumerate(dict.fromkeys(scores["model"]))}
    by_model = pd.DataFrame(rows).sort_values("n_cells", kind="stable")
    return by_model.sort_values("model", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _check_scores(scores):
    """Raise ValueError unless the models of each size have the same draws and folds, each once."""
    missing = {"model", "n_cells", "draw", "fold", "r2_test"} - set(scores)
    if missing:
        raise ValueError(f"scores is a table without the column(s) {preview(sorted(missing))}")
    if not len(scores):
        raise ValueError("scores is an empty table: it needs at least one score")
    check_length(scores.drop_duplicates(["model", "n_cells", "draw", "fold"]), len(scores), "scores", "fit, each once")
    for n_cells, part in scores.groupby("n_cells"):
        asked = part[["draw", "fold"]].drop_duplicates()
        n_draws, n_folds = asked["draw"].nunique(), asked["fold"].nunique()
        if not len(part) == n_draws * n_folds * part["model"].nunique():
            raise ValueError(
                f"scores of {n_cells} cells must have every model in every draw and fold, got {len(part)} rows for "
                f"{part['model'].nunique()} models, {n_draws} draws, {n_folds} folds: models would be compared on "
                "other cells"
            )


def best_models(scores: pd.DataFrame, baselines: Iterable[str] = ()) -> pd.DataFrame:
    """Return for each number of cells the model with the largest mean R2, and those within one SE of it.

    Parameters
    ----------
    scores : DataFrame
        As for `summarise_scores`.
    baselines : iterable of str
        Models that are not recommended: those that need the class of a cell, which new cells do not have.

    Returns
    -------
    DataFrame
        One row per number of cells, ascending: `n_cells`, `model`, its `r2_mean` and `r2_se` (over folds), and
        `within_one_se`, a tuple of all models whose mean R2 is at least that mean minus that SE, the best first. The
        best of several is slightly optimistic. Models without R2 are left out; with one fold, only the best is named.
        Empty if there are only baselines.

    Raises
    ------
    ValueError
        As `summarise_scores`.
    """
    summary = summarise_scores(scores)
    summary = summary[~summary["model"].isin([*baselines])]
    rows = []
    for n_cells, part in summary.dropna(subset="r2_mean").groupby("n_cells"):
        ordered = part.sort_values("r2_mean", ascending=False, kind="stable")
        best = ordered.iloc[0]
        near = tuple(ordered.loc[within_one_error(ordered["r2_mean"], ordered["r2_se"]), "model"])
        rows.append((n_cells, best["model"], best["r2_mean"], best["r2_se"], near))
    return pd.DataFrame(rows, columns=["n_cells", "model", "r2_mean", "r2_se", "within_one_se"])
