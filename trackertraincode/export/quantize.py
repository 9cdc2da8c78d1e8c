"""Smaller numbers inside: static int8 (QDQ, as OpenTrack's released model has it) or float16; float32 outside.

pose_model --equalized, rounded, _Quantiser--> convolutions in int8, sensitive ones and heads in float32 --parity--> file
pose_model --halve--> backbone in float16, heads in float32 --parity--> file, or a refusal
"""

import math
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from trackertraincode.errors import ModelFileError
from trackertraincode.export.equalize import equalized
from trackertraincode.export.onnx import INPUT_NAME, metadata, pose_model, refuse_faults, save_checked, seal, silence
from trackertraincode.export.parity import BATCH, LIMITS, Parity, measure_parity
from trackertraincode.export.rounding import rounded
from trackertraincode.models.about import About
from trackertraincode.models.pose_network import PoseNetwork
from trackertraincode.sample.sample import Prediction, concatenate_predictions

BACKBONE = "backbone"  # nodes with this name are quantised or halved; heads are cheap, and geometry needs float32
SEARCH_CROPS = 48  # that differences are measured on while layers are tried one by one
MAX_HALF = float(np.finfo(np.float16).max)
MAX_KEPT_SHARE = 0.5  # of the layers may stay in float32, else int8 isn't worth its name

QUANTISED: dict[str, tuple[str, ...]] = {  # start of a backbone's name -> operators; the last one that fits counts
    # Without Sigmoid and Mul, EfficientNet-B0 in int8 took 1.9 ms instead of 1.3 (65 px, one thread; 1.4 in float32).
    "": ("Conv", "Add", "Mul", "Relu", "Clip", "Sigmoid", "MaxPool"),
    # Attention, LayerNormalization, Softmax and GELU in float; of products, those with constant factors.
    "hybrid_vit": ("Conv", "Relu", "MatMul"),
}
KEPT_IN_FLOAT: dict[
    str, tuple[str, ...]
] = {  # start of a backbone's name -> patterns of node names; all that fit count
    # The first convolution: its bright pixels overflow the 16 bit sums of CPUs without VNNI instructions. MobileNetV1's
    # 95th percentile on such a CPU was 11.9° with it in int8, 3.7° without (trained briefly; limits were off).
    "": (rf"^{BACKBONE}\S*/Conv_0$",),
}
LAYERS = ("Conv", "MatMul")  # operators with weights
NON_NEGATIVE = ("Relu", "Clip", "Sigmoid")
WIDE, NARROW = 127, 64  # largest weights in 8 and in 7 bits, as ONNX Runtime has them


@dataclass(frozen=True)
class Quantised:
    """What became of a network."""

    parity: Parity
    layers: int  # with weights, in the backbone
    kept: tuple[str, ...]  # of them in float32


def export_int8(network: PoseNetwork, path: Path, about: About, crops: Tensor, *, full: bool = False) -> Quantised:
    """Write a model in static int8. Layers that it hurts most stay in float32, as many as the limits need.

    crops: (n, C, S, S) real ones; every second one gives the ranges of values, the others measure the difference.
    Raises ModelFileError when half the layers in float32 don't suffice; nothing is written then.
    """
    deployed, backbone = network.deployed().to("cpu"), network.config.backbone
    with torch.inference_mode():
        expected = concatenate_predictions([deployed(part) for part in crops[1::2].split(BATCH)])
    model = pose_model(deployed, path, full=full)
    found, result = quantise(model, crops, expected, backbone, metadata(network, about, "int8"))
    _write(found, path, result.parity, "int8", full=full)
    return result


