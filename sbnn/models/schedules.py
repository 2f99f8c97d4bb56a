"""Training schedules as data: what is trained, on what, for how long and how fast."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sbnn._checks import check_choice, check_flag, check_number, check_whole
from sbnn.models.layouts import LAYOUTS

STAGE_NAMES = ("pretrained", "frozen", "finetuned", "pruned")
DECAYS = ("constant", "cosine")
#: Epochs that one call of a compiled function trains, with R2 recorded in between: a call takes 3 ms. They are fewer if
#: the number of records has no such divisor, more if R2 is recorded less often.
EPOCHS_AT_ONCE = 10


@dataclass(frozen=True)
class Stage:
    """One stage of training; each starts with a fresh Adam state and with the weights of the last epoch before it.

    Attributes
    ----------
    name : {"pretrained", "frozen", "finetuned", "pruned"}
        State of the network after the stage. "pretrained" learns k-means clusters of the features (softmax,
        cross-entropy), or a layout; the others learn the features (mean squared error). "pruned" first drops all genes
        but those with the largest row norms, and trains without group lasso.
    epochs : int
    learning_rate : float
    freeze_hidden : bool
        The hidden layers before the bottleneck keep their weights.
    cell_fraction : float
        Leading fraction of the training cells that is used.
    batch_size : int
    cluster_starts : int
        Number of starts of the k-means that "pretrained" learns from; the best is kept.
    decay : {"constant", "cosine"}
        Whether the learning rate is constant, or falls to zero along half a cosine, step by step.
    input_dropout : float
        Probability with which each gene of each cell is set to its mean in a training step, while the others are
        scaled up (Srivastava et al. 2014); not possible in a stage that freezes the hidden layers.
    proximal : bool
        The group lasso acts through its proximal map after every step, which makes genes exactly zero, instead of
        through its gradient ("finetuned" only).
    evaluate_every : int
        R2 is recorded whenever this many epochs have passed, and after the last epoch.
    layout : {"pca", "tsne"}, optional
        "pretrained" trains the bottleneck, and the layers before it, to give every training cell the coordinates of
        this layout of the features (`sbnn.models.layouts.feature_layout`), instead of clusters.
    n_starts : int
        Networks that differ in their seed and choose the genes of "pruned" together, by their mean norms. All are
        pruned; a further network learns the mean of their maps and is kept (`sbnn.models.consensus`). An ensemble
        chooses among its own networks.
    """

    name: str
    epochs: int
    learning_rate: float
    freeze_hidden: bool = False
    cell_fraction: float = 1.0
    batch_size: int = 32
    cluster_starts: int = 1000
    decay: str = "constant"
    input_dropout: float = 0.0
    proximal: bool = False
    evaluate_every: int = 1
    layout: str | None = None
    n_starts: int = 1

    def __post_init__(self) -> None:
        """Check name and numbers."""
        check_choice(self.name, STAGE_NAMES, "stage")
        for number in ("epochs", "batch_size", "cluster_starts", "evaluate_every", "n_starts"):
            check_whole(getattr(self, number), f"{number} of stage {self.name!r}")
        check_number(self.learning_rate, f"learning_rate of stage {self.name!r}", above=True)
        check_number(self.cell_fraction, f"cell_fraction of stage {self.name!r}", above=True, most=1)
        check_number(self.input_dropout, f"input_dropout of stage {self.name!r}")
        for flag in ("freeze_hidden", "proximal"):
            check_flag(getattr(self, flag), f"{flag} of stage {self.name!r}")
        if self.freeze_hidden and self.name == "pruned":
            raise ValueError('the stage "pruned" trains all layers: set freeze_hidden=False')
        check_choice(self.decay, DECAYS, "decay")
        if self.layout is not None:
            check_choice(self.layout, LAYOUTS, "layout")
            if self.name != "pretrained":
                raise ValueError(f'only the stage "pretrained" has a layout, got {self.layout!r} in {self.name!r}')
        if self.n_starts > 1 and self.name != "pruned":
            raise ValueError(f'only the stage "pruned" has n_starts, got {self.n_starts} in {self.name!r}')
        if not 0 <= self.input_dropout < 1 or (self.input_dropout and self.freeze_hidden):
            raise ValueError(
                f"stage {self.name!r} needs input_dropout in [0, 1), and 0 where it freezes the hidden layers, got "
                f"{self.input_dropout}"
            )
        if self.proximal and (self.name != "finetuned" or self.freeze_hidden):
            raise ValueError(f'only the stage "finetuned" that trains all layers can be proximal, got {self!r}')

    @property
    def target(self) -> str:
        """What the stage learns: "clusters", "layout" or "features"."""
        if self.name != "pretrained":
            return "features"
        return "clusters" if self.layout is None else "layout"

    def settings(self) -> dict[str, Any]:
        """Return the attributes as plain values, as results and files hold them; layout and n_starts only if set."""
        absent = {"layout": None, "n_starts": 1}
        return {name: value for name, value in asdict(self).items() if absent.get(name, "") != value}

    def learning_rates(self, epoch: int, n_steps: int) -> np.ndarray:
        """Return the learning rate of each step of an epoch (the first is 0), shape (n_steps,)."""
        if self.decay == "constant":
            return np.full(n_steps, self.learning_rate)
        done = (epoch * n_steps + np.arange(n_steps)) / (self.epochs * n_steps)
        return self.learning_rate * (1 + np.cos(np.pi * done)) / 2

    def parts(self) -> list[tuple[int, int]]:
        """Divide the stage into calls of the compiled function: list of (evaluations in the call, epochs before each).

        Equal calls are compiled once, so they share a divisor of the number of evaluations.
        """
        n_records, rest = divmod(self.epochs, self.evaluate_every)
        fitting = range(1, max(1, EPOCHS_AT_ONCE // self.evaluate_every) + 1)
        at_once = max((number for number in fitting if n_records % number == 0), default=1)
        parts = [(at_once, self.evaluate_every)] * (n_records // at_once)
        return [*parts, (1, rest)] if rest else parts


@dataclass(frozen=True)
class Schedule:
    """Named sequence of stages, for tables to show its name; iterates over its stages.

    Attributes
    ----------
    name : str
    stages : tuple of Stage
    """

    name: str
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Check that the stages can follow one another."""
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages or not all(isinstance(stage, Stage) for stage in self.stages):
            raise ValueError(f"schedule {self.name!r} needs a sequence of Stage, got {self.stages!r}")
        order = [STAGE_NAMES.index(stage.name) for stage in self.stages]
        if order != sorted(set(order)) or self.stages[-1].name == "pretrained":
            names = ", ".join(stage.name for stage in self.stages)
            raise ValueError(f"stages must come in the order {', '.join(STAGE_NAMES)} and end on features, got {names}")

    def __iter__(self) -> Iterator[Stage]:
        """Iterate over the stages."""
        return iter(self.stages)

    def shortened(self, factor: float, learning_rate_factor: float = 1) -> "Schedule":
        """Return this schedule with different lengths and rates, for trying things out.

        Parameters
        ----------
        factor : float
            Epochs and k-means starts are multiplied by it.
        learning_rate_factor : float
            Learning rates are multiplied by it.

        Returns
        -------
        Schedule
        """
        check_number(factor, "factor", above=True)
        check_number(learning_rate_factor, "learning_rate_factor", above=True)
        if factor == learning_rate_factor == 1:
            return self
        stages = [
            replace(
                stage,
                epochs=max(1, round(stage.epochs * factor)),
                learning_rate=stage.learning_rate * learning_rate_factor,
                cluster_starts=max(1, round(stage.cluster_starts * factor)),
            )
            for stage in self.stages
        ]
        return Schedule(f"{self.name} x {factor:g}", tuple(stages))

    @property
    def cluster_starts(self) -> int | None:
        """Number of starts of the k-means that the schedule pre-trains on; None if it does not pre-train."""
        return next((stage.cluster_starts for stage in self.stages if stage.target == "clusters"), None)

    @property
    def n_starts(self) -> int:
        """Number of networks that choose the genes of a single network together."""
        return self.stages[-1].n_starts

    @property
    def layout(self) -> str | None:
        """Layout that the schedule pre-trains on; None if it has none."""
        return self.stages[0].layout


