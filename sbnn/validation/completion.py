"""Completion of a saved cross-validation: saved rows are reused, and missing models are fitted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData
from sbnn.validation.cross_validation import cross_validate
from sbnn.validation.folds import FoldChoice, make_folds
from sbnn.validation.protocol import FoldProtocol
from sbnn.validation.provenance import Models, Runs, check_distinct, describe_models, found_in, list_runs, select_rows
from sbnn.validation.result import CrossValidation


class Completion(NamedTuple):
    """A completed cross-validation.

    Attributes
    ----------
    result : CrossValidation
        The rows of the requested models, in their order.
    n_saved : int
        Fits whose rows were in the saved result.
    n_stored : int
        Fits that came from the store.
    n_fitted : int
        Fits that were computed.
    """

    result: CrossValidation
    n_saved: int
    n_stored: int
    n_fitted: int


def complete(
    saved: Mapping[str, Any] | None,
    data: PairedData,
    models: Models,
    tables: Collection[str],
    latents_of: Runs = (),
    store: PathLike | None = None,
    **settings: Any,
) -> Completion:
    """Take the rows of the requested models from a saved result, and fit the models that are missing from it.

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
        Models for which `latents` are needed as well.
    store : path-like, optional
        As for `sbnn.cross_validate`.
    **settings
        More arguments of `sbnn.cross_validate`.

    Returns
    -------
    Completion
        With `latents` of the models in `latents_of` only.

    Raises
    ------
    ValueError
        Two models have the same rows in the tables: they have the same name and differ only in n_selected, or in the
        stages of schedules with the same name; or `latents_of` has models that are not requested.
    """
    runs = list_runs(models)
    asked = describe_models(runs, data.n_features)
    with_latents = describe_models(latents_of, data.n_features)
    strangers = [one["model"] for one in with_latents if one not in asked]
    if strangers:
        raise ValueError(f"latents_of names {strangers}, with settings that are not among models")
    there = list_saved(saved, asked, tables, with_latents)
    parts = []
    if saved is not None and any(there):
        found = [one for one, known in zip(asked, there, strict=True) if known]
        kept = CrossValidation.from_results(saved).select(found)
        parts.append(replace(kept, latents=select_rows(kept.latents, [one for one in found if one in with_latents])))
    for keep in ([], ["latents"]):
        missing: dict[str, list[BaseEstimator]] = {}
        for (name, estimator), described, is_there in zip(runs, asked, there, strict=True):
            if not is_there and (described in with_latents) == bool(keep):
                missing.setdefault(name, []).append(estimator)
        if missing:
            parts.append(cross_validate(data, missing, store=store, keep=keep, **settings))
    parts = [replace(part, fingerprint=data.fingerprint) for part in parts]
    joined = reduce(CrossValidation.join, parts)
    n_folds, n_fitted = len(joined.folds), joined.n_fitted
    n_saved = sum(there) * n_folds
    return Completion(joined.select(asked), n_saved, len(runs) * n_folds - n_saved - n_fitted, n_fitted)


def list_saved(
    saved: Mapping[str, Any] | None,
    asked: Sequence[Mapping[str, Any]],
    tables: Collection[str],
    with_latents: Sequence[Mapping[str, Any]] = (),
) -> list[bool]:
    """Return for each model whether a saved result has it, with its coordinates if these are needed.

    Parameters
    ----------
    saved : dict or None
    asked, with_latents : list of dict
        `sbnn.validation.provenance.describe_models` of the requested models, and of those with coordinates.
    tables : collection of str

    Returns
    -------
    list of bool
    """
    check_distinct(asked)
    if saved is None:
        return [False] * len(asked)
    found = found_in(saved, asked, tables)
    if not with_latents:
        return found
    placed = found_in(saved, asked, ["latents"])
    return [found[n] and (placed[n] or one not in with_latents) for n, one in enumerate(asked)]


def identify(data: PairedData) -> dict[str, Any]:
    """Return what `other_data` compares, as notes for `sbnn.save_results`."""
    return {"names": data.names_hash, "values": data.values_digest}


def other_data(saved: Mapping[str, Any], data: PairedData) -> list[str]:
    """Describe how the data of a saved result differ from the given data.

    Parameters
    ----------
    saved : dict
        `sbnn.load_results`, saved with the notes of `identify`.
    data : PairedData

    Returns
    -------
    list of str
        Empty if they are the same.
    """
    if saved.get("dataset") != data.name:
        return [f"data {saved.get('dataset')} on disk, {data.name} requested"]
    if saved.get("names") != data.names_hash:
        return ["different cells, genes or features"]
    before, now = np.asarray(saved.get("values", np.nan)), data.values_digest
    same = before.shape == now.shape and np.allclose(before, now, rtol=0, atol=1e-4)
    return [] if same else ["different measurements of the same cells"]


def other_folds(saved: Mapping[str, Any], data: PairedData, folds: FoldChoice = "paper", **protocol: Any) -> list[str]:
    """Describe how the folds of a saved cross-validation differ from the requested ones.

    Parameters
    ----------
    saved : dict
    data : PairedData
    folds, **protocol
        `folds`, `within_fold`, `n_variable_genes` and `detection_threshold`, as for `sbnn.cross_validate`.

    Returns
    -------
    list of str
        Empty if they are the same.
    """
    asked = make_folds(data, folds)
    made = saved.get("folds", [])
    same = len(asked) == len(made) and all(  # in their order: stages may learn from the first training cells
        np.array_equal(mine.test, theirs["test"]) and np.array_equal(mine.train, theirs["train"])
        for mine, theirs in zip(asked, made, strict=True)
    )
    other_protocol = saved.get("protocol") != str(FoldProtocol(**protocol))
    return ["different folds"] * (not same) + ["a different protocol"] * other_protocol
