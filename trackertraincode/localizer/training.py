"""Training and evaluation of the face localizer.

--data FILE | synthetic --> train and held-out rows --train_localizer--> OUTDIR/ localizer.ckpt resume.ckpt config.toml
                                                      environment.json metrics.csv train.pdf evaluation.json images.png
                                                      (scenes.h5)
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trackertraincode.augmentation.loader import EpochSampler, Loader, checked, start_of_workers
from trackertraincode.errors import UserError
from trackertraincode.evaluation.report import write_json
from trackertraincode.export.onnx import export_localizer
from trackertraincode.facemodel.load import head_for_rendering
from trackertraincode.files import LOCK_FILE, files_of
from trackertraincode.geometry.boxes import box_iou
from trackertraincode.localizer import SIZE
from trackertraincode.localizer.data import LocalizerBatch, LocalizerBatches, open_images, split
from trackertraincode.localizer.loss import localizer_loss
from trackertraincode.localizer.model import OnnxLocalizer
from trackertraincode.localizer.network import Localizer, LocalizerConfig, load_localizer
from trackertraincode.localizer.options import LocalizerRun, write_run
from trackertraincode.localizer.scenes import write_scenes
from trackertraincode.models.about import About, without_folders
from trackertraincode.models.checkpoint import save_network
from trackertraincode.training.callbacks.checkpoints import Resumable, check_resumable, resuming
from trackertraincode.training.callbacks.guard import NanGuard, TrainingDiverged
from trackertraincode.training.callbacks.progress import Progress
from trackertraincode.training.callbacks.records import Recorder
from trackertraincode.training.distributed import ending_together
from trackertraincode.training.environment import Inputs, write_environment
from trackertraincode.training.module import seed_of
from trackertraincode.training.outdir import (
    BATCH_FILE,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    PLOT_FILE,
    RESUME_FILE,
    claimed,
)
from trackertraincode.training.trainer import MachineOptions, make_trainer
from trackertraincode.visualize import contact_sheet, draw_prediction, draw_text, write_image
from trackertraincode.workers import choose_workers, default_workers

SCENES_FILE, CHECKPOINT_FILE, EVALUATION_FILE, IMAGES_FILE = (
    "scenes.h5", "localizer.ckpt", "evaluation.json", "images.png",
)  # fmt: skip
UNFINISHED = (
    LOCK_FILE, CONFIG_FILE, METRICS_FILE, PLOT_FILE, SCENES_FILE, CHECKPOINT_FILE, RESUME_FILE, EVALUATION_FILE,
    IMAGES_FILE, BATCH_FILE, ENVIRONMENT_FILE,
)  # fmt: skip
ADVICE = "Try a lower --lr, or check the data with `ttc check`."
RECALL_IOU = 0.5  # a face is found when its score is above 1/2 and the boxes overlap this much
WEIGHT_DECAY = 0.01
WARM_UP_SHARE, LAST_LR = 0.05, 0.01  # of the steps, of the peak learning rate
SHOWN, SHEET_COLUMNS = 24, 6

Predict = Callable[[Tensor], Tensor]  # (B, 1, 224, 288) -> (B, 5) face logit, box in [-1, 1]


class LocalizerTraining(L.LightningModule):
    """Steps of training and validation; the network with the lowest validation loss is kept in `save`'s file.

    Learning rates and random numbers depend on seed and step alone.
    """

    def __init__(self, network: Localizer, run: LocalizerRun, save: Callable[[int], None]) -> None:
        """save: called with the epoch, from 1, whenever the validation loss was never lower."""
        super().__init__()
        self.network, self.config, self.batchsize = network, run, run.batchsize
        self.record: dict[str, float] = {}
        self.validation: dict[str, float] = {}
        self._save = save
        self._best = math.inf
        self._parts: list[dict[str, Tensor]] = []
        self._answers: list[tuple[Tensor, LocalizerBatch]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=self.config.lr, weight_decay=WEIGHT_DECAY)

    def on_before_batch_transfer(self, batch: LocalizerBatch | UserError, dataloader_idx: int) -> LocalizerBatch:
        """Raises the UserError that a worker met."""
        return checked(batch)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(seed_of(self.config.seed, self.current_epoch))
        self._parts = []

    def on_train_batch_start(self, batch: LocalizerBatch, batch_idx: int) -> None:
        factor = lr_factor(self.global_step / self.trainer.estimated_stepping_batches)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.lr * factor

    def training_step(self, batch: LocalizerBatch, batch_idx: int) -> dict[str, Any]:
        parts = localizer_loss(self.network(batch.image), batch.has_face, batch.face_box)
        loss = torch.stack(list(parts.values())).sum()
        detached = {name: value.detach() for name, value in parts.items()}
        self._parts.append({"loss": loss.detach(), **detached})
        return {"loss": loss, "parts": detached}

    def on_validation_epoch_start(self) -> None:
        self._answers = []

    def validation_step(self, batch: LocalizerBatch, batch_idx: int) -> None:
        self._answers.append((self.network(batch.image).cpu(), LocalizerBatch(*(v.cpu() for v in batch))))

    def on_validation_epoch_end(self) -> None:
        output, has_face, face_box = _joined(self._answers)
        parts = {name: value.item() for name, value in localizer_loss(output, has_face, face_box).items()}
        found = {k: v for k, v in score(output, has_face, face_box).items() if v is not None}
        self.validation = {"loss": sum(parts.values()), **parts, **found}
        if not math.isfinite(self.validation["loss"]):
            raise TrainingDiverged(f"epoch {self.current_epoch + 1}: the validation loss is not finite. {ADVICE}")
        if self.validation["loss"] < self._best:
            self._best = self.validation["loss"]
            self._save(self.current_epoch + 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["best"] = self._best

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._best = checkpoint["best"]

    def train_means(self) -> dict[str, float]:
        """Loss and its terms, mean over the steps of this epoch."""
        return {k: torch.stack([parts[k] for parts in self._parts]).mean().item() for k in self._parts[0]}


def lr_factor(progress: float) -> float:
    """Of the peak learning rate: rises over the first twentieth of the steps, then falls along a half cosine.

    progress: share of all steps that are done.
    """
    if progress < WARM_UP_SHARE:
        return 0.1 + 0.9 * progress / WARM_UP_SHARE
    rest = (progress - WARM_UP_SHARE) / (1.0 - WARM_UP_SHARE)
    return LAST_LR + (1.0 - LAST_LR) * 0.5 * (1.0 + math.cos(math.pi * rest))


def train_localizer(run: LocalizerRun, *, resume: bool = False) -> list[dict[str, Any]]:
    """Train, or go on training, evaluate on the held-out rows, export. Returns the rows of the table.

    Raises ConfigError for a folder that isn't empty, SampleFormatError for unsuited files, before anything long begins.
    """
    with claimed(run.outdir, resume=resume, first=True):
        state = run.outdir / RESUME_FILE if resume and (run.outdir / RESUME_FILE).is_file() else None
        start = None if run.pretrained is None or state is not None else load_localizer(run.pretrained)
        others = {str(path): load_predict(path) for path in run.compare}
        if resume and state is None:
            print(f"{run.outdir / RESUME_FILE}: isn't there, so this run begins with its first epoch again")
        return _train(run, start, others, state)


def _train(
    run: LocalizerRun, start: Localizer | None, others: dict[str, Predict], state: Path | None
) -> list[dict[str, Any]]:
    """start: weights to begin with. state: of a run that goes on, as `Resumable` wrote it."""
    checkpoints = Resumable(run.outdir)
    callbacks = [Recorder(run.outdir, plot=PLOT_FILE), NanGuard(run.outdir, ADVICE), Progress(), checkpoints]
    machine = MachineOptions(device=run.device, precision=run.precision)
    trainer = make_trainer(machine, run.epochs, callbacks, gradient_clip=1.0)
    workers = default_workers() if run.workers is None else run.workers
    path = run.data or run.outdir / SCENES_FILE
    if run.data is None:
        write_run(run)
        if not path.is_file():
            write_scenes(path, run.scenes, run.seed, choose_workers(workers, run.scheduler), head_for_rendering())
    dataset = open_images(path)
    training, held_out = split(dataset, run.val_fraction, run.seed)
    write_run(run)  # not for unsuited files
    environment = run.outdir / ENVIRONMENT_FILE
    if state is None:
        write_environment(environment, files_of(path))
    else:
        Inputs.read(environment).check(files_of(path))
    torch.manual_seed(seed_of(run.seed))
    network = Localizer(LocalizerConfig()) if start is None else start.train()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe = {key: without_folders(key, value) for key, value in run.recipe.items()}

    def save(epoch: int) -> None:
        about = About(recipe=recipe, training_files=[path.name], epoch=epoch)
        save_network(run.outdir / CHECKPOINT_FILE, network, about)

    module = LocalizerTraining(network, run, save)
    batches = LocalizerBatches(dataset, training, run.batchsize, run.seed)
    sampler = EpochSampler(len(batches), lambda: trainer.global_step // len(batches))
    device = trainer.strategy.root_device
    loader = Loader(
        batches, batch_size=None, sampler=sampler, num_workers=workers, worker_init_fn=start_of_workers(device.type)
    )
    validation = DataLoader(LocalizerBatches(dataset, held_out, run.batchsize), batch_size=None)
    print(f"{path}: {len(training)} rows to train on, {len(held_out)} held out; on {device}")
    if state is not None:
        check_resumable(state, module)
    with ending_together(trainer), resuming(state, checkpoints):
        trainer.fit(module, loader, validation, ckpt_path=state, weights_only=True)
    best = load_localizer(run.outdir / CHECKPOINT_FILE)
    rows = []
    models: dict[str, Predict] = {"this run": best, **others}
    for name, predict in models.items():
        joined = evaluate_localizer(predict, validation)
        rows.append({"model": name, "n": len(held_out), **score(*joined)})
    write_json(rows, run.outdir / EVALUATION_FILE)
    _draw(best, dataset, held_out, run.outdir / IMAGES_FILE)
    if run.export is not None:
        export_localizer(best, run.export)
    return rows


def load_predict(path: Path) -> Predict:
    """A localizer's .ckpt or .onnx. Raises ModelFileError for anything else."""
    if path.suffix == ".ckpt":
        return load_localizer(path)
    model = OnnxLocalizer(path)
    return lambda images: torch.from_numpy(np.stack([model.run(image[None].numpy()) for image in images]))


