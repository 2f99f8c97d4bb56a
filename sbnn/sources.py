"""The public files behind the data sets: where they lie, how they are downloaded and verified."""

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

#: Seconds after which an unreachable host is given up.
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
        What `git hash-object` prints for the file.
    """

    path: str
    url: str
    blob_id: str


def _github(repository, commit, remote_path, blob_id, path=None):
    """Describe a file of a GitHub repository at a commit."""
    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{remote_path}"
    return RemoteFile(path or remote_path.removeprefix("data/"), url, blob_id)


def _sbnn(remote_path, blob_id):
    return _github("berenslab/sBNN", "4ff8ba81123051419c6da0db9215d45e9a4e02c3", remote_path, blob_id)


def _mini_atlas(remote_path, blob_id, path):
    commit = "3bf98a524b8e48aa8647e1b9ae8f2351d9c712c9"
    return _github("berenslab/mini-atlas", commit, remote_path, blob_id, path)


_PHYS_TEMP = "m1_patchseq_phys_temp_"

FILES = {
    file.path: file
    for file in (
        _sbnn("data/scala_2020/gene_counts.csv", "1f44c8571fce14763c861c383d8f852ecb616ef2"),
        _sbnn("data/scala_2020/ephys_values.csv", "c4c0ac1e1832485857a67762991b7bf31224e1d1"),
        _sbnn("data/scala_2020/Cell_Features_M1.csv", "fa488fb18a312d57eba29d272bb554ee301a84e3"),
        _sbnn("data/scala_2020/mini-atlas-meta-data.csv", "28641925601bb294d80a7563c65052fd9fe659b2"),
        _sbnn(
            "data/scala_2020/final_patch_seq_allcells_exon_allreads.zip",
            "624df4e108ce636bb53cae1d44a32252c85bffa6",
        ),
        _mini_atlas(
            "data/raw/allen/yao2020/cluster.annotation.csv",
            "90a4e09b8325f0a2434ec21efaf8c70efa1958cc",
            "scala_2020/cluster.annotation.csv",
        ),
        _mini_atlas(
            f"data/{_PHYS_TEMP}exon_counts.csv.gz",
            "47c78c500a2ae46358fbecea4c3900f515b68a76",
            f"scala_2020_phys_temp/{_PHYS_TEMP}exon_counts.csv.gz",
        ),
        _mini_atlas(
            f"data/{_PHYS_TEMP}ephys_features.csv",
            "e02a48a760abe177ebb25f0944852ebf3c177262",
            f"scala_2020_phys_temp/{_PHYS_TEMP}ephys_features.csv",
        ),
        _mini_atlas(
            f"data/{_PHYS_TEMP}meta_data.csv",
            "7c200d420276d156ef0d4d2006875c08ce4ffefd",
            f"scala_2020_phys_temp/{_PHYS_TEMP}meta_data.csv",
        ),
    )
}


def blob_id(path):
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


def data_folder(data_dir=None):
    """Return the folder that holds the data: `data_dir`, else $SBNN_DATA, else data/ in the working directory."""
    return Path(data_dir or os.environ.get("SBNN_DATA") or "data")


def find_file(name, data_dir=None, download=True):
    """Return the path of a verified data file, downloading it to data/ where it is missing.

    Parameters
    ----------
    name : str
        A key of `FILES`, e.g. "scala_2020/gene_counts.csv".
    data_dir : path-like, optional
        See `data_folder`.
    download : bool
        If False, a missing file gives None.

    Returns
    -------
    Path or None

    Raises
    ------
    FileNotFoundError
        The file is missing and cannot be downloaded; says where it comes from and where to put it.
    ValueError
        The file is not the published one (truncated or changed).
    """
    remote = FILES[name]
    path = locate(name, data_dir)
    if path is not None:
        _verify(path, remote)
        return path
    return _download(remote, _download_folder(data_dir) / name) if download else None


def locate(name, data_dir=None):
    """Return the path of a file in the data folder, or in data/ where downloads go; None where it is in neither."""
    folders = dict.fromkeys((data_folder(data_dir), _download_folder(data_dir)))
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _download_folder(data_dir):
    return Path(data_dir or "data")


def _verify(path, remote):
    """Raise ValueError unless the file at `path` has the published content."""
    found = blob_id(path)
    if found != remote.blob_id:
        raise ValueError(
            f"{path} is not the published file: its git blob id is {found}, expected {remote.blob_id} "
            f"({path.stat().st_size} bytes; truncated or changed?). Delete it to download it again from "
            f"{remote.url}"
        )


def _download(remote, target):
    """Download and verify one file; nothing is left behind where that fails."""
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
    """Pooch downloader that checks the blob id before pooch moves the file into place."""

    def __init__(self, remote):
        self.remote = remote

    def __call__(self, url, output_file, pooch_instance):
        pooch.HTTPDownloader(progressbar=True, timeout=CONNECTION_TIMEOUT)(url, output_file, pooch_instance)
        found = blob_id(output_file)
        if found != self.remote.blob_id:
            raise ValueError(f"what came is not the published file: git blob id {found}, not {self.remote.blob_id}")


def _check_reachable(url):
    """Raise within CONNECTION_TIMEOUT seconds where the host does not answer, name look-up included."""
    failures = ["no answer"]

    def ask():
        try:
            requests.head(url, timeout=CONNECTION_TIMEOUT / 2, allow_redirects=True)
            failures.clear()
        except requests.RequestException as error:
            failures[0] = str(error)

    # A name look-up knows no time limit of its own, so it runs in a thread that is left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECTION_TIMEOUT)
    if failures:
        raise ConnectionError(f"no connection within {CONNECTION_TIMEOUT} s: {failures[0][:200]}")
