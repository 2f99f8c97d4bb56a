"""Results on disk: self-describing pickles, and a reader that executes nothing in a file."""

import hashlib
import pickle
import platform
import subprocess
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

import sbnn
from sbnn._hints import PathLike
from sbnn.storage.plain_arrays import NotPlainError
from sbnn.storage.plain_pickle import MAX_BYTES, load_plain
from sbnn.storage.writing import write_bytes

#: Increased when the layout of result files changes.
SCHEMA_VERSION = 1
_FORMAT = "sbnn results"
#: Limits on the tables of a file, and on the columns of a table.
MAX_TABLES, MAX_COLUMNS = 1000, 50_000
#: Names that `save_results` uses itself.
_RESERVED = {"format", "schema_version", "versions", "commit", "dataset", "fingerprint", "protocol", "folds", "tables"}
_RESERVED |= {"models"}
#: Begin of the last line of a result: a checksum of all before it. To readers of pickles the file ends there.
_SEAL = b"\nsha256 "
_SEAL_LENGTH = len(_SEAL) + 64 + 1
#: Types that a list may hold instead of a column.
_SINGLE = (str, bool, int, float, type(None))


class HasTables(Protocol):
    """What is read of `sbnn.CrossValidation`."""

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]: ...  # noqa: D102
    @property
    def folds(self) -> Sequence[Any]: ...  # noqa: D102


def save_results(
    path: PathLike,
    results: Mapping[str, pd.DataFrame] | HasTables,
    tables: Collection[str] | None = None,
    extra: Mapping[str, pd.DataFrame] | None = None,
    **notes: Any,
) -> Path:
    """Write tables and their provenance to a pickle of plain values and arrays, all or nothing.

    Parameters
    ----------
    path : path-like
        Target, e.g. KerasSavedModels/scala_2020/sbnn_cv.pickle; folders are created.
    results : CrossValidation or dict of DataFrames
        What to save.
    tables : collection of str, optional
        Names of the tables to save; all that are not empty if None.
    extra : dict of DataFrames, optional
        More tables.
    **notes : plain values or arrays
        Saved with the tables, e.g. dataset, fingerprint, parameters.

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    ValueError
        A table does not exist, or a table or a value could not be loaded again.
    """
    path = Path(path)
    content = {
        "format": _FORMAT,
        "schema_version": SCHEMA_VERSION,
        "versions": package_versions(),
        "commit": current_commit(),
    }
    if hasattr(results, "tables"):
        content |= {key: getattr(results, key) for key in ("dataset", "fingerprint", "protocol", "models")}
        content["folds"] = [{"train": np.asarray(fold.train), "test": np.asarray(fold.test)} for fold in results.folds]  # type: ignore[union-attr]  # of HasTables
        results = results.tables
    chosen = [name for name, table in results.items() if len(table)] if tables is None else list(tables)
    results, chosen = {**results, **(extra or {})}, [*chosen, *(extra or {})]
    missing = [name for name in chosen if name not in results]
    if missing:
        raise ValueError(f"tables names {missing}, but the results hold {sorted(map(str, results))}")
    clashes = sorted(set(chosen) & (_RESERVED | set(notes)) | set(notes) & set(content))
    if clashes:
        raise ValueError(f"{clashes[0]!r} is a name that the file needs itself: rename the note or table")
    content |= notes
    content["tables"] = {name: pack_table(results[name]) for name in chosen}
    unpack_tables(content["tables"])  # what could not be loaded is not written
    data = dump_plain(content)
    write_bytes(path, data + _seal(data))
    return path


def _seal(data):
    """Return the last line of a result."""
    return _SEAL + hashlib.sha256(data).hexdigest().encode() + b"\n"


def dump_plain(content: object) -> bytes:
    """Pickle plain values and arrays; ValueError for anything that `read_plain_pickle` would refuse."""
    data = pickle.dumps(content, protocol=4)
    if len(data) > MAX_BYTES - _SEAL_LENGTH:
        raise ValueError(f"results of {len(data)} bytes exceed the {MAX_BYTES} that a file may have: keep fewer tables")
    try:
        load_plain(data)
    except NotPlainError as error:
        raise ValueError(f"results may hold plain values and arrays only: {error}") from None
    return data


