"""98 and 106 points -> 68: equal to the slow definition, laws, and in the right places on real faces."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import interp1d

from trackertraincode.conversion.landmark_schemes import LAPA_COUNT, WFLW_COUNT, lapa_to_68, wflw_to_68
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER

SCHEMES = {"wflw": (WFLW_COUNT, wflw_to_68), "lapa": (LAPA_COUNT, lapa_to_68)}


def slow_wflw(p: np.ndarray) -> np.ndarray:
    """Point by point, as the annotation schemes are described."""
    jaw = [p[i] for i in range(0, 33, 2)]
    right_brow = [p[33], (p[34] + p[41]) / 2, (p[35] + p[40]) / 2, (p[36] + p[39]) / 2, (p[37] + p[38]) / 2]
    left_brow = [(p[42] + p[50]) / 2, (p[43] + p[49]) / 2, (p[44] + p[48]) / 2, (p[45] + p[47]) / 2, p[46]]
    nose = [p[i] for i in range(51, 60)]
    right_eye = [p[60], (p[61] + p[62]) / 2, (p[62] + p[63]) / 2, p[64], (p[65] + p[66]) / 2, (p[66] + p[67]) / 2]
    left_eye = [p[68], (p[69] + p[70]) / 2, (p[70] + p[71]) / 2, p[72], (p[73] + p[74]) / 2, (p[74] + p[75]) / 2]
    mouth = [p[i] for i in range(76, 96)]
    return np.array(jaw + right_brow + left_brow + nose + right_eye + left_eye + mouth)


def slow_lapa(p: np.ndarray) -> np.ndarray:
    places = [1.5 + 29 * i / 16 for i in range(17)]
    jaw = list(interp1d(np.arange(33), p[:33], kind="quadratic", axis=0)(places))
    brows = list(slow_wflw(p[:98])[17:27])
    nose = [p[51], p[52], p[53], p[54], p[57], (p[58] + p[59]) / 2, p[60], (p[61] + p[62]) / 2, p[63]]
    right_eye = [p[66], (p[67] + p[68]) / 2, (p[68] + p[69]) / 2, p[70], (p[71] + p[72]) / 2, (p[72] + p[73]) / 2]
    left_eye = [p[75], (p[76] + p[77]) / 2, (p[77] + p[78]) / 2, p[79], (p[80] + p[81]) / 2, (p[81] + p[82]) / 2]
    mouth = [p[i] for i in range(84, 104)]
    return np.array(jaw + brows + nose + right_eye + left_eye + mouth)


SLOW = {"wflw": slow_wflw, "lapa": slow_lapa}


def annotations(shared_data: Path, name: str) -> list[np.ndarray]:
    folder = shared_data / "annotated_samples" / name
    found = json.loads((folder / f"test_{name}.json").read_text())["annotations"]
    return [np.array(a["keypoints"]).reshape(-1, 3)[:, :2] for a in found]


@pytest.mark.parametrize("name", SCHEMES)
def test_equal_to_the_definition(name: str) -> None:
    count, convert = SCHEMES[name]
    points = np.random.default_rng(0).normal(200, 60, (count, 2))
    assert np.allclose(convert(points), SLOW[name](points), atol=1e-9)


@pytest.mark.parametrize("name", SCHEMES)
def test_equal_to_the_definition_on_real_faces(shared_data: Path, name: str) -> None:
    faces = annotations(shared_data, name)
    assert len(faces) == {"wflw": 4, "lapa": 2}[name]
    for points in faces:
        assert np.allclose(SCHEMES[name][1](points), SLOW[name](points), atol=1e-9)


@pytest.mark.parametrize("name", SCHEMES)
def test_moving_a_face_moves_its_landmarks(name: str) -> None:
    count, convert = SCHEMES[name]
    rng = np.random.default_rng(1)
    faces, turn, shift = rng.normal(size=(5, count, 2)), rng.normal(size=(2, 2)), rng.normal(size=2)
    assert np.allclose(convert(faces @ turn + shift), convert(faces) @ turn + shift)


def test_a_jaw_on_a_parabola_is_resampled_exactly() -> None:
    t = np.arange(33.0)
    points = np.zeros((LAPA_COUNT, 2))
    points[:33] = np.stack([t, 0.1 * (t - 16) ** 2], axis=1)
    jaw = lapa_to_68(points)[:17]
    assert np.allclose(jaw[:, 0], np.linspace(1.5, 30.5, 17))
    assert np.allclose(jaw[:, 1], 0.1 * (jaw[:, 0] - 16) ** 2)


@pytest.mark.parametrize("name", SCHEMES)
def test_real_faces_look_like_their_mirror_images(shared_data: Path, name: str) -> None:
    """Right and left are where iBUG's order says: a similarity maps the mirrored face onto the face."""
    for points in annotations(shared_data, name):
        face = SCHEMES[name][1](points)
        mirrored = (face * [-1, 1])[FLIP_ORDER.numpy()]
        residual = procrustes(mirrored, face)
        scrambled = procrustes(mirrored[::-1], face)
        assert residual < 0.35  # heads are turned
        assert residual < 0.5 * scrambled


def procrustes(source: np.ndarray, target: np.ndarray) -> float:
    """Root mean square distance after the best similarity without mirroring, relative to the target's size."""
    a, b = (p - p.mean(0) for p in (source, target))
    az, bz = a @ [1, 1j], b @ [1, 1j]
    factor = (np.conj(az) @ bz) / (np.conj(az) @ az)
    return float(np.linalg.norm(factor * az - bz) / np.linalg.norm(bz))
