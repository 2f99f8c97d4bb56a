"""Everything that a report says in numbers: checks, scores, genes, map and intervals, as tables."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from tqdm.auto import tqdm

from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData
from sbnn.own_cells.explore import explore
from sbnn.reporting.answer import Answer, answer_from
from sbnn.reporting.contest import Splits, classes_of, contestants, network_genes
from sbnn.reporting.evidence import Evidence
from sbnn.reporting.finished import Tables, finished
from sbnn.reporting.genes import (
    frequency_table,
    importance_tables,
    refitted_stability,
    sparse_models,
    stability_over_folds,
    stability_tables,
)
from sbnn.reporting.modes import Mode
from sbnn.reporting.scores import (
    difference_table,
    feature_table,
    gain_table,
    score_models,
    score_table,
    within_class_table,
)
from sbnn.validation.class_models import LABELS_ONLY, kinds_of
from sbnn.validation.coverage import coverage_table
from sbnn.validation.dispatch import hide_bar
from sbnn.validation.guards import Finding, check_data
from sbnn.validation.result import CrossValidation

#: Steps of a report with their shares of its time, roughly; that of fitting again is for a full report only.
STEPS = {
    "checks of the data": 1,
    "class means and linear models": 25,
    "networks": 50,
    "differences between models": 4,
    "importance of genes": 12,
    "genes of other seeds and donors": 100,
    "map": 3,
    "page": 5,
}
#: Coverage of prediction intervals.
COVERAGE = 0.9


@dataclass(frozen=True, repr=False)
class Analysis:
    """What a report says, before it is written.

    Attributes
    ----------
    data : PairedData
    splits : Splits
    mode : Mode
    findings : list of Finding
        What misleads in the data.
    tables : dict of DataFrame
        By name: `checks`, `folds`, `scores`, `differences`, `features`, `features_by_model`, `beyond_class`,
        `within_class`, `choices`, `genes`, `stability`, `substitutes`, `frequencies`, `importance`, `importance_total`,
        `importance_scores`, `intervals`.
    answer : Answer
    gene_model : str or None
        The model whose genes and map are shown; None if no model selects genes.
    map_html : str
        The page of the interactive map; empty without a map.
    result : CrossValidation
        Of all models.
    estimators : dict
        Name of a model -> unfitted estimator with the settings that most folds chose.
    notes : list of str
        What could not be computed, and why.
    """

    data: PairedData
    splits: Splits
    mode: Mode
    findings: list[Finding]
    tables: Tables
    answer: Answer
    gene_model: str | None
    map_html: str
    result: CrossValidation
    estimators: dict[str, BaseEstimator]
    notes: list[str] = field(default_factory=list)


class Progress:
    """A bar over the steps of a report, with the time left."""

    def __init__(self, mode: Mode, progress: bool):
        weights = {name: weight for name, weight in STEPS.items() if mode.n_seeds or not name.startswith("genes of")}
        self.weights = weights
        self.bar = tqdm(total=sum(weights.values()), desc="report", disable=hide_bar(progress), unit="%")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show the name of a step while it runs, and its share of the bar when it is done."""
        number = list(self.weights).index(name) + 1
        self.bar.set_description(f"report, step {number} of {len(self.weights)}: {name}")
        yield
        self.bar.update(self.weights[name])

    def close(self) -> None:
        """End the bar."""
        self.bar.close()


