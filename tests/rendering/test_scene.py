"""Synthetic faces: exact labels, the same face for the same seed, archives that mean what their labels say."""

import io
import time
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from close import known
from trackertraincode.conversion import synthetic
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.errors import ConfigError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.camera import project_weak_perspective
from trackertraincode.rendering.archives import RenderedFace
from trackertraincode.rendering.camera_effects import CameraEffects
from trackertraincode.rendering.generate import Request, make_face
from trackertraincode.rendering.labels import CLASSES
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import Surface, rasterize
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode, decode_labels, image_size
from trackertraincode.sample.sample import Sample


def scene(seed: int = 0) -> FaceScene:
    return FaceScene.draw(np.random.default_rng(seed))


def bare(person: Person) -> Person:
    """The same person with a face that nothing covers."""
    return replace(person, glasses="", headwear="", hair=replace(person.hair, style="bald"))


def test_faces_to_learn_from_are_turned_beyond_profile_and_those_to_measure_with_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Angles alone; the angles of a pose beyond 90 degrees of yaw aren't its only ones."""
    drawn: list[float] = []

    def note(scene: FaceScene, size: int, *, segmentation: bool) -> Sample:
        drawn.append(abs(scene.pitch_yaw_roll[1]))
        return Sample(image=b"")

    monkeypatch.setattr("trackertraincode.rendering.generate.render_scene", note)
    largest = {}
    for layout in ("hdf5", "300wlp", "aflw2k"):
        drawn.clear()
        for index in range(300):
            make_face(Request(300, 64, 1, layout), index)
        largest[layout] = np.degrees(max(drawn))
    assert 80 < largest.pop("aflw2k") <= 90
    assert all(95 < most <= 105 for most in largest.values())


@pytest.mark.parametrize("center", [(50.3, 40.8), (20.5, 70.0), (80.1, 15.25)])
def test_rasterised_shapes_lie_where_their_vertices_say(center: tuple[float, float]) -> None:
    """Drawn 16 times as large, the centre of a rectangle is measured to a few hundredths of a pixel."""
    scale, (x, y) = 16, center
    corners = np.array([[x - 6, y - 4, 0], [x + 6, y - 4, 0], [x + 6, y + 4, 5.0], [x - 6, y + 4, 5]]) * [
        scale,
        scale,
        1,
    ]
    quad = Surface(corners, np.array([[0, 1, 2], [0, 2, 3]]), np.ones((4, 3), np.float32))
    _, covered = rasterize(quad, 100 * scale, 90 * scale)
    rows, columns = np.nonzero(covered)
    assert (columns.mean() + 0.5) / scale == pytest.approx(x, abs=0.05)
    assert (rows.mean() + 0.5) / scale == pytest.approx(y, abs=0.05)


def test_nearer_surfaces_hide_farther_ones() -> None:
    square = np.array([[2.0, 2, 0], [8, 2, 0], [8, 8, 0], [2, 8, 0]])
    near, far = square - [0, 0, 1], square + [0, 0, 1]
    colors = np.repeat(np.array([[1.0, 0, 0], [0, 0, 1]], np.float32), 4, axis=0)
    both = Surface(np.concatenate([near, far]), np.array([[4, 5, 6], [4, 6, 7], [0, 1, 2], [0, 2, 3]]), colors)
    image, _ = rasterize(both, 10, 10)
    assert image[5, 5] == pytest.approx([1, 0, 0], abs=1e-3)


def test_landmarks_and_box_follow_from_pose_and_coefficients() -> None:
    sample = render_scene(scene(3), 128)
    assert sample.shape is not None
    local = torch.from_numpy(embedded_head().keypoints68(sample.shape)).double()
    points = project_weak_perspective(
        local, torch.as_tensor(sample.rotation).double(), torch.as_tensor(sample.head).double()
    )
    assert sample.landmarks is not None
    assert np.allclose(points[:, :2], sample.landmarks[:, :2], atol=1e-3)
    assert abs(sample.landmarks[[36, 39, 42, 45], 2].mean()) < 1e-4
    assert sample.face_box is not None
    inside = (sample.landmarks[:, :2] >= sample.face_box[:2] - 1) & (sample.landmarks[:, :2] < sample.face_box[2:] + 1)
    assert inside.all()


def test_the_drawn_face_is_where_the_box_is() -> None:
    clean = replace(scene(4), occluders=0, pitch_yaw_roll=(0.0, 0.0, 0.0), camera=CameraEffects())
    clean = replace(clean, person=bare(clean.person))
    sample = render_scene(clean, 200, segmentation=True)
    assert isinstance(sample.segmentation, bytes)
    classes = decode_labels(sample.segmentation)
    face = [CLASSES[name] for name in ("skin", "nose", "mouth", "upper_lip", "lower_lip")]
    rows, columns = np.nonzero(np.isin(classes, face))
    assert sample.face_box is not None
    x0, _, x1, y1 = sample.face_box
    assert columns.min() == pytest.approx(x0, abs=6)
    assert columns.max() == pytest.approx(x1, abs=6)
    assert rows.max() == pytest.approx(y1, abs=6)


def test_things_beside_are_behind_the_person() -> None:
    """So they are where no face is, and the labels don't know of them."""
    alone = replace(scene(4), occluders=0, camera=CameraEffects())
    alone = replace(alone, person=bare(alone.person))
    crowded = replace(alone, beside=40)
    first, second = (render_scene(each, 200, segmentation=True) for each in (alone, crowded))
    assert isinstance(first.segmentation, bytes)
    assert first.segmentation == second.segmentation
    assert known(first.face_box) == pytest.approx(known(second.face_box))
    changed = np.abs(decode(first.image).astype(int) - decode(second.image)) > 20
    face = cv2.erode((decode_labels(first.segmentation) == CLASSES["skin"]).astype(np.uint8), np.ones((5, 5))) > 0
    assert face.sum() > 1000
    assert not changed[face].any()
    assert changed.sum() > 1000


