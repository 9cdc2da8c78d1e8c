"""The models in the box: whole, small, as OpenTrack needs them, and found by everything that takes a model."""

import argparse
import csv
import hashlib
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from close import known
from trackertraincode import pretrained
from trackertraincode.commands import demo, parse, run
from trackertraincode.commands.demo import Commands, alone
from trackertraincode.commands.train_default import SHARES
from trackertraincode.datasets.catalog import load_catalog
from trackertraincode.errors import ModelFileError, UserError
from trackertraincode.export.contract import opentrack_faults
from trackertraincode.geometry.single import quat_to_aflw_deg
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.models.onnx_model import OnnxPoseModel
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.rendering.camera_effects import CameraEffects
from trackertraincode.rendering.scene import FaceScene, render_scene
from trackertraincode.sample.images import decode
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.tracking.video import AnnotatedOutput, Frame
from trackertraincode.training import finish

MEGABYTE = 2**20
NEVER_CONNECTED = """
import socket, sys
def refuse(*_): raise AssertionError("a connection is made")
socket.socket.connect = refuse
sys.path.insert(0, sys.argv.pop(1))
import trackertraincode
assert trackertraincode.__file__.startswith(sys.path[0])
"""
IN_PYTHON = """
from trackertraincode.sample.images import decode
from trackertraincode.tracking.tracker import HeadPoseTracker
pose = HeadPoseTracker().update(decode(open(sys.argv[1], "rb").read()))
print(*pose.pitch_yaw_roll_deg)
"""
ON_THE_COMMAND_LINE = """
from trackertraincode.commands import main
main()
"""


@pytest.fixture(scope="module")
def faces() -> list[tuple[bytes, float]]:
    """Photographs (JPEG, 320 × 240) of a rendered person who looks to both sides, and the true yaws in degrees."""
    rng = np.random.default_rng(5)
    scene = replace(FaceScene.draw(rng, spread=0.0), head=(0.5, 0.5, 0.27), occluders=0, camera=CameraEffects())
    found = []
    for yaw in (-25.0, 0.0, 25.0):
        sample = render_scene(replace(scene, pitch_yaw_roll=(0.0, float(np.radians(yaw)), 0.0)), 320, 240)
        found.append((bytes(sample.image), quat_to_aflw_deg(known(sample.rotation))[1]))
    return found


def sums(folder: Path) -> dict[str, str]:
    """File -> its checksum, as SHA256SUMS of a folder has it."""
    lines = (folder / pretrained.SUMS_FILE).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in map(str.split, lines)}


def test_each_model_satisfies_the_plugin_and_is_small() -> None:
    for path, limit in ((pretrained.pose_network(), 14 * MEGABYTE), (pretrained.localizer(), MEGABYTE)):
        assert opentrack_faults(path) == []
        assert path.stat().st_size <= limit


def test_the_pose_network_gives_landmarks_and_uncertainty_and_says_what_it_is() -> None:
    model = OnnxPoseModel(pretrained.pose_network())
    assert {"rotation", "head", "face_box", "landmarks", "head_tril", "rotation_tril"} <= set(model.fields)
    assert model.about["trained_on"] == ["rendered"]  # as the model card says


def test_a_damaged_model_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / pretrained.SUMS_FILE).write_text("0  pose.onnx\n", encoding="utf-8")
    (tmp_path / pretrained.POSE_FILE).write_bytes(b"half")
    monkeypatch.setattr(pretrained, "HERE", tmp_path)
    with pytest.raises(ModelFileError, match=r"pose\.onnx: .* missing or damaged; install the package again"):
        HeadPoseTracker()
    assert pretrained.pose_network("own.onnx") == Path("own.onnx")


def test_a_head_that_turns_is_found_and_followed(faces: list[tuple[bytes, float]]) -> None:
    tracker = HeadPoseTracker()
    for image, yaw in faces:
        tracker.reset()
        pose = tracker.update(decode(image))
        assert pose is not None
        assert abs(pose.pitch_yaw_roll_deg[1] - yaw) < 10.0
        assert max(abs(pose.pitch_yaw_roll_deg[i]) for i in (0, 2)) < 15.0


