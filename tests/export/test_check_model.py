"""The command that checks a model, and what other commands say of a broken one."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from constant_onnx import GOOD, build_model, without

from conftest import PROJECT, run_script
from trackertraincode.export.contract import opentrack_faults
from trackertraincode.models.onnx_model import OUTPUTS, OnnxPoseModel, Output
from trackertraincode.sample.images import encode_png


@pytest.mark.parametrize("name", ["head-pose-0.4-small-int8.onnx", "head-localizer.onnx"])
def test_released_files_pass(name: str, shared_data: Path) -> None:
    assert opentrack_faults(shared_data / "opentrack" / name) == []


def run_door(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The script's exit code, run in this process."""
    monkeypatch.setattr(sys, "argv", ["check_opentrack_model.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROJECT / "scripts" / "check_opentrack_model.py"), run_name="__main__")
    return int(str(ended.value))


def test_the_script_ends_with_1_and_a_line_per_fault(
    saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(opset=24, model_version=1)
    assert run_door(monkeypatch, path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: ") for line in lines)


def test_the_script_calls_a_localizer_one_and_takes_it_for_no_pose_model(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "opentrack" / "head-localizer.onnx"
    assert run_door(monkeypatch, path) == 0
    assert capsys.readouterr().out == f"{path}: OpenTrack runs it as its localizer\n"
    image = tmp_path / "grey.png"
    image.write_bytes(encode_png(np.full((100, 120), 128, np.uint8)))
    assert run_door(monkeypatch, path, image, 40, 20, 50, 30) == 1
    assert f"{path}: is a localizer" in capsys.readouterr().err


def test_the_script_takes_one_line_for_what_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_door(monkeypatch, tmp_path / "none.onnx") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_name_default_and_files_of_another_kind_are_understood(tmp_path: Path) -> None:
    assert "pose.onnx: OpenTrack runs it" in run_script("check_opentrack_model.py", "default")
    (tmp_path / "grey.png").write_bytes(encode_png(np.full((100, 120), 128, np.uint8)))
    beyond = ("default", tmp_path / "grey.png", 200, 20, 50, 30)
    assert "its middle lies outside of what is seen" in run_script("check_opentrack_model.py", *beyond, expect=1)
    (tmp_path / "m.ckpt").write_bytes(b"PK")
    said = run_script("check_opentrack_model.py", tmp_path / "m.ckpt", expect=1)
    assert "m.ckpt: is a checkpoint; `ttc export` makes an .onnx file of it" in said
    (tmp_path / "m.onnx").write_bytes(b"x")
    said = run_script("export_model.py", tmp_path / "m.onnx", "--output", tmp_path / "n.onnx", expect=1)
    assert "m.onnx: is an ONNX file already; `ttc check-model` tells whether OpenTrack runs it" in said
    said = run_script("train_localizer.py", "--pretrained", tmp_path / "m.onnx", "--outdir", tmp_path / "r", expect=1)
    assert "m.onnx: is an ONNX file, whose weights aren't read here; give the .ckpt that it was made of" in said


@pytest.mark.parametrize("name", ["m.json", "m.textproto", "m.prototxt", "m.onnxtxt"])
def test_texts_are_no_models(name: str, tmp_path: Path) -> None:
    """Which onnx would read by readers of their own, chosen by the name."""
    (tmp_path / name).write_text('{"a": 1}')
    assert f"{name}: no ONNX file" in run_script("check_opentrack_model.py", tmp_path / name, expect=1)


def test_the_script_prints_the_pose_in_pixels_of_the_image(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "grey.png"
    image.write_bytes(encode_png(np.full((100, 120), 128, np.uint8)))
    assert run_door(monkeypatch, saved(), image, 40, 20, 50, 30) == 0
    text = capsys.readouterr().out
    # The square has its centre at (65, 35) and half its edge is 25: head 65 + 0.1 * 25, 35 - 0.2 * 25, 0.5 * 25.
    assert re.search(r"head.* 67\.500 +30\.000 +12\.500", text)
    assert re.search(r"box.* 52\.500 +22\.500 +77\.500 +47\.500", text)
    assert re.search(r"pitch, yaw, roll.* -?0\.000 +-?0\.000 +-?0\.000", text)


def test_the_script_refuses_an_empty_box(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_door(monkeypatch, saved(), tmp_path / "any.png", 40, 20, 0, 30) == 1
    assert "at least 1" in capsys.readouterr().err


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def not_finite(path: Path) -> None:
    onnx.save_model(build_model(outputs=GOOD | {"quat": np.full((1, 4), np.nan)}), path)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "can't load it|no ONNX file"),
    "opset": (lambda path: onnx.save_model(build_model(opset=99), path), "can't load it"),
    "missing output": (lambda path: onnx.save_model(build_model(outputs=without("quat")), path), "quat is missing"),
    "free size": (
        lambda path: onnx.save_model(build_model(input_shape=(1, 1, "h", "w")), path), "with fixed H = W"
    ),
    "NaN": (not_finite, "output quat has values that are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_evaluation_names_a_broken_model_in_one_line(name: str, saved: Callable[..., Path], tmp_path: Path) -> None:
    from trackertraincode.conversion.synthetic import write_faces
    from trackertraincode.rendering.generate import Request

    faces = tmp_path / "faces.h5"
    write_faces(Request(2, 64, 5, "hdf5"), faces, 0)
    path = saved()
    damage, message = BROKEN[name]
    damage(path)
    text = run_script("evaluate_pose_network.py", path, "--data", faces, "--workers", 0, expect=1)
    lines = [line for line in text.splitlines() if "error: " in line]
    assert len(lines) == 1
    assert "model.onnx: " in lines[0]
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in text


def test_an_output_more_is_an_entry_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackertraincode.export.onnx import export_full, outputs_of, sample_images
    from trackertraincode.facemodel.embedded import embedded_head
    from trackertraincode.models.about import About
    from trackertraincode.models.pose_network import NetworkConfig, build_network

    more = Output("up", {"up_axis": (1, 3)}, value=lambda prediction: prediction.rotation[:, :3].neg())
    monkeypatch.setitem(OUTPUTS, "up", more)
    network = build_network(NetworkConfig(backbone="repvgg_az", width=0.25, input_size=33), embedded_head()).eval()
    export_full(network, tmp_path / "full.onnx", About())
    assert "up" in {output.name for output in onnx.load_model(tmp_path / "full.onnx").graph.output}
    assert OnnxPoseModel(tmp_path / "full.onnx").fields == ("head", "rotation", "face_box", "landmarks", "shape")
    assert "up_axis" in outputs_of(network(sample_images(1, 33, 1)), full=False)
