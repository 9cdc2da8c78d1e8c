"""Networks to ONNX files: the only place that knows the names of OpenTrack's plugin and of the full model.

PoseNetwork --export_opentrack--> one crop, plugin's names       --export_full--> any number of crops, field names
Localizer   --export_localizer--> one picture, logit_box
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trackertraincode import __version__
from trackertraincode.errors import ModelFileError
from trackertraincode.models.checkpoint import About
from trackertraincode.models.localizer import LOCALIZER_HEIGHT, LOCALIZER_WIDTH, Localizer
from trackertraincode.models.onnx_model import METADATA_KEY, OUTPUT_NAMES, open_session
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Prediction

OPSET, IR_VERSION, MODEL_VERSION = 18, 10, 4
INPUT_NAME, BATCH_AXIS = "x", "batch"
MAX_DIFFERENCE = 1e-4  # of any output between network and file
TINY = 1e-20  # smaller weights become 0: denormal numbers are slow

OPENTRACK_OUTPUTS = {  # field of Prediction -> name in the plugin, in its order
    "head": "pos_size",
    "rotation": "quat",
    "face_box": "box",
    "head_tril": "pos_size_scales_tril",
    "rotation_tril": "rotaxis_scales_tril",
}
FULL_OUTPUTS = {field: names[0] for field, names in OUTPUT_NAMES.items()}

CONVENTIONS = {
    "axes": "X right, Y down, Z into the screen; a head that looks into the camera has the identity rotation",
    "quaternion": "i, j, k, w, head to image frame, relative to the viewing ray",
    "units": "crop coordinates: [-1, 1] from corner to corner; sizes in half crop edges",
    "head": "x, y between the eyes, radius 100 mm",
    "covariance": "lower triangular factors; rotation vectors in the image frame, radians",
}


class _Outputs(nn.Module):
    """The chosen fields of a network's prediction as a tuple."""

    def __init__(self, network: PoseNetwork, fields: Sequence[str]) -> None:
        super().__init__()
        self.network, self.fields = network, tuple(fields)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        prediction = self.network(x)
        return tuple(getattr(prediction, field) for field in self.fields)


def export_opentrack(network: PoseNetwork, path: Path, about: About) -> float:
    """Write the file that OpenTrack's NeuralNet tracker loads. Returns the largest difference to the network.

    Raises ModelFileError for colour networks and when file and network differ by more than 1e-4.
    """
    if network.config.channels != 1:
        raise ModelFileError(f"{path}: OpenTrack gives its models grey crops; this network takes colour.")
    return _export_pose(network, path, about, OPENTRACK_OUTPUTS, dynamic=False)


def export_full(network: PoseNetwork, path: Path, about: About) -> float:
    """Write every output, for any number of crops. Returns the largest difference to the network.

    Raises ModelFileError when file and network differ by more than 1e-4.
    """
    return _export_pose(network, path, about, FULL_OUTPUTS, dynamic=True)


def export_localizer(localizer: Localizer, path: Path) -> float:
    """Write the localizer for OpenTrack. Returns the largest difference to the network."""
    image = torch.rand(1, 1, LOCALIZER_HEIGHT, LOCALIZER_WIDTH) - 0.5
    _write(localizer.eval(), image, ["logit_box"], path, {}, dynamic=False)
    with torch.no_grad():
        return _compare(path, {"logit_box": localizer(image)}, image)


def metadata(network: PoseNetwork, about: About) -> dict[str, Any]:
    """What a file says about itself, so that no tool has to be told."""
    grey = network.config.channels == 1
    return {
        "library": f"trackertraincode {__version__}",
        "input": "pixel / 256 - 0.5" if grey else "(pixel / 255 - mean) / std, ImageNet's, RGB",
        "conventions": CONVENTIONS,
        **network.config.to_dict(),
        **{key: value for key, value in vars(about).items() if key != "library"},
    }


def _export_pose(network: PoseNetwork, path: Path, about: About, names: dict[str, str], *, dynamic: bool) -> float:
    deployed = network.deployed().to("cpu")
    config = network.config
    images = sample_images(config.channels, config.input_size, 3)
    with torch.no_grad():
        prediction = deployed(images)
    known = {field: name for field, name in names.items() if getattr(prediction, field) is not None}
    content = metadata(network, about)
    _write(
        _Outputs(deployed, list(known)).eval(),
        images[: 2 if dynamic else 1],
        list(known.values()),
        path,
        content,
        dynamic=dynamic,
    )
    return _compare(path, outputs_of(prediction, known), images)


def outputs_of(prediction: Prediction, names: dict[str, str]) -> dict[str, Tensor]:
    """Values by output name."""
    return {name: getattr(prediction, field) for field, name in names.items()}


def sample_images(channels: int, size: int, count: int) -> Tensor:
    """(count, C, S, S) random network input: smooth blobs with noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 8, 8, generator=generator) - 0.5
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return smooth + 0.05 * torch.randn(smooth.shape, generator=generator)


def _write(
    module: nn.Module, image: Tensor, names: list[str], path: Path, about: dict[str, Any], *, dynamic: bool
) -> None:
    """Convert, set versions, metadata and exact zeros, read back; the file has its name only when all is right."""
    import onnx
    from onnx import numpy_helper

    shapes = ({0: torch.export.Dim(BATCH_AXIS)},) if dynamic else None
    with _silence(), torch.no_grad():
        program = torch.onnx.export(
            module, (image,), dynamo=True, opset_version=OPSET, input_names=[INPUT_NAME], output_names=names,
            dynamic_shapes=shapes, verbose=False,
        )  # fmt: skip
    assert program is not None, "without a file name, the exporter returns a program"
    model = program.model_proto
    model.ir_version, model.model_version = IR_VERSION, MODEL_VERSION
    model.producer_name, model.producer_version = "trackertraincode", __version__
    del model.metadata_props[:]
    model.graph.doc_string = ""
    for node in model.graph.node:  # the exporter writes source paths and stack traces here
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    if about:
        onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(about)})
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype == np.float32 and ((values != 0) & (np.abs(values) < TINY)).any():
            cleared = np.where(np.abs(values) < TINY, np.float32(0), values)
            initializer.CopyFrom(numpy_helper.from_array(cleared, initializer.name))
    onnx.checker.check_model(model, full_check=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        onnx.save_model(model, temporary, save_as_external_data=False)
        again = onnx.load_model(temporary, load_external_data=False)
        opsets = {entry.domain: entry.version for entry in again.opset_import}
        if again.ir_version != IR_VERSION or opsets.get("") != OPSET:
            raise ModelFileError(
                f"{path}: the exporter wrote IR {again.ir_version}, opset {opsets}, expected IR {IR_VERSION}, opset "
                f"{OPSET}; install the tested versions of constraints.txt."
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _compare(path: Path, expected: dict[str, Tensor], images: Tensor) -> float:
    """The largest difference between the file's outputs and the expected ones. Raises ModelFileError above 1e-4."""
    session = open_session(path)
    names = list(expected)
    static = isinstance(session.get_inputs()[0].shape[0], int)
    parts = images.split(1) if static else [images]
    values = [session.run(names, {INPUT_NAME: part.numpy()}) for part in parts]
    worst = 0.0
    for i, name in enumerate(names):
        found = np.concatenate([value[i] for value in values])
        difference = float(np.abs(found - expected[name].numpy()).max())
        if not difference <= MAX_DIFFERENCE:
            path.unlink()
            raise ModelFileError(f"{path}: output {name} differs by {difference:.2g} from the network; not written.")
        worst = max(worst, difference)
    return worst


@contextlib.contextmanager
def _silence() -> Any:
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
