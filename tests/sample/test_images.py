"""The image codec: sizes from headers, colour order, refusal of what is no picture."""

import numpy as np
import pytest

from trackertraincode.sample import images

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (37, 53, 3), dtype=np.uint8)


@pytest.mark.parametrize("encode", [images.encode_jpeg, images.encode_png])
def test_size_from_the_header_equals_the_decoded_size(encode) -> None:
    data = encode(PICTURE)
    height, width = images.decode(data).shape
    assert images.image_size(data) == (width, height) == (53, 37)


def test_png_round_trip_keeps_colours_and_labels() -> None:
    assert np.array_equal(images.decode(images.encode_png(PICTURE), color=True), PICTURE)
    assert np.array_equal(images.decode_labels(images.encode_png(PICTURE[..., 0])), PICTURE[..., 0])


@pytest.mark.parametrize("reduce", [1, 2, 4])
def test_reduced_decoding_divides_the_size_and_keeps_the_colour_order(reduce) -> None:
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 0] = 200
    small = images.decode(images.encode_jpeg(red), color=True, reduce=reduce)
    assert small.shape == (64 // reduce, 96 // reduce, 3)
    assert small[5, 5, 0] > 150 > 50 > small[5, 5, 2]


def test_sniffing_reads_bytes_not_names() -> None:
    assert images.sniff(images.encode_jpeg(PICTURE)) == "jpeg"
    assert images.sniff(images.encode_png(PICTURE)) == "png"
    assert images.sniff(b"GIF89a") is None


@pytest.mark.parametrize("data", [b"", b"hello", images.encode_jpeg(PICTURE)[:4]])
@pytest.mark.parametrize("function", [images.decode, images.image_size])
def test_what_is_no_picture_is_refused(function, data: bytes) -> None:
    with pytest.raises(images.ImageDecodeError, match=r"not a|without a frame"):
        function(data)
