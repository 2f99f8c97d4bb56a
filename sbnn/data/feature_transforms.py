"""Logarithms of skewed features: which features need them, taking them, and the way back to the features' own units."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from sbnn._checks import check_unique, preview, warn
from sbnn._hints import Labels

#: What `PairedData.feature_transforms` calls a decadic logarithm.
LOG = "log10"
#: Which features to transform: none, those that need it, or those named.
Transform: TypeAlias = str | Sequence[str] | None
#: One entry per feature: "log10" or None.
Transforms: TypeAlias = tuple[str | None, ...]
#: Skewness above which a positive feature is called skewed, and a logarithm has to reduce it to this fraction.
SKEWED, MENDED = 1.0, 0.5
#: Skewness and excess kurtosis (0 for a normal distribution) above which what a logarithm does not mend is reported.
VERY_SKEWED, HEAVY_TAILED = 2.0, 10.0
#: Fewer values, or fewer different ones, do not tell a distribution.
MIN_VALUES = 20
_MIN_DISTINCT = 8


class SkewedFeatures(NamedTuple):
    """Which features are skewed, and by how much.

    Attributes
    ----------
    log : bool array, shape (n_features,)
        All values are positive, skewness is above 1, and at most half as large after a logarithm.
    other : bool array, shape (n_features,)
        Skewness beyond 2 or excess kurtosis above 10, which a logarithm does not mend or cannot be taken of.
    skewness, kurtosis : float64 arrays, shape (n_features,)
        Of the values as given; kurtosis is the excess over the normal distribution. NaN with fewer than 20 values, or
        fewer than 8 different ones.
    """

    log: np.ndarray
    other: np.ndarray
    skewness: np.ndarray
    kurtosis: np.ndarray


def find_skewed(values: np.ndarray) -> SkewedFeatures:
    """Find skewed and heavy-tailed features.

    Parameters
    ----------
    values : array, shape (n_cells, n_features)
        NaN where not measured.

    Returns
    -------
    SkewedFeatures
    """
    n_features = values.shape[1]
    skewness, kurtosis, after = (np.full(n_features, np.nan) for _ in range(3))
    for place, column in enumerate(np.asarray(values, dtype=np.float64).T):
        known = column[np.isfinite(column)]
        if len(known) < MIN_VALUES or len(np.unique(known)) < _MIN_DISTINCT:
            continue
        skewness[place], kurtosis[place] = stats.skew(known), stats.kurtosis(known)
        if known.min() > 0:
            after[place] = stats.skew(np.log10(known))
    log = (skewness > SKEWED) & (np.abs(after) <= MENDED * skewness)
    other = ~log & ((np.abs(skewness) > VERY_SKEWED) | (kurtosis > HEAVY_TAILED))
    return SkewedFeatures(log, other, skewness, kurtosis)


def describe_skewed(values: np.ndarray, names: npt.ArrayLike) -> str | None:
    """Say in plain words which features are skewed or heavy-tailed, and which argument to change; None if none is."""
    found, names = find_skewed(values), np.asarray(names)
    parts = []
    if found.log.any():
        parts.append(
            f'transform="auto" takes logarithms of {preview(names[found.log])}, and predictions of PairedModel still '
            "come in the features' own units"
        )
    if found.other.any():
        parts.append(
            f"leave out, or transform before (log(1 + x), ranks), {preview(names[found.other])}, whose long tails a "
            "plain logarithm does not mend, or which hold zeros or negative values"
        )
    if not parts:
        return None
    return f"some features are skewed, so that a few extreme cells decide their fit: {'; '.join(parts)}"


class TransformedFeatures(NamedTuple):
    """Features with logarithms in place of some: values, names, units, and what was done to each."""

    values: np.ndarray
    names: np.ndarray
    units: Transforms | None
    transforms: Transforms | None


def take_logarithms(
    values: np.ndarray,
    names: Labels,
    units: Sequence[str | None] | None = None,
    transform: Transform = None,
    before: Transforms | None = None,
) -> TransformedFeatures:
    """Take decadic logarithms of skewed features, or of those named, and say which.

    Parameters
    ----------
    values : array, shape (n_cells, n_features)
        In their own units; NaN where not measured.
    names : sequence of str
    units : sequence of str or None, optional
    transform : None, "auto" or sequence of str
        None: nothing is done, except for a warning if features are skewed. "auto": positive features whose skewness is
        above 1 and at most half as large afterwards (see `find_skewed`). Or the names of features.
    before : tuple of str or None, optional
        What was done to the features before, as an AnnData of `to_anndata` has it; it is kept.

    Returns
    -------
    TransformedFeatures
        Names as "log10(name)", units as "log10 unit", and `transforms`, None if nothing was changed.

    Raises
    ------
    ValueError
        Another `transform`, names that the features lack, features with values that are not positive, or `transform`
        for features of which logarithms were taken before.

    Warns
    -----
    UserWarning
        Which features were changed, or, with None, which are skewed.
    """
    names = np.asarray(names, dtype=str)
    units = None if units is None else tuple(units)
    if transform is None:
        described = describe_skewed(values, names)
        if described:
            warn(described)
        return TransformedFeatures(values, names, units, before)
    if before is not None:
        raise ValueError(f"transform={transform!r}: logarithms of these features were taken before, leave it out")
    chosen = _chosen(values, names, transform)
    if not chosen.any():
        warn("transform='auto': no feature is skewed and positive, all are used as given")
        return TransformedFeatures(values, names, units, None)
    changed = np.array(values, dtype=np.float64)
    changed[:, chosen] = np.log10(changed[:, chosen])
    transforms = tuple(LOG if one else None for one in chosen)
    warn(
        f"logarithms to base 10 are taken of {int(chosen.sum())} of {len(names)} features: {preview(names[chosen], 8)}"
    )
    new_names = np.array([f"{LOG}({name})" if one else name for name, one in zip(names, chosen, strict=True)])
    if units is None:
        return TransformedFeatures(changed, new_names, None, transforms)
    new_units = tuple(
        (f"{LOG} {unit}" if unit else LOG) if one else unit for unit, one in zip(units, chosen, strict=True)
    )
    return TransformedFeatures(changed, new_names, new_units, transforms)


def _chosen(values, names, transform):
    """Which features to transform, as a mask."""
    if isinstance(transform, str):
        if transform != "auto":
            raise ValueError(
                f'transform must be None, "auto" or a list of features whose logarithm is taken, got {transform!r}'
            )
        return find_skewed(values).log
    if isinstance(transform, bytes) or not np.iterable(transform):
        raise ValueError(
            f'transform must be None, "auto" or a list of features whose logarithm is taken, got {transform!r}'
        )
    asked = check_unique(list(transform), "names in transform")
    places = pd.Index(names).get_indexer(asked)
    if (places < 0).any() or not len(asked):
        raise ValueError(f"transform names {preview(asked[places < 0])}: expected among {preview(names, 12)}")
    chosen = np.isin(names, asked)
    wrong = chosen & (np.where(np.isnan(values), np.inf, values) <= 0).any(axis=0)
    if wrong.any():
        raise ValueError(
            f"transform: {preview(names[wrong])} have values of zero or below, which have no logarithm: leave them out "
            'of transform, or give log(1 + x) as features; transform="auto" takes positive features only'
        )
    return chosen


def check_transforms(transforms: object, names: np.ndarray) -> Transforms | None:
    """Return the transforms of features as a tuple, None if nothing was done; ValueError unless they fit the names."""
    if transforms is None:
        return None
    entries = tuple(transforms) if isinstance(transforms, (tuple, list)) else ()
    if len(entries) != len(names) or not all(entry in (None, LOG) for entry in entries):
        raise ValueError(
            f"feature_transforms must have one entry per feature ({len(names)}), {LOG!r} or None, got {transforms!r}"
        )
    for name, entry in zip(names, entries, strict=True):
        if entry and not (name.startswith(f"{LOG}(") and name.endswith(")")):
            raise ValueError(
                f"feature_transforms: a feature of which logarithms were taken is called log10(...): {name!r}"
            )
    return entries if any(entries) else None


def own_names(names: np.ndarray, transforms: Transforms | None) -> np.ndarray:
    """Return the names that features had before logarithms were taken."""
    if transforms is None:
        return names
    return np.array(
        [name[len(LOG) + 1 : -1] if entry else name for name, entry in zip(names.tolist(), transforms, strict=True)]
    )


def own_units(units: Transforms | None, transforms: Transforms | None) -> Transforms | None:
    """Return the units that features had before logarithms were taken."""
    if units is None or transforms is None:
        return units
    return tuple(
        ((unit or "").removeprefix(LOG).strip() or None) if entry else unit
        for unit, entry in zip(units, transforms, strict=True)
    )


def to_own_units(values: np.ndarray, transforms: Transforms | None) -> np.ndarray:
    """Return features in their own units: 10 to the power of those of which logarithms were taken."""
    if transforms is None:
        return values
    logs = np.array([entry is not None for entry in transforms])
    own = np.array(values, dtype=np.float64)
    own[:, logs] = 10 ** own[:, logs]
    return own


def from_own_units(values: np.ndarray, transforms: Transforms | None) -> np.ndarray:
    """Return features as they are modelled: logarithms of some (NaN of what is not positive)."""
    if transforms is None:
        return values
    logs = np.array([entry is not None for entry in transforms])
    modelled = np.array(values, dtype=np.float64)
    positive = np.where(modelled[:, logs] > 0, modelled[:, logs], np.nan)
    modelled[:, logs] = np.log10(positive)
    return modelled
