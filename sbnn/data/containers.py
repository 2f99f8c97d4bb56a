"""Tables, AnnData and MuData of the user's own cells, converted to arguments of PairedData and back."""

from __future__ import annotations

import importlib
import numbers
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from sbnn._checks import (
    check_counts,
    check_number,
    check_targets,
    check_unique,
    check_whole,
    preview,
    warn,
    warn_of_fractions,
)
from sbnn._hints import Genes, Labels, Paired, Table, is_sparse
from sbnn.data.accidents import split_units, warn_of_dates, warn_of_sentinels, which_vary
from sbnn.data.cell_labels import aligned_labels, check_labels, complete_colors
from sbnn.data.count_kinds import warn_of_threshold
from sbnn.data.count_layers import counts_of
from sbnn.data.count_tables import CountTable, standardise
from sbnn.data.feature_transforms import take_logarithms
from sbnn.data.named_tables import read_descriptions, read_table, require_named_rows
from sbnn.data.variable_genes import gene_statistics, nearest_number, select_above_curve

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


#: What has colours, and where PairedData keeps them.
_COLORS = {"cell_types": "type_colors", "cell_families": "family_colors"}
#: What may be known about cells besides counts and features, and the column of `obs` in which `to_anndata` puts it.
OBS_COLUMNS = {"cell_types": "cell_type", "cell_families": "cell_family", "donors": "donor"}
#: What `pair` takes in addition to its named arguments.
_SETTINGS = {*OBS_COLUMNS, *_COLORS.values(), "feature_units", "feature_transforms", "transform"}
#: Variable genes that are chosen if nobody asks for a number: of fewer genes, all are taken without a word.
_DEFAULT_GENES = 1000
#: Fraction by which the number of variable genes may differ from the number requested.
FARTHEST = 0.2


def _take_columns(settings, table, where):
    """Replace names of columns among the settings with the columns."""
    for key in OBS_COLUMNS:
        if isinstance(settings.get(key), str):
            settings[key] = table[_present([settings[key]], table, where)[0]]


def pair_tables(
    counts: Table, features: Table, genes_as_rows: bool = False, cells: Table | None = None, **settings: Any
) -> dict[str, Any]:
    """Pair two tables of the same cells; arguments of `PairedData.from_tables`."""
    for table, what in ((counts, "counts"), (features, "features")):
        require_named_rows(table, what)
    counts, features = read_table(counts, "counts"), read_table(features, "features")
    if genes_as_rows:
        counts = counts.T
    if not counts.index.isin(features.index).any() and counts.columns.isin(features.index).any():
        raise ValueError(
            "counts is transposed: its columns, not its rows, are the cells of features; "
            f"give genes_as_rows={not genes_as_rows}"
        )
    if not features.index.isin(counts.index).any() and features.columns.isin(counts.index).any():
        raise ValueError("features is transposed: its columns, not its rows, are the cells of counts; give features.T")
    if cells is not None:
        _take_columns(settings, read_descriptions(cells, features.index), "cells")
    named = [key for key in OBS_COLUMNS if isinstance(settings.get(key), str)]
    if named:
        raise ValueError(f"{named[0]}={settings[named[0]]!r} names a column: give the table that has it as cells")
    is_sparse = counts.size and all(isinstance(kind, pd.SparseDtype) and kind.fill_value == 0 for kind in counts.dtypes)
    values = counts.sparse.to_coo().tocsr() if is_sparse else counts.to_numpy()
    table = CountTable(values, counts.columns.to_numpy(), counts.index.to_numpy())
    return pair(table, features, **settings)


def pair_anndata(
    adata: AnnData, features: str | Sequence[str], counts: str | None = None, genes: Genes = 1000, **settings: Any
) -> dict[str, Any]:
    """Pair what an AnnData holds; arguments of `PairedData.from_anndata`."""
    if not hasattr(adata, "obsm"):
        raise ValueError(f"adata must be an AnnData, as anndata.read_h5ad(path) gives it, got {type(adata).__name__}")
    if isinstance(features, bytes) or not np.iterable(features):
        raise ValueError(f"features must be a key of adata.obsm or a list of columns of adata.obs, got {features!r}")
    if not isinstance(features, str):
        table = adata.obs[_present(list(features), adata.obs, "adata.obs")]
        return _pair_genes(adata, table, "features", counts, genes, settings)
    if features not in adata.obsm:
        raise ValueError(f"adata.obsm lacks {features!r} (features); it has {preview(adata.obsm, 12)}")
    table, what = adata.obsm[features], f"obsm[{features!r}]"
    if not isinstance(table, pd.DataFrame):
        columns = [f"{features}{column + 1}" for column in range(table.shape[1])]
        columns = _of_uns(adata, f"{features}_names", columns)
        table = pd.DataFrame(_dense(table), index=adata.obs_names, columns=columns)
    if f"{features}_units" in adata.uns:
        settings.setdefault("feature_units", _units(_of_uns(adata, f"{features}_units", table.columns)))
    if f"{features}_transforms" in adata.uns:
        settings["feature_transforms"] = _units(_of_uns(adata, f"{features}_transforms", table.columns))
    return _pair_genes(adata, table, what, counts, genes, settings)


