"""Detections are boxes of faces."""

import builtins
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from trackertraincode.detection import mtcnn
from trackertraincode.detection.mtcnn import MtcnnDetector, best_overlap
from trackertraincode.errors import ConfigError
from trackertraincode.parts import how_to_install
from trackertraincode.sample.images import decode


def test_the_box_with_the_largest_overlap_wins() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    best = best_overlap(boxes, np.array([3.0, 0.0, 13.0, 10.0]), 0.25)
    assert best is not None
    assert best.tolist() == boxes[1].tolist()
    assert best_overlap(boxes, np.array([20.0, 20.0, 30.0, 30.0]), 0.25) is None
    assert best_overlap(boxes[:1], np.array([5.0, 0.0, 15.0, 10.0]), 1 / 3) is None  # more than, not as much as
    assert best_overlap(np.zeros((0, 4)), boxes[0], 0.0) is None


def test_mtcnn_finds_a_real_face_at_any_scale(shared_data: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    folder = shared_data / "annotated_samples" / "lapa"
    image = decode((folder / "13609937564_5.jpg").read_bytes(), color=True)
    detector = pickle.loads(pickle.dumps(MtcnnDetector(min_face=60)))
    found = detector(image)
    assert found.boxes.shape == (len(found.confidences), 4)
    assert found.confidences[0] > 0.99
    expected = np.array([165.0, 204.0, 165 + 160, 204 + 161])  # the box of its landmarks, which has no forehead
    box = best_overlap(found.boxes, expected, 0.25)
    assert box is not None
    enlarged = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    again = best_overlap(MtcnnDetector(min_face=60)(enlarged).boxes / 4, box, 0.7)
    assert again is not None


@pytest.mark.parametrize("shape", [(10, 300, 3), (64, 64, 3), (1, 1, 3)])
def test_images_without_faces_give_no_boxes(shape: tuple[int, int, int]) -> None:
    pytest.importorskip("facenet_pytorch")
    found = MtcnnDetector()(np.full(shape, 127, np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.confidences.shape == (0,)


def test_without_facenet_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refuse(name: str, *arguments, **options):
        if name == "facenet_pytorch":
            raise ImportError("No module named 'facenet_pytorch'")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    mtcnn._networks.cache_clear()
    with pytest.raises(ConfigError, match=rf"'facenet_pytorch'\): {re.escape(how_to_install('convert'))}; or switch"):
        MtcnnDetector()(np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(mtcnn.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"\[convert\]"):
        MtcnnDetector().check()
