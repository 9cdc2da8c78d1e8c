"""Pickles of plain data are read whatever wrote them; nothing else is, and nothing that costs more than it weighs."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trackertraincode.pickles import check_pickle, read_plain_pickle

CONTENT: dict[str, Any] = {
    "rows": np.arange(12.0).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "none": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "one": np.float32(3),
    "plain": [1, (2, 3.5), None, True, "ü", b"\x00\xff", 2**100, {}, {1: [[]]}, ()],
}


def read(path: Path, data: bytes) -> Any:
    (path / "x.pkl").write_bytes(data)
    return read_plain_pickle(path / "x.pkl")


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("protocol", range(6))
def test_data_of_every_protocol_are_read(tmp_path: Path, protocol: int, module: str) -> None:
    data = pickle.dumps(CONTENT, protocol=protocol)
    found = read(tmp_path, data if protocol > 3 else data.replace(b"numpy._core", module.encode()))
    assert list(found) == list(CONTENT)
    assert found["plain"] == CONTENT["plain"]
    for name in list(CONTENT)[:-1]:
        assert np.array_equal(found[name], CONTENT[name])
        assert found[name].dtype == CONTENT[name].dtype


def test_arrays_of_python_2_are_read(tmp_path: Path) -> None:
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K\x02\x85" + dtype + b"\x89U\x02\x01\xfftb."
    assert read(tmp_path, made + state).tolist() == [1, 255]


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def with_state(**changes: Any) -> bytes:
    """An array whose state isn't what it should be."""
    state = {"shape": (2, 3), "dtype": np.dtype("f4"), "data": bytes(24)} | changes

    class Array:
        def __reduce__(self) -> Any:
            made = np.array(0).__reduce__()
            return made[0], made[1], (1, state["shape"], state["dtype"], False, state["data"])

    return pickle.dumps(Array())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Call(os.system, "echo harm")), r"asks for (posix|nt)\.system"),
        (pickle.dumps(Call(bytes, 10)), "asks for builtins.bytes"),
        (pickle.dumps(np.array([{}])), "dtype 'O8', expected numbers"),
        (pickle.dumps(np.zeros(2, "f4,i2")), "dtype 'V6', expected numbers"),
        (pickle.dumps({1, 2}), "opcode EMPTY_SET"),
        (pickle.dumps({(1, 2): 3}), "keys aren't texts or numbers"),
        (with_state(shape=(2, 4)), r"shape \(2, 4\) and dtype float32 has 24 bytes"),
        (with_state(shape=(-2, -3)), "without shape"),
        (with_state(shape=(2**62, 4)), "has 24 bytes"),
        (with_state(data=[1.0] * 6), "without shape, dtype or bytes"),
        (with_state(dtype="f4"), "without shape, dtype or bytes"),
        (b"K\x01K\x02a.", "appends values to something else than a list"),
        (b"K\x01K\x02K\x03s.", "sets items in something else than a dict"),
        (b"}(K\x01u.", "an item without a value"),
        (b"K\x01)R.", "calls something else than a function"),
        (b"K\x01Nb.", "gives a state to something else"),
        (pickle.dumps(CONTENT)[:-30], "."),
        (b"", "."),
        (b".", "."),
        (b"N0.", "."),
        (b"h\x05.", "."),
        (b"\x8e" + b"\xff" * 8 + b".", "."),  # BINBYTES8 of 2**64 - 1 bytes
        (b"\x96" + b"\xff\xff\xff\xff\x00\x00\x00\x00.", "."),  # BYTEARRAY8 of 4 GB
        (b"\x8b\xff\xff\xff\x7f.", "."),  # LONG4
        (b"})" + b"2\x86" * 60 + b"Ns.", "."),  # a pair of pairs of pairs … whose hash takes 2**60 steps
    ],
    ids=str,
)
def test_what_is_no_data_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=message):
        read(tmp_path, data)


def test_a_high_place_in_the_memo_costs_nothing(tmp_path: Path) -> None:
    """Python's own unpickler makes a table of 2.8 GB for it."""
    assert read(tmp_path, b"\x80\x04Nr\xff\xff\xff\x0e.") is None


def test_a_text_is_not_made_to_bytes_again_and_again(tmp_path: Path) -> None:
    text = b"X\x10\x27\x00\x00" + b"a" * 10_000 + b"q\x00"
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    assert read(tmp_path, text + again + b".") == b"a" * 10_000
    with pytest.raises(pickle.UnpicklingError, match="more bytes than it has"):
        read(tmp_path, text + again * 3 + b".")


def test_a_check_for_other_unpicklers_ends_and_names_what_would_not(tmp_path: Path) -> None:
    nested = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60
    for data in (b"}" + nested + b"Ns.", b"\x8f(" + nested + b"\x90."):
        with pytest.raises(pickle.UnpicklingError, match="keys aren't texts or numbers"):
            check_pickle(io.BytesIO(data))
    with pytest.raises(pickle.UnpicklingError, match="not enough data"):
        check_pickle(io.BytesIO(b"K"))
    good = pickle.dumps({"a": {1, 2}, "b": Call(os.system, "nothing is called"), 3: [1.5, {"c": ()}]})
    check_pickle(io.BytesIO(good))


def test_large_files_and_long_programs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackertraincode.pickles.MOST_OPCODES", 10)
    with pytest.raises(pickle.UnpicklingError, match="more than 10 opcodes"):
        read(tmp_path, pickle.dumps([str(i) for i in range(10)]))
    monkeypatch.setattr("trackertraincode.pickles.MOST_BYTES", 10)
    with pytest.raises(pickle.UnpicklingError, match="more than the 10"):
        read(tmp_path, pickle.dumps("a long text"))
