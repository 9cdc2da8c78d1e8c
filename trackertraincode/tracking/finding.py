"""All faces of an image, by a localizer that knows but one at a time.

view --windows--> parts --localizer--> boxes --pose network--> settled boxes --localizer, nearby--> distinct faces
"""

from collections.abc import Iterator, Sequence

import numpy as np

from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.networks import LocalizerModel, MtcnnLocalizer, PoseModel
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.view import View, level_of, pose_in

SAME_FACE = 0.5  # share of the smaller box
STAYS = 0.5  # intersection over union of the boxes that the pose network sees one after the other
MOST_UNSURE = 0.5  # of the deviation that the pose network predicts for nothing: docs/tracking.md
NEAR = 2.5  # edges of a box that the last look takes in
PARTS = ((1.0, 1.0), (0.5, 1.0), (0.5, 0.5))  # shares of width and height that windows have; neighbours overlap by half


def windows(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """x0, y0, x1, y1 of the parts of an image that are looked at, one after the other."""
    for wide, high in PARTS:
        for y in np.arange(0, 1 - high + 1e-6, high / 2 if high < 1 else 1):
            for x in np.arange(0, 1 - wide + 1e-6, wide / 2 if wide < 1 else 1):
                yield int(x * width), int(y * height), int((x + wide) * width), int((y + high) * height)


def find_faces(
    localizer: LocalizerModel | MtcnnLocalizer, model: PoseModel, view: View, known: Sequence[client.PixelBox] = ()
) -> list[client.PixelBox]:
    """Boxes in the view's pixels, the surest first, but for the known ones, which are painted over.

    Between two faces a localizer finds something of both. The pose network, which knows what a face is made of, goes to
    one of them from there, and faces that are found twice are one.
    """
    level = level_of(localizer, view)
    scale, image = 2**level, view.pyramid[level].copy()
    height, width = image.shape
    for face in known:
        x0, y0, x1, y1 = (round(v / scale) for v in (face.x, face.y, face.x + face.width, face.y + face.height))
        image[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = int(image.mean())
    distinct: list[client.PixelBox] = list(known)
    candidates = [found for window in windows(width, height) if (found := _look(localizer, image, window))]
    for _, small in sorted(candidates, reverse=True):
        box = _settled(model, view, client.PixelBox(*(v * scale for v in small)))
        if box is None or any(_shared(box, other) > SAME_FACE for other in distinct):
            continue
        if looks_like_face(localizer, view, box):
            distinct.append(box)
    return distinct[len(known) :]


def start_of(
    localizer: LocalizerModel | MtcnnLocalizer,
    model: PoseModel,
    view: View,
    box: client.PixelBox,
    tracked: client.PixelBox | None = None,
) -> client.PixelBox:
    """Where to begin with the box that a localizer gives of a whole view, which may lie between two faces.

    There, where the pose network is sure and stays; else at one of all faces that are found: the tracked one, if it is
    among them, or the surest. MTCNN tells faces apart.
    """
    pose, predicted = pose_in(model, view, box)
    good = is_sure(model, pose) and client.overlap(box, predicted) > STAYS
    if good or not isinstance(localizer, LocalizerModel):
        return box
    faces = find_faces(localizer, model, view)
    return max(faces, key=lambda face: 0.0 if tracked is None else client.overlap(face, tracked), default=box)


def looks_like_face(localizer: LocalizerModel | MtcnnLocalizer, view: View, box: client.PixelBox) -> bool:
    """Whether the localizer sees a face where a box of the view is."""
    level = level_of(localizer, view)
    image = view.pyramid[level]
    nearby = client.PixelBox(*(v / 2**level for v in box))
    found = _look(localizer, image, _around(nearby, image.shape[1], image.shape[0]))
    return found is not None and _shared(found[1], nearby) > SAME_FACE


def _settled(model: PoseModel, view: View, box: client.PixelBox) -> client.PixelBox | None:
    """Where the pose network sees the face of a box; None where it doesn't stay there, or is unsure."""
    for _ in range(3):
        before, (pose, box) = box, pose_in(model, view, box)
        if not view.touches(box):
            return None
    return box if is_sure(model, pose) and client.overlap(before, box) > STAYS else None


def is_sure(model: PoseModel, pose: HeadPose) -> bool:
    """Whether a model predicts less deviation than where there is no face; always, if it predicts none at all."""
    spread, nothing = pose.rotation_std_deg, model.std_of_nothing_deg
    return spread is None or nothing is None or bool(spread.mean() <= MOST_UNSURE * nothing)


def _shared(one: client.PixelBox, other: client.PixelBox) -> float:
    """What two boxes have in common, as a share of the smaller one."""
    common = client.overlap(one, other)  # i / (a + b - i)
    areas = one.width * one.height, other.width * other.height
    return common * sum(areas) / (1 + common) / max(min(areas), 1e-9)


def _look(
    localizer: LocalizerModel | MtcnnLocalizer, image: np.ndarray, window: tuple[int, int, int, int]
) -> tuple[float, client.PixelBox] | None:
    """Score and box, in pixels of the image, of the face in a window; None where there is none."""
    x0, y0, x1, y1 = window
    if min(x1 - x0, y1 - y0) < 2:
        return None
    answer = localizer(np.ascontiguousarray(image[y0:y1, x0:x1]))
    box = answer.box_in_view
    if not answer.accepted or not client.has_usable_size(box, image[y0:y1, x0:x1]):
        return None
    return answer.score, box._replace(x=box.x + x0, y=box.y + y0)


def _around(box: client.PixelBox, width: int, height: int) -> tuple[int, int, int, int]:
    """A window of 4:3 about a box, as far as there is an image."""
    half = NEAR / 2 * max(box.width, box.height)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    across = half * 4 / 3
    return max(0, int(x - across)), max(0, int(y - half)), min(width, int(x + across)), min(height, int(y + half))
