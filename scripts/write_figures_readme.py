"""Write figures/README.md: every committed figure with a paragraph, and all numbers next to the authors'.

Usage: python scripts/write_figures_readme.py [--check]   (--check: change nothing, fail if the file is stale)

The paragraphs come from scripts/captions.toml, the numbers from KerasSavedModels/ and the authors' pickles.
"""

import sys
import tomllib
from pathlib import Path

from sbnn import find_author_results, load_results, read_author_results
from sbnn.storage.author_results import AUTHOR_FOLDERS
from sbnn.validation.comparison import author_alphas, final_scores, relaxed_at
from sbnn.validation.transfer import ALL_FEATURES, SCORINGS

ROOT = Path(__file__).resolve().parent.parent
CAPTIONS = tomllib.loads((Path(__file__).parent / "captions.toml").read_text())
NETWORK_KEYS = ["model", "schedule", "group_lasso"]
SCHEDULES = {"paper": "", "paper_no_pretraining": ", no pre-training", "paper_no_frozen": ", no frozen stage"}


def caption(dataset, stem):
    """Return the paragraph of a figure, with what to see if the captions describe it for that data set."""
    names = [name for name in CAPTIONS["figures"] if stem.startswith(name)]
    if not names:
        sys.exit(f"scripts/captions.toml has no caption for {dataset}/{stem}")
    entry = CAPTIONS["figures"][max(names, key=len)]
    parameter = "" if dataset == "authors" else f', `{_parameter(entry, dataset)} = "{dataset}"`'
    made = f"`{entry['notebook']}.ipynb`{parameter}"
    sentences = [entry["what"], f"Made by {made}."]
    sentences += [entry["parameters"]] if "parameters" in entry else []
    sentences += [f"*What to see:* {entry['see'][dataset]}"] if dataset in entry.get("see", {}) else []
    return " ".join(sentences)


def _parameter(entry, dataset):
    """Return the parameter of a notebook that names the data set: its second one, where the captions say so."""
    return "SECOND" if dataset in entry.get("second", []) else "DATASET"


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
    """Return mean and SD over folds of the final R2, and of the best test epoch, by network."""
    final = final_scores(scores).dropna(subset="group_lasso")
    values = {"r2": ("r2_test", "mean"), "sd": ("r2_test", "std"), "best": ("r2_test_best_epoch", "mean")}
    table = final.groupby(NETWORK_KEYS).agg(**values)
    return {
        f"{model}{SCHEDULES[schedule]}, {penalty:g}": f"{row.r2:.3f} ± {row.sd:.3f} | {row.best:.3f}"
        for (model, schedule, penalty), row in zip(table.index, table.itertuples(), strict=True)
    }


def linear_rows(scores, alphas):
    """Return the same for relaxed sRRR at about 25 genes, with the number of genes and without a best epoch."""
    rows = {}
    for model, alpha in alphas.items():
        chosen = relaxed_at(scores, model, alpha)
        r2 = f"{chosen['r2_test'].mean():.3f} ± {chosen['r2_test'].std():.3f}"
        rows[f"{model}, relaxed"] = f"{r2} ({chosen['n_selected'].mean():.1f} genes) | –"
    return rows


def numbers(dataset):
    """Return the table of a data set: the authors' numbers next to ours."""
    authors, here = {}, {}
    if dataset in AUTHOR_FOLDERS:
        scores = read_author_results(find_author_results(dataset))["scores"]
        authors = network_rows(scores) | linear_rows(scores, author_alphas(scores))
    results = ROOT / "KerasSavedModels" / dataset
    if (results / "linear_cv.pickle").exists():
        names = ("sbnn_cv", "linear_cv", "linear_latent")
        network, linear, linear_latent = (load_results(results / f"{name}.pickle") for name in names)
        here = network_rows(network["scores"]) | linear_rows(linear["scores"], linear_latent["chosen_alpha"])
    lines = ["| 25 genes | authors | best test epoch | here | best test epoch |", "|---" * 5 + "|"]
    for row in dict.fromkeys([*authors, *here]):
        lines.append(f"| {row} | {authors.get(row, '– | –')} | {here.get(row, '– | –')} |")
    return lines


