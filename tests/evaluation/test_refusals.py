"""What can't be evaluated is said in one line before anything is computed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conftest import write_samples
from trackertraincode.commands import run
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import EvaluationError, SampleFormatError, UserError
from trackertraincode.evaluation.alignment import align
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.predictor import Ensemble
from trackertraincode.evaluation.stability_faces import Faces, faces_of_file
from trackertraincode.export.calibration import calibration_crops
from trackertraincode.models.pose_network import NetworkConfig
from trackertraincode.sample.images import encode_jpeg
from trackertraincode.sample.sample import Prediction, Sample

GREY: Any = SimpleNamespace(path="grey.ckpt", name="grey", input_size=65, channels=1)
COLOUR: Any = SimpleNamespace(path="colour.ckpt", name="colour", input_size=129, channels=3)
ASIDE = np.array([0.0, np.sin(np.radians(60)), 0.0, np.cos(np.radians(60))], np.float32)  # 120 degrees of yaw

Make = Callable[..., Sample]


def test_an_ensemble_sees_one_kind_of_crops() -> None:
    with pytest.raises(EvaluationError, match=r"colour\.ckpt takes 3 × 129² crops, grey\.ckpt 1 × 65²"):
        Ensemble([GREY, COLOUR])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ds", "aflw2k3d-landmarks+biwi"], r"a\.h5: one file can't be aflw2k and biwi; give --ds names of one"),
        (
            ["--ds", "aflw2k3d", "--comprehensive-roi", "--roi-expansion", "1.4"],
            "has crop factors of its own; leave out --roi-expansion",
        ),
        (
            ["--ds", "aflw2k3d+aflw2k3d-6drepnet", "--comprehensive-roi"],
            "protocol aflw2k3d-6drepnet has a crop of its own; leave out --comprehensive-roi",
        ),
        (
            ["--ds", "+".join(["nothing.h5"] * 40) + "+nothing"],
            "protocol 'nothing' is unknown",
        ),  # longer than names are
    ],
)
def test_options_that_exclude_each_other(words: list[str], message: str, tmp_path: Path, make_sample: Make) -> None:
    path = write_samples(tmp_path / "a.h5", [make_sample(0)])
    with pytest.raises(UserError, match=message):
        run(["evaluate", "--data", str(path), *words])


def test_an_order_that_is_unknown_is_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["evaluate", "--ds", "aflw2k3d", "model.onnx", "--vis", "rots"])
    assert "--vis rots: choose one of rot, kpts, none, size" in capsys.readouterr().err


def test_crops_are_no_frames_of_a_camera(tmp_path: Path, make_sample: Make) -> None:
    image = encode_jpeg(np.zeros((64, 64), np.uint8))
    path = write_samples(tmp_path / "a.h5", [make_sample(0, image=image)])
    with Hdf5PoseDataset(path) as dataset:
        truth = Prediction(head=torch.zeros(1, 3), rotation=torch.eye(4)[3:])
        with pytest.raises(
            EvaluationError, match=r"a\.h5: images of 64 × 64 are no whole frames of this protocol's camera"
        ):
            align(truth, truth, dataset, np.arange(1), "perspective", 57.0)


def test_a_protocol_that_keeps_no_row(tmp_path: Path, make_sample: Make) -> None:
    path = write_samples(tmp_path / "a.h5", [make_sample(0, rotation=ASIDE, stored_angles=None)])
    options = EvaluationOptions(file=path, progress=False)
    with pytest.raises(EvaluationError, match=r"a\.h5: protocol aflw2k3d-landmarks keeps none of its 1 rows"):
        evaluate(GREY, "aflw2k3d-landmarks", options)
    with pytest.raises(EvaluationError, match=r"a\.h5: none of its 1 rows has both a pose within ±99° and a box"):
        faces_of_file(path, 1)


def test_a_row_without_a_box(tmp_path: Path, make_sample: Make) -> None:
    samples = [make_sample(0), make_sample(1, face_box=None)]
    path = write_samples(tmp_path / "a.h5", samples, optional=("face_box",))
    with pytest.raises(EvaluationError, match=r"a\.h5: row 1 \(of 1\) has no box for protocol pointing04"):
        evaluate(GREY, "pointing04", EvaluationOptions(file=path, progress=False))


@pytest.mark.parametrize("box", [[200, 200, 100, 100], [50, 50, 50, 90]], ids=["swapped", "empty"])
def test_a_box_without_an_area(tmp_path: Path, make_sample: Make, box: list[float]) -> None:
    samples = [make_sample(0), make_sample(1, face_box=np.array(box, np.float32), landmarks=None)]
    path = write_samples(tmp_path / "a.h5", samples, optional=("landmarks",))
    with pytest.raises(
        EvaluationError, match=r"a\.h5: row 1 \(of 1\) has an empty box, or one with swapped corners, for"
    ):
        evaluate(GREY, "pointing04", EvaluationOptions(file=path, progress=False))
    path = write_samples(tmp_path / "b.h5", [samples[1]])
    with pytest.raises(EvaluationError, match=r"b\.h5: row 0: its box .* is empty, or has swapped corners"):
        faces_of_file(path, 1)
    with pytest.raises(SampleFormatError, match=r"b\.h5: has 0 faces with boxes to calibrate with"):
        calibration_crops(str(path), NetworkConfig())


def test_a_box_beside_the_image(tmp_path: Path, make_sample: Make) -> None:
    beside = np.array([9e3, 10, 91e2, 90], np.float32)
    path = write_samples(tmp_path / "a.h5", [make_sample(i, face_box=beside, landmarks=None) for i in range(16)])
    with pytest.raises(
        SampleFormatError, match=r"a\.h5: row 0: its crop, .*, shows nothing of the image, .*`ttc check`"
    ):
        evaluate(COLOUR, "pointing04", EvaluationOptions(file=path, workers=0, progress=False))
    with pytest.raises(
        SampleFormatError, match=r"a\.h5: row 0: its crop, .*, shows nothing of the image, .*`ttc check`"
    ):
        calibration_crops(str(path), NetworkConfig())


def test_a_row_whose_box_has_nothing_to_do_with_its_image(tmp_path: Path, make_sample: Make) -> None:
    """Within memory: its crop would take 3 GB."""
    huge = np.array([-9e3, 10, 9e3, 9e3], np.float32)
    samples = [make_sample(0), make_sample(1, face_box=huge, landmarks=None)]
    path = write_samples(tmp_path / "a.h5", samples, optional=("landmarks",))
    with pytest.raises(
        SampleFormatError, match=r"a\.h5: row 1: its crop would have 19800 × 19800 pixels, .*`ttc check`"
    ):
        evaluate(COLOUR, "pointing04", EvaluationOptions(file=path, workers=0, progress=False))
    path = write_samples(tmp_path / "b.h5", [make_sample(1, face_box=huge, landmarks=None)])
    with pytest.raises(EvaluationError, match=r"b\.h5: row 0: its box .* is more than 4 times as large as the image"):
        faces_of_file(path, 1)


def test_the_plugins_grey_levels_are_of_grey_crops(tmp_path: Path, make_sample: Make) -> None:
    path = write_samples(tmp_path / "a.h5", [make_sample(0)])
    options = EvaluationOptions(file=path, preprocess="opentrack", progress=False)
    with pytest.raises(
        EvaluationError, match=r"colour\.ckpt: takes colour crops; OpenTrack's preprocessing is for grey"
    ):
        evaluate(COLOUR, "pointing04", options)


def test_faces_that_do_not_decode() -> None:
    faces = Faces("a.h5", (b"\xff\xd8\xff",), *(np.zeros((1, 4)) for _ in range(2)))  # type: ignore[arg-type]
    with pytest.raises(SampleFormatError, match=r"a\.h5: an image doesn't decode"):
        faces.decoded(1)
