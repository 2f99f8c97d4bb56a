"""Keys that identify each fit of a cross-validation: the address of its file in a store."""

import ast
import hashlib
import inspect
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from threading import Lock

import joblib
import numpy as np
from joblib.externals.loky import cloudpickle_wrapper as cloudpickle

import sbnn
from sbnn.data.paired_data import PairedData
from sbnn.models.gene_number import chooses_number
from sbnn.models.latent_regressor import is_network
from sbnn.models.schedules import get_schedule
from sbnn.storage.results import package_versions
from sbnn.validation.execution import Job
from sbnn.validation.folds import Fold
from sbnn.validation.provenance import Runs
from sbnn.validation.workers import keras_backend

#: The modules that determine the outcome of a fit; fits made by a different version of this code are not reused.
TRAINING_CODE = (
    "validation.baselines",
    "models.batches",
    "validation.class_ridge",
    "models.clusters",
    "models.consensus",
    "models.devices",
    "models.elastic_net",
    "models.engine",
    "models.ensembles",
    "models.fit_arguments",
    "models.gene_number",
    "models.map_agreement",
    "models.inner_folds",
    "models.bottleneck",
    "validation.execution",
    "validation.folds",
    "models.gene_decoder",
    "models.latent_regressor",
    "models.layouts",
    "models.reduced_rank",
    "models.missing_values",
    "models.network",
    "models.network_parts",
    "models.optimisers",
    "data.preprocessing",
    "models.r2",
    "models.schedules",
    "models.sized_reduced_rank",
    "models.stack_run",
    "validation.tables",
    "models.tasks",
    "models.training",
    "data.variable_genes",
)
#: Modules imported by those that do not affect results: they start a backend, check arguments, write files, hold data,
#: compute intervals.
OTHER_CODE = (
    "_checks",
    "_hints",
    "data.count_layers",
    "data.count_tables",
    "data.accidents",
    "models.backend",
    "data.cell_labels",
    "models.compilation_cache",
    "models.cross_conformal",
    "data.containers",
    "data.count_kinds",
    "data.feature_transforms",
    "data.named_tables",
    "data.paired_data",
    "storage.plain_arrays",
    "storage.plain_pickle",
    "storage.results",
    "storage.writing",
)

