"""Imports run one way: reporting -> own_cells -> figures -> validation -> models -> data, and storage beside data."""

import re
from pathlib import Path

from imports import all_modules, imported_modules

import sbnn

PACKAGE = Path(sbnn.__file__).parent
#: What each room may import, beside itself and what all share.
ALLOWED = {
    "data": set(),
    "storage": {"data"},
    "models": {"data", "storage"},
    "validation": {"data", "storage", "models"},
    "figures": {"data", "storage", "models", "validation"},
    "own_cells": {"data", "storage", "models", "validation", "figures"},
    "reporting": {"data", "storage", "models", "validation", "figures", "own_cells"},
}
#: The command line, which is no room.
ENTRY = {"__main__": {"reporting"}}
#: Checks of arguments, and names of types.
SHARED = {"_checks", "_hints"}


def imports():
    """Module -> modules that it imports, without the name of the package."""
    names = [name.removeprefix("sbnn.") for name in all_modules(PACKAGE) if name != "sbnn"]
    files = [name for name in names if name not in ALLOWED and name != "data.published"]
    return {name: {one.removeprefix("sbnn.") for one in imported_modules(PACKAGE, name)} for name in files}


def test_rooms_import_in_the_stated_direction_only():
    wrong = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if other not in SHARED
        and other.split(".")[0] not in {module.split(".")[0]} | (ALLOWED | ENTRY).get(module.split(".")[0], set())
    ]
    assert wrong == []


def test_no_circle():
    left = imports()
    while left:
        free = {module for module, others in left.items() if not others & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {module: others for module, others in left.items() if module not in free}


def test_no_module_imports_public_names_whose_module_the_other_tests_cannot_see():
    public = re.compile(r"^\s*from sbnn import ", re.M)
    assert [name for name, path in all_modules(PACKAGE).items() if public.search(path.read_text())] == []


def test_storage_knows_no_model():
    assert all(
        not other.startswith("models")
        for name, others in imports().items()
        if name.startswith("storage")
        for other in others
    )


def test_every_room_is_known_and_no_module_is_loaded_by_a_name_made_of_text():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ALLOWED)
    dynamic = {
        name
        for name, path in all_modules(PACKAGE).items()
        if re.search(r"import_module\(|__import__\(", path.read_text())
    }
    assert dynamic <= {"sbnn", "sbnn.data.containers"}  # public names when first asked for; packages of extras


def test_modules_stay_readable():
    files = [*all_modules(PACKAGE).values(), PACKAGE.parent / "helpers.py"]
    long = {path.name: n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
