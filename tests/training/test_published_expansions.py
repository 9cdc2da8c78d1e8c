"""The published expansions are read, checked and trained on as they lie: an HDF5 file of labels, images in a folder."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import run_script
from trackertraincode.commands import parse
from trackertraincode.datasets.catalog import DATASETS
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.training.callbacks.records import read_metrics
from trackertraincode.training.options import read_options
from trackertraincode.training.run import train

STARTS = [0, 9, 18, 24]
LAYOUTS = {  # name in the catalog -> how a row's image is named in the file, and where it lies beside that
    "repro_300_wlp": ("AFW_{}_0{}.jpg", "{stem}/AFW_{}_0{}.jpg"),
    "wflw_lp": ("{}--Parade/{}", "{stem}/{}--Parade/{}.jpg"),
    "lapa_megaface_lp": ("{stem}\\{}_{}.jpg", "{stem}/{}_{}.jpg"),
}
ONE_STEP = (
    "--epochs 1 --samples-per-epoch 12 --batchsize 12 --width 0.25 --backbone repvgg_az --input-size 33 --device cpu "
    "--workers 0 --no-onnx --no-tensorboard --no-save-plot"
)


@pytest.fixture(scope="module")
def published(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A $DATADIR with the three, of rendered faces; attributes and types as the published tool writes them."""
    folder = tmp_path_factory.mktemp("published")
    for name, (named, placed) in LAYOUTS.items():
        path = folder / DATASETS[name].file
        with Hdf5PoseDataset(faces / "300wlp.h5") as dataset, h5py.File(path, "w") as file:
            rows = range(STARTS[-1])
            names = []
            for row, image in zip(rows, dataset.images(rows)):
                names.append(named.format(row // 9, row, stem=path.stem))
                place = folder / placed.format(row // 9, row, stem=path.stem)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(image)
            file.create_dataset("images", data=names, dtype=h5py.string_dtype())
            file["images"].attrs.update({"storage": "image_filename", "category": "img"})
            labels = {"quats": ("rotation", "q"), "coords": ("head", "xys"), "rois": ("face_box", "roi"),
                      "pt3d_68": ("landmarks", "pts")}  # fmt: skip
            for key, (attribute, category) in labels.items():
                values = dataset.labels[attribute][rows].copy()
                if attribute != "face_box" and attribute != "rotation":
                    values[..., :2] -= 0.5
                if attribute == "landmarks":
                    values[..., 2] += 7.0  # copies have depths that aren't centred
                file[key] = -values if attribute == "rotation" else values  # real parts may be negative
                file[key].attrs["category"] = category
            file["shapeparams"] = dataset.labels["shape"][rows]  # no face_model: BFM's
            file["sequence_starts"] = np.array(STARTS, np.int32)
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_they_are_read_and_checked(name: str, published: Path, faces: Path) -> None:
    path = published / DATASETS[name].file
    with Hdf5PoseDataset(path) as dataset, Hdf5PoseDataset(faces / "300wlp.h5") as original:
        assert dataset.face_model == "bfm_noneck_v3"
        assert dataset.sequence_starts is not None
        assert dataset.sequence_starts.tolist() == STARTS
        assert dataset.images(range(STARTS[-1])) == original.images(range(STARTS[-1]))
        for attribute in ("head", "face_box", "shape"):
            np.testing.assert_allclose(
                dataset.labels[attribute], original.labels[attribute][: STARTS[-1]], rtol=0, atol=1e-4
            )
    assert "clean" in run_script("dscheck.py", path, "--workers=0", DATADIR="")
    assert "image_filename" in run_script("dsinfo.py", path)


def test_a_missing_image_is_named(published: Path, tmp_path: Path) -> None:
    path = tmp_path / DATASETS["wflw_lp"].file
    path.write_bytes((published / path.name).read_bytes())
    output = run_script("dscheck.py", path, "--workers=0", expect=1, DATADIR="")
    assert "0--Parade/0" in output


def test_they_are_trained_on_together(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(published))
    words = ["train", "--ds", "+".join(LAYOUTS), *ONE_STEP.split(), "--outdir", str(tmp_path / "run")]
    train(read_options(parse(words)[1]))
    (row,) = read_metrics(tmp_path / "run" / "metrics.csv")
    assert {"train/rotation", "train/landmarks", "train/box"} <= set(row)
