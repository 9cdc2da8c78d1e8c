"""dscheck finds every kind of fault in its row, and nothing in what is right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from trackertraincode.datasets.checks import CHUNK_ROWS, check_file, head_model_for
from trackertraincode.datasets.row_checks import Fault, decode_size
from trackertraincode.datasets.statistics import describe, summarize
from trackertraincode.errors import ModelFileError, SampleFormatError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.sample.images import Size, encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample

COUNT = 6


@pytest.fixture(scope="module")
def faces() -> list[Sample]:
    """Small synthetic faces with every label."""
    return [make_face(Request(COUNT, 64, 0, "hdf5"), i).sample for i in range(COUNT)]


@pytest.fixture
def damaged(faces: list[Sample], write_file: Callable[..., Path]) -> Callable[..., list[Fault]]:
    """damaged(change, **options): the faults of a file of faces after change(h5py file)."""

    def check(change: Callable[[h5py.File], object] = lambda file: None, **options: Any) -> list[Fault]:
        path = write_file(faces)
        with h5py.File(path, "a") as file:
            change(file)
        return list(check_file(path, **{"face_model": embedded_head, **options}))

    return check


def put(name: str, row: int, value: object) -> Callable[[h5py.File], None]:
    """A change of one row, or with a tuple of one number."""

    def change(file: h5py.File) -> None:
        file[name][row] = value

    return change


def times(name: str, row: int, factor: float, plus: float = 0.0) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][row] = file[name][row] * factor + plus

    return change


def cut(name: str, row: int, keep: float) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        data = file[name][row]
        file[name][row] = data[: int(len(data) * keep)]

    return change


@pytest.mark.parametrize("workers", [0, 3])
def test_synthetic_faces_are_clean(damaged: Callable[..., list[Fault]], workers: int) -> None:
    assert damaged(workers=workers) == []


NAN = float("nan")
TURNED = np.array([0, 0.5**0.5, 0, 0.5**0.5], np.float32)
BYTES = np.frombuffer(b"GIF89a of old", np.uint8)


@pytest.mark.parametrize(
    ("change", "row", "field", "message"),
    [
        (times("quats", 2, 1.1), 2, "quats", "norm 1.1000, expected 1"),
        (put("quats", 5, 0.0), 5, "quats", "norm 0.0000"),
        (put("quats", 1, [0, NAN, 0, 1]), 1, "quats", "1 of 4 numbers are NaN or infinite"),
        (put("coords", 0, [NAN, 3, 4]), 0, "coords", "1 of 3 numbers are NaN"),
        (put("coords", 3, [30, 30, -2]), 3, "coords", "head radius -2.00, expected more than 0"),
        (put("coords", 3, [30, 30, 0]), 3, "coords", "head radius 0.00"),
        (put("rois", 4, [30, 20, 30, 40]), 4, "rois", "box [30.0, 20.0, 30.0, 40.0] has no area"),
        (put("rois", 4, [0, 0, np.inf, 40]), 4, "rois", "1 of 4 numbers are NaN or infinite"),
        (put("rois", 1, [200, 20, 230, 40]), 1, "rois", "far outside of the image of 64 × 64 pixels"),
        (put("rois", 1, [20, -90, 30, -60]), 1, "rois", "far outside"),
        (put("rois", 1, [-200, -200, 264, 264]), 1, "rois", "is more than 4 times as large as the image of 64 × 64"),
        (times("pt2d_68", 3, 1, 500), 3, "pt2d_68", "far outside"),
        (put("shapeparams", 2, [0] * 49 + [NAN]), 2, "shapeparams", "1 of 50 numbers"),
        (put("pt3d_68", 0, np.full((68, 3), [5, NAN, 1])), 0, "pt3d_68", "68 of 204 numbers"),
        (times("pt3d_68", 1, 1, 8), 1, "pt3d_68", "expected at most 0.2"),
        (put("quats", 2, TURNED), 2, "pt3d_68", "head radii from where pose and coefficients of embedded-v1 put them"),
        (put("images", 4, BYTES), 4, "images", "holds 13 bytes that aren't a JPEG or PNG file"),
        (cut("images", 3, 0.6), 3, "images", "cut off before the end"),
        (cut("images", 3, 0.02), 3, "images", "bytes"),
        (cut("semseg", 2, 0.3), 2, "semseg", "not a readable 8 bit label image"),
        (put("semseg", 2, np.frombuffer(encode_png(np.zeros((9, 7), "u1")), "u1")), 2, "semseg", "(7, 9) pixels, exp"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_row_is_named(
    damaged: Callable[..., list[Fault]],
    change: Callable[[h5py.File], None],
    row: int,
    field: str,
    message: str,
    workers: int,
) -> None:
    faults = damaged(change, workers=workers)
    assert {fault.row for fault in faults} == {row}
    assert any(field in str(fault) and message in str(fault) for fault in faults), [str(f) for f in faults]


def test_every_bad_row_is_named(damaged: Callable[..., list[Fault]]) -> None:
    def change(file: h5py.File) -> None:
        for row in (0, 2, 5):
            times("quats", row, 2.0)(file)
        cut("images", 2, 0.5)(file)
        put("rois", 4, [0, 0, 0, 0])(file)

    faults = damaged(change)
    assert [(f.row, f.field) for f in faults] == [
        (0, "quats"), (2, "images"), (2, "quats"), (4, "rois"), (5, "quats"),
    ]  # fmt: skip
    assert str(faults[0]) == "row 0: quats: norm 2.0000, expected 1"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_whose_squares_float32_has_no_room_for_are_checked_and_described(
    faces: list[Sample], write_file: Callable[..., Path]
) -> None:
    path = write_file(faces)
    with h5py.File(path, "a") as file:
        file["coords"][:] = 3e38
    assert {fault.row for fault in check_file(path, embedded_head)} == set(range(COUNT))
    assert "size, pixels" in describe(summarize(path))


def delete(*names: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return change


def replaced(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (delete("images"), "no field 'images'"),
        (replaced("quats", np.zeros((COUNT, 3))), "'quats' has shape (6, 3), expected (6, 4)"),
        (replaced("coords", np.zeros((COUNT - 1, 3))), "'coords' has shape (5, 3), expected (6, 3)"),
        (replaced("rois", np.array([[b"x"] * 4] * COUNT)), "'rois' has type"),
        (replaced("sequence_starts", np.array([0, 4])), "'sequence_starts' must"),
        (replaced("semseg", np.zeros(COUNT - 2)), "semseg: 4 rows, expected 6"),
    ],
    ids=["images", "shape", "count", "type", "starts", "semseg"],
)
def test_a_broken_structure_is_one_fault_of_the_file(
    damaged: Callable[..., list[Fault]], change: Callable[[h5py.File], None], message: str
) -> None:
    (fault,) = damaged(change)
    assert fault.row is None
    assert message in str(fault)


def test_absent_labels_and_unknown_depths_are_fine(damaged: Callable[..., list[Fault]]) -> None:
    def change(file: h5py.File) -> None:
        file["quats"][1] = np.nan
        file["rois"][2] = np.nan
        file["pt3d_68"][3] = np.nan
        depths = file["pt3d_68"][4]
        depths[:, 2] = np.nan
        file["pt3d_68"][4] = depths
        file["individual"][5] = -1

    assert damaged(change) == []


def test_a_common_shift_of_depths_is_fine(damaged: Callable[..., list[Fault]]) -> None:
    def change(file: h5py.File) -> None:
        file["pt3d_68"][:, :, 2] += 9.0

    assert damaged(change) == []


def test_damaged_label_chunks_and_missing_files_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = [b"there.png", b"missing.png"]
        file["images"].attrs["storage"] = "image_filename"
    (tmp_path / "there.png").write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    (fault,) = check_file(tmp_path / "a.h5")
    assert fault.row == 1
    assert "names 'missing.png'" in fault.message


def test_rows_beyond_one_chunk_keep_their_numbers(tmp_path: Path) -> None:
    count = 2 * CHUNK_ROWS + 5
    quats = np.tile(np.array([0, 0, 0, 1], np.float32), (count, 1))
    quats[[CHUNK_ROWS, count - 1]] = 0
    image = np.frombuffer(encode_png(np.zeros((2, 2), np.uint8)), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["quats"] = quats
        images = file.create_dataset("images", (count,), dtype=h5py.vlen_dtype(np.uint8))
        for row in range(count):
            images[row] = image
    seen: list[tuple[int, int]] = []
    faults = list(check_file(tmp_path / "a.h5", progress=lambda done, total: seen.append((done, total))))
    assert [f.row for f in faults] == [CHUNK_ROWS, count - 1]
    assert seen == [(CHUNK_ROWS, count), (2 * CHUNK_ROWS, count), (count, count)]


def test_an_empty_file_is_a_fault(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (0,), dtype=h5py.vlen_dtype(np.uint8))
    assert [str(f) for f in check_file(tmp_path / "a.h5")] == ["images: no rows"]


def test_what_is_no_file_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleFormatError, match=r"a\.h5: no such file"):
        list(check_file(tmp_path / "a.h5"))


def test_an_image_is_decoded_to_its_end() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8)
    for data in (encode_jpeg(image), encode_png(image)):
        assert decode_size(data) == Size(30, 40)
        assert decode_size(data + b"  padding") == Size(30, 40)
        for length in (len(data) - 3, len(data) // 2, 12, 0):
            assert isinstance(decode_size(data[:length]), str)


def test_the_model_of_the_file_is_taken(
    faces: list[Sample], write_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATADIR", raising=False)
    assert head_model_for(write_file(faces), None) == (embedded_head, "")
    model, left_out = head_model_for(write_file(faces, face_model="bfm_noneck_v3"), None)
    assert model is None
    assert "that needs bfm_noneck_v3, given as --face-model" in left_out
    with pytest.raises(ModelFileError, match="missing"):  # where it isn't needed, too
        head_model_for(write_file(faces), Path("missing.pkl"))


def test_real_labels_agree_with_the_face_model_and_bad_ones_do_not(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "300wlp" / "300wlp_reference_output.h5"
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    image = encode_png(np.zeros((450, 450), np.uint8))
    with h5py.File(path, "a") as file:
        for name in file["images"][...]:
            (tmp_path / name.decode()).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name.decode()).write_bytes(image)
        model, left_out = head_model_for(path, shared_data / "facemodel" / "bfm_noneck_v3.pkl")
        assert left_out == ""
    assert list(check_file(path, model)) == []
    with h5py.File(path, "a") as file:
        file["quats"][7] = file["quats"][30]
    (fault,) = check_file(path, model)
    assert (fault.row, fault.field) == (7, "pt3d_68")
