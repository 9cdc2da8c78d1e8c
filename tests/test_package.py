"""The wheel carries all sub-packages and data files; test_pretrained.py uses it where the sources aren't."""

from pathlib import Path

import pytest

from conftest import PROJECT

KINDS = {".py", ".toml", ".npz", ".html", ".json", ".onnx"}


@pytest.mark.slow
def test_a_built_wheel_holds_every_file(installed: Path) -> None:
    files = [p for p in (PROJECT / "trackertraincode").rglob("*") if p.suffix in KINDS and "__pycache__" not in p.parts]
    lacks = [name for p in files if not (installed / (name := p.relative_to(PROJECT))).is_file()]
    assert lacks == []
