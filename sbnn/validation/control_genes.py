"""Random genes of the same expression: each gene of a set gets a control of similar mean and detection rate."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_number, check_rows
from sbnn._hints import is_sparse
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import normalise_counts

#: Columns of `expression_statistics`, in which controls match.
COORDINATES = ("mean_log", "detection")


class ControlGenes(NamedTuple):
    """Sets of controls for the same selected genes.

    Attributes
    ----------
    genes : int array, shape (n_sets, n_selected)
        Positions of the controls; column j has those of the j-th selected gene.
    distances : float64 array, shape (n_sets, n_selected)
        From the selected gene to its control, in SDs over all genes.
    """

    genes: np.ndarray
    distances: np.ndarray


def expression_statistics(
    data: PairedData, cells: npt.ArrayLike | None = None, detection_threshold: float = 0
) -> pd.DataFrame:
    """Return how much, and in how many cells, each gene is expressed.

    Parameters
    ----------
    data : PairedData
        With `counts`.
    cells : int or bool array, optional
        Rows, or a mask, of the cells to look at; all if None.
    detection_threshold : float
        A gene is detected in a cell if it has more counts than this.

    Returns
    -------
    DataFrame
        Indexed by gene: `mean_log`, the mean of log2(1 + counts / depth * median depth) over cells, with the depth over
        all genes of the data; `detection`, the share of cells with the gene.

    Raises
    ------
    ValueError
        The data have no counts, no such cells, or a threshold below zero.
    """
    if data.counts is None:
        raise ValueError(
            f"controls match selected genes in expression, but {data.name!r} has no counts, only z-scores: give "
            "PairedData its counts"
        )
    check_number(detection_threshold, "detection_threshold")
    counts = data.counts if cells is None else data.counts[check_rows(cells, data.n_cells, "cells")]
    if not counts.shape[0]:
        raise ValueError("cells is empty: expression needs at least one cell")
    dense = counts.toarray() if is_sparse(counts) else counts
    values = {"mean_log": normalise_counts(dense).mean(axis=0), "detection": (dense > detection_threshold).mean(axis=0)}
    return pd.DataFrame(values, index=pd.Index(data.gene_names, name="gene"))


def draw_controls(
    statistics: pd.DataFrame, selected: np.ndarray, n_sets: int, n_closest: int = 10, random_state: int = 0
) -> ControlGenes:
    """Draw sets of genes that match the selected ones one to one in mean log expression and detection rate.

    Both are divided by their SD over all genes. In each set the selected genes take their controls one after another,
    in random order: one of the `n_closest` genes that are neither selected nor in the set already, each with the same
    probability. Set i depends on `random_state` and i only: with other selected genes, or statistics of other cells, a
    gene gets the same control where that is still among the closest.

    Parameters
    ----------
    statistics : DataFrame
        From `expression_statistics`.
    selected : int array, shape (n_selected,)
        Positions of the selected genes.
    n_sets : int
    n_closest : int
        With more, sets are more varied and match less well.
    random_state : int

    Returns
    -------
    ControlGenes

    Raises
    ------
    ValueError
        Too few other genes.
    """
    n_genes, n_selected = len(statistics), len(selected)
    needed = n_selected + n_closest - 1
    if n_genes - n_selected < needed:
        raise ValueError(
            f"{n_selected} genes with n_closest={n_closest} need at least {needed} others to draw controls from, but "
            f"the data have {n_genes} genes, {n_genes - n_selected} of them not selected: select fewer genes, lower "
            "n_closest, or give data with more genes"
        )
    distances = _distances(statistics, selected)
    distances[:, selected] = np.inf
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :needed]
    genes = np.empty((n_sets, n_selected), dtype=int)
    for number in range(n_sets):
        # One random number per gene decides wherever there is a choice, so that the sets of several folds are alike.
        priority, turn = np.random.default_rng([random_state, number]).random((2, n_genes))
        taken = np.zeros(n_genes, dtype=bool)
        for place in np.argsort(turn[selected]):
            closest = nearest[place][~taken[nearest[place]]][:n_closest]
            genes[number, place] = closest[np.argmin(priority[closest])]
            taken[genes[number, place]] = True
    return ControlGenes(genes, np.take_along_axis(distances, genes.T, axis=1).T)


def _distances(statistics, selected):
    """Distance from each selected gene to every gene, both coordinates divided by their SD over genes."""
    places = statistics[list(COORDINATES)].to_numpy(dtype=np.float64)
    sds = places.std(axis=0)
    places = places / np.where(sds > 0, sds, 1.0)
    return np.linalg.norm(places[selected, None] - places[None], axis=2)


def describe_pairs(statistics: pd.DataFrame, selected: np.ndarray, controls: ControlGenes) -> pd.DataFrame:
    """Return one row for each selected gene and its control in each set.

    Parameters
    ----------
    statistics : DataFrame
    selected : int array, shape (n_selected,)
    controls : ControlGenes

    Returns
    -------
    DataFrame
        `set` (from 1), `gene`, `control`, `mean_log`, `control_mean_log`, `detection`, `control_detection`, and
        `distance` in SDs over genes.
    """
    n_sets = len(controls.genes)
    own, others = np.tile(selected, n_sets), controls.genes.ravel()
    names = statistics.index.to_numpy()
    columns = {"set": np.repeat(np.arange(1, n_sets + 1), len(selected)), "gene": names[own], "control": names[others]}
    for name in COORDINATES:
        values = statistics[name].to_numpy()
        columns |= {name: values[own], f"control_{name}": values[others]}
    return pd.DataFrame({**columns, "distance": controls.distances.ravel()})


def match_quality(pairs: pd.DataFrame, statistics: list[pd.DataFrame]) -> pd.DataFrame:
    """Return how well controls match the selected genes.

    Parameters
    ----------
    pairs : DataFrame
        Rows of `describe_pairs`, of one fold or of several.
    statistics : list of DataFrame
        `expression_statistics` of each fold.

    Returns
    -------
    DataFrame
        Indexed by "mean_log" and "detection": `selected`, `controls` and `all_genes`, means over genes; `difference`,
        controls minus selected, in SDs over genes; `unmatched`, the same for all genes instead of controls, which is
        what sets without matching would have on average; `within_pairs`, the mean absolute difference of a control from
        its gene, in SDs.
    """
    rows = {}
    for name in COORDINATES:
        own, other = pairs[name], pairs[f"control_{name}"]
        sd = np.mean([one[name].std(ddof=0) for one in statistics]) or 1.0
        means = {"selected": own.mean(), "controls": other.mean()}
        means["all_genes"] = np.mean([one[name].mean() for one in statistics])
        gaps = {"difference": (means["controls"] - means["selected"]) / sd}
        gaps["unmatched"] = (means["all_genes"] - means["selected"]) / sd
        rows[name] = {**means, **gaps, "within_pairs": (other - own).abs().mean() / sd}
    return pd.DataFrame(rows).T
