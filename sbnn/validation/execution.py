"""The execution of a cross-validation: a plan of jobs, chunks of jobs that are fitted together, and their fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from sbnn._checks import check_matrix
from sbnn.models.fit_arguments import group_numbers
from sbnn.models.gene_number import choose_number, chooses_number
from sbnn.models.latent_regressor import is_network
from sbnn.models.reduced_rank import ReducedRankRegressor, reduced_rank_path, relax
from sbnn.models.schedules import get_schedule
from sbnn.models.tasks import TrainedNetwork, TrainingTask, cut_stack, joint_tables
from sbnn.validation.baselines import ClassMean
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.folds import FoldView, donors_of, name_of_fold
from sbnn.validation.tables import fit_tables

if TYPE_CHECKING:
    from sbnn.models.bottleneck import SparseBottleneckRegressor


#: Fraction of an accelerator's memory that a stack may fill.
MEMORY_PART = 0.6


class Job(NamedTuple):
    """A model to be fitted in a fold, both given by their numbers."""

    model: int
    fold: int


class Plan(NamedTuple):
    """What all jobs of a cross-validation share. A chunk is a list of jobs that are fitted together.

    Attributes
    ----------
    data : PairedData
        Or only `Names`, in another process.
    models : list of (name, estimator)
        Unfitted.
    views : list of FoldView
        What the models of each fold see; None for folds of which there are no jobs.
    clusters : dict
        Starts of k-means -> clusters of the training cells of each fold.
    keep : collection of str
        Large tables to fill.
    layouts : dict
        (kind, number of coordinates) -> layout of the training cells of each fold.
    seeds : dict
        Job -> seed, of networks whose `random_state` is not a whole number (`draw_seeds`).
    fold_names : list of str
        What each fold is called in warnings and errors, if not by its number.
    """

    data: Any
    models: list[tuple[str, BaseEstimator]]
    views: list[FoldView]
    clusters: dict[int, list[np.ndarray]]
    keep: Collection[str]
    seeds: Mapping[Job, int] = MappingProxyType({})
    layouts: Mapping[tuple[str, int], list[np.ndarray]] = MappingProxyType({})
    fold_names: Sequence[str] = ()

    def name(self, job: Job) -> str:
        """Return the name of the model of a job."""
        return self.models[job.model][0]

    def estimator(self, job: Job) -> BaseEstimator:
        """Return the unfitted estimator of a job."""
        return self.models[job.model][1]

    def describe(self, job: Job) -> str:
        """Return the name of a job's model and what its fold is called."""
        return f"{self.name(job)!r} in {name_of_fold(job.fold, self.fold_names)}"

    def view(self, job: Job) -> FoldView:
        """Return what the model of a job sees of its fold: genes, classes of cells instead, or both."""
        view, estimator = self.views[job.fold], self.estimator(job)
        if isinstance(estimator, ClassRidge):
            return view._replace(X=estimator.add_classes(self.data, view.X))
        if not isinstance(estimator, ClassMean):
            return view
        return view._replace(X=np.asarray(getattr(self.data, estimator.of))[:, None])

    def task(self, job: Job) -> TrainingTask:
        """Return the training task of a network."""
        view, estimator = self.views[job.fold], self.estimator(job)
        schedule = get_schedule(estimator.schedule)
        starts, kind = schedule.cluster_starts, schedule.layout
        clusters = self.clusters[starts][job.fold] if starts else None
        seed = self.seeds[job] if job in self.seeds else estimator.seed()
        layout = self.layouts[kind, estimator.bottleneck_dim][job.fold] if kind else None
        return TrainingTask(view.train, view.test, estimator.group_lasso, seed, job.fold, clusters, layout=layout)

    def part(self, chunk: Sequence[Job]) -> Plan:
        """Return the plan reduced to what a chunk needs, to be sent to another process."""
        models, folds = ({job[place] for job in chunk} for place in (0, 1))

        def only(values, needed):
            return [value if number in needed else None for number, value in enumerate(values)]

        return self._replace(
            data=Names(*(getattr(self.data, field) for field in Names._fields)),
            models=only(self.models, models),
            views=only(self.views, folds),
            clusters={starts: only(clusters, folds) for starts, clusters in self.clusters.items()},
            layouts={kind: only(layouts, folds) for kind, layouts in self.layouts.items()},
            seeds={job: self.seeds[job] for job in chunk if job in self.seeds},
            fold_names=only(self.fold_names, folds),
        )


def draw_seeds(models: Sequence[tuple[str, BaseEstimator]], n_folds: int) -> dict[Job, int]:
    """Draw, in the order of the jobs, the seeds of networks whose `random_state` is None or a RandomState."""
    return {
        Job(model, fold): estimator.seed()
        for model, (_, estimator) in enumerate(models)
        if is_network(estimator) and not isinstance(estimator.random_state, Integral)
        for fold in range(n_folds)
    }


class Names(NamedTuple):
    """The names in the data that fits need: for their tables, and donors for the choice of a number of genes."""

    gene_names: np.ndarray
    feature_names: np.ndarray
    cell_names: np.ndarray
    cell_types: np.ndarray | None
    cell_families: np.ndarray | None
    donors: np.ndarray | None