@torch.no_grad()
def evaluate_localizer(
    predict: Predict, batches: Iterable[LocalizerBatch | UserError]
) -> tuple[Tensor, Tensor, Tensor]:
    """Answers (N, 5), has_face (N,) and face_box (N, 4), for `score`. A network must be in evaluation mode."""
    assert not (isinstance(predict, nn.Module) and predict.training), "batch norm would measure this batch"
    return _joined([(predict(batch.image), batch) for batch in map(checked, batches)])


def score(output: Tensor, has_face: Tensor, face_box: Tensor) -> dict[str, float | None]:
    """output (N, 5), has_face (N,), face_box (N, 4) -> shares of 1; None where there are no such images.

    iou: mean over images with a face, whatever the score. recall: of the faces, how many have a score above 1/2 and an
    IoU of at least 1/2. false_alarms: of the images without a face, how many have a score above 1/2.
    """
    faces = has_face > 0.5
    said = output[:, 0] > 0
    overlap = box_iou(output[faces, 1:], face_box[faces])
    return {
        "iou": _mean(overlap),
        "recall": _mean(said[faces] & (overlap >= RECALL_IOU)),
        "false_alarms": _mean(said[~faces]),
        "accuracy": _mean(said == faces),
    }


def format_scores(rows: Sequence[dict[str, Any]]) -> str:
    """For terminals, in percent."""
    keys = ("iou", "recall", "false_alarms", "accuracy")
    cells = [[r["model"], r["n"], *("–" if r[k] is None else f"{100 * r[k]:.1f}" for k in keys)] for r in rows]
    headings = ["model", "n", "mean IoU %", "recall at IoU 0.5 %", "false alarms %", "face or not %"]
    return tabulate(cells, headings, disable_numparse=True, stralign="right")


