"""One synthetic face: everything random is drawn once into a FaceScene; rendering it is a pure function."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from trackertraincode.facemodel.embedded import NAME, embedded_head
from trackertraincode.facemodel.embedded_modes import EXPRESSION_STD
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.rendering import assets
from trackertraincode.rendering.background import draw_background
from trackertraincode.rendering.camera_effects import CameraEffects, apply_camera, draw_occluders
from trackertraincode.rendering.labels import segmentation_of
from trackertraincode.rendering.materials import hairiness, head_colors
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import Surface, front_faces, join_surfaces, rasterize, vertex_normals
from trackertraincode.sample.images import encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample

FACE_MODEL = NAME
MAX_PITCH, MAX_YAW, MAX_ROLL = (np.radians(v) for v in (60.0, 90.0, 60.0))
SUPERSAMPLING = 2


@dataclass(frozen=True, kw_only=True)
class FaceScene:
    """One image. Replace a field to change just that, such as `expression` for the same face with closed eyes."""

    person: Person
    expression: np.ndarray  # (10,)
    pitch_yaw_roll: tuple[float, float, float]  # AFLW convention, radians
    head: tuple[float, float, float]  # x, y, radius as shares of the image's edge
    gaze: tuple[float, float]
    light: tuple[float, float, float]  # direction the light comes from, unit
    ambient: float
    light_color: tuple[float, float, float]
    shine: float
    background_seed: int
    occluders: int
    camera: CameraEffects

    @staticmethod
    def draw(rng: np.random.Generator, person: Person | None = None, spread: float = 1.0) -> "FaceScene":
        """A random image. spread: scales the angles' spread; 1 covers yaw to 90, pitch and roll to 60 degrees."""
        direction = rng.normal(size=3) * [1.0, 0.6, 0.5] + [0.0, -0.8, -1.0]
        x, y, z = (float(v) for v in direction / np.linalg.norm(direction))
        tint = [float(v) for v in np.clip(1.0 + rng.normal(0.0, 0.06, 3), 0.8, 1.2)]
        radius = rng.uniform(0.17, 0.25)
        return FaceScene(
            person=person or Person.draw(rng),
            expression=draw_expression(rng),
            pitch_yaw_roll=_draw_angles(rng, spread),
            head=(float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.36, 0.48)), float(radius)),
            gaze=(float(np.clip(rng.normal(0, 0.025), -0.06, 0.06)), float(np.clip(rng.normal(0, 0.01), -0.02, 0.02))),
            light=(x, y, z),
            ambient=float(rng.uniform(0.15, 0.65)),
            light_color=(tint[0], tint[1], tint[2]),
            shine=float(rng.uniform(0.0, 0.25)),
            background_seed=int(rng.integers(2**31)),
            occluders=int(rng.choice([0, 1, 2], p=[0.88, 0.09, 0.03])),
            camera=CameraEffects.draw(rng),
        )

    @property
    def coefficients(self) -> np.ndarray:
        """(50,) of the embedded head."""
        return np.concatenate([self.person.shape, self.expression])

    def with_closed_eyes(self) -> "FaceScene":
        """The same image with both eyes shut."""
        return replace(self, expression=np.concatenate([[1.0, 1.0], self.expression[2:]]))


def draw_expression(rng: np.random.Generator) -> np.ndarray:
    """(10,): mostly mild; one face in ten has its eyes shut, one in thirty winks."""
    weights = rng.normal(0.0, 1.0, 10) * EXPRESSION_STD * (rng.random(10) < 0.6)
    lids = abs(rng.normal(0.0, 0.2))
    weights[:2] = min(lids, 0.6)
    choice = rng.random()
    if choice < 0.1:
        weights[:2] = rng.uniform(0.9, 1.0)
    elif choice < 0.13:
        weights[rng.integers(2)] = 1.0
    weights[2] = min(abs(weights[2]), 1.0)
    return np.clip(weights, -1.0, 1.0)


def _draw_angles(rng: np.random.Generator, spread: float) -> tuple[float, float, float]:
    """Half the faces within about 25 degrees of frontal, the rest spread over the whole range."""
    limits = np.array([MAX_PITCH, MAX_YAW, MAX_ROLL]) * spread
    if rng.random() < 0.5:
        angles = np.clip(rng.normal(0.0, 1.0, 3) * np.radians([12.0, 22.0, 10.0]) * spread, -limits, limits)
    else:
        angles = rng.uniform(-1.0, 1.0, 3) * limits * [0.75, 1.0, 0.6]
        if rng.random() < 0.2:
            angles = rng.uniform(-1.0, 1.0, 3) * limits
    pitch, yaw, roll = (float(a) for a in angles)
    return pitch, yaw, roll


