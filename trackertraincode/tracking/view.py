"""What the tracker sees of a frame.

frame --look_at--> View: grey levels of the part that is seen, and its camera --pose_in a box--> HeadPose
"""

from dataclasses import dataclass, replace

import numpy as np

from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.camera import Camera, Optics
from trackertraincode.tracking.frames import as_frame
from trackertraincode.tracking.networks import FoundFace, LocalizerModel, MtcnnLocalizer, PoseModel
from trackertraincode.tracking.pose import HeadPose


@dataclass(frozen=True)
class View:
    """The part of a frame that is seen."""

    pyramid: list[np.ndarray]  # (h, w) uint8 grey, each half as large as the one before
    corner: tuple[int, int]  # where it begins in the frame, pixels
    camera: Camera
    found: FoundFace | None = None  # what the localizer says of it, where it was asked already

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width, pixels."""
        return self.pyramid[0].shape

    def touches(self, box: client.PixelBox) -> bool:
        """Whether a box has a size that heads have, and some of it is seen."""
        return client.has_usable_size(box, self.pyramid[0]) and client.touches(box, self.pyramid[0])


def part_seen(frame: np.ndarray, *, whole: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """The 4:3 middle of a (H, W[, 3]) frame, as the plugin looks at it, and where it begins; portrait frames whole."""
    return (frame, (0, 0)) if whole or frame.shape[0] > frame.shape[1] else client.crop_to_4_3(frame)


def look_at(frame: np.ndarray, optics: Optics, *, whole: bool = False) -> View:
    """Of a frame, (H, W[, 3]) as `as_frame` takes, which raises UserError for others. whole: see `part_seen`."""
    image = as_frame(frame)
    part, corner = part_seen(image, whole=whole)
    camera = optics.camera((image.shape[1], image.shape[0]), (part.shape[1], part.shape[0]), corner)
    return View(client.build_pyramid(part), corner, camera)


def level_of(localizer: LocalizerModel | MtcnnLocalizer, view: View) -> int:
    """Where a localizer looks: in the coarsest level, as the plugin does; MTCNN in the finest."""
    return len(view.pyramid) - 1 if isinstance(localizer, LocalizerModel) else 0


def look_for_face(localizer: LocalizerModel | MtcnnLocalizer, view: View) -> FoundFace:
    """As the localizer sees it in its level."""
    level = level_of(localizer, view)
    return replace(localizer(view.pyramid[level]), scale=2**level)


def pose_in(model: PoseModel, view: View, box: client.PixelBox) -> tuple[HeadPose, client.PixelBox]:
    """The pose of the head in a box of the view, in pixels of the frame; the box that the network predicts in the view."""
    patch = client.extract_patch(view.pyramid, box, model.input_size)
    outputs = model(client.network_input(patch, model.input_size))
    head, face_box = client.to_frame(patch, outputs["head"], outputs["face_box"])
    landmarks, head_tril = outputs.get("landmarks"), outputs.get("head_tril")
    half = 0.5 * patch.edge
    pose = HeadPose(
        rotation=outputs["rotation"],
        head=head,
        box=face_box,
        camera=view.camera,
        landmarks=None if landmarks is None else landmarks * half + np.array([*patch.center, 0.0]),
        rotation_tril=outputs.get("rotation_tril"),
        head_tril=None if head_tril is None else head_tril * half,
    )
    return pose.shifted(*view.corner), client.predicted_box(patch, outputs["face_box"])
