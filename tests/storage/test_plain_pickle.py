"""Pickles are read as data: what is plain comes back as it was, and nothing else gets anywhere."""

import importlib
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from sbnn.storage.plain_arrays import NotPlainError
from sbnn.storage.plain_pickle import load_plain

VALUES = {
    "numbers": [0, -1, 255, 65536, 2**40, -(2**62), 0.5, float("inf"), True, False, None],
    "text": ["", "a", "ä\U0001f9e0", "x" * 300, b"", b"bytes" * 100],
    "containers": {"a": [1, (2, {"b": (3, 4, 5, 6)}, ())], 7: [], None: {}},
    "float arrays": [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 4))],
    "other arrays": [np.array([True, False]), np.arange(5, dtype="u2"), np.array(["ab", "ä"]), np.array(3.5)],
    "byte orders": [np.arange(4, dtype=">i4"), np.arange(4, dtype="<f2"), np.array(["ab"], dtype=">U3")],
    "scalars": [np.float32(1.5), np.int64(3), np.bool_(True), np.str_("name")],
    "shared": (lambda array: {"one": array, "two": [array, array]})(np.arange(3)),
}


def same(found, expected):
    """Whether two values are equal, with equal types, and arrays can be written to."""
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and found.flags.writeable and np.array_equal(found, expected)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, (list, tuple)):
        return type(found) is type(expected) and len(found) == len(expected) and all(map(same, found, expected))
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("name", VALUES)
def test_plain_values_come_back(name, protocol):
    assert same(load_plain(pickle.dumps(VALUES[name], protocol=protocol)), VALUES[name])


def test_sets_come_back():
    assert load_plain(pickle.dumps({1, "x"}, protocol=4)) == {1, "x"}


def test_what_is_shared_stays_shared():
    found = load_plain(pickle.dumps(VALUES["shared"], protocol=4))
    assert found["one"] is found["two"][0] is found["two"][1]


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


_reconstruct = np._core.multiarray._reconstruct
PLAIN = (1, (3,), np.dtype("f8"), False, bytes(24))


def nested(n_levels):
    """Lists in which each holds the one before twice: small in a file, endless to walk through."""
    value = []
    for _ in range(n_levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Call(eval, "1"), "it names builtins.eval"),
        (Call(np.ndarray, (1,), "O", b"A" * 8), "calls numpy.ndarray directly"),
        (Call(np.ndarray, (2**40,), "f8"), "calls numpy.ndarray directly"),
        (np.ndarray, "holds the callable numpy.ndarray as a value"),
        (np.dtype("f8"), "holds a type, or an array without content, as a value"),
        (np.dtype([("a", "f8")]), "values of type 'V8'"),
        (np.array([1, None]), "values of type 'O8'"),
        (np.array(["2020"], dtype="M8[D]"), "values of type 'M8'"),
        (Call(np.dtype, {"names": ["a"], "formats": ["O"], "offsets": [10**6]}), "values of type <dict>"),
        (Call(np.dtype, "O"), "values of type 'O'"),
        (Call(np.dtype, "f8", False, True, state=(3, "<", None, ("a",), {"a": ("O", 0)}, 8, 8, 0)), "fields or parts"),
        (
            Call(np.dtype, "f8", False, True, state=(3, "<", None, None, None, 10**9, 1, 0)),
            "a type of another size than 8 bytes",
        ),
        (Call(_reconstruct, np.ndarray, (5,), b"b", state=PLAIN), "begins an array with a type, shape or content"),
        (Call(_reconstruct, np.ndarray, (0,), b"O", state=PLAIN), "begins an array with a type, shape or content"),
        (Call(_reconstruct, np.ndarray, (0,), b"b"), "an array without content"),
        (
            Call(_reconstruct, np.ndarray, (0,), b"b", state=(1, (4,), *PLAIN[2:])),
            r"shape \(4,\) .* in 24 bytes, not 32",
        ),
        (Call(_reconstruct, np.ndarray, (0,), b"b", state=(1, (-3,), *PLAIN[2:])), r"an array of shape \(-3,\)"),
        (Call(_reconstruct, np.ndarray, (0,), b"b", state=(1, (2**62, 4), *PLAIN[2:])), "in 24 bytes, not"),
        (Call(np._core.multiarray.scalar, np.dtype("f8"), b"short"), "in 5 bytes, not 8"),
        (nested(40), "its containers hold themselves, or are nested more than 32 deep"),
        (nested(25), "holds the same elements many times"),
        (2**100, "a whole number of 13 bytes"),
        ({(1, 2): 3}, "a key that is tuple"),
    ],
)
def test_what_is_not_plain_is_refused(value, message):
    data = pickle.dumps({"value": value}, protocol=4)
    with pytest.raises(NotPlainError, match=message):
        load_plain(data)


