"""Options that several commands have, and types of values of the command line.

A type raises ArgumentTypeError, which says what is expected instead.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackertraincode.files import SAMPLES
from trackertraincode.light import names_in

IMAGES: tuple[str, ...] = names_in("sample.images", "ENCODED")  # suffixes of what is drawn
CHARTS = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
LISTS = (".txt", ".csv")
KINDS = {  # suffixes of files that are no other kind of file's
    *IMAGES, *CHARTS, *SAMPLES, *LISTS, ".zip", ".tar", ".tgz", ".npz", ".mat", ".pkl", ".ckpt", ".pth", ".onnx", ".toml",
    ".avi", ".mp4", ".mkv", ".mov", ".json", ".html",
}  # fmt: skip
LARGEST = 2**31 - 1  # of whole numbers on the command line


@dataclass(frozen=True)
class Number:
    """argparse type: a number for which something holds."""

    kind: type[int] | type[float]
    holds: Callable[[float], bool]
    expected: str  # what holds, in words
    metavar: str

    def __call__(self, text: str) -> Any:
        try:
            value = self.kind(text)
        except ValueError:
            value = math.nan
        if not self.holds(value):
            raise argparse.ArgumentTypeError(f"{text[:20]!r}: expected {self.expected}")
        return value


def whole_numbers(least: int, most: int = LARGEST, metavar: str = "N") -> Number:
    return Number(int, lambda value: least <= value <= most, f"a whole number from {least} to {most}", metavar)


def numbers(metavar: str, holds: Callable[[float], bool], expected: str) -> Number:
    return Number(float, holds, expected, metavar)


non_negative_int = whole_numbers(0)
positive_int = whole_numbers(1)
whole_number = whole_numbers(-LARGEST)
worker_count = whole_numbers(0, 1024)
shard_count = whole_numbers(1, 99_999)
face_count = whole_numbers(1, 20)  # heads at a time
rendered_edge = whole_numbers(16, 4096, "PIXELS")  # of a face, which takes some hundred bytes for each pixel
edge_length = whole_numbers(1, 16384, "PIXELS")  # of an image that is drawn
port_number = whole_numbers(1, 65535)

finite_number = numbers("X", math.isfinite, "a number")
share = numbers("P", lambda value: 0.0 <= value < 1.0, "0 or more and less than 1")
probability = numbers("P", lambda value: 0.0 <= value <= 1.0, "a number from 0 to 1")
degrees = numbers("DEG", lambda value: 0.1 <= value <= 90.0, "degrees from 0.1 to 90")
dead_zone = numbers("DEG", lambda value: 0.0 <= value < 180.0, "degrees, 0 or more and less than 180")
field_of_view = numbers("DEG", lambda value: 0.0 < value < 180.0, "degrees, more than 0 and less than 180")
# crop edge / longer side of the box
crop_factor = numbers("X", lambda value: 0.1 <= value <= 10.0, "a factor from 0.1 to 10")
frame_rate = numbers("FPS", lambda value: 0.0 < value <= 1000.0, "more than 0 and at most 1000 frames per second")


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """--workers or --scheduler, of commands that work through `workers.map_in_order`."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--workers",
        type=worker_count,
        default=None,
        help="worker processes; 0 works in this process (default: NUM_WORKERS, else the cores, 8 at most)",
    )
    who.add_argument(
        "--scheduler",
        metavar="ADDRESS|FILE",
        help="work by the dask workers of tcp://HOST:8786, or of the file that the scheduler wrote",
    )


FACE_MODEL: dict[str, Any] = {
    "type": Path,
    "metavar": "FILE",
    "help": "bfm_noneck_v3.pkl (default: $DATADIR/bfm_noneck_v3.pkl where it exists, else the embedded head)",
}


def add_face_model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--face-model", **FACE_MODEL)


class Once(argparse.Action):
    """Of an option whose value names several things at once: given twice, argparse would forget the first of them."""

    given = False

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if self.given:
            raise argparse.ArgumentError(self, "is given twice; give it once, with all that is wanted, as --help shows")
        self.given = True
        setattr(namespace, self.dest, values)


class Further(argparse.Action):
    """Of an option that may be given several times: all values count, in place of the default."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        given = getattr(namespace, self.dest, None)
        before = [] if given is None or given is self.default else given
        setattr(namespace, self.dest, [*before, *values])


MODELS: dict[str, Any] = {
    "type": Path,
    "metavar": "MODEL",
    "help": '.ckpt and .onnx files, mixed; "default" is the one of this package',
}


def add_crop_factor_option(parser: argparse.ArgumentParser, default: float | None) -> None:
    """default: None where a protocol has one of its own."""
    told = "the protocol's" if default is None else f"{default:g}"
    parser.add_argument(
        "--roi-expansion",
        type=crop_factor,
        default=default,
        help=f"crop edge / longer side of the face box (default: {told})",
    )


def add_preprocess_option(parser: argparse.ArgumentParser) -> None:
    choices = names_in("evaluation.crops", "PREPROCESSING")
    parser.add_argument(
        "--preprocess",
        choices=choices,
        default="training",
        help="grey levels: as in training, or as OpenTrack makes them",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to compute")


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace a file that isn't what its name says")


def add_shards_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same command")
    parser.add_argument(
        "--shards",
        type=shard_count,
        help="write N files NAME-00000-of-0000N.h5 side by side instead of one; a sequence or person is in one of them",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Of all commands that make a sample file item by item: the fields of `conversion.run.ConvertOptions`."""
    parser.add_argument("-n", "--count", type=positive_int, help="only the first N samples")
    add_workers_option(parser)
    add_shards_options(parser)
    parser.add_argument("--strict", action="store_true", help="stop at the first sample that can't be used")
    parser.add_argument("--skipped", type=OutputFile(*LISTS), help="list all that is skipped, and why")
    add_overwrite_option(parser)


class OutputFile:
    """argparse type: a file that is written. Raises ArgumentTypeError for a name like that of another kind of file."""

    metavar = "FILE"

    def __init__(self, *suffixes: str) -> None:
        """suffixes: of names that it may have, the usual one first. Others that no file of ours has are fine, too."""
        self.suffixes = suffixes

    def __call__(self, text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() in KINDS and path.suffix.lower() not in self.suffixes:
            raise argparse.ArgumentTypeError(
                f"{text}: isn't a {path.suffix.lower()} file when it is written here; end its name with "
                f"{' or '.join(self.suffixes)}"
            )
        return path


def output_folder(text: str) -> Path:
    """argparse type: a folder that is written to."""
    return Path(text)


METAVARS: dict[Any, str] = {Path: "FILE", output_folder: "DIR"}  # the other types name theirs
