"""Smaller numbers inside: int8 and fp16 files keep the contract and the answers, or aren't written."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from conftest import run_script, write_samples
from trackertraincode.augmentation.units import normalize
from trackertraincode.commands import run
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import CatalogError, ModelFileError, SampleFormatError, UserError
from trackertraincode.evaluation.crops import iter_crops
from trackertraincode.evaluation.framing import SQUARE
from trackertraincode.evaluation.protocols import Context, landmark_box
from trackertraincode.export import parity
from trackertraincode.export.calibration import MIN_CROPS, calibration_crops
from trackertraincode.export.contract import full_faults, opentrack_faults
from trackertraincode.export.onnx import TINY, export_opentrack, pose_model, sample_images
from trackertraincode.export.parity import LIMITS, Limit, Parity, measure_parity, predict
from trackertraincode.export.quantize import Quantised, export_fp16, export_int8, quantise
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.geometry.boxes import CROP_FACTOR
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.onnx_model import OnnxPoseModel
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.pretrained import pose_network
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.sample import Sample

SIZE = 33
TURN = 0.4  # of raw quaternions between crops
CROPS = sample_images(1, SIZE, 40)


def make_network(backbone: str = "repvgg_az", **changes: Any) -> PoseNetwork:
    """A tiny network with the statistics of some crops, whose heads turn with them."""
    torch.manual_seed(0)
    values: dict[str, Any] = {"width": 0.25, "input_size": SIZE, "uncertainty": True, **changes}
    config = NetworkConfig(backbone=backbone, **values)
    network = build_network(config, embedded_head()).train()
    with torch.no_grad():
        for _ in range(20):
            network(sample_images(config.channels, SIZE, 16))
        features = network.backbone(sample_images(config.channels, SIZE, 16))
        spread = float(features.std(0).mean()) * features.shape[-1] ** 0.5
        network.rotation.linear.weight.normal_(0.0, TURN / spread)
        network.rotation.linear.weight[0, :4] = 1e-25
    return network.eval()


@pytest.fixture(scope="module")
def network() -> PoseNetwork:
    return make_network()


@pytest.fixture(autouse=True, scope="module")
def made_once() -> Iterator[None]:
    """The same network isn't traced again for each precision, which takes seconds."""
    known: dict[str, onnx.ModelProto] = {}

    def model(deployed: PoseNetwork, path: Path, *, full: bool) -> onnx.ModelProto:
        weights = b"".join(value.numpy().tobytes() for value in deployed.state_dict().values())
        key = f"{hashlib.sha256(weights).hexdigest()} {full}"
        if key not in known:
            known[key] = pose_model(deployed, path, full=full)
        copy = onnx.ModelProto()
        copy.CopyFrom(known[key])
        return copy

    with patch("trackertraincode.export.quantize.pose_model", model):
        yield


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "faces.h5"
    write_faces(Request(MIN_CROPS + 4, 64, 5, "hdf5"), path, 0)
    return path


@pytest.fixture(scope="module", params=[("int8", False), ("int8", True), ("fp16", False), ("fp16", True)], ids=str)
def exported(
    request: pytest.FixtureRequest, network: PoseNetwork, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, bool, Quantised]:
    """File, precision, whether it has every output, and what the export said."""
    precision, full = request.param
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export = {"int8": export_int8, "fp16": export_fp16}[precision]
    return path, precision, full, export(network, path, About(trained_on=["300wlp"]), CROPS, full=full)


def test_smaller_files_keep_contract_and_answers(exported: tuple[Path, str, bool, Quantised]) -> None:
    path, precision, full, result = exported
    assert result.parity.within(LIMITS[precision])
    assert (full_faults if full else opentrack_faults)(path) == []
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"], "one file, nothing temporary"


def test_smaller_files_say_what_they_are(exported: tuple[Path, str, bool, Quantised]) -> None:
    path, precision, _, _ = exported
    model = onnx.load(path)
    assert (model.ir_version, model.model_version) == (10, 4)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
    assert {value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]} == {1}
    about = OnnxPoseModel(path).about
    assert about["precision"] == precision
    assert about["trained_on"] == ["300wlp"]
    kinds = {initializer.data_type for initializer in model.graph.initializer}
    assert {"int8": onnx.TensorProto.INT8, "fp16": onnx.TensorProto.FLOAT16}[precision] in kinds


