"""The interactive map in a browser: drawn, pointed at, searched, selected, by mouse and by keyboard."""

import csv
import io
import json
import time

import numpy as np
import pytest
from chromium import Chromium, require_chromium
from test_explorer import NASTY, some_cells

from sbnn.figures.explorer import CELLS, GENES, MEASURED, PREDICTED, CellClasses, CellValues, explorer_page

#: A checksum of the pixels of a canvas.
PIXELS = """[...document.querySelectorAll("canvas.points")].map((canvas) => {
  let sum = 0;
  for (const value of canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)
    sum = (Math.imul(sum, 31) + value) | 0;
  return sum;
})"""


@pytest.fixture(scope="module")
def cells():
    return some_cells(400)


@pytest.fixture(scope="module")
def path(cells, tmp_path_factory):
    require_chromium()
    path = tmp_path_factory.mktemp("explorer") / "map.html"
    path.write_text(explorer_page(**cells), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with Chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, path):
    """The page, newly opened in a wide window; nothing else was asked for, and nothing complained of, at the end."""
    browser.resize(1400, 900)
    browser.prefer(False)
    browser.requests.clear()
    browser.open(path)
    yield browser
    assert browser.requests == [path.resolve().as_uri()] and browser.messages == []


def choose(page, control, key):
    """Choose an entry of a list as a reader does."""
    page.evaluate(f"(() => {{ const list = find({json.dumps(control)}); list.value = {json.dumps(key)};"
                  "list.dispatchEvent(new Event('change')); })()")  # fmt: skip


def place(page, cell, panel=0):
    """Where a cell lies in the window."""
    return page.evaluate(
        f"(() => {{ const panel = explorer.panels[{panel}], box = panel.points.getBoundingClientRect();"
        f"return [box.left + panel.px[{cell}], box.top + panel.py[{cell}]]; }})()"
    )


def values_of(cells, group, name):
    return next(one.values for one in cells["values"] if (one.group, one.name) == (group, name))


def text(page, selector):
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def selected(page):
    return page.evaluate("[...explorer.selected.keys()].filter((i) => explorer.selected[i])")


def lonely(cells):
    """The cell with the most room around it on the map."""
    Z = cells["coordinates"]
    distances = np.linalg.norm(Z[:, None] - Z[None], axis=2) + np.diag(np.full(len(Z), np.inf))
    return int(np.argmax(distances.min(axis=1)))


def test_the_page_restores_the_values(page, cells):
    for one in cells["values"]:
        found = page.evaluate(f"[...explorer.columns.byKey.get({json.dumps(f'{one.group} {one.name}')}).values]")
        found = np.array([np.nan if value is None else value for value in found], dtype=float)
        assert (np.isnan(found) == np.isnan(one.values)).all()
        if not np.isnan(one.values).all():
            assert np.nanmax(np.abs(found - one.values)) <= np.ptp(one.values[~np.isnan(one.values)]) / 254 / 2 * 1.001
    measured, predicted = (
        next(one.values for one in cells["values"] if one.group == group) for group in (MEASURED, PREDICTED)
    )
    found = page.evaluate("[...explorer.columns.byKey.get(RESIDUALS + ' feature 0').values]")
    expected = measured - predicted
    known = ~np.isnan(expected)
    assert np.allclose(np.array(found, dtype=float)[known], expected[known], atol=np.ptp(expected[known]) / 1e4)
    assert page.evaluate("explorer.columns.names") == cells["cell_names"]


def test_every_colour_and_every_axis_changes_the_pictures(page):
    seen = set()
    for key in page.evaluate("[...document.querySelectorAll('#colour option')].map((one) => one.value)"):
        if key.split(" ", 1)[1] in ("constant", "missing"):
            continue
        choose(page, "colour", key)
        seen.add(tuple(page.evaluate(PIXELS)))
        assert key.split(" ")[-1] in text(page, "#map-title")
    # one class, two coordinates, three genes, two features measured, predicted, and their residuals
    assert len(seen) == 12 and len({one[0] for one in seen}) == 12 and len({one[1] for one in seen}) == 12
    for control in ("x", "y"):
        before = page.evaluate(PIXELS)
        choose(page, control, "Genes Gene2")
        after = page.evaluate(PIXELS)
        assert before[0] == after[0] and before[1] != after[1]
    for key in ("Cells constant", "Cells missing"):  # no picture, but no error either
        choose(page, "colour", key)
        choose(page, "x", key)
    assert "Not measured: 400 cells" in text(page, "#legend")


