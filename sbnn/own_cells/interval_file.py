"""The part of a model file that holds its calibration: residuals, and the models of the folds as few flat arrays.

Names of the arrays, each after "intervals ":

- residuals (n_cells, n_features): absolute, in units; NaN where not measured
- folds (n_cells,): which fold held a cell out
- selected (n_folds, n_genes): genes that the model of a fold reads
- x_mean and weights, flat: means of the selected genes, and all layers (or W and V), fold after fold
- y_mean (n_folds, n_features)
- `gene_means_`, `gene_sds_`, `gene_shares_` (n_folds, n_genes), `feature_means_`, `feature_sds_` (n_folds, n_features):
  of the training cells of each fold; no shares if the model takes expression instead of counts

and in the JSON text below "intervals": `n_groups` (null for random folds), and `median_depths`, one per fold or null.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sbnn._checks import check_whole
from sbnn.models.calibration_models import FoldLinear, FoldNetwork
from sbnn.models.cross_conformal import Calibration
from sbnn.models.latent_regressor import is_network
from sbnn.models.reduced_rank import full_rank
from sbnn.own_cells.moments_file import pack_moments, unpack_moments
from sbnn.validation.intervals import PairedFold

#: Name in the JSON text, and first word of the names of arrays.
NAME = "intervals"


def pack_calibration(calibration: Calibration) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what describes a calibration of a PairedModel in the JSON text of its file, and its arrays by name."""
    fitted = [fold.preprocessor for fold in calibration.models]
    models = [fold.model for fold in calibration.models]
    depths = [preprocessor.median_depth_ for preprocessor in fitted]
    arrays = {"residuals": calibration.residuals, "folds": calibration.folds}
    moments = [pack_moments(preprocessor) for preprocessor in fitted]
    arrays |= {name: np.stack([of_fold[name] for of_fold in moments]) for name in moments[0]}
    arrays |= {name: np.stack([getattr(model, name) for model in models]) for name in ("selected", "y_mean")}
    arrays["x_mean"] = np.concatenate([model.x_mean for model in models])
    arrays["weights"] = np.concatenate([weight.ravel() for model in models for weight in model.weights])
    config = {"n_groups": calibration.n_groups, "median_depths": None if depths[0] is None else depths}
    return config, {f"{NAME} {name}": array for name, array in arrays.items()}


def unpack_calibration(
    config: Any,
    take: Callable[..., np.ndarray],
    arrays: dict[str, np.ndarray],
    estimator: BaseEstimator,
    gene_names: np.ndarray,
    feature_names: np.ndarray,
    n_cells: int,
) -> Calibration:
    """Return the calibration that `pack_calibration` packed, after checking its parts against each other.

    Parameters
    ----------
    config : dict
        The JSON text below "intervals".
    take : callable
        Takes an array out of the file, after checking its kind and shape; see `sbnn.own_cells.model_file`.
    arrays : dict
        The arrays of the file, from which the residuals are taken, because these may be NaN.
    estimator : estimator
        With the settings of the file.
    gene_names, feature_names : str arrays
    n_cells : int
        Training cells of the model.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        An array is missing, of another shape, or holds values that cannot be.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"its {NAME} are {str(config)[:80]!r}, not a dict")
    n_genes, n_features = len(gene_names), len(feature_names)
    residuals = arrays.pop(f"{NAME} residuals", np.empty(0))
    fits = residuals.dtype.kind == "f" and residuals.shape == (n_cells, n_features)
    if not fits or np.isinf(residuals).any() or (residuals < 0).any():
        raise ValueError(f"its {NAME} do not have one residual, not negative, per training cell and feature")
    folds = take(f"{NAME} folds", "iu", (n_cells,))
    selected = take(f"{NAME} selected", "b", (None, n_genes))
    n_folds = len(selected)
    if set(np.unique(folds).tolist()) != set(range(n_folds)):
        raise ValueError(f"its cells are in other folds than the {n_folds} of its {NAME}")
    y_mean = take(f"{NAME} y_mean", "f", (n_folds, n_features))
    depths = config.get("median_depths")
    if depths is not None and (not isinstance(depths, list) or len(depths) != n_folds):
        raise ValueError(f"its median_depths should be {n_folds}, one per fold, got {str(depths)[:80]}")
    preprocessors = unpack_moments(partial(_take_of_intervals, take), n_genes, n_features, depths, n_folds)
    shapes = [_shapes(estimator, n_genes, int(chosen.sum()), n_features) for chosen in selected]
    x_means = np.split(take(f"{NAME} x_mean", "f", (int(selected.sum()),)), np.cumsum(selected.sum(axis=1))[:-1])
    sizes = [prod(shape) for of_fold in shapes for shape in of_fold]
    flat = iter(np.split(take(f"{NAME} weights", "f", (sum(sizes),)), np.cumsum(sizes)[:-1]))
    kind = FoldNetwork if is_network(estimator) else FoldLinear
    models = []
    for fold, of_fold in enumerate(shapes):
        weights = [next(flat).reshape(shape) for shape in of_fold]
        models.append(PairedFold(preprocessors[fold], kind(weights, selected[fold], x_means[fold], y_mean[fold])))
    n_groups = config.get("n_groups")
    if n_groups is not None:
        check_whole(n_groups, "n_groups", least=2)
    return Calibration(models, residuals, folds.astype(int), n_groups, feature_names)


def _shapes(estimator, n_genes, n_selected, n_features):
    """Shapes of the weights of one fold's model."""
    if not is_network(estimator):
        rank = full_rank(n_genes, n_features) if estimator.rank is None else estimator.rank
        return [(n_selected, rank), (n_features, rank)]
    hidden = tuple(estimator.hidden)
    sizes = (n_selected, *hidden, estimator.bottleneck_dim, *hidden[::-1], n_features)
    return [(estimator.n_networks, *shape) for n_in, n_out in pairwise(sizes) for shape in ((n_in, n_out), (n_out,))]


def _take_of_intervals(take, name, *expected, **limits):
    """Take an array of the calibration."""
    return take(f"{NAME} {name}", *expected, **limits)