def load_results(path: PathLike) -> dict[str, Any]:
    """Read a result file without executing anything in it.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        The tables by name as DataFrames, and `dataset`, `fingerprint`, `folds`, `models` (with all their settings),
        `versions`, `commit` and any other notes.

    Raises
    ------
    FileNotFoundError
        No such file; the message tells how to create it.
    ValueError
        The file is truncated, has changed since it was written, is not a result of sbnn, has another schema version,
        or names anything but plain values and arrays (it is refused before that can be executed).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `make train`, or the notebook that writes it")
    content = read_plain_pickle(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{path} is a pickle, but not a result of sbnn")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {content.get('schema_version')!r}, this sbnn reads {SCHEMA_VERSION}: "
            "recompute it with `make train`"
        )
    try:
        return content | unpack_tables(content.pop("tables", None))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_plain_pickle(path: PathLike) -> Any:
    """Unpickle a file that holds plain containers, numbers, strings and NumPy arrays, and refuse anything else.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    object

    Raises
    ------
    ValueError
        The file is truncated, not a pickle, names something that is not allowed, or has another checksum.
    """
    try:
        data = read_bytes(path)
        if _SEAL in data[-_SEAL_LENGTH:] and data[-_SEAL_LENGTH:] != _seal(data[:-_SEAL_LENGTH]):
            raise NotPlainError("it was changed since it was written, or is damaged: copy or compute it again")
        return load_plain(data)
    except NotPlainError as error:
        raise ValueError(f"{path} refused: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} is truncated or not a pickle ({error})") from None


def read_bytes(path: PathLike) -> bytes:
    """Return the content of a file; NotPlainError if it is larger than any result or model."""
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise NotPlainError(f"it has {size} bytes, more than the {MAX_BYTES} that are read")
    return Path(path).read_bytes()


def unpack_tables(packed: object) -> dict[str, pd.DataFrame]:
    """Turn the tables of a file, dicts of columns by name, into DataFrames; ValueError if they cannot be."""
    if not isinstance(packed, dict) or not all(isinstance(name, str) for name in packed):
        raise ValueError(f"tables must be a dict by names that are text, got {str(packed)[:80]}")
    if len(packed) > MAX_TABLES or set(packed) & _RESERVED:
        raise ValueError(f"it has {len(packed)} tables, more than {MAX_TABLES}, or one with the name of a note")
    tables = {}
    for name, columns in packed.items():
        try:
            tables[name] = unpack_table(columns)
        except ValueError as error:
            raise ValueError(f"table {name!r} cannot be read: {error}") from None
    return tables


def pack_table(table: pd.DataFrame) -> dict[str, Any]:
    """Turn a DataFrame into a dict of columns; columns with few distinct values become values and codes.

    A named index becomes columns, and row numbers are dropped; ValueError for any other unnamed index, and for columns
    whose names are not text or are duplicated.
    """
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    elif not pd.api.types.is_integer_dtype(table.index.dtype):
        raise ValueError("a table has an index without a name, which would be lost: name it, or reset_index(drop=True)")
    names = list(table.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"columns of a table must have names that are text and unique, got {names[:5]}")
    return {name: _pack_column(column) for name, column in table.items()}


def _pack_column(column):
    if pd.api.types.is_numeric_dtype(column) and len(column) < 1000:
        return column.to_numpy()
    if column.dtype == object and not column.map(lambda value: isinstance(value, str) or value is None).all():
        return _plain_array(column)  # factorize would treat True as 1
    codes, values = pd.factorize(column, use_na_sentinel=False)
    if len(values) < min(2**16, max(2, len(column) / 4)):
        return {
            "values": _plain_array(values),
            "codes": codes.astype(np.uint8 if len(values) <= 256 else np.uint16),
        }
    return _plain_array(column)


def _plain_array(values):
    """Return a numeric array, a string array, or a list where strings are missing."""
    array = np.asarray(values)
    if array.dtype != object:
        return array
    if all(isinstance(value, str) for value in array):
        return array.astype(str)
    return [value.item() if isinstance(value, np.generic) else value for value in array]


def unpack_table(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Turn a dict of columns back into a DataFrame; ValueError if they are not columns of equal length."""
    if not isinstance(columns, dict) or not all(isinstance(name, str) for name in columns):
        raise ValueError(f"a table should be a dict of named columns, got {type(columns).__name__}")
    if len(columns) > MAX_COLUMNS:
        raise ValueError(f"a table has {len(columns)} columns, more than the {MAX_COLUMNS} that are read")
    table = {name: _unpack_column(name, column) for name, column in columns.items()}
    lengths = {len(column) for column in table.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns of a table should have one length, got {sorted(lengths)}")
    return pd.DataFrame(table)


def _unpack_column(name, column):
    if not isinstance(column, dict):
        return _plain_column(name, column)
    if set(column) != {"values", "codes"}:
        raise ValueError(f"column {name!r} should have values and codes, got {sorted(map(str, column))}")
    values, codes = _plain_column(name, column["values"]), column["codes"]
    if not isinstance(codes, np.ndarray) or codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise ValueError(f"column {name!r} should have codes that are whole numbers")
    if codes.size and not 0 <= codes.min() <= codes.max() < len(values):
        raise ValueError(f"column {name!r} has codes from {codes.min()} to {codes.max()} for {len(values)} values")
    if isinstance(values, list) or values.dtype.kind == "U":
        values = np.array(values, dtype=object)
    return values[codes]


def _plain_column(name, values):
    """Return a column after checking that it is a sequence of scalars."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biufcU":
        return values
    if isinstance(values, list) and all(isinstance(value, _SINGLE) for value in values):
        return values
    raise ValueError(f"column {name!r} should be an array of one axis or a list of single values")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages used for computation, by name."""
    packages = (
        "sbnn",
        "keras",
        "tensorflow",
        "tensorflow-cpu",
        "jax",
        "numpy",
        "scipy",
        "scikit-learn",
        "pandas",
        "glmstar",
        "opentsne",
    )
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache(maxsize=1)
def current_commit() -> str | None:
    """Return the commit of this repository, with "+" where the code differs from it; None outside a checkout.

    Determined once per session, when its first computation starts: the checkout may change during a long run.
    """
    package = Path(sbnn.__file__).resolve().parent

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", package, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != package.parent:
            return None
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
