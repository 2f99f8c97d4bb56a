"""What a map, or a model, says about a cell beyond its class: gains over class means, and R2 within classes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, check_coverage, check_whole, preview, warn
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.validation.baselines import CLASSES
from sbnn.validation.bootstrap import resampling_units
from sbnn.validation.class_residuals import (
    N_NEIGHBOURS,
    centred_on_test_cells,
    centred_on_training_cells,
    look_up,
    map_predictions,
    means_by_class,
)
from sbnn.validation.class_scores import ALL_CELLS, GAINS, ClassScores
from sbnn.validation.held_out import (
    held_out_rows,
    maps_of_models,
    predictions_of_models,
    predictions_of_training_cells,
)
from sbnn.validation.result import CrossValidation
from sbnn.validation.transfer import ALL_FEATURES

#: How predictions within classes were made.
BY_MODEL, BY_MAP = "model", "map"
#: On which cells of a class features and predictions were centred.
TRAINING_CELLS, TEST_CELLS = "training cells", "test cells"


@dataclass(eq=False, repr=False)
class BeyondClass:
    """What maps and models predict beyond the mean of a cell's class.

    The first row of each model is that of all cells and all features, followed by one for each feature (all cells) and
    one for each family (all features).

    Attributes
    ----------
    gains : DataFrame
        For each map: `model`, `family`, `feature`; `r2_class`, `r2_map`, `r2_both`: R2 of the class mean, of the
        nearest neighbours in the map, and of the class mean plus the neighbours' residuals from it; `gain`, the last
        minus the first, with its interval `low`, `high`; `explained`, the share of the squares around class means that
        the neighbours' residuals explain, with `explained_low`, `explained_high`; `p` (one-sided, of no gain), `q` (`p`
        after Benjamini & Hochberg over the features of a map, or over its families); `n_cells`, `n_units`.
    within : DataFrame
        `model`, `predicted_by` ("model": its own predictions; "map": nearest neighbours in its map), `centred_on`
        ("training cells" or "test cells" of the class), `family`, `feature`; `within_r2` (R2 within classes), `low`,
        `high`, `p` (one-sided, of no R2 within classes), `q`, `n_cells`, `n_units`.
    classes : {"cell_types", "cell_families"}
        Which classes.
    unit : {"donor", "cell"}
        What was resampled.
    n_units : int
        Number of animals (or cells) that were tested.
    n_cells : int
        Test cells that are scored.
    n_unknown, n_new : int
        Test cells that are left out because their class is not known, or because it has no training cell in their fold.
    n_neighbours, n_bootstrap : int
    level : float
        Coverage of the intervals.
    """

    gains: pd.DataFrame
    within: pd.DataFrame
    classes: str
    unit: str
    n_units: int
    n_cells: int
    n_unknown: int
    n_new: int
    n_neighbours: int
    n_bootstrap: int
    level: float

    @property
    def overall(self) -> pd.DataFrame:
        """Rows of `gains` for all cells and all features: one for each map."""
        return self._rows(ALL_CELLS, ALL_FEATURES)

    @property
    def by_feature(self) -> pd.DataFrame:
        """Rows of `gains` for single features."""
        gains = self.gains
        return gains[gains["feature"] != ALL_FEATURES].reset_index(drop=True)

    @property
    def by_family(self) -> pd.DataFrame:
        """Rows of `gains` for single families."""
        return self.gains[self.gains["family"] != ALL_CELLS].reset_index(drop=True)

    def _rows(self, family, feature):
        chosen = self.gains["family"].eq(family) & self.gains["feature"].eq(feature)
        return self.gains[chosen].reset_index(drop=True)

    def __repr__(self) -> str:
        """Describe the content in a few lines."""
        kind = self.classes.removeprefix("cell_")
        left_out = f" ({self.n_unknown} of unknown class and {self.n_new} without training cells of it left out)"
        left_out = left_out if self.n_unknown + self.n_new else ""
        lines = [f"BeyondClass of {kind}: {self.n_cells} cells{left_out}, intervals over {self.n_units} {self.unit}s"]
        lines += [
            f"  {row.model}: class {row.r2_class:.3f}, map {row.r2_map:.3f}, both {row.r2_both:.3f}, "
            f"gain {row.gain:.3f} ({row.low:.3f} to {row.high:.3f})"
            for row in self.overall.itertuples()
        ]
        total = self.within[self.within["family"].eq(ALL_CELLS) & self.within["feature"].eq(ALL_FEATURES)]
        lines += [
            f"  within {kind}, {row.model} ({row.predicted_by}): R2 {row.within_r2:.3f} ({row.low:.3f} to "
            f"{row.high:.3f})" + ", centred on test cells" * (row.centred_on == TEST_CELLS)
            for row in total.itertuples()
        ]
        return "\n".join(lines)


def beyond_class(
    result: CrossValidation,
    data: PairedData,
    classes: str = "cell_types",
    unit: str | None = None,
    n_neighbours: int = N_NEIGHBOURS,
    n_bootstrap: int = 2000,
    level: float = 0.95,
    random_state: int = 0,
) -> BeyondClass:
    r"""Say what maps and predictions of held-out cells add to the mean of the cells' class.

    **Maps.** In each fold, :math:`m_c` is the mean of the training cells of class c, and the k training cells that are
    nearest to a test cell in the fold's map are its neighbours N. Three predictions of the test cell are scored: the
    class mean :math:`m_c`; the map alone, :math:`\frac{1}{k} \sum_{j \in N} y_j`; and both,
    :math:`m_c + \frac{1}{k} \sum_{j \in N} (y_j - m_{c(j)})`. The gain is the R2 of both minus that of the class mean.
    A map that adds nothing loses a little, about the variance within classes divided by k, because the mean of k
    residuals varies.

    **Predictions**, of any model and of the map alone. With r and :math:`\hat r` the features and the predictions of
    a test cell minus the means of both over the training cells of its class,

    .. math:: R^2_\text{within} = 1 - \frac{\sum_i \lVert r_i - \hat r_i \rVert^2}{\sum_i \lVert r_i \rVert^2}

    is 0 for a model that predicts only class means, however well, and below 0 for one whose predictions differ within
    a class without reason, such as one that reads the class from a few noisy genes. Predictions of training cells are
    those of the fitted models. A result without these (loaded from a file, or with models of other packages from a
    store) has only the predictions of test cells: both r and :math:`\hat r` are then centred on the test cells of the
    class in the same fold, cells alone of their class there are left out, and the column `centred_on` says so. This is
    another score, of fewer cells: the two differ, by more the fewer cells a class has, and so does that of one model
    before and after its result is saved and loaded. Compare only rows of one `centred_on`.

    R2 is pooled over the test cells of all folds and features (`sbnn.compare`); also for a family, sums of squares are
    around the means of all training cells. Intervals are percentiles of a bootstrap over animals, or cells; the same
    animals are drawn for all models. p values are those of a one-sided t test over animals that squared errors do not
    become smaller. Models are the same in every resample, so that neither includes the variation of training.

    Parameters
    ----------
    result : CrossValidation
        With `latents` (coordinates), `predictions`, or both; fitted, or loaded (`CrossValidation.from_results`). One
        setting of each model in a fold.
    data : PairedData
        The data that it was made from, with the classes. Missing values of Y are left out.
    classes : {"cell_types", "cell_families"}
        Which classes; rows of families are made wherever `data.cell_families` is given.
    unit : {"donor", "cell"}, optional
        What is resampled; by default donors if `data.donors` is given, else cells.
    n_neighbours : int
        The k of the nearest neighbours; all training cells if there are fewer.
    n_bootstrap : int
        Resamples.
    level : float
        Coverage of the intervals.
    random_state : int
        Of the resamples.

    Returns
    -------
    BeyondClass
        Cells of unknown class, and those whose class has no training cell in their fold, have no class mean: they are
        left out of all scores, and counted. Training cells of unknown class are neighbours in the map alone only.

    Raises
    ------
    ValueError
        Other data, data without these classes, neither coordinates nor predictions, several settings of a model in a
        fold, coordinates that are not finite, no cell with a class mean, fewer than two animals, or cells of unknown
        animals.

    Warns
    -----
    UserWarning
        R2 within classes of some models is centred on training cells, that of others on test cells.

    References
    ----------
    Benjamini & Hochberg, "Controlling the false discovery rate", JRSS B 57:289 (1995).
    """
    _check_settings(classes, n_neighbours, n_bootstrap, level, random_state)
    rows = held_out_rows(result, data)
    labels = getattr(data, classes)
    if labels is None:
        raise ValueError(f"classes={classes!r} needs data.{classes}, which is None")
    maps, predictions = maps_of_models(result, data), predictions_of_models(result, data, rows)
    if not maps and not predictions:
        raise ValueError(
            "result has neither latents nor predictions: call cross_validate with keep=('predictions', 'latents')"
        )
    unit, unit_of_cell = resampling_units(data, result.folds, unit)
    means = _means_of_training_cells(rows, result.folds, labels)
    class_mean = look_up(means, labels, rows)
    unknown = labels[rows.cells] == UNKNOWN
    new = ~unknown & np.isnan(class_mean).all(axis=1)
    counted = rows.observed & ~np.isnan(class_mean)
    if not counted.any():
        raise ValueError(f"no test cell has a class mean: all of data.{classes} are unknown or have no training cell")
    scores = ClassScores(rows, data, unit_of_cell, n_bootstrap, level, random_state)
    gains, within = [], []
    for model, places in maps.items():
        near = map_predictions(result.folds, rows, places, labels, means, n_neighbours)
        gains.append(scores.gains(model, counted, class_mean, near.alone, class_mean + near.residual))
        of_map = centred_on_training_cells(near.alone, near.fitted, rows, result.folds, labels)
        names = {"model": model, "predicted_by": BY_MAP, "centred_on": TRAINING_CELLS}
        within.append(scores.within(names, counted, rows.Y - class_mean, of_map))
    for model, predicted in predictions.items():
        fitted = predictions_of_training_cells(result, data, rows, model, predicted)
        centred_on, centred = _centred(predicted, fitted, counted, class_mean, rows, result.folds, labels)
        within.append(scores.within({"model": model, "predicted_by": BY_MODEL, "centred_on": centred_on}, *centred))
    table = pd.concat(within, ignore_index=True)
    _warn_if_mixed(table)
    return BeyondClass(
        gains=pd.concat(gains, ignore_index=True) if gains else pd.DataFrame(columns=GAINS),
        within=table,
        classes=classes,
        unit=unit,
        n_units=int(unit_of_cell.max() + 1),
        n_cells=len(np.unique(rows.cells[counted.any(axis=1)])),
        n_unknown=len(np.unique(rows.cells[unknown])),
        n_new=len(np.unique(rows.cells[new])),
        n_neighbours=n_neighbours,
        n_bootstrap=n_bootstrap,
        level=float(level),
    )


def _centred(predicted, fitted, counted, class_mean, rows, folds, labels):
    """Return on what cells a model is centred, and what counts, features and predictions around the classes' means."""
    if fitted is None:
        return TEST_CELLS, centred_on_test_cells(predicted, counted, rows, labels)
    return TRAINING_CELLS, (
        counted,
        rows.Y - class_mean,
        centred_on_training_cells(predicted, fitted, rows, folds, labels),
    )


def _means_of_training_cells(rows, folds, labels):
    """Mean features of each class, of the training cells of each fold."""
    return [means_by_class(Y[fold.train], labels[fold.train]) for Y, fold in zip(rows.targets, folds, strict=True)]


def _check_settings(classes, n_neighbours, n_bootstrap, level, random_state):
    """Raise ValueError if a setting is out of range."""
    check_choice(classes, CLASSES, "classes")
    for value, name in ((n_neighbours, "n_neighbours"), (n_bootstrap, "n_bootstrap")):
        check_whole(value, name)
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    check_coverage(level, "level")


def _warn_if_mixed(within):
    """Warn if R2 within classes is centred on training cells for some models, and on test cells for others."""
    found = within.dropna(subset="within_r2").drop_duplicates(["model", "predicted_by"])
    names = {
        centre: [f"{row.model} ({row.predicted_by})" for row in rows.itertuples()]
        for centre, rows in found.groupby("centred_on")
    }
    if len(names) > 1:
        warn(
            f"R2 within classes of {preview(names[TEST_CELLS], 3)} is centred on test cells, because the result does "
            f"not hold what was fitted, and that of {preview(names[TRAINING_CELLS], 3)} on training cells: do not "
            "compare them (column centred_on)"
        )
