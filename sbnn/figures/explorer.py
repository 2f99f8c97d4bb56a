"""The interactive map: one HTML page, without anything from elsewhere, made from plain arrays.

`sbnn.explore` makes it from a model and its cells. The page itself (HTML, CSS, JavaScript) is in the folder
`explorer_page`; here the values of cells are turned into what it embeds.
"""

import base64
import json
import re
import zlib
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib import colors as matplotlib_colors

from sbnn._checks import check_choice, check_length, check_matrix, check_unique, preview
from sbnn.figures.quantised import quantise

#: Groups of values, in the order of the lists of the page.
GENES, MEASURED, PREDICTED, CELLS = GROUPS = ("Genes", "Features, measured", "Features, predicted", "Cells")
#: Features have 16 bits up to this many cells, 8 beyond: a page of 50000 cells then stays below 5 MB.
MANY_CELLS = 10_000
#: Colour maps that colour-blind readers can tell: of values, and of values on both sides of zero.
SEQUENTIAL, DIVERGING = "viridis", "coolwarm"
_SCRIPTS = ("values.js", "panel.js", "page.js")


class CellValues(NamedTuple):
    """One number for each cell: a gene, a feature, or something else.

    Attributes
    ----------
    group : {"Genes", "Features, measured", "Features, predicted", "Cells"}
        A feature that is measured and predicted, by the same name, gets a residual on the page.
    name : str
    values : array, shape (n_cells,)
        NaN where missing.
    unit : str
        "" if there is none.
    note : str
        Shown with the name, such as "R² 0.41 in held-out cells".
    """

    group: str
    name: str
    values: np.ndarray
    unit: str = ""
    note: str = ""


class CellClasses(NamedTuple):
    """One class for each cell: type, family, or whether it was held out.

    Attributes
    ----------
    name : str
        Of the classes: "family".
    labels : str array, shape (n_cells,)
    colors : dict
        Label -> colour, as matplotlib takes it; the order is that of the legend.
    """

    name: str
    labels: np.ndarray
    colors: dict[str, str]


def explorer_page(
    coordinates: npt.ArrayLike,
    cell_names: Sequence[str] | np.ndarray,
    values: Sequence[CellValues],
    classes: Sequence[CellClasses] = (),
    title: str = "Map of cells",
    about: str = "",
    coordinate_names: tuple[str, str] = ("z1", "z2"),
) -> str:
    """Return the interactive map of cells as the text of one HTML page.

    Values are embedded as integers: coordinates with 16 bits (a resolution of 1/65534 of their range), genes and other
    values of cells with 8 (1/254 of the range), features with 16 up to 10000 cells, with 8 beyond. Colour bars, numbers
    and CSV files on the page are of this resolution.

    Parameters
    ----------
    coordinates : array, shape (n_cells, 2)
    cell_names : sequence of str, shape (n_cells,)
        Unique.
    values : list of CellValues
        What can be drawn over the map, and against each other.
    classes : list of CellClasses
        What cells can be coloured by beside values.
    title, about : str
        Heading, and the sentences below it.
    coordinate_names : (str, str)

    Returns
    -------
    str
        HTML that requests nothing, with its data compressed and in base64.

    Raises
    ------
    ValueError
        No cells, lengths that disagree, names that are duplicated, coordinates that are not finite, unknown groups,
        values that are infinite, labels without a colour.
    """
    names = check_unique(cell_names, "cell names")
    coordinates = check_matrix(coordinates, "coordinates")
    if coordinates.shape != (len(names), 2) or not len(names):
        raise ValueError(
            f"coordinates must have two columns and a row for each of the {len(names)} cells (at least one), got shape "
            f"{coordinates.shape}"
        )
    content = _Content()
    places = [content.add(column, 16, name=name) for column, name in zip(coordinates.T, coordinate_names, strict=True)]
    described = [_describe_values(content, one, len(names)) for one in values]
    listed = [(one["group"], one["name"]) for one in described]
    check_unique([f"{name} ({group})" for group, name in listed], "values")
    header = {
        "title": title,
        "n_cells": len(names),
        "coordinates": places,
        "values": described,
        "residuals": [
            {"name": name, "unit": described[place]["unit"], "of": [place, listed.index((PREDICTED, name))]}
            for place, (group, name) in enumerate(listed)
            if group == MEASURED and (PREDICTED, name) in listed
        ],
        "classes": [_describe_classes(content, one, len(names)) for one in classes],
        "names": content.add_bytes(json.dumps(names.tolist()).encode()),
        "maps": {"sequential": _color_map(SEQUENTIAL), "diverging": _color_map(DIVERGING)},
    }
    header["start_of_bytes"] = content.start_of_bytes
    parts = {
        "TITLE": escape(title),
        "ABOUT": escape(about),
        "STYLE": _file("style.css"),
        "HEADER": as_script(header),
        "CONTENT": base64.b64encode(content.packed()).decode(),
        "SCRIPT": "\n".join(_file(name) for name in _SCRIPTS),
    }
    # All at once: what stands in a name is not taken for a place to fill.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda place: parts[place[1]], _file("page.html"))


