"""The picture of one fold: how R2 rises in training, and where the cells that were held out land."""

import matplotlib.pyplot as plt

from sbnn.maps import draw_bare_cells, draw_cells
from sbnn.plotting import GREEN


def plot_one_fold(result, cells):
    """Draw training and test R2 of one network by epoch, and its map with the held-out cells.

    Parameters
    ----------
    result : CrossValidation
        Of one network in one fold, with `curves` and `latents`; a map is drawn of the first two coordinates.
    cells : DataFrame
        `cell`, `cell_family`, `type_color` of all cells.

    Returns
    -------
    Figure
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.6, 2.8), layout="constrained")
    curves, latents = result.curves, result.latents
    epochs = range(1, len(curves) + 1)
    for column, color, name in (("r2_train", "0.6", "training cells"), ("r2_test", GREEN, "test cells")):
        left.plot(epochs, curves[column], color=color, linewidth=1.3)
        left.annotate(
            name, (epochs[-1], curves[column].iloc[-1]), xytext=(3, 0), textcoords="offset points", color=color
        )
    return figure


__all__ = ["draw_bare_cells", "draw_cells"]
