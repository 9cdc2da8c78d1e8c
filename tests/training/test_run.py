"""Runs leave what they promise, can be repeated and resumed exactly, and say what is wrong."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import onnx
import pytest
import torch
from constant_onnx import build_model
from fake_devices import small_network

from close import known
from conftest import run_script
from trackertraincode.augmentation import batches as batches_module
from trackertraincode.errors import CatalogError, ConfigError
from trackertraincode.evaluation import predictor as predictor_module
from trackertraincode.evaluation.predictor import load_predictor
from trackertraincode.losses.objective import TERMS
from trackertraincode.models import onnx_model
from trackertraincode.models.about import without_folders
from trackertraincode.models.checkpoint import load_network
from trackertraincode.sample.sample import blank_batch
from trackertraincode.training import module
from trackertraincode.training import run as run_module
from trackertraincode.training.callbacks.averaging import StochasticWeightAverage
from trackertraincode.training.callbacks.guard import TrainingDiverged
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.objective import LossOptions, make_objective
from trackertraincode.training.options import read_toml

Run = Callable[..., Path]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_network(path)[0].state_dict()


def same(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_run_leaves_everything_that_it_promises(run: Run, capsys: pytest.CaptureFixture) -> None:
    out = run(
        with_swa=True,
        with_nll_loss=True,
        onnx=True,
        save_plot=True,
        tensorboard=True,
        draw_every=3,
        epochs=3,
        precision="auto",
    )
    names = {path.name for path in out.iterdir()}
    expected = {"config.toml", "environment.json", "metrics.csv", "train.pdf", "tensorboard", "images", "resume.ckpt"}
    models = {f"{name}{suffix}" for name in ("last", "best", "swa") for suffix in (".ckpt", ".onnx")}
    assert names >= expected | models
    environment = json.loads((out / "environment.json").read_text())
    assert environment["libraries"]["torch"]
    assert environment["data"][0]["file"].endswith("300wlp.h5")
    assert environment["validated_on"] == {"300wlp": 20}
    assert read_toml(out / "config.toml")["epochs"] == 3
    assert read_toml(out / "config.toml")["precision"] == "32"  # what auto stood for
    rows = read_metrics(out / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"train/loss", "train/rotation", "val/geodesic", "val/mae", "lr", "samples_per_s"} <= set(rows[0])
    _, about = load_network(out / "swa.ckpt")
    assert about.trained_on == ["300wlp"]
    assert about.recipe["lr"] == 1e-3
    image = torch.rand(3, 1, 33, 33) - 0.5
    answers = [load_predictor(out / f"swa{suffix}").predict(image) for suffix in (".ckpt", ".onnx")]
    assert torch.allclose(answers[1].rotation, answers[0].rotation, atol=1e-4)
    assert torch.allclose(known(answers[1].head_tril), known(answers[0].head_tril), atol=1e-4)
    said = capsys.readouterr().out
    assert "last: uncertainties scaled, not one, since fewer than 50 faces with labels validate" in said
    assert re.search(
        r"swa\.onnx: differs from the network by \d\.\de-\d\d \(limit 0\.0001\) on random images and 16 faces", said
    )


def test_the_same_seed_gives_the_same_weights(run: Run) -> None:
    first, second, other = run("a"), run("b", workers=1), run("c", seed=1)
    assert same(first / "last.ckpt", second / "last.ckpt")
    assert not same(first / "last.ckpt", other / "last.ckpt")


def test_a_stopped_run_goes_on_to_the_same_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of an epoch, as by kill -9, after which only the files are left."""
    options: dict = {"with_swa": True, "ema": 0.9, "epochs": 4, "neck_dropout": 0.3}
    whole = run("whole", **options)

    class Killed(BaseException):
        pass

    step = run_module.PoseTraining.training_step
    counter = iter(range(100))

    def stop_in_third_epoch(self, batch, batch_idx):
        if next(counter) == 5:
            raise Killed
        return step(self, batch, batch_idx)

    monkeypatch.setattr(run_module.PoseTraining, "training_step", stop_in_third_epoch)
    with pytest.raises(Killed):
        run("parts", **options)
    monkeypatch.setattr(run_module.PoseTraining, "training_step", step)
    parts = run("parts", resume=True, **options)
    for name in ("last", "swa", "ema", "best"):
        assert same(whole / f"{name}.ckpt", parts / f"{name}.ckpt"), name
    losses = [[row["train/loss"] for row in read_metrics(out / "metrics.csv")] for out in (whole, parts)]
    assert losses[0] == losses[1]


def test_a_folder_with_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"run: is not empty; choose another --outdir"):
        run()


def test_missing_data_stops_before_anything_is_made(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"wflw_augmented_v4\.h5 is missing"):
        run(ds="300wlp+wflw_lp")


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"epoch \d, step \d: the loss is not finite"):
        run(lr=1e30, epochs=4)
    assert (tmp_path / "run" / "nan_batch.pt").is_file()


