"""How many genes: networks pruned to each of several numbers, and the one-standard-error rule that chooses one."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_matrix, check_whole, preview, warn
from sbnn.models.clusters import fold_clusters
from sbnn.models.fit_arguments import relative_weights
from sbnn.models.inner_folds import inner_folds
from sbnn.models.layouts import fold_layouts
from sbnn.models.r2 import r2
from sbnn.models.schedules import Schedule, get_schedule
from sbnn.models.tasks import STACK_SIZE, Tables, TrainingTask, cut_stack, joint_tables

#: `n_selected` of a network that chooses the number of its genes when it is fitted.
AUTO = "auto"
#: Numbers of genes to choose from; of these, those that the data have.
N_GENES = (5, 10, 15, 20, 25, 30, 40, 60, 100)


class Unfitted(Protocol):
    """What is read of a `SparseBottleneckRegressor`."""

    group_lasso: float

    def stack_settings(self) -> dict[str, Any]: ...  # noqa: D102
    def count_trained(self) -> int: ...  # noqa: D102


class InnerFold(NamedTuple):
    """Values of all cells, and the rows of a fold's training and test cells."""

    X: np.ndarray
    Y: np.ndarray
    train: np.ndarray
    test: np.ndarray


class NumberFit(NamedTuple):
    """A network, or an ensemble, pruned to a number of genes in a fold.

    `r2_test` is NaN if training diverged; `selected` (n_genes,) are its genes.
    """

    fold: int
    n_selected: int
    r2_test: float
    selected: np.ndarray


class NumberChoice(NamedTuple):
    """What the one-standard-error rule chooses.

    `summary` has the columns `n_selected` (ascending), `r2_mean` and `r2_se`; `best` is the number with the largest
    mean, `recommended` the smallest within one standard error of it.
    """

    summary: pd.DataFrame
    best: int
    recommended: int


def chooses_number(estimator: object) -> bool:
    """Whether an estimator has `n_selected="auto"`."""
    return _is_auto(getattr(estimator, "n_selected", None))


def _is_auto(n_selected):
    """Whether this is the text "auto"; other objects may compare as arrays do."""
    return isinstance(n_selected, str) and n_selected == AUTO


def check_n_selected(n_selected: object, schedule: Schedule, n_genes: int | None = None) -> None:
    """Raise ValueError unless a network with this schedule can have `n_selected`.

    Parameters
    ----------
    n_selected : int, "auto" or None
    schedule : Schedule
    n_genes : int, optional
        Number of genes in the data.

    Raises
    ------
    ValueError
        No such number; "auto" for a schedule that does not prune.
    """
    prunes = any(stage.name == "pruned" for stage in schedule)
    if _is_auto(n_selected):
        check_prunes(schedule, 'n_selected="auto"')
    elif isinstance(n_selected, str):
        raise ValueError(f'n_selected must be a whole number, "auto" or None, got {n_selected!r}')
    elif n_selected is not None:
        number = check_whole(n_selected, "n_selected")
        if n_genes is not None and number > n_genes and prunes:
            raise ValueError(f"n_selected must be between 1 and the {n_genes} genes, got {n_selected}")


def check_prunes(schedule: Schedule, what: str) -> None:
    """Raise ValueError unless the schedule has a stage "pruned", without which `what` has no genes to choose."""
    names = [stage.name for stage in schedule]
    if "pruned" not in names:
        raise ValueError(
            f'{what} chooses how many genes the stage "pruned" keeps, and the schedule has none (only '
            f'{", ".join(names)}): give one that ends with "pruned"'
        )


def numbers_within(n_genes: int) -> list[int]:
    """Return those of N_GENES that do not exceed the number of genes in the data; if there are none, this number."""
    return [number for number in N_GENES if number <= n_genes] or [n_genes]


