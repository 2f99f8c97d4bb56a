"""Whether a cohort is another one: tests of new cells against the training cells of a PairedModel."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from sbnn._checks import check_whole, preview, warn
from sbnn.data.cell_labels import UNKNOWN, check_labels
from sbnn.data.paired_data import PairedData
from sbnn.own_cells.fitted_parts import FittedParts
from sbnn.validation.cohort_tests import compare_animals, compare_cells, draw_old_units, exchange_units
from sbnn.validation.significance import benjamini_hochberg

if TYPE_CHECKING:
    from anndata import AnnData

#: p value below which a cohort is called another one, and q value of a gene.
LEVEL = 0.01
#: Most cells of either sample that are compared; more are drawn at random.
MOST_CELLS = 1500
#: The quick form, for `predict`: cells of either sample, random groups, and the fewest new cells that are tested.
QUICK_CELLS, QUICK_PERMUTATIONS, LEAST_CELLS = 500, 399, 10
#: What is exchanged, or drawn, under the hypothesis that cells are of the same population.
DONORS, TRAINING_DONORS, CELLS = "donors", "training donors", "cells"
#: Fewest training donors whose groups tell how much cells of unknown donors may differ.
ENOUGH_DONORS = 20


@dataclass(frozen=True, repr=False)
class CohortShift:
    """Whether new cells come from another population than the training cells of a model.

    Attributes
    ----------
    p : float
        Of the joint test of all genes that the model reads; at least `least_p`.
    distance : float
        Energy distance between the samples, in z-scores of these genes; about 0 if they are of one population.
    genes : DataFrame, indexed by gene
        `difference` of the means (new - training cells, in SDs of the training cells), `p`, and `q` after Benjamini &
        Hochberg; smallest p first.
    unit : {"donors", "training donors", "cells"}
        What was kept together: donors of both samples; donors of the training cells, with as many cells as the new
        ones, whose donors are not known (p is too small if the new cells are of few donors with many cells each); or
        nothing (donors of training cells not known), so that p is too small if cells of one donor are alike.
    n_cells, n_permutations : int
    least_p : float
        The smallest p that the donors allow: 1 / (n_permutations + 1), or more if there are few different groups of
        them; 1 if cells of unknown donors are compared with fewer than 20 training donors.
    """

    p: float
    distance: float
    genes: pd.DataFrame
    unit: str
    n_cells: int
    n_permutations: int
    least_p: float = 0.0

    @property
    def is_another(self) -> bool:
        """Whether the joint test says so, p < 0.01."""
        return self.p < LEVEL

    def __str__(self) -> str:
        """Say the answer in one sentence."""
        if self.least_p >= 1:
            return (
                f"whether these {self.n_cells} cells differ from the training cells cannot be told: their donors are "
                f"not given, and there are fewer than {ENOUGH_DONORS} training donors"
            )
        if self.least_p >= LEVEL:
            return (
                f"whether these {self.n_cells} cells differ from the training cells cannot be told: with so few "
                f"{self.unit} p cannot be below {self.least_p:.2g}"
            )
        differing = self.genes.index[self.genes["q"] < LEVEL]
        verdict = "differ" if self.is_another else "are not found to differ"
        text = (
            f"these {self.n_cells} cells {verdict} from the training cells in the genes that the model reads (joint "
            f"test over {self.unit}, p = {self.p:.2g}; {len(differing)} of {len(self.genes)} genes with q < {LEVEL:g}"
        )
        text += f"{f': {preview(differing, 3)}' if len(differing) else ''})"
        if self.is_another and self.unit == TRAINING_DONORS:
            text += "; if they are of few donors with many cells each, p is too small: give donors"
        return text

    __repr__ = __str__


class PairedShift(FittedParts):
    """The methods of `sbnn.PairedModel` that compare new cells with the training cells."""

    def shift(
        self,
        cells: pd.DataFrame | AnnData | PairedData,
        donors: npt.ArrayLike | pd.Series | str | None = None,
        layer: str | None = None,
        fill_missing: bool = False,
        n_permutations: int = 1999,
        random_state: int = 0,
    ) -> CohortShift:
        """Test whether new cells come from another population than the training cells.

        Compared is the expression (z-scores of the training cells) of the genes that the model reads and the new cells
        have; other animals, temperature, laboratory or another mix of cell types all count. Under the hypothesis that
        all animals are of one population, it does not matter which of them are the new ones: p values are the share of
        random groups of whole animals that differ at least as much from the others. Animals count the same, whatever
        their number of cells (`sbnn.validation.cohort_tests.compare_animals`; if donors are not known,
        `compare_cells`). One joint test and one test per gene. ::

            found = model.shift(new_counts, donors=animals)
            print(found)  # one sentence
            found.genes.head()

        Parameters
        ----------
        cells, layer, fill_missing
            As for `predict`. At most 1500 cells of either sample are compared: whole animals, drawn at random.
        donors : array or Series of str, or str, optional
            The animal of each new cell, or the column of `adata.obs` that names it; by default that of PairedData. If
            not known, new cells are compared with whole training animals of as many cells.
        n_permutations : int
            Random groups.
        random_state : int

        Returns
        -------
        CohortShift
            Its text is the answer in one sentence.

        Raises
        ------
        ValueError
            As for `predict`; donors that do not fit the cells; fewer than two cells with counts.
        NotFittedError
        """
        check_whole(n_permutations, "n_permutations", least=19)
        check_whole(random_state, "random_state", least=0)
        aligned = self._align(cells, layer, fill_missing)
        known = _donors_of_new(cells, donors, aligned.names)
        if aligned.has_counts.sum() < 2:
            raise ValueError("shift compares samples: give at least two cells with counts of the model's genes")
        return self._shift(aligned, known, n_permutations, MOST_CELLS, random_state)

    def _shift(self, aligned, donors, n_permutations, most_cells, random_state):
        random = np.random.default_rng(random_state)
        used = aligned.present[self.estimator_.selected_]
        new, old = aligned.X[:, self.estimator_.selected_][:, used], self.training_genes_[:, used]
        donors = None if donors is None else donors[aligned.has_counts]
        if self.training_donors_ is None:
            donors = None  # of no use
        rows, training_rows = (
            _some(np.arange(len(values)) if units is None else units, most_cells, random)
            for values, units in ((new, donors), (old, self.training_donors_))
        )
        compared = new[rows], old[training_rows]
        least = 1 / (n_permutations + 1)
        if self.training_donors_ is None:
            unit, found = CELLS, compare_cells(*compared, exchange_units(rows, training_rows, n_permutations, random))
        elif donors is None:
            of_training = self.training_donors_[training_rows]
            groups = draw_old_units(len(rows), of_training, n_permutations, random)
            unit, found = TRAINING_DONORS, compare_cells(*compared, groups)
            few = len(np.unique(of_training)) < ENOUGH_DONORS
            least = 1.0 if few else 1 / (1 + len(np.unique(groups.members[1:], axis=0)))
        else:
            each = donors[rows], self.training_donors_[training_rows]
            unit, found = DONORS, compare_animals(*compared, *each, n_permutations, random)
            numbers = [len(np.unique(names)) for names in each]
            least = max(least, 1 / comb(sum(numbers), numbers[0]))
        p, gene_p = max(found.p, least), np.maximum(found.gene_p, least)
        columns = {"difference": new.mean(axis=0, dtype=float) - old.mean(axis=0, dtype=float), "p": gene_p}
        genes = pd.DataFrame(columns, index=pd.Index(self.selected_genes_[used], name="gene"))
        genes["q"] = benjamini_hochberg(gene_p)
        order = np.lexsort((-genes["difference"].abs(), genes["p"]))
        return CohortShift(p, found.distance, genes.iloc[order], unit, len(new), n_permutations, least)

    def _warn_of_shift(self, aligned, cells):
        """Warn if a quick form of `shift` finds another population; a few cells are not tested."""
        if aligned.has_counts.sum() < LEAST_CELLS:
            return
        donors = _donors_of_new(cells, None, aligned.names)
        found = self._shift(aligned, donors, QUICK_PERMUTATIONS, QUICK_CELLS, 0)
        if found.is_another:
            warn(
                f"{found}: predictions may be off, shift(cells) says more, outliers(cells) which cells, and "
                "recalibrate(data) mends offsets with a few measured cells"
            )


def _donors_of_new(cells, donors, names):
    """Return the donor of each new cell, in their order; None unless all are known."""
    if donors is None:
        donors = cells.donors if isinstance(cells, PairedData) else None
        if donors is None or UNKNOWN in donors:
            return None
    if isinstance(donors, str):
        obs = getattr(cells, "obs", None)
        if obs is None or donors not in obs:
            has = "cells is no AnnData" if obs is None else f"adata.obs has {preview(obs.columns, 12)}"
            raise ValueError(f"donors={donors!r} names a column of adata.obs, but {has}: give one donor per cell")
        donors = obs[donors]
    checked = check_labels(donors, names, "donors")
    unknown = checked == UNKNOWN
    if unknown.any():
        raise ValueError(
            f"donors of {int(unknown.sum())} of {len(names)} cells are not known ({preview(names[unknown], 3)}): leave "
            "these cells out, or donors"
        )
    return checked


def _some(units, most, random):
    """Rows of at most so many cells: whole animals, drawn at random, or some cells of one that has more."""
    if len(units) <= most:
        return np.arange(len(units))
    names, places = np.unique(units, return_inverse=True)
    order = random.permutation(len(names))
    n_units = max(1, int(np.searchsorted(np.cumsum(np.bincount(places)[order]), most, side="right")))
    rows = np.flatnonzero(np.isin(places, order[:n_units]))
    return rows if len(rows) <= most else np.sort(random.choice(rows, most, replace=False))