def as_script(value: Any) -> str:
    """Return JSON that may stand in a script element: a name such as "</script>" does not end it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Content:
    """Columns of 16 and of 8 bits and bytes, one after another; each knows where it starts."""

    def __init__(self) -> None:
        self._parts: dict[int, list[np.ndarray]] = {16: [], 8: []}

    def add(self, values, bits, **about):
        """Keep the codes of a column and return its description, with its place."""
        codes, low, high = quantise(values, bits)
        return about | {"bits": bits, "low": low, "high": high} | self._keep(codes, bits)

    def add_codes(self, codes, bits):
        return {"bits": bits} | self._keep(codes, bits)

    def add_bytes(self, content):
        return self._keep(np.frombuffer(content, np.uint8), 8) | {"length": len(content)}

    def _keep(self, codes, bits):
        place = {"start": sum(part.nbytes for part in self._parts[bits])}
        self._parts[bits].append(codes.astype("<u2" if bits == 16 else "u1"))
        return place

    @property
    def start_of_bytes(self):
        """Where the 8-bit columns start: after those of 16 bits, whose starts must be even."""
        return sum(part.nbytes for part in self._parts[16])

    def packed(self):
        """Return everything, compressed."""
        return zlib.compress(b"".join(part.tobytes() for bits in (16, 8) for part in self._parts[bits]), 9)


def _describe_values(content, one, n_cells):
    """Keep a column of values; ValueError, naming it, if it is not one number per cell."""
    check_choice(one.group, GROUPS, f"group of {one.name!r}:")
    check_length(one.values, n_cells, f"values of {one.name!r}", "cell")
    bits = 16 if one.group in (MEASURED, PREDICTED) and n_cells <= MANY_CELLS else 8
    about = {"group": one.group, "name": one.name, "unit": one.unit or "", "note": one.note}
    try:
        return content.add(one.values, bits, **about)
    except (TypeError, ValueError) as error:
        raise ValueError(f"values of {one.name!r}: {error}") from None


def _describe_classes(content, one, n_cells):
    """Keep the classes of cells, those that occur in the order of their colours."""
    check_length(one.labels, n_cells, f"labels of {one.name!r}", "cell")
    labels = np.asarray(one.labels).astype(str)
    occurring = set(labels.tolist())
    without = sorted(occurring - set(one.colors))
    if without:
        raise ValueError(f"colors of {one.name!r} lack {preview(without)}")
    names = [label for label in one.colors if label in occurring]
    number = {label: place for place, label in enumerate(names)}
    codes = np.array([number[label] for label in labels.tolist()])
    colors = [matplotlib_colors.to_hex(one.colors[label]) for label in names]
    kept = content.add_codes(codes, 8 if len(names) < 256 else 16)
    return {"name": one.name, "labels": names, "colors": colors} | kept


def _color_map(name):
    """Return 64 colours of a map of matplotlib as one text of hexadecimal digits."""
    return "".join(matplotlib_colors.to_hex(color)[1:] for color in colormaps[name](np.linspace(0, 1, 64)))


def _file(name):
    """Text of a file of the page."""
    return (resources.files("sbnn.figures") / "explorer_page" / name).read_text(encoding="utf-8")
