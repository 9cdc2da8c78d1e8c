"""The command line, recipes and resuming agree on one table of options."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trackertraincode.augmentation.presets import CROPS
from trackertraincode.commands import parse
from trackertraincode.errors import ConfigError, UserError
from trackertraincode.losses.objective import make_terms
from trackertraincode.losses.shape_prior import ShapePrior
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.optimisation import AUTO_BATCH
from trackertraincode.training.options import RECIPES, TrainRequest, read_options, read_recipe, read_toml, write_toml
from trackertraincode.training.schedule import cosine, in_swa_phase, period_of, rampup, steps

PUBLISHED = (
    "--lr 1e-3 --epochs 2 --ds repro_300_wlp+wflw_lp --batchsize 32 --with-swa --with-nll-loss --rampup-nll-losses "
    "--backbone resnet18 --no-onnx --roi-override landmarks --no-blurpool --no-imgaug --no-pointhead --raug 20 --save-plot "
    "--outdir here --ds-weighting"
)


def parse_options(words: list[str]) -> TrainRequest:
    return read_options(parse(["train", *words])[1])


def test_every_published_option_is_there() -> None:
    config = parse_options(PUBLISHED.split()).config
    assert (config.output.onnx, config.network.landmarks, config.augmentation.raug) == (False, False, 20.0)
    assert config.augmentation.intensity == "none"
    assert config.optimisation.with_swa


def test_defaults_are_the_published_recipe() -> None:
    config = parse_options([]).config
    assert config == TrainConfig()
    flat = config.flat()
    values = ("epochs", "batchsize", "lr", "samples_per_epoch", "gradient_clip", "raug", "val_fraction", "optimizer")
    assert [flat[name] for name in values] == [1500, 64, 1e-3, 10240, 1.0, 30.0, 0.02, "adam"]


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_recipes_are_valid(name: str) -> None:
    TrainConfig.of(**read_recipe(name))


def test_options_change_a_recipe() -> None:
    config = parse_options(["--recipe", "sixd", "--epochs", "5"]).config
    assert (config.optimisation.epochs, config.losses.rotation_loss) == (5, "geodesic")
    assert (config.network.channels, config.network.input_size, config.network.rotation) == (3, 224, "sixd")


def test_resolved_options_come_back_from_their_file(tmp_path: Path) -> None:
    config = parse_options([*PUBLISHED.split(), "--catalog", 'odd "name".toml']).config
    write_toml(config, tmp_path / "config.toml")
    assert TrainConfig.of(**read_toml(tmp_path / "config.toml")) == config


@pytest.mark.parametrize(
    ("words", "batchsize", "channels_last"),
    [
        ([], 64, "auto"),
        (["--batchsize", "auto", "--channels-last"], AUTO_BATCH, "yes"),
        (["-b", "96", "--no-channels-last"], 96, "no"),
        (["--channels-last", "auto"], 64, "auto"),
    ],
)
def test_words_stand_for_numbers_and_switches(
    words: list[str], batchsize: int, channels_last: str, tmp_path: Path
) -> None:
    config = parse_options(words).config
    assert (config.optimisation.batchsize, config.machine.channels_last) == (batchsize, channels_last)
    write_toml(config, tmp_path / "config.toml")
    assert TrainConfig.of(**read_toml(tmp_path / "config.toml")) == config
    old = tmp_path / "old.toml"
    old.write_text("channels_last = false\nbatchsize = 'auto'")
    assert read_toml(old) == {"channels_last": "no", "batchsize": AUTO_BATCH}


TABLES = """
[crop]
preset = "tight"
shift_std = 0.3
looseness = [0.1, 0.2]
[loss_weights]
box = 0.5
shape_prior = 0
"""


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file"):
        read_recipe(str(tmp_path / "gone.toml"))


def test_a_recipe_sets_jitter_and_loss_weights(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TABLES)
    config = parse_options(["--recipe", str(tmp_path / "mine.toml"), "--raug", "5"]).config
    geometry = config.augmentation.training_preset().geometry
    assert geometry == replace(CROPS["tight"], shift_std=0.3, looseness=(0.1, 0.2), rotation=5.0)
    terms = make_terms(
        weights=config.losses.loss_weights, shape_prior=ShapePrior(np.ones(1), np.zeros((1, 50)), np.ones((1, 50)))
    )
    assert (terms["box"].weight, terms["shape_prior"].weight, terms["xy"].weight) == (0.5, 0.0, 0.25)
    write_toml(config, tmp_path / "config.toml")
    assert TrainConfig.of(**read_toml(tmp_path / "config.toml")) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[crop]\nshift_sdt = 1", r"mine\.toml: \[crop\] unknown option 'shift_sdt'; did you mean 'shift_std'"),
        (
            "[crop]\nfactor_range = [2, 1]",
            r"\[crop\] option 'factor_range' is \[2, 1\], expected two numbers, the lower",
        ),
        ("[crop]\nmirror = 2", "mirror=2.0: expected a number at most 1.0"),
        ("[crop]\npreset = 'wide'", "crop='wide': choose one of"),
        ("[loss_weights]\nboxes = 1", "unknown option 'boxes'; did you mean 'box'"),
        ("[loss_weights]\nbox = -1", r"\[loss_weights\] box=-1.0: expected a number at least 0"),
        ("loss_weights = 3", r"'loss_weights' is 3, expected a table \[loss_weights\]"),
        ("[epochs]\nx = 1", r"option 'epochs' is \{'x': 1\}, expected a whole number"),
        ("lr = nan", "lr=nan: expected a number above 0.0"),
        ("lr = inf", "lr=inf: expected a finite number"),
        (f"lr = 1{'0' * 400}", r"mine\.toml: not a TOML file \(a whole number has more than 64 bits"),
        (f"lr = 1{'0' * 6000}", r"mine\.toml: not a TOML file"),
        (f"epochs = 0x{'f' * 9000}", r"mine\.toml: not a TOML file \(a whole number has more than 64 bits"),
        ('outdir = "a\\u0000b"', r"mine\.toml: not a TOML file \(a text has a zero byte"),
        (f"epochs = -1{'0' * 400}", r"mine\.toml: not a TOML file \(a whole number has more"),
    ],
)
def test_mistakes_in_recipes_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        parse_options(["--recipe", str(tmp_path / "mine.toml")])


def test_seeds_that_numpy_cannot_take_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("seed = 4294967296\n")
    with pytest.raises(ConfigError, match="seed=4294967296: expected a number at most 4294967295"):
        parse_options(["--recipe", str(tmp_path / "a.toml")])


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
@pytest.mark.parametrize("option", ["--outdir", "--catalog", "--pretrained", "--face-model"])
def test_paths_that_are_not_utf8_are_named_before_anything_begins(option: str) -> None:
    with pytest.raises(UserError, match="caf\udce9: has a name that isn't UTF-8"):
        parse_options([option, "caf\udce9"])


def test_a_file_may_begin_with_the_mark_that_windows_writes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = 3\n", encoding="utf-8-sig")
    assert read_recipe(str(tmp_path / "mine.toml")) == {"epochs": 3}


def test_a_resumed_run_may_ask_another_scheduler(tmp_path: Path) -> None:
    """Each job has its own."""
    write_toml(TrainConfig.of(outdir=tmp_path, scheduler="tcp://gone:8786", cache="disk"), tmp_path / "config.toml")
    request = parse_options(["--resume", "--outdir", str(tmp_path), "--scheduler", "tcp://here:8786"])
    assert request.config.data.scheduler == "tcp://here:8786"


def test_resume_takes_the_options_of_the_run(tmp_path: Path) -> None:
    write_toml(TrainConfig.of(epochs=7, outdir=tmp_path, precision="32"), tmp_path / "config.toml")
    request = parse_options(["--resume", "--outdir", str(tmp_path), "--workers", "3"])
    assert (request.resume, request.config.optimisation.epochs, request.config.data.workers) == (True, 7, 3)
    with pytest.raises(ConfigError, match="epochs was 7 there, not 8"):
        parse_options(["--resume", "--outdir", str(tmp_path), "--epochs", "8"])
    again = parse_options(["--resume", "--outdir", str(tmp_path), "--batchsize", "auto", "--precision", "auto"])
    assert (again.config.optimisation.batchsize, again.config.machine.precision) == (
        64,
        "32",
    )  # what it chose at its start
    with pytest.raises(ConfigError, match="--recipe sixd: --resume goes on with a run as it was started"):
        parse_options(["--resume", "--outdir", str(tmp_path), "--recipe", "sixd"])
    with pytest.raises(ConfigError, match="devices was 1 there, not 2"):  # whose batches would be others
        parse_options(["--resume", "--outdir", str(tmp_path), "--devices", "2"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "epochs=0: expected a number at least 1"),
        (["--backbone", "resnet"], "backbone='resnet' is unknown; choose timm:NAME or one of: resnet18"),
        (["--recipe", "sixt"], "recipe 'sixt' is unknown; choose one of sixd"),
        (["--rampup-nll-losses"], "add --with-nll-loss"),
        (["--resume"], "--resume needs --outdir"),
        (["--batchsize", "10", "--devices", "4", "--outdir", "x"], "can't be split evenly over 4"),
        (["--batchsize", "1"], "batchsize=1: expected a number at least 2"),
        (["--batchsize", "auto", "--devices", "2", "--outdir", "x"], "batchsize=auto is measured on one device"),
        (["--channels-last", "perhaps"], "channels_last='perhaps': choose one of"),
        (["--extra", "cutuot"], "extra 'cutuot' is unknown; choose among cutout"),
        (["--best", "nothing"], "best='nothing': choose one of"),
    ],
)
def test_wrong_values_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_options(arguments)


def test_a_typo_is_answered_with_the_nearest_option(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_options(["--epoch", "3"])
    assert stopped.value.code == 2
    assert "did you mean --epochs?" in capsys.readouterr().err


def test_published_schedule() -> None:
    factors = [steps(epoch, 30) for epoch in range(30)]
    assert factors[:4] == pytest.approx([0.01, 0.01 ** (2 / 3), 0.01 ** (1 / 3), 1.0])
    assert factors[14:16] == pytest.approx([1.0, 0.1])
    assert [epoch for epoch in range(30) if in_swa_phase(epoch, 30)] == list(range(20, 30))
    assert [rampup(epoch, 10) for epoch in range(4)] == pytest.approx([0.0, 0.0, 1.0, 1.0])
    assert cosine(29, 30) < 0.02


def test_over_1500_epochs_the_schedule_is_the_published_one() -> None:
    """To the last bit, in the first and the last step of each epoch of 160 steps."""
    options, total = TrainConfig().optimisation, 160 * 1500
    for epoch in range(1500):
        for step in (160 * epoch, 160 * epoch + 159):
            assert period_of(step, total) == epoch
        assert options.lr_factor(epoch) == steps(epoch, 1500)
