"""Cross-validation of networks and linear models alike, into tidy tables."""

import os
from contextlib import closing

import numpy as np
from tqdm.auto import tqdm

from sbnn._checks import check_choice, check_flag, check_targets, check_whole, preview, warn
from sbnn.baselines import ClassMean
from sbnn.chunks import (
    STACK_SIZE,
    Work,
    add_large_tables,
    fitting_stack,
    holds_networks,
    pack_fit,
    part_of,
    plan_chunks,
    run_chunk,
    unpack_fit,
)
from sbnn.clusters import fold_clusters
from sbnn.cross_validation import CrossValidation
from sbnn.fit_keys import fit_keys
from sbnn.folds import fold_data, make_folds
from sbnn.paired_data import check_paired
from sbnn.parallel import is_local, run_elsewhere, runs_here
from sbnn.provenance import check_distinct, describe_models, list_runs
from sbnn.schedules import get_schedule
from sbnn.store import open_store
from sbnn.tables import COLUMNS, LARGE_TABLES, is_network, join_tables


def cross_validate(
    data,
    models,
    folds="paper",
    store=None,
    n_jobs=None,
    stack_size=None,
    within_fold=False,
    keep=("predictions", "latents"),
    progress=True,
):
    """Fit every model on the training cells of every fold and score it on the test cells.

    R2 = 1 - sum (Y - prediction)^2 / sum Y^2 over the test cells, all features pooled, Y centred on the training
    cells; nothing is chosen on test cells. Where one process trains networks, those of equal shape make stacks;
    reduced-rank models that differ in alpha make a path.

    Parameters
    ----------
    data : PairedData
    models : dict
        Name -> estimator or list of estimators: `SparseBottleneckRegressor`, `ReducedRankRegressor`, `ClassMean`
        (which reads classes of cells instead of genes), or any scikit-learn regressor. Where Y has missing values,
        those three learn from those that are there; other regressors see the cells without any.
    folds : "paper", "donor", "all", splitter, or list of (train, test)
        See `sbnn.folds.make_folds`.
    store : path-like, optional
        Folder for finished work, addressed by its content: data, fold, settings, and the code that trains. Each
        finished chunk (a stack of networks, or the linear models of a fold) is written, all or nothing: the same call
        after an interruption, Ctrl-C or a kill goes on where it was, and gives the same tables; other calls fit only
        what the folder lacks. Fitted models of other packages come back without their estimator (None).
    n_jobs : int, optional
        Processes of this machine, as joblib counts them: None is 1 unless `joblib.parallel_config` says otherwise, -1
        all cores. On a CPU one process a core trains a third faster than one process on all cores; a GPU trains
        large stacks in this process. Under `parallel_config("dask")` everything goes to that cluster, which should
        have started more than one worker: joblib keeps to itself what only one could do.
    stack_size : int, optional
        Networks trained at once; by default what the processor and its memory suit.
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
        No models, two of one name that the tables could not tell apart, settings that cannot be fitted, unknown folds,
        fewer cells than folds; a store that is another folder, or whose files are damaged or out of place.
    RuntimeError
        Another process works on the same store.

    Warns
    -----
    UserWarning
        Training of a network diverged, or a model predicts values that are not finite: its R2 is NaN. Names model and
        fold.

    References
    ----------
    Protocol: arXiv 2006.10411, section 2; `within_fold=True` is ours.
    """
    check_paired(data)
    runs = _checked_runs(models, data)
    described = describe_models(runs, data.n_features)
    check_distinct(described)
    splits = make_folds(data, folds)
    keep = _check_keep(keep)
    check_flag(within_fold, "within_fold")
    _check_observed(data, splits)
    protocol = "training cells" if within_fold else "all cells"
    all_cells = isinstance(folds, str) and folds == "all"
    work = Work(data, runs, [fold_data(data, split, within_fold) for split in splits], {}, keep)
    keys = None if store is None else fit_keys(data, runs, splits, protocol, all_cells)
    with open_store(store) as fit_store:
        fits, missing = _restore(work, fit_store, keys)
        work = work._replace(clusters=_clusters(work, missing, within_fold, all_cells))
        networks = any(is_network(work.runs[run][1]) for run, _ in missing)
        planned = plan_chunks(work, missing, _stack_size(work, stack_size, n_jobs) if networks else None)
        fits += _run_chunks(work, fit_store, keys, planned, n_jobs, progress)
    for fit in fits:
        if fit.problem is not None:
            warn(f"{fit.name!r} in fold {fit.fold} {fit.problem}: R2 of these cells is NaN")
    # In the order in which the models were named, fold by fold.
    fits.sort(key=lambda fit: (fit.run, fit.fold))
    return CrossValidation(
        **join_tables([fit.tables for fit in fits]),
        folds=splits,
        dataset=data.name,
        fingerprint=data.fingerprint,
        protocol=protocol,
        estimators=[fit.model for fit in fits],
        models=described,
        n_fitted=len(missing),
    )


