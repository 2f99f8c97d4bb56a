"""Comparison of models, for the notebooks and the table of the README."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from sbnn.data.paired_data import PairedData
from sbnn.models.map_agreement import nearest_cells, procrustes_r2
from sbnn.storage.author_results import paper_penalty
from sbnn.validation.folds import Fold


def final_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of final models: "pruned" for networks, "ensemble" if there are several, "fitted" for others."""
    several = scores["n_networks"].gt(1) if "n_networks" in scores else False
    return scores[scores["stage"].isin(["pruned", "fitted"]) & ~several | scores["stage"].eq("ensemble")]


def choose_alpha(scores: pd.DataFrame, n_genes: float = 25, tolerance: float | None = 3) -> float:
    """Return the alpha of a grid that selects about `n_genes` genes on average over folds.

    Test R2 is not used in the choice.

    Parameters
    ----------
    scores : DataFrame
        Scores of one linear model over its grid: `alpha`, `fold`, `n_selected`.
    n_genes : float
    tolerance : float or None
        Choose the first alpha whose number is within this distance of `n_genes`, as in the paper; None: the nearest.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        No alpha is within the tolerance.
    """
    mean_genes = scores.groupby("alpha")["n_selected"].mean().sort_index()
    if tolerance is None:
        return float((mean_genes - n_genes).abs().idxmin())
    close = mean_genes.index[(mean_genes - n_genes).abs() <= tolerance]
    if not len(close):
        raise ValueError(
            f"no alpha of the grid selects {n_genes} +- {tolerance} genes on average: the numbers range from "
            f"{mean_genes.min():.1f} to {mean_genes.max():.1f}; use another grid"
        )
    return float(close[0])


def principal_component_latents(data: PairedData, folds: Iterable[Fold], n_components: int = 2) -> pd.DataFrame:
    """Return coordinates of all cells in the principal components of every fold's training cells.

    Parameters
    ----------
    data : PairedData
    folds : list of Fold
    n_components : int

    Returns
    -------
    DataFrame
        Like `CrossValidation.latents`: `model` ("PCA"), `fold`, `cell`, `held_out`, `z1`, `z2`, ...
    """
    tables = []
    for number, fold in enumerate(folds):
        projection = PCA(n_components, random_state=0).fit(data.X[fold.train])
        tables.append(_latents_of_fold("PCA", number, projection.transform(data.X), data, fold))
    return pd.concat(tables, ignore_index=True)


def fixed_latents(name: str, coordinates: npt.ArrayLike, data: PairedData, folds: Iterable[Fold]) -> pd.DataFrame:
    """Return coordinates that were computed once for all cells (t-SNE, say) as those of every fold.

    Parameters
    ----------
    name : str
        Goes into the column `model`.
    coordinates : array, shape (n_cells, n_components)
    data : PairedData
    folds : list of Fold

    Returns
    -------
    DataFrame
        As from `principal_component_latents`.
    """
    return pd.concat(
        [_latents_of_fold(name, number, coordinates, data, fold) for number, fold in enumerate(folds)],
        ignore_index=True,
    )


def _latents_of_fold(name, number, coordinates, data, fold):
    """Coordinates of the training and test cells of a fold, in the form of `CrossValidation.latents`."""
    table = pd.DataFrame(np.asarray(coordinates)).rename(columns=lambda index: f"z{index + 1}")
    held_out = np.isin(np.arange(data.n_cells), fold.test)
    for place, (column, values) in enumerate(
        {"model": name, "fold": number, "cell": data.cell_names, "held_out": held_out}.items()
    ):
        table.insert(place, column, values)
    return table.iloc[np.sort(np.concatenate([fold.train, fold.test]))]


