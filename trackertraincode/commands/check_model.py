"""Check whether OpenTrack's NeuralNet tracker would run a model; with an image, run it as the plugin does.

ttc check-model model.onnx                                  exit code 0, or 1 and one line per fault
ttc check-model model.onnx photo.jpg 120 80 200 240         pose of the head in this box
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from trackertraincode.arguments import field_of_view
from trackertraincode.errors import ConfigError, SampleFormatError, UsageError
from trackertraincode.light import names_in
from trackertraincode.pretrained import pose_network


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="any .onnx file: pose network or localizer; default: the pose network of this package",
    )
    parser.add_argument(
        "image", nargs="*", metavar="IMAGE x y w h", help="image and box of a face, in whole pixels of the image"
    )
    parser.add_argument(
        "--fov",
        type=field_of_view,
        default=names_in("tracking.opentrack_client", "DIAGONAL_FOV_DEG"),
        help="diagonal field of view of the camera",
    )


def run(options: argparse.Namespace) -> int:
    if len(options.image) not in (0, 5):
        raise UsageError("an image needs its box: IMAGE x y w h")
    box = _read_box(options.image[1:]) if options.image else None
    model = pose_network(options.model)
    from trackertraincode.export.contract import judge

    verdict = judge(model)
    for line in (*verdict.faults, *(f"warning: {line}" for line in verdict.warnings)):
        print(f"{model}: {line}")
    if verdict.faults:
        return 1
    print(f"{model}: OpenTrack runs it" + (" as its localizer" if verdict.is_localizer else ""))
    if box is not None:
        print(_describe_pose(model, Path(options.image[0]), box, options.fov))
    return 0


def _read_box(words: list[str]) -> tuple[int, int, int, int]:
    """x, y, width, height. Raises ConfigError unless they are four whole numbers with a positive width and height."""
    try:
        x, y, width, height = (int(word) for word in words)
    except ValueError:
        x = y = width = height = 0
    if min(width, height) < 1:
        raise ConfigError(f"box {' '.join(words)!r}: expected x y w h in whole pixels, w and h at least 1.")
    return x, y, width, height


def _describe_pose(model_path: Path, image: Path, box: tuple[int, int, int, int], diagonal_fov: float) -> str:
    """What the plugin would make of the face in a box: pose, head and box in pixels, position.

    box: x, y, width, height. diagonal_fov: degrees. Raises ModelFileError for a localizer, SampleFormatError when the
    image doesn't decode, ConfigError for a box that isn't in it.
    """
    from trackertraincode.sample.images import ImageDecodeError, decode
    from trackertraincode.tracking.camera import FieldOfView
    from trackertraincode.tracking.networks import PoseModel
    from trackertraincode.tracking.opentrack_client import PixelBox
    from trackertraincode.tracking.tracker import check_middle, estimate_pose

    model = PoseModel(model_path)
    try:
        frame = decode(image.read_bytes(), color=True, upright=True)
    except ImageDecodeError as error:
        raise SampleFormatError(f"{image}: doesn't decode ({error}); give a JPEG or PNG image.") from error
    check_middle(frame, PixelBox(*box))
    pose = estimate_pose(model, frame, PixelBox(*box), optics=FieldOfView.of_degrees(diagonal_fov))
    rows: dict[str, Iterable[float]] = {
        "pitch, yaw, roll (degrees)": pose.pitch_yaw_roll_deg,
        "quaternion i, j, k, w": pose.rotation,
        "head x, y, radius (pixels)": pose.head,
        "box x0, y0, x1, y1 (pixels)": pose.box,
        "position X, Y, Z (mm, OpenTrack's axes)": pose.position_mm,
    }
    return "\n".join(f"{name:<41}" + " ".join(f"{float(v):9.3f}" for v in values) for name, values in rows.items())
