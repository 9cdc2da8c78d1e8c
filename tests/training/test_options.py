"""The command line, recipes and resuming agree on one table of options."""

from pathlib import Path

import pytest

from trackertraincode.errors import ConfigError
from trackertraincode.training.config import TrainConfig
from trackertraincode.training.options import RECIPES, parse_options, read_recipe, read_toml, write_toml
from trackertraincode.training.schedule import cosine, in_swa_phase, nll_rampup, steps

PUBLISHED = (
    "--lr 1e-3 --epochs 2 --ds repro_300_wlp+wflw_lp --batchsize 32 --with-swa --with-nll-loss --rampup-nll-losses "
    "--backbone resnet18 --no-onnx --roi-override landmarks --no-blurpool --no-imgaug --no-pointhead --raug 20 --save-plot "
    "--outdir here --ds-weighting"
)


def test_every_published_option_is_there() -> None:
    config = parse_options(PUBLISHED.split(), None).config
    assert (config.onnx, config.pointhead, config.intensity, config.raug) == (False, False, "none", 20.0)
    assert config.with_swa


def test_defaults_are_the_published_recipe() -> None:
    config = parse_options([], None).config
    assert config == TrainConfig()
    assert (config.epochs, config.batchsize, config.lr, config.samples_per_epoch) == (1500, 64, 1e-3, 10240)
    assert (config.gradient_clip, config.raug, config.val_fraction, config.optimizer) == (1.0, 30.0, 0.02, "adam")


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_recipes_are_valid(name: str) -> None:
    TrainConfig(**read_recipe(name))


def test_options_change_a_recipe() -> None:
    config = parse_options(["--recipe", "sixd", "--epochs", "5"], None).config
    assert (config.epochs, config.rgb, config.input_size, config.rotation_loss) == (5, True, 224, "geodesic")


def test_resolved_options_come_back_from_their_file(tmp_path: Path) -> None:
    config = parse_options([*PUBLISHED.split(), "--catalog", 'odd "name".toml'], None).config
    write_toml(config, tmp_path / "config.toml")
    assert TrainConfig(**read_toml(tmp_path / "config.toml")) == config


def test_resume_takes_the_options_of_the_run(tmp_path: Path) -> None:
    write_toml(TrainConfig(epochs=7, outdir=tmp_path), tmp_path / "config.toml")
    request = parse_options(["--resume", "--outdir", str(tmp_path), "--workers", "3"], None)
    assert (request.resume, request.config.epochs, request.config.workers) == (True, 7, 3)
    with pytest.raises(ConfigError, match="epochs was 7 there, not 8"):
        parse_options(["--resume", "--outdir", str(tmp_path), "--epochs", "8"], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "epochs=0: expected a number at least 1"),
        (["--backbone", "resnet"], "backbone='resnet' is unknown; choose timm:NAME or one of: resnet18"),
        (["--recipe", "sixt"], "recipe 'sixt' is unknown; choose one of sixd"),
        (["--rampup-nll-losses"], "add --with-nll-loss"),
        (["--resume"], "--resume needs --outdir"),
        (["--batchsize", "10", "--devices", "4", "--outdir", "x"], "can't be split evenly over 4"),
        (["--extra", "cutuot"], "extra 'cutuot' is unknown; choose among cutout"),
        (["--best", "nothing"], "best='nothing': choose one of"),
    ],
)
def test_wrong_values_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_options(arguments, None)


def test_a_typo_is_answered_with_the_nearest_option(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_options(["--epoch", "3"], None)
    assert stopped.value.code == 2
    assert "did you mean --epochs?" in capsys.readouterr().err


def test_published_schedule() -> None:
    factors = [steps(epoch, 30) for epoch in range(30)]
    assert factors[:4] == pytest.approx([0.01, 0.01 ** (2 / 3), 0.01 ** (1 / 3), 1.0])
    assert factors[14:16] == pytest.approx([1.0, 0.1])
    assert [epoch for epoch in range(30) if in_swa_phase(epoch, 30)] == list(range(20, 30))
    assert [nll_rampup(epoch, 10) for epoch in range(4)] == pytest.approx([0.0, 0.0, 1.0, 1.0])
    assert cosine(29, 30) < 0.02
