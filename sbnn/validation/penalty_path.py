"""Exact sparsity: a path of growing penalties along which genes leave the network one after another.

The group lasso acts through its proximal map (`sbnn.models.optimisers`), so that rows of the first kernel become
exactly zero and the number of genes follows from the penalty. A gene that has left does not return and is dropped from
the computation: every step of the path starts from the network of the previous step, and steps become cheaper.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from sbnn._checks import check_targets, check_whole, warn
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.clusters import fold_clusters
from sbnn.models.latent_regressor import is_network
from sbnn.models.layouts import feature_layout
from sbnn.models.schedules import get_schedule
from sbnn.models.tasks import STACK_SIZE, cut_stack
from sbnn.validation.dispatch import hide_bar
from sbnn.validation.folds import FoldChoice, make_folds, view_fold

if TYPE_CHECKING:
    from sbnn.models.bottleneck import SparseBottleneckRegressor
    from sbnn.models.tasks import TrainingTask


#: Streams of random numbers for the steps along a path, and for the training without penalty at each.
_STEPS, _REFITS = 10_000, 20_000
#: Default penalties of a path.
GROUP_LASSO_PATH = tuple(np.geomspace(0.01, 1.0, 20).round(5).tolist())


@dataclass
class RegularisationPath:
    """A path of penalties in every fold.

    Attributes
    ----------
    scores : DataFrame
        `fold`, `group_lasso`, `n_selected` (genes whose rows are not zero), `r2_train`, `r2_test` under the penalty,
        and `r2_train_refitted`, `r2_test_refitted` after training without it on the remaining genes.
    selected : DataFrame
        `fold`, `group_lasso`, `gene`, `norm`: the remaining genes.
    """

    scores: pd.DataFrame
    selected: pd.DataFrame

    def ranking(self, fold: int = 0) -> pd.Series:
        """Return the genes of a fold, those that remain longest first, ties in the order of their norms.

        Parameters
        ----------
        fold : int

        Returns
        -------
        Series
            Largest penalty under which a gene remains, by gene.
        """
        rows = self.selected[self.selected["fold"] == fold].sort_values(["group_lasso", "norm"])
        if not len(rows):
            raise ValueError(
                f"the path has no fold {fold!r}, or no gene in it: folds are {sorted(set(self.scores['fold']))}"
            )
        last = rows.drop_duplicates("gene", keep="last")[::-1]
        return last.set_index("gene")["group_lasso"]

    def choose(self, n_selected: int, fold: int = 0) -> list[str]:
        """Return the names of a given number of genes: the first in the ranking of a fold.

        Parameters
        ----------
        n_selected : int
        fold : int

        Returns
        -------
        list of str

        Raises
        ------
        ValueError
            The path starts with fewer genes.
        """
        ranking = self.ranking(fold)
        if not 1 <= check_whole(n_selected, "n_selected") <= len(ranking):
            raise ValueError(
                f"n_selected must be between 1 and the {len(ranking)} genes that the path starts with, got "
                f"{n_selected}: begin with a smaller penalty"
            )
        return ranking.index[:n_selected].tolist()


def regularisation_path(
    data: PairedData,
    estimator: SparseBottleneckRegressor | None = None,
    group_lasso: Sequence[float] = GROUP_LASSO_PATH,
    folds: FoldChoice = "paper",
    epochs: int = 5,
    refit_epochs: int = 10,
    progress: bool = True,
) -> RegularisationPath:
    """Train networks along growing penalties, from dense to sparse, in every fold.

    The stages of the estimator's schedule before pruning come first, at the smallest penalty; then, penalty by penalty,
    `epochs` of proximal steps from the end of the previous step. In addition, at each penalty, a copy of the network is
    trained on the remaining genes without penalty, with the settings of the schedule's last stage.

    Parameters
    ----------
    data : PairedData
    estimator : SparseBottleneckRegressor, optional
        Provides bottleneck, hidden layers, schedule and seed; its `group_lasso`, `n_selected` and the `n_starts`
        of its schedule are not used: a path follows single networks.
    group_lasso : sequence of float
        Penalties in increasing order.
    folds : see `sbnn.validation.folds.make_folds`
        "all" trains one path on all cells.
    epochs : int
        Epochs at every penalty.
    refit_epochs : int
        Epochs without penalty at the end of every step; 0 omits the refit (its R2 is NaN).
    progress : bool
        Show a progress bar.

    Returns
    -------
    RegularisationPath

    Raises
    ------
    ValueError
        Penalties do not increase or are negative, fewer than one epoch, or a schedule that does not fine-tune.

    References
    ----------
    Lemhadri et al. 2021, LassoNet (JMLR 22:127), for the path from dense to sparse; the proximal map of the group lasso
    instead of their hierarchy.
    """
    from sbnn.models.bottleneck import SparseBottleneckRegressor
    from sbnn.models.tasks import TrainingTask

    check_paired(data)
    estimator = SparseBottleneckRegressor() if estimator is None else estimator
    penalties = _check_path(group_lasso, epochs, refit_epochs, estimator)
    schedule = get_schedule(estimator.schedule)
    splits = make_folds(data, folds)
    clusters: Sequence[np.ndarray | None] = [None] * len(splits)
    if schedule.cluster_starts:
        clusters = fold_clusters([view_fold(data, split) for split in splits], schedule.cluster_starts)
    check_targets(data.Y, np.float32, data.feature_names, data.cell_names)
    path = _Path(data.X, data.Y, estimator, penalties, epochs, refit_epochs)
    stacks = defaultdict(list)
    for number, (split, own) in enumerate(zip(splits, clusters, strict=True)):
        task = TrainingTask(split.train, split.test, random_state=estimator.seed(), fold=number, clusters=own)
        if schedule.layout is not None:
            task = replace(task, layout=feature_layout(data.Y[split.train], schedule.layout, estimator.bottleneck_dim))
        stacks[path.shape(task)].append(task)
    cut = [part for stack in stacks.values() for part in cut_stack(stack, STACK_SIZE)]
    with tqdm(total=len(splits) * len(penalties), desc="networks x penalties", disable=hide_bar(progress)) as bar:
        steps = [step for stack in cut for step in path.follow(stack, bar.update)]
    scores, selected = (pd.concat(tables, ignore_index=True) for tables in zip(*steps, strict=True))
    order = ["fold", "group_lasso"]
    return RegularisationPath(
        scores.sort_values(order, ignore_index=True),
        _named(selected, data.gene_names).sort_values(order, kind="stable", ignore_index=True),
    )


def _check_path(group_lasso, epochs, refit_epochs, estimator):
    """Check the arguments of a path; return the penalties as an array."""
    check_whole(epochs, "epochs")
    check_whole(refit_epochs, "refit_epochs", least=0)
    try:
        penalties = np.asarray(group_lasso, dtype=float)
    except (TypeError, ValueError):
        penalties = np.empty(0)
    if penalties.ndim != 1 or not len(penalties) or penalties[0] < 0 or not (np.diff(penalties) > 0).all():
        raise ValueError(f"group_lasso should be increasing penalties, none negative, got {group_lasso!r}")
    if not is_network(estimator) or isinstance(estimator, type):
        raise ValueError(f"estimator should be a SparseBottleneckRegressor, got {estimator!r}")
    estimator.check_settings()
    if estimator.n_networks != 1:
        raise ValueError(f"a path follows single networks: n_networks must be 1, got {estimator.n_networks}")
    names = [stage.name for stage in get_schedule(estimator.schedule)]
    if "finetuned" not in names:
        raise ValueError(f'estimator needs a schedule with a stage "finetuned", got {", ".join(names)}')
    return penalties


def _named(rows, gene_names):
    """Replace the numbers of genes with their names."""
    return rows.assign(gene=gene_names[rows["gene"].to_numpy()])


class _Path:
    """What all stacks of a path share."""

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        estimator: SparseBottleneckRegressor,
        penalties: np.ndarray,
        epochs: int,
        refit_epochs: int,
    ):
        self.X, self.Y, self.estimator, self.penalties = X, Y, estimator, penalties
        stages = list(get_schedule(estimator.schedule))
        self.start = [
            replace(stage, proximal=stage.name == "finetuned" and not stage.freeze_hidden, evaluate_every=stage.epochs)
            for stage in stages
            if stage.name != "pruned"
        ]
        last, final = self.start[-1], stages[-1]
        self.step = replace(
            last, epochs=epochs, evaluate_every=epochs, decay="constant", proximal=True, freeze_hidden=False
        )
        # Proximal with a penalty of zero, so that only one function is compiled.
        self.refit = replace(
            final,
            name="finetuned",
            n_starts=1,
            epochs=max(1, refit_epochs),
            evaluate_every=max(1, refit_epochs),
            proximal=True,
        )
        self.refits = refit_epochs > 0

    def shape(self, task: TrainingTask) -> tuple[int, ...]:
        """Return the number of steps per epoch in every stage: networks can be stacked if these agree."""
        return task.steps_per_epoch(self.start) + task.steps_per_epoch([self.refit])

    def follow(
        self, tasks: Sequence[TrainingTask], advance: Callable[[int], object]
    ) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Train a stack along the path; yield (scores, genes) of every step."""
        from sbnn.models.network import network_layers
        from sbnn.models.stack_run import StackRun
        from sbnn.models.tasks import check_stack

        check_stack(self.X, self.Y, tasks, [self.step], self.X.shape[1])
        layers = network_layers(self.Y.shape[1], self.estimator.bottleneck_dim, tuple(self.estimator.hidden))
        run = StackRun(self.X, self.Y, tasks, layers, self.estimator.ridge, hide_zero_genes=True)
        for stream, stage in enumerate(self.start):
            run.step(stage, stream, group_lasso=float(self.penalties[0]))
        for number, penalty in enumerate(map(float, self.penalties)):
            penalised = run.step(self.step, _STEPS + number, group_lasso=penalty)
            norms = run.gene_norms()
            run.keep_largest(active_size((norms > 0).sum(axis=1).max(), self.X.shape[1]))
            refitted = run.fork().step(self.refit, _REFITS + number, group_lasso=0.0) if self.refits else None
            yield self._rows([task.fold for task in tasks], penalty, norms, penalised, refitted)
            advance(len(tasks))
        for task, name in zip(tasks, run.diverged_in, strict=True):
            if name is not None:
                warn(f"the path of fold {task.fold} diverged in the stage {name!r}: from then on its R2 is NaN")

    def _rows(self, folds, penalty, norms, penalised, refitted):
        """Tables of one step, from the scores under the penalty and after training without it (None: not done)."""
        scores = pd.DataFrame({
            "fold": folds,
            "group_lasso": penalty,
            "n_selected": (norms > 0).sum(axis=1),
            "r2_train": penalised.r2_train,
            "r2_test": penalised.r2_test,
            "r2_train_refitted": np.nan if refitted is None else refitted.r2_train,
            "r2_test_refitted": np.nan if refitted is None else refitted.r2_test,
        })  # fmt: skip
        network, gene = np.nonzero(norms)
        genes = {"fold": np.take(folds, network), "group_lasso": penalty, "gene": gene, "norm": norms[network, gene]}
        return scores, pd.DataFrame(genes)


def active_size(n_active: int, n_genes: int, smallest: int = 32) -> int:
    """Return how many genes are kept in the computation: n_genes halved as long as all active genes still fit.

    Few sizes mean few compilations.
    """
    size = n_genes
    while size // 2 >= max(n_active, min(smallest, n_genes)):
        size //= 2
    return size
