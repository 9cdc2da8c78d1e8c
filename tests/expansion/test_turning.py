"""Labels of turned faces: those of the published tool, and those of the head model; images agree with them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from close import known
from trackertraincode.conversion.faces import box_around
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.w300lp import make_source
from trackertraincode.expansion.draw import draw, draw_classes
from trackertraincode.expansion.expand import Face, load_face, turned_copy
from trackertraincode.expansion.light import Spotlight, shade
from trackertraincode.expansion.turning import Turn, angles_of, project, rotation_of, turn_labels
from trackertraincode.facemodel.bfm import load_bfm
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.landmarks68 import centered_depth
from trackertraincode.sample.images import decode, decode_labels, encode_jpeg
from trackertraincode.sample.sample import Sample

MODEL = embedded_head()
POSES = ((5.0, 30.0, -10.0), (-12.0, 60.0, 8.0), (3.0, 88.0, 2.0))


@pytest.fixture(scope="module")
def face(rendered: Callable[..., Sample]) -> Face:
    return load_face(rendered(1), MODEL, MODEL.name)


def test_labels_of_the_published_tool_are_reproduced(shared_data: Path) -> None:
    """Both originals at the published rotations. Depths of published copies aren't centred, those of originals are."""
    bfm = shared_data / "facemodel" / "bfm_noneck_v3.pkl"
    model = load_bfm(bfm)
    source: Source = make_source(shared_data / "300wlp" / "300wlp_miniset.zip", bfm, "original", True)
    with h5py.File(shared_data / "300wlp" / "300wlp_reference_output.h5") as file:
        quats, coords, points = (file[name][:].astype(np.float64) for name in ("quats", "coords", "pt3d_68"))
        shapes, starts = file["shapeparams"][:], file["sequence_starts"][:]
    assert len(quats) == 37
    for read, start, end in zip(source.prepare(source.items), starts[:-1], starts[1:]):
        (original,) = source.convert(read)
        face = load_face(original, model, model.name)
        for row in range(start, end):
            turn = face.turn_to(angles_of(Rotation.from_quat(quats[row]).as_matrix()))
            labels = turn_labels(face.sample, turn, face.local, model)
            apart = Rotation.from_quat(labels["rotation"]) * Rotation.from_quat(quats[row]).inv()
            assert apart.magnitude() < 1e-3
            assert np.abs(labels["head"] - (coords[row] + [0.5, 0.5, 0.0])).max() < 0.01
            theirs = centered_depth(points[row]) + [0.5, 0.5, 0.0]
            assert np.abs(labels["landmarks"] - theirs).max() < 1.0
            np.testing.assert_array_equal(np.float32(face.sample.shape), shapes[row])
            assert "shape" not in labels


@pytest.mark.parametrize("pose", POSES)
def test_landmarks_and_box_are_those_of_the_head_model(face: Face, pose: tuple[float, float, float]) -> None:
    copy = turned_copy(face, MODEL, face.turn_to(np.radians(pose)))
    assert copy.head is not None
    assert copy.landmarks is not None
    np.testing.assert_allclose(np.degrees(angles_of(rotation_of(copy))), pose, atol=1e-4)
    local = MODEL.deform(known(copy.shape))
    points = project(local, rotation_of(copy), copy.head)
    np.testing.assert_allclose(copy.landmarks, centered_depth(points[MODEL.keypoints]), atol=0.01)
    np.testing.assert_allclose(known(copy.face_box), box_around(points[MODEL.face_mask]), atol=0.1)


@pytest.mark.parametrize("landmark", [30, 33, 8, 48, 54, 27, 45, 22])
def test_what_is_at_a_landmark_goes_where_its_label_goes(face: Face, landmark: int) -> None:
    """A disc painted on the image is found at the landmark of the copy."""
    assert face.sample.landmarks is not None
    y, x = np.mgrid[: face.image.shape[0], : face.image.shape[1]] + 0.5
    where = face.sample.landmarks[landmark, :2]
    disc = np.exp(-((x - where[0]) ** 2 + (y - where[1]) ** 2) / 8.0)
    image = np.repeat((disc[..., None] * 255).astype(np.uint8), 3, axis=2)
    turn = face.turn_to(np.radians([0.0, 15.0, 5.0]))
    copy = turned_copy(replace(face, image=image), MODEL, turn)
    found = decode(copy.image).astype(float)
    center = [(found * axis).sum() / found.sum() for axis in (x, y)]
    assert copy.landmarks is not None
    np.testing.assert_allclose(center, copy.landmarks[landmark, :2], atol=2.0)


