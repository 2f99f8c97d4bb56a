"""The page of the interactive map, made from plain arrays: what it embeds, how large it is, what it asks for."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from embedded_cells import embedded
from matplotlib import colormaps
from matplotlib import colors as matplotlib_colors

from sbnn.figures.explorer import (
    CELLS,
    DIVERGING,
    GENES,
    MANY_CELLS,
    MEASURED,
    PREDICTED,
    SEQUENTIAL,
    CellClasses,
    CellValues,
    as_script,
    explorer_page,
)
from sbnn.figures.quantised import Quantised, quantise

NASTY = [
    "</script><script>alert(1)</script>",
    "<!--",
    "a & b",
    "quote \" and '",
    "{{CONTENT}}",
    "line\nbreak",
    "µ \u2028 ²",
]


def some_cells(n=300, seed=0, n_genes=3, n_features=2):
    """Return arguments of explorer_page: skewed, missing and constant values among them."""
    random = np.random.default_rng(seed)
    values = [CellValues(GENES, f"Gene{i}", np.exp(random.normal(size=n)), "log₂ count") for i in range(n_genes)]
    for i in range(n_features):
        y = 40 * random.normal(size=n) - 60
        values.append(CellValues(MEASURED, f"feature {i}", np.where(random.random(n) < 0.1, np.nan, y), "mV"))
        values.append(CellValues(PREDICTED, f"feature {i}", y / 2, "mV", "R² 0.50 in held-out cells"))
    values += [CellValues(CELLS, "constant", np.full(n, 2.5)), CellValues(CELLS, "missing", np.full(n, np.nan))]
    labels = np.array([f"type {i}" for i in random.integers(0, 5, n)])
    colors = {f"type {i}": f"C{i}" for i in (3, 1, 4, 0, 2, 9)}
    return {
        "coordinates": random.normal(size=(n, 2)) * [1, 1.5] + [0, 100],
        "cell_names": [f"cell {i}" for i in range(n)],
        "values": values,
        "classes": [CellClasses("type", labels, colors)],
    }


@pytest.mark.parametrize("n", [300, MANY_CELLS + 1])
def test_the_page_holds_all_values_to_the_stated_resolution(n):
    cells = some_cells(n)
    header, columns, names = embedded(explorer_page(**cells))
    assert names == cells["cell_names"] and header["n_cells"] == n
    for name, values in zip(("z1", "z2"), cells["coordinates"].T, strict=True):
        assert np.abs(columns["map", name] - values).max() <= np.ptp(values) / 65534 / 2 * 1.0001
    for one in cells["values"]:
        known, found = ~np.isnan(one.values), columns[one.group, one.name]
        assert (np.isnan(found) == ~known).all()
        wide = one.group in (MEASURED, PREDICTED) and n <= MANY_CELLS
        if known.any():
            step = np.ptp(one.values[known]) / (65534 if wide else 254)
            assert np.abs(found - one.values)[known].max() <= step / 2 * 1.0001
    assert (columns["class", "type"] == cells["classes"][0].labels).all()
    (types,) = header["classes"]  # those that occur, in the order of their colours
    assert types["labels"] == [f"type {i}" for i in (3, 1, 4, 0, 2)]
    assert types["colors"] == [matplotlib_colors.to_hex(f"C{i}") for i in (3, 1, 4, 0, 2)]


def test_residuals_are_of_the_features_that_are_measured_and_predicted():
    cells = some_cells()
    cells["values"] = [one for one in cells["values"] if (one.group, one.name) != (PREDICTED, "feature 0")]
    header, _, _ = embedded(explorer_page(**cells))
    (residual,) = header["residuals"]
    pair = [(header["values"][place]["group"], header["values"][place]["name"]) for place in residual["of"]]
    assert pair == [(MEASURED, "feature 1"), (PREDICTED, "feature 1")] and residual["unit"] == "mV"


def test_more_than_255_classes_and_values_of_every_size():
    labels = np.array([f"t{i}" for i in range(300)])
    huge = np.linspace(-1, 1, 300) * 1.7e308  # the difference overflows
    page = explorer_page(
        np.zeros((300, 2)), labels, [CellValues(GENES, "tiny", np.arange(300) * 1e-300)],
        [CellClasses("type", labels, dict.fromkeys(labels.tolist(), "red"))],
    )  # fmt: skip
    header, columns, _ = embedded(page)
    assert (columns["class", "type"] == labels).all() and header["classes"][0]["bits"] == 16
    assert (columns["map", "z1"] == 0).all()
    assert np.abs(columns[GENES, "tiny"] - np.arange(300) * 1e-300).max() <= 300e-300 / 254 / 2
    assert (np.diff(quantise(huge, 16).codes.astype(int)) > 0).all()


def test_fifty_thousand_cells_take_five_megabytes_and_the_paper_s_three_hundred_kilobytes():
    """Random values do not compress: those of real cells take less."""
    many = some_cells(50_000, n_genes=25, n_features=16)
    random = np.random.default_rng(1)
    barcodes = {"".join(name) + "-1" for name in random.choice(list("ACGT"), (51_000, 16))}
    many["cell_names"] = random.permutation(sorted(barcodes))[:50_000]
    assert len(explorer_page(**many).encode()) < 5e6
    few = some_cells(1213, n_genes=25, n_features=16)
    few["cell_names"] = [f"20180{random.integers(101, 999)}_sample_{i}" for i in range(1213)]
    assert len(explorer_page(**few).encode()) < 3e5


class Elements(HTMLParser):
    """Tags of a page as a browser reads them, and the text of its heading."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self._inside = [], {}, None

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data):
        self.text[self._inside] = self.text.get(self._inside, "") + data

    def handle_endtag(self, tag):
        self._inside = None


