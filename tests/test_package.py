"""The wheel carries all sub-packages and data files, and works where the sources aren't."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import PROJECT


@pytest.mark.slow
def test_a_built_wheel_holds_every_file_and_works_elsewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    kinds = {".py", ".toml", ".npz", ".html", ".json"}
    files = [p for p in (PROJECT / "trackertraincode").rglob("*") if p.suffix in kinds and "__pycache__" not in p.parts]
    assert {p.relative_to(PROJECT).as_posix() for p in files} <= packed
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import trackertraincode as t\n"
    code += f"assert t.__file__.startswith({str(tmp_path)!r}), t.__file__\n"
    code += (
        "from trackertraincode.commands import run; run(['stability', 'default', '--count', '2', '--device', 'cpu'])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
