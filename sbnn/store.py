"""Finished work on disk: a cross-validation that is stopped, or killed, goes on where it was."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sbnn.chunks import pack_fit
from sbnn.plain_pickle import load_plain
from sbnn.results import dump_plain, read_plain_pickle, write_atomically

_FORMAT = "sbnn chunks"
#: Raised when the layout of the files changes.
_VERSION = 2
#: What a packed fit has.
_FIT = {"run", "fold", "tables", "problem", "model"}


class ChunkStore:
    """A folder with the plan of a cross-validation and a file for each finished chunk.

    Attributes
    ----------
    folder : Path
    identity : dict of str
        What the cross-validation is about; every chunk carries its checksum.
    chunks : list of lists of (run, fold)
        What is computed together, as planned when the store was made.
    """

    def __init__(self, folder, identity, chunks):
        self.folder, self.identity, self.chunks = folder, identity, chunks

    def _path(self, index):
        return self.folder / f"chunk-{index:05d}.pickle"

    def _place(self, index):
        """Return what a chunk belongs to: a cross-validation, and models and folds of it."""
        return {"of": _checksum(dump_plain(self.identity)), "pairs": _listed(self.chunks[index])}

    def load(self, index):
        """Return the packed fits of a finished chunk; None where it is not finished.

        Raises
        ------
        ValueError
            The file is damaged, or holds other fits than the plan has in this place.
        """
        path = self._path(index)
        if not path.exists():
            return None
        try:
            chunk = _unseal(path, "chunk")
            place = self._place(index)
            if {key: chunk.get(key) for key in place} != place:
                raise ValueError(f"{path} belongs to another cross-validation, or to another place in this one")
            fits = chunk.get("fits")
            whole = isinstance(fits, list) and all(isinstance(fit, dict) and set(fit) >= _FIT for fit in fits)
            if not whole or [[fit["run"], fit["fold"]] for fit in fits] != place["pairs"]:
                raise ValueError(f"{path} does not hold the fits that belong there, {place['pairs']}")
        except ValueError as error:
            raise ValueError(f"{error}: delete {path.name}, and the same call computes it anew") from None
        return chunk["fits"]

    def save(self, index, fits):
        """Write the fits of a finished chunk, all or nothing."""
        _seal(self._path(index), "chunk", {**self._place(index), "fits": [pack_fit(fit) for fit in fits]})


def _seal(path, kind, content):
    """Write a plan or a chunk with a checksum over it, all or nothing."""
    content = dump_plain(content)
    sealed = {"format": _FORMAT, "version": _VERSION, "kind": kind, "seal": _checksum(content), "content": content}
    write_atomically(path, dump_plain(sealed))


def _unseal(path, kind):
    """Return what `_seal` wrote; ValueError where it is of another kind, or has changed since."""
    sealed = read_plain_pickle(path)
    expected = {"format": _FORMAT, "version": _VERSION, "kind": kind}
    if not isinstance(sealed, dict) or {key: sealed.get(key) for key in expected} != expected:
        raise ValueError(f"{path} is no {kind} of this version of sbnn")
    content = sealed.get("content")
    if not isinstance(content, bytes) or _checksum(content) != sealed.get("seal"):
        raise ValueError(f"{path} has changed since it was written")
    content = load_plain(content)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not a {kind}")
    return content


def _checksum(content):
    return hashlib.sha256(content).hexdigest()


def _listed(pairs):
    """Pairs of run and fold as plain lists."""
    return [[int(run), int(fold)] for run, fold in pairs]


class NoStore:
    """Stands where nothing is to be kept on disk."""

    def __init__(self, chunks):
        self.chunks = chunks

    def load(self, index):
        """Nothing is finished before."""
        return None

    def save(self, index, fits):
        """Nothing is kept."""


@contextmanager
def open_store(path, identity, chunks):
    """Open a store for as long as a cross-validation runs; no other process can.

    Parameters
    ----------
    path : path-like or None
        A folder, made where it is missing; None keeps nothing.
    identity : dict of str, or None without a folder
        What tells this cross-validation from others: data, folds, models, settings.
    chunks : list
        The plan, for a new store; an old one keeps its own.

    Yields
    ------
    ChunkStore or NoStore

    Raises
    ------
    ValueError
        The folder belongs to another cross-validation (says in what they differ), holds no plan but other files, or a
        plan that is damaged.
    RuntimeError
        Another process works on the store.
    """
    if path is None:
        yield NoStore(chunks)
        return
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"store must be the path of a folder, got {path!r}")
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"store must be a folder, made where it is missing, but {folder} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    # A lock of the operating system: it goes with the process, however that ends.
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"store {folder} is in use by another process: wait until that ends, or choose another store"
        ) from None
    try:
        planned = _read_plan(folder, identity, chunks)
        for unfinished in folder.glob(".*.pickle.*"):  # what a kill in the middle of writing left
            unfinished.unlink()
        yield ChunkStore(folder, identity, planned)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"Finished chunks are in {folder}: the same call goes on from there.")
        raise
    finally:
        lock.release()


def _read_plan(folder, identity, chunks):
    """Return the chunks of the store's plan, written first where there is none."""
    path = folder / "plan.pickle"
    if not path.exists():
        others = [file.name for file in folder.iterdir() if file.name != ".lock" and not file.name.startswith(".plan")]
        if others:
            lost = "lacks plan.pickle and" if any(name.startswith("chunk-") for name in others) else "is no store but"
            raise ValueError(f"store {folder} {lost} holds {others[:3]}: choose an empty or a new folder")
        _seal(path, "plan", {"identity": identity, "chunks": list(map(_listed, chunks))})
        return chunks
    try:
        plan = _unseal(path, "plan")
        if not isinstance(plan.get("identity"), dict) or not isinstance(plan.get("chunks"), list):
            raise ValueError(f"{path} does not say what it is a plan of")
    except ValueError as error:
        raise ValueError(f"{error}: choose another store, or delete {folder}") from None
    differing = [key for key in identity if plan["identity"].get(key) != identity[key]]
    if differing:
        raise ValueError(
            f"store {folder} belongs to another cross-validation, with other {', '.join(differing)}: "
            "choose another store, or delete it"
        )
    planned, asked = (sorted(pair for part in parts for pair in _listed(part)) for parts in (plan["chunks"], chunks))
    if planned != asked:
        raise ValueError(f"{path} does not have every model and fold once: choose another store, or delete {folder}")
    return [[tuple(pair) for pair in part] for part in plan["chunks"]]
