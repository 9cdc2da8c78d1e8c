"""What checkpoints and ONNX files say about themselves."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from trackertraincode import __version__
from trackertraincode.errors import ModelFileError

LARGEST_RADIUS = 1e9  # of a region, in deviations
ORIGINS = ("trained_on", "selected_on", "training_files")  # entries of `About` that tell which images made the weights


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


def origins(*abouts: Mapping[str, Any]) -> dict[str, list[str]]:
    """`ORIGINS` of what several networks say about themselves, together; each name once."""
    return {key: list(dict.fromkeys(name for about in abouts for name in about.get(key, []))) for key in ORIGINS}


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
    for name, default in {**vars(About()), "face_model": ""}.items():
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
        return all(isinstance(row, list) and len(row) == 3 and all(map(_is_radius, row)) for row in value.values())
    return _is_plain(value) and (kind is not list or all(isinstance(entry, str) for entry in value))


def _is_radius(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < LARGEST_RADIUS


def _is_plain(value: Any) -> bool:
    """Whether JSON can say it."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and _are_plain(value.values())
    return _are_plain(value) if isinstance(value, (list, tuple)) else isinstance(value, (str, int, float, type(None)))


def _are_plain(values: Iterable[Any]) -> bool:
    return all(map(_is_plain, values))
