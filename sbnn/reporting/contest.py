"""What a report compares: the folds whose cells are predicted, and the models, from class means to networks."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GroupKFold, KFold

from sbnn._checks import preview
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.models.default_network import default_network
from sbnn.models.latent_regressor import is_network
from sbnn.models.schedules import get_schedule
from sbnn.reporting.modes import Mode
from sbnn.validation.baselines import CLASSES
from sbnn.validation.class_models import CLASS_MEANS, LABELS_ONLY, WITH_CLASS, class_models, kinds_of
from sbnn.validation.contestants import honest_models
from sbnn.validation.folds import Fold, FoldChoice, donors_of, make_folds
from sbnn.validation.guards import CELLS_PER_GENE
from sbnn.validation.shared_donors import share_of_known_donors

#: Fewest cells of which a report can be made: folds of fewer cells score noise.
LEAST_CELLS = 40
#: Genes of a network, unless there are too few cells (or genes) for so many.
N_GENES = 25
#: The network whose settings follow the number of cells.
NETWORK = "sBNN-2"
#: All models, the simplest first: labels, a few genes and a linear map, all genes and a linear model, networks, trees.
BY_SIMPLICITY = (*LABELS_ONLY, "sRRR-2", "ridge", *WITH_CLASS, NETWORK, "sBNN-64", "extra trees")
#: Linear models.
LINEAR = ("sRRR-2", "ridge")
#: Least share of the cells to learn from, when the donor with most cells is predicted.
_LEAST_TRAINING = 0.25
#: Trees, and models of class and genes, learn from cells without missing values only; below this share of such cells
#: they are left out.
_COMPLETE = 0.7


class Splits(NamedTuple):
    """Outer folds of a report.

    Attributes
    ----------
    folds : list of Fold
    unit : {"donor", "cell"}
        What intervals resample.
    words : str
        How cells were divided, in plain words.
    by_donor : bool
        Whether no donor is among both the training and the test cells of a fold.
    """

    folds: list[Fold]
    unit: str
    words: str
    by_donor: bool

    @property
    def of_whom(self) -> str:
        """Whose cells are predicted, in plain words."""
        return "cells of other donors" if self.by_donor else "held-out cells"

    @property
    def units(self) -> str:
        """What is resampled, in plain words."""
        return "donors" if self.unit == "donor" else "cells"


def check_enough_cells(data: PairedData) -> None:
    """Raise ValueError if there are too few cells for a report."""
    if data.n_cells < LEAST_CELLS:
        raise ValueError(
            f"data has {data.n_cells} cells, and a report needs at least {LEAST_CELLS}: with fewer, what is left of "
            "them in the folds neither trains nor tests a model. Add cells, or look at them with PairedModel and plot"
        )


def outer_folds(data: PairedData, folds: FoldChoice | None, n_folds: int, random_state: int) -> Splits:
    """Return the outer folds: those given; else of donors, where these are known; else of random cells.

    Parameters
    ----------
    data : PairedData
    folds : as for `sbnn.cross_validate`, or None
    n_folds : int
        Number of folds at most, unless `folds` are given.
    random_state : int

    Returns
    -------
    Splits

    Raises
    ------
    ValueError
        As `sbnn.validation.folds.make_folds`; a single fold, or folds without test cells.
    """
    donors = donors_of(data)
    unit = "cell" if donors is None else "donor"
    if folds is not None:
        splits = make_folds(data, folds)
        if len(splits) < 2 or any(not len(fold.test) for fold in splits):
            raise ValueError('folds must be at least two, each with test cells: choose others than "all"')
        if min(len(fold.test) for fold in splits) < 2:  # genes cannot be permuted among one
            raise ValueError("folds must have at least 2 test cells each: choose fewer, larger folds")
        # Of the tested cells alone, as intervals count them.
        tested = np.unique(np.concatenate([fold.test for fold in splits]))
        if donors is not None and len(np.unique(donors[tested])) < 2:
            unit = "cell"
        by_donor = donors is not None and share_of_known_donors(data, splits) == 0
        return Splits(splits, unit, f"{len(splits)} folds that were given", by_donor)
    if donors is None:
        return Splits(_random(data, n_folds, random_state), unit, _why_random(data, n_folds), False)
    names, n_cells = np.unique(donors, return_counts=True)
    n_donors = len(names)
    if data.n_cells - n_cells.max() < max(LEAST_CELLS / 2, data.n_cells * _LEAST_TRAINING):
        largest = f"{preview([names[n_cells.argmax()]])} has {n_cells.max()} of the {data.n_cells} cells"
        why = f"{n_folds} random folds of cells, because the donor {largest}: the other cells are too few to learn from"
        return Splits(_random(data, n_folds, random_state), unit, f"{why}; {_OPTIMISTIC}", False)
    splitter = GroupKFold(min(n_folds, n_donors), shuffle=True, random_state=random_state)
    found = make_folds(data, splitter)
    if min(len(fold.test) for fold in found) < 2:  # donors of one cell: genes cannot be permuted among one
        why = f"{n_folds} random folds of cells, because donors have too few cells for folds of donors"
        return Splits(_random(data, n_folds, random_state), unit, f"{why}; {_OPTIMISTIC}", False)
    shuffle = np.random.default_rng(random_state).permutation  # the first training cells are not those recorded first
    found = [Fold(shuffle(fold.train), fold.test) for fold in found]
    return Splits(found, unit, f"{len(found)} folds of whole donors ({n_donors} donors)", True)


_OPTIMISTIC = (
    "a cell is then predicted by models that have seen other cells of the same donor, so that scores are those for "
    "further cells of these donors, and may be lower in other donors"
)


def _random(data, n_folds, random_state):
    """Random folds of cells."""
    return make_folds(data, KFold(n_folds, shuffle=True, random_state=random_state))


def _why_random(data, n_folds):
    """Say why folds are random."""
    if data.donors is None:
        why = "donors (the animal, or person, of each cell) were not given"
    else:
        known = data.donors != UNKNOWN
        why = "the donors of some cells are not known" if known.any() else "the donors of the cells are not known"
        why = f"there is one donor, {preview(data.donors[:1])}" if known.all() else why
    return f"{n_folds} random folds of cells, because {why}; {_OPTIMISTIC}"


def classes_of(data: PairedData) -> list[str]:
    """Return which classes the data have: a list with none, one or both of "cell_families" and "cell_types"."""
    return [of for of in CLASSES if getattr(data, of) is not None and len(np.unique(getattr(data, of))) > 1]


def contestants(data: PairedData, mode: Mode, random_state: int) -> dict[str, list[BaseEstimator]]:
    """Return the models to compare, each with the settings from which it chooses, from simple to complex.

    Parameters
    ----------
    data : PairedData
    mode : Mode
    random_state : int
        Of networks and trees.

    Returns
    -------
    dict
        Name -> list of unfitted estimators, for `sbnn.nested_cross_validate`.
    """
    complete = np.isfinite(data.Y).all(axis=1).mean() >= _COMPLETE
    more = [*(["extra trees"] if complete else []), "sBNN-64"] if mode.more_models else []
    known = honest_models(data, shorten=mode.shorten, random_state=random_state)
    found = class_models(classes_of(data))
    if not complete:  # a ridge learns from cells without missing values
        found = {name: one for name, one in found.items() if name in CLASS_MEANS.values()}
    found |= {name: known[name] for name in (*LINEAR, *more) if name in known}  # one feature has no sRRR-2
    if not mode.every_penalty and "sRRR-2" in found:
        found["sRRR-2"] = found["sRRR-2"][::2]
    number = network_genes(data)
    if "sBNN-64" in found:
        found["sBNN-64"] = [one for one in found["sBNN-64"] if one.n_selected <= max(number, N_GENES)]
    network = default_network(data.n_cells).set_params(random_state=random_state, n_selected=number)
    if mode.shorten != 1:
        network.set_params(schedule=get_schedule(network.schedule).shortened(mode.shorten))
    found[NETWORK] = [network]
    if mode.chooses_number:
        numbers = sorted({number, *(more for more in (10, 50, 100) if more <= min(data.n_genes, data.n_cells))})
        found[NETWORK] = [clone(network).set_params(n_selected=one) for one in numbers]
    return {name: found[name] for name in BY_SIMPLICITY if name in found}


def unseen_share(data: PairedData, folds: Iterable[Fold], model: str) -> float:
    """Return the share of the predicted cells of whose classes a model has seen none.

    Parameters
    ----------
    data : PairedData
    folds : list of Fold
    model : str
        Name of a model that reads classes, and perhaps genes.

    Returns
    -------
    float
        Cells of unknown class are among them. 0 for a model that reads no classes.
    """
    kinds = kinds_of(model)
    unseen = []
    for fold in folds if kinds else ():
        labels = [np.asarray(getattr(data, kind)) for kind in kinds]
        seen = [np.isin(one[fold.test], np.setdiff1d(one[fold.train], [UNKNOWN])) for one in labels]
        unseen.append(~np.any(seen, axis=0))
    together = np.concatenate(unseen) if unseen else np.zeros(0, dtype=bool)
    return float(together.mean()) if len(together) else 0.0


def network_genes(data: PairedData) -> int:
    """Return how many genes the network reads: 25, or as many as there are, and at most one for four cells."""
    return max(1, min(N_GENES, data.n_cells // CELLS_PER_GENE, data.n_genes))


def networks_among(models: dict[str, Any]) -> list[str]:
    """Return the names of those models that are networks."""
    return [name for name, candidates in models.items() if is_network(candidates[0])]
