"""Every command explains itself, and the README names only commands and options that exist."""

import re
from pathlib import Path

import pytest

from conftest import PROJECT, run_script, start_script

SCRIPTS = sorted(path.name for path in (PROJECT / "scripts").glob("*.py"))
README = (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_of_every_command(script: str) -> None:
    text = run_script(script, "--help")
    assert "usage:" in text
    assert len(text.split("options:")[0].strip().splitlines()) > 2, "says what it does before its options"


@pytest.mark.parametrize("line", re.findall(r"^python (scripts/.*)$", README, re.MULTILINE))
def test_commands_of_the_readme_exist(line: str) -> None:
    words = line.split("#")[0].split()
    script = Path(words[0]).name
    assert script in SCRIPTS
    text = run_script(script, "--help")
    for word in words[1:]:
        if word.startswith("--"):
            assert word in text, f"{script} has no option {word}"


@pytest.mark.slow
def test_a_mistake_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    result = start_script("dsinfo.py", tmp_path / "gone.h5")
    assert result.returncode == 1
    assert "gone.h5" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_readme_has_every_field_data_set_and_protocol() -> None:
    from trackertraincode.datasets.catalog import DATASETS
    from trackertraincode.evaluation.protocols import PROTOCOLS
    from trackertraincode.sample.fields import FIELDS

    for name in [*FIELDS, *DATASETS, *PROTOCOLS]:
        assert f"`{name}`" in README, name
