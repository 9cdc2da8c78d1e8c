"""Checkpoints are whole or not there."""

import errno
from pathlib import Path

import pytest
import torch

from trackertraincode.models.weights import save_plain


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
def test_a_full_disk_is_said_so() -> None:
    """Torch speaks of an unexpected position instead."""
    with pytest.raises(OSError, match="/dev/full") as full:
        save_plain(Path("/dev/full"), {"a": torch.zeros(1_000_000)})
    assert full.value.errno == errno.ENOSPC


def test_nothing_is_left_of_what_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: object, path: Path) -> None:
        path.write_bytes(b"a part")
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 196864 vs 196760")

    (tmp_path / "a.ckpt").write_bytes(b"before")
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"a\.ckpt"):
        save_plain(tmp_path / "a.ckpt", {})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
