"""HeadPoseTracker: give it frames, get head poses.

tracker = HeadPoseTracker()               # or HeadPoseTracker("model.onnx", "localizer.onnx")
for frame in frames:                      # (H, W) grey or (H, W, 3) RGB uint8
    pose = tracker.update(frame)          # None: no face
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from trackertraincode.errors import ConfigError
from trackertraincode.pretrained import DEFAULT, pose_network
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.camera import FieldOfView, Optics
from trackertraincode.tracking.finding import start_of
from trackertraincode.tracking.lens import optics_of
from trackertraincode.tracking.networks import PoseModel, make_localizer
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.view import View, as_frame, look_at, look_for_face, part_seen, pose_in

LOST_IOU = 0.25  # overlap of localizer and tracked box under which the localizer looks, and its box is taken
LOST_SCORE = 0.1  # localizer score under which a tracked head counts as gone; profiles score low but above
LOOK_EVERY = 15  # frames between looks whether the head is still there

USUAL_CAMERA = FieldOfView()


def estimate_pose(
    model: PoseModel,
    frame: np.ndarray,
    box: client.PixelBox,
    *,
    optics: Optics = USUAL_CAMERA,
    whole: bool = False,
) -> HeadPose:
    """The pose of the head in a known box of a frame, (H, W[, 3]) as `as_frame` takes, as the plugin answers: of a box
    whose middle isn't seen, from what lies nearest. whole: see `part_seen`.

    Raises ConfigError for a box without a size, or far larger than the frame.
    """
    view = look_at(frame, optics, whole=whole)
    (left, top), seen = view.corner, view.pyramid[0]
    if not client.has_usable_size(box, seen):
        raise ConfigError(
            f"box x, y, width, height {[float(f'{v:g}') for v in box]}: expected a width and a height above 0, at most "
            f"{client.LARGEST_BOX:g} times the image's {seen.shape[1]} × {seen.shape[0]} pixels."
        )
    return pose_in(model, view, box._replace(x=box.x - left, y=box.y - top))[0]


def check_middle(frame: np.ndarray, box: client.PixelBox, *, whole: bool = False) -> None:
    """Raise ConfigError for a box whose middle isn't seen in a frame, (H, W[, 3]). whole: see `part_seen`."""
    seen, (left, top) = part_seen(frame, whole=whole)
    if not client.has_middle_in(box._replace(x=box.x - left, y=box.y - top), seen):
        raise ConfigError(
            f"box x, y, width, height {[float(f'{v:g}') for v in box]}: its middle lies outside of what is seen, which is x "
            f"from {left} to {left + seen.shape[1]}, y from {top} to {top + seen.shape[0]}"
            f"{'' if whole else ', the 4:3 part that OpenTrack looks at'}."
        )


class HeadPoseTracker:
    """Follows one head through frames; finds it anew with the localizer when it gets lost."""

    def __init__(
        self,
        model: str | Path = DEFAULT,
        localizer: str | Path = DEFAULT,
        *,
        diagonal_fov_deg: float = client.DIAGONAL_FOV_DEG,
        lens: str | Path | None = None,
        zoom: float = 1.0,
        alpha: float = 1.0,
        localize_every: int | None = LOOK_EVERY,
        whole_frames: bool = False,
        threads: int = 1,
    ) -> None:
        """
        model, localizer: .onnx files; "default" is that of this package, and the localizer "mtcnn" is MTCNN. lens:
        calibration of the camera, of which the field of view isn't used then. zoom, alpha: see `next_box`, 1.0 as in the
        plugin. localize_every: frames between checks whether the tracked box still holds a face, and not what is between
        two; None does as the plugin: look when the box has left the place where the face was, and follow whatever is
        there until a face is found.
        whole_frames: see `part_seen`. Raises ModelFileError for files that can't be used, ConfigError for a field of view
        that isn't one, UserError for a lens that isn't one.
        """
        self._optics = optics_of(diagonal_fov_deg, lens)
        self._model = PoseModel(pose_network(model), threads)
        self._localizer = make_localizer(localizer, threads)
        self._zoom, self._alpha = zoom, alpha
        self._localize_every = localize_every
        self._whole_frames = whole_frames
        self.reset()

    def reset(self) -> None:
        """Forget the tracked head."""
        self._box: client.PixelBox | None = None  # where to look, in the part of the frame that is seen
        self._found: client.PixelBox | None = None  # where the localizer saw this head
        self._shape: tuple[int, ...] | None = None  # of the part that is seen; boxes are of it
        self._frames = self._prepared = 0

    def update(self, frame: np.ndarray) -> HeadPose | None:
        """The head's pose in this frame, (H, W) grey or (H, W, 3) RGB uint8; None where there is no face.

        Other types and orders of channels are taken as `as_frame` says; it raises UserError for what isn't a frame.
        """
        return self.follow(self.prepare(frame))

    def prepare(self, frame: np.ndarray) -> View:
        """What `follow` needs of a frame, (H, W[, 3]). Another thread may make it while `follow` is at the frame before.

        The localizer is asked where it most likely will be; `follow` asks it where this was wrong, so that poses are the
        same.
        """
        view = look_at(frame, self._optics, whole=self._whole_frames)
        due = self._localize_every and self._prepared % self._localize_every == 0
        self._prepared += 1
        return replace(view, found=look_for_face(self._localizer, view)) if due or self._box is None else view

    def follow(self, view: View) -> HeadPose | None:
        """The head's pose in the next frame, seen by `prepare`; frames come in order, those of another size are of another
        source."""
        if self._shape not in (None, view.shape):
            self._found = self._box = None
        self._shape = view.shape
        left_place = self._box is None or self._found is None or client.overlap(self._found, self._box) < LOST_IOU
        if left_place or (self._localize_every and self._frames % self._localize_every == 0):
            self._localize(view)
        self._frames += 1
        if self._box is None:
            return None
        pose, predicted = pose_in(self._model, view, self._box)
        box = client.next_box(self._box, predicted, self._zoom, self._alpha)
        self._box = box if view.touches(box) else None
        return pose

    def estimate(self, frame: np.ndarray, box: client.PixelBox) -> HeadPose:
        """The pose of the head in a known box of a frame, (H, W[, 3]); raises as `estimate_pose` and `check_middle`."""
        check_middle(as_frame(frame), box, whole=self._whole_frames)
        return estimate_pose(self._model, frame, box, optics=self._optics, whole=self._whole_frames)

    def _localize(self, view: View) -> None:
        """Keep to the box, or take the one where the face is."""
        found = view.found or look_for_face(self._localizer, view)
        box = found.box_in_view
        if found.is_face and self._box is not None and client.overlap(box, self._box) >= LOST_IOU:
            self._found = box
        elif found.accepted and client.has_usable_size(box, view.pyramid[0]):
            if self._localize_every:
                box = start_of(self._localizer, self._model, view, box, self._box)
            self._found = self._box = box
        else:
            self._found = None
            if self._localize_every and found.score < LOST_SCORE:
                self._box = None
