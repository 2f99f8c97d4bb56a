"""The models of calibration folds, reduced to what predicts: few arrays, the same before a file and after it."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_matrix
from sbnn.models.latent_regressor import is_network
from sbnn.models.reduced_rank import ReducedRankRegressor


class FoldNetwork(NamedTuple):
    """A network, or an ensemble, that predicts features and does nothing else.

    Attributes
    ----------
    weights : list of arrays
        kernel (n_networks, n_in, n_out) and bias (n_networks, n_out) of each layer.
    selected : bool array, shape (n_genes,)
    x_mean : array, shape (n_selected,)
        Means of the selected genes in the training cells.
    y_mean : array, shape (n_features,)
    """

    weights: list[np.ndarray]
    selected: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return the mean prediction of the networks for cells X (n_cells, n_genes), shape (n_cells, n_features)."""
        from sbnn.models.ensembles import predict_mean  # here, so that linear models do not need Keras
        from sbnn.models.network import network_layers

        widths = [bias.shape[1] for bias in self.weights[1::2]]
        middle = len(widths) // 2 - 1
        layers = network_layers(len(self.y_mean), widths[middle], tuple(widths[:middle]))
        centred = check_matrix(X, "X", np.float32)[:, self.selected] - self.x_mean
        return predict_mean(layers, self.weights, centred) + self.y_mean


class FoldLinear(NamedTuple):
    """A reduced-rank model that predicts features and does nothing else.

    Attributes
    ----------
    weights : list of two arrays
        W (n_selected, rank) of the selected genes, and V (n_features, rank).
    selected : bool array, shape (n_genes,)
    x_mean : array, shape (n_selected,)
    y_mean : array, shape (n_features,)
        Prediction for a cell at the mean of X.
    """

    weights: list[np.ndarray]
    selected: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return the predictions for cells X (n_cells, n_genes), shape (n_cells, n_features)."""
        W, V = self.weights
        return (check_matrix(X, "X")[:, self.selected] - self.x_mean) @ W @ V.T + self.y_mean


def reduce_model(model: Any) -> Any:
    """Return what predicts of a fitted model: a `FoldNetwork`, a `FoldLinear`, or a model of another package as it is.

    Parameters
    ----------
    model : estimator
        Fitted.

    Returns
    -------
    FoldNetwork, FoldLinear or estimator
        It predicts what the model does.
    """
    if is_network(model):
        weights = [weight[None] for weight in model.weights_] if model.members_ is None else list(model.members_)
        return FoldNetwork(weights, model.selected_, model.x_mean_[model.selected_], model.y_mean_)
    if isinstance(model, ReducedRankRegressor):
        weights = [model.W_[model.selected_], model.V_]
        return FoldLinear(weights, model.selected_, model.x_mean_[model.selected_], model.intercept_)
    return model