def analyse(
    data: PairedData,
    splits: Splits,
    mode: Mode,
    steps: Progress,
    detection_threshold: float | None,
    store: PathLike | None,
    random_state: int,
    n_jobs: int | None,
    progress: bool,
) -> Analysis:
    """Compute what a report says.

    Parameters
    ----------
    data : PairedData
    splits : Splits
        From `outer_folds`.
    mode : Mode
    steps : Progress
    detection_threshold : float or None
        That with which variable genes were chosen, to be checked.
    store, n_jobs, progress
        See `sbnn.cross_validate`.
    random_state : int

    Returns
    -------
    Analysis
    """
    running: dict[str, Any] = {"store": store, "n_jobs": n_jobs, "progress": progress}
    number = network_genes(data)
    with steps.step("checks of the data"):
        findings = check_data(data, splits.folds, n_selected=number, detection_threshold=detection_threshold)
    models = contestants(data, mode, random_state)
    result, left_out = _fit(data, models, splits, mode, random_state, running, steps)
    models = {name: one for name, one in models.items() if name not in left_out}
    # What determines all further tables: what was measured, and what the models made of it.
    made_from = {
        "data": [data.fingerprint, data.names_hash, data.counts, data.features, data.donors, splits.unit],
        "result": [result.scores, result.predictions, result.selected],
        "folds": [(fold.train, fold.test) for fold in result.folds],
        "mode": mode,
    }
    with steps.step("differences between models"):
        tables = _scored(result, data, splits, mode, findings, store, made_from)
    left_out |= _without_score(result, tables["scores"])
    notes = [*(f"{name}: {why}." for name, why in left_out.items()), *_notes(models, mode)]
    sparse = sparse_models(tables["scores"], result, data.n_genes)
    gene_model = sparse[0] if sparse else None
    with steps.step("importance of genes"):
        if gene_model is not None:
            tables |= finished(
                store,
                f"importance of {gene_model}",
                made_from,
                lambda: importance_tables(result, data, gene_model, splits, mode, progress),
            )
            tables["genes"] = frequency_table(result, data, sparse)
            tables |= stability_tables(stability_over_folds(result, data, sparse))
        else:
            notes.append("No model selected genes: there is no table of genes, and no map.")
    answer = _answered(data, splits, mode, tables, findings, left_out)
    if mode.n_seeds:
        with steps.step("genes of other seeds and donors"):
            chosen = {name: _most_often_chosen(result, models, name) for name in sparse}
            more = refitted_stability(data, chosen, splits, mode, random_state, **running)
            tables |= {name: pd.concat([tables[name], more[name]], ignore_index=True) for name in more}
    with steps.step("map"):
        map_html = "" if gene_model is None else _map_of(result, data, gene_model)
    tables = _in_order({**tables, **_descriptions(result, data, findings)})
    chosen = {name: _most_often_chosen(result, models, name) for name in models}
    return Analysis(data, splits, mode, findings, tables, answer, gene_model, map_html, result, chosen, notes)


def _scored(result, data, splits, mode, findings, store, made_from):
    """Return tables of scores, and of the models that these show to be the best."""
    outlying = [name for one in findings if one.name == "outlying values" for name in one.numbers["share"]]
    tables = finished(store, "scores", made_from, lambda: _score_tables(result, data, splits, mode, outlying))
    shown = Evidence(data, splits, tables)
    tables["features_by_model"] = result.by_feature().reset_index()
    return tables | finished(store, "features", made_from, lambda: _of_best(result, data, splits, mode, shown))


def _answered(data, splits, mode, tables, findings, left_out):
    """Return the answer that all tables give."""
    reasons = [f"{name}: {why}." for name, why in left_out.items()]
    answer = answer_from(data, splits, tables, findings, reasons)
    if mode.shorten != 1:
        trial = f"A trial: networks were trained for {mode.shorten:g} times their epochs."
        answer = replace(answer, sentences=(*answer.sentences, trial))
    return answer


def _fit(data, models, splits, mode, random_state, running, steps):
    """Fit and score all models: first those without a network, which are done within seconds."""
    quick = {name: one for name, one in models.items() if not name.startswith("sBNN")}
    networks = {name: one for name, one in models.items() if name not in quick}
    with steps.step("class means and linear models"):
        first = score_models(data, quick, splits, mode, random_state, **running)
    with steps.step("networks"):
        second = score_models(data, networks, splits, mode, random_state, **running)
    return first.result.join(second.result), first.left_out | second.left_out


