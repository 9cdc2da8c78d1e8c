"""What a run leaves at its end: averaged weights, calibrated uncertainties, ONNX files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trackertraincode.augmentation.loader import ValidationBatches, checked, make_loader
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.catalog import DatasetSpec, choose
from trackertraincode.datasets.mixing import open_whole
from trackertraincode.export.onnx import describe_difference, export_full, export_opentrack
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Batch
from trackertraincode.training.calibration import MIN_ROWS, calibrate
from trackertraincode.training.callbacks.averaging import WeightAverage, refresh_batch_norm
from trackertraincode.training.callbacks.checkpoints import Saver
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.data import PoseData
from trackertraincode.training.device_augmentation import DeviceAugmentation
from trackertraincode.training.distributed import say
from trackertraincode.training.module import seed_of
from trackertraincode.training.optimisation import REFERENCE_BATCH
from trackertraincode.training.outdir import BEST, LAST

BATCH_NORM_SAMPLES = 2560  # that statistics of averaged weights are measured on


def finish(
    config: TrainConfig,
    outdir: Path,
    data: PoseData,
    network: PoseNetwork,
    averages: list[WeightAverage],
    augment: DeviceAugmentation,
    saver: Saver,
    device: torch.device,
) -> None:
    """Averaged weights, calibration of uncertainties, ONNX files.

    device: to measure on; training leaves the network on the CPU, and so does this with all.
    """
    epochs = config.optimisation.epochs
    for average in averages:
        if not average.started:
            say(f"{average.name}.ckpt: no epoch lies past 2/3 of training, so it holds the last weights")
            saver.save(average.name, network, epochs)
            continue
        if not config.optimisation.freeze_batchnorm:
            torch.manual_seed(seed_of(config.machine.seed, epochs))  # second views, also when a killed run is finished
            images = (batch.image for batch in _batches(data, augment, device, epochs))
            refresh_batch_norm(average.network.to(device), images)
        saver.save(average.name, average.network.cpu(), epochs)
    crops = _some_crops(data, augment) if config.output.onnx and data.members.validation else None
    for name in dict.fromkeys([LAST, BEST, *(a.name for a in averages)]):
        path = outdir / f"{name}.ckpt"
        if not path.is_file():
            continue
        final, about = load_network(path)
        calibrated = bool(about.regions)  # by a run that was killed after it
        if final.config.uncertainty and config.optimisation.calibrate and data.members.validation and not calibrated:
            final.to(device)
            calibration = calibrate(final, _validation(data, augment, device))
            about = replace(about, regions=calibration.regions)
            save_network(path, final.cpu(), about)
            factors = ", ".join(f"{k} × {v:.2f}" for k, v in calibration.factors.items())
            too_few = f"not one, since fewer than {MIN_ROWS} faces with labels validate"
            say(f"{name}: uncertainties scaled, {factors or too_few}")
        if config.output.onnx:
            export = export_opentrack if final.config.channels == 1 else export_full
            difference = export(final, exported := path.with_suffix(".onnx"), about, crops)
            say(f"{exported}: {describe_difference(difference, crops)}")
    say(f"{outdir}: done")


def calibrated_on(network: PoseNetwork, about: About, path: Path, options: AugmentationOptions) -> About:
    """Scale a network's uncertainties by its errors on all faces of a file; `about` with the regions that follow.

    Raises SampleFormatError, ImageDecodeError.
    """
    spec = DatasetSpec(
        file=str(path.absolute()), weight=1, labels=("pose", "landmarks", "shape", "box"), made_by="ttc render"
    )
    config = network.config
    batches = ValidationBatches(
        open_whole([choose(path.stem, {path.stem: spec})]),
        options.validation_preset(size=config.input_size, color=config.channels == 3),
        batchsize=REFERENCE_BATCH, face_model=config.face_model,
    )  # fmt: skip
    augment = DeviceAugmentation(kornia=False, plugin=False)
    made = (augment(checked(batches[i]).unpack(), False) for i in range(len(batches)))
    return replace(about, regions=calibrate(network, made).regions)


def _batches(data: PoseData, augment: DeviceAugmentation, device: torch.device, epoch: int) -> Iterator[Batch]:
    """Training batches of an epoch that was never trained, for batch-norm statistics."""
    loader = make_loader(data.train_batches(whole=True), data.workers, epoch_now=lambda: epoch)
    augment.to(device)
    count = max(1, BATCH_NORM_SAMPLES // data.batchsize)
    for _, item in zip(range(count), loader):
        yield augment(checked(item).to(device).unpack(), True)


def _some_crops(data: PoseData, augment: DeviceAugmentation) -> Tensor:
    """(N, C, S, S) the first that validate."""
    return next(_validation(data, augment, torch.device("cpu"))).image


def _validation(data: PoseData, augment: DeviceAugmentation, device: torch.device) -> Iterator[Batch]:
    augment.to(device)
    for item in make_loader(data.validation_batches(whole=True), min(2, data.workers)):
        yield augment(checked(item).to(device).unpack(), False)
