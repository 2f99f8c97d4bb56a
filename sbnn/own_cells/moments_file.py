"""The part of a model file that holds depths, means and SDs: those of the model, or of each fold of its calibration."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sbnn._checks import check_number
from sbnn.data.preprocessing import Preprocessor

#: Attributes of a Preprocessor that are arrays, whatever it was fitted on.
MOMENTS = ("gene_means_", "gene_sds_", "feature_means_", "feature_sds_")
SHARES = "gene_shares_"


def pack_moments(preprocessor: Preprocessor) -> dict[str, np.ndarray]:
    """Return the arrays of a fitted Preprocessor by name: moments, and shares of genes if it was fitted on counts."""
    names = MOMENTS if preprocessor.gene_shares_ is None else (*MOMENTS, SHARES)
    return {name: getattr(preprocessor, name) for name in names}


def same_moments(one: Preprocessor, other: Preprocessor) -> bool:
    """Return whether two Preprocessors of the same genes and features were fitted on the same cells."""
    return all(np.allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9) for name in MOMENTS)


def unpack_moments(
    take: Callable[..., np.ndarray], n_genes: int, n_features: int, depths: Sequence[Any] | None, n_folds: int | None
) -> list[Preprocessor]:
    """Return the Preprocessors whose arrays `pack_moments` named, after checking their values.

    Parameters
    ----------
    take : callable
        Takes an array out of the file by its name, after checking its kind, shape and values; see
        `sbnn.own_cells.model_file`.
    n_genes, n_features : int
    depths : sequence, or None
        The median depth of each as the file has it; None if they were fitted on expression.
    n_folds : int or None
        Length of the first axis of the arrays; None if they are those of a single Preprocessor, without this axis.

    Returns
    -------
    list of Preprocessor

    Raises
    ------
    ValueError
        An array is missing, of another shape, or holds values that cannot be; a depth that is no positive number;
        shares that do not add up to 1.
    """
    first = () if n_folds is None else (n_folds,)
    fitted = [Preprocessor(allow_constant=True) for _ in range(n_folds or 1)]

    def take_each(name, **limits):
        n = n_genes if name.startswith("gene") else n_features
        return take(name, "f", (*first, n), **limits).reshape(len(fitted), n)

    for name in MOMENTS:
        limits = {"least": 0, "above": True} if "_sds" in name else {}
        for preprocessor, values in zip(fitted, take_each(name, **limits), strict=True):
            setattr(preprocessor, name, values)
    for preprocessor in fitted:
        preprocessor.median_depth_ = preprocessor.gene_shares_ = None
    if depths is not None:
        for fold, (preprocessor, depth, shares) in enumerate(
            zip(fitted, depths, take_each(SHARES, least=0), strict=True)
        ):
            preprocessor.median_depth_ = check_number(depth, "median_depth", above=True)
            preprocessor.gene_shares_ = shares
            if abs(shares.sum() - 1) > 1e-6:
                whose = "its gene_shares_" if n_folds is None else f"the gene_shares_ of its fold {fold}"
                raise ValueError(f"{whose} add up to {shares.sum():g}, not to 1")
    return fitted
