"""Networks to ONNX files, whose outputs stand in `models.onnx_model.OUTPUTS`.

PoseNetwork --export_opentrack--> one crop, plugin's names       --export_full--> any number of crops, field names
Localizer   --export_localizer--> one image, logit_box
"""

import ast
import contextlib
import io
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trackertraincode import __version__
from trackertraincode.errors import ModelFileError
from trackertraincode.export.contract import full_faults, opentrack_faults
from trackertraincode.files import whole_file
from trackertraincode.localizer import SIZE
from trackertraincode.localizer.network import Localizer
from trackertraincode.models.about import About
from trackertraincode.models.onnx_model import LOCALIZER_OUTPUT, METADATA_KEY, OUTPUTS, open_session
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Prediction

T = TypeVar("T")

OPSET, IR_VERSION, MODEL_VERSION = 18, 10, 4
INPUT_NAME, BATCH_AXIS = "x", "batch"
MAX_DIFFERENCE = 1e-4  # of any output between network and file
TINY = 1e-20  # smaller weights become 0: denormal numbers are slow

CONVENTIONS = {
    "axes": "X right, Y down, Z into the screen; a head that looks into the camera has the identity rotation",
    "quaternion": "i, j, k, w, head to image frame, relative to the viewing ray",
    "units": "crop coordinates: [-1, 1] from corner to corner; sizes in half crop edges",
    "head": "x, y between the eyes, radius 100 mm",
    "covariance": "lower triangular factors; rotation vectors in the image frame, radians",
}


class _Outputs(nn.Module):
    """What a file has of a network's prediction, as a tuple."""

    def __init__(self, network: PoseNetwork, *, full: bool) -> None:
        super().__init__()
        self.network, self.full = network, full

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs_of(self.network(x), full=self.full).values())


COMPARED = 64  # given crops that a file is compared with the network on


def export_opentrack(network: PoseNetwork, path: Path, about: About, crops: Tensor | None = None) -> float:
    """Write the file that OpenTrack's NeuralNet tracker loads. Returns the largest difference to the network.

    crops: (N, C, S, S) normalised, to compare on besides random ones.
    Raises ModelFileError for colour networks, when file and network differ by more than 1e-4 and when the file breaks
    the tracker's contract; nothing is written then.
    """
    return _export_pose(network, path, about, crops, full=False)


def export_full(network: PoseNetwork, path: Path, about: About, crops: Tensor | None = None) -> float:
    """Write every output, for any number of crops. Returns the largest difference to the network.

    crops: (N, C, S, S) normalised, to compare on besides random ones.
    Raises ModelFileError when file and network differ by more than 1e-4; nothing is written then.
    """
    return _export_pose(network, path, about, crops, full=True)


def describe_difference(difference: float, crops: Tensor | None) -> str:
    """What such an export found, and on what. crops: (N, C, S, S), those that it was given."""
    count = 0 if crops is None else min(COMPARED, len(crops))
    shown = f"random images and {count} faces" if count else "random images"
    return f"differs from the network by {difference:.1e} (limit {MAX_DIFFERENCE:g}) on {shown}"


def export_localizer(localizer: Localizer, path: Path) -> float:
    """Write the localizer for OpenTrack. Returns the largest difference to the network."""
    image = torch.rand(1, 1, SIZE.height, SIZE.width) - 0.5
    deployed = localizer.deployed()
    with torch.no_grad():
        expected = {LOCALIZER_OUTPUT: deployed(image)}
    model = seal(_convert(deployed, image, [LOCALIZER_OUTPUT], dynamic=False), {})
    return save_checked(model, path, lambda file: _compare(file, path, expected, image))


def metadata(network: PoseNetwork, about: About, precision: str = "fp32") -> dict[str, Any]:
    """What a file says about itself, so that no tool has to be told. precision: fp32, fp16 or int8."""
    grey = network.config.channels == 1
    return {
        "library": f"trackertraincode {__version__}",
        "precision": precision,
        "input": "pixel / 256 - 0.5" if grey else "(pixel / 255 - mean) / std, ImageNet's, RGB",
        "conventions": CONVENTIONS,
        **network.config.to_dict(),
        **{key: value for key, value in vars(about).items() if key != "library"},
    }


def pose_model(network: PoseNetwork, path: Path, *, full: bool) -> Any:
    """A network as ModelProto in float32, before `seal`. Nodes carry the names of their modules: backbone…/Conv_0.

    network: `deployed`, on the CPU. path: for messages. Raises ModelFileError when OpenTrack can't run such a network.
    """
    config = network.config
    if not full and config.channels != 1:
        raise ModelFileError(f"{path}: OpenTrack gives its models grey crops; this network takes colour.")
    images = sample_images(config.channels, config.input_size, 2 if full else 1)
    with torch.no_grad():
        names = list(outputs_of(network(images), full=full))
    return _convert(_Outputs(network, full=full).eval(), images, names, dynamic=full)


def outputs_of(prediction: Prediction, *, full: bool) -> dict[str, Tensor]:
    """Name in the file -> values (B, ...), of those that the network gives."""
    found = {}
    for field, output in OUTPUTS.items():
        names = [output.full] if full else [*output.opentrack][:1]
        value = output.value(prediction) if output.value is not None else getattr(prediction, field)
        if names and value is not None:
            found[names[0]] = value
    return found


