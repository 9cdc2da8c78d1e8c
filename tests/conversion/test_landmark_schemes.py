"""98 and 106 points -> 68: equal to the slow definition, laws, and in the right places on real faces."""

from pathlib import Path

import numpy as np
import pytest
from slow_landmarks import annotations, slow_lapa, slow_wflw

from trackertraincode.conversion.landmark_schemes import LAPA_COUNT, WFLW_COUNT, lapa_to_68, wflw_to_68
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER

SCHEMES = {"wflw": (WFLW_COUNT, wflw_to_68), "lapa": (LAPA_COUNT, lapa_to_68)}


SLOW = {"wflw": slow_wflw, "lapa": slow_lapa}


@pytest.mark.parametrize("name", SCHEMES)
def test_equal_to_the_definition(name: str) -> None:
    count, convert = SCHEMES[name]
    points = np.random.default_rng(0).normal(200, 60, (count, 2))
    assert np.allclose(convert(points), SLOW[name](points), atol=1e-9)


@pytest.mark.parametrize("name", SCHEMES)
def test_equal_to_the_definition_on_real_faces(shared_data: Path, name: str) -> None:
    faces = [points for _, points in annotations(shared_data, name)]
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
    for points in [points for _, points in annotations(shared_data, name)]:
        face = SCHEMES[name][1](points)
        mirrored = (face * [-1, 1])[FLIP_ORDER]
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
