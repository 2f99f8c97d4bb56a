"""Reading pickles as data: a small machine that supports plain values and NumPy arrays only, and calls nothing.

A pickle is a program. Python's reader runs it, and even a reader restricted to NumPy's rebuilding functions can be made
to read foreign memory, to allocate gigabytes or to hang. The machine here follows the few instructions that plain
values and arrays need, builds arrays itself from checked types, shapes and bytes, and refuses everything else.
"""

import struct
from typing import Any

import numpy as np

from sbnn.storage.pickled_values import (
    MAKERS,
    MOST_ARGUMENTS,
    NAMES,
    Blank,
    Name,
    build_array,
    build_dtype,
    complete,
    finished,
)
from sbnn.storage.plain_arrays import NotPlainError

#: Size in bytes of the largest file that is read.
MAX_BYTES = 2**30
#: Bytes of arrays that a file may create per byte of its size.
MAX_BYTES_PER_BYTE = 4
#: Values that a file may create, and containers among them.
MAX_VALUES = 2_000_000
MAX_CONTAINERS = 200_000
#: Elements that a file may hold per byte, with containers that repeat the same element many times.
MAX_ELEMENTS_PER_BYTE = 20

_PROTOCOLS = (3, 4)


class _Mark:
    """Where a run of values on the stack begins."""


def load_plain(data: bytes) -> Any:
    """Return the plain containers, numbers, strings and NumPy arrays of a pickle.

    Parameters
    ----------
    data : bytes
        A pickle of protocol 3 or 4.

    Returns
    -------
    object
        Of dict (with keys that are strings, numbers or None), list, tuple, set, str, bytes, bool, int, float,
        None, NumPy scalars and arrays of bool, numbers, text and bytes. Arrays are writable.

    Raises
    ------
    NotPlainError
        It names a callable that plain values do not need, holds objects, or exceeds `MAX_VALUES`, `MAX_CONTAINERS`,
        `MAX_DEPTH` or `MAX_ELEMENTS_PER_BYTE`.
    ValueError
        It is truncated or not a pickle.
    """
    if len(data) > MAX_BYTES:
        raise NotPlainError(f"it has {len(data)} bytes, more than the {MAX_BYTES} that are read")
    try:
        value = _Machine(data).run()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"it ends, or breaks off, in the middle ({type(error).__name__}: {error})") from None
    except RecursionError:
        raise NotPlainError("its values are nested too deep") from None
    return finished(value, MAX_ELEMENTS_PER_BYTE * len(data) + 1000)


