"""Matched controls: whether selected genes are better than as many random genes of the same expression."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from sbnn._checks import check_seed, check_whole, preview, warn
from sbnn._hints import Labels, PathLike
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.models.latent_regressor import is_network
from sbnn.validation.baselines import ClassMean
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.control_genes import describe_pairs, draw_controls, expression_statistics, match_quality
from sbnn.validation.cross_validation import check_observed, checked_models, fit_jobs
from sbnn.validation.execution import Job, Plan
from sbnn.validation.fit_keys import fit_keys
from sbnn.validation.folds import Fold, FoldChoice, FoldView, make_folds, view_fold
from sbnn.validation.given_genes import check_any_genes, genes_by_fold, named_positions
from sbnn.validation.protocol import FoldProtocol
from sbnn.validation.result import CrossValidation
from sbnn.validation.significance import benjamini_hochberg
from sbnn.validation.tables import join_tables
from sbnn.validation.transfer import ALL_FEATURES

#: Selected genes: one list; or those of each fold, by its number, as the table `selected`, or as a whole result.
SelectedGenes: TypeAlias = Sequence[str] | Mapping[int, Sequence[str]] | pd.DataFrame | CrossValidation
#: Share of the control sets between `control_low` and `control_high`.
LEVEL = 0.95


@dataclass(repr=False)
class MatchedControls:
    """R2 of selected genes, and of as many random genes of the same expression.

    Attributes
    ----------
    model : str
        Name of what was fitted.
    n_sets : int
        Number of control sets.
    summary : DataFrame
        Indexed by feature, "all features" (pooled) first: `r2` of the selected genes, mean over folds; `control_mean`,
        `control_sd`, and `control_low`, `control_high`, quantiles that hold 95 % of the control sets; `difference`, R2
        minus the mean of the controls; `percentile`, 100 times the share of control sets that the selected genes
        exceed, ties counted half; `p` = (1 + number of control sets that are at least as good) / (1 + number of sets);
        `q`, p after Benjamini & Hochberg over features; `n_scored`, control sets with an R2 in every fold, to which all
        these refer.
    scores : DataFrame
        `set` (0: the selected genes; 1, 2, ...: the controls), `fold`, `r2_train`, `r2_test`.
    feature_scores : DataFrame
        `set`, `fold`, `feature`, `r2_test`.
    pairs : DataFrame
        `fold`, `set`, `gene`, `control`, `mean_log`, `control_mean_log`, `detection`, `control_detection`, `distance`
        (`sbnn.validation.control_genes.describe_pairs`).
    match : DataFrame
        How well controls match (`sbnn.validation.control_genes.match_quality`).
    per_fold : bool
        Whether each fold has its own selected genes and controls.
    n_fitted : int
        How many models were fitted by this call; the others came from its store.
    """

    model: str
    n_sets: int
    summary: pd.DataFrame
    scores: pd.DataFrame
    feature_scores: pd.DataFrame
    pairs: pd.DataFrame
    match: pd.DataFrame
    per_fold: bool = False
    n_fitted: int = 0

    def __repr__(self) -> str:
        """Say in words how the selected genes compare."""
        pooled = self.summary.loc[ALL_FEATURES]
        n_folds = self.scores["fold"].nunique()
        n_genes = len(self.pairs) / (self.n_sets * n_folds)
        gaps = ", ".join(f"{row.difference:+.2f} SD in {name}" for name, row in self.match.iterrows())
        return (
            f"MatchedControls: {self.model} from {n_genes:.3g} selected genes{' of each fold' * self.per_fold}, "
            f"{n_folds} folds: R2 {pooled['r2']:.3f}\n"
            f"  {self.n_sets} sets of controls: {pooled['control_mean']:.3f} ± {pooled['control_sd']:.3f} (SD), "
            f"difference {pooled['difference']:+.3f}, percentile {pooled['percentile']:.3g}, p {pooled['p']:.2g}\n"
            f"  controls minus selected genes: {gaps}"
        )


class _Selection(NamedTuple):
    """Folds, the positions of their selected genes, and whether these differ."""

    folds: list[Fold]
    genes: list[np.ndarray]
    per_fold: bool


def matched_controls(
    data: PairedData,
    genes: SelectedGenes,
    estimator: BaseEstimator,
    n_sets: int = 100,
    folds: FoldChoice | None = None,
    n_closest: int = 10,
    detection_threshold: float = 0,
    random_state: int = 0,
    name: str | None = None,
    store: PathLike | None = None,
    n_jobs: int | None = None,
    stack_size: int | None = None,
    progress: bool = True,
) -> MatchedControls:
    """Compare selected genes with random genes of the same expression: refit a model on each set.

    Each control set has as many genes, matched one to one in mean log expression and detection rate: one of the
    `n_closest` genes in these two coordinates, divided by their SDs over genes
    (`sbnn.validation.control_genes.draw_controls`). The model reads these genes only and is fitted on the training
    cells of each fold, with z-scores of these cells and the depth over all genes of the data. R2 is that of
    `cross_validate`, averaged over folds.

    Genes that were selected on all cells have seen the test cells, and their R2 is optimistic: give those that a model
    selected within each fold. Controls of a fold then match its genes on its training cells, and are drawn from all
    genes that this fold did not select. Sets of different folds use the same random numbers: a gene that several folds
    select has mostly the same control in a set, so that R2 varies between sets as much as between selections.

    Parameters
    ----------
    data : PairedData
        With `counts`, in which genes are matched.
    genes : sequence of str, dict, DataFrame or CrossValidation
        Selected genes: one list for all folds; or those of each fold, as a dict of fold number -> genes, as rows of
        `CrossValidation.selected` (`fold`, `gene`) of one model, or as a `CrossValidation` of one model, whose folds
        are used.
    estimator : estimator
        What is fitted on each set: a scikit-learn regressor, `ReducedRankRegressor`, or `SparseBottleneckRegressor`,
        which keeps all genes that it is given, whatever its `n_selected`; its group lasso still acts in the stages that
        have one.
    n_sets : int
        Number of control sets; they stay the same if the number grows.
    folds : see `sbnn.validation.folds.make_folds`
        If None, "donor" for one list of genes. For genes of each fold give the folds in which they were selected: in
        others, test cells would have been used in the selection.
    n_closest : int
        From how many of the closest genes a control is drawn.
    detection_threshold : float
        A gene is detected in a cell if it has more counts than this.
    random_state : int
        Of the draws of control sets.
    name : str, optional
        Of the model, for figures; its class if None.
    store, n_jobs, stack_size, progress
        See `cross_validate`. Many networks are trained as one stack.

    Returns
    -------
    MatchedControls

    Raises
    ------
    ValueError
        The data have no counts; unknown, repeated or no genes; too few other genes; genes of each fold without their
        folds, or not one entry for each; a model that reads classes of cells, or genes by position (`on_genes`), or
        that cannot be fitted with so few genes; folds without test cells; or a setting is out of range. And as
        `cross_validate`.
    RuntimeError
        Another process is using the same store.

    Warns
    -----
    UserWarning
        Training of a network diverged, or predictions are not finite: the first is named. Control sets without an R2 in
        every fold are left out.

    References
    ----------
    p values of random draws: Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9:39 (2010).
    Benjamini & Hochberg, JRSS B 57:289 (1995).
    """
    check_paired(data)
    for value, what in ((n_sets, "n_sets"), (n_closest, "n_closest")):
        check_whole(value, what)
    check_whole(random_state, "random_state", least=0, most=2**32 - 1)
    listed = _checked_model(estimator, name, data)
    selection = _find_selection(data, genes, folds)
    _check_sizes(listed[0][1], selection, data.n_features)
    check_observed(data, selection.folds)
    statistics, drawn = _draw_by_fold(data, selection, n_sets, n_closest, detection_threshold, random_state)
    described = [
        describe_pairs(table, own, controls).assign(fold=fold)
        for fold, (table, own, controls) in enumerate(zip(statistics, selection.genes, drawn, strict=True))
    ]
    pairs = pd.concat(described, ignore_index=True)
    sets = [selection.genes, *([controls.genes[number] for controls in drawn] for number in range(n_sets))]
    tables, n_fitted = _fit_sets(data, listed, selection.folds, sets, store, n_jobs, stack_size, progress)
    return MatchedControls(
        model=listed[0][0],
        n_sets=n_sets,
        summary=_summarise(tables["scores"], tables["feature_scores"], data.feature_names),
        scores=tables["scores"],
        feature_scores=tables["feature_scores"],
        pairs=pairs[["fold", *pairs.columns.drop("fold")]],
        match=match_quality(pairs, statistics),
        per_fold=selection.per_fold,
        n_fitted=n_fitted,
    )


def _checked_model(estimator, name, data):
    """Return [(name, estimator)], a network with all its genes, after checking that it can be fitted."""
    name = type(estimator).__name__ if name is None else name
    if isinstance(estimator, (ClassMean, ClassRidge)):
        kind = type(estimator).__name__
        raise ValueError(f"estimator should read genes only, but {kind} reads classes of cells: give a regressor")
    if is_network(estimator) and not isinstance(estimator, type):
        estimator = clone(estimator).set_params(n_selected=None)
        check_seed(estimator.random_state)
        if isinstance(estimator.random_state, np.random.RandomState) or estimator.random_state is None:
            raise ValueError(
                "random_state of the network must be a whole number, so that the fits of a store can be found again, "
                f"got {estimator.random_state!r}"
            )
    listed = checked_models({name: [estimator]}, data)
    check_any_genes(estimator, "estimator", "it is fitted on some of these genes only")
    return listed


def _check_sizes(estimator, selection, n_features):
    """Raise ValueError if a model cannot be fitted with as few genes as a fold selects."""
    if hasattr(estimator, "check_settings"):
        for fold, n_genes in enumerate(map(len, selection.genes)):
            try:
                estimator.check_settings(n_genes, n_features)
            except ValueError as error:
                where = f" of fold {fold}" * selection.per_fold
                raise ValueError(f"estimator, on the {n_genes} selected genes{where}: {error}") from None


def _find_selection(data: PairedData, genes: SelectedGenes, folds: FoldChoice | None) -> _Selection:
    """Return folds and the genes of each, however they are given."""
    if isinstance(genes, CrossValidation):
        genes, folds = _genes_of_result(data, genes, folds)
    by_fold = genes_by_fold(genes)
    if by_fold is None:
        splits = make_folds(data, "donor" if folds is None else folds)
        chosen = [named_positions(genes, data.gene_names)] * len(splits)
    else:
        if folds is None:
            raise ValueError(
                "genes are those of each fold: give the folds in which they were selected, for example "
                "folds=result.folds (in others, test cells would have been used in the selection)"
            )
        splits = make_folds(data, folds)
        if sorted(by_fold) != list(range(len(splits))):
            raise ValueError(
                f"genes must have an entry for each fold, 0 to {len(splits) - 1}, got {preview(sorted(by_fold), 12)}"
            )
        chosen = [
            named_positions(by_fold[number], data.gene_names, f"genes of fold {number}")
            for number in range(len(splits))
        ]
    if any(not len(fold.test) for fold in splits):
        raise ValueError('folds must have test cells, on which genes are compared: choose others than "all"')
    return _Selection(splits, chosen, by_fold is not None)


def _genes_of_result(data, result, folds):
    """Table of selected genes and the folds of a cross-validation."""
    if folds is not None:
        raise ValueError("folds must be None if genes is a CrossValidation: its own folds are used")
    if result.fingerprint != data.fingerprint:
        raise ValueError(
            f"genes is a cross-validation of other data ({result.dataset!r}) than data ({data.name!r}): give the data "
            "that it was made from"
        )
    if len(result.models) != 1:
        names = [model["model"] for model in result.models]
        raise ValueError(f"genes must be a cross-validation of one model, got {preview(names)} (result.select)")
    if not len(result.selected):
        raise ValueError("genes is a cross-validation whose model selects no genes: give one with a table `selected`")
    n_variable = FoldProtocol.read(result.protocol).n_variable_genes
    if n_variable is not None:
        chosen = (
            f"genes were selected among the {n_variable} most variable of each fold (n_variable_genes), and controls"
        )
        warn(f"{chosen} are drawn from all {data.n_genes} genes, less variable ones included: they may be too weak")
    return result.selected, result.folds


def _draw_by_fold(data, selection, n_sets, n_closest, detection_threshold, random_state):
    """Return expression statistics and controls for each fold: of its training cells if it has genes of its own."""
    cells = [fold.train for fold in selection.folds] if selection.per_fold else [None]
    statistics = [expression_statistics(data, one, detection_threshold) for one in cells]
    drawn = [
        draw_controls(table, own, n_sets, n_closest, random_state)
        for table, own in zip(statistics, selection.genes, strict=False)
    ]
    times = len(selection.folds) // len(cells)
    return statistics * times, drawn * times


def _fit_sets(
    data: PairedData,
    listed: list[tuple[str, BaseEstimator]],
    folds: list[Fold],
    sets: list[list[np.ndarray]],
    store: PathLike | None,
    n_jobs: int | None,
    stack_size: int | None,
    progress: bool,
) -> tuple[dict[str, pd.DataFrame], int]:
    """Fit the model on every set of genes in every fold; return its tables, and how many were fitted.

    A set and a fold have the number set * n_folds + fold, so that the selected genes have those of their folds.
    """
    whole = [view_fold(data, fold, within_fold=True) for fold in folds]
    views = [_only(view, columns) for genes in sets for view, columns in zip(whole, genes, strict=True)]
    plan = Plan(data, listed, views, {}, (), fold_names=[_name_of(*divmod(n, len(folds))) for n in range(len(views))])
    keys = None if store is None else _keys(data, listed, folds, views)
    running: dict[str, Any] = {"n_jobs": n_jobs, "stack_size": stack_size, "within_fold": True, "progress": progress}
    fits, n_fitted = fit_jobs(plan, keys, store, keep_models=False, **running)
    lost = [fit for fit in fits if fit.problem is not None]
    if lost:
        warn(f"{plan.describe(lost[0].job)} {lost[0].problem}: no R2 ({len(lost)} of {len(fits)} fits)")
    tables = join_tables([{name: _final(fit.tables[name]) for name in ("scores", "feature_scores")} for fit in fits])
    kept = {"scores": ["r2_train", "r2_test"], "feature_scores": ["feature", "r2_test"]}
    for name, columns in kept.items():
        number, fold = np.divmod(tables[name]["fold"].to_numpy(dtype=int), len(folds))
        tables[name] = pd.DataFrame({"set": number, "fold": fold, **tables[name][columns]})
    return {name: tables[name] for name in kept}, n_fitted


def _name_of(number, fold):
    """Name what a set is fitted in, for warnings and errors."""
    return f"fold {fold} of {'the selected genes' if number == 0 else f'control set {number}'}"


def _only(view: FoldView, genes: np.ndarray) -> FoldView:
    """Return the view of a fold with some of the genes."""
    return view._replace(X=np.ascontiguousarray(view.X[:, genes]), genes=genes)


def _final(table):
    """Rows of the last stage, that of the final model."""
    return table[table["stage"] == table["stage"].iloc[-1]]


def _keys(data, listed, folds, views):
    """Keys in a store: those of the folds, with the genes, and with the number on which initial weights depend."""
    of_folds = fit_keys(data, listed, folds, "training cells", {})
    keys = {}
    for number, view in enumerate(views):
        parts = [of_folds[0, number % len(folds)], str(number), *map(str, view.genes)]
        keys[Job(0, number)] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return keys


def _summarise(scores: pd.DataFrame, feature_scores: pd.DataFrame, feature_names: Labels) -> pd.DataFrame:
    """Compare R2 of the selected genes with those of the controls, all features together and one by one."""
    pooled = scores.assign(feature=ALL_FEATURES)
    both = pd.concat([pooled, feature_scores])[["set", "fold", "feature", "r2_test"]]
    # If a fold has no R2, the mean over the others would be one over other cells.
    means = both.groupby(["feature", "set"])["r2_test"].agg(lambda values: values.mean(skipna=False)).unstack("feature")
    lost = int(means.loc[1:, ALL_FEATURES].isna().sum())
    if lost:
        warn(f"{lost} of {len(means) - 1} control sets have no R2 in a fold and are left out")
    rows = {name: _compare(means.loc[0, name], means.loc[1:, name]) for name in [ALL_FEATURES, *feature_names]}
    summary = pd.DataFrame(rows).T.rename_axis("feature")
    summary.insert(summary.columns.get_loc("p") + 1, "q", [np.nan, *benjamini_hochberg(summary["p"].iloc[1:])])
    return summary.astype({"n_scored": int})


def _compare(own: float, controls: pd.Series) -> dict[str, Any]:
    """Place the R2 of the selected genes among those of the control sets."""
    values = controls.dropna().to_numpy()
    row = {"r2": own, "n_scored": len(values)}
    if len(values):
        tails = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        sd = values.std(ddof=1) if len(values) > 1 else np.nan
        row |= {"control_mean": values.mean(), "control_sd": sd, "control_low": tails[0], "control_high": tails[1]}
        row["difference"] = own - values.mean()
        if not np.isnan(own):
            below, equal = (values < own).mean(), (values == own).mean()
            row |= {"percentile": 100 * (below + equal / 2), "p": (1 + (values >= own).sum()) / (1 + len(values))}
    names = ["r2", "control_mean", "control_sd", "control_low", "control_high", "difference", "percentile", "p"]
    return {name: row.get(name, np.nan) for name in [*names, "n_scored"]}
