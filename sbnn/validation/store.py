"""Finished work on disk, addressed by its content: nothing in a store is ever computed twice."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sbnn._hints import PathLike
from sbnn.storage.plain_pickle import load_plain
from sbnn.storage.results import dump_plain, read_plain_pickle
from sbnn.storage.writing import write_bytes

_FORMAT = "sbnn fit"
#: Increased when the layout of the files changes.
_VERSION = 3
#: Keys of a packed fit.
_FIT = {"tables", "problem", "model"}
#: Name of a file in every store, which identifies the folder as a store.
_MARK = "sbnn_store.txt"
_MARK_TEXT = """Finished fits of sbnn.cross_validate, one file per fit, named by a hash of all that determines it:
data, fold, settings, and the code that trains. Any cross-validation may use this folder; it can be deleted at any time.
"""


class FitStore:
    """A folder with one file per finished fit.

    A chunk (models that are fitted together) is a subfolder `chunk-*`, which appears when the chunk is finished, all
    or nothing; its files are `<key>.pickle`.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._paths = {path.stem: path for path in sorted(folder.glob("chunk-*/*.pickle"))}

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the packed fit of a key (`fit_keys.fit_keys`); None if it is not finished.

        Raises
        ------
        ValueError
            The file is damaged, or belongs to another fit.
        """
        if key not in self._paths:
            return None
        path = self._paths[key]
        try:
            return _unseal(path, key)
        except ValueError as error:
            raise ValueError(f"{error}: delete this file, and the same call recomputes it") from None

    def save(self, fits: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the packed fits (key -> fit) of a finished chunk, all or nothing."""
        unfinished = self.folder / f".chunk-{uuid.uuid4().hex[:8]}"
        try:
            unfinished.mkdir()
            for key, fit in fits.items():
                _seal(unfinished / f"{key}.pickle", key, fit)
            finished = unfinished.with_name(unfinished.name[1:])
            unfinished.rename(finished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        for key in fits:
            if key in self._paths:  # the earlier file lacked tables that this one has
                self._paths[key].unlink(missing_ok=True)
            self._paths[key] = finished / f"{key}.pickle"


def _seal(path, key, fit):
    """Write a fit with its key and a checksum."""
    content = dump_plain(fit)
    seal = hashlib.sha256(key.encode() + content).hexdigest()
    write_bytes(
        path, dump_plain({"format": _FORMAT, "version": _VERSION, "key": key, "seal": seal, "content": content})
    )


def _unseal(path, key):
    """Return what `_seal` wrote; ValueError if it has another key, or has changed since."""
    sealed = read_plain_pickle(path)
    if not isinstance(sealed, dict) or {name: sealed.get(name) for name in ("format", "version")} != {
        "format": _FORMAT,
        "version": _VERSION,
    }:
        raise ValueError(f"{path} is not a fit of this version of sbnn")
    content = sealed.get("content")
    if not isinstance(content, bytes) or hashlib.sha256(key.encode() + content).hexdigest() != sealed.get("seal"):
        raise ValueError(f"{path} has changed since it was written, or belongs to another fit")
    fit = load_plain(content)
    if not isinstance(fit, dict) or not set(fit) >= _FIT:
        raise ValueError(f"{path} does not hold a fit")
    return fit


@contextmanager
def open_store(path: PathLike | None) -> Iterator[FitStore | None]:
    """Open a store for the duration of a cross-validation, locked against other processes.

    Parameters
    ----------
    path : path-like or None
        A folder, created if it is missing; None: there is no store.

    Yields
    ------
    FitStore or None

    Raises
    ------
    ValueError
        The folder holds other files, or was written by another version of sbnn.
    RuntimeError
        Another process is using the store.
    """
    if path is None:
        yield None
        return
    if not isinstance(path, (str, os.PathLike)) or path == "":
        raise ValueError(f"store must be the path of a folder, got {path!r}")
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"store must be a folder, created if it is missing, but {folder} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    _check_is_store(folder)  # before the lock: nothing of ours stays in a folder of something else
    # A lock of the operating system: it is released when the process ends, however that happens.
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"store {folder} is in use by another process: wait until it ends, or choose another store"
        ) from None
    try:
        _mark(folder)
        for unfinished in folder.glob(".chunk-*"):  # left by a process killed while writing
            shutil.rmtree(unfinished, ignore_errors=True)
        for unfinished in folder.glob(f".*.{_MARK}"):
            unfinished.unlink(missing_ok=True)
        yield FitStore(folder)
    except (KeyboardInterrupt, OSError) as stopped:  # a full disk, for example
        stopped.add_note(f"Finished work is in {folder}: the same call resumes from there.")
        raise
    finally:
        lock.release()


def _check_is_store(folder):
    """Raise ValueError if the folder is neither a store nor empty."""
    if (folder / _MARK).exists():
        return
    others = sorted(file.name for file in folder.iterdir() if file.name != ".lock" and not file.match(f".*.{_MARK}"))
    if "plan.pickle" in others:
        raise ValueError(f"store {folder} was written by an older sbnn: choose another store, or delete it")
    if others:
        raise ValueError(f"store {folder} is not a store but holds {others[:3]}: choose an empty or a new folder")


def _mark(folder):
    """Mark the folder as a store."""
    mark = folder / _MARK
    if not mark.exists():
        write_bytes(mark, _MARK_TEXT.encode())
