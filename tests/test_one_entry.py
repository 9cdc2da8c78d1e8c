"""Adding one of a kind is adding one entry: each is added in a temporary place and used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import PROJECT
from trackertraincode import commands
from trackertraincode.augmentation.extras import EXTRAS, apply_extras
from trackertraincode.commands import run
from trackertraincode.conversion.converters import CONVERTERS, Converter, option
from trackertraincode.conversion.run import Source
from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.catalog import DATASETS, DatasetSpec
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.evaluation.protocols import PROTOCOLS, Protocol, all_rows, stored_box
from trackertraincode.export.onnx import export_full
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.losses.objective import TERMS, Term, make_terms, total_loss
from trackertraincode.models.about import About
from trackertraincode.models.backbones import BACKBONES, BackboneOptions
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.onnx_model import OUTPUTS, OnnxPoseModel, Output
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork, build_network
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Batch, Prediction, Sample, make_batch
from trackertraincode.training.data import DataOptions, open_members

SIZE = 33


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "faces.h5"
    write_faces(Request(12, 64, 5, "hdf5"), path, 0)
    return path


def network(**changes: object) -> PoseNetwork:
    values: dict = {"backbone": "repvgg_az", "width": 0.25, "input_size": SIZE} | changes
    return build_network(NetworkConfig(**values), embedded_head()).eval()


def test_a_data_set(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(faces.parent))
    monkeypatch.setitem(DATASETS, "mine", DatasetSpec(file=faces.name, weight=3.0, labels=("pose",), made_by="me"))
    members = open_members(DataOptions(ds="mine", val_fraction=0.2))
    assert [m.name for m in members.training] == [m.name for m in members.validation] == ["mine"]
    assert len(members.training[0].rows) + len(members.validation[0].rows) == 12


def test_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat(nn.Sequential):
        num_features = 8

    def build(options: BackboneOptions) -> nn.Module:
        return Flat(nn.Flatten(), nn.Linear(options.channels * options.size**2, 8))

    monkeypatch.setitem(BACKBONES, "flat", build)
    prediction = network(backbone="flat")(torch.rand(2, 1, SIZE, SIZE))
    assert prediction.rotation.shape == (2, 4)


def test_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def error(p: Prediction, b: Batch) -> Tensor:
        return (p.head - b.head).abs().sum(-1)

    monkeypatch.setitem(TERMS, "taxicab", Term(("head",), "head", 0.5, error))
    prediction = Prediction(rotation=torch.tensor([[0.0, 0, 0, 1]] * 2), head=torch.zeros(2, 3))
    zeros = torch.zeros(2, dtype=torch.long)
    batch = make_batch(torch.zeros(2, 1, 5, 5), zeros, zeros, head=torch.tensor([[1.0, 2, 3], [torch.nan] * 3]))
    _, parts = total_loss(prediction, batch, make_terms())
    assert parts["taxicab"].item() == pytest.approx(0.5 * 6 / 2)


def test_an_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "negative", lambda image, rng: 255 - image)
    image = np.zeros((5, 5), np.uint8)
    brightest = [apply_extras(image, ("negative",), np.random.default_rng(i)).max() for i in range(40)]
    assert set(brightest) == {0, 255}


def test_a_protocol(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol(dataset="biwi", keep=all_rows, box=stored_box, factor=1.3, labels="rendered")
    monkeypatch.setitem(PROTOCOLS, "wide", protocol)
    save_network(tmp_path / "a.ckpt", network(), About())
    options = EvaluationOptions(file=faces, progress=False)
    row = evaluate(load_predictor(tmp_path / "a.ckpt"), "wide", options).row()
    assert (row["n"], row["protocol"], row["factor"]) == (12, "wide", 1.3)


@pytest.mark.slow
def test_a_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_source(folder: Path, edge: int) -> Source:
        def convert(path: Path) -> list[Sample]:
            return [Sample(image=path.read_bytes(), name=path.name, face_box=np.array([0.0, 0.0, edge, edge]))]

        return Source(items=sorted(folder.glob("*.png")), convert=convert)

    module = ModuleType("mine")
    module.make_source = make_source  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackertraincode.conversion.mine", module)
    entry = Converter("mine", "a folder", (option("--edge", type=int, default=4),), "Convert mine.")
    monkeypatch.setitem(CONVERTERS, "mine", entry)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode_png(np.zeros((9, 9), np.uint8)))
    assert run(["convert", "mine", str(tmp_path / "in"), str(tmp_path / "a.h5"), "--edge", "7", "--workers", "0"]) == 0
    assert Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"].tolist() == [[0.0, 0.0, 7.0, 7.0]]


def test_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    module = ModuleType("mine", "Do something of mine.")
    module.add_options = lambda parser: parser.add_argument("number", type=int)  # type: ignore[attr-defined]
    module.run = lambda options: options.number  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackertraincode.commands.mine", module)
    monkeypatch.setattr(commands, "COMMANDS", (*commands.COMMANDS, "mine"))
    assert run(["mine", "3"]) == 3
    with pytest.raises(SystemExit):
        run(["--help"])
    assert "Do something of mine." in capsys.readouterr().out


def test_an_output_of_onnx_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OUTPUTS, "rotation_raw", Output("quat_raw", rows=((4,),)))
    export_full(network(), tmp_path / "a.onnx", About())
    answer = OnnxPoseModel(tmp_path / "a.onnx").run(np.zeros((3, 1, SIZE, SIZE), np.float32))
    assert answer["rotation_raw"].shape == (3, 4)


ENTRIES = {  # file -> (what stands there, what is put before it)
    "sample/sample.py": [
        ("    individual: int | None = stored(", '    gaze: Array | None = stored("gaze", Kind.ANGLES, (2,), "", '
         '"yaw and pitch of the gaze; degrees", trained="gaze")\n'),
        ("    rotation_raw: Tensor | None", "    gaze: Tensor | None = None  # (B, 2)\n"),
    ],
    "losses/objective.py": [
        ('    "shape": Term(', '    "gaze": Term(("gaze",), "gaze", 1.0, '
         "lambda p, b: (_known(p.gaze) - b.gaze).square().mean(-1)),\n"),
    ],
    "models/heads.py": [("}\n", '    "gaze": lambda features: nn.Linear(features, 2),\n')],
    "models/onnx_model.py": [('    "shape": Output(', '    "gaze": Output("gaze", rows=((2,),)),\n')],
    "tracking/filters.py": [
        ("FILTERS: dict", "class Held(Unfiltered):\n    pass\n\n\n"),
        ('"none": Unfiltered', '"held": Held, '),
    ],
    "augmentation/presets.py": [("    imgaug: bool = option(", '    sharpness: float = option(0.0, "how sharp")\n')],
}  # fmt: skip

USE = """
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets.catalog import DATASETS, DatasetSpec, choose
from trackertraincode.datasets.checks import check_file
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.datasets.mixing import open_mixture
from trackertraincode.export.onnx import outputs_of
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.losses.objective import make_terms, total_loss
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.augmentation.units import normalize
from trackertraincode.commands import parse
from trackertraincode.tracking.filters import FILTERS
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import read_toml

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
with PoseWriter(folder / "gaze.h5", source={}, face_model="embedded-v1", optional=("gaze",)) as writer:
    for row, sample in enumerate(Hdf5PoseDataset(source)):
        writer.write(replace(sample, gaze=None if row == 2 else np.array([row, -3.0])))
