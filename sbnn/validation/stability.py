"""Stability of a selection: which genes, and which map, a model finds again with other seeds or other animals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm
from sklearn.base import clone

from sbnn._checks import check_choice, check_coverage, check_whole, preview, unmasked
from sbnn._hints import Labels, PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.latent_regressor import is_network
from sbnn.models.reduced_rank import ReducedRankRegressor
from sbnn.models.schedules import get_schedule
from sbnn.validation.bootstrap import donor_bootstraps
from sbnn.validation.comparison import agreement_of_maps
from sbnn.validation.cross_validation import checked_models, fit_on_folds
from sbnn.validation.folds import make_folds
from sbnn.validation.provenance import Models, Runs
from sbnn.validation.result import CrossValidation

#: What may change from run to run.
RESAMPLES = ("seed", "donor")
#: A gene is frequent if it is selected in at least this share of the runs.
FREQUENT = 0.8
#: Neighbours of a cell that two maps should share.
N_NEIGHBOURS = 30


class NogueiraIndex(NamedTuple):
    """Stability of a selection, and the limits of its interval."""

    value: float
    low: float
    high: float


@dataclass(repr=False)
class GeneStability:
    """Which genes and which maps models find again from run to run.

    Attributes
    ----------
    resample : {"seed", "donor"}
        What changes from run to run.
    n_runs : int
    selected : DataFrame
        `model`, `run` (from 0), `gene`: the genes of each run.
    frequencies : DataFrame
        `model`, `gene`, `frequency`: the share of runs that select a gene; the most frequent genes come first, and
        genes that no run selects are left out.
    index : DataFrame
        One row per model: `n_genes` (mean over runs) and `n_genes_sd`; `nogueira` with its 95 % interval `low`, `high`
        (`nogueira_index`); `in_all_runs` and `in_80_percent`, numbers of genes that all runs, and at least 80 % of
        them, select; `share_in_80_percent`, the share of all selections, run by run, that fall on the latter genes.
    maps : DataFrame
        One row per model whose map has two or more dimensions: `n_dims`; `procrustes_r2` and `procrustes_r2_min`, mean
        and minimum over pairs of runs; `common_neighbours`, the mean share of the 30 nearest neighbours of a cell that
        two runs have in common. NaN if a run selects no gene, which puts all cells at one place.
    pairs : DataFrame
        `model`, `first`, `second` (runs), `procrustes_r2`, `common_neighbours`: what `maps` sums up.
    correlations : DataFrame
        Gene x gene, Pearson correlation of expression (`data.X`) over all cells, of the genes in `frequencies`.
    """

    resample: str
    n_runs: int
    selected: pd.DataFrame
    frequencies: pd.DataFrame
    index: pd.DataFrame
    maps: pd.DataFrame
    pairs: pd.DataFrame
    correlations: pd.DataFrame

    def __repr__(self) -> str:
        """Give the index of each model."""
        lines = [f"GeneStability: {self.n_runs} runs, each with another {self.resample}; Nogueira index (95 %)"]
        lines += [
            f"  {row.model}: {row.nogueira:.2f} ({row.low:.2f} to {row.high:.2f}), {row.in_all_runs} of "
            f"{row.n_genes:.3g} genes in all runs"
            for row in self.index.itertuples()
        ]
        return "\n".join(lines)

    def substitutes(self, model: str, n: int = 3) -> pd.DataFrame:
        """Return which genes stand in for a gene in the runs that do not select it.

        Looked at are the genes that at least half of the runs select, but not all. The gain of another gene is the
        share of runs that select it among those without the gene, minus that among those with it. With few runs
        without the gene (see `frequency`) gains are rough. A high correlation of expression says that a substitute
        carries much the same information.

        Parameters
        ----------
        model : str
        n : int
            Substitutes of each gene at most; only genes with a positive gain are listed.

        Returns
        -------
        DataFrame
            `gene`, `frequency` (of the gene), `substitute`, `gain`, `correlation` (over cells); frequent genes and
            large gains come first, and among equal gains the larger absolute correlations.

        Raises
        ------
        ValueError
            Unknown model, n less than 1.
        """
        check_choice(model, list(self.index["model"]), "model")
        check_whole(n, "n")
        genes = self.frequencies.loc[self.frequencies["model"] == model, "gene"].to_numpy()
        chosen = _selection(self.selected[self.selected["model"] == model], self.n_runs, genes)
        correlations = self.correlations.loc[genes, genes].to_numpy()
        parts = []
        for place, gene in enumerate(genes):
            present = chosen[:, place]
            if present.all() or present.mean() < 0.5:
                continue
            gain = (chosen[~present].mean(axis=0) - chosen[present].mean(axis=0)).round(9)  # the gene itself loses
            order = np.lexsort((-np.abs(correlations[place]), -gain))[:n]
            order = order[gain[order] > 0]
            about = {"gene": gene, "frequency": present.mean(), "substitute": genes[order], "gain": gain[order]}
            parts.append(pd.DataFrame({**about, "correlation": correlations[place, order]}))
        columns = ["gene", "frequency", "substitute", "gain", "correlation"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def nogueira_index(selected: npt.ArrayLike, level: float = 0.95) -> NogueiraIndex:
    r"""Return how stable a selection of genes is over runs, whatever the number of genes in each.

    .. math:: \hat\Phi = 1 - \frac{\frac{1}{p} \sum_g \frac{m}{m - 1} f_g (1 - f_g)}{\frac{\bar k}{p}
              \left(1 - \frac{\bar k}{p}\right)}

    with :math:`f_g` the frequency of gene g in m runs and :math:`\bar k` the mean number of selected genes among p. It
    is 1 if all runs select the same genes, and about 0 if they select as many at random.

    Parameters
    ----------
    selected : bool array, shape (n_runs, n_genes)
        Which genes each run selects, among all genes that it could select.
    level : float
        Coverage of the interval, which is normal around the value (asymptotic variance of the source), cut at 1. With
        few runs it is too narrow: in simulations, 95 % intervals held the index in 94 % of cases with 50 runs, 92 %
        with 20, 85 % with 10, and 71 % with 5.

    Returns
    -------
    NogueiraIndex
        `value`, `low`, `high`; NaN if every run selects all genes, or none does any. Two runs have no interval (NaN).

    Raises
    ------
    ValueError
        Not a table of True and False with two runs or more, or a level that is not between 0 and 1.

    References
    ----------
    Nogueira, Sechidis & Brown, "On the stability of feature selection algorithms", JMLR 18:174 (2018): definition 4
    and the asymptotic variance of this estimate.
    """
    selected = np.asarray(unmasked(selected))
    if selected.dtype != bool or selected.ndim != 2 or len(selected) < 2 or not selected.shape[1]:
        raise ValueError(
            "selected must be a bool array of two or more runs x genes, such as selected > 0, got dtype "
            f"{selected.dtype}, shape {selected.shape}"
        )
    check_coverage(level, "level")
    n_runs, n_genes = selected.shape
    frequency, own = selected.mean(axis=0), selected.mean(axis=1)
    share = own.mean()
    if selected.all() or not selected.any():
        return NogueiraIndex(np.nan, np.nan, np.nan)
    random = share * (1 - share)
    value = 1 - n_runs / (n_runs - 1) * np.mean(frequency * (1 - frequency)) / random
    agreement = selected @ frequency / n_genes - own * share  # of each run with the others, beyond chance
    influence = (agreement + value / 2 * (2 * share * own - own - share + 1)) / random
    error = np.sqrt(4 / n_runs**2 * np.sum((influence - influence.mean()) ** 2))
    # Two runs agree with each other equally much, so that the variance would be zero.
    reach = norm.ppf((1 + level) / 2) * error if n_runs > 2 else np.nan
    return NogueiraIndex(float(value), float(value - reach), float(np.minimum(1, value + reach)))


def gene_stability(
    data: PairedData,
    models: Models,
    resample: str = "seed",
    n: int = 20,
    random_state: int = 0,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> GeneStability:
    """Fit models again and again, and tell which genes they select every time and whether their maps stay.

    "seed": run i is the model with the random state `random_state + i`, whatever its own is, on all cells. "donor": run
    i is fitted on the cells of as many animals as there are, drawn with replacement: cells of an animal that is drawn
    twice occur twice. z-scores (from counts and features as measured, if `data` has them), clusters and layouts are
    those of the drawn cells. A network keeps its `random_state`, but starts from other weights in each run, as in the
    folds of `cross_validate`: "donor" shows what animals and initial weights change together, as in a repetition of
    the experiment.

    Parameters
    ----------
    data : PairedData
        With `donors`, for "donor".
    models : dict
        Name -> `SparseBottleneckRegressor` (a single network or an ensemble) or `ReducedRankRegressor`, or a list with
        one. Linear models do not depend on a seed, and are taken for "donor" only.
    resample : {"seed", "donor"}
        What changes from run to run.
    n : int
        Number of runs, 2 or more. Runs stay the same if n grows, so that a store holds them.
    random_state : int
        For "seed", that of the first run; for "donor", that of the draws (`sbnn.validation.bootstrap`).
    store : path-like, optional
        Folder for finished fits, as in `cross_validate`: the same call resumes.
    n_jobs : int, optional
        As in `cross_validate`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    GeneStability
        Its maps are compared on all cells of `data`, on which each run applies its own z-scores.

    Raises
    ------
    ValueError
        An argument is out of range; a model selects no genes, or all; a linear model for "seed"; unknown donors, or
        fewer than two, for "donor"; training of a network diverged in a run. And as `cross_validate`.
    RuntimeError
        Another process is using the same store.
    """
    check_paired(data)
    check_choice(resample, RESAMPLES, "resample")
    n = check_whole(n, "n", least=2)
    random_state = check_whole(random_state, "random_state", least=0, most=2**32 - n)
    listed = _selecting_models(models, data, resample)
    runs, folds = listed, make_folds(data, "all")
    if resample == "donor":
        folds = donor_bootstraps(data, n, random_state)
    else:
        seeds = range(random_state, random_state + n)
        runs = [(name, clone(model).set_params(random_state=seed)) for name, model in listed for seed in seeds]
    within_fold, keep = resample == "donor", ("latents",)
    result = fit_on_folds(data, runs, folds, store, n_jobs, within_fold=within_fold, keep=keep, progress=progress)
    return _summarise(data, listed, result, resample, n, random_state)


def _selecting_models(models, data, resample):
    """Return [(name, estimator)] after checking that each selects genes, in a way that runs can change."""
    listed = checked_models(models, data)
    names = [name for name, _ in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"models[{twice[0]!r}] holds several estimators: give each a name of its own")
    for name, estimator in listed:
        problem = _why_not(estimator, resample, data.n_genes)
        if problem:
            raise ValueError(f"models[{name!r}] {problem}")
    return listed


def _why_not(estimator, resample, n_genes):
    """Return why the selection of an estimator cannot be compared from run to run; None if it can."""
    if is_network(estimator):
        stages = [stage.name for stage in get_schedule(estimator.schedule)]
        if estimator.n_selected is None or "pruned" not in stages:
            return 'keeps every gene: give it n_selected, and a schedule with a stage "pruned"'
        if estimator.n_selected == n_genes:
            return f"keeps all {n_genes} genes of the data: give it a smaller n_selected"
        return None
    if not isinstance(estimator, ReducedRankRegressor):
        kinds = "SparseBottleneckRegressor or ReducedRankRegressor"
        return f"should be a model that selects genes, {kinds}, got {estimator!r}"
    if estimator.l1_ratio == 0:
        return "keeps every gene: l1_ratio must be above 0"
    if resample == "seed":
        return 'is linear and does not depend on a seed: leave it out, or use resample="donor"'
    return None


def _summarise(
    data: PairedData, listed: Runs, result: CrossValidation, resample: str, n_runs: int, random_state: int
) -> GeneStability:
    """Turn the tables of all runs into their stability."""

    def numbered(table: pd.DataFrame) -> pd.DataFrame:
        run = table["fold"] if resample == "donor" else table["random_state"].astype(np.int64) - random_state
        return table.assign(run=run.to_numpy())

    _check_finished(listed, numbered(result.scores))
    selected = numbered(result.selected)[["model", "run", "gene"]]
    latents = numbered(result.latents).drop_duplicates(["model", "run", "cell"])
    frequencies, index, maps, pairs = [], [], [], []
    for name, _ in listed:
        chosen = _selection(selected[selected["model"] == name], n_runs, data.gene_names)
        frequencies.append(_frequencies(name, chosen, data.gene_names))
        index.append(_index_row(name, chosen))
        of_model = latents[latents["model"] == name].dropna(axis=1, how="all")
        n_dims = len(of_model.filter(regex=r"^z\d+$").columns)
        if n_dims > 1:
            compared = agreement_of_maps(of_model, N_NEIGHBOURS, by="run")
            values = ["procrustes_r2", "common_neighbours"]
            if not chosen.any(axis=1).all():
                compared[values] = np.nan  # all cells of a run without genes are at one place
            pairs.append(compared.assign(model=name)[["model", "first", "second", *values]])
            maps.append(_map_row(name, n_dims, compared))
    found = pd.concat(frequencies, ignore_index=True)
    map_columns = ["model", "n_dims", "procrustes_r2", "procrustes_r2_min", "common_neighbours"]
    return GeneStability(
        resample=resample,
        n_runs=n_runs,
        selected=selected.sort_values(["run"], kind="stable", ignore_index=True),
        frequencies=found,
        index=pd.DataFrame(index),
        maps=pd.DataFrame(maps, columns=map_columns),
        pairs=pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(),
        correlations=_correlations(data, found["gene"].unique()),
    )


def _check_finished(listed, scores):
    """Raise ValueError if a network diverged: the genes that it keeps say nothing."""
    for name, estimator in listed:
        lost = scores.loc[(scores["model"] == name) & scores["r2_train"].isna(), "run"].unique()
        if is_network(estimator) and len(lost):
            raise ValueError(
                f"models[{name!r}] diverged in run(s) {preview(lost)}, which leaves no genes to compare: lower the "
                "learning rate of its schedule, or z-score the data (sbnn.Preprocessor)"
            )


def _selection(selected: pd.DataFrame, n_runs: int, genes: Labels) -> np.ndarray:
    """Return which of the genes each run selects, bool array (n_runs, n_genes)."""
    chosen = np.zeros((n_runs, len(genes)), dtype=bool)
    chosen[selected["run"].to_numpy(dtype=int), pd.Index(genes).get_indexer(selected["gene"])] = True
    return chosen


def _frequencies(name, chosen, genes):
    """Frequencies of the genes that are selected at least once, the most frequent first."""
    times = chosen.sum(axis=0)
    order = np.argsort(-times, kind="stable")[: int((times > 0).sum())]
    return pd.DataFrame({"model": name, "gene": genes[order], "frequency": times[order] / len(chosen)})


def _index_row(name, chosen):
    """Numbers of genes, and the index, of one model."""
    numbers, times = chosen.sum(axis=1), chosen.sum(axis=0)
    frequent = times >= FREQUENT * len(chosen) - 1e-9
    found = nogueira_index(chosen)
    return {
        "model": name,
        "n_genes": numbers.mean(),
        "n_genes_sd": numbers.std(ddof=1),
        "nogueira": found.value,
        "low": found.low,
        "high": found.high,
        "in_all_runs": int((times == len(chosen)).sum()),
        "in_80_percent": int(frequent.sum()),
        "share_in_80_percent": times[frequent].sum() / times.sum() if times.any() else np.nan,
    }


def _map_row(name, n_dims, compared):
    """Agreement of the maps of one model."""
    agreement = compared["procrustes_r2"]
    return {
        "model": name,
        "n_dims": n_dims,
        "procrustes_r2": agreement.mean(),
        "procrustes_r2_min": agreement.min(),
        "common_neighbours": compared["common_neighbours"].mean(),
    }


def _correlations(data: PairedData, genes: Sequence[str]) -> pd.DataFrame:
    """Pearson correlations of the expression of genes over all cells; NaN for a gene without variance."""
    if not len(genes):
        return pd.DataFrame()
    columns = pd.Index(data.gene_names).get_indexer(genes)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.corrcoef(data.X[:, columns].astype(np.float64), rowvar=False)
    return pd.DataFrame(np.atleast_2d(values), index=genes, columns=genes)
