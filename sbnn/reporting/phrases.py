"""Parts of the sentences of a report: models in plain words, numbers and intervals as text."""

import numpy as np

#: What is recommended if no model predicts better: R2 is 0 by definition.
MEAN = "mean of all cells"
#: Differences below this are written with three decimals.
_SMALL = 0.02
_WORDS = {
    "family mean": "the mean of the cell's family",
    "family mean, shrunken": "the mean of the cell's family, shrunken where it has few cells",
    "type mean": "the mean of the cell's type",
    "type mean, shrunken": "the mean of the cell's type, shrunken where it has few cells",
    "family + type": "the mean of the cell's type, drawn to that of its family where it has few cells",
    "family + genes": "the linear model of family and genes",
    "type + genes": "the linear model of type and genes",
    "family + type + genes": "the linear model of family, type and genes",
    "sRRR-2": "the sparse linear model sRRR-2",
    "ridge": "the linear model ridge",
    "sBNN-2": "the network sBNN-2",
    "sBNN-64": "the wide network sBNN-64",
    MEAN: "the mean of all cells",
}


def number(value: float, signed: bool = False, decimals: int = 2) -> str:
    """Return an R2 as text: a proper minus, "+" if asked for, zero without a sign."""
    if not np.isfinite(value):
        return "–"
    text, zero = f"{value:{'+' if signed else ''}.{decimals}f}", f"{0:.{decimals}f}"
    return zero if text.strip("+-") == zero else text.replace("-", "−")


def share(value: float) -> str:
    """Return an R2 as a share of the variance in percent."""
    return f"{number(100 * value, decimals=0)} %"


def with_interval(value: float, low: float, high: float, signed: bool = False) -> str:
    """Return an R2, or a difference, and its interval as text; with three decimals where all are small."""
    decimals = _decimals(value, low, high)
    text = [number(one, signed, decimals) for one in (value, low, high)]
    return f"{text[0]} (95 % interval {text[1]} to {text[2]})"


def words_for(model: str) -> str:
    """Return a model in plain words."""
    return _WORDS.get(model, model)


def count_of_genes(n_genes: float) -> str:
    """Mean number of genes over folds in words."""
    return f"{n_genes:.0f}" if float(n_genes).is_integer() else f"about {n_genes:.0f}"


def lower(value: float, low: float, high: float) -> str:
    """By how much an R2 is lower than the best, with the interval; with three decimals where all are small."""
    text = [number(one, decimals=_decimals(value, low, high)) for one in (value, low, high)]
    return f"lower by {text[0]} ({text[1]} to {text[2]})"


def below(q: float) -> str:
    """Return a q value as text, "below 0.01" where two decimals would be zero."""
    return "below 0.01" if q < 0.01 else number(q)


def _decimals(*values):
    return 3 if max(map(abs, values)) < _SMALL else 2
