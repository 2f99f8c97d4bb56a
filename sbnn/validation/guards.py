"""Checks of data before anything is fitted: where a user's numbers would mislead, and which argument to change."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_mutual_info_score

from sbnn._checks import check_flag, check_number, check_whole, preview, warn
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.count_kinds import count_kind, describe_logarithms, describe_threshold
from sbnn.data.feature_transforms import describe_skewed, find_skewed, own_names
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.validation.depth import depth_r2
from sbnn.validation.folds import FoldChoice, donors_of, make_folds
from sbnn.validation.intervals import features_of
from sbnn.validation.shared_donors import describe_shared_donors, share_of_known_donors

#: Genes with which networks were tuned, and how many times as many are far more.
TUNED_GENES, FAR_MORE = 1000, 2
#: Classes with fewer cells are small.
SMALL_CLASS = 5
#: Adjusted mutual information of donors and classes above which they are confounded.
CONFOUNDED = 0.5
#: Correlation above which two features are the same.
SAME = 0.999
#: Cross-validated R2 of depth alone above which it predicts a feature.
DEPTH_R2 = 0.1
#: Cells below which depth is not assessed.
DEPTH_CELLS = 40
#: Share of the variance of a feature that one cell holds, above which its scores hang on it.
ONE_CELL = 0.25
#: Of few cells each holds much: one in ten does not count.
_LEAST_CELLS = 10
#: Cells per selected gene below which they are few.
CELLS_PER_GENE = 4
#: Names that scanpy and Seurat give to what they compute from counts.
_MADE_OF_COUNTS = re.compile(
    r"(?:log1?p?_?)?(?:n_?counts|total_counts|n_?genes|n_genes_by_counts|n_umis?|ncount_rna|nfeature_rna|size_factors?)"
    r"(?:_\w+)?|(?:s|g2m)[_.]score|pct_counts_\w+|percent[_.](?:mito?|mt|ribo)\w*|(?:x_)?(?:pca?|umap|tsne)_?\d+",
    re.IGNORECASE,
)
#: Features that a message lists.
_MOST_NAMED = 6


@dataclass(frozen=True)
class Finding:
    """Something in the data that misleads.

    Attributes
    ----------
    name : str
        Short: "skewed features", "detection threshold", "shared donors", "confounded donors", "outlying values",
        "constant features", "duplicated features", "small classes", "many genes", "few cells", "normalised counts",
        "cells without counts", "features made of counts" or "depth".
    argument : str
        The argument to change.
    message : str
        Plain words: what was found, what it does, what to do.
    numbers : dict
        What was measured.
    """

    name: str
    argument: str
    message: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return name, message and argument in one line."""
        return f"{self.name}: {self.message} [{self.argument}]"


def check_data(
    data: PairedData,
    folds: FoldChoice | None = None,
    n_selected: int = 25,
    detection_threshold: float | None = None,
    depth: bool = True,
    warns: bool = False,
) -> list[Finding]:
    """Look for what misleads in data, before anything is fitted.

    Logarithms in place of counts; cells without counts; features whose names say that they are made of counts
    (n_counts, S_score, X_pca1); skewed or heavy-tailed features, and such as hang on one cell; a threshold of detection
    that does not fit reads or UMIs; folds that divide donors; classes that come from single donors; constant or
    duplicated features; classes with fewer than five cells; far more genes than the 1000 that networks were tuned with;
    few cells for the number of selected genes; depth that predicts features by itself. ::

        for finding in check_data(data, folds="donor"):
            print(finding)

    Parameters
    ----------
    data : PairedData
    folds : as for `cross_validate`, optional
        The folds to be used; not checked if None.
    n_selected : int
        Genes that models will read.
    detection_threshold : float, optional
        That with which variable genes were, or will be, chosen; not checked if None.
    depth : bool
        Whether to assess what depth predicts, which takes a few seconds.
    warns : bool
        Also give every finding as a warning.

    Returns
    -------
    list of Finding
        Empty if nothing was found.

    Raises
    ------
    ValueError
        Not PairedData, folds that cannot be made, an argument out of range.
    """
    check_paired(data)
    check_whole(n_selected, "n_selected")
    check_flag(depth, "depth")
    check_flag(warns, "warns")
    found = [*_of_counts(data), *_of_features(data), *_of_classes(data), *_of_sizes(data, n_selected)]
    if detection_threshold is not None:
        found += _of_threshold(data, check_number(detection_threshold, "detection_threshold"))
    if folds is not None:
        found += _of_folds(data, folds)
    if depth:
        found += _of_depth(data)
    if warns:
        for finding in found:
            warn(finding.message)
    return found


