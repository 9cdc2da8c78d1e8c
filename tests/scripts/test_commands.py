"""What the installed command does before any work: help, wrong usage, and at what price."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PROJECT
from trackertraincode import commands
from trackertraincode.commands import COMMANDS, parse, run
from trackertraincode.conversion.converters import CONVERTERS
from trackertraincode.errors import UsageError, UserError
from trackertraincode.light import groups_in
from trackertraincode.options import is_option, key_of
from trackertraincode.pretrained import pose_network
from trackertraincode.training.config import TrainConfig, items

OURS = {
    "trackertraincode", "trackertraincode.arguments", "trackertraincode.cli",
    "trackertraincode.cluster", "trackertraincode.cluster.client",
    "trackertraincode.cluster.worker", "trackertraincode.commands", "trackertraincode.commands.options",
    "trackertraincode.conversion",
    "trackertraincode.conversion.converters", "trackertraincode.errors",
    "trackertraincode.files", "trackertraincode.light", "trackertraincode.options",
    "trackertraincode.parts", "trackertraincode.pretrained", "trackertraincode.signatures", "trackertraincode.training",
    "trackertraincode.workers",
}  # fmt: skip
LOADED = """
import contextlib, io, sys
before = set(sys.modules)
from trackertraincode.commands import parse
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for words in {words}:
        with contextlib.suppress(SystemExit):
            parse(words)
print(*(set(sys.modules) - before))
"""


@pytest.mark.parametrize("words", [["--help"], ["--unknown"]])
def test_help_and_wrong_usage_import_nothing_heavy(words: list[str]) -> None:
    """Of other people's modules only tqdm; of ours only what declares options."""
    lines = [[name, *words] for name in COMMANDS] + [["convert", name, *words] for name in CONVERTERS]
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(words=lines)], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("trackertraincode")}
    assert ours - {f"trackertraincode.commands.{name.replace('-', '_')}" for name in COMMANDS} <= OURS
    others = {name.split(".")[0] for name in loaded - ours} - sys.stdlib_module_names
    assert {name for name in others if not name.startswith("_")} <= {"tqdm"}


def test_help_tells_defaults_the_same_way_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for words in [*([name] for name in COMMANDS), *(["convert", name] for name in CONVERTERS)]:
        with pytest.raises(SystemExit):
            parse([*words, "--help"])
        told[" ".join(words)] = " ".join(capsys.readouterr().out.split())
    assert [name for name, text in told.items() if re.search(r"\(default(?!: |\))|default: [^(]*default:", text)] == []
    assert "--fov DEG diagonal field of view of the camera (default: 56)" in told["track"]
    assert "--mtcnn, --no-mtcnn take the face detector's boxes" in told["convert 300vw"]
    assert "[convert] (default: yes)" in told["convert 300vw"]
    assert "--onnx, --no-onnx export each checkpoint at the end (default: yes)" in told["train"]
    assert "--outdir DIR where everything is written (default: demo)" in told["demo"]
    assert "--strict stop at the first sample that can't be used --skipped" in told["fit"], "switches have none"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evalute"], "unknown command evalute; did you mean evaluate? --help lists all."),
        (["info", "a.h5", "--histogramm", "x.png"], "unknown option --histogramm; did you mean --histogram?"),
        (["view", "a.h5", "b.png", "c.png"], "unexpected argument 'c.png'"),
        (["convert", "aflw"], "invalid choice: 'aflw'"),
        (["filter", "a.h5", "b.h5", "--rows", "3", "--rows", "0-1"], "argument --rows: is given twice; give it once,"),
        (["evaluate", "--ds", "aflw2k3d", "a.onnx", "--ds", "biwi"], "argument --ds: is given twice;"),
        (["train", "--val", "biwi", "--val", "aflw2k"], "argument --val: is given twice;"),
        (["view", "a.h5", "b.png", "--columns", "0"], "argument --columns: '0': expected a whole number from 1"),
    ],
)
def test_wrong_usage_is_answered_with_what_is_right(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_options_read_from_sources_are_those_of_the_configuration() -> None:
    light = [
        (group, option.metadata.get("key", option.field), option.default, option.metadata)
        for group, options in groups_in("training.config", "TrainConfig").items()
        for option in options
    ]
    assert light == [
        (item.group, key, item.field.default, dict(item.field.metadata))
        for key, item in items().items()
        if is_option(item.field)
    ]
    assert key_of(items()["rgb"].field) == "rgb"
    assert TrainConfig().flat()["rgb"] is False


def test_paths_are_absolute_for_workers_but_for_the_model_in_the_box() -> None:
    _, options, _ = parse(["review", "a.h5", "--report", "b.html", "--scheduler", "s.json"])
    commands._make_absolute(options)
    assert (options.file, options.report) == (Path.cwd() / "a.h5", Path.cwd() / "b.html")
    assert options.model == [Path("default")]
    assert pose_network(options.model[0]).is_file()


@pytest.mark.parametrize("file", ["run/thesis.txt", "data/300wlp.h5", "notes.txt", "300W-LP.zip and notes.txt"])
def test_a_demo_replaces_nothing_of_a_user(file: str, tmp_path: Path) -> None:
    for name in file.split(" and "):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    first, last = Path(min(file.split(" and "))), Path(file.split(" and ")[-1])
    with pytest.raises(UserError, match=rf": holds {first.parts[0]}, which is of no earlier demo; choose a new folder"):
        run(["demo", "--outdir", str(tmp_path)])
    assert (tmp_path / last).read_text() == "mine"


def test_what_compares_runs_replaces_no_file_of_theirs(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("{}")
    with pytest.raises(UserError, match=r"environment\.json: is also an input, which would be destroyed"):
        run(["compare-runs", str(tmp_path), "--json", str(tmp_path / "environment.json")])


def test_a_name_like_that_of_another_kind_of_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces.h5").write_bytes(b"\x89HDF\r\n\x1a\n and years of work")
    with pytest.raises(SystemExit) as stopped:
        run(["export", "last.ckpt", "--output", str(tmp_path / "faces.h5")])
    assert stopped.value.code == 2
    assert "isn't a .h5 file when it is written here; end its name with .onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["render", "a.zip", "-n", "1"], "a.zip: isn't a file of --format hdf5; give one that ends with .h5"),
        (
            ["render", "a.h5", "--format", "300wlp"],
            "a.h5: isn't a file of --format 300wlp; give one that ends with .zip",
        ),
        (["expand", "b.h5", "a.zip"], "a.zip: isn't a file of --format hdf5; give one that ends with .h5"),
        (["render", "a.h5", "--size", "15"], "--size: '15': expected a whole number from 16 to 4096"),
    ],
)
def test_wrong_kinds_and_sizes_of_outputs_are_wrong_usage(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((SystemExit, UsageError)) as stopped:
        run(words)
    assert message in capsys.readouterr().err + str(stopped.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    for words in (["export", str(tmp_path)], ["export", ""]):
        with pytest.raises(UserError, match=r"is a folder; give one checkpoint, such as .*swa\.ckpt"):
            run(words)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use can't be removed there")
def test_a_current_folder_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="the current folder was removed"):
        run(["info", "a.h5"])
