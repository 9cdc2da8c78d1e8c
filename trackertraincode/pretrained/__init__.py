"""The models in the box, trained on rendered faces only; MODEL_CARD.md beside them tells how, and how well they do.

"default" --pose_network, localizer--> path of the file here, once its bytes are those that SHA256SUMS names
"""

import hashlib
from pathlib import Path

from trackertraincode.errors import ModelFileError

DEFAULT = "default"  # stands for the model in the box wherever a model is named
POSE_FILE, LOCALIZER_FILE, SUMS_FILE = "pose.onnx", "localizer.onnx", "SHA256SUMS"
HERE = Path(__file__).parent


def pose_network(named: str | Path = DEFAULT) -> Path:
    """The path that is named, or that of the pose network in the box. Raises ModelFileError where that one is damaged."""
    return _checked(HERE / POSE_FILE) if str(named) == DEFAULT else Path(named)


def localizer(named: str | Path = DEFAULT) -> Path:
    """As `pose_network`, for the face localizer."""
    return _checked(HERE / LOCALIZER_FILE) if str(named) == DEFAULT else Path(named)


def _checked(path: Path) -> Path:
    lines = (HERE / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sums.get(path.name):
        raise ModelFileError(
            f"{path}: the model that comes with this package is missing or damaged; install the package again, or name a "
            "model of your own."
        )
    return path
