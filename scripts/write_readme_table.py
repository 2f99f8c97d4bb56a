"""Write the tables "paper / here", and of the nested comparisons, from the results and data/published_results.csv.

All numbers go to KerasSavedModels/README.md, the most informative ten of each to README.md.

Usage: python scripts/write_readme_table.py [--check]   (--check: change nothing, fail if a table is stale)
"""

import sys
from pathlib import Path

import pandas as pd

from sbnn import load_results
from sbnn.validation.comparison import (
    agreement_of_maps,
    family_recall,
    final_scores,
    gene_frequencies,
    neighbour_votes,
    relaxed_at,
)
from sbnn.validation.honest_comparison import split_name

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- table of results: written by `make table` -->", "<!-- end of table -->"
#: Rows of README.md: their names in the full table -> their names in README.md, and how many genes they read.
CHOSEN = {
    "family mean of the training cells, no gene": ("mean of the cell's RNA family (9)", "none: its label"),
    "type mean of the training cells, no gene": ("mean of the cell's RNA type (77)", "none: its label"),
    "sRRR-2, relaxed, about 25 genes": ("linear map, sRRR-2", "about 25"),
    "sRRR full rank, relaxed, about 25 genes": ("linear model, sRRR of full rank", "about 25"),
    "sBNN-2, group lasso 0.1": ("**map, sBNN-2**, the paper's schedule", "25"),
    'sBNN-2, schedule "fast", group lasso 0.05': ('**map, sBNN-2**, schedule "fast"', "25"),
    "sBNN-2, 10 networks, their consensus": ('**map, sBNN-2**, schedule "stable"', "25"),
    "sBNN-2, 10 networks, their mean": ("sBNN-2, mean of ten networks", "25"),
    "sBNN-64, group lasso 0.1": ("sBNN-64, the paper's schedule", "25"),
    "sBNN-64, 10 networks, their mean": ('sBNN-64, schedule "wide", mean of ten networks', "25"),
    "sBNN-64, all genes, 10 networks, their mean": ("sBNN-64, mean of ten networks", "all 1000"),
}
HONEST_BEGIN = "<!-- honest table: written by `make table` -->"
#: The same of the nested comparison.
HONEST = {
    "family mean": ("mean of the cell's RNA family (9)", "none: its label"),
    "type mean": ("mean of the cell's RNA type (77)", "none: its label"),
    "family + type": ("family and type together, a ridge regression", "none: its labels"),
    "sRRR-2, 25 genes": ("linear map, sRRR-2", "about 25"),
    "sBNN-2, ten networks, 25 genes": ("**map, sBNN-2, ten networks**", "25"),
    "extra trees, 25 genes": ("extra trees", "25"),
    "sBNN-64, ten networks, 25 genes": ("sBNN-64, ten networks", "25"),
    "ridge": ("ridge regression", "all 1000"),
    "extra trees": ("extra trees", "all 1000"),
    "family + type + genes": ("ridge on family, type and genes", "all 1000, and the labels"),
}
INTRODUCTION = """# Results

Made by the notebooks at the top of the repository and in examples/, one folder per data set; `sbnn.load_results(path)`
returns the tables of a file. This page is written by `make table`. The main scores of other data sets, and all figures:
[figures/README.md](../figures/README.md).

"""


def our_value(row, network, linear, seeds, chosen_alpha):
    """Return the number of this repository that corresponds to a published one, as text."""
    if row["model"].startswith("sRRR"):
        alpha = chosen_alpha[row["model"]]
        scores = relaxed_at(linear["scores"], row["model"], alpha)["r2_test"]
        return f"{scores.mean():.3f} ± {scores.std():.3f}"
    chosen = "model == @row.model and group_lasso == @row.group_lasso"
    if row["quantity"].startswith("genes in"):
        frequencies = gene_frequencies(seeds["selected"].query(chosen))
        runs = seeds["selected"].query(chosen)["random_state"].nunique()
        return str(len(frequencies) if "any" in row["quantity"] else int((frequencies == runs).sum()))
    chosen += " and schedule == @row.schedule"
    if row["quantity"].startswith("r2 of "):
        feature = row["quantity"].removeprefix("r2 of ")
        scores = network["feature_scores"].query(chosen).set_index("feature").loc[feature, "r2_test"]
    else:
        scores = final_scores(network["scores"]).query(chosen)["r2_test"]
    return f"{scores.mean():.3f} ± {scores.std():.3f}"


