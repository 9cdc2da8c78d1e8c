"""What the face localizer is trained on: is there a face, and where."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from trackertraincode.geometry.boxes import box_area, box_iou

BOX_WEIGHT = 2.0  # the box against the face logit; both are of order 1 before training
SMOOTH_WIDTH = 0.1  # half images; errors under it count quadratically


def face_logit_loss(logit: Tensor, has_face: Tensor) -> Tensor:
    """Binary cross entropy (B,) of logits (B,) and 0 or 1 (B,)."""
    return binary_cross_entropy_with_logits(logit, has_face, reduction="none")


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus the empty share of both boxes' bounding box, (B,) in (-1, 1] (Rezatofighi et al., arXiv 1902.09630)."""
    around = box_area(torch.cat([torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])], dim=-1))
    intersection_over_union = box_iou(a, b)
    areas = box_area(a) + box_area(b)
    union = areas / (1.0 + intersection_over_union)
    return intersection_over_union - (around - union) / around.clamp_min(torch.finfo(around.dtype).tiny)


def localizer_box_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 over the four sides plus 1 - generalised IoU; (B, 4), (B, 4) in [-1, 1] -> (B,)."""
    sides = smooth_l1_loss(pred, target, beta=SMOOTH_WIDTH, reduction="none").mean(-1)
    return sides + (1.0 - generalized_iou(pred, target))


def localizer_loss(logit_box: Tensor, has_face: Tensor, face_box: Tensor) -> dict[str, Tensor]:
    """Parts of the loss, each a scalar already divided by the batch size; boxes count only where there is a face.

    logit_box: (B, 5); has_face: (B,) 0 or 1; face_box: (B, 4), may be NaN where there is no face.
    """
    rows = has_face > 0.5
    box = localizer_box_loss(logit_box[rows, 1:], face_box[rows]).sum()
    return {
        "face": face_logit_loss(logit_box[:, 0], has_face).mean(),
        "box": BOX_WEIGHT * box / len(logit_box),
    }