_PRETRAINED = Stage("pretrained", epochs=50, learning_rate=1e-4, cell_fraction=0.6)
_PRUNED = Stage("pruned", epochs=100, learning_rate=5e-5)

_FAST: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 128, "decay": "cosine", "evaluate_every": 5}
_FAST_START = (
    Stage("pretrained", epochs=10, cluster_starts=20, **_FAST),
    Stage("frozen", epochs=5, freeze_hidden=True, **_FAST),
    Stage("finetuned", epochs=20, input_dropout=0.3, **_FAST),
)

#: "fast", "stable" and "wide" are ours, chosen on cells that three of the paper's folds test
#: (benchmarks/choose_fast_schedule.py and choose_stable_schedule.py). "fast" and "stable" go with 2-D bottlenecks and
#: group_lasso 0.05: in "stable" ten networks choose the genes together and one is distilled from their maps, because
#: maps differ between seeds mostly where their genes do; with those genes, longer training pays. "wide" goes with 64
#: dimensions and group_lasso 0.03: after pruning, where a wide network has enough parameters to learn the cells by
#: heart, it drops more genes and trains longer. "small" goes with 2-D bottlenecks, group_lasso 0.1 and fewer than about
#: 600 cells: an epoch is then only a few steps, and half of the genes are dropped at random in each stage, which
#: otherwise overfits (benchmarks/choose_small_schedule.py). The others are the paper's schedule, whose group_lasso is
#: 0.1, and its two ablations (arXiv 2006.10411, section 2 and figure 2).
SCHEDULES = {
    schedule.name: schedule
    for schedule in (
        Schedule(
            "fast",
            (
                *_FAST_START,
                Stage("pruned", epochs=60, input_dropout=0.1, **_FAST),
            ),
        ),
        Schedule(
            "stable",
            (
                *_FAST_START,
                Stage("pruned", epochs=120, input_dropout=0.2, n_starts=10, **_FAST),
            ),
        ),
        Schedule(
            "small",
            (
                Stage("pretrained", epochs=40, cluster_starts=20, input_dropout=0.5, **_FAST),
                Stage("frozen", epochs=5, freeze_hidden=True, **_FAST),
                Stage("finetuned", epochs=60, input_dropout=0.5, **_FAST),
                Stage("pruned", epochs=120, input_dropout=0.5, n_starts=10, **_FAST),
            ),
        ),
        Schedule(
            "wide",
            (
                Stage("pretrained", epochs=10, cluster_starts=20, input_dropout=0.3, **_FAST),
                Stage("frozen", epochs=5, freeze_hidden=True, **_FAST),
                Stage("finetuned", epochs=20, input_dropout=0.3, **_FAST),
                Stage("pruned", epochs=100, input_dropout=0.4, **(_FAST | {"learning_rate": 2e-3})),
            ),
        ),
        Schedule(
            "paper",
            (
                _PRETRAINED,
                Stage("frozen", epochs=50, learning_rate=1e-4, freeze_hidden=True),
                Stage("finetuned", epochs=50, learning_rate=5e-5),
                _PRUNED,
            ),
        ),
        Schedule("paper_no_pretraining", (Stage("finetuned", epochs=100, learning_rate=1e-4), _PRUNED)),
        Schedule("paper_no_frozen", (_PRETRAINED, Stage("finetuned", epochs=100, learning_rate=1e-4), _PRUNED)),
    )
}


def get_schedule(schedule: str | Schedule | Sequence[Stage]) -> Schedule:
    """Return a schedule.

    Parameters
    ----------
    schedule : str, Schedule, or sequence of Stage
        A key of SCHEDULES, or custom stages.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        Unknown name, no stages, or stages in an order that cannot be trained.
    """
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, str):
        return SCHEDULES[check_choice(schedule, SCHEDULES, "schedule")]
    if not np.iterable(schedule):
        raise ValueError(
            f"schedule must be one of {', '.join(map(repr, SCHEDULES))}, a Schedule or a sequence of Stage, got "
            f"{schedule!r}"
        )
    stages = tuple(schedule)
    lengths = ", ".join(f"{stage.name} {stage.epochs}" for stage in stages if isinstance(stage, Stage))
    return Schedule(f"own ({lengths})", stages)