def quantise(
    model: Any, crops: Tensor, expected: Prediction, backbone: str, content: dict[str, Any]
) -> tuple[Any, Quantised]:
    """A ModelProto in float32 -> one in int8 with layers in float32 as the limits need them, or with half of them.

    crops: (n, C, S, S); expected: what the model answers to every second one, from the second on. content: metadata.
    """
    units, checks = _units(model, backbone), crops[1::2]
    always = [unit for unit in units if _is_kept(unit[0], backbone)]
    names = {name for unit in units if unit not in always for name in unit}
    levels = {n.name: NARROW if _is_narrow(model, n) else WIDE for n in model.graph.node if n.name in names}

    def attempt(quantiser: _Quantiser, kept: list[list[str]], count: int) -> tuple[Any, Parity]:
        quantised = seal(quantiser.quantise([name for unit in units if unit not in kept for name in unit]), content)
        return quantised, measure_parity(
            quantised, checks[:count], expected.select(torch.arange(min(count, len(checks))))
        )

    kept, tried = always, []
    for source in (equalized(model, crops[::2]), model):  # few networks are better as they are
        quantiser = _Quantiser(rounded(source, levels, crops[::2]), crops[::2], backbone)
        tried.append((quantiser, *attempt(quantiser, kept, len(checks))))
    quantiser, found, parity = min(tried, key=lambda one: one[2].p95_degrees)
    if not parity.within(LIMITS["int8"]):
        ranked = _by_damage(units, always, lambda others: attempt(quantiser, others, SEARCH_CROPS)[1])
        for more in _growing(int(MAX_KEPT_SHARE * len(units)) - len(always)):
            kept = always + ranked[:more]
            found, parity = attempt(quantiser, kept, len(checks))
            if parity.within(LIMITS["int8"]):
                break
    return found, Quantised(parity, len(units), tuple(unit[0] for unit in kept))


def export_fp16(network: PoseNetwork, path: Path, about: About, crops: Tensor, *, full: bool = False) -> Quantised:
    """Write a model whose backbone has float16 weights and values.

    crops: (n, C, S, S), that measure the difference. Raises ModelFileError when it is too large; nothing is written then.
    """
    deployed = network.deployed().to("cpu")
    model = seal(halve(pose_model(deployed, path, full=full)), metadata(network, about, "fp16"))
    with torch.inference_mode():
        expected = concatenate_predictions([deployed(part) for part in crops.split(BATCH)])
    parity = measure_parity(model, crops, expected)
    _write(model, path, parity, "fp16", full=full)
    return Quantised(parity, len(_units(model, network.config.backbone)), ())


def halve(model: Any) -> Any:
    """A ModelProto with the backbone in float16; inputs, outputs and heads stay in float32.

    By hand: onnxruntime's converter gives two casts the same name where a backbone's output feeds several heads.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = onnx.shape_inference.infer_shapes(model).graph
    floats = {v.name for v in [*graph.value_info, *graph.input] if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    weights = {i.name: i for i in graph.initializer if i.data_type == TensorProto.FLOAT}
    inside = {output for node in graph.node if node.name.startswith(BACKBONE) for output in node.output}
    nodes: list[Any] = []
    made: dict[str, Any] = {}  # name -> half copy of a weight, or cast

    def replaced(value: str, is_inside: bool) -> str:
        name = f"{value}_{'half' if is_inside else 'float'}"
        if is_inside and value in weights:
            half = np.clip(numpy_helper.to_array(weights[value]), -MAX_HALF, MAX_HALF).astype(np.float16)
            made.setdefault(name, numpy_helper.from_array(half, name))
        elif value in floats and is_inside != (value in inside):
            if name not in made:
                kind = TensorProto.FLOAT16 if is_inside else TensorProto.FLOAT
                made[name] = helper.make_node("Cast", [value], [name], name=f"/{name}", to=kind)
                nodes.append(made[name])
        else:
            return value
        return name

    for node in graph.node:
        node.input[:] = [replaced(value, node.name.startswith(BACKBONE)) for value in node.input]
        nodes.append(node)
    used = {value for node in nodes for value in node.input}
    known = [*(entry for entry in made.values() if isinstance(entry, TensorProto)), *graph.initializer]
    outside = [value for value in graph.value_info if value.name not in inside]
    return helper.make_model(
        helper.make_graph(
            nodes, graph.name, graph.input, graph.output, [i for i in known if i.name in used], value_info=outside
        ),
        opset_imports=model.opset_import,
    )


class _Quantiser:
    """Quantises any choice of a model's nodes: values to uint8, weights to int8 per channel.

    Weights of convolutions whose input has both signs get 7 bits: zero lies in the middle of uint8 there, and sums of
    two products with 8 bits overflow 16 bits on CPUs without VNNI instructions. EfficientNet-Lite0's 95th percentile
    on such a CPU was 10.0° without, 3.4° with this.
    """

    def __init__(self, model: Any, crops: Tensor, backbone: str) -> None:
        """crops: (n, C, S, S), whose ranges of values are taken."""
        import onnx
        from onnxruntime.quantization import create_calibrator

        self._operators = _quantised_operators(backbone)
        with tempfile.TemporaryDirectory() as folder, silence():
            source = Path(folder) / "float.onnx"
            onnx.save_model(onnx.shape_inference.infer_shapes(model), source)
            self._model = onnx.load_model(source)
            calibrator = create_calibrator(source, self._operators, str(Path(folder) / "augmented.onnx"))
            for part in crops.split(BATCH):  # results are kept until they are reduced
                calibrator.collect_data(_Reader(part))
            self._ranges = calibrator.compute_data()

    def quantise(self, names: list[str]) -> Any:
        """A ModelProto with the named nodes in int8."""
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        narrow = {"axis": 0, "reduce_range": True, "quant_type": QuantType.QInt8, "symmetric": True}
        signed = {
            node.input[1]: [narrow]
            for node in self._model.graph.node
            if node.name in names and _is_narrow(self._model, node)
        }
        source = onnx.ModelProto()
        source.CopyFrom(self._model)
        options = {"TensorQuantOverrides": signed, "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1}}
        with silence():
            quantiser = QDQQuantizer(
                source, True, False, QuantType.QInt8, QuantType.QUInt8, self._ranges, names, [], list(self._operators),
                options,
            )  # fmt: skip
            quantiser.quantize_model()
            quantiser.model.topological_sort()
        return quantiser.model.model


class _Reader:
    """Crops (n, C, S, S) one by one, as onnxruntime's CalibrationDataReader."""

    def __init__(self, crops: Tensor) -> None:
        self._crops = iter(crops.split(1))

    def get_next(self) -> dict[str, np.ndarray] | None:
        crop = next(self._crops, None)
        return None if crop is None else {INPUT_NAME: crop.numpy()}


