"""What users of head tracking feel: does the pose tremble, jump when they blink, or depend on the box?

Faces --perturb--> crops --Predictor--> rotations --spread, errors, slopes--> ScoreCard
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from trackertraincode.augmentation.units import channels_first
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation import metrics
from trackertraincode.evaluation.crops import PREPROCESSING, batch_of
from trackertraincode.evaluation.predictor import OnnxPredictor, Predictor
from trackertraincode.evaluation.stability_faces import YAWS, Faces, blink_pairs, cut, yaw_sweeps
from trackertraincode.geometry.boxes import CROP_FACTOR, CROP_FACTORS
from trackertraincode.geometry.euler import matrix_to_aflw
from trackertraincode.geometry.rotation import geodesic_angle, mean_rotation, quat_geodesic_angle, quat_to_matrix
from trackertraincode.losses.likelihood import rotation_error, rotation_nll
from trackertraincode.models.onnx_model import latencies
from trackertraincode.sample.sample import Prediction, concatenate_predictions

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # that a box is moved in


@dataclass(frozen=True, kw_only=True)
class StabilityOptions:
    """What is measured, and how often."""

    factor: float = CROP_FACTOR  # crop edge / longer box side, wherever it isn't what is varied
    preprocess: str = "training"  # key of PREPROCESSING
    draws: int = 12  # of noise and of shifts, for each face
    noise: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 64)  # standard deviation on each pixel of the crop, of 255
    shifts: tuple[float, ...] = (1, 2, 4)  # largest, uniform in x and y; pixels of the image
    factors: tuple[float, ...] = CROP_FACTORS
    moves: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2)  # shares of the longer box side
    latency_runs: int = 300
    threads: tuple[int, ...] = (1, 2)
    seed: int = 0
    progress: bool = True


@dataclass(frozen=True, kw_only=True)
class ScoreCard:
    """One model on one set of faces. Angles in degrees; None where the model lacks it or isn't ONNX."""

    model: str
    source: str
    n: int
    factor: float
    preprocess: str
    mae: float
    geodesic: float
    noise: dict[float, float]  # sigma -> RMS angle to the mean rotation of a face, mean over faces
    shift: dict[float, float]  # pixels -> same
    crop_factor: dict[float, dict[str, float]]  # factor -> mae, geodesic
    box_move: dict[float, dict[str, float]]  # share of the box -> mae, geodesic; mean of four directions
    blink: dict[str, float]  # angle: mean between open and shut eyes; pitch: mean change, shut - open
    crosstalk: dict[str, float]  # degrees of pitch per degree of yaw, of |yaw|
    pitch_by_yaw: dict[float, float]  # rendered yaw -> mean predicted pitch, which should be 0
    latency: dict[int, float] | None  # threads -> median milliseconds of one crop
    coverage: dict[float, float] | None  # level -> share of rotation errors inside the predicted region
    nll: float | None  # mean negative log likelihood of rotations

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RenderedScenes:
    """Scenes that are measured on whatever the faces are; rendered once for all models."""

    open_eyes: Faces
    closed_eyes: Faces
    sweeps: Faces  # scene by scene, each at all YAWS

    @staticmethod
    def make(pairs: int, sweeps: int) -> "RenderedScenes":
        return RenderedScenes(*blink_pairs(pairs), yaw_sweeps(sweeps))


def measure_stability(
    predictor: Predictor, faces: Faces, scenes: RenderedScenes, settings: StabilityOptions
) -> ScoreCard:
    """Everything about one model.

    Raises SampleFormatError when an image doesn't decode, EvaluationError when the model can't take OpenTrack's crops.
    """
    if settings.preprocess == "opentrack" and predictor.channels != 1:
        raise EvaluationError(f"{predictor.path}: takes colour crops; OpenTrack's preprocessing is for grey ones.")
    probe = _Probe(predictor, settings)
    base = probe.predict_all(faces)
    errors = _errors(base, faces)
    certain = base.rotation_tril is None
    return ScoreCard(
        model=predictor.name,
        source=faces.source,
        n=len(faces),
        factor=settings.factor,
        preprocess=settings.preprocess,
        mae=errors["mae"],
        geodesic=errors["geodesic"],
        noise=probe.noise_jitter(faces),
        shift=probe.shift_jitter(faces),
        crop_factor={f: _errors(probe.predict_all(faces, factor=f), faces) for f in settings.factors},
        box_move={share: probe.moved_errors(faces, share) for share in settings.moves},
        blink=blink_leakage(probe.predict_all(scenes.open_eyes), probe.predict_all(scenes.closed_eyes)),
        **_crosstalk(probe.predict_all(scenes.sweeps)),
        latency=_latencies(predictor, settings),
        coverage=None if certain else region_shares(base, faces.rotations, _radii(predictor)),
        nll=None if certain else _mean_nll(base, faces.rotations),
    )