def _of_uns(adata, key, columns):
    """Names or units of the columns of a table in `obsm`: `adata.uns[key]` if present, else the columns."""
    found = _list_of_uns(adata, key, columns)
    if len(found) != len(columns):
        raise ValueError(f"adata.uns[{key!r}] must have one entry per feature ({len(columns)}), got {found!r}")
    return found


def _list_of_uns(adata, key, default):
    """List in `adata.uns[key]` if present, else the default."""
    found = adata.uns.get(key, default)
    if isinstance(found, (str, bytes, Mapping)) or not np.iterable(found):
        raise ValueError(f"adata.uns[{key!r}] must be a list, got {found!r}")
    return list(found)


def pair_mudata(
    mdata: MuData, x: str = "rna", y: str = "ephys", counts: str | None = None, genes: Genes = 1000, **settings: Any
) -> dict[str, Any]:
    """Pair two modalities of a MuData; arguments of `PairedData.from_mudata`."""
    if not hasattr(mdata, "mod"):
        raise ValueError(f"mdata must be a MuData, as mudata.read_h5mu(path) gives it, got {type(mdata).__name__}")
    missing = [name for name in (x, y) if name not in mdata.mod]
    if missing:
        raise ValueError(f"mdata lacks the modalities {preview(missing)}; it has {preview(mdata.mod)}")
    features = mdata.mod[y]
    if features.X is None:
        raise ValueError(f"modality {y!r} of mdata has no X, which should hold the features")
    table = pd.DataFrame(_dense(features.X), index=features.obs_names, columns=features.var_names)
    if "unit" in features.var:
        settings.setdefault("feature_units", _units(features.var["unit"]))
    if "transform" in features.var:
        settings["feature_transforms"] = _units(features.var["transform"])
    return _pair_genes(mdata.mod[x], table, f"modality {y!r}", counts, genes, settings, f"mdata[{x!r}]")


def _pair_genes(adata, table, what, layer, genes, settings, where="adata"):
    """Pair the counts of an AnnData with a table of features, with the requested columns of obs."""
    if isinstance(genes, str):
        marked = adata.var[_present([genes], adata.var, f"{where}.var")[0]]
        if marked.dtype != bool:
            raise ValueError(f"{where}.var[{genes!r}] (genes) must hold True and False only, got dtype {marked.dtype}")
        genes = adata.var_names[marked.to_numpy()]
    _take_columns(settings, adata.obs, f"{where}.obs")
    for key, colors in _COLORS.items():
        column = settings.get(key)
        found = _list_of_uns(adata, f"{column.name}_colors", []) if hasattr(column, "cat") else []
        if found and len(found) >= len(column.cat.categories):  # fewer: left over from other categories
            categories = column.cat.categories.astype(str)
            settings.setdefault(colors, dict(zip(categories, map(str, found), strict=False)))
    if isinstance(adata.uns.get("name"), str):
        settings.setdefault("name", adata.uns["name"])
    if not adata.var_names.is_unique:
        twice = preview(adata.var_names[adata.var_names.duplicated()].unique(), 3)
        raise ValueError(
            f"duplicate genes in {where}.var_names: {twice}; {where}.var_names_make_unique() tells them apart"
        )
    counts = CountTable(counts_of(adata, layer, where), adata.var_names.to_numpy(str), adata.obs_names.to_numpy(str))
    return pair(counts, read_table(table, what), genes=genes, **settings)


def _dense(values):
    """Values of features as an array, whether they are in memory, on disk or sparse."""
    values = values.to_memory() if hasattr(values, "to_memory") else values
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def _units(units):
    """Units in the form that PairedData has: None for none."""
    return tuple(None if pd.isna(unit) or not str(unit) else str(unit) for unit in units)


def _present(names, table, where):
    """Return the names after checking that a table of an AnnData has them as columns."""
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"{where} lacks the column(s) {preview(missing)}; it has {preview(table.columns, 12)}")
    return names


