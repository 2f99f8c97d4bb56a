"""The part of the JSON text of a model file that says what is predicted: units, logarithms, and whether as measured.

- "feature_units": text or null per feature, or null
- "features_measured": whether the model was fitted on features as measured; files of early versions do not say
- "feature_transforms": "log10" or null per feature; lacking if there are no logarithms
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from sbnn.data.feature_transforms import Transforms, check_transforms

_TRANSFORMS = "feature_transforms"


class PredictsFeatures(Protocol):
    """What is read of a fitted PairedModel."""

    feature_units_: tuple[str | None, ...] | None
    features_measured_: bool | None
    feature_transforms_: Transforms | None


class FeatureParts(NamedTuple):
    """Units of the features, whether they are as measured, and of which logarithms were taken."""

    units: tuple[str | None, ...] | None
    measured: bool | None
    transforms: Transforms | None


def pack_features(model: PredictsFeatures) -> dict[str, Any]:
    """Return what describes the features of a PairedModel in the JSON text of its file."""
    config = {
        "feature_units": None if model.feature_units_ is None else list(model.feature_units_),
        "features_measured": model.features_measured_,
    }
    if model.feature_transforms_ is not None:
        config[_TRANSFORMS] = list(model.feature_transforms_)
    return config


def unpack_features(config: Mapping[str, Any], names: np.ndarray) -> FeatureParts:
    """Return what `pack_features` packed.

    Parameters
    ----------
    config : dict
        The JSON text.
    names : str array, shape (n_features,)

    Returns
    -------
    FeatureParts

    Raises
    ------
    ValueError
        An entry does not fit the features, or they contradict each other.
    """
    units = _units(config.get("feature_units"), len(names))
    measured = _measured(config.get("features_measured"), units)
    return FeatureParts(units, measured, check_transforms(config.get(_TRANSFORMS), names))


def _units(units, n_features):
    """Units of the features."""
    if units is None:
        return None
    if not isinstance(units, list) or len(units) != n_features:
        raise ValueError(f"its feature_units should be {n_features}, one per feature, got {str(units)[:80]}")
    if not all(unit is None or isinstance(unit, str) for unit in units):
        raise ValueError("its feature_units should be text")
    return tuple(units)


def _measured(measured, units):
    """Whether features are those measured: they are if they have units; else, earlier files do not say."""
    if measured is None:
        return None if units is None else True
    if not isinstance(measured, bool) or (units is not None and not measured):
        raise ValueError(f"its features_measured is {str(measured)[:80]}, not true or false, or not true with units")
    return measured
