"""Prediction intervals: models are fitted again without each fold of donors, whose cells tell how far they err."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, MetaEstimatorMixin, MultiOutputMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from sbnn._checks import check_coverage, check_length, check_targets, unmasked
from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.data.preprocessing import Preprocessor, fit_preprocessor
from sbnn.models.calibration_models import reduce_model
from sbnn.models.cross_conformal import N_FOLDS, Calibration, Interval, calibration_folds
from sbnn.models.gene_number import chooses_number
from sbnn.models.latent_regressor import LatentRegressorMixin, all_or_nothing_fit, is_network
from sbnn.models.r2 import as_columns
from sbnn.validation.baselines import ClassMean
from sbnn.validation.cross_validation import checked_models, fit_on_folds
from sbnn.validation.folds import Fold, donors_of

#: Name of the models of the folds in errors and progress bars.
_NAME = "calibration"


class PairedFold(NamedTuple):
    """The model of one fold for cells as measured: z-scores of its training cells, and what predicts from them.

    Attributes
    ----------
    preprocessor : Preprocessor
    model : FoldNetwork or FoldLinear
    """

    preprocessor: Preprocessor
    model: Any

    def predict(self, measured: dict[str, Any], present: np.ndarray | None = None) -> np.ndarray:
        """Predict features in their own units.

        Parameters
        ----------
        measured : dict
            "counts" or "expression" -> array (n_cells, n_present), as `Preprocessor.transform_genes` takes them.
        present : bool array, shape (n_genes,), optional

        Returns
        -------
        float64 array, shape (n_cells, n_features)
        """
        X = self.preprocessor.transform_genes(**measured, present=present)
        return self.preprocessor.inverse_transform_features(self.model.predict(X))


def calibrate(
    model: LatentRegressorMixin,
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    n_folds: int = N_FOLDS,
    random_state: int = 0,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> LatentRegressorMixin:
    """Calibrate a fitted network or linear model, so that it has `predict_interval`.

    The model is fitted again, with the same settings, without the cells of each fold; `fit` alone takes no such time.
    Networks are trained as in `sbnn.cross_validate`. X and Y are used as they are: for z-scores that do not know the
    held-out cells either, calibrate a `sbnn.PairedModel`.

    Parameters
    ----------
    model : SparseBottleneckRegressor or ReducedRankRegressor
        Fitted on X and Y. Gets the attribute `calibration_`, which a new fit removes.
    X, Y : arrays, shapes (n_cells, n_genes) and (n_cells, n_features)
        Its training cells; Y is NaN where not measured.
    groups : array, shape (n_cells,), optional
        The animal of each cell, whose cells the folds keep together. Without it folds are random cells, with a warning:
        intervals are then too narrow for cells of other animals. `numpy.arange(n_cells)` says that cells are
        independent.
    n_folds, random_state : int
        Number of folds (at most as many as animals), and the seed with which they are drawn.
    store : path-like, optional
        Folder for finished networks: an interrupted call resumes; see `sbnn.cross_validate`.
    n_jobs, progress
        Of networks; see `sbnn.cross_validate`.

    Returns
    -------
    SparseBottleneckRegressor or ReducedRankRegressor
        The model itself.

    Raises
    ------
    ValueError
        Not such a model, other cells than those that it was fitted on, fewer than two folds or animals, a feature
        without any value among the training cells of a fold, training that diverges.
    NotFittedError
    """
    if not isinstance(model, LatentRegressorMixin):
        raise ValueError(
            f"model must be a fitted SparseBottleneckRegressor or ReducedRankRegressor, got {model!r}: for other "
            "regressors see sbnn.CrossConformal"
        )
    check_is_fitted(model, "y_mean_")
    values, targets = model._check_cells(X, np.float64), _targets(Y)
    check_length(targets, len(values), "Y", "cell of X")
    _check_training_cells(model, values, targets)
    folds = calibration_folds(len(values), n_folds, groups, random_state)
    models = _fit_folds(clone(model), values, targets, folds, store, n_jobs, progress)
    model.calibration_ = _calibration(models, targets, folds, lambda fold, cells: models[fold].predict(values[cells]))
    return model


def _check_training_cells(model, X, Y):
    """Raise ValueError unless the means of X and Y are those of the cells that a model was fitted on."""
    with np.errstate(over="ignore", invalid="ignore"):
        far = any(
            len(fitted) != values.shape[1]
            or (np.abs(np.nanmean(values, axis=0) - fitted) > 1e-4 * (np.nanstd(values, axis=0) + 1e-3)).any()
            for values, fitted in ((X, model.x_mean_), (Y, model.y_mean_))
        )
    if far:
        raise ValueError(
            "X and Y must be the cells that the model was fitted on, without weights: their means differ from those of "
            "its training cells"
        )


def _targets(Y):
    """Y as a two-dimensional float64 array."""
    Y = np.asarray(unmasked(Y))
    return check_targets(Y[:, None] if Y.ndim == 1 else Y)


def _fit_folds(estimator, X, Y, folds, store=None, n_jobs=None, progress=True, one_target=False):
    """Fit an estimator to the training cells of each fold of arrays; return what predicts."""
    if is_network(estimator):
        cells, genes, features = (
            [f"{what} {number}" for number in range(size)]
            for what, size in (("cell", len(X)), ("gene", X.shape[1]), ("feature", Y.shape[1]))
        )
        donors = None if folds.groups is None else [f"group {number}" for number in folds.groups]
        data = PairedData(X, Y, genes, features, cells, donors=donors, name=_NAME)
        return _train(data, estimator, folds, False, store, n_jobs, progress)
    fills = isinstance(estimator, (LatentRegressorMixin, ClassMean))  # these learn from the values that there are
    models = []
    for number, (train, _) in enumerate(folds.folds):
        train = train if fills else train[~np.isnan(Y[train]).any(axis=1)]
        if not len(train):
            raise ValueError(f"fold {number} of the calibration has no training cell with a value of every feature")
        targets = Y[train, 0] if one_target else Y[train]
        models.append(reduce_model(clone(estimator).fit(_rows(X, train), targets)))
    return models


def _train(data, estimator, folds, within_fold, store, n_jobs, progress):
    """Fit an estimator as `cross_validate` does to the training cells of each fold; return what predicts."""
    splits = [Fold(train, test) for train, test in folds.folds]
    listed = checked_models({_NAME: estimator}, data)
    settings = {"within_fold": within_fold, "keep": (), "progress": progress}
    result = fit_on_folds(data, listed, splits, store, n_jobs, **settings)
    return [reduce_model(model) for model in result.estimators]


def _in_rows(X):
    """Cells as an array, a DataFrame, or a sparse matrix of the format from which rows can be taken."""
    if sparse.issparse(X):
        return X.tocsr()
    return X if hasattr(X, "shape") else np.asarray(X)


def _rows(X, rows):
    """Return some rows of an array, a sparse matrix or a DataFrame."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _calibration(models, Y, folds, predict, feature_names=None):
    """Calibration from models of folds and `predict(fold, rows)`, what the model of a fold predicts for cells."""
    residuals, fold_of_cell = np.full(Y.shape, np.nan), np.zeros(len(Y), dtype=int)
    for number, (_, test) in enumerate(folds.folds):
        predictions = as_columns(predict(number, test), (len(test), Y.shape[1]))
        if not np.isfinite(predictions).all():
            raise ValueError(
                f"the model without fold {number} of the calibration predicts values that are not finite (training "
                "diverged?): z-score the data (sbnn.Preprocessor), or lower the learning rate of the schedule"
            )
        residuals[test], fold_of_cell[test] = np.abs(Y[test] - predictions), number
    return Calibration(models, residuals, fold_of_cell, folds.n_groups, feature_names)


