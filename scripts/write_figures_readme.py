"""Write figures/README.md: every committed figure with a paragraph, and every number beside the authors'.

Usage: python scripts/write_figures_readme.py [--check]   (--check: change nothing, fail where the file is stale)

The paragraphs come from scripts/captions.toml, the numbers from KerasSavedModels/ and the authors' pickles.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd

from sbnn import find_author_results, load_results, read_author_results
from sbnn.author_results import AUTHOR_FOLDERS
from sbnn.comparison import author_alphas, final_scores
from sbnn.transfer import ALL_FEATURES

ROOT = Path(__file__).resolve().parent.parent
CAPTIONS = tomllib.loads((Path(__file__).parent / "captions.toml").read_text())
NETWORK_KEYS = ["model", "schedule", "group_lasso"]
SCHEDULES = {"paper": "", "paper_no_pretraining": ", no pre-training", "paper_no_frozen": ", no frozen stage"}


def caption(dataset, stem):
    """Return the paragraph of a figure."""
    names = [name for name in CAPTIONS["figures"] if stem.startswith(name)]
    if not names:
        raise SystemExit(f"scripts/captions.toml has no caption for {dataset}/{stem}")
    entry = CAPTIONS["figures"][max(names, key=len)]
    if dataset not in entry["see"]:
        raise SystemExit(f"scripts/captions.toml does not say what to see in {dataset}/{stem}")
    made = f"`{entry['notebook']}.ipynb`" + ("" if dataset == "authors" else f', `DATASET = "{dataset}"`')
    parameters = f" {entry['parameters']}" if "parameters" in entry else ""
    return f"{entry['what']} Made by {made}.{parameters} *What to see:* {entry['see'][dataset]}"


def figures():
    """Return the part with the figures, data set by data set."""
    lines = []
    for dataset, title in CAPTIONS["datasets"].items():
        paths = sorted((ROOT / "figures" / dataset).glob("*.png"))
        if paths:
            lines += [f"## {dataset}: {title}", ""]
        for path in paths:
            place = f"{dataset}/{path.name}"
            lines += [f"### {path.stem}", "", f"![{path.stem}]({place})", "", caption(dataset, path.stem), ""]
    return lines


def network_rows(scores):
    """Return n, mean and SD over folds of the final R2, last and best test epoch, by network."""
    final = final_scores(scores).dropna(subset="group_lasso")
    values = {"r2": ("r2_test", "mean"), "sd": ("r2_test", "std"), "best": ("r2_test_best_epoch", "mean")}
    table = final.groupby(NETWORK_KEYS).agg(**values)
    table.index = [f"{model}{SCHEDULES[schedule]}, {penalty:g}" for model, schedule, penalty in table.index]
    return table


def linear_rows(scores, alphas):
    """Return the same for relaxed sRRR at about 25 genes; there is no best epoch."""
    rows = {}
    for model, alpha in alphas.items():
        chosen = scores[scores["model"].eq(model) & scores["alpha"].eq(alpha) & scores["relaxed"].eq(True)]
        name = f"{model}, relaxed, {chosen['n_selected'].mean():.0f} genes"
        rows[model] = {"r2": chosen["r2_test"].mean(), "sd": chosen["r2_test"].std(), "best": np.nan, "name": name}
    return pd.DataFrame(rows).T


def numbers(dataset):
    """Return the table of a data set: the authors' numbers beside ours."""
    columns = {}
    if dataset in AUTHOR_FOLDERS:
        scores = read_author_results(find_author_results(dataset))["scores"]
        columns["authors"] = pd.concat([network_rows(scores), linear_rows(scores, author_alphas(scores))])
    results = ROOT / "KerasSavedModels" / dataset
    if (results / "linear_cv.pickle").exists():
        network, linear = (load_results(results / f"{name}.pickle") for name in ("sbnn_cv", "linear_cv"))
        ours = linear_rows(linear["scores"], linear["chosen_alpha"])
        columns["here"] = pd.concat([network_rows(network["scores"]), ours])
    rows = list(dict.fromkeys(name for table in columns.values() for name in table.index))
    sources = ("authors", "here")
    lines = ["| 25 genes | " + " | ".join(f"{source} | best test epoch" for source in sources) + " |"]
    lines.append("|---" * 5 + "|")
    for row in rows:
        cells = [cell for source in sources for cell in _cells(columns.get(source), row)]
        name = next((t.loc[row, "name"] for t in columns.values() if row in t.index and "name" in t), np.nan)
        lines.append(f"| {row if pd.isna(name) else name} | " + " | ".join(cells) + " |")
    return lines


