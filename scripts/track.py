"""Head poses in a picture, a folder, a video or a camera: drawn, and as CSV or JSON.

python scripts/track.py video.mp4 --model pose.onnx --localizer loc.onnx --output drawn.mp4 --csv poses.csv
python scripts/track.py 0 --show      the first camera, with model.onnx of this folder, $DATADIR or demo/
"""

import argparse
import contextlib
import time
from pathlib import Path

import cv2
from tqdm import tqdm

from trackertraincode.cli import run_main
from trackertraincode.errors import UserError
from trackertraincode.files import data_dir
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.tracking.video import (
    IMAGES,
    AnnotatedOutput,
    draw_pose,
    is_camera,
    iter_frames,
    pose_row,
    write_rows,
)

MODEL, LOCALIZER = "model.onnx", "localizer.onnx"
LOOK_EVERY = 15  # frames between looks whether the head is still there


def find_file(name: str) -> Path | None:
    """Where the user most likely has it."""
    folders = [Path(), data_dir(), Path("demo")]
    return next((folder / name for folder in folders if folder is not None and (folder / name).is_file()), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="picture, folder of pictures, video, or the number of a camera")
    parser.add_argument(
        "--model", type=Path, help=f"pose network, .onnx (default: {MODEL} of this folder, $DATADIR or demo/)"
    )
    parser.add_argument(
        "--localizer", type=Path, help=f"face localizer, .onnx (default: {LOCALIZER} of the same places, else MTCNN)"
    )
    parser.add_argument(
        "--output", type=Path, help="annotated video (.mp4, .avi), picture (.jpg, .png), or folder of pictures"
    )
    parser.add_argument("--json", type=Path, help="poses as JSON")
    parser.add_argument("--csv", type=Path, help="poses as CSV")
    parser.add_argument("--show", action="store_true", help="open a window; q closes it (Ctrl-C ends a camera)")
    parser.add_argument("--fov", type=float, default=56.0, help="diagonal field of view of the camera, degrees")
    parser.add_argument("--independent", action="store_true", help="frames are unrelated pictures: find each face anew")
    options = parser.parse_args()

    model = options.model or find_file(MODEL)
    if model is None:
        raise UserError(
            f"no --model is given, and there is no {MODEL} here, in $DATADIR or in demo/; make one with `make demo` or "
            "scripts/export_model.py, or give a model of OpenTrack."
        )
    independent = options.independent or Path(options.source).is_dir()
    tracker = HeadPoseTracker(
        model,
        options.localizer or find_file(LOCALIZER),
        diagonal_fov_deg=options.fov,
        localize_every=LOOK_EVERY,
        whole_frames=independent or Path(options.source).suffix.lower() in IMAGES,
    )
    rows, found = [], 0
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(AnnotatedOutput(options.output)) if options.output else None
        if is_camera(options.source):  # which has no other end
            stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        for frame in tqdm(iter_frames(options.source), unit=" frames"):
            if independent:
                tracker.reset()
            start = time.perf_counter()
            pose = tracker.update(frame.image)
            fps = 1.0 / (time.perf_counter() - start)
            found += pose is not None
            rows.append(pose_row(frame.name, pose))
            if output is None and not options.show:
                continue
            drawn = draw_pose(frame.image, pose, fps)
            if output is not None:
                output.write(frame._replace(image=drawn))
            if options.show:
                cv2.imshow("head pose", drawn[..., ::-1])
                if cv2.waitKey(1) & 0xFF == ord("q"):
                    break
    write_rows(rows, json_file=options.json, csv_file=options.csv)
    print(f"{found} of {len(rows)} frames show a face")
    if len(rows) == 1 and found:
        print("pitch {pitch:.1f}, yaw {yaw:.1f}, roll {roll:.1f} degrees".format(**rows[0]))
    return 0


if __name__ == "__main__":
    run_main(main)
