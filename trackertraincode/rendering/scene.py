"""One synthetic face: everything random is drawn once into a FaceScene; rendering it is a pure function."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.landmarks68 import EYE_CORNERS
from trackertraincode.geometry.euler import aflw_to_matrix
from trackertraincode.rendering.background import draw_background
from trackertraincode.rendering.camera_effects import CameraEffects, apply_camera
from trackertraincode.rendering.expressions import draw_expression
from trackertraincode.rendering.foreground import draw_beside, draw_occluders, draw_reflections
from trackertraincode.rendering.labels import classes_of, segmentation_of
from trackertraincode.rendering.lighting import Lighting, Lit, develop, exposure, lamp_visibility, shade
from trackertraincode.rendering.parts import Part, parts_of
from trackertraincode.rendering.person import Person
from trackertraincode.rendering.rasterizer import FAR, Surface, rasterize_before, reach_of
from trackertraincode.rendering.strands import HairLayer, draw_strands, shadow_of
from trackertraincode.sample.images import encode_jpeg, encode_png
from trackertraincode.sample.sample import Sample
from trackertraincode.workers import products_in_one_thread

MAX_PITCH, MAX_YAW, MAX_ROLL = (np.radians(v) for v in (60.0, 90.0, 60.0))
NOD = np.radians(-6.0)  # median pitch of heads in photographs: zero is the pose of the head model, not a level gaze
SUPERSAMPLING = 1.5
BEHIND = 0.25  # z of normals of hair that the head hides
CASTERS = ("head", "headwear")  # cast shadows; single strands of hair would make stripes
GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, kw_only=True)
class FaceScene:
    """One image. Replace a field to change just that, such as `expression` for the same face with closed eyes."""

    person: Person
    expression: np.ndarray  # (10,)
    pitch_yaw_roll: tuple[float, float, float]  # AFLW convention, radians
    head: tuple[float, float, float]  # x, y, radius as shares of the image's edge
    gaze: tuple[float, float]
    lighting: Lighting
    background_seed: int
    occluders: int
    camera: CameraEffects
    beside: int = 0  # hands, cups and the like that are behind the person, anywhere

    @staticmethod
    def draw(
        rng: np.random.Generator,
        person: Person | None = None,
        spread: float = 1.0,
        head: str = EMBEDDED,
        max_yaw: float = MAX_YAW,
    ) -> "FaceScene":
        """A random image, of a random person with this head model where none is given.

        spread: scales the angles' spread; 1 covers yaw to `max_yaw` radians, pitch and roll to 60 degrees.
        """
        person = person or Person.draw(rng, head)
        return FaceScene(
            person=person,
            expression=draw_expression(rng),
            pitch_yaw_roll=_draw_angles(rng, spread, max_yaw),
            head=_draw_place(rng),
            gaze=(float(np.clip(rng.normal(0, 0.025), -0.06, 0.06)), float(np.clip(rng.normal(0, 0.01), -0.02, 0.02))),
            lighting=Lighting.draw(rng),
            background_seed=int(rng.integers(2**31)),
            occluders=int(rng.choice([0, 1, 2], p=[0.86, 0.11, 0.03])),
            camera=CameraEffects.draw(rng),
        )

    @property
    def coefficients(self) -> np.ndarray:
        """(50,) of the person's head model."""
        return np.concatenate([self.person.shape, self.expression])

    def with_closed_eyes(self) -> "FaceScene":
        """The same image with both eyes shut."""
        return replace(self, expression=np.concatenate([[1.0, 1.0], self.expression[2:]]))


def _draw_place(rng: np.random.Generator) -> tuple[float, float, float]:
    """Centre and radius: mostly in the middle, one in three anywhere and up to large, so that crops reach over edges."""
    if rng.random() < 0.67:
        return float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.36, 0.48)), float(rng.uniform(0.17, 0.25))
    radius = rng.uniform(0.17, 0.32)
    x, y = rng.uniform([1.0 * radius, 0.75 * radius], [1.0 - 1.0 * radius, 1.0 - 1.25 * radius])
    return float(x), float(y), float(radius)


