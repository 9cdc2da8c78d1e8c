"""A whole training run: data, network, loop, averages, calibration, exports.

TrainConfig --train--> OUTDIR/ config.toml environment.json metrics.csv train.pdf tensorboard/
                               last.ckpt best.ckpt swa.ckpt ema.ckpt resume.ckpt and an .onnx of each
"""

from dataclasses import replace
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from trackertraincode.augmentation.extras import PLUGIN_BRIGHTNESS
from trackertraincode.losses.shape_prior import PACKAGED, prior_path
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.training.batchsize import choose_batchsize
from trackertraincode.training.callbacks.averaging import (
    ExponentialMovingAverage,
    StochasticWeightAverage,
    WeightAverage,
)
from trackertraincode.training.callbacks.batch_norm import SharedStatistics
from trackertraincode.training.callbacks.checkpoints import RunCheckpoints, Saver, check_resumable, resuming
from trackertraincode.training.callbacks.guard import NanGuard
from trackertraincode.training.callbacks.images import PredictionImages
from trackertraincode.training.callbacks.progress import Progress
from trackertraincode.training.callbacks.records import Recorder
from trackertraincode.training.callbacks.validation import PacedValidation
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import Members, PoseData, open_members
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import ending_after_a_step, ending_together, global_rank, say
from trackertraincode.training.environment import Inputs, write_environment
from trackertraincode.training.finish import finish
from trackertraincode.training.module import PoseTraining
from trackertraincode.training.network import complete, empty_network, make_network
from trackertraincode.training.objective import make_objective
from trackertraincode.training.optimisation import AUTO_BATCH
from trackertraincode.training.options import TrainRequest, write_toml
from trackertraincode.training.outdir import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    RESUME_FILE,
    TENSORBOARD,
    claimed,
    new_outdir,
)
from trackertraincode.training.pace import validation_pace
from trackertraincode.training.trainer import make_trainer, share_cores


def train(request: TrainRequest) -> Path:
    """Train, or go on training. Returns the folder of the run. Raises UserErrors before anything long begins."""
    config = request.config
    outdir = config.output.outdir or new_outdir(config.network.backbone.replace(":", "-"))
    first = global_rank(config.machine.world_size, config.machine.devices) == 0
    with claimed(outdir, resume=request.resume, first=first):
        config = replace(config, machine=replace(config.machine, precision=config.machine.arithmetic))
        L.seed_everything(config.machine.seed, verbose=False)
        members = open_members(config.data)
        if not config.losses.teacher_files and not config.losses.consistency:  # which need no labels
            members.check_labels()
        if config.output.best == "mae":
            members.check_poses_validate()
        files = [*members.files, *config.losses.teacher_files]
        resume = outdir / RESUME_FILE if request.resume and (outdir / RESUME_FILE).is_file() else None
        before = Inputs.read(outdir / ENVIRONMENT_FILE) if resume is not None else None
        if before is None:
            network, began_with = make_network(config, members)
        else:
            network, began_with = empty_network(config, members, before.face_model), before.began_with
        prior = prior_path(network.config.face_model) if network.config.landmarks else None
        if before is not None:
            before.check(files, prior, members.mixture)
        if config.optimisation.batchsize == AUTO_BATCH:
            config = choose_batchsize(config, make_module(config, network), members)
        data = make_data(config, members, network)
        module = make_module(config, network)
        averages = make_averages(config, network)
        saver = Saver(outdir, config, members, began_with)
        checkpoints = RunCheckpoints(outdir, saver, config.output.best, config.output.save_every)
        callbacks = [*make_callbacks(config, outdir, members, averages), checkpoints]  # Lightning runs them last
        trainer = make_trainer(
            config.machine, config.optimisation.epochs, callbacks, gradient_clip=config.optimisation.gradient_clip,
            logger=TensorBoardLogger(outdir, name="", version=TENSORBOARD) if config.output.tensorboard else False,
        )  # fmt: skip
        if resume is not None:
            check_resumable(resume, module)
        else:
            complete(network, config.optimisation.pretrained, data.train_batches(whole=True), module.augment)
        if trainer.is_global_zero:
            write_toml(config, outdir / CONFIG_FILE)
            write_environment(
                outdir / ENVIRONMENT_FILE, files, network.config.face_model, prior, members.mixture, began_with,
                intensity=config.augmentation.intensity, validated_on={m.name: len(m.rows) for m in members.validation},
            )  # fmt: skip
            describe(config, outdir, members, network, prior)
            if request.resume and resume is None:
                print(f"{outdir / RESUME_FILE}: isn't there, so this run begins with its first epoch again")
        with ending_together(trainer):
            with ending_after_a_step(), resuming(resume, checkpoints):
                trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
            if trainer.is_global_zero:
                finish(config, outdir, data, network, averages, module.augment, saver, trainer.strategy.root_device)
    return outdir


