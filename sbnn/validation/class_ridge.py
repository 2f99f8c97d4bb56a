"""A linear model of a cell's classes and its genes: what genes add to the class."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted

from sbnn._checks import check_choice, check_matrix, check_number, check_rows, check_same_cells
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.paired_data import PairedData
from sbnn.validation.baselines import CLASSES

#: Code of a cell whose class is not known.
NO_CLASS = -1


class ClassRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Ridge regression on the classes of a cell (one column per class) and on its genes, each with its own penalty.

    Minimises over intercepts a, effects B of classes and W of genes, with one-hot classes C,

    .. math:: \frac{1}{2n} \|Y - \mathbf{1} a^\top - C B - X W\|_F^2 + \frac{\alpha}{2} \|W\|_F^2
              + \frac{\kappa}{2n} \|B\|_F^2

    In `cross_validate` it reads the classes of the cells beside their genes. Cells of a class without training cells
    (or of unknown class) have no effect of a class. With families and types, a type of few cells is drawn towards its
    family, and a family towards the mean of all cells.

    Parameters
    ----------
    of : {"cell_families", "cell_types"}, or tuple of both
        Which classes to use.
    alpha : float
        Strength of the penalty on genes, as in `sbnn.ReducedRankRegressor`; more than 0.
    class_cells : float
        Strength of the penalty on classes, :math:`\kappa`, in cells: the mean of a class with this many training cells
        counts half. More than 0.
    columns : sequence of int, optional
        The genes to use, by their positions in X; all if None, none if empty. Only for X that holds all genes of the
        data.

    Attributes
    ----------
    classes_ : list of int arrays
        For each kind of class, codes of the classes of the training cells.
    class_effects_ : float64 array, shape (n_classes, n_features)
        B, of all kinds in turn.
    coef_ : float64 array, shape (n_used_genes, n_features)
        W.
    intercept_ : float64 array, shape (n_features,)
        a.
    """

    def __init__(
        self,
        of: str | tuple[str, ...] = "cell_types",
        alpha: float = 1.0,
        class_cells: float = 3.0,
        columns: Sequence[int] | None = None,
    ):
        self.of = of
        self.alpha = alpha
        self.class_cells = class_cells
        self.columns = columns

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of classes that it reads."""
        return (self.of,) if isinstance(self.of, str) else tuple(self.of)

    def check_classes(self, data: PairedData) -> None:
        """Raise ValueError if `of` has no, other or double kinds of classes, or if the data have no such classes."""
        for kind in self.kinds:
            check_choice(kind, CLASSES, "of")
            if getattr(data, kind) is None:
                raise ValueError(f"ClassRidge(of={self.of!r}) needs data.{kind}, which is None")
        if len(set(self.kinds)) != len(self.kinds) or not self.kinds:
            raise ValueError(f"of must name one or two kinds of classes, each once, got {self.of!r}")

    def check_settings(self, n_genes: int | None = None, n_features: int | None = None) -> None:
        """Raise ValueError if a penalty is not more than 0, or `columns` are not among the genes."""
        check_number(self.alpha, "alpha", above=True)
        check_number(self.class_cells, "class_cells", above=True)
        if not isinstance(self.columns, (tuple, list, type(None))):  # stores know settings by their text
            raise ValueError(
                f"columns must be a tuple or list of positions, or None, got {type(self.columns).__name__}"
            )
        if self.columns is not None and n_genes is not None:
            check_rows(np.asarray(self.columns), n_genes, "columns")

    def add_classes(self, data: Any, X: np.ndarray) -> np.ndarray:
        """Return X with the codes of the cells' classes as first columns, one for each kind.

        Parameters
        ----------
        data : PairedData
            Provides the classes; or anything else with these attributes.
        X : array, shape (n_cells, n_genes)

        Returns
        -------
        array, shape (n_cells, n_kinds + n_genes)
            A code is the place of a class among all classes of the data in alphabetical order, -1 for unknown.
        """
        columns = []
        for kind in self.kinds:
            names, codes = np.unique(np.asarray(getattr(data, kind)), return_inverse=True)
            columns.append(np.where(names[codes] == UNKNOWN, NO_CLASS, codes).astype(X.dtype))
        return np.column_stack([*columns, X])

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit the effects of classes and genes.

        Parameters
        ----------
        X : array, shape (n_cells, n_kinds + n_genes)
            From `add_classes`.
        y : array, shape (n_cells, n_features)
            Without missing values.

        Returns
        -------
        ClassRidge
            The fitted instance itself.

        Raises
        ------
        ValueError
            A setting is out of range, numbers of cells differ, or values are not finite.
        """
        X, Y = check_matrix(X, "X"), check_matrix(y, "y")
        check_same_cells(X, Y, "X", "y")
        self.check_settings(X.shape[1] - len(self.kinds))
        self.classes_ = [np.setdiff1d(codes.astype(int), [NO_CLASS]) for codes in X[:, : len(self.kinds)].T]
        penalty = len(X) * self.alpha
        # Columns of classes are scaled so that one penalty is both.
        self._scale = np.sqrt(penalty / self.class_cells)
        ridge = Ridge(penalty).fit(self._design(X), Y)
        effects = ridge.coef_.reshape(Y.shape[1], -1).T
        n_classes = sum(map(len, self.classes_))
        self.class_effects_, self.coef_ = effects[:n_classes] * self._scale, effects[n_classes:]
        self.intercept_ = np.broadcast_to(ridge.intercept_, Y.shape[1:]).copy()
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Return features (n_cells, n_features) of cells X (n_cells, n_kinds + n_genes) from `add_classes`."""
        check_is_fitted(self, "coef_")
        design = self._design(check_matrix(X, "X"))
        effects = np.concatenate([self.class_effects_ / self._scale, self.coef_])
        if design.shape[1] != len(effects):
            expected = len(self.coef_) if self.columns is None else "at least the fitted"
            raise ValueError(f"X must have the classes and {expected} genes, got {design.shape[1]} columns in all")
        return design @ effects + self.intercept_

    def _design(self, X):
        """Scaled one-hot classes, and genes."""
        genes = X[:, len(self.kinds) :]
        genes = genes if self.columns is None else genes[:, list(self.columns)]
        members = [X[:, [place]] == classes for place, classes in enumerate(self.classes_)]
        return np.hstack([*(self._scale * one for one in members), genes])