def neighbour_votes(
    latents: pd.DataFrame, families: Mapping[str, str] | pd.Series, n_neighbours: int = 10
) -> pd.DataFrame:
    """Let the nearest training cells of every held-out cell vote for its family.

    Parameters
    ----------
    latents : DataFrame
        `model`, `fold`, `cell`, `held_out`, `z1`, `z2`, ...: one setting per model.
    families : dict or Series
        Family of each cell name.
    n_neighbours : int

    Returns
    -------
    DataFrame
        `model`, `fold`, `cell`, `family` and `vote` (the family of most neighbours) of every held-out cell.
    """
    if latents.duplicated(["model", "fold", "cell"]).any():
        raise ValueError("latents hold a cell twice in a fold of one model: choose one setting of each model")
    parts = []
    for (model, fold), part in latents.groupby(["model", "fold"], sort=False):
        coordinates = part.filter(regex=r"^z\d+$").dropna(axis=1).to_numpy()
        family = part["cell"].map(families).to_numpy()
        test = part["held_out"].to_numpy(dtype=bool)
        vote = vote_of_neighbours(coordinates[~test], family[~test], coordinates[test], n_neighbours)
        columns = {"cell": part["cell"].to_numpy()[test], "family": family[test], "vote": vote}
        parts.append(pd.DataFrame({"model": model, "fold": fold, **columns}))
    return pd.concat(parts, ignore_index=True)


def vote_of_neighbours(
    coordinates: np.ndarray, families: npt.ArrayLike, new_coordinates: npt.ArrayLike, n_neighbours: int = 10
) -> np.ndarray:
    """Assign new cells to families by a vote of their nearest training cells.

    Parameters
    ----------
    coordinates : array, shape (n_training_cells, n_dimensions)
    families : sequence of str, shape (n_training_cells,)
    new_coordinates : array, shape (n_new_cells, n_dimensions)
    n_neighbours : int
        All training cells are used if there are fewer.

    Returns
    -------
    str array, shape (n_new_cells,)
    """
    classifier = KNeighborsClassifier(min(n_neighbours, len(coordinates)))
    return classifier.fit(np.asarray(coordinates), np.asarray(families)).predict(np.asarray(new_coordinates))


def family_recall(votes: pd.DataFrame) -> pd.DataFrame:
    """Return how often neighbours predict the family of a held-out cell: over all cells, and family by family.

    Parameters
    ----------
    votes : DataFrame
        From `neighbour_votes`.

    Returns
    -------
    DataFrame
        Indexed by model: `accuracy`, the share of all cells; `SD over folds` of it; `balanced accuracy`, the mean of
        the recalls; and the recall of each family. The most frequent family comes first.
    """
    right = votes.assign(right=votes["family"].eq(votes["vote"]))
    models = right.groupby("model", sort=False)
    recall = right.pivot_table("right", "model", "family", sort=False).loc[list(models.groups)]
    recall = recall[votes["family"].value_counts().index]
    by_fold = right.groupby(["model", "fold"], sort=False)["right"].mean().groupby("model", sort=False).std()
    scores = {"accuracy": models["right"].mean(), "SD over folds": by_fold, "balanced accuracy": recall.mean(axis=1)}
    return pd.concat([pd.DataFrame(scores), recall], axis=1)


def gene_frequencies(selected: pd.DataFrame) -> pd.Series:
    """Return in how many of the networks in `selected` each gene was selected, most frequent first.

    Parameters
    ----------
    selected : DataFrame
        `CrossValidation.selected` of networks that differ in their seed: `gene`, `norm`, `random_state`.

    Returns
    -------
    Series
        Number of networks by gene; among equally frequent genes, those with the larger mean norm come first.
    """
    genes = selected.groupby("gene").agg(n_networks=("random_state", "nunique"), norm=("norm", "mean"))
    return genes.sort_values(["n_networks", "norm"], ascending=False)["n_networks"]


def table_of_scores(scores: pd.DataFrame, by: Sequence[str], value: str = "r2_test") -> pd.DataFrame:
    """Return mean and SD over folds of a score as one table (rows sorted as they first appear).

    If a fold has no score (NaN), there is no mean: the mean over the other folds would be one over other cells.

    Parameters
    ----------
    scores : DataFrame
    by : list of str
        Columns that distinguish the rows.
    value : str

    Returns
    -------
    DataFrame
    """
    groups = scores.groupby(by, sort=False, dropna=False)
    table = groups.agg(
        n_selected=("n_selected", "mean"),
        mean=(value, lambda values: values.mean(skipna=False)),
        SD=(value, lambda values: values.std(skipna=False)),
    )
    return pd.DataFrame(table).round({"n_selected": 1, "mean": 4, "SD": 4})


