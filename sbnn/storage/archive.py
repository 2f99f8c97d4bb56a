"""A file of one JSON text and NumPy arrays, compressed as a zip, and read without trusting its content."""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from sbnn.storage.plain_arrays import NotPlainError, plain_array, plain_dtype

#: Limits on what is read: members of the zip, bytes of the JSON text, bytes of everything unpacked; and unpacked bytes
#: per byte of the file, beyond a mebibyte.
MAX_MEMBERS = 200
MAX_TEXT = 2**20
MAX_UNPACKED = 2**30
MAX_RATIO = 100
#: Name of the JSON text.
CONFIG = "config.json"

#: Header that NumPy writes before the values of a plain array.
_NPY = re.compile(
    rb"\x93NUMPY[\x01\x02\x03]\x00.{2,4}\{'descr': '([^']{2,12})', 'fortran_order': (False|True), "
    rb"'shape': \(((?:[0-9]{1,18}, ?)*[0-9]{0,18})\), \} *\n",
    re.DOTALL,
)


def pack(config: Mapping[str, Any], arrays: Mapping[str, npt.ArrayLike]) -> bytes:
    """Return the bytes of a file with a JSON text and arrays by name; the same content gives the same bytes.

    Parameters
    ----------
    config : dict
        Of values that JSON can hold; NumPy numbers count as numbers.
    arrays : dict of arrays
        Of Booleans, numbers or text.

    Returns
    -------
    bytes
    """
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        text = json.dumps(config, indent=1, default=lambda value: value.item())
        file.writestr(zipfile.ZipInfo(CONFIG), text, zipfile.ZIP_DEFLATED)
        for name, array in arrays.items():
            member = BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def unpack(
    content: bytes, check: Callable[[dict[str, Any]], object] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the JSON text and the arrays of a file made by `pack`.

    Parameters
    ----------
    content : bytes
    check : callable, optional
        Called with the JSON text before arrays are read: raises an error if they should not be.

    Returns
    -------
    config : dict
    arrays : dict of arrays

    Raises
    ------
    ValueError
        It is damaged, holds something else, or exceeds the limits of this module; nothing is allocated before this is
        checked.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as file:
            _check_sizes(file, len(content))
            config = json.loads(_read(file, CONFIG))
            if check is not None and isinstance(config, dict):
                check(config)
            arrays = {name.removesuffix(".npy"): _array(name, _read(file, name)) for name in _arrays(file)}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError: encrypted members; NotImplementedError: compression methods unknown to Python.
        raise ValueError(f"{type(error).__name__}: {error}") from None
    except RecursionError:
        raise ValueError(f"{CONFIG} is nested too deep") from None
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG} holds {type(config).__name__}, not a dict")
    return config, arrays


def _read(file, name):
    """Unpack a member, up to the size that was checked."""
    info = file.getinfo(name)
    with file.open(info) as stream:
        content = stream.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise ValueError(f"its member {name!r} does not have the size that it states")
    return content


def _check_sizes(file, n_bytes):
    """Raise ValueError if members are too many, too large, or compressed by a method without a limit."""
    infos = file.infolist()
    names = [info.filename for info in infos]
    if len(names) > MAX_MEMBERS or len(set(names)) < len(names):
        raise ValueError(f"it has {len(names)} members, {len(names) - len(set(names))} of them twice")
    if CONFIG not in names:
        raise ValueError(f"it has no {CONFIG}")
    packed = {info.compress_type for info in infos} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    if packed:  # others unpack without a limit
        raise ValueError(f"it is packed in a way that sbnn does not use (zip method {sorted(packed)[0]})")
    total, text = sum(info.file_size for info in infos), file.getinfo(CONFIG).file_size
    most = min(MAX_UNPACKED, 2**20 + MAX_RATIO * n_bytes)
    if total > most or text > MAX_TEXT:
        raise ValueError(f"it unpacks to {total} bytes, {text} of them {CONFIG}, more than the {most} that are read")


def _arrays(file):
    """Names of the members other than the JSON text, which must be arrays."""
    names = [name for name in file.namelist() if name != CONFIG]
    others = [name for name in names if not name.endswith(".npy")]
    if others:
        raise ValueError(f"it has a member {others[0][:80]!r}, which is neither {CONFIG} nor an array")
    return names


def _array(name, content):
    """Make an array from the bytes of an .npy file, which must be exactly as many as its header states."""
    header = _NPY.match(content)
    if header is None:
        raise NotPlainError(f"its member {name!r} is not an array of numbers or text")
    dtype, fortran, shape = header.groups()
    lengths = tuple(int(length) for length in shape.decode().split(",") if length.strip())
    order = "F" if fortran == b"True" else "C"
    try:
        return plain_array(content[header.end() :], plain_dtype(dtype.decode("latin1")), lengths, order)
    except NotPlainError as error:
        raise NotPlainError(f"its member {name!r}: {error}") from None