def render_scene(scene: FaceScene, width: int, height: int | None = None, *, segmentation: bool = False) -> Sample:
    """Image and exact labels. All labels count from the image's corner."""
    height = height or width
    head_model = embedded_head()
    edge = min(width, height)
    R = aflw_to_matrix(torch.tensor(scene.pitch_yaw_roll, dtype=torch.float64)).numpy()
    center = np.array([scene.head[0] * width, scene.head[1] * height])
    radius = scene.head[2] * edge
    local = head_model.deform(scene.coefficients)
    surfaces = _lit_surfaces(scene, local, R, center, radius)
    face = local[head_model.face_mask] @ R[:2].T * radius + center
    box = np.concatenate([face.min(0), face.max(0)])
    big = SUPERSAMPLING
    joined = join_surfaces(list(surfaces.values()))
    scaled = replace(joined, points=joined.points * [big, big, 1.0])
    color, covered = rasterize(scaled, width * big, height * big)
    color = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(covered.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[..., None]
    image = color + (1.0 - alpha) * draw_background(np.random.default_rng(scene.background_seed), width, height)
    occluder_rng = np.random.default_rng([scene.background_seed, 1])
    hidden = draw_occluders(occluder_rng, scene.occluders, box, image) if scene.occluders else None
    quat = Rotation.from_matrix(R).as_quat()
    landmarks = local[head_model.keypoints] @ R.T * radius
    landmarks[:, :2] += center
    landmarks[:, 2] -= landmarks[list(EYE_CORNERS), 2].mean()
    mask = segmentation_of(scene.person, surfaces, width, height, hidden) if segmentation else None
    return Sample(
        image=encode_jpeg(apply_camera(image, scene.camera)),
        rotation=quat.astype(np.float32),
        head=np.array([*center, radius]),
        face_box=box.astype(np.float32),
        landmarks=landmarks,
        landmarks_2d=landmarks[:, :2],
        shape=scene.coefficients.astype(np.float32),
        has_face=True,
        segmentation=None if mask is None else encode_png(mask),
    )


def _lit_surfaces(
    scene: FaceScene, local: np.ndarray, R: np.ndarray, center: np.ndarray, radius: float
) -> dict[str, Surface]:
    """local (V, 3) head -> everything that is drawn: head, hair, frame, lenses, body; coloured, in pixels."""
    person, model = scene.person, embedded_head()
    normals = vertex_normals(local, model.triangles)
    cover = hairiness(person.looks)
    grown = local + normals * (cover * person.looks.hair_thickness)[:, None]
    albedo = head_colors(person.looks, scene.coefficients, scene.gaze)
    occlusion = np.where(model.regions["neck"], 0.6, 1.0)
    parts = {"head": _Part(grown, model.triangles, albedo, normals @ R.T, occlusion)}
    hair = np.array(person.looks.hair)
    if person.long_hair:
        parts["hair"] = _plain(assets.long_hair(person.long_hair), hair, R, stripes=True)
    if person.glasses:
        frame, lenses = assets.glasses(person.round_lenses)
        parts["frame"] = _plain(frame, np.array(person.glasses_color), R)
        if person.glasses == "dark":
            parts["lenses"] = _plain(lenses, np.array([0.03, 0.03, 0.04]), R)
    surfaces = {}
    for name, (vertices, triangles, color, turned_normals, shade) in parts.items():
        points = vertices @ R.T * radius
        points[:, :2] += center
        if name == "head":
            triangles = front_faces(points, triangles)
        lit = light_up(color, turned_normals, scene) * shade[:, None]
        surfaces[name] = Surface(points, triangles, np.clip(lit, 0, 1).astype(np.float32))
    vertices, triangles = assets.shoulders()
    neck = np.maximum(R @ np.array([0.0, 1.45, 0.9]), [-np.inf, 1.15, 0.75])  # stays below and behind the face
    color = np.broadcast_to(np.array(person.clothes), vertices.shape)
    lit = light_up(color, vertex_normals(vertices, triangles), scene)
    points = (vertices + neck) * radius
    points[:, :2] += center
    surfaces["body"] = Surface(points, triangles, np.clip(lit, 0, 1).astype(np.float32))
    return surfaces


class _Part(NamedTuple):
    """A mesh in the head's frame, before light."""

    vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray
    normals: np.ndarray  # turned into the image's frame
    shade: np.ndarray  # (V,) share of the light that gets there


def _plain(mesh: assets.Mesh, color: np.ndarray, R: np.ndarray, stripes: bool = False) -> _Part:
    vertices, triangles = mesh
    colors = np.broadcast_to(color, vertices.shape)
    if stripes:  # strands run downwards
        colors = colors * (1.0 + 0.3 * np.sin(23.0 * np.arctan2(vertices[:, 0], vertices[:, 2] - 0.85)))[:, None]
    return _Part(vertices, triangles, colors, vertex_normals(vertices, triangles) @ R.T, np.ones(len(vertices)))


def light_up(color: np.ndarray, normals: np.ndarray, scene: FaceScene) -> np.ndarray:
    """Ambient, wrapped diffuse and specular light on (V, 3) colours; normals point outwards."""
    facing = normals @ np.array(scene.light)
    diffuse = np.clip((facing + 0.15) / 1.15, 0.0, 1.0)[:, None]
    halfway = np.array(scene.light) + [0.0, 0.0, -1.0]
    halfway /= np.linalg.norm(halfway)
    gloss = scene.shine * np.clip(normals @ halfway, 0.0, 1.0)[:, None] ** 18
    sky = 0.85 + 0.15 * -normals[:, 1:2]
    return color * (scene.ambient * sky + (1.15 - scene.ambient) * diffuse * np.array(scene.light_color)) + gloss
