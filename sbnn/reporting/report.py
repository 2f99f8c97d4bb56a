"""The report of paired data: from cells to an answer in plain words, in one HTML file."""

import inspect
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn._checks import check_flag, check_number, check_whole
from sbnn._hints import PathLike
from sbnn.data.feature_transforms import Transform, take_logarithms
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.data.preprocessing import Preprocessor
from sbnn.reporting.analysis import TABLE_NAMES, Progress, analyse
from sbnn.reporting.contest import check_enough_cells, outer_folds
from sbnn.reporting.modes import get_mode
from sbnn.reporting.page import Circumstances, report_page
from sbnn.storage.writing import check_html_path, write_together
from sbnn.validation.folds import FoldChoice
from sbnn.validation.result import CrossValidation

#: Name of the file, if none is given.
DEFAULT_PATH = "report.html"


@dataclass(frozen=True, repr=False)
class Report:
    """A report that was written.

    Attributes
    ----------
    path : Path
        The HTML file.
    recommended : str
        Name of the recommended model: that with the best R2 on held-out cells; "mean of all cells" if none is above 0.
    answer : str
        The answer in plain words, as it stands at the top of the page; one sentence or two a line.
    tables : dict of DataFrame
        What the page shows, by name: `scores`, `differences`, `features`, `genes`, `importance`, `intervals` and
        others; the same as the CSV files.
    folder : Path
        Where the CSV files are.
    result : CrossValidation
        The scores behind it, with predictions of held-out cells; for `PairedModel.plot` and `explore`.
    estimators : dict
        Name of a model -> unfitted estimator with the settings that most folds chose, for `PairedModel`; class means
        and trees are none that it takes.
    data : PairedData
        The cells of the scores, with the logarithms that `transform` asked for: those that `result` belongs to.
    """

    path: Path
    recommended: str
    answer: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    folder: Path = Path()
    result: CrossValidation | None = None
    estimators: dict[str, BaseEstimator] = field(default_factory=dict)
    data: PairedData | None = None

    def __repr__(self) -> str:
        """Give the answer, and say where the report is."""
        return f"{self.answer}\n\nReport: {self.path}; tables: {self.folder}"


