"""Simulated Patch-seq data with a known ground truth: the built-in data set, and the basis of tests."""

from typing import NamedTuple

import numpy as np
from matplotlib import colors

from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import Preprocessor


class SimulationTruth(NamedTuple):
    """Ground truth of the simulation.

    Attributes
    ----------
    informative : bool array, shape (n_genes,)
        Genes whose expression depends on the coordinates.
    coordinates : array, shape (n_cells, 2)
        Position of each cell on the hidden map; genes and features are functions of it.
    """

    informative: np.ndarray
    coordinates: np.ndarray


def simulate_patchseq(
    n_cells: int = 600,
    n_genes: int = 500,
    n_features: int = 12,
    n_informative: int = 15,
    n_types: int = 8,
    n_donors: int = 40,
    within_type: float = 1.0,
    missing: float = 0.0,
    random_state: int = 0,
    noise: float = 0.5,
) -> tuple[PairedData, SimulationTruth]:
    """Simulate counts and features that both depend on two hidden coordinates of each cell.

    Types are points on a plane and cells are scattered around them. Informative genes and all features are
    smooth non-linear functions of the coordinates; the other genes vary as strongly, but with independent
    factors. Counts are gamma-Poisson around the expression times the depth of the cell.

    Parameters
    ----------
    n_cells, n_genes, n_features, n_types, n_donors : int
        Sizes.
    n_informative : int
        How many genes depend on the coordinates.
    within_type : float
        SD of a cell's place around its type, as a multiple of 0.35; 0 leaves no signal beyond the type.
    missing : float
        Fraction of feature values that are removed (NaN).
    random_state : int
    noise : float
        SD of the noise that is added to features, whose signal has an SD of about 1. With 1, R2 of the type means is
        about .5, as in scala_2020.

    Returns
    -------
    data : PairedData
    truth : SimulationTruth

    Raises
    ------
    ValueError
        Sizes contradict each other.
    """
    if not 1 <= n_informative <= n_genes:
        raise ValueError(f"n_informative must be between 1 and n_genes={n_genes}, got {n_informative}")
    if not 0 <= missing < 1:
        raise ValueError(f"missing must be in [0, 1), got {missing}")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be a finite number of at least 0, got {noise}")
    if n_types > n_cells or n_donors > n_cells:
        raise ValueError(f"n_types={n_types} and n_donors={n_donors} must not exceed n_cells={n_cells}")
    random = np.random.default_rng(random_state)
    angles = 2 * np.pi * np.arange(n_types) / n_types
    radii = np.where(np.arange(n_types) % 2, 1.0, 1.8)
    centres = radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    types = random.permutation(np.arange(n_cells) % n_types)
    coordinates = centres[types] + 0.35 * within_type * random.standard_normal((n_cells, 2))

    informative = np.zeros(n_genes, dtype=bool)
    informative[random.choice(n_genes, n_informative, replace=False)] = True
    counts = _simulate_counts(coordinates, informative, random)
    features = _smooth_functions(coordinates, n_features, random)
    features += noise * random.standard_normal(features.shape)
    features[random.random(features.shape) < missing] = np.nan

    type_names = np.array([f"type {index + 1}" for index in range(n_types)])
    preprocessor = Preprocessor().fit(counts, features)
    data = PairedData(
        X=preprocessor.transform_genes(counts),
        Y=preprocessor.transform_features(features),
        gene_names=np.array([f"gene{index:0{len(str(n_genes))}d}" for index in range(n_genes)]),
        feature_names=np.array([f"feature {index + 1}" for index in range(n_features)]),
        cell_names=np.array([f"cell{index:0{len(str(n_cells))}d}" for index in range(n_cells)]),
        counts=counts,
        features=features,
        feature_units=(None,) * n_features,
        cell_types=type_names[types],
        cell_families=np.where(types % 2, "outer", "inner"),
        type_colors={
            name: colors.to_hex(tuple(colors.hsv_to_rgb((index / n_types, 0.75, 0.85))))
            for index, name in enumerate(type_names.tolist())
        },
        family_colors={"inner": "#4477AA", "outer": "#EE6677"},
        donors=np.array([f"donor{index}" for index in random.permutation(np.arange(n_cells) % n_donors)]),
        name="simulated",
    )
    return data, SimulationTruth(informative, coordinates)


def _smooth_functions(coordinates, n_functions, random):
    """Random smooth non-linear functions of the coordinates, each with unit variance."""
    directions = random.standard_normal((2, n_functions))
    directions /= np.linalg.norm(directions, axis=0)
    shifts = random.uniform(-1, 1, n_functions)
    values = np.tanh(1.5 * (coordinates @ directions) + shifts)
    bumps = random.uniform(-1.5, 1.5, (n_functions, 2))
    distance = ((coordinates[:, None, :] - bumps) ** 2).sum(axis=2)
    values += random.choice([-1, 1], n_functions) * np.exp(-distance)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _simulate_counts(coordinates, informative, random):
    """Gamma-Poisson counts of genes that follow the coordinates or independent factors."""
    n_cells, n_genes = len(coordinates), len(informative)
    log_rate = np.empty((n_cells, n_genes))
    log_rate[:, informative] = _smooth_functions(coordinates, informative.sum(), random)
    # Uninformative genes share ten factors, so that they are correlated with each other as real genes are.
    factors = random.standard_normal((n_cells, 10))
    loadings = random.standard_normal((10, n_genes - informative.sum())) / np.sqrt(10)
    log_rate[:, ~informative] = factors @ loadings
    depth = np.exp(0.4 * random.standard_normal((n_cells, 1)))
    rate = depth * np.exp(random.uniform(0.5, 4.0, n_genes) + log_rate)
    return random.poisson(rate * random.gamma(2.0, 0.5, rate.shape)).astype(np.int32)
