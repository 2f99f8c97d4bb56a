"""Prediction intervals of a PairedModel: its calibration, and the bounds for new cells in the features' units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from sbnn._checks import check_coverage
from sbnn._hints import PathLike
from sbnn.data.feature_transforms import own_names, to_own_units
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.cross_conformal import N_FOLDS, Interval
from sbnn.own_cells.fitted_parts import FittedParts
from sbnn.own_cells.moments_file import same_moments
from sbnn.validation.intervals import calibrate_paired

if TYPE_CHECKING:
    from anndata import AnnData


class PairedIntervals(FittedParts):
    """The methods of `sbnn.PairedModel` that concern prediction intervals."""

    def calibrate(
        self,
        data: PairedData,
        n_folds: int = N_FOLDS,
        random_state: int = 0,
        store: PathLike | None = None,
        n_jobs: int | None = None,
        progress: bool = True,
    ) -> Self:
        """Fit the estimator again without the cells of each fold of donors, so that the model has `predict_interval`.

        This takes about `n_folds` times as long as `fit`, which is as quick without it. Depth, z-scores, clusters and
        genes are those of the training cells of each fold. `save` keeps what predicts of the models of the folds: with
        1000 genes and 16 features, each fold adds about 6 MB to the file of ten networks, 0.6 MB to that of one, and
        0.02 MB to that of a linear map; residuals take 8 bytes per cell and feature.

        Parameters
        ----------
        data : PairedData
            The cells that the model was fitted on. If the donors of all are known, folds keep the cells of a donor
            together, and intervals are meant for cells of other donors; if not, folds are random cells, with a warning.
        n_folds : int
            At least 2; as many as there are donors, if these are fewer.
        random_state : int
            Seed with which folds are drawn.
        store : path-like, optional
            Folder for finished fits: the same call after an interruption resumes. See `sbnn.cross_validate`.
        n_jobs, progress
            See `sbnn.cross_validate`.

        Returns
        -------
        PairedModel
            The instance itself, with the attribute `calibration_`, which a new fit removes.

        Raises
        ------
        ValueError
            Other cells than those that the model was fitted on, a model that `recalibrate` returned, fewer than two
            folds, a feature without any value among the training cells of a fold, training that diverges.
        NotFittedError

        Warns
        -----
        UserWarning
            Donors are not known.
        """
        self._check_fitted()
        check_paired(data)
        if self.recalibration_ is not None:
            raise ValueError("a recalibrated model has no training cells of its cohort: calibrate the original model")
        self._check_training_cells(data)
        self.calibration_ = calibrate_paired(data, self.estimator_, n_folds, random_state, store, n_jobs, progress)
        self.features_measured_ = data.features is not None  # which a model of an earlier file does not know
        return self

    def _check_training_cells(self, data):
        """Raise ValueError unless names and moments of the data are those of the training cells."""
        named = all(
            np.array_equal(mine, given)
            for mine, given in ((self.gene_names_, data.gene_names), (self.feature_names_, data.feature_names))
        )
        alike = named and data.n_cells == len(self.training_genes_)
        if not alike or not same_moments(self.preprocessor_, fit_preprocessor(data)[0]):
            raise ValueError("data must be the cells, genes and features that the model was fitted on: the data of fit")

    def predict_interval(
        self,
        cells: pd.DataFrame | AnnData | PairedData,
        coverage: float = 0.9,
        layer: str | None = None,
        fill_missing: bool = False,
    ) -> Interval:
        """Return bounds between which features of new cells lie with about the given probability, in their own units.

        Cross-conformal prediction (CV+): the bounds come from the errors of models of the same settings for cells of
        donors that they did not see; nothing is assumed of how errors are distributed, but that new donors are like the
        training donors. In another laboratory, or at another temperature, fewer cells may be inside: see `outliers`
        and `sbnn.coverage_table`. ::

            low, high = model.predict_interval(cells)
            plt.vlines(measured["AP width"], low["AP width"], high["AP width"])

        Parameters
        ----------
        cells, layer, fill_missing
            As for `predict`.
        coverage : float
            Between 0 and 1, both excluded.

        Returns
        -------
        Interval
            `low` and `high`: DataFrames of cells x features, as `predict` gives them. NaN for cells without any count
            of the model's genes; infinite for features that too few training cells have, with a warning.

        Raises
        ------
        ValueError
            A coverage out of range, a model that is not calibrated; as for `predict`.
        NotFittedError

        References
        ----------
        Barber, Candès, Ramdas & Tibshirani, "Predictive inference with the jackknife+", Annals of Statistics 49:486
        (2021).
        """
        coverage = check_coverage(coverage)
        self._check_fitted()
        calibration = getattr(self, "calibration_", None)
        if calibration is None:
            raise ValueError(
                "this PairedModel has no intervals: call calibrate(data) with the cells that it was fitted on (and "
                "save it again, if it comes from a file); recalibrated models have none"
            )
        aligned = self._align(cells, layer, fill_missing)
        predictions = [fold.predict(aligned.measured, aligned.present) for fold in calibration.models]
        bounds = calibration.interval_around(predictions, coverage)
        transforms = self.feature_transforms_
        names = own_names(self.feature_names_, transforms).tolist()
        return Interval(*(aligned.table(to_own_units(bound, transforms), names) for bound in bounds))