def test_training_lowers_the_error(run: Run) -> None:
    out = run(epochs=16, samples_per_epoch=96, crop="tight", raug=0.0, lr=3e-3, schedule="constant", width=1.0)
    rows = read_metrics(out / "metrics.csv")
    assert rows[-1]["train/loss"] < 0.6 * rows[0]["train/loss"]


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("outdir", Path("home") / "me" / "runs" / "first", "first"),
        ("catalog", None, None),
        ("pretrained", "timm", "timm"),
        ("pretrained", "/home/me/a.ckpt", "a.ckpt"),
        ("teachers", r"C:\me\a.onnx + b/c.onnx", "a.onnx+c.onnx"),
        ("teachers", "", ""),
        ("lr", 1e-3, 1e-3),
    ],
)
def test_models_do_not_tell_where_files_lie(key: str, value: object, kept: object) -> None:
    assert without_folders(key, value) == kept


@pytest.mark.parametrize("cache", ["ram", "device"])
def test_faces_are_decoded_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str) -> None:
    decoded, decode = [], batches_module.warp_planned

    def note(*arguments: Any, **options: Any) -> Any:
        decoded.append(arguments)
        return decode(*arguments, **options)

    monkeypatch.setattr(batches_module, "warp_planned", note)
    folder = tmp_path / "crops"
    out = run(epochs=2, cache=cache, cache_dir=folder, validate_every="2")
    assert len(decoded) == 20  # the rows that validate, once
    assert len(read_metrics(out / "metrics.csv")) == 2
    assert [path.suffix for path in folder.iterdir()] == [".crops"]


def test_crops_made_on_the_device_have_no_extras_of_the_cpu(run: Run) -> None:
    with pytest.raises(ConfigError, match="--extra jpeg works on the CPU; choose --cache ram"):
        run(cache="device", extra="jpeg")


def test_one_budget_gives_one_curve_however_it_is_cut_into_epochs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning rates, the ramp of the likelihoods, and after which steps weights are averaged."""
    seen: list[tuple] = []
    step = run_module.PoseTraining.training_step
    average = StochasticWeightAverage.add

    def note(name: str, function: Callable, values: Callable) -> Callable:
        def noted(self, *arguments, **options):
            seen.append((name, *values(self, *arguments)))
            return function(self, *arguments, **options)

        return noted

    monkeypatch.setattr(
        run_module.PoseTraining,
        "training_step",
        note("lr", step, lambda self, *_: [group["lr"] for group in self.trainer.optimizers[0].param_groups]),
    )
    monkeypatch.setattr(module, "rampup", note("ramp", module.rampup, lambda period, _: [period]))
    monkeypatch.setattr(StochasticWeightAverage, "add", note("swa", average, lambda self, module: []))
    curves = []
    for epochs, samples in ((2, 96), (3, 64), (12, 16)):
        seen.clear()
        run(f"in {epochs}", epochs=epochs, samples_per_epoch=samples, with_swa=True, with_nll_loss=True,
            rampup_nll_losses=True, val="aflw2k", catalog=None, calibrate=False)  # fmt: skip
        curves.append([entry for entry in seen if entry[0] != "ramp"])
        assert {entry[1] for entry in seen if entry[0] == "ramp"} == {k * 125 for k in range(12)}
    assert curves[0] == curves[1] == curves[2]
    assert [entry[0] for entry in curves[0]].count("swa") == 4  # of 12 steps, the last third


def test_pretrained_weights_are_taken_where_they_fit(run: Run, capsys: pytest.CaptureFixture) -> None:
    first = run("first", epochs=1)
    run("second", epochs=1, pretrained=str(first / "last.ckpt"), enable_6drot=True)
    assert "tensors start from" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="is another network than --backbone resnet18"):
        run("third", epochs=1, pretrained=str(first / "last.ckpt"), backbone="resnet18", width=0.125)


@pytest.mark.parametrize(
    "options",
    [
        {"enable_6drot": True, "rotation_loss": "geodesic", "pointhead": False, "crop": "loose", "extra": "blur"},
        {"rgb": True, "augmentation": "none", "crop": "mixed", "gradient_clip": 0.0},
        {"augmentation": "kornia", "extra": "plugin_brightness+cutout+jpeg", "optimizer": "adamw", "schedule": "cosine"},
        {"backbone": "hybrid_vit", "width": 0.25, "with_nll_loss": True, "rampup_nll_losses": True},
        {"ds": "300wlp:3+aflw2k:1", "ds_offsets": True, "ds_weighting": True, "val": "300wlp", "blurpool": True,
         "backbone": "mobilenetv1", "width": 0.125, "catalog": "all_rows"},
        {"freeze_batchnorm": True, "precision": "bf16", "scale_lr": True, "channels_last": False},
    ],
)  # fmt: skip
def test_options_train_and_can_be_loaded(run: Run, options: dict, tmp_path: Path) -> None:
    if options.get("catalog"):  # 40 rows are fewer than the catalog's split needs
        path = tmp_path / "catalog.toml"
        path.write_text("[aflw2k]\nrows = [0]\nvalidation_rows = [0, 8]\n")
        options = options | {"catalog": path}
    out = run(epochs=2, **options)
    prediction = load_predictor(out / "last.ckpt").predict(torch.rand(2, 3 if options.get("rgb") else 1, 33, 33) - 0.5)
    assert torch.isfinite(prediction.rotation).all()


def test_plugin_brightness_is_of_grey_crops() -> None:
    with pytest.raises(ConfigError, match="extra=plugin_brightness is of grey crops, and rgb trains on colour"):
        TrainConfig.of(extra="plugin_brightness", rgb=True)


def test_a_set_without_any_of_its_labels_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    """It would train nothing, with a loss of 0; unlabelled faces are for teachers and consistency."""
    with h5py.File(tmp_path / "bare.h5", "w") as file, h5py.File(Path(os.environ["DATADIR"]) / "300wlp.h5") as whole:
        for name in ("images", "rois"):
            whole.copy(name, file)
        file.attrs.update(whole.attrs)
    (tmp_path / "bare.toml").write_text(f'[bare]\nfile = "{(tmp_path / "bare.h5").as_posix()}"\nlabels = ["pose"]\n')
    options: dict = {"ds": "bare", "catalog": tmp_path / "bare.toml", "epochs": 1}
    with pytest.raises(CatalogError, match=r"bare\.h5 has none of its labels \(head, rotation\) in .* train nothing"):
        run(**options)
    assert not (tmp_path / "run").exists()
    assert read_metrics(run(**options, consistency=1.0) / "metrics.csv")[0]["train/loss"] > 0


def test_teachers_weigh_as_the_labels_of_the_run_do(tmp_path: Path) -> None:
    """Rows by their data set's weight, terms by [loss_weights]; --no-roi-train teaches no boxes."""
    onnx.save(build_model(input_shape=(1, 1, 33, 33)), tmp_path / "teacher.onnx")
    network, batch = small_network().eval(), blank_batch((4, 1, 33, 33), "cpu")

    def taught(weight: float = 1.0, **options: Any) -> float:
        chosen = LossOptions(teachers=str(tmp_path / "teacher.onnx"), teacher_weight=1.0, **options)
        weighted = replace(batch, weight=torch.full_like(batch.weight, weight))
        return make_objective(chosen, network.config)(network(batch.image), weighted)[1]["teachers"].item()

    whole = taught()
    assert taught(2.0) == pytest.approx(2 * whole)
    assert taught(roi_train=False) < whole
    silent = dict.fromkeys(("rotation", "xy", "size", "box"), 0.0)
    assert taught(loss_weights=silent) == 0
    parts = [taught(loss_weights=silent | {name: TERMS[name].weight}) for name in silent]
    assert sum(parts) == pytest.approx(whole)


