"""Accidents that tables of numbers suffer on their way: names that a spreadsheet changed, numbers that mean missing."""

import re

import numpy as np
import pandas as pd

from sbnn._checks import preview, warn

#: Months that spreadsheets read into names of genes, and the genes (human, mouse).
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
_DAY_AND_MONTH = re.compile(r"(?:(\d{1,2})-([a-z]{3})|([a-z]{3})-(\d{1,2}))", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-(\d\d)-(\d\d)(?:[ T]00:00(?::00)?(?:\.0+)?)?")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERED_MONTHS = {f"{number + 1:02d}": name for number, name in enumerate(_MONTH_NAMES)}
#: Numbers that often stand for a missing value.
_SENTINELS = np.array([sign * float(number) for sign in (-1, 1) for number in ("99", "999", "9999", "99999", "999999")])
#: A sentinel is this many times as large as every other value of its column.
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


def warn_of_dates(gene_names, where):
    """Warn of genes whose names a spreadsheet made dates, and say which genes they may have been.

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
            f"{'; ...' if len(found) > 3 else ''}. Names from before it was opened in a spreadsheet are safer"
        )


def _gene_of_date(name):
    """Gene that a name which is a date may have been; None where the name is no date."""
    match = _DAY_AND_MONTH.fullmatch(name)
    if match:
        day, month = (match[1], match[2]) if match[1] else (match[4], match[3])
    elif match := _DATE.fullmatch(name):
        month, day = _NUMBERED_MONTHS.get(match[1], ""), match[2]
    else:
        return None
    if month.lower() not in _MONTH_NAMES:
        return None
    return _MONTHS.get(month.lower(), "another gene").format(int(day))


def warn_of_sentinels(features):
    """Warn of numbers such as -999 that stand far from all others of their column.

    Parameters
    ----------
    features : DataFrame, cells x features
    """
    found = []
    for column in features:
        values = features[column].to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        for number in np.intersect1d(values, _SENTINELS):
            others = values[~np.isin(values, _SENTINELS)]
            if len(others) and abs(number) > _FAR * np.abs(others).max():
                found.append(f"{column!r} has {number:g} ({int((values == number).sum())} times)")
    if found:
        warn(
            f"features: {preview_plain(found)}; numbers like these often stand for missing values. If they do, replace "
            "them by NaN: features.replace(-999, float('nan'))"
        )


def preview_plain(texts, most=4):
    """Join the first few texts."""
    return ", ".join(texts[:most]) + (f", ... ({len(texts)} in all)" if len(texts) > most else "")


def split_units(names):
    """Take units out of names such as "R_in (MOhm)".

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    names : list of str
        Without the units; as they came, where two would become the same.
    units : tuple of str or None
        None for each name without a unit; None alone where no name has one.
    """
    names = [str(name) for name in names]
    matches = [_UNIT.fullmatch(name) for name in names]
    short = pd.Series([match["name"] if match else name for match, name in zip(matches, names, strict=True)])
    kept = short.duplicated(keep=False).to_numpy()
    units = tuple(None if match is None or same else match["unit"] for match, same in zip(matches, kept, strict=True))
    if not any(units):
        return names, None
    return [name if same else new for name, new, same in zip(names, short, kept, strict=True)], units


def check_no_text(table, what):
    """Raise ValueError where columns of a table hold no real numbers, with an example and what to do."""
    others = [
        number
        for number, kind in enumerate(table.dtypes)
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind)
    ]
    if not others:
        return
    names = [str(table.columns[number]) for number in others]
    texts = [value for value in table.iloc[:, others[0]] if isinstance(value, str) and not _is_number(value)]
    decimal = next((value for value in texts if re.fullmatch(r"\s*-?\d+,\d+\s*", value)), None)
    if decimal is not None:
        raise ValueError(
            f"{what} holds decimal commas, as {decimal!r} in column {names[0]!r}: read it with pandas.read_csv(path, "
            "sep=';', decimal=',', index_col=0), and give the DataFrame"
        )
    example = f", as {texts[0][:40]!r}" if texts else ""
    raise ValueError(
        f"{what} must hold real numbers only, but column(s) {preview(names)} hold text, dates, categories or complex "
        f"numbers{example}: drop or convert them"
    )


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
