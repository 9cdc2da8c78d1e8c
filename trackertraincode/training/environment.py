"""What a run leaves behind so that it can be repeated: library versions, commit, and fingerprints of its data."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trackertraincode
from trackertraincode.cluster.worker import version_of
from trackertraincode.errors import ConfigError
from trackertraincode.files import fingerprint, whole_file

LIBRARIES = (
    "torch", "lightning", "timm", "kornia", "torchvision", "numpy", "opencv-python", "h5py", "onnx", "onnxruntime",
)  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """Versions of everything that influences the result."""
    return {
        "trackertraincode": trackertraincode.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv,
        "libraries": {name: version_of(name) for name in LIBRARIES},
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


def fingerprints(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """One fingerprint per file, each file once."""
    return [fingerprint(path) for path in dict.fromkeys(paths)]


def write_environment(path: Path, files: Iterable[Path], **more: Any) -> None:
    """As JSON: the environment, fingerprints of the data files, and more."""
    content = describe_environment() | {"data": fingerprints(files)} | more
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def check_data(path: Path, files: Iterable[Path]) -> None:
    """Raises ConfigError when a data file isn't the one that `write_environment` saw; files may have moved."""
    try:
        before = [(entry["bytes"], entry["sampled_sha256"]) for entry in json.loads(path.read_bytes())["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: doesn't tell the data of this run ({type(error).__name__}), so it can't be resumed; start another."
        ) from error
    for now in fingerprints(files):
        if (now["bytes"], now["sampled_sha256"]) not in before:
            raise ConfigError(
                f"{now['file']}: has other contents than when this run was started (now {now['bytes']} bytes), so it "
                "can't be resumed; put the old file back, or start another run."
            )


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