def linear_rows(linear, chosen_alpha):
    """Return the rows of models that are not in the paper: class means, and ranks of sRRR between 2 and full."""
    rows = []
    for model in ("family mean", "type mean"):
        scores = linear["scores"].query("model == @model")["r2_test"]
        rows.append(f"| {model} of the training cells, no gene | – | {scores.mean():.3f} ± {scores.std():.3f} |")
    for model, alpha in chosen_alpha.items():
        if model not in ("sRRR-2", "sRRR-full"):
            scores = relaxed_at(linear["scores"], model, alpha)
            what = f"{model}, relaxed, {scores['n_selected'].mean():.0f} genes"
            rows.append(f"| {what} | – | {scores['r2_test'].mean():.3f} ± {scores['r2_test'].std():.3f} |")
    return rows


def fast_rows(fast, fast_seeds):
    """Return the rows of the schedule "fast", mean and SD over folds and seeds."""
    rows = []
    stages = {"pruned": "", "finetuned": ", all genes"}
    for (model, penalty, stage), part in fast["scores"].groupby(["model", "group_lasso", "stage"], sort=False):
        if stage in stages:
            what = f'{model}, schedule "fast", group lasso {penalty:g}{stages[stage]}'
            rows.append(f"| {what} | – | {part['r2_test'].mean():.3f} ± {part['r2_test'].std():.3f} |")
    frequencies = gene_frequencies(fast_seeds["selected"])
    runs = fast_seeds["selected"]["random_state"].nunique()
    for what, number in {"all ten": (frequencies == runs).sum(), "any of ten": len(frequencies)}.items():
        rows.append(f'| sBNN-2, schedule "fast", genes in {what} runs | – | {number} |')
    return rows


def stable_rows(stable, stable_seeds):
    """Return the rows of the schedule "stable" and of ensembles, mean and SD over folds and seeds."""
    rows = []  # (the consensus of an ensemble of "stable" is the network of "stable" with its seed)
    for (model, stage), part in stable["scores"].groupby(["model", "stage"], sort=False):
        what = {"consensus": ", their consensus", "ensemble": ", their mean"}.get(stage)
        if stage == "pruned" and "networks" not in model:
            what = ""
        if what is not None:
            rows.append(f"| {model}{what} | – | {part['r2_test'].mean():.3f} ± {part['r2_test'].std():.3f} |")
    frequencies = gene_frequencies(stable_seeds["selected"])
    runs = stable_seeds["selected"]["random_state"].nunique()
    for what, number in {"all ten": (frequencies == runs).sum(), "any of ten": len(frequencies)}.items():
        rows.append(f'| sBNN-2, schedule "stable", genes in {what} runs | – | {number} |')
    agreement = agreement_of_maps(stable_seeds["latents"])[["procrustes_r2", "common_neighbours"]].mean()
    start = '| sBNN-2, schedule "stable", ten seeds:'
    rows.append(f"{start} Procrustes R² of two maps, mean | – | {agreement.iloc[0]:.2f} |")
    rows.append(f"{start} common 30 nearest neighbours, mean | – | {agreement.iloc[1]:.0%} |")
    return rows


