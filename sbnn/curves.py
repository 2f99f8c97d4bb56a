"""Training curves: what penalty, pre-training and bottleneck do, here and in the authors' results."""

import matplotlib.pyplot as plt
import numpy as np

from sbnn.author_results import CURVE_NOTE
from sbnn.style import GREEN, LINEAR, ORANGE, freeze, penalty_label

_MARGIN = 0.08  # of R2 axes


def plot_training_curves(curves, gene_norms, references=None, n_selected=25, authors=None):
    """Figure 1: test R2 during training for each penalty, and the row norms that pruning cuts.

    Parameters
    ----------
    curves : DataFrame
        `CrossValidation.curves` of one model over its penalties: `group_lasso`, `fold`, `stage`, `epoch`,
        `r2_test`.
    gene_norms : DataFrame
        `group_lasso`, `gene`, `norm` of networks trained on all cells, before pruning.
    references : dict, optional
        Name -> R2 of linear models, drawn as lines.
    n_selected : int
        Genes kept by pruning.
    authors : dict, optional
        Their curves and linear models, `comparison.figure_curves`, in a panel of their own: their R2 is another.

    Returns
    -------
    Figure
    """
    n_panels = 2 + (authors is not None)
    figure, axes = plt.subplots(
        1, n_panels, figsize=(2.5 * n_panels + 1.2 * (n_panels == 2), 2.7), layout="constrained"
    )
    draw_penalty_curves(axes[0], curves, references)
    axes[0].set_title("a  cross-validation" + (", here" if authors else ""), loc="left", fontweight="bold")
    if authors is not None:
        draw_penalty_curves(axes[1], authors["penalties"], authors["references"])
        _set_beside(axes[0], axes[1])
    _draw_norms(axes[-1], gene_norms, n_selected)
    axes[-1].set_title(f"{'abc'[n_panels - 1]}  before pruning, all cells", loc="left", fontweight="bold")
    return freeze(figure)


def draw_penalty_curves(axis, curves, references=None):
    """Draw test R2 by epoch, mean over folds, one grey a penalty; the darker, the stronger.

    Parameters
    ----------
    axis : Axes
    curves : DataFrame
        `group_lasso`, `fold`, `stage`, `epoch`, `r2_test`.
    references : dict, optional
        Name -> R2 of linear models.
    """
    penalties = sorted(curves["group_lasso"].unique())
    greys = _greys(penalties)
    means = {penalty: _mean_curve(part) for penalty, part in curves.groupby("group_lasso")}
    for penalty, mean in means.items():
        axis.plot(mean.index, mean, color=greys[penalty], linewidth=1.3, label=penalty_label(penalty))
    _mark_stages(axis, curves)
    _draw_references(axis, references or {})
    _finish(axis, curves, means.values(), references or {})
    axis.legend(title="group lasso", loc="lower right", ncols=2)


def plot_bottleneck_comparison(curves, references=None, authors=None):
    """Figure 2: what pre-training and the bottleneck change.

    Parameters
    ----------
    curves : DataFrame
        `bottleneck_dim`, `schedule`, `fold`, `stage`, `epoch`, `r2_test`, one penalty.
    references : dict, optional
        Name -> R2 of linear models.
    authors : dict, optional
        Their curves and linear models, `comparison.figure_curves`, in a panel of their own: their R2 is another.

    Returns
    -------
    Figure
    """
    n_panels = 1 + (authors is not None)
    figure, axes = plt.subplots(1, n_panels, figsize=(3.6 * n_panels, 2.8), squeeze=False, layout="constrained")
    draw_bottleneck_curves(axes[0, 0], curves, references)
    if authors is not None:
        draw_bottleneck_curves(axes[0, 1], authors["bottlenecks"], authors["references"])
        axes[0, 0].set_title("a  here", loc="left", fontweight="bold")
        _set_beside(*axes[0])
    return freeze(figure)


def draw_bottleneck_curves(axis, curves, references=None):
    """Draw test R2 by epoch, mean over folds: colours are bottlenecks, dashes are networks without pre-training.

    Parameters
    ----------
    axis : Axes
    curves : DataFrame
        `bottleneck_dim`, `schedule`, `fold`, `stage`, `epoch`, `r2_test`.
    references : dict, optional
        Name -> R2 of linear models.
    """
    colors = {2: GREEN, 64: ORANGE}
    means = []
    for (dimension, schedule), part in curves.groupby(["bottleneck_dim", "schedule"]):
        pretrained = "no_pretraining" not in schedule
        means.append(_mean_curve(part))
        axis.plot(
            means[-1].index,
            means[-1],
            color=colors.get(dimension, "0.4"),
            linestyle="-" if pretrained else (0, (3, 2)),
            linewidth=1.3,
            label=f"sBNN-{dimension:g}" + ("" if pretrained else ", no pre-training"),
        )
    paper = curves[~curves["schedule"].str.contains("no_")]
    _mark_stages(axis, paper if len(paper) else curves)
    _draw_references(axis, references or {})
    _finish(axis, curves, means, references or {})
    axis.legend(loc="lower right")


