"""Head poses in an image, a folder, a video or a camera: drawn, and as CSV or JSON.

ttc track 0 --show                  the first camera
ttc track video.mp4 --output drawn.mp4 --csv poses.csv
ttc track 0 --udp 127.0.0.1:4242    to OpenTrack's input "UDP over network"
ttc track photo.jpg --model pose.onnx --localizer mtcnn
"""

import argparse
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from trackertraincode.arguments import (
    IMAGES,
    OutputFile,
    add_overwrite_option,
    dead_zone,
    edge_length,
    face_count,
    field_of_view,
    frame_rate,
)
from trackertraincode.errors import UserError
from trackertraincode.files import check_outputs, is_stream
from trackertraincode.light import names_in
from trackertraincode.pretrained import DEFAULT, localizer, pose_network

if TYPE_CHECKING:
    from trackertraincode.tracking.pose import HeadPose
    from trackertraincode.tracking.several import SeveralHeads
    from trackertraincode.tracking.sources import Frame
    from trackertraincode.tracking.tracker import HeadPoseTracker
    from trackertraincode.tracking.udp import PoseSender


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="image, folder of images, video, number or device of a camera, or a stream's address",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path(DEFAULT),
        metavar="MODEL",
        help="pose network, .onnx (default: that of this package)",
    )
    parser.add_argument(
        "--localizer",
        type=Path,
        default=Path(DEFAULT),
        metavar="MODEL",
        help="face localizer, .onnx, or mtcnn, a slow one for large images (default: that of this package)",
    )
    parser.add_argument(
        "--output",
        type=OutputFile(*names_in("tracking.video", "VIDEOS"), *IMAGES),
        metavar="OUT",
        help="annotated video (.mp4, .avi), image (.jpg, .png), or folder of images",
    )
    parser.add_argument("--json", type=OutputFile(".json"), help="write the poses as JSON")
    parser.add_argument("--csv", type=OutputFile(".csv"), help="write the poses as CSV")
    parser.add_argument(
        "--udp", type=udp_address, metavar="HOST:PORT", help="send poses to OpenTrack, which listens at port 4242"
    )
    parser.add_argument("--show", action="store_true", help="open a window; q closes it, any key shows the next image")
    optics = parser.add_mutually_exclusive_group()
    optics.add_argument(
        "--fov",
        type=field_of_view,
        default=names_in("tracking.opentrack_client", "DIAGONAL_FOV_DEG"),
        help="diagonal field of view of the camera",
    )
    optics.add_argument("--lens", type=Path, help="calibration of the camera, by OpenCV (.yml, .json)")
    parser.add_argument("--camera-size", type=image_size, metavar="640x480", help="what a camera is asked for, pixels")
    parser.add_argument("--fps", type=frame_rate, help="what a camera is asked for, frames per second")
    parser.add_argument(
        "--filter",
        choices=names_in("tracking.filters", "FILTERS"),
        default=names_in("tracking.filters", "DEFAULT"),
        help="what makes poses of a video or a camera calm",
    )
    parser.add_argument(
        "--dead-zone",
        type=dead_zone,
        default=0.0,
        help="smaller turns, and moves of as much of the head's radius, aren't followed",
    )
    parser.add_argument(
        "--faces", type=face_count, help="follow up to N heads, each with a number that it keeps (default: one)"
    )
    parser.add_argument("--independent", action="store_true", help="frames are unrelated images: find each face anew")
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    model, finder = pose_network(options.model), localizer(options.localizer)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silent: what it says of damaged videos, we say in one line
    from trackertraincode.tracking import sources

    source = None if sources.is_camera(options.source) else Path(options.source)
    is_folder = source is not None and source.is_dir()
    to_folder = options.output is not None and not options.output.suffix
    check_outputs(
        [options.json, options.csv, None if to_folder else options.output],
        [source, *(sources.images_in(source) if source is not None and is_folder else []), model, finder, options.lens],
        folders=[options.output] if to_folder else [],
        overwrite=options.overwrite,
    )
    from trackertraincode.tracking import video
    from trackertraincode.tracking.several import SeveralHeads
    from trackertraincode.tracking.tracker import HeadPoseTracker

    if (options.camera_size or options.fps) and source is not None:
        raise UserError(
            f"{options.source}: --camera-size and --fps are of cameras, and this isn't one; leave them out."
        )
    one_image = source is not None and source.suffix.lower() in sources.IMAGES and not is_folder
    if options.output is not None and options.output.suffix.lower() in IMAGES and not one_image:
        raise UserError(
            f"{options.output}: one image can't hold all frames of {options.source}; name a video (.mp4), or a folder."
        )
    if to_folder and source is not None:
        video.check_image_folder(source, options.output)
    if options.show:
        video.check_display()
    several = {} if options.faces is None else {"faces": options.faces}
    tracker = (SeveralHeads if several else HeadPoseTracker)(
        model,
        finder,
        diagonal_fov_deg=options.fov,
        lens=options.lens,
        whole_frames=is_folder or one_image,
        **several,
    )
    with contextlib.ExitStack() as stack:
        _track(options, tracker, stack)
    return 0


