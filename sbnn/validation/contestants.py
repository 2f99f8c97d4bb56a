"""The models of an honest comparison, each with the settings that it may choose from, on all genes or on given ones."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.kernel_ridge import KernelRidge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline

from sbnn._checks import check_number, check_rows, check_seed, check_whole, preview
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.default_network import N_NETWORKS, SMALL_DATA
from sbnn.models.elastic_net import check_solver
from sbnn.models.reduced_rank import ReducedRankRegressor
from sbnn.models.schedules import get_schedule
from sbnn.models.sized_reduced_rank import SizedReducedRank
from sbnn.validation.baselines import CLASSES, ClassMean
from sbnn.validation.class_models import class_models
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.given_genes import named_positions

#: Penalties of the lasso, strong ones (few genes) first; the elastic net with l1_ratio 0.5 has twice these.
LASSO_ALPHAS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.035)
#: More genes than these are many: models do not try the weakest of these penalties, which would select most of them.
FEW_GENES = 100
#: Penalties of ridge regression.
RIDGE_ALPHAS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
#: Numbers of genes of networks; of these, those that the data have.
NETWORK_GENES = (10, 25, 50, 100)


def honest_models(
    data: PairedData,
    genes: Sequence[str] | None = None,
    names: Collection[str] | None = None,
    n_genes: int | None = None,
    solver: str = "sklearn",
    shorten: float = 1.0,
    random_state: int = 0,
) -> dict[str, list[BaseEstimator]]:
    """Return the models of an honest comparison, for `sbnn.nested_cross_validate`.

    Parameters
    ----------
    data : PairedData
        Its numbers of cells, genes and features limit the settings; no value of X or Y is used. If it has no families
        (types), models that need them are left out.
    genes : sequence of str, optional
        The genes that the models read; all if None. Depth and z-scores are those of all genes of the data in both
        cases. Given genes should come from elsewhere than these cells: if they were selected with the features of test
        cells, scores are too good.
    names : collection of str, optional
        The models to return, in this order; all if None. Cheap ones come first: "family mean", "type mean", "family +
        type" (means of types drawn to those of their families), "family + type + genes" (see
        `sbnn.validation.class_models`), "ridge", "lasso", "elastic net", "sRRR-2", "sRRR-3", "sRRR-4", "sRRR-full"
        (relaxed), "PCA + kNN", "kernel ridge" (RBF), "extra trees", "gradient boosting" (one per feature), "sBNN-2",
        "sBNN-64", and both as means of ten networks: "sBNN-2, ten networks", "sBNN-64, ten networks".
    n_genes : int, optional
        Let each model select this many genes on its training cells, and return those that can: the genes with the
        largest coefficients (ridge), the penalty nearest to this number (lasso, elastic net, sRRR), the genes with the
        largest importances (extra trees), or the stage "pruned" (networks).
    solver : {"sklearn", "glmnet"}
        Of lasso, elastic net and sRRR, see `sbnn.ReducedRankRegressor`: "glmnet" is faster, and needs its package.
    shorten : float
        Epochs of networks, and numbers of trees, are multiplied by it, for trials.
    random_state : int
        Of trees, principal components and networks.

    Returns
    -------
    dict
        Name -> list of unfitted estimators, from simple to complex.

    Raises
    ------
    ValueError
        An unknown name or gene, a model that these data cannot have, both `genes` and `n_genes`, or a number, solver,
        factor or seed out of range.

    Notes
    -----
    If Y has missing values, all but class means, linear models and networks learn from cells without any, and so do
    models on given genes (`on_genes`) except for class means.
    """
    check_paired(data)
    check_solver(solver)
    check_number(shorten, "shorten", above=True)
    check_seed(random_state)
    columns = None if genes is None else _columns_of(genes, data.gene_names)
    n_read = data.n_genes if columns is None else len(columns)
    found = {
        **class_models([kind for kind in CLASSES if getattr(data, kind) is not None]),
        **_linear_models(n_read, data.n_features, solver),
        **_other_models(data, n_read, shorten, random_state),
    }
    numbers: list[int | None] = [number for number in NETWORK_GENES if number <= n_read] or [n_read]
    if n_genes is not None:
        if genes is not None:
            raise ValueError("give either genes, which all models read, or n_genes, of which each selects its own")
        check_whole(n_genes, "n_genes")
        if n_genes > data.n_genes:
            raise ValueError(f"n_genes must be between 1 and the {data.n_genes} genes of the data, got {n_genes}")
        numbers, found = [n_genes], _selecting_models(found, n_genes, data.n_features, solver)
    given = columns is not None
    found |= _networks(data.n_cells, [None] if given else numbers, given, shorten, random_state)
    if names is not None:
        if isinstance(names, str):
            raise ValueError(f"names must be a list of names of models, got the text {names!r}")
        unknown = [name for name in names if name not in found]
        if unknown:
            raise ValueError(f"names has {preview(unknown)}: with these data there are {', '.join(map(repr, found))}")
        found = {name: found[name] for name in names}
    if columns is None:
        return found
    return {
        name: [on_genes(one, columns, data) if reads_genes(one) else one for one in estimators]
        for name, estimators in found.items()
    }


def reads_genes(estimator: Any) -> bool:
    """Return whether a model reads genes: all do but the means of classes, shrunken or not."""
    if isinstance(estimator, ClassRidge):
        return estimator.columns is None or len(estimator.columns) > 0
    return not isinstance(estimator, ClassMean)


def on_genes(estimator: BaseEstimator, genes: npt.ArrayLike, data: PairedData) -> BaseEstimator:
    """Return an estimator that reads only some of the genes of the data.

    Parameters
    ----------
    estimator : estimator
        Unfitted; a network, a linear model, `ClassRidge` or any scikit-learn regressor.
    genes : sequence of str, or of int, or bool array
        Names, positions, or a mask of the genes of the data.
    data : PairedData
        Provides the names of its genes.

    Returns
    -------
    estimator
        A pipeline that takes all genes and passes these on, in the order of the data; a `ClassRidge` with `columns`.
        Both know genes by their positions in these data, and are refused where models see only some genes
        (`n_variable_genes`, `matched_controls`). The number of genes is not counted in tables. It learns from cells
        without missing values of Y.

    Raises
    ------
    ValueError
        The estimator reads no genes; genes that the data do not have or that are named twice, or none; or settings
        that cannot be fitted with so few.
    """
    check_paired(data)
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        raise ValueError(f"estimator should be an unfitted estimator, got {estimator!r}")
    if not reads_genes(estimator):
        kind = type(estimator).__name__
        raise ValueError(f"estimator is a {kind} that reads the classes of the cells and no gene: use it as it is")
    columns = _columns_of(genes, data.gene_names)
    if isinstance(estimator, ClassRidge):
        return clone(estimator).set_params(columns=tuple(columns))
    if hasattr(estimator, "check_settings"):
        estimator.check_settings(len(columns), data.n_features)
    kept = ColumnTransformer([("kept", "passthrough", columns)])
    return Pipeline([("genes", kept), ("model", clone(estimator))])


def _columns_of(genes: Any, gene_names: np.ndarray) -> list[int]:
    """Return the positions of genes, in ascending order, from names, positions or a mask."""
    values = genes
    if np.iterable(genes) and not isinstance(genes, (str, bytes)):
        if isinstance(genes, pd.Series) and genes.dtype == bool and list(genes.index) != list(gene_names):
            raise ValueError("genes is a mask whose index is not the genes of the data, in their order: give names")
        if np.ma.isMaskedArray(genes):
            raise ValueError("genes is a masked array: leave out what is masked")
        values = np.asarray(genes if hasattr(genes, "dtype") else list(genes))
        if values.dtype.kind in "biu":
            columns = check_rows(values, len(gene_names), "genes")
            if not len(columns):
                raise ValueError("genes is empty: give at least one")
            return sorted(columns.tolist())
    return named_positions(values, gene_names).tolist()


def _linear_models(n_genes, n_features, solver):
    """Ridge, lasso, elastic net of full rank, and relaxed sparse reduced-rank regression of every rank."""
    sparse, full_rank = {"solver": solver, "l1_ratio": 1.0}, min(n_genes, n_features)
    alphas, relaxed = (LASSO_ALPHAS,) * 2 if n_genes <= FEW_GENES else (LASSO_ALPHAS[:-1], LASSO_ALPHAS[:-2])
    half = [ReducedRankRegressor(None, 2 * alpha, 0.5, solver=solver) for alpha in alphas]
    ranks = {f"sRRR-{rank}": rank for rank in (2, 3, 4) if rank < full_rank} | {"sRRR-full": None}
    return {
        "ridge": [ReducedRankRegressor(None, alpha, l1_ratio=0.0) for alpha in RIDGE_ALPHAS],
        "lasso": [ReducedRankRegressor(None, alpha, **sparse) for alpha in alphas],
        "elastic net": half,
        **{
            name: [ReducedRankRegressor(rank, alpha, relaxed=True, **sparse) for alpha in relaxed]
            for name, rank in ranks.items()
        },
    }


def _other_models(data, n_genes, shorten, random_state):
    """Neighbours, kernels and trees; the more they average, the simpler they are."""
    neighbours = [max(1, min(number, data.n_cells // 8)) for number in (50, 25, 12, 6)]
    n_components = max(1, min(20, n_genes, data.n_cells // 8))
    n_trees = max(1, round(100 * shorten))
    boosted = {"learning_rate": 0.2, "max_features": 0.2, "early_stopping": False, "random_state": random_state}
    boosted |= {"max_bins": 32, "max_iter": max(1, round(50 * shorten))}
    return {
        "PCA + kNN": [
            make_pipeline(PCA(n_components, random_state=random_state), KNeighborsRegressor(number))
            for number in dict.fromkeys(neighbours)
        ],
        "kernel ridge": [
            KernelRidge(kernel="rbf", gamma=width / n_genes, alpha=alpha)
            for width in (0.1, 0.3)
            for alpha in (3.0, 1.0, 0.3)
        ],
        "extra trees": [
            ExtraTreesRegressor(n_trees, min_samples_leaf=size, max_features=0.3, random_state=random_state)
            for size in (10, 5, 2, 1)
        ],
        "gradient boosting": [
            MultiOutputRegressor(HistGradientBoostingRegressor(max_leaf_nodes=size, **boosted)) for size in (2, 4)
        ],
    }


def _selecting_models(found, n_genes, n_features, solver):
    """Of the models that are not networks, those that can select a number of genes."""
    sized = {"n_selected": n_genes, "solver": solver}
    ranks = {"sRRR-2": 2, "sRRR-3": 3, "sRRR-4": 4, "sRRR-full": None}
    return {
        "ridge": [_on_own_genes(one, n_genes, "gene_norms_") for one in found["ridge"]],
        "lasso": [SizedReducedRank(rank=None, relaxed=False, **sized)],
        "elastic net": [SizedReducedRank(rank=None, l1_ratio=0.5, relaxed=False, **sized)],
        **{name: [SizedReducedRank(rank=rank, **sized)] for name, rank in ranks.items() if name in found},
        "extra trees": [_on_own_genes(one, n_genes, "auto") for one in found["extra trees"]],
    }


def _on_own_genes(estimator, n_genes, importance):
    """Return a pipeline in which an estimator is fitted, and fitted again on the genes that it finds most important."""
    largest = SelectFromModel(estimator, threshold=-np.inf, max_features=n_genes, importance_getter=importance)
    return Pipeline([("genes", largest), ("model", clone(estimator))])


def _networks(n_cells, numbers, given, shorten, random_state):
    """Bottleneck networks of 2 and 64 dimensions, single and as means of ten; given genes are kept, without penalty."""
    from sbnn.models.bottleneck import SparseBottleneckRegressor  # here, so that other models do not need Keras

    small = n_cells < SMALL_DATA
    kinds = {
        "sBNN-2": (2, "small" if small else "fast", (0.2, 0.1) if small else (0.1, 0.05), 1),
        "sBNN-64": (64, "wide", (0.06, 0.03), 1),
        "sBNN-2, ten networks": (2, "small" if small else "stable", (0.1,) if small else (0.05,), N_NETWORKS),
        "sBNN-64, ten networks": (64, "wide", (0.03,), N_NETWORKS),
    }
    return {
        name: [
            SparseBottleneckRegressor(
                bottleneck_dim=n_dims,
                group_lasso=penalty,
                n_selected=number,
                schedule=schedule if shorten == 1 else get_schedule(schedule).shortened(shorten),
                n_networks=n_networks,
                random_state=random_state,
            )
            for number in numbers
            for penalty in ((0.0,) if given else penalties)
        ]
        for name, (n_dims, schedule, penalties, n_networks) in kinds.items()
    }