def test_weights_too_small_for_fast_arithmetic_are_zero(exported: tuple[Path, str, bool, Quantised]) -> None:
    for initializer in onnx.load(exported[0]).graph.initializer:
        values = numpy_helper.to_array(initializer)
        assert not ((values != 0) & (np.abs(values.astype(np.float64)) < TINY)).any(), initializer.name


def test_the_first_convolution_and_the_heads_stay_in_float(exported: tuple[Path, str, bool, Quantised]) -> None:
    path, precision, _, _ = exported
    graph = onnx.load(path).graph
    weights = {initializer.name: initializer.data_type for initializer in graph.initializer}
    heads = [node for node in graph.node if node.op_type == "Gemm"]
    assert {weights[node.input[1]] for node in heads} == {onnx.TensorProto.FLOAT}
    if precision == "int8":
        producers = {output: node.op_type for node in graph.node for output in node.output}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        assert convolutions[0].input[0] == "x"
        assert all(producers[node.input[0]] == "DequantizeLinear" for node in convolutions[1:])


def test_answers_that_move_too_far_are_not_written(
    network: PoseNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "fp16", Limit(1e-9, 1e-9))
    with pytest.raises(ModelFileError, match=r"model\.onnx: in fp16 its answers move too far: .*Not written") as error:
        export_fp16(network, tmp_path / "model.onnx", About(), CROPS)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_not_a_number_is_never_within_limits() -> None:
    assert not Parity(0.0, float("nan"), 0.0, 0.0, 9).within(LIMITS["int8"])


def test_each_number_is_that_of_the_worse_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which are worse in degrees needn't be worse in position."""
    exact, fused = Parity(0.5, 1.0, 2.0, 0.01, 9), Parity(0.4, 0.99, 3.0, 0.5, 9)
    answers = iter([exact, fused, fused, exact])
    monkeypatch.setattr(parity, "compare", lambda *_: next(answers))
    monkeypatch.setattr(parity, "predict", lambda *_: None)
    monkeypatch.setattr(parity, "OnnxPoseModel", lambda *_, **__: None)
    for _ in range(2):
        found = measure_parity(onnx.ModelProto(), CROPS, None)  # type: ignore[arg-type]
        assert found == Parity(0.5, 1.0, 3.0, 0.5, 9)
        assert not found.within(LIMITS["int8"])


