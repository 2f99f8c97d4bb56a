"""Compiled functions kept on disk, so that only the first process has to compile them.

The folder is in the user's cache folder, or is named by the environment variable SBNN_COMPILATION_CACHE; "off" keeps
nothing. TensorFlow and JAX write each file under a temporary name and rename it, so that processes can share the
folder.
"""

import hashlib
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import pooch

#: Bytes that must be free on the disk, and size of the cache in bytes above which the oldest functions are deleted.
LEAST_FREE, MOST_KEPT = 500 * 2**20, 2**30
#: Functions that take longer than this to compile are kept, in seconds (JAX).
_LEAST_SECONDS = "0.1"


def use_compilation_cache() -> Path | None:
    """Tell TensorFlow and JAX, before they start, where to keep compiled functions; existing settings are kept.

    Returns
    -------
    Path or None
        The folder; None if nothing is kept.
    """
    folder = _usable_folder()
    if folder is None:
        return None
    _delete_oldest(folder.parent)
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "persistent_cache" not in flags:
        os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={folder}".strip()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _LEAST_SECONDS)
    return folder


def clear(folder: Path) -> None:
    """Delete the content of the cache, which was damaged or written by another program."""
    for file in folder.iterdir():
        file.unlink(missing_ok=True)


def _usable_folder():
    """Return the folder for this machine and these versions; None if the cache is switched off or not writable."""
    place = os.environ.get("SBNN_COMPILATION_CACHE", "")
    if place.lower() in ("off", "0", "false", "none"):
        return None
    folder = Path(place or pooch.os_cache("sbnn") / "compiled").expanduser() / _machine_hash()
    if any(character.isspace() for character in str(folder)):  # TensorFlow would cut its flags there
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        return folder if shutil.disk_usage(folder).free >= LEAST_FREE else None
    except OSError:
        return None


def _machine_hash():
    """Return a hash of what compiled code depends on: backends, processor, flags (machines may share a home)."""
    versions = []
    for package in ("tensorflow", "tensorflow-cpu", "jax", "jaxlib", "keras", "numpy"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        processor = [platform.machine(), platform.processor()]
    flags = [os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_XLA_FLAGS", "ONEDNN_MAX_CPU_ISA")]
    return hashlib.sha256("\n".join([*versions, *processor, *flags]).encode()).hexdigest()[:16]


def _delete_oldest(place):
    """Delete the oldest functions if the cache is too large."""
    try:
        files = [(file.stat().st_mtime, file.stat().st_size, file) for file in place.glob("*/*") if file.is_file()]
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files, key=lambda one: one[0]):
            if total <= MOST_KEPT:
                break
            file.unlink(missing_ok=True)
            total -= size
    except OSError:  # another process is deleting as well
        return
