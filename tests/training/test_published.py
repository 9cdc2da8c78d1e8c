"""The training command lines of both published pipelines train as they stand, here one step on tiny data."""

import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from trackertraincode.commands import parse
from trackertraincode.datasets.catalog import DATASETS
from trackertraincode.errors import ConfigError
from trackertraincode.training.callbacks.guard import TrainingDiverged
from trackertraincode.training.callbacks.records import Recorder, read_metrics
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import read_options
from trackertraincode.training.run import train

BASELINE = (
    '--lr 1.e-3 --epochs 1500 --ds "repro_300_wlp+lapa_megaface_lp:20000+wflw_lp" --save-plot train.pdf --with-swa '
    "--with-nll-loss --backbone mobilenetv1 --no-onnx --roi-override original --no-blurpool"
)
NEWER = '--lr 1.e-3 --epochs 1500 --ds "repro_300_wlp+lapa_megaface_lp+wflw_lp+synface" --with-swa --with-nll-loss'
COMMANDS = [
    BASELINE,
    f"{BASELINE} --no-imgaug --no-pointhead --raug 0",
    f"{NEWER} --rampup-nll-losses --backbone resnet18",
    f"{NEWER} --rampup-nll-losses --backbone hybrid_vit",
    '--ds "300wlp"',
    '--ds "300wlp:92+synface:8"',
    '--ds "repro_300_wlp_woextra" --roi-override landmarks',
    '--ds "repro_300_wlp" --no-plotting --no-roi-train --batchsize 32',
    '--ds "repro_300_wlp+lapa_megaface_lp+wflw_lp+synface" --ds-weighting --roi-override extent_to_forehead',
    '--ds "300wlp" --find-lr --epochs 200',
    "--recipe sixd --ds 300wlp --val 300wlp --backbone repvgg_a0 --pretrained none",
    "--recipe sixd --ds 300wlp --val 300wlp --backbone efficientnet_lite0 --pretrained none",
]
ONE_STEP = (
    "--epochs 1 --samples-per-epoch 8 --batchsize 8 --width 0.25 --input-size 33 --device cpu --workers 0 --no-onnx "
    "--no-tensorboard"
)


@pytest.fixture(scope="session")
def data(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the files of all data sets of the commands, the same faces in each."""
    folder = tmp_path_factory.mktemp("published")
    for name in {name for line in COMMANDS for name in DATASETS if name in line}:
        shutil.copy(faces / "300wlp.h5", folder / DATASETS[name].file)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_published_command_lines_train(line: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(data))
    read_options(parse(["train", *shlex.split(line)])[1])  # as it stands
    words = ["--no-save-plot", *shlex.split(line), *ONE_STEP.split(), "--outdir", str(tmp_path / "run")]
    train(read_options(parse(["train", *words])[1]))
    (row,) = read_metrics(tmp_path / "run" / "metrics.csv")
    assert (tmp_path / "run" / "train.pdf").is_file() == ("--save-plot" in line)
    assert ("train/box" in row) == ("--no-roi-train" not in line)
    assert (tmp_path / "run" / "swa.ckpt").is_file() == ("--with-swa" in line)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "train.pdf"),
        (["--save-plot"], "train.pdf"),
        (["--save-plot", "curves.png"], "curves.png"),
        (["--no-save-plot"], ""),
        (["--no-plotting"], ""),
    ],
)
def test_the_plot_has_the_name_that_is_given(words: list[str], expected: str) -> None:
    assert read_options(parse(["train", *words])[1]).config.output.save_plot == expected


def test_a_plot_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"save_plot='train\.doc': end the name with one of \.pdf"):
        TrainConfig.of(save_plot="train.doc")


def test_find_lr_raises_the_learning_rate_a_hundredfold() -> None:
    options = TrainConfig.of(find_lr=True).optimisation
    assert [options.lr_factor(period) for period in (0, 1499)] == pytest.approx([1.0, 100.0])


def test_a_run_that_diverged_has_curves_too(tmp_path: Path) -> None:
    """Which is how looking for the largest learning rate ends."""
    recorder = Recorder(tmp_path, plot="curves/all.png")
    recorder.load_state_dict({"rows": [{"epoch": 1, "lr": 1e-3, "train/loss": 0.5}]})
    recorder.on_exception(SimpleNamespace(is_global_zero=True), None, TrainingDiverged("not finite"))  # type: ignore[arg-type]
    assert (tmp_path / "curves" / "all.png").is_file()
