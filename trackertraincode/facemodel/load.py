"""Which head model a command works with."""

from pathlib import Path

from trackertraincode.facemodel.bfm import NAME, load_bfm
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.files import data_dir


def load_head_model(path: Path | None = None) -> HeadModel:
    """The model of `--face-model`; else `$DATADIR/bfm_noneck_v3.pkl` where it exists; else the embedded head.

    Raises ModelFileError when a named file can't be used.
    """
    if path is None:
        folder = data_dir()
        if folder is None or not (folder / f"{NAME}.pkl").is_file():
            return embedded_head()
        path = folder / f"{NAME}.pkl"
    return load_bfm(path)
