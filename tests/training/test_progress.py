"""What training shows on terminals, which logs don't get."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trackertraincode.training.callbacks.progress import Progress

EPOCHS, STEPS, BATCH = 2, 3, 4


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("ended_by", ["on_train_end", "on_exception"])
def test_a_terminal_gets_one_bar_for_the_whole_run(
    ended_by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.001}])
    trainer: Any = SimpleNamespace(
        is_global_zero=True, max_epochs=EPOCHS, num_training_batches=STEPS, optimizers=[optimizer], current_epoch=0
    )
    record = {"train/loss": 0.5, "val/loss": 0.25, "val/geodesic": 3.0, "lr": 0.001, "samples_per_s": 1.0}
    module, progress = SimpleNamespace(batchsize=BATCH, record=record), Progress()
    progress.on_train_start(trainer, module)
    for trainer.current_epoch in range(EPOCHS):
        progress.on_train_epoch_start(trainer, module)
        for step in range(STEPS):
            progress.on_train_batch_end(trainer, module, {"loss": torch.tensor(0.125)}, None, step)
        progress.on_train_epoch_end(trainer, module)
    getattr(progress, ended_by)(trainer, module, *([KeyboardInterrupt()] if ended_by == "on_exception" else []))
    last = terminal.getvalue().split("\r")[-1]
    assert "epoch 2/2: 100%" in last
    assert f"{EPOCHS * STEPS * BATCH:.1f}/{EPOCHS * STEPS * BATCH:.1f}" in last
    assert "loss 0.1250, lr 1.0e-03" in last
    assert last.endswith("\n"), "a later line begins a new one"
    assert capsys.readouterr().out == "", "no line per epoch beside it"
