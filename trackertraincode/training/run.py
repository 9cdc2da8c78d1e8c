"""A whole training run: data, network, loop, averages, calibration, exports.

TrainConfig --train--> OUTDIR/ config.toml environment.json metrics.csv train.pdf tensorboard/
                               last.ckpt best.ckpt swa.ckpt ema.ckpt resume.ckpt and an .onnx of each
"""

import json
import logging
import os
import time
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from trackertraincode.augmentation.extras import PLUGIN_BRIGHTNESS
from trackertraincode.errors import ConfigError
from trackertraincode.facemodel.bfm import NAME as BFM_NAME
from trackertraincode.facemodel.head_model import HeadModel, load_head_model
from trackertraincode.losses.objective import make_terms, total_loss
from trackertraincode.losses.shape_prior import ShapePrior, prior_path
from trackertraincode.models.checkpoint import load_network
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.sample.sample import Batch, Prediction
from trackertraincode.training.averaging import ExponentialMovingAverage, StochasticWeightAverage, WeightAverage
from trackertraincode.training.checkpoints import RESUME_FILE, RunCheckpoints
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import PoseData, describe_members, open_data
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import SharedStatistics, SyncBatchNorm, ending_together, make_strategy, say
from trackertraincode.training.environment import describe_environment, fingerprints
from trackertraincode.training.finish import Saver, finish
from trackertraincode.training.guard import NanGuard
from trackertraincode.training.module import PoseTraining, seed_of
from trackertraincode.training.options import CONFIG_FILE, Request, write_toml
from trackertraincode.training.pictures import PredictionPictures
from trackertraincode.training.progress import Progress
from trackertraincode.training.records import Recorder
from trackertraincode.training.schedule import nll_rampup
from trackertraincode.training.teachers import Teachers
from trackertraincode.workers import usable_cores