def _draw_angles(rng: np.random.Generator, spread: float, max_yaw: float) -> tuple[float, float, float]:
    """Half the faces within about 25 degrees of frontal, the rest spread over the whole range."""
    limits = np.array([MAX_PITCH, max_yaw, MAX_ROLL]) * spread
    if rng.random() < 0.5:
        angles = rng.normal(0.0, 1.0, 3) * np.radians([13.0, 22.0, 10.0]) * spread
    else:
        angles = rng.uniform(-1.0, 1.0, 3) * limits * ([1.0, 1.0, 1.0] if rng.random() < 0.2 else [0.75, 1.0, 0.6])
    pitch, yaw, roll = (float(a) for a in np.clip(angles + [NOD * spread, 0.0, 0.0], -limits, limits))
    return pitch, yaw, roll


@products_in_one_thread()
def render_scene(scene: FaceScene, width: int, height: int | None = None, *, segmentation: bool = False) -> Sample:
    """Image and exact labels. All labels count from the image's corner."""
    height = height or width
    person, model = scene.person, scene.person.model
    R = aflw_to_matrix(torch.tensor(scene.pitch_yaw_roll, dtype=torch.float64)).numpy()
    center = np.array([scene.head[0] * width, scene.head[1] * height])
    radius = scene.head[2] * min(width, height)
    local = model.deform(scene.coefficients)
    face = local[model.face_mask] @ R[:2].T * radius + center
    box = np.concatenate([face.min(0), face.max(0)])
    parts = parts_of(person, local, scene.expression, scene.gaze, R)
    solid, hairs = _lit_surfaces(parts, scene.lighting, model, center, radius)
    color, alpha, depth = _draw(solid, width, height)
    hair = _hair_layer(hairs, [part for part in parts if part.tangents is not None], depth)
    shadow = shadow_of(hair, scene.lighting.lamps[0].direction, radius)
    lamp, skin = scene.lighting.lamps[0].direction, np.array(person.looks.skin) * 2.2 * scene.lighting.level
    background = draw_background(np.random.default_rng(scene.background_seed), width, height)
    beside_rng = np.random.default_rng([scene.background_seed, 3])
    draw_beside(beside_rng, scene.beside, float((box[2:] - box[:2]).max()), background, lamp, skin)
    image = cv2.multiply(color, cv2.merge([shadow] * 3)) + cv2.multiply(background, cv2.merge([1.0 - alpha] * 3))
    draw_strands(image, hair, radius, person.hair.frizz, np.random.default_rng([scene.background_seed, 2]))
    if person.glasses and person.reflection:
        draw_reflections(parts, person, center, radius, image)
    occluder_rng = np.random.default_rng([scene.background_seed, 1])
    hidden = draw_occluders(occluder_rng, scene.occluders, box, image, lamp, skin) if scene.occluders else None
    landmarks = local[model.keypoints] @ R.T * radius
    landmarks[:, :2] += center
    landmarks[:, 2] -= landmarks[list(EYE_CORNERS), 2].mean()
    mask = None
    if segmentation:
        classes = np.concatenate([classes_of(person, part.name, len(part.points), part.density) for part in parts])
        mask = encode_png(segmentation_of([solid, hairs], classes, width, height, hidden))
    return Sample(
        image=encode_jpeg(apply_camera(image, scene.camera)),
        rotation=Rotation.from_matrix(R).as_quat().astype(np.float32),
        head=np.array([*center, radius]),
        face_box=box.astype(np.float32),
        landmarks=landmarks,
        landmarks_2d=landmarks[:, :2],
        shape=scene.coefficients.astype(np.float32),
        has_face=True,
        segmentation=mask,
    )


