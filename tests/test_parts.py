"""What isn't installed is named with the command that installs it, before work begins."""

import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from programs import end_of

from conftest import PROJECT
from trackertraincode import parts
from trackertraincode.commands import run
from trackertraincode.errors import ConfigError


def test_packages_of_parts_are_those_of_the_project() -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["optional-dependencies"]
    known = parts.packages_of_parts()
    for part in ("train", "convert", "export", "opengl", "fit", "cluster", "synthesis"):
        assert [line.split(">")[0].split("=")[0] for line in wanted[part]] == known[part]
        assert all(parts.part_of(parts.MODULE_OF.get(name, name.replace("-", "_"))) in known for name in known[part])


@pytest.mark.parametrize(("module", "part"), [("timm", "train"), ("onnx.helper", "export"), ("sklearn", "fit")])
def test_a_module_that_is_missing_is_one_line_with_the_command_that_installs_it(
    module: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_spec(module.split(".")[0]) is not None, "the name of the module is no longer that"

    def main() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    code, line = end_of(main, capsys)
    assert (code, line) == (1, f"error: this needs {module}, not installed here: {parts.how_to_install(part)}\n")


@pytest.mark.parametrize(
    ("place", "written", "command"),
    [
        ("a clone", {"editable": True}, 'pip install -e "{}[train,export]"'),
        ("a clone", {}, 'pip install "{}[train,export]"'),
        ("trackertraincode-1.0.0-py3-none-any.whl", None, 'pip install "{}[train,export]"'),
        ("gone", {"editable": True}, 'pip install -e ".[train,export]" in the repository\'s folder'),
        (None, None, 'pip install -e ".[train,export]" in the repository\'s folder'),
    ],
)
def test_the_command_takes_what_this_was_installed_from(
    place: str | None, written: dict | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip writes it down: PEP 610."""
    about = tmp_path / "trackertraincode-1.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: trackertraincode\nVersion: 1.0.0\n")
    if place is not None:
        if place != "gone":
            (tmp_path / place).mkdir()
        more = {"archive_info": {}} if written is None else {"dir_info": written}
        (about / "direct_url.json").write_text(json.dumps({"url": (tmp_path / place).as_uri(), **more}))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert parts.how_to_install("train", "export") == command.format(tmp_path / (place or ""))


def test_a_missing_module_of_no_part_is_a_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise ModuleNotFoundError("No module named 'trackertraincode.gone'", name="trackertraincode.gone")

    assert "a fault of this program" in end_of(main, capsys)[1]


@pytest.mark.parametrize(
    ("command", "needed"), [("demo", ("train", "export")), ("train-default", ("train", "export", "synthesis"))]
)
def test_long_work_does_not_begin_where_a_part_is_missing(
    command: str, needed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "version_of", lambda package: None if package == "timm" else "1")
    installs = re.escape(parts.how_to_install(*needed))
    with pytest.raises(ConfigError, match=f"needs timm, not installed here: {installs}$"):
        run([command, "--outdir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
