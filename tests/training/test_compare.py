"""Runs side by side."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import run_script
from trackertraincode.errors import ConfigError
from trackertraincode.export.onnx import export_opentrack
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.onnx_model import latencies
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.sample.images import decode
from trackertraincode.training.callbacks.records import write_metrics
from trackertraincode.training.compare import (
    draw_families,
    family_of,
    format_runs,
    read_run,
    read_runs,
    write_comparison,
)
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import write_toml


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """make_run(name, errors, backbone): the folder of a run without networks."""

    def make(name: str, errors: tuple[float, ...], backbone: str = "repvgg_az") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        write_toml(TrainConfig.of(backbone=backbone, input_size=33), folder / "config.toml")
        rows = [{"epoch": i + 1, "val/geodesic": value, "val/mae": value / 2} for i, value in enumerate(errors)]
        write_metrics([*rows, {"epoch": len(errors) + 1, "lr": 0.1}], folder / "metrics.csv")
        return folder

    return make


def test_errors_follow_the_epochs_and_a_row_without_one_is_left_out(make_run: Callable[..., Path]) -> None:
    run = read_run(make_run("a", (20.0, 7.0, 8.0)))
    assert (run.epochs, run.errors, run.best) == ((1, 2, 3), (20.0, 7.0, 8.0), 7.0)
    assert (run.backbone, run.family, run.input_size) == ("repvgg_az", "repvgg", 33)
    assert (run.parameters, run.megabytes, run.latency) == (None, None, None)


def test_another_error_can_be_chosen(make_run: Callable[..., Path]) -> None:
    assert read_run(make_run("a", (20.0, 7.0)), error="mae").errors == (10.0, 3.5)


@pytest.fixture(scope="module")
def network_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """last.ckpt and last.onnx of a tiny network."""
    folder = tmp_path_factory.mktemp("network")
    config = NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, landmarks=False)
    network = build_network(config, embedded_head())
    save_network(folder / "last.ckpt", network, About())
    export_opentrack(network, folder / "last.onnx", About())
    return folder


def test_size_and_latency_are_those_of_the_files(make_run: Callable[..., Path], network_folder: Path) -> None:
    folder = make_run("a", (20.0, 7.0))
    for file in network_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    run = read_run(folder, repeats=3)
    assert run.megabytes == (folder / "last.onnx").stat().st_size / 1e6
    assert run.latency is not None
    assert run.parameters is not None
    assert 4e-6 * run.parameters > 0.2 * run.megabytes
    assert run.latency > 0
    assert latencies([folder / "last.onnx"], 1, 1)[0] > 0


@pytest.mark.parametrize(
    ("backbone", "family"),
    [
        ("mobilenetv1", "mobilenet"),
        ("resnet18", "resnet"),
        ("repvgg_b1g2", "repvgg"),
        ("efficientnet_b3", "efficientnet"),
        ("efficientnet_lite0", "efficientnet_lite"),
        ("hybrid_vit", "hybrid_vit"),
        ("timm:mobilenetv3_small_100", "mobilenet"),
        ("timm:vit_tiny_patch16_224", "vit"),
        ("timm:convnextv2_atto", "convnext"),
    ],
)
def test_families(backbone: str, family: str) -> None:
    assert family_of(backbone) == family


def test_one_image_of_all_and_one_per_family(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folders = [make_run("a", (20.0, 7.0)), make_run("b", (9.0,), "resnet18"), make_run("c", (9.0,), "repvgg_a0")]
    files = draw_families(read_runs(folders), tmp_path / "x.png")
    assert [file.name for file in files] == ["x.png", "x-repvgg.png", "x-resnet.png"]
    assert all(decode(file.read_bytes()).std() > 0 for file in files)
    assert len(draw_families(read_runs(folders[1:2]), tmp_path / "y.png")) == 1


def test_negative_losses_are_drawn(make_run: Callable[..., Path], tmp_path: Path) -> None:
    draw_families([read_run(make_run("a", (2.0, -1.0)))], tmp_path / "x.png")
    assert (tmp_path / "x.png").is_file()


def test_table_has_the_best_run_first_and_json_all_numbers(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = read_runs([make_run("worse", (20.0, 7.0)), make_run("better", (6.0, 6.5))])
    lines = format_runs(runs).splitlines()
    assert "better" in lines[2]
    assert "6.000" in lines[2]
    write_comparison(runs, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())[0]["errors"] == [20.0, 7.0]


def test_errors_on_other_rows_are_told(make_run: Callable[..., Path]) -> None:
    folders = [make_run(name, (1.0,)) for name in "abcd"]
    for folder, told in zip(folders, ({"aflw2k": 400}, {"aflw2k": 400}, {"wflw": 20, "biwi": 3}, 7)):
        (folder / "environment.json").write_text(json.dumps({"validated_on": told}))
    (runs := [read_run(folder) for folder in folders]).append(read_run(make_run("e", (1.0,))))
    assert [run.validated_on for run in runs[2:]] == [{"wflw": 20, "biwi": 3}, None, None]
    same, other = format_runs([*runs[:2], *runs[3:]]), format_runs(runs)
    assert same.count("aflw2k 400") == 2
    assert "can't be compared" not in same
    assert "wflw 20, biwi 3" in other
    assert other.endswith("Errors on different rows can't be compared.")


def test_runs_of_the_same_name_are_told_apart_by_their_parents(make_run: Callable[..., Path]) -> None:
    deep = [
        r.name
        for r in read_runs([make_run("a/x/run", (1.0,)), make_run("b/x/run", (1.0,)), make_run("c/y/run", (1.0,))])
    ]
    assert deep == ["a/x/run", "b/x/run", "y/run"]
    assert [r.name for r in read_runs([make_run("x/run", (1.0,)), make_run("y/run", (1.0,))])] == ["x/run", "y/run"]


def test_errors_name_the_file_and_what_to_do(make_run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/config\.toml: no such file.*--outdir"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"metrics\.csv: has no values in column val/geodesic.*validation samples"):
        read_run(make_run("empty", ()))
    with pytest.raises(ConfigError, match=r"x\.xyz.*\.png"):
        draw_families([read_run(make_run("a", (1.0,)))], tmp_path / "x.xyz")


def test_script_prints_the_table_and_the_images(make_run: Callable[..., Path], tmp_path: Path) -> None:
    output = tmp_path / "all.png"
    assert str(output) in run_script("compare_runs.py", make_run("a", (3.0,)), "--output", output)
    assert output.is_file()