assert list(check_file(folder / "gaze.h5")) == []
dataset = Hdf5PoseDataset(folder / "gaze.h5")
assert dataset[5].gaze.tolist() == [5.0, -3.0] and dataset[2].gaze is None

spec = DatasetSpec(file=str(folder / "gaze.h5"), weight=1.0, labels=("pose", "gaze"), made_by="here")
(member,), _ = open_mixture([choose("gaze", {"gaze": spec})], 0.0)
preset = AugmentationOptions().training_preset(size=33)
batches = TrainBatches([member], preset, batchsize=12, samples_per_epoch=12, seed=0, face_model="embedded-v1")
batch = checked(batches[0, 0]).unpack()
assert batch.present("gaze").sum() == 11 and batch.gaze.shape == (12, 2)

torch.manual_seed(0)
network = build_network(NetworkConfig(backbone="repvgg_az", width=0.25, input_size=33), embedded_head())
optimizer, losses = torch.optim.Adam(network.parameters(), 1e-2), []
for _ in range(8):
    loss, parts = total_loss(network(normalize(batch.image)), batch, make_terms())
    losses.append(parts["gaze"].item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
assert losses[-1] < 0.9 * losses[0], losses

assert outputs_of(network(torch.rand(2, 1, 33, 33)), full=True)["gaze"].shape == (2, 2)

assert type(FILTERS[parse(["track", "0", "--filter", "held"])[1].filter]()).__name__ == "Held"

(folder / "my.toml").write_text("sharpness = 2")
assert TrainConfig.of(**read_toml(folder / "my.toml")).augmentation.sharpness == 2.0
"""


@pytest.mark.slow
def test_a_stored_label_that_is_trained_and_a_key_of_recipes(faces: Path, tmp_path: Path) -> None:
    """In a copy of the library: the field, its loss, its head, its output, an option of augmentations, and a filter."""
    library = tmp_path / "trackertraincode"
    shutil.copytree(PROJECT / "trackertraincode", library, ignore=shutil.ignore_patterns("__pycache__"))
    for name, entries in ENTRIES.items():
        text = (library / name).read_text(encoding="utf-8")
        for before, entry in entries:
            place = text.rindex(before)
            text = text[:place] + entry + text[place:]
        if name == "models/heads.py":
            text = text.replace("= {    ", "= {\n    ")
        (library / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", USE, str(faces), str(tmp_path)]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False)
    assert done.returncode == 0, done.stderr
