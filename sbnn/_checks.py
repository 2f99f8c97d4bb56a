"""Checks of arguments: each raises an error that names the argument, what is expected and what was given."""

import math
import numbers
import sys
import warnings
from collections.abc import Collection, Iterable, Sized
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from sbnn._hints import Counts, is_sparse

#: Rows of a matrix checked at a time.
CHECKED_AT_ONCE = 4096
#: Text that stands for an unknown type, family or donor, in lower case.
UNKNOWN_LABELS = frozenset(("", "na", "n/a", "#n/a", "nan", "<na>", "none", "null", "n.d.", "unknown"))
#: Most characters that a name may have.
LONGEST_NAME = 1000
#: Text that stands for a missing value, in lower case.
_MARKERS = "na n/a #n/a n.a. n.a nan -nan <na> null none nil n.d. n.d nd missing ? - -- – ."
_SPREADSHEET_ERRORS = "#value! #div/0! #ref! #name? #num! #null!"
MISSING_MARKERS = frozenset({"", "not measured", "n. d.", *_MARKERS.split(" "), *_SPREADSHEET_ERRORS.split(" ")})


def check_choice(value: str, choices: Collection[str], name: str) -> str:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(map(repr, choices))}")
    return value


def check_whole(value: object, name: str, least: int = 1, most: int | None = None) -> int:
    """Return `value` as int; ValueError unless it is a whole number of the range."""
    in_range = f"at least {least}" if most is None else f"between {least} and {most}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, {in_range}, got {value!r}")
    if value < least or (most is not None and value > most):  # type: ignore[operator]  # numbers.Integral lacks ">"
        raise ValueError(f"{name} must be {in_range}, got {value}")
    return int(value)


