"""Cross-validation of networks and linear models alike, into tidy tables."""

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from tqdm.auto import tqdm

from sbnn.clusters import cluster_features, leave_out_small_clusters
from sbnn.folds import fold_data, make_folds
from sbnn.linear import ReducedRankRegressor, reduced_rank_path, relax
from sbnn.schedules import get_schedule
from sbnn.tables import TABLES, collect_tables, is_network

#: Networks trained at once: on a CPU larger stacks gain nothing.
STACK_SIZE = 5


@dataclass
class CrossValidation:
    """Tidy tables of a cross-validation; every row carries `model`, all hyperparameters and `fold`.

    Attributes
    ----------
    scores : DataFrame
        `stage`, `n_selected` (genes in use), `r2_train`, `r2_test` (last epoch), `r2_test_best_epoch` (networks:
        the best epoch on the test cells, optimistic by construction).
    curves : DataFrame
        Networks: `stage`, `epoch`, `r2_train`, `r2_test` after every epoch.
    feature_scores : DataFrame
        `feature`, `r2_test` of the final model.
    selected : DataFrame
        `gene`, `norm`: genes of the final model and their row norms before pruning or relaxation.
    gene_norms : DataFrame
        `gene`, `norm`: the same for all genes (networks).
    predictions : DataFrame
        `cell` and a column for each feature: predictions for test cells (for all cells where none are tested).
    latents : DataFrame
        `cell`, `held_out`, `z1`, `z2`, ...: coordinates of training and test cells in every fold's model.
    folds : list of Fold
    dataset, fingerprint : str
        What was cross-validated.
    protocol : str
        Where z-scores and clusters were fitted: "all cells" (the paper) or "training cells".
    estimators : list
        Fitted models, one for each final row of `scores`; not saved.
    """

    scores: pd.DataFrame
    curves: pd.DataFrame
    feature_scores: pd.DataFrame
    selected: pd.DataFrame
    gene_norms: pd.DataFrame
    predictions: pd.DataFrame
    latents: pd.DataFrame
    folds: list
    dataset: str
    fingerprint: str
    protocol: str = "all cells"
    estimators: list = field(default_factory=list, repr=False)

    @property
    def tables(self):
        """The tables by name."""
        return {name: getattr(self, name) for name in TABLES}

    def join(self, other):
        """Return one result with the rows of both; both must be about the same data, folds and protocol.

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
            np.array_equal(mine.test, theirs.test) for mine, theirs in zip(self.folds, other.folds, strict=True)
        )
        if not same_folds:
            raise ValueError("cannot join results of different folds")
        joined = {
            name: pd.concat([table for table in (mine, getattr(other, name)) if len(table)] or [mine])
            for name, mine in self.tables.items()
        }
        joined = {name: table.reset_index(drop=True) for name, table in joined.items()}
        return replace(self, **joined, estimators=self.estimators + other.estimators)


def cross_validate(
    data, models, folds="paper", n_jobs=1, within_fold=False, keep=("predictions", "latents"), progress=True
):
    """Fit every model on the training cells of every fold and score it on the test cells.

    R2 = 1 - sum (Y - prediction)^2 / sum Y^2 over the test cells, all features pooled, Y centred on the training
    cells; nothing is chosen on test cells. Networks of equal shape are trained in stacks, reduced-rank models
    that differ in alpha as one path.

    Parameters
    ----------
    data : PairedData
    models : dict
        Name -> estimator or list of estimators: `SparseBottleneckRegressor`, `ReducedRankRegressor`, or any
        scikit-learn regressor.
    folds : "paper", "donor", "all", splitter, or list of (train, test)
        See `sbnn.folds.make_folds`.
    n_jobs : int
        Processes for models that are not networks (networks use all cores by themselves).
    within_fold : bool
        Fit normalisation, z-scores and clusters on the training cells of each fold alone, instead of once on all
        cells as the paper did.
    keep : collection of {"predictions", "latents"}
        Large tables to fill; the others are always there.
    progress : bool
        Show a progress bar.

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError
        No models, unknown folds, fewer cells than folds.

    References
    ----------
    Protocol: arXiv 2006.10411, section 2; `within_fold=True` is ours.
    """
    runs = _list_runs(models)
    splits = make_folds(data, folds)
    seen = [fold_data(data, split, within_fold) for split in splits]
    networks = [run for run in runs if is_network(run[1])]
    others = [run for run in runs if not is_network(run[1])]
    fitted = []
    if networks:
        clusters = _clusters(seen, networks, within_fold, all_cells=isinstance(folds, str) and folds == "all")
        fitted += _fit_networks(networks, seen, clusters, progress)
    fitted += _fit_others(others, seen, n_jobs, progress)
    # In the order in which the models were named, fold by fold.
    position = {id(estimator): index for index, (_, estimator) in enumerate(runs)}
    fitted.sort(key=lambda fit: (position[id(fit.setting)], fit.fold))
    tables = collect_tables(data, seen, fitted, keep)
    return CrossValidation(
        **tables,
        folds=splits,
        dataset=data.name,
        fingerprint=data.fingerprint,
        protocol="training cells" if within_fold else "all cells",
        estimators=[fit.model for fit in fitted],
    )


@dataclass
class _Fit:
    """A fitted model of one fold, and the estimator that asked for it."""

    name: str
    setting: object
    fold: int
    model: object
    has_score: bool = True
    feature_r2: np.ndarray = None


def _list_runs(models):
    """Flatten {name: estimator or list} to [(name, estimator)]."""
    runs = []
    for name, estimators in models.items():
        estimators = estimators if isinstance(estimators, (list, tuple)) else [estimators]
        runs += [(name, estimator) for estimator in estimators]
    if not runs:
        raise ValueError("models is empty: give at least one {name: estimator}")
    for name, estimator in runs:
        if not hasattr(estimator, "fit"):
            raise ValueError(f"models[{name!r}] should be an estimator or a list of estimators, got {estimator!r}")
    return runs


def _clusters(seen, networks, within_fold, all_cells):
    """Clusters of the training cells of each fold; None where no schedule pre-trains."""
    starts = {get_schedule(estimator.schedule).cluster_starts for _, estimator in networks} - {None}
    if not starts:
        return [None] * len(seen)
    if len(starts) > 1:
        raise ValueError(f"networks cross-validated together need one number of k-means starts, got {sorted(starts)}")
    n_init = starts.pop()
    if all_cells:
        return [cluster_features(seen[0].Y, n_init)]
    if within_fold:
        return [leave_out_small_clusters(cluster_features(fold.Y[fold.train], n_init)) for fold in seen]
    clusters = leave_out_small_clusters(cluster_features(seen[0].Y, n_init))
    return [clusters[fold.train] for fold in seen]


def _fit_networks(networks, seen, clusters, progress):
    """Train networks in stacks of equal shape."""
    from sbnn.training import TrainingTask, train_stack

    groups = defaultdict(list)
    for name, estimator in networks:
        for number, fold in enumerate(seen):
            task = TrainingTask(
                fold.train, fold.test, estimator.group_lasso, estimator.random_state, number, clusters[number]
            )
            settings = estimator.stack_settings()
            shape = (*settings.values(), task.steps_per_epoch(estimator.schedule))
            groups[shape].append((name, estimator, task))
    chunks = [
        group[start : start + STACK_SIZE] for group in groups.values() for start in range(0, len(group), STACK_SIZE)
    ]
    total = sum(len(chunk) * sum(s.epochs for s in get_schedule(chunk[0][1].schedule)) for chunk in chunks)
    fits = []
    with tqdm(total=total, desc="networks x epochs", disable=_no_bar(progress)) as bar:
        for chunk in chunks:

            def show(stage, r2, chunk=chunk):
                bar.update(len(chunk))
                bar.set_postfix_str(stage if r2 is None else f"{stage}, R2 {np.mean(r2):.3f}", refresh=False)

            X, Y, tasks = _joint_tables([task for _, _, task in chunk], seen)
            trained = train_stack(X, Y, tasks, **chunk[0][1].stack_settings(), on_epoch=show)
            for (name, estimator, task), network in zip(chunk, trained, strict=True):
                fold = seen[task.fold]
                model = clone(estimator).adopt(network, fold.X[fold.train])
                fits.append(_Fit(name, estimator, task.fold, model, feature_r2=network.feature_r2))
    return fits


def _joint_tables(tasks, seen):
    """X and Y that hold what all tasks see, and the tasks with their rows in them."""
    numbers = sorted({task.fold for task in tasks})
    if all(seen[number].X is seen[numbers[0]].X for number in numbers):
        return seen[numbers[0]].X, seen[numbers[0]].Y, tasks
    offset = {number: place * len(seen[number].X) for place, number in enumerate(numbers)}
    moved = [
        replace(
            task,
            train_cells=task.train_cells + offset[task.fold],
            test_cells=task.test_cells + offset[task.fold],
        )
        for task in tasks
    ]
    return (
        np.concatenate([seen[number].X for number in numbers]),
        np.concatenate([seen[number].Y for number in numbers]),
        moved,
    )


def _fit_others(others, seen, n_jobs, progress):
    """Fit linear models: those that differ only in alpha and relaxation as one path."""
    groups = defaultdict(list)
    for name, estimator in others:
        if isinstance(estimator, ReducedRankRegressor):
            key = ("path", estimator.rank, estimator.l1_ratio, estimator.solver)
        else:
            key = ("alone", id(estimator))
        groups[key].append((name, estimator))
    jobs = [(group, number) for group in groups.values() for number in range(len(seen))]
    if not jobs:
        return []
    fit_all = (delayed(_fit_group)(group, number, seen[number]) for group, number in jobs)
    done = Parallel(n_jobs=n_jobs, return_as="generator")(fit_all)
    bar = tqdm(done, total=len(jobs), desc="linear models x folds", disable=_no_bar(progress))
    fits = [fit for group in bar for fit in group]
    # Processes return copies of the estimators: put the ones that were asked for back in their place.
    settings = [estimator for group, _ in jobs for _, estimator in group]
    for fit, setting in zip(fits, settings, strict=True):
        fit.setting = setting
    return fits


def _fit_group(group, number, fold):
    """Fit the models of a group on one fold."""
    X, Y = fold.X[fold.train].astype(np.float64), fold.Y[fold.train].astype(np.float64)
    if not isinstance(group[0][1], ReducedRankRegressor):
        return [_Fit(name, estimator, number, clone(estimator).fit(X, Y)) for name, estimator in group]
    first = group[0][1]
    alphas = [estimator.alpha for _, estimator in group]
    path = dict(zip(alphas, reduced_rank_path(X, Y, alphas, first.rank, first.l1_ratio, first.solver), strict=True))
    fits = []
    for name, estimator in group:
        sparse = path[estimator.alpha]
        final = relax(X, Y, sparse, estimator.alpha) if estimator.relaxed else sparse
        model = clone(estimator).adopt(final, sparse, X.mean(axis=0), Y.mean(axis=0))
        enough = sparse.selected.sum() >= sparse.W.shape[1]
        fits.append(_Fit(name, estimator, number, model, has_score=bool(enough)))
    return fits


def _no_bar(progress):
    """Whether to hide the progress bar; tqdm's notebook bar does not heed TQDM_DISABLE by itself."""
    return not progress or bool(os.environ.get("TQDM_DISABLE"))
