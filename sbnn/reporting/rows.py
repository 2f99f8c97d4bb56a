"""The rows of a report's tables as text and drawings, from its tables of numbers."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from sbnn.reporting.analysis import Analysis
from sbnn.reporting.charts import Mark, draw_axis, draw_intervals, scale_for
from sbnn.reporting.phrases import number
from sbnn.reporting.scores import difference
from sbnn.validation.class_models import LABELS_ONLY

#: Rows of a table, or what else the page takes by name.
Content = dict[str, Any]
#: Correlation of the expression of two genes from which on one is listed as a substitute of the other.
_LEAST_CORRELATION = 0.2
#: Genes that are listed.
N_LISTED = 30
_RESAMPLED = {"fold": "folds", "seed": "other seeds", "donor": "other donors"}


def score_rows(analysis: Analysis) -> Content:
    """Return `scores`, `score_axis`, `differences` (from the best model), `difference_axis` and `best`."""
    table = analysis.tables["scores"]
    scale = scale_for([*table["r2"], *table["low"], *table["high"]])
    rows = [
        {
            "model": row.model,
            "chosen": row.model == analysis.answer.recommended,
            "r2": number(row.r2),
            "interval": _interval(row.low, row.high),
            "drawing": draw_intervals([Mark(row.r2, row.low, row.high, _kind(row.model))], scale),
            "genes": _genes(row, analysis.data.n_genes),
            "by_fold": f"{number(row.r2_mean)} ± {number(row.r2_sd)}",
        }
        for row in table.itertuples()
    ]
    found = {"scores": rows, "score_axis": draw_axis(scale), "differences": [], "best": table["model"].iloc[0]}
    return found | _difference_rows(analysis, table["model"].tolist())


def _difference_rows(analysis, models):
    """Differences of all models from the best one, and their axis."""
    if "differences" not in analysis.tables or len(models) < 2:
        return {}
    found = {name: difference(analysis.tables["differences"], name, models[0]) for name in models[1:]}
    scale = scale_for([value for values in found.values() for value in values], lowest=-np.inf)
    rows = [
        {
            "model": name,
            "difference": number(value, True),
            "interval": _interval(low, high, True),
            "drawing": draw_intervals([Mark(value, low, high, _kind(name))], scale),
        }
        for name, (value, low, high) in found.items()
    ]
    return {"differences": rows, "difference_axis": draw_axis(scale)}


def feature_rows(analysis: Analysis) -> Content:
    """Return `features`, `feature_axis`, and of which models they are: `reader`, `reference` and `with_class`."""
    answer = analysis.answer
    added = analysis.tables.get("beyond_class", pd.DataFrame())
    with_class = added["model"].iloc[0] if len(added) else None
    found: Content = {"features": [], "reader": answer.best_of_genes, "reference": answer.best_of_classes}
    found["with_class"] = with_class
    if "features" not in analysis.tables:
        return found
    table = analysis.tables["features"]
    beside = "r2_class" in table
    columns = ["r2", "low", "high", *(["r2_class", "class_low", "class_high"] if beside else [])]
    scale = scale_for(table[columns].to_numpy(dtype=float).ravel().tolist())
    rows = []
    for row in table.itertuples():
        marks = [Mark(row.r2, row.low, row.high)]
        entry = {"feature": row.feature, "r2": number(row.r2), "interval": _interval(row.low, row.high)}
        if beside:
            marks.append(Mark(row.r2_class, row.class_low, row.class_high, "class"))
            if with_class is None:
                values = row.gain, row.gain_low, row.gain_high
            else:
                values = added.loc[added["feature"] == row.feature, ["difference", "low", "high"]].iloc[0]
            gain = "{} ({} to {})".format(*(number(value, True) for value in values))
            entry |= {"of_class": number(row.r2_class), "gain": gain}
        rows.append(entry | {"drawing": draw_intervals(marks, scale)})
    return found | {"features": rows, "feature_axis": draw_axis(scale)}


def choice_rows(analysis: Analysis) -> Content:
    """Return `choices`: settings of each model with the number of folds that chose them."""
    table = analysis.tables.get("choices", pd.DataFrame())
    rows = []
    for model, part in table.groupby("model", sort=False) if len(table) else ():
        times = Counter(part["settings"]).most_common()
        listed = "; ".join(f"{settings}: {n}" for settings, n in times)
        several = part[part["n_candidates"] > 2]
        ends = int((several["candidate"].eq(0) | several["candidate"].eq(several["n_candidates"] - 1)).sum())
        rows.append({"model": model, "settings": listed + f" (at an end of its list: {ends})" * (ends > 0)})
    return {"choices": rows, "n_folds": len(analysis.splits.folds)}


def gene_rows(analysis: Analysis) -> Content:
    """Return `genes`, `stability`, and which columns the table of genes has."""
    model, tables = analysis.gene_model, analysis.tables
    if model is None or "genes" not in tables:
        return {"genes": [], "stability": [], "has_networks": False, "other_sparse": []}
    table = tables["genes"]
    own = table[table["model"] == model]
    drops = tables["importance_total"].set_index("gene")
    own = own.assign(drop=own["gene"].map(drops["importance"])).sort_values(
        ["folds", "drop"], ascending=False, kind="stable"
    )
    others = [name for name in table["model"].unique() if name != model]
    shares = {name: table[table["model"] == name].set_index("gene")["folds"] for name in others}
    substitutes = _substitutes(tables.get("substitutes", pd.DataFrame()), model)
    n_folds = len(analysis.splits.folds)
    rows = [
        {
            "gene": row.gene,
            "folds": f"{round(row.folds * n_folds)} of {n_folds}",
            "networks": _share(row.networks),
            "others": [f"{round(shares[name].get(row.gene, 0) * n_folds)} of {n_folds}" for name in others],
            "importance": f"{_three(row.drop)} ({_three(drops.loc[row.gene, 'low'])} to "
            f"{_three(drops.loc[row.gene, 'high'])})",
            "substitutes": substitutes.get(row.gene, "–"),
        }
        for row in own[:N_LISTED].itertuples()
    ]
    stability = [
        {
            "model": row.model,
            "resampled": _RESAMPLED[row.resampled],
            "n_runs": row.n_runs,
            "n_genes": f"{row.n_genes:.0f}",
            "in_all_runs": int(row.in_all_runs),
            "nogueira": f"{number(row.nogueira)} ({number(row.low)} to {number(row.high)})",
        }
        for row in tables["stability"].itertuples()
    ]
    return {
        "genes": rows,
        "stability": stability,
        "has_networks": bool(own["networks"].notna().any()),
        "other_sparse": others,
    }


def interval_rows(analysis: Analysis) -> Content:
    """Return `intervals` of the best model that reads genes: all features together, then each; and of which classes."""
    table = analysis.tables["intervals"]
    table = table[table["by"].isin(["all", "feature"])]
    of_class = table[table["model"] == analysis.answer.best_of_classes].set_index(["by", "name"])[["coverage", "width"]]
    table = table[table["model"] == analysis.answer.best_of_genes]
    table = table.join(of_class.add_prefix("of_class_"), on=["by", "name"])
    rows = [
        {
            "name": "all features" if row.by == "all" else row.name,
            "n_values": f"{row.n_values}",
            "coverage": _percent(row.coverage),
            "width": _width(row.width),
            "class_coverage": _percent(row.of_class_coverage),
            "class_width": _width(row.of_class_width),
        }
        for row in table.rename_axis(None).itertuples(index=False)
    ]
    return {"intervals": rows, "interval_of_class": analysis.answer.best_of_classes if len(of_class) else ""}


def _substitutes(table, model):
    """Gene -> its substitutes in words, from what was resampled most thoroughly."""
    if not len(table):
        return {}
    own = table[table["model"] == model]
    for resampled in ("donor", "seed", "fold"):
        chosen = own[own["resampled"] == resampled]
        if len(chosen):
            break
    found: dict[str, list[Markup]] = {}
    for row in chosen[chosen["correlation"].abs() >= _LEAST_CORRELATION].itertuples():
        text = Markup('<span class="gene">{}</span> (r {})').format(row.substitute, number(row.correlation))
        found.setdefault(row.gene, []).append(text)
    return {gene: Markup(", ").join(texts) for gene, texts in found.items()}


def _kind(model):
    """Class of the drawing of a model."""
    return "class" if model in LABELS_ONLY else "model"


def _interval(low, high, signed=False):
    return f"{number(low, signed)} to {number(high, signed)}"


def _genes(row, n_genes):
    """How many genes a model reads, in words."""
    if row.n_genes == 0:
        return "none"
    return f"all {n_genes}" if row.n_genes >= n_genes else f"{row.n_genes:.0f}"


def _share(value):
    return f"{value:.0%}".replace("%", " %") if np.isfinite(value) else "–"


def _percent(value):
    return f"{100 * value:.1f} %" if np.isfinite(value) else "–"


def _width(value):
    return "–" if np.isnan(value) else "unbounded" if np.isinf(value) else f"{value:.2f}"


def _three(value):
    """Drop in R2 with three decimals: those of single genes are small."""
    return number(value, decimals=3)
