"""Calibrated cameras: where heads are and how they are turned, against a known camera; files of calibrations."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from trackertraincode.errors import UserError
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.rendering.rasterizer import Surface, front_faces, rasterize
from trackertraincode.tracking import networks
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking import tracker as module
from trackertraincode.tracking.camera import Lens, Placed
from trackertraincode.tracking.lens import read_calibration
from trackertraincode.tracking.networks import FoundFace, LocalizerModel, PoseModel
from trackertraincode.tracking.tracker import HeadPoseTracker

WIDTH, HEIGHT = 640, 480
PINHOLE = Lens((752.0, 752.0, 319.5, 239.5))  # 56 degrees from corner to corner
BARREL = Lens((610.0, 620.0, 335.0, 228.0), (-0.28, 0.09, 0.001, -0.0015, 0.0))
SMALL = 0.1  # share of a head's size for which perspective within it doesn't count


def in_image_axes(placed: Placed) -> tuple[Rotation, np.ndarray]:
    """From OpenTrack's axes: rotation, and position (3,) in mm."""
    i, j, k, w = placed.rotation
    return Rotation.from_quat([-k, -j, -i, w]), np.array([-placed.position.z, -placed.position.y, -placed.position.x])


def fitted(lens: Lens, rotation: Rotation, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an ideal network says of a head at a place, mm: the weak perspective, (4,) and (3,), that fits its image best."""
    points = embedded_head().keypoint_mean.astype(float)
    seen = lens.project(rotation.apply(points) * 100 * SMALL + position)

    def misfit(values: np.ndarray) -> np.ndarray:
        return (Rotation.from_rotvec(values[:3]).apply(points)[:, :2] * values[5] + values[3:5] - seen).ravel()

    center = lens.project(position[None])[0]
    start = [*rotation.as_rotvec(), *center, 100 * SMALL * lens.matrix[0] / np.linalg.norm(position)]
    values = least_squares(misfit, start, x_scale=[1, 1, 1, 100, 100, 10]).x
    return Rotation.from_rotvec(values[:3]).as_quat(), values[3:6] / [1, 1, SMALL]


@pytest.mark.parametrize("lens", [PINHOLE, BARREL], ids=["pinhole", "barrel"])
@pytest.mark.parametrize("place", [(320, 240), (60, 50), (590, 60), (40, 440), (600, 430), (320, 30), (30, 240)])
def test_heads_are_where_a_known_camera_sees_them(lens: Lens, place: tuple[int, int]) -> None:
    """In the middle, at the sides and in the corners."""
    rng = np.random.default_rng(place)
    for _ in range(3):
        distance = rng.uniform(400, 1500)
        position = lens._ray(np.array(place, float)) * distance
        rotation = Rotation.from_euler("xyz", rng.uniform(-30, 30, 3), degrees=True)
        found, where = in_image_axes(lens.place(*fitted(lens, rotation, position)))
        assert np.linalg.norm(where - position) < 0.02 * distance
        assert np.degrees((found * rotation.inv()).magnitude()) < 2.0


def test_a_ray_is_what_the_lens_projects_there() -> None:
    for pixel in np.random.default_rng(0).uniform([0, 0], [WIDTH, HEIGHT], (50, 2)):
        assert BARREL.project(BARREL._ray(pixel)[None] * 700)[0] == pytest.approx(pixel, abs=1e-6)


def test_in_the_middle_a_lens_and_the_plugin_agree() -> None:
    """Where there is no stretch, and for the field of view of the pinhole."""
    rotation, head = Rotation.random(rng=0).as_quat(), np.array([319.5, 239.5, 80.0])
    diagonal = 2 * np.arctan(np.hypot(WIDTH, HEIGHT) / 2 / 752.0)
    plugin = client.world_position(head + [0.5, 0.5, 0], WIDTH, HEIGHT, diagonal)
    placed = PINHOLE.place(rotation, head)
    assert placed.position == pytest.approx(plugin, rel=1e-5, abs=1e-6)
    assert placed.rotation == pytest.approx(client.world_rotation(rotation, plugin), abs=1e-6)


def test_a_rendered_sequence_is_tracked_to_where_the_head_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole tracker on rendered frames of a known camera, with a localizer that sees what is drawn and a network that
    is right: from corner to corner, and nearer."""
    head = embedded_head()
    truth: list[tuple[Rotation, np.ndarray]] = []
    patches: list[client.Patch] = []
    extract = client.extract_patch

    def recorded(pyramid: list[np.ndarray], box: client.PixelBox, size: int) -> client.Patch:
        patches.append(extract(pyramid, box, size))
        return patches[-1]

    class Right(PoseModel):
        input_size = 65

        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
            assert image.std() > 0.01  # the head is in the patch
            rotation, (x, y, radius) = fitted(BARREL, *truth[-1])
            patch = patches[-1]
            half, (left, top) = patch.edge / 2, patch.center
            u, v, size = (x - left) / half, (y - top) / half, radius / half
            box = np.array([u - size, v - size, u + size, v + 1.3 * size])
            answer = {"rotation": rotation, "head": np.array([u, v, size]), "face_box": box}
            return {name: values.astype(np.float32) for name, values in answer.items()}

    class SeesBright(LocalizerModel):
        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, image: np.ndarray) -> FoundFace:
            rows, columns = np.nonzero(image > 60)
            return FoundFace(0.9, np.array([columns.min(), rows.min(), columns.max(), rows.max()], np.float32))

    monkeypatch.setattr(client, "extract_patch", recorded)
    monkeypatch.setattr(module, "PoseModel", Right)
    monkeypatch.setattr(networks, "LocalizerModel", SeesBright)
    fx, fy, cx, cy = BARREL.matrix
    values = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "distortion": BARREL.distortion, "width": WIDTH, "height": HEIGHT}
    (tmp_path / "lens.json").write_text(json.dumps(values))
    tracker = HeadPoseTracker("m.onnx", "l.onnx", lens=tmp_path / "lens.json", localize_every=None)
    for share in np.linspace(0, 1, 8):
        pixel = np.array([90, 80]) * (1 - share) + np.array([550, 380]) * share
        position = BARREL._ray(pixel) * (1100 - 400 * share)
        rotation = Rotation.from_euler("xyz", [10 * share, 40 * share - 20, 5], degrees=True)
        truth.append((rotation, position))
        points = np.column_stack(
            [BARREL.project(rotation.apply(head.vertices) * 100 + position), np.zeros(len(head.vertices))]
        )
        points[:, 2] = rotation.apply(head.vertices)[:, 2]
        grey = np.full(points.shape, 0.7, np.float32)
        surface = Surface(points, front_faces(points, head.triangles), grey * head.face_mask[:, None])
        image = (255 * rasterize(surface, WIDTH, HEIGHT)[0]).astype(np.uint8)
        pose = tracker.update(image)
        assert pose is not None
        found, where = in_image_axes(Placed(pose.world_rotation, pose.position_mm))
        assert np.linalg.norm(where - position) < 0.02 * np.linalg.norm(position)
        assert np.degrees((found * rotation.inv()).magnitude()) < 2.0


