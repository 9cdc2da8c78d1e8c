"""Whether OpenTrack's NeuralNet tracker would run a file: one line per fault.

Checked against tracker-neuralnet/model_adapters.cpp; limits are those of its ONNX Runtime 1.23.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackertraincode.errors import ModelFileError
from trackertraincode.export.trial import FLOAT, Port, Trial, try_model
from trackertraincode.localizer import SIZE
from trackertraincode.models.onnx_model import KNOWN_VERSIONS, LOCALIZER_OUTPUT, METADATA_KEY, OUTPUTS
from trackertraincode.models.onnx_model import REQUIRED as REQUIRED_FIELDS

MAX_IR, MAX_OPSET = 11, 23
ONNX_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
MICROSOFT = "com.microsoft"  # operators of ONNX Runtime that OpenTrack's Windows builds lack
SHAPES = {name: shape for output in OUTPUTS.values() for name, shape in output.opentrack.items()}
REQUIRED = {next(iter(output.opentrack)) for output in OUTPUTS.values() if output.required}
LOCALIZER_SHAPES: dict[str, tuple[int, ...]] = {LOCALIZER_OUTPUT: (1, 5)}
LOCALIZER_INPUT = (1, 1, SIZE.height, SIZE.width)
FULL_REQUIRED = tuple(OUTPUTS[field].full for field in REQUIRED_FIELDS)


@dataclass(frozen=True)
class Verdict:
    """What OpenTrack would make of a file."""

    faults: tuple[str, ...]  # what it would refuse or get wrong, one line each; empty for a good file
    warnings: tuple[str, ...]  # what some of its builds would refuse
    is_localizer: bool


def opentrack_faults(path: Path) -> list[str]:
    """Everything that the plugin would refuse or get wrong; empty for a good file, pose model or localizer.

    Raises ModelFileError when the file isn't an ONNX model at all.
    """
    return list(judge(path).faults)


def judge(path: Path) -> Verdict:
    """Faults and warnings. Raises ModelFileError when the file isn't an ONNX model at all."""
    model = _load(path)
    trial = _describe(model, path)
    is_localizer = any(name == LOCALIZER_OUTPUT for name, _, _ in trial.outputs)
    faults = _file_faults(model) + ([] if is_localizer else _version_faults(model))
    faults += _input_faults(trial.inputs, is_localizer)
    faults += _output_faults(trial.outputs, LOCALIZER_SHAPES if is_localizer else SHAPES)
    warnings = []
    if any(node.domain == MICROSOFT for node in _nodes(model)):
        warnings.append(f"operators of the domain {MICROSOFT!r}, which OpenTrack's Windows builds don't have")
    return Verdict(tuple(faults or trial.faults), tuple(warnings), is_localizer)


def full_faults(path: Path) -> list[str]:
    """Everything that keeps other tools from running a full model as its metadata says; empty for a good file.

    Raises ModelFileError when the file isn't an ONNX model at all.
    """
    model = _load(path)
    trial = _describe(model, path)
    faults = _file_faults(model)
    if METADATA_KEY not in {entry.key for entry in model.metadata_props}:
        faults.append(f"metadata {METADATA_KEY!r} is missing: no tool could know what the numbers mean")
    shape = trial.inputs[0][2] if len(trial.inputs) == 1 else []
    if len(shape) != 4 or isinstance(shape[0], int) or shape[1] not in (1, 3) or not isinstance(shape[2], int):
        found = ", ".join(f"{name} {_text(shape)}" for name, _, shape in trial.inputs)
        faults.append(f"inputs are {found}, expected one, [batch, 1 or 3, H, H], of any number of crops")
    names = {name for name, _, _ in trial.outputs}
    faults += [f"output {name!r} is missing" for name in FULL_REQUIRED if name not in names]
    for name, kind, shape in trial.outputs:
        if kind != FLOAT or not shape or isinstance(shape[0], int):
            faults.append(f"output {name!r} isn't float32 with any number of rows")
    return faults or list(trial.faults)


def _describe(model: Any, path: Path) -> Trial:
    """In- and outputs as the session has them; as they are stored where ONNX Runtime can't load the file."""
    trial = try_model(path)
    if trial.inputs:
        return trial
    weights = {i.name for i in model.graph.initializer}
    inputs = [_port(value) for value in model.graph.input if value.name not in weights]
    return Trial(tuple(inputs), tuple(_port(value) for value in model.graph.output), trial.faults)


def _load(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give the path of an .onnx model.")
    if path.suffix.lower() == ".ckpt":
        raise ModelFileError(f"{path}: is a checkpoint; `ttc export` makes an .onnx file of it.")
    try:
        model = onnx.load_model(path, "protobuf", load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ModelFileError(f"{path}: no ONNX file ({error}).") from error
    if not model.graph.node or not model.graph.output:
        raise ModelFileError(f"{path}: no ONNX file, or one without a graph.")
    return model


def _file_faults(model: Any) -> list[str]:
    faults = []
    if model.ir_version > MAX_IR:
        faults.append(f"IR version {model.ir_version}, at most {MAX_IR} can be loaded")
    domains = {node.domain for node in _nodes(model)} - {function.domain for function in model.functions}
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > MAX_OPSET:
            faults.append(f"opset {entry.version}, at most {MAX_OPSET} can be loaded")
        if entry.domain in domains - {*ONNX_DOMAINS, MICROSOFT}:
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


def _nodes(model: Any) -> Iterator[Any]:
    """Of the graph, its subgraphs and the model's own functions."""
    waiting = [model.graph, *model.functions]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g, *attribute.graphs]


def _input_faults(inputs: Sequence[Port], is_localizer: bool) -> list[str]:
    if len(inputs) != 1:
        return [f"{len(inputs)} inputs ({', '.join(name for name, _, _ in inputs)}), expected one"]
    name, kind, shape = inputs[0]
    faults = [] if name == "x" else [f"input {name!r}, expected the name 'x', which published loaders feed"]
    if kind != FLOAT:
        faults.append(f"input has type {_type_name(kind)}, expected float32")
    square = len(shape) == 4 and shape[:2] == [1, 1] and isinstance(shape[2], int) and shape[2] == shape[3]
    if is_localizer and tuple(shape) != LOCALIZER_INPUT:
        faults.append(f"input has shape {_text(shape)}, expected {_text(LOCALIZER_INPUT)}")
    if not is_localizer and not square:
        faults.append(f"input has shape {_text(shape)}, expected [1, 1, H, H] with fixed numbers")
    return faults


def _output_faults(outputs: Sequence[Port], known: dict[str, tuple[int, ...]]) -> list[str]:
    """known: shapes by name."""
    names = {name for name, _, _ in outputs}
    faults = [f"output {name!r} is missing" for name in known if name not in names and name in REQUIRED]
    for name, kind, shape in outputs:
        if kind != FLOAT:
            faults.append(f"output {name!r} has type {_type_name(kind)}, expected float32")
        if name in known and tuple(shape) != known[name]:
            faults.append(f"output {name!r} has the shape {_text(shape)}, expected {_text(known[name])}")
        elif not all(isinstance(n, int) for n in shape):
            faults.append(f"output {name!r} has no fixed shape")
    return faults


def _port(value: Any) -> Port:
    from onnx import TensorProto

    kind = value.type.tensor_type
    name = TensorProto.DataType.Name(kind.elem_type).lower()
    shape = [d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim]
    return value.name, f"tensor({name})", shape


def _text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def _type_name(kind: str) -> str:
    """tensor(float16) -> float16; what is no tensor stays as it is."""
    name = kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else kind
    return {"float": "float32", "double": "float64"}.get(name, name)