def report(
    data: PairedData,
    path: PathLike = DEFAULT_PATH,
    *,
    mode: str = "quick",
    folds: FoldChoice | None = None,
    transform: Transform = None,
    detection_threshold: float | None = None,
    store: PathLike | None = None,
    shorten: float = 1.0,
    random_state: int = 42,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Report:
    """Answer whether features can be told from genes, better than from the class, with which genes, and how sure.

    Checks the data; scores means of classes, linear models and networks on the same held-out cells, of other donors
    where these are known, with settings chosen inside of the training cells (nested); says in plain words which model
    is the best and which are as good; and shows genes, an interactive map, and prediction intervals. ::

        import sbnn

        files = {"counts": "counts.csv", "features": "features.csv", "cells": "cells.csv"}
        data = sbnn.PairedData.from_tables(**files, donors="Mouse", cell_types="Type")
        print(sbnn.report(data, "report.html"))

    On the command line: ``sbnn report counts.csv features.csv --cells cells.csv --donors Mouse --types Type``.

    Parameters
    ----------
    data : PairedData
        At least 40 cells. Donors, types and families are used where they are given; features may have missing values.
    path : path-like
        The HTML file: one file, which opens in any browser without internet. Tables are written as CSV to a folder
        beside it, "report_tables" for "report.html". Both are replaced together when all is done; tables of an earlier
        report that this one does not have are removed, other files in the folder stay.
    mode : {"quick", "full"}
        "quick": one to two minutes for 200 to 500 cells on two cores. "full", an hour or more: more folds, models,
        settings (numbers of genes) and permutations, and genes of other seeds and of resampled donors.
    folds : as for `sbnn.cross_validate`, optional
        Outer folds. By default five (full: ten) of whole donors, or of random cells if donors are not known.
    transform : None, "auto" or list of str
        Features whose logarithm is taken, as in `PairedData.from_tables`; None: features are used as given.
    detection_threshold : float, optional
        That with which variable genes were chosen; only to check whether it fits the counts.
    store : path-like, optional
        Folder for finished fits and tables: after an interruption, the same call resumes from there.
    shorten : float
        Epochs of networks are multiplied by it, for trials; the answer says so.
    random_state : int
        Seed of folds and networks.
    n_jobs : int, optional
        As in `sbnn.cross_validate`.
    progress : bool
        Show which step is running, and the time left.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        Not PairedData, too few cells, an unknown mode, `path` that cannot be written, folds that do not hold cells out;
        and as `sbnn.cross_validate`.
    RuntimeError
        Another process is using the same store.

    Notes
    -----
    Recommended is the model with the largest R2 on held-out cells (pooled over folds). Models whose difference from it
    has an interval that includes 0, or whose mean R2 is within one standard error, are named, and the simplest of them.
    """
    if transform is not None and not isinstance(transform, str) and np.iterable(transform):
        transform = [str(name) for name in transform]
    arguments = {"mode": mode, "transform": transform, "detection_threshold": detection_threshold, "store": store}
    arguments |= {"shorten": shorten, "random_state": random_state}
    snippet = [
        "from sbnn import PairedData, report",
        "",
        f"data = ...  # the PairedData {getattr(data, 'name', None)!r}, made as for this report",
        call_of_report(path, arguments),
    ]
    if folds is not None:
        snippet[-1] = snippet[-1][:-1] + ", folds=folds)  # those that were given; folds.csv has their test cells"
    return write_report(
        data,
        path,
        mode=mode,
        folds=folds,
        transform=transform,
        detection_threshold=detection_threshold,
        store=store,
        shorten=shorten,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
        snippet="\n".join(snippet),
    )


def write_report(
    data: PairedData,
    path: PathLike,
    *,
    mode: str,
    folds: FoldChoice | None,
    transform: Transform,
    detection_threshold: float | None,
    store: PathLike | None,
    random_state: int,
    n_jobs: int | None,
    progress: bool,
    snippet: str,
    shorten: float = 1.0,
    command: str = "",
    notes: Sequence[str] = (),
) -> Report:
    """Write a report; as `report`, with what it says about how it was made.

    Parameters
    ----------
    data, path, mode, folds, transform, detection_threshold, store, random_state, n_jobs, progress, shorten
        As for `report`.
    snippet : str
        Python that makes the same report.
    command : str
        The command line that makes it; empty if there is none.
    notes : sequence of str
        What was said when the data were read.

    Returns
    -------
    Report

    Raises
    ------
    ValueError, RuntimeError
        As `report`.
    """
    start = time.monotonic()
    check_paired(data)
    check_enough_cells(data)
    chosen = get_mode(mode)
    check_number(shorten, "shorten", above=True)
    chosen = replace(chosen, shorten=float(shorten))
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    check_flag(progress, "progress")
    if detection_threshold is not None:
        check_number(detection_threshold, "detection_threshold")
    given, data = data, with_logarithms(data, transform)
    splits = outer_folds(data, folds, chosen.n_outer, random_state)
    target = _check_path(path)
    folder = target.with_name(f"{target.stem}_tables")
    steps = Progress(chosen, progress)
    try:
        analysis = analyse(data, splits, chosen, steps, detection_threshold, store, random_state, n_jobs, progress)
        with steps.step("page"):
            seconds, date = time.monotonic() - start, datetime.now().strftime("%Y-%m-%d %H:%M")
            changed = transform if data is not given else None
            about = Circumstances(date, seconds, random_state, snippet, command, tuple(notes), changed)
            html = report_page(analysis, about)
            files = {name: folder / f"{name}.csv" for name in TABLE_NAMES}
            tables = {files.pop(name): table.to_csv(index=False).encode() for name, table in analysis.tables.items()}
            write_together({target: html.encode(), **tables}, stale=files.values())
    finally:
        steps.close()
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
    answer = analysis.answer
    return Report(
        target, answer.recommended, answer.text, analysis.tables, folder, analysis.result, analysis.estimators, data
    )


def call_of_report(path: PathLike, arguments: Mapping[str, Any]) -> str:
    """Return the call of `report` in Python, with those arguments that are not defaults."""
    defaults = {name: one.default for name, one in inspect.signature(report).parameters.items()}
    shown = [f"{name}={_text(value)}" for name, value in arguments.items() if value != defaults[name]]
    return f"report({', '.join(['data', _text(path), *shown])})"


def with_logarithms(data: PairedData, transform: Transform) -> PairedData:
    """Return data with logarithms in place of some features, as `PairedData.from_tables(..., transform=...)`.

    Parameters
    ----------
    data : PairedData
    transform : None, "auto" or list of str

    Returns
    -------
    PairedData
        The same if `transform` is None, or no feature is to be changed.

    Raises
    ------
    ValueError
        Features as measured are not known, and as `sbnn.data.feature_transforms.take_logarithms`.
    """
    if transform is None:
        return data
    if data.features is None:
        raise ValueError(
            f"transform={transform!r} takes logarithms of features as measured, but data.features is None: give "
            "PairedData that holds them, or leave transform out"
        )
    found = take_logarithms(data.features, data.feature_names, data.feature_units, transform, data.feature_transforms)
    if found.names.tolist() == data.feature_names.tolist():  # no feature is changed: Y stays as it was given
        return data
    scales = Preprocessor(allow_constant=True)
    scales.fit(expression=data.X, features=found.values, gene_names=data.gene_names, feature_names=found.names)
    Y = scales.transform_features(found.values)
    changed: dict[str, Any] = {"features": found.values, "feature_names": found.names, "feature_units": found.units}
    return replace(data, Y=Y, feature_transforms=found.transforms, **changed)


def _check_path(path):
    """Return the path of the page, whose folder is there and can be written to; ValueError if it cannot be."""
    target = check_html_path(path, DEFAULT_PATH)
    folder = target.with_name(f"{target.stem}_tables")
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"path {str(path)!r}: its tables go to the folder {folder}, which is a file: choose another path"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)  # now, not after an hour
    except OSError as error:
        raise ValueError(f"path {str(path)!r} cannot be written: {error}") from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f"path {str(path)!r} cannot be written: {folder} does not take files")
    return target


def _text(value):
    """Write an argument as in Python."""
    return repr(os.fspath(value)) if isinstance(value, os.PathLike) else repr(value)
