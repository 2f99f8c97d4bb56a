"""Figures of scores: R2 by feature, and R2 against the number of genes."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sbnn.figures.style import MUTED, axes_at, freeze, model_styles, name_powers

#: Name of the row of all features together.
POOLED = "all features"
_LOWEST = -0.4  # lower R2 of a feature is written, not drawn
_BELOW_BEST = 0.1  # the R2 axis starts this far below the maximum of the weakest curve, unless a network scores less
_BAR = {"linestyle": "none", "linewidth": 0.8, "elinewidth": 0.8, "capsize": 0}


def plot_feature_scores(
    feature_scores: pd.DataFrame, pooled: Mapping[str, float] | pd.DataFrame, authors: pd.DataFrame | None = None
) -> Figure:
    """Figure 4: how well each feature is predicted, by both networks and by means of classes.

    Its message: which features genes predict, and where the networks predict more than a cell's family does.

    Parameters
    ----------
    feature_scores : DataFrame
        `model`, `fold`, `feature`, `r2_test` of several models; rows are sorted by the first of `pooled`.
    pooled : dict or DataFrame
        R2 of all features together: model -> R2, or `model`, `fold`, `r2_test`, which gives SDs as well. Its
        models are drawn in this order, followed by those that are only in `feature_scores`.
    authors : DataFrame, optional
        `model`, `feature`, `r2_test`, `r2_test_sd` of `read_author_results`, drawn as hollow markers next to ours.

    Returns
    -------
    Figure
    """
    table = _score_table(feature_scores, pooled)
    models = list(dict.fromkeys(table["model"]))
    first = table[table["model"] == models[0]].set_index("feature")["mean"].drop(POOLED, errors="ignore")
    features = first.sort_values(ascending=False, kind="stable").index.tolist()
    rows = {POOLED: 0.0} | {feature: 1.7 + number for number, feature in enumerate(features)}
    of_authors = [] if authors is None else [name for name in models if (authors["model"] == name).any()]
    height = (0.19 + 0.04 * len(of_authors)) * (len(rows) + 1)
    figure = plt.figure(figsize=(5.0, height + 0.78), layout="none")
    axis = axes_at(figure, 1.2, 0.36, 3.65, height)
    styles = model_styles(models)
    shifts = iter(_shifts(len(models) + len(of_authors)))
    for name in models:
        shift = next(shifts)
        part = table[table["model"] == name]
        places = part["feature"].map(rows) + shift
        _draw_points(axis, part["mean"], places, part["std"], styles[name])
        if authors is not None and name in of_authors:
            theirs = authors[(authors["model"] == name) & authors["feature"].isin(rows)]
            places = theirs["feature"].map(rows) + next(shifts)
            hollow = styles[name]._replace(filled=False)
            _draw_points(axis, theirs["r2_test"], places, theirs["r2_test_sd"], hollow, marker="D")
    _dress_features(axis, rows, table)
    handles = [_handle(name, styles[name]) for name in models]
    handles += [_handle(f"{name}, authors", styles[name]._replace(filled=False), "D") for name in of_authors]
    figure.legend(handles=handles, loc="upper center", ncols=min(4, len(handles)) if len(handles) != 6 else 3,
                  bbox_to_anchor=(0.5, 1), columnspacing=1.2, handletextpad=0.2)  # fmt: skip
    return freeze(figure)


def _score_table(feature_scores, pooled):
    """Mean and SD over folds by model and feature, all features together among them."""
    if not isinstance(pooled, pd.DataFrame):
        pooled = pd.DataFrame({"model": list(pooled), "r2_test": list(pooled.values()), "fold": 0})
    models = list(dict.fromkeys(pooled["model"]))
    models += [name for name in dict.fromkeys(feature_scores["model"]) if name not in models]
    parts = [feature_scores, pooled.assign(feature=POOLED)]
    scores = pd.concat([part[["model", "fold", "feature", "r2_test"]] for part in parts])
    table = scores.groupby(["model", "feature"])["r2_test"].agg(["mean", "std"]).reset_index()
    order = {name: number for number, name in enumerate(models)}
    return table.sort_values("model", key=lambda names: names.map(order), kind="stable")


def _shifts(n_models):
    """Vertical offsets of models within a row."""
    return np.linspace(-0.3, 0.3, n_models) if n_models > 1 else [0.0]


def _draw_points(axis, values, places, deviations, style, marker="o"):
    """Draw points with bars of one SD; values below the axis are written at its edge."""
    values, places, deviations = (np.asarray(numbers, dtype=float) for numbers in (values, places, deviations))
    inside = values >= _LOWEST
    face = style.color if style.filled else "white"
    axis.errorbar(
        values[inside], places[inside], xerr=np.nan_to_num(deviations[inside]), fmt=marker, color=style.color,
        markersize=3.2 if marker == "o" else 3, markerfacecolor=face, markeredgewidth=0.7, **_BAR, zorder=3,
    )  # fmt: skip
    for value, place in zip(values[~inside], places[~inside], strict=True):
        axis.annotate(f"◂ {value:.1f}".replace("-", "−"), (_LOWEST, place), (1, 0), textcoords="offset points",
                      fontsize=6, color=style.color, va="center_baseline")  # fmt: skip


def _handle(name, style, marker="o"):
    """Legend handle of a model."""
    face = style.color if style.filled else "white"
    return Line2D([], [], linestyle="", marker=marker, markersize=3.6, color=style.color, markerfacecolor=face,
                  markeredgewidth=0.7, label=name)  # fmt: skip


def _dress_features(axis, rows, table):
    """Set rows, limits and labels of the axes of figure 4."""
    low = (table["mean"] - table["std"].fillna(0)).min()
    high = max((table["mean"] + table["std"].fillna(0)).max(), 0.1)
    low = max(_LOWEST, 0.1 * np.floor(min(low, 0) / 0.1 - 0.01))
    axis.set(xlim=(low, 0.1 * np.ceil(high / 0.1)), ylim=(max(rows.values()) + 0.6, -0.6))
    axis.set_yticks(list(rows.values()), list(rows))
    axis.get_yticklabels()[0].set_fontweight("bold")
    axis.tick_params(axis="y", length=0)
    axis.axvline(0, color="0.5", linewidth=0.6, zorder=1)
    axis.axhline(0.85, color="0.6", linewidth=0.6)
    for place in list(rows.values())[1::2]:
        axis.axhspan(place - 0.5, place + 0.5, color="0.96", linewidth=0, zorder=0)
    axis.set_xlabel("test R², mean ± SD over folds")


def plot_linear_path(
    scores: pd.DataFrame, chosen: Mapping[str, float] | None = None, networks: pd.DataFrame | None = None
) -> Figure:
    """Plot R2 of linear models against the number of genes they select, and that of networks at their number.

    Its message: at the same number of genes, how much more does a network predict than a linear model?

    Parameters
    ----------
    scores : DataFrame
        `model`, `alpha`, `relaxed`, `fold`, `n_selected`, `r2_test` over a grid of alpha.
    chosen : dict, optional
        Model -> alpha to mark.
    networks : DataFrame, optional
        `model`, `n_selected`, `fold`, `r2_test`, drawn as points with bars of one SD over folds.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(5.4, 2.9), layout="none")
    axis = axes_at(figure, 0.72, 0.12, 2.95, 2.35)
    styles = model_styles([*scores["model"], *([] if networks is None else networks["model"])])
    handles, contest = _draw_paths(axis, scores, chosen or {}, styles)
    if networks is not None:
        drawn, ends = _draw_networks(axis, networks, styles)
        handles, contest = [*drawn, *handles], [*contest, *ends]
    low, high = 0.05 * np.floor(np.nanmin(contest) / 0.05), 0.05 * np.ceil(np.nanmax(contest) / 0.05)
    start = f"{low:.2f}".replace("-", "−")
    axis.set(xscale="log", ylim=(low, high), xlabel="genes selected, mean over folds")
    axis.set_ylabel(f"test R², mean ± SD over folds\n(axis starts at {start})")
    name_powers(axis.xaxis)
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(3.8 / 5.4, 0.55), labelspacing=0.6)
    return freeze(figure)