def check_number(value: object, name: str, least: float = 0.0, above: bool = False, most: float = math.inf) -> float:
    """Return `value` as float; ValueError unless it is finite and at least (or `above`) `least`, at most `most`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, got {value!r}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite or value < least or (above and value == least) or value > most:  # type: ignore[operator]  # as above
        asked = f"{'more than' if above else 'at least'} {least:g}"
        asked = f"finite and {asked}" if most == math.inf else f"{asked} and at most {most:g}"
        raise ValueError(f"{name} must be {asked}, got {value}")
    return float(value)


def check_coverage(value: object, name: str = "coverage") -> float:
    """Return the coverage of an interval as float; ValueError unless it is a number between 0 and 1, both excluded."""
    number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not number or not 0 < value < 1:  # type: ignore[operator]  # as above
        raise ValueError(f"{name} must be a number between 0 and 1, such as 0.9 for 90 %, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def check_seed(random_state: object, name: str = "random_state") -> None:
    """Raise ValueError unless `random_state` is None, a whole number that NumPy takes, or a RandomState."""
    if random_state is not None and not isinstance(random_state, np.random.RandomState):
        check_whole(random_state, name, least=0, most=2**32 - 1)


def check_flag(value: object, name: str) -> bool:
    """Raise ValueError unless `value` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_weights(sample_weight: npt.ArrayLike, length: int, name: str = "sample_weight") -> np.ndarray:
    """Return weights of cells as a float64 array: finite, not negative, not all zero."""
    if np.ma.isMaskedArray(sample_weight):
        raise ValueError(f"{name} is a masked array: give 0 to cells that should not count")
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers, got dtype {weights.dtype}")
    if weights.shape != (length,):
        raise ValueError(f"{name} must have one entry per cell, shape ({length},), got shape {weights.shape}")
    weights = weights.astype(np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any():
        bad = weights[~np.isfinite(weights) | (weights < 0)]
        raise ValueError(f"{name} must be finite and not negative, got {bad[0]:g} ({len(bad)} such values)")
    if not weights.any():
        raise ValueError(f"{name} is zero for every cell: give at least one cell some weight")
    if weights.max() > sys.float_info.max / length:
        raise ValueError(f"{name} holds values up to {weights.max():.3g}, whose sum overflows: scale it down")
    return weights


def check_rows(cells: npt.ArrayLike, n_cells: int, name: str) -> np.ndarray:
    """Return row numbers from a mask of all cells, or from row numbers that are in range and unique."""
    if np.ma.isMaskedArray(cells):
        raise ValueError(f"{name} is a masked array: leave out what is masked")
    cells = np.asarray(cells)
    if cells.dtype == bool:
        if cells.shape != (n_cells,):
            raise ValueError(f"{name} is a mask of shape {cells.shape}: it needs one entry per cell, ({n_cells},)")
        return np.flatnonzero(cells)
    if cells.ndim != 1 or (cells.size and cells.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must be a mask of all cells or a list of row numbers, got dtype {cells.dtype}, shape {cells.shape}"
        )
    cells = cells.astype(int)
    if len(cells) and (cells.min() < 0 or cells.max() >= n_cells):
        raise ValueError(f"{name} must be rows between 0 and {n_cells - 1}, got {cells.min()} to {cells.max()}")
    rows, number = np.unique(cells, return_counts=True)
    if len(rows) < len(cells):
        raise ValueError(f"{name} names {preview(rows[number > 1], 3)} more than once: every cell must occur once")
    return cells


def unmasked(values: Any) -> Any:
    """Return a masked array as floats with NaN where it is masked, and anything else as it is.

    A masked value is a missing one; `np.asarray` would bring back what is under the mask.
    """
    return np.ma.filled(values.astype(np.float64), np.nan) if np.ma.isMaskedArray(values) else values


def check_matrix(matrix: Any, name: str, dtype: npt.DTypeLike = np.float64, allow_nan: bool = False) -> np.ndarray:
    """Return `matrix` as a 2-D array of finite numbers (NaN only where `allow_nan`)."""
    if sparse.issparse(matrix):
        raise ValueError(f"{name} is sparse: give it as an array, for example with .toarray()")
    matrix = unmasked(matrix)
    if getattr(matrix, "dtype", None) is None:
        matrix = np.asarray(matrix)
    if getattr(matrix.dtype, "kind", None) in tuple("cmMSUV"):
        raise ValueError(f"{name} must hold real numbers only, got dtype {matrix.dtype}")
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


def check_targets(
    Y: Any,
    dtype: npt.DTypeLike = np.float64,
    feature_names: npt.ArrayLike | None = None,
    cell_names: npt.ArrayLike | None = None,
    name: str = "Y",
) -> np.ndarray:
    """Return Y as a 2-D array in which every feature and every cell has at least one value that is not NaN."""
    for axis, what, names in ((0, "feature", feature_names), (1, "cell", cell_names)):
        # Checked first where names are known, so that the error can give them.
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


def check_counts(
    counts: Counts, name: str = "counts", names: tuple[npt.ArrayLike, npt.ArrayLike] | None = None
) -> Counts:
    """Return counts (dense or CSR / CSC) after checking that they are 2-D, finite and not negative.

    `names` of cells and genes, if given, say in the error where a bad value is.
    """
    if np.ma.isMaskedArray(counts):
        raise ValueError(f"{name} is a masked array: leave out what is masked")
    counts = counts if is_sparse(counts) else np.asarray(counts)
    values = counts.data if is_sparse(counts) else counts
    if counts.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional (cells x genes), got shape {counts.shape}")
    if not np.issubdtype(values.dtype, np.number) or values.dtype.kind == "c":
        raise ValueError(f"{name} must hold real numbers only, got dtype {values.dtype}")
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{name} holds {int(bad.sum())} NaN or infinite value(s), the first {_first_place(counts, bad, names)}, "
            "where counts are expected: remove or correct"
        )
    if values.size and values.min() < 0:
        overflow = ": an integer overflow?" if np.issubdtype(values.dtype, np.integer) else ""
        raise ValueError(
            f"{name} must not be negative, the smallest value is {values.min()}, the first one "
            f"{_first_place(counts, values < 0, names)}{overflow}"
        )
    return counts if is_sparse(counts) else values


