"""Checkpoints are whole or not there, and make no more than they weigh."""

import errno
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trackertraincode.errors import ModelFileError
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import average, load_network, save_network
from trackertraincode.models.pose_network import NetworkConfig, PoseNetwork
from trackertraincode.models.weights import no_larger_than, read_plain, save_plain


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


def changed(source: Path, path: Path, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """A copy of what torch saved with other members."""
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(path, "w", method) as bad:
        for name in good.namelist():
            bad.writestr(name, change(name, good.read(name)))
    return path


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x10\x85R.", r"calls builtins\.bytearray"),
        (b"\x80\x02ctorch\nTensor\nJ\x00\x00\x00\x10\x85R.", r"calls torch\.Tensor"),
        (b"\x80\x02ctorch\nTensor\nJ\x00\x00\x00\x10\x85\x81.", r"calls torch\.Tensor"),
    ],
)
def test_numbers_make_no_bytes(tmp_path: Path, pickled: bytes, message: str) -> None:
    torch.save({}, tmp_path / "a.ckpt")
    path = changed(tmp_path / "a.ckpt", tmp_path / "b.ckpt", lambda n, data: pickled if n.endswith(".pkl") else data)
    with pytest.raises(ModelFileError, match=message):
        read_plain(path)


def test_compressed_files_are_refused(tmp_path: Path) -> None:
    """A thousand zeros take a byte then."""
    torch.save(torch.zeros(100_000), tmp_path / "a.ckpt")
    path = changed(tmp_path / "a.ckpt", tmp_path / "b.ckpt", lambda _, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match=r"b\.ckpt: not a readable checkpoint \(it is compressed"):
        read_plain(path)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value, value]
    return value


def deep(depth: int) -> Any:
    return {"a": deep(depth - 1)} if depth else 1


def holding_itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(1).expand(2**40), "makes 4,398,046,511,105 bytes of"),
        ({"a": torch.zeros(2**40, device="meta")}, "makes 4,398,046,511,"),
        ([torch.zeros(1_000_000)[:]] * 9, "makes 36,000,010 bytes of"),
        (["x" * 1_000_000] * 9, "makes 9,000,010 bytes of"),
        (nested(60), "makes 2,305,843,"),
        (holding_itself(), "makes"),
        ({"a": torch.eye(3).to_sparse()}, "sparse or quantised"),
        ({"a": torch.eye(3).to(torch.complex64)}, "one of torch.complex64"),
        (deep(200), "more than 100 lists in each other"),
    ],
)
def test_what_stands_in_a_file_once_is_not_made_many_times(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ModelFileError, match=message):
        read_plain(tmp_path / "a.ckpt")


def test_a_network_is_no_larger_than_its_weights() -> None:
    with no_larger_than(0):
        nn.Linear(1000, 1000)
    with pytest.raises(ModelFileError, match="much larger than its weights, which have 0 bytes"), no_larger_than(0):
        nn.Linear(10_000, 10_000, device="meta")
    with pytest.raises(ModelFileError, match="much larger"), no_larger_than(0):
        nn.Module().register_buffer("table", torch.empty(10_000, 10_000, device="meta"))
    nn.Linear(10_000, 10_000, device="meta")


def test_the_mean_of_two_networks_is_that_of_their_weights(tmp_path: Path) -> None:
    config = NetworkConfig(backbone="repvgg_az", input_size=65)
    for name in ("a", "b"):
        save_network(tmp_path / f"{name}.ckpt", PoseNetwork(config), About(trained_on=[name]))
    mean, about = average({tmp_path / "a.ckpt": 0.25, tmp_path / "b.ckpt": 0.75})
    a, b = (load_network(tmp_path / f"{name}.ckpt")[0].state_dict() for name in ("a", "b"))
    for name, found in mean.state_dict().items():
        expected = 0.25 * a[name] + 0.75 * b[name] if found.is_floating_point() else a[name]
        torch.testing.assert_close(found, expected)
    assert about.trained_on == ["a"]
    save_network(tmp_path / "b.ckpt", PoseNetwork(NetworkConfig(backbone="repvgg_az", input_size=129)), About())
    with pytest.raises(ModelFileError, match=r"b\.ckpt: a network of other options than .*a\.ckpt"):
        average({tmp_path / "a.ckpt": 0.5, tmp_path / "b.ckpt": 0.5})