_HINTS = (
    ".*does not have many workers.*", ".*LeafSpec.*", ".*smaller than the logging interval.*", ".*on_before_batch_transfer.*",
    ".*srun.*", ".*infer the `batch_size`.*", ".*val_dataloader.*",
)  # fmt: skip
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def train(request: Request) -> Path:
    """Train, or go on training. Returns the folder of the run. Raises UserErrors before anything long begins."""
    config = request.config
    outdir = _prepare_folder(request)
    L.seed_everything(config.seed, verbose=False)
    trainer = make_trainer(config, outdir)
    on_cpu = trainer.strategy.root_device.type == "cpu"
    intensity = {"auto": "tables" if on_cpu else "kornia"}.get(config.intensity, config.intensity)
    data = open_data(config, tables=intensity == "tables")
    if on_cpu and data.workers:
        leave_a_core(config.devices)
    face_model = _choose_face_model(config, data)
    data.face_model = face_model.name
    network = make_network(config, data, face_model)
    averages: list[WeightAverage] = []
    if config.with_swa:
        averages.append(StochasticWeightAverage(network))
    if config.ema:
        averages.append(ExponentialMovingAverage(network, config.ema))
    saver = Saver(outdir, config, data)
    trainer.callbacks[:0] = [  # type: ignore[attr-defined]
        SharedStatistics(),
        Recorder(outdir, plot=config.save_plot),
        NanGuard(outdir),
        *averages,
        PredictionPictures(outdir, config.draw_every),
        Progress(),
    ]
    trainer.callbacks.append(RunCheckpoints(outdir, saver.save, config.best))  # type: ignore[attr-defined]
    augment = DeviceAugmentation(kornia=intensity == "kornia", plugin=PLUGIN_BRIGHTNESS in config.extras)
    objective = Objective(config, network)
    forward = torch.compile(network) if config.compile else network
    module = PoseTraining(network, forward, objective, config, augment)  # type: ignore[arg-type]
    module.device_parts = nn.ModuleList([augment, *objective.modules])
    if trainer.is_global_zero:
        write_toml(config, outdir / CONFIG_FILE)
        environment = describe_environment() | {"data": fingerprints(data.files), "intensity": intensity}
        (outdir / "environment.json").write_text(json.dumps(environment, indent=1), encoding="utf-8")
        say(f"{outdir}: {config.backbone}, {sum(p.numel() for p in network.parameters()):,} parameters, on "
            f"{config.world_size} × {trainer.strategy.root_device.type}, face model {face_model.name}")  # fmt: skip
        say("\n".join(describe_members(data.training_members, data.validation_members) + objective.notes))
    resume = outdir / RESUME_FILE if request.resume and (outdir / RESUME_FILE).is_file() else None
    with ending_together(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
    if trainer.is_global_zero:
        finish(config, outdir, data, network, averages, augment, saver)
    return outdir


def leave_a_core(processes: int) -> None:
    """Fewer threads for the network, so that loading has a core: on two cores, one thread trains 1.3 times as fast."""
    free = max(1, (usable_cores() - 1) // processes)
    torch.set_num_threads(min(torch.get_num_threads(), free))


def make_trainer(config: TrainConfig, outdir: Path) -> L.Trainer:
    """Lightning's loop. Raises ConfigError when the device isn't there."""
    _quieten()
    devices = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not devices.get(config.device, True):
        raise ConfigError(f"device={config.device}: this machine has none that torch {torch.__version__} can use.")
    try:
        trainer = L.Trainer(
            accelerator=config.device,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy=make_strategy(config),
            plugins=[SyncBatchNorm()] if config.world_size > 1 and config.device != "cpu" and devices["cuda"] else None,
            precision=PRECISIONS[config.precision],  # type: ignore[arg-type]
            max_epochs=config.epochs,
            gradient_clip_val=config.gradient_clip or None,
            logger=TensorBoardLogger(outdir, name="", version="tensorboard") if config.tensorboard else False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            benchmark=torch.cuda.is_available(),
        )
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError(f"--device {config.device} --devices {config.devices}: {error}") from error
    return trainer


def make_network(config: TrainConfig, data: PoseData, face_model: HeadModel) -> PoseNetwork:
    """A new network, with weights of --pretrained where they fit. Raises ConfigError, ModelFileError."""
    torch.manual_seed(seed_of(config.seed, 0))
    names = tuple(m.name for m in data.training_members)
    network = build_network(
        NetworkConfig(
            backbone=config.backbone,
            width=config.width,
            input_size=config.input_size,
            channels=3 if config.rgb else 1,
            blurpool=config.blurpool,
            rotation="sixd" if config.enable_6drot else "quaternion",
            landmarks=config.pointhead,
            uncertainty=config.with_nll_loss,
            face_model=face_model.name,
            dropout=config.neck_dropout,
            offsets_of=names if config.ds_offsets else (),
        ),
        face_model,
        pretrained=config.pretrained == "timm",
    )
    if config.pretrained not in (None, "timm"):
        _take_weights(network, Path(config.pretrained))
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


class Objective:
    """Loss of a batch in an epoch: labels, ramp, teachers."""

    def __init__(self, config: TrainConfig, network: PoseNetwork) -> None:
        path = prior_path(network.config.face_model) if network.config.landmarks else None
        prior = ShapePrior.load(path) if path is not None else None
        self.notes: list[str] = []
        if prior is None and network.config.landmarks:
            self.notes = [f"  no shape prior for {network.config.face_model}; scripts/fit_shape_prior.py makes one"]
        self._terms = make_terms(rotation=config.rotation_loss, likelihood=config.with_nll_loss, shape_prior=prior)
        self._teachers = Teachers(config.teacher_files, network.config) if config.teacher_files else None
        self._config = config
        self.modules = [prior] if prior is not None else []

    def __call__(self, prediction: Prediction, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        factor = nll_rampup(epoch, self._config.epochs) if self._config.rampup_nll_losses else 1.0
        total, parts = total_loss(prediction, batch, self._terms, factor)
        if self._teachers is not None:
            parts["teachers"] = self._config.teacher_weight * self._teachers.loss(prediction, batch)
            total = total + parts["teachers"]
        return total, parts


def _prepare_folder(request: Request) -> Path:
    """The folder of the run. Raises ConfigError when it holds another run."""
    config = request.config
    outdir = config.outdir or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.backbone.replace(':', '-')}"
    if not request.resume and int(os.environ.get("LOCAL_RANK", "0")) == 0:
        if outdir.exists() and (not outdir.is_dir() or any(outdir.iterdir())):
            raise ConfigError(f"{outdir}: is not empty; choose another --outdir, or go on with that run by --resume.")
        outdir.mkdir(parents=True, exist_ok=True)
    return outdir


def _choose_face_model(config: TrainConfig, data: PoseData) -> HeadModel:
    """The one of --face-model or $DATADIR, else the embedded head. Says when shape labels belong to another."""
    model = load_head_model(config.face_model)
    others = sorted({m.dataset.face_model for m in data.training_members if "shape" in m.dataset.labels} - {model.name})
    if config.pointhead and others:
        hint = f"; --face-model {BFM_NAME}.pkl would use them" if BFM_NAME in others else ""
        say(f"shape labels of {', '.join(others)} aren't trained: the network's face model is {model.name}{hint}")
    return model


def _take_weights(network: PoseNetwork, path: Path) -> None:
    """Weights of a checkpoint where names and shapes agree; says what didn't. Raises ConfigError when nothing does."""
    given = load_network(path)[0].state_dict()
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    fitting = {name: value for name, value in fitting.items() if not name.startswith("landmarks.")}
    if not any(name.startswith("backbone.") for name in fitting):
        raise ConfigError(f"--pretrained {path}: no weights of its backbone fit this network.")
    network.load_state_dict(own | fitting)
    say(f"{len(fitting)} of {len(own)} tensors start from {path}")


def _quieten() -> None:
    """Lightning's hints speak to programmers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for text in _HINTS:
        warnings.filterwarnings("ignore", message=text)
