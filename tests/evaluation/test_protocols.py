"""Protocols keep the rows that they say, and turn predictions as they say."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from conftest import write_samples
from trackertraincode.datasets.catalog import DATASETS
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation.alignment import align, opal, right
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.predictor import load_predictor, mean_quaternion
from trackertraincode.evaluation.protocols import GRIMACES, PROTOCOLS, aflw_rows
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.geometry.rotation import (
    geodesic_angle,
    matrix_to_quat,
    quat_geodesic_angle,
    quat_to_matrix,
    random_quats,
    rotvec_to_matrix,
)
from trackertraincode.sample.sample import Prediction, Sample


def test_the_mean_quaternion_ignores_signs() -> None:
    q = random_quats(10, torch.Generator().manual_seed(0))
    assert quat_geodesic_angle(mean_quaternion([q, -q, q]), q).max() < 1e-3


ANGLES = torch.tensor(  # degrees
    [[0.0, 80.0, 98.9], [0.0, 0.0, 100.0], [-99.5, 0.0, 0.0], [0.0, 0.0, 0.0], [195.9, -95.5, -200.8], [99.0, 0.0, 0.0]]
)


@pytest.fixture
def angled(tmp_path: Path, make_sample: Callable[..., Sample]) -> Callable[..., Hdf5PoseDataset]:
    """angled(stored): a file with the rotations of ANGLES, row 3 with a negative size; stored: whether a row has angles."""

    def make(stored: Callable[[int], bool]) -> Hdf5PoseDataset:
        path = tmp_path / "a.h5"
        with PoseWriter(path, source={}, face_model="embedded-v1", optional=("stored_angles",)) as writer:
            for i, quat in enumerate(matrix_to_quat(aflw_to_matrix(torch.deg2rad(ANGLES))).numpy()):
                head = np.array([40.0, 40.0, -5.0 if i == 3 else 20.0], np.float32)
                angles = ANGLES[i].numpy() if stored(i) else None
                writer.write(make_sample(i, rotation=quat, head=head, stored_angles=angles))
        return Hdf5PoseDataset(path)

    return make


def test_rows_beyond_99_degrees_and_negative_sizes_are_left_out(angled: Callable[..., Hdf5PoseDataset]) -> None:
    """Row 4 is AFLW2000-3D's image00091, whose rotation has angles of (15.9, -84.5, -20.8) degrees too."""
    assert aflw_rows(angled(lambda row: True)).tolist() == [0]
    assert aflw_rows(angled(lambda row: row != 4)).tolist() == [0, 4]
    assert aflw_rows(angled(lambda row: False)).tolist()[:2] == [0, 4]


def test_a_file_without_the_archives_angles_is_marked(angled: Callable[..., Hdf5PoseDataset], checkpoint: Path) -> None:
    model = load_predictor(checkpoint)
    for stored, mark in ((True, []), (False, ["rows chosen by the rotations' angles"])):
        options = EvaluationOptions(file=angled(lambda row, stored=stored: stored).path, progress=False)
        marks = evaluate(model, "aflw2k3d-landmarks", options).row()["marks"]
        assert [m.split(",")[0] for m in marks] == mark


def test_boxes_of_the_mean_face_are_marked_where_the_protocol_wants_each_shape(
    faces: Path, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copy(faces, tmp_path / "bare.h5")
    with h5py.File(tmp_path / "bare.h5", "a") as file:
        del file["shapeparams"]
    model, marks = load_predictor(checkpoint), {}
    for path in (faces, tmp_path / "bare.h5"):
        for name in ("aflw2k3d", "aflw2k3d-published"):
            row = evaluate(model, name, EvaluationOptions(file=path, progress=False)).row()
            marks[path.stem, name] = [mark for mark in row["marks"] if "mean face" in mark]
    assert marks.pop(("bare", "aflw2k3d")) != []
    assert not any(marks.values())


def test_alignment_takes_out_constant_turns() -> None:
    true = quat_to_matrix(random_quats(30, torch.Generator().manual_seed(0)).double())
    turn = rotvec_to_matrix(torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64))
    assert geodesic_angle(opal(turn @ true, true), true).max() < 1e-6
    assert geodesic_angle(right(true @ turn, true), true).max() < 1e-6
    assert geodesic_angle(opal(true @ turn, true), true).max() > 0.1


@pytest.mark.parametrize("offset", [(100.0, 0.0), (0.0, -100.0)])
def test_perspective_alignment_turns_by_the_viewing_ray(
    tmp_path: Path, make_sample: Callable[..., Sample], offset: tuple[float, float]
) -> None:
    """9.63 degrees at 100 px off the centre of 640 × 480 px, along either axis, with a field of view of 57 degrees."""
    write_samples(tmp_path / "a.h5", [make_sample(0, image=np.zeros((480, 640), np.uint8))])
    head = torch.tensor([[320.0 + offset[0], 240.0 + offset[1], 50.0]])
    answer = Prediction(rotation=torch.tensor([[0.0, 0.0, 0.0, 1.0]]), head=head)
    turned = align(answer, answer, Hdf5PoseDataset(tmp_path / "a.h5"), np.arange(1), "perspective", 57.0)
    assert torch.rad2deg(quat_geodesic_angle(turned, answer.rotation)).item() == pytest.approx(9.63, abs=0.005)


def test_alignment_needs_a_camera(faces: Path) -> None:
    dataset = Hdf5PoseDataset(faces)
    answer = Prediction(rotation=random_quats(2), head=torch.ones(2, 3))
    with pytest.raises(EvaluationError, match="perspective: this protocol's images have no known camera"):
        align(answer, answer, dataset, np.arange(2), "perspective", None)


def test_grimaces_need_the_whole_archive(faces: Path, checkpoint: Path) -> None:
    assert len(set(GRIMACES)) == len(GRIMACES)
    with pytest.raises(EvaluationError, match=r"aflw2k\.h5: has 70 rows; the grimaces are numbered in all 2000"):
        evaluate(load_predictor(checkpoint), "aflw2k3d-grimaces", EvaluationOptions(file=faces))


def test_published_names_of_protocols_are_known(faces: Path, checkpoint: Path) -> None:
    with pytest.raises(EvaluationError, match="the grimaces are numbered in all 2000"):
        evaluate(load_predictor(checkpoint), "aflw2k3d_grimaces", EvaluationOptions(file=faces))
    with pytest.raises(
        EvaluationError, match=r"protocol 'repro_300wlp' is unknown; choose among repro_300_wlp, .*\.h5"
    ):
        evaluate(load_predictor(checkpoint), "repro_300wlp", EvaluationOptions())


def test_every_protocol_has_a_known_data_set() -> None:
    assert {p.dataset for p in PROTOCOLS.values()} <= set(DATASETS)


def test_frames_off_by_more_than_a_quarter_turn_have_no_part_in_the_constant_turn() -> None:
    true = quat_to_matrix(random_quats(9, torch.Generator().manual_seed(0)).double())
    predicted = rotvec_to_matrix(torch.tensor([0.1, 0.2, 0.0], dtype=torch.float64)) @ true
    predicted[0] = rotvec_to_matrix(torch.tensor([0.0, 2.5, 0.0], dtype=torch.float64)) @ true[0]
    assert geodesic_angle(opal(predicted, true), true)[1:].max() < 1e-6
