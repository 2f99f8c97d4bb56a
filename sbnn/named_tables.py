"""Tables with names that the reader brings: DataFrames, or CSV files with commas, semicolons or tabs."""

import csv
import gzip
from contextlib import contextmanager

import numpy as np
import pandas as pd

from sbnn._checks import check_unique, preview

#: What goes wrong with a file that is cut, packed otherwise, or no table.
_UNREADABLE = (EOFError, gzip.BadGzipFile, UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError)


def read_table(table, what):
    """Return a table of numbers as a DataFrame with names as text.

    Parameters
    ----------
    table : DataFrame or path-like
        A path of a file with commas, semicolons or tabs, whichever its first line has most of (.tsv: tabs), .gz or
        not; its first column holds the names of the rows.
    what : str
        Name of the argument in errors.

    Returns
    -------
    DataFrame
        Nullable columns as floats; sparse columns stay sparse.

    Raises
    ------
    ValueError
        A file that is damaged or no table, columns that hold no numbers, names that come twice.
    """
    if not isinstance(table, pd.DataFrame):
        table = _read_numbers(table, what)
    others = [str(column) for column, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if others:
        raise ValueError(
            f"{what} must hold numbers only, but column(s) {preview(others)} hold text, dates or categories: drop or "
            "convert them"
        )
    nullable = [
        column
        for column, kind in table.dtypes.items()
        if pd.api.types.is_extension_array_dtype(kind) and not isinstance(kind, pd.SparseDtype)
    ]
    if nullable:
        table = table.astype(dict.fromkeys(nullable, np.float64))
    return table.set_axis(table.index.astype(str), axis=0).set_axis(table.columns.astype(str), axis=1)


def _read_numbers(path, what):
    """Read a file whose first column holds names: text, even where they look like numbers or a missing value."""
    separator, header, first = _begin(path, what)
    options = {"sep": separator, "converters": {0: str}, "encoding": "utf-8-sig"}
    if len(first) == len(header) + 1:  # as R writes tables: no name above the names of the rows
        options |= {"names": ["", *header], "header": None, "skiprows": 1}
        header = options["names"]
    check_unique(header[1:], f"columns in {what}")  # pandas would number them
    with _damage_explained(path, what):
        table = pd.read_csv(path, **options)
    return table.set_index(table.columns[0])


@contextmanager
def _damage_explained(path, what):
    """Say which file of which argument cannot be read."""
    try:
        yield
    except _UNREADABLE as error:
        raise ValueError(f"{what}: {path} is damaged or no table, .gz or plain ({error})") from None


def _begin(path, what):
    """Return the separator, the header and the first row of a file."""
    open_text = gzip.open if str(path).endswith(".gz") else open
    with _damage_explained(path, what), open_text(path, "rt", newline="", encoding="utf-8-sig") as file:
        lines = [file.readline(), file.readline()]
    tabs = "\t" in lines[0] and str(path).removesuffix(".gz").endswith((".tsv", ".txt"))
    separator = "\t" if tabs else max(",;\t", key=lines[0].count)
    if separator not in lines[0]:
        raise ValueError(f"{what}: {path} is no table, its first line has no commas, semicolons or tabs")
    header, first = (next(csv.reader([line], delimiter=separator), []) for line in lines)
    return separator, header, first


def require_named_rows(table, what):
    """Raise ValueError where a DataFrame numbers its rows instead of naming them."""
    if isinstance(table, pd.DataFrame) and isinstance(table.index, pd.RangeIndex) and table.index.name is None:
        raise ValueError(
            f"{what} has no names in its index, only numbers of rows: name them with set_index, or read the file with "
            "index_col=0"
        )


def read_descriptions(cells, names):
    """Return what is known of cells, indexed by the column (or the index) that holds their names.

    Parameters
    ----------
    cells : DataFrame or path-like
        A column a property, as text or as numbers.
    names : sequence of str
        The cells in question.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        No column has these names, or several columns that differ have equally many of them.
    """
    if not isinstance(cells, pd.DataFrame):
        path, options = cells, {"dtype": str, "keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig"}
        separator, *_ = _begin(path, "cells")
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
    best = [column for column, number in found.items() if number == most]
    if any(not np.array_equal(columns[column], columns[best[0]]) for column in best):
        raise ValueError(f"which column of cells holds their names, {preview(best)}? Make it the index of a DataFrame")
    return cells.set_axis(columns[best[0]])
