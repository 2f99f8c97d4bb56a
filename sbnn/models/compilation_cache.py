"""Compiled functions kept on disk, so that later processes mostly do not have to compile them.

They are kept in the subfolder sbnn-compiled of the user's cache folder, or of the folder that the environment variable
SBNN_COMPILATION_CACHE names; "off" keeps nothing. TensorFlow and JAX write each file under a temporary name and rename
it, so that processes can share the folder; only files with the names they give are ever deleted.
"""

import hashlib
import os
import platform
import re
import shutil
import time
from importlib import metadata
from pathlib import Path

import pooch

#: Bytes that must be free on the disk, and size of the cache in bytes above which the oldest functions are deleted.
LEAST_FREE, MOST_KEPT = 500 * 2**20, 2**30
#: Functions that take longer than this to compile are kept, in seconds (JAX).
_LEAST_SECONDS = "0.1"
#: Name of the folder of ours, and of the files that TensorFlow and JAX finish in it.
_NAME, _FUNCTIONS = "sbnn-compiled", ("xla_compile_cache__*.pb", "jit_*-cache", "jit_*-atime")
#: Files younger than this, in seconds, are not deleted to make space: another process may be about to read them.
_YOUNG = 3600
#: Flags of TensorFlow: the folder, and that only functions for the CPU are kept, because its files do not tell one GPU
#: from another (JAX's do).
_FOLDER_FLAG, _DEVICE_FLAG = (
    "--tf_xla_persistent_cache_directory=",
    "--tf_xla_persistent_cache_device_types=CPU",
)


def use_compilation_cache() -> Path | None:
    """Tell TensorFlow and JAX, before they start, where to keep compiled functions; the user's own settings are kept.

    Returns
    -------
    Path or None
        The folder; None if nothing is kept.
    """
    _forget_parent()
    folder = _usable_folder()
    if folder is None:
        return None
    _delete_oldest(folder.parent)
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "persistent_cache" not in flags:
        os.environ["TF_XLA_FLAGS"] = f"{flags} {_FOLDER_FLAG}{folder} {_DEVICE_FLAG}".strip()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _LEAST_SECONDS)
    return folder


def clear(folder: Path) -> None:
    """Delete the functions that are kept in a folder, one of which is damaged."""
    for file in _functions(folder):
        file.unlink(missing_ok=True)


def _functions(folder):
    """Files of compiled functions in a folder."""
    return [file for pattern in _FUNCTIONS for file in folder.glob(pattern)]


def _forget_parent():
    """Remove what a parent process of this package has set: its settings may have been others."""
    flags = os.environ.get("TF_XLA_FLAGS", "")
    ours = re.search(rf"{_FOLDER_FLAG}(\S+)", flags)
    if ours and Path(ours[1]).parent.name == _NAME:
        left = " ".join(flags.replace(ours[0], "").replace(_DEVICE_FLAG, "").split())
        os.environ["TF_XLA_FLAGS"] = left
        if not left:
            del os.environ["TF_XLA_FLAGS"]
    if Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", "")).parent.name == _NAME:
        del os.environ["JAX_COMPILATION_CACHE_DIR"]


def _usable_folder():
    """Return the folder for this machine and these versions; None if the cache is switched off or not writable."""
    place = os.environ.get("SBNN_COMPILATION_CACHE", "")
    if place.lower() in ("off", "0", "false", "none"):
        return None
    try:
        folder = Path(place or pooch.os_cache("sbnn")).expanduser() / _NAME / _machine_hash()
    except RuntimeError:  # ~ of a user who does not exist
        return None
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
    """Delete the oldest functions if there are too many."""
    files = []
    for file in (file for folder in place.glob("*") for file in _functions(folder)):
        try:
            files.append((file.stat().st_mtime, file.stat().st_size, file))
        except OSError:  # another process deletes as well
            continue
    total = sum(size for _, size, _ in files)
    for written, size, file in sorted(files):
        if total <= MOST_KEPT or time.time() - written < _YOUNG:
            break
        try:
            file.unlink(missing_ok=True)
        except OSError:
            return
        total -= size
