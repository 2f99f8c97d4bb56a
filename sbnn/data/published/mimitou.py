"""CITE-seq of a T-cell lymphoma (Mimitou et al. 2019): transcripts and surface proteins of 500 cells."""

import numpy as np
import pandas as pd
from scipy import sparse

from sbnn._hints import PathLike
from sbnn.data.count_tables import require_same_cells, standardise
from sbnn.data.paired_data import PairedData
from sbnn.data.sources import find_file
from sbnn.data.variable_genes import find_variable_genes

N_VARIABLE_GENES = 1000

_TABLES = "ctcl_2019/CITEseq_example.rda"
#: Prefix of the names of human genes: the genome they were aligned to.
_PREFIX = "hg19_"


def load_mimitou(data_dir: PathLike | None = None) -> PairedData:
    """Load 500 cells of a cutaneous T-cell lymphoma: about 1000 genes, 49 surface proteins.

    The example of the package CiteFuse: types and donors are not known. The most variable genes are modelled; no
    curve selects exactly 1000 of these, so their number is the nearest possible. Proteins are log(1 + count),
    z-scored (z-scores of the counts themselves reach 22).

    Parameters
    ----------
    data_dir : path-like, optional

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
    try:
        import rdata  # for this data set alone
    except ImportError as error:
        raise ImportError("load_dataset('ctcl_2019') reads an R data file: pip install rdata") from error
    constructors = {**rdata.conversion.DEFAULT_CLASS_MAP, "dgCMatrix": _named_matrix}
    tables = rdata.read_rda(find_file(_TABLES, data_dir), constructor_dict=constructors)["CITEseq_example"]
    (counts, genes, cells), (proteins, protein_names, protein_cells) = tables["RNA"], tables["ADT"]
    require_same_cells(cells, protein_cells, "the RNA table", "the ADT table")
    proteins = proteins[pd.Index(protein_cells).get_indexer(cells)]
    selected = find_variable_genes(counts, N_VARIABLE_GENES, threshold=0).mask
    return PairedData(
        **standardise(
            counts[:, selected].toarray(),
            np.log1p(proteins.toarray().astype(np.float64)),
            gene_names=[str(name).removeprefix(_PREFIX) for name in genes[selected]],
            feature_names=protein_names,
            cell_names=cells,
            feature_units=("log(1 + UMI)",) * len(protein_names),
            name="ctcl_2019",
        )
    )


def _named_matrix(parts, attributes):
    """Turn a sparse matrix of R (rows x cells) into counts of cells x rows, with the names of both."""
    values = sparse.csc_matrix((attributes["x"], attributes["i"], attributes["p"]), shape=attributes["Dim"])
    rows, cells = attributes["Dimnames"]
    return values.T.tocsr().astype(np.int32), np.asarray(rows, dtype=str), np.asarray(cells, dtype=str)