def calibrate_paired(
    data: PairedData,
    estimator: BaseEstimator,
    n_folds: int = N_FOLDS,
    random_state: int = 0,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Calibration:
    """Calibrate a model of paired data; `sbnn.PairedModel.calibrate` does so.

    Depth, z-scores, clusters or layout, the choice of genes and of their number are those of the training cells of each
    fold: nothing is known of the cells that a fold holds out.

    Parameters
    ----------
    data : PairedData
        The training cells. Folds keep the cells of a donor together if the donors of all cells are known, and there are
        at least two; else they are random cells, with a warning.
    estimator : SparseBottleneckRegressor or ReducedRankRegressor
        Its settings; a fitted one is not changed.
    n_folds, random_state, store, n_jobs, progress
        See `calibrate`; `store` also keeps linear models.

    Returns
    -------
    Calibration
        Its models are `PairedFold`, its residuals in the units of the features (of Y, if `data` has no features as
        measured).

    Raises
    ------
    ValueError
        As `calibrate`.
    """
    check_paired(data)
    if not isinstance(estimator, LatentRegressorMixin):
        raise ValueError(f"estimator must be a SparseBottleneckRegressor or a ReducedRankRegressor, got {estimator!r}")
    folds = calibration_folds(data.n_cells, n_folds, donors_of(data), random_state)
    reduced = _train(data, clone(estimator), folds, True, store, n_jobs, progress)
    fitted = [fit_preprocessor(data, train)[0] for train, _ in folds.folds]
    models = [PairedFold(*parts) for parts in zip(fitted, reduced, strict=True)]
    kind, values = ("expression", data.X) if data.counts is None else ("counts", data.counts)

    def predict(fold, cells):
        return models[fold].predict({kind: values[cells]})

    return _calibration(models, features_of(data), folds, predict, data.feature_names)


def features_of(data: PairedData) -> np.ndarray:
    """Return the features that a PairedModel predicts: as measured, or Y if these are not known; float64."""
    return np.asarray(data.Y if data.features is None else data.features, dtype=np.float64)


class CrossConformal(MetaEstimatorMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Any regressor with prediction intervals (CV+), calibrated on folds of animals.

    Parameters
    ----------
    estimator : regressor
        Of scikit-learn or of this package. If features are missing (NaN), regressors of other packages are fitted to
        the cells without missing values.
    n_folds : int
        How often the estimator is fitted again, each time without the cells of some animals; at most as often as there
        are animals.
    random_state : int
        Seed with which the folds are drawn.

    Attributes
    ----------
    estimator_ : regressor
        Fitted to all cells; what `predict` uses.
    calibration_ : sbnn.models.cross_conformal.Calibration
        The models of the folds, and the residuals of the cells that these did not see.

    References
    ----------
    Barber, Candès, Ramdas & Tibshirani, "Predictive inference with the jackknife+", Annals of Statistics 49:486 (2021).
    """

    def __init__(self, estimator: BaseEstimator, n_folds: int = N_FOLDS, random_state: int = 0):
        self.estimator = estimator
        self.n_folds = n_folds
        self.random_state = random_state

    @all_or_nothing_fit
    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Fit the estimator to all cells, and to those outside of each fold.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, shape (n_cells, n_genes)
        y : array, shape (n_cells, n_features) or (n_cells,)
            NaN where not measured.
        groups : array, shape (n_cells,), optional
            The animal of each cell; see `calibrate`.

        Returns
        -------
        CrossConformal
            The fitted instance itself.

        Raises
        ------
        ValueError
            Not a regressor, numbers of cells that differ, fewer than two folds or animals, a feature without values.
        """
        if isinstance(self.estimator, type) or not (
            hasattr(self.estimator, "fit") and hasattr(self.estimator, "predict")
        ):
            raise ValueError(f"estimator must be a regressor, such as Ridge(), got {self.estimator!r}")
        cells = _in_rows(X)
        Y = _targets(y)
        check_length(Y, cells.shape[0], "y", "cell of X")
        one_target = np.ndim(y) == 1
        folds = calibration_folds(len(Y), self.n_folds, groups, self.random_state)
        if isinstance(self.estimator, LatentRegressorMixin):
            chooses = {"groups": folds.groups} if chooses_number(self.estimator) else {}
            self.estimator_ = clone(self.estimator).fit(X, y, **chooses)
            cells = self.estimator_._check_cells(X, np.float64)
        else:
            everything = folds._replace(folds=[(np.arange(len(Y)), np.empty(0, dtype=int))])
            (self.estimator_,) = _fit_folds(self.estimator, cells, Y, everything, one_target=one_target)
        models = _fit_folds(self.estimator, cells, Y, folds, one_target=one_target)
        self.calibration_ = _calibration(models, Y, folds, lambda fold, rows: models[fold].predict(_rows(cells, rows)))
        self._one_target = one_target
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return predicted features of cells X (n_cells, n_genes), of the shape that the estimator gives them."""
        check_is_fitted(self, "calibration_")
        return self.estimator_.predict(X)

    def predict_interval(self, X: npt.ArrayLike, coverage: float = 0.9) -> Interval:
        """Return bounds between which the features of new cells lie with about the given probability.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, shape (n_cells, n_genes)
        coverage : float
            Between 0 and 1, both excluded.

        Returns
        -------
        Interval
            `low`, `high`, shape (n_cells, n_features), or (n_cells,) if `fit` was given such a y;
            `sbnn.models.cross_conformal.cross_conformal_bounds` has the definition. Infinite for features with too few
            measured cells, with a warning.

        Raises
        ------
        ValueError
            A coverage out of range.
        NotFittedError
        """
        check_is_fitted(self, "calibration_")
        check_coverage(coverage)
        if isinstance(self.estimator_, LatentRegressorMixin):
            X = self.estimator_._check_cells(X, np.float64)
        low, high = self.calibration_.interval(X, coverage)
        return Interval(low[:, 0], high[:, 0]) if self._one_target else Interval(low, high)