def test_classes_have_the_colours_of_the_data(page, cells):
    cell = lonely(cells)
    (x, y), box = place(page, cell), page.evaluate("explorer.panels[0].points.getBoundingClientRect().toJSON()")
    where = f"{round(x - box['left'])}, {round(y - box['top'])}, 1, 1"
    pixel = page.evaluate(f"[...explorer.panels[0].points.getContext('2d').getImageData({where}).data]")
    classes = page.evaluate("(({ labels, colors }) => ({ labels, colors }))(explorer.columns.classes[0])")
    label = cells["classes"][0].labels[cell]
    color = classes["colors"][classes["labels"].index(label)]
    assert np.allclose(pixel[:3], [int(color[k : k + 2], 16) for k in (1, 3, 5)], atol=2) and pixel[3] == 255


def test_pointing_at_a_cell_tells_of_it_in_both_panels(page, cells):
    cell = lonely(cells)
    choose(page, "colour", "Features, predicted feature 1")
    page.mouse("mouseMoved", *place(page, cell))
    assert page.evaluate("explorer.current") == cell
    said = text(page, "#map .tip")
    assert said.startswith(f"cell {cell}type: {cells['classes'][0].labels[cell]}predicted feature 1 (mV): ")
    value = values_of(cells, PREDICTED, "feature 1")[cell]
    assert float(said.split("(mV): ")[1].split("Gene")[0].replace("−", "-")) == pytest.approx(value, rel=1e-3)
    marks = "[...document.querySelectorAll('canvas.marks')].map((one) => one.getContext('2d')" \
        ".getImageData(0, 0, one.width, one.height).data.some((value) => value))"  # fmt: skip
    assert page.evaluate(marks)[0] and page.evaluate("document.querySelector('#scatter .tip').hidden")
    page.mouse("mouseMoved", 5, 5)
    assert page.evaluate("explorer.current") == -1 and page.evaluate("document.querySelector('#map .tip').hidden")
    assert page.evaluate(marks) == [False, False]


def test_the_nearest_cell_is_found(page):
    """As by looking at all of them."""
    wrong = page.evaluate("""(() => { let wrong = 0; for (const panel of explorer.panels)
      for (let x = 0; x < panel.width; x += 13) for (let y = 0; y < panel.height; y += 11) {
        let best = -1, least = 12 * 12;
        for (let i = 0; i < panel.px.length; i++) {
          const distance = (panel.px[i] - x) ** 2 + (panel.py[i] - y) ** 2;
          if (distance < least) [best, least] = [i, distance];
        }
        wrong += best !== panel.nearest(x, y);
      }
      return wrong; })()""")
    assert wrong == 0


def test_lasso_click_and_legend_select(page, cells):
    box = page.evaluate("explorer.panels[0].points.getBoundingClientRect().toJSON()")
    middle, bottom = box["left"] + box["width"] / 2, box["top"] + box["height"]
    left, top = box["left"] + 1, box["top"] + 1
    corners = [(left, top), (middle, top), (middle, bottom - 1), (left, bottom - 1)]
    before = page.evaluate(PIXELS)
    page.drag(corners)
    px = np.array(page.evaluate("[...explorer.panels[0].px]"))
    left = np.flatnonzero(px < middle - box["left"])
    assert selected(page) == left.tolist() and 50 < len(left) < 350
    assert text(page, "#selection") == f"{len(left)} of 400 cells selected"
    assert all(one != other for one, other in zip(before, page.evaluate(PIXELS), strict=True))
    cell = lonely(cells)
    page.drag([place(page, cell)])
    assert selected(page) == [cell]
    other = next(i for i in left if i != cell)
    there = place(page, other)
    page.drag([there], modifiers=8)  # Shift
    assert len(selected(page)) == 2
    page.evaluate("document.querySelector('#legend button').click()")
    assert selected(page) == np.flatnonzero(cells["classes"][0].labels == "type 3").tolist()
    page.drag([(box["left"] + 2, box["top"] + 2)])  # nothing is there
    assert selected(page) == [] and text(page, "#selection") == "No cell selected"
    assert page.evaluate(PIXELS) == before