def _track(options: argparse.Namespace, tracker: "HeadPoseTracker | SeveralHeads", stack: contextlib.ExitStack) -> None:
    """Write a row for each frame of the source; send, draw and show its pose, as far as that is wanted."""
    import cv2

    from trackertraincode.tracking import rows, sources, udp, video
    from trackertraincode.tracking.pipeline import without_pauses

    output = video.AnnotatedOutput(options.output) if options.output else None

    def tell(note: str) -> None:
        tqdm.write(note, file=sys.stderr)

    sender = stack.enter_context(udp.PoseSender(options.udp, tell)) if options.udp else None
    mode = sources.CameraMode(options.camera_size, options.fps)
    frames = sources.iter_frames(options.source, tell, mode)
    first = next(frames)  # before any file is made
    drawn = output is not None or options.show
    tracked = _poses(options, tracker, chain([first], frames), sender, drawn=drawn, live=first.live)
    count = faces = 0
    heads: dict[int, HeadPose] = {}  # of the last frame
    try:
        stack.enter_context(without_pauses())
        write_row = stack.enter_context(rows.row_writer(json_file=options.json, csv_file=options.csv))
        if output is not None:
            stack.enter_context(output)
        if first.live:  # which has no other end
            stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        stack.enter_context(contextlib.closing(tracked))
        bar = tqdm(tracked, unit=" frames")
        for frame, heads, fps in bar:
            for number, pose in heads.items() or [(0, None)]:
                write_row(rows.pose_row(frame, pose, number))
            count, faces = count + 1, faces + bool(heads)
            bar.set_postfix_str(_in_words(heads), refresh=False)
            if drawn:
                drawing = video.draw_heads(frame.image, heads, fps, numbered=options.faces is not None)
                frame = frame._replace(image=drawing)
            if output is not None:
                output.write(frame)
            if options.show:
                cv2.imshow("head pose", frame.image[..., ::-1])
                if cv2.waitKey(0 if frame.time is None else 1) & 0xFF == ord("q"):
                    break
    finally:
        told = sys.stderr if any(path and is_stream(path) for path in (options.json, options.csv)) else sys.stdout
        print(f"{faces} of {count} frames show a face", file=told)
    if count == 1 and len(heads) == 1:
        print(f"{_in_words(heads)} degrees", file=told)


def _poses(
    options: argparse.Namespace, tracker: "HeadPoseTracker | SeveralHeads", frames: "Iterable[Frame]",
    sender: "PoseSender | None", *, drawn: bool, live: bool,
) -> "Generator[tuple[Frame, dict[int, HeadPose], float | None]]":  # fmt: skip
    """Each frame, the heads in it by number, which are sent at once, and frames per second.

    Reading a frame and looking at it, estimating, and drawing and writing overlap; where nothing is drawn, two threads are
    faster than three. Live frames that come too fast for any of these are left out: no pose waits for a drawing.
    """
    from trackertraincode.tracking.calm import CalmHeads
    from trackertraincode.tracking.pipeline import overlapped

    calm = CalmHeads(options.filter, options.dead_zone)
    independent = options.independent or Path(options.source).is_dir()
    times: deque[float] = deque(maxlen=30)  # of the last poses

    def prepare(frame: "Frame") -> Any:
        return frame, tracker.prepare(frame.image)

    def follow(seen: Any) -> Any:
        frame, view = seen
        if independent:
            tracker.reset()
        found = tracker.follow(view)
        heads = found if isinstance(found, dict) else {} if found is None else {1: found}
        if frame.time is not None and not independent:
            heads = calm.update(heads, frame.time, frame.image.shape[:2])
        if sender is not None and heads:
            sender.send(heads[min(heads)])
        if frame.time is not None:  # images of a folder have no rate
            times.append(time.perf_counter())
        return frame, heads, (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None

    if live:
        steps: Any = overlapped(frames, prepare, follow, newest=True)
    else:
        steps = overlapped(map(prepare, frames), *([follow] if drawn else []))
    with contextlib.closing(steps):
        yield from steps if drawn or live else map(follow, steps)


def _in_words(heads: "dict[int, HeadPose]") -> str:
    if len(heads) != 1:
        return f"{len(heads)} heads" if heads else "no face"
    return "pitch {:.1f}, yaw {:.1f}, roll {:.1f}".format(*next(iter(heads.values())).pitch_yaw_roll_deg)


def udp_address(text: str) -> tuple[str, int]:
    """argparse type: HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host.strip("[]") or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected HOST:PORT, such as 127.0.0.1:4242")
    return host.strip("[]"), int(port)


def image_size(text: str) -> tuple[int, int]:
    """argparse type: WIDTHxHEIGHT."""
    width, _, height = text.lower().replace("×", "x").partition("x")
    try:
        return edge_length(width), edge_length(height)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text[:20]!r}: expected WIDTHxHEIGHT, such as 640x480") from None
