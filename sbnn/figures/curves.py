"""Training curves: the effects of penalty, pre-training and bottleneck, here and in the authors' results."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from sbnn.figures.labels import label_at_right
from sbnn.figures.style import (
    FULL_WIDTH,
    MODEL_STYLES,
    MUTED,
    axes_at,
    freeze,
    model_styles,
    name_powers,
    panel_title,
    penalty_label,
    shades,
    text_at,
)
from sbnn.storage.author_results import CURVE_NOTE

_STEP = 0.05  # R2 axes begin and end at multiples of it
_DEEPEST = 0.6  # no R2 axis begins further below its end
_BAR_STEP = 0.035  # distance between the SD bars of successive curves, as a fraction of the axis
_NOT_PRETRAINED = (0, (3, 1.5))


def plot_training_curves(
    curves: pd.DataFrame,
    gene_norms: pd.DataFrame,
    references: Mapping[str, float] | None = None,
    n_selected: int = 25,
    authors: Mapping[str, Any] | None = None,
) -> Figure:
    """Figure 1: test R2 during training for each penalty, and the row norms by which genes are pruned.

    Its message: how strong a penalty must be for pruning to cost nothing, and how it compares with other models.

    Parameters
    ----------
    curves : DataFrame
        `CrossValidation.curves` of one model over its penalties: `group_lasso`, `fold`, `stage`, `epoch`,
        `r2_test`.
    gene_norms : DataFrame
        `group_lasso`, `gene`, `norm` of networks trained on all cells, before pruning.
    references : dict, optional
        Name -> R2 of other models ("sRRR-2", "family mean", ...), drawn as lines.
    n_selected : int
        Genes kept by pruning.
    authors : dict, optional
        Their curves and linear models, `comparison.figure_curves`, in a separate panel: their R2 is defined otherwise.

    Returns
    -------
    Figure
    """
    figure = plt.figure(figsize=(FULL_WIDTH, 2.65 if authors is None else 2.75), layout="none")
    places = [(0.72, 2.35)] if authors is None else [(0.72, 1.2), (2.85, 1.2)]
    sources = [(curves, references or {})]
    sources += [] if authors is None else [(authors["penalties"], authors["references"])]
    titles = ["cross-validation"] if authors is None else ["cross-validation, here", "authors"]
    axes = [axes_at(figure, left, 0.4, width, 1.85) for left, width in places]
    _share_r2(axes, sources, "group_lasso")
    for axis, (left, _), letter, title, source in zip(axes, places, "ab", titles, sources, strict=False):
        draw_penalty_curves(axis, *source, keep_limits=True)
        panel_title(figure, left - (0.66 if letter == "a" else 0.1), 0.17, letter, title)
    if authors is not None:
        axes[1].set(ylabel="", xlabel=f"epoch after pre-training\n({CURVE_NOTE})")
    left, width = (4.75, 1.85) if authors is None else (5.4, 1.25)
    panel_title(figure, left - 0.45, 0.17, "abc"[len(axes)], "before pruning, all cells")
    _draw_norms(axes_at(figure, left, 0.4, width, 1.85), gene_norms, n_selected)
    return freeze(figure)


def draw_penalty_curves(
    axis: Axes,
    curves: pd.DataFrame,
    references: Mapping[str, float] | None = None,
    keep_limits: bool = False,
    names: bool = True,
) -> None:
    """Draw test R2 by epoch, mean and SD over folds, one shade of the model's colour per penalty; darker is stronger.

    Parameters
    ----------
    axis : Axes
        In its final position.
    curves : DataFrame
        `group_lasso`, `fold`, `stage`, `epoch`, `r2_test`.
    references : dict, optional
        Name -> R2 of other models.
    keep_limits : bool
        Whether the R2 axis already has its limits.
    names : bool
        Name the curves next to the axes.
    """
    if not keep_limits:
        _share_r2([axis], [(curves, references or {})], "group_lasso")
    colors = _penalty_colors(curves)
    labels = []
    for number, (penalty, part) in enumerate(curves.groupby("group_lasso")):
        end = _draw_mean(axis, part, colors[penalty], place=number)
        labels.append((end, f"penalty {penalty_label(penalty)}", colors[penalty]))
    _mark_stages(axis, curves)
    labels += _draw_references(axis, references or {})
    _name_axes(axis, curves)
    if names:
        label_at_right(axis, labels)


def plot_bottleneck_comparison(
    curves: pd.DataFrame, references: Mapping[str, float] | None = None, authors: Mapping[str, Any] | None = None
) -> Figure:
    """Figure 2: the effects of pre-training and of the bottleneck.

    Its message: what two dimensions cost, what pre-training gains, and what means of classes reach without any gene.

    Parameters
    ----------
    curves : DataFrame
        `bottleneck_dim`, `schedule`, `fold`, `stage`, `epoch`, `r2_test`, one penalty.
    references : dict, optional
        Name -> R2 of other models.
    authors : dict, optional
        Their curves and linear models, `comparison.figure_curves`, in a separate panel: their R2 is defined otherwise.

    Returns
    -------
    Figure
    """
    sources = [(curves, references or {})]
    sources += [] if authors is None else [(authors["bottlenecks"], authors["references"])]
    width = 2.75 if authors is None else 1.65
    step = width + (1.42 if authors is None else 1.55)
    top = 0.12 if authors is None else 0.28
    figure = plt.figure(figsize=(0.7 + step * len(sources), top + 2.42 + 0.1 * (len(sources) - 1)), layout="none")
    axes = [axes_at(figure, 0.7 + number * step, top, width, 2.0) for number in range(len(sources))]
    _share_r2(axes, sources, ["bottleneck_dim", "schedule"])
    for axis, source in zip(axes, sources, strict=True):
        draw_bottleneck_curves(axis, *source, keep_limits=True)
    if authors is not None:
        axes[1].set(ylabel="", xlabel=f"epoch after pre-training\n({CURVE_NOTE})")
        for number, (letter, title) in enumerate((("a", "here"), ("b", "authors"))):
            panel_title(figure, 0.6 * number + 0.06 + number * (step - 0.06), 0.16, letter, title)
    return freeze(figure)


def draw_bottleneck_curves(
    axis: Axes,
    curves: pd.DataFrame,
    references: Mapping[str, float] | None = None,
    keep_limits: bool = False,
    names: bool = True,
) -> None:
    """Draw test R2 by epoch, mean and SD over folds; dashes are networks without pre-training.

    Parameters
    ----------
    axis : Axes
        In its final position.
    curves : DataFrame
        `bottleneck_dim`, `schedule`, `fold`, `stage`, `epoch`, `r2_test`.
    references : dict, optional
        Name -> R2 of other models.
    keep_limits : bool
        Whether the R2 axis already has its limits.
    names : bool
        Name the curves next to the axes.
    """
    groups = ["bottleneck_dim", "schedule"]
    if not keep_limits:
        _share_r2([axis], [(curves, references or {})], groups)
    styles = model_styles(f"sBNN-{dim:g}" for dim in sorted(curves["bottleneck_dim"].unique()))
    labels = []
    for number, ((dimension, schedule), part) in enumerate(curves.groupby(groups)):
        name, pretrained = f"sBNN-{dimension:g}", "no_pretraining" not in schedule
        color = styles[name].color
        end = _draw_mean(axis, part, color, "-" if pretrained else _NOT_PRETRAINED, place=number)
        labels.append((end, name + ("" if pretrained else ", not pre-trained"), color))
    paper = curves[~curves["schedule"].str.contains("no_")]
    _mark_stages(axis, paper if len(paper) else curves)
    labels += _draw_references(axis, references or {})
    _name_axes(axis, curves)
    if names:
        label_at_right(axis, labels)


def plot_published_curves(authors: Mapping[str, Mapping[str, Any]], here: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Figures 1 and 2 of every data set, from the authors' results and as reproduced here.

    Its message: what the paper found, and that it is reproduced here.

    Parameters
    ----------
    authors, here : dict
        Data set -> dict of `penalties` (curves of one bottleneck over its penalties), `bottlenecks` (curves at one
        penalty) and `references` (name -> R2 of other models). `here` may lack data sets.

    Returns
    -------
    Figure
    """
    by_source = {"authors": authors, "here": here}
    columns = [(dataset, source) for dataset in authors for source in by_source if dataset in by_source[source]]
    figure = plt.figure(figsize=(FULL_WIDTH, 4.95), layout="none")
    width = (FULL_WIDTH - 0.25 - 0.36 * len(authors) - 0.17 * (len(columns) - len(authors))) / len(columns)
    kinds = (("a", "penalties", "group_lasso", 0.5), ("b", "bottlenecks", ["bottleneck_dim", "schedule"], 2.6))
    draw = {"penalties": draw_penalty_curves, "bottlenecks": draw_bottleneck_curves}
    for letter, kind, groups, top in kinds:
        left, axes = 0.15, []
        for number, (dataset, _) in enumerate(columns):
            first = number == 0 or columns[number - 1][0] != dataset
            left += 0.36 if first else 0.17
            axes.append(axes_at(figure, left, top, width, 1.6))
            left += width
        for name in authors:  # the same limits for authors and here
            same = [number for number, (dataset, _) in enumerate(columns) if dataset == name]
            results = [by_source[columns[number][1]][name] for number in same]
            shown = [axes[number] for number in same]
            _share_r2(shown, [(result[kind], result["references"]) for result in results], groups)
            for axis, result in zip(shown, results, strict=True):
                draw[kind](axis, result[kind], result["references"], keep_limits=True, names=False)
                axis.set(xlabel="", ylabel="")
                axis.xaxis.set_major_locator(MaxNLocator(2))
                axis.tick_params(labelsize=6, labelleft=axis is shown[0], labelbottom=kind == "bottlenecks")
        _head_columns(axes, columns) if kind == "penalties" else None
        panel_title(figure, 0.05, top - 0.06 if kind == "bottlenecks" else top - 0.32, letter)
        text_at(figure, 0.07, top + 0.8, "test R²", rotation=90, ha="left", va="center")
        results = [by_source[source][dataset] for dataset, source in columns]
        figure.legend(
            handles=_legend_handles(kind, results), loc="upper center", ncols=8, columnspacing=1.2, handlelength=1.8,
            bbox_to_anchor=(0.5, 1 - (top + (1.66 if kind == "penalties" else 1.98)) / 4.95),
        )  # fmt: skip
    note = f"epoch after pre-training (mean and SD over folds; {CURVE_NOTE})"
    text_at(figure, FULL_WIDTH / 2, 2.6 + 1.9, note, ha="center", va="baseline")
    return freeze(figure)


