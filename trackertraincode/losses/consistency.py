"""How much two views of one face disagree about its pose, one value per sample."""

from torch import Tensor

from trackertraincode.geometry import affine2d
from trackertraincode.losses.rotation import rotation_loss
from trackertraincode.sample.moving import move

PLACE_WEIGHT = 0.25  # of the head's place and of its size, as where labels are compared


def consistency_loss(rotation: Tensor, head: Tensor, view: Tensor) -> Tensor:
    """sin² of half the angle + (mean square of x and y + square of the size) / 4, between the views' answers.

    (2 B, 4), (2 B, 3), (2 B, 2, 3) -> (2 B,), the same for both views of a face: row i and row B + i. Answers are compared
    where the first view has them; `view` leads from there to each.
    """
    there = move({"rotation": rotation, "head": head}, affine2d.invert(view))
    (rotation, other_rotation), (head, other_head) = (there[name].chunk(2) for name in ("rotation", "head"))
    apart = (head - other_head).square()
    place = apart[:, :2].mean(-1) + apart[:, 2]
    return (rotation_loss(rotation, other_rotation) + PLACE_WEIGHT * place).repeat(2)