def _score_tables(result, data, splits, mode, outlying):
    """Scores of all models, differences between them, and what genes add to the class."""
    tables = {
        "scores": score_table(result, data, splits, mode.n_bootstrap, outlying),
        "differences": difference_table(result, data, splits, mode.n_bootstrap),
    }
    pair = Evidence(data, splits, tables).pair
    return {**tables, "beyond_class": gain_table(result, data, splits, mode.n_bootstrap, pair)}


def _of_best(result, data, splits, mode, shown):
    """Scores by feature, and within classes, of the best model that reads genes; coverage of all."""
    kinds = kinds_of(shown.of_class) if shown.of_class else classes_of(data)
    coverage = coverage_table(result, data, COVERAGE, of=(*kinds, "cell_families")[0])
    if shown.reader is None:
        return {"intervals": coverage}
    settings = splits, shown.reader
    return {
        "features": feature_table(result, data, *settings, shown.of_class, mode.n_bootstrap),
        "within_class": within_class_table(result, data, *settings, classes_of(data), mode.n_bootstrap),
        "intervals": coverage,
    }


def _most_often_chosen(result: CrossValidation, models: dict[str, list[BaseEstimator]], name: str) -> BaseEstimator:
    """Return the setting of a model that most folds chose; among equals the simplest."""
    own = result.choices[result.choices["model"] == name] if len(result.choices) else result.choices
    times = Counter(own["candidate"].tolist()) if len(own) else Counter([0])
    return models[name][min(times, key=lambda candidate: (-times[candidate], candidate))]


def _map_of(result, data, model):
    """Return the page of the interactive map of a model in one fold, with the held-out cells of that fold marked."""
    largest = int(np.argmax([len(fold.train) for fold in result.folds]))
    with tempfile.TemporaryDirectory() as folder:
        title = f"Map of {data.n_cells} cells, {model}"
        return explore(result, data, Path(folder) / "map.html", model=model, fold=largest, title=title).html


def _descriptions(result: CrossValidation, data: PairedData, findings: Sequence[Finding]) -> Tables:
    """Return checks, choices and folds as tables."""
    checks = pd.DataFrame([(one.name, one.argument, one.message) for one in findings])
    checks = checks.set_axis(["name", "argument", "message"], axis=1) if len(checks) else pd.DataFrame()
    folds = [
        pd.DataFrame({"fold": number, "cell": data.cell_names[fold.test]}) for number, fold in enumerate(result.folds)
    ]
    return {"checks": checks, "choices": result.choices, "folds": pd.concat(folds, ignore_index=True)}


#: All tables that a report may have, in its order.
TABLE_NAMES = (
    "checks", "folds", "scores", "differences", "features", "features_by_model", "beyond_class", "within_class",
    "choices", "genes", "stability", "substitutes", "frequencies", "importance", "importance_total",
    "importance_scores", "intervals",
)  # fmt: skip


def _in_order(tables):
    """Tables in the order of the report, without empty ones."""
    return {name: tables[name] for name in TABLE_NAMES if name in tables and len(tables[name])}


def _without_score(result, scores):
    """Models that have no R2 in some outer fold, and why."""
    final = result.scores.groupby(["model", "fold"], sort=False).tail(1)
    found = {}
    for name in scores.loc[scores["r2"].isna(), "model"]:
        lost = final[(final["model"] == name) & final["r2_test"].isna()]
        few = lost["n_selected"] < 2
        why = f"selects {lost['n_selected'].min():.0f} genes, too few for a score" if few.any() else "diverged"
        found[name] = f"in {len(lost)} of {len(result.folds)} folds it {why}, so that it has no R² of all cells"
    return found


def _notes(models, mode):
    """List what was not tried, and why."""
    notes = []
    if mode.more_models and "extra trees" not in models:
        notes.append("Extra trees were left out: they learn from cells without missing values, of which there are few.")
    if not any(name in models for name in LABELS_ONLY):
        notes.append("No classes of cells (types, families) were given: genes cannot be compared with the class.")
    return notes
