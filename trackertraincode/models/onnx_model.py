"""Pose networks in ONNX files, ours or OpenTrack's, old or new: one set of names for their outputs."""

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.files import utf8_name
from trackertraincode.models.about import check_about

METADATA_KEY = "trackertraincode"  # JSON of what a file of ours says about itself
KNOWN_VERSIONS = range(2, 5)  # `model_version`s that share today's axes (OpenTrack reads all others as version 1)


@dataclass(frozen=True)
class Output:
    """One output of pose networks under its names in files."""

    full: str  # in the full model
    opentrack: dict[str, tuple[int, ...]] = field(default_factory=dict)  # in the plugin: newest name first -> shape
    rows: tuple[tuple[int, ...], ...] = ()  # shapes of one crop's values, where `opentrack` doesn't tell them
    required: bool = False  # by the plugin
    value: Callable[[Any], Any] | None = None  # of a Prediction, for outputs that are no field of it; written, not read

    @property
    def names(self) -> tuple[str, ...]:
        """Under which it may stand in a file, those preferred first."""
        return (self.full, *self.opentrack)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether one crop's values may have this shape."""
        known = (*self.rows, *(whole[1:] for whole in self.opentrack.values()))
        return not known or shape in known


OUTPUTS = {  # field of Prediction -> its names, in the order of files; an output more is an entry more
    "head": Output("coord", {"pos_size": (1, 3)}, required=True),
    "rotation": Output("pose", {"quat": (1, 4)}, required=True),
    "face_box": Output("roi", {"box": (1, 4)}, required=True),
    "landmarks": Output("pt3d_68", {"pt3d_68": (1, 68, 3)}),
    "shape": Output("shapeparam"),
    "head_tril": Output(
        "coord_scales_tril", {"pos_size_scales_tril": (1, 3, 3), "pos_size_std": (1, 3), "pos_size_scales": (1, 3)}
    ),
    "rotation_tril": Output("pose_scales_tril", {"rotaxis_scales_tril": (1, 3, 3), "rotaxis_std": (1, 3, 3)}),
    "face_box_scale": Output("roi_scales"),
    "landmarks_scale": Output("pt3d_68_scales"),
    "shape_scale": Output("shapeparam_scales"),
}
LOCALIZER_OUTPUT = "logit_box"
REQUIRED = ("rotation", "head")  # of files that can be read
FARTHEST = 100.0  # half edges of an image from its middle; no answer of a sound network lies beyond
LARGEST = 4096  # batch, and edge of crops
MOST_VALUES = 2**28  # of a batch of crops
FAR_FROM_UNIT = 0.1  # from length 1: less is rounding, such as that of int8
UNIT_ROUNDING = 1e-6  # from length 1, of float32
WARM_UP = 20  # runs before latency is measured


