"""HeadPoseTracker: give it frames, get head poses.

tracker = HeadPoseTracker()               # or HeadPoseTracker("model.onnx", "localizer.onnx")
for frame in frames:                      # (H, W) grey or (H, W, 3) RGB uint8
    pose = tracker.update(frame)          # None: no face
"""

from pathlib import Path

import numpy as np

from trackertraincode.errors import ConfigError
from trackertraincode.pretrained import DEFAULT, pose_network
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.camera import Camera, FieldOfView, Optics
from trackertraincode.tracking.frames import as_frame
from trackertraincode.tracking.lens import read_calibration
from trackertraincode.tracking.networks import LocalizerModel, PoseModel, make_localizer
from trackertraincode.tracking.pose import HeadPose

LOST_IOU = 0.25  # overlap of localizer and tracked box under which the localizer looks, and its box is taken
LOST_SCORE = 0.1  # localizer score under which a tracked head counts as gone; profiles score low but above

USUAL_CAMERA = FieldOfView()


def part_seen(frame: np.ndarray, *, whole: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """The 4:3 middle of a (H, W[, 3]) frame, as the plugin looks at it, and where it begins; portrait frames whole."""
    return (frame, (0, 0)) if whole or frame.shape[0] > frame.shape[1] else client.crop_to_4_3(frame)


def estimate_pose(
    model: PoseModel,
    frame: np.ndarray,
    box: client.PixelBox,
    *,
    optics: Optics = USUAL_CAMERA,
    whole: bool = False,
) -> HeadPose:
    """The pose of the head in a known box of a frame, of any kind that `as_frame` takes. whole: see `part_seen`.

    Raises ConfigError for a box without a size, or far larger than the frame.
    """
    image = as_frame(frame)
    view, (left, top) = part_seen(image, whole=whole)
    if not client.has_usable_size(box, view):
        raise ConfigError(
            f"box x, y, width, height {[float(f'{v:g}') for v in box]}: expected a width and a height above 0, at most "
            f"{client.LARGEST_BOX:g} times the image's {view.shape[1]} × {view.shape[0]} pixels."
        )
    inside = box._replace(x=box.x - left, y=box.y - top)
    return _pose_in(model, client.build_pyramid(view), inside, _camera(optics, image, view, (left, top)), (left, top))[
        0
    ]


def _camera(optics: Optics, image: np.ndarray, view: np.ndarray, corner: tuple[int, int]) -> Camera:
    """The camera of a frame of which a part is seen."""
    return optics.camera((image.shape[1], image.shape[0]), (view.shape[1], view.shape[0]), corner)


def _pose_in(
    model: PoseModel, pyramid: list[np.ndarray], box: client.PixelBox, camera: Camera, corner: tuple[int, int]
) -> tuple[HeadPose, client.PixelBox]:
    """The pose of the head in a box, in the frame's pixels; the box that the network predicts, in the first level's.

    corner: where the first level begins in the frame.
    """
    patch = client.extract_patch(pyramid, box, model.input_size)
    outputs = model(client.network_input(patch, model.input_size))
    head, face_box = client.to_frame(patch, outputs["head"], outputs["face_box"])
    landmarks, head_tril = outputs.get("landmarks"), outputs.get("head_tril")
    half = 0.5 * patch.edge
    pose = HeadPose(
        rotation=outputs["rotation"],
        head=head,
        box=face_box,
        camera=camera,
        landmarks=None if landmarks is None else landmarks * half + np.array([*patch.center, 0.0]),
        rotation_tril=outputs.get("rotation_tril"),
        head_tril=None if head_tril is None else head_tril * half,
    )
    return pose.shifted(*corner), client.predicted_box(patch, outputs["face_box"])


class HeadPoseTracker:
    """Follows one head through frames; finds it anew with the localizer when it gets lost."""

    def __init__(
        self,
        model: str | Path = DEFAULT,
        localizer: str | Path = DEFAULT,
        *,
        diagonal_fov_deg: float = 56.0,
        lens: str | Path | None = None,
        zoom: float = 1.0,
        alpha: float = 1.0,
        localize_every: int | None = None,
        whole_frames: bool = False,
        threads: int = 1,
    ) -> None:
        """
        model, localizer: .onnx files; "default" is that of this package, and the localizer "mtcnn" is MTCNN. lens:
        calibration of the camera, of which the field of view isn't used then. zoom, alpha: see `next_box`, 1.0 as in the
        plugin. localize_every: frames between checks whether the tracked box still holds a face; None does as the plugin:
        look when the box has left the place where the face was, and follow whatever is there until a face is found.
        whole_frames: see `part_seen`. Raises ModelFileError for files that can't be used, ConfigError for a field of view
        that isn't one, UserError for a lens that isn't one.
        """
        self._optics: Optics = (
            FieldOfView.of_degrees(diagonal_fov_deg) if lens is None else read_calibration(Path(lens))
        )
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
        self._frames = 0

    def update(self, frame: np.ndarray) -> HeadPose | None:
        """The head's pose in this frame, (H, W) grey or (H, W, 3) RGB uint8; None where there is no face.

        Other types and orders of channels are taken as `as_frame` says; it raises UserError for what isn't a frame.
        """
        image = as_frame(frame)
        view, corner = part_seen(image, whole=self._whole_frames)
        pyramid = client.build_pyramid(view)
        left_place = self._box is None or self._found is None or client.overlap(self._found, self._box) < LOST_IOU
        if left_place or (self._localize_every and self._frames % self._localize_every == 0):
            self._localize(pyramid)
        self._frames += 1
        if self._box is None:
            return None
        camera = _camera(self._optics, image, view, corner)
        pose, predicted = _pose_in(self._model, pyramid, self._box, camera, corner)
        box = client.next_box(self._box, predicted, self._zoom, self._alpha)
        self._box = box if client.has_usable_size(box, view) and client.touches(box, view) else None
        return pose

    def estimate(self, frame: np.ndarray, box: client.PixelBox) -> HeadPose:
        """The pose of the head in a known box of a frame; see `estimate_pose`."""
        return estimate_pose(self._model, frame, box, optics=self._optics, whole=self._whole_frames)

    def _localize(self, pyramid: list[np.ndarray]) -> None:
        """Look for the face in the coarsest level, as the plugin does; MTCNN looks at the finest."""
        level = len(pyramid) - 1 if isinstance(self._localizer, LocalizerModel) else 0
        found = self._localizer(pyramid[level])
        x0, y0, x1, y1 = (found.box * 2**level).tolist()
        box = client.PixelBox(x0, y0, x1 - x0, y1 - y0)
        if found.is_face and self._box is not None and client.overlap(box, self._box) >= LOST_IOU:
            self._found = box
        elif found.accepted and client.has_usable_size(box, pyramid[0]):
            self._found = self._box = box
        else:
            self._found = None
            if self._localize_every and found.score < LOST_SCORE:
                self._box = None
