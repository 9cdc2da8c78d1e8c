"""Models of others are checked when they are opened and when they answer; none of them can lead the tracker astray."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from trackertraincode.errors import ConfigError, ModelFileError, UserError
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.localizer import SIZE
from trackertraincode.localizer.framing import part_filled
from trackertraincode.pretrained import localizer
from trackertraincode.tracking.camera import FieldOfView
from trackertraincode.tracking.networks import LocalizerModel, PoseModel
from trackertraincode.tracking.opentrack_client import LARGEST_BOX, PixelBox, build_pyramid
from trackertraincode.tracking.tracker import HeadPoseTracker, estimate_pose
from trackertraincode.tracking.view import part_seen

Write = Callable[..., Path]
GOOD: dict[str, Any] = {"quat": [[0, 0, 0, 1]], "pos_size": [[0, 0, 0.5]], "box": [[-0.5, -0.5, 0.5, 0.5]]}
FRAME = np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)


def write_localizer(write_model: Write, box: list[float], logit: float = 5.0) -> Path:
    return write_model({"logit_box": [[logit, *box]]}, (1, 1, 224, 288))


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_a_model_whose_name_is_not_utf8_is_named(write_model: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\udcff\.onnx: has a name that isn't UTF-8"):
        PoseModel(write_model(GOOD).rename(tmp_path / "m\udcff.onnx"))


def test_a_box_that_grows_without_end_is_given_up(write_model: Write) -> None:
    model = write_model(GOOD | {"box": [[-2, -2, 2, 2]]})
    tracker = HeadPoseTracker(model, write_localizer(write_model, [-0.2, -0.2, 0.2, 0.2]))
    sizes = []
    for _ in range(12):
        pose = tracker.update(FRAME)
        assert pose is not None
        sizes.append(pose.box[2] - pose.box[0])
    assert max(sizes) <= 2 * LARGEST_BOX * 640
    assert sizes.count(sizes[0]) > 1  # found anew


@pytest.mark.parametrize("value", [1e30, np.nan, np.inf, -150.0])
@pytest.mark.parametrize("name", ["box", "pos_size"])
def test_answers_far_from_the_crop_are_refused(write_model: Write, name: str, value: float) -> None:
    model = PoseModel(write_model(GOOD | {name: [[value, *GOOD[name][0][1:]]]}))
    with pytest.raises(ModelFileError, match=r"\.onnx: output .*(expected about -1…1|not finite)"):
        estimate_pose(model, FRAME, PixelBox(100, 100, 90, 90))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [({"quat": [[0, 0, 1]]}, r"output quat is float32 \(1, 3\).*doesn't fit rotation"),
     ({"box": [[0, 0, 1, 1, 1]]}, r"output box"),
     ({"pos_size": 0.0}, r"output pos_size is float32 \(\)"), ({"quat": np.array([[0, 0, 0, 1]])}, r"output quat is int64"),
     ({"quat": [[0, 0, 0, 0]]}, r"isn't a unit quaternion"), ({"quat": [[0, 0, 0, 1.22]]}, r"isn't a unit quaternion"),
     ({"pt3d_68": np.zeros((1, 5, 3), np.float32)}, r"doesn't fit landmarks")],
)  # fmt: skip
def test_answers_of_other_shapes_and_types_are_refused(write_model: Write, outputs: dict, message: str) -> None:
    model = PoseModel(write_model(GOOD | outputs))
    with pytest.raises(ModelFileError, match=message):
        estimate_pose(model, FRAME, PixelBox(100, 100, 90, 90))


def test_a_model_without_inputs_or_of_lists_is_refused(write_model: Write, tmp_path: Path) -> None:
    model = onnx.load(write_model(GOOD))
    del model.graph.node[-1], model.graph.input[:]
    onnx.save(model, tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match=r"none\.onnx: inputs are \[\], expected one of"):
        PoseModel(tmp_path / "none.onnx")
    model = onnx.load(write_model(GOOD))
    for value in model.graph.output:
        if value.name == "quat":
            value.CopyFrom(helper.make_tensor_sequence_value_info("quat", TensorProto.FLOAT, None))
    next(node for node in model.graph.node if "quat" in node.output).output[0] = "inner"
    model.graph.node.append(helper.make_node("SequenceConstruct", ["inner"], ["quat"]))
    onnx.save(model, tmp_path / "list.onnx")
    with pytest.raises(ModelFileError, match=r"list\.onnx: output quat is no tensor"):
        estimate_pose(PoseModel(tmp_path / "list.onnx"), FRAME, PixelBox(100, 100, 90, 90))


def test_rotations_are_divided_by_their_length(write_model: Write) -> None:
    """As rounding, such as that of int8, leaves it a little off 1."""
    path, crops = write_model(GOOD | {"quat": [[0, 0, 0.03, 1.04]]}), np.zeros((1, 1, 33, 33), np.float32)
    for rotation in (
        PoseModel(path)(crops)["rotation"],
        load_predictor(path).predict(torch.from_numpy(crops)).rotation[0],
    ):
        assert np.linalg.norm(rotation) == pytest.approx(1.0, abs=1e-6)


def test_nothing_is_evaluated_whose_rotations_are_none(write_model: Write) -> None:
    """A zero has no error at all, by its angle to others."""
    model = load_predictor(write_model(GOOD | {"quat": [[0, 0, 0, 0]]}))
    with pytest.raises(ModelFileError, match="isn't a unit quaternion"):
        model.predict(torch.zeros(1, 1, 33, 33))


@pytest.mark.parametrize("box", [(5000, 5000, 200, 240), (10, 200, 100, 120), (600, -300, 100, 120)])
def test_boxes_in_whose_middle_nothing_is_seen_are_refused(write_model: Write, box: tuple[float, ...]) -> None:
    """The plugin answers of them, too, and so does `estimate_pose`; a person who gives one means something else."""
    model, frame = write_model(GOOD), np.zeros((720, 1280), np.uint8)
    localizer = write_localizer(write_model, [-0.2, -0.2, 0.2, 0.2])
    with pytest.raises(
        ConfigError, match=r"outside of what is seen, which is x from 160 to 1120, y from 0 to 720, the 4:3"
    ):
        HeadPoseTracker(model, localizer).estimate(frame, PixelBox(*box))
    if box[0] < 1280 and box[1] > 0:
        HeadPoseTracker(model, localizer, whole_frames=True).estimate(frame, PixelBox(*box))
    estimate_pose(PoseModel(model), frame, PixelBox(*box))


def test_a_head_of_no_size_is_far_away(write_model: Write) -> None:
    pose = estimate_pose(PoseModel(write_model(GOOD | {"pos_size": [[0, 0, 0]]})), FRAME, PixelBox(9, 9, 90, 90))
    assert np.isfinite([*pose.position_mm, *pose.world_rotation]).all()


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [({"logit_box": [[1, 0, 0, 1]]}, (1, 1, 224, 288), r"`logit_box` is tensor\(float\) \[1, 4\], expected .*\[1, 5\]"),
     ({"logit_box": [[1, 0, 0, 1, 1]]}, (1, 3, 224, 288), r"inputs are tensor\(float\) \[1, 3, 224, 288\]"),
     ({"logit_box": [[1, 0, 0, 1, 1]]}, (1, 1, 288, 224), r"inputs are .*has one, tensor\(float\) \[1, 1, 224, 288\]"),
     ({"boxes": [[1, 0, 0, 1, 1]]}, (1, 1, 224, 288), r"outputs are boxes")],
)  # fmt: skip
def test_localizers_of_other_shapes_are_refused(write_model: Write, outputs: dict, shape: tuple, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        LocalizerModel(write_model(outputs, shape))


def test_a_localizer_of_another_type_is_refused(write_model: Write) -> None:
    path = write_model({"logit_box": [[1, 0, 0, 1, 1]]}, (1, 1, 224, 288), TensorProto.DOUBLE)
    with pytest.raises(ModelFileError, match=r"inputs are tensor\(double\)"):
        LocalizerModel(path)


def test_a_localizer_of_any_batch_is_taken(write_model: Write) -> None:
    model = LocalizerModel(write_model({"logit_box": [[5, -0.5, -0.5, 0.5, 0.5]]}, ("batch", 1, 224, 288)))
    assert model(FRAME).box.tolist() == [160, 120, 480, 360]


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (652, 487), (643, 481), (1281, 961), (1919, 1079), (97, 61)])
def test_frames_as_the_plugin_sees_them_fill_what_the_localizer_looks_at(size: tuple[int, int]) -> None:
    seen, _ = part_seen(np.zeros(size[::-1], np.uint8))
    for level in build_pyramid(seen):
        assert part_filled(level.shape[1], level.shape[0]) == SIZE


@pytest.mark.parametrize("size", [(270, 480), (240, 320), (480, 480), (900, 300), (90, 900)])
def test_images_of_other_shapes_are_not_stretched(size: tuple[int, int]) -> None:
    """The localizer says of them what it says of the 4:3 image that they are when their border is repeated."""
    width, height = size
    ramp = np.add.outer(np.arange(height) * 0.2, np.arange(width) * 0.1).astype(np.uint8) + 40
    whole = max(width, 4 * height // 3), max(height, 3 * width // 4)
    left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
    wide = cv2.copyMakeBorder(ramp, top, whole[1] - height - top, left, whole[0] - width - left, cv2.BORDER_REPLICATE)
    model = LocalizerModel(localizer())
    found, expected = model(ramp), model(wide)
    assert found.score == pytest.approx(expected.score, abs=0.1)
    np.testing.assert_allclose(found.box, expected.box - [left, top] * 2, atol=0.03 * max(whole))


@pytest.mark.parametrize(("logit", "value"), [(np.nan, 0.0), (5.0, np.nan), (5.0, 1e30), (5.0, np.inf)])
def test_localizers_that_answer_nonsense_are_refused(write_model: Write, logit: float, value: float) -> None:
    model = LocalizerModel(write_localizer(write_model, [value, 0, 1, 1], logit))
    with pytest.raises(ModelFileError, match=r"logit_box (is|isn't)"):
        model(FRAME)


@pytest.mark.parametrize("logit", [-200.0, 200.0, -np.inf])
def test_extreme_logits_are_probabilities(write_model: Write, logit: float) -> None:
    assert 0 <= LocalizerModel(write_localizer(write_model, [0, 0, 1, 1], logit))(FRAME).score <= 1


@pytest.mark.parametrize("box", [[-9, -9, 9, 9], [0.5, 0.5, -0.5, 0.9]])
def test_the_tracker_does_not_start_from_boxes_without_a_sensible_size(write_model: Write, box: list[float]) -> None:
    assert HeadPoseTracker(write_model(GOOD), write_localizer(write_model, box)).update(FRAME) is None


@pytest.mark.parametrize("box", [(0, 0, 1e300, 1e300), (0, 0, 3000, 10), (0, 0, 0, 10), (np.nan, 0, 9, 9)])
def test_given_boxes_without_a_sensible_size_are_refused(write_model: Write, box: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"box x, y, width, height .*at most 4 times the image's 640 × 480"):
        estimate_pose(PoseModel(write_model(GOOD)), FRAME, PixelBox(*box))


@pytest.mark.parametrize("fov", [np.nan, 0.0, 180.0, -5.0, np.inf])
def test_fields_of_view_that_no_camera_has_are_refused(write_model: Write, fov: float) -> None:
    model = write_model(GOOD)
    with pytest.raises(ConfigError, match=r"field of view of .* degrees"):
        HeadPoseTracker(model, model, diagonal_fov_deg=fov)
    with pytest.raises(ConfigError, match=r"field of view of .* degrees"):
        FieldOfView.of_degrees(fov)
