"""Every entry of the table of losses equals a slow oracle, has the right gradient, and stays finite.

A new entry is tested as soon as it is in the table; without an oracle here, it fails.
"""

import math
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from close import known
from trackertraincode.facemodel.landmarks68 import LID_POINTS
from trackertraincode.geometry.affine2d import compose, rotation, scaling, translation
from trackertraincode.geometry.rotation import quat_multiply, quat_normalize, random_quats
from trackertraincode.losses.objective import ROTATION_LOSSES, TERMS, Term, make_terms, total_loss
from trackertraincode.losses.shape_prior import ShapePrior, prior_path
from trackertraincode.sample.sample import BATCH_LABELS, Batch, Prediction, make_batch

_PATH = known(prior_path("embedded-v1"))
PRIOR = ShapePrior.load(_PATH).double()
TABLE: dict[str, Term] = {
    **make_terms(likelihood=True, consistency=1.0, shape_prior=PRIOR),
    **{f"rotation ({name})": term for name, term in ROTATION_LOSSES.items() if name != "auto"},
}
LOG_2PI = math.log(2 * math.pi)
ANSWERED = [f.name for f in fields(Prediction) if f.name in BATCH_LABELS and f.name != "rotation"]


def test_the_table_is_complete() -> None:
    assert set(TERMS) | {"shape_prior"} <= set(TABLE)
    assert set(ORACLES) == set(TABLE)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float((Rotation.from_quat(a).inv() * Rotation.from_quat(b)).magnitude())


def points(p: np.ndarray, b: np.ndarray, axes: int, jaw: float, ends: float) -> float:
    total = 0.0
    for i in range(68):
        weight = 0.0 if i in LID_POINTS else ends if i in (0, 16) else jaw if i < 16 else 1.0
        total += weight * sum((p[i][axis] - b[i][axis]) ** 2 for axis in range(axes) if not math.isnan(b[i][axis]))
    return total / 68


def mixture(error: np.ndarray, factor: np.ndarray, volume: float) -> float:
    z = np.linalg.inv(factor) @ error
    density = math.exp(-0.5 * float(z @ z) - 1.5 * LOG_2PI) / abs(np.linalg.det(factor))
    return -math.log(0.999 * density + 0.001 / volume)


def independent(p: np.ndarray, scale: np.ndarray, b: np.ndarray) -> float:
    values = [
        0.5 * ((x - y) / s) ** 2 + math.log(s) + 0.5 * LOG_2PI
        for x, s, y in zip(p.flat, scale.flat, b.flat)
        if not math.isnan(y)
    ]
    return sum(values) / len(values)


def prior(shape: np.ndarray) -> float:
    logs = []
    for weight, mean, std in zip(PRIOR.log_weights.exp().tolist(), PRIOR.means.numpy(), PRIOR.stds.numpy()):
        z = sum(((x - m) / s) ** 2 + 2 * math.log(s) + LOG_2PI for x, m, s in zip(shape, mean, std))
        logs.append(math.log(weight) - 0.5 * z)
    return -float(np.logaddexp.reduce(logs)) * 1e-3 / len(logs)


def gram(raw: np.ndarray) -> float:
    rows = [raw[:3], raw[3:]]
    return sum((float(rows[i] @ rows[j]) - (i == j)) ** 2 for i in range(2) for j in range(2))


def turn(p: dict, b: dict) -> np.ndarray:
    return (Rotation.from_quat(b["rotation"]) * Rotation.from_quat(p["rotation"]).inv()).as_rotvec()


def in_first_view(p: dict, b: dict) -> tuple[Rotation, np.ndarray, float]:
    linear, offset = b["view"][:, :2], b["view"][:, 2]
    turn = math.atan2(linear[1, 0], linear[0, 0])
    place = np.linalg.solve(linear, p["head"][:2] - offset)
    return (
        Rotation.from_euler("z", -turn) * Rotation.from_quat(p["rotation"]),
        place,
        p["head"][2] / np.hypot(*linear[:, 0]),
    )


def disagreement(p: dict, b: dict) -> float:
    (turn, place, size), (other_turn, other_place, other_size) = (
        in_first_view(p, b),
        in_first_view(p["other"], b["other"]),
    )
    apart = np.square(place - other_place).mean() + (size - other_size) ** 2
    distance = math.hypot(math.sin((turn.inv() * other_turn).magnitude() / 2), 0.5 * math.sqrt(apart))
    return math.hypot(distance, 0.005) - 0.005


