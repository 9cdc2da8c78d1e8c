"""Checkpoints and ONNX files behind one interface, alone or averaged.

normalised crops (B, C, S, S) --Predictor.predict--> Prediction on the CPU
"""

import platform
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trackertraincode.errors import ConfigError, EvaluationError, ModelFileError
from trackertraincode.geometry.rotation import quat_positive_real
from trackertraincode.models.about import origins
from trackertraincode.models.onnx_model import OnnxPoseModel, unit_quaternions
from trackertraincode.pretrained import pose_network
from trackertraincode.sample.sample import Prediction
from trackertraincode.workers import usable_cores

AVERAGED = ("head", "face_box", "landmarks")  # by an ensemble, besides the rotation


class Predictor(Protocol):
    """Something that tells head poses from crops."""

    name: str  # for tables
    path: Path
    input_size: int
    channels: int  # 1: grey, 3: RGB
    about: dict[str, Any]  # what the file says about itself: trained_on, selected_on, training_files…

    def predict(self, images: Tensor) -> Prediction:
        """(B, C, S, S) normalised crops, on the CPU -> prediction on the CPU."""
        ...


class CheckpointPredictor:
    """A .ckpt of this library."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        from trackertraincode.models.checkpoint import load_network  # with timm, which .onnx files don't need

        network, about = load_network(path)
        self.path, self.name = path, "/".join(path.parts[-2:])
        self.input_size, self.channels = network.config.input_size, network.config.channels
        self.about: dict[str, Any] = vars(about) | network.config.to_dict()
        self._device = torch.device(device)
        self._network = network.deployed().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Prediction:
        """(B, C, S, S) -> see Predictor."""
        there = images.to(self._device, non_blocking=self._device.type == "cuda")  # MPS would read what isn't there yet
        moved = there.contiguous(memory_format=torch.channels_last)
        answer = self._network(moved).to("cpu")
        for name, values in vars(answer).items():
            if values is not None and not values.isfinite().all():
                raise ModelFileError(
                    f"{self.path}: output {name} has values that are not finite; the model is damaged or its training "
                    "diverged."
                )
        return answer


class OnnxPredictor:
    """An .onnx file, ours or OpenTrack's.

    A batch is split over threads that each compute with one core: files with batch 1 are as fast as others, and no
    thread of ONNX Runtime spins while it waits.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """threads: None for as many as there are cores."""
        self._model = OnnxPoseModel(path, 1, exact=True)
        self._threads = threads or usable_cores()
        self._pool = ThreadPoolExecutor(self._threads)
        self.path, self.name = path, "/".join(path.parts[-2:])
        self.input_size, self.channels, self.about = self._model.input_size, self._model.channels, self._model.about

    def predict(self, images: Tensor) -> Prediction:
        """(B, C, S, S) -> see Predictor."""
        parts = [part for part in np.array_split(images.numpy(), self._threads) if len(part)]
        answers = list(self._pool.map(self._model.run, parts))
        for answer in answers:
            answer["rotation"] = unit_quaternions(self.path, answer["rotation"])
        return Prediction(
            **{name: torch.from_numpy(np.concatenate([answer[name] for answer in answers])) for name in answers[0]}
        )


class Ensemble:
    """The mean of several models: of rotations, the one with the smallest sum of squared chord lengths."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        """Raises EvaluationError when they take different crops."""
        first = members[0]
        for other in members[1:]:
            if (other.input_size, other.channels) != (first.input_size, first.channels):
                raise EvaluationError(
                    f"{other.path} takes {other.channels} × {other.input_size}² crops, {first.path} {first.channels} × "
                    f"{first.input_size}²; an ensemble's models must take the same."
                )
        self._members = list(members)
        self.name, self.path = "ensemble of " + ", ".join(m.name for m in members), first.path
        self.input_size, self.channels = first.input_size, first.channels
        unknown = [f"what {m.name} does not say" for m in members if not m.about.get("trained_on")]
        told = origins(*(member.about for member in members))
        known = {key: [*told[key], *unknown] for key in ("trained_on", "selected_on")}
        self.about: dict[str, Any] = {**first.about, **told, **known}

    def predict(self, images: Tensor) -> Prediction:
        """(B, C, S, S) -> see Predictor; without what only some of the models give."""
        answers = [member.predict(images) for member in self._members]
        missing = {name for answer in answers for name in AVERAGED if getattr(answer, name) is None}
        absent: dict[str, Any] = dict.fromkeys(missing)
        return replace(mean_prediction(answers), **absent)


def mean_prediction(answers: Sequence[Prediction]) -> Prediction:
    """The mean of several answers; of each field, the mean of those that give it. One answer stays as it is."""
    if len(answers) == 1:
        return answers[0]
    given = {n: [v for a in answers if (v := getattr(a, n)) is not None] for n in AVERAGED}
    means = {name: torch.stack(values).mean(0) for name, values in given.items() if values}
    return Prediction(rotation=mean_quaternion([a.rotation for a in answers]), **means)


def mean_quaternion(quats: Sequence[Tensor]) -> Tensor:
    """(B, 4) each -> (B, 4): the eigenvector of the largest eigenvalue of Σ q qᵀ (Markley et al. 2007)."""
    stacked = torch.stack(list(quats)).double()
    scatter = torch.einsum("kbi,kbj->bij", stacked, stacked)
    return quat_positive_real(torch.linalg.eigh(scatter).eigenvectors[..., -1]).float()


def load_predictors(paths: Sequence[Path], device: str = "cpu") -> list[Predictor]:
    """All of them; those that would have the same name have their paths as names. Raises ModelFileError."""
    found = [load_predictor(path, device) for path in paths]
    names = Counter(predictor.name for predictor in found)
    for predictor in found:
        if names[predictor.name] > 1:
            predictor.name = str(predictor.path)
    return found


def load_predictor(path: Path, device: str = "cpu", threads: int | None = None) -> Predictor:
    """By the file's extension; "default" is the model in the box. threads: of ONNX files.

    Raises ModelFileError when it isn't a model.
    """
    path = pose_network(path)
    if path.suffix.lower() == ".ckpt":
        return CheckpointPredictor(path, device)
    if path.suffix.lower() == ".onnx":
        return OnnxPredictor(path, threads)
    raise ModelFileError(f"{path}: a model is a .ckpt or an .onnx file.")


def choose_device(wanted: str) -> str:
    """auto -> cuda, mps or cpu. Raises ConfigError when the wanted one isn't there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in available.items() if there)
    if not available[wanted]:
        raise ConfigError(
            f"device={wanted}: this machine ({platform.node()}) has none that torch {torch.__version__} can use."
        )
    return wanted
