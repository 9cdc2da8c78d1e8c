"""What tests of exported files share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from constant_onnx import build_model


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """saved(**changes): the path of a file with such a model."""

    def save(**changes: Any) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save_model(build_model(**changes), path)
        return path

    return save
