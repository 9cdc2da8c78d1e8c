"""Pages of images: in a window that keys turn, or as files where there is no display."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backend_bases import KeyEvent

from trackertraincode.conversion.synthetic import write_faces
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation import pages
from trackertraincode.evaluation.evaluate import Result
from trackertraincode.evaluation.plots import draw_epochs, pyplot
from trackertraincode.geometry.rotation import quat_multiply, rotvec_to_quat
from trackertraincode.rendering.generate import Request
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Prediction

COUNT = 15


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Row i is off by i degrees."""
    path = tmp_path_factory.mktemp("pages") / "faces.h5"
    write_faces(Request(COUNT, 64, 0, "hdf5"), path, 0)
    dataset = Hdf5PoseDataset(path)
    values = {name: torch.from_numpy(dataset.labels[name]) for name in ("rotation", "head", "landmarks")}
    turns = torch.deg2rad(torch.arange(COUNT).float())[:, None] * torch.tensor([0.0, 1.0, 0.0])
    turned = values | {"rotation": quat_multiply(rotvec_to_quat(turns), values["rotation"])}
    return Result(
        model="m", protocol="p", box="b", factor=1.0, crop="c", labels="l", rows=np.arange(COUNT), marks=(),
        truth=Prediction(**values), prediction=Prediction(**turned), dataset=dataset,
        boxes=torch.from_numpy(dataset.labels["face_box"]), euler=torch.zeros(COUNT, 3),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")


def test_worst_and_spread_rows(result: Result) -> None:
    assert pages.worst(result, 3) == [14, 13, 12]
    assert pages.spread(result, 3) == [0, 7, 14]
    assert pages.spread(result, 99) == list(range(COUNT))


def test_worst_by_what_is_asked_for(result: Result) -> None:
    size = result.truth.head + torch.arange(COUNT).flip(0)[:, None] * torch.tensor([0.0, 0.0, 0.1])
    other = replace(
        result, prediction=replace(result.prediction, head=size), boxes=torch.tensor([[0.0, 0, 1, 1]] * COUNT)
    )
    assert pages.worst(other, 2, "size") == [0, 1]
    with pytest.raises(EvaluationError, match="nothing to sort images by kpts"):
        pages.worst(replace(other, prediction=replace(other.prediction, landmarks=None)), 2, "kpts")


def test_truth_is_green_and_prediction_is_not(result: Result) -> None:
    image = pages.draw_row(result, 14).astype(int)
    assert image.shape == (pages.EDGE, pages.EDGE, 3)
    for color in (pages_color("TRUE_COLOR"), pages_color("PREDICTED_COLOR")):
        assert (np.abs(image - color).max(-1) < 12).sum() > 50


def pages_color(name: str) -> np.ndarray:
    from trackertraincode import visualize

    return np.array(getattr(visualize, name))


def test_without_a_display_pages_are_files(result: Result, tmp_path: Path) -> None:
    assert not pages.has_display()
    said = pages.page_through([result, result], tmp_path / "pages")
    assert "4 pages written to" in said  # 12 and 3 images, twice
    written = sorted((tmp_path / "pages").iterdir())
    assert [p.name for p in written] == [f"page_{i}.jpg" for i in ("0001", "0002", "0003", "0004")]
    full, rest = (decode(p.read_bytes()).shape for p in written[:2])
    assert full[0] > 2 * rest[0]


def test_keys_turn_pages(result: Result) -> None:
    book = pages.Pages([result])
    figure = pages.open_window(book)
    (axis,) = figure.axes

    def press(key: str) -> str:
        figure.canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", figure.canvas, key))
        return str(axis.get_title())

    assert "page 1 of 2" in axis.get_title()
    assert "page 2 of 2" in press("right")
    assert "page 2 of 2" in press("right")
    assert "page 2 of 2" in press("x")
    assert "page 1 of 2" in press("left")
    assert "page 1 of 2" in press("left")
    assert len(axis.images) == 1
    plt.close(figure)


def test_with_a_display_nothing_is_written(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "has_display", lambda: True)
    with matplotlib.rc_context():
        assert pages.page_through([result], tmp_path / "pages") == "2 pages shown"
    assert not (tmp_path / "pages").exists()
    plt.close("all")


@pytest.mark.parametrize(("last", "scale"), [(0.5, "log"), (-0.5, "linear")])
def test_curves_pass_over_epochs_that_lack_a_value(last: float, scale: str) -> None:
    plt = pyplot()
    figure, axis = plt.subplots()
    draw_epochs(axis, "error", [{"epoch": 1, "a": 2.0}, {"epoch": 2}, {"epoch": 3, "a": last}], {"a": "a", "b": "b"})
    (line,) = axis.lines
    assert line.get_xydata().tolist() == [[1.0, 2.0], [3.0, last]]
    assert axis.get_yscale() == scale
    plt.close(figure)


@pytest.mark.filterwarnings("error::UserWarning")  # as matplotlib warns
def test_a_curve_of_one_value_is_drawn_without_a_warning() -> None:
    plt = pyplot()
    figure, axis = plt.subplots()
    draw_epochs(axis, "error", [{"epoch": 1, "a": 2.0}], {"a": "a"})
    figure.canvas.draw()
    plt.close(figure)