def _head_columns(axes, columns):
    """Write data set and source above each column."""
    for axis, (dataset, source) in zip(axes, columns, strict=True):
        name = dataset.replace("_ion_channels", "\nion channels")
        axis.set_title(f"{name}\n{source}", fontsize=6.5, pad=3)


def _legend_handles(kind, results):
    """Return handles of all curves and lines that a row of panels shows."""
    handles = []
    if kind == "penalties":
        colors = {penalty: color for result in results for penalty, color in _penalty_colors(result[kind]).items()}
        handles += [
            Line2D([], [], color=color, linewidth=1.3, label=f"penalty {penalty_label(penalty)}")
            for penalty, color in sorted(colors.items())
        ]
    else:
        names = sorted({f"sBNN-{dim:g}" for result in results for dim in result[kind]["bottleneck_dim"]})
        for name, style in model_styles(names).items():
            handles.append(Line2D([], [], color=style.color, linewidth=1.3, label=name))
        handles.append(Line2D([], [], color=MUTED, linestyle=_NOT_PRETRAINED, label="not pre-trained"))
    names = dict.fromkeys(name for result in results for name in result["references"])
    for name, style in model_styles(names).items():
        handles.append(Line2D([], [], color=style.color, linestyle=style.linestyle, linewidth=1, label=name))
    return handles


