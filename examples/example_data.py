"""The data of the examples: another cohort, example tables in place of the user's own; and the report of own cells."""

import os
import warnings
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import helpers
from sbnn import CrossValidation, PairedModel, load_results, report, save_results, simulate_patchseq
from sbnn.data.datasets import whole_transcriptomes
from sbnn.data.published.scala import read_count_table
from sbnn.data.sources import find_file
from sbnn.storage.writing import all_or_nothing

#: Tables of a report that the example shows.
SHOWN = ("scores", "features", "beyond_class", "genes")


class Answered(NamedTuple):
    """A report: its answer in words, some of its tables, scores with predictions of the network; its page and model.

    The page, and the folder for it, are in build/: it holds what was measured, and is not committed.
    """

    text: str
    tables: dict[str, pd.DataFrame]
    result: CrossValidation
    page: Path
    model: Path | None


def load_cohorts(reference, cohort):
    """Load a data set, the cells of another cohort, and their counts of all genes.

    Parameters
    ----------
    reference, cohort : str
        Names of data sets. For "simulated", the cells of eight donors serve as the other cohort.

    Returns
    -------
    reference, cohort : PairedData
    counts : CountTable
        All three are None if one of them is not available; a message is printed.
    """
    if reference == cohort == "simulated":
        data = helpers.load(reference)
        new = np.isin(data.donors, np.unique(data.donors)[:8])
        return data.subset(~new), data.subset(new), whole_transcriptomes(reference)[reference][0]
    both = helpers.load_if_available(reference), helpers.load_if_available(cohort)
    if any(data is None for data in both):
        return None, None, None
    with chdir(helpers.HERE):
        return *both, read_count_table(cohort)


def own_tables(dataset, tables):
    """Return the user's own tables, or those of the example, and the folder of results.

    Parameters
    ----------
    dataset : str
        Folder of results.
    tables : dict or None
        "counts", "features" and "cells" -> path of a CSV file; None for the example: files of scala_2020_phys_temp, or
        simulated ones of the same form if these are not available or `dataset` is "simulated".

    Returns
    -------
    dataset : str
        "simulated" if the example is simulated; a message is printed.
    tables : dict
    """
    if tables is not None:
        return dataset, tables
    files = {"counts": "exon_counts.csv.gz", "features": "ephys_features.csv", "cells": "meta_data.csv"}
    place = "scala_2020_phys_temp/m1_patchseq_phys_temp_"
    try:
        if dataset != "simulated":
            with chdir(helpers.HERE):
                return dataset, {what: str(find_file(place + name).resolve()) for what, name in files.items()}
    except FileNotFoundError as error:
        print(f"The example of own cells CANNOT BE LOADED: {error}\n")
    print("THIS RUN USES SIMULATED DATA with small settings: its numbers mean nothing for real neurons.")
    return "simulated", _simulated_tables(helpers.ROOT / "build/simulated_tables")


def _simulated_tables(folder):
    """Write tables of simulated cells in the form used by laboratories: one row per gene, missing values and types."""
    data, _ = simulate_patchseq(n_cells=200, n_genes=300, n_donors=8)
    features = pd.DataFrame(data.features, data.cell_names, data.feature_names)
    features.iloc[[0, 1], 0] = np.nan
    types = np.where(np.arange(data.n_cells) < 190, data.cell_types, None)
    known = {"RNA type": types, "RNA family": data.cell_families, "Mouse": data.donors}
    tables = {
        "counts": pd.DataFrame(data.counts.T, data.gene_names, data.cell_names),
        "features": features,
        "cells": pd.DataFrame(known, pd.Index(data.cell_names, name="Cell")),
    }
    paths = {what: folder / f"{what}.csv" for what in tables}
    for what, table in tables.items():
        with all_or_nothing(paths[what]) as temporary:
            table.to_csv(temporary)
    return {what: str(path) for what, path in paths.items()}


@contextmanager
def printed_warnings():
    """Print what is warned of as a list: in a notebook, output rather than an alarm."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        print(f"- {warning.message}")


def report_of(dataset, data, mode="quick", shorten=1.0, retrain=False, fit=True):
    """Write the report of paired data, and fit the network that it scored on all cells; or load both from disk.

    Parameters
    ----------
    dataset : str
        Folder of results.
    data : PairedData
    mode, shorten
        See `sbnn.report`.
    retrain : bool
        Recompute, and replace what is on disk.
    fit : bool
        Whether the network is fitted and saved.

    Returns
    -------
    Answered
    """
    asked = {"mode": mode, "epoch_factor": shorten}
    place = helpers.find_result(dataset, "own_cells", asked, data, retrain, also=[".sbnn"] if fit else [])
    page = Path(os.path.relpath(helpers.ROOT / "build/reports" / dataset / "own_cells.html"))
    page.parent.mkdir(parents=True, exist_ok=True)
    model = place.path.with_suffix(".sbnn") if fit else None
    if place.missing:
        with chdir(page.parent):  # the page shows paths as they were given
            store = os.path.relpath(place.store)
            found = report(data, page.name, mode=mode, shorten=shorten, store=store)
        if fit:
            PairedModel(found.estimators["sBNN-2"]).fit(data).save(model)
        large = {name: getattr(found.result, name) for name in ("predictions", "latents")}
        kept = {name: table[table["model"] == "sBNN-2"] for name, table in large.items()}
        extra = {f"report_{name}": found.tables[name] for name in SHOWN if name in found.tables}
        about = {"settings": asked, "answer": found.answer, **helpers.identify(data)}
        tables = ["scores", "feature_scores", "selected", "choices", *kept]
        save_results(place.path, replace(found.result, **kept), tables, extra, **about)
    helpers.finish(dataset, "own")
    saved = load_results(place.path)
    tables = {name: saved[f"report_{name}"] for name in SHOWN if f"report_{name}" in saved}
    if not page.exists():
        print(f"{page} is written when the report is made: RETRAIN = True")
    return Answered(saved["answer"], tables, CrossValidation.from_results(saved), page, model)
