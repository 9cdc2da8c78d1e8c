"""Light: lamps with soft shadows, and what comes from all around. Directions point towards where light comes from."""

from dataclasses import dataclass

import numpy as np

from trackertraincode.rendering.rasterizer import Surface, front_faces, rasterize

SHADOW_MAP, REACH = 128, 1.9  # pixels; head radii from the middle of the head to the map's edges
PER_RADIUS = SHADOW_MAP / (2.0 * REACH)
TAPS = ((-1, -0.4), (0.4, -1), (1, 0.4), (-0.4, 1), (-0.4, -0.3), (0.4, 0.3))  # around a place in the map
MIDDLE = np.array([0.0, 0.3, 0.6])  # of the head, head radii
DIRECTIONS = 48  # from which a head is looked at, for what each place sees
MOST = 0.72  # brightness of a face, on average
WRAP, HAIR_WRAP = 0.2, 0.6  # light reaches a little around, as it does under skin, and far into hair


@dataclass(frozen=True)
class Lamp:
    """Light from far away."""

    direction: tuple[float, float, float]  # unit
    strength: float
    tint: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """All light of an image."""

    lamps: tuple[Lamp, ...]  # the first one casts shadows
    sky: float  # light from above
    ground: float  # light from below
    side: float  # more of it from the right (> 0) or the left
    softness: float  # of the first lamp's shadows, head radii
    level: float  # sets the mean brightness of the face, about this for light skin

    @staticmethod
    def draw(rng: np.random.Generator) -> "Lighting":
        name = str(rng.choice(list(SETUPS), p=[s.weight for s in SETUPS.values()]))
        setup = SETUPS[name]
        lamps = []
        for center, spread, strength in setup.lamps:
            direction = rng.normal(size=3) * spread + np.array(center) * [rng.choice([-1.0, 1.0]), 1.0, 1.0]
            x, y, z = (float(v) for v in direction / np.linalg.norm(direction))
            tint = np.clip(1.0 + rng.normal(0.0, 0.08) * np.array([1.0, 0.1, -1.0]) + rng.normal(0, 0.02, 3), 0.6, 1.4)
            lamps.append(Lamp((x, y, z), float(strength * rng.uniform(0.5, 1.5)), tuple(float(t) for t in tint)))  # type: ignore[arg-type]
        sky = float(setup.ambient * rng.uniform(0.4, 1.6))
        return Lighting(
            lamps=tuple(lamps),
            sky=sky,
            ground=float(sky * rng.uniform(0.25, 0.9)),
            side=float(rng.normal(0.0, 0.2) * sky),
            softness=float(rng.uniform(0.02, 0.2)),
            level=float(np.clip(rng.normal(0.57, 0.11), 0.38, 0.85)),
        )


@dataclass(frozen=True)
class Setup:
    """Where lamps stand: centre (mirrored at random), spread, strength."""

    lamps: tuple[tuple[tuple[float, float, float], float, float], ...]
    ambient: float
    weight: float


SETUPS: dict[str, Setup] = {
    "room": Setup((((0.4, -0.9, -0.7), 0.4, 0.7), ((-0.7, -0.3, -0.6), 0.4, 0.3)), 0.5, 0.25),
    "window": Setup((((1.0, -0.3, -0.5), 0.25, 1.0),), 0.35, 0.17),
    "flash": Setup((((0.1, -0.2, -1.0), 0.1, 1.0),), 0.25, 0.14),
    "sun": Setup((((0.6, -0.9, -0.4), 0.4, 1.3),), 0.4, 0.16),
    "overcast": Setup((((0.0, -1.0, -0.3), 0.3, 0.25),), 0.9, 0.13),
    "studio": Setup((((0.8, -0.5, -0.7), 0.2, 0.9), ((-1.0, -0.2, 0.3), 0.2, 0.7)), 0.2, 0.08),
    "low key": Setup((((1.0, -0.3, 0.1), 0.25, 1.2),), 0.06, 0.04),
    "backlit": Setup((((0.5, -0.5, 0.9), 0.3, 1.6),), 0.45, 0.03),
}


@dataclass(frozen=True)
class Lit:
    """What light falls on, all parts of an image together."""

    points: np.ndarray  # (V, 3) pixels
    normals: np.ndarray  # (V, 3) in the image's frame
    tangents: np.ndarray  # (V, 3) along hair, 0 elsewhere
    albedo: np.ndarray  # (V, 3)
    gloss: np.ndarray  # (V,) share that is mirrored
    sharpness: np.ndarray  # (V,) exponent of the highlight
    openness: np.ndarray  # (V,) share of the surroundings that can be seen from there
    visibility: np.ndarray  # (V,) share of the first lamp