def rms_spread(rotations: Tensor) -> Tensor:
    """(..., N, 4) unit quaternions -> (...,) root of the mean squared angle to their mean rotation, degrees."""
    matrices = quat_to_matrix(rotations.double())
    mean = mean_rotation(matrices)[..., None, :, :]
    return torch.rad2deg(geodesic_angle(mean.expand_as(matrices), matrices)).square().mean(-1).sqrt()


def blink_leakage(opened: Prediction, closed: Prediction) -> dict[str, float]:
    """Mean angle between the poses of open and shut eyes, and mean change of pitch (shut - open); degrees."""
    angle = torch.rad2deg(quat_geodesic_angle(opened.rotation.double(), closed.rotation.double()))
    return {"angle": angle.mean().item(), "pitch": (_pitch(closed) - _pitch(opened)).mean().item()}


def pitch_slopes(pitch: Tensor, yaw: Tensor) -> dict[str, float]:
    """Least squares slopes of (k, Y) pitches over (Y,) yaws and over their absolute values, mean over the k sweeps."""
    found = {}
    for name, x in (("yaw", yaw), ("abs_yaw", yaw.abs())):
        centered = x - x.mean()
        found[name] = ((pitch * centered).sum(-1) / centered.square().sum()).mean().item()
    return found


def region_shares(prediction: Prediction, truth: Tensor, radii: Sequence[float] | None = None) -> dict[float, float]:
    """Share of rotation errors inside the predicted 50, 90 and 95 % regions. truth: (B, 4).

    radii: of these regions, as measured after training; None: those of a Gaussian.
    """
    assert prediction.rotation_tril is not None, "only for models with uncertainty"
    error = rotation_error(prediction.rotation, truth).double()
    scaled = torch.linalg.solve_triangular(prediction.rotation_tril.double(), error[..., None], upper=False)
    return dict(zip(metrics.LEVELS, metrics.coverage(scaled[..., 0], radii=radii)))


