"""The localizer's scores, a tiny run and its exported file."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from conftest import run_command
from trackertraincode.augmentation.loader import NICENESS, checked
from trackertraincode.commands import parse
from trackertraincode.errors import ConfigError, UserError
from trackertraincode.export.contract import opentrack_faults
from trackertraincode.localizer import training
from trackertraincode.localizer.data import LocalizerBatches, open_images
from trackertraincode.localizer.loss import localizer_loss
from trackertraincode.localizer.network import Localizer, LocalizerConfig, load_localizer
from trackertraincode.localizer.options import LocalizerRun, read_run
from trackertraincode.localizer.training import (
    UNFINISHED,
    LocalizerTraining,
    evaluate_localizer,
    format_scores,
    load_predict,
    lr_factor,
    score,
    train_localizer,
)
from trackertraincode.tracking.networks import LocalizerModel
from trackertraincode.training.callbacks.guard import TrainingDiverged


def test_recall_wants_score_and_overlap() -> None:
    box = torch.tensor([[-0.5, -0.5, 0.5, 0.5]]).expand(4, 4)
    shifted = box + torch.tensor([0.5, 0.0, 0.5, 0.0])  # IoU 1/3
    output = torch.cat([torch.tensor([[2.0], [-2.0], [2.0], [3.0]]), torch.cat([box[:2], shifted[:2]])], dim=1)
    found = score(output, torch.tensor([1.0, 1, 1, 0]), box)
    assert found["iou"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert found["recall"] == pytest.approx(1 / 3)
    assert found["false_alarms"] == 1.0
    assert found["accuracy"] == 0.5


def test_what_has_no_images_is_none() -> None:
    found = score(torch.zeros(1, 5), torch.zeros(1), torch.full((1, 4), torch.nan))
    assert (found["iou"], found["recall"], found["false_alarms"]) == (None, None, 0.0)
    assert "–" in format_scores([{"model": "m", "n": 1, **found}])


def test_the_learning_rate_rises_and_falls() -> None:
    values = [lr_factor(p) for p in np.linspace(0, 1, 41)]
    peak = int(np.argmax(values))
    assert values[peak] == pytest.approx(1.0)
    assert np.all(np.diff(values[: peak + 1]) > 0)
    assert np.all(np.diff(values[peak:]) < 0)


@pytest.mark.slow
def test_a_tiny_run_learns_and_exports_what_opentrack_loads(tmp_path: Path, write: Callable[..., Path]) -> None:
    data = write(tmp_path / "x.h5", [True, False] * 24)
    exported = tmp_path / "localizer.onnx"
    other = tmp_path / "run" / "localizer.ckpt"
    outdir = tmp_path / "run"
    words = ["--data", data, "--epochs", 2, "--batchsize", 8, "--workers", 0, "--device", "cpu", "--outdir", outdir]
    assert f"{outdir}: done" in run_command("train-localizer", *words, "--export", exported)
    (row,) = json.loads((outdir / "evaluation.json").read_text())
    assert row["n"] == 4
    assert {p.name for p in outdir.iterdir()} == {
        "config.toml", "environment.json", "localizer.ckpt", "resume.ckpt", "metrics.csv", "train.pdf",
        "evaluation.json", "images.png",
    }  # fmt: skip
    lines = (outdir / "metrics.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "train/box" in lines[0]
    assert "val/iou" in lines[0]
    assert opentrack_faults(exported) == []
    assert not any(tmp_path.name.encode() in path.read_bytes() for path in (exported, other))  # no folders in models
    frame = np.full((240, 320), 40, np.uint8)
    assert 0 <= LocalizerModel(exported)(frame).score <= 1
    dataset = open_images(data)
    batches = LocalizerBatches(dataset, np.arange(8), 8)
    one, two = (evaluate_localizer(load_predict(path), [batches[0]])[0] for path in (other, exported))
    assert torch.allclose(one, two, atol=1e-4)
    with pytest.raises(ConfigError, match=r"run: is not empty; choose another --outdir"):
        train_localizer(LocalizerRun(outdir=outdir, data=data))
    words[-1] = tmp_path / "again"
    run_command("train-localizer", *words, "--pretrained", other, "--lr", 1e-9)
    first, second = (load_localizer(path).state_dict() for path in (other, tmp_path / "again" / "localizer.ckpt"))
    alike = {name: torch.allclose(first[name], second[name], rtol=1e-3, atol=1e-5) for name in first}
    assert all(alike[name] for name in alike if name.endswith(("weight", "bias"))), "it begins with these weights"
    assert not any(alike[name] for name in alike if name.endswith("running_mean")), "and trains"


def test_a_stopped_run_goes_on_as_if_nothing_had_been(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, outdirs = write(tmp_path / "x.h5", [True, False] * 12), [tmp_path / "whole", tmp_path / "stopped"]
    words = ["--data", data, "--epochs", 4, "--batchsize", 8, "--workers", 0, "--device", "cpu", "--seed", 3]
    run_command("train-localizer", *words, "--outdir", outdirs[0])
    validated = LocalizerTraining.on_validation_epoch_end

    def stop(module: LocalizerTraining) -> None:
        validated(module)
        if module.current_epoch == 2:
            raise UserError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(LocalizerTraining, "on_validation_epoch_end", stop)
        with pytest.raises(UserError, match="stopped"):
            train_localizer(read_run(parsed(*words, "--outdir", outdirs[1]), resume=False))
    begun = []
    monkeypatch.setattr(
        LocalizerTraining, "on_train_start", lambda module: begun.append(module.current_epoch), raising=False
    )
    exported = tmp_path / "x.onnx"
    run_command("train-localizer", "--resume", "--outdir", outdirs[1], "--workers", 1, "--export", exported)
    assert begun == [2]
    assert exported.is_file()
    metrics = [list(csv.DictReader((outdir / "metrics.csv").open())) for outdir in outdirs]
    for row in (*metrics[0], *metrics[1]):
        del row["seconds"], row["samples_per_s"]
    assert metrics[0] == metrics[1]
    weights = [load_localizer(outdir / "localizer.ckpt").state_dict() for outdir in outdirs]
    assert all(torch.equal(values, weights[1][name]) for name, values in weights[0].items())


def test_a_run_that_cannot_go_on_says_why(tmp_path: Path, write: Callable[..., Path]) -> None:
    def message(*words: object) -> str:
        options = parsed(*words)
        with pytest.raises(UserError) as caught:
            train_localizer(read_run(options, resume=True), resume=True)
        return str(caught.value)

    outdir, data = tmp_path / "run", write(tmp_path / "x.h5", [True, False] * 12)
    assert "--resume needs --outdir" in message()
    assert "config.toml: no such file, so there is no run to resume here" in message("--outdir", outdir)
    run = LocalizerRun(outdir=outdir, data=data, epochs=1, batchsize=8, workers=0, device="cpu")
    train_localizer(run)
    assert "epochs was 1 there, not 2. Leave the option out" in message("--outdir", outdir, "--epochs", 2)
    config = outdir / "config.toml"
    text = config.read_text(encoding="utf-8")
    for changed, said in (
        (text.replace("lr = 0.002\n", ""), "config.toml: lacks 'lr'"),
        (text.replace("seed = 0", 'seed = "x"'), "option 'seed' is 'x', expected a whole number"),
        (text + "ds = 1\n", "option 'ds' is none of a localizer's training"),
        (text + "= 1\n", "config.toml: not a TOML file"),
    ):
        config.write_text(changed, encoding="utf-8")
        assert said in message("--outdir", outdir)
    config.write_text(text, encoding="utf-8")
    whole = data.read_bytes()
    write(data, [True, False] * 13)
    assert "x.h5: has other contents than when this run was started" in message("--outdir", outdir)
    data.write_bytes(whole)
    torch.save({"state_dict": {}}, outdir / "resume.ckpt")
    assert "resume.ckpt: isn't the checkpoint of this run (it lacks callbacks)" in message("--outdir", outdir)
    (outdir / "resume.ckpt").write_bytes(b"x")
    assert "resume.ckpt: not a readable checkpoint" in message("--outdir", outdir)


def parsed(*words: object) -> dict[str, Any]:
    """Options of the command line."""
    _, options, _ = parse(["train-localizer", *map(str, words)])
    return {name: value for name, value in vars(options).items() if name not in ("resume", "overwrite")}


@pytest.mark.parametrize(
    ("batchsize", "where"),
    [
        (4, r"epoch 1, step [23]: the loss is not finite, by the terms .*nan_batch\.pt"),
        (16, "epoch 1: the validation loss"),
    ],
)
def test_a_run_that_diverges_stops_at_once_and_says_so(
    batchsize: int, where: str, tmp_path: Path, write: Callable[..., Path]
) -> None:
    """Whether or not there is a step after the one that did it."""
    data, outdir = write(tmp_path / "x.h5", [True, False] * 9), tmp_path / "run"
    with pytest.raises(TrainingDiverged, match=rf"{where}.* Try a lower --lr, or check the data"):
        train_localizer(
            LocalizerRun(outdir=outdir, data=data, lr=1e30, batchsize=batchsize, epochs=3, workers=0, device="cpu")
        )
    left = {path.name for path in outdir.iterdir()}
    assert left == {"config.toml", "environment.json"} | ({"nan_batch.pt"} if batchsize == 4 else set())
    assert left <= set(UNFINISHED)


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
@pytest.mark.parametrize(("device", "added"), [("cpu", NICENESS), ("meta", 0)])
def test_loaders_let_the_network_go_first_where_both_compute_on_the_cpu(
    device: str, added: int, tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def niceness(*_: object) -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    class Trainer:
        strategy = SimpleNamespace(root_device=torch.device(device), launcher=None)
        global_step, world_size = 0, 1

        def fit(self, _: object, batches: DataLoader, *__: object, **___: object) -> None:
            raise ConfigError(f"loaded at {list(batches)}")  # ends the run

    monkeypatch.setattr(training, "make_trainer", lambda *_, **__: Trainer())
    monkeypatch.setattr(LocalizerBatches, "__getitem__", niceness)
    run = LocalizerRun(
        outdir=tmp_path / "run", data=write(tmp_path / "x.h5", [True, False] * 4), batchsize=8, workers=1
    )
    with pytest.raises(ConfigError, match=rf"loaded at \[{min(niceness() + added, 19)}\]"):  # no more is possible
        train_localizer(run)


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_on_one_batch(tmp_path: Path, write: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    batch = checked(LocalizerBatches(open_images(write(tmp_path / "x.h5", [True, False] * 2)), np.arange(4), 4)[0])
    network = Localizer(LocalizerConfig())
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = torch.stack(list(localizer_loss(network(batch.image), batch.has_face, batch.face_box).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"val_fraction=0\.9"):
        LocalizerRun(outdir=Path("x"), val_fraction=0.9)
    with pytest.raises(ConfigError, match=r"lr=-1"):
        LocalizerRun(outdir=Path("x"), lr=-1)
