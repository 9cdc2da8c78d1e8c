"""What a run leaves behind so that it can be repeated: library versions, commit, and fingerprints of its data."""

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import trackertraincode

LIBRARIES = (
    "torch",
    "lightning",
    "timm",
    "kornia",
    "torchvision",
    "numpy",
    "opencv-python",
    "h5py",
    "onnx",
    "onnxruntime",
)
SAMPLED_BYTES = 1 << 20  # per place of a large file


def describe_environment() -> dict[str, Any]:
    """Versions of everything that influences the result."""
    return {
        "trackertraincode": trackertraincode.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def commit() -> str | None:
    """The commit of the library's repository, with '+' when files were changed; None outside of a repository."""
    folder = Path(trackertraincode.__file__).resolve().parent
    try:
        if not _git(folder, "ls-files", "__init__.py"):  # installed into somebody else's repository
            return None
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def fingerprint(path: Path) -> dict[str, Any]:
    """Size of a file and the SHA-256 of its first, middle and last megabyte with that size: fast on huge files."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - SAMPLED_BYTES // 2), max(0, size - SAMPLED_BYTES)}):
            file.seek(start)
            digest.update(file.read(SAMPLED_BYTES))
    return {"file": str(path), "bytes": size, "sampled_sha256": digest.hexdigest()}


def fingerprints(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """One fingerprint per file, each file once."""
    return [fingerprint(path) for path in dict.fromkeys(paths)]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