def relaxed_at(scores: pd.DataFrame, model: str, alpha: float) -> pd.DataFrame:
    """Return the scores (one row per fold) of a relaxed linear model at one alpha."""
    return scores[scores["model"].eq(model) & scores["alpha"].eq(alpha) & scores["relaxed"].eq(True)]


def linear_references(
    scores: pd.DataFrame, chosen_alpha: Mapping[str, float], class_means: Iterable[str] = ()
) -> dict[str, float]:
    """Return mean test R2 of relaxed linear models at their chosen alpha, and of class means: lines of the figures.

    Parameters
    ----------
    scores : DataFrame
        `model`, `alpha`, `relaxed`, `fold`, `r2_test`.
    chosen_alpha : dict
        Model -> alpha.
    class_means : sequence of str
        Models without settings, such as "family mean".

    Returns
    -------
    dict
        Model -> R2.
    """
    lines = {model: relaxed_at(scores, model, alpha)["r2_test"].mean() for model, alpha in chosen_alpha.items()}
    lines |= {model: scores.loc[scores["model"].eq(model), "r2_test"].mean() for model in class_means}
    return {model: float(r2) for model, r2 in lines.items()}


def agreement_of_maps(latents: pd.DataFrame, n_neighbours: int = 30, by: str = "random_state") -> pd.DataFrame:
    """Return how similar maps of the same cells are, for each pair of maps.

    Parameters
    ----------
    latents : DataFrame
        `random_state`, `cell`, `z1`, `z2`, ...: the same cells in every map.
    n_neighbours : int
        All other cells if there are fewer.
    by : str
        The column that tells the maps apart.

    Returns
    -------
    DataFrame
        `first`, `second` (values of that column), `procrustes_r2`, the share of variance that one map explains of the
        other after the best translation, rotation, reflection and scaling, and `common_neighbours`, the share of a
        cell's nearest neighbours that both maps share, averaged over cells.
    """
    cells = latents["cell"].drop_duplicates()
    maps = {
        name: part.set_index("cell").loc[cells].filter(regex=r"^z\d+$").to_numpy(dtype=np.float64)
        for name, part in latents.groupby(by)
    }
    n_neighbours = min(n_neighbours, len(cells) - 1)
    # Sparse: of many maps of many cells, the matrices would not fit into memory.
    near = {name: csr_array(nearest_cells(Z, n_neighbours)) for name, Z in maps.items()}
    rows = [
        {
            "first": first,
            "second": second,
            "procrustes_r2": procrustes_r2(maps[first], maps[second]),
            "common_neighbours": near[first].multiply(near[second]).sum() / near[first].sum(),
        }
        for first, second in combinations(maps, 2)
    ]
    return pd.DataFrame(rows, columns=["first", "second", "procrustes_r2", "common_neighbours"])


def author_alphas(scores: pd.DataFrame, n_genes: float = 25) -> dict[str, float]:
    """Return the alpha at which each linear model of the authors selects about `n_genes` genes (`choose_alpha`)."""
    sparse = scores[scores["relaxed"].eq(False)]
    return {model: choose_alpha(part, n_genes) for model, part in sparse.groupby("model")}


def figure_curves(curves: pd.DataFrame, penalty: float, references: Mapping[str, float]) -> dict[str, Any]:
    """Return the curves of figures 1 and 2 (`curves.plot_published_curves`).

    Parameters
    ----------
    curves : DataFrame
        Curves of all networks, computed here or by the authors.
    penalty : float
        The penalty that figure 2 shows.
    references : dict
        Name -> R2 of linear models.

    Returns
    -------
    dict
        `penalties`, `bottlenecks`, `references`.
    """
    whole = ~curves["schedule"].str.contains("no_")
    return {
        "penalties": curves[whole & curves["model"].eq("sBNN-2")],
        "bottlenecks": curves[curves["group_lasso"].eq(penalty) & ~curves["schedule"].str.contains("no_frozen")],
        "references": references,
    }


def published_curves(dataset: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of figures 1 and 2 from the authors' tables of a data set.

    Parameters
    ----------
    dataset : str
    tables : dict
        From `sbnn.read_author_results`.

    Returns
    -------
    dict
        As from `figure_curves`.
    """
    references = linear_references(tables["scores"], author_alphas(tables["scores"]))
    return figure_curves(tables["curves"], paper_penalty(dataset), references)
