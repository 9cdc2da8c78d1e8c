"""Every command explains itself."""

from pathlib import Path

import pytest

from conftest import PROJECT, run_script, start_script

SCRIPTS = sorted(path.name for path in (PROJECT / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_of_every_command(script: str) -> None:
    text = run_script(script, "--help")
    assert "usage:" in text
    assert len(text.split("options:")[0].strip().splitlines()) > 2, "says what it does before its options"


@pytest.mark.slow
def test_a_mistake_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    result = start_script("dsinfo.py", tmp_path / "gone.h5")
    assert result.returncode == 1
    assert "gone.h5" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