def shade(lit: Lit, lighting: Lighting) -> np.ndarray:
    """(V, 3) light that a camera sees, linear and not clipped."""
    n = lit.normals
    up = -n[:, 1]
    around = 0.5 * (lighting.sky + lighting.ground) + 0.5 * (lighting.sky - lighting.ground) * up
    around = np.clip(around + lighting.side * n[:, 0], 0.0, None) * lit.openness
    total = np.repeat(around[:, None], 3, axis=1)
    mirrored = np.zeros(len(n), np.float32)
    recessed = 0.4 + 0.6 * lit.openness  # what lies deep gets less from lamps too, which have a size
    hairy = (lit.tangents**2).sum(1) > 0.5
    wrap = np.where(hairy, np.float32(HAIR_WRAP), np.float32(WRAP))
    for index, lamp in enumerate(lighting.lamps):
        direction = np.array(lamp.direction, np.float32)
        amount = np.clip((n @ direction + wrap) / (1.0 + wrap), 0.0, 1.0) * lamp.strength * recessed
        halfway = direction - np.array([0.0, 0.0, 1.0], np.float32)
        halfway = (halfway / (np.linalg.norm(halfway) + 1e-9)).astype(np.float32)
        facing = np.clip(n @ halfway, 0.0, 1.0)
        along = lit.tangents[hairy] @ halfway
        facing[hairy] = np.sqrt(np.clip(1.0 - along**2, 0.0, 1.0)) * (facing[hairy] > 0)
        shining = np.flatnonzero(facing > 0.6)  # elsewhere, no highlight is left
        shine = facing[shining] ** lit.sharpness[shining] * np.float32(lamp.strength)
        if index == 0:
            amount, shine = amount * lit.visibility, shine * lit.visibility[shining]
        total += amount[:, None] * np.array(lamp.tint, np.float32)
        mirrored[shining] += shine
    return lit.albedo**2 * total + (0.5 * lit.gloss * mirrored)[:, None]


def develop(light: np.ndarray) -> np.ndarray:
    """Light (...) -> float32 brightness (...) in an image, in [0, 1): a root, as in files, bent before white as film is."""
    return np.sqrt(-np.expm1(-np.maximum(light, 0.0), dtype=np.float32))


def exposure(light: np.ndarray, brightness: float) -> float:
    """The factor for light (N,) that makes the mean of what is developed a certain brightness."""
    some = light[:: max(1, len(light) // 300)].astype(np.float32)
    low, high = 1e-4, 1e4
    for _ in range(14):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if develop(middle * some).mean() < min(brightness, MOST) else (low, middle)
    return (low * high) ** 0.5


def lamp_visibility(
    points: np.ndarray, normals: np.ndarray, casters: np.ndarray, direction: tuple[float, float, float], softness: float,
    wanted: np.ndarray | slice = slice(None),
) -> np.ndarray:  # fmt: skip
    """Share (V,) of a lamp's light that reaches points (V, 3) past triangles (T, 3) of them; those are at the first ones.

    normals: (V, 3). Lengths in head radii; points count from the head's origin. What is far from the head is lit.
    wanted: ids of the points to tell about, all by default.
    """
    forward = -np.array(direction)
    right = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0], forward)
    right /= np.linalg.norm(right)
    scaled = np.stack([right, np.cross(forward, right), forward], axis=1) * PER_RADIUS
    view = points.astype(np.float32) @ scaled.astype(np.float32) - (MIDDLE @ scaled).astype(np.float32)
    view[:, :2] += SHADOW_MAP / 2
    z = view[:, 2]
    used = int(casters.max()) + 1
    start, reach = z[:used].min(), max(float(np.ptp(z[:used])), 1e-6)
    depth = (z - start) / reach
    colors = np.repeat(depth[:used, None], 3, axis=1).astype(np.float32)
    shadow, covered = rasterize(Surface(view[:used], front_faces(view, casters), colors), SHADOW_MAP, SHADOW_MAP)
    nearest = np.where(covered, shadow[..., 0], 1e9).astype(np.float32)
    spread = max(softness * PER_RADIUS, 0.7)
    # A surface that slopes away from the lamp is nearer to it a little aside, which is no shadow.
    normals, view, depth = normals[wanted], view[wanted], depth[wanted]
    facing = np.clip(np.abs(normals @ forward.astype(np.float32)), 0.3, 1.0)
    slope = np.sqrt(1.0 - facing**2) / facing
    limit = depth - (0.04 * PER_RADIUS + (1.5 * spread + 1.0) * slope) / reach
    x, y = np.ascontiguousarray(view[:, :2].T, np.float32)
    total = np.zeros(len(view), np.float32)
    for dx, dy in TAPS:
        column, row = (np.clip(v + spread * d, 0, SHADOW_MAP - 1).astype(np.int32) for v, d in ((x, dx), (y, dy)))
        total += limit <= nearest.ravel()[row * SHADOW_MAP + column]
    return total / len(TAPS)


def openness(points: np.ndarray, triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(V,) share of the surroundings that each vertex sees, in 0 … 1. Points in head radii; done once for a head."""
    index = np.arange(DIRECTIONS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / DIRECTIONS), np.pi * (1 + 5**0.5) * index
    total, most = np.zeros(len(points)), np.full(len(points), 1e-6)
    for direction in np.stack(
        [np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1
    ):
        facing = np.clip(normals @ direction, 0.0, 1.0)
        x, y, z = (float(v) for v in direction)
        total += facing * lamp_visibility(points, normals, triangles, (x, y, z), 0.0)
        most += facing
    return total / most
