"""Parts that not everybody installs: what they need, and how to get it.

metadata of the installed package --> {part: packages} --part_of a module, check_parts--> a line that tells how to install
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trackertraincode.errors import ConfigError

PACKAGE = "trackertraincode"
MODULE_OF = {"scikit-learn": "sklearn"}  # where it isn't the package's name
_REQUIREMENT = re.compile(r"([\w.-]+).*extra == [\"'](\w+)[\"']")


def packages_of_parts() -> dict[str, list[str]]:
    """Part -> packages that it needs besides, in the order of pyproject.toml; none where no metadata is installed."""
    from importlib.metadata import PackageNotFoundError, requires  # slow, and seldom needed

    parts: dict[str, list[str]] = {}
    try:
        lines = requires(PACKAGE) or []
    except PackageNotFoundError:
        return parts
    for found in filter(None, map(_REQUIREMENT.match, lines)):
        if found[1] != PACKAGE:  # parts of which another part is made
            parts.setdefault(found[2], []).append(found[1])
    return parts


def part_of(module: str) -> str | None:
    """The first part that brings a module; None for one that no part has."""
    top = module.partition(".")[0]
    for part, packages in packages_of_parts().items():
        if any(top == MODULE_OF.get(name, name.replace("-", "_")) for name in packages):
            return part
    return None


def how_to_install(*parts: str) -> str:
    """A command line that takes what this was installed from, since no index need have the package."""
    names = ",".join(parts)
    origin = _origin()
    if origin is None:
        return f'pip install -e ".[{names}]" in the repository\'s folder'
    return f'pip install {"-e " * origin.editable}"{origin.path}[{names}]"'  # cmd.exe knows no single quotes


class _Origin(NamedTuple):
    path: Path  # a folder, or a wheel
    editable: bool


def _origin() -> _Origin | None:
    """What pip wrote down of it (PEP 610); None where it isn't there any more, or never was on this disk."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        written = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    url = urlsplit(written.get("url", ""))
    path = Path(url2pathname(url.path))
    there = url.scheme == "file" and path.exists()
    return _Origin(path, bool(written.get("dir_info", {}).get("editable"))) if there else None


def check_parts(*parts: str) -> None:
    """Raise ConfigError, before work begins, where packages of these parts aren't installed."""
    lacking = [name for part in parts for name in packages_of_parts().get(part, ()) if version_of(name) is None]
    if lacking:
        raise ConfigError(f"this needs {', '.join(lacking)}, not installed here: {how_to_install(*parts)}")


@cache
def version_of(name: str) -> str | None:
    """Of an installed package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