def opencv_file(path: Path) -> None:
    """As OpenCV's calibration writes it."""
    fx, fy, cx, cy = BARREL.matrix
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", WIDTH)
    storage.write("image_height", HEIGHT)
    storage.write("camera_matrix", np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
    storage.write("distortion_coefficients", np.array(BARREL.distortion))
    storage.release()


def ros_file(path: Path) -> None:
    fx, fy, cx, cy = BARREL.matrix
    path.write_text(
        f"image_width: {WIDTH}\nimage_height: {HEIGHT}\ncamera_name: front\ndistortion_model: plumb_bob\n"
        f"camera_matrix:\n  rows: 3\n  cols: 3\n  data: [{fx}, 0, {cx}, 0, {fy}, {cy}, 0, 0, 1]\n"
        f"distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: {list(BARREL.distortion)}\n"
    )


def plain_file(path: Path) -> None:
    fx, fy, cx, cy = BARREL.matrix
    text = f"fx: {fx}\nfy: {fy}\ncx: {cx}\ncy: {cy}\ndistortion: {list(BARREL.distortion)}\nwidth: 640\nheight: 480\n"
    path.write_text(text)


def rows_file(path: Path) -> None:
    fx, fy, cx, cy = BARREL.matrix
    matrix = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    path.write_text(json.dumps({"K": matrix, "D": [BARREL.distortion], "width": WIDTH, "height": HEIGHT}))


def notepad_file(path: Path) -> None:
    """As editors of Windows write it, with a mark at the beginning."""
    rows_file(path)
    path.write_text(path.read_text(), encoding="utf-8-sig", newline="\r\n")


@pytest.mark.parametrize(
    ("write", "name"),
    [(opencv_file, "a.yml"), (opencv_file, "a.json"), (opencv_file, "a.xml"), (ros_file, "a.yaml"), (plain_file, "a.yaml"),
     (rows_file, "a.json"), (notepad_file, "a.json")],
)  # fmt: skip
def test_calibrations_are_read_as_they_are_written(write: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    calibration = read_calibration(tmp_path / name)
    assert calibration.size == (WIDTH, HEIGHT)
    assert calibration.lens.matrix == pytest.approx(BARREL.matrix)
    assert calibration.lens.distortion == pytest.approx(BARREL.distortion)


def test_frames_of_another_size_have_the_lens_scaled(tmp_path: Path) -> None:
    """The same ray through the same place of the image."""
    opencv_file(tmp_path / "a.yml")
    calibration = read_calibration(tmp_path / "a.yml")
    large, own = calibration.for_frames(2 * WIDTH, 2 * HEIGHT), calibration.for_frames(WIDTH, HEIGHT)
    pixel = np.array([100.0, 50.0])  # the centre of the first pixel is 0
    assert large._ray(2 * pixel + 0.5) == pytest.approx(own._ray(pixel))


def test_names_of_opencvs_examples_in_python_are_known(tmp_path: Path) -> None:
    matrix, distortion = [[600, 0, 320], [0, 600, 240], [0, 0, 1]], [[0.3, -0.2, 0, 0, 0.1]]
    values = {"camera_matrix": matrix, "dist_coeff": distortion, "image_size": [640, 480]}
    (tmp_path / "a.json").write_text(json.dumps(values))
    found = read_calibration(tmp_path / "a.json")
    assert found.lens.distortion == (0.3, -0.2, 0.0, 0.0, 0.1)
    assert found.size == (640, 480)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("junk", "can't be read as YAML, XML or JSON"),
        ('{"fx": ', "can't be read as YAML, XML or JSON"),
        ('{"a": 1}', r"has neither camera_matrix nor fx, fy, cx, cy"),
        ('{"fx": 1, "fy": 1, "cx": 1}', r"has neither camera_matrix nor cy"),
        ('{"fx": "wide", "fy": 1, "cx": 1, "cy": 1}', r"field 'fx' is 'wide'; expected 1 finite number\."),
        ('{"fx": 0, "fy": 1, "cx": 1, "cy": 1}', r"focal lengths are 0 and 1 pixels, expected more than 0"),
        ('{"K": [1, 2, 3]}', r"field 'K' is 3 values, .*expected 9 finite numbers"),
        ('{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "D": [1, 2]}', r"field 'D' is 2 values, .*expected 0 or 4 or 5 or 8"),
        ('{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "width": 0, "height": 4}', r"images have 0 × 4 pixels"),
        (
            '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "k1": 0.1}',
            r"field 'k1' isn't known; give distortion as 'distortion': ",
        ),
        ('{"K": [9, 0, 1, 0, 9, 1, 0, 0, 1], "dist": [1, 2, 3, 4]}', r"field 'dist' isn't known; give distortion as"),
        (
            '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "image_size": [640]}',
            r"field 'image_size' is 1 values, .*expected 2 fin",
        ),
        ('{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "distortion_model": "equidistant"}', "is of a fisheye lens"),
    ],
)
def test_what_is_no_calibration_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / ("a.json" if text.startswith("{") else "a.yml")
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        read_calibration(path)
    assert str(raised.value).startswith(str(path))


def test_a_calibration_of_another_camera_is_refused(tmp_path: Path) -> None:
    opencv_file(tmp_path / "a.yml")
    with pytest.raises(UserError, match=r"is of images of 640 × 480 pixels, and the frames have 1280 × 720"):
        read_calibration(tmp_path / "a.yml").for_frames(1280, 720)
    (tmp_path / "b.json").write_text('{"fx": 900, "fy": 900, "cx": 960, "cy": 540}')
    for size in ((WIDTH, HEIGHT), (3840, 2160)):
        with pytest.raises(UserError, match=r"its centre 960, 540 isn't near the middle of frames of \d+ × \d+"):
            read_calibration(tmp_path / "b.json").for_frames(*size)
    with pytest.raises(UserError, match=r"nowhere\.yml: no such file"):
        read_calibration(tmp_path / "nowhere.yml")
