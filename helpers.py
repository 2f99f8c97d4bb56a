"""Functions shared by the notebooks: paths, parameters from the environment, plotting style, saved figures."""

import ast
import os
import shutil
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sklearn.base import BaseEstimator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd

from sbnn import (
    CrossValidation,
    PairedData,
    cross_validate,
    find_author_results,
    load_dataset,
    load_results,
    read_author_results,
    save_results,
)
from sbnn.figures.style import show_whole_figures, use_style
from sbnn.storage.author_results import paper_penalty
from sbnn.storage.writing import all_or_nothing
from sbnn.validation.comparison import figure_curves, linear_references
from sbnn.validation.completion import complete, identify, list_saved, other_data, other_folds
from sbnn.validation.protocol import FoldProtocol
from sbnn.validation.provenance import Models, Runs, Settings, describe_models, list_differences, list_runs
from sbnn.validation.tables import TABLES, table_of_cells  # noqa: F401 - for the notebooks
from sbnn.validation.workers import start_backend  # noqa: F401 - notebooks begin with it

HERE = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("SBNN_OUTPUT", HERE)).resolve()
RESULTS = ROOT / "KerasSavedModels"
FIGURES = ROOT / "figures"
#: Results of parameters other than those of the committed results; git ignores it, and it can be deleted at any time.
TRIALS = ROOT / "trials"

use_style()
show_whole_figures()
pd.set_option("display.max_rows", 40, "display.width", 120)


def parameter(name: str, default: Any) -> Any:
    """Return a notebook's parameter: the environment variable of that name, else the default.

    Parameters
    ----------
    name : str
        Name of the parameter and of the environment variable, whose text is read as a Python value.
    default : object
        The value in the notebook.

    Raises
    ------
    ValueError
        The default is True, False or a number, and the text is not.
    """
    if name not in os.environ:
        return default
    text = os.environ[name]
    if isinstance(default, bool):
        if text.strip().lower() not in RawConfigParser.BOOLEAN_STATES:
            raise ValueError(f"{name} must be true or false, got {text!r}: set the environment variable to one of them")
        return RawConfigParser.BOOLEAN_STATES[text.strip().lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, (int, float)) and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return value


@lru_cache(maxsize=2)
def load(dataset: str) -> PairedData:
    """Load a data set once per session (see `sbnn.load_dataset`); data/ is that of the repository, not of examples/."""
    with chdir(HERE):
        return load_dataset(dataset)