def _draw(surface: Surface, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W, 3) colours, black where nothing is, (H, W) coverage and depth."""
    big = SUPERSAMPLING
    depth = np.full((round(height * big), round(width * big)), FAR, np.float32)
    by = [depth.shape[1] / width, depth.shape[0] / height, 1.0]  # not 1.5 where sizes are odd
    scaled = replace(surface, points=surface.points * by)
    # Between neighbours: at 1.5, areas have nearly the same weights (2 to 1 instead of 3 to 1), and take five times as long.
    color = cv2.resize(rasterize_before(scaled, depth), (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = cv2.resize((depth < FAR).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return color, alpha, cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)


def _hair_layer(surface: Surface, parts: list[Part], depth: np.ndarray) -> HairLayer:
    """What is seen of hair, before everything else at depth (H, W), which takes its depth. parts: those of the surface."""
    color = rasterize_before(surface, depth.copy())
    told = np.empty_like(surface.points)
    start = 0
    for part in parts:
        rows = told[start : start + len(part.points)]
        rows[:, :2] = 0.5 + 0.4 * part.length * _tangents(part)[:, :2]
        rows[:, 2] = part.density
        start += len(part.points)
    drawn = rasterize_before(replace(surface, colors=told), depth)
    right, down, density = cv2.split(drawn)
    covered = (right > 0.05).astype(np.float32)
    u, v = (cv2.addWeighted(plane, 2.5, covered, -1.25, 0.0) for plane in (right, down))
    return HairLayer(color, (u, v), density, covered)


def _lit_surfaces(
    parts: list[Part], lighting: Lighting, model: HeadModel, center: np.ndarray, radius: float
) -> tuple[Surface, Surface]:
    """All parts in pixels, in their light, exposed so that the face has the wanted brightness: what is solid, and hair."""
    counts = [len(part.points) for part in parts]
    starts = [int(start) for start in np.cumsum([0, *counts[:-1]])]
    bare = sum(part.tangents is None for part in parts)  # hair comes after them
    solid = sum(counts[:bare])
    points = np.concatenate([part.points.astype(np.float32) for part in parts])
    normals = np.concatenate([part.normals.astype(np.float32) for part in parts])
    lamp = lighting.lamps[0].direction
    x, y, z = lamp
    casters = [part.facing((-x, -y, -z)) + start for part, start in zip(parts, starts) if part.name in CASTERS]
    visibility = np.ones(len(points), np.float32)  # light reaches far into hair
    seen = np.flatnonzero(normals[:solid, 2] < 0.5)
    visibility[seen] = lamp_visibility(points, normals, np.concatenate(casters), lamp, lighting.softness, seen)
    points = points * np.float32(radius)
    points[:, :2] += center.astype(np.float32)
    lit = Lit(
        points=points,
        normals=normals,
        tangents=np.concatenate([np.zeros((0, 3), np.float32), *(_tangents(part) for part in parts[bare:])]),
        albedo=np.concatenate([part.albedo.astype(np.float32) for part in parts], axis=1),
        gloss=_each([part.gloss for part in parts], counts),
        sharpness=_each([part.sharpness for part in parts], counts),
        openness=_each([part.openness for part in parts], counts),
        visibility=visibility,
    )
    colors = shade(lit, lighting)
    away_from_eyes = np.abs(model.vertices[:, 1]) > 0.15  # a blink changes no exposure
    exposed = np.flatnonzero(model.face_mask & away_from_eyes & (lit.normals[: counts[0], 2] < -0.2))
    if len(exposed):
        albedo = float((GREY @ lit.albedo[:, exposed]).mean())
        colors *= exposure(GREY @ colors[:, exposed], lighting.level * (0.4 + albedo))
    colors = np.ascontiguousarray(develop(colors).T)
    drawn = [_seen(part) + start for part, start in zip(parts, starts)]
    reach = reach_of(points)
    hair_triangles = np.concatenate([np.zeros((0, 3), int), *drawn[bare:]]) - solid
    return (
        Surface(points[:solid], np.concatenate(drawn[:bare]), colors[:solid], reach),
        Surface(points[solid:], hair_triangles, colors[solid:], reach),
    )


def _each(values: list[np.ndarray | float], counts: list[int]) -> np.ndarray:
    """(V,) float32 of the vertices of all parts, from arrays or what is the same for a part."""
    return np.concatenate(
        [v if isinstance(v, np.ndarray) else np.full(n, v) for v, n in zip(values, counts)], dtype=np.float32
    )


def _tangents(part: Part) -> np.ndarray:
    """(V, 3) float32."""
    return np.zeros(part.points.shape, np.float32) if part.tangents is None else part.tangents.astype(np.float32)


def _seen(part: Part) -> np.ndarray:
    """The triangles (T, 3) that can show: of closed meshes those that face the viewer, of hair what isn't behind the head."""
    if part.closed:
        return part.facing((0.0, 0.0, 1.0))
    if part.tangents is None:
        return part.triangles
    return part.triangles.compress(part.normals[:, 2].take(part.triangles[:, 0]) < BEHIND, axis=0)
