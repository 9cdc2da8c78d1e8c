"""HeadPoseTracker: give it frames, get head poses.

tracker = HeadPoseTracker("model.onnx", "localizer.onnx")
for frame in frames:                      # (H, W) grey or (H, W, 3) RGB uint8
    pose = tracker.update(frame)          # None: no face
"""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from trackertraincode.geometry.boxes import box_iou
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import quat_to_matrix
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.networks import LocalizerModel, MtcnnLocalizer, PoseModel

LOST_IOU = 0.25  # overlap of localizer and tracked box under which the localizer's is taken
LOST_SCORE = 0.1  # localizer score under which a tracked head counts as gone; profiles score low but above


@dataclass(frozen=True)
class HeadPose:
    """One head in one frame."""

    rotation: np.ndarray  # (4,) i, j, k, w relative to the viewing ray, image axes
    head: np.ndarray  # (3,) x, y, radius; pixels of the frame
    box: np.ndarray  # (4,) x0, y0, x1, y1; pixels of the frame
    position_mm: client.HeadPosition  # relative to the camera, OpenTrack's axes
    world_rotation: np.ndarray  # (4,) i, j, k, w relative to the camera, OpenTrack's axes
    landmarks: np.ndarray | None = None  # (68, 3) pixels of the frame
    rotation_std_deg: np.ndarray | None = None  # (3,) about the image's axes, as far as the model tells

    @property
    def pitch_yaw_roll_deg(self) -> tuple[float, float, float]:
        """Angles in the convention of AFLW2000-3D."""
        angles = matrix_to_aflw(quat_to_matrix(torch.as_tensor(self.rotation, dtype=torch.float64)))
        pitch, yaw, roll = (math.degrees(a) for a in angles.tolist())
        return pitch, yaw, roll


class HeadPoseTracker:
    """Follows one head through frames; finds it anew with the localizer when it gets lost."""

    def __init__(
        self,
        model: str | Path,
        localizer: str | Path | None = None,
        *,
        diagonal_fov_deg: float = 56.0,
        zoom: float = 1.0,
        localize_every: int = 15,
        threads: int = 1,
    ) -> None:
        """
        localizer: .onnx file; None looks for faces with MTCNN. zoom: factor of the tracked box, 1.0 as in the plugin.
        localize_every: frames between checks whether the tracked box still holds a face. Raises ModelFileError for files
        that can't be used.
        """
        self._model = PoseModel(Path(model), threads)
        self._localizer = MtcnnLocalizer() if localizer is None else LocalizerModel(Path(localizer), threads)
        self._diagonal_fov = math.radians(diagonal_fov_deg)
        self._zoom = zoom
        self._localize_every = localize_every
        self.reset()

    def reset(self) -> None:
        """Forget the tracked head."""
        self._box: client.PixelBox | None = None
        self._frames = 0

    def update(self, frame: np.ndarray) -> HeadPose | None:
        """The head's pose in this frame, (H, W) grey or (H, W, 3) RGB uint8; None where there is no face."""
        grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if self._box is None or self._frames % self._localize_every == 0:
            self._localize(grey)
        self._frames += 1
        if self._box is None:
            return None
        pose = self.estimate(grey, self._box)
        tracked = client.next_box(pose.box, self._zoom)
        inside = tracked.x < grey.shape[1] and tracked.y < grey.shape[0]
        inside &= tracked.x + tracked.width > 0 and tracked.y + tracked.height > 0
        self._box = tracked if inside and min(tracked.width, tracked.height) > 0 else None
        return pose

    def estimate(self, grey: np.ndarray, box: client.PixelBox) -> HeadPose:
        """The pose of the head in a known box of a (H, W) uint8 frame."""
        patch = client.extract_patch(client.build_pyramid(grey), box, self._model.input_size)
        outputs = self._model(client.network_input(patch, self._model.input_size))
        head, face_box = client.to_frame(patch, outputs["head"], outputs["face_box"])
        height, width = grey.shape
        position = client.world_position(head, width, height, self._diagonal_fov)
        landmarks = outputs.get("landmarks")
        if landmarks is not None:
            landmarks = landmarks * (0.5 * patch.edge) + np.array([*patch.center, 0.0])
        tril = outputs.get("rotation_tril")
        return HeadPose(
            rotation=outputs["rotation"],
            head=head,
            box=face_box,
            position_mm=position,
            world_rotation=client.world_rotation(outputs["rotation"], position),
            landmarks=landmarks,
            rotation_std_deg=None if tril is None else np.degrees(np.sqrt(np.square(tril).sum(-1))),
        )

    def _localize(self, grey: np.ndarray) -> None:
        found = self._localizer(grey)
        if not found.accepted:
            if found.score < LOST_SCORE:
                self._box = None
            return
        box = client.next_box(found.box)
        if self._box is None or _iou(self._box, box) < LOST_IOU:
            self._box = box


def _iou(a: client.PixelBox, b: client.PixelBox) -> float:
    boxes = torch.tensor([a, b], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    return float(box_iou(boxes[0], boxes[1]))
