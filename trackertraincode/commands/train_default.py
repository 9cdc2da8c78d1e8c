"""Train the models of this package from nothing: scenes -> localizer, faces -> pose network, checksums.

ttc train-default --outdir default         needs the part "synthesis"; started again, it goes on

Runs the commands a user would type, one after the other, and shows each. What is there already isn't made again.
"""

import argparse
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trackertraincode.arguments import output_folder, positive_int
from trackertraincode.commands.demo import Commands, alone, claim
from trackertraincode.errors import UsageError
from trackertraincode.files import check_outputs, whole_file
from trackertraincode.light import names_in
from trackertraincode.parts import check_parts
from trackertraincode.pretrained import LOCALIZER_FILE, POSE_FILE, SUMS_FILE

IMAGES_EACH: int = names_in("rendering.generate", "IMAGES_PER_PERSON")
FACE_SEED, NEW_SEED = 101, 102  # of the faces to learn from, and of others by which the uncertainties are scaled
SIZE = 192  # edge of the faces' images, pixels
NEW_FACES = 800
HELD_PART = 150  # the last 4 of so many faces validate the stages that turned faces are trained in
FIRST_FILE = "first.onnx"  # the mean that the later stages begin with
VALIDATE_EVERY = 16  # epochs; not by the time they take, so that runs are the same on machines of any speed
TURNED = ("--ds", "faces:70+turned:30", "--val", "held", "--seed", 11)
CATALOG = """# Parts of rendered.h5: most rows, those of them whose heads turn by more than 40 degrees, and the other rows.
[faces]
file = "rendered.h5"
labels = ["pose", "landmarks", "shape", "box", "landmarks_2d"]
rows = [0, {first_held}]

[turned]
file = "turned.h5"
labels = ["pose", "landmarks", "shape", "box", "landmarks_2d"]

[held]
file = "held.h5"
labels = ["pose", "landmarks", "shape", "box", "landmarks_2d"]
"""


@dataclass(frozen=True)
class Stage:
    """A training of the pose network, whose averaged weights others begin with."""

    begins: str | None  # below the folder: with which weights
    epochs: int
    options: tuple[object, ...]


STAGES = {
    "pose": Stage(None, 64, ("--seed", 1)),
    "calm": Stage("pose/swa.ckpt", 60, ("--seed", 7, "--lr", 7e-4, "--consistency", 3.5)),
    "exact": Stage("calm/swa.ckpt", 6, ("--seed", 7, "--lr", 5e-4, "--consistency", 1)),
    "steady": Stage(FIRST_FILE, 20, (*TURNED, "--lr", 7e-4, "--consistency", 3.5)),
    "final": Stage("steady/swa.ckpt", 4, (*TURNED, "--lr", 5e-4, "--consistency", 1)),
}


@dataclass(frozen=True)
class LocalizerStage:
    """A training of the localizer, on scenes of its own."""

    begins: str | None  # below the folder: with which weights
    scenes: int
    epochs: int
    lr: float
    seed: int  # of scenes and training


LOCALIZER_STAGES = {  # each writes NAME.onnx
    "localizer-first": LocalizerStage(None, 24_000, 18, 4e-3, 1),
    "localizer": LocalizerStage("localizer-first/localizer.ckpt", 20_000, 22, 2e-3, 2),
}
FIRST = {"calm": 0.3, "exact": 0.7}  # shares of weights in FIRST_FILE
SHARES = {"steady": 0.7, "final": 0.3}  # in pose.onnx: nearly as calm as one, a little more exact


def add_options(parser: argparse.ArgumentParser) -> None:
    epochs = ", ".join(str(stage.epochs) for stage in STAGES.values())
    parser.add_argument("--outdir", type=output_folder, default=Path("default"), help="where everything is written")
    parser.add_argument("--faces", type=positive_int, default=30_000, help="faces to render for the pose network")
    parser.add_argument("--epochs", type=positive_int, help=f"of each stage of the pose network (default: {epochs})")
    scenes, epochs = (", ".join(str(getattr(s, n)) for s in LOCALIZER_STAGES.values()) for n in ("scenes", "epochs"))
    parser.add_argument(
        "--scenes", type=positive_int, help=f"to render for each stage of the localizer (default: {scenes})"
    )
    parser.add_argument("--localizer-epochs", type=positive_int, help=f"of each of its stages (default: {epochs})")


def run(options: argparse.Namespace) -> int:
    out: Path = options.outdir
    if options.faces % IMAGES_EACH or options.faces < 2 * IMAGES_EACH:
        raise UsageError(
            f"--faces {options.faces}: people have {IMAGES_EACH} faces each; give a multiple of {IMAGES_EACH}, at least "
            f"{2 * IMAGES_EACH}"
        )
    check_parts("train", "export", "synthesis")
    check_outputs([], [], folders=[out])
    asked = {
        name: getattr(options, name.replace("-", "_")) for name in ("faces", "epochs", "scenes", "localizer-epochs")
    }
    claim(out, "train-default", " ".join(f"--{name} {value}" for name, value in asked.items() if value))
    with alone(out):
        _make(out, options)
    print(f"\n{out}: {POSE_FILE}, {LOCALIZER_FILE} and {SUMS_FILE} are such files as trackertraincode/pretrained has")
    return 0


