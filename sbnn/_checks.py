"""Checks made at the door: each raises an error that names the argument, what is expected and what came."""

import sys
import warnings

import numpy as np
from scipy import sparse

#: Rows of a matrix looked at in one go.
CHECKED_AT_ONCE = 4096


def check_choice(value, choices, name):
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(map(repr, choices))}")
    return value


def check_matrix(matrix, name, dtype=np.float64, allow_nan=False):
    """Return `matrix` as a 2-D array of finite numbers (NaN only where `allow_nan`)."""
    try:
        matrix = np.asarray(matrix, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers only: {error}") from None
    if matrix.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (cells x columns), got shape {matrix.shape}")
    # In blocks: a mask of a whole large table would take a quarter of its memory.
    bad = np.concatenate(
        [np.empty((0, 2), dtype=int)]
        + [_bad_places(matrix, start, allow_nan) for start in range(0, len(matrix), CHECKED_AT_ONCE)]
    )
    if len(bad):
        row, column = bad[0]
        what = "infinite" if allow_nan else "NaN or infinite"
        raise ValueError(
            f"{name} holds {len(bad)} {what} value(s), the first at row {row}, column {column}; "
            "remove or replace them first"
        )
    return matrix


def _bad_places(matrix, start, allow_nan):
    """Return row and column of each value of a block that is not finite, or of the infinite ones only."""
    block = matrix[start : start + CHECKED_AT_ONCE]
    places = np.argwhere(np.isinf(block) if allow_nan else ~np.isfinite(block))
    places[:, 0] += start
    return places


def check_targets(Y, dtype=np.float64, feature_names=None, cell_names=None, name="Y"):
    """Return Y as a 2-D array in which every feature and every cell has at least one value that is not NaN."""
    for axis, what, names in ((0, "feature", feature_names), (1, "cell", cell_names)):
        # Asked of names first, so that an error can give them.
        infinite = np.isinf(Y).any(axis=axis) if names is not None else np.zeros(0, dtype=bool)
        if infinite.any():
            raise ValueError(
                f"{name} is infinite for {what}(s) {preview(np.asarray(names)[infinite])}: remove or correct"
            )
    Y = check_matrix(Y, name, dtype, allow_nan=True)
    for axis, what, names in ((0, "feature", feature_names), (1, "cell", cell_names)):
        empty = np.isnan(Y).all(axis=axis) if Y.size else np.zeros(0, dtype=bool)
        if empty.any():
            places = np.flatnonzero(empty)
            shown = preview(places if names is None else np.asarray(names)[places])
            raise ValueError(f"{name} has no value at all for {what}(s) {shown}: leave out what was never measured")
    return Y


def check_counts(counts, name="counts"):
    """Return counts (dense or CSR / CSC) after checking that they are 2-D, finite and not negative."""
    values = counts.data if sparse.issparse(counts) else np.asarray(counts)
    if counts.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (cells x genes), got shape {counts.shape}")
    if not np.issubdtype(values.dtype, np.number):
        raise ValueError(f"{name} must hold numbers only, got dtype {values.dtype}")
    if values.size and not np.isfinite(values).all():
        number = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"{name} holds {number} NaN or infinite value(s), where counts are asked for: remove or correct"
        )
    if values.size and values.min() < 0:
        overflow = ": an integer overflow?" if np.issubdtype(values.dtype, np.integer) else ""
        raise ValueError(f"{name} must not be negative, the smallest value is {values.min()}{overflow}")
    return counts if sparse.issparse(counts) else values


def warn(message, category=UserWarning):
    """Warn at the line outside this package that led here, however deep."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "sbnn":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_of_fractions(counts, name):
    """Warn where counts are no whole numbers: logarithms would be taken twice of what is log-normalised."""
    values = counts.data if sparse.issparse(counts) else np.asarray(counts)[:CHECKED_AT_ONCE]
    values = values[: CHECKED_AT_ONCE**2]  # enough to tell
    if np.issubdtype(values.dtype, np.floating) and (values != np.rint(values)).any():
        example = values[values != np.rint(values)].flat[0]
        warn(
            f"{name} holds fractions such as {example:.4g} and is taken for counts all the same: depth is divided out "
            "and logarithms are taken. Right for estimated counts (RSEM, salmon); wrong for normalised values: give "
            "raw counts, for example a layer of the AnnData"
        )


def check_unique(names, what):
    """Return `names` as a string array after checking that no name comes twice."""
    names = np.asarray(names, dtype=str)
    unique, number = np.unique(names, return_counts=True)
    if (number > 1).any():
        raise ValueError(f"duplicate {what}: {preview(unique[number > 1])}; every name must be there once")
    return names


def check_length(values, length, name, what):
    """Raise ValueError unless `values` has one entry for each of the `length` things called `what`."""
    if len(values) != length:
        raise ValueError(f"{name} must have one entry per {what} ({length}), got {len(values)}")


def check_same_cells(X, Y):
    """Raise ValueError unless X and Y have equally many rows."""
    if len(X) != len(Y):
        raise ValueError(f"X and Y must have the same cells, got {len(X)} and {len(Y)} rows")


def preview(names, most=5):
    """Return the first few names as text: 'a', 'b', ... (12 in all)."""
    names = list(names)
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
