"""The picture of your own cells on their map, with genes and features over it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sbnn.data.cell_labels import PLAIN_COLOR
from sbnn.data.paired_data import PairedData
from sbnn.figures.embedding import tsne
from sbnn.figures.maps import plot_latent_space
from sbnn.figures.style import use_style
from sbnn.models.latent_regressor import LatentRegressorMixin


def draw_map(
    estimator: LatentRegressorMixin,
    X: np.ndarray,
    data: PairedData,
    selected_genes: np.ndarray,
    feature_names: np.ndarray,
) -> Figure:
    """Draw cells on the map, its t-SNE if it has more than two dimensions; see `sbnn.PairedModel.plot`.

    Parameters
    ----------
    estimator : SparseBottleneckRegressor or ReducedRankRegressor
        Fitted.
    X : array, shape (n_cells, n_genes)
        The cells as it takes them.
    data : PairedData
        The same cells, with their types and families.
    selected_genes, feature_names : str arrays
        Names of the genes that the estimator reads, and of what it predicts.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        An estimator with a single latent dimension.
    """
    Z = np.asarray(estimator.transform(X))
    if Z.shape[1] < 2:
        raise ValueError(f"a map needs at least two latent dimensions, the model has {Z.shape[1]}: see transform")
    genes, features = estimator.decode_genes(Z), pd.DataFrame(estimator.predict(X), columns=feature_names)
    if genes.shape[1] > len(selected_genes):  # a linear model decodes all
        genes = genes[:, estimator.selected_]
    largest = np.argsort(-estimator.gene_norms_[estimator.selected_], kind="stable")[:9]
    panel = {
        "title": f"{data.n_cells} cells, {len(selected_genes)} genes",
        "coordinates": Z if Z.shape[1] == 2 else tsne(Z),
        "genes": pd.DataFrame(genes, columns=selected_genes).iloc[:, largest],
        "features": features[features.var().nlargest(9).index],
    }
    with plt.rc_context():  # the user's own settings are not changed
        use_style()
        return plot_latent_space([panel], _table_of(data))


def _table_of(data):
    """Table of cells with colours, as figures take it; one colour for all where types are not known."""
    families = data.cell_families if data.cell_families is not None else data.cell_types
    colors = [PLAIN_COLOR] * data.n_cells
    if data.cell_types is not None and data.type_colors is not None:
        colors = [data.type_colors[name] for name in data.cell_types]
    plain = np.full(data.n_cells, "")
    cells = pd.DataFrame({"type_color": colors, "cell_family": plain if families is None else families})
    if data.cell_families is not None and data.family_colors is not None:
        cells["family_color"] = [data.family_colors[name] for name in data.cell_families]
    return cells