@dataclass
class Fit:
    """The outcome of a job.

    Attributes
    ----------
    job : Job
    name : str
        Of the model.
    estimator : estimator
        Unfitted.
    model : estimator or None
        Fitted; None if the fit was restored without its model.
    has_score : bool
        Whether its predictions are to be scored.
    feature_r2 : array, shape (n_features,), optional
        R2 of each feature on the test cells, of networks.
    tables : dict of DataFrames
    problem : str, optional
        Why it has no R2.
    """

    job: Job
    name: str
    estimator: BaseEstimator
    model: BaseEstimator | None
    has_score: bool = True
    feature_r2: np.ndarray | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    problem: str | None = None


def cut_into_chunks(
    plan: Plan, jobs: Iterable[Job], stack_size: Callable[[BaseEstimator], int] = lambda _: 1
) -> list[list[Job]]:
    """Return lists of jobs that are fitted together, stacks of networks first.

    Networks of equal shape and with the same number of steps per epoch form stacks, and those that differ only in their
    number of genes share a place there; linear models that differ only in alpha and relaxation form a path.

    Parameters
    ----------
    plan : Plan
    jobs : list of Job
        What is to be fitted.
    stack_size : callable
        Returns the number of networks in a stack for an estimator; those that share a place count once.

    Returns
    -------
    list of list of Job
    """
    shapes: dict[tuple, list[Job]] = defaultdict(list)
    others: dict[tuple, list[Job]] = defaultdict(list)
    for job in jobs:
        estimator = plan.estimator(job)
        if is_network(estimator):
            shapes[stack_shape(plan, job)].append(job)
        elif isinstance(estimator, ReducedRankRegressor):
            others["path", estimator.rank, estimator.l1_ratio, estimator.solver, job.fold].append(job)
        else:
            others["alone", *job].append(job)
    stacks: dict[tuple, list[list[Job]]] = defaultdict(list)
    for shape, networks in shapes.items():
        for place in _places(plan, networks):
            stacks[shape, tuple(_numbers(plan, place))].append(place)
    cut = []
    for stack in stacks.values():
        estimator = plan.estimator(stack[0][0])
        # What chooses its number of genes is alone: those of a stack have the same numbers.
        size = 1 if chooses_number(estimator) else stack_size(estimator) // estimator.count_trained()
        cut += [[job for place in part for job in place] for part in cut_stack(stack, max(1, size))]
    return [*cut, *others.values()]


def stack_shape(plan: Plan, job: Job) -> tuple[Any, ...]:
    """Return what networks must share to be stacked: arguments of `train_numbers`, steps per epoch, number of genes."""
    estimator, n_genes = plan.estimator(job), plan.views[job.fold].X.shape[1]
    settings = [value for name, value in estimator.stack_settings().items() if name != "n_selected"]
    chooses = chooses_number(estimator)
    return (*settings, chooses, plan.task(job).steps_per_epoch(estimator.schedule), n_genes)


def chunk_shape(plan: Plan, chunk: Sequence[Job]) -> tuple[Any, ...]:
    """Return what stacks share that are compiled alike, whatever their size: `stack_shape`, and numbers of genes."""
    return stack_shape(plan, chunk[0]), tuple(_numbers(plan, _places(plan, chunk)[0]))


def count_epochs(plan: Plan, chunk: Sequence[Job]) -> int:
    """Return the epochs of a stack of networks, times its networks, as `run_chunk` tells them to `on_epoch`."""
    places, schedule = _places(plan, chunk), get_schedule(plan.estimator(chunk[0]).schedule)
    *first, last = (stage.epochs for stage in schedule)
    return count_trained(plan, chunk) * (sum(first) + last * len(places[0]))


def count_trained(plan: Plan, chunk: Sequence[Job]) -> int:
    """Return how many networks are trained at once for a stack."""
    return len(_places(plan, chunk)) * plan.estimator(chunk[0]).count_trained()


def _places(plan: Plan, jobs: Iterable[Job]) -> list[list[Job]]:
    """Jobs of networks of one `stack_shape`, those together that differ in nothing but their number of genes."""
    places: dict[tuple, list[Job]] = defaultdict(list)
    for job in jobs:
        task = plan.task(job)
        places[job.fold, task.group_lasso, task.random_state].append(job)
    return list(places.values())


def _numbers(plan, jobs):
    """Return `n_selected` of each job."""
    return [plan.estimator(job).n_selected for job in jobs]


