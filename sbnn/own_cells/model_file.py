"""A fitted model as one file: its settings as JSON, everything else as NumPy arrays; nothing in it is executed."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from sbnn._checks import check_number, check_unique
from sbnn._hints import PathLike
from sbnn.data.feature_transforms import Transforms, own_names
from sbnn.data.preprocessing import Preprocessor
from sbnn.models.cross_conformal import Calibration
from sbnn.models.latent_regressor import is_network
from sbnn.models.reduced_rank import ReducedRankFit, ReducedRankRegressor, full_rank
from sbnn.models.schedules import Schedule, Stage, get_schedule
from sbnn.models.tasks import TrainedNetwork
from sbnn.own_cells.cohort_file import pack_cohorts, unpack_cohorts
from sbnn.own_cells.feature_file import pack_features, unpack_features
from sbnn.own_cells.interval_file import NAME as INTERVALS
from sbnn.own_cells.interval_file import pack_calibration, unpack_calibration
from sbnn.own_cells.moments_file import pack_moments, unpack_moments
from sbnn.storage.archive import pack, unpack
from sbnn.storage.results import package_versions, read_bytes
from sbnn.storage.writing import write_bytes

_FORMAT = "sbnn model"
#: Files of another major version are refused.
FORMAT_VERSION = (2, 3)
_OF_ESTIMATOR = ("selected_", "gene_norms_", "x_mean_", "y_mean_")
#: Settings that files lack if they cannot be written, or if an earlier version wrote them.
_OPTIONAL = {"random_state", "n_networks"}
_HISTORY = ("stage", "epoch", "r2_train", "r2_test")


class FittedModel(Protocol):
    """What is read of a fitted PairedModel."""

    estimator_: BaseEstimator
    preprocessor_: Preprocessor
    gene_names_: np.ndarray
    feature_names_: np.ndarray
    feature_units_: tuple[str | None, ...] | None
    features_measured_: bool | None
    training_genes_: np.ndarray
    outlier_distance_: float
    feature_transforms_: Transforms | None
    training_donors_: np.ndarray | None
    recalibration_: pd.DataFrame | None
    calibration_: Calibration | None


def write_model(model: FittedModel, path: PathLike) -> Path:
    """Write a PairedModel to a file, all or nothing; see `PairedModel.save`.

    Parameters
    ----------
    model : PairedModel
        Fitted.
    path : path-like

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        A setting is no plain value, or the file could not be loaded again. Nothing is written.
    """
    estimator, fitted = model.estimator_, model.preprocessor_
    arrays = {"gene_names": model.gene_names_, "feature_names": model.feature_names_}
    arrays |= pack_moments(fitted)
    arrays |= {name: getattr(estimator, name) for name in _OF_ESTIMATOR}
    arrays["training_genes_"] = model.training_genes_
    if is_network(estimator):
        arrays |= {f"history {column}": estimator.history_[column].to_numpy() for column in _HISTORY}
        arrays["history stage"] = arrays["history stage"].astype(str)
        arrays |= {f"weights {number}": weight for number, weight in enumerate(estimator.weights_)}
        if estimator.members_ is not None:
            arrays |= {f"members {number}": weight for number, weight in enumerate(estimator.members_)}
        if not np.array_equal(estimator.gene_frequency_, estimator.selected_):  # of several networks
            arrays["gene_frequency"] = estimator.gene_frequency_
    else:
        arrays |= {"W": estimator.W_, "V": estimator.V_, "offset": estimator.intercept_ - estimator.y_mean_}
    config = {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": package_versions(),
        "estimator": type(estimator).__name__,
        "settings": _plain_settings(estimator),
        "median_depth": fitted.median_depth_,
        "outlier_distance": model.outlier_distance_,
        **pack_features(model),
    }
    if getattr(model, "calibration_", None) is not None:
        config[INTERVALS], more = pack_calibration(model.calibration_)  # type: ignore[arg-type]  # which is not None
        arrays |= more
    content = pack(config, arrays | pack_cohorts(model))
    _rebuild(*unpack(content))  # raises an error if the file could not be loaded again
    write_bytes(Path(path), content)
    return Path(path)


class ModelParts(NamedTuple):
    """The checked content of a model file: attributes of a fitted PairedModel."""

    estimator: BaseEstimator
    preprocessor: Preprocessor
    gene_names: np.ndarray
    feature_names: np.ndarray
    units: tuple[str | None, ...] | None
    features_measured: bool | None
    transforms: Transforms | None
    training_genes: np.ndarray
    training_donors: np.ndarray | None
    outlier_distance: float
    calibration: Calibration | None
    recalibration: pd.DataFrame | None


def read_model(path: PathLike) -> ModelParts:
    """Read a file written by `write_model`; see `sbnn.load_model`.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    ModelParts

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is damaged, not a model, or of another major version of the format.
    """
    path = Path(path)
    try:
        with _content_checked():
            config, arrays = unpack(read_bytes(path), _check_format)
        return _rebuild(config, arrays)
    except _OtherFormatError as error:
        raise ValueError(f"{path} {error}") from None
    except _DamagedError as error:
        raise ValueError(
            f"{path} is not a model of sbnn, or is truncated or damaged ({error}): save or copy it again"
        ) from None


class _OtherFormatError(ValueError):
    """The file is intact, but holds something else."""


class _DamagedError(ValueError):
    """The content of a file is not that of a model; any other ValueError is a bug, and is reported as such."""


@contextmanager
def _content_checked():
    """Report errors of the checks inside as damage of the file."""
    try:
        yield
    except _OtherFormatError:
        raise
    except ValueError as error:
        raise _DamagedError(str(error)) from None


def _check_format(config):
    """Raise an error unless this version of sbnn can read the file."""
    kind, version = config.get("format"), config.get("format_version")
    if kind != _FORMAT:
        raise ValueError(f"its format is {kind!r}, not {_FORMAT!r}")
    if (
        not isinstance(version, list)
        or len(version) != 2
        or not all(type(number) is int and number >= 0 for number in version)
    ):
        raise ValueError(f"its format_version is {version!r}, not two whole numbers")
    if version[0] != FORMAT_VERSION[0]:
        versions = config.get("versions")
        writer = versions.get("sbnn") if isinstance(versions, dict) else None
        raise _OtherFormatError(
            f"has the format {kind!r}, version {version[0]}; this sbnn reads {_FORMAT!r}, version {FORMAT_VERSION[0]}: "
            f"use the sbnn that wrote it ({writer})"
        )


def _rebuild(config, arrays):
    """Reassemble the parts of a model, after checking them against each other."""
    take = _Taker(arrays)
    with _content_checked():
        names = {
            what: check_unique(take(f"{what}_names", "U", (None,)), f"{what} names") for what in ("gene", "feature")
        }
    n_genes, n_features = len(names["gene"]), len(names["feature"])
    estimator = _estimator(config, n_genes)
    of_estimator = _of_estimator(take, n_genes, n_features)
    n_selected = int(of_estimator["selected"].sum())
    training_genes = take("training_genes_", "f", (None, n_selected))
    if is_network(estimator):
        trained = _network(take, estimator, of_estimator, n_selected, n_features)
        estimator.adopt(trained, np.zeros((0, n_genes), dtype=np.float32))
        estimator._training_genes = training_genes
    else:
        rank = full_rank(n_genes, n_features) if estimator.rank is None else estimator.rank
        W, V = take("W", "f", (n_genes, rank)), take("V", "f", (n_features, rank))
        if W[~of_estimator["selected"]].any():
            raise _DamagedError("its model reads genes that are not selected")
        estimator.adopt(ReducedRankFit(W, V, take("offset", "f", (n_features,))), **of_estimator)
    calibration = None
    if INTERVALS in config:
        about = take, take.arrays, estimator, *names.values(), len(training_genes)
        with _content_checked():
            calibration = unpack_calibration(config[INTERVALS], *about)
    with _content_checked():
        units, measured, transforms = unpack_features(config, names["feature"])
        of_cohorts = take, own_names(names["feature"], transforms), len(training_genes)
        donors, recalibration = unpack_cohorts(set(take.arrays), *of_cohorts)
    parts = ModelParts(
        estimator,
        _preprocessor(take, config, n_genes, n_features),
        names["gene"],
        names["feature"],
        units,
        measured,
        transforms,
        training_genes,
        donors,
        _number(config, "outlier_distance"),
        calibration,
        recalibration,
    )
    take.check_nothing_is_left()
    return parts


class _Taker:
    """Returns arrays by name after checking their kind, shape and values."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = dict(arrays)

    def __call__(
        self, name: str, kinds: str, shape: tuple[int | None, ...], least: float = -np.inf, above: bool = False
    ) -> np.ndarray:
        """Return an array; None in `shape` stands for any positive length."""
        if name not in self.arrays:
            raise _DamagedError(f"it lacks the array {name!r}")
        array = self.arrays.pop(name)
        fits = array.ndim == len(shape) and all(
            found == asked or (asked is None and found > 0) for found, asked in zip(array.shape, shape, strict=True)
        )
        if array.dtype.kind not in kinds or not fits:
            raise _DamagedError(f"its array {name!r} has type {array.dtype} and shape {array.shape}, expected {shape}")
        if array.dtype.kind == "f" and array.size:
            if not np.isfinite(array).all():
                raise _DamagedError(f"its array {name!r} holds values that are not finite")
            if array.min() < least or (above and array.min() == least):
                raise _DamagedError(f"its array {name!r} holds {array.min():g}, too small a value")
        return array

    def check_nothing_is_left(self) -> None:
        """Raise ValueError if the file holds arrays that no model has."""
        if self.arrays:
            raise _DamagedError(f"it holds an array {sorted(self.arrays)[0][:80]!r} that no such model has")


