"""Sample files to expanded ones: which poses, what belongs together, what is skipped."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from close import assert_samples_equal, known
from conftest import run_command, run_script
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.expansion.archive import _numbered
from trackertraincode.expansion.expand import Settings, expand_row, make_source
from trackertraincode.expansion.eyelids import with_closed_eyes
from trackertraincode.expansion.heads import fitted_coefficients, head_in
from trackertraincode.expansion.poses import draw_poses
from trackertraincode.expansion.turning import Turn, angles_of, rotation_of, turn_labels
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.sample.images import decode, encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample

MODEL = embedded_head()
STEP = "--yaw-step=30"
MOVED = ("head", "landmarks", "landmarks_2d")


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (20.0, -37.0, -15.0), (-40.0, 62.0, 30.0), (0.0, -88.0, 0.0)])
def test_yaw_grows_in_steps_to_the_profile_and_never_shrinks(angles: tuple[float, float, float]) -> None:
    poses = np.degrees(draw_poses(np.radians(angles), np.radians(5.0), np.random.default_rng(0)))
    yaw = np.abs(poses[:, 1])
    assert len(poses) == np.ceil((90 - abs(angles[1])) / 5)
    assert (yaw >= abs(angles[1])).all()
    assert (yaw <= 90).all()
    assert (np.diff(yaw) > 0).all()
    assert (np.sign(poses[:, 1]) == np.sign(poses[0, 1])).all()
    if angles[1]:
        assert np.sign(poses[0, 1]) == np.sign(angles[1])


def test_pitch_and_roll_narrow_towards_the_profile() -> None:
    rng = np.random.default_rng(0)
    poses = np.degrees([draw_poses(np.zeros(3), np.radians(5.0), rng) for _ in range(300)])
    spread = np.ptp(poses, axis=0)
    for column in (0, 2):
        assert spread[0, column] > 35
        assert 10 < spread[-1, column] < 20
        assert (np.diff(spread[::4, column]) < 0).all()


@pytest.mark.parametrize("angles", [(0.0, 95.0, 0.0), (180.0, 20.0, 180.0), (10.0, 0.0, -120.0)])
def test_faces_beyond_the_profile_get_no_copies(angles: tuple[float, float, float]) -> None:
    assert draw_poses(np.radians(angles), np.radians(5.0), np.random.default_rng(0)).shape == (0, 3)


def test_originals_stay_and_form_a_sequence_with_their_copies(
    rendered: Callable[..., Sample], file_of: Callable[..., Path]
) -> None:
    originals = [rendered(0), rendered(1, -50.0)]
    source = file_of(*originals)
    run_script("expand_dataset.py", source, source.with_name("dst.h5"), STEP, "--workers=0")
    with Hdf5PoseDataset(source.with_name("dst.h5")) as dataset, Hdf5PoseDataset(source) as before:
        assert dataset.sequence_starts is not None
        assert dataset.sequence_starts.tolist() == [0, 4, 7]
        for row, old in ((0, 0), (4, 1)):
            assert dataset[row].image == before[old].image
            assert_samples_equal(replace(dataset[row], sequence=None), before[old])
        yaw = [float(np.degrees(angles_of(rotation_of(sample)))[1]) for sample in dataset]
    assert yaw[0] < yaw[1] < yaw[2] < yaw[3] <= 90
    assert yaw[4] > yaw[5] > yaw[6] >= -90
    assert "clean" in run_script("dscheck.py", source.with_name("dst.h5"), "--workers=0")


def test_sequences_of_the_source_stay(rendered: Callable[..., Sample], file_of: Callable[..., Path]) -> None:
    faces = [replace(rendered(seed, 70.0), sequence=name, individual=9) for seed, name in enumerate("aab")]
    source = file_of(*faces)
    run_script("expand_dataset.py", source, source.with_name("dst.h5"), STEP, "--workers=0")
    with Hdf5PoseDataset(source.with_name("dst.h5")) as dataset:
        assert dataset.sequence_starts is not None
        assert dataset.sequence_starts.tolist() == [0, 4, 6]
        assert {sample.individual for sample in dataset} == {9}


def test_the_same_seed_gives_the_same_file_with_any_workers(
    rendered: Callable[..., Sample], file_of: Callable[..., Path]
) -> None:
    source = file_of(rendered(0, 60.0), rendered(1, 60.0))
    contents = []
    for number, options in enumerate((["--workers=0"], ["--workers=2"], ["--workers=0", "--seed=1"])):
        path = source.with_name(f"{number}.h5")
        run_script("expand_dataset.py", source, path, STEP, "--prob-spotlight=0.5", *options)
        with Hdf5PoseDataset(path) as dataset:
            contents.append([(sample.image, np.asarray(sample.rotation).tolist()) for sample in dataset])
    assert contents[0] == contents[1] != contents[2]


def test_the_layout_of_300wlp_holds_the_same_labels(
    rendered: Callable[..., Sample], file_of: Callable[..., Path]
) -> None:
    source = file_of(rendered(0, 40.0), rendered(1, 65.0))
    for name in ("dst.h5", "dst.zip"):
        layout = "300wlp" if name.endswith("zip") else "hdf5"
        run_script("expand_dataset.py", source, source.with_name(name), STEP, "--workers=0", f"--format={layout}")
    run_script("dsprocess_300wlp.py", source.with_name("dst.zip"), source.with_name("back.h5"), "--workers=0")
    with (
        Hdf5PoseDataset(source.with_name("dst.h5")) as one,
        Hdf5PoseDataset(source.with_name("back.h5")) as other,
    ):
        assert one.sequence_starts is not None
        assert other.sequence_starts is not None
        assert one.sequence_starts.tolist() == other.sequence_starts.tolist() == [0, 3, 5]
        for a, b in zip(one, other):
            assert a.image == b.image
            for name, tolerance in (("head", 1e-3), ("shape", 1e-5), ("landmarks", 0.3)):
                np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=tolerance)
            assert (Rotation.from_quat(a.rotation) * Rotation.from_quat(b.rotation).inv()).magnitude() < 1e-4


def test_names_of_files_tell_no_copies(rendered: Callable[..., Sample]) -> None:
    """As macOS calls a copied file."""
    face = rendered(0, 60.0)
    faces = [
        replace(face, name=f"faces copy 2.h5 row {row}{copy}") for row in (0, 1) for copy in ("", " copy 1", " copy 2")
    ]
    numbered = [(face.person, face.number) for face in _numbered(iter(faces), "embedded-v1")]
    assert numbered == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize(("label", "field"), [("face_box", "rois"), ("shape", "shapeparams"), ("landmarks", "pt3d_68")])
def test_what_the_layout_of_300wlp_needs_is_named(
    rendered: Callable[..., Sample], file_of: Callable[..., Path], label: str, field: str
) -> None:
    source = file_of(replace(rendered(0, 60.0), **{label: None}))  # type: ignore[arg-type]
    words = [source, source.with_name("dst.zip"), STEP, "--workers=0", "--format=300wlp"]
    assert f"has no {field}, which the layout 300wlp needs; use --format hdf5." in run_command(
        "expand", *words, expect=1
    )


def test_closed_eyes_are_in_image_and_labels(rendered: Callable[..., Sample]) -> None:
    sample = rendered(3)
    image = decode(sample.image, color=True)
    classes = np.zeros(image.shape[:2], np.uint8)
    eyes = np.asarray(sample.landmarks)[36:48, :2]
    cv2.fillPoly(classes, [eyes[:6].round().astype(np.int32), eyes[6:].round().astype(np.int32)], 3)
    closed = with_closed_eyes(sample, image, classes, MODEL.deform(known(sample.shape)), MODEL, MODEL.name)
    assert closed is not None
    after, shut, shut_classes = closed
    assert shut_classes is not None
    assert (shut_classes == 3).sum() < 0.25 * (classes == 3).sum()  # lids are there, in what each pixel shows, too
    assert set(np.unique(shut_classes)) <= {0, 3}
    assert after.shape is not None
    assert after.shape[40:42].tolist() == [1.0, 1.0]
    for before, now in ((sample.landmarks, after.landmarks), (sample.landmarks_2d, after.landmarks_2d)):
        assert before is not None
        assert now is not None
        for over, under in ((37, 41), (38, 40), (43, 47), (44, 46)):
            open_, gap = (abs(points[under, 1] - points[over, 1]) for points in (before, now))
            assert gap < 0.4 * open_
    changed = np.abs(shut.astype(int) - image).max(-1) > 20
    x = np.nonzero(changed)[1]
    assert (x > eyes[:, 0].min() - 10).all()
    assert (x < eyes[:, 0].max() + 10).all()
    assert changed.sum() > 20


def test_profiles_have_no_eye_to_close(rendered: Callable[..., Sample]) -> None:
    sample = replace(rendered(0), rotation=Rotation.from_rotvec([0.0, np.pi, 0.0]).as_quat())
    image, local = decode(sample.image, color=True), MODEL.deform(known(sample.shape))
    assert with_closed_eyes(sample, image, None, local, MODEL, MODEL.name) is None


def test_coefficients_of_another_model_have_no_lids(rendered: Callable[..., Sample]) -> None:
    """Of BFM, the same two numbers are other expressions: landmarks alone tell that eyes are closed."""
    sample = rendered(3)
    image = decode(sample.image, color=True)
    closed = with_closed_eyes(sample, image, None, MODEL.deform(known(sample.shape)), MODEL, "bfm_noneck_v3")
    assert closed is not None
    assert np.array_equal(known(closed[0].shape), known(sample.shape))
    before, now = (np.asarray(s.landmarks) for s in (sample, closed[0]))
    assert abs(now[41, 1] - now[37, 1]) < 0.4 * abs(before[41, 1] - before[37, 1])


def test_heads_without_coefficients_follow_their_landmarks(rendered: Callable[..., Sample]) -> None:
    """On average over some faces: what is left of the distance to the mean head."""
    left, whole = [], []
    for seed in range(5, 9):
        sample = rendered(seed, 20.0)
        assert sample.head is not None
        fitted = MODEL.keypoints68(fitted_coefficients(sample, MODEL))
        true = MODEL.keypoints68(known(sample.shape))
        left.append(np.linalg.norm(fitted - true, axis=1).mean())
        whole.append(np.linalg.norm(MODEL.keypoint_mean - true, axis=1).mean())
    assert np.mean(left) < 0.3 * np.mean(whole)


def settings_for(path: Path) -> Settings:
    return Settings(source=path, face_model=None, yaw_step=0.5, closed_eyes=0.5, spotlight=0.1, seed=0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rotation": None}, r"row 1: has no pose; `ttc fit` finds it from landmarks"),
        ({"head": np.array([80.0, 80.0, 3.0])}, r"row 1: a head radius of 3.0 px, expected 6 to 320"),
        ({"head": np.array([80.0, 80.0, np.inf])}, r"row 1: a head radius of inf px"),
        ({"head": np.array([900.0, 80.0, 30.0])}, r"row 1: the head's centre \(900, 80\) lies outside of the image"),
        ({"landmarks": np.full((68, 3), 5.0)}, r"row 1: pt3d_68 lies .* head radii from the posed head"),
        ({"landmarks_2d": np.full((68, 2), 5.0)}, r"row 1: pt2d_68 lies .* head radii from the posed head"),
        (
            {"image": encode_png(np.zeros((9, 9), np.uint8))[:40]},
            r"src.h5 row 1: 40 bytes of PNG, cut off before the end",
        ),
    ],
    ids=["no pose", "tiny", "endless", "outside", "landmarks elsewhere", "2-D landmarks elsewhere", "damaged image"],
)
def test_faces_that_cannot_be_turned_are_skipped_with_a_reason(
    rendered: Callable[..., Sample], file_of: Callable[..., Path], changes: dict, reason: str
) -> None:
    good = rendered(0, 60.0)
    path = file_of(good)
    with PoseWriter(
        path, source={}, face_model=MODEL.name, optional=("rotation", "landmarks", "landmarks_2d")
    ) as writer:
        writer.write(good)
        writer.write(replace(good, **changes))
    output = run_script("expand_dataset.py", path, path.with_name("dst.h5"), STEP, "--workers=0")
    assert "1 skipped" in output
    assert re.search(reason, output), output


@pytest.mark.parametrize("kind", ["grey", "large", "pose only", "half outside"])
def test_odd_faces_are_turned(rendered: Callable[..., Sample], file_of: Callable[..., Path], kind: str) -> None:
    sample = replace(rendered(0, 70.0), segmentation=None)
    image = decode(sample.image, color=True)
    if kind == "grey":
        sample = replace(sample, image=encode_jpeg(image[..., 1]))
    elif kind == "large":
        sample = replace(sample, image=encode_jpeg(np.pad(image, ((0, 1200), (0, 1200), (0, 0)))))
    elif kind == "pose only":
        sample = Sample(image=sample.image, rotation=sample.rotation, head=sample.head)
    else:
        assert sample.head is not None
        left = int(sample.head[0]) - 2
        moved = {
            a: getattr(sample, a) - ([left, 0, 0] if a != "landmarks_2d" else [left, 0])
            for a in ("head", "landmarks", "landmarks_2d")
        }
        sample = replace(
            sample, image=encode_jpeg(image[:, left:]), face_box=known(sample.face_box) - [left, 0, left, 0], **moved
        )
    path = file_of(sample, face_model=MODEL.name)
    row = make_source(settings_for(path)).items[0]
    original, *copies = expand_row(settings_for(path), row)
    assert len(copies) == 1
    for copy in copies:
        shown = decode(copy.image, color=True)
        assert shown.max() > 100
        assert max(shown.shape) < 700
        assert copy.head is not None
        assert (copy.landmarks is None) == (kind == "pose only")
    assert original.image == sample.image


def test_a_file_without_poses_is_refused(rendered: Callable[..., Sample], file_of: Callable[..., Path]) -> None:
    path = file_of(Sample(image=rendered().image, landmarks_2d=rendered().landmarks_2d))
    output = run_script("expand_dataset.py", path, path.with_name("dst.h5"), expect=1)
    assert "has no quats and no coords, without which no face can be turned" in output
    assert not path.with_name("dst.h5").exists()


@pytest.mark.parametrize("unknown", [0.0, np.nan])
@pytest.mark.parametrize("shaped", [True, False])
def test_landmarks_without_depth_turn_with_the_head(
    rendered: Callable[..., Sample], unknown: float, shaped: bool
) -> None:
    """Not as if the face were flat: those of FaceSynthetics have x and y alone."""
    sample = rendered(3)
    flat = replace(sample, landmarks=np.asarray(sample.landmarks) * [1, 1, 0] + [0, 0, unknown])
    if not shaped:
        sample, flat = (replace(s, shape=None) for s in (sample, flat))
    moved = []
    for one in (sample, flat):
        local = head_in(one, MODEL, MODEL.name)
        after = aflw_to_matrix(torch.tensor([0.1, 0.9, 0.0], dtype=torch.float64)).numpy()
        turn = Turn(rotation_of(one), after, known(one.head).astype(np.float64))
        moved.append(np.asarray(turn_labels(one, turn, local, MODEL)["landmarks"]))
    assert np.linalg.norm(moved[1] - moved[0], axis=1).mean() < 0.06 * known(sample.head)[2]
    assert np.ptp(moved[1][:, 2]) > known(sample.head)[2]
