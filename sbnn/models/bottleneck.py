"""The sparse bottleneck network as a scikit-learn estimator."""

import numbers
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from sbnn._checks import check_number, check_seed, check_whole
from sbnn._hints import Rows
from sbnn.models.backend import keras
from sbnn.models.clusters import cluster_features
from sbnn.models.ensembles import count_members, encode_all, predict_all, predict_mean
from sbnn.models.fit_arguments import group_numbers, relative_weights, with_validation_cells
from sbnn.models.gene_decoder import train_gene_decoder
from sbnn.models.gene_number import check_n_selected, choose_number, chooses_number
from sbnn.models.latent_regressor import LatentRegressorMixin, all_or_nothing_fit
from sbnn.models.layouts import layout_for
from sbnn.models.map_agreement import spread_of_maps
from sbnn.models.network import apply_layers, build_network, decoder_of, encoder_of, network_layers
from sbnn.models.schedules import Schedule, Stage, get_schedule
from sbnn.models.tasks import TrainedNetwork, TrainingTask
from sbnn.models.training import train_stack


class SparseBottleneckRegressor(LatentRegressorMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Predict features from genes through a low-dimensional bottleneck, with few genes.

    genes -> 512 -> 128 -> bottleneck -> 128 -> 512 -> features, trained to minimise

    .. math:: \frac{1}{np} \|Y - f(X)\|_F^2 + \lambda \sum_i \|W^{(1)}_{i\cdot}\|_2 + \rho \cdot \text{ridge}

    and then pruned to the genes whose rows of the first kernel have the largest norms.

    Parameters
    ----------
    bottleneck_dim : int
        Dimension of the latent space; 2 for a map.
    group_lasso : float
        Strength of the group lasso on genes: 0.05 for "fast" and "stable", 0.1 for "paper" and "small", .03 for "wide".
    ridge : float
        Strength of the ridge penalty on all weights.
    n_selected : int, "auto" or None
        Genes kept by pruning; None keeps all. "auto": `fit` chooses among the numbers of
        `sbnn.models.gene_number.N_GENES`, by the one-standard-error rule on five folds of the cells it is given.
    hidden : tuple of int
        Widths of the layers before the bottleneck, mirrored after it.
    schedule : str, Schedule, or sequence of Stage
        A key of `sbnn.models.schedules.SCHEDULES` ("paper" for that of the paper), or custom stages.
    random_state : int, RandomState or None
        Determines initial weights and the order of cells; None draws a seed.
    n_networks : int
        With more than one, an ensemble: networks that differ in their seed (the first is the one that would be trained
        alone) and are pruned to one set of genes, those with the largest norms on average over networks, each
        network's norms divided by their root mean square; of equal ones, the genes that come first in X. `predict` is
        their mean. `transform`, `network_` and what is decoded are of the consensus (`sbnn.models.consensus`), which
        has learnt the mean of their aligned maps, or, if not in two or three dimensions, is the most central one.

    Attributes
    ----------
    n_features_in_ : int
        Number of genes.
    feature_names_in_ : str array, shape (n_genes,)
        Their names, if X was a DataFrame.
    selected_ : bool array, shape (n_genes,)
        Genes that the network reads.
    n_selected_ : int
        Their number.
    gene_norms_ : array, shape (n_genes,)
        Row norms of the first kernel before pruning; of an ensemble, their mean as described above.
    gene_frequency_ : array, shape (n_genes,)
        Share of the networks that have the gene among their own `n_selected` of largest norm.
    history_ : DataFrame
        `stage`, `epoch`, `r2_train`, `r2_test`; of an ensemble, the mean over its networks, and at the end rows with
        the stages "consensus", R2 of the network of the map, and "ensemble", R2 of the mean prediction.
    members_ : list of arrays, or None
        Of an ensemble: kernel (n_networks, n_in, n_out) and bias (n_networks, n_out) of each layer of all networks.
    network_ : keras.Model
        The trained network: maps the selected genes of X to Y. Centring is part of its biases; it has no penalties,
        so that a saved file is an ordinary Keras model.

    Notes
    -----
    A scikit-learn estimator: it passes `check_estimator` except for the equivalence of weighted and repeated cells,
    because it learns from batches of cells in single precision. Expression and features are used as given: for a
    model that takes counts, matches genes by name and predicts in the features' units see `sbnn.PairedModel`.

    References
    ----------
    Bernaerts, Berens & Kobak, arXiv 2006.10411.
    """

    def __init__(
        self,
        bottleneck_dim: int = 2,
        group_lasso: float = 0.05,
        ridge: float = 1e-10,
        n_selected: int | str | None = 25,
        hidden: Sequence[int] = (512, 128),
        schedule: str | Schedule | Sequence[Stage] = "fast",
        random_state: int | np.random.RandomState | None = 0,
        n_networks: int = 1,
    ):
        self.bottleneck_dim = bottleneck_dim
        self.group_lasso = group_lasso
        self.ridge = ridge
        self.n_selected = n_selected
        self.hidden = hidden
        self.schedule = schedule
        self.random_state = random_state
        self.n_networks = n_networks

    @all_or_nothing_fit
    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        layout: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)
            Expression, log-normalised and z-scored; centred here.
        y : array, shape (n_cells, n_features)
            Features, z-scored; centred here; NaN where not measured.
        sample_weight : array, shape (n_cells,), optional
            Weight of each cell in the loss and the means.
        validation_data : tuple (X, Y), optional
            Cells on which `history_` records R2; they take no part in training.
        layout : array, shape (n_cells, bottleneck_dim), optional
            Coordinates of one's own for a schedule that pre-trains on a layout, instead of those of its name; they are
            used as they are: give them mean 0 and an SD of about 1.
        groups : array, shape (n_cells,), optional
            The animal of each cell, whose cells `n_selected="auto"` keeps together in its folds; a given number of
            genes does not depend on it.

        Returns
        -------
        SparseBottleneckRegressor
            The fitted instance itself.

        Raises
        ------
        ValueError
            An argument is out of range, X is not finite, shapes disagree, weights are negative or all zero; or
            training diverges, because X or Y are far from z-scores or the learning rate is too large.
        """
        X, Y = self._check_training(X, y, np.float32)
        self.check_settings(X.shape[1])
        weights, groups = relative_weights(sample_weight, len(X)), group_numbers(groups, len(X))
        stages, seed = get_schedule(self.schedule), self.seed()
        coordinates = layout_for(Y, layout, stages.layout, self.bottleneck_dim)
        n_train, settings = len(X), self.stack_settings()
        if validation_data is not None:
            X, Y = with_validation_cells(X, Y, *validation_data, getattr(self, "feature_names_in_", None))
        if chooses_number(self):
            own = None if layout is None else coordinates
            settings["n_selected"] = choose_number(self, X[:n_train], Y[:n_train], seed, groups, weights, own)
        clusters = cluster_features(Y[:n_train], stages.cluster_starts) if stages.cluster_starts else None
        task = TrainingTask(
            np.arange(n_train),
            np.arange(n_train, len(X)),
            group_lasso=self.group_lasso,
            random_state=seed,
            clusters=clusters,
            layout=coordinates,
            cell_weights=weights,
        )
        trained = train_stack(X, Y, [task], **settings)[0]
        if trained.diverged_in is not None:
            raise ValueError(
                f"training diverged in the stage {trained.diverged_in!r}: weights or errors are no longer finite. X "
                f"holds values up to {np.abs(X).max():.3g} and y up to {np.nanmax(np.abs(Y)):.3g}, where z-scores are "
                "expected (sbnn.Preprocessor); or lower the learning rate of the schedule"
            )
        return self.adopt(trained, X[:n_train])

    def check_settings(self, n_genes: int | None = None, n_features: int | None = None) -> None:
        """Raise ValueError if the network cannot be trained with the arguments of the constructor.

        Parameters
        ----------
        n_genes : int, optional
            Number of genes in the data, which n_selected must not exceed.
        n_features : int, optional
            Number of features, which the coordinates of a layout must not exceed.

        Raises
        ------
        ValueError
        """
        check_whole(self.bottleneck_dim, "bottleneck_dim")
        check_number(self.group_lasso, "group_lasso")
        check_number(self.ridge, "ridge")
        if not isinstance(self.hidden, (tuple, list, np.ndarray, range)) or not len(self.hidden):
            raise ValueError(
                f"hidden must be the widths of one or more layers, such as (512, 128), got {self.hidden!r}"
            )
        for width in self.hidden:
            check_whole(width, "every width in hidden")
        check_whole(self.n_networks, "n_networks")
        check_seed(self.random_state)
        stages = get_schedule(self.schedule)
        if stages.layout is not None and n_features is not None and self.bottleneck_dim > n_features:
            raise ValueError(
                f"a layout has at most as many coordinates as there are features, {n_features}: bottleneck_dim is "
                f"{self.bottleneck_dim}"
            )
        check_n_selected(self.n_selected, stages, n_genes)

    def seed(self) -> int:
        """Return a whole number for `random_state`, interpreted as in scikit-learn."""
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def __sklearn_tags__(self) -> Tags:
        """Declare that a few epochs on a small table need not reach the R2 that scikit-learn requires of regressors."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def count_trained(self) -> int:
        """Return how many networks are trained: those of the ensemble, or of the starts of the schedule."""
        return count_members(self.n_networks, get_schedule(self.schedule))

    def stack_settings(self) -> dict[str, Any]:
        """Return the arguments of `train_stack` that all networks of a stack must share."""
        return {
            "schedule": get_schedule(self.schedule),
            "bottleneck_dim": self.bottleneck_dim,
            "hidden": tuple(self.hidden),
            "ridge": self.ridge,
            "n_selected": self.n_selected,
            "n_networks": self.n_networks,
        }

    def adopt(self, trained: TrainedNetwork, X: np.ndarray, cells: Rows = slice(None)) -> Self:
        """Adopt a network trained by `train_stack`.

        Parameters
        ----------
        trained : TrainedNetwork
        X : array, shape (n_cells, n_genes)
        cells : int array or slice
            The rows of X it was trained on; the gene decoder learns from them.

        Returns
        -------
        SparseBottleneckRegressor
            The instance itself.
        """
        self.selected_, self.gene_norms_ = trained.selected, trained.gene_norms
        self.history_ = trained.history
        self.weights_, self.x_mean_, self.y_mean_ = trained.weights, trained.x_mean, trained.y_mean
        self.members_ = trained.members
        own = trained.selected.astype(float) if trained.gene_frequency is None else trained.gene_frequency
        self.gene_frequency_ = own
        self.n_features_in_, self.n_selected_ = len(trained.selected), int(trained.selected.sum())
        self._training_genes = X[:, self.selected_][cells]
        for cached in ("network_", "_gene_decoder", "calibration_"):
            self.__dict__.pop(cached, None)
        return self

    @property
    def _n_latent(self):
        return self._fitted_widths[1]

    @property
    def _fitted_widths(self):
        """Widths of the hidden layers, and of the bottleneck, of the fitted network, whatever the settings are now."""
        widths = [len(bias) for bias in self.weights_[1::2]]
        middle = len(widths) // 2 - 1
        return tuple(widths[:middle]), widths[middle]

    def _centred(self, X):
        """Return the selected genes around their means, shape (n_cells, n_selected)."""
        return self._check_cells(X, np.float32)[:, self.selected_] - self.x_mean_[self.selected_]

    def _latent(self, X):
        """Latent coordinates, shape (n_cells, bottleneck_dim)."""
        return self._encode(self._centred(X))

    def _predict(self, X):
        """Predicted features: the mean of the networks."""
        centred = self._centred(X)
        if self.members_ is None:
            return self.decode_features(self._encode(centred))
        return predict_mean(self._layers(), self.members_, centred) + self.y_mean_

    def transform_spread(self, X: npt.ArrayLike) -> np.ndarray:
        """Return how far the networks of an ensemble disagree about the place of each cell on the map.

        The map of each network is shifted, rotated and scaled so that it fits the consensus map on the training cells.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)

        Returns
        -------
        float64 array, shape (n_cells,)
            Root of the mean squared distance from the place in the consensus map, in the units of `transform`.

        Raises
        ------
        ValueError
            The estimator has a single network.
        """
        members, centred = self._networks("transform_spread"), self._centred(X)
        known = self._training_genes - self.x_mean_[self.selected_]
        maps, known_maps = (encode_all(self._layers(), members, cells) for cells in (centred, known))
        return spread_of_maps(self._encode(centred), maps, self._encode(known), known_maps)

    def predict_spread(self, X: npt.ArrayLike) -> np.ndarray:
        """Return how far the networks of an ensemble disagree about the features of each cell.

        Parameters
        ----------
        X : array, shape (n_cells, n_genes)

        Returns
        -------
        array, shape (n_cells, n_features)
            SD over networks of what they predict, in the units of y: what the seed changes, not how far they are wrong.

        Raises
        ------
        ValueError
            The estimator has a single network.
        """
        members, centred = self._networks("predict_spread"), self._centred(X)
        return predict_all(self._layers(), members, centred).std(axis=0)

    def _networks(self, name):
        """Return the weights of all networks, for a method that compares them."""
        check_is_fitted(self, "y_mean_")
        if self.members_ is None:
            raise ValueError(f"{name} compares networks: fit with n_networks of at least 2, for example 10")
        return self.members_

    def _encode(self, centred):
        encoder = encoder_of(self._layers())
        return apply_layers(encoder, self.weights_[: 2 * len(encoder)], centred)

    def _layers(self, n_outputs=None):
        """Return the layers of the network, with `n_outputs` outputs if given."""
        hidden, bottleneck_dim = self._fitted_widths
        return network_layers(len(self.y_mean_) if n_outputs is None else n_outputs, bottleneck_dim, hidden)

    def decode_features(self, Z: np.ndarray) -> np.ndarray:
        """Return the features predicted from latent coordinates Z (n_cells, bottleneck_dim)."""
        decoder = decoder_of(self._layers())
        return apply_layers(decoder, self.weights_[-2 * len(decoder) :], Z) + self.y_mean_

    def decode_genes(self, Z: np.ndarray) -> np.ndarray:
        """Return the expression of the selected genes decoded from latent coordinates.

        The decoder is trained on first use: its hidden layers start from those that decode features.

        Parameters
        ----------
        Z : array, shape (n_cells, bottleneck_dim)

        Returns
        -------
        float64 array, shape (n_cells, n_selected)
            In the order of the selected genes in X, on the scale of X.
        """
        decoder = decoder_of(self._layers(int(self.selected_.sum())))
        return apply_layers(decoder, self._gene_decoder, Z) + self.x_mean_[self.selected_]

    @cached_property
    def _gene_decoder(self):
        """Weights from the bottleneck to the selected genes."""
        centred = self._training_genes - self.x_mean_[self.selected_]
        start = self.weights_[-2 * len(decoder_of(self._layers())) :]
        return train_gene_decoder(
            self._encode(centred), centred, start, self._fitted_widths[0], self.ridge, self.seed()
        )

    @cached_property
    def network_(self) -> keras.Model:
        """The network as a Keras model of Dense layers, with the means folded into its biases."""
        weights = [np.array(weight) for weight in self.weights_]
        weights[1] -= self.x_mean_[self.selected_] @ weights[0]
        weights[-1] += self.y_mean_
        network = build_network(self._layers(), int(self.selected_.sum()))
        network.set_weights(weights)
        return network
