"""The image codec: sizes from headers, colour order, refusal of what isn't an image."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from trackertraincode.sample import images
from trackertraincode.sample.orientation import orientation

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (37, 53, 3), dtype=np.uint8)


@pytest.mark.parametrize("encode", [images.encode_jpeg, images.encode_png])
def test_size_from_the_header_equals_the_decoded_size(encode) -> None:
    data = encode(IMAGE)
    height, width = images.decode(data).shape
    assert images.image_size(data) == (width, height) == (53, 37)


def test_png_round_trip_keeps_colours_and_labels() -> None:
    assert np.array_equal(images.decode(images.encode_png(IMAGE), color=True), IMAGE)
    assert np.array_equal(images.decode_labels(images.encode_png(IMAGE[..., 0])), IMAGE[..., 0])


def test_labels_are_numbers_of_a_palette_and_never_colours() -> None:
    labels = RNG.integers(0, 19, (37, 53), dtype=np.uint8)
    indexed = Image.fromarray(labels, "P")
    indexed.putpalette([v for i in range(256) for v in (255 - i, i // 2, 0)])
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG", bits=8, transparency=3)
    assert np.array_equal(images.decode_labels(buffer.getvalue()), labels)
    with pytest.raises(images.ImageDecodeError, match="a label image with colours instead of numbers of classes"):
        images.decode_labels(images.encode_png(IMAGE))


@pytest.mark.parametrize("reduce", [1, 2, 4])
def test_reduced_decoding_divides_the_size_and_keeps_the_colour_order(reduce) -> None:
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 0] = 200
    small = images.decode(images.encode_jpeg(red), color=True, reduce=reduce)
    assert small.shape == (64 // reduce, 96 // reduce, 3)
    assert small[5, 5, 0] > 150 > 50 > small[5, 5, 2]


def test_sniffing_reads_bytes_not_names() -> None:
    assert images.sniff(images.encode_jpeg(IMAGE)) == "jpeg"
    assert images.sniff(images.encode_png(IMAGE)) == "png"
    assert images.sniff(b"GIF89a") is None


@pytest.mark.parametrize("data", [b"", b"hello", images.encode_jpeg(IMAGE)[:4]])
@pytest.mark.parametrize("function", [images.decode, images.image_size])
def test_what_is_no_image_is_refused(function, data: bytes) -> None:
    with pytest.raises(images.ImageDecodeError, match=r"not a|without a frame"):
        function(data)


SMOOTH = cv2.GaussianBlur(RNG.integers(0, 255, (240, 320, 3), dtype=np.uint8), (0, 0), 2)
JPEGS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 5],
}


@pytest.fixture(params=[*JPEGS, "grey", "CMYK", "png"], name="whole")
def whole_file(request: pytest.FixtureRequest) -> bytes:
    """An image of 320 × 240 pixels as a file."""
    if request.param == "png":
        return images.encode_png(SMOOTH)
    if request.param in JPEGS:
        return cv2.imencode(".jpg", SMOOTH, JPEGS[request.param])[1].tobytes()
    if request.param == "grey":
        return images.encode_jpeg(SMOOTH[..., 0])
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("tail", [b"", bytes(4096), b"\xff" * 100, b"\xff\xd8\xff\xe0 a film", b"x" * 500])
def test_a_whole_file_may_have_bytes_behind_its_end(whole: bytes, tail: bytes) -> None:
    assert images.check_image(whole + tail) == (320, 240)


@pytest.mark.parametrize("zeros", [1, 8, 400])
def test_zeros_before_the_end_mark_and_bytes_between_segments_do_no_harm(zeros: int) -> None:
    """As some cameras write them; a scan may end in FF 00, which are data."""
    jpeg = images.encode_jpeg(SMOOTH)
    table = jpeg.index(b"\xff\xdb")
    for data in (jpeg[:-2] + bytes(zeros) + jpeg[-2:], jpeg[:table] + b"\x01\x02" * zeros + jpeg[table:]):
        assert images.check_image(data) == images.image_size(data) == (320, 240)
        assert np.array_equal(images.decode(data), images.decode(jpeg))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("tjDecompressHeader3(): Could not determine subsampling level"),
        ValueError("Invalid SOS parameters"),
        ValueError("Warning: JFIF 9"),
        KeyError(6),  # as simplejpeg ends for four rows of brightness to one of colour
    ],
)
def test_what_the_strict_decoder_does_not_like_but_opencv_reads_is_whole(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: bytes) -> None:
        raise error

    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", refuse)
    jpeg = images.encode_jpeg(SMOOTH)
    assert images.check_image(jpeg + b"tail") == (320, 240)
    for cut in (400, 5000, -1):
        with pytest.raises(images.ImageDecodeError, match="bytes of JPEG, cut off before the end"):
            images.check_image(jpeg[:cut])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.98])
def test_a_file_that_is_cut_is_not_whole_even_when_it_was_closed(whole: bytes, share: float) -> None:
    cut = whole[: int(share * len(whole))]
    for tail in (b"", b"\xff\xd9"):
        with pytest.raises(
            images.ImageDecodeError, match=r"\d+ bytes of (JPEG|PNG), (cut off before the end|damaged \()"
        ):
            images.check_image(cut + tail)


@pytest.mark.parametrize(
    "hole", [b"\x55" * 500, bytes(500), b"", b"\xff\xc4" * 250], ids=["flipped", "zero", "left out", "a marker"]
)
def test_a_file_with_a_hole_is_not_whole(whole: bytes, hole: bytes) -> None:
    half = len(whole) // 2
    with pytest.raises(
        images.ImageDecodeError,
        match=r"\d+ bytes(.* (damaged \((Corrupt JPEG data|Bogus)|not a readable)| of PNG, cut off before)",
    ):
        images.check_image(whole[:half] + hole + whole[half + 500 :])


@pytest.mark.parametrize(
    ("edge", "reason"),
    [(60_000, "more than 1073741824"), (2**31 - 1, "more than 1073741824"), (30_000, r"in [\d,]+ bytes")],
)
def test_an_image_of_too_many_pixels_is_refused_everywhere(
    edge: int, reason: str, capfd: pytest.CaptureFixture
) -> None:
    """Too many to decode, or for a file of so few bytes."""
    jpeg = bytearray(images.encode_jpeg(IMAGE))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", min(edge, 60_000), min(edge, 60_000))
    header = b"IHDR" + struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    png = bytearray(images.encode_png(IMAGE))
    png[12:33] = header + struct.pack(">I", zlib.crc32(header))
    for function in (images.check_image, images.decode, images.decode_labels):
        for data in (bytes(jpeg), bytes(png)):
            with pytest.raises(images.ImageDecodeError, match=rf"\d+ × \d+ pixels,? {reason}; refused"):
                function(data)
    assert capfd.readouterr().err == ""  # where the decoders say more


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (10, 2), (12, 4), (14, 6), (16, 8)])
def test_deep_values_are_scaled_by_the_range_of_their_sensor(bits: int, shift: int) -> None:
    deep = RNG.integers(0, 2**bits, (40, 40), dtype=np.uint16)
    deep[0, 0] = 2**bits - 1
    assert np.array_equal(images.decode(images.encode_png(deep)), deep >> shift)
    colour = images.decode(images.encode_png(np.stack([deep, deep // 2, deep // 4], axis=-1)), color=True)
    assert np.array_equal(colour[..., 2], deep // 4 >> shift)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_upright_is_what_viewers_show(tag: int, kind: str) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", tag
    Image.fromarray(SMOOTH).save(buffer, kind, quality=95, exif=exif)
    assert orientation(buffer.getvalue()) == (1 if kind == "WEBP" else tag)  # which files of samples lack
    shown = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    upright = images.decode(buffer.getvalue(), color=True, upright=True)
    assert upright.shape == shown.shape
    assert np.abs(upright.astype(int) - shown).mean() < 1
    assert images.decode(buffer.getvalue()).shape == (240, 320)


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(30)])
def test_a_damaged_orientation_counts_as_upright(exif: bytes) -> None:
    content = b"Exif\0\0" + exif
    jpeg = images.encode_jpeg(IMAGE)
    assert orientation(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]) == 1


@pytest.mark.parametrize("tag", [1, 3, 6])
def test_the_first_note_of_an_orientation_counts_and_turns(tag: int) -> None:
    """Whatever OpenCV makes of several, or of damaged ones."""
    jpeg = images.encode_jpeg(SMOOTH)

    def note(entries: bytes, count: int) -> bytes:
        content = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4)
        return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content

    place = struct.pack("<HHII", 0x010E, 2, 2**20, 2**31)  # a text that isn't there
    value = struct.pack("<HHIHH", 0x0112, 3, 1, tag, 0)
    for notes in (note(b"", 0) + note(value, 1), note(place + value, 2)):
        data = jpeg[:2] + notes + jpeg[2:]
        assert orientation(data) == tag
        expected = np.rot90(images.decode(jpeg), {1: 0, 3: 2, 6: -1}[tag])
        assert np.array_equal(images.decode(data, upright=True), expected)


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "AVIF"])
def test_other_kinds_of_images_are_named_where_they_are_refused(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).save(buffer, kind)
    name = {"WEBP": "WebP", "JPEG2000": "JPEG 2000"}.get(kind, kind)
    with pytest.raises(
        images.ImageDecodeError, match=rf"bytes, {name} \(convert it to JPEG or PNG\), not a JPEG or PNG"
    ):
        images.check_image(buffer.getvalue())
    with pytest.raises(images.ImageDecodeError, match=r"bytes, HEIF \(convert it .*, not a readable JPEG or PNG file"):
        images.decode(b"\0\0\0\x18ftypheic" + bytes(99))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypmif1", r"HEIF \(.*\)"),
        (b"\0\0\0\x18ftypavis", r"AVIF \(.*\)"),
        (b"\0\0\0\x18ftypmp42", "a video"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", r"a pointer of Git LFS \(git lfs pull\)"),
        (bytes(500), "all of them zero"),
        (b"", "0 bytes"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, name: str) -> None:
    with pytest.raises(images.ImageDecodeError, match=f"{name}, not a JPEG or PNG file"):
        images.check_image(data)


def is_whole(data: bytes) -> bool:
    try:
        images.check_image(data)
    except images.ImageDecodeError:
        return False
    return True


@pytest.mark.parametrize(("size", "share"), [(16, 0.4), (64, 0.15), (512, 0.0)])
def test_most_holes_of_any_bytes_are_found(size: int, share: float) -> None:
    """Markers, bytes that shift the means of blocks, too few or too many of them."""
    rng = np.random.default_rng(size)
    jpeg = images.encode_jpeg(np.clip(SMOOTH.astype(int) * 2 - 100, 0, 255).astype(np.uint8), 90)
    start, count = jpeg.index(b"\xff\xda") + 14, 60
    places = rng.integers(start, len(jpeg) - size - 2, count).tolist()
    missed = sum(is_whole(jpeg[:place] + rng.bytes(size) + jpeg[place + size :]) for place in places)
    assert missed <= share * count


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
def test_brightness_of_sound_images_is_never_doubted(quality: int) -> None:
    rng = np.random.default_rng(quality)
    blocks = np.kron(rng.integers(0, 2, (9, 12, 3)), np.ones((8, 8, 1), int)) * 255
    for pixels in (blocks, rng.integers(0, 2, (70, 90, 3)) * 255, np.zeros((64, 64, 3)), np.full((5, 3, 3), 255)):
        for options in ({}, {"progressive": True, "subsampling": 0}, {"subsampling": 2, "optimize": True}):
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=quality, **options)
            images.check_image(buffer.getvalue())


def test_a_png_chunk_that_claims_gigabytes_is_refused() -> None:
    data = bytearray(images.encode_png(IMAGE))
    place = data.index(b"IDAT")
    data[place - 4 : place] = (3 << 30).to_bytes(4, "big")
    for read in (images.decode, images.decode_labels, images.check_image):
        told = "PNG, cut off before the end" if read is images.check_image else "not a readable"
        with pytest.raises(images.ImageDecodeError, match=told):
            read(bytes(data))