def test_irises_are_drawn_at_the_eyes() -> None:
    """The mean of the pixels labelled as eyes lies at the mean of the eye landmarks."""
    wide = replace(scene(5), occluders=0, pitch_yaw_roll=(0.0, 0.0, 0.0), expression=np.zeros(10))
    wide = replace(wide, person=bare(wide.person))
    sample = render_scene(wide, 512, segmentation=True)
    assert isinstance(sample.segmentation, bytes)
    assert sample.landmarks is not None
    for name, points in (("eye_right", range(36, 42)), ("eye_left", range(42, 48))):
        rows, columns = np.nonzero(decode_labels(sample.segmentation) == CLASSES[name])
        drawn = np.array([columns.mean(), rows.mean()])
        assert np.abs(drawn - sample.landmarks[list(points), :2].mean(0)).max() < 3.0


def test_the_same_scene_gives_the_same_bytes() -> None:
    assert render_scene(scene(1), 96).image == render_scene(scene(1), 96).image


def test_closed_eyes_change_the_eyes_and_nothing_else() -> None:
    person = bare(scene(2).person)
    base = replace(
        scene(2),
        occluders=0,
        person=person,
        expression=np.zeros(10),
        camera=CameraEffects(),
        pitch_yaw_roll=(0.0, 0.0, 0.0),
    )
    opened, closed = (render_scene(s, 256) for s in (base, base.with_closed_eyes()))
    assert np.array_equal(known(opened.rotation), known(closed.rotation))
    assert isinstance(opened.image, bytes)
    assert isinstance(closed.image, bytes)
    change = cv2.absdiff(decode(opened.image), decode(closed.image)) > 12
    assert opened.landmarks is not None
    rows, columns = np.nonzero(change)
    eyes = opened.landmarks[36:48, :2]
    assert len(rows) > 20
    assert np.abs(rows - eyes[:, 1].mean()).max() < 30
    assert columns.min() > eyes[:, 0].min() - 15


def test_archives_do_not_depend_on_workers_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "FACES_PER_TASK", 2)
    for workers in (0, 2):
        monkeypatch.setattr(time, "asctime", partial(str, workers))  # which scipy writes
        write_faces(Request(6, 64, 3, "300wlp"), tmp_path / f"{workers}.zip", workers)
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_images_of_one_person_share_shape_and_colours() -> None:
    first, second, other = (make_face(Request(9, 64, 0, "300wlp"), i) for i in (0, 1, 4))
    assert first.sample.shape is not None
    assert second.sample.shape is not None
    assert np.array_equal(first.sample.shape[:40], second.sample.shape[:40])
    assert (first.person, second.person, other.person) == (0, 0, 1)


def test_archives_have_the_layout_of_the_originals(tmp_path: Path) -> None:
    write_faces(Request(5, 64, 1, "300wlp"), tmp_path / "300W-LP.zip", 0)
    write_faces(Request(2, 64, 1, "aflw2k"), tmp_path / "AFLW2000-3D.zip", 0)
    with zipfile.ZipFile(tmp_path / "300W-LP.zip") as archive:
        names = archive.namelist()
        mat = loadmat(io.BytesIO(archive.read("300W_LP/AFW/SYNTH_000000_1.mat")))
        points = loadmat(io.BytesIO(archive.read("300W_LP/landmarks/AFW/SYNTH_000000_1_pts.mat")))["pts_2d"]
        size = image_size(archive.read("300W_LP/AFW/SYNTH_000000_1.jpg"))
    assert len(names) == 15
    assert mat["Pose_Para"].shape == (1, 7)
    assert mat["Shape_Para"].shape == (199, 1)
    assert mat["Exp_Para"].shape == (29, 1)
    assert mat["face_model"][0] == "embedded-v1"
    assert points.shape == (68, 2)
    assert size == (64, 64)
    with zipfile.ZipFile(tmp_path / "AFLW2000-3D.zip") as archive:
        mat = loadmat(io.BytesIO(archive.read("AFLW2000/image00001.mat")))
    assert mat["pt3d_68"].shape == (3, 68)
    assert mat["pt2d"].shape == (2, 21)


@pytest.mark.parametrize("layout", ["300wlp", "aflw2k"])
def test_an_interrupted_archive_goes_on_where_it_was(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []

    def make(request: Request, number: int, *, fatal: int | None = None) -> RenderedFace:
        if number == fatal:
            raise KeyboardInterrupt
        rendered.append(number)
        return make_face(request, number)

    request, path = Request(5, 32, 1, layout), tmp_path / "a.zip"
    monkeypatch.setattr(synthetic, "FACES_PER_TASK", 2)
    monkeypatch.setattr(synthetic, "make_face", partial(make, fatal=4))
    with pytest.raises(KeyboardInterrupt):
        write_faces(request, path, 0)
    assert [left.name for left in tmp_path.iterdir()] == ["a.zip.parts"]
    other = replace(request, format={"300wlp": "aflw2k", "aflw2k": "300wlp"}[layout])
    with pytest.raises(ConfigError, match=r"begun with .* other options"):
        write_faces(other, path, 0, resume=True)
    rendered.clear()
    monkeypatch.setattr(synthetic, "make_face", make)
    write_faces(request, path, 0, resume=True)
    assert rendered == [4]
    assert [left.name for left in tmp_path.iterdir()] == ["a.zip"]
    write_faces(request, tmp_path / "b.zip", 0)
    assert path.read_bytes() == (tmp_path / "b.zip").read_bytes()
