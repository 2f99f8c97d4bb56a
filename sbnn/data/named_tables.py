"""Tables with names that the user brings: DataFrames, or CSV files with commas, semicolons or tabs."""

import csv
import gzip
import os
import zlib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from sbnn._checks import MISSING_MARKERS, check_named, check_unique, preview, warn
from sbnn._hints import Labels, Table
from sbnn.data.accidents import check_no_text

#: Errors raised for a file that is truncated, compressed in another way, or not a table.
_UNREADABLE = (EOFError, gzip.BadGzipFile, zlib.error, pd.errors.EmptyDataError, pd.errors.ParserError, csv.Error)
#: Spreadsheet files, which are not text.
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
#: Files compressed in other ways than by gzip.
_COMPRESSED = (".zip", ".bz2", ".xz", ".zst", ".7z", ".tar")
#: First bytes of files that are not text.
_BINARY = {
    b"\x1f\x8b": "compressed by gzip (its name should end in .gz)",
    b"PK\x03\x04": "a zip or a spreadsheet (.xlsx)",
    b"\x89HDF": "an HDF5 file (.h5, .h5ad)",
}
#: Usual names of the first column of a table, which R leaves unnamed.
_NAMES_OF_NAMES = {"", "cell", "cells", "cell_id", "cellid", "barcode", "gene", "genes", "gene_id", "name", "id"}


def read_table(table: Table, what: str) -> pd.DataFrame:
    """Return a table of numbers as a DataFrame with names as text.

    Parameters
    ----------
    table : DataFrame or path-like
        The path of a file with commas, semicolons or tabs, whichever is most frequent in its first line (.tsv: tabs),
        .gz or not; its first column holds the names of the rows.
    what : str
        Name of the argument in errors.

    Returns
    -------
    DataFrame
        Nullable columns as floats; sparse columns stay sparse.

    Raises
    ------
    ValueError
        Not a table, an empty one, a file that is damaged or a spreadsheet, columns that do not hold real numbers,
        missing or duplicate names.
    """
    require_table(table, what)
    table = _without_markers(table, what) if isinstance(table, pd.DataFrame) else _read_numbers(table, what)
    if not table.size:
        raise ValueError(f"{what} is empty: {table.shape[0]} rows and {table.shape[1]} columns")
    for names, axis in ((table.index, "rows"), (table.columns, "columns")):
        if isinstance(names, pd.MultiIndex):
            raise ValueError(f"the {axis} of {what} have names of several levels (MultiIndex): join them into one")
    check_no_text(table, what)
    nullable = [
        column
        for column, kind in table.dtypes.items()
        if pd.api.types.is_extension_array_dtype(kind) and not isinstance(kind, pd.SparseDtype)
    ]
    if nullable:
        table = table.astype(dict.fromkeys(nullable, np.float64))
    rows, columns = check_named(table.index, f"rows of {what}"), check_named(table.columns, f"columns of {what}")
    return table.set_axis(rows, axis=0).set_axis(columns, axis=1)


def require_table(table: object, what: str) -> None:
    """Raise ValueError unless `table` is a DataFrame or names a file of text."""
    if isinstance(table, pd.DataFrame):
        return
    if not isinstance(table, (str, os.PathLike)):
        raise ValueError(
            f"{what} must be a DataFrame or the path of a CSV file, got {type(table).__name__}: a DataFrame names its "
            "rows and columns, pandas.DataFrame(values, index=cells, columns=names)"
        )
    ending = Path(table).suffix.lower()
    if ending in _COMPRESSED:
        raise ValueError(f"{what}: {table} is compressed ({ending}): unpack it, or compress it by gzip (.gz)")
    if ending in _SPREADSHEETS:
        raise ValueError(
            f"{what}: {table} is a spreadsheet file: save it as CSV UTF-8 there, or read it with "
            "pandas.read_excel(path, index_col=0) and give the DataFrame (look for gene names that became dates)"
        )


