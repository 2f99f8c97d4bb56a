"""What a fitted PairedModel holds: the attributes and steps that the classes of its methods build on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sbnn.data.feature_transforms import Transforms
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import Preprocessor
from sbnn.models.cross_conformal import Calibration
from sbnn.own_cells.aligned_cells import AlignedCells


class FittedParts:
    """Declares what `sbnn.PairedModel` has after `fit`; see there."""

    estimator: Any
    estimator_: Any
    preprocessor_: Preprocessor
    gene_names_: np.ndarray
    feature_names_: np.ndarray
    feature_units_: tuple[str | None, ...] | None
    feature_transforms_: Transforms | None
    features_measured_: bool | None
    training_genes_: np.ndarray
    training_donors_: np.ndarray | None
    calibration_: Calibration | None
    recalibration_: pd.DataFrame | None

    @property
    def selected_genes_(self) -> np.ndarray:
        """See `sbnn.PairedModel`."""
        raise NotImplementedError

    def _check_fitted(self) -> None:
        raise NotImplementedError

    def _align(self, cells: Any, layer: str | None, fill_missing: bool) -> AlignedCells:
        raise NotImplementedError

    def _measured_features(self, data: PairedData) -> np.ndarray:
        raise NotImplementedError