def _checked_runs(models, data):
    """Flatten {name: estimator or list} to [(name, estimator)], each with settings that can be fitted."""
    if not isinstance(models, dict):
        raise ValueError(f"models must be a dict of name: estimator or list of estimators, got {models!r}")
    runs = list_runs(models)
    if not runs:
        raise ValueError("models is empty: give at least one {name: estimator}")
    for name, estimator in runs:
        if not isinstance(name, str):
            raise ValueError(f"names of models must be text, got {name!r}")
        if not (hasattr(estimator, "fit") and hasattr(estimator, "predict")) or isinstance(estimator, type):
            raise ValueError(f"models[{name!r}] should be an estimator or a list of estimators, got {estimator!r}")
        if isinstance(estimator, ClassMean):
            estimator.check_classes(data)
        if hasattr(estimator, "check_settings"):
            try:
                estimator.check_settings(data.n_genes, data.n_features)
            except ValueError as error:
                raise ValueError(f"models[{name!r}]: {error}") from None
        _check_columns(name, estimator.get_params(deep=False), data.feature_names)
    return runs


def _check_columns(name, settings, feature_names):
    """Raise ValueError where settings or features have names that columns of the tables need."""
    clashes = sorted(set(settings) & COLUMNS)
    if clashes:
        raise ValueError(
            f"models[{name!r}] has a setting {clashes[0]!r}, which is a column of the tables: wrap the model"
        )
    clashes = sorted(set(map(str, feature_names)) & ({*settings} | COLUMNS))
    if clashes:
        raise ValueError(f"a feature is called {clashes[0]!r}, which is a column of the tables: rename it")


def _check_keep(keep):
    """Return the names of large tables to fill."""
    if isinstance(keep, str) or not np.iterable(keep):
        raise ValueError(f"keep must be a collection of {', '.join(map(repr, LARGE_TABLES))}, got {keep!r}")
    return tuple(check_choice(name, LARGE_TABLES, "table to keep") for name in keep)


def _check_observed(data, splits):
    """Raise ValueError where a feature or a cell has no value, or a feature none among a fold's training cells."""
    Y = check_targets(data.Y, np.float32, data.feature_names, data.cell_names)
    for number, split in enumerate(splits):
        empty = np.isnan(Y[split.train]).all(axis=0)
        if empty.any():
            raise ValueError(
                f"fold {number} has no training cell with a value of {preview(data.feature_names[empty])}: "
                "leave the feature out, or choose other folds"
            )


def _restore(work, store, keys):
    """Return the fits that the store holds, and the pairs (run, fold) that it lacks."""
    fits, missing = [], []
    for run in range(len(work.runs)):
        for number in range(len(work.seen)):
            content = None if store is None else store.load(keys[run, number])
            fit = None if content is None else unpack_fit(work, run, number, content)
            if fit is not None and add_large_tables(work, fit):
                fits.append(fit)
            else:
                missing.append((run, number))
    return fits, missing


