"""Whether OpenTrack's NeuralNet tracker would run a file: one line per fault.

Checked against tracker-neuralnet/model_adapters.cpp; limits are those of its ONNX Runtime 1.23.
"""

from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.models.onnx_model import KNOWN_VERSIONS, METADATA_KEY, OUTPUT_NAMES, open_session
from trackertraincode.models.onnx_model import REQUIRED as REQUIRED_FIELDS

MAX_IR, MAX_OPSET = 11, 23
REQUIRED = {"pos_size": (1, 3), "quat": (1, 4), "box": (1, 4)}
OPTIONAL = {
    "pos_size_scales_tril": (1, 3, 3),
    "rotaxis_scales_tril": (1, 3, 3),
    "pos_size_std": (1, 3),
    "pos_size_scales": (1, 3),
    "rotaxis_std": (1, 3),
    "eyes": None,
    "rot_conc_tril": None,
}
LOCALIZER = {"logit_box": (1, 5)}
LOCALIZER_INPUT = (1, 1, 224, 288)
FULL_REQUIRED = tuple(OUTPUT_NAMES[field][0] for field in REQUIRED_FIELDS)  # of the full model
ANY_BATCH = 3  # crops that models of any batch size are tried with
FLOAT = 1  # TensorProto.FLOAT


def opentrack_faults(path: Path) -> list[str]:
    """Everything that the plugin would refuse or get wrong; empty for a good file.

    Raises ModelFileError when the file is no ONNX model at all.
    """
    model = _load(path)
    shapes = {value.name: _shape(value) for value in model.graph.output}
    is_localizer = "logit_box" in shapes
    faults = _file_faults(model) + ([] if is_localizer else _version_faults(model))
    faults += _input_faults(model, is_localizer)
    faults += _output_faults(model, shapes, LOCALIZER if is_localizer else REQUIRED)
    if faults:
        return faults
    return _run_faults(path)


def full_faults(path: Path) -> list[str]:
    """Everything that keeps other tools from running a full model as its metadata says; empty for a good file.

    Raises ModelFileError when the file is no ONNX model at all.
    """
    model = _load(path)
    faults = _file_faults(model)
    if METADATA_KEY not in {entry.key for entry in model.metadata_props}:
        faults.append(f"metadata {METADATA_KEY!r} is missing: no tool could know what the numbers mean")
    inputs = _inputs(model)
    shape = _shape(inputs[0]) if len(inputs) == 1 else ()
    if len(shape) != 4 or isinstance(shape[0], int) or shape[1] not in (1, 3) or not isinstance(shape[2], int):
        found = ", ".join(f"{value.name} {_text(_shape(value))}" for value in inputs)
        faults.append(f"inputs are {found}, expected one, [batch, 1 or 3, H, H], of any number of crops")
    names = {value.name for value in model.graph.output}
    faults += [f"output {name!r} is missing" for name in FULL_REQUIRED if name not in names]
    for value in model.graph.output:
        if value.type.tensor_type.elem_type != FLOAT or isinstance(_shape(value)[0], int):
            faults.append(f"output {value.name!r} isn't float32 with any number of rows")
    return faults or _run_faults(path)