def _penalty_colors(table):
    """Choose a shade for each penalty, the strongest the darkest."""
    penalties = sorted(table["group_lasso"].unique())
    names = table["model"].unique() if "model" in table else ["sBNN-2"]
    color = model_styles(names)[names[0]].color if len(names) == 1 else MODEL_STYLES["sBNN-2"].color
    return dict(zip(penalties, shades(color, len(penalties)), strict=True))


def _draw_mean(axis, curves, color, linestyle="-", place=0):
    """Draw mean R2 over folds by epoch, with SD bars `place` steps from the end; return the last value."""
    by_epoch = curves.groupby("epoch")["r2_test"].agg(["mean", "std"])
    axis.plot(by_epoch.index, by_epoch["mean"], color=color, linestyle=linestyle, linewidth=1.2, zorder=2)
    number = max(len(by_epoch) - 1 - round(_BAR_STEP * (place + 0.5) * len(by_epoch)), 0)
    row = by_epoch.iloc[number]
    bar = {"fmt": "o", "markersize": 2.6, "elinewidth": 0.9, "color": color, "zorder": 3}
    axis.errorbar(by_epoch.index[number], row["mean"], yerr=np.nan_to_num(row["std"]), **bar)
    return float(by_epoch["mean"].iloc[-1])


def _mark_stages(axis, curves):
    """Draw dashed lines at the ends of stages."""
    ends = curves.groupby("stage", sort=False)["epoch"].max()
    for end in sorted(ends)[:-1]:
        axis.axvline(end, color="0.75", linestyle="--", linewidth=0.6, zorder=0)


