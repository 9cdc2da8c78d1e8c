"""Files of every kind open, in any process; broken ones are refused with their file, field and row."""

import json
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from close import assert_samples_equal, known
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import SampleFormatError
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import FIELDS, LABELS, Sample
from trackertraincode.workers import MORE_THAN_CORES

RNG = np.random.default_rng(0)
LABEL_DTYPES = ["f2", "f4", "f8"]


def test_index_slice_batch_and_stream_agree(full_sample: Callable, write_file: Callable) -> None:
    path = write_file([full_sample(i) for i in range(9)])
    dataset = Hdf5PoseDataset(path)
    singles = [dataset[i] for i in range(9)]
    for many, rows in (
        (dataset[2:7:2], [2, 4, 6]),
        (dataset[::-1], list(range(9))[::-1]),
        (dataset.samples([8, 0, 8]), [8, 0, 8]),
        (dataset.__getitems__([3, 1]), [3, 1]),
        (list(dataset.stream([5, 0, 5])), [5, 0, 5]),
        ([dataset[-1], dataset[np.int64(3)]], [8, 3]),  # type: ignore[call-overload]
    ):
        assert len(many) == len(rows)
        for sample, row in zip(many, rows):
            assert_samples_equal(sample, singles[row])
    images, labels = dataset.batch([4, 2])
    assert images == [singles[4].image, singles[2].image]
    assert set(labels) == set(LABELS)
    assert np.array_equal(labels["landmarks"][1], known(singles[2].landmarks))
    for wrong in (9, -10):
        with pytest.raises(IndexError, match=rf"row {wrong} of .*a\.h5, which has 9 rows"):
            dataset[wrong]


def test_whitelist_limits_what_is_read(full_sample: Callable, write_file: Callable) -> None:
    path = write_file([full_sample(0)])
    few = Hdf5PoseDataset(path, labels=["rotation", "head"])
    assert set(few.labels) == {"rotation", "head"}
    assert few[0].landmarks is None
    assert few[0].segmentation is None
    assert Hdf5PoseDataset(path, labels=["segmentation"])[0].segmentation is not None
    with pytest.raises(SampleFormatError, match=r"no label is called 'rotatoin'; choose among rotation, head"):
        Hdf5PoseDataset(path, labels=["rotatoin"])


def test_a_dataset_is_one_of_torch_and_can_be_pickled_while_open(full_sample: Callable, write_file: Callable) -> None:
    dataset = Hdf5PoseDataset(write_file([full_sample(i) for i in range(3)]))
    assert isinstance(dataset, TorchDataset)
    before = dataset[1]
    copy = pickle.loads(pickle.dumps(dataset))
    assert_samples_equal(copy[1], before)
    dataset.close()
    assert_samples_equal(dataset[1], before)
    with Hdf5PoseDataset(dataset.path) as again:
        assert_samples_equal(again[1], before)


def first_of(samples: list[Sample]) -> list[tuple[int, bytes]]:
    return [(s.individual or 0, bytes(s.image)) for s in samples]


@pytest.mark.filterwarnings(f"ignore:{MORE_THAN_CORES}")  # where there is one
@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_worker_processes_read_the_same_even_after_the_parent_has_read(
    full_sample: Callable, write_file: Callable, start_method: str
) -> None:
    if start_method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system can't {start_method}")
    dataset = Hdf5PoseDataset(write_file([full_sample(i) for i in range(24)]))
    expected = first_of(dataset[:])  # opens the file, which a fork would share
    loader = DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=list, multiprocessing_context=start_method)
    for _ in range(2):
        assert [row for batch in loader for row in first_of(batch)] == expected
    assert first_of(dataset[:]) == expected


@pytest.mark.parametrize("dtype", LABEL_DTYPES)
def test_labels_of_every_width_are_read_as_float32(plain_file: Callable[..., Path], dtype: str) -> None:
    quats = RNG.normal(size=(4, 4))
    values = {
        "quats": quats / np.linalg.norm(quats, axis=1, keepdims=True),
        "coords": RNG.uniform(0, 100, (4, 3)),
        "rois": RNG.uniform(0, 100, (4, 4)),
        "pt3d_68": RNG.normal(0, 50, (4, 68, 3)),
        "pt2d_68": RNG.normal(0, 50, (4, 68, 2)),
        "shapeparams": RNG.normal(0, 1, (4, 50)),
    }
    dataset = Hdf5PoseDataset(plain_file(**{k: v.astype(dtype) for k, v in values.items()}))
    values["coords"][:, :2] += 0.5  # points and heads are stored from the centre of the first pixel
    values["pt3d_68"][..., :2] += 0.5
    values["pt2d_68"] += 0.5
    assert {v.dtype for v in dataset.labels.values()} == {np.dtype(np.float32)}
    for name, stored in values.items():
        read = dataset.labels[FIELDS[name].attribute]
        tolerance = {"f2": 1e-3 * max(1, np.abs(stored).max()), "f4": 1e-5, "f8": 1e-5}[dtype]
        assert read == pytest.approx(stored, abs=tolerance)
    assert np.linalg.norm(dataset.labels["rotation"].astype(float), axis=1) == pytest.approx(1, abs=1e-6)


