"""What only the notebooks share: paths, parameters from the environment, plotting style, saved figures."""

import ast
import os
import shutil
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

from sbnn import PairedData, find_author_results, load_dataset, load_results, read_author_results
from sbnn.author_results import paper_penalty
from sbnn.comparison import author_alphas, figure_curves, linear_references
from sbnn.containers import OBS_COLUMNS
from sbnn.paired_data import modal_colors
from sbnn.parallel import start_backend  # noqa: F401 - notebooks begin with it
from sbnn.sources import find_file
from sbnn.style import show_whole_figures, use_style

ROOT = Path(os.environ.get("SBNN_OUTPUT", Path(__file__).parent)).resolve()
RESULTS = ROOT / "KerasSavedModels"
FIGURES = ROOT / "figures"

use_style()
show_whole_figures()
pd.set_option("display.max_rows", 40, "display.width", 120)


def parameter(name, default):
    """Return a notebook's parameter: the environment variable of that name, else the default.

    Parameters
    ----------
    name : str
        Name of the parameter and of the environment variable, whose text is read as a Python value.
    default : object
        What the notebook says.

    Returns
    -------
    object
    """
    if name not in os.environ:
        return default
    text = os.environ[name]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@lru_cache(maxsize=2)
def load(dataset):
    """Load a data set once a session (see `sbnn.load_dataset`)."""
    return load_dataset(dataset)


def available_dataset(default):
    """Return $DATASET, else the default where its files can be had, else "simulated", and say which.

    Parameters
    ----------
    default : str
        Name of a data set.

    Returns
    -------
    str
    """
    dataset = os.environ.get("DATASET")
    if dataset is None:
        try:
            load(default)
            return default
        except FileNotFoundError as error:
            print(f"{default} CANNOT BE LOADED: {error}\n")
            dataset = "simulated"
    if dataset == "simulated":
        print("THIS RUN USES SIMULATED DATA with small settings: its numbers mean nothing for real neurons.")
    return dataset


def load_if_available(dataset):
    """Load a data set, or say why it cannot be had and return None (`dataset` None: nothing is asked for)."""
    try:
        return None if dataset is None else load(dataset)
    except FileNotFoundError as error:
        print(f"{dataset} CANNOT BE LOADED and is left out: {error}")
        return None


def example_tables():
    """Return paths of CSV files that stand in for the reader's own, or say why they cannot be had and return None."""
    files = {"counts": "exon_counts.csv.gz", "features": "ephys_features.csv", "cells": "meta_data.csv"}
    place = "scala_2020_phys_temp/m1_patchseq_phys_temp_"
    try:
        return {what: str(find_file(place + name)) for what, name in files.items()}
    except FileNotFoundError as error:
        print(f"The example of own cells CANNOT BE LOADED and is left out: {error}")
        return None


def own_cells_path(dataset):
    """Return the path of the reader's own cells, which notebook 1 writes and notebook 2 reads."""
    return ROOT / "build/own_cells" / f"{dataset}.h5ad"


def save_own_cells(data, dataset):
    """Save PairedData of the reader's own cells as AnnData, all or nothing.

    Parameters
    ----------
    data : PairedData
    dataset : str
        The data set whose notebooks show them.
    """
    path = own_cells_path(dataset)
    with _all_or_nothing(path) as temporary:
        data.to_anndata().write_h5ad(temporary)
    print(f"saved {_shown(path)}")


def load_own_cells(dataset):
    """Load what `save_own_cells` saved, or say that it is not there and return None."""
    path = own_cells_path(dataset)
    if not path.exists():
        print(f"{_shown(path)} is not there: OWN_TABLES in preprocess.ipynb names the tables that it is made of.")
        return None
    import anndata

    adata = anndata.read_h5ad(path, backed="r")
    known = {what: column for what, column in OBS_COLUMNS.items() if column in adata.obs}
    try:
        return PairedData.from_anndata(adata, "features", "counts", genes=None, **known)
    finally:
        adata.file.close()


def names_of(data):
    """Return the names of cells, genes and features as notes for `save_results`: `must_run` compares them."""
    return {what: getattr(data, what).tolist() for what in ("cell_names", "gene_names", "feature_names")}


def result_path(dataset, what):
    """Return the path of a result, KerasSavedModels/<dataset>/<what>.pickle."""
    return RESULTS / dataset / f"{what}.pickle"