def make_data(config: TrainConfig, members: Members, network: PoseNetwork) -> PoseData:
    """Loaders of the crops that the network wants."""
    size, color = config.network.input_size, config.network.channels == 3
    training = config.augmentation.training_preset(
        size=size,
        color=color,
        tables=config.augmentation.intensity == "tables",
        deferred=config.machine.device_type != "cpu",
    )
    data = PoseData(
        config.data,
        members,
        training=training,
        validation=config.augmentation.validation_preset(size=size, color=color),
        face_model=network.config.face_model,
        batchsize=config.optimisation.batchsize,
        seed=config.machine.seed,
        processes=config.machine.devices,
        compiled=config.machine.compile,
    )
    if config.machine.device_type == "cpu":
        share_cores(config.machine.devices)
    return data


def make_module(config: TrainConfig, network: PoseNetwork) -> PoseTraining:
    """The steps of training."""
    augment = DeviceAugmentation(
        kornia=config.augmentation.intensity == "kornia",
        plugin=PLUGIN_BRIGHTNESS in config.augmentation.extras,
        pairs=config.losses.consistency > 0,
        roi_override=config.augmentation.roi_override,
    )
    objective = make_objective(config.losses, network.config)
    return PoseTraining(network, objective, augment, config.optimisation, config.machine)


def make_averages(config: TrainConfig, network: PoseNetwork) -> list[WeightAverage]:
    """Those that --with-swa and --ema ask for."""
    averages: list[WeightAverage] = []
    if config.optimisation.with_swa:
        averages.append(StochasticWeightAverage(network))
    if config.optimisation.ema:
        averages.append(ExponentialMovingAverage(network, config.optimisation.ema))
    return averages


def make_callbacks(
    config: TrainConfig, outdir: Path, members: Members, averages: list[WeightAverage]
) -> list[Callback]:
    """In the order in which they are called; `Recorder` comes before those that read `module.record`."""
    rows, batchsize = sum(len(member.rows) for member in members.validation), config.optimisation.batchsize
    samples = max(1, config.data.samples_per_epoch // batchsize) * batchsize
    return [
        PacedValidation(validation_pace(config.data.validate_every, rows, samples)),
        SharedStatistics(),
        Recorder(outdir, plot=config.output.save_plot),
        NanGuard(outdir),
        *averages,
        PredictionImages(outdir, config.output.draw_every),
        Progress(),
    ]


def describe(config: TrainConfig, outdir: Path, members: Members, network: PoseNetwork, prior: Path | None) -> None:
    """Say what is trained on what."""
    count = sum(parameter.numel() for parameter in network.parameters())
    say(f"{outdir}: {config.network.backbone}, {count:,} parameters, on {config.machine.world_size} × "
        f"{config.machine.device_type}, face model {network.config.face_model}")  # fmt: skip
    say("\n".join(members.describe()))
    if prior is not None and prior.parent != PACKAGED:
        say(f"  shape prior: {prior}")
    if network.config.landmarks and prior is None:
        say(f"  no shape prior for {network.config.face_model}; `ttc fit-shape-prior` makes one")
