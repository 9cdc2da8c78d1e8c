"""The commands of OpNet's published README and the words of its scripts, on tiny data."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import run_script
from trackertraincode.datasets.dshdf5pose import PoseWriter
from trackertraincode.evaluation.protocols import ALL_AFLW, GRIMACES
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.models.checkpoint import About, save_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$DATADIR with aflw2k.h5 and biwi-v3.h5, and model.ckpt."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published")
    config = NetworkConfig(backbone="repvgg_az", width=0.25, input_size=33)
    save_network(folder / "model.ckpt", build_network(config, embedded_head()), About())
    image = encode_png(np.random.default_rng(0).integers(0, 255, (24, 32), dtype=np.uint8))
    quats = torch.nn.functional.normalize(torch.tensor([0.0, 0, 0, 1]) + 0.05 * torch.randn(ALL_AFLW, 4)).numpy()
    head = np.array([16.0, 12.0, 8.0], np.float32)
    for name, count in (("aflw2k.h5", ALL_AFLW), ("biwi-v3.h5", 5)):
        with PoseWriter(folder / name, source={}, face_model="embedded-v1") as writer:
            for quat in quats[:count]:
                writer.write(Sample(
                    image=image, rotation=quat, head=head, face_box=np.array([8.0, 4, 24, 20], np.float32),
                    landmarks=np.random.default_rng(1).normal(12, 4, (68, 3)).astype(np.float32),
                ))  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("--ds aflw2k3d", [("aflw2k3d", ALL_AFLW)]),
        ("--ds biwi --roi-expansion 0.8 --perspective-correction", [("biwi (perspective)", 5)]),
        ("--ds biwi --roi-expansion 0.8 --alignment-scheme opal23", [("biwi (opal23)", 5)]),
        ("--ds biwi --roi-expansion 0.8 --alignment-scheme opal23_headpose", [("biwi (opal23_headpose)", 5)]),
        ("--ds aflw2k3d_grimaces+biwi --device cpu", [("aflw2k3d_grimaces", len(GRIMACES)), ("biwi", 5)]),
        ("--ds biwi --comprehensive-roi", [("biwi", 5)] * 5),
        *((f"--ds biwi --vis {order}".rstrip(), [("biwi", 5)]) for order in ("none", "kpts", "rot", "size", "")),
    ],
)
def test_published_commands_of_evaluation_run(
    words: str, rows: list[tuple[str, int]], folder: Path, tmp_path: Path
) -> None:
    wanted = ["--json", tmp_path / "r.json", "--vis-folder", tmp_path / "pages", "--workers", 0]
    text = run_script(
        "evaluate_pose_network.py", *wanted, *shlex.split(words), folder / "model.ckpt", DATADIR=str(folder)
    )
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [(row["protocol"], row["n"]) for row in found] == rows
    assert ("pages written" in text) == ("--vis" in words and "none" not in words)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--posenet", "--full --posenet"])
def test_published_commands_of_export_run(words: str, folder: Path, tmp_path: Path) -> None:
    run_script("export_model.py", "--output", tmp_path / "a.onnx", *shlex.split(words), folder / "model.ckpt")
    assert (tmp_path / "a.onnx").is_file()


def test_rows_that_are_done_are_kept_when_a_later_one_fails(folder: Path, tmp_path: Path) -> None:
    text = run_script(
        "evaluate_pose_network.py", "--ds", "biwi+aflw2k3d-6drepnet", folder / "model.ckpt", "--json",
        tmp_path / "r.json", "--workers", 0, expect=1, DATADIR=str(folder),
    )  # fmt: skip
    assert "has no 'rois_pt2d'" in text
    assert [row["protocol"] for row in json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))] == ["biwi"]


@pytest.mark.parametrize(
    ("option", "suffix"), [("--json", ".json"), ("--csv", ".csv"), ("--predictions", ".csv"), ("--report", ".html")]
)
@pytest.mark.parametrize("victim", ["model.ckpt", "biwi-v3.h5"])
def test_results_never_replace_model_or_data(
    option: str, suffix: str, victim: str, folder: Path, tmp_path: Path
) -> None:
    before, link = (folder / victim).read_bytes(), tmp_path / f"link{suffix}"
    link.symlink_to(folder / victim)
    words = ("evaluate_pose_network.py", "--ds", "biwi", folder / "model.ckpt", option)
    assert f"{link.name}: is also an input" in run_script(*words, link, expect=1, DATADIR=str(folder))
    assert (folder / victim).read_bytes() == before
