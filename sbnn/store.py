"""Finished work on disk: a cross-validation that is stopped, or killed, goes on where it was."""

from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sbnn.chunks import pack_fit
from sbnn.results import dump_plain, read_plain_pickle, write_atomically

_FORMAT = "sbnn chunks"
#: Raised when the layout of the files changes.
_VERSION = 1


class ChunkStore:
    """A folder with the plan of a cross-validation and a file for each finished chunk.

    Attributes
    ----------
    folder : Path
    chunks : list
        What is computed together, as planned when the store was made.
    """

    def __init__(self, folder, chunks):
        self.folder, self.chunks = folder, chunks

    def _path(self, index):
        return self.folder / f"chunk-{index:05d}.pickle"

    def load(self, index):
        """Return the content of a finished chunk; None where it is not finished."""
        path = self._path(index)
        return read_plain_pickle(path) if path.exists() else None

    def save(self, index, fits):
        """Write the fits of a finished chunk, all or nothing."""
        write_atomically(self._path(index), dump_plain([pack_fit(fit) for fit in fits]))


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
        The folder belongs to another cross-validation (says in what they differ), or holds no plan but other files.
    RuntimeError
        Another process works on the store.
    """
    if path is None:
        yield NoStore(chunks)
        return
    folder = Path(path)
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
        yield ChunkStore(folder, planned)
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
            raise ValueError(f"store {folder} is no store but holds {others[:3]}: choose an empty or a new folder")
        plan = {"format": _FORMAT, "version": _VERSION, "identity": identity, "chunks": chunks}
        write_atomically(path, dump_plain(plan))
        return chunks
    plan = read_plain_pickle(path)
    if not isinstance(plan, dict) or (plan.get("format"), plan.get("version")) != (_FORMAT, _VERSION):
        raise ValueError(f"{path} is no plan of this version of sbnn: choose another store")
    differing = [key for key in identity if plan["identity"].get(key) != identity[key]]
    if differing:
        raise ValueError(
            f"store {folder} belongs to another cross-validation, with other {', '.join(differing)}: "
            "choose another store, or delete it"
        )
    return plan["chunks"]