class _Machine:
    """Stack, memo and position in the file."""

    def __init__(self, data: bytes):
        self.data, self.place = memoryview(data), 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.n_values, self.n_containers = 0, 0
        self.bytes_left = MAX_BYTES_PER_BYTE * len(data) + 1000

    def run(self) -> Any:
        """Follow the instructions to the last one and return the value left on the stack."""
        data = self.data
        if data[:1] != b"\x80":
            raise ValueError("it does not begin as a pickle of protocol 3 or 4 does")
        while (code := data[self.place]) != _STOP:
            self.place += 1
            handler = _HANDLERS.get(code)
            if handler is None:
                raise NotPlainError(f"it has the instruction {bytes([code])!r}, which plain values do not need")
            handler(self)
        if len(self.stack) != 1:
            raise ValueError(f"it leaves {len(self.stack)} values where one is expected")
        return self._pop()

    def _take(self, number):
        """Return the next bytes of the file."""
        if number > len(self.data) - self.place:
            raise ValueError(f"it is truncated: {number} bytes are announced, {len(self.data) - self.place} are left")
        self.place += number
        return self.data[self.place - number : self.place]

    def _unpack(self, layout):
        """Return the next number of the file."""
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _push(self, value):
        self.n_values += 1
        if self.n_values > MAX_VALUES:
            raise NotPlainError(f"it makes more than {MAX_VALUES} values")
        self.stack.append(value)

    def _push_container(self, value):
        self.n_containers += 1
        if self.n_containers > MAX_CONTAINERS:
            raise NotPlainError(f"it makes more than {MAX_CONTAINERS} containers")
        self._push(value)

    def _pop(self):
        value = self.stack.pop()
        if isinstance(value, _Mark):
            raise ValueError("an instruction finds no value on the stack")
        return value

    def _pop_to_mark(self):
        """Return the values above the last mark, and remove both from the stack."""
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], _Mark):
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise ValueError("an instruction finds no mark on the stack")

    def _top(self, kind):
        """Return the last value on the stack after checking its type."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"an instruction finds {type(self.stack[-1]).__name__} where it needs {kind.__name__}")
        return self.stack[-1]

    def protocol(self) -> None:
        version = self._unpack("<B")
        if version not in _PROTOCOLS:
            raise ValueError(f"it is of protocol {version}; {_PROTOCOLS[0]} to {_PROTOCOLS[-1]} are read")

    def frame(self) -> None:
        self._take(8)  # how much to read at a time, which does not matter here

    def mark(self) -> None:
        self._push(_Mark())

    def pop(self) -> None:
        self.stack.pop()

    def pop_mark(self) -> None:
        self._pop_to_mark()

    def long(self, layout: str) -> None:
        number = self._unpack(layout)
        if not 0 <= number <= 8:
            raise NotPlainError(f"it holds a whole number of {number} bytes; 8 are enough")
        self._push(int.from_bytes(self._take(number), "little", signed=True))

    def text(self, layout: str) -> None:
        self._push(str(self._take(self._unpack(layout)), "utf-8", "surrogatepass"))

    def bytes(self, layout: str) -> None:
        number = self._unpack(layout)
        self._push(bytes(self._take(number)))

    def append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def appends(self) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[_key(key)] = value

    def set_items(self) -> None:
        values = self._pop_to_mark()
        if len(values) % 2:
            raise ValueError("a dict has a key without a value")
        self._top(dict).update({_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)})

    def add_items(self) -> None:
        values = self._pop_to_mark()
        self._top(set).update(map(_key, values))

    def tuple_of(self, number: int) -> None:
        if number > len(self.stack):
            raise ValueError("a tuple has fewer values than announced")
        values = [self._pop() for _ in range(number)][::-1]
        self._push_container(tuple(values))

    def memoize(self, number: int | None = None) -> None:
        number = len(self.memo) if number is None else number
        if isinstance(self.stack[-1], _Mark):
            raise ValueError("an instruction finds no value on the stack")
        self.memo[number] = self.stack[-1]
        if len(self.memo) > MAX_VALUES:
            raise NotPlainError(f"it remembers more than {MAX_VALUES} values")

    def remember(self, number: int) -> None:
        if number not in self.memo:
            raise ValueError(f"it refers to value {number}, which it did not make")
        self._push(self.memo[number])

    def line(self) -> str:
        """Return the text up to the end of a line."""
        rest = bytes(self.data[self.place : self.place + 200])
        if b"\n" not in rest:
            raise ValueError("a name has no end")
        return str(self._take(rest.index(b"\n") + 1), "utf-8")[:-1]

    def name(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a callable is named by something other than text")
        if name not in NAMES.get(module, ()):
            raise NotPlainError(
                f"it names {module}.{name}, but results hold only plain containers, numbers, strings and arrays; "
                "do not open it with pickle.load unless you trust its source"
            )
        self._push(Name(module, name))

    def name_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self.name(module, name)

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise NotPlainError(f"it calls {type(function).__name__} with {type(arguments).__name__}")
        if function.name not in MAKERS:
            raise NotPlainError(f"it calls {function.module}.{function.name} directly, which no plain array needs")
        arguments = complete(arguments)
        if len(arguments) > MOST_ARGUMENTS[function.name]:
            raise NotPlainError(f"it calls {function.name} with {len(arguments)} arguments")
        self._spend(arguments)
        self._push(MAKERS[function.name](*arguments))

    def _spend(self, parts):
        """Count the bytes from which an array is about to be made: the same bytes may serve for many arrays."""
        self.bytes_left -= sum(len(part) for part in parts if isinstance(part, (bytes, str)))
        if self.bytes_left < 0:
            raise NotPlainError(f"it makes arrays of more than {MAX_BYTES_PER_BYTE} times its own size")

    def build(self) -> None:
        state, blank = self._pop(), self._top(Blank)
        if not isinstance(state, tuple):
            raise NotPlainError(f"it completes an array or type with {type(state).__name__}")
        self._spend(state)
        (build_dtype if blank.kind == "dtype" else build_array)(blank, state)


def _key(key):
    """Return a key of a dict or a member of a set: text, a number or None, whose hashes are safe."""
    if not isinstance(key, (str, bytes, int, float, np.integer, type(None))):
        raise NotPlainError(f"it has a key that is {type(key).__name__}; text, numbers and None are plain")
    return key


_STOP = ord(".")
_INSTRUCTIONS = {
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"N": lambda machine: machine._push(None),
    b"\x88": lambda machine: machine._push(True),
    b"\x89": lambda machine: machine._push(False),
    b"J": lambda machine: machine._push(machine._unpack("<i")),
    b"K": lambda machine: machine._push(machine._unpack("<B")),
    b"M": lambda machine: machine._push(machine._unpack("<H")),
    b"\x8a": lambda machine: machine.long("<B"),
    b"\x8b": lambda machine: machine.long("<i"),
    b"G": lambda machine: machine._push(machine._unpack(">d")),
    b"\x8c": lambda machine: machine.text("<B"),
    b"X": lambda machine: machine.text("<I"),
    b"\x8d": lambda machine: machine.text("<Q"),
    b"C": lambda machine: machine.bytes("<B"),
    b"B": lambda machine: machine.bytes("<I"),
    b"\x8e": lambda machine: machine.bytes("<Q"),
    b"]": lambda machine: machine._push_container([]),
    b"a": _Machine.append,
    b"e": _Machine.appends,
    b"l": lambda machine: machine._push_container(machine._pop_to_mark()),
    b"}": lambda machine: machine._push_container({}),
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"\x8f": lambda machine: machine._push_container(set()),
    b"\x90": _Machine.add_items,
    b")": lambda machine: machine._push_container(()),
    b"\x85": lambda machine: machine.tuple_of(1),
    b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3),
    b"t": lambda machine: machine._push_container(tuple(machine._pop_to_mark())),
    b"\x94": _Machine.memoize,
    b"q": lambda machine: machine.memoize(machine._unpack("<B")),
    b"r": lambda machine: machine.memoize(machine._unpack("<I")),
    b"h": lambda machine: machine.remember(machine._unpack("<B")),
    b"j": lambda machine: machine.remember(machine._unpack("<I")),
    b"c": lambda machine: machine.name(machine.line(), machine.line()),
    b"\x93": _Machine.name_from_stack,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
}
_HANDLERS = {ord(code): handler for code, handler in _INSTRUCTIONS.items()}