def test_one_command_makes_them_from_nothing_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str] = []
    trained: list[argparse.Namespace] = []

    def write_what_is_named(_: Commands, *words: object) -> None:
        module, options = parse([str(word) for word in words])[:2]
        done.append(module.__name__.split(".")[-1])
        for name in ("destination", "output", "export"):
            if path := getattr(options, name, None):
                path.write_text(done[-1])
        if done[-1] == "filter":
            options.destination.write_text(options.where)
        if done[-1] == "train":
            trained.append(options)
            options.outdir.mkdir()
            (options.outdir / "swa.onnx").touch()
            save_network(options.outdir / "swa.ckpt", PoseNetwork(NetworkConfig(backbone="repvgg_az")), About())

    def scaled(network: PoseNetwork, about: About, path: Path, _: object) -> About:
        assert path == tmp_path / "data" / "new.h5"
        return replace(about, regions={"rotation_tril": [1.0, 2.0, 3.0]})

    monkeypatch.setattr(Commands, "run", write_what_is_named)
    monkeypatch.setattr(finish, "calibrated_on", scaled)
    for _ in range(2):
        assert run(["train-default", "--outdir", str(tmp_path)]) == 0
    made = ["render", "render", "filter", "filter"]
    pose = ["train"] * 3 + ["export"] + ["train"] * 2 + ["export"]
    assert done == ["train_localizer"] * 2 + made + pose
    begins = ("pose/swa.ckpt", "calm/swa.ckpt", "first.onnx", "steady/swa.ckpt")
    assert [getattr(options, "pretrained", None) for options in trained] == [None, *[str(tmp_path / b) for b in begins]]
    assert (tmp_path / "data" / "turned.h5").read_text() == "row < 29200 and abs(yaw) > 40"
    assert load_catalog(tmp_path / "data" / "datasets.toml")["faces"].rows == (0, 29200)
    about = load_network(tmp_path / "pose.ckpt")[1]
    assert about.regions == {"rotation_tril": [1.0, 2.0, 3.0]}
    assert (about.trained_on, about.recipe["shares"], about.recipe["faces"]) == (["rendered"], SHARES, 30_000)
    assert [stage[1] for stage in about.recipe["stages"].values()] == [64, 60, 6, 20, 4]
    assert load_network(tmp_path / "first.ckpt")[1].regions == {}
    assert sums(tmp_path) == {f: hashlib.sha256(w.encode()).hexdigest() for f, w in
                              (("pose.onnx", "export"), ("localizer.onnx", "train_localizer"))}  # fmt: skip
    monkeypatch.setattr(finish, "calibrated_on", lambda network, about, *_: about)
    assert run(["train-default", "--epochs", "2", "--outdir", str(tmp_path / "short")]) == 0
    recipe = load_network(tmp_path / "short" / "pose.ckpt")[1].recipe
    assert [stage[1] for stage in recipe["stages"].values()] == [2] * 5


def test_it_begins_a_run_anew_that_cannot_be_resumed_and_removes_nothing_of_a_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (
        *(f"data/{name}.h5" for name in ("rendered", "new", "turned", "held")),
        "pose/environment.json",
        "pose/last.ckpt.tmp/x",
        "localizer/scenes.h5.parts/x",
        "localizer/mine",
        "localizer/images of mine",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".made-by-train-default").write_text("--faces 30000")

    def stop(_: Commands, *words: object) -> None:
        raise UserError("stopped")

    monkeypatch.setattr(Commands, "run", stop)
    with pytest.raises(UserError, match="stopped"):
        run(["train-default", "--outdir", str(tmp_path)])
    (tmp_path / "localizer-first.onnx").touch()
    for name in ("mine", "images of mine"):
        with pytest.raises(UserError, match="stopped"):
            run(["train-default", "--outdir", str(tmp_path)])
        assert (tmp_path / "localizer" / name).exists()
        (tmp_path / "localizer" / name).unlink()
    with pytest.raises(UserError, match="stopped"):
        run(["train-default", "--outdir", str(tmp_path)])
    assert not (tmp_path / "localizer").exists()
    assert (tmp_path / "pose").exists()
    (tmp_path / "localizer.onnx").touch()
    with pytest.raises(UserError, match="stopped"):
        run(["train-default", "--outdir", str(tmp_path)])
    assert not (tmp_path / "pose").exists()