def _cells(table, row):
    """Last epoch with SD, and best test epoch, as text."""
    if table is None or row not in table.index:
        return "–", "–"
    values = table.loc[row]
    best = "–" if pd.isna(values["best"]) else f"{values['best']:.3f}"
    return f"{values['r2']:.3f} ± {values['sd']:.3f}", best


def external():
    """Return the table of the other cohort."""
    result = load_results(ROOT / "KerasSavedModels" / "scala_2020" / "external_cohort.pickle")
    scores = result["scores"]
    accuracy = result["family_accuracy"].set_index(["model", "standardise"])["accuracy"]
    lines = [
        "| model | z-scored | R² around the cohort's mean | mean correlation | families named by 10 neighbours |",
        "|---" * 5 + "|",
    ]
    for row in scores[scores["feature"] == ALL_FEATURES].itertuples():
        named = accuracy.get((row.model, row.standardise))
        where = {"training": "as in training", "cohort": "within the cohort"}[row.standardise]
        lines.append(
            f"| {row.model} | {where} | {row.r2:.3f} [{row.r2_low:.3f}, {row.r2_high:.3f}] | "
            f"{row.correlation:.3f} [{row.correlation_low:.3f}, {row.correlation_high:.3f}] | "
            f"{'–' if named is None else f'{named:.1%}'} |"
        )
    within = scores[scores["model"].eq("sBNN-2") & scores["feature"].ne(ALL_FEATURES)]
    lines += [
        "",
        "Feature by feature, sBNN-2:",
        "",
        "| feature | R² as in training | R² within the cohort | correlation |",
    ]
    lines.append("|---" * 4 + "|")
    for feature, part in within.groupby("feature", sort=False):
        part = part.set_index("standardise")
        both = [f"{part.loc[s, 'r2']:.2f} [{part.loc[s, 'r2_low']:.2f}, {part.loc[s, 'r2_high']:.2f}]" for s in
                ("training", "cohort")]  # fmt: skip
        own = part.loc["cohort"]
        correlation = f"{own['correlation']:.2f} [{own['correlation_low']:.2f}, {own['correlation_high']:.2f}]"
        lines.append(f"| {feature} | {both[0]} | {both[1]} | {correlation} |")
    note = CAPTIONS["external"].format(n_cells=len(result["cells"]), missing=", ".join(result["missing_genes"]))
    return [note.strip(), "", *lines]


def text():
    """Return the whole file."""
    lines = [*CAPTIONS["introduction"].strip().split("\n"), "", *figures(), "## All numbers", ""]
    lines += [*CAPTIONS["numbers"].strip().split("\n"), ""]
    for dataset in CAPTIONS["datasets"]:
        if dataset != "authors":
            lines += [f"### {dataset}", "", *numbers(dataset), ""]
    return "\n".join([*lines, "## Another cohort: numbers", "", *external()]) + "\n"


def main():
    """Write the file, or check it."""
    path = ROOT / "figures" / "README.md"
    try:
        new = text()
    except FileNotFoundError as error:
        sys.exit(f"figures/README.md stays as it is: {error}")
    if "--check" in sys.argv:
        sys.exit(None if path.exists() and path.read_text() == new else "figures/README.md is stale: run `make table`")
    path.write_text(new)


if __name__ == "__main__":
    main()
