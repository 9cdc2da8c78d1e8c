"""Light: lamps with soft shadows, and what comes from all around. Directions point towards where light comes from."""

from dataclasses import dataclass

import numpy as np

from trackertraincode.rendering.rasterizer import facets, facing, nearest_depth, planes

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
    """What light falls on, all parts of an image together. float32."""

    points: np.ndarray  # (V, 3) pixels
    normals: np.ndarray  # (V, 3) in the image's frame
    tangents: np.ndarray  # (H, 3) along hair, which is the last H of them
    albedo: np.ndarray  # (3, V)
    gloss: np.ndarray  # (V,) share that is mirrored
    sharpness: np.ndarray  # (V,) exponent of the highlight
    openness: np.ndarray  # (V,) share of the surroundings that can be seen from there
    visibility: np.ndarray  # (V,) share of the first lamp


def shade(lit: Lit, lighting: Lighting) -> np.ndarray:
    """(3, V) light that a camera sees, linear and not clipped."""
    n = lit.normals
    sky, ground = lighting.sky, lighting.ground
    around = n @ np.array([lighting.side, 0.5 * (ground - sky), 0.0], np.float32) + np.float32(0.5 * (sky + ground))
    around = np.maximum(around, 0.0) * lit.openness
    total = np.stack([around] * 3)
    mirrored = np.zeros(len(n), np.float32)
    recessed = 0.4 + 0.6 * lit.openness  # what lies deep gets less from lamps too, which have a size
    hairy = slice(len(n) - len(lit.tangents), None)
    wrap = np.full(len(n), WRAP, np.float32)
    wrap[hairy] = HAIR_WRAP
    for index, lamp in enumerate(lighting.lamps):
        direction = np.array(lamp.direction, np.float32)
        amount = np.maximum((n @ direction + wrap) / (1.0 + wrap), 0.0) * (lamp.strength * recessed)
        halfway = direction - np.array([0.0, 0.0, 1.0], np.float32)
        halfway = (halfway / (np.linalg.norm(halfway) + 1e-9)).astype(np.float32)
        shown = np.clip(n @ halfway, 0.0, 1.0)
        shown[hairy] = np.sqrt(np.maximum(1.0 - (lit.tangents @ halfway) ** 2, 0.0)) * (shown[hairy] > 0)
        shining = np.flatnonzero(shown > 0.6)  # elsewhere, no highlight is left
        shine = shown[shining] ** lit.sharpness[shining] * np.float32(lamp.strength)
        if index == 0:
            amount, shine = amount * lit.visibility, shine * lit.visibility[shining]
        total += amount * np.array(lamp.tint, np.float32)[:, None]
        mirrored[shining] += shine
    return lit.albedo**2 * total + 0.5 * lit.gloss * mirrored


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
    wanted: ids of the points to tell about, all by default. Of closed meshes, casters that face the lamp are enough.
    """
    forward = -np.array(direction)
    right = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0], forward)
    right /= np.linalg.norm(right)
    scaled = np.stack([right, np.cross(forward, right), forward], axis=1) * PER_RADIUS
    view = points.astype(np.float32) @ scaled.astype(np.float32)
    view += ([SHADOW_MAP / 2, SHADOW_MAP / 2, 0.0] - MIDDLE @ scaled).astype(np.float32)
    nearest = nearest_depth(view[: int(casters.max()) + 1], casters, SHADOW_MAP, SHADOW_MAP)
    spread = max(softness * PER_RADIUS, 0.7)
    # A surface that slopes away from the lamp is nearer to it a little aside, which is no shadow.
    cosine = np.clip(np.abs(normals[wanted] @ forward.astype(np.float32)), 0.3, 1.0)
    x, y, z = planes(view[wanted])
    limit = z - np.float32(0.04 * PER_RADIUS) - np.float32(1.5 * spread + 1.0) * (np.sqrt(1.0 - cosine**2) / cosine)
    total = np.zeros(len(z), np.float32)
    for dx, dy in TAPS:
        column, row = (np.clip(v + spread * d, 0, SHADOW_MAP - 1).astype(np.int32) for v, d in ((x, dx), (y, dy)))
        total += limit <= nearest.take(row * SHADOW_MAP + column)
    return total / len(TAPS)


def openness(points: np.ndarray, triangles: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(V,) share of the surroundings that each vertex sees, in 0 … 1. Points in head radii; done once for a head."""
    index = np.arange(DIRECTIONS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / DIRECTIONS), np.pi * (1 + 5**0.5) * index
    total, most = np.zeros(len(points)), np.full(len(points), 1e-6)
    flat = facets(points, triangles)
    for direction in np.stack(
        [np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1
    ):
        share = np.clip(normals @ direction, 0.0, 1.0)
        x, y, z = (float(v) for v in direction)
        total += share * lamp_visibility(points, normals, facing(triangles, flat, -direction), (x, y, z), 0.0)
        most += share
    return total / most
