"""Tables, AnnData and MuData of the reader's own cells, turned into PairedData and back."""

import csv
import gzip
import importlib

import numpy as np
import pandas as pd
from scipy import sparse

from sbnn._checks import check_counts, check_targets, check_unique, preview, warn, warn_of_fractions
from sbnn._reading import CountTable, paired
from sbnn.preprocessing import select_variable_genes

#: What has colours, and where PairedData keeps them.
_COLORS = {"cell_types": "type_colors", "cell_families": "family_colors"}
#: What may be known of cells, beside counts and features.
_DESCRIPTIONS = ("cell_types", "cell_families", "donors")
#: What cells without a type, family or donor are called, and their colour.
UNKNOWN, UNKNOWN_COLOR = "unknown", "#BBBBBB"
#: Rows of a dense table on disk that are read at once.
ROWS_AT_ONCE = 1000


def read_table(table, what):
    """Return a DataFrame with names as text, read from CSV where a path is given.

    Parameters
    ----------
    table : DataFrame or path-like
        A path ends in .csv (commas), .tsv or .txt (tabs), .gz or not; its first column holds the names of the rows.
    what : str
        Name of the argument in errors.
    """
    if not isinstance(table, pd.DataFrame):
        # Names are text, even where they look like numbers or like a missing value.
        table = pd.read_csv(table, sep=_separator(table, what), converters={0: str})
        table = table.set_index(table.columns[0])
    text = [str(column) for column, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if text:
        raise ValueError(
            f"{what} must hold numbers only, but column(s) {preview(text)} hold text: drop or convert them"
        )
    nullable = [column for column, kind in table.dtypes.items() if pd.api.types.is_extension_array_dtype(kind)]
    if nullable:
        table = table.astype(dict.fromkeys(nullable, np.float64))
    return table.set_axis(table.index.astype(str), axis=0).set_axis(table.columns.astype(str), axis=1)


def _separator(path, what):
    """Tab or comma, whichever the first line has, after checking that no column comes twice."""
    with (gzip.open if str(path).endswith(".gz") else open)(path, "rt", newline="") as file:
        line = file.readline()
    separator = "\t" if line.count("\t") > line.count(",") else ","
    header = next(csv.reader([line], delimiter=separator), [])
    check_unique(header[1:], f"columns in {what}")  # pandas would number them
    return separator


def _read_descriptions(cells, names):
    """Return what is known of the cells, indexed by the column (or the index) that holds some of their names."""
    if not isinstance(cells, pd.DataFrame):
        separator = _separator(cells, "cells")
        cells = pd.read_csv(cells, sep=separator, dtype=str, keep_default_na=False, na_values=[""])
    for column in [cells.index, *(cells[column] for column in cells)]:
        if column.astype(str).isin(names).any():
            return cells.set_axis(column.astype(str))
    raise ValueError(
        f"cells has no column with names of the cells of features ({preview(names, 3)}); it has the columns "
        f"{preview(cells.columns, 12)}"
    )


def _take_columns(settings, table, where):
    """Replace names of columns among the settings by the columns."""
    for key in _DESCRIPTIONS:
        if isinstance(settings.get(key), str):
            settings[key] = table[_present([settings[key]], table, where)[0]]


def pair_tables(counts, features, genes_as_rows=False, cells=None, **settings):
    """Pair two tables of the same cells; arguments of `PairedData.from_tables`."""
    counts, features = read_table(counts, "counts"), read_table(features, "features")
    if genes_as_rows:
        counts = counts.T
    if not counts.index.isin(features.index).any() and counts.columns.isin(features.index).any():
        raise ValueError(
            "counts is transposed: its columns, not its rows, are the cells of features; "
            f"give genes_as_rows={not genes_as_rows}"
        )
    if cells is not None:
        _take_columns(settings, _read_descriptions(cells, features.index), "cells")
    named = [key for key in _DESCRIPTIONS if isinstance(settings.get(key), str)]
    if named:
        raise ValueError(f"{named[0]}={settings[named[0]]!r} names a column: give the table that has it as cells")
    table = CountTable(counts.to_numpy(), counts.columns.to_numpy(), counts.index.to_numpy())
    return pair(table, features, **settings)


def pair_anndata(adata, features, counts=None, genes=1000, **settings):
    """Pair what an AnnData holds; arguments of `PairedData.from_anndata`."""
    if not isinstance(features, str):
        table = adata.obs[_present(list(features), adata.obs, "adata.obs")]
        return _pair_genes(adata, table, "features", counts, genes, settings)
    if features not in adata.obsm:
        raise ValueError(f"adata.obsm lacks {features!r} (features); it has {preview(adata.obsm, 12)}")
    table = adata.obsm[features]
    if not isinstance(table, pd.DataFrame):
        names = adata.uns.get(f"{features}_names", [f"{features}{column + 1}" for column in range(table.shape[1])])
        table = pd.DataFrame(_dense(table), index=adata.obs_names, columns=list(names))
    if f"{features}_units" in adata.uns:
        settings.setdefault("feature_units", _units(adata.uns[f"{features}_units"]))
    return _pair_genes(adata, table, f"obsm[{features!r}]", counts, genes, settings)


def pair_mudata(mdata, x="rna", y="ephys", counts=None, genes=1000, **settings):
    """Pair two modalities of a MuData; arguments of `PairedData.from_mudata`."""
    missing = [name for name in (x, y) if name not in mdata.mod]
    if missing:
        raise ValueError(f"mdata lacks the modalities {preview(missing)}; it has {preview(mdata.mod)}")
    features = mdata.mod[y]
    table = pd.DataFrame(_dense(features.X), index=features.obs_names, columns=features.var_names)
    if "unit" in features.var:
        settings.setdefault("feature_units", _units(features.var["unit"]))
    return _pair_genes(mdata.mod[x], table, f"modality {y!r}", counts, genes, settings)


def _pair_genes(adata, table, what, layer, genes, settings):
    """Pair the counts of an AnnData with a table of features, with the columns of obs that are asked for."""
    if isinstance(genes, str):
        marked = adata.var[_present([genes], adata.var, "adata.var")[0]]
        if marked.dtype != bool:
            raise ValueError(f"adata.var[{genes!r}] (genes) must hold True and False only, got dtype {marked.dtype}")
        genes = adata.var_names[marked.to_numpy()]
    _take_columns(settings, adata.obs, "adata.obs")
    for key, where in _COLORS.items():
        column = settings.get(key)
        if hasattr(column, "cat") and f"{column.name}_colors" in adata.uns:
            found = zip(column.cat.categories.astype(str), adata.uns[f"{column.name}_colors"], strict=False)
            settings.setdefault(where, {category: str(color) for category, color in found})
    counts = CountTable(counts_of(adata, layer), adata.var_names.to_numpy(str), adata.obs_names.to_numpy(str))
    return pair(counts, read_table(table, what), genes=genes, **settings)


def _dense(values):
    """Values of features as an array, wherever they are: in memory, on disk, sparse."""
    values = values.to_memory() if hasattr(values, "to_memory") else values
    return values.toarray() if sparse.issparse(values) else np.asarray(values)


def _units(units):
    """Units as PairedData has them: None where there is none."""
    return tuple(None if pd.isna(unit) or not str(unit) else str(unit) for unit in units)


def _present(names, table, where):
    """Return the names after checking that a table of an AnnData has them as columns."""
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"{where} lacks the column(s) {preview(missing)}; it has {preview(table.columns, 12)}")
    return names