def _load(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give the path of an .onnx model.")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ModelFileError(f"{path}: no ONNX file ({error}).") from error
    if not model.graph.node or not model.graph.output:
        raise ModelFileError(f"{path}: no ONNX file, or one without a graph.")
    return model


def _file_faults(model: Any) -> list[str]:
    faults = []
    if model.ir_version > MAX_IR:
        faults.append(f"IR version {model.ir_version}, at most {MAX_IR} can be loaded")
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > MAX_OPSET:
            faults.append(f"opset {entry.version}, at most {MAX_OPSET} can be loaded")
        if entry.domain not in ("", "ai.onnx", "ai.onnx.ml", "com.microsoft") and _uses(model, entry.domain):
            faults.append(f"operators of the domain {entry.domain!r}, which ONNX Runtime doesn't have")
    if any(i.data_location == 1 for i in model.graph.initializer):
        faults.append("weights lie in another file; a model must be one file")
    return faults


def _version_faults(model: Any) -> list[str]:
    if model.model_version in KNOWN_VERSIONS:
        return []
    return [
        f"model_version {model.model_version}, expected 4: it would be read as version 1 and its quaternion be turned"
    ]


def _uses(model: Any, domain: str) -> bool:
    return any(node.domain == domain for node in model.graph.node)


def _input_faults(model: Any, is_localizer: bool) -> list[str]:
    inputs = _inputs(model)
    if len(inputs) != 1:
        return [f"{len(inputs)} inputs ({', '.join(v.name for v in inputs)}), expected one"]
    value = inputs[0]
    shape, kind = _shape(value), value.type.tensor_type.elem_type
    faults = [] if value.name == "x" else [f"input {value.name!r}, expected the name 'x', which published loaders feed"]
    if kind != FLOAT:
        faults.append(f"input has type {_type_name(kind)}, expected float32")
    square = len(shape) == 4 and shape[:2] == (1, 1) and isinstance(shape[2], int) and shape[2] == shape[3]
    if is_localizer and shape != LOCALIZER_INPUT:
        faults.append(f"input has shape {_text(shape)}, expected {_text(LOCALIZER_INPUT)}")
    if not is_localizer and not square:
        faults.append(f"input has shape {_text(shape)}, expected [1, 1, H, H] with fixed numbers")
    return faults


def _output_faults(model: Any, shapes: dict[str, tuple], required: dict[str, tuple]) -> list[str]:
    faults = [f"output {name!r} is missing" for name in required if name not in shapes]
    known: dict[str, tuple | None] = {**required, **(OPTIONAL if required is REQUIRED else {})}
    for value in model.graph.output:
        kind = value.type.tensor_type.elem_type
        if kind != FLOAT:
            faults.append(f"output {value.name!r} has type {_type_name(kind)}, expected float32")
        expected = known.get(value.name)
        if expected is not None and shapes[value.name] != expected:
            faults.append(
                f"output {value.name!r} has the stored shape {_text(shapes[value.name])}, expected {_text(expected)}"
            )
        if expected is None and any(not isinstance(n, int) for n in shapes[value.name]):
            faults.append(f"output {value.name!r} has no fixed shape")
    return faults


def _run_faults(path: Path) -> list[str]:
    """Values for grey noise, a black and a white picture."""
    try:
        session = open_session(path)
        shape = [n if isinstance(n, int) else ANY_BATCH for n in session.get_inputs()[0].shape]
        feed = session.get_inputs()[0].name
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
        pictures = [noise, np.full(shape, -0.5), np.full(shape, 0.5)]
        names = [output.name for output in session.get_outputs()]
        answers = [dict(zip(names, session.run(names, {feed: p.astype(np.float32)}))) for p in pictures]
    except Exception as error:  # ONNX Runtime's errors have no common base class
        return [f"doesn't run: {(str(error).splitlines() or ['unknown reason'])[0][:200]}"]
    faults = []
    for name in names:
        values = np.concatenate([answer[name] for answer in answers])
        if not np.isfinite(values).all():
            faults.append(f"output {name!r} has values that are not finite")
        elif name.endswith("_tril"):
            if (np.triu(values, 1) != 0).any():
                faults.append(f"output {name!r} is not lower triangular")
            if (np.diagonal(values, axis1=-2, axis2=-1) <= 0).any():
                faults.append(f"output {name!r} has diagonal elements that aren't above 0")
        elif name in OUTPUT_NAMES["rotation"] and np.abs(np.linalg.norm(values, axis=-1) - 1).max() > 1e-3:
            faults.append(f"output {name!r} has not the length 1")
    return faults


def _inputs(model: Any) -> list[Any]:
    weights = {i.name for i in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _shape(value: Any) -> tuple:
    return tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in value.type.tensor_type.shape.dim
    )


def _text(shape: tuple) -> str:
    return "[" + ", ".join(str(n) for n in shape) + "]"


def _type_name(kind: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(kind).lower()
