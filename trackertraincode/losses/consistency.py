"""How much two views of one face disagree about its pose, one value per sample."""

from torch import Tensor

from trackertraincode.geometry import affine2d
from trackertraincode.losses.rotation import rotation_loss
from trackertraincode.sample.moving import move

PLACE_WEIGHT = 0.25  # of the head's place and of its size, as where labels are compared
SMALL = 0.005  # disagreement, as of rotations by 0.6 degrees, below which the loss is like a square


def consistency_loss(rotation: Tensor, head: Tensor, view: Tensor) -> Tensor:
    """sqrt(d² + SMALL²) - SMALL of the views' disagreement d, where answers are compared in the first view.

    d² is sin² of half the angle + (mean square of x and y + square of the size) / 4. Its square would leave the small
    disagreements, as which users see a pose tremble, nearly free, and pull at faces that are hard in any view.
    (2 B, 4), (2 B, 3), (2 B, 2, 3) -> (2 B,), the same for both views of a face: row i and row B + i. `view` leads from
    the first view to each.
    """
    there = move({"rotation": rotation, "head": head}, affine2d.invert(view))
    (rotation, other_rotation), (head, other_head) = (there[name].chunk(2) for name in ("rotation", "head"))
    apart = (head - other_head).square()
    place = apart[:, :2].mean(-1) + apart[:, 2]
    square = rotation_loss(rotation, other_rotation) + PLACE_WEIGHT * place
    return ((square + SMALL**2).sqrt() - SMALL).repeat(2)
