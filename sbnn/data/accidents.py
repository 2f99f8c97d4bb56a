"""Common damage to tables of numbers: names changed by a spreadsheet, numbers that stand for missing values."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from sbnn._checks import MISSING_MARKERS, preview, warn

#: Months that spreadsheets see in names of genes, and the genes (human, mouse).
_MONTHS = {
    "mar": "MARCHF{0}, once MARCH{0} (Marchf{0})",
    "sep": "SEPTIN{0}, once SEPT{0} (Septin{0})",
    "dec": "DELEC{0}, once DEC{0}",
    "oct": "POU5F1, once OCT{0}",
    "apr": "an older APR{0}",
    "nov": "CCN3, once NOV",
    "feb": "an older FEB{0}",
    "jun": "JUN",
}
_DAY_AND_MONTH = re.compile(
    r"(?:(\d{1,2})[-./ ]{1,2}([^\W\d]{3,4})|([^\W\d]{3,4})[-./ ]{1,2}(\d{1,2}))\.?", re.IGNORECASE
)
_DATE = re.compile(r"\d{4}-(\d\d)-(\d\d)(?:[ T]00:00(?::00)?(?:\.0+)?)?")
#: Dates whose order of day and month is not known, and identifiers such as 2310001H13Rik that became numbers.
_OTHER_CHANGES = re.compile(r"\d\d?[./]\d\d?[./]\d{4}|\d(?:[.,]\d+)?E\+\d\d", re.IGNORECASE)
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERED_MONTHS = {f"{number + 1:02d}": name for number, name in enumerate(_MONTH_NAMES)}
#: Months as spreadsheets write them in German, French and Spanish.
_FOREIGN_MONTHS = {
    "mrz": "mar", "mär": "mar", "mars": "mar", "avr": "apr", "abr": "apr", "mai": "may", "sept": "sep", "okt": "oct",
    "dez": "dec", "déc": "dec", "dic": "dec", "ago": "aug", "ene": "jan",
}  # fmt: skip
#: What can mean many things in brackets, and is not taken as a unit.
_AMBIGUOUS = {"M", "L", "l", "J", "W", "g", "h", "F", "m", "S", "min"}
#: Numbers that often stand for a missing value.
_ROUND = ("99", "888", "999", "9999", "99999", "999999", "1e10", "1e20")
_SENTINELS = np.array(
    [sign * float(number) for sign in (-1, 1) for number in _ROUND]
    + [-1000.0, -9999.99, -32768.0, 32767.0, 2147483647.0]
)
#: A sentinel is at least this many times as large as every other value of its column.
_FAR = 3
#: Units of electrophysiology, morphology and molecules, with prefixes, products and quotients.
_SIMPLE_UNIT = (
    "(?:[fpnu\u00b5\u03bcmckMG]?(?:V|A|F|S|Hz|s|m|M|g|l|L|J|W|[Oo]hms?|\u03a9|\u2126)"
    r"|%|°C|°|deg|sec|min|h|a\.?u\.?|UMIs?|counts?|reads?)"
)
_UNIT = re.compile(
    r"(?P<name>.*\S)\s*[(\[]\s*"
    rf"(?P<unit>(?:1/)?{_SIMPLE_UNIT}(?:[²³]|\^-?\d)?(?:[/*·]{_SIMPLE_UNIT})*)\s*[)\]]"
)


def warn_of_dates(gene_names: Iterable[str], where: str) -> None:
    """Warn of genes whose names a spreadsheet turned into dates, and suggest which genes they may have been.

    Parameters
    ----------
    gene_names : sequence of str
    where : str
        Name of the table in the warning.

    References
    ----------
    Ziemann, Eren & El-Osta, "Gene name errors are widespread in the scientific literature", Genome Biology 17:177
    (2016).
    """
    found = {str(name): gene for name in gene_names if (gene := _gene_of_date(str(name)))}
    if found:
        shown = "; ".join(f"{name!r} may be {gene}" for name, gene in list(found.items())[:3])
        warn(
            f"{len(found)} genes in {where} have names that are dates, as spreadsheets make them: {shown}"
            f"{'; ...' if len(found) > 3 else ''}. Names from before the table was opened in a spreadsheet are safer"
        )


def _gene_of_date(name):
    """Gene that a date-like name may have been; None if the name is not a date."""
    if _OTHER_CHANGES.fullmatch(name):
        return "any gene that looked like a date or a number"
    match = _DAY_AND_MONTH.fullmatch(name)
    if match:
        day, month = (match[1], match[2]) if match[1] else (match[4], match[3])
        if not match[1] and month.islower():  # genes of worms: sep-1
            return None
    elif match := _DATE.fullmatch(name):
        month, day = _NUMBERED_MONTHS.get(match[1], ""), match[2]
    else:
        return None
    month = _FOREIGN_MONTHS.get(month.lower(), month.lower())
    if month not in _MONTH_NAMES:
        return None
    return _MONTHS.get(month, "another gene").format(int(day))


def warn_of_sentinels(features: pd.DataFrame) -> None:
    """Warn of numbers such as -999 that lie apart from all others in a column.

    Parameters
    ----------
    features : DataFrame, cells x features
    """
    table = features.to_numpy(dtype=float)
    found = []
    for number in _SENTINELS:
        holds = (table == number).any(axis=0)
        if any(_stands_apart(number, table[:, column]) for column in np.flatnonzero(holds)):
            times = int((table == number).sum())
            found.append(f"{number:g} ({times} times) in {preview(features.columns[holds], 3)}")
    if found:
        warn(
            f"features holds {'; '.join(found[:4])}: numbers like these often stand for missing values. If they do, "
            f"replace them by NaN: features.replace({found[0].split()[0]}, float('nan'))"
        )


def _stands_apart(number, values):
    """Whether a number is unlike the other values of its column: far from them, or of the opposite sign."""
    others = values[np.isfinite(values) & ~np.isin(values, _SENTINELS)]
    if not len(others):
        return False
    outside = number < others.min() or number > others.max()
    twice = np.sum(values == number) > 1
    return outside and (abs(number) > _FAR * np.abs(others).max() or twice or (number < 0 <= others.min()))


def which_vary(features: pd.DataFrame) -> np.ndarray:
    """Return which features have more than one value, as a mask; warn of the others, which are left out."""
    values = features.to_numpy(np.float64)
    known = np.isfinite(values).any(axis=0)
    with np.errstate(invalid="ignore"):
        spans = np.nanmax(values[:, known], axis=0) - np.nanmin(values[:, known], axis=0)
    constant = np.zeros(values.shape[1], dtype=bool)
    constant[known] = spans == 0
    if constant.all() or len(values) < 2:
        return np.ones_like(constant)
    if constant.any():
        warn(f"features with one value in all cells are left out: {preview(features.columns[constant])}")
    return ~constant


def split_units(names: Iterable[str]) -> tuple[list[str], tuple[str | None, ...] | None]:
    """Separate units from names such as "R_in (MOhm)".

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    names : list of str
        Without the units; unchanged where two would become the same.
    units : tuple of str or None
        None for each name without a unit; a single None if no name has one.
    """
    names = [str(name) for name in names]
    matches = [_UNIT.fullmatch(name) for name in names]
    stems = pd.Series([re.split(r"\s*[(\[]", name)[0] for name in names])
    # "ISI (min)" next to "ISI (max)" is not a unit; nor is a single "CD4 (A)" among names without any.
    shared = stems.duplicated(keep=False)
    clear = [(number, match) for number, match in enumerate(matches) if match and match["unit"] not in _AMBIGUOUS]
    clear = [(number, match) for number, match in clear if not shared[number]]
    short = list(names)
    units: list[str | None] = [None] * len(names)
    for number, match in clear:
        if len(clear) > 1 or len(match["unit"]) > 1:
            short[number], units[number] = match["name"], match["unit"]
    return short, tuple(units) if any(units) else None


def check_no_text(table: pd.DataFrame, what: str, separator: str = ";") -> None:
    """Raise ValueError if columns of a table do not hold real numbers, with an example and what to do."""
    others = [
        number
        for number, kind in enumerate(table.dtypes)
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind)
    ]
    if not others:
        return
    names = [str(table.columns[number]) for number in others]
    texts = [
        value.strip()
        for number in others[:5]
        for value in table.iloc[:, number]
        if isinstance(value, str) and not _is_number(value) and value.strip().lower() not in MISSING_MARKERS
    ]
    advice = _number_format(texts)
    if advice is not None:
        example = next(text for text in texts if "," in text)
        raise ValueError(
            f"{what} holds numbers with commas, such as {example!r} in column(s) {preview(names, 3)}: read it with "
            f"pandas.read_csv(path, sep={separator!r}, {advice}, index_col=0), and give the DataFrame"
        )
    example = f", such as {texts[0][:40]!r}" if texts else ""
    raise ValueError(
        f"{what} must hold real numbers only, but column(s) {preview(names)} hold text, dates, categories or complex "
        f"numbers{example}: drop or convert them"
    )


def _number_format(texts):
    """Arguments of `pandas.read_csv` for numbers with commas; None if the texts are not such numbers."""
    with_comma = [text for text in texts if "," in text]
    if not with_comma or not all(re.fullmatch(r"[-+]?[\d.,]*\d(e[-+]?\d+)?", text, re.IGNORECASE) for text in texts):
        return None
    if any("." in text for text in with_comma):
        after = all(text.rindex(",") > text.rindex(".") for text in with_comma if "." in text)
        return "decimal=',', thousands='.'" if after else "thousands=','"
    if all(re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+", text) for text in with_comma):
        return "thousands=','"
    return "decimal=','"


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
