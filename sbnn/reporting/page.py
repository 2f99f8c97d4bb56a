"""The HTML of a report: one file that needs neither internet nor Python."""

import json
import platform
import re
from importlib import resources
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import sbnn
from sbnn.data.cell_labels import UNKNOWN
from sbnn.data.feature_transforms import Transform, own_names
from sbnn.figures.importance import plot_gene_importance
from sbnn.figures.style import STYLE
from sbnn.models.default_network import SMALL_DATA
from sbnn.models.latent_regressor import LatentRegressorMixin
from sbnn.reporting.analysis import COVERAGE, Analysis
from sbnn.reporting.answer import LEADS
from sbnn.reporting.charts import picture
from sbnn.reporting.genes import importance_of
from sbnn.reporting.phrases import number
from sbnn.reporting.rows import choice_rows, feature_rows, gene_rows, interval_rows, score_rows
from sbnn.reporting.words import GLOSSARY, MODELS, limits
from sbnn.storage.results import current_commit, package_versions

#: Width of the interval that holds 90 % of a normal distribution, in SDs.
_WIDTH_OF_MEAN = 3.29
#: Size of figures on the page: their text of 6 to 7 points is then read without a glass.
_PIXELS_PER_INCH = 140
#: Notes that begin with an argument keep it as it is written.
_ARGUMENT = re.compile(r"\w+=|(?:counts|features|cells|genes) (?:holds|has|lacks)\b|detection_threshold")
_SECTIONS = {
    "answer": "Answer",
    "checks": "Checks of the data",
    "scores": "Scores",
    "genes": "Genes",
    "map": "Map",
    "intervals": "How sure is a prediction",
    "done": "What was done",
}


class Circumstances(NamedTuple):
    """How a report came about.

    Attributes
    ----------
    date : str
    seconds : float
        That it took.
    random_state : int
    snippet : str
        Python that makes the same report.
    command : str
        The command line, if it was one; else empty.
    notes : tuple of str
        What was said when the data were read.
    transform : None, "auto" or list of str
        Features of whose logarithms the report took the scores.
    """

    date: str
    seconds: float
    random_state: int
    snippet: str
    command: str = ""
    notes: tuple[str, ...] = ()
    transform: Transform = None


def report_page(analysis: Analysis, circumstances: Circumstances) -> str:
    """Return the report as the text of one HTML page.

    Parameters
    ----------
    analysis : Analysis
    circumstances : Circumstances

    Returns
    -------
    str
    """
    splits, data = analysis.splits, analysis.data
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    names = [name for name in analysis.tables["scores"]["model"] if name in MODELS]
    content: dict[str, Any] = {
        "title": "sBNN report" + (f": {data.name}" if data.name != "unnamed" else ""),
        "about": f"{data.n_cells} cells, {data.n_genes} genes, {data.n_features} features; {analysis.mode.name} mode, "
        f"{circumstances.date}",
        "sections": list(_SECTIONS.items()),
        "answer": analysis.answer,
        "sentences": [_led(sentence) for sentence in analysis.answer.sentences],
        "data_words": _data_words(data),
        "data_notes": [*_transform_words(data), *_beside(circumstances.notes)],
        "findings": analysis.findings,
        "of_whom": splits.of_whom,
        "units": splits.units,
        "folds_words": _folds_words(analysis),
        "genes_words": _genes_words(analysis),
        "gene_model": analysis.gene_model,
        "map_html": analysis.map_html,
        "coverage": f"{100 * COVERAGE:g} %",
        "interval_words": _interval_words(analysis),
        "done": _done(analysis, circumstances),
        "snippet": circumstances.snippet,
        "command": circumstances.command,
        "use": _use(analysis, circumstances),
        "models": [(name, MODELS[name]) for name in names],
        "settings": json.dumps(analysis.result.models, indent=1, ensure_ascii=False, default=_plain),
        "limits": limits(splits, analysis.mode, data.counts is not None),
        "glossary": list(GLOSSARY.items()),
        **score_rows(analysis),
        **feature_rows(analysis),
        **choice_rows(analysis),
        **gene_rows(analysis),
        **interval_rows(analysis),
        **_importance_picture(analysis),
    }
    template = environment.from_string(_file("report.html"))
    return template.render(**{"differences": [], "difference_axis": "", "feature_axis": ""} | content, style=_style())


def _style():
    """Return the style sheet, which holds nothing that HTML would have to escape."""
    return Markup(_file("report.css"))


def _file(name):
    """Text of a file of the page."""
    return (resources.files("sbnn.reporting") / "report_page" / name).read_text(encoding="utf-8")


def _beside(notes):
    """Return the notes but for that of logarithms, of which the page tells anyway, as sentences."""
    kept = [note for note in notes if not note.startswith("logarithms to base 10")]
    return [f"{note if _ARGUMENT.match(note) else note[:1].upper() + note[1:]}." for note in kept]


def _led(sentence):
    """Return the question, or the word with a colon, that a sentence begins with, and the rest."""
    found = re.match(r"([A-Z][^.:?]{3,50}[?:]) (.*)", sentence, re.DOTALL)
    return (found[1], found[2]) if found and found[1] in LEADS else ("", sentence)


