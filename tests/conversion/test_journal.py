"""Parts of an interrupted conversion: whole and true, or made again."""

import errno
from dataclasses import fields
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from trackertraincode.conversion.journal import Journal, Outcome, Skip, load_part, save_part
from trackertraincode.sample.sample import Sample

PLAIN = Sample(image=b"png", name="item 1", face_box=np.array([0, 0, 2, 5.0]), sequence="0")
EVERYTHING = Sample(
    image=b"\xff\xd8\xff image",
    name="a/ü.jpg",
    sequence="7",
    rotation=np.array([0.1, 0, 0, 1]),
    landmarks=np.full((68, 3), np.nan, np.float32),
    has_face=False,
    individual=cast(int, np.int64(3)),
    segmentation=np.zeros((2, 3), np.uint8),
)


def test_a_part_keeps_every_value_and_type(tmp_path: Path) -> None:
    save_part(tmp_path / "0.part", Outcome([PLAIN, EVERYTHING], [Skip("item 2", "why")]))
    outcome = load_part(tmp_path / "0.part")
    assert outcome is not None
    assert outcome.skips == [Skip("item 2", "why")]
    assert [s.name for s in outcome.samples] == ["item 1", "a/ü.jpg"]
    for field in fields(Sample):
        before, after = (getattr(s, field.name) for s in (EVERYTHING, outcome.samples[1]))
        np.testing.assert_array_equal(before, after)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype


def test_a_part_is_as_readable_as_other_files(tmp_path: Path) -> None:
    """Workers of a scheduler may belong to another user."""
    save_part(tmp_path / "0.part", Outcome([PLAIN], []))
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "0.part").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_who_may_write_beside_the_destination_may_write_parts(tmp_path: Path) -> None:
    """Workers of a scheduler may belong to another user, for whom a folder of this user's umask is closed."""
    tmp_path.chmod(0o777)
    with Journal(tmp_path / "faces.h5.parts", "{}").started(resume=False, overwrite=False, shared=True):
        assert (tmp_path / "faces.h5.parts").stat().st_mode == tmp_path.stat().st_mode


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        save_part(tmp_path / "0.part", Outcome([PLAIN], []))
    assert raised.value.filename == str(tmp_path / "0.part")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_part_that_was_cut_short_is_none(tmp_path: Path, size: int) -> None:
    part = tmp_path / "0.part"
    save_part(part, Outcome([PLAIN], []))
    part.write_bytes(part.read_bytes()[:size])
    assert load_part(part) is None
