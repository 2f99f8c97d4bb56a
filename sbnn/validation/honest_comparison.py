"""The honest comparison: models on the same nested folds, with all genes, with genes of their own, with shared ones."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import KFold

from sbnn._checks import check_choice, check_whole
from sbnn._hints import PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.latent_regressor import is_network
from sbnn.models.schedules import get_schedule
from sbnn.validation.contestants import honest_models, reads_genes
from sbnn.validation.folds import FoldChoice, make_folds
from sbnn.validation.nested import nested_cross_validate
from sbnn.validation.result import CrossValidation

#: Folds of cells, where animals are not known.
N_FOLDS = 10
#: Single networks -> ten of each.
TEN_OF = {"sBNN-2": "sBNN-2, ten networks", "sBNN-64": "sBNN-64, ten networks"}
#: The networks whose genes all models are given.
CHOSEN_BY = TEN_OF["sBNN-2"]
#: Networks that keep all genes.
UNPRUNED = {"sBNN-64, all genes": 1, "sBNN-64, all genes, ten networks": 10}
#: Which genes models read.
GENES = ("any", "own", "shared")
#: What is added to the name of a model that reads the genes of ten networks.
SHARED = ", the networks' genes"


def honest_comparison(
    data: PairedData,
    outer: FoldChoice | None = None,
    genes: Sequence[str] = GENES,
    names: Collection[str] | None = None,
    n_genes: int = 25,
    inner: int = 5,
    rule: str = "one_standard_error",
    solver: str = "sklearn",
    shorten: float = 1.0,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    random_state: int = 42,
    progress: bool = True,
) -> CrossValidation:
    """Score class means, linear models, trees, kernels and networks on the same folds, settings chosen inside.

    In each outer fold settings are chosen by `rule` on inner folds of its training cells, and everything is fitted on
    these (`sbnn.nested_cross_validate`, with the models of
    `sbnn.validation.contestants.honest_models`).

    Parameters
    ----------
    data : PairedData
    outer : "donor", "paper", splitter, or list of (train, test), optional
        Outer folds, see `sbnn.validation.folds.make_folds`; by default ten of animals, or of cells if animals are not
        known.
    genes : sequence of {"any", "own", "shared"}
        "any": models read all genes, or as many as they choose; class means are among them.
        "own": each model reads the `n_genes` genes that it selects on the training cells; ", 25 genes" is added to its
        name.
        "shared": all models read the genes of the networks named `CHOSEN_BY`, as "own" found them on the training cells
        of each outer fold; ", the networks' genes" is added to their names. Inner folds then see genes that were
        selected with their test cells, which the choice of a setting may suffer from; scores do not.
    names : collection of str, optional
        Models to score, as `honest_models` names them, or of `UNPRUNED`; all if None.
    n_genes : int
        Of "own" and "shared".
    inner : int
        Inner folds.
    rule : {"one_standard_error", "best"}
        How settings are chosen on them. A store has the fits of both: the second rule fits only what the first did not
        choose.
    solver, shorten
        See `honest_models`.
    store, progress
        See `sbnn.cross_validate`.
    n_jobs : int, optional
        See `sbnn.cross_validate`. None: networks where they are trained fastest, all other models in as many processes
        as there are cores.
    random_state : int
        Seed of inner folds, and of outer folds of cells.

    Returns
    -------
    CrossValidation
        Without fitted models, curves, norms of genes and latents of more than three dimensions. Ten networks have, in
        each fold, the penalty and the number of genes that the single network of as many dimensions chose: to choose
        anew would take ten times as long. Networks that keep all genes have no choice.

    Raises
    ------
    ValueError
        Unknown genes or names, "shared" without "own", no model to score, or as `nested_cross_validate`.
    """
    check_paired(data)
    for one in genes:
        check_choice(one, GENES, "genes")
    if "shared" in genes and "own" not in genes:
        raise ValueError('genes has "shared", the genes that networks select in "own": ask for "own" as well')
    check_whole(n_genes, "n_genes")
    if "own" in genes and n_genes > data.n_genes:
        raise ValueError(f"n_genes must be between 1 and the {data.n_genes} genes of the data, got {n_genes}")
    settings: dict[str, Any] = {"solver": solver, "shorten": shorten}
    models = honest_models(data, **settings)
    if names is not None:
        names = _known_names(names, [*models, *UNPRUNED])
    choosing = {"inner": inner, "rule": rule, "random_state": random_state}
    running = {**choosing, "store": store, "n_jobs": n_jobs, "progress": progress}
    folds = _outer_folds(data, outer, random_state)
    results = []
    if "any" in genes:
        asked = {*models, *UNPRUNED} if names is None else set(names)
        singles = {name: models[name] for name in models if name not in TEN_OF.values()}
        needed = {name for name, ten in TEN_OF.items() if ten in asked}
        results.append(_score(data, folds, singles, asked | needed, running))
        tens = _ten_networks(results[0], data, settings) if results[0] else []
        results.append(_score(data, folds, tens, asked, running))
        results.append(_score(data, folds, _unpruned(shorten), asked, running))
    if "own" in genes:
        models = honest_models(data, n_genes=n_genes, **settings)
        asked = set(models) if names is None else {*names, *({CHOSEN_BY} if "shared" in genes else ())}
        ending = f", {n_genes} genes"
        results.append(_score(data, folds, models, asked, running, ending))
        if "shared" in genes:
            by_fold = _genes_of_fold(results[-1], f"{CHOSEN_BY}{ending}")
            given = [_reading_genes(honest_models(data, genes=chosen, **settings)) for chosen in by_fold]
            results.append(_score(data, folds, given, given[0] if names is None else names, running, SHARED))
    found = [result for result in results if result is not None]
    if not found:
        raise ValueError(f"no model to score: none of names={names!r} can be had with genes={tuple(genes)!r}")
    joined = found[0]
    for other in found[1:]:
        joined = joined.join(other)
    return replace(joined, estimators=[])


def split_name(name: str) -> tuple[str, str]:
    """Return the name of a model without its genes, and which genes it reads, as text for tables and figures.

    Parameters
    ----------
    name : str
        As `honest_comparison` gives it: "ridge", "ridge, 25 genes", "ridge, the networks' genes".

    Returns
    -------
    tuple of str
        ("ridge", "all genes, or as many as it chooses"), ("ridge", "25 genes, its own"), and so on.
    """
    if name.endswith(SHARED):
        return name.removesuffix(SHARED), "the genes of ten networks"
    model, _, ending = name.rpartition(", ")
    number, _, word = ending.partition(" ")
    if model and word == "genes" and number.isdigit():
        return model, f"{number} genes, its own"
    return name, "all genes, or as many as it chooses"


def _outer_folds(data, outer, random_state):
    """Outer folds, by default of animals, or of cells if animals are not known."""
    if outer is None:
        outer = KFold(N_FOLDS, shuffle=True, random_state=random_state) if data.donors is None else "donor"
    return make_folds(data, outer)


def _known_names(names, known):
    """Return the names as a list; ValueError if one is unknown."""
    if isinstance(names, str):
        raise ValueError(f"names must be a list of names of models, got the text {names!r}")
    asked = list(dict.fromkeys(names))
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(f"names has {unknown[0]!r}: with these data there are {', '.join(map(repr, known))}")
    return asked


def _score(data, folds, models, names, running, ending=""):
    """Nested cross-validation of the models that are asked for, all or those of each fold; None if there are none."""
    found = None
    for networks in (False, True):
        by_fold = [
            {
                f"{name}{ending}": candidates
                for name, candidates in own.items()
                if name in names
                and networks == is_network(candidates[0] if isinstance(candidates, list) else candidates)
            }
            for own in (models if isinstance(models, list) else [models])
        ]
        if by_fold and by_fold[0]:
            n_jobs = -1 if running["n_jobs"] is None and not networks else running["n_jobs"]
            asked = by_fold if len(by_fold) > 1 else by_fold[0]
            scored = _without_large(nested_cross_validate(data, asked, folds, **{**running, "n_jobs": n_jobs}))
            found = scored if found is None else found.join(scored)
    return found


def _first(candidates):
    """First of several settings of a model, or its only one."""
    return candidates[0] if isinstance(candidates, list) else candidates


def _without_large(result):
    """Leave out fitted models, curves, norms of genes, and latents that cannot be drawn, as soon as possible."""
    latents = result.latents
    deep = _deep(latents)
    if deep:
        latents = latents[latents[deep].isna().all(axis=1)].drop(columns=deep).reset_index(drop=True)
    return replace(result, estimators=[], curves=pd.DataFrame(), gene_norms=pd.DataFrame(), latents=latents)


def _deep(latents):
    """Columns of coordinates beyond the third."""
    return [column for column in latents if column[:1] == "z" and column[1:].isdigit() and int(column[1:]) > 3]


def _ten_networks(result, data, settings):
    """For each outer fold, ten networks with the settings that a single network chose there."""
    chosen = result.choices.set_index(["model", "fold"])["candidate"]
    pairs = {single: ten for single, ten in TEN_OF.items() if single in chosen.index}
    candidates = {name: honest_models(data, names=[name], **settings)[name] for pair in pairs.items() for name in pair}
    by_fold = []
    for fold in range(len(result.folds)):
        own = {}
        for single, ten in pairs.items():
            choice = candidates[single][chosen[single, fold]]
            kept: dict[str, Any] = {name: getattr(choice, name) for name in ("n_selected", "group_lasso")}
            own[ten] = clone(candidates[ten][0]).set_params(**kept)
        by_fold.append(own)
    return by_fold


def _unpruned(shorten):
    """Networks that keep all genes."""
    from sbnn.models.bottleneck import SparseBottleneckRegressor  # here, so that other models do not need Keras

    schedule = get_schedule("wide") if shorten == 1 else get_schedule("wide").shortened(shorten)
    settings: dict[str, Any] = {"bottleneck_dim": 64, "group_lasso": 0.03, "n_selected": None, "random_state": 0}
    return {
        name: SparseBottleneckRegressor(**settings, schedule=schedule, n_networks=n_networks)
        for name, n_networks in UNPRUNED.items()
    }


def _genes_of_fold(result, model):
    """Genes that a model selected in each fold."""
    selected = result.selected[result.selected["model"] == model]
    return [selected.loc[selected["fold"] == fold, "gene"].tolist() for fold in range(len(result.folds))]


def _reading_genes(models):
    """Models that read genes: all but the means of classes."""
    return {name: candidates for name, candidates in models.items() if reads_genes(_first(candidates))}