def make_network() -> BaseEstimator:
    """Return a network with default settings; imported here, so that linear models do not need Keras."""
    from sbnn.models.bottleneck import SparseBottleneckRegressor

    return SparseBottleneckRegressor()


_MAKERS = {"SparseBottleneckRegressor": make_network, "ReducedRankRegressor": ReducedRankRegressor}


def _estimator(config, n_genes):
    """Unfitted estimator with the settings of the file."""
    kind, settings = config.get("estimator"), config.get("settings")
    if not isinstance(kind, str) or kind not in _MAKERS or not isinstance(settings, dict):
        raise _DamagedError(f"its estimator is {kind!r}, expected one of {', '.join(map(repr, _MAKERS))} with settings")
    made = _MAKERS[kind]()
    unknown = sorted(set(settings) - set(made.get_params(deep=False)))
    if unknown:
        raise _DamagedError(f"its {kind} has an unknown setting {unknown[0][:80]!r}")
    missing = sorted(set(made.get_params(deep=False)) - set(settings) - _OPTIONAL)
    if missing:
        raise _DamagedError(f"its {kind} lacks the setting {missing[0]!r}")
    with _content_checked(), suppress(ImportError):  # prediction needs no solver, which is checked last
        made.set_params(**_settings_from_plain(settings))
        made.check_settings(n_genes)
    return made


