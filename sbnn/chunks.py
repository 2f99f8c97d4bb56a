"""The work of a cross-validation in chunks: what is fitted together, and what is kept of it."""

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from sbnn.baselines import ClassMean
from sbnn.linear import ReducedRankFit, ReducedRankRegressor, reduced_rank_path, relax
from sbnn.results import pack_table, unpack_table
from sbnn.schedules import get_schedule
from sbnn.tables import LARGE_TABLES, fit_tables, is_network

#: Networks trained at once by one process that has several cores: on a CPU larger stacks gain nothing.
STACK_SIZE = 5
#: Part of an accelerator's memory that a stack may fill.
MEMORY_PART = 0.6


class Work(NamedTuple):
    """Everything that the chunks of a cross-validation share.

    Attributes
    ----------
    data : PairedData
    runs : list of (name, estimator)
    seen : list of FoldData
    clusters : dict
        Starts of k-means -> clusters of the training cells of each fold.
    keep : collection of str
        Large tables to fill.
    """

    data: object
    runs: list
    seen: list
    clusters: dict
    keep: tuple


class Names(NamedTuple):
    """What the tables of a fit need of the data."""

    gene_names: np.ndarray
    feature_names: np.ndarray
    cell_names: np.ndarray
    cell_types: np.ndarray
    cell_families: np.ndarray


@dataclass
class Fit:
    """A fitted model of one fold, the estimator that asked for it, its tables, and why it has no R2, where so."""

    run: int
    name: str
    setting: object
    fold: int
    model: object
    has_score: bool = True
    feature_r2: np.ndarray = None
    tables: dict = None
    problem: str = None


def plan_chunks(work, pairs, stack_size):
    """Return what is fitted together: lists of (run, fold), stacks of networks first.

    Networks of equal shape and equally many steps an epoch make stacks; linear models that differ in alpha and
    relaxation only make a path.

    Parameters
    ----------
    work : Work
    pairs : list of (run, fold)
        What is to be fitted.
    stack_size : callable
        Gives the number of networks in a stack for an estimator.
    """
    stacks, others = defaultdict(list), defaultdict(list)
    for run, fold in pairs:
        estimator = work.runs[run][1]
        if is_network(estimator):
            task = _task(work, run, fold)
            shape = (*estimator.stack_settings().values(), task.steps_per_epoch(estimator.schedule))
            stacks[shape].append((run, fold))
        elif isinstance(estimator, ReducedRankRegressor):
            others["path", estimator.rank, estimator.l1_ratio, estimator.solver, fold].append((run, fold))
        else:
            others["alone", run, fold].append((run, fold))
    cut = [part for stack in stacks.values() for part in cut_stack(stack, stack_size(work.runs[stack[0][0]][1]))]
    return [*cut, *others.values()]


def cut_stack(stack, size):
    """Cut a list into lists of at most `size`."""
    return [stack[start : start + size] for start in range(0, len(stack), size)]


def fitting_stack(work, estimator, memory):
    """Return how many networks of an estimator fit into the memory of an accelerator.

    Counted are weights, gradient and Adam's moments, twice over because a step makes them anew, and for every cell the
    activations before the bottleneck, which the frozen stage keeps, and those of the widest layer.

    Parameters
    ----------
    work : Work
    estimator : SparseBottleneckRegressor
    memory : int
        Bytes.
    """
    from sbnn.network import layer_sizes

    n_cells, n_genes = work.data.X.shape
    sizes = layer_sizes(n_genes, work.data.n_features, estimator.bottleneck_dim, tuple(estimator.hidden))
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    bytes_each = 4 * (8 * n_weights + n_cells * (estimator.hidden[-1] + 2 * max(sizes[1:])))
    return max(1, int(MEMORY_PART * memory / bytes_each))


def holds_networks(work, chunk):
    """Whether a chunk is a stack of networks."""
    return is_network(work.runs[chunk[0][0]][1])


def part_of(work, chunk):
    """Return what a chunk needs of the work, to be sent to another process."""
    runs, folds = ({pair[place] for pair in chunk} for place in (0, 1))

    def only(values, needed):
        return [value if number in needed else None for number, value in enumerate(values)]

    return work._replace(
        data=Names(*(getattr(work.data, field) for field in Names._fields)),
        runs=only(work.runs, runs),
        seen=only(work.seen, folds),
        clusters={starts: only(clusters, folds) for starts, clusters in work.clusters.items()},
    )


def _task(work, run, number):
    """Training task of a network."""
    from sbnn.training import TrainingTask

    fold, estimator = work.seen[number], work.runs[run][1]
    starts = get_schedule(estimator.schedule).cluster_starts
    clusters = work.clusters[starts][number] if starts else None
    return TrainingTask(fold.train, fold.test, estimator.group_lasso, estimator.seed(), number, clusters)


def run_chunk(work, chunk, on_epoch=None):
    """Fit the models of a chunk and fill their tables.

    Parameters
    ----------
    work : Work
    chunk : list of (run, fold)
    on_epoch : callable, optional
        See `sbnn.training.train_stack`.

    Returns
    -------
    list of Fit
    """
    try:
        fits = _train_networks(work, chunk, on_epoch) if holds_networks(work, chunk) else _fit_others(work, chunk)
        for fit in fits:
            fit.tables = fit_tables(work.data, _seen(work, fit.setting, fit.fold), fit, work.keep)
    except Exception as error:
        named = ", ".join(f"{work.runs[run][0]!r} in fold {fold}" for run, fold in chunk[:3])
        error.add_note(f"while fitting {named}{' and others' if len(chunk) > 3 else ''}")
        raise
    return fits


