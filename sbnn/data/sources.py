"""The public files behind the data sets: where they are, how they are downloaded and verified."""

import csv
import gzip
import hashlib
import os
import threading
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, overload

import pooch
import requests

from sbnn._hints import PathLike

#: Seconds after which an unreachable host is given up on.
CONNECTION_TIMEOUT = 8


@dataclass(frozen=True)
class RemoteFile:
    """A public file: its place below the data folder, its address, and its git blob id.

    Attributes
    ----------
    path : str
        Place below the data folder, e.g. "scala_2020/gene_counts.csv".
    url : str
        Public address.
    blob_id : str
        What `git hash-object` prints for the file; empty if none is published (a .gz file must then be
        intact according to its internal checksum).
    """

    path: str
    url: str
    blob_id: str


def _read_registry():
    """Read published_files.csv, which is next to this module."""
    text = (resources.files("sbnn.data") / "published_files.csv").read_text()
    return {row["path"]: RemoteFile(**row) for row in csv.DictReader(text.splitlines())}


#: Every public file by its place below the data folder.
FILES = _read_registry()


def blob_id(path: PathLike) -> str:
    """Return the git blob id of a file: the SHA-1 of "blob <size>", a zero byte and the content.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    str
        40 hexadecimal digits, as `git hash-object` prints them.
    """
    path = Path(path)
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def data_folder(data_dir: PathLike | None = None) -> Path:
    """Return the folder that holds the data: `data_dir`, else $SBNN_DATA, else data/ in the working directory."""
    return Path(data_dir or os.environ.get("SBNN_DATA") or "data")


@overload
def find_file(name: str, data_dir: PathLike | None = None, download: Literal[True] = True) -> Path: ...


@overload
def find_file(name: str, data_dir: PathLike | None = None, download: bool = True) -> Path | None: ...


def find_file(name: str, data_dir: PathLike | None = None, download: bool = True) -> Path | None:
    """Return the path of a verified data file, downloading it to data/ if it is missing.

    Parameters
    ----------
    name : str
        A key of `FILES`, e.g. "scala_2020/gene_counts.csv".
    data_dir : path-like, optional
        See `data_folder`.
    download : bool
        If False, None is returned for a missing file.

    Returns
    -------
    Path or None

    Raises
    ------
    FileNotFoundError
        The file is missing and cannot be downloaded; the message tells where it comes from and where to put it.
    ValueError
        The file is not the published one (truncated or changed).
    """
    remote = FILES[name]
    path = locate(name, data_dir)
    if path is not None:
        problem = _problem(path, remote)
        if problem:
            raise ValueError(
                f"{path} is not the published file: {problem} ({path.stat().st_size} bytes; truncated or changed?). "
                f"Delete it to download it again from {remote.url}"
            )
        return path
    return _download(remote, _download_folder(data_dir) / name) if download else None


def locate(name: str, data_dir: PathLike | None = None) -> Path | None:
    """Return the path of a file in the data folder, or in data/ where downloads go; None if it is in neither.

    Files of the authors' results ("reference/...") are also looked for in $SBNN_REFERENCE.
    """
    places = [data_folder(data_dir) / name, _download_folder(data_dir) / name]
    reference = os.environ.get("SBNN_REFERENCE")
    if reference and data_dir is None and name.startswith("reference/"):
        places.insert(0, Path(reference) / name.removeprefix("reference/"))
    return next((place for place in places if place.exists()), None)


def _download_folder(data_dir):
    return Path(data_dir or "data")


def _problem(path, remote):
    """Describe how the file at `path` differs from the published one; None if it does not."""
    if remote.blob_id:
        found = blob_id(path)
        return None if found == remote.blob_id else f"its git blob id is {found}, expected {remote.blob_id}"
    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 22):
                pass
    except (OSError, EOFError, zlib.error) as error:
        return f"it is not an intact .gz file: {error}"
    return None


def _download(remote, target):
    """Download and verify one file; nothing is left behind if that fails."""
    try:
        _check_reachable(remote.url)
        pooch.retrieve(
            remote.url,
            known_hash=None,
            fname=target.name,
            path=target.parent,
            downloader=_VerifyingDownloader(remote),
        )
    except (OSError, ValueError, requests.RequestException) as error:
        raise FileNotFoundError(
            f"{remote.path} is missing and could not be downloaded ({type(error).__name__}: {error}). "
            f"Download {remote.url} yourself and put it at {target}, or set the environment variable SBNN_DATA "
            f"to the folder that holds {remote.path}"
        ) from None
    return target


class _VerifyingDownloader:
    """Pooch downloader that verifies a file before pooch moves it into place."""

    def __init__(self, remote: RemoteFile):
        self.remote = remote

    def __call__(self, url: str, output_file: PathLike, pooch_instance: object) -> None:
        pooch.HTTPDownloader(progressbar=True, timeout=CONNECTION_TIMEOUT)(url, output_file, pooch_instance)
        problem = _problem(output_file, self.remote)
        if problem:
            raise ValueError(f"the download is not the published file: {problem}")


def _check_reachable(url):
    """Raise within CONNECTION_TIMEOUT seconds if the host does not answer, name look-up included."""
    failures = ["no answer"]

    def ask():
        try:
            requests.head(url, timeout=CONNECTION_TIMEOUT / 2, allow_redirects=True)
            failures.clear()
        except requests.RequestException as error:
            failures[0] = str(error)

    # A name look-up has no time limit, so it runs in a thread that is left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECTION_TIMEOUT)
    if failures:
        raise ConnectionError(f"no connection within {CONNECTION_TIMEOUT} s: {failures[0][:200]}")