def pair(table: CountTable, features: pd.DataFrame, genes: Genes = 1000, detection_threshold: float = 0,
         name: str = "unnamed", **more: Any) -> dict[str, Any]:  # fmt: skip
    """Match counts and features by cell, choose genes, normalise, z-score.

    Parameters
    ----------
    table : CountTable
        Counts of all genes, dense or sparse.
    features : DataFrame, cells x features
        Numbers; NaN where not measured.
    genes, detection_threshold, name
        As in `PairedData.from_tables`.
    **more
        `cell_types`, `cell_families`, `donors`: Series indexed by cell, or arrays in the order of `features`; colours
        and units as in `PairedData`; `transform` as in `PairedData.from_tables`.

    Returns
    -------
    dict
        Arguments of PairedData, cells in the order of `features`.
    """
    unknown = sorted(set(more) - _SETTINGS)
    if unknown:
        raise TypeError(f"unknown argument(s) {preview(unknown)}: expected among {preview(sorted(_SETTINGS), 12)}")
    if not features.size:
        raise ValueError(f"features is empty: {features.shape[0]} rows and {features.shape[1]} columns")
    warn_of_dates(table.gene_names, "counts")  # first: two genes turned into the same date have the same name
    gene_names = check_unique(table.gene_names, "genes in counts")
    cells = _match(check_unique(table.cell_names, "cells in counts"), features.index)
    rows = pd.Index(table.cell_names).get_indexer(cells)
    counts = table.counts.tocsr() if is_sparse(table.counts) else table.counts
    counts = counts if np.array_equal(rows, np.arange(counts.shape[0])) else counts[rows]
    counts = check_counts(counts, names=(cells, gene_names))
    warn_of_fractions(counts, "counts")
    chosen = _choose_genes(counts, gene_names, genes, detection_threshold)
    counts = counts[:, chosen]
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    if empty.all():
        raise ValueError(f"none of the {len(cells)} cells has a count of the chosen genes")
    if empty.any():
        warn(
            f"{empty.sum()} of {len(cells)} cells have no count of the chosen genes and are left out: "
            f"{preview(cells[empty], 3)}"
        )
        counts, cells = counts[~empty], cells[~empty]
    warn_of_sentinels(features)
    features = _without_constant(features, cells, more)
    values = features.loc[cells].to_numpy(np.float64)
    check_targets(values, np.float64, features.columns, cells, name="features")
    feature_names: Labels = check_unique(features.columns, "features")
    if more.get("feature_units") is None:
        feature_names, more["feature_units"] = split_units(feature_names)
    about = feature_names, more["feature_units"], more.pop("transform", None), more.get("feature_transforms")
    values, feature_names, more["feature_units"], more["feature_transforms"] = take_logarithms(values, *about)
    for what in OBS_COLUMNS:
        if more.get(what) is not None:
            if not isinstance(more[what], pd.Series):
                more[what] = pd.Series(check_labels(more[what], features.index, what), index=features.index)
            more[what] = aligned_labels(more[what], cells, what)
            if what in _COLORS:
                more[_COLORS[what]] = complete_colors(more[what], more.get(_COLORS[what]), _COLORS[what])
    names = {"gene_names": gene_names[chosen], "feature_names": feature_names, "cell_names": cells}
    return standardise(counts, values, **names, name=name, **more)


def _without_constant(features, cells, more):
    """Leave out features with one value in all cells, and their units and transforms among the settings."""
    varying = which_vary(features.loc[cells])
    for what in ("feature_units", "feature_transforms"):
        given = more.get(what)
        if isinstance(given, (list, tuple, np.ndarray)) and len(given) == len(varying) and not varying.all():
            more[what] = tuple(one for one, kept in zip(given, varying, strict=True) if kept)
    return features.loc[:, varying]


def _match(cells, measured):
    """Cells that are in both tables, in the order of the features; warns of the others."""
    measured = check_unique(measured, "cells in features")
    common = measured[np.isin(measured, cells)]
    if not len(common):
        raise ValueError(
            f"counts and features have no cell in common: counts has {preview(cells, 3)}, features "
            f"{preview(measured, 3)}; give both the same names"
        )
    for what, other, names in (("counts", "features", cells), ("features", "counts", measured)):
        left_out = names[~np.isin(names, common)]
        if len(left_out):
            report = f"{len(left_out)} of {len(names)} cells of {what} are left out, {other} lacks them"
            warn(f"{report}: {preview(left_out, 3)}")
    return common


