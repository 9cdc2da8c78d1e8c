"""Protocols crop and compare as they say; numbers of the released model are reproduced."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from relabelled import lean

from conftest import run_script, write_samples
from trackertraincode.datasets.catalog import DATASETS
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import EvaluationError, WorkerError
from trackertraincode.evaluation import metrics
from trackertraincode.evaluation.crops import Cutting
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.html_report import result_sections
from trackertraincode.evaluation.predictor import Ensemble, load_predictor
from trackertraincode.evaluation.protocols import PROTOCOLS, Context, aflw_rows
from trackertraincode.evaluation.report import format_table, write_csv, write_predictions
from trackertraincode.export.onnx import export_full, metadata
from trackertraincode.files import shard_path
from trackertraincode.geometry.rotation import (
    matrix_to_quat,
    quat_to_matrix,
    rotvec_to_matrix,
)
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.sample.sample import Prediction


class Oracle:
    """Answers with the labels, in the crops that the protocol should make."""

    def __init__(self, dataset: Hdf5PoseDataset, protocol: str, turn: float = 0.0) -> None:
        rows = PROTOCOLS[protocol].keep(dataset)
        boxes = PROTOCOLS[protocol].box(Context(dataset), rows).corners
        squares = PROTOCOLS[protocol].framing.rectangles(boxes, PROTOCOLS[protocol].factor)
        half, corner = (squares[:, 2:3] - squares[:, :1]) / 2, squares[:, :2]
        labels = {name: torch.from_numpy(values[rows]) for name, values in dataset.labels.items()}
        xy = (labels["head"][:, :2] - corner) / half - 1
        points = labels["landmarks"] / half[:, None]
        points[..., :2] = (labels["landmarks"][..., :2] - corner[:, None]) / half[:, None] - 1
        turned = rotvec_to_matrix(torch.tensor([0.0, np.radians(turn), 0.0])).float() @ quat_to_matrix(
            labels["rotation"]
        )
        self._answer = Prediction(
            rotation=matrix_to_quat(turned),
            head=torch.cat([xy, labels["head"][:, 2:] / half], dim=-1),
            landmarks=points,
        )
        self._done = 0
        self.name, self.path, self.input_size, self.channels = "oracle", Path("oracle"), 33, 1
        self.about: dict[str, Any] = {}

    def predict(self, images: torch.Tensor) -> Prediction:
        rows = torch.arange(self._done, self._done + len(images))
        self._done += len(images)
        return self._answer.select(rows)


@pytest.mark.parametrize("protocol", ["aflw2k3d", "aflw2k3d-landmarks", "aflw2k3d-published", "aflw2k3d-centercrop"])
def test_the_labels_themselves_have_no_error(faces: Path, protocol: str) -> None:
    row = evaluate(
        Oracle(Hdf5PoseDataset(faces), protocol), protocol, EvaluationOptions(file=faces, progress=False)
    ).row()
    assert row["n"] == len(aflw_rows(Hdf5PoseDataset(faces)))
    for key in ("mae", "geodesic", "maev", "xy", "size", "nme3d", "nme2d"):
        assert row[key] == pytest.approx(0.0, abs=0.02), key


@pytest.fixture(scope="module")
def pattern(faces: Path) -> Path:
    """Shards with the rows of the faces, in their order."""
    rows = np.split(np.arange(70), (24, 48))  # where no person is cut
    for number, part in enumerate(rows):
        write_samples(shard_path(faces, number, 3), Hdf5PoseDataset(faces).stream(part.tolist(), exact=True))
    return faces.with_name("aflw2k-*.h5")


@pytest.mark.parametrize("option", ["--ds", "--data"])
def test_shards_are_evaluated_as_one_file(
    faces: Path, pattern: Path, checkpoint: Path, tmp_path: Path, option: str
) -> None:
    said = []
    for path in (faces, pattern):
        out = {name: tmp_path / f"{path.stem.rstrip('-*')}.{name}" for name in ("json", "csv", "predictions", "html")}
        run_script(
            "evaluate_pose_network.py", checkpoint, option, path, "--json", out["json"], "--csv", out["csv"],
            "--predictions", out["predictions"], "--report", out["html"], "--workers", 0, "--overwrite",
        )  # fmt: skip
        (row,) = json.loads(out["json"].read_text())
        said.append((row | {"protocol": ""}, out["predictions"].read_text().replace(str(path), "")))
        assert out["html"].stat().st_size > 10_000
    assert said[0] == said[1]
    assert said[0][0]["n"] == 70 if option == "--ds" else said[0][0]["n"] > 0


def test_a_constant_turn_is_measured(faces: Path) -> None:
    oracle = Oracle(Hdf5PoseDataset(faces), "aflw2k3d", turn=7.0)
    assert evaluate(oracle, "aflw2k3d", EvaluationOptions(file=faces, progress=False)).row()[
        "geodesic"
    ] == pytest.approx(7.0, abs=1e-3)


def test_checkpoint_file_and_ensemble_of_one_agree(faces: Path, checkpoint: Path) -> None:
    onnx = checkpoint.with_suffix(".onnx")
    export_full(*load_network(checkpoint)[:1], onnx, About())
    predictors = [load_predictor(checkpoint), load_predictor(onnx), Ensemble([load_predictor(checkpoint)])]
    options = EvaluationOptions(file=faces, progress=False)
    rows = [evaluate(p, "aflw2k3d", options).row() for p in predictors]
    one_by_one = evaluate(load_predictor(checkpoint), "aflw2k3d", replace(options, workers=1)).row()
    for other in (*rows[1:], one_by_one):
        for key in ("pitch", "yaw", "roll", "geodesic", "xy", "size", "nme3d"):
            assert other[key] == pytest.approx(rows[0][key], abs=1e-3), key


def test_rows_of_models_that_saw_the_images_are_marked(
    faces: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(tmp_path / "seen.ckpt", load_network(checkpoint)[0], About(training_files=["aflw2k.h5"]))
    options = EvaluationOptions(file=faces, progress=False, factor=1.3)
    result = evaluate(load_predictor(tmp_path / "seen.ckpt"), "aflw2k3d", options)
    assert result.row()["marks"] == ["trained on these images", "other crop factor than the protocol's"]
    text = format_table([result.row()])
    assert "seen.ckpt*,**" in text
    assert "* trained on these images" in text
    assert "seen.ckpt: doesn't say what it was trained or selected on" in text
    write_csv([result.row()], tmp_path / "rows.csv")
    asked = Mock(wraps=metrics.geodesic_errors)
    monkeypatch.setattr(metrics, "geodesic_errors", asked)
    write_predictions([result], tmp_path / "images.csv")
    assert asked.call_count == 1  # not once a row: that of 122,450 rows would take an hour
    assert len((tmp_path / "images.csv").read_text().splitlines()) == 1 + len(result.rows)


@pytest.mark.parametrize(
    ("about", "marks"),
    [
        (About(trained_on=["aflw2k"]), ["trained on these images"]),
        (About(trained_on=["300wlp"], selected_on=["aflw2k"]), ["selected on these images"]),  # on its rows 0…399
        (About(trained_on=["300wlp"], selected_on=["300wlp", "wflw"]), []),
        (About(trained_on=["mine"], selected_on=["mine"]), ["trained on these images", "selected on these images"]),
        (About(trained_on=["aflw2k_closedeyes"]), ["trained on these images"]),
        (About(trained_on=["long gone"]), []),
    ],
)
def test_marks_follow_from_what_checkpoints_and_their_exports_say(
    faces: Path, checkpoint: Path, tmp_path: Path, about: About, marks: list[str]
) -> None:
    (tmp_path / "my.toml").write_text('[mine]\nfile = "aflw2k.h5"\nlabels = ["pose"]\n')
    network = load_network(checkpoint)[0]
    save_network(tmp_path / "a.ckpt", network, about)
    one, other = load_predictor(tmp_path / "a.ckpt"), load_predictor(tmp_path / "a.ckpt")
    other.about = metadata(network, about)  # of exported files
    options = EvaluationOptions(file=faces, progress=False, catalog=tmp_path / "my.toml")
    for predictor in (one, other, Ensemble([load_predictor(checkpoint), one])):
        assert evaluate(predictor, "aflw2k3d-landmarks", options).row()["marks"] == marks


def test_an_ensemble_claims_no_more_than_all_its_models(checkpoint: Path, tmp_path: Path) -> None:
    """Neither origins that one doesn't tell, nor landmarks that one doesn't give."""
    save_network(tmp_path / "known.ckpt", load_network(checkpoint)[0], About(trained_on=["300wlp"]))
    one, other = load_predictor(tmp_path / "known.ckpt"), load_predictor(tmp_path / "known.ckpt")
    other.name, other.about = "other", {}
    about, images = Ensemble([one, other]).about, torch.rand(2, one.channels, one.input_size, one.input_size) - 0.5
    assert about["trained_on"] == ["300wlp", "what other does not say"]
    assert about["selected_on"] == ["what other does not say"]
    assert Ensemble([one, other]).predict(images).landmarks is not None
    answer = one.predict(images)
    other.predict = lambda _: replace(answer, landmarks=None)  # type: ignore[assignment,method-assign]
    assert Ensemble([one, other]).predict(images).landmarks is None
    assert Ensemble([one, other]).predict(images).head is not None


@pytest.mark.slow
def test_marks_of_training_are_made_by_training(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that validates on rows of the file that is evaluated afterwards, from the script's arguments on."""
    monkeypatch.setenv("DATADIR", str(faces.parent))
    catalog = tmp_path / "c.toml"
    catalog.write_text(f'[other]\nfile = "{faces}"\nlabels = ["pose"]\nrows = [40]\nvalidation_rows = [0, 30]\n')
    run_script(
        "train_poseestimator.py", "--ds", "other", "--val", "other", "--catalog", catalog, "--outdir", tmp_path / "run",
        "--backbone", "repvgg_az", "--width", 0.25, "--input-size", 33, "--augmentation", "none", "-e", 1, "-b", 16,
        "--samples-per-epoch", 32, "--workers", 0, "--no-onnx", "--no-save-plot", "--no-tensorboard",
    )  # fmt: skip
    options = EvaluationOptions(catalog=catalog, progress=False)
    rows = [
        evaluate(load_predictor(tmp_path / "run" / f"{name}.ckpt"), "aflw2k3d-landmarks", options).row()
        for name in ("best", "last")
    ]
    assert rows[0]["marks"] == ["trained on these images", "selected on these images"]
    assert rows[1]["marks"] == ["trained on these images"]
    text = format_table(rows)
    assert "best.ckpt*,**" in text
    assert f"{rows[0]['model']}: trained on other, selected on other\n" in text
    assert f"{rows[1]['model']}: trained on other, selected on no data set\n" in text
    assert "** selected on these images" in text


