"""Arrays made from the bytes of a file, after checking that type, shape and bytes agree."""

import math
import re
from typing import Any, Literal

import numpy as np

#: Types of elements that are plain: bool, numbers, text, bytes; no objects, no fields, no dates.
_PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU][0-9]{1,9})")
#: Axes of an array.
MAX_AXES = 8


class NotPlainError(ValueError):
    """A file holds, or asks for, something that is not a plain value or array."""


def plain_dtype(text: Any) -> np.dtype:
    """Return the NumPy type that a text such as "<f4" names; NotPlainError if it is not plain."""
    if not isinstance(text, str) or not _PLAIN_DTYPE.fullmatch(text):
        shown = repr(text[:40]) if isinstance(text, str) else f"<{type(text).__name__}>"
        raise NotPlainError(f"it holds values of type {shown}; bool, numbers, text and bytes are plain")
    dtype = np.dtype(text)
    if not dtype.itemsize:
        raise NotPlainError(f"it holds values of type {text!r}, which take no space")
    return dtype


def plain_array(content: Any, dtype: Any, shape: Any, order: Literal["C", "F"] = "C") -> np.ndarray:
    """Make an array from bytes.

    Parameters
    ----------
    content : bytes
        Exactly as many as shape and type need: nothing is allocated merely because a file states a size.
    dtype : numpy.dtype
        From `plain_dtype`.
    shape : tuple of int
    order : {"C", "F"}

    Returns
    -------
    array
        A writable copy.

    Raises
    ------
    NotPlainError
        Too few or too many bytes, or bytes that are not Booleans or characters.
    """
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes):
        raise NotPlainError("it holds an array of objects, or one without a type")
    plain = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not plain or len(shape) > MAX_AXES or order not in ("C", "F"):
        shown = (
            shape[:MAX_AXES]
            if isinstance(shape, tuple) and all(type(n) is int for n in shape)
            else type(shape).__name__
        )
        raise NotPlainError(f"it holds an array of shape {shown}, which is not possible")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(content):
        raise NotPlainError(
            f"it holds an array of shape {shape} and type {dtype} in {len(content)} bytes, not {needed}"
        )
    values = np.frombuffer(content, dtype) if content else np.empty(0, dtype)
    if dtype.kind == "b" and values.size and values.view("u1").max() > 1:
        raise NotPlainError("it holds truth values that are neither true nor false")
    if dtype.kind == "U" and values.size:
        codes = values.view(np.dtype("u4").newbyteorder(dtype.byteorder))
        if codes.max() > 0x10FFFF:
            raise NotPlainError("it holds text with characters that do not exist")
    return values.reshape(shape, order=order).copy(order="K")
