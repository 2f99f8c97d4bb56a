"""Nested cross-validation: settings are chosen on inner folds of the training cells, and scored on the outer folds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from tqdm.auto import tqdm

from sbnn._checks import check_choice, check_seed, check_whole, preview
from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.gene_number import within_one_error
from sbnn.models.inner_folds import inner_folds
from sbnn.validation.cross_validation import check_keep, check_observed, checked_models, fit_on_folds
from sbnn.validation.dispatch import hide_bar
from sbnn.validation.folds import Fold, FoldChoice, donors_of, make_folds
from sbnn.validation.provenance import Models, describe_models
from sbnn.validation.result import CrossValidation
from sbnn.validation.tables import TABLES

#: Rules by which a candidate is chosen.
RULES = ("one_standard_error", "best")


class NoScoreError(ValueError):
    """No candidate of a model has an R2 in every inner fold."""


class Choice(NamedTuple):
    """What a rule chooses among candidates, both as positions in their list."""

    chosen: int
    best: int


class _Candidates(NamedTuple):
    """A model with its settings to choose from, and for each the settings that differ as text."""

    name: str
    estimators: list[BaseEstimator]
    labels: list[str]

    def inner_name(self, number: int, fold: int) -> str:
        """Return the name of a candidate in the tables, and warnings, of the inner folds."""
        return f"{self.name} (candidate {number} of fold {fold})"


def nested_cross_validate(
    data: PairedData,
    models: Models | Sequence[Models],
    outer: FoldChoice = "donor",
    inner: int = 5,
    rule: str = "one_standard_error",
    store: PathLike | None = None,
    n_jobs: int | None = None,
    stack_size: int | None = None,
    keep: Collection[str] = ("predictions", "latents"),
    random_state: int = 42,
    progress: bool = True,
    n_variable_genes: int | None = None,
    detection_threshold: float = 0,
) -> CrossValidation:
    """Score models whose settings are chosen within the training cells of each fold.

    In each outer fold the training cells become data of their own, and are divided into inner folds, by animals if
    those are known. All settings of a model are scored there, one is chosen, fitted again on all training cells of the
    outer fold, and scored on its test cells. Depth, z-scores, clusters, layouts, genes and weights are fitted on the
    training cells of the respective fold. Test cells take part in nothing but the score.

    Parameters
    ----------
    data : PairedData
        With `counts` and `features`, depth and z-scores are those of training cells. Without `counts`, X is z-scored
        again within folds, but its depth and logarithms are as given. Without `n_variable_genes` the genes are those of
        the data: if they were chosen as variable on all cells, that choice has seen the test cells (it does not use Y).
    models : dict, or list of dicts
        Name -> list of unfitted estimators: the settings to choose from, from simple to complex; a single estimator is
        no choice. See `sbnn.cross_validate` for the kinds. A list has a dict for each outer fold, with the same names:
        for models on genes that were selected on the training cells of the fold.
    outer : "donor", "paper", "all", splitter, or list of (train, test)
        Folds whose test cells are scored, see `sbnn.validation.folds.make_folds`. "all" chooses and fits on all cells,
        and scores nothing.
    inner : int
        Number of inner folds; fewer if there are fewer animals. Shuffled; the cells of an animal stay together if the
        donors of all training cells are known, and there are at least two.
    rule : {"one_standard_error", "best"}
        "one_standard_error": of the candidates whose mean R2 over inner folds is at least the best mean minus one
        standard error of the best, the one with the fewest genes on average; among equals the earlier in the list. A
        model that does not count its genes reads all of them. "best": the largest mean R2; among equals the earlier.
    store, n_jobs, stack_size
        See `sbnn.cross_validate`. The store has the fits of inner and outer folds: a killed call resumes from it.
    keep : collection of {"predictions", "latents"}
        Large tables to fill, of the outer folds.
    random_state : int
        Seed of the inner folds.
    progress : bool
        Show progress bars.
    n_variable_genes, detection_threshold
        See `sbnn.cross_validate`: in inner and outer folds, as many variable genes are chosen on the training cells.

    Returns
    -------
    CrossValidation
        Of the outer folds, with the chosen settings in the columns of its tables, and one entry of `models` per name.
        `summary()` has one row per model. In addition

        `choices`: `model`, `fold`, `candidate` (position in the list, from 0), `settings` (those that differ between
        candidates), `r2_mean` and `r2_se` (over inner folds, NaN for a single candidate), `n_genes` (its mean over
        inner folds), the same for the best candidate (`best_candidate`, `best_settings`, `best_r2_mean`,
        `best_r2_se`), `n_candidates`, `n_inner` (inner folds);
        `inner_scores`: `model`, `fold`, `candidate`, `inner_fold`, `n_genes`, `r2_test`.

    Raises
    ------
    ValueError
        As `sbnn.cross_validate`; an unknown rule, fewer than two inner folds or fewer training cells than inner folds;
        or a list of models that are not as many as outer folds, or have other names.
    NoScoreError
        No candidate of a model has an R2 in every inner fold; a ValueError.

    References
    ----------
    Stone 1974, "Cross-validatory choice and assessment of statistical predictions" (JRSS B 36:111). One-standard-error
    rule: Breiman, Friedman, Olshen & Stone 1984, Classification and regression trees, section 3.4.3.
    """
    check_paired(data)
    check_choice(rule, RULES, "rule")
    check_whole(inner, "inner", least=2)
    check_whole(random_state, "random_state", least=0)
    check_seed(random_state)
    keep = check_keep(keep)
    splits = make_folds(data, outer)
    contests = _contests(models, data, len(splits))
    check_observed(data, splits)
    settings: dict[str, Any] = {
        "store": store,
        "n_jobs": n_jobs,
        "stack_size": stack_size,
        "within_fold": True,
        "progress": progress,
        "n_variable_genes": n_variable_genes,
        "detection_threshold": detection_threshold,
    }
    parts, choices, inner_scores, n_fitted = [], [], [], 0
    bar = tqdm(splits, desc="outer folds", disable=hide_bar(progress))
    for number, (split, contest) in enumerate(zip(bar, contests, strict=True)):
        scores, fitted_inside = _score_inside(data, contest, number, split, inner, random_state, settings)
        chosen = [_choice_row(own, number, scores, rule) for own in contest]
        listed = [(own.name, own.estimators[row["candidate"]]) for own, row in zip(contest, chosen, strict=True)]
        parts.append(fit_on_folds(data, listed, splits, keep=keep, only_fold=number, **settings))
        choices += chosen
        inner_scores.append(scores)
        n_fitted += fitted_inside + parts[-1].n_fitted
    names = [own.name for own in contests[0]]
    return CrossValidation(
        **{name: _join([getattr(part, name) for part in parts], names) for name in TABLES},
        folds=splits,
        dataset=data.name,
        fingerprint=data.fingerprint,
        protocol=parts[0].protocol,
        estimators=[part.estimators[place] for place in range(len(names)) for part in parts],
        models=[_describe(own, data.n_features, inner, rule, random_state) for own in zip(*contests, strict=True)],
        n_fitted=n_fitted,
        choices=_sorted(pd.DataFrame(choices), names),
        inner_scores=_sorted(pd.concat(inner_scores), names),
    )


def choose_candidate(r2: npt.ArrayLike, n_genes: npt.ArrayLike, rule: str = "one_standard_error") -> Choice:
    """Choose one of several candidates by their scores on the same folds.

    Parameters
    ----------
    r2 : array, shape (n_candidates, n_folds)
        A candidate without an R2 (NaN) in one of the folds is not chosen: its mean would be one over other cells.
    n_genes : array, shape (n_candidates, n_folds)
        Numbers of genes.
    rule : {"one_standard_error", "best"}
        See `nested_cross_validate`. The standard error is the SD over folds (ddof 1), divided by the root of their
        number.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        An unknown rule, arrays of different shapes, fewer than two folds, or no candidate has an R2 in every fold.
    """
    check_choice(rule, RULES, "rule")
    r2, n_genes = np.asarray(r2, dtype=np.float64), np.asarray(n_genes, dtype=np.float64)
    if r2.ndim != 2 or r2.shape != n_genes.shape or r2.shape[1] < 2:
        raise ValueError(
            "r2 and n_genes must have one shape, (candidates, folds), with at least 2 folds, got "
            f"{r2.shape} and {n_genes.shape}"
        )
    mean = r2.mean(axis=1)
    if np.isnan(mean).all():
        raise ValueError("no candidate has an R2 in every fold")
    best = int(np.nanargmax(mean))
    if rule == "best":
        return Choice(best, best)
    close = np.flatnonzero(within_one_error(mean, r2.std(axis=1, ddof=1) / np.sqrt(r2.shape[1])))
    return Choice(int(min(close, key=lambda candidate: (n_genes[candidate].mean(), candidate))), best)


def _contests(models, data, n_folds):
    """Candidates of every model, in each outer fold."""
    if not isinstance(models, (list, tuple)):
        return [_contest(models, data)] * n_folds
    if len(models) != n_folds:
        raise ValueError(
            f"models is a list of {len(models)}, and there are {n_folds} outer folds: give one dict for each"
        )
    contests = [_contest(own, data) for own in models]
    for number, own in enumerate(models):
        if list(own) != list(models[0]):
            raise ValueError(
                f"models[{number}] has the names {preview(list(own))}, models[0] {preview(list(models[0]))}: "
                "they must be the same, in one order"
            )
    return contests


def _contest(models, data):
    """Candidates of every model, after checking that they can be fitted."""
    checked_models(models, data)
    return [_candidates(name, estimators, data.n_features) for name, estimators in models.items()]


def _candidates(name, estimators, n_features):
    """Candidates of a model, each labelled by the settings in which they differ."""
    estimators = list(estimators) if isinstance(estimators, (list, tuple)) else [estimators]
    described = [_settings(name, estimator, n_features) for estimator in estimators]
    columns = dict.fromkeys(column for one in described for column in one)
    differ = [column for column in columns if len({repr(one.get(column)) for one in described}) > 1]
    labels = [", ".join(f"{column}={one[column]}" for column in differ if column in one) for one in described]
    return _Candidates(name, estimators, labels)


def _settings(name, estimator, n_features):
    """Hyperparameters of an estimator, or of the parts of a compound one, by name."""
    own = describe_models([(name, estimator)], n_features)[0]
    if own["kind"].startswith("sbnn."):
        return {column: value for column, value in own.items() if column not in ("model", "stages")}
    deep = estimator.get_params(deep=True)
    return {key: value for key, value in deep.items() if isinstance(value, (int, float, str, bool, type(None)))}


def _score_inside(data, contest, number, split, inner, random_state, settings):
    """Score the candidates of an outer fold on inner folds of its training cells; return a table, and fits made."""
    columns = ["model", "fold", "candidate", "inner_fold", "n_genes", "r2_test"]
    listed = [
        (own.inner_name(place, number), estimator)
        for own in contest
        if len(own.estimators) > 1
        for place, estimator in enumerate(own.estimators)
    ]
    if not listed:
        return pd.DataFrame(columns=columns), 0
    cells = data.subset(split.train)
    if cells.n_cells < inner:
        raise ValueError(
            f"inner={inner} folds need at least as many training cells, and outer fold {number} has {cells.n_cells}"
        )
    folds = [Fold(*pair) for pair in inner_folds(cells.n_cells, random_state, donors_of(cells), inner)]
    try:
        found = fit_on_folds(cells, listed, folds, keep=(), keep_models=False, **settings)
    except Exception as error:
        error.add_note(f"in the inner folds of outer fold {number}")
        raise
    final = found.scores.groupby(["model", "fold"], sort=False).tail(1).set_index(["model", "fold"])
    n_seen, rows = settings["n_variable_genes"] or data.n_genes, []
    for own in contest:
        for place in range(len(own.estimators) if len(own.estimators) > 1 else 0):
            for fold in range(len(folds)):
                row = final.loc[(own.inner_name(place, number), fold)]
                n_genes = n_seen if pd.isna(row["n_selected"]) else row["n_selected"]
                rows.append((own.name, number, place, fold, float(n_genes), row["r2_test"]))
    return pd.DataFrame(rows, columns=columns), found.n_fitted


def _choice_row(own, number, scores, rule):
    """Row of `choices`: what is chosen for a model in an outer fold."""
    scores = scores[scores["model"] == own.name]
    if not len(scores):
        r2, n_genes, choice = np.full((1, 1), np.nan), np.full((1, 1), np.nan), Choice(0, 0)
    else:
        r2, n_genes = (
            scores.pivot(index="candidate", columns="inner_fold", values=column).to_numpy(dtype=np.float64)
            for column in ("r2_test", "n_genes")
        )
        if np.isnan(r2.mean(axis=1)).all():
            raise NoScoreError(
                f"models[{own.name!r}]: none of the {len(own.estimators)} candidates has an R2 in every inner fold of "
                f"outer fold {number}: training diverged, or fewer genes than the rank were selected; give other "
                f"settings than {preview(own.labels, 3)}"
            )
        choice = choose_candidate(r2, n_genes, rule)
    n_inner = len(scores["inner_fold"].unique())
    error = np.full(len(r2), np.nan) if n_inner < 2 else r2.std(axis=1, ddof=1) / np.sqrt(n_inner)
    return {
        "model": own.name,
        "fold": number,
        "candidate": choice.chosen,
        "settings": own.labels[choice.chosen],
        "r2_mean": r2[choice.chosen].mean(),
        "r2_se": error[choice.chosen],
        "n_genes": n_genes[choice.chosen].mean(),
        "best_candidate": choice.best,
        "best_settings": own.labels[choice.best],
        "best_r2_mean": r2[choice.best].mean(),
        "best_r2_se": error[choice.best],
        "n_candidates": len(own.estimators),
        "n_inner": n_inner,
    }


def _describe(by_fold, n_features, inner, rule, random_state):
    """Describe a model for `CrossValidation.models`: its candidates (of each fold, if they differ) and their choice."""
    name = by_fold[0].name
    choice: dict[str, Any] = {"inner": int(inner), "rule": rule, "inner_random_state": int(random_state)}
    candidates = [describe_models([(name, one) for one in own.estimators], n_features) for own in by_fold]
    if any(own != candidates[0] for own in candidates):
        candidates[0] = [{**one, "fold": number} for number, own in enumerate(candidates) for one in own]
    return {"model": name, "kind": "sbnn.nested_cross_validate", **choice, "candidates": candidates[0]}


def _join(tables, names):
    """Concatenate a table of the outer folds; model by model, then fold by fold."""
    filled = [table for table in tables if len(table)]
    return _sorted(pd.concat(filled), names) if filled else pd.DataFrame()


def _sorted(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Rows model by model, in the order given, then fold by fold; otherwise in their order."""
    place = table["model"].map({name: place for place, name in enumerate(names)})
    return table.iloc[np.lexsort((table["fold"], place))].reset_index(drop=True)
