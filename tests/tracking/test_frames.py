"""What callers give as frames is scaled to what the tracker sees, or refused by its type and shape."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from trackertraincode.errors import UserError
from trackertraincode.tracking.frames import as_frame


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_frames_of_the_right_kind_are_taken_as_they_are(rgb: np.ndarray) -> None:
    assert as_frame(rgb) is rgb
    grey = rgb[..., 0]
    assert as_frame(grey) is grey


@pytest.mark.parametrize(
    "other",
    [lambda x: x / np.float32(255), lambda x: x / 255.0, lambda x: (x / 255.0).astype(np.float16),
     lambda x: x.astype(np.uint16) * 257, lambda x: x.astype(np.int64), lambda x: x.transpose(2, 0, 1),
     lambda x: x.transpose(2, 0, 1) / 255.0, lambda x: np.dstack([x, x[..., :1]]), lambda x: x.tolist()],
)  # fmt: skip
def test_other_types_and_orders_are_the_same_frame(rgb: np.ndarray, other) -> None:  # type: ignore[no-untyped-def]
    assert np.array_equal(as_frame(other(rgb)), rgb)


def test_one_channel_is_grey(rgb: np.ndarray) -> None:
    grey = rgb[..., 0]
    for frame in (grey[..., None], grey[None], grey / 255.0, grey[..., None].astype(np.uint16) * 257):
        assert np.array_equal(as_frame(frame), grey)


def test_twelve_bits_in_sixteen_are_scaled_by_their_own_range() -> None:
    assert as_frame(np.array([[0, 2048, 4095]], np.uint16)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("frame", "message"),
    [(None, r"object \(\).*None is a camera"), (np.zeros((4, 5)) - 0.2, r"float64 \(4, 5\).*-0\.2…-0\.2"),
     (np.full((4, 5, 3), 200.0, np.float32), r"float32 \(4, 5, 3\).*200…200"), (np.full((4, 5), np.nan), r"nan…nan"),
     (np.zeros((2, 4, 5, 3), np.uint8), r"uint8 \(2, 4, 5, 3\)"), (np.zeros((4, 5, 2), np.uint8), r"\(4, 5, 2\).*channels"),
     (np.zeros(7, np.uint8), r"uint8 \(7,\)"), (np.zeros((0, 5), np.uint8), r"uint8 \(0, 5\).*empty"),
     (np.full((4, 5), 70_000, np.int32), r"int32 \(4, 5\).*70000"), (np.zeros((4, 5), bool), r"bool \(4, 5\)"),
     (np.full((4, 5), -3, np.int16), r"int16 \(4, 5\).*-3"),
     ("photo.jpg", r"<U9 \(\)"), (np.zeros((4, 5), complex), r"complex128")],
)  # fmt: skip
def test_what_is_no_frame_is_refused_by_type_and_shape(frame: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        as_frame(frame)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV", "1", "L", "RGBA", "I;16", "I;16B"])
def test_pillows_images_are_what_they_show(mode: str) -> None:
    """Numbers of a palette's entries, or of other colours, are no brightness."""
    shown = np.zeros((20, 30, 3), np.uint8)
    shown[:, 15:] = 255
    deep = {"I;16": "<u2", "I;16B": ">u2"}
    if mode in deep:
        grey = (shown[..., 0].astype(np.uint16) * 257).astype(deep[mode])
        frame = as_frame(Image.frombytes(mode, (30, 20), grey.tobytes()))
    else:
        frame = as_frame(Image.fromarray(shown).convert(mode))
    assert np.abs(frame.astype(int).reshape(20, 30, -1) - shown[..., :1]).max() <= 1


@pytest.mark.parametrize("tag", [1, 3, 6, 8])
def test_pillows_photographs_are_turned_upright(tag: int) -> None:
    shown = np.zeros((20, 30, 3), np.uint8)
    shown[:4] = 255
    stored = np.rot90(shown, {1: 0, 3: 2, 6: 1, 8: -1}[tag])
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = tag
    Image.fromarray(stored).save(buffer, "PNG", exif=exif)
    assert np.array_equal(as_frame(Image.open(buffer)), shown)


def test_tensors_of_half_precision_and_what_resizing_leaves_beyond_the_range_are_frames(rgb: np.ndarray) -> None:
    half = torch.from_numpy(rgb / 255.0).to(torch.bfloat16)
    assert np.abs(as_frame(half).astype(int) - rgb).max() <= 1
    assert as_frame(np.array([[-1e-9, 0.5, 1.0000001]])).tolist() == [[0, 128, 255]]
    with pytest.raises(UserError, match=r"frame is tuple, and no array \(.*give \(H, W\) grey or"):
        as_frame((True, rgb))


def test_tensors_that_know_gradients_are_frames(rgb: np.ndarray) -> None:
    tensor = torch.from_numpy(rgb / 255.0).permute(2, 0, 1).requires_grad_()
    assert np.array_equal(as_frame(tensor), rgb)  # type: ignore[arg-type]
