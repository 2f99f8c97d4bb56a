"""Cells from the files that the command line names: tables as CSV, an AnnData or a MuData."""

import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sbnn._checks import preview
from sbnn.data.containers import import_extra
from sbnn.data.count_kinds import READS_THRESHOLD, UMIS_THRESHOLD, count_kind
from sbnn.data.count_layers import counts_of
from sbnn.data.named_tables import read_table
from sbnn.data.paired_data import PairedData

#: Options that name columns, and what PairedData calls them.
_COLUMNS = {"types": "cell_types", "families": "cell_families", "donors": "donors"}
#: Files of containers.
_CONTAINERS = (".h5ad", ".h5mu")


class Read(NamedTuple):
    """Cells that were read.

    Attributes
    ----------
    data : PairedData
    detection_threshold : float
        That was given, or that fits the counts.
    notes : tuple of str
        What was said: cells left out, logarithms taken, what was recognised.
    snippet : str
        Python that reads the same.
    """

    data: PairedData
    detection_threshold: float
    notes: tuple[str, ...]
    snippet: str


def read_cells(parsed: Namespace) -> Read:
    """Read the cells that the arguments of the command line name.

    Parameters
    ----------
    parsed : argparse.Namespace
        `files`, `cells`, `donors`, `types`, `families`, `genes`, `threshold`, `transform`, `genes_as_rows`, `features`,
        `counts`, `modalities`, `name`.

    Returns
    -------
    Read

    Raises
    ------
    ValueError
        Other files, options that do not belong to them, and as `PairedData.from_tables` and its siblings.
    FileNotFoundError
        No such file.
    ImportError
        An .h5ad or .h5mu without anndata or mudata.
    """
    paths = [Path(file) for file in parsed.files]
    for path in [*paths, *([Path(parsed.cells)] if parsed.cells else [])]:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
    settings: dict[str, Any] = {"genes": _genes(parsed.genes)}
    settings |= {name: getattr(parsed, option) for option, name in _COLUMNS.items() if getattr(parsed, option)}
    if parsed.transform != "none":
        auto = parsed.transform == "auto"
        settings["transform"] = "auto" if auto else [name.strip() for name in parsed.transform.split(",")]
    if parsed.name:
        settings["name"] = parsed.name
    elif paths[0].suffix.lower() not in _CONTAINERS:  # a container may have a name of its own
        settings["name"] = paths[0].name.split(".")[0]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        if len(paths) == 1 and paths[0].suffix.lower() in _CONTAINERS:
            read = _read_container(paths[0], parsed, settings)
        elif len(paths) == 2 and not any(path.suffix.lower() in _CONTAINERS for path in paths):
            read = _read_tables(paths, parsed, settings)
        else:
            raise ValueError(
                "give two tables, counts.csv and features.csv, or one file .h5ad or .h5mu; got "
                f"{', '.join(map(str, paths))}"
            )
    notes = [str(warning.message) for warning in said if issubclass(warning.category, UserWarning)]
    return read._replace(notes=(*read.notes, *dict.fromkeys(notes)))


def _genes(text):
    """How many genes, or None for all."""
    if text == "all":
        return None
    if not text.isdigit() or not int(text):
        raise ValueError(f'--genes must be a whole number or "all", got {text!r}')
    return int(text)


def _read_tables(paths, parsed, settings):
    """Cells of two tables."""
    for option in ("features", "counts"):
        if getattr(parsed, option):
            raise ValueError(f"--{option} is for an .h5ad or .h5mu: tables are given by their files")
    columns = [f"--{option}" for option in _COLUMNS if getattr(parsed, option)]
    if columns and not parsed.cells:
        raise ValueError(f"{', '.join(columns)} name columns of the table of cells: give it as --cells FILE")
    counts, features = read_table(paths[0], "counts"), read_table(paths[1], "features")
    notes = []
    as_rows = parsed.genes_as_rows
    if not as_rows and not counts.index.isin(features.index).any() and counts.columns.isin(features.index).any():
        as_rows = True
        notes.append("counts have a row for each gene: the names of the cells are in their first line")
    threshold, said = _threshold(parsed, counts.to_numpy())
    settings = {**settings, "detection_threshold": threshold}
    settings |= {"genes_as_rows": True} if as_rows else {}
    settings |= {"cells": parsed.cells} if parsed.cells else {}
    data = PairedData.from_tables(counts, features, **settings)
    call = _call("PairedData.from_tables", [str(path) for path in paths], settings)
    return Read(data, threshold, (*notes, *said), f"from sbnn import PairedData, report\n\ndata = {call}")