def test_any_file_and_any_data_set_of_the_catalog_is_evaluated(
    faces: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    named = tmp_path / DATASETS["repro_300_wlp"].file
    named.write_bytes(faces.read_bytes())
    options = EvaluationOptions(progress=False)
    rows = [evaluate(load_predictor(checkpoint), name, options).row() for name in ("repro_300_wlp", str(named))]
    for row in rows:
        assert row["n"] == 70
        assert (row["box"], row["labels"]) == ("the file's", "the file's")
        assert None not in (row["xy"], row["size"], row["nme3d"])
    assert rows[0]["mae"] == rows[1]["mae"]
    assert rows[0]["protocol"] == "repro_300_wlp"


def test_without_heads_only_rotations_are_compared(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    path = lean(faces, tmp_path / "own.h5", head=None, landmarks=None, shape=None)
    result = evaluate(load_predictor(checkpoint), str(path), EvaluationOptions(progress=False))
    row = result.row()
    assert row["n"] == 70
    assert row["geodesic"] > 0
    assert {row[key] for key in ("xy", "size", "nme3d", "nme2d")} == {None}
    write_predictions([result], tmp_path / "faces.csv")
    assert "nan" not in (tmp_path / "faces.csv").read_text()
    assert len(result_sections([result])) == 4


def test_faces_without_a_box_are_left_out_and_counted(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    path = lean(faces, tmp_path / "own.h5", face_box=lambda row, box: box + np.float32(np.nan if row < 5 else 0))
    row = evaluate(load_predictor(checkpoint), str(path), EvaluationOptions(progress=False)).row()
    assert (row["n"], row["box"]) == (65, "the file's, 5 faces without one left out")


def test_without_rotations_one_line_says_so(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    path = lean(faces, tmp_path / "own.h5", rotation=None)
    with pytest.raises(EvaluationError, match=r"own\.h5: has no rotation labels, so poses can't be evaluated on it"):
        evaluate(load_predictor(checkpoint), str(path), EvaluationOptions(progress=False))


@pytest.mark.slow
def test_the_released_model_has_its_published_errors(shared_data: Path, tmp_path: Path) -> None:
    """3.395° and 5.434° on the 1,584 real images; the box is the landmarks' × 1.1."""
    from trackertraincode.conversion import aflw2k
    from trackertraincode.conversion.run import ConvertOptions, run_converter

    archive, path = shared_data / "aflw2000" / "AFLW2000-3D.zip", tmp_path / "aflw2k.h5"
    run_converter(
        ConvertOptions(source=archive, destination=path, workers=2),
        "dsprocess_aflw2k",
        aflw2k.make_source(archive, None),
    )
    model = load_predictor(shared_data / "opentrack" / "head-pose-0.4-small-int8.onnx")
    row = evaluate(model, "aflw2k3d-landmarks", EvaluationOptions(file=path, workers=2, progress=False)).row()
    assert row["n"] == 1584
    assert row["mae"] == pytest.approx(3.395, abs=0.01)
    assert row["geodesic"] == pytest.approx(5.434, abs=0.01)


def test_depth_that_a_file_lacks_has_no_error(faces: Path, tmp_path: Path) -> None:
    """z is 0 there, which compared with a model's would be an error of its own."""
    flat = list(Hdf5PoseDataset(faces))
    for sample in flat:
        assert sample.landmarks is not None
        sample.landmarks[:, 2] = 0
    path = write_samples(tmp_path / "flat.h5", flat)
    oracle = Oracle(Hdf5PoseDataset(faces), "aflw2k3d-landmarks")
    row = evaluate(oracle, "aflw2k3d-landmarks", EvaluationOptions(file=path, progress=False)).row()
    assert row["nme3d"] is None
    assert row["nme2d"] == pytest.approx(0, abs=0.01)


def test_more_workers_than_cores_are_the_users_choice(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    options = EvaluationOptions(file=faces, progress=False, workers=2)
    assert evaluate(Oracle(Hdf5PoseDataset(faces), "aflw2k3d"), "aflw2k3d", options).row()["n"] == 70


@pytest.mark.skipif(os.name == "nt", reason="workers are forked here")
def test_a_killed_worker_is_one_line(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cutting, "crops", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    oracle = Oracle(Hdf5PoseDataset(faces), "aflw2k3d")
    with pytest.raises(WorkerError, match="a worker process died"):
        evaluate(oracle, "aflw2k3d", EvaluationOptions(file=faces, progress=False, workers=1))


def test_an_onnx_file_is_evaluated_without_what_builds_networks(faces: Path) -> None:
    """timm, torchvision and lightning take as long to import as the rest of a small evaluation."""
    program = "import sys; from trackertraincode.commands import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", program, "evaluate", "default", "--ds", str(faces), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "onnxruntime" in loaded
    assert not loaded & {"timm", "torchvision", "lightning", "kornia", "matplotlib", "onnx"}
