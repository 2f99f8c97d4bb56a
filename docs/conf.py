"""Settings of Sphinx, and the pages of the reference: generated from the package at every build (`make docs`).

Rooms are the packages below sbnn. No module is named here: the documentation follows when modules move.
"""

import importlib
import inspect
import os
import pkgutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sphinx.addnodes import desc_annotation

import sbnn

#: Longest value of a constant that is shown, in characters.
LONGEST_VALUE = 200

project = "sBNN"
author = "The sBNN developers"
version = release = sbnn.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # docstrings give types with shapes and units, and ArrayLike would fill ten lines
numpydoc_show_class_members = False
numpydoc_validation_checks = {"PR02", "GL07"}  # arguments that do not exist, sections out of order
maximum_signature_line_length = 100
default_role = "py:obj"  # text in single backticks is a link if it is one of our names, else code

html_theme = "furo"
html_title = f"sBNN {release}"
html_copy_source = html_show_sphinx = False


def modules():
    """Return all modules and packages of sbnn by name, private ones left out."""
    found = {"sbnn": sbnn}
    for module in pkgutil.walk_packages(sbnn.__path__, "sbnn."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            found[module.name] = importlib.import_module(module.name)
    return found


def room_of(module_name):
    """Return the package directly below sbnn that contains or is a module; "sbnn" for a module outside of rooms."""
    room = ".".join(module_name.split(".")[:2])
    return room if hasattr(importlib.import_module(room), "__path__") else "sbnn"


def summary_of(value):
    """Return the first line of a docstring."""
    return (inspect.getdoc(value) or "").partition("\n")[0]


def page(title, *blocks):
    """Return the text of a page."""
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *blocks]) + "\n"


def directive(name, argument, lines=(), **options):
    """Return a directive of reStructuredText."""
    options = [f":{key.replace('_', '-')}: {value}".rstrip() for key, value in options.items()]
    body = [*options, "", *lines] if lines else options
    return "\n   ".join([f".. {name}:: {argument}".rstrip(), *body])


def page_of_name(name):
    """Return the page of a public name; for a class, with the methods that it inherits from classes of sbnn."""
    value = getattr(sbnn, name)
    if not isinstance(value, type):
        return page(name, directive("autofunction", f"sbnn.{name}"))
    foreign = [base.__name__ for base in value.__mro__ if not base.__module__.startswith("sbnn")]
    return page(name, directive("autoclass", f"sbnn.{name}", inherited_members=", ".join(foreign)))


def page_of_module(name, public):
    """Return the page of a module: its content without the public names, which have separate pages."""
    blocks = [directive("automodule", name, exclude_members=", ".join(public) or "__init__")]
    if public:
        blocks.append("Imported from sbnn itself: " + ", ".join(f":obj:`sbnn.{one}`" for one in public) + ".")
    return page(name, *blocks)


def listing(values):
    """Return a list of pages with the first line of each docstring; `values`: name of the page -> its object."""
    lines = [f"- :doc:`{name}`: {summary_of(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n\n" + directive("toctree", "", values, hidden="")


def page_of_room(room, members, public):
    """Return the page of a room: its docstring, then its public names and its modules."""
    blocks = [directive("automodule", room, no_members="")]
    for title, values in (("Public names", public), ("Modules", members)):
        if values:
            blocks += [f"{title}\n{'-' * len(title)}", listing(values)]
    return page(room, *blocks)


def pages():
    """Return all pages of the reference by file name."""
    public = {name: getattr(sbnn, name) for name in sbnn.__all__ if not name.startswith("_")}
    written = {f"{name}.rst": page_of_name(name) for name in public}
    found = modules()
    rooms = {room: found[room] for room in sorted({room_of(name) for name in found})}
    for room in rooms:
        members = {name: found[name] for name in found if name != room and room_of(name) == room}
        for name in members:
            written[f"{name}.rst"] = page_of_module(name, [one for one in public if public[one].__module__ == name])
        of_room = {name: value for name, value in public.items() if room_of(value.__module__) == room}
        written[f"{room}.rst"] = page_of_room(room, members, of_room)
    written["index.rst"] = page("Reference", listing(rooms))
    return written


def write_pages(app):
    """Write the pages below the other sources, and remove outdated ones."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    written = pages()
    for path in folder.glob("*.rst"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def skip_foreign(app, what, name, value, skip, options):
    """Leave out foreign members: imported functions, and methods that scikit-learn adds to its estimators."""
    foreign = callable(value) and not str(getattr(value, "__module__", "sbnn")).startswith("sbnn")
    return True if foreign else None  # None: Sphinx decides


def leave_out_long_values(app, domain, kind, content):
    """Remove long values from the page, such as the addresses of all files."""
    for part in list(content.parent.findall(desc_annotation)):
        if len(part.astext()) > LONGEST_VALUE:
            part.parent.remove(part)


def setup(app):
    """Connect the functions above."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("object-description-transform", leave_out_long_values)