def must_run(paths, retrain, data=None):
    """Whether a computation has to run, saying so: a result is not on disk or of others, or `retrain` asks for it.

    Parameters
    ----------
    paths : Path or list of Path
        The results of the computation.
    retrain : bool
        Compute them anew in any case.
    data : PairedData, optional
        If a result on disk was made of other data, that is said; if it holds the names of its cells, genes and
        features and they are others, the computation has to run.

    Returns
    -------
    bool
    """
    paths = [paths] if isinstance(paths, Path) else paths
    if retrain or not all(path.exists() for path in paths):
        return True
    for path in paths:
        commit = ""
        if path.suffix == ".pickle":
            result = load_results(path)
            commit = f" (commit {result['commit']})"
            names = names_of(data) if data is not None else {}
            if any(what in result and list(result[what]) != found for what, found in names.items()):
                print(f"{_shown(path)} is of other cells, genes or features: computed anew.")
                return True
            if data is not None and result.get("fingerprint") != data.fingerprint:
                print("Note: it was computed from other data, or on a machine that rounds differently.")
        print(f"Skipped: {_shown(path)} is there{commit}. RETRAIN = True computes it anew.")
    return False


@contextmanager
def resumable(path):
    """Name a folder for the finished chunks of a computation, and remove it once the computation has succeeded.

    Parameters
    ----------
    path : Path
        The result that the computation is going to write.

    Yields
    ------
    Path
        build/unfinished/<dataset>/<what>: after Ctrl-C or a kill, the same cell goes on from what lies there.
    """
    folder = ROOT / "build/unfinished" / path.parent.name / path.stem
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def save_network(network, path):
    """Save a Keras network, all or nothing.

    Parameters
    ----------
    network : keras.Model
    path : Path
        Ends in .keras.
    """
    with _all_or_nothing(path) as temporary:
        network.save(temporary)


def save_figure(figure, name):
    """Save a figure as figures/<name>.png (300 dpi) and .pdf, the same bytes for the same figure.

    Parameters
    ----------
    figure : Figure
    name : str
        With the data set as folder, e.g. "scala_2020/curves".
    """
    path = FIGURES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=300, metadata={"Software": None})
    figure.savefig(path.with_suffix(".pdf"), dpi=300, metadata={"CreationDate": None, "Producer": None})
    print(f"saved {_shown(path)}.png and .pdf")


def table_of_cells(data):
    """Return names, types, families, their colours and donors of the cells as a table for results."""
    n_cells = data.n_cells
    types = np.full(n_cells, "cell") if data.cell_types is None else data.cell_types
    families = types if data.cell_families is None else data.cell_families
    colors = data.type_colors or dict.fromkeys(np.unique(types), "#4477aa")
    type_colors = [colors[name] for name in types]
    family_colors = data.family_colors or modal_colors(families, type_colors)
    return pd.DataFrame({
        "cell": data.cell_names,
        "cell_type": types,
        "cell_family": families,
        "type_color": type_colors,
        "family_color": [family_colors[name] for name in families],
        "donor": np.full(n_cells, "") if data.donors is None else data.donors,
    })  # fmt: skip


@lru_cache(maxsize=1)
def author_results(datasets):
    """Read the authors' tables of several data sets; none, saying why, where their files cannot be had.

    Parameters
    ----------
    datasets : tuple of str

    Returns
    -------
    dict
        Data set -> `sbnn.read_author_results`.
    """
    try:
        return {dataset: read_author_results(find_author_results(dataset)) for dataset in datasets}
    except FileNotFoundError as error:
        print(f"THE AUTHORS' RESULTS CANNOT BE READ, their figures stay as they are: {error}")
        return {}


def published_curves(dataset, tables):
    """Return the curves of figures 1 and 2 from the authors' tables of a data set."""
    references = linear_references(tables["scores"], author_alphas(tables["scores"]))
    return figure_curves(tables["curves"], paper_penalty(dataset), references)


def computed_curves(dataset):
    """Return the curves of figures 1 and 2 computed here for a data set; None where they are not on disk."""
    paths = [result_path(dataset, what) for what in ("sbnn_cv", "linear_cv")]
    if not all(path.exists() for path in paths):
        return None
    network, linear = (load_results(path) for path in paths)
    references = linear_references(linear["scores"], linear["chosen_alpha"])
    return figure_curves(network["curves"], paper_penalty(dataset), references)


@contextmanager
def _all_or_nothing(path):
    """Name a file beside `path` to write to: it becomes `path` where that succeeded, and is gone where not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _shown(path):
    """Path relative to the repository, so that no notebook holds a machine's own path."""
    return path.relative_to(ROOT)