def _units(model: Any, backbone: str) -> list[list[str]]:
    """Names of the nodes that can be quantised: each list is a layer with weights and what follows until the next."""
    operators = _quantised_operators(backbone)
    weights = {initializer.name for initializer in model.graph.initializer}
    units: list[list[str]] = []
    for node in model.graph.node:
        if not node.name.startswith(BACKBONE) or node.op_type not in operators:
            continue
        if node.op_type in LAYERS and node.input[1] in weights:
            units.append([node.name])
        elif units and node.op_type not in LAYERS:
            units[-1].append(node.name)
    assert units, "nodes carry the names of their modules"
    return units


def _is_kept(name: str, backbone: str) -> bool:
    patterns = [p for start, group in KEPT_IN_FLOAT.items() if backbone.startswith(start) for p in group]
    return any(re.search(pattern, name) for pattern in patterns)


def _quantised_operators(backbone: str) -> tuple[str, ...]:
    return [value for start, value in QUANTISED.items() if backbone.startswith(start)][-1]


def _is_narrow(model: Any, node: Any) -> bool:
    """Whether the weights get 7 bits."""
    return node.op_type == "Conv" and not _is_non_negative(model, node.input[0])


def _is_non_negative(model: Any, value: str) -> bool:
    producers = {output: node for node in model.graph.node for output in node.output}
    while value in producers:
        node = producers[value]
        if node.op_type != "MaxPool":
            return node.op_type in NON_NEGATIVE
        value = node.input[0]
    return False


def _by_damage(
    units: list[list[str]], always: list[list[str]], try_kept: Callable[[list[list[str]]], Parity]
) -> list[list[str]]:
    """Units without those that are always kept; first that which moves the answers most when it alone is quantised."""
    candidates = [unit for unit in units if unit not in always]
    damage = {
        unit[0]: try_kept([other for other in units if other is not unit]).p95_degrees
        for unit in tqdm(candidates, desc="int8, layer by layer", unit=" layers", leave=False)
    }
    return sorted(candidates, key=lambda unit: -damage[unit[0]])


def _growing(most: int) -> Iterator[int]:
    """1, 2, 3, 4, 5, 7, 9… up to `most`."""
    count = 1
    while count <= most:
        yield count
        count = max(count + 1, math.floor(count * 1.3))


def _write(model: Any, path: Path, parity: Parity, precision: str, *, full: bool) -> None:
    limit = LIMITS[precision]
    if not parity.within(limit):
        raise ModelFileError(
            f"{path}: in {precision} its answers move too far: {parity}; at most {math.degrees(limit.rotation):.2f}° and "
            f"{100 * limit.position:.2g} % are allowed. Not written; use float32"
            f"{' or --fp16' if precision == 'int8' else ''}, or train longer."
        )
    save_checked(model, path, lambda file: refuse_faults(file, path, full=full))


def describe_quantised(result: Quantised) -> str:
    """One line for people."""
    kept = f", {len(result.kept)} of {result.layers} layers in float32" if result.kept else ""
    return f"moves answers by {result.parity}{kept}"
