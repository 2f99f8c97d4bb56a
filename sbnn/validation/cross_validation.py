"""Cross-validation of networks and linear models, resulting in tidy tables."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator

from sbnn._checks import check_choice, check_flag, check_number, check_targets, check_whole, preview, warn
from sbnn._hints import PathLike
from sbnn.data.count_kinds import warn_of_threshold
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.clusters import fold_clusters
from sbnn.models.latent_regressor import is_network
from sbnn.models.layouts import fold_layouts
from sbnn.models.schedules import get_schedule
from sbnn.storage.results import current_commit
from sbnn.validation.baselines import ClassMean
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.dispatch import run_jobs
from sbnn.validation.execution import Fit, Job, Plan, draw_seeds
from sbnn.validation.fit_keys import fit_keys
from sbnn.validation.folds import Fold, FoldChoice, make_folds, name_of_fold
from sbnn.validation.given_genes import check_any_genes
from sbnn.validation.packing import add_large_tables, pack_fit, unpack_fit
from sbnn.validation.protocol import FoldProtocol, view_folds
from sbnn.validation.provenance import Models, check_distinct, describe_models, list_runs
from sbnn.validation.result import CrossValidation
from sbnn.validation.shared_donors import describe_shared_donors
from sbnn.validation.store import open_store
from sbnn.validation.tables import COLUMNS, LARGE_TABLES, join_tables


def cross_validate(
    data: PairedData,
    models: Models,
    folds: FoldChoice | None = None,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    stack_size: int | None = None,
    within_fold: bool = False,
    keep: Collection[str] = ("predictions", "latents"),
    progress: bool = True,
    n_variable_genes: int | None = None,
    detection_threshold: float = 0,
) -> CrossValidation:
    """Fit every model on the training cells of every fold and score it on the test cells.

    R2 = 1 - sum (Y - prediction)^2 / sum Y^2 over the test cells, all features pooled, Y centred on the training
    cells; nothing is chosen on test cells. Reduced-rank models that differ in alpha form a path.

    Parameters
    ----------
    data : PairedData
    models : dict
        Name -> estimator or list of estimators: `SparseBottleneckRegressor`, `ReducedRankRegressor`, `ClassMean`
        (which reads classes of cells instead of genes), or any scikit-learn regressor. If Y has missing values,
        those three learn from the observed ones; other regressors see only cells without missing values.
    folds : "paper", "donor", "all", splitter, or list of (train, test)
        See `sbnn.validation.folds.make_folds`. None is "paper", with a warning if donors are known: cells of one animal
        are then in training and test cells.
    store : path-like, optional
        Folder for finished work, addressed by its content: data, fold, settings, and the code that trains. Each
        finished chunk (a stack of networks, or the linear models of a fold) is written, all or nothing: the same call
        after an interruption, Ctrl-C or a kill resumes where it stopped, and gives the same tables; other calls fit
        only what is missing from the folder. Models of other packages are restored without their estimator (None).
    n_jobs : int, optional
        Processes on this machine, as counted by joblib (-1: all cores). None chooses what was fastest in our
        measurements: on a CPU one network per core, in threads of this process. A GPU is not shared: there, networks
        are trained in large stacks in this process, whatever `n_jobs` is, and only linear models in several processes.
        `joblib.parallel_config` takes precedence: with "dask" everything goes to that cluster, which should have
        started more than one worker: with a single one, joblib runs everything in this process.
    stack_size : int, optional
        Networks trained at once by one thread or process; by default one, with `n_jobs=1` five, on a GPU as many as
        fit into its memory.
    within_fold : bool
        Fit normalisation, z-scores and clusters on the training cells of each fold only, instead of once on all
        cells as in the paper.
    keep : collection of {"predictions", "latents"}
        Large tables to fill; the others are always filled.
    progress : bool
        Show a progress bar.
    n_variable_genes : int, optional
        With `within_fold`: models of a fold see only this many genes, the most variable among its training cells
        (`select_variable_genes`); depth is counted over them. The other genes are left out of X and of the fold's rows
        in the tables. None: all genes of the data, on whichever cells these were chosen.
    detection_threshold : float
        For this choice: a gene is detected in a cell with more counts than this (30 for full-length reads, 0 for UMIs).

    Returns
    -------
    CrossValidation

    Raises
    ------
    ValueError
        No models, two of the same name that the tables could not distinguish, settings that cannot be fitted, unknown
        folds, fewer cells than folds; variable genes without `within_fold` or without counts, more of them than the
        training cells of a fold express, or for models that read genes by position (`on_genes`); a store that is not a
        store folder, or whose files are damaged or misplaced.
    RuntimeError
        Another process is using the same store.

    Warns
    -----
    UserWarning
        Training of a network diverged, or a model predicts values that are not finite: its R2 is NaN. The warning
        names model and fold. Or no curve selects exactly `n_variable_genes` genes in a fold: the nearest number is
        taken. Or donors are known, and no folds were chosen; or `detection_threshold` does not fit the counts.

    References
    ----------
    Protocol: arXiv 2006.10411, section 2; `within_fold=True` and `n_variable_genes` are ours.
    """
    check_paired(data)
    listed = checked_models(models, data)
    running = (store, n_jobs, stack_size, within_fold, keep, progress)
    splits = make_folds(data, "paper" if folds is None else folds)
    if folds is None and (described := describe_shared_donors(data, splits)):
        warn(f'{described}; folds="paper" says that this is what you want')
    found = fit_on_folds(data, listed, splits, *running, n_variable_genes, detection_threshold)
    if n_variable_genes is not None and data.counts is not None:
        warn_of_threshold(data.counts, detection_threshold)
    return found


def fit_on_folds(
    data: PairedData,
    listed: list[tuple[str, BaseEstimator]],
    splits: list[Fold],
    store: PathLike | None = None,
    n_jobs: int | None = None,
    stack_size: int | None = None,
    within_fold: bool = False,
    keep: Collection[str] = ("predictions", "latents"),
    progress: bool = True,
    n_variable_genes: int | None = None,
    detection_threshold: float = 0,
    keep_models: bool = True,
    only_fold: int | None = None,
) -> CrossValidation:
    """Fit models on folds that are made already; unlike those of a user, their training cells may be repeated.

    Parameters
    ----------
    data : PairedData
    listed : list of (name, estimator)
        From `checked_models`.
    splits : list of Fold
        With test cells; or a single one without.
    store, n_jobs, stack_size, within_fold, keep, progress, n_variable_genes, detection_threshold
        See `cross_validate`.
    keep_models : bool
        Whether the result has `estimators`; without them, much less memory is needed.
    only_fold : int, optional
        Fit in one of the folds only. The random numbers of networks depend on its number among all.

    Returns
    -------
    CrossValidation
        A cell that a fold repeats is repeated in its `latents`.

    Raises
    ------
    ValueError, RuntimeError
        As `cross_validate`.
    """
    described = describe_models(listed, data.n_features)
    check_distinct(described)
    keep = check_keep(keep)
    check_flag(within_fold, "within_fold")
    if check_number(detection_threshold, "detection_threshold") and n_variable_genes is None:
        raise ValueError(
            f"detection_threshold={detection_threshold} is for the choice of variable genes: give n_variable_genes, too"
        )
    check_observed(data, splits)
    current_commit()  # determined now: the checkout may change during the run
    fold_protocol = FoldProtocol(within_fold, n_variable_genes, detection_threshold)
    protocol = str(fold_protocol)
    views = view_folds(data, splits, fold_protocol, only_fold=only_fold)
    if n_variable_genes is not None:
        _check_seen(listed, views, data.n_features, n_variable_genes)
    plan = Plan(data, listed, views, {}, keep, draw_seeds(listed, len(views)))
    keys = None if store is None else fit_keys(data, listed, splits, protocol, plan.seeds)
    fits, n_fitted = fit_jobs(plan, keys, store, n_jobs, stack_size, within_fold, keep_models, progress)
    for fit in fits:
        if fit.problem is not None:
            warn(f"{fit.name!r} in fold {fit.job.fold} {fit.problem}: R2 of these cells is NaN")
    return CrossValidation(
        **join_tables([fit.tables for fit in fits]),
        folds=splits,
        dataset=data.name,
        fingerprint=data.fingerprint,
        protocol=protocol,
        estimators=[fit.model for fit in fits] if keep_models else [],
        models=described,
        n_fitted=n_fitted,
    )


def fit_jobs(
    plan: Plan,
    keys: Mapping[tuple[int, int], str] | None,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    stack_size: int | None = None,
    within_fold: bool = False,
    keep_models: bool = True,
    progress: bool = True,
) -> tuple[list[Fit], int]:
    """Fit every model of a plan in every fold, except for those that are in the store.

    Parameters
    ----------
    plan : Plan
        Without clusters and layouts.
    keys : dict, optional
        Job -> key in the store.
    store, n_jobs, stack_size, within_fold, progress
        See `cross_validate`.
    keep_models : bool
        False: the fits have no model, only tables.

    Returns
    -------
    fits : list of Fit
        In the order of their models, fold by fold; `problem` says why one has no R2.
    n_fitted : int
        How many of them were not in the store.

    Raises
    ------
    ValueError, RuntimeError
        As `cross_validate`.
    """
    if stack_size is not None:
        check_whole(stack_size, "stack_size")
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral | None):
        raise ValueError(f"n_jobs must be a whole number or None, got {n_jobs!r}")
    with open_store(store) as fit_store:
        fits, missing = _restore(plan, fit_store, keys, keep_models)
        plan = plan._replace(clusters=_clusters(plan, missing, within_fold), layouts=_layouts(plan, missing))
        for finished in run_jobs(plan, missing, stack_size, n_jobs, progress):
            if fit_store is not None and keys is not None:
                fit_store.save({keys[fit.job]: pack_fit(fit) for fit in finished})
            fits.extend(_as_kept(fit, keep_models) for fit in finished)
    fits.sort(key=lambda fit: fit.job)
    return fits, len(missing)


def _as_kept(fit, keep_models):
    """Return a fit, without its model if that is not asked for: many large ones would fill the memory."""
    if not keep_models:
        fit.model = None
    return fit


def checked_models(models: Models, data: PairedData) -> list[tuple[str, BaseEstimator]]:
    """Flatten {name: estimator or list} to [(name, estimator)] after checking that all settings can be fitted."""
    if not isinstance(models, dict):
        raise ValueError(f"models must be a dict of name: estimator or list of estimators, got {models!r}")
    listed = list_runs(models)
    empty = [name for name, estimators in models.items() if isinstance(estimators, (list, tuple)) and not estimators]
    if empty:
        raise ValueError(f"models[{empty[0]!r}] is an empty list: give at least one estimator, or leave the name out")
    if not listed:
        raise ValueError("models is empty: give at least one {name: estimator}")
    for name, estimator in listed:
        if not isinstance(name, str):
            raise ValueError(f"names of models must be text, got {name!r}")
        if not (hasattr(estimator, "fit") and hasattr(estimator, "predict")) or isinstance(estimator, type):
            raise ValueError(f"models[{name!r}] should be an estimator or a list of estimators, got {estimator!r}")
        if isinstance(estimator, (ClassMean, ClassRidge)):
            estimator.check_classes(data)
        if hasattr(estimator, "check_settings"):
            try:
                estimator.check_settings(data.n_genes, data.n_features)
            except ValueError as error:
                raise ValueError(f"models[{name!r}]: {error}") from None
        _check_columns(name, estimator.get_params(deep=False), data.feature_names)
    return listed


def _check_seen(listed, views, n_features, n_variable_genes):
    """Warn of folds that see another number of genes than asked; ValueError if a model cannot be fitted to theirs."""
    numbers = [view.X.shape[1] for view in views if view is not None]
    others = [fold for fold, number in enumerate(numbers) if number != n_variable_genes]
    if others:
        folds, nearest = (", ".join(map(str, values)) for values in (others, [numbers[fold] for fold in others]))
        warn(
            f"n_variable_genes={n_variable_genes}: in fold(s) {folds} no curve selects exactly as many "
            f"genes; the nearest numbers, {nearest}, are taken"
        )
    reason = f"with n_variable_genes={n_variable_genes} every fold sees genes of its own"
    for name, estimator in listed:
        check_any_genes(estimator, f"models[{name!r}]", reason)
        if hasattr(estimator, "check_settings"):
            try:
                estimator.check_settings(min(numbers), n_features)
            except ValueError as error:
                raise ValueError(f"models[{name!r}], with n_variable_genes={n_variable_genes}: {error}") from None


def _check_columns(name, settings, feature_names):
    """Raise ValueError if settings or features have the names of columns of the tables."""
    clashes = sorted(set(settings) & COLUMNS)
    if clashes:
        raise ValueError(
            f"models[{name!r}] has a setting {clashes[0]!r}, which is a column of the tables: wrap the model"
        )
    clashes = sorted(set(map(str, feature_names)) & ({*settings} | COLUMNS))
    if clashes:
        raise ValueError(f"a feature is called {clashes[0]!r}, which is a column of the tables: rename it")


def check_keep(keep: Collection[str]) -> tuple[str, ...]:
    """Return the names of large tables to fill; ValueError for others."""
    if isinstance(keep, str) or not np.iterable(keep):
        raise ValueError(f"keep must be a collection of {', '.join(map(repr, LARGE_TABLES))}, got {keep!r}")
    return tuple(check_choice(name, LARGE_TABLES, "table to keep") for name in keep)


def check_observed(data: PairedData, splits: Sequence[Fold], names: Sequence[str] = ()) -> None:
    """Raise ValueError if a feature or a cell has no value, or a feature has none among a fold's training cells."""
    Y = check_targets(data.Y, np.float32, data.feature_names, data.cell_names)
    for number, split in enumerate(splits):
        empty = np.isnan(Y[split.train]).all(axis=0)
        if empty.any():
            raise ValueError(
                f"{name_of_fold(number, names)} has no training cell with a value of "
                f"{preview(data.feature_names[empty])}: leave the feature out, or choose other folds"
            )