def describe_many_genes(n_genes: int) -> str | None:
    """Say in plain words that there are far more genes than networks were tuned with; None if there are not."""
    if n_genes <= FAR_MORE * TUNED_GENES:
        return None
    return (
        f"{n_genes} genes, but penalties and schedules of networks were tuned with about {TUNED_GENES}: with many more "
        f"they select other genes, or none, and training takes longer. Give genes={TUNED_GENES} (the most variable)"
    )


def _of_features(data):
    """Skewed, constant and duplicated features."""
    values, names = np.asarray(features_of(data), dtype=np.float64), data.feature_names
    described = describe_skewed(values, names)
    if described:
        skewed = find_skewed(values)
        either = skewed.log | skewed.other
        numbers = {
            "skewness": _by_name(names[either], skewed.skewness[either]),
            "excess kurtosis": _by_name(names[either], skewed.kurtosis[either]),
        }
        yield Finding("skewed features", "transform", described, numbers)
    yield from _of_outlying(values, names)
    table = pd.DataFrame(values)
    constant = (table.nunique() <= 1).to_numpy()
    if constant.any():
        message = f"{preview(names[constant])} have one value in all cells and tell nothing: leave them out"
        yield Finding("constant features", "features", message, {"features": names[constant].tolist()})
    correlation = np.array(table.loc[:, ~constant].corr(min_periods=3), dtype=float)
    first, second = np.nonzero(np.triu(np.abs(np.nan_to_num(correlation)) > SAME, k=1))
    if len(first):
        varying = names[~constant]
        pairs = {f"{varying[i]} / {varying[j]}": float(correlation[i, j]) for i, j in zip(first, second, strict=True)}
        message = (
            f"features that are the same but for scale count more than once in every score and in the map: "
            f"{preview(pairs)}. Leave one of each pair out"
        )
        yield Finding("duplicated features", "features", message, {"correlation": pairs})


def _of_outlying(values, names):
    """Features that hang on a single cell."""
    squares = (values - np.nanmean(values, axis=0)) ** 2
    share = np.nanmax(squares, axis=0) / np.maximum(np.nansum(squares, axis=0), np.finfo(float).tiny)
    above = np.flatnonzero(share > max(ONE_CELL, _LEAST_CELLS / len(values)))
    if len(above):
        order = above[np.argsort(-share[above])]
        listed = ", ".join(f"{names[one]} {share[one]:.0%}" for one in order[:_MOST_NAMED])
        listed += ", ..." * (len(order) > _MOST_NAMED)
        message = (
            f"one cell holds more than {ONE_CELL:.0%} of the variance of {len(above)} of {len(names)} features "
            f"({listed}): their scores, and those of all features together, hang on single cells. Leave these features "
            "out, or look whether the cells are in error"
        )
        yield Finding("outlying values", "features", message, {"share": _by_name(names[order], share[order])})


def _of_counts(data):
    """Logarithms in place of counts, cells without counts, and features made of the counts of the same cells."""
    described = None if data.counts is None else describe_logarithms(data.counts)
    if described:
        yield Finding("normalised counts", "counts", described, {"max": float(data.counts.max())})
    names = own_names(data.feature_names, data.feature_transforms).tolist()
    made = [name for name in names if _MADE_OF_COUNTS.fullmatch(name)]
    if data.counts is not None:
        empty = np.asarray(data.counts.sum(axis=1)).ravel() == 0
        if empty.any():
            message = (
                f"{int(empty.sum())} of {data.n_cells} cells have no count ({preview(data.cell_names[empty], 3)}): "
                "their genes say nothing, and models learn from them nevertheless. Leave them out"
            )
            yield Finding("cells without counts", "counts", message, {"n_cells": int(empty.sum())})
    if made:
        message = (
            f"{preview(made)}: features of these names are usually computed from the counts of the same cells, so that "
            "genes predict them by construction. Leave them out, or leave out the genes that they are made of"
        )
        yield Finding("features made of counts", "features", message, {"features": made})