def parsed(page):
    found = Elements()
    found.feed(page)
    return found


def test_names_cannot_end_the_script_that_holds_them_nor_fill_other_places():
    cells, n = some_cells(n := len(NASTY)), n
    cells["cell_names"] = NASTY
    cells["values"] = [CellValues(GENES, name, np.arange(n), name, name) for name in NASTY]
    cells["classes"] = [CellClasses("<b>", np.array(NASTY), dict.fromkeys(NASTY, "red"))]
    page = explorer_page(**cells, title=NASTY[0], about=NASTY[4])
    plain, found = parsed(explorer_page(**some_cells(n))), parsed(page)
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.text["h1"] == NASTY[0] and found.text["p"].startswith(NASTY[4])
    header, columns, names = embedded(page)
    assert names == NASTY and [one["name"] for one in header["values"]] == NASTY and header["title"] == NASTY[0]
    assert columns["class", "<b>"].tolist() == NASTY


def test_as_script_is_json_without_what_ends_a_script():
    text = as_script({"name": NASTY, "number": 1.5})
    assert json.loads(text) == {"name": NASTY, "number": 1.5}
    assert not re.search("[<>&\u2028\u2029]", text)
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script(float("nan"))


def test_the_page_asks_for_nothing():
    page = explorer_page(**some_cells())
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|import\(", page)
    for tag, attributes in parsed(page).tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert "src" not in attributes and "href" not in attributes
    assert "default-src 'none'" in page  # the browser itself refuses what is forgotten here
    assert not re.search(r"webgl|innerHTML|document\.write|eval\(", page)


def contrast(one, other):
    """Contrast of two colours, as WCAG 2 defines it."""

    def luminance(color):
        rgb = np.array(matplotlib_colors.to_rgb(color))
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_has_contrast_in_light_and_dark():
    assert contrast("white", "black") == pytest.approx(21)
    blocks = re.findall(r":root(?:\[data-theme=\"dark\"\])? \{(.*?)\}", explorer_page(**some_cells()), re.S)
    assert len(blocks) == 2
    for block in blocks:
        color = dict(re.findall(r"--([a-z]+): (#\w{6})", block))
        for text in ("ink", "soft"):
            for ground in ("paper", "card"):
                assert contrast(color[text], color[ground]) >= 4.5, (text, ground)
        assert contrast(color["focus"], color["paper"]) >= 3 and contrast(color["line"], color["paper"]) >= 3


def test_colour_maps_are_those_of_matplotlib():
    header, _, _ = embedded(explorer_page(**some_cells()))
    for kind, name in (("sequential", SEQUENTIAL), ("diverging", DIVERGING)):
        digits = header["maps"][kind]
        found = [matplotlib_colors.to_rgb("#" + digits[place : place + 6]) for place in range(0, len(digits), 6)]
        assert np.allclose(found, colormaps[name](np.linspace(0, 1, 64))[:, :3], atol=0.5 / 255 + 1e-9)


def test_quantised_values_come_back():
    values = np.array([np.nan, -3.0, 0.0, 7.0])
    for bits in (8, 16):
        found = quantise(values, bits)
        assert found.step == 10 / (2**bits - 2) and found.codes[0] == 2**bits - 1
        assert np.allclose(found.restore(), values, atol=found.step / 2, equal_nan=True)
        assert found.restore()[1] == -3 and found.restore()[3] == pytest.approx(7)
    empty = quantise([], 8)
    assert isinstance(empty, Quantised) and len(empty.restore()) == 0


WRONG = [
    ({"cell_names": ["a"] * 300}, "duplicate cell names: 'a'"),
    ({"coordinates": np.zeros((300, 3))}, r"two columns and a row for each of the 300 cells .* got shape \(300, 3\)"),
    ({"coordinates": np.full((300, 2), np.nan)}, "coordinates holds 600 NaN or infinite"),
    ({"coordinates": np.zeros((0, 2)), "cell_names": [], "values": [], "classes": []}, "at least one"),
    ({"values": [CellValues("Other", "x", np.zeros(300))]}, "unknown group of 'x': 'Other': expected one of"),
    ({"values": [CellValues(GENES, "x", np.zeros(2))]}, r"values of 'x' must have one entry per cell \(300\), got 2"),
    ({"values": [CellValues(GENES, "x", np.full(300, np.inf))]}, "values of 'x'.* finite"),
    ({"values": [CellValues(GENES, "x", np.full(300, "text"))]}, "values of 'x'"),
    ({"values": [CellValues(GENES, "x", np.zeros(300))] * 2}, r"duplicate values: 'x \(Genes\)'"),
    ({"classes": [CellClasses("type", np.full(300, "A"), {"B": "red"})]}, "colors of 'type' lack 'A'"),
    ({"classes": [CellClasses("type", np.full(3, "A"), {"A": "red"})]}, "labels of 'type' must have one entry per"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), WRONG, ids=range(len(WRONG)))
def test_bad_input_is_named(changed, message):
    with pytest.raises(ValueError, match=message):
        explorer_page(**some_cells() | changed)


def test_bad_values_are_not_quantised():
    for values, bits in ((np.zeros((2, 2)), 8), ([np.inf], 16), ([1.0], 12)):
        with pytest.raises(ValueError):
            quantise(values, bits)