def _read_numbers(path, what):
    """Read a file whose first column holds names: kept as text, even if they look like numbers or a missing value."""
    separator, header, first = _begin(path, what)
    options = {"sep": separator, "converters": {0: str}, "encoding": "utf-8-sig"}
    n_columns = len(first)
    nameless = len(first) == len(header) + 1 and header[0].strip().lower() not in _NAMES_OF_NAMES
    if nameless:  # as R writes tables: no name above the names of the rows
        warn(
            f"{what}: {path} has {len(header)} names above {len(first)} columns: read as a table written by R, whose "
            "first column has no name"
        )
        options |= {"names": ["", *header], "header": None, "skiprows": 1}
        header = options["names"]
    elif len(first) != len(header):
        raise ValueError(
            f"{what}: {path} has {len(header)} names above {len(first)} columns: are there decimal commas in a table "
            "with commas (export it with semicolons or tabs), or is the first row cut short?"
        )
    if header[0] and header[0] in header[1:]:
        raise ValueError(f"{what}: {path} has two columns called {header[0]!r}: rename one")
    check_unique(check_named(header[1:], f"columns of {what}"), f"columns in {what}")  # pandas would rename duplicates
    _check_rows(path, what, separator, n_columns)
    with _damage_explained(path, what):
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False, **options)
    table = _without_markers(table.set_index(table.columns[0]), what)
    check_no_text(table, what, separator)
    return table


def _check_rows(path, what, separator, n_columns):
    """Raise ValueError if a row of a file is short, which pandas would read as missing values, or has NUL bytes."""
    with _damage_explained(path, what), _open_text(path) as file:
        for number, row in enumerate(csv.reader(_without_nul(file), delimiter=separator)):
            if number and len(row) < n_columns and any(entry.strip() for entry in row):
                raise ValueError(
                    f"{what}: row {number} of {path} has {len(row)} of {n_columns} entries: cut short? Copy it again"
                )


def _without_nul(lines):
    """Yield lines; raise csv.Error at the first with a NUL byte, after which pandas reads nothing."""
    for line in lines:
        if "\0" in line:
            raise csv.Error("it holds NUL bytes, as damaged files and binary ones do")
        yield line


def _open_text(path):
    """Open a text file, compressed by gzip or not."""
    open_text = gzip.open if str(path).endswith(".gz") else open
    return open_text(path, "rt", newline="", encoding="utf-8-sig")


def _without_markers(table, what):
    """Replace text such as "n.d." or "#N/A", which marks missing values, with NaN, and warn."""
    found, changed = Counter(), {}
    for number, kind in enumerate(table.dtypes):
        if not pd.api.types.is_object_dtype(kind):
            continue
        values = table.iloc[:, number]
        if not values.dropna().map(lambda value: isinstance(value, (str, int, float, np.integer, np.floating))).all():
            continue
        marked = values.map(lambda value: isinstance(value, str) and value.strip().lower() in MISSING_MARKERS)
        numbers = pd.to_numeric(values.where(~marked), errors="coerce")
        if (numbers.isna() & values.notna() & ~marked).any():
            continue  # text, which is refused by name
        found.update(values[marked].str.strip())
        changed[number] = numbers
    if changed:
        columns = [changed.get(number, table.iloc[:, number]) for number in range(table.shape[1])]
        table = pd.concat(columns, axis=1, keys=range(table.shape[1])).set_axis(table.columns, axis=1)
    if found:
        shown = ", ".join(f"{marker!r} ({count})" for marker, count in found.most_common(5))
        warn(f"{what}: read as missing values: {shown}")
    return table


@contextmanager
def _damage_explained(path, what):
    """Raise an error that names the file and the argument which cannot be read."""
    try:
        yield
    except UnicodeDecodeError:
        raise ValueError(f"{what}: {path} {_what_it_is(path)}") from None
    except _UNREADABLE as error:
        raise ValueError(f"{what}: {path} is damaged or not a table, .gz or plain ({error})") from None


