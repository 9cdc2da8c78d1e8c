"""What rendered faces are made of: every entry of the tables can be drawn, and none of them touches the labels."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.rendering import covers, hair
from trackertraincode.rendering.assets import ellipsoid
from trackertraincode.rendering.background import ROWS, SCENERIES
from trackertraincode.rendering.camera_effects import EFFECTS, CameraEffects, apply_camera
from trackertraincode.rendering.clothes import NECKLINES, PATTERNS
from trackertraincode.rendering.expressions import MOODS, WIDE, draw_expression
from trackertraincode.rendering.foreground import OCCLUDERS, draw_occluders
from trackertraincode.rendering.hair import STYLES, Hair, grow
from trackertraincode.rendering.labels import CLASSES
from trackertraincode.rendering.lighting import MIDDLE, SETUPS, Lighting, lamp_visibility
from trackertraincode.rendering.person import HEADWEAR_SHARES, Person
from trackertraincode.rendering.rasterizer import Surface, vertex_normals
from trackertraincode.rendering.scene import FaceScene, _draw, render_scene
from trackertraincode.rendering.strands import HairLayer, draw_strands
from trackertraincode.sample.images import decode, decode_labels
from trackertraincode.sample.sample import Sample

SIZE = 64


def scene(seed: int = 0) -> FaceScene:
    drawn = FaceScene.draw(np.random.default_rng(seed))
    person = replace(drawn.person, glasses="", headwear="", hair=replace(drawn.person.hair, style="bald"))
    return replace(
        drawn,
        person=person,
        occluders=0,
        camera=CameraEffects(),
        pitch_yaw_roll=(0.1, 0.4, 0.0),
        head=(0.5, 0.45, 0.22),
    )


def pixels(sample: Sample) -> np.ndarray:
    assert isinstance(sample.image, bytes)
    return decode(sample.image, color=True).astype(int)


def assert_same_labels(one: Sample, other: Sample) -> None:
    for name in ("landmarks", "landmarks_2d", "face_box", "head", "rotation", "shape"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("worn", [*(name for name in HEADWEAR_SHARES if name), *STYLES, "clear", "dark"])
def test_what_a_person_wears_shows_and_leaves_the_labels_alone(worn: str) -> None:
    plain = scene(3)
    person = plain.person
    if worn in HEADWEAR_SHARES:
        person = replace(person, headwear=worn)
    elif worn in STYLES:
        person = replace(person, hair=replace(person.hair, style=worn, length=float(np.mean(STYLES[worn].length))))
    else:
        person = replace(person, glasses=worn, glasses_color=(0.0, 0.0, 0.0))
    bare, dressed = (render_scene(replace(plain, person=p), SIZE) for p in (plain.person, person))
    assert_same_labels(bare, dressed)
    changed = np.abs(pixels(bare) - pixels(dressed)).max(-1) > 30
    assert (changed.sum() > 15) == (worn != "bald")


@pytest.mark.parametrize("neckline", NECKLINES)
def test_every_neckline_can_be_drawn(neckline: str) -> None:
    plain = scene(4)
    sample = render_scene(replace(plain, person=replace(plain.person, neckline=neckline)), SIZE, segmentation=True)
    assert isinstance(sample.segmentation, bytes)
    assert (decode_labels(sample.segmentation) == CLASSES["clothing"]).any()


@pytest.mark.parametrize("name", EFFECTS)
def test_every_camera_effect_changes_the_image_the_same_way_each_time(name: str) -> None:
    image = np.random.default_rng(1).random((40, 50, 3), dtype=np.float32)
    plain = apply_camera(image, CameraEffects())
    effects = CameraEffects(chosen={name: EFFECTS[name].draw(np.random.default_rng(2))}, seed=3)
    changed = apply_camera(image.copy(), effects)
    assert changed.dtype == np.uint8
    assert changed.shape == plain.shape
    assert not np.array_equal(changed, plain)
    assert np.array_equal(changed, apply_camera(image.copy(), effects))


def middle_of(image: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Of what is bright around a place, pixels from the corner."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    weight = image * (np.hypot(columns - x, rows - y) < 24)
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


@pytest.mark.parametrize("factor", [0.31, 0.47, 0.62])
def test_low_resolution_moves_nothing(factor: float) -> None:
    """Labels would lie beside it."""
    rows, columns = np.mgrid[:193, :255] + 0.5
    image = np.exp(-((columns - 200) ** 2 + (rows - 150) ** 2) / (2 * 6.0**2)).astype(np.float32)
    effects = CameraEffects(chosen={"low_resolution": (factor,)}, seed=0)
    seen = apply_camera(np.repeat(image[..., None], 3, axis=2), effects)[..., 0].astype(np.float64)
    assert middle_of(seen - seen.min(), 200, 150) == pytest.approx((200, 150), abs=0.15)


@pytest.mark.parametrize("size", [(16, 16), (17, 17), (129, 65), (65, 129), (192, 192)])
def test_pixels_lie_where_their_points_are(size: tuple[int, int]) -> None:
    """Whatever the size of the image."""
    width, height = size
    rows, columns = np.mgrid[:height, :width] + 0.5
    off = []
    for low, high in np.random.default_rng(0).uniform([[0.1], [0.6]], [[0.4], [0.9]], (60, 2, 2)):
        (left, top), (right, bottom) = low * size, high * size
        corners = [[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]]
        square = Surface(np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]]), np.ones((4, 3), np.float32))
        alpha = _draw(square, width, height)[1]
        middle = [(axis * alpha).sum() / alpha.sum() for axis in (columns, rows)]
        off.append(np.array(middle) - [(left + right) / 2, (top + bottom) / 2])
    assert np.abs(np.mean(off, axis=0)).max() < 0.07  # edges are hard, so that one square is off by more


@pytest.mark.parametrize("name", SCENERIES)
def test_every_scenery_fills_the_image(name: str) -> None:
    one, same, other = (SCENERIES[name][1](np.random.default_rng(seed), 90) for seed in (0, 0, 1))
    assert one.shape[0] >= ROWS
    assert one.shape[1] / one.shape[0] == pytest.approx(90 / ROWS, rel=0.02)
    assert one.shape[2] == 3
    assert np.isfinite(one).all()
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", OCCLUDERS)
def test_occluders_are_where_their_mask_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackertraincode.rendering.foreground.OCCLUDERS", {name: OCCLUDERS[name]})
    image = np.full((128, 128, 3), 0.5, np.float32)
    hidden = draw_occluders(np.random.default_rng(5), 1, np.array([30.0, 30, 100, 100]), image)
    assert 20 < hidden.sum() < hidden.size / 2
    far = ~hidden
    for shift in (-12, 12):
        far &= ~np.roll(hidden, shift, 0) & ~np.roll(hidden, shift, 1)
    assert np.abs(image[hidden] - 0.5).mean() > 3 * np.abs(image[far] - 0.5).mean()


def test_occluders_throw_shadows_away_from_the_lamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackertraincode.rendering.foreground.OCCLUDERS", {"card": OCCLUDERS["card"]})
    sides = []
    for x in (-0.7, 0.7):
        image = np.full((128, 128, 3), 0.5, np.float32)
        hidden = draw_occluders(np.random.default_rng(2), 1, np.array([30.0, 30, 100, 100]), image, lamp=(x, 0.0, -0.7))
        columns = np.nonzero(hidden.any(0))[0]
        rows = np.nonzero(hidden.any(1))[0]
        beside = image[rows.min() : rows.max() + 1, :, 0]
        sides.append((beside[:, columns.min() - 5].mean(), beside[:, columns.max() + 5].mean()))
    (left, right), (mirrored_left, mirrored_right) = sides
    assert right < left
    assert mirrored_left < mirrored_right


def test_shares_are_probabilities() -> None:
    for shares in (
        [share for share, _ in SCENERIES.values()], [share for share, _ in MOODS.values()],
        [setup.weight for setup in SETUPS.values()], list(HEADWEAR_SHARES.values()),
        [neckline.share for neckline in NECKLINES.values()], [share for share, _ in PATTERNS.values()],
    ):  # fmt: skip
        assert sum(shares) == pytest.approx(1.0)


def test_strands_keep_out_of_the_skull_and_hang_down_when_long() -> None:
    model = embedded_head()
    growth = np.ones(len(model.vertices)) * (model.vertices[:, 1] < -0.5)
    long = replace(Hair.draw(np.random.default_rng(0)), style="long", length=2.5, volume=0.05, curls=0.0, back=0.0)
    strands = grow(replace(long, fringe=-2.0), model, model.vertices, growth)
    assert strands is not None
    above = strands.vertices[strands.vertices[:, 1] < hair.SKULL_CENTER[1]]
    distance = np.linalg.norm((above - hair.SKULL_CENTER) / hair.SKULL_RADII, axis=1)
    assert np.quantile(distance, 0.1) > 0.95
    assert strands.vertices[:, 1].max() > 0.7
    assert grow(replace(long, style="bald"), model, model.vertices, growth) is None


def test_the_density_of_hair_is_what_it_hides() -> None:
    """Nothing where there is none, nearly everything where it is thick, and something between at thin places."""
    shares = []
    for density in (0.0, 0.4, 1.0):
        amount = np.full((80, 80), density, np.float32)
        direction = np.zeros_like(amount), np.ones_like(amount)
        layer = HairLayer(np.zeros((80, 80, 3), np.float32), direction, amount, np.ceil(amount))
        image = np.ones((80, 80, 3), np.float32)
        draw_strands(image, layer, 40.0, 0.3, np.random.default_rng(3))
        assert 0.0 <= image.min() <= image.max() <= 1.0
        shares.append(1.0 - image.mean())
    assert shares[0] == 0.0
    assert 0.1 < shares[1] < 0.7
    assert shares[2] > 0.95


def test_strands_reach_beyond_hair_by_their_length_at_most() -> None:
    amount = np.zeros((120, 120), np.float32)
    amount[40:80, 40:80] = 1.0
    image = np.ones((120, 120, 3), np.float32)
    layer = HairLayer(np.zeros_like(image), (np.ones_like(amount), np.zeros_like(amount)), amount, amount)
    draw_strands(image, layer, 50.0, 0.0, np.random.default_rng(3))
    rows, columns = np.nonzero(image[..., 0] < 1.0)
    assert rows.min() > 30
    assert rows.max() < 90
    assert columns.min() > 20
    assert columns.max() < 100


def test_beards_and_brows_lie_over_the_skin() -> None:
    person = Person.draw(np.random.default_rng(2), EMBEDDED)
    model = person.model
    normals = vertex_normals(model.vertices, model.triangles)
    looks = replace(person.looks, beard=0.9, moustache=0.9, brow_strength=0.9)
    for cover in (
        covers.beard(model, model.vertices, normals, looks),
        covers.brows(model, model.vertices, normals, looks),
    ):
        grown = cover.points[cover.density > 0.5]
        assert len(grown) > 20
        assert (np.abs(grown[:, 0]) < 0.8).all()
        assert np.allclose(np.linalg.norm(cover.tangents, axis=1), 1.0, atol=1e-3)
        assert np.abs((cover.tangents * cover.normals).sum(1)).max() < 1e-3
        assert cover.triangles.max() < len(cover.points)


def test_a_lamp_reaches_what_nothing_hides() -> None:
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    behind = np.array([[0.0, 0, 1.0], [0.0, 0.0, -1.0], [1.6, 0.0, 1.0]])
    points = np.concatenate([square * 0.5, behind])
    quad = np.array([[0, 1, 2], [0, 2, 3]])
    reached = lamp_visibility(points, np.tile([0.0, 0, -1], (7, 1)), quad, (0.0, 0.0, -1.0), 0.0)
    assert reached[4:].tolist() == [0.0, 1.0, 1.0]


def test_a_round_surface_does_not_shadow_itself_where_it_faces_the_lamp() -> None:
    vertices, _ = ellipsoid(40, 60)
    triangles = ConvexHull(vertices).simplices  # closed also at the poles
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    inwards = (np.cross(b - a, c - a) * a).sum(1) < 0
    triangles[inwards] = triangles[inwards][:, ::-1]
    lamp = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    x, y, z = (float(v) for v in lamp)
    for softness in (0.0, 0.12):
        reached = lamp_visibility(vertices + MIDDLE, vertices, triangles, (x, y, z), softness)
        assert reached[vertices @ lamp > 0.4].min() == 1.0
        assert reached[vertices @ lamp < -0.6].max() == 0.0  # nearer to the rim is half-shade


def test_the_face_has_the_brightness_that_light_is_set_to() -> None:
    base = scene(6)
    lighting = Lighting.draw(np.random.default_rng(1))
    samples = [render_scene(replace(base, lighting=replace(lighting, level=level)), SIZE) for level in (0.2, 0.4)]
    landmarks = samples[0].landmarks
    assert landmarks is not None
    x, y = (int(v) for v in landmarks[30, :2])
    dark, bright = (pixels(s)[y - 3 : y + 4, x - 3 : x + 4].mean() for s in samples)
    assert bright == pytest.approx(2.0 * dark, rel=0.1)


def test_moods_are_expressions_that_the_heads_have() -> None:
    expressions = np.stack([draw_expression(np.random.default_rng(i)) for i in range(200)])
    assert expressions.shape == (200, 10)
    assert (expressions[:, 2] >= 0).all()
    assert WIDE <= expressions[:, :2].min() < 0
    assert np.abs(expressions).max() <= 1.0
    assert 4 < (expressions[:, :2].min(1) > 0.85).sum() < 40


def test_people_draw_the_same_from_the_same_seed() -> None:
    first, again = (Person.draw(np.random.default_rng(9), EMBEDDED) for _ in range(2))
    assert np.array_equal(first.shape, again.shape)
    assert (first.looks, first.hair, first.headwear) == (again.looks, again.hair, again.headwear)
