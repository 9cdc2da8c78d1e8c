"""However a training stops, it says so in one line with a true exit code, and what it has done is there."""

import argparse
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from unittest.mock import patch

import h5py
import numpy as np
import onnx
import pytest
import torch
from constant_onnx import build_model
from torch import nn
from torch.utils.data import get_worker_info

from trackertraincode.augmentation import loader
from trackertraincode.cli import Ended, describe, run_main
from trackertraincode.errors import ConfigError, ModelFileError, UserError, WorkerError
from trackertraincode.losses.shape_prior import PACKAGED
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.training import run as run_module
from trackertraincode.training.distributed import ending_after_a_step
from trackertraincode.training.module import PoseTraining
from trackertraincode.training.options import read_options
from trackertraincode.training.outdir import claimed
from trackertraincode.training.pace import Pace

Run = Callable[..., Path]


def code_of(_: Path) -> int:
    """Of a run that ends by itself."""
    return 0


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """stop_at(n, action): something happens in the n-th step of training."""

    def arrange(number: int, action: Callable[[], None]) -> None:
        step, done = PoseTraining.training_step, iter(range(1, 1000))

        def stopping(self, batch, batch_idx):
            if next(done) == number:
                action()
            return step(self, batch, batch_idx)

        monkeypatch.setattr(PoseTraining, "training_step", stopping)

    return arrange


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to catch")
def test_sigterm_saves_the_weights_and_exits_with_143(
    run: Run, stop_at: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    stop_at(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as stopped:
        run_main(lambda: code_of(run()), start=lambda: None)
    assert stopped.value.code == 143
    assert capsys.readouterr().err.splitlines() == [describe(Ended(signal.SIGTERM))[1]]
    assert load_network(tmp_path / "run" / "last.ckpt")[1].epoch == 2


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to catch")
@pytest.mark.parametrize("epochs", [1, 2])
def test_sigterm_after_an_epochs_checkpoint_leaves_it_as_it_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, epochs: int
) -> None:
    done = Pace.done

    def stop(self: Pace, seconds: float) -> None:
        done(self, seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Pace, "done", stop)
    with pytest.raises(Ended):
        run(epochs=epochs)
    monkeypatch.setattr(Pace, "done", done)
    assert load_network(tmp_path / "run" / "last.ckpt")[1].epoch == 1
    resumed, about = load_network(run(epochs=epochs, resume=True) / "last.ckpt")
    assert about.epoch == epochs
    assert_same(resumed, load_network(run("undisturbed", epochs=epochs) / "last.ckpt")[0])


def test_uncertainties_are_calibrated_once_also_when_a_run_is_resumed_after_it(
    run: Run, capsys: pytest.CaptureFixture
) -> None:
    options = {"epochs": 1, "with_nll_loss": True, "val": "300wlp+aflw2k"}  # 50 rows at least
    first = load_network(run(**options) / "last.ckpt")[0]
    assert re.search(r"last: uncertainties scaled, .*face_box_scale × \d", capsys.readouterr().out)
    assert first.landmarks_scale.calibration != 1.0
    assert_same(load_network(run(**options, resume=True) / "last.ckpt")[0], first)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_sigterm_ends_at_once_before_lightning_listens() -> None:
    with pytest.raises(Ended), ending_after_a_step():
        signal.raise_signal(signal.SIGTERM)


def test_sigterm_is_lightnings_business_while_it_listens_and_not_forgotten_after_it() -> None:
    def train() -> None:
        with ending_after_a_step():
            first = signal.getsignal(signal.SIGTERM)
            assert callable(first)

            def both(number: int, frame: FrameType | None) -> None:
                first(number, frame)
                heard.append("the signal")

            signal.signal(signal.SIGTERM, both)
            signal.raise_signal(signal.SIGTERM)
            heard.append("the step")

    heard: list[str] = []
    with pytest.raises(Ended):
        train()
    assert heard == ["the signal", "the step"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ctrl_c_is_an_interrupt_for_the_caller(run: Run, stop_at: Callable) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    stop_at(2, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run()


@pytest.mark.skipif(os.name == "nt", reason="workers are forked here")
def test_a_killed_loader_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    load = loader.load_batch

    def killed(*arguments, **options):
        if get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(*arguments, **options)

    monkeypatch.setattr(loader, "load_batch", killed)
    with pytest.raises(WorkerError, match=r"a process that loads data died.*fewer --workers"):
        run(workers=1)


def test_a_folder_is_one_trainings(run: Run, tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "run", resume=False, first=True),
        pytest.raises(UserError, match="run: another process trains in this folder; choose another --outdir"),
    ):
        run()
    assert not (tmp_path / "run").exists()
    out = run(epochs=1)
    with (
        claimed(out, resume=True, first=True),
        pytest.raises(UserError, match="another process trains in this folder"),
    ):
        run(epochs=1, resume=True)


def test_a_run_that_cannot_begin_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        run(ds="wflw_lp")
    assert not (tmp_path / "run").exists()


def test_other_data_is_not_trained_on_by_resuming(run: Run, faces: Path, tmp_path: Path) -> None:
    data, catalog = tmp_path / "mine.h5", tmp_path / "mine.toml"
    catalog.write_text(f'[mine]\nfile = "{data.as_posix()}"\nlabels = ["pose"]\n')
    options = {"catalog": catalog, "ds": "mine", "epochs": 1}
    shutil.copy(faces / "300wlp.h5", data)
    run(**options)
    Path(shutil.copy(faces / "aflw2k.h5", tmp_path / "other.h5")).replace(data)
    with pytest.raises(ConfigError, match=r"mine\.h5: has other contents than when this run was started"):
        run(**options, resume=True)


@pytest.mark.parametrize(
    "change", [("rows = [0]", "rows = [4]"), ('["pose"]', '["pose", "box"]'), ("weight = 1", "weight = 3")]
)
def test_other_entries_of_the_catalog_are_not_trained_on_by_resuming(
    run: Run, tmp_path: Path, change: tuple[str, str]
) -> None:
    """The same file, but other rows, labels or weights."""
    catalog = tmp_path / "mine.toml"
    text = '[mine]\nfile = "300wlp.h5"\nlabels = ["pose"]\nrows = [0]\nweight = 1\n'
    catalog.write_text(text)
    options = {"catalog": catalog, "ds": "mine", "epochs": 1}
    run(**options)
    catalog.write_text(text + "# a note\n")
    run(**options, resume=True)
    catalog.write_text(text.replace(*change))
    with pytest.raises(ConfigError, match=r"data set mine: has other rows, labels or weights than when this run"):
        run(**options, resume=True)


def test_a_teacher_that_changed_is_not_learned_from_by_resuming(run: Run, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.onnx"
    model = build_model(input_shape=(1, 1, 33, 33))
    onnx.save(model, teacher)
    run(epochs=1, teachers=str(teacher))
    model.producer_name = "another"
    onnx.save(model, teacher)
    with pytest.raises(ConfigError, match=r"teacher\.onnx: has other contents than when this run was started"):
        run(epochs=1, teachers=str(teacher), resume=True)


def test_data_that_is_gone_is_missed_by_resuming(run: Run, faces: Path, tmp_path: Path) -> None:
    """As one of the files that a pattern named."""
    for name in ("a", "b"):
        with h5py.File(shutil.copy(faces / "aflw2k.h5", tmp_path / f"mine-{name}.h5"), "a") as file:
            del file["individual"]
            file["rois"][0] += name == "b"
    catalog = tmp_path / "mine.toml"
    catalog.write_text(f'[mine]\nfile = "{(tmp_path / "mine-*.h5").as_posix()}"\nlabels = ["pose"]\n')
    options = {"catalog": catalog, "ds": "mine", "epochs": 1}
    run(**options)
    (tmp_path / "mine-b.h5").unlink()
    with pytest.raises(ConfigError, match="a file of data is missing that this run was started with"):
        run(**options, resume=True)


def test_a_run_is_resumed_without_the_file_that_it_started_from(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = PoseNetwork(NetworkConfig(backbone="repvgg_az", width=0.5, input_size=33, face_model="somebodys-v1"))
    given.landmarks.mean.normal_()
    save_network(
        tmp_path / "a.ckpt", given, About(trained_on=["aflw2k"], selected_on=["biwi"], training_files=["a.h5"])
    )
    options = {
        "pretrained": str(tmp_path / "a.ckpt"), "ds": "poses", "catalog": tmp_path / "poses.toml", "epochs": 1,
        "with_swa": True,
    }  # fmt: skip
    (tmp_path / "poses.toml").write_text('[poses]\nfile = "300wlp.h5"\nlabels = ["pose"]\n')
    before = load_network(run(**options) / "last.ckpt")[0]
    (tmp_path / "a.ckpt").unlink()
    out = run(**options, resume=True)
    after = load_network(out / "last.ckpt")[0]
    assert after.config.face_model == before.config.face_model
    assert torch.equal(after.landmarks.mean, before.landmarks.mean)
    about = load_network(out / "swa.ckpt")[1]
    assert (about.trained_on, about.selected_on) == (["aflw2k", "poses"], ["biwi"])
    assert about.training_files == ["a.h5", "300wlp.h5"]


def test_another_shape_prior_is_not_trained_with_by_resuming(
    run: Run, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    shutil.copy(faces / "300wlp.h5", tmp_path)
    run(epochs=1)
    with np.load(PACKAGED / "shape_prior_embedded-v1.npz") as file:
        np.savez(tmp_path / "shape_prior_embedded-v1.npz", **{name: 2 * file[name] for name in file.files})
    with pytest.raises(
        ConfigError, match=r"the shape prior of embedded-v1 is another, .*npz, unlike when this run was"
    ):
        run(epochs=1, resume=True)
    (tmp_path / "shape_prior_embedded-v1.npz").unlink()
    run(epochs=1, resume=True)


class Killed(BaseException):
    """As by kill -9."""


def killed(*_: object) -> None:
    raise Killed


def test_a_run_that_was_killed_after_its_last_epoch_has_the_averages_of_one_that_was_not(run: Run) -> None:
    """Their statistics are measured on second views, too, which are drawn."""
    options = {"with_swa": True, "consistency": 1.0}
    whole = run("whole", **options)
    with patch.object(run_module, "finish", killed), pytest.raises(Killed):
        run("parts", **options)
    parts = run("parts", resume=True, **options)
    assert_same(load_network(parts / "swa.ckpt")[0], load_network(whole / "swa.ckpt")[0])


def test_a_run_that_was_killed_after_its_last_epoch_gets_what_is_missing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"epochs": 1, "onnx": True, "save_plot": "train.png"}
    missing = [tmp_path / "run" / name for name in ("train.png", "last.onnx", "best.onnx")]

    with patch.object(run_module, "finish", killed), pytest.raises(Killed):
        run(**options)
    missing[0].unlink()  # of which half was written
    assert not any(path.exists() for path in missing)
    run(**options, resume=True)
    assert all(path.is_file() for path in missing)
    assert "begins with its first epoch" not in capsys.readouterr().out


def test_it_is_told_where_a_run_has_no_checkpoint_to_go_on_from(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run(epochs=1) / "resume.ckpt").unlink()
    run(epochs=1, resume=True)
    assert "resume.ckpt: isn't there, so this run begins with its first epoch again" in capsys.readouterr().out


def test_damaged_checkpoints_are_not_resumed(run: Run) -> None:
    path = run(epochs=1) / "resume.ckpt"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"resume\.ckpt: not a readable checkpoint"):
            run(epochs=1, resume=True)


def test_checkpoints_of_other_runs_are_not_resumed(run: Run) -> None:
    first, second = run("first", epochs=1), run("second", epochs=1, width=0.25)
    (second / "resume.ckpt").write_bytes((first / "resume.ckpt").read_bytes())
    with pytest.raises(
        ModelFileError, match=r"resume\.ckpt: isn't the checkpoint of this run \(it holds another network"
    ):
        run("second", epochs=1, width=0.25, resume=True)
    whole = torch.load(first / "resume.ckpt", weights_only=True)
    for key, damaged, message in (
        ("state_dict", 3, "it lacks weights"),
        ("callbacks", {"best": 3}, "it can't be resumed: "),
        ("optimizer_states", [], "it lacks the optimiser"),
        ("loops", 3, "it can't be resumed: "),
    ):
        torch.save(whole | {key: damaged}, first / "resume.ckpt")
        with pytest.raises(ModelFileError, match=rf"resume\.ckpt: isn't the checkpoint of this run \({message}"):
            run("first", epochs=1, resume=True)
    torch.save({"state_dict": {}}, second / "resume.ckpt")
    with pytest.raises(ModelFileError, match="it lacks callbacks"):
        run("second", epochs=1, width=0.25, resume=True)


@pytest.mark.parametrize("kept", [0, 3])
def test_a_cut_configuration_is_not_the_defaults(run: Run, kept: int) -> None:
    path = run(epochs=1) / "config.toml"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    with pytest.raises(ConfigError, match=r"config\.toml: lacks '\w+' \(and \d+ more options\)"):
        read_options(argparse.Namespace(resume=True, outdir=path.parent))
