"""The reference that `make docs` writes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sbnn

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted([*ROOT.glob("*.ipynb"), *ROOT.glob("examples/*.ipynb")])


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Text of all pages by name, built by Sphinx without a warning."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "docs", folder / "sources", ignore=shutil.ignore_patterns("reference"))
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "sources", "pages"]
    built = subprocess.run(build, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0 and not built.stderr, built.stderr
    return {path.stem: path.read_text() for path in (folder / "pages/reference").glob("*.html")}


def test_every_public_name_has_a_page(pages):
    for name in sbnn.__all__:
        assert name == "__version__" or f'id="sbnn.{name}"' in pages[name], name


def test_every_module_that_readers_import_from_has_a_page(pages):
    texts = ["".join(c["source"]) for path in NOTEBOOKS for c in json.loads(path.read_text())["cells"]]
    texts += [(ROOT / name).read_text() for name in ("README.md", "helpers.py", "docs/guide.md")]
    named = {name for text in texts for name in re.findall(r"^from (sbnn\.[\w.]+) import", text, re.M)}
    assert len(named) > 10 and named <= set(pages)


def test_pages_need_no_internet_but_for_formulas(pages):
    for name, text in pages.items():
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"', text)
        assert all("mathjax" in address for address in fetched), name