def _restore(plan, store, keys, keep_models):
    """Return the fits that are in the store, and the jobs that are missing from it."""
    fits, missing = [], []
    folds = [fold for fold, view in enumerate(plan.views) if view is not None]
    for job in (Job(model, fold) for model in range(len(plan.models)) for fold in folds):
        content = None if store is None else store.load(keys[job])
        fit = None if content is None else unpack_fit(plan, job, content)
        if fit is not None and add_large_tables(plan, fit):
            fits.append(_as_kept(fit, keep_models))
        else:
            missing.append(job)
    return fits, missing


def _clusters(plan, missing, within_fold):
    """Clusters of each fold for every number of k-means starts that missing networks need."""
    schedules = [get_schedule(plan.estimator(job).schedule) for job in missing if is_network(plan.estimator(job))]
    starts = {schedule.cluster_starts for schedule in schedules} - {None}
    return {
        n_init: _for_distinct_cells(plan.views, partial(fold_clusters, n_init=n_init, within_fold=within_fold))
        for n_init in sorted(starts)
    }


def _layouts(plan, missing):
    """Layouts of the training cells of each fold for every kind that missing networks need."""
    networks = [plan.estimator(job) for job in missing if is_network(plan.estimator(job))]
    kinds = {(get_schedule(network.schedule).layout, network.bottleneck_dim) for network in networks}
    return {
        (kind, n_dims): _for_distinct_cells(plan.views, partial(fold_layouts, kind=kind, n_dims=n_dims))
        for kind, n_dims in kinds
        if kind is not None
    }


def _for_distinct_cells(views, make):
    """Make clusters or layouts once for views that differ only in their genes; none for folds that are not fitted."""
    cells = [None if view is None else (id(view.Y), id(view.train)) for view in views]
    distinct = {one: view for one, view in zip(cells, views, strict=True) if one is not None}
    made = dict(zip(distinct, make(list(distinct.values())), strict=True))
    return [made.get(one) for one in cells]
