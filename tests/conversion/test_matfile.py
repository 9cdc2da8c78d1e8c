"""Our reader of .mat files finds what SciPy finds, and names what is damaged."""

import io
import struct
import zlib

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from trackertraincode.conversion.matfile import MAX_BYTES, numbers, read_mat, text
from trackertraincode.errors import ArchiveError

RNG = np.random.default_rng(0)
TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
ARRAYS = {f"a_{kind}": RNG.integers(0, 100, (3, 68)).astype(kind) for kind in TYPES} | {
    "small": np.array([[7.0]]),
    "empty": np.zeros((0, 3)),
    "deep": RNG.normal(size=(2, 3, 4)),
    "a_rather_long_name_of_a_variable": RNG.normal(size=(1, 7)),
    "name": "embedded-v1",
}


def saved(arrays: dict, compress: bool = True) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays, do_compression=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_arrays_are_those_that_scipy_reads(compress: bool) -> None:
    data = saved(ARRAYS, compress)
    expected = loadmat(io.BytesIO(data))
    found = read_mat(data, "a.mat", tuple(ARRAYS))
    assert set(found) == set(ARRAYS)
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name
        assert value.shape == expected[name].shape
    assert text(found, "name") == "embedded-v1"


def test_other_variables_are_left_alone_and_what_is_no_number_is_said() -> None:
    data = saved({"s": {"field": 1}, "c": np.array([[1 + 2j]]), "cell": np.array([[1, "x"]], object), "x": 5.0})
    found = read_mat(data, "a.mat", ("c", "x", "s"))
    assert set(found) == {"c", "x", "s"}
    for name in ("c", "s"):
        with pytest.raises(ArchiveError, match=rf"a\.mat: variable '{name}' has type object, expected numbers"):
            numbers(found, "a.mat", name, (1, 1))


def test_big_endian_files_are_read() -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    inside = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 2)) + element(1, b"x")
    data = bytes(124) + b"\1\0MI" + element(14, inside + element(3, struct.pack(">hh", -5, 300)))
    assert read_mat(data, "a.mat", ("x",))["x"].tolist() == [[-5, 300]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:100], "expected one of MATLAB 5 to 7"),
        (lambda d: b"\x89HDF" + bytes(600), "expected one of MATLAB 5 to 7"),
        (lambda d: d[: len(d) // 2], "an element of .* bytes where"),
        (
            lambda d: d.replace(struct.pack("<ii", 3, 68), struct.pack("<ii", 2**31 - 1, 2**31 - 1)),
            "204 numbers for a sh",
        ),
        (lambda d: d.replace(struct.pack("<ii", 3, 68), struct.pack("<ii", -3, -68)), "204 numbers for a shape"),
        (
            lambda d: d.replace(struct.pack("<II", 9, 1632), struct.pack("<II", 9, 2**32 - 1)),
            "an element of 4294967295",
        ),
        (lambda d: d[:128] + packed(d[128:][:-9], cut=0), "an element of"),
        (lambda d: d[:128] + packed(d[128:], cut=9), "a variable that ends early"),
        (lambda d: d[:128] + packed(bytes(2 * MAX_BYTES), cut=0), "more than 16 MB"),
    ],
)
def test_damage_is_named(change, message: str) -> None:
    data = saved({"x": RNG.normal(size=(3, 68))}, compress=False)
    with pytest.raises(ArchiveError, match=rf"a\.mat: not a readable \.mat file \(.*{message}"):
        read_mat(change(data), "a.mat", ("x",))


def packed(content: bytes, cut: int) -> bytes:
    data = zlib.compress(content)
    data = data[: len(data) - cut]
    return struct.pack("<II", 15, len(data)) + data


@pytest.mark.parametrize("compress", [False, True])
def test_random_damage_gives_arrays_or_one_error(compress: bool) -> None:
    data = saved(ARRAYS, compress)
    refused = 0
    for _ in range(1000):
        changed = bytearray(data)
        for place in RNG.integers(116, len(data), RNG.integers(1, 4)):
            changed[place] = RNG.integers(256)
        try:
            read_mat(bytes(changed[: RNG.integers(len(data) // 2, 3 * len(data))]), "a.mat", tuple(ARRAYS))
        except ArchiveError:
            refused += 1
    assert refused > 100


def test_other_versions_are_named_with_what_to_do() -> None:
    oldest = io.BytesIO()
    savemat(oldest, {"Pose_Para": np.ones((1, 7), np.float32)}, format="4")
    newest = io.BytesIO()
    with h5py.File(newest, "w", userblock_size=512) as file:
        file["Pose_Para"] = np.ones((7, 1))
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
    for data, version in (
        (oldest.getvalue(), "4"),
        (head + newest.getvalue()[128:], "7.3"),
        (newest.getvalue(), "7.3"),
    ):
        with pytest.raises(
            ArchiveError, match=rf"a\.mat: is a \.mat file of MATLAB {version}, .* save it again as ver"
        ):
            read_mat(data, "a.mat", ("Pose_Para",))
    for data in (b"", b"\xff\xd8" + bytes(200), b"5 5 5 5 5 5 5 5 5 5 5 5", bytes(200)):
        with pytest.raises(ArchiveError, match="not a readable"):
            read_mat(data, "a.mat", ("Pose_Para",))