def test_search_shows_genes_and_features(page):
    def search(words, target="colour"):
        page.evaluate(f"find('search').value = ''; find('target').value = '{target}'; find('search').focus()")
        page.type(words)
        page.press("Enter", 13, "\r")
        return text(page, "#status")

    assert search("gene1") == "Gene1 (log₂ count) is shown as colour"
    assert page.evaluate("find('colour').value") == "Genes Gene1"
    assert "Gene1" in text(page, "#legend-title")
    search("feature 1", "y")
    assert page.evaluate("find('y').value") == "Features, measured feature 1"
    assert search("gene") == "Several genes or features begin with “gene”"
    assert search("nothing") == "No gene or feature begins with “nothing”"
    assert page.evaluate("find('colour').value") == "Genes Gene1"
    listed = page.evaluate("[...find('names').options].map((one) => one.value)")
    assert listed == ["Gene0", "Gene1", "Gene2", "feature 0", "feature 1"]


def test_the_selection_is_saved_as_csv(page, cells, tmp_path):
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    choose(page, "colour", "Features, measured feature 0")
    chosen = [3, 5, int(np.flatnonzero(np.isnan(values_of(cells, MEASURED, "feature 0")))[0])]
    page.evaluate(f"explorer.pick({chosen}, false); find('csv').click()")
    until = time.monotonic() + 20
    while not list(tmp_path.glob("*.csv")) and time.monotonic() < until:
        time.sleep(0.05)
    with open(tmp_path / "selected_cells.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == [f"cell {i}" for i in sorted(chosen)]
    assert list(rows[0]) == ["cell", "type", "z1", "z2", "measured feature 0 (mV)", "Gene0 (log₂ count)"]
    for row, i in zip(rows, sorted(chosen), strict=True):
        assert row["type"] == cells["classes"][0].labels[i]
        assert float(row["z1"]) == pytest.approx(cells["coordinates"][i, 0], abs=1e-3)
        value = values_of(cells, MEASURED, "feature 0")[i]
        assert (
            row["measured feature 0 (mV)"] == ""
            if np.isnan(value)
            else float(row["measured feature 0 (mV)"]) == pytest.approx(value, abs=0.01)
        )


def test_all_is_done_by_keyboard(page):
    """Tab reaches every control in its order; arrows walk over cells, Enter selects, Escape clears."""
    reached = []
    for _ in range(16):
        page.press("Tab", 9)
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.parentElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", reached
    assert reached[:8] == ["theme", "colour", "x", "y", "search", "target", "map", "scatter"]
    assert set(reached[8:13]) == {"legend"}
    page.evaluate("explorer.panels[0].points.focus()")
    walked = []
    for key, code in (("ArrowRight", 39), ("ArrowRight", 39), ("ArrowUp", 38), ("ArrowLeft", 37), ("ArrowDown", 40)):
        before = page.evaluate("explorer.current")
        page.press(key, code)
        after = page.evaluate("explorer.current")
        walked.append(after)
        (x, y), (u, v) = place(page, before), place(page, after)
        along = {"ArrowRight": u - x, "ArrowLeft": x - u, "ArrowUp": y - v, "ArrowDown": v - y}[key]
        assert along > 0 and before != after
    assert text(page, "#status").startswith(f"cell {walked[-1]} · type: ")
    page.press("Enter", 13, "\r")
    assert selected(page) == [walked[-1]]
    page.press("ArrowRight", 39)
    page.press(" ", 32, " ")
    assert len(selected(page)) == 2
    page.press(" ", 32, " ")
    assert selected(page) == [walked[-1]]
    page.press("Escape", 27)
    assert selected(page) == []


def test_every_control_has_a_name(page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "combobox", "textbox", "application", "searchbox", "listbox")
    controls = [node for node in tree if node.get("role", {}).get("value") in roles and not node["ignored"]]
    assert len(controls) >= 12
    assert [node for node in controls if not node["name"].get("value")] == []


def test_dark_follows_the_system_until_the_reader_chooses(page):
    light = page.evaluate(PIXELS)
    page.prefer(True)
    page.evaluate("new Promise((done) => setTimeout(done, 50))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    dark = page.evaluate(PIXELS)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    page.evaluate("find('theme').click()")
    assert page.evaluate(PIXELS) == light
    for dark in (False, True):
        page.prefer(dark)
        page.evaluate("new Promise((done) => setTimeout(done, 50))")
        assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("width", [360, 420, 800, 1100, 1400])
def test_nothing_sticks_out_or_overlaps_at_any_width(page, width):
    page.resize(width, 800)
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    boxes = page.evaluate(
        "[...document.querySelectorAll('button, select, input, h1, h2, canvas.points')].filter((one) => !one.closest("
        "'#legend')).map((one) => [one.id || one.tagName, ...Object.values(one.getBoundingClientRect().toJSON())])"
    )
    for i, (name, x, y, w, h, *_) in enumerate(boxes):
        assert w > 20 and h > 10 and x >= 0 and x + w <= width, name
        for other, u, v, r, s, *_ in boxes[:i]:
            assert min(x + w, u + r) - max(x, u) < 1 or min(y + h, v + s) - max(y, v) < 1, (name, other)
    order = page.evaluate("[...document.querySelectorAll('main > *')].map((one) => one.getBoundingClientRect().top)")
    assert (order[0] < order[2] < order[1]) if width <= 700 else (order[0] == order[1] <= order[2])
    assert page.evaluate("explorer.panels.every((panel) => panel.fits())")


def test_names_are_text_and_nothing_else(browser, tmp_path):
    n = len(NASTY)
    page = explorer_page(
        np.arange(2 * n).reshape(n, 2), NASTY, [CellValues(GENES, name, np.arange(n), name, name) for name in NASTY],
        [CellClasses("family", np.array(NASTY), dict.fromkeys(NASTY, "red"))], NASTY[0], NASTY[0],
    )  # fmt: skip
    (tmp_path / "map.html").write_text(page, encoding="utf-8")
    browser.open(tmp_path / "map.html")
    assert browser.evaluate("document.title") == NASTY[0] == text(browser, "h1")
    for key in [f"Genes {name}" for name in NASTY]:
        choose(browser, "colour", key)
    browser.evaluate("explorer.hover(0, explorer.panels[0])")
    assert text(browser, "#map .tip").startswith(NASTY[0])
    browser.evaluate("explorer.pick([0, 1, 2, 3, 4, 5, 6], false)")
    rows = list(csv.reader(io.StringIO(browser.evaluate("explorer.csv()"), newline="")))
    assert [row[0] for row in rows[1:]] == NASTY
    assert browser.evaluate("document.querySelectorAll('script').length") == 3 and browser.messages == []


def test_few_things_to_show_are_shown(browser, tmp_path):
    """One cell without anything measured; no genes; no classes."""
    contents = ([], [CellValues(CELLS, "x", np.array([np.nan]))], [CellValues(MEASURED, "y", np.ones(1))])
    for number, values in enumerate(contents):
        path = tmp_path / f"{number}.html"
        path.write_text(explorer_page(np.ones((1, 2)), ["only"], values), encoding="utf-8")
        browser.open(path)
        browser.evaluate("explorer.pick([0], false)")
        assert browser.evaluate("explorer.csv()").startswith("cell,z1,z2") and browser.messages == []


def test_fifty_thousand_cells_open_within_two_seconds(browser, tmp_path):
    path = tmp_path / "many.html"
    path.write_text(explorer_page(**some_cells(50_000, n_genes=25, n_features=16)), encoding="utf-8")
    assert min(browser.open(path) for _ in range(2)) < 2000
    assert browser.messages == []


def test_a_damaged_page_says_so(browser, path, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(path.read_text(encoding="utf-8").replace('id="content">', 'id="content">!'), encoding="utf-8")
    with pytest.raises(AssertionError, match="InvalidCharacterError"):
        browser.open(broken)
    browser.messages.clear()
    assert "The map cannot be drawn" in text(browser, "#about")