def choose_number(
    network: Unfitted,
    X: np.ndarray,
    Y: np.ndarray,
    random_state: int,
    groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    layout: np.ndarray | None = None,
) -> int:
    """Choose how many genes a network keeps, on inner folds of its training cells.

    Parameters
    ----------
    network : SparseBottleneckRegressor
        Unfitted; its settings.
    X, Y : arrays, shapes (n_cells, n_genes) and (n_cells, n_features)
        The training cells; used as they are, centred on the training cells of each inner fold.
    random_state : int
        Seed of the folds and of the networks.
    groups : array, shape (n_cells,), optional
        Cells of one group are kept together.
    weights : array, shape (n_cells,), optional
        Weights in training and in R2; cells of weight 0 take no part.
    layout : array, shape (n_cells, bottleneck_dim), optional
        Coordinates of one's own to pre-train on.

    Returns
    -------
    int
        `one_standard_error` among `numbers_within` the data.

    Raises
    ------
    ValueError
        Too few cells or groups, a feature without values in the training cells of an inner fold, or no number has an R2
        in every fold.
    """
    numbers = numbers_within(X.shape[1])
    if len(numbers) == 1:
        return numbers[0]
    rows = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    folds = inner_folds(len(rows), random_state, None if groups is None else groups[rows])
    views = [InnerFold(X, Y, rows[train], rows[test]) for train, test in folds]
    fits = follow_numbers(network, views, numbers, random_state, weights, layout)
    return one_standard_error(scores_of(fits)).recommended


