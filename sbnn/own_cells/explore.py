"""The interactive map of cells: one HTML file that needs neither internet nor Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sbnn._checks import check_named, preview
from sbnn._hints import PathLike
from sbnn.data.cell_labels import complete_colors, modal_colors
from sbnn.data.paired_data import PairedData, check_paired
from sbnn.data.preprocessing import normalise_counts
from sbnn.figures.embedding import tsne
from sbnn.figures.explorer import CELLS, GENES, MEASURED, PREDICTED, CellClasses, CellValues, explorer_page
from sbnn.figures.gene_labels import shown_genes
from sbnn.own_cells.explored_cells import (
    Z_SCORE,
    ExploredCells,
    cells_of_estimator,
    cells_of_model,
    cells_of_result,
)
from sbnn.own_cells.paired_model import PairedModel
from sbnn.storage.writing import check_html_path, write_bytes
from sbnn.validation.result import CrossValidation

#: Most genes of a model that a page holds: those with the largest norms.
MOST_GENES = 50
#: Height of the map in a notebook, in pixels.
_HEIGHT = 760
_HELD_OUT = {"held out": "#D55E00", "training": "#8A8A8A"}


@dataclass(frozen=True, repr=False)
class Explorer:
    """An interactive map that was written: its file, and what notebooks show.

    Attributes
    ----------
    path : Path
        The HTML file.
    n_cells : int
        Number of cells on the map.
    html : str
        Its content.
    """

    path: Path
    n_cells: int
    html: str

    def __repr__(self) -> str:
        """Say where the map is, and how large."""
        return f"Explorer of {self.n_cells} cells: {self.path} ({len(self.html.encode()) / 1000:.0f} kB)"

    def _repr_html_(self) -> str:
        """Return a frame that holds the whole page: it stays in the notebook, and in what nbconvert makes of it."""
        style = f"width:100%;height:{_HEIGHT}px;border:0"
        return f'<iframe title="Interactive map of cells" style="{style}" srcdoc="{escape(self.html)}"></iframe>'


def explore(
    model_or_result: Any,
    data: PairedData,
    path: PathLike,
    *,
    model: str | None = None,
    fold: int = 0,
    genes: Sequence[str] = (),
    title: str | None = None,
) -> Explorer:
    """Write the interactive map of cells as one HTML file, which opens in any browser without internet.

    The map and a scatter of any gene against any feature are linked. Cells are coloured by type, family, gene, feature
    (measured or predicted), residual (measured minus predicted) or uncertainty; a lasso or a click selects cells, which
    can be saved as CSV. The file holds, as integers over the range of each: coordinates with a resolution of 1/65534,
    genes and uncertainty of 1/254, features of 1/65534 up to 10000 cells and 1/254 beyond.

    Parameters
    ----------
    model_or_result : PairedModel, estimator with `transform` and `predict`, or CrossValidation
        Fitted. An estimator must have been fitted on `data.X` and `data.Y`, or on data of the same scale. A
        cross-validation must hold predictions and latents; predictions are then those of held-out cells, from all
        folds.
    data : PairedData
        The cells that are shown; of a cross-validation, those that it was made from. Cells without any count of the
        model's genes are left out.
    path : path-like
        Target, for example "map.html"; written all or nothing.
    model : str, optional
        Of a cross-validation, the name of the model whose map is shown; needed if there are several.
    fold : int
        Of a cross-validation, the fold whose model makes the map.
    genes : sequence of str
        Genes of `data` to show beside those that the model reads (of more than 50, those with the largest norms).
    title : str, optional
        Heading; by default the name of the data set and the numbers of cells and genes.

    Returns
    -------
    Explorer
        With `path`; the last line of a notebook's cell, it shows the map (in a trusted notebook, and in what nbconvert
        makes of it).

    Raises
    ------
    ValueError
        Another kind of model or data; a map of a single dimension; no such model, fold or gene; `path` that is not an
        .html file.
    NotFittedError

    Notes
    -----
    A map of more than two dimensions is drawn as its t-SNE.
    """
    check_paired(data)
    target = check_html_path(path, "map.html")
    cells = _explored(model_or_result, data, model, fold)
    n_dims = cells.coordinates.shape[1]
    if n_dims < 2:
        raise ValueError(f"a map needs at least two latent dimensions, the model has {n_dims}")
    names = ("z1", "z2") if n_dims == 2 else ("t-SNE 1", "t-SNE 2")
    n_read = len(cells.genes)
    heading = f"{data.name}: {cells.data.n_cells} cells" + (f", {n_read} genes" if n_read else "")
    about = cells.about if n_dims == 2 else f"{cells.about} The map is a t-SNE of {n_dims} dimensions."
    html = explorer_page(
        cells.coordinates if n_dims == 2 else tsne(cells.coordinates),
        cells.data.cell_names,
        _values_of(cells, _shown_genes(cells, genes)),
        _classes_of(cells),
        heading if title is None else str(title),
        about,
        names,
    )
    write_bytes(target, html.encode())
    return Explorer(target, cells.data.n_cells, html)


def _explored(given, data, model, fold):
    """Return cells on the map, from whichever kind of model was given."""
    if isinstance(given, CrossValidation):
        return cells_of_result(given, data, model, fold)
    if model is not None or fold != 0:
        raise ValueError(f"model= and fold= choose from a CrossValidation, but {type(given).__name__} was given")
    if isinstance(given, PairedModel):
        return cells_of_model(given, data)
    if not isinstance(given, type) and hasattr(given, "transform") and hasattr(given, "predict"):
        return cells_of_estimator(given, data)
    hint = "; make one of a loaded result with CrossValidation.from_results" if isinstance(given, dict) else ""
    raise ValueError(
        "model_or_result must be a fitted PairedModel, an estimator with transform and predict, or a CrossValidation, "
        f"got {given.__name__ if isinstance(given, type) else type(given).__name__}{hint}"
    )


def _shown_genes(cells, more):
    """Genes of the model, those with the largest norms, and those asked for."""
    if isinstance(more, str):
        raise ValueError(f"genes must be a list of names, got the text {more!r}: give [{more!r}]")
    more = check_named(more, "genes").tolist() if len(more) else []
    names = cells.data.gene_names.tolist()
    whole = dict(zip(shown_genes(names), names, strict=True)) | {name: name for name in names}
    unknown = [gene for gene in more if gene not in whole]
    if unknown:
        raise ValueError(
            f"genes that data does not have: {preview(unknown)}; it has {preview(cells.data.gene_names, 3)}"
        )
    return list(dict.fromkeys([*cells.genes[:MOST_GENES], *(whole[gene] for gene in more)]))


def _values_of(cells: ExploredCells, genes: list[str]) -> list[CellValues]:
    """Return everything that has one number per cell."""
    expression, unit = _expression(cells.data, genes)
    names = shown_genes(genes, cells.data.gene_names)
    values = [CellValues(GENES, gene, column, unit) for gene, column in zip(names, expression.T, strict=True)]
    for group, table in ((MEASURED, cells.measured), (PREDICTED, cells.predicted)):
        for name, column in table.items():
            if column.notna().any():
                note = cells.notes.get(str(name), "") if group == PREDICTED else ""
                values.append(CellValues(group, str(name), column.to_numpy(), cells.units.get(str(name)) or "", note))
    misfit = _mean_residual(cells)
    if misfit is not None:
        note = "Root mean square of the residuals of all features of the cell, each in SDs of the feature."
        values.append(CellValues(CELLS, "mean residual", misfit, "SD", note))
    if cells.spread is not None:
        note = "How far the networks of the ensemble disagree about the cell's place, in units of the map."
        values.append(CellValues(CELLS, "uncertainty of the place", np.asarray(cells.spread), "", note))
    return values


def _expression(data, genes):
    """Expression of some genes as log2 counts of the median depth, or as in X; and its unit."""
    columns = [data.gene_names.tolist().index(gene) for gene in genes]
    if data.counts is None or not columns:
        return data.X[:, columns].astype(np.float64), Z_SCORE
    chosen = data.counts[:, columns]
    chosen = np.asarray(chosen.toarray() if hasattr(chosen, "toarray") else chosen, dtype=np.float64)
    depth = np.asarray(data.counts.sum(axis=1, dtype=np.float64)).reshape(-1, 1)
    # The other genes enter as one, which keeps the depth: as floats of all genes they would take much memory.
    others = np.maximum(depth - chosen.sum(axis=1, keepdims=True), 0)
    return normalise_counts(np.hstack([chosen, others]))[:, :-1], "log₂ count"


def _mean_residual(cells):
    """Root mean square of a cell's residuals in SDs of the features; None if nothing is measured and predicted."""
    both = [name for name in cells.measured if name in cells.predicted]
    measured, predicted = (table[both].to_numpy() for table in (cells.measured, cells.predicted))
    known = np.isfinite(measured - predicted)
    if not known.any():
        return None
    centred = np.where(np.isfinite(measured), measured, np.nan)
    sds = np.array([np.nanstd(column) if np.isfinite(column).any() else 0 for column in centred.T])
    known &= sds > 0
    squares = np.where(known, (measured - predicted) / np.where(sds > 0, sds, 1), 0) ** 2
    number = known.sum(axis=1)
    return np.sqrt(np.divide(squares.sum(axis=1), number, out=np.full(len(squares), np.nan), where=number > 0))


def _classes_of(cells):
    """Types and families with their colours, and which cells were held out."""
    data, classes = cells.data, []
    types, families = data.cell_types, data.cell_families
    if families is not None:
        colors = data.family_colors
        if colors is None and types is not None and data.type_colors is not None:
            colors = modal_colors(families, [data.type_colors[name] for name in types])
        classes.append(CellClasses("family", families, complete_colors(families, colors, "family_colors")))
    if types is not None:
        classes.append(CellClasses("type", types, complete_colors(types, data.type_colors, "type_colors")))
    if cells.held_out is not None and cells.held_out.any():
        classes.append(CellClasses("in this fold", np.where(cells.held_out, "held out", "training"), _HELD_OUT))
    return classes