def test_2d_landmarks_stay_on_their_pixels(face: Face) -> None:
    """Whether they mean places of 3-D landmarks, or contours that have no such place."""
    turn = face.turn_to(np.radians([0.0, 60.0, 0.0]))
    copy = turned_copy(face, MODEL, turn)
    assert copy.landmarks is not None
    np.testing.assert_allclose(known(copy.landmarks_2d), copy.landmarks[:, :2], atol=0.01)
    assert face.sample.landmarks_2d is not None
    shifted = face.sample.landmarks_2d + [0.0, 3.0]
    copy = turned_copy(replace(face, sample=replace(face.sample, landmarks_2d=shifted)), MODEL, turn)
    assert copy.landmarks_2d is not None
    expected = known(copy.landmarks)[:, :2] + [0.0, 3.0]
    assert np.linalg.norm(copy.landmarks_2d - expected, axis=1)[[27, 28, 39, 42, 30, 51, 57]].max() < 3.0


def test_without_a_turn_the_image_stays(face: Face) -> None:
    turn = Turn(rotation_of(face.sample), rotation_of(face.sample), np.asarray(face.sample.head, np.float64))
    same = draw(face.image, face.sheet.turned(turn))
    assert np.abs(same.astype(int) - face.image).max() <= 2
    np.testing.assert_allclose(turn.head_after, known(face.sample.head), atol=1e-4)


@pytest.mark.parametrize("pose", POSES)
def test_there_are_no_holes_and_far_things_stay(face: Face, pose: tuple[float, float, float]) -> None:
    turned = face.sheet.turned(face.turn_to(np.radians(pose)))
    white = np.full((400, 400, 3), 255, np.uint8)
    shifted = turned._replace(points=turned.points + [120.0, 120.0, 0.0], source=turned.source + 120.0)
    assert draw(white, shifted).min() == 255
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    moved = draw(noise, shifted)
    for part in (np.s_[:20], np.s_[-20:], np.s_[:, :20], np.s_[:, -20:]):
        np.testing.assert_array_equal(moved[part], noise[part])


def test_label_images_turn_as_the_image(face: Face) -> None:
    copy = turned_copy(face, MODEL, face.turn_to(np.radians([0.0, 40.0, 0.0])))
    assert isinstance(copy.segmentation, np.ndarray)
    assert face.classes is not None
    assert set(np.unique(copy.segmentation)) <= set(np.unique(face.classes))
    assert copy.landmarks is not None
    x, y = copy.landmarks[30, :2].astype(int)
    assert copy.segmentation[y, x] == 2  # the nose's tip is nose
    identity = Turn(rotation_of(face.sample), rotation_of(face.sample), np.asarray(face.sample.head, np.float64))
    np.testing.assert_array_equal(draw_classes(face.classes, face.sheet.turned(identity)), face.classes)


def test_light_comes_from_its_side_and_a_nose_casts_a_shadow(face: Face) -> None:
    turn = Turn(rotation_of(face.sample), rotation_of(face.sample), np.asarray(face.sample.head, np.float64))
    turned = face.sheet.turned(turn)
    light = Spotlight(np.array([-0.94, -0.1, -0.33]) / np.linalg.norm([-0.94, -0.1, -0.33]), 0.2, 1.0)
    factors = shade(turned, light, float(turn.head[2]))
    white = np.full_like(face.image, 150)
    lit = draw(white, turned, factors)[..., 0].astype(float)
    assert face.sample.landmarks is not None

    def between(first: int, second: int) -> float:
        x, y, _ = known(face.sample.landmarks)[[first, second]].mean(0)
        return float(lit[int(y), int(x)])

    assert between(3, 31) > between(13, 35) + 50  # cheeks of both sides
    assert between(30, 35) < 60  # the nose's far side
    assert lit.min() >= 150 * 0.2 - 2
    assert lit[:, 0].min() == lit[0].max() == round(150 * 0.5)  # the surroundings are lit evenly


def test_the_image_of_a_copy_can_be_stored(face: Face) -> None:
    copy = turned_copy(face, MODEL, face.turn_to(np.radians([0.0, 40.0, 0.0])))
    assert isinstance(copy.image, bytes)
    assert decode(copy.image, color=True).shape == face.image.shape
    assert encode_jpeg(face.image)
    assert isinstance(face.sample.segmentation, bytes)
    assert decode_labels(face.sample.segmentation).shape == face.image.shape[:2]