def fitting_stack(plan: Plan, estimator: SparseBottleneckRegressor, memory: int) -> int:
    """Return how many networks of an estimator fit into the memory of an accelerator.

    Weights, gradient and Adam's moments are counted twice, because a step creates new ones; in addition, for every
    cell, the activations before the bottleneck, which the frozen stage keeps, and those of the widest layer.

    Parameters
    ----------
    plan : Plan
    estimator : SparseBottleneckRegressor
    memory : int
        Bytes.

    Returns
    -------
    int
        At least 1.
    """
    from sbnn.models.network import layer_sizes, network_layers

    n_cells, n_genes = plan.data.n_cells, max(view.X.shape[1] for view in plan.views if view is not None)
    layers = network_layers(plan.data.n_features, estimator.bottleneck_dim, tuple(estimator.hidden))
    sizes = layer_sizes(n_genes, layers)
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    bytes_each = 4 * (8 * n_weights + n_cells * (estimator.hidden[-1] + 2 * max(sizes[1:])))
    return max(1, int(MEMORY_PART * memory / bytes_each))


def holds_networks(plan: Plan, chunk: Sequence[Job]) -> bool:
    """Whether a chunk is a stack of networks."""
    return is_network(plan.estimator(chunk[0]))


def run_chunk(
    plan: Plan, chunk: Sequence[Job], on_epoch: Callable[[str, np.ndarray | None], object] | None = None
) -> list[Fit]:
    """Fit the models of a chunk and fill their tables.

    Parameters
    ----------
    plan : Plan
    chunk : list of Job
    on_epoch : callable, optional
        See `sbnn.models.training.train_stack`.

    Returns
    -------
    list of Fit
    """
    try:
        fits = _train_networks(plan, chunk, on_epoch) if holds_networks(plan, chunk) else _fit_others(plan, chunk)
        for fit in fits:
            fit.tables = fit_tables(plan.data, plan.view(fit.job), fit, plan.keep)
    except Exception as error:
        named = ", ".join(map(plan.describe, chunk[:3]))
        error.add_note(f"while fitting {named}{' and others' if len(chunk) > 3 else ''}")
        raise
    return fits


def _train_networks(plan, chunk, on_epoch):
    """Train a stack of networks, and each to several numbers of genes if its jobs differ in these."""
    from sbnn.models.training import train_numbers

    places = _places(plan, chunk)
    X, Y, tasks = joint_tables([plan.task(place[0]) for place in places], plan.views)
    settings = plan.estimator(chunk[0]).stack_settings()
    del settings["n_selected"]
    numbers = _numbers(plan, places[0])
    if chooses_number(plan.estimator(chunk[0])):
        numbers = [_choose_number(plan, chunk[0])] * len(numbers)
    trained = train_numbers(X, Y, tasks, numbers, **settings, on_epoch=on_epoch)
    jobs = zip(*places, strict=True)  # of each number
    fits = [
        adopt_network(plan, job, network)
        for same_number, networks in zip(jobs, trained, strict=True)
        for job, network in zip(same_number, networks, strict=True)
    ]
    return sorted(fits, key=lambda fit: chunk.index(fit.job))


def _choose_number(plan, job):
    """Let a network choose its number of genes on the training cells of its fold, with their donors kept together."""
    view = plan.view(job)
    X, Y = (check_matrix(table[view.train], "values", np.float32, allow_nan=True) for table in (view.X, view.Y))
    groups = group_numbers(donors_of(plan.data, view.train), len(X))
    return choose_number(plan.estimator(job), X, Y, plan.task(job).random_state, groups)


def adopt_network(plan: Plan, job: Job, network: TrainedNetwork) -> Fit:
    """Return the fit of a trained network."""
    view = plan.views[job.fold]
    model = clone(plan.estimator(job)).adopt(network, view.X, view.train)
    diverged = None if network.diverged_in is None else f"diverged in the stage {network.diverged_in!r}"
    return _fit(plan, job, model, feature_r2=network.feature_r2, problem=diverged)


def _fit(plan, job, model, **more):
    """Fit of a job."""
    return Fit(job, plan.name(job), plan.estimator(job), model, **more)


def _fit_others(plan, chunk):
    """Fit models of one fold that are not networks."""
    view, first = plan.view(chunk[0]), plan.estimator(chunk[0])
    X, Y = view.X[view.train], view.Y[view.train].astype(np.float64)
    if isinstance(first, ReducedRankRegressor):
        return _fit_path(plan, chunk, X.astype(np.float64), Y)
    if not isinstance(first, ClassMean):
        complete = ~np.isnan(Y).any(axis=1)
        X, Y = X[complete].astype(np.float64), Y[complete]
    return [_fit(plan, job, clone(plan.estimator(job)).fit(X, Y)) for job in chunk]


def _fit_path(plan, chunk, X, Y):
    """Fit reduced-rank models that differ in alpha and relaxation, larger alphas first."""
    first, alphas = plan.estimator(chunk[0]), [plan.estimator(job).alpha for job in chunk]
    path = dict(zip(alphas, reduced_rank_path(X, Y, alphas, first.rank, first.l1_ratio, first.solver), strict=True))
    fits = []
    for job in chunk:
        estimator = plan.estimator(job)
        sparse = path[estimator.alpha]
        final = relax(X, Y, sparse, estimator.alpha) if estimator.relaxed else sparse
        model = clone(estimator).adopt(final, sparse.selected, sparse.norms, X.mean(axis=0), np.nanmean(Y, axis=0))
        fits.append(_fit(plan, job, model, has_score=sparse.reaches_rank))
    return fits
