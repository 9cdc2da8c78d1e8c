"""Head poses in an image, a folder, a video or a camera: drawn, and as CSV or JSON.

ttc track video.mp4 --model pose.onnx --localizer loc.onnx --output drawn.mp4 --csv poses.csv
ttc track 0 --show      the first camera, with model.onnx of this folder, $DATADIR or demo/
"""

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trackertraincode.cli import add_overwrite_option
from trackertraincode.errors import UserError
from trackertraincode.files import check_outputs, data_dir

MODEL, LOCALIZER = "model.onnx", "localizer.onnx"
LOOK_EVERY = 15  # frames between looks whether the head is still there


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="image, folder of images, video, or the number of a camera")
    parser.add_argument(
        "--model", type=Path, help=f"pose network, .onnx (default: {MODEL} of this folder, $DATADIR or demo/)"
    )
    parser.add_argument(
        "--localizer", type=Path, help=f"face localizer, .onnx (default: {LOCALIZER} of the same places, else MTCNN)"
    )
    parser.add_argument(
        "--output", type=Path, help="annotated video (.mp4, .avi), image (.jpg, .png), or folder of images"
    )
    parser.add_argument("--json", type=Path, help="poses as JSON")
    parser.add_argument("--csv", type=Path, help="poses as CSV")
    parser.add_argument("--show", action="store_true", help="open a window; q closes it (Ctrl-C ends a camera)")
    parser.add_argument("--fov", type=float, default=56.0, help="diagonal field of view of the camera, degrees")
    parser.add_argument("--independent", action="store_true", help="frames are unrelated images: find each face anew")
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    model, localizer = options.model or find_file(MODEL), options.localizer or find_file(LOCALIZER)
    if model is None:
        raise UserError(
            f"no --model is given, and there is no {MODEL} here, in $DATADIR or in demo/; make one with `make demo` or "
            "scripts/export_model.py, or give a model of OpenTrack."
        )
    to_folder = options.output is not None and not options.output.suffix
    check_outputs(
        [options.json, options.csv, None if to_folder else options.output],
        [Path(options.source), model, localizer],
        folders=[options.output] if to_folder else [],
        overwrite=options.overwrite,
    )
    import cv2

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

    independent = options.independent or Path(options.source).is_dir()
    tracker = HeadPoseTracker(
        model,
        localizer,
        diagonal_fov_deg=options.fov,
        localize_every=LOOK_EVERY,
        whole_frames=independent or Path(options.source).suffix.lower() in IMAGES,
    )
    rows: list[dict[str, Any]] = []
    found = 0
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


def find_file(name: str) -> Path | None:
    """Where the user most likely has it."""
    folders = [Path(), data_dir(), Path("demo")]
    return next((folder / name for folder in folders if folder is not None and (folder / name).is_file()), None)