def available_dataset(default: str) -> str:
    """Return $DATASET, else the default if its files are available, else "simulated"; print why if not the default.

    Parameters
    ----------
    default : str
        Name of a data set.
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


def load_if_available(dataset: str | None) -> PairedData | None:
    """Load a data set; if it is not available, print why and return None (also if `dataset` is None)."""
    try:
        return None if dataset is None else load(dataset)
    except FileNotFoundError as error:
        print(f"{dataset} CANNOT BE LOADED and is left out: {error}")
        return None


def result_path(dataset: str, what: str, trial: bool = False) -> Path:
    """Return the path of a result, KerasSavedModels/<dataset>/<what>.pickle, or that of a trial, below trials/."""
    return (TRIALS / "KerasSavedModels" if trial else RESULTS) / dataset / f"{what}.pickle"


def store_path(dataset: str, what: str, trial: bool = False) -> Path:
    """Return the folder of finished fits: that of trials, which is kept, or that of a run, until `finish` removes it.

    Results whose names have the same beginning ("sbnn_cv", "sbnn_seeds") share one.
    """
    return (TRIALS / "store" if trial else ROOT / "build/unfinished") / dataset / what.split("_")[0]


def finish(dataset: str, *groups: str) -> None:
    """Remove the finished fits of runs whose results are all on disk, for example of all that begin with "sbnn"."""
    for group in groups:
        shutil.rmtree(store_path(dataset, group), ignore_errors=True)


@dataclass(frozen=True)
class Result:
    """Where a result is or is going to be, and whether it has to be computed.

    Attributes
    ----------
    path : Path
    missing : bool
        It has to be computed.
    trial : bool
        It has settings that differ from those of the committed result, and is in trials/.
    settings : dict or list of dict
        The requested settings; `save` records them.
    store : Path
        For finished fits.
    """

    path: Path
    missing: bool
    trial: bool
    settings: Settings
    store: Path

    def save(self, tables: Mapping[str, pd.DataFrame], data: PairedData, **notes: Any) -> None:
        """Save tables (name -> DataFrame) with the settings, the names of the data, and notes."""
        about = {"dataset": data.name, "fingerprint": data.fingerprint, "settings": self.settings}
        save_results(self.path, tables, **about, **identify(data), **notes)


def find_result(
    dataset: str, what: str, settings: Settings, data: PairedData, retrain: bool = False, also: Sequence[str] = ()
) -> Result:
    """Determine where a result is: on disk, among the trials, or still to be computed.

    Parameters
    ----------
    dataset, what : str
    settings : dict or list of dict
        All that the result depends on besides the data, as plain values; lists may come from `describe_models` of
        `sbnn.validation.provenance`.
    data : PairedData
    retrain : bool
        Recompute it and replace the committed one.
    also : sequence of str
        Suffixes of other files that belong to it (".keras").

    Returns
    -------
    Result
    """
    paths = {trial: result_path(dataset, what, trial) for trial in (False, True)}

    def result(trial, missing):
        _trials[dataset, what] = trial
        return Result(paths[trial], missing, trial, settings, store_path(dataset, what, trial))

    if retrain or not paths[False].exists():
        return result(False, missing=True)
    for trial, path in paths.items():
        saved = load_results(path) if path.exists() else {}
        differences = other_data(saved, data) or list_differences(saved.get("settings", {}), settings)
        if not trial:
            of_committed = differences
        if not differences:
            if not trial:
                _forget_trial(dataset, what, also)
            missing = not all(one.exists() for one in _beside(path, also))
            if not missing:
                _say_loaded(path, saved)
            return result(trial, missing)
    _say_trial(paths[False], of_committed)
    return result(True, missing=True)


def cross_validated(
    dataset: str,
    what: str,
    data: PairedData,
    models: Models,
    retrain: bool = False,
    tables: Sequence[str] = TABLES,
    latents_of: Runs = (),
    **settings: Any,
) -> dict[str, Any]:
    """Return the tables of a cross-validation: loaded from disk if available, else computed.

    If the requested models differ from those on disk, the committed file stays: the rows of models that are in both
    are taken from it, the missing models are fitted, and the result goes to trials/.

    Parameters
    ----------
    dataset, what : str
        Data set and name of the file.
    data : PairedData
    models : dict
        As for `sbnn.cross_validate`.
    retrain : bool
        Recompute all of it and replace the committed one.
    tables : sequence of str
        Tables to save.
    latents_of : list of (name, estimator)
        Models whose coordinates in every fold are saved as well.
    **settings
        `folds`, `n_jobs`, `within_fold`, `n_variable_genes`, `detection_threshold` of `sbnn.cross_validate`.

    Returns
    -------
    dict
        As from `sbnn.load_results`, with the rows of the requested models in their order; in addition `path`, and
        `computed`, whether anything was computed.
    """
    asked = describe_models(list_runs(models), data.n_features)
    path, saved, other = result_path(dataset, what), None, []
    if path.exists() and not retrain:
        saved = load_results(path)
        names = ("folds", *FoldProtocol._fields)
        protocol = {name: settings[name] for name in names if name in settings}
        other = other_data(saved, data) or other_folds(saved, data, **protocol)
        whole = not other and list_saved(saved, asked, tables, describe_models(latents_of, data.n_features))
        if whole and all(whole) and len(saved["models"]) == len(asked):
            _trials[dataset, what] = False
            _forget_trial(dataset, what, [".sbnn"])
            _say_loaded(path, saved)
            result = CrossValidation.from_results(saved).select(asked).tables
            return {
                **saved,
                **{name: result[name] for name in result if name in saved},
                "path": path,
                "computed": False,
            }
        differences = other or list_differences(saved.get("models", {}), asked)
        _say_trial(path, differences or ["other tables, or coordinates of other models, are requested"])
    trial = _trials[dataset, what] = saved is not None
    store = store_path(dataset, what, trial)
    done = complete(None if other else saved, data, models, tables, latents_of, store, **settings)
    sources = {f"taken from {_shown(path)}": done.n_saved, f"taken from {_shown(store)}": done.n_stored}
    sources = {where: number for where, number in sources.items() if number} | {"computed": done.n_fitted}
    print(f"{what}, fits of a model in a fold: {', '.join(f'{number} {where}' for where, number in sources.items())}")
    path = result_path(dataset, what, trial)
    saved_tables = [*tables, "latents"] if latents_of else list(tables)
    save_results(path, done.result, tables=saved_tables, **identify(data))
    return {**load_results(path), "path": path, "computed": True}


def fit_all_cells(
    result: Result, data: PairedData, models: Mapping[str, BaseEstimator], n_jobs: int | None = None
) -> dict[str, BaseEstimator]:
    """Return models fitted on all cells, by name; those fitted earlier in the run or in a trial are reused.

    Parameters
    ----------
    result : Result
        The result that they are fitted for.
    data : PairedData
    models : dict
        Name -> estimator.
    n_jobs : int, optional

    Returns
    -------
    dict
        Name -> fitted estimator.
    """
    fitted = cross_validate(data, models, folds="all", store=result.store, keep=[], n_jobs=n_jobs).estimators
    return dict(zip(models, fitted, strict=True))


def load_result(dataset: str, what: str, trial: bool = False) -> dict[str, Any]:
    """Load a result (a dict): the committed one, or with `trial` that of the last trial, if there is one."""
    path = result_path(dataset, what, trial)
    _trials[dataset, what] = trial and path.exists()
    if _trials[dataset, what]:
        print(f"A TRIAL: {_shown(path)}")
    return load_results(path if _trials[dataset, what] else result_path(dataset, what))


#: (data set, result) -> whether it is a trial, for the results last used in this session.
_trials: dict[tuple[str, str], bool] = {}


def _beside(path, ends):
    """Files that belong to a result."""
    return [path.with_name(end) if not end.startswith(".") else path.with_suffix(end) for end in ends]


def _say_loaded(path, saved):
    """Print that a result is available."""
    print(f"Loaded {_shown(path)} (commit {saved['commit']}), made with exactly these settings.")


def _forget_trial(dataset, what, also):
    """Remove the trial of a result if the committed one is requested: notebook 4 must not draw the trial."""
    path = result_path(dataset, what, trial=True)
    for file in (path, *_beside(path, also)):
        file.unlink(missing_ok=True)


def _say_trial(path, differences):
    """Print why a committed result is not the requested one, and where the new result goes."""
    print(f"A TRIAL, because {_shown(path)} was made with other settings:")
    print("".join(f"  {line}\n" for line in differences), end="")
    print("It is not changed: results and figures go to trials/. RETRAIN = True would replace it.")


def save_figure(figure: Figure, name: str) -> None:
    """Save a figure as figures/<name>.png (300 dpi) and .pdf, the same bytes for the same figure.

    If a result of this session is that of a trial, it goes to trials/figures/.

    Parameters
    ----------
    figure : Figure
    name : str
        With the data set as folder, e.g. "scala_2020/curves".
    """
    path = (TRIALS / "figures" if any(_trials.values()) else FIGURES) / name
    for ending, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None, "Producer": None})):
        with all_or_nothing(path.with_name(path.name + ending)) as temporary:
            figure.savefig(temporary, dpi=300, metadata=metadata, format=ending[1:])
    print(f"saved {_shown(path)}.png and .pdf")


@lru_cache(maxsize=1)
def author_results(datasets: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Read the authors' tables of several data sets; if their files are not available, print why and return none.

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
        print(f"THE AUTHORS' RESULTS CANNOT BE READ, their figures are not changed: {error}")
        return {}


def computed_curves(dataset: str) -> dict[str, Any] | None:
    """Return the curves of figures 1 and 2 computed here for a data set; None if they are not on disk."""
    paths = [result_path(dataset, what) for what in ("sbnn_cv", "linear_cv", "linear_latent")]
    if not all(path.exists() for path in paths):
        return None
    network, linear, latent = (load_results(path) for path in paths)
    chosen = {name: latent["chosen_alpha"][name] for name in ("sRRR-2", "sRRR-full")}
    references = linear_references(linear["scores"], chosen)
    return figure_curves(network["curves"], paper_penalty(dataset), references)


def _shown(path):
    """Path relative to the repository, so that notebooks do not contain paths of a particular machine."""
    return path.relative_to(ROOT)
