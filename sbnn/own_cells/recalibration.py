"""A PairedModel for another cohort: offsets and scales of its predictions, from a few measured cells."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_same_cells, preview, warn
from sbnn.data.feature_transforms import from_own_units, own_names, own_units, to_own_units
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.own_cells.fitted_parts import FittedParts

if TYPE_CHECKING:
    from anndata import AnnData

#: Fewest measured cells of a feature with which its offset, and its scale, are estimated.
LEAST_FOR_OFFSET, LEAST_FOR_SCALE = 3, 20
#: Scales are kept between these.
SCALES = (0.25, 4.0)
#: Cells as whose residual variance the mean of all features counts, in that of a feature.
_PRIOR_CELLS = 4


class Correction(NamedTuple):
    """What predictions of each feature are multiplied by and what is added to them; arrays, shape (n_features,)."""

    offset: np.ndarray
    scale: np.ndarray


def fit_correction(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> Correction:
    r"""Fit an offset and a scale per feature, shrunken towards 0 and 1.

    For feature j, with predictions x and measurements y of the n cells in which it was measured, both on the scale of
    z-scores,

    .. math:: y - x = b_j + c_j (x - \bar x) + e, \quad e \sim N(0, s_j^2), \quad b_j \sim N(0, \tau_b^2), \quad
        c_j \sim N(0, \tau_c^2)

    with variances :math:`\tau^2` estimated from all features (what the least-squares estimates vary more than their
    errors explain, at least 0): where features have not shifted, nothing is changed; where they have, a feature with
    few cells or large residuals is corrected less. The corrected prediction is :math:`x + b_j + c_j (x - \bar x)`.

    Parameters
    ----------
    predicted, measured : arrays, shape (n_cells, n_features)
        NaN in `measured` where not measured.

    Returns
    -------
    Correction
        `scale` = 1 + c, between 0.25 and 4, and 1 with fewer than 20 values; `offset` = b - c mean(x), 0 with fewer
        than 3 values.

    References
    ----------
    Efron & Morris, "Stein's estimation rule and its competitors", JASA 68:117 (1973).
    """
    predicted = np.asarray(predicted, dtype=np.float64)
    residuals = np.asarray(measured, dtype=np.float64) - predicted
    known = ~np.isnan(residuals)
    n = known.sum(axis=0)
    means = np.where(known, predicted, 0).sum(axis=0) / np.maximum(n, 1)
    centred = np.where(known, predicted - means, 0)
    residuals = np.where(known, residuals, 0)
    b = residuals.sum(axis=0) / np.maximum(n, 1)
    spread = (centred**2).sum(axis=0)
    sloped = (n >= LEAST_FOR_SCALE) & (spread > 1e-9)
    c = np.where(sloped, (centred * residuals).sum(axis=0) / np.where(sloped, spread, 1), 0)
    errors = np.where(known, residuals - b - c * centred, 0)
    used = n >= LEAST_FOR_OFFSET
    squares, degrees = (errors**2).sum(axis=0)[used], (n - 1 - sloped)[used]
    variance = np.ones(len(n))
    if used.any():
        pooled = squares.sum() / degrees.sum()
        variance[used] = (squares + _PRIOR_CELLS * pooled) / (degrees + _PRIOR_CELLS)
    b = _shrunken(b, variance / np.maximum(n, 1), used)
    c = _shrunken(c, variance / np.where(sloped, spread, 1), sloped)
    scale = np.clip(1 + c, *SCALES)
    return Correction(b - (scale - 1) * means, scale)


def _shrunken(estimates, variances, used):
    """Shrink estimates towards 0: by what is left of their mean square, weighted, after their own variances."""
    if not used.any():
        return np.zeros_like(estimates)
    weights = np.where(used, 1 / np.maximum(variances, 1e-12), 0)
    between = max(0.0, float((weights * (estimates**2 - variances)).sum() / weights.sum()))
    return np.where(used, estimates * between / (between + np.maximum(variances, 1e-12)), 0)


class PairedRecalibration(FittedParts):
    """The method of `sbnn.PairedModel` that adapts its predictions to another cohort."""

    def recalibrate(
        self,
        data: PairedData,
        cells: pd.DataFrame | AnnData | PairedData | None = None,
        layer: str | None = None,
        fill_missing: bool = False,
    ) -> Self:
        """Return a model whose predictions fit another cohort, from a few of its cells with measured features.

        Each feature gets an offset, and with at least 20 cells a scale, both shrunken by what the features have in
        common (`sbnn.own_cells.recalibration.fit_correction`); genes, map and everything else stay. ::

            adapted = model.recalibrate(patched)  # 10 to 40 cells of the new cohort
            adapted.predict(other_counts)

        Parameters
        ----------
        data : PairedData
            Cells of the new cohort, with features of the names and units that the model predicts: all, or some.
            Fewer than 3 values of a feature change nothing.
        cells : DataFrame, AnnData or PairedData, optional
            Counts of the cells of `data`, in their order, if `data` lacks genes of the model.
        layer, fill_missing
            As for `predict`.

        Returns
        -------
        PairedModel
            A new model, without prediction intervals; `recalibration_` has `offset` (in the unit of the feature, or of
            its logarithm), `scale` and `n_values` by feature. The model itself is unchanged. Of a model that was
            recalibrated before, the corrections add up.

        Raises
        ------
        ValueError
            `data` has none of the model's features, no feature with 3 values, or other units; `cells` are not its
            cells; as for `predict`.
        NotFittedError

        Warns
        -----
        UserWarning
            Values left out, because the model predicts a logarithm and they are not above 0.
        """
        aligned = self._align(data if cells is None else cells, layer, fill_missing)
        check_paired(data)
        check_same_cells(aligned.names, data.cell_names, "cells", "data")
        if aligned.names.tolist() != data.cell_names.tolist():
            raise ValueError("cells must be those of data, in their order, by name")
        fitted = self.preprocessor_
        Y = fitted.transform_features(self._measured_features(data)).astype(np.float64)[aligned.has_counts]
        n_values = (~np.isnan(Y)).sum(axis=0)
        if (n_values < LEAST_FOR_OFFSET).all():
            raise ValueError(
                f"data has at most {n_values.max()} values of a feature: recalibrate needs {LEAST_FOR_OFFSET}, better "
                "10 to 40 cells"
            )
        correction = fit_correction(self.estimator_.predict(aligned.X), Y)
        changed = copy.copy(fitted)
        # A prediction in z-scores becomes scale * z + offset: the same as other moments of the features.
        changed.feature_means_ = fitted.feature_means_ + fitted.feature_sds_ * correction.offset
        changed.feature_sds_ = fitted.feature_sds_ * correction.scale
        adapted = copy.copy(self)
        adapted.preprocessor_, adapted.calibration_ = changed, None
        offset, scale = fitted.feature_sds_ * correction.offset, correction.scale
        offset = offset + (1 - scale) * fitted.feature_means_  # in own units: scale * prediction + offset
        if self.recalibration_ is not None:  # one after the other
            offset = offset + scale * self.recalibration_["offset"].to_numpy()
            n_values = n_values + self.recalibration_["n_values"].to_numpy()
            scale = scale * self.recalibration_["scale"].to_numpy()
        columns = {"offset": offset, "scale": scale, "n_values": n_values}
        names = own_names(self.feature_names_, self.feature_transforms_)
        adapted.recalibration_ = pd.DataFrame(columns, index=pd.Index(names, name="feature"))
        return adapted

    def _measured_features(self, data):
        """Features of cells as the model was fitted on them, all features of the model; NaN where data has none."""
        measured = self.features_measured_ or (self.features_measured_ is None and data.features is not None)
        if measured and data.features is None:
            raise ValueError("data needs features as measured (data.features): the model predicts them in their units")
        names = own_names(self.feature_names_, self.feature_transforms_)
        there = own_names(data.feature_names, data.feature_transforms)
        columns = pd.Index(there).get_indexer(names)
        if (columns < 0).all():
            raise ValueError(f"data has none of the model's features ({preview(names)}); it has {preview(there)}")
        units = own_units(self.feature_units_, self.feature_transforms_)
        given = own_units(data.feature_units, data.feature_transforms)
        for place in np.flatnonzero(columns >= 0) if units and given else ():
            unit, other = units[place], given[columns[place]]
            if unit != other:
                raise ValueError(f"feature {str(names[place])!r} is in {unit!r} in the model but in {other!r} in data")
        values = to_own_units(np.asarray(data.features if measured else data.Y, float), data.feature_transforms)
        found = np.full((data.n_cells, len(names)), np.nan)
        found[:, columns >= 0] = values[:, columns[columns >= 0]]
        transformed = from_own_units(found, self.feature_transforms_)
        lost = (np.isnan(transformed) & ~np.isnan(found)).sum(axis=0)
        if lost.any():
            counts = ", ".join(f"{lost[place]} of {names[place]}" for place in np.flatnonzero(lost))
            warn(f"values that are not above 0 have no logarithm, and are left out as not measured: {counts}")
        return transformed