def _joined(answers: Sequence[tuple[Tensor, LocalizerBatch]]) -> tuple[Tensor, Tensor, Tensor]:
    outputs, batches = zip(*answers)
    return torch.cat(outputs), torch.cat([b.has_face for b in batches]), torch.cat([b.face_box for b in batches])


def _mean(values: Tensor) -> float | None:
    return values.float().mean().item() if len(values) else None


@torch.no_grad()
def _draw(network: Localizer, dataset: Any, rows: np.ndarray, path: Path) -> None:
    """Held-out images: predicted box orange, true one green, score in the corner."""
    batch = checked(LocalizerBatches(dataset, rows[:SHOWN], SHOWN)[0])
    sides = np.tile(SIZE, 2)
    drawn = []
    for image, flag, truth, output in zip(batch.image, batch.has_face, batch.face_box, network(batch.image)):
        grey = ((image[0].numpy() + 0.5) * 255).round().astype(np.uint8)
        boxes = [(values.numpy() + 1) / 2 * sides for values in (output[1:], truth)]
        known = {"face_box": boxes[1]} if flag > 0 else {}
        face = output[0].sigmoid().item()
        canvas = draw_prediction(grey, {"face_box": boxes[0]} if face > 0.5 else {}, known)
        drawn.append(draw_text(canvas, [f"{face:.2f}"], 0.5))
    write_image(path, contact_sheet(drawn, SHEET_COLUMNS))