def _draw_paths(axis, scores, chosen, styles):
    """Draw linear models over their grids; return handles, and heights that the axis should include."""
    handles, contest = [], []
    for (model, relaxed), part in scores.groupby(["model", "relaxed"], sort=False):
        path, color = _mean_path(part), styles[model].color
        line = {"color": color, "linestyle": "-" if relaxed else ":", "linewidth": 1.2}
        axis.plot(path["n_selected"], path["mean"], **line)
        handles.append(Line2D([], [], **line, label=f"{model}, {'relaxed' if relaxed else 'sparse'}"))
        contest += [path["mean"].max() - _BELOW_BEST, path["mean"].max()]
        if relaxed:
            band = path["mean"] - path["std"], path["mean"] + path["std"]
            axis.fill_between(path["n_selected"], *band, color=color, alpha=0.12, linewidth=0)
            contest.append(band[1].max())
        if relaxed and model in chosen:
            point = path.loc[chosen[model]]
            axis.plot(point["n_selected"], point["mean"], "o", color=color, markersize=7, mfc="none", zorder=6)
    if chosen:
        circle = {"linestyle": "", "marker": "o", "mfc": "none", "markersize": 5.5}
        handles.append(Line2D([], [], color=MUTED, **circle, label="compared with networks"))
    return handles, contest


def _mean_path(part):
    """Mean number of genes, mean and SD of R2 by alpha; alphas without a score in every fold are left out."""
    groups = part.groupby("alpha")
    path = groups["r2_test"].agg(mean=lambda values: values.mean(skipna=False), std="std")
    path["n_selected"] = groups["n_selected"].mean()
    return path.dropna(subset="mean").sort_values("n_selected")


def _draw_networks(axis, networks, styles):
    """Draw networks as points with bars, side by side; return handles and ends of bars."""
    table = networks.groupby(["model", "n_selected"], sort=False)["r2_test"].agg(["mean", "std"]).reset_index()
    handles, ends = [], []
    shifts = dict(zip(table["model"].unique(), 1.08 ** np.linspace(-1, 1, table["model"].nunique()), strict=True))
    for name, part in table.groupby("model", sort=False):
        color = styles[name].color
        settings = {"fmt": "D", "color": color, "markersize": 4, "markeredgewidth": 0}
        axis.errorbar(part["n_selected"] * shifts[name], part["mean"], yerr=part["std"].fillna(0), zorder=5,
                      **settings, **_BAR)  # fmt: skip
        handles.append(Line2D([], [], color=color, linestyle="", marker="D", markersize=4, label=name))
        ends += [(part["mean"] - part["std"].fillna(0)).min(), (part["mean"] + part["std"].fillna(0)).max()]
    return handles, ends