def _clusters(work, missing, within_fold, all_cells):
    """Clusters of each fold for every number of k-means starts that a missing network asks for."""
    schedules = [get_schedule(work.runs[run][1].schedule) for run, _ in missing if is_network(work.runs[run][1])]
    starts = {schedule.cluster_starts for schedule in schedules} - {None}
    return {n_init: fold_clusters(work.seen, n_init, within_fold, all_cells) for n_init in sorted(starts)}


def _stack_size(work, stack_size, n_jobs):
    """Return the function that gives the number of networks in a stack."""
    if stack_size is not None:
        check_whole(stack_size, "stack_size")
        return lambda estimator: stack_size
    if not _networks_run_here(n_jobs):
        return lambda estimator: 1
    from sbnn.compiled import accelerator_memory

    memory = accelerator_memory()
    return lambda estimator: STACK_SIZE if memory is None else fitting_stack(work, estimator, memory)


def _networks_run_here(n_jobs):
    """Whether networks are trained by this process: it is alone, or has an accelerator that it need not share."""
    if runs_here(n_jobs):
        return True
    if not is_local():
        return False
    from sbnn.compiled import accelerator_memory

    return accelerator_memory() is not None


def _run_chunks(work, store, keys, planned, n_jobs, progress):
    """Fit what is planned, chunk by chunk, and save each as it is finished."""
    networks = [chunk for chunk in planned if holds_networks(work, chunk)]
    others = [chunk for chunk in planned if not holds_networks(work, chunk)]
    fits = []
    for chunks in (_run_networks(work, networks, n_jobs, progress), _run_others(work, others, n_jobs, progress)):
        with closing(chunks):  # an interruption while a chunk is saved stops the other processes, too
            for finished in chunks:
                for fit in finished:  # processes return copies of the estimators
                    fit.setting = work.runs[fit.run][1]
                if store is not None:
                    store.save({keys[fit.run, fit.fold]: pack_fit(fit) for fit in finished})
                fits.extend(finished)
    return fits


def _run_networks(work, chunks, n_jobs, progress):
    """Train stacks of networks, here or elsewhere, with a bar over networks and epochs."""

    def n_epochs(chunk):
        schedule = get_schedule(work.runs[chunk[0][0]][1].schedule)
        return len(chunk) * sum(stage.epochs for stage in schedule)

    if not chunks:
        return
    total = sum(map(n_epochs, chunks))
    with tqdm(total=total, desc="networks x epochs", disable=hide_bar(progress)) as bar:
        if _networks_run_here(n_jobs):
            for chunk in chunks:

                def show(stage, r2, chunk=chunk):
                    bar.update(len(chunk))
                    bar.set_postfix_str(stage if r2 is None else f"{stage}, R2 {np.mean(r2):.3f}", refresh=False)

                yield run_chunk(work, chunk, show)
            return
        parts = ((part_of(work, chunk), chunk) for chunk in chunks)
        with closing(run_elsewhere(run_chunk, parts, n_jobs, networks=True)) as done:
            for place, fits in done:
                bar.update(n_epochs(chunks[place]))
                last = fits[-1].tables["scores"].iloc[-1]
                r2 = last["r2_train"] if np.isnan(last["r2_test"]) else last["r2_test"]
                bar.set_postfix_str(f"{fits[-1].name}, R2 {r2:.3f}")
                yield fits


def _run_others(work, chunks, n_jobs, progress):
    """Fit all other models, here or elsewhere."""
    if not chunks:
        return
    parts = ((part_of(work, chunk), chunk) for chunk in chunks)
    settings = {"total": len(chunks), "desc": "linear models x folds", "disable": hide_bar(progress)}
    with closing(run_elsewhere(run_chunk, parts, n_jobs)) as done:
        for _, fits in tqdm(done, **settings):
            yield fits


def hide_bar(progress):
    """Whether to hide the progress bar; tqdm's notebook bar does not heed TQDM_DISABLE by itself."""
    return not progress or bool(os.environ.get("TQDM_DISABLE"))
