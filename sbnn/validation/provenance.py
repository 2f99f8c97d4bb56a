"""Provenance of a result: models with all their settings, as plain values that can be saved and compared."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn.models.latent_regressor import is_network
from sbnn.models.schedules import get_schedule
from sbnn.validation.tables import setting_columns

#: Models by name, several settings of one in a list.
Models: TypeAlias = Mapping[str, BaseEstimator | Sequence[BaseEstimator]]
#: The same one after the other, each with its name.
Runs: TypeAlias = Sequence[tuple[str, BaseEstimator]]
#: Settings as results hold them, of one thing or of several.
Settings: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def describe_models(runs: Runs, n_features: int) -> list[dict[str, Any]]:
    """Return the settings of models as plain values: those in their rows of the tables, and stages of training.

    Parameters
    ----------
    runs : list of (name, estimator)
    n_features : int

    Returns
    -------
    list of dict
        `model`, every hyperparameter as in the tables, `kind` (the class), and for networks `stages` (a list of dicts).
    """
    described = []
    for name, estimator in runs:
        columns = setting_columns(name, estimator, n_features)
        columns["kind"] = _kind_of(estimator)
        if is_network(estimator):
            columns["stages"] = [_plain(stage.settings()) for stage in get_schedule(estimator.schedule)]
        described.append(columns)
    return described


def _kind_of(estimator):
    """Name the class of an estimator; for classes of this package, by the name under which it is imported."""
    module = type(estimator).__module__
    return f"{'sbnn' if module.startswith('sbnn.') else module}.{type(estimator).__qualname__}"


def check_distinct(described: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError if the rows of two models cannot be distinguished in the tables."""
    for number, one in enumerate(described):
        for other in described[:number]:
            if _in_tables(one) == _in_tables(other):
                raise ValueError(
                    f"two models called {one['model']!r} have the same values in the tables (which do not record "
                    "n_selected and the stages of a schedule): give them different names"
                )


def list_runs(models: Models) -> list[tuple[str, BaseEstimator]]:
    """Flatten {name: estimator or list of estimators} to [(name, estimator)]."""
    runs = []
    for name, estimators in models.items():
        estimators = estimators if isinstance(estimators, (list, tuple)) else [estimators]
        runs += [(name, estimator) for estimator in estimators]
    return runs


def select_rows(table: pd.DataFrame, described: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows of a table that belong to models, model by model in the order given.

    Parameters
    ----------
    table : DataFrame
        A table of `CrossValidation`.
    described : list of dict
        `describe_models`.

    Returns
    -------
    DataFrame
    """
    if not len(table):
        return table
    parts = [table[_rows_of(table, one)] for one in described]
    return pd.concat(parts, ignore_index=True) if parts else table.iloc[:0]


def found_in(saved: Mapping[str, Any], described: Iterable[Mapping[str, Any]], tables: Collection[str]) -> list[bool]:
    """Return for each model whether a saved result has its rows in all of these tables, with exactly these settings.

    Parameters
    ----------
    saved : dict
        `sbnn.load_results` of a cross-validation.
    described : list of dict
        `describe_models` of the requested models.
    tables : sequence of str
        Rows are looked up in the first.

    Returns
    -------
    list of bool
    """
    made = saved.get("models", [])
    found = []
    for one in described:
        # Of two models that cannot be distinguished in the tables, neither is taken.
        alike = [other for other in made if _in_tables(other) == _in_tables(one)]
        # Only the first needs rows: a model may select no gene, and class means have none.
        whole = all(name in saved for name in tables) and _rows_of(saved[next(iter(tables))], one).any()
        found.append(len(alike) == 1 and alike[0] == one and whole)
    return found


def list_differences(saved: Settings, asked: Settings) -> list[str]:
    """Describe how the settings of a saved result differ from those requested.

    Parameters
    ----------
    saved, asked : dict or list of dict
        Settings by name, or `describe_models`.

    Returns
    -------
    list of str
        One line per setting; empty if they are equal.
    """
    if saved == asked:
        return []
    made, wanted = _values(saved), _values(asked)
    lines = []
    for name in dict.fromkeys([*wanted, *made]):
        before, after = made.get(name), wanted.get(name)
        if before != after:
            lines.append(f"{name} {_listed(before)} on disk, {_listed(after)} requested")
    return lines or ["the same settings in different combinations"]


def _values(settings):
    """Every value of each setting, in order of occurrence."""
    settings = [settings] if isinstance(settings, dict) else settings
    values = {}
    for one in (part for whole in settings for part in _with_candidates(whole)):
        for name, value in one.items():
            if name == "stages":  # compared within the schedule of the same name, field by field
                for stage in value:
                    for what, number in stage.items():
                        if what != "name":
                            _add(values, f"{what} of {stage['name']} ({one.get('schedule')})", number)
            else:
                _add(values, name, value)
    return values


def _with_candidates(described):
    """Return a model, and after it each of the settings that a nested cross-validation chose from."""
    own = {name: value for name, value in described.items() if name != "candidates"}
    return [own, *described.get("candidates", ())]


def _add(values, name, value):
    """Add a value to those of a setting, once."""
    known = values.setdefault(name, [])
    if value not in known:
        known.append(value)
        known.sort(key=lambda one: (str(type(one)), one) if isinstance(one, (int, float, str)) else ("", 0))


def _listed(values):
    """Values as text."""
    if values is None:
        return "not"
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _in_tables(described):
    """Return the settings of a model that identify its rows: in the tables, `n_selected` is that of each stage.

    Of a nested cross-validation, where settings differ between folds, it is the name alone.
    """
    if "candidates" in described:
        return {"model": described["model"]}
    return {name: value for name, value in described.items() if name not in ("stages", "n_selected", "kind")}


def _rows_of(table, described):
    """Whether each row of a table belongs to a model."""
    mask = np.ones(len(table), dtype=bool)
    for name, value in _in_tables(described).items():
        if name not in table:
            return np.zeros(len(table), dtype=bool)
        mask &= (table[name] == value).to_numpy()
    return mask


def _plain(values):
    """Values converted from NumPy's types to Python's."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