@pytest.mark.parametrize("command", ["demo", "train-default"])
def test_nothing_of_a_user_is_replaced(command: str, tmp_path: Path) -> None:
    """Such as the real archives, whose names a demo takes, or a catalog of data sets."""
    for number, name in enumerate(("300W-LP.zip", "data/datasets.toml", "data/rendered.h5", "runs/a/last.ckpt")):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        with pytest.raises(UserError, match=rf"holds {name.split('/')[0]}, which is of no earlier {command}; choose a"):
            run([command, "--outdir", str(tmp_path / str(number))])
        assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("before", "given"),
    [
        ("--faces 400", "--faces 800"),
        ("--faces 30000 --epochs 1", "--faces 30000"),
        ("--faces 30000 --scenes 100 --localizer-epochs 1", "--faces 30000 --scenes 100 --localizer-epochs 2"),
    ],
)
def test_a_training_goes_on_as_it_began(before: str, given: str, tmp_path: Path) -> None:
    """Else what a trial left would count as done."""
    (tmp_path / ".made-by-train-default").write_text(before)
    with pytest.raises(UserError, match=f"was begun with {before}, not with {given}; give the same, or choose"):
        run(["train-default", *given.split(), "--outdir", str(tmp_path)])


def test_commands_are_shown_as_they_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["filter", str(tmp_path / "my faces.h5"), "--where", "row < 3 and abs(yaw) > 40"]
    monkeypatch.setattr(demo, "run_program", lambda *_: (0, b""))
    commands = Commands(tmp_path)
    commands.run(*words)
    (shown,) = commands.shown
    assert os.name == "nt" or shlex.split(shown) == ["ttc", *words]
    assert f"'{words[1]}'" in shown or f'"{words[1]}"' in shown


@pytest.mark.parametrize("count", ["4", "1002"])
def test_people_are_trained_on_or_validated_on(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["train-default", "--faces", count])
    assert f"--faces {count}: people have 4 faces each; give a multiple of 4, at least 8" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "train-default"])
def test_two_cannot_fill_one_folder(command: str, tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(UserError, match="another process is at work in this folder; choose another"):
        run([command, "--outdir", str(tmp_path)])


@pytest.mark.slow
def test_an_installed_wheel_tracks_without_network_and_without_any_other_file(
    installed: Path, faces: list[tuple[bytes, float]], tmp_path: Path
) -> None:
    def start(program: str, *words: object) -> str:
        command = [sys.executable, "-I", "-c", NEVER_CONNECTED + program, str(installed), *map(str, words)]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    (tmp_path / "photo.jpg").write_bytes(faces[-1][0])
    assert abs(float(start(IN_PYTHON, tmp_path / "photo.jpg").split()[1]) - faces[-1][1]) < 10.0
    with AnnotatedOutput(tmp_path / "video.avi") as video:
        for index, (image, _) in enumerate(face for face in faces for _ in range(4)):
            video.write(Frame(str(index), decode(image, color=True)))
    start(ON_THE_COMMAND_LINE, "track", "video.avi", "--csv", "poses.csv")
    with (tmp_path / "poses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["face"] for row in rows] == ["True"] * 12
    assert float(rows[3]["yaw"]) < -10.0 < 10.0 < float(rows[11]["yaw"])
