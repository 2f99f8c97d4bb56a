"""Scores of predictions beyond and within classes: over all cells, by feature and by family, with intervals."""

from typing import Any

import numpy as np
import pandas as pd

from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.models.r2 import r2_from_sums
from sbnn.validation.bootstrap import draw_groups, interval_over_units
from sbnn.validation.held_out import HeldOutRows, sums_over_units
from sbnn.validation.significance import benjamini_hochberg, t_test_over_units
from sbnn.validation.transfer import ALL_FEATURES

#: What the family of rows of all cells is called.
ALL_CELLS = "all cells"
#: Columns of the tables.
GAINS = [
    "model", "family", "feature", "r2_class", "r2_map", "r2_both", "gain", "low", "high",
    "explained", "explained_low", "explained_high", "p", "q", "n_cells", "n_units",
]  # fmt: skip
WITHIN = [
    "model", "predicted_by", "centred_on", "family", "feature", "within_r2", "low", "high", "p", "q", "n_cells",
    "n_units",
]  # fmt: skip
_PREDICTORS = ("class", "map", "both")


class ClassScores:
    """Scores of all cells by feature, and of families, with the same resamples of animals for all.

    Parameters
    ----------
    rows : HeldOutRows
    data : PairedData
        `cell_families` are scored one by one if they are given.
    unit_of_cell : int array, shape (n_cells,)
        From `resampling_units`.
    n_bootstrap : int
    level : float
    random_state : int
    """

    def __init__(
        self,
        rows: HeldOutRows,
        data: PairedData,
        unit_of_cell: np.ndarray,
        n_bootstrap: int,
        level: float,
        random_state: int,
    ):
        self.rows, self.level = rows, level
        self.units, n_units = unit_of_cell[rows.cells], int(unit_of_cell.max() + 1)
        self.draws = draw_groups(n_units, n_bootstrap, random_state)
        families = None if data.cell_families is None else data.cell_families[rows.cells]
        names = [] if families is None else [name for name in np.unique(families).tolist() if name != UNKNOWN]
        everywhere = np.ones(len(rows.cells), dtype=bool)
        self.features = list(map(str, data.feature_names))
        #: Family, names of the columns, rows that count, and whether features are pooled.
        self.scopes: list[tuple[str, list[str], np.ndarray, bool]] = [
            (ALL_CELLS, [ALL_FEATURES], everywhere, True),
            (ALL_CELLS, self.features, everywhere, False),
            *((name, [ALL_FEATURES], families == name, True) for name in names),
        ]

    def _sums(self, counted, here, pooled, **errors):
        """Return sums of squares by name and numbers of values, (n_units, n_columns), and numbers of cells."""
        there = counted & here[:, None]

        def columns(values):
            return values.sum(axis=1, keepdims=True) if pooled else values

        n_units = self.draws.shape[1]
        sums = {
            name: sums_over_units(columns(np.where(there, values**2, 0)), self.units, n_units)
            for name, values in errors.items()
        }
        cells = there.any(axis=1, keepdims=True) if pooled else there
        n_cells = [len(np.unique(self.rows.cells[column])) for column in cells.T]
        return sums, sums_over_units(columns(there), self.units, n_units), n_cells

    def _interval(self, score, sums, n_units):
        """Interval of a score of sums."""
        drawn = score(**{name: self.draws @ values for name, values in sums.items()})
        return interval_over_units(drawn, n_units, self.level)

    def _table(self, parts, columns):
        """Join the scopes: q over features, and over families."""
        for part in parts:
            part["q"] = benjamini_hochberg(part["p"])
        table = pd.concat(parts, ignore_index=True)
        families = table["family"] != ALL_CELLS
        table.loc[families, "q"] = benjamini_hochberg(table.loc[families, "p"])
        return table[columns]

    def gains(
        self, model: str, counted: np.ndarray, class_mean: np.ndarray, alone: np.ndarray, both: np.ndarray
    ) -> pd.DataFrame:
        """Return R2 of the class mean, of the map and of both, and what the map adds.

        Parameters
        ----------
        model : str
        counted : bool array, shape (n_rows, n_features)
        class_mean, alone, both : arrays, shape (n_rows, n_features)
            Predictions.

        Returns
        -------
        DataFrame
            With the columns GAINS.
        """

        def gain(total, of_class, of_both, **_):
            return r2_from_sums(of_both, total) - r2_from_sums(of_class, total)

        def explained(of_class, of_both, **_):
            return r2_from_sums(of_both, of_class)

        Y, parts = self.rows.Y, []
        errors = {"of_class": Y - class_mean, "of_map": Y - alone, "of_both": Y - both}
        for family, features, here, pooled in self.scopes:
            sums, n_values, n_cells = self._sums(counted, here, pooled, total=self.rows.deviations, **errors)
            n_units = (n_values > 0).sum(axis=0)
            whole = {name: values.sum(axis=0) for name, values in sums.items()}
            columns: dict[str, Any] = {"model": model, "family": family, "feature": features}
            columns |= {f"r2_{what}": r2_from_sums(whole[f"of_{what}"], whole["total"]) for what in _PREDICTORS}
            columns["gain"] = gain(**whole)
            columns["low"], columns["high"] = self._interval(gain, sums, n_units)
            columns["explained"] = explained(**whole)
            columns["explained_low"], columns["explained_high"] = self._interval(explained, sums, n_units)
            columns["p"] = t_test_over_units(sums["of_class"] - sums["of_both"], n_values)
            parts.append(pd.DataFrame({**columns, "n_cells": n_cells, "n_units": n_units}))
        return self._table(parts, GAINS)

    def within(
        self, names: dict[str, str], counted: np.ndarray, residual: np.ndarray, predicted: np.ndarray
    ) -> pd.DataFrame:
        """Return R2 within classes.

        Parameters
        ----------
        names : dict
            Values of `model`, `predicted_by` and `centred_on`.
        counted : bool array, shape (n_rows, n_features)
        residual, predicted : arrays, shape (n_rows, n_features)
            Features and predictions, centred on the class.

        Returns
        -------
        DataFrame
            With the columns WITHIN.
        """

        def score(total, left):
            return r2_from_sums(left, total)

        parts = []
        for family, features, here, pooled in self.scopes:
            sums, n_values, n_cells = self._sums(counted, here, pooled, total=residual, left=residual - predicted)
            n_units = (n_values > 0).sum(axis=0)
            columns: dict[str, Any] = {**names, "family": family, "feature": features}
            columns["within_r2"] = score(**{name: values.sum(axis=0) for name, values in sums.items()})
            columns["low"], columns["high"] = self._interval(score, sums, n_units)
            columns["p"] = t_test_over_units(sums["total"] - sums["left"], n_values)
            parts.append(pd.DataFrame({**columns, "n_cells": n_cells, "n_units": n_units}))
        return self._table(parts, WITHIN)
