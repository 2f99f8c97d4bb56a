"""A fitted model as one file: a zip of JSON, NumPy arrays without pickles, and the network in Keras' own format."""

import importlib
import json
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone

from sbnn.linear import ReducedRankFit
from sbnn.paired_model import PairedModel
from sbnn.preprocessing import Preprocessor
from sbnn.results import package_versions, write_atomically
from sbnn.schedules import Schedule, Stage, get_schedule
from sbnn.tables import is_network
from sbnn.tasks import TrainedNetwork

_FORMAT = "sbnn model"
#: Files of another major version are refused.
FORMAT_VERSION = (1, 0)
_MOMENTS = ("gene_means_", "gene_sds_", "feature_means_", "feature_sds_")
_OF_MODEL = ("gene_shares_", "training_genes_")
_OF_ESTIMATOR = ("selected_", "gene_norms_", "x_mean_", "y_mean_")


def save_model(model, path):
    """Write a PairedModel; see `PairedModel.save`."""
    estimator, fitted = model.estimator_, model.preprocessor_
    arrays = {name: getattr(fitted, name) for name in _MOMENTS}
    arrays |= {name: getattr(model, name) for name in _OF_MODEL if getattr(model, name) is not None}
    arrays |= {name: getattr(estimator, name) for name in _OF_ESTIMATOR}
    arrays |= {"gene_names": model.gene_names_, "feature_names": model.feature_names_}
    if is_network(estimator):
        arrays |= {f"history {column}": estimator.history_[column].to_numpy() for column in estimator.history_}
        arrays["history stage"] = arrays["history stage"].astype(str)
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
        "feature_units": None if model.feature_units_ is None else list(model.feature_units_),
    }
    content, stored = BytesIO(), BytesIO()
    if any(np.asarray(array).dtype.hasobject for array in arrays.values()):
        raise TypeError("a model with arrays of Python objects cannot be saved without pickles")
    np.savez_compressed(stored, **arrays)
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("config.json", json.dumps(config, indent=1, default=lambda value: value.item()))
        file.writestr("arrays.npz", stored.getvalue())
        if is_network(estimator):
            file.writestr("network.keras", _network_bytes(estimator))
    write_atomically(Path(path), content.getvalue())
    return Path(path)


def load_model(path):
    """Read a model that `PairedModel.save` wrote.

    Nothing in the file is executed: there are no pickles, and of the .keras file only the weights are read, into a
    network that the settings describe.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    PairedModel

    Raises
    ------
    FileNotFoundError
    ValueError
        The file is cut short, damaged, is no model, or was written by another major version.
    """
    with _damage_explained(path), zipfile.ZipFile(path) as file:
        config = json.loads(file.read("config.json"))
        content = {name: file.read(name) for name in file.namelist()}
        version, writer = config.get("format_version", [None])[0], config.get("versions", {}).get("sbnn")
    if config.get("format") != _FORMAT or version != FORMAT_VERSION[0]:
        raise ValueError(
            f"{path} has the format {config.get('format')!r}, version {version}; this sbnn reads "
            f"{_FORMAT!r}, version {FORMAT_VERSION[0]}: use the sbnn that wrote it ({writer})"
        )
    with _damage_explained(path), np.load(BytesIO(content["arrays.npz"]), allow_pickle=False) as stored:
        return _rebuild(config, dict(stored), content.get("network.keras"))


@contextmanager
def _damage_explained(path):
    """Say which file cannot be read, and what to do; errors of the operating system stay as they are."""
    damage = zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, AttributeError, IndexError
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*damage, OSError) as error:
        raise ValueError(
            f"{path} is no model of sbnn, or cut short or damaged ({type(error).__name__}: {error}): save it anew, or "
            "copy it again"
        ) from None


def _rebuild(config, arrays, network):
    """Put a PairedModel together again."""
    kind = {"SparseBottleneckRegressor": "estimator", "ReducedRankRegressor": "linear"}[config["estimator"]]
    kind = getattr(importlib.import_module(f"sbnn.{kind}"), config["estimator"])  # Keras only where it is needed
    estimator = kind(**_settings_from_plain(config["settings"]))
    of_estimator = {name.rstrip("_"): arrays[name] for name in _OF_ESTIMATOR}
    if network is None:
        estimator.adopt(ReducedRankFit(arrays["W"], arrays["V"], arrays["offset"]), **of_estimator)
    else:
        columns = {name.removeprefix("history "): arrays[name] for name in arrays if name.startswith("history ")}
        trained = TrainedNetwork(None, **of_estimator, history=pd.DataFrame(columns), feature_r2=None)
        estimator.adopt(trained, np.zeros((0, len(trained.selected)), dtype=np.float32))
        estimator.weights_ = _network_weights(network, estimator.make_network())
        estimator._training_genes = arrays["training_genes_"]
    model = PairedModel(clone(estimator))
    model.estimator_, model.preprocessor_ = estimator, Preprocessor(allow_constant=True)
    for name in _MOMENTS:
        setattr(model.preprocessor_, name, arrays[name])
    for name in _OF_MODEL:
        setattr(model, name, arrays.get(name))
    model.preprocessor_.median_depth_ = config["median_depth"]
    model.gene_names_, model.feature_names_ = arrays["gene_names"], arrays["feature_names"]
    model.outlier_distance_ = config["outlier_distance"]
    model.feature_units_ = None if config["feature_units"] is None else tuple(config["feature_units"])
    return model


def _plain_settings(estimator):
    """Arguments of an estimator as JSON has them."""
    settings = estimator.get_params(deep=False)
    if is_network(estimator) and not isinstance(settings["schedule"], str):
        schedule = get_schedule(settings["schedule"])
        settings["schedule"] = {"name": schedule.name, "stages": [asdict(stage) for stage in schedule]}
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in settings.items()
        if isinstance(value, (int, float, str, bool, tuple, list, dict, np.generic, type(None)))
    }


def _settings_from_plain(settings):
    """Arguments of an estimator from what JSON kept."""
    settings = dict(settings)
    if isinstance(settings.get("schedule"), dict):
        stages = [Stage(**stage) for stage in settings["schedule"]["stages"]]
        settings["schedule"] = Schedule(settings["schedule"]["name"], stages)
    if "hidden" in settings:
        settings["hidden"] = tuple(settings["hidden"])
    return settings


def _network_bytes(estimator):
    """Content of a .keras file of the network, which takes centred genes and gives centred features."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        estimator.make_network(estimator.weights_).save(path)
        return path.read_bytes()


def _network_weights(content, network):
    """Weights in a .keras file, itself a zip with a file of weights, for a network of that shape."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(BytesIO(content)) as file:
            file.extract("model.weights.h5", folder)
        network.load_weights(Path(folder) / "model.weights.h5")
    return network.get_weights()