def follow_numbers(
    network: Unfitted,
    views: Sequence[Tables],
    numbers: Sequence[int],
    random_state: int,
    weights: np.ndarray | None = None,
    layout: np.ndarray | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> list[NumberFit]:
    """Train the stages before pruning once per fold; then prune a copy to each number, and train the last stage.

    What is trained for a number is what `sbnn.cross_validate(..., within_fold=True)` trains with this `n_selected`.

    Parameters
    ----------
    network : SparseBottleneckRegressor
        Unfitted; its `n_selected` is not used.
    views : list of FoldView
        What each fold sees. Clusters and layouts are those of its training cells.
    numbers : sequence of int
    random_state : int
    weights : array, shape (n_cells,), optional
        Of the rows of all views.
    layout : array, shape (n_cells, bottleneck_dim), optional
        Of the rows of all views; instead of those of the schedule's name.
    advance : callable
        Called with a number of finished networks.

    Returns
    -------
    list of NumberFit
        Fold by fold, numbers in ascending order.

    Raises
    ------
    ValueError
        A feature without values among the training cells of a fold, or a stage without training cells.

    Warns
    -----
    UserWarning
        A network diverged: its R2 is NaN.
    """
    settings = network.stack_settings()
    schedule = settings["schedule"] = get_schedule(settings["schedule"])
    _check_observed(views)
    starts, kind = schedule.cluster_starts, schedule.layout
    none: list[Any] = [None] * len(views)
    clusters = fold_clusters(views, starts, within_fold=True) if starts else none
    layouts = none
    if kind is not None:
        own = None if layout is None else [layout[view.train] for view in views]
        layouts = fold_layouts(views, kind, settings["bottleneck_dim"]) if own is None else own
    stacks: dict[tuple[int, ...], list[TrainingTask]] = defaultdict(list)
    for fold, view in enumerate(views):
        own_weights = relative_weights(None if weights is None else weights[view.train], len(view.train))
        task = TrainingTask(
            view.train,
            view.test,
            network.group_lasso,
            random_state,
            fold,
            clusters[fold],
            cell_weights=own_weights,
            layout=layouts[fold],
        )
        stacks[task.steps_per_epoch(schedule)].append(task)
    size = max(1, STACK_SIZE // network.count_trained())
    fits = []
    for stack in (part for whole in stacks.values() for part in cut_stack(whole, size)):
        fits += _follow_stack(settings, stack, views, sorted(numbers), weights, advance)
    return sorted(fits, key=lambda fit: fit[:2])


def _check_observed(views):
    """Raise ValueError if a feature has no value among the training cells of a fold."""
    for fold, view in enumerate(views):
        empty = np.isnan(view.Y[view.train]).all(axis=0)
        if empty.any():
            raise ValueError(
                f"fold {fold}, on which the number of genes is chosen, has no training cell with a value of the "
                f"feature(s) in column {preview(np.flatnonzero(empty))} of Y: leave them out, or give n_selected"
            )


def _follow_stack(settings, stack, views, numbers, weights, advance):
    """Train the networks of several folds at once; return their NumberFits."""
    from sbnn.models.ensembles import count_members
    from sbnn.models.network import network_layers
    from sbnn.models.training import train_numbers

    X, Y, tasks = joint_tables(stack, views)
    layers = network_layers(Y.shape[1], settings["bottleneck_dim"], settings["hidden"])
    n_trained = len(tasks) * count_members(settings["n_networks"], settings["schedule"])
    settings = {name: value for name, value in settings.items() if name != "n_selected"}
    fits = []
    for number, networks in zip(numbers, train_numbers(X, Y, tasks, numbers, **settings), strict=True):
        for task, network in zip(tasks, networks, strict=True):
            score = _held_out_r2(network, layers, views[task.fold], weights, number, task.fold)
            fits.append(NumberFit(task.fold, number, score, network.selected))
        advance(n_trained)
    return fits


def _held_out_r2(network, layers, view, weights, number, fold):
    """R2 of a network, or of the mean prediction of an ensemble, on the test cells of its fold."""
    from sbnn.models.ensembles import predict_mean

    if network.diverged_in is not None:
        diverged = f"training diverged in fold {fold}, in the stage {network.diverged_in!r}"
        warn(f"with {number} genes, {diverged}: its R2 is NaN")
        return np.nan
    cells = check_matrix(view.X[view.test], "X", np.float32)[:, network.selected] - network.x_mean[network.selected]
    members = [weight[None] for weight in network.weights] if network.members is None else network.members
    predictions = predict_mean(layers, members, cells) + network.y_mean
    return r2(view.Y[view.test], predictions, network.y_mean, None if weights is None else weights[view.test])


def scores_of(fits: Sequence[NumberFit]) -> pd.DataFrame:
    """Return R2 as a table: `fold`, `n_selected`, `r2_test`."""
    return pd.DataFrame([fit[:3] for fit in fits], columns=list(NumberFit._fields[:3]))


def within_one_error(means: npt.ArrayLike, errors: npt.ArrayLike) -> np.ndarray:
    """Say which scores are within one standard error of the best: of the largest mean, whose own error counts.

    Parameters
    ----------
    means, errors : arrays, shape (n_candidates,)
        Mean scores, the larger the better, and their standard errors. Not all means may be NaN; an error that is NaN
        counts as 0.

    Returns
    -------
    bool array, shape (n_candidates,)
        False where the mean is NaN.
    """
    means, errors = np.asarray(means, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    best = int(np.nanargmax(means))
    return means >= means[best] - np.nan_to_num(errors[best])


def one_standard_error(scores: pd.DataFrame) -> NumberChoice:
    """Choose the smallest number of genes whose mean R2 is within one standard error of the best.

    Parameters
    ----------
    scores : DataFrame
        `fold`, `n_selected`, `r2_test`. A number without an R2 (NaN) in one of the folds is not chosen: its mean would
        be one over other cells.

    Returns
    -------
    NumberChoice
        The standard error is the SD of R2 over folds (ddof 1), divided by the root of their number; that of the best
        number counts.

    Raises
    ------
    ValueError
        Fewer than two folds, or no number has an R2 in every fold.

    References
    ----------
    Breiman, Friedman, Olshen & Stone 1984, Classification and regression trees, section 3.4.3.
    """
    n_folds = scores["fold"].nunique()
    if n_folds < 2:
        raise ValueError(f"a standard error needs at least 2 folds, got {n_folds}")
    table = scores.pivot(index="n_selected", columns="fold", values="r2_test").sort_index()
    mean = table.mean(axis=1, skipna=False)
    error = table.std(axis=1, skipna=False) / np.sqrt(n_folds)
    if mean.isna().all():
        raise ValueError(
            "no number of genes has an R2 in every fold: training diverged (z-score X and Y, or lower the learning "
            "rate of the schedule), or the features of a fold's test cells do not vary"
        )
    best = int(mean.idxmax())
    recommended = int(mean.index[within_one_error(mean, error)].min())
    summary = pd.DataFrame({"r2_mean": mean, "r2_se": error}).reset_index()
    return NumberChoice(summary, best, recommended)