def test_teachers_are_learned_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one session and one pool of threads each, whatever the number of steps."""
    first = run("teacher", epochs=1, onnx=True)
    made, asked = list[str](), list[str]()

    def note(owner: Any, name: str, notes: list[str]) -> None:
        function = getattr(owner, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            notes.append(name)
            return function(*arguments, **more)

        monkeypatch.setattr(owner, name, noted)

    note(onnx_model, "open_session", made)
    note(predictor_module, "ThreadPoolExecutor", made)
    note(predictor_module.OnnxPredictor, "predict", asked)
    out = run("student", epochs=1, teachers=str(first / "last.onnx"))
    assert read_metrics(out / "metrics.csv")[0]["train/teachers"] > 0
    assert len(asked) >= 4, "steps and validation batches"
    assert made == ["open_session", "ThreadPoolExecutor"]
    with pytest.raises(ConfigError, match=r"takes 1 × 33² crops, the network to be trained 1 × 65²"):
        run("other", epochs=1, teachers=str(first / "last.onnx"), input_size=65)


@pytest.mark.slow
def test_the_published_options_train_together(faces: Path, tmp_path: Path) -> None:
    words = (
        "--lr 1e-3 --epochs 2 --ds 300wlp:92 --batchsize 16 --with-swa --with-nll-loss --rampup-nll-losses "
        "--backbone mobilenetv1 --no-onnx --roi-override landmarks --no-blurpool --no-imgaug --no-pointhead --raug 20 "
        "--save-plot --ds-weighting --width 0.25 --input-size 33 --samples-per-epoch 32 --device cpu --no-tensorboard"
    )
    text = run_script(
        "train_poseestimator.py", *words.split(), "--outdir", tmp_path / "run", DATADIR=str(faces), NUM_WORKERS="0"
    )
    assert "epoch 2/2" in text
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"last.ckpt", "best.ckpt", "swa.ckpt", "train.pdf", "config.toml"}
    assert not any(name.endswith(".onnx") for name in names)
    network, about = load_network(tmp_path / "run" / "swa.ckpt")
    assert (network.config.landmarks, network.config.uncertainty, about.recipe["raug"]) == (False, True, 20.0)