#: Python 3.11 counts how deep a tree is for all threads together: two that parse at once raise SystemError.
_PARSING = Lock()
#: Folders in which packages are installed.
_INSTALLED = {"site-packages", "dist-packages"}
#: Read at import, because files may be edited while a session runs their previous content.
_PACKAGE = Path(sbnn.__file__).parent
_SOURCES = [(_PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8") for name in TRAINING_CODE]


def fit_keys(
    data: PairedData, runs: Runs, splits: Sequence[Fold], protocol: str, seeds: Mapping[Job, int]
) -> dict[tuple[int, int], str]:
    """Return the key of every fit: a hash of data, fold, settings, protocol and the code that trains.

    Parameters
    ----------
    data : PairedData
    runs : list of (name, estimator)
        Names are labels and do not enter the key.
    splits : list of Fold
    protocol : str
        `CrossValidation.protocol`.
    seeds : dict
        Of networks whose `random_state` is not a whole number; of a RandomState, they enter the key.

    Returns
    -------
    dict
        (run, fold) -> text of 64 characters. A network in a fold of the same cells, but another number, has another
        key: it starts from other random weights. A fit that occurs twice in one call has two different keys.
    """
    about = [
        f"{data.name} {data.fingerprint} {data.names_hash}",
        repr(package_versions()),
        protocol,
        training_code_hash(),
    ]
    if protocol != "all cells":  # counts and features are normalised again within folds
        about.append(joblib.hash((data.counts, data.features)))
    folds = [_rows_hash(split) for split in splits]
    asked: Counter[tuple[str, str]] = Counter()
    keys = {}
    for run, (_, estimator) in enumerate(runs):
        of_model = _settings_text(estimator)
        draws = isinstance(getattr(estimator, "random_state", None), np.random.RandomState) and is_network(estimator)
        for number, fold in enumerate(folds):
            settings = f"{of_model} {seeds[Job(run, number)]}" if draws else of_model
            asked[settings, fold] += 1
            parts = [*about, fold, settings, str(asked[settings, fold])]
            if is_network(estimator):  # its random numbers are those of the fold's number
                parts.append(f"fold {number}")
            if chooses_number(estimator):  # on folds that keep donors together
                parts.append(joblib.hash(data.donors))
            keys[run, number] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return keys


def training_code_hash() -> str:
    """Return a hash of the modules of TRAINING_CODE that this session runs, without comments, docstrings and hints."""
    with _PARSING:
        return _training_code_hash()


@lru_cache(maxsize=1)
def _training_code_hash():
    return hashlib.sha256("\n".join(map(_code, _SOURCES)).encode()).hexdigest()


def _code(source):
    """Write a module without its comments, docstrings and type hints."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(...)
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:]
    return ast.dump(tree)


def _is_text(statement):
    """Whether a statement is just a string, a docstring for example."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _rows_hash(split):
    """Return a hash of the training and test cells of a fold, in their order."""
    content = hashlib.sha256()
    for rows in split:
        content.update(np.asarray(rows, dtype=np.int64).tobytes() + b"|")
    return content.hexdigest()


def _settings_text(estimator):
    """Write an estimator with all its settings, stages of the schedule included."""
    kind = type(estimator)
    if not kind.__module__.startswith("sbnn."):
        # Of another package, where the repr of large or nested settings is truncated.
        schedule = get_schedule(estimator.schedule) if is_network(estimator) else ""
        inside = any(is_network(part) for part in estimator.get_params(deep=True).values())  # of a pipeline
        return f"{kind.__qualname__} {schedule!r} {_foreign_hash(estimator)}{keras_backend() if inside else ''}"
    settings = estimator.get_params(deep=False)
    if is_network(estimator):
        settings["schedule"] = get_schedule(estimator.schedule)
        settings["keras_backend"] = keras_backend()
        if isinstance(estimator.random_state, np.random.RandomState):
            settings["random_state"] = "RandomState"  # what it drew enters the key
    texts = (f"{name}={value!r}" for name, value in sorted(settings.items()))
    return f"{kind.__name__}({', '.join(texts)})"


def _foreign_hash(estimator):
    """Return a hash of an estimator of another package: its settings, its code, and the modules that it is made of."""
    kind = type(estimator)
    try:
        code = inspect.getsource(kind)
    except (OSError, TypeError):
        code = ""
    try:
        settings = cloudpickle.dumps(estimator)  # functions of a notebook by their code, not by name
    except Exception:  # what cannot be pickled, open files for example, is never considered equal
        settings = os.urandom(16)
    parts = [estimator, *estimator.get_params(deep=True).values()]
    modules = {base.__module__ for part in parts for base in type(part).__mro__}
    modules |= {str(getattr(part, "__module__", "")) for part in parts}  # of functions and classes
    texts = [_module_text(name) for name in sorted(_with_imported(modules))]
    return joblib.hash((kind.__module__, code, settings, texts))


def _with_imported(names):
    """Add the modules that modules which are not installed import, those of the user that a model is made with."""
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        module = sys.modules.get(name)
        if not _is_own(module) or name in ("__main__", "sbnn") or name.startswith("sbnn."):
            continue
        for value in list(vars(module).values()):
            imported = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
            if isinstance(imported, str) and imported.partition(".")[0] not in sys.stdlib_module_names:
                left.append(imported)
    return {name for name in found if name in names or _is_own(sys.modules.get(name))}


def _is_own(module):
    """Whether a module is a file that belongs to no installed package."""
    file = getattr(module, "__file__", None)
    return bool(file) and _INSTALLED.isdisjoint(Path(file).parts)


def _module_text(name):
    """Write the version of the package that a module comes from, and the source of a module that is not installed."""
    module = sys.modules.get(name)
    if not getattr(module, "__file__", None) or name == "__main__" or name.startswith("sbnn."):
        return name  # pickled by its code, or hashed already
    packages = _packages().get(name.partition(".")[0], [])
    versions = [f"{package} {metadata.version(package)}" for package in sorted(set(packages))]
    if _is_own(module):
        with suppress(OSError, TypeError):  # of what is compiled
            versions.append(inspect.getsource(module))
    return "\n".join([name, *versions])


@lru_cache(maxsize=1)
def _packages():
    """Return the installed packages that provide each top-level module."""
    return metadata.packages_distributions()
