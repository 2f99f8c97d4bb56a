"""What a cross-validation says of a fitted model: R2 of its features, and held-out cells on the map of a fold."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn._checks import check_whole, preview, warn
from sbnn.data.paired_data import PairedData
from sbnn.own_cells.explored_cells import ExploredCells, cells_of_result
from sbnn.validation.held_out import check_holds_out
from sbnn.validation.provenance import describe_models
from sbnn.validation.result import CrossValidation

#: Settings that do not tell whether two models are of one kind: networks with other seeds are as good.
_NO_DIFFERENCE = ("model", "random_state")


class MapScores(NamedTuple):
    """Scores of the model of a map in a cross-validation.

    Attributes
    ----------
    name : str
        Of the model in the cross-validation.
    r2 : Series
        By feature: R2 of held-out cells, mean over folds.
    overall : float
        R2 of all features together, mean over folds.
    others : dict
        Name -> the same of the other models, class means and linear models among them.
    n_folds, fold : int
        Number of folds, and the one whose map `cells` has.
    cells : ExploredCells or None
        Held-out predictions, and the map of one fold; None if the result has no predictions or latents.
    """

    name: str
    r2: pd.Series
    overall: float
    others: dict[str, float]
    n_folds: int
    fold: int
    cells: ExploredCells | None


def scores_of_map(
    result: CrossValidation, data: PairedData, estimator: BaseEstimator, model: str | None, fold: int
) -> MapScores:
    """Return how well the features of held-out cells are predicted by models like a fitted one.

    Parameters
    ----------
    result : CrossValidation
        Fitted, or loaded with `CrossValidation.from_results`.
    data : PairedData
        The data that it was made from.
    estimator : estimator
        The fitted model, whose settings are looked up in the result.
    model : str or None
        Name of the model in the result; None: the one with the settings of `estimator`.
    fold : int
        Whose map is shown.

    Returns
    -------
    MapScores

    Raises
    ------
    ValueError
        Not a cross-validation, other data, no test cells, no such fold or model, or several.

    Warns
    -----
    UserWarning
        The model in the result has other settings.
    """
    check_holds_out(result, data)
    check_whole(fold, "fold", least=0, most=len(result.folds) - 1)
    name, alone = _like(result, estimator, model, data.n_features)
    has_cells = len(alone.predictions) > 0 and len(alone.latents) > 0 and name in set(alone.latents["model"])
    final = result.final_summary()["mean"]
    means = final.groupby(level="model", sort=False).agg(lambda values: values.iloc[0] if len(values) == 1 else np.nan)
    own = alone.final_summary()["mean"]
    return MapScores(
        name=name,
        r2=alone.by_feature()[name],
        overall=float(own[own.index.get_level_values("model") == name].iloc[0]),
        others={other: float(mean) for other, mean in means.items() if other != name and np.isfinite(mean)},
        n_folds=len(result.folds),
        fold=fold,
        cells=cells_of_result(alone, data, name, fold) if has_cells else None,
    )


def _like(result, estimator, model, n_features):
    """Name of the model of a result that has the settings of an estimator, or was asked for, and its rows."""
    names = list(dict.fromkeys(one["model"] for one in result.models))
    if model is not None and model not in names:
        raise ValueError(f"model {model!r} is not in result: expected one of {preview(names)}")
    own = describe_models([("", estimator)], n_features)[0]
    entries = [one for one in result.models if model in (None, one["model"])]
    alike = [one for one in entries if _is_like(one, own)]
    chosen = alike or [one for one in entries if own["kind"] in _kinds(one)] or (entries if model else [])
    found = list(dict.fromkeys(one["model"] for one in chosen))
    if not found:
        raise ValueError(
            f"result holds no model of the kind of this map, {own['kind']}: its models are {preview(names)}; "
            "add one like it to cross_validate, or name the one whose R2 is meant, model="
        )
    if len(found) > 1:
        raise ValueError(f"result holds {len(found)} models of the kind of this map: say which, model= one of "
                         f"{preview(found)}")  # fmt: skip
    nested = any("candidates" in one for one in chosen)
    if len(chosen) > 1 and not nested:
        raise ValueError(
            f"result holds {len(chosen)} settings of {found[0]!r}, none or several of them those of this map: select "
            "one, not by its test R2, with result.select([entry of result.models])"
        )
    if not alike:
        different = _differences(chosen[0], own)
        warn(f"R2 is that of {found[0]!r} in result, whose settings differ from this model's: {different}")
    rows = [one for one in result.models if one["model"] == found[0]] if nested else chosen
    return found[0], result.select(rows)


def _kinds(entry):
    """Class of a model, or of each of the settings that a nested cross-validation chose from."""
    return {one.get("kind") for one in (entry, *entry.get("candidates", ()))}


def _settings(described):
    return {name: value for name, value in described.items() if name not in (*_NO_DIFFERENCE, "candidates")}


def _is_like(entry, own):
    """Whether a model of a result, or one of the settings that it was chosen from, is a fitted one."""
    wanted = _settings(own)
    without_stages = {name: value for name, value in wanted.items() if name != "stages"}
    candidates = [_settings(one) for one in entry.get("candidates", ())]
    return _settings(entry) == wanted or any(one in (wanted, without_stages) for one in candidates)


def _differences(entry: dict[str, Any], own: dict[str, Any]) -> str:
    """Names of the settings that differ, with their values: in the result, and here."""
    there, here = _settings(entry), _settings(own)
    if there.get("kind") != here["kind"]:
        return f"it is {there.get('kind', 'another model')}, this one {here['kind']}"
    names = [name for name in here if name != "stages" and there.get(name) != here[name]]
    return ", ".join(f"{name} {there.get(name)!r}, here {here[name]!r}" for name in names) or "stages of training"
