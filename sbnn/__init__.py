"""Sparse bottleneck neural networks: maps of Patch-seq cells that a few genes explain.

Bernaerts, Berens & Kobak, "Sparse bottleneck neural networks for exploratory non-linear visualization of
Patch-seq data", arXiv 2006.10411. Importing this package does not import a deep-learning backend.
"""

import importlib
from typing import Any

_PUBLIC = {
    "PairedData": "data.paired_data",
    "load_dataset": "data.datasets",
    "simulate_patchseq": "data.simulation",
    "Preprocessor": "data.preprocessing",
    "normalise_counts": "data.preprocessing",
    "select_variable_genes": "data.variable_genes",
    "SparseBottleneckRegressor": "models.bottleneck",
    "ReducedRankRegressor": "models.reduced_rank",
    "ClassMean": "validation.baselines",
    "PairedModel": "own_cells.paired_model",
    "explore": "own_cells.explore",
    "default_network": "models.default_network",
    "load_model": "own_cells.paired_model",
    "cross_validate": "validation.cross_validation",
    "CrossValidation": "validation.result",
    "nested_cross_validate": "validation.nested",
    "regularisation_path": "validation.penalty_path",
    "gene_stability": "validation.stability",
    "gene_importance": "validation.importance",
    "compare": "validation.differences",
    "beyond_class": "validation.beyond_class",
    "recommend_n_selected": "validation.gene_number",
    "CrossConformal": "validation.intervals",
    "coverage_table": "validation.coverage",
    "matched_controls": "validation.controls",
    "learning_curve": "validation.learning_curve",
    "check_data": "validation.guards",
    "report": "reporting.report",
    "save_results": "storage.results",
    "load_results": "storage.results",
    "find_author_results": "storage.author_results",
    "read_author_results": "storage.author_results",
}

__version__ = "0.1.0"
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    """Import public names on first access: networks pull in Keras, data do not."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sbnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sbnn.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    """List public names, for tab completion."""
    return sorted(__all__)
