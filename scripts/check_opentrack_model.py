"""Check whether OpenTrack's NeuralNet tracker would run a model; with a picture, run it as the plugin does.

python scripts/check_opentrack_model.py model.onnx                          exit code 0, or 1 and one line per fault
python scripts/check_opentrack_model.py model.onnx photo.jpg 120 80 200 240     pose of the head in this box
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from trackertraincode.cli import run_main
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.export.contract import judge
from trackertraincode.sample.images import ImageDecodeError, decode
from trackertraincode.tracking import opentrack_client as client
from trackertraincode.tracking.networks import PoseModel
from trackertraincode.tracking.tracker import estimate_pose


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="any .onnx file: pose network or localizer")
    parser.add_argument(
        "picture", nargs="*", metavar="IMAGE x y w h", help="picture and box of a face, in whole pixels of the picture"
    )
    parser.add_argument("--fov", type=float, default=56.0, help="diagonal field of view of the camera, degrees")
    options = parser.parse_args()
    if len(options.picture) not in (0, 5):
        parser.error("a picture needs its box: IMAGE x y w h")

    verdict = judge(options.model)
    for line in (*verdict.faults, *(f"warning: {line}" for line in verdict.warnings)):
        print(f"{options.model}: {line}")
    if verdict.faults:
        return 1
    print(f"{options.model}: OpenTrack runs it" + (" as its localizer" if verdict.is_localizer else ""))
    if options.picture:
        print(describe_pose(options.model, Path(options.picture[0]), read_box(options.picture[1:]), options.fov))
    return 0


def read_box(words: list[str]) -> client.PixelBox:
    """Raises ConfigError unless they are four whole numbers with a positive width and height."""
    try:
        box = client.PixelBox(*(int(word) for word in words))
    except ValueError:
        box = client.PixelBox(0, 0, 0, 0)
    if min(box.width, box.height) < 1:
        raise ConfigError(f"box {' '.join(words)!r}: expected x y w h in whole pixels, w and h at least 1.")
    return box


def describe_pose(model_path: Path, image: Path, box: client.PixelBox, diagonal_fov: float) -> str:
    """What the plugin would make of the face in a box: pose, head and box in pixels, position.

    diagonal_fov: degrees. Raises ModelFileError for a localizer, SampleFormatError when the picture doesn't decode.
    """
    model = PoseModel(model_path)
    try:
        frame = decode(image.read_bytes(), color=True)
    except ImageDecodeError as error:
        raise SampleFormatError(f"{image}: doesn't decode ({error}); give a JPEG or PNG image.") from error
    pose = estimate_pose(model, frame, box, diagonal_fov_deg=diagonal_fov)
    rows: dict[str, Iterable[float]] = {
        "pitch, yaw, roll (degrees)": pose.pitch_yaw_roll_deg,
        "quaternion i, j, k, w": pose.rotation,
        "head x, y, radius (pixels)": pose.head,
        "box x0, y0, x1, y1 (pixels)": pose.box,
        "position X, Y, Z (mm, OpenTrack's axes)": pose.position_mm,
    }
    return "\n".join(f"{name:<41}" + " ".join(f"{float(v):9.3f}" for v in values) for name, values in rows.items())


if __name__ == "__main__":
    run_main(main)