def _draw_references(axis, references):
    """Draw horizontal lines of other models; return their labels."""
    styles = model_styles(references)
    for name, r2 in references.items():
        axis.axhline(r2, color=styles[name].color, linestyle=styles[name].linestyle, linewidth=0.9, zorder=1.5)
    return [(r2, name, styles[name].color) for name, r2 in references.items()]


def _share_r2(axes, sources, groups):
    """Give axes the same R2 limits: from a little below the lowest final value to the highest value of all curves.

    Curves that are lower before the end are cut off at the bottom.
    """
    ends, highest = [], []
    for curves, references in sources:
        for _, part in curves.groupby(groups):
            mean = part.groupby("epoch")["r2_test"].mean()
            deviation = np.nan_to_num(part.loc[part["epoch"] == mean.index[-1], "r2_test"].std())
            ends.append(mean.iloc[-1])
            highest += [mean.max(), mean.iloc[-1] + deviation]
        ends += list(references.values())
        highest += list(references.values())
    low, high = np.nanmin(ends), np.nanmax(highest)
    high = _STEP * np.ceil(high / _STEP + 0.1)
    low = _STEP * np.floor(max(low, high - _DEEPEST) / _STEP - 0.8)
    for axis in axes:
        axis.set_ylim(low, high)
        axis.yaxis.set_major_locator(MultipleLocator(_STEP if high - low < 8 * _STEP else 2 * _STEP))


def _name_axes(axis, curves):
    """Label the axes, and state where the R2 axis starts."""
    start = f"{axis.get_ylim()[0]:.2f}".replace("-", "−")
    axis.set(
        xlabel="epoch after pre-training",
        ylabel=f"test R², mean ± SD over folds\n(axis starts at {start})",
        xlim=(0, curves["epoch"].max()),
    )


def _draw_norms(axis, gene_norms, n_selected):
    """Draw sorted row norms of the first layer, one shade per penalty."""
    colors = _penalty_colors(gene_norms)
    ends = []
    for penalty, part in gene_norms.groupby("group_lasso"):
        norms = np.sort(part["norm"].to_numpy(dtype=np.float64))[::-1]
        axis.plot(np.arange(1, len(norms) + 1), norms, color=colors[penalty], linewidth=1.3)
        ends.append((norms[-1], penalty_label(penalty), colors[penalty]))
    axis.axvline(n_selected, color="0.75", linestyle="--", linewidth=0.6, zorder=0)
    axis.annotate(f"{n_selected} genes", (n_selected, 1), (0, 2), xycoords=("data", "axes fraction"),
                  textcoords="offset points", ha="center", va="bottom", color=MUTED, fontsize=6.5)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="gene, by norm", ylabel="row norm of the first layer")
    for scale in (axis.xaxis, axis.yaxis):
        name_powers(scale)
    label_at_right(axis, ends)
