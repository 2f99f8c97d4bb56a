"""The container that everything else takes: expression and features of the same cells."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from sbnn._checks import check_counts, check_length, check_matrix, check_rows, check_unique, preview
from sbnn._hints import Counts, Genes, Table
from sbnn.data.cell_labels import UNKNOWN, UNKNOWN_COLOR, check_colors, check_labels
from sbnn.data.containers import make_anndata, make_mudata, pair_anndata, pair_mudata, pair_tables
from sbnn.data.feature_transforms import Transforms, check_transforms

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

#: Names that tables of results give to all features, and to all cells: no feature or family may be called so.
RESERVED_NAMES = {"feature_names": "all features", "cell_families": "all cells"}


def check_paired(data: object, name: str = "data") -> None:
    """Raise ValueError unless `data` is PairedData."""
    if not isinstance(data, PairedData):
        raise ValueError(
            f"{name} must be PairedData, for example PairedData.from_tables(...), got {type(data).__name__}"
        )


@dataclass(frozen=True, eq=False)
class PairedData:
    """Two measurements of the same cells, checked on creation.

    Attributes
    ----------
    X : float32 array, shape (n_cells, n_genes)
        Expression as modelled: normalised, log-transformed, z-scored.
    Y : float32 array, shape (n_cells, n_features)
        Features as modelled: z-scored; NaN where a value was not measured.
    gene_names, feature_names, cell_names : str arrays
        Unique names of columns and rows.
    counts : array or CSR matrix, shape (n_cells, n_genes), optional
        Raw counts of the same genes.
    features : float64 array, shape (n_cells, n_features), optional
        Features as measured, in `feature_units`.
    feature_units : tuple of str or None, optional
        Unit of each feature; "log" marks the natural logarithm of a number without unit.
    feature_transforms : tuple of str or None, optional
        "log10" for each feature of which `transform` took logarithms (called "log10(...)"), None for the others.
    cell_types, cell_families : str arrays, shape (n_cells,), optional
        Transcriptomic types, and the families they belong to; "unknown" where missing. A Series is matched by the names
        of the cells, here and in `donors`.
    type_colors, family_colors : dict
        Colour (hexadecimal, or as matplotlib takes it) of each type and family.
    donors : str array, shape (n_cells,), optional
        The animal each cell comes from; "unknown" where missing.
    name : str
        Name of the data set.

    Raises
    ------
    ValueError
        Shapes disagree, names are duplicated, X is not finite, Y is infinite or counts are negative.
    """

    X: np.ndarray
    Y: np.ndarray
    gene_names: np.ndarray
    feature_names: np.ndarray
    cell_names: np.ndarray
    counts: Counts | None = None
    features: np.ndarray | None = None
    feature_units: tuple[str | None, ...] | None = None
    cell_types: np.ndarray | None = None
    cell_families: np.ndarray | None = None
    type_colors: dict[str, str] | None = None
    family_colors: dict[str, str] | None = None
    donors: np.ndarray | None = None
    name: str = "unnamed"
    feature_transforms: Transforms | None = None

    def __post_init__(self) -> None:
        """Check shapes, names and values."""
        set_field = object.__setattr__  # the way to complete a frozen dataclass
        self._check_labels()
        set_field(self, "X", check_matrix(self.X, "X", dtype=np.float32))
        set_field(self, "Y", check_matrix(self.Y, "Y", dtype=np.float32, allow_nan=True))
        n_cells, n_genes = self.X.shape
        n_features = self.Y.shape[1]
        check_length(self.Y, n_cells, "Y", "cell of X")
        for name, length, what in (
            ("gene_names", n_genes, "gene"),
            ("feature_names", n_features, "feature"),
            ("cell_names", n_cells, "cell"),
        ):
            set_field(self, name, check_unique(getattr(self, name), f"{name.replace('_', ' ')}"))
            check_length(getattr(self, name), length, name, what)
        for name in ("cell_types", "cell_families", "donors"):
            if getattr(self, name) is not None:
                set_field(self, name, check_labels(getattr(self, name), self.cell_names, name))
        for name, reserved in RESERVED_NAMES.items():
            if getattr(self, name) is not None and reserved in getattr(self, name):
                raise ValueError(f"{name} has {reserved!r}, by which tables of results name the whole: rename it")
        self._check_measured(n_cells, n_genes, n_features)
        set_field(self, "feature_transforms", check_transforms(self.feature_transforms, self.feature_names))
        self._check_colors("cell_types", "type_colors")
        self._check_colors("cell_families", "family_colors")

    def _check_labels(self):
        """Refuse DataFrames whose rows or columns have other names: they would be matched by position."""
        tables = (("X", self.gene_names), ("Y", self.feature_names), ("counts", self.gene_names))
        for name, columns in (*tables, ("features", self.feature_names)):
            table = getattr(self, name)
            if not isinstance(table, pd.DataFrame):
                continue
            for labels, names, what in ((table.index, self.cell_names, "rows"), (table.columns, columns, "columns")):
                if not isinstance(labels, pd.RangeIndex) and list(map(str, labels)) != list(map(str, names)):
                    raise ValueError(f"{name} has {what} that differ from cell_names, gene_names or feature_names")

    def _check_measured(self, n_cells, n_genes, n_features):
        """Check the values as measured against the values as modelled."""
        if self.counts is not None:
            object.__setattr__(self, "counts", check_counts(self.counts))
            if self.counts.shape != (n_cells, n_genes):
                raise ValueError(f"counts has shape {self.counts.shape}, expected {(n_cells, n_genes)} as X")
        if self.features is not None:
            features = check_matrix(self.features, "features", allow_nan=True)
            object.__setattr__(self, "features", features)
            if features.shape != (n_cells, n_features):
                raise ValueError(f"features has shape {features.shape}, expected {(n_cells, n_features)} as Y")
        if self.feature_units is not None:
            check_length(self.feature_units, n_features, "feature_units", "feature")
            one_each = not isinstance(self.feature_units, (str, dict, set))
            if not one_each or not all(unit is None or isinstance(unit, str) for unit in self.feature_units):
                raise ValueError(f"feature_units must be a sequence of text or None, got {self.feature_units!r}")

    def _check_colors(self, names, colors):
        """Check that every type (family) has its colour."""
        if getattr(self, colors) is not None:
            check_colors(getattr(self, colors), colors)
        if getattr(self, names) is None or getattr(self, colors) is None:
            return
        missing = sorted(set(getattr(self, names)) - set(getattr(self, colors)))
        if UNKNOWN in missing:
            missing.remove(UNKNOWN)
            object.__setattr__(self, colors, {UNKNOWN: UNKNOWN_COLOR} | getattr(self, colors))
        if missing:
            raise ValueError(f"{colors} lacks a colour for {preview(missing)}")

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.X.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self.X.shape[1]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.Y.shape[1]

    @property
    def fingerprint(self) -> str:
        """SHA-1 of the modelled values and names: shows whether a result belongs to these data."""
        digest = hashlib.sha1()
        for array in (self.X, self.Y):
            digest.update(np.ascontiguousarray(array).data.cast("B"))
        for names in (self.gene_names, self.feature_names, self.cell_names):
            digest.update("\n".join(names).encode())
        return digest.hexdigest()

    @property
    def values_digest(self) -> np.ndarray:
        """Eight numbers that differ between measurements and hardly change with rounding, float64 array.

        Projections of X and Y (missing values as 0) onto fixed random directions of cells and genes (features).
        """
        numbers = []
        for values in (self.X, self.Y):
            random = np.random.default_rng(0)
            values = np.nan_to_num(np.asarray(values, dtype=np.float64))
            for _ in range(4):
                cells, columns = (random.standard_normal(size) for size in values.shape)
                numbers.append(cells @ values @ columns / np.sqrt(values.size))
        return np.array(numbers)

    @property
    def names_hash(self) -> str:
        """SHA-1 of the names of cells, genes and features, and of the cells' classes, unaffected by rounding."""
        digest = hashlib.sha1()
        for names in (self.cell_names, self.gene_names, self.feature_names, self.cell_types, self.cell_families):
            digest.update("\n".join(() if names is None else names).encode() + b"\0")
        return digest.hexdigest()

    @classmethod
    def from_tables(
        cls,
        counts: Table,
        features: Table,
        genes: Genes = 1000,
        detection_threshold: float = 0,
        genes_as_rows: bool = False,
        cells: Table | None = None,
        **more: Any,
    ) -> Self:
        """Pair tables of counts and of features of the user's own cells.

        Cells are matched by name; those missing from one table, or without a count of the chosen genes, are left out
        with a warning. Genes are chosen, counts divided by depth and log-transformed, both sides z-scored (see
        `sbnn.Preprocessor`).

        Parameters
        ----------
        counts : DataFrame or path of a CSV file, cells x genes
        features : DataFrame or path of a CSV file, cells x features
            In their own units, NaN where not measured.
        genes : int, sequence of str or None
            This many of the most variable genes; or the named genes; or all detected genes (None).
        detection_threshold : float
            For the choice of variable genes: a gene is detected in a cell if it has more counts than this (0 for UMIs,
            about 30 for full-length reads).
        genes_as_rows : bool
            Whether the table of counts has one row per gene.
        cells : DataFrame or path of a CSV file, optional
            What is known about the cells; their names are its index or one of its columns.
        **more
            `name`, `feature_units`, `type_colors`, `family_colors` as in `PairedData`; `cell_types`, `cell_families`,
            `donors` as columns of `cells`, or as Series indexed by cell; `transform`: "auto" takes logarithms (base 10)
            of positive features that are skewed, and says of which in a warning and in `feature_transforms`; a list
            names the features; None (default) changes nothing. `PairedModel` predicts in the features' own units.

        Returns
        -------
        PairedData
            Cells in the order of `features`.

        Raises
        ------
        ValueError
            No cell in common, a transposed table, text among numbers, negative counts, a feature or a cell without
            any value.

        Warns
        -----
        UserWarning
            Cells are left out; features are skewed; `detection_threshold` does not fit reads, or UMIs.
        """
        settings = {"genes": genes, "detection_threshold": detection_threshold}
        return cls(**pair_tables(counts, features, genes_as_rows, cells, **settings, **more))

    @classmethod
    def from_anndata(
        cls, adata: AnnData, features: str | Sequence[str], counts: str | None = None, genes: Genes = 1000, **more: Any
    ) -> Self:
        """Pair what an AnnData holds, in memory or backed by a file; counts stay sparse until genes are chosen.

        The name of the data set is `uns["name"]`, if present.

        Parameters
        ----------
        adata : anndata.AnnData
        features : str or list of str
            Key of `adata.obsm`, or columns of `adata.obs`. If `obsm` holds an array, `uns["<key>_names"]` names its
            columns; `uns["<key>_units"]` are units, "" for none.
        counts : str or None
            Layer that holds counts; None: the layer "counts" if there is one, else `adata.X`; "X" for `adata.X`.
        genes : int, str, sequence of str or None
            As in `from_tables`; or a bool column of `adata.var`, for example "highly_variable".
        **more
            As in `from_tables`, but `cell_types`, `cell_families` and `donors` are columns of `adata.obs`; their
            colours are taken from `adata.uns`, where scanpy stores them.

        Returns
        -------
        PairedData

        Raises
        ------
        ValueError
            A key, column or layer is missing, and as in `from_tables`.
        """
        return cls(**pair_anndata(adata, features, counts, genes, **more))

    @classmethod
    def from_mudata(
        cls,
        mdata: MuData,
        x: str = "rna",
        y: str = "ephys",
        counts: str | None = None,
        genes: Genes = 1000,
        **more: Any,
    ) -> Self:
        """Pair two modalities of a MuData.

        Parameters
        ----------
        mdata : mudata.MuData
        x, y : str
            Modalities of genes and of features.
        counts : str or None
            Layer of modality `x` that holds counts; None and "X" as in `from_anndata`.
        genes, **more
            As in `from_anndata`; columns of the obs of modality `x`.

        Returns
        -------
        PairedData
        """
        return cls(**pair_mudata(mdata, x, y, counts=counts, genes=genes, **more))

    def to_anndata(self) -> AnnData:
        """Return an AnnData: z-scored expression in X, `layers["counts"]`, features in `obsm["features"]`.

        Types, families and donors are columns of `obs` ("cell_type", "cell_family", "donor"), with their colours where
        scanpy looks for them. `PairedData.from_anndata(adata, "features", "counts", genes=None,
        cell_types="cell_type", ...)` converts back: with z-scores over the cells of the AnnData, and without genes
        that have no count in any of them. Feature names with "/", which files cannot hold, go to
        `uns["features_names"]`.
        """
        return make_anndata(self)

    def to_mudata(self) -> MuData:
        """Return a MuData with the modalities "rna" (as `to_anndata`) and "ephys" (features in their own units)."""
        return make_mudata(self)

    def subset(self, cells: npt.ArrayLike | pd.Series) -> Self:
        """Return only the chosen cells.

        Parameters
        ----------
        cells : int or bool array
            Rows to keep, in this order; or a mask of all cells.

        Returns
        -------
        PairedData

        Raises
        ------
        ValueError
            A mask of the wrong length, or rows that do not exist or are repeated.
        """
        named = cells.index if isinstance(cells, pd.Series) and not isinstance(cells.index, pd.RangeIndex) else None
        if named is not None and list(map(str, named)) != self.cell_names.tolist():
            raise ValueError("cells is a Series whose index is not the names of the cells in their order")
        cells = check_rows(cells, self.n_cells, "cells")
        by_cell = ("X", "Y", "cell_names", "counts", "features", "cell_types", "cell_families", "donors")
        taken = {name: getattr(self, name)[cells] for name in by_cell if getattr(self, name) is not None}
        return replace(self, **taken)

    def __repr__(self) -> str:
        """Describe the content in a few lines."""
        lines = [
            f"PairedData {self.name!r}: {self.n_cells} cells",
            f"  X {self.n_genes} genes: {preview(self.gene_names, 4)}",
            f"  Y {self.n_features} features: {preview(self.feature_names, 4)}",
        ]
        for name, what in (("cell_types", "types"), ("cell_families", "families"), ("donors", "donors")):
            if getattr(self, name) is not None:
                known = np.setdiff1d(getattr(self, name), [UNKNOWN])
                n_unknown = int((getattr(self, name) == UNKNOWN).sum())
                lines.append(f"  {len(known)} {what}" + (f", unknown for {n_unknown} cells" if n_unknown else ""))
        if self.counts is not None:
            kind = "sparse" if sparse.issparse(self.counts) else "dense"
            lines.append(f"  counts as measured ({kind}), features as measured")
        missing = int(np.isnan(self.Y).sum())
        if missing:
            lines.append(f"  {missing} values of Y are missing ({missing / self.Y.size:.2%})")
        return "\n".join(lines)