def _what_it_is(path):
    """Describe what a file that is not written in UTF-8 may be, and how to read it."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
        begins = file.read(4096)
    for magic, kind in _BINARY.items():
        if begins.startswith(magic):
            return f"is {kind}, not a table of text: read it with a reader for this format, and give the DataFrame"
    encoding = "utf-16" if begins[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    line = begins[: len(begins) // 2 * 2].decode(encoding, "replace").partition("\n")[0]
    separator = max(",;\t", key=line.count)
    return (
        f"is not written in UTF-8: save it as CSV UTF-8, or read it with pandas.read_csv(path, sep={separator!r}, "
        f"encoding={encoding!r}, index_col=0) and give the DataFrame"
    )


def _begin(path, what):
    """Return the separator, the header and the first row of a file."""
    with _damage_explained(path, what), _open_text(path) as file:
        lines = [file.readline(), file.readline()]
    tabs = "\t" in lines[0] and str(path).removesuffix(".gz").endswith((".tsv", ".txt"))
    separator = "\t" if tabs else max(",;\t", key=lines[0].count)
    if separator not in lines[0]:
        raise ValueError(f"{what}: {path} is not a table, its first line has no commas, semicolons or tabs")
    if not lines[1].strip():
        raise ValueError(f"{what}: {path} is empty: it has no row below its first line")
    with _damage_explained(path, what):
        header, first = (next(csv.reader([line], delimiter=separator), []) for line in lines)
    return separator, header, first


def require_named_rows(table: object, what: str) -> None:
    """Raise ValueError if a DataFrame numbers its rows instead of naming them."""
    if not isinstance(table, pd.DataFrame) or table.index.name is not None:
        return
    if isinstance(table.index, pd.RangeIndex) or pd.api.types.is_integer_dtype(table.index.dtype):
        raise ValueError(
            f"{what} has no names in its index, only row numbers: name them with set_index, or read the file with "
            "index_col=0. If these numbers are the names, give the index a name: table.index.name = 'cell'"
        )


def read_descriptions(cells: Table, names: Labels) -> pd.DataFrame:
    """Return what is known about cells, indexed by the column (or the index) that holds their names.

    Parameters
    ----------
    cells : DataFrame or path-like
        One column per property, as text or as numbers.
    names : sequence of str
        The cells in question.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        No column has these names, or several different columns have equally many of them.
    """
    require_table(cells, "cells")
    if not isinstance(cells, pd.DataFrame):
        path, options = cells, {"dtype": str, "keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig"}
        separator, header, first = _begin(path, "cells")
        check_unique([name for name in header if name.strip()], "columns in cells")
        if len(first) == len(header) + 1 and first[-1].strip():  # as R writes tables
            header = ["", *header]
            options |= {"names": header, "header": None, "skiprows": 1}
        if len(first) > len(header):
            raise ValueError(
                f"cells: {path} has {len(header)} names above {len(first)} columns: name every column once"
            )
        _check_rows(path, "cells", separator, min(len(first), len(header)))
        options["index_col"] = False
        with _damage_explained(path, "cells"):
            cells = pd.read_csv(path, sep=separator, **options)
    columns = {str(column): cells[column].astype(str).to_numpy(str) for column in cells}
    if not isinstance(cells.index, pd.RangeIndex) or cells.index.name is not None:
        columns = {"the index": cells.index.to_numpy().astype(str)} | columns
    found = {column: int(np.isin(names, values).sum()) for column, values in columns.items()}
    most = max(found.values(), default=0)
    if most == 0:
        raise ValueError(
            f"cells has no column with names of the cells of features ({preview(names, 3)}); it has the columns "
            f"{preview(cells.columns, 12)}"
        )
    rivals = [column for column, number in found.items() if 2 * number > len(names)]
    best = rivals if len(rivals) > 1 else [column for column, number in found.items() if number == most]
    if any(not np.array_equal(columns[column], columns[best[0]]) for column in best):
        raise ValueError(f"which column of cells holds their names, {preview(best)}? Make it the index of a DataFrame")
    return cells.set_axis(columns[best[0]])