def interval(row, value, digits=3):
    """Return a score with its interval as text."""
    numbers = (row[name] for name in (value, f"{value}_low", f"{value}_high"))
    return "{} [{}, {}]".format(*(f"{number:.{digits}f}" for number in numbers))


def external_scores(result):
    """Return the table of models, scored on the other cohort."""
    scores, differences = result["scores"], result["differences"].set_index(["model", "scoring"])
    heads = ("model", "scored", "R² around the cohort's mean", "sBNN-2 minus this", "mean correlation")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for _, row in scores[scores["feature"] == ALL_FEATURES].iterrows():
        key = (row["model"], row["scoring"])
        minus = "–"
        if key in differences.index:
            difference = differences.loc[key]
            minus = f"{difference['difference']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
        lines.append(f"| {' | '.join(key)} | {interval(row, 'r2')} | {minus} | {interval(row, 'correlation')} |")
    return lines


def external_features(result):
    """Return the table of the features of the other cohort."""
    shifts = result["shifts"].set_index("feature")
    of_model = result["scores"].query("model == 'sBNN-2'").set_index(["feature", "scoring"])
    heads = ("feature", "R², training", "centred", "cohort", "correlation", "shift", "shift within families")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for feature, shift in shifts.iterrows():
        r2 = [interval(of_model.loc[feature, scoring], "r2", 2) for scoring, *_ in SCORINGS]
        cells = [*r2, interval(of_model.loc[feature, "cohort"], "correlation", 2)]
        cells += [f"{shift['shift']:+.2f}", f"{shift['within_families']:+.2f}"]
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return lines


def external_votes(result):
    """Return the table of families predicted by neighbours, and the score of always predicting the largest."""
    votes = result["family_votes"]
    recalls = votes.pivot(index=["model", "standardise"], columns="family", values="recall")
    n_cells = votes.groupby("family")["n_cells"].first()
    heads = ["map", "genes z-scored", *(f"{family} ({n_cells[family]})" for family in recalls)]
    heads += ["all cells", "mean over families"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for names, row in recalls.iterrows():
        values = [*row, (row * n_cells).sum() / n_cells.sum(), row.mean()]
        lines.append(f"| {' | '.join(names)} | {' | '.join(f'{value:.2f}' for value in values)} |")
    return [*lines, "", f"Always naming {n_cells.idxmax()}: {n_cells.max() / n_cells.sum():.2f} of all cells."]


def external():
    """Return the tables of the other cohort."""
    result = load_results(ROOT / "KerasSavedModels" / "scala_2020" / "external_cohort.pickle")
    settings = {"n_cells": len(result["cells"]), "n_donors": result["cells"]["donor"].nunique()}
    settings |= {"missing": ", ".join(result["missing_genes"])}
    models = {one["model"]: one for one in result["settings"] if "model" in one}
    settings["alphas"] = ", ".join(f"{name} {one['alpha']}" for name, one in models.items() if "alpha" in one)
    settings |= {key: models["sBNN-2"][key] for key in ("schedule", "group_lasso", "random_state")}
    lines = [CAPTIONS["external"].format(**settings).strip(), "", *external_scores(result), ""]
    lines += [CAPTIONS["external_features"].strip(), "", *external_features(result), ""]
    return [*lines, CAPTIONS["external_votes"].strip(), "", *external_votes(result)]


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
        print(f"figures/README.md is not changed: {error}")
        return
    if "--check" in sys.argv:
        sys.exit(None if path.exists() and path.read_text() == new else "figures/README.md is stale: run `make table`")
    path.write_text(new)


if __name__ == "__main__":
    main()
