"""Files written all or nothing."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def all_or_nothing(path: Path) -> Iterator[Path]:
    """Name a file to write to: it becomes `path` where that succeeds, and is gone where it does not.

    Parameters
    ----------
    path : Path
        Its folder is made where it is missing; a file that is there stays until the new one is whole.

    Yields
    ------
    Path
        A file beside it, with the same ending.
    """
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


def _to_disk(path):
    """Wait until the disk has the content: a crash of the machine must not leave an empty file under the new name."""
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())
