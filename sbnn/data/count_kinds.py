"""Reads or UMIs: what counts look like, and whether a threshold of detection fits them."""

from typing import NamedTuple

import numpy as np

from sbnn._checks import warn
from sbnn._hints import Counts, is_sparse

#: Median of the counts above zero from which on counts may be reads of a full-length protocol.
READS_FROM = 20
#: Reads are amplified: although counts are large, at least this fraction is zero.
ZEROS_OF_READS = 0.1
#: Median of the counts above zero up to which counts are called UMIs.
UMIS_TO = 3
#: Thresholds of detection to suggest for each.
READS_THRESHOLD, UMIS_THRESHOLD = 30, 0
#: Fractions up to this value are logarithms: estimated counts (RSEM, salmon) of a whole table are larger somewhere.
LOGARITHMS_TO = 20
#: Values looked at.
_ENOUGH = 2_000_000


class CountKind(NamedTuple):
    """What counts look like.

    Attributes
    ----------
    kind : {"reads", "UMIs", "logarithms", "unclear"}
        "logarithms": values with fractions, none above 20, as log-normalised expression has. "reads": the median of the
        counts above zero is at least 20, and yet at least a tenth of all is zero, as amplification makes it. "UMIs":
        this median is at most 3.
    median : float
        Of the counts above zero.
    zeros : float
        Fraction of counts that are zero.
    """

    kind: str
    median: float
    zeros: float


def count_kind(counts: Counts) -> CountKind:
    """Tell reads from UMIs by magnitude and zeros.

    In scala_2020 (reads, 1000 variable genes) the median above zero is 304 and 44 % are zero; in ctcl_2019 (UMIs) they
    are 1 and 86 %.

    Parameters
    ----------
    counts : array or sparse matrix, shape (n_cells, n_genes)

    Returns
    -------
    CountKind
    """
    rows = max(1, _ENOUGH // max(1, counts.shape[1]))
    step = -(-counts.shape[0] // rows)  # cells from all over the table: batches may lie one after another
    some = counts[::step]
    values = some.tocsr().data if is_sparse(some) else np.asarray(some)
    positive = values[values > 0]
    if not len(positive):
        return CountKind("unclear", np.nan, 1.0)
    if positive.max() <= LOGARITHMS_TO and (positive != np.rint(positive)).any():
        return CountKind("logarithms", float(np.median(positive)), np.nan)
    median, zeros = float(np.median(positive)), 1 - len(positive) / (some.shape[0] * some.shape[1])
    if median >= READS_FROM and zeros >= ZEROS_OF_READS:
        return CountKind("reads", median, zeros)
    return CountKind("UMIs" if median <= UMIS_TO else "unclear", median, zeros)


def describe_threshold(counts: Counts, detection_threshold: float) -> str | None:
    """Say in plain words that a threshold of detection does not fit the counts; None if it does.

    Parameters
    ----------
    counts : array or sparse matrix, shape (n_cells, n_genes)
    detection_threshold : float

    Returns
    -------
    str or None
    """
    found = count_kind(counts)
    seen = f"the median above zero is {found.median:g}, {found.zeros:.0%} are zero"
    if found.kind == "reads" and detection_threshold < READS_THRESHOLD / 10:
        return (
            f"detection_threshold={detection_threshold:g}, but counts look like reads of a full-length protocol "
            f"({seen}): single reads are noise there, give detection_threshold={READS_THRESHOLD}"
        )
    if found.kind == "UMIs" and detection_threshold >= READS_THRESHOLD / 3:
        return (
            f"detection_threshold={detection_threshold:g}, but counts look like UMIs ({seen}): one molecule is "
            f"detected, give detection_threshold={UMIS_THRESHOLD}"
        )
    return None


def describe_logarithms(counts: Counts) -> str | None:
    """Say in plain words that counts look like logarithms; None if they do not."""
    if count_kind(counts).kind != "logarithms":
        return None
    return (
        f"counts holds fractions, and no value above {LOGARITHMS_TO}: it looks like log-normalised expression, whose "
        "depth would be divided out, and logarithms taken, a second time. Give raw counts: a layer of the AnnData, "
        "adata.raw, or the table before normalisation"
    )


def warn_of_threshold(counts: Counts, detection_threshold: float) -> None:
    """Warn if a threshold of detection does not fit the counts."""
    described = describe_threshold(counts, detection_threshold)
    if described:
        warn(described)
