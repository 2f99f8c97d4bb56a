"""The authors' public results: from pickles read by position to tidy tables as in this repository."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sbnn._checks import check_choice, preview
from sbnn._hints import PathLike
from sbnn.data.sources import FILES, find_file
from sbnn.storage.results import read_plain_pickle

#: Data set -> folder of the authors' pickles.
AUTHOR_FOLDERS = {
    "scala_2020": "scala_2020_tf2",
    "scala_2020_ion_channels": "scala_2020_with_ion_channel_genes_tf2",
    "gouwens_2020": "gouwens_2020_tf2",
    "stoeckius_2017": "stoeckius_2017_tf2",
}
GROUP_LASSO = (1e-4, 1e-2, 1e-1, 1.0)
#: First alpha of their linear models; the grid continues in steps of 0.1.
FIRST_ALPHA = {"gouwens_2020": 0.5}
#: How their curves differ from ours.
CURVE_NOTE = "their curves: mean R² of test batches of 32 cells"

#: Part of the file name -> schedule, and (stage, last epoch) in the order of the entries.
_SCHEDULES = {
    "pre_tr_and_freeze_unfreeze": ("paper", (("frozen", 50), ("finetuned", 100), ("pruned", 200))),
    "pre_tr_and_straight_regr": ("paper_no_frozen", (("finetuned", 100), ("pruned", 200))),
    "straight_regr": ("paper_no_pretraining", (("finetuned", 100), ("pruned", 200))),
}
#: Files that belong to no experiment of the paper.
_IGNORED = ("Bottleneck_r2_straight_regr_lasso_tf2.pickle",)
_WIDE = r"(?P<wide>_nb|_no_bottleneck)?\.pickle"  # files of networks with 64 bottleneck units
_N_EPOCHS = 200


def paper_penalty(dataset: str) -> float:
    """Return the group-lasso penalty that the paper uses for a data set where it shows only one."""
    return 1e-2 if dataset == "stoeckius_2017" else 1e-1


def find_author_results(dataset: str, data_dir: PathLike | None = None) -> Path:
    """Return the folder of the authors' pickles for a data set, downloading and verifying them if missing.

    Parameters
    ----------
    dataset : {"scala_2020", "scala_2020_ion_channels", "gouwens_2020", "stoeckius_2017"}
    data_dir : path-like, optional
        Files are looked for in its folder reference/; if None, in $SBNN_REFERENCE, else in reference/ of the data
        folder.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        No results of the authors for that data set; or a file that is not the published one.
    FileNotFoundError
        A file is missing and cannot be downloaded, or the files are in several folders.
    """
    folder = AUTHOR_FOLDERS[check_choice(dataset, AUTHOR_FOLDERS, "dataset of the authors' results")]
    names = [name for name in FILES if name.startswith(f"reference/{folder}/")]
    folders = sorted({find_file(name, data_dir).parent for name in names})
    if len(folders) > 1:
        raise FileNotFoundError(
            f"the files of {folder} are in several folders, put them all into one: {', '.join(map(str, folders))}"
        )
    return folders[0]


def read_author_results(folder: PathLike) -> dict[str, Any]:
    """Read the authors' pickles of one data set into tables like those of `CrossValidation`.

    Nothing in the pickles is executed. Their R2 differs from ours in two respects. `r2_test`, the end of their curves,
    is the mean over shuffled batches of 32 test cells of an R2 around one scalar mean: about 0.003 below the pooled R2
    in motor cortex, not comparable in CITE-seq. `r2_test_best_epoch`, the number they stored, is pooled R2 at the best
    epoch on the test cells.

    Parameters
    ----------
    folder : path-like
        One of the folders named in AUTHOR_FOLDERS; see `find_author_results`.

    Returns
    -------
    dict
        `dataset`, and DataFrames: `scores` (`model`, `bottleneck_dim`, `schedule`, `group_lasso`, `fold`, `stage`,
        `n_selected`, `r2_train`, `r2_test`, `r2_test_best_epoch`, and for linear models `rank`, `alpha`, `l1_ratio`,
        `relaxed`); `curves` (`stage`, `epoch`, `r2_train`, `r2_test`); `pretraining` (`epoch`, cross-entropy on
        training and held-out cells); `feature_scores` (`feature`, `r2_test`, `r2_test_sd` over folds, best test
        epoch) and `gene_frequencies` (`n_networks`, `n_genes`), empty where they published none.

    Raises
    ------
    FileNotFoundError
        No such folder, or one of the authors' files is not in it.
    ValueError
        Unknown folder name; a file is truncated, has another layout, or names anything but plain values.

    References
    ----------
    berenslab/sBNN, KerasSavedModels; arXiv 2006.10411.
    """
    folder = Path(folder)
    datasets = {name: dataset for dataset, name in AUTHOR_FOLDERS.items()}
    dataset = datasets[check_choice(folder.name, datasets, "folder of the authors' results")]
    published = [Path(name).name for name in FILES if name.startswith(f"reference/{folder.name}/")]
    missing = [name for name in published if name not in _IGNORED and not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {preview(missing)}: get them by sbnn.find_author_results({dataset!r})")
    parts: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("scores", "curves", "pretraining", "feature_scores", "gene_frequencies")
    }
    for path in sorted(folder / name for name in published if name not in _IGNORED):
        for name, table in _read_file(path, dataset).items():
            parts[name].append(table)
    tables = {name: pd.concat(found, ignore_index=True) if found else pd.DataFrame() for name, found in parts.items()}
    return {"dataset": dataset, **tables}


def _read_file(path, dataset):
    """Return the tables of one file; none if it belongs to no experiment."""
    if match := re.fullmatch(r"Bottleneck_r2_(?P<schedule>\w+?)_lasso" + _WIDE, path.name):
        return _read_training(path, dataset, match["schedule"], _network_keys(match["wide"]))
    if match := re.fullmatch(r"Bottleneck_pre_tr_lasso" + _WIDE, path.name):
        return _read_pretraining(path, dataset, _network_keys(match["wide"]))
    if match := re.fullmatch(r"sRRR_vs_Bottleneck_rank(?P<rank>\d+)_CV_lasso\.pickle", path.name):
        return _read_linear(path, dataset, int(match["rank"]))
    if match := re.fullmatch(r"ind_feature_scores" + _WIDE, path.name):
        means, deviations = (pd.Series(_plain_dict(path, entry), dtype=float) for entry in _entries(path, 2))
        table = pd.DataFrame({"r2_test": means, "r2_test_sd": deviations}).rename_axis("feature").reset_index()
        return {"feature_scores": table.assign(**_network_keys(match["wide"]))}
    if match := re.fullmatch(r"for_hist" + _WIDE, path.name):
        number = _plain_dict(path, read_plain_pickle(path))
        table = pd.DataFrame({"n_networks": list(number), "n_genes": list(number.values())})
        return {"gene_frequencies": table.assign(**_network_keys(match["wide"]))}
    return {}


def _network_keys(wide):
    """Columns that name a network."""
    dimension = 64 if wide else 2
    return {"model": f"sBNN-{dimension}", "bottleneck_dim": dimension}


def _entries(path, number):
    """Read a pickled list and count its entries."""
    content = read_plain_pickle(path)
    if not isinstance(content, (list, tuple)) or len(content) != number:
        found = f"{len(content)}" if isinstance(content, (list, tuple)) else type(content).__name__
        raise ValueError(f"{path} should hold a list of {number} entries, it holds {found}")
    return content


def _plain_dict(path, entry):
    """Check that an entry is a dict."""
    if not isinstance(entry, dict):
        raise ValueError(f"{path} should hold a dict, it holds {type(entry).__name__}")
    return entry


def _arrays(path, number, n_dimensions):
    """Read a pickled list of float arrays, folds x penalties x ..., and check their shapes."""
    try:
        arrays = [np.asarray(entry, dtype=float) for entry in _entries(path, number)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} should hold arrays of numbers: {error}") from None
    shape = arrays[0].shape[:2]
    for index, (array, expected) in enumerate(zip(arrays, n_dimensions, strict=True)):
        if array.ndim != expected or array.shape[:2] != shape:
            raise ValueError(
                f"{path}: entry {index} should have {expected} dimensions, the first two {shape}, it has shape "
                f"{array.shape}"
            )
    return arrays


def _penalties(path, number, dataset):
    """Penalties of a file: the grid, or the one of the ablations."""
    if number == len(GROUP_LASSO):
        return GROUP_LASSO
    if number == 1:
        return (paper_penalty(dataset),)
    raise ValueError(f"{path} should hold {len(GROUP_LASSO)} penalties or one, it holds {number}")


def _read_training(path, dataset, kind, keys):
    """Scores and curves of networks."""
    schedule, stages = _SCHEDULES[check_choice(kind, _SCHEDULES, f"kind of training in the name of {path}")]
    n_scalars = 2 * len(stages)
    arrays = _arrays(path, n_scalars + 2, [3] * n_scalars + [4, 4])
    best, (test_curve, train_curve) = arrays[:n_scalars], arrays[n_scalars:]
    n_folds, n_penalties = best[0].shape[:2]
    if test_curve.shape != (n_folds, n_penalties, 1, _N_EPOCHS):
        raise ValueError(f"{path}: curves should have {_N_EPOCHS} epochs, they have shape {test_curve.shape}")
    epochs = np.arange(1, _N_EPOCHS + 1)
    names, ends = [stage for stage, _ in stages], [end for _, end in stages]
    stage_of_epoch = np.array(names)[np.searchsorted(ends, epochs)]
    scores, curves = [], []
    for fold, number in np.ndindex(n_folds, n_penalties):
        penalty = _penalties(path, n_penalties, dataset)[number]
        run = {**keys, "schedule": schedule, "group_lasso": penalty, "fold": fold}
        test, train = test_curve[fold, number, 0], train_curve[fold, number, 0]
        curves.append(
            pd.DataFrame({**run, "stage": stage_of_epoch, "epoch": epochs, "r2_train": train, "r2_test": test})
        )
        scores += [
            {
                **run,
                "stage": stage,
                "n_selected": 25 if stage == "pruned" else np.nan,
                "r2_train": train[end - 1],
                "r2_test": test[end - 1],
                "r2_test_best_epoch": best[2 * index][fold, number, 0],
            }
            for index, (stage, end) in enumerate(stages)
        ]
    return {"scores": pd.DataFrame(scores), "curves": pd.concat(curves)}


def _read_pretraining(path, dataset, keys):
    """Cross-entropy while the network learns the clusters; the stored losses include the penalty and are left out."""
    *_, held_out, train = _arrays(path, 4, [3, 3, 4, 4])
    epochs = np.arange(1, held_out.shape[-1] + 1)
    columns = ("loss_train", "loss_held_out")
    tables = [
        pd.DataFrame({**keys, "group_lasso": penalty, "fold": fold, "epoch": epochs})
        .assign(**dict(zip(columns, (train[fold, number, 0], held_out[fold, number, 0]), strict=True)))
        for fold in range(len(train))
        for number, penalty in enumerate(_penalties(path, train.shape[1], dataset))
    ]  # fmt: skip
    return {"pretraining": pd.concat(tables)}


def _read_linear(path, dataset, rank):
    """Scores of sparse reduced-rank regression, sparse and relaxed; NaN if fewer genes than the rank are selected."""
    test, relaxed_test, train, relaxed_train, n_genes, *_ = _arrays(path, 7, [3] * 5 + [4, 4])
    alphas = np.round(FIRST_ALPHA.get(dataset, 0.1) + 0.1 * np.arange(test.shape[-1]), 1)
    tables = []
    for fold in range(len(test)):
        selected = n_genes[fold, 0]
        for relaxed, of_test, of_train in ((False, test, train), (True, relaxed_test, relaxed_train)):
            tables.append(
                pd.DataFrame(
                    {
                        "model": "sRRR-2" if rank == 2 else "sRRR-full",
                        "rank": rank,
                        "alpha": alphas,
                        "l1_ratio": 1.0,
                        "relaxed": relaxed,
                        "fold": fold,
                        "stage": "fitted",
                        "n_selected": selected,
                        "r2_train": np.where(np.isnan(selected), np.nan, of_train[fold, 0]),
                        "r2_test": np.where(np.isnan(selected), np.nan, of_test[fold, 0]),
                    }
                )
            )
    return {"scores": pd.concat(tables)}