ORACLES: dict[str, Callable[[dict, dict], float]] = {  # rows of prediction and batch, float64; `other`: the other view
    "rotation": lambda p, b: math.sin(angle(p["rotation"], b["rotation"]) / 2) ** 2,
    "rotation (geodesic)": lambda p, b: angle(p["rotation"], b["rotation"]),
    "xy": lambda p, b: sum((p["head"][i] - b["head"][i]) ** 2 for i in range(2)) / 2,
    "size": lambda p, b: (p["head"][2] - b["head"][2]) ** 2,
    "landmarks": lambda p, b: points(p["landmarks"], b["landmarks"], 3, 0.8, 1.0),
    "landmarks_2d": lambda p, b: points(p["landmarks"], b["landmarks_2d"], 2, 0.0, 0.0),
    "shape": lambda p, b: sum((x - y) ** 2 for x, y in zip(p["shape"], b["shape"])) / 50,
    "box": lambda p, b: sum((x - y) ** 2 for x, y in zip(p["face_box"], b["face_box"])) / 4,
    "constraint": lambda p, b: (
        gram(p["rotation_raw"]) if len(p["rotation_raw"]) == 6 else (float(p["rotation_raw"] @ p["rotation_raw"]) - 1) ** 2
    ),
    "nll_rotation": lambda p, b: mixture(turn(p, b), p["rotation_tril"], 4 * math.pi**4 / 3),
    "nll_head": lambda p, b: mixture(b["head"] - p["head"], p["head_tril"], 4.0),
    "nll_landmarks": lambda p, b: independent(p["landmarks"], p["landmarks_scale"], b["landmarks"]),
    "nll_box": lambda p, b: independent(p["face_box"], p["face_box_scale"], b["face_box"]),
    "nll_shape": lambda p, b: independent(p["shape"], p["shape_scale"], b["shape"]),
    "shape_prior": lambda p, b: prior(p["shape"]),
    "consistency": disagreement,
}  # fmt: skip


