"""Figures of scores, genes and features; every function takes tables and returns a Figure.

Training curves are in `sbnn.curves`, pictures of cells in `sbnn.maps`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from sbnn.preprocessing import variable_gene_curve
from sbnn.style import GREEN, LINEAR, ORANGE, OUTLINE, freeze, penalty_label, use_style, wrapped  # noqa: F401


def plot_feature_scores(feature_scores, pooled, authors=None):
    """Figure 4: how well each feature is predicted.

    Parameters
    ----------
    feature_scores : DataFrame
        `model`, `fold`, `feature`, `r2_test`; one panel a model.
    pooled : dict
        Model -> pooled R2, a dashed line.
    authors : DataFrame, optional
        `model`, `feature`, `r2_test`, `r2_test_sd` of `read_author_results`, drawn as points beside the bars.

    Returns
    -------
    Figure
    """
    models = list(pooled)
    n_features = feature_scores["feature"].nunique()
    figure, axes = plt.subplots(
        1,
        len(models),
        figsize=(3.2 * len(models), max(2.6, 0.17 * n_features)),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, model, color in zip(axes[0], models, (GREEN, ORANGE, LINEAR, "0.4"), strict=False):
        part = feature_scores[feature_scores["model"] == model]
        table = part.groupby("feature")["r2_test"].agg(["mean", "std"]).sort_values("mean")
        axis.barh(
            table.index,
            table["mean"],
            xerr=table["std"].fillna(0),
            color=color,
            height=0.7,
            error_kw={"linewidth": 0.7, "ecolor": "0.2"},
        )
        if authors is not None and (authors["model"] == model).any():
            theirs = authors[authors["model"] == model].set_index("feature").reindex(table.index)
            axis.errorbar(
                theirs["r2_test"],
                np.arange(len(table)) - 0.28,
                xerr=theirs["r2_test_sd"],
                fmt="o",
                color="k",
                markersize=2,
                linewidth=0.5,
                label="authors (best test epoch)",
            )
            axis.legend(loc="lower right", bbox_to_anchor=(1, 0.06))
        axis.axvline(pooled[model], color="k", linestyle="--", linewidth=0.8)
        axis.annotate(
            rf"pooled $R^2$ {pooled[model]:.3f}",
            (pooled[model], 0),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize=6.5,
        )
        axis.axvline(0, color="0.5", linewidth=0.6)
        axis.set_title(model, loc="left", fontweight="bold")
        axis.set_xlabel(r"test $R^2$, mean and SD over folds")
        axis.margins(y=0.01)
    return freeze(figure)


def plot_gene_frequencies(frequencies, axis=None):
    """Figure 5, histogram: how many genes were selected in how many runs.

    Parameters
    ----------
    frequencies : dict
        Name -> Series of `comparison.gene_frequencies`.
    axis : Axes, optional
        Where to draw; a figure of its own if None.

    Returns
    -------
    Figure
    """
    alone = axis is None
    if alone:
        _, axis = plt.subplots(layout="constrained", figsize=(3.2, 2.4))
    most = max(series.max() for series in frequencies.values())
    runs = np.arange(1, most + 1)
    width = 0.8 / len(frequencies)
    for index, ((name, series), color) in enumerate(zip(frequencies.items(), (GREEN, ORANGE, LINEAR), strict=False)):
        number = [int((series == run).sum()) for run in runs]
        place = runs + (index - (len(frequencies) - 1) / 2) * width
        bars = axis.bar(place, number, width, color=color, label=f"{name} ({len(series)} genes in all)")
        axis.bar_label(bars, fontsize=5.5, padding=1)
    axis.set(xlabel="selected in how many runs", ylabel="number of genes", xticks=runs)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return freeze(axis.figure) if alone else axis.figure


def plot_variable_genes(statistics, selected, offset, decay=1.5, labels=None, title=None):
    """Figure 7: zero rate against mean expression, with the curve that separates variable genes.

    Parameters
    ----------
    statistics : DataFrame
        `zero_rate`, `mean_log` of every gene (`preprocessing.gene_statistics`).
    selected : bool array
    offset, decay : float
        The curve.
    labels : dict, optional
        Row -> name of genes to name.
    title : str, optional

    Returns
    -------
    Figure
    """
    figure, axis = plt.subplots(layout="constrained", figsize=(3.4, 2.8))
    selected = np.asarray(selected, dtype=bool)
    for mask, color, what in ((~selected, "0.7", "other genes"), (selected, "#c0392b", "selected")):
        axis.plot(
            statistics["mean_log"][mask],
            statistics["zero_rate"][mask],
            ".",
            color=color,
            markersize=1.2,
            rasterized=True,
            label=f"{what} ({int((mask & statistics['zero_rate'].notna()).sum())})",
        )
    high = float(np.nanmax(statistics["mean_log"])) + 0.3
    low = float(np.nanmin(statistics["mean_log"])) - 0.3
    grid = np.linspace(low, high, 500)
    curve = variable_gene_curve(grid, offset, decay)
    axis.plot(grid[curve <= 1.02], curve[curve <= 1.02], "k-", linewidth=0.9)
    named = sorted((labels or {}).items(), key=lambda item: statistics.loc[item[0], "mean_log"])
    for number, (row, name) in enumerate(named):
        point = statistics.loc[row, ["mean_log", "zero_rate"]].to_numpy(dtype=float)
        axis.annotate(
            name,
            point,
            xytext=(7, 5) if number % 2 else (7, -8),  # in turn above and below: close points keep legible names
            textcoords="offset points",
            fontsize=6,
            style="italic",
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1},
            path_effects=OUTLINE,
        )
    axis.set(
        xlim=(low, high),
        ylim=(-0.02, 1.02),
        xlabel=r"mean log$_2$ count where detected",
        ylabel="fraction of cells without",
        title=title,
    )
    axis.legend(markerscale=5, loc="lower left")
    return freeze(figure)


def plot_feature_distributions(before, after, units=None):
    """Distributions of all features before and after transformation and z-scoring.

    Parameters
    ----------
    before : DataFrame
        Features as measured, one column a feature.
    after : DataFrame
        The same, transformed and z-scored.
    units : dict, optional
        Feature -> unit of `before`.

    Returns
    -------
    Figure
    """
    n_columns = 8
    n_rows = 2 * -(-before.shape[1] // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(7.4, 1.05 * n_rows), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for index, feature in enumerate(before.columns):
        block, column = divmod(index, n_columns)
        for table, row, color in ((before, 2 * block, "0.55"), (after, 2 * block + 1, GREEN)):
            axis = axes[row, column]
            axis.set_axis_on()
            axis.hist(table[feature].dropna(), bins=30, color=color)
            axis.set(yticks=[])
            axis.spines["left"].set_visible(False)
            axis.tick_params(labelsize=5)
        unit = (units or {}).get(feature)
        axes[2 * block, column].set_title(wrapped(feature + (f" ({unit})" if unit else ""), 17), fontsize=6)
        axes[2 * block + 1, column].set_xlim(-4, 4)
    return freeze(figure)


def plot_linear_path(scores, chosen=None):
    """R2 of linear models against the number of genes they select.

    Parameters
    ----------
    scores : DataFrame
        `model`, `alpha`, `relaxed`, `fold`, `n_selected`, `r2_test` over a grid of alpha.
    chosen : dict, optional
        Model -> alpha to mark.

    Returns
    -------
    Figure
    """
    figure, axis = plt.subplots(layout="constrained", figsize=(3.6, 2.8))
    colors = dict(zip(scores["model"].unique(), (GREEN, ORANGE, LINEAR, "0.4", "#a6761d"), strict=False))
    for (model, relaxed), part in scores.groupby(["model", "relaxed"], sort=False):
        mean = part.groupby("alpha")[["n_selected", "r2_test"]].agg({"n_selected": "mean", "r2_test": "mean"})
        complete = part.groupby("alpha")["r2_test"].apply(lambda values: values.notna().all())
        mean = mean[complete].sort_values("n_selected")
        axis.plot(
            mean["n_selected"],
            mean["r2_test"],
            color=colors[model],
            linestyle="-" if relaxed else ":",
            marker=".",
            markersize=3,
            linewidth=1,
            label=model + (", relaxed" if relaxed else ""),
        )
        if relaxed and chosen and model in chosen:
            point = mean.loc[chosen[model]]
            axis.plot(point["n_selected"], point["r2_test"], "o", color=colors[model], markersize=6, mfc="none")
    axis.set(xscale="log", xlabel="genes selected (mean over folds)", ylabel=r"test $R^2$ (mean over folds)")
    axis.legend(loc="lower right")
    return freeze(figure)