def test_unit_quaternions_stay_as_stored_beside_rounded_ones(plain_file: Callable[..., Path]) -> None:
    quats = RNG.normal(size=(4, 4))
    quats = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype("f4")
    quats[2] *= np.float32(1.003)
    read = Hdf5PoseDataset(plain_file(quats=quats)).labels["rotation"]
    assert np.array_equal(read[[0, 1, 3]], quats[[0, 1, 3]])
    assert np.linalg.norm(read[2]) == pytest.approx(1, abs=1e-6)


def test_quantised_labels_of_old_files_are_read(plain_file: Callable[..., Path]) -> None:
    path = plain_file()
    points = RNG.uniform(-30, 80, (4, 68, 2))
    record = [("shape", "i4", (2,)), ("minval", "f4"), ("maxval", "f4"), ("buffer", h5py.vlen_dtype(np.uint8))]
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset("pt2d_68", (4,), dtype=np.dtype(record))
        dataset.attrs["storage"] = "varsize_array_buffer"
        for row, value in enumerate(points):
            low, high = value.min(), value.max()
            levels = ((value - low) / (high - low + 1) * 256).astype(np.uint8).ravel()
            dataset[row] = ((68, 2), low, high, levels)
    dataset = Hdf5PoseDataset(path)
    points += 0.5  # from the corner
    assert dataset.labels["landmarks_2d"] == pytest.approx(points, abs=0.5)
    assert dataset.labels["landmarks_2d"].dtype == np.float32
    assert next(Hdf5PoseDataset(path).stream([2])).landmarks_2d == pytest.approx(points[2], abs=0.5)
    with h5py.File(path, "a") as file:
        file["pt2d_68"][1] = ((2, 2), 0.0, 1.0, np.zeros(4, np.uint8))
    with pytest.raises(SampleFormatError, match=r"tiny\.h5: field 'pt2d_68', row 1 has shape \(2, 2\), expected"):
        Hdf5PoseDataset(path)


@pytest.mark.parametrize("category", ["q", b"q", "", b"", None, h5py.Empty("S1")])
def test_the_name_decides_whatever_the_category_says(plain_file: Callable[..., Path], category: Any) -> None:
    path = plain_file()
    with h5py.File(path, "a") as file:
        file["unknown"] = np.zeros(17)
        file.create_group("quats_of_others")
        if category is not None:
            file["quats"].attrs["category"] = category
        stored = file["quats"][...]
    dataset = Hdf5PoseDataset(path)
    assert sorted(dataset.fields) == ["head", "image", "rotation"]
    assert dataset.labels["rotation"] == pytest.approx(stored, abs=1e-6)


def test_legacy_names_are_understood(plain_file: Callable[..., Path]) -> None:
    path = plain_file()
    with h5py.File(path, "a") as file:
        file.move("images", "keys")
        file["seg_image"] = file["keys"]
    with Hdf5PoseDataset(path) as dataset:
        assert set(dataset.fields) == {"image", "rotation", "head", "segmentation"}
        assert dataset[2].segmentation == dataset[2].image
    with h5py.File(path, "a") as file:
        file["images"] = file["keys"]
    with pytest.raises(SampleFormatError, match=r"tiny\.h5: fields 'images' and 'keys' mean the same"):
        Hdf5PoseDataset(path)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(None, "bfm_noneck_v3"), ("", "bfm_noneck_v3"), (b"embedded-v1", "embedded-v1"), ("embedded-v1", "embedded-v1")],
)
def test_coefficients_without_a_model_are_of_bfm(plain_file: Callable, stated: Any, expected: str) -> None:
    path = plain_file(shapeparams=np.zeros((4, 50), "f2"))
    with h5py.File(path, "a") as file:
        if stated is not None:
            file["shapeparams"].attrs["face_model"] = stated
    assert Hdf5PoseDataset(path).face_model == expected


