"""What is trained: one table of loss terms, each chosen by which labels a row has.

    Prediction, Batch --TERMS--> {name: weighted mean over the batch} --sum--> total

A row without a label adds 0 to that term; every term is divided by the batch size, not by the labelled rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from trackertraincode.losses.consistency import consistency_loss
from trackertraincode.losses.landmarks import landmarks_2d_loss, landmarks_loss
from trackertraincode.losses.likelihood import elements_nll, head_nll, rotation_nll
from trackertraincode.losses.rotation import geodesic_loss, rotation_loss, soft_constraint
from trackertraincode.losses.shape_prior import ShapePrior
from trackertraincode.sample.sample import Batch, Prediction

RowLoss = Callable[[Prediction, Batch], Tensor]  # B rows -> (B,)


@dataclass(frozen=True)
class Term:
    """One entry of the objective."""

    needs: tuple[str, ...]  # fields of Prediction, left out where the network lacks one; the first answers the label
    label: str | None  # field of Batch that a row must have; None: all rows count
    weight: float
    loss: RowLoss
    likelihood: bool = False  # part of --with-nll-loss
    pairs: bool = False  # part of --consistency: for batches with two views of each face
    ramped: bool = False  # its weight rises early in the run


def _position(p: Prediction, b: Batch) -> Tensor:
    """(B, 3) heads -> (B,)."""
    return (p.head[:, :2] - b.head[:, :2]).square().mean(-1)


def _size(p: Prediction, b: Batch) -> Tensor:
    """(B, 3) heads -> (B,)."""
    return (p.head[:, 2] - b.head[:, 2]).square()


def _known(value: Tensor | None) -> Tensor:
    assert value is not None, "`needs` of the term lists it"
    return value


TERMS: dict[str, Term] = {  # adding a loss is adding an entry; weights are those of the published recipe
    "rotation": Term(("rotation",), "rotation", 1.0, lambda p, b: rotation_loss(p.rotation, b.rotation)),
    "xy": Term(("head",), "head", 0.25, _position),
    "size": Term(("head",), "head", 0.25, _size),
    "landmarks": Term(
        ("landmarks",), "landmarks", 0.5, lambda p, b: landmarks_loss(_known(p.landmarks), b.landmarks)
    ),
    "landmarks_2d": Term(
        ("landmarks",), "landmarks_2d", 0.25, lambda p, b: landmarks_2d_loss(_known(p.landmarks), b.landmarks_2d)
    ),
    "shape": Term(("shape",), "shape", 0.1, lambda p, b: (_known(p.shape) - b.shape).square().mean(-1)),
    "box": Term(("face_box",), "face_box", 0.01, lambda p, b: (_known(p.face_box) - b.face_box).square().mean(-1)),
    "constraint": Term(("rotation_raw",), None, 1e-6, lambda p, b: soft_constraint(_known(p.rotation_raw))),
    "nll_rotation": Term(
        ("rotation", "rotation_tril"), "rotation", 0.005,
        lambda p, b: rotation_nll(p.rotation, _known(p.rotation_tril), b.rotation), likelihood=True,
    ),
    "nll_head": Term(
        ("head", "head_tril"), "head", 0.005, lambda p, b: head_nll(p.head, _known(p.head_tril), b.head), likelihood=True
    ),
    "nll_landmarks": Term(
        ("landmarks", "landmarks_scale"), "landmarks", 0.005,
        lambda p, b: elements_nll(_known(p.landmarks), _known(p.landmarks_scale), b.landmarks), likelihood=True,
    ),
    "nll_box": Term(
        ("face_box", "face_box_scale"), "face_box", 1e-4,
        lambda p, b: elements_nll(_known(p.face_box), _known(p.face_box_scale), b.face_box), likelihood=True,
    ),
    "nll_shape": Term(  # trains the scale alone; the published list has no such term for the coefficients
        ("shape", "shape_scale"), "shape", 0.005,
        lambda p, b: elements_nll(_known(p.shape).detach(), _known(p.shape_scale), b.shape), likelihood=True,
    ),
    "consistency": Term(
        ("rotation", "head"), None, 1.0, lambda p, b: consistency_loss(p.rotation, p.head, _known(b.view)), pairs=True,
        ramped=True,
    ),
}  # fmt: skip

GEODESIC = replace(TERMS["rotation"], loss=lambda p, b: geodesic_loss(p.rotation, b.rotation))

ROTATION_LOSSES = {"auto": TERMS["rotation"], "geodesic": GEODESIC}

SHAPE_PRIOR, SHAPE_PRIOR_WEIGHT = "shape_prior", 0.1
LOSSES = (*TERMS, SHAPE_PRIOR)  # names of all that can have a weight


def make_terms(
    *,
    rotation: str = "auto",
    likelihood: bool = False,
    ramped: bool = False,
    consistency: float = 0.0,
    shape_prior: ShapePrior | None = None,
    weights: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Term]:
    """The terms of a run.

    rotation: key of ROTATION_LOSSES. ramped: whether the likelihoods' weights rise. consistency: factor of the weights of
    terms of pairs, 0 for none. shape_prior: on the device of the network. weights: in place of the table's.
    """
    terms = {
        name: replace(term, ramped=term.ramped or (ramped and term.likelihood))
        for name, term in TERMS.items()
        if (likelihood or not term.likelihood) and (consistency or not term.pairs)
    }
    terms["rotation"] = ROTATION_LOSSES[rotation]
    if shape_prior is not None:
        prior = shape_prior
        terms[SHAPE_PRIOR] = Term(("shape",), None, SHAPE_PRIOR_WEIGHT, lambda p, b: prior(_known(p.shape)))
    return {
        name: replace(term, weight=weights.get(name, term.weight) * (consistency if term.pairs else 1.0))
        for name, term in terms.items()
    }


def total_loss(
    prediction: Prediction, batch: Batch, terms: Mapping[str, Term], ramp: Tensor | float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum () and its weighted parts (), each the sum over the B rows / B.

    ramp: factor of the terms marked as ramped. Terms of pairs are left out where a batch has one view of each face.
    """
    factors: dict[bool, Tensor | float] = {True: ramp / len(batch), False: 1.0 / len(batch)}
    used = {
        name: term
        for name, term in terms.items()
        if all(getattr(prediction, need) is not None for need in term.needs) and not (term.pairs and batch.view is None)
    }
    answers = {term.label: getattr(prediction, term.needs[0]) for term in used.values() if term.label is not None}
    labels = dict(batch.labels)
    weights: dict[str | None, Tensor] = {None: batch.weight}
    for label, answer in answers.items():
        present = batch.present(label)
        labels[label] = _filled(batch.labels[label], present, answer)
        weights[label] = torch.where(present, batch.weight, 0.0)
    filled = replace(batch, labels=labels)
    parts = {
        name: term.weight * factors[term.ramped] * (term.loss(prediction, filled) * weights[term.label]).sum()
        for name, term in used.items()
    }
    return torch.stack(list(parts.values())).sum(), parts


def _filled(label: Tensor, present: Tensor, answer: Tensor) -> Tensor:
    """(B, ...) labels with what the network says, (B, ...) and maybe longer at the end, in rows that are not `present`.

    Nothing depends on how many rows those are, so the device never waits; and NaN * 0 would be NaN in the gradient.
    """
    rows = present.reshape(-1, *[1] * (label.ndim - 1))
    return torch.where(rows, label, answer[..., : label.shape[-1]].detach())