def _first_place(counts, bad, names):
    """Describe where the first bad value is, by names (cells, genes) if they are known."""
    if sparse.issparse(counts):
        stored = counts.tocoo()
        if len(stored.data) != len(bad):
            return "somewhere"
        row, column = stored.row[np.argmax(bad)], stored.col[np.argmax(bad)]
    else:
        row, column = np.argwhere(bad)[0]
    if names is None:
        return f"at row {row}, column {column}"
    return f"in cell {str(names[0][row])!r}, gene {str(names[1][column])!r}"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Attribute the warning to the line outside this package that led here, however deep the call."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "sbnn":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_of_fractions(counts: Counts, name: str) -> None:
    """Warn if counts are not whole numbers: log-normalised values would be log-transformed a second time."""
    values = counts.data if is_sparse(counts) else np.asarray(counts)[:CHECKED_AT_ONCE]
    values = values[: CHECKED_AT_ONCE**2]  # enough to tell
    if np.issubdtype(values.dtype, np.floating) and (values != np.rint(values)).any():
        example = values[values != np.rint(values)].flat[0]
        warn(
            f"{name} holds fractions such as {example:.4g} but is treated as counts: depth is divided out "
            "and logarithms are taken. Right for estimated counts (RSEM, salmon); wrong for normalised values: give "
            "raw counts, for example a layer of the AnnData (counts= when data are read, layer= in predict)"
        )


def check_named(names: Iterable[object], what: str) -> np.ndarray:
    """Return `names` as a string array after checking that none is missing."""
    # Converted directly, a list of text and NaN would become text, and NaN the name 'nan'.
    names = np.asarray(names) if hasattr(names, "dtype") else np.asarray([*names], dtype=object)
    if names.ndim != 1:
        raise ValueError(f"{what} must be a list of names, got shape {names.shape}")
    missing = np.asarray(pd.isna(names)) if names.dtype.kind not in "SU" else np.zeros(len(names), dtype=bool)
    if names.dtype == object and max((len(name) for name in names if isinstance(name, str)), default=0) > LONGEST_NAME:
        raise ValueError(
            f"{what} include one of more than {LONGEST_NAME} characters: is a quotation mark left open in the file?"
        )
    texts = names.astype(str)
    missing |= np.char.strip(texts) == ""
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {len(names)} {what} are missing or blank, the first at position "
            f"{int(np.argmax(missing))}: give every one a name, or leave it out"
        )
    return texts


def check_unique(names: Iterable[object], what: str) -> np.ndarray:
    """Return `names` as a string array after checking that none is missing or duplicated."""
    names = check_named(names, what)
    unique, number = np.unique(names, return_counts=True)
    if (number > 1).any():
        raise ValueError(f"duplicate {what}: {preview(unique[number > 1])}; every name must be unique")
    return names


def check_length(values: Sized, length: int, name: str, what: str) -> None:
    """Raise ValueError unless `values` has one entry for each of the `length` items called `what`."""
    if len(values) != length:
        raise ValueError(f"{name} must have one entry per {what} ({length}), got {len(values)}")


def check_same_cells(X: Sized, Y: Sized, first: str = "X", second: str = "Y") -> None:
    """Raise ValueError unless two tables have the same number of rows."""
    if len(X) != len(Y):
        raise ValueError(f"{first} and {second} must have the same cells, got {len(X)} and {len(Y)} rows")


def check_width(values: np.ndarray, fitted: np.ndarray, what: str) -> None:
    """Raise ValueError unless `values` has the columns that were fitted."""
    if values.shape[1] != len(fitted):
        raise ValueError(f"got {values.shape[1]} {what}, but the Preprocessor was fitted on {len(fitted)}")


def preview(names: Iterable[object], most: int = 5) -> str:
    """Return the first few names as text: 'a', 'b', ... (12 in all)."""
    names = list(names)
    if not names:
        return "none"
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
