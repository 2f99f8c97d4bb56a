"""CITE-seq of cord blood (Stoeckius et al. 2017): transcripts and surface proteins of the same cells."""

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import sparse

from sbnn._checks import check_unique, preview
from sbnn._hints import PathLike
from sbnn.data.count_tables import CountTable, require_columns, require_same_cells, rows_of, standardise
from sbnn.data.paired_data import PairedData
from sbnn.data.sources import find_file, locate
from sbnn.data.variable_genes import select_variable_genes

#: Rows of the table that are human; those after them are mouse.
HUMAN_ROWS = 20400
N_VARIABLE_GENES = 1000
#: Erythrocytes, which the paper leaves out.
DROPPED_TYPE = "Ery"

#: Colours of the types; related types have related colours.
TYPE_COLORS = {
    "CD4 T": "#1f77b4", "CD8 T": "#17becf", "NK": "#9467bd", "B": "#2ca02c",
    "CD14 mono": "#d62728", "CD16 mono": "#ff7f0e", "DC": "#8c564b", "Pre": "#7f7f7f",
}  # fmt: skip

_PREFIX, _SPIKE_IN = "HUMAN_", "ERCC_"
_RNA = "stoeckius_2017/GSE100866_CBMC_8K_13AB_10X-RNA_umi.csv"
_PROTEINS = "stoeckius_2017/GSE100866_CBMC_8K_13AB_10X-ADT_umi.csv"
_TYPES = "stoeckius_2017/CBMC_clustering.csv"
_ROWS_AT_ONCE = 2000


def load_stoeckius(data_dir: PathLike | None = None) -> PairedData:
    """Load 7652 cord blood cells: 1000 genes, 13 surface proteins.

    Left out: cells without a type and erythrocytes, mouse genes, the spike-in. The 1000 most variable human genes
    are modelled; proteins are plain counts, z-scored. Cells keep the order of the tables of counts.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    PairedData
        Counts are dense: those of 1000 genes.

    Raises
    ------
    ValueError
        Tables are truncated or have different cells.
    FileNotFoundError
        The table of transcripts is missing and cannot be downloaded from GEO.
    """
    *_, cells = select_cells(data_dir).values()
    proteins = protein_counts(data_dir)
    table = read_rna_table(data_dir)
    require_same_cells(table.cell_names, proteins.index, "the RNA table", "the ADT table")
    counts: sparse.csr_matrix = rows_of(table, cells.index)
    genes = select_variable_genes(counts, n_genes=N_VARIABLE_GENES, threshold=0)
    return PairedData(
        **standardise(
            counts[:, genes].toarray(),
            proteins.loc[cells.index].to_numpy(np.float64),
            gene_names=table.gene_names[genes],
            feature_names=proteins.columns,
            cell_names=cells.index,
            feature_units=("UMI",) * proteins.shape[1],
            cell_types=cells.to_numpy(str),
            cell_families=cells.to_numpy(str),
            type_colors={name: TYPE_COLORS[name] for name in cells.unique()},
            family_colors={name: TYPE_COLORS[name] for name in cells.unique()},
            name="stoeckius_2017",
        )
    )


def select_cells(data_dir: PathLike | None = None) -> dict[str, pd.Series]:
    """Return the types of the cells that are left after each step of the selection, in order.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    dict
        Step -> Series of types, indexed by cell.
    """
    path = find_file(_TYPES, data_dir)
    table = pd.read_csv(path)
    require_columns(table, ["cell_barcode", "type"], path)
    types = table.set_index(pd.Index(check_unique(table["cell_barcode"], f"cells in {path.name}"), name="cell"))["type"]
    typed = types.dropna()
    kept = typed[typed != DROPPED_TYPE]
    unknown = sorted(set(kept) - set(TYPE_COLORS))
    if unknown:
        raise ValueError(f"{path} holds unknown types {preview(unknown)}; expected {preview(TYPE_COLORS, 8)}")
    order = protein_counts(data_dir).index
    absent = kept.index[~kept.index.isin(order)]
    if len(absent):
        raise ValueError(f"the ADT table lacks cells of {path.name}: {preview(absent)}")
    kept = kept.reindex(order[order.isin(kept.index)])
    return {"clustered": types, "with a type": typed, "no erythrocytes": kept}


def protein_counts(data_dir: PathLike | None = None) -> pd.DataFrame:
    """Read the counts of the 13 surface proteins, cells x proteins, for all cells of the table."""
    table = pd.read_csv(find_file(_PROTEINS, data_dir), index_col=0).T
    table.index.name = "cell"
    return table


def read_rna_table(data_dir: PathLike | None = None) -> CountTable:
    """Read the human transcripts of all cells.

    Parameters
    ----------
    data_dir : path-like, optional
        The table is looked for compressed (.csv.gz, as on GEO) and uncompressed (.csv).

    Returns
    -------
    CountTable
        CSR counts; names without the prefix ``HUMAN_``.

    Raises
    ------
    ValueError
        Fewer rows than human genes (truncated), unexpected names, or anything but counts.
    """
    path = locate(_RNA, data_dir) or find_file(f"{_RNA}.gz", data_dir)
    return _read_rna(path, path.stat().st_mtime)


@lru_cache(maxsize=1)
def _read_rna(path, modified):
    """Read the table in blocks of rows, sparse: the whole dense table would take gigabytes."""
    blocks, names, cells = [], [], None
    for block in pd.read_csv(path, index_col=0, nrows=HUMAN_ROWS, chunksize=_ROWS_AT_ONCE):
        if not all(pd.api.types.is_integer_dtype(kind) for kind in block.dtypes):
            raise ValueError(f"{path} should hold whole numbers, it holds missing values or text (truncated?)")
        if (block.to_numpy() < 0).any():
            raise ValueError(f"{path} holds negative counts")
        cells = block.columns
        names += block.index.tolist()
        blocks.append(sparse.csr_matrix(block.to_numpy(np.int32)))
    human = np.array([str(name).startswith(_PREFIX) for name in names])
    foreign = [name for name in names if not str(name).startswith((_PREFIX, _SPIKE_IN))]
    if len(names) < HUMAN_ROWS or foreign:
        raise ValueError(
            f"{path} should begin with {HUMAN_ROWS} rows named {_PREFIX}... or {_SPIKE_IN}..., it has {len(names)} "
            f"({preview(foreign, 3) if foreign else 'truncated?'})"
        )
    counts = sparse.vstack(blocks, format="csr")[human].T.tocsr()
    genes = [str(name).removeprefix(_PREFIX) for name in np.array(names)[human]]
    return CountTable(
        counts, check_unique(genes, f"genes in {path.name}"), check_unique(cells, f"cells in {path.name}")
    )