def plot_published_curves(authors, here):
    """Figures 1 and 2 of every data set, as the authors have them and as they came out here.

    Parameters
    ----------
    authors, here : dict
        Data set -> dict of `penalties` (curves of one bottleneck over its penalties), `bottlenecks` (curves at one
        penalty) and `references` (name -> R2 of linear models). `here` may lack data sets.

    Returns
    -------
    Figure
    """
    sources = {"authors": authors, "here": here}
    columns = [(dataset, source) for dataset in authors for source in sources if dataset in sources[source]]
    figure, axes = plt.subplots(
        2, len(columns), figsize=(1.7 * len(columns), 4.2), sharex=True, squeeze=False, layout="constrained"
    )
    draw = {"penalties": draw_penalty_curves, "bottlenecks": draw_bottleneck_curves}
    for kind, row in zip(draw, axes, strict=True):
        for axis, (dataset, source) in zip(row, columns, strict=True):
            result = sources[source][dataset]
            draw[kind](axis, result[kind], result["references"])
            axis.set(xlabel="", ylabel="")
            if axis is not row[0]:
                axis.get_legend().remove()
        for name in authors:  # the same limits for authors and here
            _share_r2([axis for axis, (dataset, _) in zip(row, columns, strict=True) if dataset == name])
        row[0].legend(fontsize=4.8, loc="lower right", handlelength=1.6, labelspacing=0.2)
        row[0].set_ylabel(f"figure {1 + (kind == 'bottlenecks')}\n" + r"test $R^2$ (mean over folds)")
    for axis, (dataset, source) in zip(axes[0], columns, strict=True):
        name = dataset.replace("_ion_channels", "\nion channels")
        axis.set_title(f"{name}\n{source}", fontsize=7, fontweight="bold")
    figure.supxlabel(f"epoch after pre-training ({CURVE_NOTE})", fontsize=7)
    return freeze(figure)


def _greys(penalties):
    """Choose a grey for each penalty, the strongest black."""
    shades = np.linspace(0.75, 0.0, len(penalties)) if len(penalties) > 1 else [0.0]
    return {penalty: str(shade) for penalty, shade in zip(penalties, shades, strict=True)}


def _mean_curve(curves):
    """Mean over folds of R2 by epoch."""
    return curves.groupby("epoch")["r2_test"].mean()


def _mark_stages(axis, curves):
    """Dashed lines where a stage ends."""
    ends = curves.groupby("stage", sort=False)["epoch"].max()
    for end in sorted(ends)[:-1]:
        axis.axvline(end, color="0.6", linestyle="--", linewidth=0.6, zorder=0)


def _draw_references(axis, references):
    """Horizontal lines of linear models with their names."""
    for name, r2 in references.items():
        axis.axhline(r2, color=LINEAR, linestyle=":" if name.endswith("-2") else "-.", linewidth=1, label=name)


def _finish(axis, curves, means, references):
    """Name the axes; show R2 from zero (or a little below) to a little above the highest."""
    finite = np.concatenate([*(np.asarray(mean, dtype=float) for mean in means), list(references.values()), [0.1]])
    finite = finite[np.isfinite(finite)]
    axis.set(
        xlabel="epoch after pre-training",
        ylabel=r"test $R^2$ (mean over folds)",
        xlim=(0, curves["epoch"].max()),
        ylim=(min(0, max(finite.min(), -0.2)), finite.max() + _MARGIN),
    )


def _set_beside(here, authors):
    """Name the panel of the authors, whose R2 is another, and give it the limits of ours."""
    authors.set_title("b  authors", loc="left", fontweight="bold")
    authors.set_xlabel(f"epoch after pre-training\n({CURVE_NOTE})")
    _share_r2([here, authors])


def _share_r2(axes):
    """Give axes the same limits."""
    limits = np.array([axis.get_ylim() for axis in axes])
    for axis in axes:
        axis.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _draw_norms(axis, gene_norms, n_selected):
    """Sorted row norms of the first layer, one grey a penalty."""
    greys = _greys(sorted(gene_norms["group_lasso"].unique()))
    for penalty, part in gene_norms.groupby("group_lasso"):
        norms = np.sort(part["norm"].to_numpy())[::-1]
        rank = np.arange(1, len(norms) + 1)
        axis.plot(rank, norms, color=greys[penalty], linewidth=1.3, label=penalty_label(penalty))
    axis.axvline(n_selected, color="0.6", linestyle="--", linewidth=0.6)
    axis.annotate(
        f"{n_selected} genes",
        (n_selected, 0),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 4),
        textcoords="offset points",
        ha="right",
        color="0.4",
        fontsize=6.5,
    )
    axis.set(xscale="log", yscale="log", xlabel="gene, sorted", ylabel=r"row norm $\|W^{(1)}_i\|$")
