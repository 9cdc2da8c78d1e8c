"""A sample file is only ever itself: nothing is read from other files through it, and nothing it can't hold."""

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import run_script
from trackertraincode.datasets import dshdf5
from trackertraincode.datasets.checks import check_file
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.sample_file import SampleFile
from trackertraincode.errors import SampleFormatError

Change = Callable[[h5py.File], object]


def external_storage(file: h5py.File) -> None:
    del file["coords"]
    shape = (4, 3)
    file.create_dataset("coords", shape, "f4", external=[(str(Path(file.filename).with_name("secret")), 0, 48)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(Path(file.filename).with_name("other.h5")), "coords", (4, 3))
    del file["coords"]
    file.create_virtual_dataset("coords", layout)


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = link

    return change


def group(name: str) -> Change:
    def change(file: h5py.File) -> None:
        file.create_group(name)

    return change


@pytest.fixture
def changed(plain_file: Callable[..., Path]) -> Callable[[Change], Path]:
    def make(change: Change) -> Path:
        path = plain_file()
        path.with_name("secret").write_bytes(np.arange(12, dtype="f4").tobytes())
        with h5py.File(path.with_name("other.h5"), "w") as file:
            file["coords"] = np.ones((4, 3), "f4")
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return make


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_storage, "field 'coords' keeps its rows in other files"),
        (virtual, "field 'coords' keeps its rows in other files"),
        (linked("coords", h5py.ExternalLink("other.h5", "coords")), r"'coords' is a link to other\.h5, coords"),
        (linked("coords", h5py.SoftLink("/nowhere")), "'coords' is a link to this file, /nowhere"),
        (linked("images", h5py.SoftLink("/nowhere/at/all")), "'images' is a link to this file"),
        (linked("sequence_starts", h5py.ExternalLink("other.h5", "coords")), "'sequence_starts' is a link"),
        (group("sequence_starts"), "'sequence_starts' must be whole numbers .* found no data set"),
    ],
    ids=["external", "virtual", "external_link", "dangling", "dangling_images", "starts_link", "starts_group"],
)
def test_data_of_other_files_and_dangling_links_are_refused(
    changed: Callable[[Change], Path], change: Change, message: str
) -> None:
    path = changed(change)
    with pytest.raises(SampleFormatError, match=message):
        Hdf5PoseDataset(path)
    assert any(message.split(" ", 1)[0] in str(fault) for fault in check_file(path))
    for tool, rest in (("dsfilter.py", [path.with_name("out.h5"), "--rows", "0"]), ("dsinfo.py", [])):
        text = run_script(tool, path, *rest, expect=1)
        assert "Traceback" not in text
    assert not path.with_name("out.h5").exists()


def test_a_link_by_way_of_another_files_group_is_refused(changed: Callable[[Change], Path]) -> None:
    """The last step of its path is a data set like any other, in the file that a step before led to."""

    def change(file: h5py.File) -> None:
        del file["coords"]
        file["way"] = h5py.ExternalLink("other.h5", "/")
        file["coords"] = h5py.SoftLink("/way/coords")

    with pytest.raises(SampleFormatError, match="'coords' is a link to this file, /way/coords; data of other files"):
        Hdf5PoseDataset(changed(change))


def test_a_second_name_in_the_same_file_is_fine(changed: Callable[[Change], Path]) -> None:
    def change(file: h5py.File) -> None:
        file["heads"] = file["coords"]
        del file["coords"]
        file["coords"] = h5py.SoftLink("/heads")

    assert Hdf5PoseDataset(changed(change)).labels["head"].shape == (4, 3)


def test_links_that_the_format_does_not_know_are_left_alone(changed: Callable[[Change], Path]) -> None:
    path = changed(linked("comments", h5py.ExternalLink("missing.h5", "x")))
    with SampleFile(path) as file:
        assert file.unknown == ("comments",)
        assert len(file) == 4


@pytest.mark.parametrize("name", ["images", "sequence_starts", "semseg"])
def test_rows_that_the_file_cannot_hold_are_refused(changed: Callable[[Change], Path], name: str) -> None:
    def change(file: h5py.File) -> None:
        kind = np.dtype("i8") if name == "sequence_starts" else h5py.vlen_dtype(np.uint8)
        if name in file:
            del file[name]
        file.create_dataset(name, (10**12,), kind, chunks=(256,), maxshape=(None,))

    with pytest.raises(SampleFormatError, match=rf"field '{name}' claims 1,000,000,000,000 elements, but the file"):
        Hdf5PoseDataset(changed(change))


