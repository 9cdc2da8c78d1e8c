"""Images and arrays come out of every storage that files in the wild use, and messages say where one doesn't."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from trackertraincode.datasets import dshdf5, hdf5_images
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.hdf5_images import read_images
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.images import decode, decode_labels, encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 255, (8, 10 + i), dtype=np.uint8) for i in range(4)]
ENCODED = [encode_png(IMAGES[0]), encode_jpeg(IMAGES[1]), encode_png(IMAGES[2]), encode_jpeg(IMAGES[3])]
RECORD = np.dtype([("shape", "i4", (2,)), ("minval", "f4"), ("maxval", "f4"), ("buffer", h5py.vlen_dtype(np.uint8))])


@pytest.fixture
def open_images(tmp_path: Path) -> Callable[..., tuple[Path, h5py.Dataset]]:
    """open_images(dtype, rows, **attributes): a file faces.h5 whose data set `images` holds the rows."""

    def make(dtype: Any, rows: list, **attributes: object) -> tuple[Path, h5py.Dataset]:
        path = tmp_path / "faces.h5"
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("images", (len(rows),), dtype=dtype)
            for index, row in enumerate(rows):
                dataset[index] = row
            dataset.attrs.update(attributes)
        return path, h5py.File(path, "r")["images"]

    return make


def quantise(values: np.ndarray) -> tuple:
    """As old files hold an array: the definition of the format turned round, rounded down."""
    low, high = float(values.min()), float(values.max())
    levels = np.floor((values.astype(np.float64) - low) / (high - low + 1.0) * 256.0)
    return values.shape, low, high, levels.astype(np.uint8).ravel()


@pytest.mark.parametrize("storage", ["varsize_image_buffer", b"varsize_image_buffer", None, ""])
@pytest.mark.parametrize("lossy", [True, False, "True", b"False", None])
def test_bytes_decide_what_an_image_is(open_images: Callable, storage: object, lossy: object) -> None:
    attributes = {k: v for k, v in {"storage": storage, "lossy": lossy}.items() if v is not None}
    buffers = [np.frombuffer(e, np.uint8) for e in ENCODED]
    path, dataset = open_images(h5py.vlen_dtype(np.uint8), buffers, **attributes)
    assert read_images(path, dataset, [0, 1, 2, 3]) == ENCODED


@pytest.mark.parametrize("rows", [[], [2], [3, 0, 3], [1, 2, 3, 0], [0, 2], [3, 2, 1, 0]])
def test_rows_come_in_the_order_asked_for(open_images: Callable, rows: list[int]) -> None:
    path, dataset = open_images(h5py.vlen_dtype(np.uint8), [np.frombuffer(e, np.uint8) for e in ENCODED])
    assert read_images(path, dataset, rows) == [ENCODED[row] for row in rows]


@pytest.mark.parametrize("dtype", [h5py.string_dtype(), h5py.string_dtype("ascii"), "S20"], ids=["utf8", "ascii", "S"])
@pytest.mark.parametrize("storage", ["image_filename", None])
@pytest.mark.parametrize("folder", [".", "faces"], ids=["beside", "named_like_the_file"])
@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".png", ".JPG"])
@pytest.mark.parametrize("named", [True, False], ids=["with_extension", "without"])
def test_paths_are_found_below_both_folders(
    open_images: Callable, tmp_path: Path, dtype: Any, storage: str | None, folder: str, extension: str, named: bool
) -> None:
    (tmp_path / folder / "sub.dir").mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "sub.dir" / f"a{extension}").write_bytes(ENCODED[0])
    attributes = {"storage": storage} if storage else {}
    path, dataset = open_images(dtype, [f"sub.dir/a{extension if named else ''}"], **attributes)
    assert read_images(path, dataset, [0]) == [ENCODED[0]]


def test_backslashes_separate_folders_too(open_images: Callable, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(ENCODED[0])
    path, dataset = open_images(h5py.string_dtype(), ["sub\\a.png"], storage="image_filename")
    assert read_images(path, dataset, [0]) == [ENCODED[0]]


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../other/a.png", "a/../../b.png", "..\\a.png", "C:a.png", "\\secret\\a.png"]
)
def test_paths_outside_are_refused(open_images: Callable, name: str) -> None:
    path, dataset = open_images(h5py.string_dtype(), ["a.png", name], storage="image_filename")
    with pytest.raises(SampleFormatError, match=r"faces\.h5: field 'images', row 1 names .* outside"):
        read_images(path, dataset, [1])


def test_a_missing_image_is_named_with_the_folders_to_put_it_in(open_images: Callable, tmp_path: Path) -> None:
    path, dataset = open_images(h5py.string_dtype(), ["a.png", "b.png"], storage="image_filename")
    with pytest.raises(SampleFormatError, match=rf"row 1 names 'b\.png'.*{tmp_path}.*{tmp_path / 'faces'}"):
        read_images(path, dataset, [1])


def test_names_of_no_encoding_are_shown_with_their_bytes(open_images: Callable) -> None:
    path, dataset = open_images("S20", [b"a\xff.png"], storage="image_filename")
    with pytest.raises(SampleFormatError, match=r"row 0 names 'a(\\udcff|\\xff)\.png', which is neither"):
        read_images(path, dataset, [0])


def test_long_names_are_cut_in_messages(open_images: Callable) -> None:
    path, dataset = open_images("S900", [b"\xff\xd8\xff" + b"x" * 800], storage="image_filename")
    with pytest.raises(SampleFormatError, match=r"row 0 names '(\\udcff|\\udcd8){3}x{197}…', which is neither"):
        read_images(path, dataset, [0])


def test_old_records_give_grey_images_back_exactly(open_images: Callable) -> None:
    labels = RNG.integers(3, 200, (6, 7), dtype=np.uint8)
    wide = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path, dataset = open_images(RECORD, [quantise(labels), quantise(wide)], storage="varsize_array_buffer")
    narrow_read, wide_read = read_images(path, dataset, [0, 1])
    assert np.array_equal(decode_labels(narrow_read), labels)
    assert np.array_equal(decode(wide_read), wide)


def test_array_records_follow_the_formula_of_the_format() -> None:
    values = RNG.normal(100, 40, (5, 3))
    record = np.array([quantise(values)], RECORD)[0]
    step = (values.max() - values.min() + 1) / 256
    error = values - hdf5_images.decode_array_record(Path("a.h5"), "x", 0, record)
    assert error.min() > -1e-4
    assert error.max() < step + 1e-4


@pytest.mark.parametrize(
    ("dtype", "row", "message"),
    [
        (RECORD, ((3, 3), 0.0, 1.0, np.zeros(8, np.uint8)), r"row 0 isn't a record of shape, min, max and bytes"),
        ("f4", 1.0, r"row 0 isn't a record"),
    ],
    ids=["too_short", "no_record"],
)
def test_wrong_records_are_named(open_images: Callable, dtype: Any, row: Any, message: str) -> None:
    path, dataset = open_images(dtype, [row], storage="varsize_array_buffer")
    with pytest.raises(SampleFormatError, match=message):
        read_images(path, dataset, [0])


def test_bytes_that_are_no_image_are_named(open_images: Callable) -> None:
    rows = [np.frombuffer(ENCODED[0], np.uint8), np.frombuffer(b"GIF89a", np.uint8), np.zeros(0, np.uint8)]
    path, dataset = open_images(h5py.vlen_dtype(np.uint8), rows)
    with pytest.raises(SampleFormatError, match=r"faces\.h5: field 'images', row 1 holds 6 bytes that aren't a JPEG"):
        read_images(path, dataset, [0, 1])
    with pytest.raises(SampleFormatError, match="row 2 holds 0 bytes"):
        read_images(path, dataset, [2])


def test_an_unknown_storage_is_named_with_the_known_ones(open_images: Callable) -> None:
    path, dataset = open_images("f4", [1.0], storage="zip")
    with pytest.raises(SampleFormatError, match=r"'images' has storage 'zip', expected varsize_image_buffer, image_f"):
        read_images(path, dataset, [0])


def test_damage_inside_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("quats", data=RNG.normal(size=(1000, 4)), chunks=(1000, 4), compression="gzip")
        place = file["quats"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 100 : place + 400] = bytes(300)
    path.write_bytes(data)
    with h5py.File(path) as file, pytest.raises(SampleFormatError, match=r"damaged\.h5.*'quats', rows 0 to 4 can't"):
        dshdf5.read_slice(path, file["quats"], 0, 5)


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_what_is_no_hdf5_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(SampleFormatError, match=r"a\.h5: not a complete HDF5 file"):
        dshdf5.open_file(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("name", "what"),
    [("x.onnx", "a model: `ttc check-model`"), ("x.CKPT", "a checkpoint"), ("x.zip", "an archive: `ttc convert`")],
)
def test_files_of_other_kinds_are_told_what_they_are(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(SampleFormatError, match=rf"{name}: isn't a sample file \(\.h5\), but by its name {what}"):
        dshdf5.open_file(tmp_path / name)


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SampleFormatError, match=r"b\.h5: no such file.*ttc convert"):
        dshdf5.open_file(tmp_path / "b.h5")
    with pytest.raises(SampleFormatError, match=r": is a folder; give the sample file in it, or those of all shards"):
        dshdf5.open_file(tmp_path)


@pytest.mark.parametrize("value", ["img", b"img", np.bytes_(b"img"), np.array([b"img"]), np.array(["img"], object)])
def test_attributes_are_read_in_every_spelling(tmp_path: Path, value: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.create("category", value, dtype=h5py.string_dtype() if getattr(value, "dtype", 0) == "O" else None)
        file.attrs["empty"] = h5py.Empty("S1")
    with h5py.File(tmp_path / "a.h5") as file:
        assert dshdf5.text_attribute(file, "category") == "img"
        assert dshdf5.text_attribute(file, "empty") == ""
        assert dshdf5.text_attribute(file, "absent") == ""


def test_a_file_that_another_program_holds_open_is_read(
    write_file: Callable[..., Path], make_sample: Callable[..., Sample]
) -> None:
    """Some network drives know no locks at all, which looked like damage."""
    fcntl = pytest.importorskip("fcntl")
    path = write_file([make_sample(seed) for seed in range(3)])
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert len(Hdf5PoseDataset(path)) == 3