def counts_of(adata, layer):
    """Return counts in memory: sparse where they are, or where they come from disk."""
    if layer is not None and layer not in adata.layers:
        raise ValueError(f"adata.layers lacks {layer!r} (counts); it has {preview(adata.layers)}; None takes adata.X")
    counts = adata.X if layer is None else adata.layers[layer]
    if counts is None:
        raise ValueError(f"adata.X is empty: name the layer that holds counts, one of {preview(adata.layers)}")
    if sparse.issparse(counts) or isinstance(counts, np.ndarray):
        return counts
    if hasattr(counts, "to_memory"):  # a sparse matrix on disk
        return counts.to_memory()
    rows = (counts[start : start + ROWS_AT_ONCE] for start in range(0, counts.shape[0], ROWS_AT_ONCE))
    return sparse.vstack([sparse.csr_matrix(block) for block in rows], format="csr")


def pair(table, features, genes=1000, detection_threshold=0, name="unnamed", **more):
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
        and units as in `PairedData`.

    Returns
    -------
    PairedData
        Cells in the order of `features`.
    """
    cells = _match(check_unique(table.cell_names, "cells in counts"), features.index)
    rows = pd.Index(table.cell_names).get_indexer(cells)
    counts = table.counts.tocsr() if sparse.issparse(table.counts) else table.counts
    counts = check_counts(counts if np.array_equal(rows, np.arange(counts.shape[0])) else counts[rows])
    gene_names = check_unique(table.gene_names, "genes in counts")
    warn_of_fractions(counts, "counts")
    chosen = _choose_genes(counts, gene_names, genes, detection_threshold)
    counts = counts[:, chosen]
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    if empty.any():
        warn(
            f"{empty.sum()} of {len(cells)} cells are left out, without any count of the chosen genes: "
            f"{preview(cells[empty], 3)}"
        )
        counts, cells = counts[~empty], cells[~empty]
    values = features.loc[cells].to_numpy(np.float64)
    check_targets(values, np.float64, features.columns, cells)
    for what in _DESCRIPTIONS:
        if more.get(what) is not None:
            series = more[what] if isinstance(more[what], pd.Series) else pd.Series(more[what], index=features.index)
            more[what] = _aligned(series, cells, what)
            if what in _COLORS:
                more[_COLORS[what]] = _colors_of(more[what], more.get(_COLORS[what]))
    names = {"gene_names": gene_names[chosen], "feature_names": features.columns, "cell_names": cells}
    return paired(counts, values, **names, name=name, **more)


def _match(cells, measured):
    """Cells that both tables have, in the order of the features; warns of the others."""
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
    if genes is None or isinstance(genes, (int, np.integer)):
        detected = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)
        if genes is None or genes >= len(detected):
            return detected
        try:
            return np.flatnonzero(select_variable_genes(counts, genes, detection_threshold))
        except ValueError as error:
            raise ValueError(f"genes={genes} cannot be chosen, give fewer, names, or None for all: {error}") from None
    if isinstance(genes, str):
        raise ValueError(f"genes must be a number, a list of names or None, got {genes!r}")
    places = pd.Index(gene_names).get_indexer(list(genes))
    if (places < 0).any():
        raise ValueError(f"counts lacks the genes {preview(np.asarray(list(genes))[places < 0])}")
    return places


def _colors_of(names, given):
    """Colours of types or families: those given, or as many as there are names; grey for cells without one."""
    names = np.unique(names).tolist()
    if given is None:
        from seaborn import color_palette

        given = dict(zip(names, color_palette("husl", len(names)).as_hex(), strict=True))
    return {UNKNOWN: UNKNOWN_COLOR} | given if UNKNOWN in names else given


def _aligned(series, cells, what):
    """Values of a Series for the named cells."""
    series = series.set_axis(check_unique(series.index, f"cells in {what}"))
    missing = cells[~np.isin(cells, series.index)]
    if len(missing):
        raise ValueError(f"{what} lacks {len(missing)} of the {len(cells)} cells: {preview(missing, 3)}")
    found = series.loc[cells].astype(object)
    return found.where(found.notna(), UNKNOWN).astype(str).to_numpy(str)


def make_anndata(data):
    """Return PairedData as AnnData; see `PairedData.to_anndata`."""
    anndata = import_extra("anndata")
    named = {"cell_types": "cell_type", "cell_families": "cell_family", "donors": "donor"}
    present = {what: column for what, column in named.items() if getattr(data, what) is not None}
    obs = pd.DataFrame(
        {column: pd.Categorical(getattr(data, what)) for what, column in present.items()}, index=data.cell_names
    )
    features = data.Y if data.features is None else data.features
    uns = {"name": data.name}
    if data.feature_units is not None and data.features is not None:
        uns["features_units"] = np.array([unit or "" for unit in data.feature_units])
    for what, where in _COLORS.items():
        colors = getattr(data, where)
        if what in present and colors is not None:
            uns[f"{named[what]}_colors"] = [colors[name] for name in obs[named[what]].cat.categories]
    return anndata.AnnData(
        X=data.X.copy(),
        obs=obs,
        var=pd.DataFrame(index=data.gene_names),
        obsm={"features": pd.DataFrame(features, index=data.cell_names, columns=data.feature_names)},
        layers=None if data.counts is None else {"counts": data.counts.copy()},
        uns=uns,
    )


def make_mudata(data):
    """Return PairedData as MuData; see `PairedData.to_mudata`."""
    mudata, genes = import_extra("mudata"), make_anndata(data)
    features = import_extra("anndata").AnnData(genes.obsm.pop("features"))
    if "features_units" in genes.uns:
        features.var["unit"] = genes.uns.pop("features_units")
    return mudata.MuData({"rna": genes, "ephys": features})


def import_extra(package):
    """Import a package of the extra "anndata", or say how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"this needs the package {package}: pip install 'sbnn[anndata]' ({error})") from error
