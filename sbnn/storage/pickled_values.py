"""Placeholders for arrays while a pickle is read, and the finished values that are returned."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sbnn.storage.plain_arrays import NotPlainError, plain_array, plain_dtype

#: Depth to which containers may be nested.
MAX_DEPTH = 32
#: The callables that pickles of arrays name.
NAMES = {
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
}


class Name(NamedTuple):
    """A callable named by the file; only a name, which is never looked up."""

    module: str
    name: str


class Blank:
    """An array or type under construction: BUILD completes it, in place for all that refer to it."""

    def __init__(self, kind: str, value: Any = None):
        self.kind, self.value = kind, value


def complete(arguments: Iterable[Any]) -> list[Any]:
    """Return arguments of a maker with placeholders replaced by types."""
    return [
        argument.value if isinstance(argument, Blank) and argument.kind == "dtype" else argument
        for argument in arguments
    ]


def _make_dtype(text=None, *_):
    """Begin a type; BUILD may give its byte order."""
    return Blank("dtype", plain_dtype(text))


def build_dtype(blank: Blank, state: tuple[Any, ...]) -> None:
    """Complete a type with its byte order; the rest of its state must not contradict the type."""
    order = state[1] if len(state) > 1 else None
    if not isinstance(order, str) or order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
        raise NotPlainError("it holds a type with fields or parts")
    if len(state) > 5 and not (isinstance(state[5], int) and state[5] in (-1, blank.value.itemsize)):
        raise NotPlainError(f"it holds a type of another size than {blank.value.itemsize} bytes")
    blank.value = blank.value.newbyteorder("=" if order == "|" else order)


def _begin_array(kind=None, shape=None, code=None):
    """Begin an array as NumPy's pickles do: empty."""
    if kind != Name("numpy", "ndarray") or not _is_empty(shape) or code != b"b":
        raise NotPlainError("it begins an array with a type, shape or content of its own")
    return Blank("array")


def _is_empty(shape):
    """Whether a shape is that of an array yet to be filled."""
    return isinstance(shape, tuple) and len(shape) == 1 and type(shape[0]) is int and shape[0] == 0


def build_array(blank: Blank, state: tuple[Any, ...]) -> None:
    """Complete an array with shape, type, order and bytes."""
    if len(state) != 5:
        raise NotPlainError(f"it completes an array with {len(state)} parts, not 5")
    _, shape, dtype, fortran, content = state
    dtype = dtype.value if isinstance(dtype, Blank) and dtype.kind == "dtype" else dtype
    blank.value = plain_array(content, dtype, shape, "F" if fortran is True else "C")


def _scalar(dtype=None, content=None):
    """Make a NumPy scalar from bytes."""
    return plain_array(content, dtype, (1,))[0]


MAKERS = {
    "_reconstruct": _begin_array,
    "dtype": _make_dtype,
    "scalar": _scalar,
}

MOST_ARGUMENTS = {"_reconstruct": 3, "dtype": 3, "scalar": 2}

#: Types that are walked through before a value is returned.
_UNFINISHED = (dict, list, tuple, set, Blank, Name)


class _Finished(NamedTuple):
    """A finished value, the number of elements that a walk through it visits, and its depth of nesting."""

    value: object
    n_elements: int
    height: int


def finished(value: Any, most: int) -> Any:
    """Return a value with placeholders replaced by arrays, after counting elements and depth.

    A container that repeats the same element many times is small in a file, but endless for a walk through it:
    elements are counted as such a walk would visit them.
    """
    known: dict[int, _Finished] = {}
    unfinished: set[int] = set()

    def finish(part):
        if id(part) not in known:
            if id(part) in unfinished or len(unfinished) > MAX_DEPTH:
                raise NotPlainError(f"its containers hold themselves, or are nested more than {MAX_DEPTH} deep")
            unfinished.add(id(part))
            known[id(part)] = _finished_array(part) if type(part) in (Blank, Name) else finish_container(part)
            unfinished.discard(id(part))
        return known[id(part)]

    def finish_container(part):
        values, n_elements, height = [], 1 + len(part), 1
        for child in part.values() if isinstance(part, dict) else part:
            if type(child) in _UNFINISHED:
                child, n_inside, height_inside = finish(child)
                n_elements, height = n_elements + n_inside, max(height, 1 + height_inside)
            values.append(child)
        if n_elements > most or height > MAX_DEPTH:
            raise NotPlainError(
                f"it holds the same elements many times, more than {most}, or nests them more than {MAX_DEPTH} deep"
            )
        made = dict(zip(part, values, strict=True)) if isinstance(part, dict) else type(part)(values)
        return _Finished(made, n_elements, height)

    if type(value) not in _UNFINISHED:
        return value
    return finish(value).value


def _finished_array(part):
    """Return the array that was made; anything else that is unfinished is not a value."""
    if isinstance(part, Name):
        raise NotPlainError(f"it holds the callable {part.module}.{part.name} as a value")
    if part.kind != "array" or part.value is None:
        raise NotPlainError("it holds a type, or an array without content, as a value")
    return _Finished(part.value, 1 + part.value.size, 0)