def open_session(path: Path, threads: int = 1, *, exact: bool = False, spin: bool = True) -> Any:
    """An ONNX Runtime session on the CPU. Raises ModelFileError for what isn't a runnable model.

    exact: quantised models are computed as they are written, in float between the roundings. The fused integer kernels
    of CPUs without VNNI instructions saturate their 16 bit sums: 0.13 degrees on OpenTrack's released model.
    spin: whether idle threads wait busily, which is faster where nothing else runs.
    """
    import onnxruntime

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give the path of an .onnx model.")
    name = utf8_name(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what it says of errors comes as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    if exact and b"QuantizeLinear" in path.read_bytes():
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        session.get_inputs(), session.get_outputs(), session.get_modelmeta().custom_metadata_map  # wrong names raise
        return session
    except Exception as error:  # onnxruntime has no common base class for what a file can do wrong
        reason = (str(error).splitlines() or ["unknown reason"])[0]
        if "INVALID_PROTOBUF" in reason or "No graph was found" in reason:
            raise ModelFileError(f"{path}: ONNX Runtime can't load it: no ONNX file, or a part of one.") from error
        raise ModelFileError(f"{path}: ONNX Runtime can't load it ({reason[:200]}); export the model again.") from error


class OnnxPoseModel:
    """Runs a pose network on crops. Raises ModelFileError when input or outputs aren't those of one."""

    def __init__(self, path: Path, threads: int = 1, *, exact: bool = False, spin: bool = True) -> None:
        self.path = path
        self._session = open_session(path, threads, exact=exact, spin=spin)
        outputs = {output.name: output for output in self._session.get_outputs()}
        self._names = {
            key: next(name for name in output.names if name in outputs)
            for key, output in OUTPUTS.items()
            if output.value is None and any(name in outputs for name in output.names)
        }
        if LOCALIZER_OUTPUT in outputs:
            raise ModelFileError(f"{path}: is a localizer, which finds faces; give the model that tells their pose.")
        for key in REQUIRED:
            if key not in self._names:
                known_names = " or ".join(OUTPUTS[key].names)
                raise ModelFileError(f"{path}: output {known_names} is missing; found {', '.join(sorted(outputs))}.")
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] not in (1, 3) or not isinstance(shape[2], int):
            raise ModelFileError(
                f"{path}: inputs are {[i.shape for i in inputs]}, expected one of [1 or batch, 1 or 3, H, W] with fixed "
                "H = W; export with `ttc export`."
            )
        if shape[2] != shape[3] or inputs[0].type != "tensor(float)":
            raise ModelFileError(f"{path}: input is {inputs[0].type} {shape}, expected square float32 crops.")
        sizes = [n for n in shape if isinstance(n, int)]
        if any(not 0 < n <= LARGEST for n in sizes) or math.prod(sizes) > MOST_VALUES:
            raise ModelFileError(
                f"{path}: input has shape {shape}, expected at most {LARGEST} crops and pixels, and {MOST_VALUES:,} values."
            )
        self._input = inputs[0].name
        self.channels, self.input_size = int(shape[1]), int(shape[2])
        self.batch: int | None = shape[0] if isinstance(shape[0], int) else None  # None: any number of crops
        meta = self._session.get_modelmeta()
        self.about: dict[str, Any] = _metadata(path, meta.custom_metadata_map)
        if not self.about and meta.version not in KNOWN_VERSIONS:
            raise ModelFileError(
                f"{path}: model_version {meta.version}, whose axes differ from today's; versions 2, 3 and 4 are readable."
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of Prediction that the file gives."""
        return tuple(self._names)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(B, C, S, S) float32, normalised -> fields of Prediction, each (B, ...).

        Raises ModelFileError when the model can't be computed, or an output isn't of its shape and finite.
        """
        names = list(self._names.values())
        step = self.batch or len(images)
        parts = []
        for start in range(0, len(images), step):
            chunk = images[start : start + step]
            missing = step - len(chunk)
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)]) if missing else chunk
            parts.append([value[: len(chunk)] for value in self._answer(names, np.ascontiguousarray(padded))])
        result = {key: np.concatenate([part[i] for part in parts]) for i, key in enumerate(self._names)}
        for key, values in result.items():
            if not np.isfinite(values).all():
                raise ModelFileError(
                    f"{self.path}: output {self._names[key]} has values that are not finite; the model is damaged or was "
                    "exported wrongly."
                )
        for key in ("rotation_tril", "head_tril"):  # old files have three deviations instead of a factor
            if key in result and result[key].ndim == 2:
                result[key] = result[key][..., None] * np.eye(3, dtype=np.float32)
        return result

    def _answer(self, names: list[str], images: np.ndarray) -> list[np.ndarray]:
        """Outputs of these names for one batch (B, C, S, S), checked."""
        try:
            values = self._session.run(names, {self._input: images})
        except Exception as error:  # onnxruntime's errors have no common base class
            raise ModelFileError(f"{self.path}: can't be computed ({str(error).splitlines()[0][:200]}).") from error
        for key, name, value in zip(self._names, names, values):
            if not isinstance(value, np.ndarray):
                raise ModelFileError(f"{self.path}: output {name} is no tensor; export the model with `ttc export`.")
            if value.dtype.kind != "f" or value.shape[:1] != (len(images),) or not OUTPUTS[key].fits(value.shape[1:]):
                raise ModelFileError(
                    f"{self.path}: output {name} is {value.dtype} {value.shape} for {len(images)} crops, which doesn't fit "
                    f"{key}; export the model with `ttc export`."
                )
        return values


def unit_quaternions(path: Path, quats: np.ndarray) -> np.ndarray:
    """(..., 4) answers of a model, divided by their length where rounding, such as that of int8, left it off 1.

    Raises ModelFileError when some are far from length 1.
    """
    lengths = np.linalg.norm(quats, axis=-1, keepdims=True)
    wrong = quats[np.abs(lengths[..., 0] - 1.0) > FAR_FROM_UNIT]
    if len(wrong):
        raise ModelFileError(
            f"{path}: its rotation {wrong[0].tolist()} isn't a unit quaternion; export the model with `ttc export`, or "
            "divide its quaternions by their length."
        )
    return np.where(np.abs(lengths - 1.0) > UNIT_ROUNDING, quats / lengths, quats)


def check_plausible(path: Path, name: str, values: np.ndarray) -> None:
    """Raise ModelFileError when a value (of any shape) in units of [-1, 1] of the image is far from it, or isn't finite."""
    if not (np.abs(values) <= FARTHEST).all():
        raise ModelFileError(
            f"{path}: output {name} is {[float(f'{v:.3g}') for v in values]}, expected about -1…1 of the image; the model "
            "is damaged, or was made for something else."
        )


def latencies(paths: Sequence[Path], threads: int, runs: int) -> list[float]:
    """Median milliseconds of one crop through each ONNX file, after a warm-up. Raises ModelFileError.

    Files take turns, so that noise of the machine hits all alike.
    """
    models = [
        OnnxPoseModel(path, threads, spin=len(paths) == 1) for path in paths
    ]  # idle ones would take others' cores
    rng = np.random.default_rng(0)
    crops = [rng.uniform(-0.5, 0.5, (1, m.channels, m.input_size, m.input_size)).astype(np.float32) for m in models]
    times: list[list[float]] = [[] for _ in models]
    for _ in range(WARM_UP + runs):
        for model, crop, taken in zip(models, crops, times):
            start = time.perf_counter()
            model.run(crop)
            taken.append(1000 * (time.perf_counter() - start))
    return [statistics.median(taken[WARM_UP:]) for taken in times]


def _metadata(path: Path, entries: dict[str, str]) -> dict[str, Any]:
    if METADATA_KEY not in entries:
        return {}
    try:
        return check_about(path, json.loads(entries[METADATA_KEY]))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path}: metadata {METADATA_KEY} is damaged ({error}); export the model again."
        ) from error
