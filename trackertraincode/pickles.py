"""Pickles of plain values and NumPy arrays, read without Python's own unpickler.

    bytes --pickletools--> opcodes with their arguments --_Machine--> numbers, texts, bytes, lists, tuples, dicts, arrays

Python's unpickler runs what a file asks for, and even one that finds no function can be made to crash, to fill the memory
or to count for ever. This one knows the few opcodes that files of data have.
"""

import math
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

MOST_BYTES = 2**28  # of a file
MOST_OPCODES = 3_000_000  # each can make an object of some ten bytes
NUMERIC = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248])")
KEYS = (str, bytes, int, float)  # of dicts; hashing nested tuples can take for ever


def read_plain_pickle(path: Path, stand_ins: "Mapping[str, type[StandIn]] | None" = None) -> Any:
    """The content of a file; arrays are read-only. Raises pickle.UnpicklingError where it has anything else, OSError.

    stand_ins: "module name" -> what an object of it becomes. With some, arrays of texts are read, too.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise pickle.UnpicklingError("it is a device, a pipe or a folder")
    if size > MOST_BYTES:
        raise pickle.UnpicklingError(f"{size:,} bytes are more than the {MOST_BYTES:,} that are read")
    data = path.read_bytes()
    with _one_error():
        return _Machine(data, len(data), stand_ins or {}).run()


def check_pickle(stream: IO[bytes]) -> None:
    """Raise pickle.UnpicklingError where another unpickler, such as torch's, could count for ever or fill the memory.

    Reads to the end of the pickle. What it asks for is not looked at: that unpickler knows what it lets through.
    """
    with _one_error():
        _Checker(stream, MOST_BYTES, {}).run()


@contextmanager
def _one_error() -> Iterator[None]:
    try:
        yield
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise pickle.UnpicklingError(str(error).partition("\n")[0][:120] or type(error).__name__) from error


def _require(holds: bool, else_says: str) -> None:
    if not holds:
        raise pickle.UnpicklingError(else_says)


class StandIn:
    """Stands for an object of another library: what it was made of. Nothing of the library runs."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def build(self, state: Any) -> None:
        self.state = state


class _Dtype:
    """Stands for a dtype until its byte order is known."""

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str) or not NUMERIC.fullmatch(name):
            raise pickle.UnpicklingError(f"it has an array of dtype {str(name)[:20]!r}, expected numbers")
        self.value = np.dtype(name)

    def build(self, state: Any) -> None:
        _version, order, *rest = state
        if order not in ("<", ">", "|", "=") or rest[:3] != [None, None, None]:
            raise pickle.UnpicklingError("it has an array of records, expected numbers")
        self.value = self.value.newbyteorder(order)


class _TextDtype(_Dtype):
    """One of objects, too."""

    def __init__(self, name: Any, *rest: Any) -> None:
        if name in ("O", "O8"):
            self.value = np.dtype(object)
        else:
            super().__init__(name, *rest)


class _Array:
    """Stands for an array until its content is known."""

    def __init__(self, *_: Any) -> None:
        self.value = np.empty(0)

    def build(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Any, dtype: Any, shape: Any, order: Any = "C") -> "_Array":
        data = data.encode("latin1") if isinstance(data, str) else data  # Python 2's bytes
        sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if sizes and isinstance(dtype, _TextDtype) and dtype.value.kind == "O":
            if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
                raise pickle.UnpicklingError("it has an array of objects, expected numbers or texts")
            self.value = np.array(data, dtype=object).reshape(shape, order=order)
            return self
        if not (sizes and isinstance(dtype, _Dtype) and isinstance(data, (bytes, bytearray))):
            raise pickle.UnpicklingError("it has an array without shape, dtype or bytes")
        if math.prod(shape) * dtype.value.itemsize != len(data):
            raise pickle.UnpicklingError(f"an array of shape {shape[:8]} and dtype {dtype.value} has {len(data)} bytes")
        self.value = np.frombuffer(data, dtype.value).reshape(shape, order=order)
        return self


def _encode(text: str, coding: str) -> bytes:
    if coding != "latin1":
        raise pickle.UnpicklingError("it has encoded texts, expected bytes")
    return text.encode("latin1")


SIZED = ("builtins bytearray", "__builtin__ bytearray", "torch Tensor")