def refuse_faults(file: Path, path: Path, *, full: bool) -> None:
    """Raises ModelFileError when a file breaks its contract. path: its name to be."""
    faults = full_faults(file) if full else opentrack_faults(file)
    if faults:
        whom = "other tools" if full else "OpenTrack"
        raise ModelFileError(f"{path}: {whom} would not run it: {'; '.join(faults)}; not written.")


def _export_pose(network: PoseNetwork, path: Path, about: About, crops: Tensor | None, *, full: bool) -> float:
    deployed = network.deployed().to("cpu")
    model = seal(pose_model(deployed, path, full=full), metadata(network, about))
    images = sample_images(network.config.channels, network.config.input_size, 3)
    images = images if crops is None else torch.cat([images, crops[:COMPARED]])
    with torch.no_grad():
        expected = outputs_of(deployed(images), full=full)

    def check(file: Path) -> float:
        difference = _compare(file, path, expected, images)
        refuse_faults(file, path, full=full)
        return difference

    return save_checked(model, path, check)


def sample_images(channels: int, size: int, count: int) -> Tensor:
    """(count, C, S, S) random network input: smooth blobs with noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 8, 8, generator=generator) - 0.5
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return smooth + 0.05 * torch.randn(smooth.shape, generator=generator)


def _convert(module: nn.Module, image: Tensor, names: list[str], *, dynamic: bool) -> Any:
    """A ModelProto for images (B, C, S, S), with exact zeros, whose nodes are named after their modules."""
    shapes = ({0: torch.export.Dim(BATCH_AXIS)},) if dynamic else None
    with silence(), torch.no_grad():
        program = torch.onnx.export(
            module, (image,), dynamo=True, opset_version=OPSET, input_names=[INPUT_NAME], output_names=names,
            dynamic_shapes=shapes, verbose=False,
        )  # fmt: skip
    assert program is not None, "without a file name, the exporter returns a program"
    model = program.model_proto
    model.graph.doc_string = ""
    scope, counts = "", Counter[str]()
    for node in model.graph.node:  # the exporter writes source paths and stack traces here
        scope = _module_of(node, scope)
        node.name = f"{scope}/{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    _clear_tiny(model)
    return model


def _module_of(node: Any, before: str) -> str:
    """Such as backbone.blocks.0.conv, empty in heads. before: of the previous node, whose module is this one's too when
    the optimiser made it.

    The scopes that the exporter notes go from the whole to the operator: "", "network", "network.backbone", …, "conv2d".
    """
    entries = {entry.key: entry.value for entry in node.metadata_props}
    scopes = ast.literal_eval(entries.get("pkg.torch.onnx.name_scopes", "[]"))
    if len(scopes) < 2 or scopes[0] != "":
        return before
    return scopes[-2].removeprefix("network").removeprefix(".")


def _clear_tiny(model: Any) -> None:
    from onnx import numpy_helper

    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype == np.float32 and ((values != 0) & (np.abs(values) < TINY)).any():
            cleared = np.where(np.abs(values) < TINY, np.float32(0), values)
            initializer.CopyFrom(numpy_helper.from_array(cleared, initializer.name))


def seal(model: Any, content: dict[str, Any]) -> Any:
    """Set versions, producer and metadata of a converted model; returns it."""
    import onnx

    model.ir_version, model.model_version = IR_VERSION, MODEL_VERSION
    model.producer_name, model.producer_version = "trackertraincode", __version__
    used = {node.domain for node in model.graph.node}
    for entry in [e for e in model.opset_import if e.domain and e.domain not in used]:
        model.opset_import.remove(entry)
    del model.metadata_props[:]
    if content:
        onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(content)})
    return model


def save_checked(model: Any, path: Path, check: Callable[[Path], T]) -> T:
    """Write, read back and check a file; it has its name only when all is right. Returns what `check` does.

    check: gets the file under its temporary name and raises ModelFileError when it is wrong.
    """
    import onnx

    onnx.checker.check_model(model, full_check=True)
    with whole_file(path) as temporary:
        onnx.save_model(model, temporary, save_as_external_data=False)
        again = onnx.load_model(temporary, load_external_data=False)
        opsets = {entry.domain: entry.version for entry in again.opset_import}
        if again.ir_version != IR_VERSION or opsets.get("") != OPSET:
            raise ModelFileError(
                f"{path}: the exporter wrote IR {again.ir_version}, opset {opsets}, expected IR {IR_VERSION}, opset "
                f"{OPSET}; install the tested versions of constraints.txt."
            )
        return check(temporary)


def _compare(file: Path, path: Path, expected: dict[str, Tensor], images: Tensor) -> float:
    """The largest difference between a file's outputs for images (B, C, S, S) and the expected ones, (B, ...) by name.

    Raises ModelFileError above 1e-4.
    """
    session = open_session(file)
    names = list(expected)
    static = isinstance(session.get_inputs()[0].shape[0], int)
    parts = images.split(1) if static else [images]
    values = [session.run(names, {INPUT_NAME: part.numpy()}) for part in parts]
    worst = 0.0
    for i, name in enumerate(names):
        found = np.concatenate([value[i] for value in values])
        difference = float(np.abs(found - expected[name].numpy()).max())
        if not difference <= MAX_DIFFERENCE:
            raise ModelFileError(f"{path}: output {name} differs by {difference:.2g} from the network; not written.")
        worst = max(worst, difference)
    return worst


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """The exporter's progress and hints speak to programmers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
