"""What a run leaves behind so that it can be repeated: library versions, commit, and fingerprints of its data."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import trackertraincode
from trackertraincode.errors import ConfigError
from trackertraincode.files import fingerprint, whole_file
from trackertraincode.models.about import origins
from trackertraincode.parts import version_of

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


@dataclass(frozen=True)
class Inputs:
    """What a run reads, as far as its options don't tell it. A run that is resumed has the same."""

    data: set[tuple[int, str]]  # bytes and sampled SHA-256 of each file
    face_model: str  # of the network; empty for a localizer, which has none
    prior: tuple[int, str] | None  # of how plausible shapes are, likewise; None where there is none
    mixture: list[list[Any]]  # of the data sets: name, weights, labels and rows of each
    began_with: dict[str, list[str]]  # images that made the weights of --pretrained (`about.ORIGINS`); not compared

    @classmethod
    def read(cls, path: Path) -> "Inputs":
        """What `write_environment` wrote. Raises ConfigError."""
        try:
            content = json.loads(path.read_bytes())
            data, prior, mixture = (content[name] for name in ("data", "shape_prior", "mixture"))
            contents = {_contents(entry) for entry in data}
            face_model, began_with = str(content["face_model"]), origins(content["began_with"])
            return cls(contents, face_model, prior and _contents(prior), list(mixture), began_with)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path}: doesn't tell the data of this run ({type(error).__name__}), so it can't be resumed; start another."
            ) from error

    def check(self, files: Iterable[Path], prior: Path | None = None, mixture: Sequence[list[Any]] = ()) -> None:
        """Raises ConfigError when a data file, which may have moved, or the shape prior has other contents now, or a data
        set other rows, labels or weights."""
        present = fingerprints(files)
        for now in present:
            if _contents(now) not in self.data:
                raise ConfigError(
                    f"{now['file']}: has other contents than when this run was started (now {now['bytes']} bytes), so it "
                    "can't be resumed; put the old file back, or start another run."
                )
        if len(self.data) > len(set(map(_contents, present))):
            raise ConfigError(
                "a file of data is missing that this run was started with, so it can't be resumed; put it back, or start "
                "another run."
            )
        for before, again in zip_longest(self.mixture, mixture):
            if before != again:
                raise ConfigError(
                    f"data set {(again or before)[0]}: has other rows, labels or weights than when this run was started, so "
                    "it can't be resumed; change its entry in the catalog back, or start another run."
                )
        if (_contents(fingerprint(prior)) if prior is not None else None) != self.prior:
            found = f"is another, {prior}" if prior is not None and self.prior else f"is {prior or 'missing'}"
            raise ConfigError(
                f"the shape prior of {self.face_model} {found}, unlike when this run was started, so it can't be resumed; "
                f"set DATADIR and shape_prior_{self.face_model}.npz in it as before, or start another run."
            )


def write_environment(
    path: Path, files: Iterable[Path], face_model: str = "", prior: Path | None = None,
    mixture: Sequence[list[Any]] = (), began_with: dict[str, list[str]] | None = None, **more: Any,
) -> None:  # fmt: skip
    """As JSON: the environment, what `Inputs` has with fingerprints of the files, and more."""
    inputs = {
        "face_model": face_model,
        "shape_prior": fingerprint(prior) if prior is not None else None,
        "mixture": list(mixture),
        "began_with": origins(began_with or {}),
    }
    content = describe_environment() | {"data": fingerprints(files)} | inputs | more
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _contents(entry: dict[str, Any]) -> tuple[int, str]:
    return entry["bytes"], entry["sampled_sha256"]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()