def text(value):
    """Instruction that makes a text."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def call(module, name, arguments):
    """Instructions that call a function with arguments."""
    return text(module) + text(name) + b"\x93" + arguments + b"R"


_CORE = "numpy._core.multiarray"
_SHELL = call(_CORE, "_reconstruct", text("numpy") + text("ndarray") + b"\x93" + b"K\x00\x85" + b"C\x01b" + b"\x87")
_BYTES = call("numpy", "dtype", text("u1") + b"\x89\x88\x87")
#: A type that is a list of lists, each of which holds the one before four times.
_WIDE = b"]" + b"\x94(" + b"h\x00" * 4 + b"l" + b"".join(b"\x94(" + bytes([104, n]) * 4 + b"l" for n in range(1, 30))
#: A megabyte in the memo, of which four thousand arrays are to be made.
_MEGABYTE = b"B" + (2**20).to_bytes(4, "little") + bytes(2**20) + b"\x940"
_BUILD = b"(K\x01J\x00\x00\x10\x00\x85" + _BYTES + b"\x89h\x00tb"


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04" + call("numpy", "dtype", _WIDE + b"\x85") + b".",
        b"\x80\x04" + call("numpy", "dtype", b"]" * 90_000 + b"a" * 89_999 + b"\x85") + b".",
        b"\x80\x04" + _MEGABYTE + b"(" + (_SHELL + _BUILD) * 4000 + b"l.",
        b"\x80\x04" + b"\x94" * 10_000_000 + b".",
        b"\x80\x04" + call(_CORE, "_reconstruct", b"(NNNNt") + b".",
        b"\x80\x04" + call(_CORE, "scalar", b"(NNNt") + b".",
        b"",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x09N.",
        b"N.",
        b"\x80\x04NN.",
        b"\x80\x04(.",
        b"\x80\x04]\x94h\x00a.",  # a list that holds itself
        b"\x80\x04h\x07.",  # a value that was never made
        b"\x80\x04" + b"]" * 5_000_000 + b".",
        b"\x80\x04" + b"N" * 5_000_000 + b".",
        b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",  # more bytes than there are
        b"\x80\x04X\xff\xff\xff\xff.",
        b"\x80\x04\x8b\xff\xff\xff\x7f.",  # a number of two gigabytes
        b"\x80\x04\x8b\xff\xff\xff\xff.",
        b"\x80\x04Nr\xff\xff\xff\xff",  # a memo of four thousand million places
        b"\x80\x04\x8c\x02\xff\xff.",  # no text
        b"\x80\x04(K\x01d.",
        b"\x80\x04}K\x01a.",
        b"\x80\x04]K\x01K\x02s.",
        b"\x80\x04N)R.",
        b"\x80\x04Nb.",
        b"\x80\x04cos\nsystem\n(X\x02\x00\x00\x00idtR.",
        b"\x80\x04cnumpy\n",
    ],
)
def test_what_is_no_pickle_is_refused_at_once(data):
    begin = time.process_time()
    with pytest.raises(ValueError):
        load_plain(data)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(("kind", "number"), [("results", 400), ("models", 150), ("stores", 25)])
def test_mutated_files_are_refused_or_read(kind, number, monkeypatch):
    """The short version of `python benchmarks/fuzz_files.py`."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    counts = importlib.import_module("fuzz_files").fuzz(kind, number, seed=1)
    assert set(counts.index) <= {"read", "refused"}, counts
    assert counts["refused"] > number / 2 and counts.sum() == number
    assert counts.attrs["peak"] < 2**30