def _make(out: Path, options: argparse.Namespace) -> None:
    data = out / "data"
    data.mkdir(exist_ok=True)
    commands = Commands(data)
    _make_localizer(commands, out, options)
    _make_pose_network(commands, out, data, options)
    sums = [(hashlib.sha256((out / name).read_bytes()).hexdigest(), name) for name in (POSE_FILE, LOCALIZER_FILE)]
    with whole_file(out / SUMS_FILE) as file:
        file.write_text("".join(f"{digest}  {name}\n" for digest, name in sums), encoding="utf-8")


def _make_localizer(commands: Commands, out: Path, options: argparse.Namespace) -> None:
    from trackertraincode.localizer.training import UNFINISHED

    for name, stage in LOCALIZER_STAGES.items():
        if _is_missing(exported := out / f"{name}.onnx"):
            words = ["--scenes", options.scenes or stage.scenes, "--epochs", options.localizer_epochs or stage.epochs]
            words += ["--lr", stage.lr, "--seed", stage.seed, *_beginning(out, stage.begins)]
            _train(commands, "train-localizer", out / name, UNFINISHED, words, ["--export", exported])


def _make_pose_network(commands: Commands, out: Path, data: Path, options: argparse.Namespace) -> None:
    from trackertraincode.training.outdir import UNFINISHED

    _make_faces(commands, data, options.faces)
    always = ("--recipe", "synthetic", "--cache", "disk", "--validate-every", VALIDATE_EVERY)
    for name, stage in STAGES.items():
        if stage.begins == FIRST_FILE:
            _make_mean(commands, (out / FIRST_FILE).with_suffix(".ckpt"), FIRST, None, options)
        if _is_missing(out / name / "swa.onnx"):  # which is written last
            words = [*always, "--epochs", options.epochs or stage.epochs, *stage.options]
            _train(commands, "train", out / name, UNFINISHED, [*words, *_beginning(out, stage.begins)])
    _make_mean(commands, (out / POSE_FILE).with_suffix(".ckpt"), SHARES, data / "new.h5", options)


def _beginning(out: Path, weights: str | None) -> list[object]:
    return [] if weights is None else ["--pretrained", out / weights]


def _make_faces(commands: Commands, data: Path, count: int) -> None:
    """Those to learn from, and others to measure by."""
    from trackertraincode.datasets.catalog import USER_CATALOG

    head = ("--size", SIZE, "--head", "anny")
    for name, number, seed in (("rendered", count, FACE_SEED), ("new", NEW_FACES, NEW_SEED)):
        if _is_missing(path := data / f"{name}.h5"):
            commands.run("render", path, "-n", number, *head, "--seed", seed)
    first_held = count - IMAGES_EACH * max(1, count // HELD_PART)
    for name, condition in (
        ("turned", f"row < {first_held} and abs(yaw) > 40"),
        ("held", f"row >= {first_held}"),
    ):
        if _is_missing(path := data / f"{name}.h5"):
            commands.run("filter", data / "rendered.h5", path, "--where", condition)
    with whole_file(data / USER_CATALOG) as file:
        file.write_text(CATALOG.format(first_held=first_held), encoding="utf-8")


def _make_mean(
    commands: Commands, path: Path, shares: dict[str, float], measured_by: Path | None, options: argparse.Namespace
) -> None:
    """Of averaged weights, as checkpoint and as ONNX file. measured_by: faces that scale its uncertainties."""
    from trackertraincode.models.checkpoint import average, save_network
    from trackertraincode.training.config import TrainConfig
    from trackertraincode.training.finish import calibrated_on
    from trackertraincode.training.options import read_recipe

    if _is_missing(path):
        network, about = average({path.parent / name / "swa.ckpt": share for name, share in shares.items()})
        stages = {n: [s.begins, options.epochs or s.epochs, *map(str, s.options)] for n, s in STAGES.items()}
        recipe = {"command": "ttc train-default", "faces": options.faces, "stages": stages, "shares": shares}
        about = replace(about, recipe=recipe, trained_on=["rendered"], training_files=["rendered.h5"], selected_on=[])
        if measured_by is not None:
            augmentation = TrainConfig.of(**read_recipe("synthetic")).augmentation
            about = calibrated_on(network, about, measured_by, augmentation)
        save_network(path, network, about)
    if _is_missing(exported := path.with_suffix(".onnx")):
        commands.run("export", path, "--opentrack", "--output", exported)


def _train(
    commands: Commands, command: str, folder: Path, unfinished: Sequence[str], words: Sequence[object],
    exported: Sequence[object] = (),
) -> None:  # fmt: skip
    """Into a folder, or on with what was begun there. unfinished: see below. exported: options of either."""
    from trackertraincode.training.outdir import CONFIG_FILE

    if (folder / CONFIG_FILE).is_file():
        words = ["--resume"]
    else:
        _remove_unfinished(folder, unfinished)
    commands.run(command, *words, "--outdir", folder, *exported)


def _remove_unfinished(folder: Path, left: Sequence[str]) -> None:
    """A run that was ended before it could be resumed; nothing where anything else lies there.

    left: names of what such a run leaves, and NAME.tmp of them.
    """
    known = tuple(f"{name}." for name in left)
    if folder.is_dir() and all(f"{path.name}.".startswith(known) for path in folder.iterdir()):
        shutil.rmtree(folder)


def _is_missing(path: Path) -> bool:
    if path.is_file():
        print(f"{path}: is there already")
    return not path.is_file()
