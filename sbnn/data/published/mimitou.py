"""CITE-seq of a T-cell lymphoma (Mimitou et al. 2019): transcripts and surface proteins of 500 cells."""

import numpy as np
import pandas as pd
from scipy import sparse

from sbnn._checks import check_unique
from sbnn._hints import PathLike
from sbnn.data.count_tables import CountTable, require_same_cells, standardise
from sbnn.data.paired_data import PairedData
from sbnn.data.sources import find_file
from sbnn.data.variable_genes import find_variable_genes

N_VARIABLE_GENES = 1000

_TABLES = "ctcl_2019/CITEseq_example.rda"
#: Prefix of the names of human genes: the genome they were aligned to.
_PREFIX = "hg19_"


def load_mimitou(data_dir: PathLike | None = None, n_genes: int | None = N_VARIABLE_GENES) -> PairedData:
    """Load 500 cells of a cutaneous T-cell lymphoma: about 1000 genes, 49 surface proteins.

    The example of the package CiteFuse: types and donors are not known. The most variable genes are modelled; no
    curve selects exactly 1000 of these, so their number is the nearest possible. Proteins are log(1 + count),
    z-scored (z-scores of the counts themselves reach 22).

    Parameters
    ----------
    data_dir : path-like, optional
    n_genes : int or None
        How many variable genes, chosen on all cells; None: all genes that a cell expresses, from which each fold can
        choose for itself (`sbnn.cross_validate`, `n_variable_genes`).

    Returns
    -------
    PairedData
        Counts are dense: those of the selected genes.

    Raises
    ------
    ValueError
        A file that is not the published one.
    FileNotFoundError
        The file is missing and cannot be downloaded.
    ImportError
        The package rdata is not installed.

    References
    ----------
    Mimitou et al., Nature Methods 16:409 (2019).
    """
    table, proteins, protein_names = read_tables(data_dir)
    counts: sparse.csr_matrix = table.counts
    if n_genes is None:
        selected = np.asarray(counts.sum(axis=0)).ravel() > 0
    else:
        selected = find_variable_genes(counts, n_genes, threshold=0).mask
    return PairedData(
        **standardise(
            counts[:, selected].toarray(),
            np.log1p(proteins.astype(np.float64)),
            gene_names=table.gene_names[selected],
            feature_names=protein_names,
            cell_names=table.cell_names,
            feature_units=("log(1 + UMI)",) * len(protein_names),
            name="ctcl_2019",
        )
    )


def read_tables(data_dir: PathLike | None = None) -> tuple[CountTable, np.ndarray, np.ndarray]:
    """Read the counts of 19521 genes (sparse) and of 49 surface proteins of the same 500 cells.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    table : CountTable
        Gene names without the prefix of the genome.
    proteins : int array, shape (n_cells, n_proteins)
    protein_names : str array

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        As `load_mimitou`.
    """
    try:
        import rdata  # only for such files
    except ImportError as error:
        raise ImportError("load_dataset('ctcl_2019') reads an R data file: pip install rdata") from error
    constructors = {**rdata.conversion.DEFAULT_CLASS_MAP, "dgCMatrix": _named_matrix}
    tables = rdata.read_rda(find_file(_TABLES, data_dir), constructor_dict=constructors)["CITEseq_example"]
    (counts, genes, cells), (proteins, protein_names, protein_cells) = tables["RNA"], tables["ADT"]
    require_same_cells(cells, protein_cells, "the RNA table", "the ADT table")
    proteins = proteins[pd.Index(protein_cells).get_indexer(cells)].toarray()
    genes = check_unique([str(name).removeprefix(_PREFIX) for name in genes], f"genes in {_TABLES}")
    return CountTable(counts, genes, cells), proteins, protein_names


def _named_matrix(parts, attributes):
    """Turn a sparse matrix of R (rows x cells) into counts of cells x rows, with the names of both."""
    values = sparse.csc_matrix((attributes["x"], attributes["i"], attributes["p"]), shape=attributes["Dim"])
    rows, cells = attributes["Dimnames"]
    return values.T.tocsr().astype(np.int32), np.asarray(rows, dtype=str), np.asarray(cells, dtype=str)
