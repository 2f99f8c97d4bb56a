"""The report in a browser: opened from a file, wide and narrow, light and dark, with its map."""

import time

import pytest
from chromium import Chromium, require_chromium
from short_network import shorten

from sbnn import report, simulate_patchseq

MAP = "document.querySelector('iframe')?.contentDocument"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    require_chromium()
    data = simulate_patchseq(n_cells=80, n_genes=30, n_features=4, n_informative=5, n_types=3, random_state=0)[0]
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return report(data, tmp_path_factory.mktemp("page") / "report.html", progress=False, n_jobs=1).path


def open_report(browser, path):
    """Open it, and wait until the map in it is drawn."""
    browser.open(path, f"{MAP}?.body")


@pytest.mark.parametrize("width", [1200, 400])
def test_it_opens_without_a_request_or_a_message_and_fits(path, width):
    with Chromium(width, 900) as browser:
        open_report(browser, path)
        asked = [address for address in browser.requests if not address.startswith("data:")]
        assert asked == [path.resolve().as_uri()]
        assert browser.messages == []
        # Wide tables scroll by themselves, the page does not; nor does the map.
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.evaluate(f"{MAP}.documentElement.scrollWidth <= {MAP}.documentElement.clientWidth")
        top = browser.evaluate("document.querySelector('#answer').getBoundingClientRect().top")
        assert 0 < top < 300
        assert browser.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 100)")


def test_links_lead_to_sections(path):
    with Chromium() as browser:
        open_report(browser, path)
        links = browser.evaluate("[...document.querySelectorAll('nav a')].map((one) => one.getAttribute('href'))")
        assert len(links) == 7
        assert browser.evaluate(
            "[...document.querySelectorAll('nav a')].every((one) => document.querySelector(one.hash))"
        )


def contrast(browser, selector):
    """Contrast of the text of an element with the page behind it (WCAG)."""
    return browser.evaluate(f"""(() => {{
      const light = (colour) => {{
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
          .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      }};
      let behind = document.querySelector("{selector}");
      const text = light(getComputedStyle(behind).color);
      while (/, 0\\)$/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
      const paper = light(getComputedStyle(behind).backgroundColor);
      return (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
    }})()""")


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(path, dark):
    with Chromium(dark=dark) as browser:
        open_report(browser, path)
        paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") != dark
        for selector in ("body", "p.soft", ".caption", "nav a", "#answer li", "td", "code", ".interval", "dd"):
            assert contrast(browser, selector) >= 4.5, selector
        assert browser.evaluate(f"{MAP}.documentElement.dataset.theme") == ("dark" if dark else "light")


def test_the_map_in_it_works(path):
    """Colour by another value, and the canvas changes; the legend selects cells, which can be saved."""
    pixels = f"""(() => {{
      const canvas = {MAP}.querySelector("canvas.points");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return pixels.reduce((sum, one) => (sum * 31 + one) | 0, 7);
    }})()"""
    with Chromium(1200, 900) as browser:
        open_report(browser, path)
        before = browser.evaluate(pixels)
        browser.evaluate(f"""(() => {{
          const colour = {MAP}.querySelector("#colour");
          colour.value = [...colour.options].map((one) => one.value).find((one) => one !== colour.value);
          colour.dispatchEvent(new Event("change", {{bubbles: true}}));
        }})()""")
        until = time.monotonic() + 20
        while browser.evaluate(pixels) == before and time.monotonic() < until:
            time.sleep(0.05)
        assert browser.evaluate(pixels) != before
        assert "in this fold" in browser.evaluate(f"{MAP}.querySelector('#colour').textContent")


def test_it_can_be_printed(path):
    with Chromium() as browser:
        open_report(browser, path)
        browser.call("Emulation.setEmulatedMedia", media="print")
        assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert browser.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
        printed = browser.call("Page.printToPDF", preferCSSPageSize=True)["data"]
        assert len(printed) > 50_000
