"""Several processes train as one: what DDP, batch norm and errors need so that only the speed differs.

global batch --rank-th part--> loss / share --backward--> gradients --mean over processes--> those of the global batch

Parts are equal and losses are divided by the batch size, not by labelled rows, so the mean is exact.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import lightning as L
import torch
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.distributed import DistError

from trackertraincode.cli import Ended
from trackertraincode.errors import ConfigError, UserError, WorkerError
from trackertraincode.geometry.constants import constant
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Batch, Prediction, blank_batch
from trackertraincode.workers import dead_loader

WAIT = timedelta(minutes=10)  # the longest that processes wait for each other


@rank_zero_only
def say(text: str) -> None:
    """Print once, not once per process."""
    print(text, flush=True)


def global_rank(processes: int, per_node: int) -> int:
    """The number of this process among all, whoever launched it: torchrun, SLURM, Lightning or the user with NODE_RANK.

    per_node: processes of one machine. From then on, `say` knows it too. Raises ConfigError where the launcher started
    another number of processes: they would train side by side, or wait for those that never come.
    """
    launcher, started = _launched()
    if started not in (None, processes):
        raise ConfigError(
            f"{launcher} started {started} process{'es' * (started != 1)} of --nodes {processes // per_node} × --devices "
            f"{per_node}; {'put srun before the command' if launcher == 'SLURM' else 'give both the same numbers'}."
        )
    rank_zero_only.rank = rank = _global_rank(processes, per_node)  # type: ignore[attr-defined]
    return rank


def _global_rank(processes: int, per_node: int) -> int:
    if processes == 1:
        return 0
    if TorchElasticEnvironment.detect() or (SLURMEnvironment.detect() and "SLURM_PROCID" in os.environ):
        return int(os.environ["RANK" if TorchElasticEnvironment.detect() else "SLURM_PROCID"])
    environment = LightningEnvironment()
    return environment.node_rank() * per_node + environment.local_rank()


def _launched() -> tuple[str, int | None]:
    """What started this process, and how many like it; None where Lightning starts the others, or the user does."""
    if TorchElasticEnvironment.detect():
        return "torchrun", int(os.environ["WORLD_SIZE"])
    if not SLURMEnvironment.detect():
        return "", None
    if "SLURM_STEP_ID" not in os.environ:  # by a batch script, which SLURM runs once
        return "SLURM", 1
    return "srun", int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ["SLURM_NTASKS"]))


def make_strategy(processes: int) -> Strategy | str:
    """Buffers aren't copied at each step: processes may validate on different numbers of batches."""
    return "auto" if processes == 1 else DDPStrategy(broadcast_buffers=False, timeout=WAIT)


def freeze_unused(
    network: PoseNetwork, losses: Callable[[Batch, Tensor], tuple[Prediction, Tensor, dict]]
) -> list[str]:
    """Parameters that no loss depends on won't train, so that processes needn't look for them at each step. Their names.

    Losses are masked: what has a gradient for one batch has one for every batch. Nothing is computed for this one.
    """
    training = network.training
    network.eval()  # batch norm would count the batch
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    with FakeTensorMode(allow_non_fake_inputs=True):
        size = network.config.input_size
        batch = blank_batch((2, network.config.channels, size, size), torch.device("cpu"))
        _, loss, _ = losses(batch, torch.ones(()))
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    constant.cache_clear()  # those made here have no values
    network.train(training)
    unused = [name for name, gradient in zip(named, gradients) if gradient is None]
    for name in unused:
        named[name].requires_grad_(False)
    return unused


class SyncBatchNorm(LayerSync):
    """Batch norm over the global batch, on CUDA. Lightning's own conversion drops the activations in timm's layers."""

    def apply(self, model: nn.Module) -> nn.Module:
        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Nothing to do: after training, only the weights are asked for, which have the same names."""
        return model


@contextmanager
def ending_after_a_step() -> Iterator[None]:
    """Round `trainer.fit`: SIGTERM is Lightning's business, which ends the step first; before it listens, it ends at once.

    After the last step, Lightning does nothing about it: Ended is raised when it is done.
    """
    arrived: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGTERM) is not end:  # but Lightning, which calls this one before its own
            arrived.append(number)
        elif callable(before) and not arrived:
            before(number, frame)
        elif not arrived:
            raise Ended(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if arrived:
        raise Ended(arrived[0])


@contextmanager
def ending_together(trainer: L.Trainer) -> Iterator[None]:
    """Round `trainer.fit` and what follows: processes that this one started stop when it fails, and don't wait for it.

    Raises WorkerError where a process died or doesn't answer, KeyboardInterrupt at Ctrl-C, Ended at SIGTERM.
    """
    try:
        yield
    except BaseException as error:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGTERM)  # type: ignore[attr-defined]
        if isinstance(error, SIGTERMException):
            raise Ended(signal.SIGTERM) from None
        if isinstance(error, SystemExit):  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
        known = _in_one_line(error, trainer.world_size > 1)
        if known is None:
            raise
        raise known from error


def _in_one_line(error: BaseException, several: bool) -> UserError | None:
    """What is behind an error of torch or Lightning, where a user can do something about it."""
    text = (str(error).splitlines() or [""])[0]
    if dead := dead_loader(error, " (--resume goes on)"):
        return dead
    if isinstance(error, ValueError) and "ntasks" in text:  # SLURM's and our numbers differ
        return ConfigError(f"SLURM: {text}")
    network = ("gloo", "Timed out", "timed out", "closed by peer", "NCCL", "reset by peer")
    if several and (isinstance(error, DistError) or any(word in str(error) for word in network)):
        reason = text.split(". ")[0][:160]
        return WorkerError(
            f"another process of this training doesn't answer ({reason}); see what it says (--resume goes on)."
        )
    return None