def test_the_network_of_this_package_bears_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fused layers have weights that are a hundred times as large as others of their row."""
    monkeypatch.setitem(LIMITS, "int8", Limit(np.radians(3.0), 0.03))  # few faces to calibrate with
    write_faces(Request(48, 96, 5, "hdf5"), tmp_path / "faces.h5", 0)
    network = OnnxPoseModel(pose_network())
    crops = calibration_crops(str(tmp_path / "faces.h5"), NetworkConfig(input_size=network.input_size))
    backbone = network.about["backbone"]
    _, result = quantise(onnx.load(network.path), crops, predict(network, crops[1::2]), backbone, {})
    assert result.parity.within(LIMITS["int8"])
    assert len(result.kept) == 1, "the first layer"


@pytest.mark.slow
def test_layers_stay_in_float_until_the_limits_hold(
    network: PoseNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = export_int8(network, tmp_path / "plain.onnx", About(), CROPS)
    limit = Limit(np.radians(0.9 * plain.parity.p95_degrees), 1.0)
    monkeypatch.setitem(LIMITS, "int8", limit)
    strict = export_int8(network, tmp_path / "strict.onnx", About(), CROPS)
    assert len(plain.kept) == 1
    assert 1 < len(strict.kept) <= strict.layers // 2
    assert strict.parity.within(limit)


def test_colour_networks_are_not_for_opentrack(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="grey crops; this network takes colour"):
        export_int8(make_network(channels=3), tmp_path / "model.onnx", About(), sample_images(3, SIZE, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"uncertainty": False, "rotation": "sixd"}, {"landmarks": False}], ids=str)
def test_every_kind_of_head_can_be_exported(changes: dict[str, Any], tmp_path: Path) -> None:
    assert export_opentrack(make_network(**changes), tmp_path / "model.onnx", About()) < 1e-4


@pytest.mark.slow
def test_a_network_with_residuals_keeps_its_answers_in_int8(tmp_path: Path) -> None:
    """EfficientNets, untrained and this thin, are so sensitive that neither int8 nor float16 meets its limits."""
    result = export_int8(make_network("resnet18"), tmp_path / "int8.onnx", About(), CROPS)
    assert result.parity.within(LIMITS["int8"])


def test_crops_are_spread_over_the_file(faces: Path) -> None:
    crops = calibration_crops(str(faces), NetworkConfig(input_size=SIZE))
    assert crops.shape == (MIN_CROPS + 4, 1, SIZE, SIZE)
    assert -0.5 <= crops.min() < crops.max() <= 0.5


def test_names_are_those_of_the_catalog(faces: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    catalog = tmp_path / "sets.toml"
    catalog.write_text(f'[mine]\nfile = {str(faces)!r}\nlabels = ["pose"]\nrows = [2, 19]\n')
    assert len(calibration_crops("mine", NetworkConfig(input_size=SIZE), catalog)) == 17


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CatalogError, match=r"--calibration: data set '300wpl' is unknown; known are 300wlp, .*\.h5"):
        calibration_crops("300wpl", NetworkConfig())


def test_a_file_without_boxes_is_refused(tmp_path: Path, make_sample: Any) -> None:
    path = tmp_path / "bare.h5"
    with PoseWriter(path, source={"name": "test"}) as writer:
        for seed in range(3):
            sample: Sample = make_sample(seed)
            writer.write(Sample(image=sample.image, name=sample.name, rotation=sample.rotation, head=sample.head))
    with pytest.raises(SampleFormatError, match=r"bare\.h5: has neither boxes \('rois'\) nor landmarks"):
        calibration_crops(str(path), NetworkConfig())


def test_crops_are_those_that_evaluation_shows_the_network(tmp_path: Path, make_sample: Any) -> None:
    path = write_samples(tmp_path / "landmarks.h5", (make_sample(seed, face_box=None) for seed in range(MIN_CROPS)))
    rows = np.arange(MIN_CROPS)
    with Hdf5PoseDataset(path) as dataset:
        boxes = landmark_box(Context(dataset), rows).corners
        squares = SQUARE.rectangles(boxes, CROP_FACTOR)
        shown = iter_crops(path, rows, squares, SQUARE, size=SIZE, channels=1, workers=0)
        expected = normalize(torch.cat(list(shown)))
    assert torch.equal(calibration_crops(str(path), NetworkConfig(input_size=SIZE)), expected)


def test_too_few_faces_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "few.h5"
    write_faces(Request(3, 64, 5, "hdf5"), path, 0)
    with pytest.raises(SampleFormatError, match="has 3 faces with boxes to calibrate with, expected at least 16"):
        calibration_crops(str(path), NetworkConfig())


@pytest.mark.slow
def test_the_command_writes_a_file_per_precision(network: PoseNetwork, faces: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "swa.ckpt"
    save_network(checkpoint, network, About())
    text = run_script("export_model.py", checkpoint, "--quantize", "--fp16", "--calibration", faces, "--check")
    assert text.count("OpenTrack runs it") == 2
    assert {file.name for file in tmp_path.iterdir()} == {"swa.ckpt", "swa_int8.onnx", "swa_fp16.onnx"}


def test_the_command_makes_smaller_files_of_the_model_in_the_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"pose\.onnx: is an ONNX file already; .* --quantize and --fp16 make smaller"):
        run(["export", "default"])
    assert run(["export", "default", "--fp16", "--check"]) == 0
    assert "pose_fp16.onnx: OpenTrack runs it" in capsys.readouterr().out
    smaller, whole = OnnxPoseModel(Path("pose_fp16.onnx")), OnnxPoseModel(pose_network())
    assert smaller.fields == whole.fields
    assert smaller.about == whole.about | {"precision": "fp16"}
    image = sample_images(1, whole.input_size, 1).numpy()
    assert np.allclose(smaller.run(image)["rotation"], whole.run(image)["rotation"], atol=0.01)


def test_the_command_wants_faces_to_calibrate_with(tmp_path: Path) -> None:
    assert "--calibration NAME" in run_script("export_model.py", tmp_path / "a.ckpt", "--quantize", expect=2)