def test_flags_and_persons_are_python_values(plain_file: Callable[..., Path]) -> None:
    path = plain_file(hasface=np.array([0, 1, 1, 0], np.uint8), individual=np.array([3, -1, 5, 3], np.int32))
    samples = Hdf5PoseDataset(path)[:]
    assert [s.has_face for s in samples] == [False, True, True, False]
    assert all(type(s.has_face) is bool for s in samples)
    assert [s.individual for s in samples] == [3, None, 5, 3]


@pytest.mark.parametrize("source", [None, "made by hand", json.dumps({"converter": "x"}), "[1, 2]"])
def test_sources_of_any_kind_are_read(plain_file: Callable[..., Path], source: str | None) -> None:
    path = plain_file()
    with h5py.File(path, "a") as file:
        if source is not None:
            file.attrs["source"] = source
    expected = {None: {}, json.dumps({"converter": "x"}): {"converter": "x"}}.get(source, {"description": source})
    assert Hdf5PoseDataset(path).source == expected


NOT_UNIT = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]], "f4")
HALF_NAN = np.array([[0, 0, 0, 1], [np.nan] * 4, [0, 0, 0, 1], [np.nan, 0, 0, 1]], "f4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, r"tiny\.h5: no field 'images' \(there are: coords, quats\); convert the archive again"),
        ({"images": np.zeros((4, 8, 8), "u1")}, r"'images' has shape \(4, 8, 8\), expected \(N,\)"),
        ({"quats": NOT_UNIT}, r"'quats', row 2 \(of 2 bad rows\) has norm 1\.414, expected 1"),
        ({"quats": HALF_NAN}, r"'quats', row 3 \(of 1 bad rows\) has norm nan, expected 1"),
        ({"quats": np.zeros((4, 3))}, r"'quats' has shape \(4, 3\), expected \(4, 4\)"),
        ({"coords": np.zeros((5, 3))}, r"'coords' has shape \(5, 3\), expected \(4, 3\) \(4 images\)"),
        ({"rois": np.array([[b"a"] * 4] * 4)}, r"'rois' has type \|S1, expected float32 numbers"),
        ({"pt3d_68": np.zeros((4, 68, 2))}, r"'pt3d_68' has shape .* expected \(4, 68, 3\)"),
        ({"sequence_starts": [0, 3]}, r"'sequence_starts' must be whole.* to the number of rows, 4; found \[0, 3\]"),
        ({"sequence_starts": [1, 4]}, r"'sequence_starts' must"),
        ({"sequence_starts": [0, 3, 2, 4]}, r"'sequence_starts' must"),
        ({"sequence_starts": np.zeros(0, int)}, r"'sequence_starts' must"),
        ({"sequence_starts": [0.0, 4.0]}, r"'sequence_starts' must.*found float64 \(2,\)"),
        ({"sequence_starts": [[0, 4]]}, r"'sequence_starts' must"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_broken_files_are_refused(plain_file: Callable[..., Path], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SampleFormatError, match=message) as caught:
        Hdf5PoseDataset(plain_file(**changes))
    assert "tiny.h5" in str(caught.value)


def test_a_bad_quaternion_is_named_by_its_row_when_streamed(plain_file: Callable[..., Path]) -> None:
    path = plain_file(quats=NOT_UNIT)
    with pytest.raises(SampleFormatError, match=r"tiny\.h5: field 'quats', row 3 \(of 1 bad rows\)"):
        list(Hdf5PoseDataset(path, labels=()).stream([0, 3]))


def test_the_real_file_of_a_published_tool_opens(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "300wlp" / "300wlp_reference_output.h5"
    dataset = Hdf5PoseDataset(source)
    assert len(dataset) == 37
    assert sorted(dataset.labels) == ["face_box", "head", "landmarks", "rotation", "shape"]
    assert dataset.face_model == "bfm_noneck_v3"
    assert dataset.sequence_starts is not None
    assert len(dataset.sequence_starts) == 3
    with h5py.File(source) as file:
        names = [name.decode() for name in file["images"][...]]
        assert np.array_equal(dataset.labels["landmarks"], file["pt3d_68"][...] + np.array([0.5, 0.5, 0], np.float32))
    with pytest.raises(SampleFormatError, match=rf"300wlp_reference_output\.h5: .*'images', row 5 names '{names[5]}"):
        dataset[5]
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    for row, name in enumerate(names):
        target = copy.with_suffix("") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_png(np.full((4, 4 + row), row, np.uint8)))
    samples = Hdf5PoseDataset(copy)[:]
    assert [s.sequence for s in samples][:: len(samples) - 1] == ["0", "1"]
    assert all(np.array_equal(known(s.rotation), q) for s, q in zip(samples, dataset.labels["rotation"]))
