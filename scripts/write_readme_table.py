"""Write the table "paper / here" into README.md from the committed results and data/published_results.csv.

Usage: python scripts/write_readme_table.py [--check]   (--check: change nothing, fail where the table is stale)
"""

import sys
from pathlib import Path

import pandas as pd

from sbnn import load_results
from sbnn.comparison import final_scores, gene_frequencies, relaxed_at

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- table of results: written by `make table` -->", "<!-- end of table -->"


def our_value(row, network, linear, seeds):
    """Return the number of this repository that stands beside a published one, as text."""
    if row["model"].startswith("sRRR"):
        alpha = linear["chosen_alpha"][row["model"]]
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


def fast_rows(fast):
    """Return the rows of the schedule "fast", mean and SD over folds and seeds."""
    rows = []
    stages = {"pruned": "", "finetuned": ", all genes"}
    for (model, penalty, stage), part in fast["scores"].groupby(["model", "group_lasso", "stage"], sort=False):
        if stage in stages:
            what = f'{model}, schedule "fast", group lasso {penalty:g}{stages[stage]}'
            rows.append(f"| {what} | – | {part['r2_test'].mean():.3f} ± {part['r2_test'].std():.3f} |")
    frequencies = gene_frequencies(fast["all_cells"])
    runs = fast["all_cells"]["random_state"].nunique()
    for what, number in {"all ten": (frequencies == runs).sum(), "any of ten": len(frequencies)}.items():
        rows.append(f'| sBNN-2, schedule "fast", genes in {what} runs | – | {number} |')
    return rows


def table(results=ROOT / "KerasSavedModels" / "scala_2020"):
    """Return the table in Markdown."""
    published = pd.read_csv(ROOT / "data" / "published_results.csv")
    names = ("sbnn_cv", "linear_cv", "sbnn_seeds", "sbnn_fast")
    network, linear, seeds, fast = (load_results(results / f"{name}.pickle") for name in names)
    lines = ["| motor cortex, 25 genes | paper | here |", "|---|---|---|"]
    for _, row in published.iterrows():
        digits = 0 if row["quantity"].startswith("genes in") else 2 if row["quantity"].startswith("r2 of") else 3
        lines.append(f"| {row['what']} | {row['paper']:.{digits}f} | {our_value(row, network, linear, seeds)} |")
    lines += fast_rows(fast)
    accuracy = pd.concat([result["family_accuracy"] for result in (network, linear)])
    for model, part in accuracy.groupby("model", sort=False)["accuracy"]:
        lines.append(f"| held-out cells among their family (10 neighbours, 2-D), {model} | – | {part.mean():.1%} |")
    lines.append("")
    lines.append(
        f"Networks and linear models of commits {network['commit']} and {linear['commit']}. Here: pooled test "
        'R² at the last epoch, mean ± SD over ten folds (of "fast", over folds and three seeds; the paper\'s '
        "curves average R² over batches of 32 cells, about 0.003 lower; its per-feature values are those of the best "
        "test epoch; its sBNN-64 has 3 folds). Where each number of the paper comes from: "
        "`data/published_results.csv`."
    )
    return "\n".join(lines)


def main():
    """Write the table, or check it."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    new = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" in sys.argv:
        sys.exit(None if new == text else "README.md is stale: run `make table`")
    readme.write_text(new)


if __name__ == "__main__":
    main()
