"""Finished tables of a report, kept in the store of its fits, so that nothing is computed twice."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

import sbnn
from sbnn._hints import PathLike
from sbnn.storage.results import pack_table, package_versions, unpack_table
from sbnn.validation.store import open_store


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """Hash of all modules of the package: any of them may change a table, and tables are soon computed again."""
    files = sorted(Path(sbnn.__file__).parent.rglob("*.py"))
    return joblib.hash([(file.name, file.read_bytes()) for file in files], hash_name="sha1")


#: Tables by name.
Tables = dict[str, pd.DataFrame]


def finished(
    store: PathLike | None, step: str, about: Mapping[str, Any], compute: Callable[[], Tables]
) -> dict[str, pd.DataFrame]:
    """Return the tables of a step: from the store, or computed and put there.

    Parameters
    ----------
    store : path-like or None
        Folder of `sbnn.cross_validate`; None: nothing is kept.
    step : str
        Name of what is computed.
    about : dict
        Everything that determines the tables: data, folds, settings, predictions of the models.
    compute : callable
        Without arguments; returns tables by name.

    Returns
    -------
    dict of DataFrame

    Raises
    ------
    ValueError, RuntimeError
        A damaged store, or one that another process uses, as `sbnn.cross_validate`.
    """
    if store is None:
        return compute()
    versions = {**package_versions(), "version": sbnn.__version__, "code": _code_hash()}
    key = joblib.hash([step, dict(about), versions], hash_name="sha1")
    with open_store(store) as kept:
        content = None if kept is None else kept.load(key)
    if content is not None:
        return {name: unpack_table(columns) for name, columns in content["tables"].items()}
    tables = compute()
    packed = {"tables": {name: pack_table(table) for name, table in tables.items()}, "problem": None, "model": None}
    with open_store(store) as kept:
        if kept is not None:
            kept.save({key: packed})
    return tables
