"""Atomic writing of files: all or nothing."""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def all_or_nothing(path: Path) -> Iterator[Path]:
    """Provide a temporary file to write to, which becomes `path` on success and is deleted on failure.

    Parameters
    ----------
    path : Path
        Its folder is created if it is missing; an existing file stays until the new one is complete. Of a symbolic
        link the target is written.

    Yields
    ------
    Path
        A file in the same folder, with the same suffix.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes to a file, all or nothing."""
    with all_or_nothing(path) as temporary:
        temporary.write_bytes(content)


def write_together(contents: Mapping[Path, bytes], stale: Iterable[Path] = ()) -> None:
    """Write files that belong together: none is replaced before all are complete on disk, then one after the other.

    Parameters
    ----------
    contents : dict
        Path -> bytes; the first is replaced last.
    stale : iterable of Path
        Files of an earlier writing, which are removed at the end; they may be missing.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            temporary = stack.enter_context(all_or_nothing(path))
            temporary.write_bytes(content)
            _to_disk(temporary)  # all of them, before the end of the with statement replaces the first
    for path in stale:
        path.unlink(missing_ok=True)


def check_html_path(path: Any, example: str) -> Path:
    """Return the path of an HTML file that is to be written.

    Parameters
    ----------
    path : path-like
    example : str
        A name such as it should be, for the error.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        Not a path, a folder, or a file of another kind.
    """
    try:
        target = Path(path)
    except TypeError:
        raise ValueError(f"path must be the name of a file such as {example!r}, got {path!r}") from None
    if target.suffix.lower() not in (".html", ".htm") or target.is_dir():
        raise ValueError(f"path must be an HTML file, such as {example!r}, got {str(path)!r}")
    return target


def save_network(network: Any, path: Path) -> None:
    """Write a Keras network to a file, all or nothing.

    Parameters
    ----------
    network : keras.Model
    path : Path
        With the suffix .keras.
    """
    with all_or_nothing(path) as temporary:
        network.save(temporary)


def _to_disk(path):
    """Flush the content to disk: a crash of the machine must not leave an empty file under the new name."""
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
