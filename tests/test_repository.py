"""What the repository promises about itself."""

import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import sbnn
from sbnn.data.sources import locate

ROOT = Path(__file__).parent.parent
LOCKED_EXTRAS = ("cpu", "jax", "notebooks", "dev", "docs")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(texts):
    return {requirement.name.lower(): requirement for requirement in map(Requirement, texts)}


def test_environment_asks_for_what_the_project_asks_for():
    """Every name of the pip list is one of the project's requirements, with the same versions, and installable."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert "python=3.11" in environment["dependencies"]
    listed = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "-e .[tensorflow,notebooks]" in listed
    extras = PROJECT["optional-dependencies"]
    asked = requirements([*PROJECT["dependencies"], *extras["tensorflow"], *extras["glmnet"]])
    named = requirements(entry for entry in listed if not entry.startswith("-e"))
    names = {"tensorflow", "keras", "numpy", "pandas", "scipy", "matplotlib", "seaborn", "scikit-learn", "glmstar"}
    assert names == set(named)
    for name, requirement in named.items():
        assert requirement.specifier == asked[name].specifier, name


def locked():
    """Requirements of the lock file, for this Python and for others."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] != "#"]


def locked_versions():
    """Return name -> version of what `make` installs here."""
    here = [requirement for requirement in locked() if not requirement.marker or requirement.marker.evaluate()]
    return {requirement.name.lower(): str(requirement.specifier).removeprefix("==") for requirement in here}


def test_lock_file_holds_one_exact_version_of_everything_asked_for():
    assert all(len(requirement.specifier) == 1 and "==" in str(requirement.specifier) for requirement in locked())
    versions, extras = locked_versions(), PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(one for name in LOCKED_EXTRAS for one in extras[name])]
    for name, requirement in requirements(asked).items():
        if not requirement.marker or requirement.marker.evaluate():
            assert requirement.specifier.contains(versions[name]), name
    assert "tensorflow" not in versions or "tensorflow-cpu" not in versions


def test_commits_are_checked_by_the_ruff_of_the_lock_file():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    asked = [f"ruff=={locked_versions()['ruff']}"]
    assert [(hook["id"], hook["additional_dependencies"]) for hook in repository["hooks"]] == [
        ("ruff-check", asked),
        ("ruff-format", asked),
    ]


def test_every_public_signature_has_type_hints_that_fit(tmp_path):
    """As `make lint` has it: ruff wants them, mypy holds them against the code."""
    for checker in (["ruff", "check", "--no-cache", "sbnn", "helpers.py"], ["mypy", "--cache-dir", tmp_path]):
        checked = subprocess.run([sys.executable, "-m", *checker], cwd=ROOT, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_version_stands_in_one_place():
    """Where it has to be repeated, it is that of sbnn, with the date and the words of the other places."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert PROJECT["dynamic"] == ["version"]
    assert setuptools["dynamic"]["version"] == {"attr": "sbnn.__version__"}
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", heading) for heading in headings]
    if headings[0] == "[Unreleased]":
        released = released[1:]
    assert all(released), headings
    versions = [(Version(heading[1]), date.fromisoformat(heading[2])) for heading in released]
    assert versions == sorted(versions, reverse=True)
    assert str(versions[0][0]) == sbnn.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"]) == (sbnn.__version__, versions[0][1])
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    assert (zenodo["version"], zenodo["publication_date"]) == (sbnn.__version__, str(versions[0][1]))


def test_citation_and_zenodo_say_the_same():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license", "version", "date-released", "url"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors", "year", "url"} <= set(paper)
    assert [author["family-names"] for author in paper["authors"]] == ["Bernaerts", "Berens", "Kobak"]
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    assert zenodo["upload_type"] == "software"
    assert (zenodo["title"], zenodo["description"]) == (citation["title"], citation["abstract"])
    assert zenodo["creators"] == citation["authors"]
    assert zenodo["license"] == citation["license"] == PROJECT["license"]
    assert zenodo["keywords"] == citation["keywords"] == PROJECT["keywords"]
    (related,) = zenodo["related_identifiers"]
    assert [identifier["value"] for identifier in paper["identifiers"]] == [related["identifier"]]


def test_binder_installs_what_the_notebook_of_figures_imports():
    """latent_visualisation draws from committed results without a backend; versions are those of the lock file."""
    lines = (ROOT / ".binder/requirements.txt").read_text().splitlines()
    assert "-c ../requirements.lock" in lines
    named = {line for line in lines if line[:1].isalpha()}
    cells = json.loads((ROOT / "latent_visualisation.ipynb").read_text())["cells"]
    imports = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    code = f"{imports}\nimport sys, importlib.metadata\npackages = importlib.metadata.packages_distributions()\n"
    code += "print(*{package.lower() for name in set(sys.modules) & set(packages) for package in packages[name]})"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    direct = {name for name in requirements(PROJECT["dependencies"]) if name in ran.stdout.split()}
    assert direct == named
    assert (ROOT / ".binder/runtime.txt").read_text() == "python-3.11\n"


def test_pushes_are_tested_as_everywhere_else():
    """GitHub runs what any other CI runs, on the Python of the lock file, and builds the reference."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as a truth value
    steps = workflow["jobs"]["tests"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run", "make docs"]
    assert any(step.get("with", {}).get("python-version") == "3.11" for step in steps)
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_importing_sbnn_imports_neither_a_backend_nor_glmnet():
    code = (
        "import sys, sbnn; from sbnn import load_dataset, ReducedRankRegressor, cross_validate, load_results\n"
        "data = load_dataset('simulated')\n"
        "cross_validate(data, {'sRRR': ReducedRankRegressor(2, 0.5)}, folds='all', progress=False)\n"
        "print([name for name in ('tensorflow', 'keras', 'jax', 'glmnet') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sbnn.__all__)
def test_public_names_exist_and_are_documented(name):
    value = getattr(sbnn, name)
    assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        _ = sbnn.train


def test_readme_names_the_two_commands_that_exist():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    assert "make figures" in readme and "make test" in readme
    for target in re.findall(r"`make ([a-z-]+)`", readme):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_measured_data_are_not_committed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    files = tracked.stdout.splitlines()
    assert not [file for file in files if re.search(r"\.(mat|zip|gz|h5ad)$", file)]
    assert not [file for file in files if file.startswith("data/") and file.count("/") > 1]


def test_the_table_of_the_readme_is_that_of_the_committed_results():
    script = ROOT / "scripts" / "write_readme_table.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_figures_readme_is_that_of_the_committed_figures_and_results():
    if locate("reference/scala_2020_tf2/for_hist.pickle") is None:
        pytest.skip("the authors' results are not here (set SBNN_REFERENCE)")
    script = ROOT / "scripts" / "write_figures_readme.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_every_figure_is_there_twice_small_and_explained():
    explained = (ROOT / "figures" / "README.md").read_text()
    pictures = [path for path in (ROOT / "figures").rglob("*.png") if path.parent.name != "simulated"]
    assert len(pictures) > 40
    for path in pictures:
        assert f"![{path.stem}]({path.parent.name}/{path.name})" in explained
        assert path.with_suffix(".pdf").stat().st_size < 2e6 and path.stat().st_size < 2e6, path