def in_float32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def make_pair(count: int = 6, raw: int = 4) -> tuple[Prediction, Batch]:
    """Predictions near the labels, as of a trained network, in float64; the first row's depths are unknown."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(count, *shape, generator=generator, dtype=torch.float64) * scale

    labels = {name: normal(*shape, scale=0.5) for name, shape in BATCH_LABELS.items()}
    labels["rotation"] = quat_normalize(random_quats(count, generator).double())
    near = quat_normalize(torch.cat([normal(3, scale=0.1), torch.ones(count, 1, dtype=torch.float64)], dim=-1))
    factor = (normal(3, 3, scale=0.1) + torch.eye(3, dtype=torch.float64) * 0.5).tril()
    scales = {name: normal(*BATCH_LABELS[name], scale=0.1).exp() for name in ("face_box", "landmarks", "shape")}
    prediction = Prediction(
        rotation=quat_multiply(near, labels["rotation"]),
        rotation_raw=normal(raw),
        rotation_tril=factor,
        head_tril=factor.flip(0),
        **{name: labels[name] + normal(*BATCH_LABELS[name], scale=0.2) for name in ANSWERED},
        **{f"{name}_scale": value for name, value in scales.items()},
    )
    labels["landmarks"][0, :, 2] = math.nan
    zeros = torch.zeros(count, dtype=torch.long)
    view = compose(rotation(normal(scale=0.3)), scaling(normal(1, scale=0.2).exp().expand(-1, 2)))
    view = compose(translation(normal(2, scale=0.3)), view)
    image, weight = torch.zeros(count, 1, 2, 2), zeros.double() + 1
    return prediction, make_batch(image, zeros, zeros, weight, view=view, **labels)


def trained_by(name: str) -> list[str]:
    """Fields of the prediction that a term has gradients for."""
    return [n for n in TABLE[name].needs if (name, n) != ("nll_shape", "shape")]


@pytest.mark.parametrize("raw", [4, 6])
@pytest.mark.parametrize("name", TABLE)
def test_values_equal_a_slow_oracle(name: str, raw: int) -> None:
    prediction, batch = make_pair(raw=raw)
    found = TABLE[name].loss(prediction, batch)

    def row(values: dict, i: int) -> dict:
        return {k: v[i].numpy() for k, v in values.items() if v is not None}

    for i, value in enumerate(found.tolist()):
        other = (i + len(batch) // 2) % len(batch)
        rows = (row(x, i) | {"other": row(x, other)} for x in (vars(prediction), batch.tensors()))
        assert value == pytest.approx(ORACLES[name](*rows), rel=1e-6), i


@pytest.mark.parametrize("raw", [4, 6])
@pytest.mark.parametrize("name", TABLE)
def test_gradients_equal_differences(name: str, raw: int) -> None:
    prediction, batch = make_pair(4, raw)
    wanted = trained_by(name)

    def loss(*inputs: torch.Tensor) -> torch.Tensor:
        return TABLE[name].loss(replace(prediction, **dict(zip(wanted, inputs))), batch)

    assert torch.autograd.gradcheck(loss, [getattr(prediction, n).requires_grad_() for n in wanted], fast_mode=True)


HALF_TURNS = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0.6, 0.0, 0.8, 0.0]])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("where", ["perfect", "same rotation, other sign", "opposite"])
@pytest.mark.parametrize("name", TABLE)
def test_finite_at_perfect_and_at_opposite_predictions(name: str, where: str, scale: float) -> None:
    """In float32, with the smallest scales that the network can predict and with useless ones."""
    prediction, batch = make_pair(4)
    prediction, batch = prediction._map(in_float32), batch._map(in_float32)
    sign = -1.0 if where == "opposite" else 1.0
    same = {n: sign * getattr(batch, n).nan_to_num() for n in ANSWERED}
    turned = {"perfect": batch.rotation, "opposite": quat_multiply(HALF_TURNS, batch.rotation)}.get(
        where, -batch.rotation
    )
    prediction = replace(
        prediction, rotation=turned, rotation_raw=turned if where != "opposite" else torch.zeros(4, 4), **same,
        **{n: torch.eye(3).expand(4, 3, 3) * scale for n in ("rotation_tril", "head_tril")},
        **{f"{n}_scale": torch.full_like(same[n], scale) for n in ("face_box", "landmarks", "shape")},
    )._map(lambda v: v.clone().requires_grad_())  # fmt: skip
    term = TABLE[name] if name != "shape_prior" else make_terms(shape_prior=ShapePrior.load(_PATH))[name]
    total, _ = total_loss(prediction, batch, {name: term})
    total.backward()
    assert torch.isfinite(total)
    for field in trained_by(name):
        assert torch.isfinite(getattr(prediction, field).grad).all(), field


def selected_rows(prediction: Prediction, batch: Batch, terms: dict[str, Term]) -> dict[str, torch.Tensor]:
    """Slow oracle of masks: each term of the rows alone that have its label."""
    parts = {}
    for name, term in terms.items():
        rows = torch.arange(len(batch)) if term.label is None else batch.present(term.label).nonzero().squeeze(-1)
        p, b = prediction.select(rows), batch.select(rows)
        parts[name] = term.weight * (term.loss(p, b) * b.weight).sum() / len(batch)
    return parts


@pytest.mark.parametrize("absent", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("rotation", ROTATION_LOSSES)
def test_rows_without_a_label_are_as_if_they_were_not_there(rotation: str, absent: float) -> None:
    prediction, batch = make_pair(50)
    prediction = prediction._map(lambda value: value.requires_grad_())
    batch.weight.copy_(torch.linspace(0.5, 2.0, 50))
    generator = torch.Generator().manual_seed(1)
    for label in batch.labels.values():
        label[torch.rand(50, generator=generator) < absent] = math.nan
    inputs = [value for value in vars(prediction).values() if value is not None]
    terms = make_terms(rotation=rotation, likelihood=True, consistency=0.5, shape_prior=PRIOR)
    expected = selected_rows(prediction, batch, terms)
    gradients = torch.autograd.grad(torch.stack(list(expected.values())).sum(), inputs)
    total, parts = total_loss(prediction, batch, terms)
    assert {k: v.item() for k, v in parts.items()} == pytest.approx(
        {k: v.item() for k, v in expected.items()}, rel=1e-9
    )
    for found, gradient in zip(torch.autograd.grad(total, inputs), gradients):
        assert found.numpy() == pytest.approx(gradient.numpy(), rel=1e-9, abs=1e-15)