def table(results=ROOT / "KerasSavedModels" / "scala_2020"):
    """Return the table in Markdown."""
    published = pd.read_csv(ROOT / "data" / "published_results.csv")
    names = (
        "sbnn_cv",
        "linear_cv",
        "sbnn_seeds",
        "sbnn_fast",
        "sbnn_fast_seeds",
        "linear_latent",
        "cells",
        "sbnn_latent",
        "sbnn_stable",
        "sbnn_stable_seeds",
    )
    loaded = [load_results(results / f"{name}.pickle") for name in names]
    network, linear, seeds, fast, fast_seeds, linear_latent, preprocessed, latent, *stable = loaded
    chosen_alpha = linear_latent["chosen_alpha"]
    lines = ["| motor cortex | the authors' pickles | here |", "|---|---|---|"]
    for _, row in published.iterrows():
        digits = 0 if row["quantity"].startswith("genes in") else 2 if row["quantity"].startswith("r2 of") else 3
        lines.append(
            f"| {row['what']} | {row['paper']:.{digits}f} | {our_value(row, network, linear, seeds, chosen_alpha)} |"
        )
    lines += linear_rows(linear, chosen_alpha)
    lines += fast_rows(fast, fast_seeds)
    lines += stable_rows(*stable)
    agreement = agreement_of_maps(latent["seeds"])[["procrustes_r2", "common_neighbours"]].mean()
    lines.append(f"| sBNN-2, nine seeds: Procrustes R² of two maps, mean | – | {agreement.iloc[0]:.2f} |")
    lines.append(f"| sBNN-2, nine seeds: common 30 nearest neighbours, mean | – | {agreement.iloc[1]:.0%} |")
    families = dict(zip(preprocessed["cells"]["cell"], preprocessed["cells"]["cell_family"], strict=True))
    votes = pd.concat([neighbour_votes(network["latents"], families), linear_latent["family_votes"]])
    for model, row in family_recall(votes).iterrows():
        what = f"held-out cells that 10 neighbours give the right family, {model}"
        shown = f"{row['accuracy']:.0%} (balanced {row['balanced accuracy']:.0%})"
        lines.append(f"| {what} | – | {shown} |")
    lines.append("")
    lines.append(
        f"Networks, ensembles and linear models of commits {network['commit']}, {stable[0]['commit']} and "
        f"{linear['commit']}. Here: pooled test "
        'R² at the last epoch, mean ± SD over ten folds (of "fast", "stable", "wide" and ensembles, over folds and '
        "three seeds; their settings were chosen on cells that are test cells of folds 0 to 2; the paper's "
        "curves average R² over batches of 32 cells, about 0.003 lower; its per-feature values are those of the best "
        "test epoch; its sBNN-64 has 3 folds). Where each number of the paper comes from: "
        "`data/published_results.csv`."
    )
    return "\n".join(lines)


def short_table(full):
    """Return the rows of README.md, taken from the full table."""
    values = dict(line.strip("| ").split(" | ", 1) for line in full.splitlines() if line.startswith("| "))
    lines = ["| predicted from | genes it reads | test R² | the paper's |", "|---|---|---|---|"]
    for row, (what, genes) in CHOSEN.items():
        paper, here = values[row].split(" | ")
        lines.append(f"| {what} | {genes} | {here} | {paper} |")
    return "\n".join(lines)


def interval(row, value):
    """Return a value with its interval as text."""
    numbers = (f"{number:.3f}".replace("-", "−") for number in (row[value], row["low"], row["high"]))
    return "{} ({} to {})".format(*numbers)


def honest_rows(dataset, chosen=None):
    """Return the table of a nested comparison: R2, and its difference from a reference, with 95 % intervals."""
    saved = load_results(ROOT / "KerasSavedModels" / dataset / "honest.pickle")
    scores, differences = (saved[name].set_index("model") for name in ("intervals", "differences"))
    reference = differences["reference"].iloc[0]
    differences = differences[differences["reference"] == reference]
    unit = {"donor": "animals", "cell": "cells"}[scores["unit"].iloc[0]]
    lines = [
        f"| predicted from | genes it reads | R² on held-out {unit} (95 %) | minus {reference} (95 %) |",
        "|---|---|---|---|",
    ]
    for name in scores.sort_values("r2").index if chosen is None else chosen:
        what, genes = split_name(name) if chosen is None else chosen[name]
        known = name in differences.index
        gain = interval(differences.loc[name], "difference") if known else "–"
        lines.append(f"| {what} | {genes} | {interval(scores.loc[name], 'r2')} | {gain} |")
    return "\n".join(lines)


def honest_tables():
    """Return the part of KerasSavedModels/README.md on nested comparisons."""
    parts = ["\n## Nested comparisons\n\nSettings chosen on inner folds of training cells; intervals: bootstrap.\n"]
    for path in sorted((ROOT / "KerasSavedModels").glob("*/honest.pickle")):
        parts.append(f"### {path.parent.name}\n\n{honest_rows(path.parent.name)}\n")
    return "\n".join(parts)


def replaced(text, begin, content):
    """Return a text with what stands between two marks replaced."""
    before, rest = text.split(begin)
    _, after = rest.split(END, 1)
    return f"{before}{begin}\n{content}\n{END}{after}"


def main():
    """Write the tables, or check them."""
    full, readme = table(), ROOT / "README.md"
    text = replaced(readme.read_text(), BEGIN, short_table(full))
    new = {
        readme: replaced(text, HONEST_BEGIN, honest_rows("scala_2020", HONEST)),
        ROOT / "KerasSavedModels" / "README.md": f"{INTRODUCTION}{full}\n{honest_tables()}",
    }
    for path, text in new.items():
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path.relative_to(ROOT)} is stale: run `make table`")


if __name__ == "__main__":
    main()
