"""The network that PairedModel fits if none is given: an ensemble whose settings follow the number of cells."""

from sklearn.base import BaseEstimator

from sbnn._checks import check_whole

#: With fewer cells than this, the schedule "small".
SMALL_DATA = 600
N_NETWORKS = 10


def default_network(n_cells: int) -> BaseEstimator:
    """Return an ensemble of ten networks for a number of cells.

    Parameters
    ----------
    n_cells : int

    Returns
    -------
    SparseBottleneckRegressor
        With the schedule "small" and group_lasso 0.1 for fewer than 600 cells, "stable" and 0.05 for 600 or more.
        benchmarks/choose_small_schedule.py chose them, benchmarks/small_data.py compares them with linear models.

    Raises
    ------
    ValueError
        Not a whole number of at least 1.
    """
    check_whole(n_cells, "n_cells")
    from sbnn.models.bottleneck import SparseBottleneckRegressor  # here, so that linear models do not need Keras

    settings = {"schedule": "small", "group_lasso": 0.1} if n_cells < SMALL_DATA else {"schedule": "stable"}
    return SparseBottleneckRegressor(n_networks=N_NETWORKS, **settings)
