"""Names of files that mean the same: slashes, composed letters, capitals, what browsers write as %20."""

import unicodedata
from functools import cache
from pathlib import Path
from urllib.parse import unquote


def normal_name(name: str) -> str:
    """The one spelling of a member: forward slashes, no "./" or "//", composed letters, no %2B that a browser made."""
    name = name.replace("\\", "/")
    if "%" in name:
        name = name.replace("%2B", "+").replace("%2b", "+")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if name.startswith("./") or "//" in name or "/./" in name:
        root = "/" if name.startswith("/") else ""
        name = root + "/".join(part for part in name.split("/") if part not in ("", "."))
    return name


def has_root(name: str) -> bool:
    """Whether a path with forward slashes begins at a disk, or at one of Windows' letters, whatever system this is."""
    return name.startswith("/") or name[1:2] == ":"


def any_spelling(name: str) -> str:
    """What is the same for members whose names differ in capitals, or in what browsers write as %20."""
    decoded = unquote(name) if "%" in name else name
    return normal_name(decoded).casefold()


def as_spelled(path: Path) -> Path:
    """The file or folder that is meant, where its name or those of its folders are spelled otherwise on the disk."""
    if path.exists() or path.parent == path:
        return path
    folder = as_spelled(path.parent)
    return _other_spelling(folder).get(any_spelling(path.name), folder / path.name)


@cache
def _other_spelling(folder: Path) -> dict[str, Path]:
    return {any_spelling(path.name): path for path in folder.iterdir()} if folder.is_dir() else {}