def _of_estimator(take, n_genes, n_features):
    """Take what both kinds of estimator have: selected genes, norms and means."""
    shapes = {"selected_": (n_genes,), "gene_norms_": (n_genes,), "x_mean_": (n_genes,), "y_mean_": (n_features,)}
    kinds = {"selected_": "b"}
    least = {"gene_norms_": 0}
    found = {name: take(name, kinds.get(name, "f"), shapes[name], least.get(name, -np.inf)) for name in _OF_ESTIMATOR}
    if not found["selected_"].any():
        raise _DamagedError("its model reads no gene")
    return {name.rstrip("_"): array for name, array in found.items()}


def _network(take, estimator, of_estimator, n_selected, n_features):
    """Trained network, with weights of the widths given by the settings."""
    n_stages = len(take.arrays.get("history stage", ()))
    history = {"stage": take("history stage", "U", (None,))}
    history["epoch"] = take("history epoch", "iu", (n_stages,))
    for name in ("r2_train", "r2_test"):  # NaN without test cells
        history[name] = take.arrays.pop(f"history {name}", np.empty(0))
        if history[name].shape != (n_stages,) or history[name].dtype.kind != "f":
            raise _DamagedError(f"its array 'history {name}' does not have one number per epoch")
    hidden = tuple(estimator.hidden)
    sizes = (n_selected, *hidden, estimator.bottleneck_dim, *hidden[::-1], n_features)
    shapes = [shape for n_in, n_out in pairwise(sizes) for shape in ((n_in, n_out), (n_out,))]
    weights = [take(f"weights {number}", "f", shape) for number, shape in enumerate(shapes)]
    ensemble = {}
    if estimator.n_networks > 1:
        several = [(estimator.n_networks, *shape) for shape in shapes]
        ensemble["members"] = [take(f"members {number}", "f", shape) for number, shape in enumerate(several)]
    if "gene_frequency" in take.arrays:
        ensemble["gene_frequency"] = take("gene_frequency", "f", (len(of_estimator["selected"]),), least=0)
    return TrainedNetwork(weights, **of_estimator, history=pd.DataFrame(history), feature_r2=None, **ensemble)


def _preprocessor(take, config, n_genes, n_features):
    """Moments and depth."""
    depth = config.get("median_depth", "missing")
    with _content_checked():
        (fitted,) = unpack_moments(take, n_genes, n_features, None if depth is None else [depth], n_folds=None)
    return fitted


def _number(config, name):
    """Take a number from the JSON text."""
    with _content_checked():
        return check_number(config.get(name), name)


def _plain_settings(estimator):
    """Arguments of an estimator as JSON values."""
    settings = estimator.get_params(deep=False)
    if is_network(estimator) and not isinstance(settings["schedule"], str):
        schedule = get_schedule(settings["schedule"])
        settings["schedule"] = {"name": schedule.name, "stages": [stage.settings() for stage in schedule]}
    if "hidden" in settings:
        settings["hidden"] = list(map(int, settings["hidden"]))
    if not isinstance(settings.get("random_state", 0), numbers.Integral):
        del settings["random_state"]
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
    for name, value in plain.items():
        if not isinstance(value, (int, float, str, bool, list, dict, type(None))):
            raise ValueError(f"{name}={value!r} cannot be written to a file: give a plain number or text")
    return plain


def _settings_from_plain(settings):
    """Arguments of an estimator from JSON values."""
    settings = dict(settings)
    if isinstance(settings.get("schedule"), dict):
        try:
            stages = [Stage(**stage) for stage in settings["schedule"]["stages"]]
            settings["schedule"] = Schedule(settings["schedule"]["name"], stages)
        except (KeyError, TypeError) as error:
            raise _DamagedError(f"its schedule cannot be read ({error})") from None
    if isinstance(settings.get("hidden"), list):
        settings["hidden"] = tuple(settings["hidden"])
    return settings
