"""Models of the classes of cells: means, means of classes within classes, and linear models of classes and genes."""

from collections.abc import Iterable

from sklearn.base import BaseEstimator

from sbnn.validation.baselines import CLASSES, ClassMean
from sbnn.validation.class_ridge import ClassRidge

#: Names of the means of classes in comparisons.
CLASS_MEANS = {"cell_families": "family mean", "cell_types": "type mean"}
#: Of families and types: the mean of a type drawn to that of its family, this to that of all cells; without genes.
BOTH = "family + type"
#: Models that read the classes of a cell and no gene; "shrunken": drawn towards the mean of all cells (`ClassRidge`).
LABELS_ONLY = (*CLASS_MEANS.values(), *(f"{mean}, shrunken" for mean in CLASS_MEANS.values()), BOTH)
#: Linear models of classes and genes: what genes add to the classes.
WITH_CLASS = ("family + genes", "type + genes", f"{BOTH} + genes")
#: Penalties on the genes of a model of classes and genes, strong ones first: the class has told most.
CLASS_ALPHAS = (100.0, 30.0, 10.0, 3.0, 1.0)


def class_models(kinds: Iterable[str]) -> dict[str, list[BaseEstimator]]:
    """Return the models that read classes of cells, each with the settings that it may choose from.

    Parameters
    ----------
    kinds : sequence of {"cell_families", "cell_types"}
        The kinds of classes that the data have.

    Returns
    -------
    dict
        Name -> list of unfitted estimators: the mean of each kind of class; a ridge on all kinds without genes ("family
        + type", or "type mean, shrunken" of types alone); and the same with genes ("family + type + genes", "type +
        genes"), which differs from it in nothing else. Empty without classes.
    """
    kinds = set(kinds)
    given = [kind for kind in CLASSES if kind in kinds]
    if not given:
        return {}
    found: dict[str, list[BaseEstimator]] = {CLASS_MEANS[kind]: [ClassMean(kind)] for kind in given}
    both, one = len(given) == 2, CLASS_MEANS[given[0]]
    of = CLASSES if both else given[0]
    found[BOTH if both else f"{one}, shrunken"] = [ClassRidge(of, columns=())]
    name = BOTH if both else one.removesuffix(" mean")
    found[f"{name} + genes"] = [ClassRidge(of, alpha) for alpha in CLASS_ALPHAS]
    return found


def kinds_of(model: str) -> tuple[str, ...]:
    """Return which kinds of classes a model of `class_models` reads, by its name; none of another model."""
    if model not in (*LABELS_ONLY, *WITH_CLASS):
        return ()
    return tuple(of for of, mean in CLASS_MEANS.items() if mean.removesuffix(" mean") in model)
