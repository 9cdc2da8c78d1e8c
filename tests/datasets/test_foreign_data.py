"""A sample file is only ever itself: nothing is read from other files through it, and nothing it can't hold."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import run_script
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
        (external_storage, "data set 'coords' keeps its rows in other files"),
        (virtual, "data set 'coords' keeps its rows in other files"),
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

    with pytest.raises(SampleFormatError, match=rf"data set '{name}' claims 1,000,000,000,000 elements, but the file"):
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
    with pytest.raises(SampleFormatError, match=r"data set 'images' claims 3,221,\d+,\d+ bytes in a file of"):
        Hdf5PoseDataset(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '[["a", 1]]', "3", '"x"', "{", b"\xff\xfe", "null"])
def test_odd_provenance_is_a_description(changed: Callable[[Change], Path], text: str | bytes) -> None:
    def change(file: h5py.File) -> None:
        file.create_dataset("x", data=0)
        file.attrs.create("source", text if len(text) < 1000 else np.bytes_(text[:60_000]))

    path = changed(change)
    source = Hdf5PoseDataset(path).source
    assert set(source) == {"description"}
    assert "Traceback" not in run_script("dsinfo.py", path)
