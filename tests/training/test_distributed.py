"""Two processes train as one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from conftest import start_script
from trackertraincode.errors import ConfigError
from trackertraincode.models.backbones import BackboneOptions, build_backbone
from trackertraincode.models.checkpoint import load_network
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.distributed import SyncBatchNorm

CATALOG = """
[bare]
file = "aflw2k.h5"
labels = ["pose"]
rows = [0]
validation_rows = [0, 7]
"""
OPTIONS = {
    "backbone": "mobilenetv1", "width": 0.25, "input_size": 65, "epochs": 2,
    "samples_per_epoch": 80, "batchsize": 8, "with_nll_loss": True, "with_swa": True, "ema": 0.9,
    "freeze_batchnorm": True, "val_fraction": 0.1, "calibrate": False, "schedule": "constant",
}  # fmt: skip


def as_arguments(options: dict) -> list[str]:
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return words


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(
    run: Callable[..., Path], faces: Path, tmp_path: Path
) -> None:
    """20 steps; half of the rows lack labels, so that a process may have none of a kind; 21 rows validate."""
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(CATALOG)
    start = run("start", **(OPTIONS | {"freeze_batchnorm": False, "epochs": 1}))
    options = OPTIONS | {
        "ds": "300wlp:2+bare:1",
        "ds_offsets": True,
        "catalog": catalog,
        "pretrained": start / "last.ckpt",
    }
    one = run("one", **options | {"pretrained": str(start / "last.ckpt")})
    rest = {"workers": 0, "onnx": False, "save_plot": False, "tensorboard": False, "draw_every": 1, "device": "cpu"}
    words = as_arguments(options | rest | {"devices": 2, "outdir": tmp_path / "two"})
    done = start_script("train_poseestimator.py", *words, DATADIR=str(faces))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1
    for name in ("last", "swa", "ema", "best"):
        first, second = (load_network(out / f"{name}.ckpt")[0].state_dict() for out in (one, tmp_path / "two"))
        for key, value in first.items():
            assert torch.allclose(value, second[key], rtol=0, atol=1e-5), (name, key)
    for a, b in zip(*(read_metrics(out / "metrics.csv") for out in (one, tmp_path / "two"))):
        same = [key for key in a if not key.startswith("s")]  # seconds, samples per second
        assert [b[key] for key in same] == pytest.approx([a[key] for key in same], rel=1e-4, abs=1e-5)


def test_synchronised_batch_norm_keeps_activations_and_names() -> None:
    backbone = build_backbone("mobilenetv1", BackboneOptions(width=0.25, size=65)).eval()
    names, image = list(backbone.state_dict()), torch.randn(2, 1, 65, 65)
    assert any(isinstance(m, BatchNormAct2d) for m in backbone.modules())
    before = backbone(image)
    converted = SyncBatchNorm().apply(backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in converted.modules())
    assert torch.equal(converted(image), before)
    assert list(converted.state_dict()) == names


def test_several_processes_need_a_common_folder() -> None:
    with pytest.raises(ConfigError, match="several processes need --outdir in common"):
        TrainConfig.of(devices=2)