def _seen(work, estimator, number):
    """Return what a model sees of a fold: the classes of cells in the place of genes, if it reads those."""
    fold = work.seen[number]
    if not isinstance(estimator, ClassMean):
        return fold
    return fold._replace(X=np.asarray(getattr(work.data, estimator.of))[:, None])


def _train_networks(work, chunk, on_epoch):
    """Train a stack of networks."""
    from sbnn.training import train_stack

    X, Y, tasks = _joint_tables([_task(work, run, fold) for run, fold in chunk], work.seen)
    settings = work.runs[chunk[0][0]][1].stack_settings()
    fits = []
    for (run, fold), network in zip(chunk, train_stack(X, Y, tasks, **settings, on_epoch=on_epoch), strict=True):
        fits.append(_adopted(work, run, fold, network))
    return fits


def _adopted(work, run, fold, network):
    """Fit of a trained network."""
    name, estimator = work.runs[run]
    model = clone(estimator).adopt(network, work.seen[fold].X, work.seen[fold].train)
    diverged = None if network.diverged_in is None else f"diverged in the stage {network.diverged_in!r}"
    return Fit(run, name, estimator, fold, model, feature_r2=network.feature_r2, problem=diverged)


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


def _fit_others(work, chunk):
    """Fit linear models of one fold, as a path where they are reduced-rank models."""
    number = chunk[0][1]
    settings = [(run, *work.runs[run]) for run, _ in chunk]
    first = settings[0][2]
    fold = _seen(work, first, number)
    X, Y = fold.X[fold.train], fold.Y[fold.train].astype(np.float64)
    if isinstance(first, ClassMean):
        return [Fit(run, name, estimator, number, clone(estimator).fit(X, Y)) for run, name, estimator in settings]
    X = X.astype(np.float64)
    if not isinstance(first, ReducedRankRegressor):
        complete = ~np.isnan(Y).any(axis=1)
        X, Y = X[complete], Y[complete]
        return [Fit(run, name, estimator, number, clone(estimator).fit(X, Y)) for run, name, estimator in settings]
    alphas = [estimator.alpha for *_, estimator in settings]
    path = dict(zip(alphas, reduced_rank_path(X, Y, alphas, first.rank, first.l1_ratio, first.solver), strict=True))
    fits = []
    for run, name, estimator in settings:
        sparse = path[estimator.alpha]
        final = relax(X, Y, sparse, estimator.alpha) if estimator.relaxed else sparse
        model = clone(estimator).adopt(final, sparse.selected, sparse.norms, X.mean(axis=0), np.nanmean(Y, axis=0))
        enough = sparse.selected.sum() >= sparse.W.shape[1]
        fits.append(Fit(run, name, estimator, number, model, has_score=bool(enough)))
    return fits


def pack_fit(fit):
    """Return a fit as plain values and arrays; models of other packages leave their tables only."""
    tables = {name: pack_table(table) for name, table in fit.tables.items()}
    return {"tables": tables, "problem": fit.problem, "model": _pack_model(fit)}


def _pack_model(fit):
    """Return what brings the model back: weights, or the rows of W that are not zero."""
    model = fit.model
    if is_network(fit.setting):
        names = ("weights_", "selected_", "gene_norms_", "x_mean_", "y_mean_")
        state = {name.rstrip("_"): getattr(model, name) for name in names}
        return {**state, "history": pack_table(model.history_), "feature_r2": fit.feature_r2}
    if isinstance(fit.setting, ReducedRankRegressor):
        state = {"W": model.W_[model.selected_], "V": model.V_}
        state |= {"selected": model.selected_, "gene_norms": model.gene_norms_}
        state |= {"x_mean": model.x_mean_, "y_mean": model.y_mean_}
        return {**state, "offset": model.intercept_ - model.y_mean_}
    return None


def unpack_fit(work, run, fold, content):
    """Return the fit that `pack_fit` packed, under the name and the number of the fold that it has here."""
    name, estimator = work.runs[run]
    state = content["model"]
    if state is None:
        fit = Fit(run, name, estimator, fold, None)
    elif is_network(estimator):
        from sbnn.training import TrainedNetwork

        network = TrainedNetwork(**{**state, "history": unpack_table(state["history"])})
        fit = _adopted(work, run, fold, network)
    else:
        fit = Fit(run, name, estimator, fold, _restored_linear(estimator, state))
    fit.problem = content["problem"]
    tables = {table: unpack_table(columns) for table, columns in content["tables"].items()}
    fit.tables = {table: columns.assign(model=name, fold=fold) for table, columns in tables.items()}
    return fit


def add_large_tables(work, fit):
    """Fill the large tables that are asked for and that a restored fit lacks; False where that needs another fit."""
    wanted = [name for name in work.keep if name not in fit.tables]
    if fit.model is None:
        wanted = [name for name in wanted if name != "latents" or hasattr(fit.setting, "transform")]
        if wanted:
            return False
    if wanted:
        found = fit_tables(work.data, _seen(work, fit.setting, fit.fold), fit, wanted)
        fit.tables |= {name: found[name] for name in wanted if name in found}
    fit.tables = {name: table for name, table in fit.tables.items() if name not in LARGE_TABLES or name in work.keep}
    return True


def _restored_linear(estimator, state):
    """Fitted reduced-rank model from its packed rows."""
    W = np.zeros((len(state["selected"]), state["V"].shape[1]))
    W[state["selected"]] = state["W"]
    kept = (state[name] for name in ("selected", "gene_norms", "x_mean", "y_mean"))
    return clone(estimator).adopt(ReducedRankFit(W, state["V"], state["offset"]), *kept)