def _plain(value):
    """NumPy's numbers as Python's, and anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _data_words(data):
    """Say in a sentence what the data hold."""
    parts = [f"{data.n_cells} cells with {data.n_genes} genes and {data.n_features} features"]
    for name, what in (("donors", "donors"), ("cell_families", "families"), ("cell_types", "types")):
        labels = getattr(data, name)
        if labels is None:
            parts.append(f"no {what} given")
            continue
        unknown = int((labels == UNKNOWN).sum())
        known = len(np.unique(labels[labels != UNKNOWN]))
        parts.append(f"{known} {what}" + (f" (unknown for {unknown} cells)" if unknown else ""))
    missing = int(np.isnan(data.Y).sum())
    parts.append(f"{missing} of {data.Y.size} values of features are missing" if missing else "no value is missing")
    return f"{'; '.join(parts)}."


def _transform_words(data):
    """Say what was done to the features before anything was fitted."""
    if data.feature_transforms is None:
        return ["Features were used as given, apart from z-scores."]
    names = own_names(data.feature_names, data.feature_transforms)
    logs = [str(name) for name, one in zip(names, data.feature_transforms, strict=True) if one]
    return [f"Logarithms to base 10 were taken of {len(logs)} of {len(names)} features: {', '.join(logs)}."]


def _folds_words(analysis):
    """How scores came about."""
    data = analysis.data
    trained = "Depth, z-scores" if data.counts is not None else "Z-scores"
    where = "scala_2020, ctcl_2019 and simulated cells" if data.n_cells < SMALL_DATA else "scala_2020"
    return (
        f"Cells were held out in {analysis.splits.words}. {trained}, settings, selected genes and weights are those of "
        "the training cells of each fold alone. Settings of models with a choice were chosen on inner folds of the "
        f"training cells; those of sBNN-2 were chosen on {where}, and are not independent if these are your cells. Of "
        "all cells are the classes, the genes to choose from, and which features are logarithms. Which model is shown "
        "by feature, by gene and on the map was chosen by these scores."
    )


def _genes_words(analysis):
    """Say what the table of genes shows."""
    total = analysis.tables.get("importance_scores")
    if analysis.gene_model is None or total is None:
        return ""
    r2 = f" The model has an R² of {number(total['r2_test'].iloc[-1])}"
    r2 += "." if total["r2_test"].iloc[-1] > 0 else ": it predicts nothing, so that its genes are chance."
    return (
        f"{analysis.gene_model} is the best of the models that select genes and draw a map.{r2} Folds: in how many of "
        "the outer folds a gene is selected; these share most of their cells, so that genes are less certain than "
        "that. A substitute is selected more often where the gene is not, r is the correlation of their expression."
    )


def _interval_words(analysis):
    """Say what the intervals of predictions are."""
    if analysis.answer.best_of_genes is None:
        return "No model that reads genes could be scored."
    return (
        f"For {analysis.answer.best_of_genes}: around the prediction of each held-out cell, the quantile of the errors "
        f"of the cells of the other folds. About {100 * COVERAGE:g} % of values should lie inside, for "
        f"{analysis.splits.of_whom} and all features together; of a feature, or a family, it may be less or more "
        "(intervals.csv). The interval around the mean of all cells is about "
        f"{_WIDTH_OF_MEAN:.1f} SD wide for a normal feature. For new cells: PairedModel.calibrate and predict_interval."
    )


def _done(analysis, circumstances):
    """Return what was done, as pairs of name and text."""
    mode, versions = analysis.mode, package_versions()
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    commit = current_commit()
    found = {
        "sbnn": sbnn.__version__ + (f", commit {commit}" if commit else ""),
        "Packages": listed,
        "Machine": f"{platform.system()} {platform.machine()}",
        "Data": f"{analysis.data.name}, fingerprint {analysis.data.fingerprint}",
        "Seed": f"random_state={circumstances.random_state}",
        "Mode": f"{mode.name}: at most {mode.n_outer} outer and {mode.n_inner} inner folds, {mode.n_repeats} "
        f"permutations of each gene, {mode.n_bootstrap} resamples"
        + (f", {mode.n_seeds} fits with other seeds and on other donors" if mode.n_seeds else ""),
        "Folds": f"{analysis.splits.words}. Which cell was held out in which: folds.csv",
        "Time": f"{circumstances.seconds / 60:.1f} minutes"
        if circumstances.seconds >= 90
        else f"{circumstances.seconds:.0f} seconds",
        "Tables": ", ".join(f"{name}.csv" for name in analysis.tables),
    }
    if analysis.notes:
        found["Left out"] = " ".join(analysis.notes)
    return list(found.items())


def _use(analysis, circumstances):
    """Python that fits the recommended model on all cells; empty if it is none that PairedModel takes."""
    setting = analysis.estimators.get(analysis.answer.recommended)
    if not isinstance(setting, LatentRegressorMixin):
        return ""
    kind, transform, logarithms = type(setting).__name__, circumstances.transform, ""
    if transform is not None:
        logarithms = "from sbnn.reporting.report import with_logarithms\n\n"
        logarithms += f"data = with_logarithms(data, {transform!r})  # as the report did"
    new, about = "new_cells", "expression, cells x genes"
    if analysis.data.counts is not None:
        new, about = "new_counts", "cells x genes"
    return (
        f"from sbnn import PairedModel, {kind}\n{logarithms}\n"
        f"model = PairedModel({setting!r}).fit(data)\n"
        f"model.predict({new})  # {about} -> features in their own units\n"
        'model.save("model.sbnn")'
    )


def _importance_picture(analysis):
    """Return the heat map of genes and features, and its width on the page."""
    tables = analysis.tables
    if "importance_total" not in tables or analysis.gene_model is None:
        return {"importance_picture": "", "importance_width": 0}
    n_units = int(tables["scores"]["n_units"].max())
    shown = importance_of(tables, analysis.gene_model, analysis.splits, analysis.mode, n_units)
    with plt.rc_context(STYLE):
        figure = plot_gene_importance(shown)
        width = round(figure.get_size_inches()[0] * _PIXELS_PER_INCH)
        return {"importance_picture": picture(figure), "importance_width": width}
