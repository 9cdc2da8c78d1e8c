"""The machine that trains, and Lightning's loop on it."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, Checkpoint
from timm.models.vision_transformer import Block
from torch import nn

from trackertraincode.errors import ConfigError
from trackertraincode.evaluation.predictor import choose_device
from trackertraincode.options import check, option
from trackertraincode.training.distributed import SyncBatchNorm, make_strategy
from trackertraincode.workers import MORE_THAN_CORES, usable_cores

_HINTS = (
    ".*does not have many workers.*", ".*LeafSpec.*", ".*smaller than the logging interval.*", ".*on_before_batch_transfer.*",
    ".*srun.*", ".*broadcast_buffers.*", ".*infer the `batch_size`.*", ".*val_dataloader.*", ".*GPU available but not.*",
    ".*TensorFloat32 tensor cores.*", ".*_prims_common.check.*", ".*functools.lru_cache.*",
    MORE_THAN_CORES,
)  # fmt: skip
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
AUTOCAST = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """Where and how to compute. Raises ConfigError where a value can't be."""

    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))
    devices: int = option(1, "devices (on cpu: processes) per node", least=1)
    nodes: int = option(1, "machines", least=1)
    precision: str = option(
        "32",
        "arithmetic: 32, or mixed with bf16 or fp16; auto: bf16 on CUDA devices that have it, 32 elsewhere",
        choices=("auto", *PRECISIONS),
    )
    compile: bool = option(
        False, "compile network, losses and what makes batches on a device (slow start, faster steps)"
    )
    cuda_graph: bool = option(True, "on one CUDA device, record the step once and start it as one piece of work")
    channels_last: str = option(
        "auto",
        "keep the channels of a pixel together in memory: on a CPU, steps of mobilenetv1 and EfficientNets are 1.4 to 1.7 "
        "times as fast, of resnet18 1.2, of RepVGG 1.0 to 1.1, of transformers 1.0; auto: on CPU and CUDA, but for "
        "transformers",
        choices=("auto", "yes", "no"), metavar="auto|yes|no", switch={True: "yes", False: "no"},
    )  # fmt: skip
    seed: int = option(0, "of every random number", least=0, most=2**32 - 1)  # numpy's

    def __post_init__(self) -> None:
        check(self)

    @property
    def world_size(self) -> int:
        """Processes that train together."""
        return self.devices * self.nodes

    @property
    def device_type(self) -> str:
        """cpu, cuda or mps. Raises ConfigError when this machine has no such device."""
        return choose_device(self.device)

    @property
    def arithmetic(self) -> str:
        """Key of PRECISIONS: what `precision` stands for on this machine. Raises ConfigError as `device_type`."""
        if self.precision != "auto":
            return self.precision
        has_bf16 = self.device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "32"


def wants_channels_last(machine: MachineOptions, network: nn.Module) -> bool:
    """Whether a network trains in channels-last."""
    if machine.channels_last != "auto":
        return machine.channels_last == "yes"
    return machine.device_type != "mps" and not any(isinstance(module, Block) for module in network.modules())


def make_trainer(
    machine: MachineOptions, epochs: int, callbacks: Sequence[Callback], *, logger: Any = False,
    gradient_clip: float = 0.0,
) -> L.Trainer:  # fmt: skip
    """Lightning's loop. gradient_clip: largest norm; 0 for no limit.

    Raises ConfigError when devices aren't there, and for float16 on a CPU, for which Lightning would take bfloat16.
    """
    _quieten()
    device = machine.device_type
    if device == "cpu" and machine.precision == "fp16":
        raise ConfigError("--precision fp16: is for GPUs; on a CPU, give 32 or bf16.")
    try:
        return L.Trainer(
            accelerator=device,
            devices=machine.devices,
            num_nodes=machine.nodes,
            strategy=make_strategy(machine.world_size),
            plugins=[SyncBatchNorm()] if machine.world_size > 1 and device == "cuda" else None,
            precision=PRECISIONS[machine.arithmetic],  # type: ignore[arg-type]
            max_epochs=epochs,
            gradient_clip_val=gradient_clip or None,
            callbacks=list(callbacks),
            logger=logger,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            benchmark=device == "cuda",
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:  # SLURM's variables raise the last one
        raise ConfigError(f"--device {machine.device} --devices {machine.devices}: {error}") from error


def share_cores(processes: int) -> None:
    """Threads of this process, of several that train on the CPUs of one machine."""
    torch.set_num_threads(min(torch.get_num_threads(), max(1, usable_cores() // processes)))


def _quieten() -> None:
    """Lightning's hints speak to programmers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for text in _HINTS:
        warnings.filterwarnings("ignore", message=text)