@pytest.mark.parametrize("chunked", [False, True])
def test_lengths_that_the_file_cannot_hold_are_refused(
    write_file: Callable[..., Path], plain_file: Callable[..., Path], make_sample: Callable, chunked: bool
) -> None:
    path = write_file([make_sample(i) for i in range(3)]) if chunked else plain_file()
    with h5py.File(path) as file:
        images = file["images"]
        place = images.id.get_chunk_info(0).byte_offset if chunked else images.id.get_offset()
        length = len(images[1])
    data = bytearray(path.read_bytes())
    assert int.from_bytes(data[place + 16 : place + 20], "little") == length
    data[place + 16 : place + 20] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SampleFormatError, match=r"field 'images' claims 3,221,\d+,\d+ bytes in a file of"):
        Hdf5PoseDataset(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("place", "value"), [(0, 3), (0, 2000), (4, 8), (4, 1 << 40), (12, 0), (12, 900)])
def test_references_that_lead_elsewhere_are_refused(
    changed: Callable[[Change], Path], place: int, value: int, packed: bool
) -> None:
    """HDF5 itself would write beyond its memory, where the length is too small."""

    def change(file: h5py.File) -> None:
        images = list(file["images"])
        del file["images"]
        options = {"chunks": (2,), "compression": "gzip", "shuffle": True} if packed else {}
        file.create_dataset("images", (4,), h5py.vlen_dtype(np.uint8), **options)
        for row, image in enumerate(images):
            file["images"][row] = image

    path = changed(change)
    with Hdf5PoseDataset(path) as dataset:
        assert len(dataset.images(range(4))) == 4
    width = 8 if place == 4 else 4
    with h5py.File(path, "r+") as file:
        images = file["images"]
        mask, data = images.id.read_direct_chunk((0,)) if packed else (0, b"")
        start = images.id.get_offset()
        if packed:
            table = np.frombuffer(zlib.decompress(data), np.uint8).reshape(2, 16).copy()
            table[1, place : place + width] = list(value.to_bytes(width, "little"))
            images.id.write_direct_chunk((0,), zlib.compress(table.tobytes()), mask)
    if not packed:
        content = bytearray(path.read_bytes())
        content[start + 16 + place : start + 16 + place + width] = value.to_bytes(width, "little")
        path.write_bytes(content)
    with Hdf5PoseDataset(path) as dataset, pytest.raises(SampleFormatError, match="field 'images' can't be read"):
        dataset.images([1])


def test_what_is_whole_but_not_read_here_is_not_called_damaged(changed: Callable[[Change], Path]) -> None:
    def change(file: h5py.File) -> None:
        images = list(file["images"])
        del file["images"]
        file.create_dataset("images", (4,), h5py.vlen_dtype(np.uint8), chunks=(2,), compression="lzf")
        for row, image in enumerate(images):
            file["images"][row] = image

    path = changed(change)
    message = r"field 'images' can't be read: it is packed by lzf, which isn't read here; h5repack -f GZIP=4 packs"
    with Hdf5PoseDataset(path) as dataset, pytest.raises(SampleFormatError, match=message):
        dataset.images([1])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("value", [1, 40, 0xFFFFFFF0])
def test_texts_of_wrong_length_are_refused(tmp_path: Path, libver: str, value: int) -> None:
    path, text = tmp_path / "a.h5", "provenance" * 3
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["other"] = "x"
        file.attrs["source"] = text
    with h5py.File(path) as file:
        assert dshdf5.text_attribute(file, "source") == text
    data = bytearray(path.read_bytes())
    length = len(text).to_bytes(4, "little")
    place = data.index(length, data.index(b"source"))
    data[place : place + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    with (
        h5py.File(path) as file,
        pytest.raises(SampleFormatError, match=r"'source' of '/' can't be read"),
    ):
        dshdf5.text_attribute(file, "source")


def test_a_heap_that_has_no_end_is_refused(tmp_path: Path) -> None:
    """HDF5 itself would search it for ever."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["source"] = "provenance"
    data = bytearray(path.read_bytes())
    free = data.index(b"GCOL") + 16 + 16 + 16
    assert data[free : free + 2] == b"\0\0"
    data[free + 8 : free + 16] = bytes(8)
    path.write_bytes(data)
    with h5py.File(path) as file, pytest.raises(SampleFormatError, match="a damaged heap"):
        dshdf5.text_attribute(file, "source")


@pytest.mark.parametrize("text", ["[" * 100_000, '[["a", 1]]', "3", '"x"', "{", b"\xff\xfe", "null"])
def test_odd_provenance_is_a_description(changed: Callable[[Change], Path], text: str | bytes) -> None:
    def change(file: h5py.File) -> None:
        file.create_dataset("x", data=0)
        file.attrs.create("source", text if len(text) < 1000 else np.bytes_(text[:60_000]))

    path = changed(change)
    source = Hdf5PoseDataset(path).source
    assert set(source) == {"description"}
    assert "Traceback" not in run_script("dsinfo.py", path)