def _read_container(path, parsed, settings):
    """Cells of an AnnData or a MuData."""
    if parsed.cells or parsed.genes_as_rows:
        raise ValueError("--cells and --genes-as-rows are for tables: the columns of an .h5ad or .h5mu are in its obs")
    is_mudata = path.suffix.lower() == ".h5mu"
    package = "mudata" if is_mudata else "anndata"
    read = "read_h5mu" if is_mudata else "read_h5ad"
    container = getattr(import_extra(package), read)(path)
    names = _modalities(parsed.modalities, container) if is_mudata else None
    of_genes = container.mod[names["x"]] if names else container
    layer = parsed.counts
    if layer not in (None, "X", *of_genes.layers):
        raise ValueError(f"--counts {layer}: layers are {', '.join(of_genes.layers) or 'none'}")
    settings = {**settings, **({} if layer is None else {"counts": layer})}
    values = counts_of(of_genes, layer)
    if "name" not in settings and "name" not in container.uns:
        settings["name"] = path.stem
    threshold, said = _threshold(parsed, values)
    settings["detection_threshold"] = threshold
    if names:
        if parsed.features:
            raise ValueError("--features is for an .h5ad: in an .h5mu features are a modality, see --modalities")
        if "transform" in container.mod[names["y"]].var and settings.get("transform") == "auto":
            del settings["transform"]  # logarithms were taken before
        data, asked, kind = PairedData.from_mudata(container, **names, **settings), {**names, **settings}, "mudata"
    else:
        features = parsed.features or "features"
        columns = [name.strip() for name in features.split(",")]
        if features not in container.obsm and all(name in container.obs for name in columns):
            features = columns
        elif features not in container.obsm:
            numeric = container.obs.select_dtypes("number").columns
            raise ValueError(
                f"--features must name a table of obsm, or columns of obs, got {features!r}: obsm has "
                f"{preview(list(container.obsm), 12)}, numbers in obs are {preview(numeric, 12)}"
            )
        if f"{features}_transforms" in container.uns and settings.get("transform") == "auto":
            del settings["transform"]  # logarithms were taken before
        data = PairedData.from_anndata(container, features, **settings)
        asked, kind = {"features": features, **settings}, "anndata"
    call = _call(f"PairedData.from_{kind}", [], asked).replace("(", f"({package}.{read}({str(path)!r}), ", 1)
    return Read(data, threshold, said, f"import {package}\nfrom sbnn import PairedData, report\n\ndata = {call}")


def _modalities(text, container):
    """Names of the modalities of genes and of features."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(name in container.mod for name in names):
        raise ValueError(f"--modalities must be two of {', '.join(container.mod)}, as in rna,ephys; got {text!r}")
    return dict(zip(("x", "y"), names, strict=True))


def _threshold(parsed, counts):
    """Return the threshold of detection that was given, or that fits the counts, and what to say about it."""
    if parsed.threshold is not None:
        return parsed.threshold, ()
    if counts is None or not np.issubdtype(counts.dtype, np.number):
        return float(UMIS_THRESHOLD), ()  # what is wrong with them is said where they are paired
    kind = count_kind(counts).kind
    found = float(READS_THRESHOLD if kind == "reads" else UMIS_THRESHOLD)
    looks = "are not clearly reads or UMIs" if kind in ("unclear", "logarithms") else f"look like {kind}"
    return found, (f"counts {looks}: a gene is detected with more than {found:g} (--threshold)",)


def _call(name, positional, settings):
    """Write a call in Python."""
    shown = [repr(value) for value in positional]
    shown += [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}(\n    {', '.join(shown)}\n)" if len(", ".join(shown)) > 80 else f"{name}({', '.join(shown)})"
