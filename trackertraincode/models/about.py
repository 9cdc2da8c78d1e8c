"""What checkpoints and ONNX files say about themselves."""

from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from trackertraincode import __version__
from trackertraincode.errors import ModelFileError


@dataclass(frozen=True, kw_only=True)
class About:
    """Where weights come from; plain values only."""

    recipe: dict[str, Any] = field(default_factory=dict)  # the resolved training configuration
    trained_on: list[str] = field(default_factory=list)  # data set names
    selected_on: list[str] = field(default_factory=list)  # data sets whose errors chose this checkpoint
    training_files: list[str] = field(default_factory=list)  # names of the files with the rows that were trained on
    regions: dict[str, list[float]] = field(default_factory=dict)  # by field: radii that hold 50, 90, 95 % of errors
    epoch: int = 0
    library: str = __version__


def without_folders(key: str, value: Any) -> Any:
    """An option as models keep it, which travel: names of files, not where they lie on this machine."""
    if isinstance(value, Path):
        return value.name
    if key in ("pretrained", "teachers") and value:
        return "+".join(PureWindowsPath(name.strip()).name for name in value.split("+"))  # either kind of slash
    return value


def check_about(path: Path, values: Any) -> dict[str, Any]:
    """The entries of a file about itself, as they are. Raises ModelFileError where one isn't of the type of `About`'s."""
    if not isinstance(values, dict):
        raise ModelFileError(f"{path}: what it says about itself isn't a table; the file is damaged.")
    for name, default in vars(About()).items():
        if name in values and not _fits(name, values[name], type(default)):
            raise ModelFileError(
                f"{path}: says {name} = {str(values[name])[:40]!r} about itself, which isn't of the right kind; the file is "
                "damaged."
            )
    return values


def _fits(name: str, value: Any, kind: Any) -> bool:
    if not isinstance(value, kind):
        return False
    if name == "regions":
        return all(isinstance(row, list) and all(isinstance(v, (int, float)) for v in row) for row in value.values())
    return kind is not list or all(isinstance(entry, str) for entry in value)
