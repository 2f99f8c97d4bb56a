"""A saved cross-validation completed: rows of the models it has, and fits of those it lacks."""

from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from sbnn.cross_validation import CrossValidation
from sbnn.folds import make_folds
from sbnn.provenance import describe_models, found_in, list_runs
from sbnn.validation import cross_validate


class Completion(NamedTuple):
    """A completed cross-validation.

    Attributes
    ----------
    result : CrossValidation
        The rows of the models asked for, in their order.
    n_saved : int
        Fits whose rows the saved result had.
    n_stored : int
        Fits that came from the store.
    n_fitted : int
        Fits that were computed.
    """

    result: CrossValidation
    n_saved: int
    n_stored: int
    n_fitted: int


def complete(saved, data, models, tables, latents_of=(), store=None, **settings):
    """Take from a saved result the rows of the models asked for, and fit the models that it lacks.

    Parameters
    ----------
    saved : dict or None
        `sbnn.load_results` of a cross-validation of the same data and folds; None: everything is fitted.
    data : PairedData
    models : dict
        As for `sbnn.cross_validate`.
    tables : collection of str
        Tables that a saved model must have.
    latents_of : list of (name, estimator)
        Models of which `latents` are wanted as well.
    store : path-like, optional
        As for `sbnn.cross_validate`.
    **settings
        More arguments of `sbnn.cross_validate`.

    Returns
    -------
    Completion
    """
    runs = list_runs(models)
    asked = describe_models(runs, data.n_features)
    with_latents = describe_models(latents_of, data.n_features)
    there = list_saved(saved, asked, tables, with_latents)
    parts = [replace(CrossValidation.from_results(saved), fingerprint=data.fingerprint)] if any(there) else []
    for keep in ([], ["latents"]):
        missing = {}
        for (name, estimator), described, found in zip(runs, asked, there, strict=True):
            if not found and (described in with_latents) == bool(keep):
                missing.setdefault(name, []).append(estimator)
        if missing:
            parts.append(cross_validate(data, missing, store=store, keep=keep, **settings))
    joined = reduce(CrossValidation.join, parts)
    n_folds, n_fitted = len(joined.folds), joined.n_fitted
    n_saved = sum(there) * n_folds
    return Completion(joined.select(asked), n_saved, len(runs) * n_folds - n_saved - n_fitted, n_fitted)


def list_saved(saved, asked, tables, with_latents=()):
    """Return for each model whether a saved result has it, with its coordinates where those are wanted.

    Parameters
    ----------
    saved : dict or None
    asked, with_latents : list of dict
        `sbnn.provenance.describe_models` of the models asked for, and of those with coordinates.
    tables : collection of str

    Returns
    -------
    list of bool
    """
    if saved is None:
        return [False] * len(asked)
    found = found_in(saved, asked, tables)
    if not with_latents:
        return found
    placed = found_in(saved, asked, [*tables, "latents"])
    return [placed[n] if one in with_latents else found[n] for n, one in enumerate(asked)]


def other_data(saved, data):
    """Return in words in what the data of a saved result are others, an empty list where they are not.

    Parameters
    ----------
    saved : dict
        `sbnn.load_results`, with a note `names` (`PairedData.names_hash`).
    data : PairedData

    Returns
    -------
    list of str
    """
    if saved.get("dataset") != data.name:
        return [f"data {saved.get('dataset')} on disk, {data.name} asked for"]
    return [] if saved.get("names") == data.names_hash else ["other cells, genes or features"]


def other_folds(saved, data, folds="paper", within_fold=False):
    """Return in words in what the folds of a saved cross-validation are others, an empty list where they are not.

    Parameters
    ----------
    saved : dict
    data : PairedData
    folds, within_fold
        As for `sbnn.cross_validate`.

    Returns
    -------
    list of str
    """
    asked = make_folds(data, folds)
    same = len(asked) == len(saved["folds"]) and all(
        np.array_equal(mine.test, theirs["test"]) and np.array_equal(np.sort(mine.train), np.sort(theirs["train"]))
        for mine, theirs in zip(asked, saved["folds"], strict=True)
    )
    protocol = "training cells" if within_fold else "all cells"
    return ["other folds"] * (not same) + ["another protocol"] * (saved["protocol"] != protocol)