def _choose_genes(counts, gene_names, genes, detection_threshold):
    """Places of the genes to model: the most variable, those named, or all that were detected."""
    check_number(detection_threshold, "detection_threshold")
    if genes is None or isinstance(genes, numbers.Number):
        detected = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)
        if genes is None and len(detected) < len(gene_names):
            silent = np.delete(gene_names, detected)
            warn(f"{len(silent)} of {len(gene_names)} genes have no count and are left out: {preview(silent, 3)}")
        if genes is not None and check_whole(genes, "genes") > len(detected) and genes != _DEFAULT_GENES:
            warn(f"genes={genes}: counts has {len(detected)} genes with any count, and all of them are taken")
        if genes is None or genes >= len(detected):
            return detected
        warn_of_threshold(counts, detection_threshold)
        return _most_variable(counts, genes, detection_threshold)
    if isinstance(genes, (str, bytes)) or not np.iterable(genes):
        raise ValueError(f"genes must be a whole number, a list of names or None, got {genes!r}")
    names = check_unique(list(genes), "names in genes")
    if not len(names):
        raise ValueError("genes is empty: give a number, names of genes, or None for all")
    places = pd.Index(gene_names).get_indexer(names)
    if (places < 0).any():
        raise ValueError(f"counts lacks the genes {preview(names[places < 0])}")
    return places


def _most_variable(counts, genes, detection_threshold):
    """Places of the most variable genes, as close to the requested number as the curves allow."""
    statistics = gene_statistics(counts, detection_threshold)
    eligible = int(statistics["zero_rate"].notna().sum())
    if genes > eligible:
        raise ValueError(
            f"genes={genes} cannot be chosen by their variability: {eligible} genes have more than "
            f"{detection_threshold:g} counts (detection_threshold) in at least 10 cells; give a smaller number, "
            "names, or None for all"
        )
    selection = select_above_curve(statistics, genes)
    differs = nearest_number(genes, selection, "genes")
    if differs and abs(selection.mask.sum() - genes) > FARTHEST * genes:
        raise ValueError(
            f"genes={genes}: no curve selects about that many, the nearest selects {selection.mask.sum()}. Are these "
            "raw counts? Give another number, names of genes, or None for all"
        )
    if differs:
        warn(differs)
    return np.flatnonzero(selection.mask)


def make_anndata(data: Paired) -> AnnData:
    """Return PairedData as AnnData; see `PairedData.to_anndata`."""
    anndata = import_extra("anndata")
    present = {what: column for what, column in OBS_COLUMNS.items() if getattr(data, what) is not None}
    obs = pd.DataFrame(
        {column: pd.Categorical(getattr(data, what)) for what, column in present.items()}, index=data.cell_names
    )
    features = data.Y if data.features is None else data.features
    uns: dict[str, Any] = {"name": data.name}
    if data.feature_units is not None and data.features is not None:
        uns["features_units"] = np.array([unit or "" for unit in data.feature_units])
    if data.feature_transforms is not None:
        uns["features_transforms"] = np.array([transform or "" for transform in data.feature_transforms])
    for what, where in _COLORS.items():
        colors = getattr(data, where)
        if what in present and colors is not None:
            uns[f"{present[what]}_colors"] = [colors[name] for name in obs[present[what]].cat.categories]
    adata = anndata.AnnData(
        X=data.X.copy(),
        obs=obs,
        var=pd.DataFrame(index=data.gene_names),
        layers=None if data.counts is None else {"counts": data.counts.copy()},
        uns=uns,
    )
    put_in_obsm(adata, "features", pd.DataFrame(features, index=data.cell_names, columns=data.feature_names))
    return adata


def put_in_obsm(adata: AnnData, key: str, table: pd.DataFrame) -> None:
    """Put a table into `obsm`: unchanged, or with its names in `uns` if files could not hold them ("/")."""
    if any("/" in name or name == "_index" for name in table.columns):
        adata.obsm[key], adata.uns[f"{key}_names"] = table.to_numpy(), table.columns.to_numpy(str)
    else:
        adata.obsm[key] = table


def make_mudata(data: Paired) -> MuData:
    """Return PairedData as MuData; see `PairedData.to_mudata`."""
    mudata, genes = import_extra("mudata"), make_anndata(data)
    values, names = np.asarray(genes.obsm.pop("features")), data.feature_names
    obs, var = pd.DataFrame(index=data.cell_names), pd.DataFrame(index=names)
    genes.uns.pop("features_names", None)
    for column in ("unit", "transform"):
        if f"features_{column}s" in genes.uns:
            var[column] = genes.uns.pop(f"features_{column}s")
    features = import_extra("anndata").AnnData(values, obs, var)
    return mudata.MuData({"rna": genes, "ephys": features})


def import_extra(package: str) -> ModuleType:
    """Import a package of the extra "anndata", or raise an error that tells how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {package}: pip install '.[anndata]' in the folder of sbnn ({error})"
        ) from error