def _of_classes(data):
    """Small classes, and classes that are confounded with donors."""
    for what in ("cell_types", "cell_families"):
        labels = getattr(data, what)
        if labels is None:
            continue
        sizes = pd.Series(labels[labels != UNKNOWN]).value_counts()
        small = sizes[sizes < SMALL_CLASS].sort_index()
        if len(small):
            message = (
                f"{len(small)} of {len(sizes)} {what} have fewer than {SMALL_CLASS} cells ({preview(small.index, 3)}): "
                "their means are noise, and folds may train on none of them. Merge them, or give cell_families"
            )
            yield Finding("small classes", what, message, {"n_cells": small.to_dict()})
        yield from _of_donors(data, labels, what)


def _of_donors(data, labels, what):
    """Whether the class of a cell is told by its donor."""
    if data.donors is None:
        return
    known = (labels != UNKNOWN) & (data.donors != UNKNOWN)
    labels, donors = labels[known], data.donors[known]
    if len(np.unique(labels)) < 2 or len(np.unique(donors)) < 2:
        return
    information = float(adjusted_mutual_info_score(labels, donors))
    of_class = pd.DataFrame({"class": labels, "donor": donors}).groupby("class")["donor"].agg(["size", "nunique"])
    single = of_class.index[(of_class["size"] >= SMALL_CLASS) & (of_class["nunique"] == 1)].tolist()
    if information <= CONFOUNDED and not single:
        return
    parts = []
    if single:
        whose, which = ("come from one donor each", "them") if len(single) > 1 else ("comes from one donor", "it")
        parts.append(f"{preview(single)} {whose}, so that no fold of donors trains and tests on {which}")
    if information > CONFOUNDED:
        parts.append(f"the donor of a cell tells most of its class (adjusted mutual information {information:.2f})")
    message = (
        f"{what} are confounded with donors: {'; '.join(parts)}. What differs between these classes may differ between "
        f"donors: add donors, leave such classes out, or do not compare with means of {what}"
    )
    yield Finding("confounded donors", what, message, {"adjusted mutual information": information, "classes": single})


def _of_sizes(data, n_selected):
    """Too many genes, or too few cells."""
    described = describe_many_genes(data.n_genes)
    if described:
        yield Finding("many genes", "genes", described, {"n_genes": data.n_genes})
    if data.n_cells < CELLS_PER_GENE * n_selected:
        fewer = max(1, data.n_cells // CELLS_PER_GENE)
        message = (
            f"{data.n_cells} cells are few for {n_selected} genes: others are selected with other cells. Give "
            f"n_selected={fewer} or fewer, or a linear model (ReducedRankRegressor)"
        )
        yield Finding("few cells", "n_selected", message, {"n_cells": data.n_cells, "n_selected": n_selected})


def _of_threshold(data, detection_threshold):
    """Find a threshold that does not fit reads, or UMIs."""
    if data.counts is None:
        return
    described = describe_threshold(data.counts, detection_threshold)
    if described:
        numbers = count_kind(data.counts)._asdict()
        yield Finding("detection threshold", "detection_threshold", described, numbers)


def _of_folds(data, folds):
    """Folds that divide donors."""
    splits = make_folds(data, folds)
    described = describe_shared_donors(data, splits)
    if described:
        yield Finding("shared donors", "folds", described, {"share": share_of_known_donors(data, splits)})


def _of_depth(data):
    """Features that depth predicts."""
    if data.counts is None or data.n_cells < DEPTH_CELLS:
        return
    donors = donors_of(data)
    r2 = depth_r2(data, n_folds=5 if donors is None else min(5, len(np.unique(donors))))
    above = np.flatnonzero(np.nan_to_num(r2, nan=-np.inf) > DEPTH_R2)
    if len(above):
        order = above[np.argsort(-r2[above])]
        message = (
            f"the depth of a cell alone predicts {len(above)} of {data.n_features} features with R2 above {DEPTH_R2:g} "
            f"({', '.join(f'{data.feature_names[one]} {r2[one]:.2f}' for one in order[:_MOST_NAMED])}"
            f"{', ...' * (len(order) > _MOST_NAMED)}): their genes may stand for the quality or the size of a cell. "
            "Leave shallow cells out of counts, normalise such features (by a measure of size; protein counts within "
            "each cell), or leave out what is a depth"
        )
        yield Finding("depth", "counts", message, {"r2": _by_name(data.feature_names[order], r2[order])})


def _by_name(names, values):
    """Numbers by name of the feature."""
    return {str(name): float(value) for name, value in zip(names, values, strict=True)}
