"""The data of the examples: another cohort, example tables in place of the user's own, simulated ones if missing."""

from contextlib import chdir

import numpy as np
import pandas as pd

import helpers
from sbnn import simulate_patchseq
from sbnn.data.datasets import whole_transcriptomes
from sbnn.data.published.scala import read_count_table
from sbnn.data.sources import find_file
from sbnn.storage.writing import all_or_nothing


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