@dataclass
class _Probe:
    """A model, and the images it was last shown, decoded."""

    predictor: Predictor
    settings: StabilityOptions
    _decoded: dict[int, list[np.ndarray]] = field(default_factory=dict)  # id of Faces -> images

    def predict_all(self, faces: Faces, factor: float | None = None, move: tuple[float, float] = (0, 0)) -> Prediction:
        """One prediction per face. factor: None for the usual one. move: of the boxes, in shares of their longer side."""
        factor = self.settings.factor if factor is None else factor
        sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).amax(-1).tolist()
        size = self.predictor.input_size
        crops = [
            cut(image, box, factor, size, (move[0] * side, move[1] * side))
            for image, box, side in zip(self._images(faces), faces.boxes, sides)
        ]
        step = batch_of(size)
        parts = [np.stack(crops[start : start + step]) for start in range(0, len(crops), step)]
        return concatenate_predictions([self._predict(part) for part in parts])

    def noise_jitter(self, faces: Faces) -> dict[float, float]:
        """Sensor noise on every pixel of the crop, rounded to grey levels."""
        draws, size = self.settings.draws, self.predictor.input_size
        found: dict[float, list[float]] = {sigma: [] for sigma in self.settings.noise}
        for index, image, box in self._each(faces, "noise"):
            rng = np.random.default_rng([self.settings.seed, 0, index])
            crop = cut(image, box, self.settings.factor, size)
            unit = rng.standard_normal((draws, *crop.shape), dtype=np.float32)
            for sigma, spreads in found.items():
                noisy = np.clip(np.rint(crop + sigma * unit), 0, 255).astype(np.uint8)
                spreads.append(rms_spread(self._predict(noisy).rotation).item())
        return {sigma: statistics.fmean(spreads) for sigma, spreads in found.items()}

    def shift_jitter(self, faces: Faces) -> dict[float, float]:
        """Boxes moved by random distances."""
        draws, size = self.settings.draws, self.predictor.input_size
        found: dict[float, list[float]] = {pixels: [] for pixels in self.settings.shifts}
        for index, image, box in self._each(faces, "shifts"):
            rng = np.random.default_rng([self.settings.seed, 1, index])
            unit = rng.uniform(-1.0, 1.0, (draws, 2))
            for pixels, spreads in found.items():
                crops = [cut(image, box, self.settings.factor, size, pixels * move) for move in unit]
                spreads.append(rms_spread(self._predict(np.stack(crops)).rotation).item())
        return {pixels: statistics.fmean(spreads) for pixels, spreads in found.items()}

    def moved_errors(self, faces: Faces, share: float) -> dict[str, float]:
        """Mean errors with the boxes moved left, right, up and down."""
        directions = DIRECTIONS if share else DIRECTIONS[:1]
        parts = [_errors(self.predict_all(faces, move=(share * x, share * y)), faces) for x, y in directions]
        return {name: statistics.fmean(part[name] for part in parts) for name in parts[0]}

    def _each(self, faces: Faces, what: str) -> Iterator[tuple[int, np.ndarray, Tensor]]:
        images = self._images(faces)
        progress = tqdm(
            images,
            desc=f"{self.predictor.name}: {what}",
            unit=" faces",
            leave=False,
            disable=not self.settings.progress,
        )
        for index, image in enumerate(progress):
            yield index, image, faces.boxes[index]

    def _images(self, faces: Faces) -> list[np.ndarray]:
        if id(faces) not in self._decoded:
            self._decoded[id(faces)] = faces.decoded(self.predictor.channels)
        return self._decoded[id(faces)]

    def _predict(self, crops: np.ndarray) -> Prediction:
        """(B, S, S[, 3]) uint8 -> prediction."""
        return self.predictor.predict(PREPROCESSING[self.settings.preprocess](channels_first(crops)))


def _radii(predictor: Predictor) -> list[float] | None:
    """Of metrics.LEVELS, where training has measured them."""
    regions: dict[str, list[float]] = predictor.about.get("regions") or {}
    return regions.get("rotation_tril")


def _errors(prediction: Prediction, faces: Faces) -> dict[str, float]:
    return {
        "mae": metrics.euler_errors(prediction.rotation, faces.rotations).mean().item(),
        "geodesic": metrics.geodesic_errors(prediction.rotation, faces.rotations).mean().item(),
    }


def _pitch(prediction: Prediction) -> Tensor:
    """(B,) degrees."""
    return torch.rad2deg(matrix_to_aflw(quat_to_matrix(prediction.rotation.double()))[:, 0])


def _crosstalk(prediction: Prediction) -> dict[str, Any]:
    pitch = _pitch(prediction).reshape(-1, len(YAWS))
    means = dict(zip((float(yaw) for yaw in YAWS), pitch.mean(0).tolist()))
    return {"crosstalk": pitch_slopes(pitch, torch.tensor(YAWS, dtype=pitch.dtype)), "pitch_by_yaw": means}


def _latencies(predictor: Predictor, settings: StabilityOptions) -> dict[int, float] | None:
    if not isinstance(predictor, OnnxPredictor):
        return None
    return {threads: latencies([predictor.path], threads, settings.latency_runs)[0] for threads in settings.threads}


def _mean_nll(prediction: Prediction, truth: Tensor) -> float:
    """truth: (B, 4)."""
    assert prediction.rotation_tril is not None, "only for models with uncertainty"
    return rotation_nll(prediction.rotation, prediction.rotation_tril, truth).mean().item()