CALLABLE: dict[str, Callable[..., Any]] = {
    "numpy dtype": _Dtype,
    "numpy ndarray": _Array,
    "_codecs encode": _encode,  # bytes in protocols 0 to 2
    "__builtin__ bytes": lambda: b"",
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    CALLABLE[f"{_core}.multiarray _reconstruct"] = _Array
    CALLABLE[f"{_core}.multiarray scalar"] = lambda dtype, data: _Array().fill(data, dtype, ())
    CALLABLE[f"{_core}.numeric _frombuffer"] = lambda *state: _Array().fill(*state)  # protocol 5


class _Machine:
    """A stack, the stacks below its marks, and what was memorized."""

    def __init__(self, data: bytes | IO[bytes], room: int, stand_ins: Mapping[str, type[StandIn]]) -> None:
        """room: bytes that may be made of texts, which a short file could ask for again and again."""
        self._data, self._room = data, room
        self._callable = CALLABLE | ({"numpy dtype": _TextDtype, **stand_ins} if stand_ins else {})
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        for opcode, argument, _ in islice(pickletools.genops(self._data), MOST_OPCODES):
            if opcode.name == "STOP":
                return _plain(self._stack.pop())
            if opcode.name in CONSTANTS:
                self.push(CONSTANTS[opcode.name](argument))
            elif opcode.name in STEPS:
                STEPS[opcode.name](self, argument)
            else:
                self.other(opcode.name)
        raise pickle.UnpicklingError(f"it has more than {MOST_OPCODES:,} opcodes")

    def other(self, opcode: str) -> None:
        raise pickle.UnpicklingError(f"it has the opcode {opcode}, which no file of data needs")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def values(self) -> list[Any]:
        """What lies above the mark, which goes."""
        found, self._stack = self._stack, self._below.pop()
        return [_plain(value) for value in found]

    def last(self, count: int) -> list[Any]:
        return [_plain(self._stack.pop()) for _ in range(count)][::-1]

    def fill_list(self, values: list[Any]) -> None:
        _require(type(self._stack[-1]) is list, "it appends values to something else than a list")
        self._stack[-1].extend(values)

    def fill_dict(self, values: list[Any]) -> None:
        self.check_keys(values[::2])
        _require(len(values) % 2 == 0, "it has an item without a value")
        _require(type(self._stack[-1]) is dict, "it sets items in something else than a dict")
        self._stack[-1].update(zip(values[::2], values[1::2]))

    def check_keys(self, keys: list[Any]) -> None:
        _require(all(isinstance(key, KEYS) for key in keys), "it has a dict whose keys aren't texts or numbers")

    def new_dict(self, values: list[Any]) -> None:
        self.push({})
        self.fill_dict(values)

    def memorize(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def find(self, name: str) -> None:
        """name: of module and function, with a space between them."""
        if name not in self._callable:
            raise pickle.UnpicklingError(f"it asks for {name.replace(' ', '.')[:80]}, which no file of data needs")
        self.push(self._callable[name])

    def reduce(self, _: Any) -> None:
        function, arguments = self._stack[-2:]
        del self._stack[-2:]
        _require(function in self._callable.values(), "it calls something else than a function")
        made = function(*arguments)
        self._room -= len(made) if isinstance(made, bytes) else 0
        _require(self._room >= 0, "it makes more bytes than it has")
        self.push(made)

    def build(self, _: Any) -> None:
        state = self._stack.pop()
        _require(isinstance(self._stack[-1], (_Dtype, _Array, StandIn)), "it gives a state to something else")
        self._stack[-1].build(state)


class _Checker(_Machine):
    """Makes an empty dict of whatever is called, but for what makes as many bytes as a number says."""

    def find(self, name: str) -> None:
        self.push(name)

    def reduce(self, _: Any) -> None:
        function, arguments = self.last(2)
        if function in SIZED:
            raise pickle.UnpicklingError(f"it calls {function.replace(' ', '.')}, which no file of data needs")
        if isinstance(arguments, tuple):
            self._room -= sum(len(text) for text in arguments if isinstance(text, str))
        _require(self._room >= 0, "it makes more bytes than it has")
        self.push({})

    def build(self, _: Any) -> None:
        self.last(1)

    def fill_list(self, values: list[Any]) -> None:
        """Nothing, since what is filled may not be a list."""

    def fill_dict(self, values: list[Any]) -> None:
        self.check_keys(values[::2])

    def other(self, opcode: str) -> None:
        if opcode == "BINPERSID":  # tensors in files of torch
            self._stack[-1:] = [{}]
        elif opcode == "EMPTY_SET":
            self.push({})
        elif opcode == "ADDITEMS":
            self.check_keys(self.values())
        else:
            super().other(opcode)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value


_NAMES = "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
_NAMES += "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 FLOAT BINFLOAT"
CONSTANTS: dict[str, Callable[[Any], Any]] = dict.fromkeys(_NAMES.split(), lambda argument: argument)
CONSTANTS |= {
    "NONE": lambda _: None, "NEWTRUE": lambda _: True, "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [], "EMPTY_TUPLE": lambda _: (), "EMPTY_DICT": lambda _: {},
}  # fmt: skip
STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "MARK": _Machine.mark,
    "POP": lambda m, _: m._stack.pop(),
    "LIST": lambda m, _: m.push(m.values()),
    "TUPLE": lambda m, _: m.push(tuple(m.values())),
    "DICT": lambda m, _: m.new_dict(m.values()),
    "APPEND": lambda m, _: m.fill_list(m.last(1)),
    "APPENDS": lambda m, _: m.fill_list(m.values()),
    "SETITEM": lambda m, _: m.fill_dict(m.last(2)),
    "SETITEMS": lambda m, _: m.fill_dict(m.values()),
    "TUPLE1": lambda m, _: m.push(tuple(m.last(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.last(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.last(3))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.memorize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.push(m._memo[place])),
    "GLOBAL": lambda m, name: m.find(name),
    "STACK_GLOBAL": lambda m, _: m.find(" ".join(m.last(2))),
    "REDUCE": lambda m, _: m.reduce(_),
    "NEWOBJ": lambda m, _: m.reduce(_),
    "BUILD": lambda m, _: m.build(_),
}
