"""Names of genes as figures show them: without the genome assembly that all of them have in front."""

import re
from collections.abc import Iterable

import pandas as pd

#: Assemblies as aligners write them in front of genes: "hg19_CD3E", "GRCh38_CD3E", "mm10___Cd3e".
_ASSEMBLY = re.compile(
    r"(?:(?:hg|mm|rn|dm|ce|danRer|galGal|susScr|rheMac|macFas|calJac|panTro|Mmul|mRatBN|BDGP)|GRC[a-z])"
    r"[._]?\d+(?:\.(?:p)?\d+)?(?:-20\d\d-[A-Z])?_+"
)


def genome_prefix(names: Iterable[str]) -> str:
    """Return the genome assembly that all names have in front, as in ``"hg19_CD3E"``, or "".

    Parameters
    ----------
    names : sequence of str
        All genes of the data: where cells of two species are mixed, the assembly tells these apart and is kept.

    Returns
    -------
    str
        Such as ``"hg19_"``; "" if the names have none, or not all the same, or if nothing else would be left of one.
    """
    names = [str(name) for name in names]
    found = _ASSEMBLY.match(names[0]) if names else None
    if found is None:
        return ""
    prefix = found.group()
    return prefix if all(name.startswith(prefix) and len(name) > len(prefix) for name in names) else ""


def shown_genes(names: Iterable[str], among: Iterable[str] | None = None) -> list[str]:
    """Return names of genes for figures and printed text, without the assembly that all genes have in front.

    Data, models and files keep the whole names.

    Parameters
    ----------
    names : sequence of str
        Genes to show.
    among : sequence of str, optional
        All genes of the data, which decide whether the assembly is shared; by default `names`.

    Returns
    -------
    list of str
    """
    names = [str(name) for name in names]
    prefix = genome_prefix(names if among is None else among)
    return [name.removeprefix(prefix) for name in names]


def cut_names(names: Iterable[str], most: int = 30) -> list[str]:
    """Return names of at most so many characters, for places in figures that are no wider: "a very long na…"."""
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in map(str, names)]


def with_shown_names(genes: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns are genes with the names that figures show; see `shown_genes`."""
    return genes.set_axis(shown_genes(genes.columns), axis=1)
