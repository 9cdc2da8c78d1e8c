"""Kept crops give nearly the same batches; stale, damaged and unfinished files are made anew."""

import json
import pickle
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from conftest import run_script
from trackertraincode.augmentation import cache_files
from trackertraincode.augmentation.cache_files import cache_file, open_cache, open_caches
from trackertraincode.augmentation.crop import GeometryOptions, crop_maps, crop_squares
from trackertraincode.augmentation.crop_cache import CropCache, Kept, keep, margin_of
from trackertraincode.augmentation.device_batches import DeviceBatches, DeviceFaces, DrawnThere
from trackertraincode.augmentation.intensity import tabled, tabled_on_device
from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions, Preset
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.datasets.mixing import Member
from trackertraincode.errors import SampleFormatError, UserError
from trackertraincode.geometry.constants import constant
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.packed import PackedBatch
from trackertraincode.sample.sample import LABELS, Sample

OPTIONS, CPU = AugmentationOptions(), torch.device("cpu")
SMOOTH = OPTIONS.training_preset(size=65, tables=False)


def smooth_image(seed: int) -> np.ndarray:
    """(300, 400) with edges that are a few pixels wide, as in photographs."""
    noise = np.random.default_rng(seed).normal(128, 300, (300, 400))
    return cv2.GaussianBlur(noise.clip(-400, 600).astype(np.float32), (0, 0), 4.0).clip(0, 255).astype(np.uint8)


@pytest.fixture
def member(tmp_path: Path, make_sample: Callable[..., Sample]) -> Member:
    return make_member(tmp_path / "faces.h5", make_sample)


def make_member(path: Path, make_sample: Callable[..., Sample], **changes: Any) -> Member:
    with PoseWriter(path, source={}, face_model="embedded-v1") as writer:
        for seed in range(24):
            low = np.random.default_rng(seed).uniform([0, 0], [240, 120]).astype(np.float32)
            box = np.concatenate([low, low + [120 + 3 * seed, 140 + 2 * seed]]).astype(np.float32)
            writer.write(make_sample(seed, **{"image": encode_png(smooth_image(seed)), "face_box": box} | changes))
    return Member("faces", Hdf5PoseDataset(path), np.arange(24), 1.0, tuple(LABELS))


def batches(member: Member, preset: Preset = SMOOTH, caches: list[CropCache] | tuple = ()) -> TrainBatches:
    return TrainBatches(
        [member], preset, batchsize=24, samples_per_epoch=48, seed=3, face_model="embedded-v1", caches=caches
    )


def caches_of(member: Member, quality: str = "full", *, ram: bool = False, preset: Preset = SMOOTH) -> list[CropCache]:
    return open_caches([member], Kept.of(preset, quality), None, 0, ram=ram)


@pytest.mark.parametrize("color", [False, True])
def test_batches_are_nearly_those_of_the_images(member: Member, color: bool) -> None:
    preset = OPTIONS.training_preset(size=65, tables=False, color=color)
    plain = checked(batches(member, preset)[0, 1]).unpack()
    for quality, limit in (("full", 1.1), ("small", 1.3)):
        kept = checked(batches(member, preset, caches_of(member, quality, preset=preset))[0, 1]).unpack()
        for name, values in plain.labels.items():
            assert torch.equal(values.nan_to_num(-9), kept.labels[name].nan_to_num(-9)), name
        assert (plain.image.float() - kept.image.float()).abs().mean() < limit


def test_error_and_size_on_real_images(shared_data: Path, tmp_path: Path) -> None:
    """For 122,000 faces: 11 GB with 0.7 grey levels, 6 GB with 1.3; of 384 crops, since few reach
    beyond what is kept."""
    path = tmp_path / "aflw2k.h5"
    run_script("dsprocess_aflw2k.py", shared_data / "aflw2000" / "AFLW2000-3D.zip", path, "-n", "64", "--workers", "0")
    member = Member("aflw2k", Hdf5PoseDataset(path), np.arange(64), 1.0, tuple(LABELS))
    preset = OPTIONS.training_preset(tables=False)
    steps = [(epoch, step) for epoch in range(8) for step in (0, 1)]
    plain = [checked(batches(member, preset)[step]).image.float() for step in steps]
    for quality, gigabytes, limit in (("full", 11, 0.7), ("small", 6, 1.3)):
        caches = caches_of(member, quality, preset=preset)
        assert len(caches[0].blob) / 64 * 122_000 < gigabytes * 1e9
        kept = [checked(batches(member, preset, caches)[step]).image for step in steps]
        assert np.mean([float((a - b).abs().mean()) for a, b in zip(plain, kept)]) < limit


def test_what_is_as_large_as_the_face_is_kept_as_it_is() -> None:
    image, kept = smooth_image(0), Kept(160, 2.0, False, "original")
    crop, (_, size, scale, corner) = keep(image, np.array([100.0, 100.0, 200.0, 180.0]), kept)  # type: ignore[misc]
    assert np.array_equal(crop, image[40:240, 50:250])
    assert (size.tolist(), scale.tolist(), corner.tolist()) == ([200, 200], [1.0, 1.0], [50, 40])
    assert keep(image, np.array([-90.0, 0.0, -50.0, 40.0]), kept) is None


@pytest.mark.parametrize("ram", [False, True])
def test_crops_go_to_other_processes(member: Member, ram: bool) -> None:
    (cache,) = caches_of(member, ram=ram)
    again = pickle.loads(pickle.dumps(cache))
    assert all(np.array_equal(cache.crop(row), again.crop(row)) for row in range(24))


def test_it_is_made_once_and_anew_when_the_data_change(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    made, build = [], cache_files.build

    def note(*arguments: Any) -> None:
        made.append(arguments[2].name)
        build(*arguments)

    monkeypatch.setattr(cache_files, "build", note)
    for _ in range(2):
        caches_of(member)
    assert len(made) == 1
    caches_of(member, "small")
    assert len(set(made)) == 2
    with member.dataset.path.open("ab") as file:
        file.write(b"more")
    caches_of(member)
    assert made == [made[0], made[1], made[0]]


def test_files_of_one_name_have_caches_of_their_own(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    kept, members = Kept.of(SMOOTH, "full"), []
    for folder, image in (("a", smooth_image(0)), ("b", smooth_image(1))):
        (tmp_path / folder).mkdir()
        members.append(make_member(tmp_path / folder / "faces.h5", make_sample, image=encode_png(image)))
    one, other = open_caches(members, kept, tmp_path / "crops", 0, ram=False)
    assert not np.array_equal(one.crop(3), other.crop(3))
    assert len(list((tmp_path / "crops").iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "table", "empty", "text"])
def test_a_damaged_one_is_made_anew(member: Member, damage: str) -> None:
    (cache,) = caches_of(member)
    file, header = cache_file(member.dataset.path, Kept.of(SMOOTH, "full"), None)
    content = file.read_bytes()
    place = len(cache.blob) + 5
    changed = {
        "cut": content[:-100], "table": content[:place] + b"?" + content[place + 1 :], "empty": b"", "text": b"x" * 500,
    }  # fmt: skip
    file.unlink()
    file.write_bytes(changed[damage])
    assert open_cache(file, header, 24) is None
    caches_of(member)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("field", "value"), [("offset", -1), ("offset", 1 << 62), ("size", 1 << 30), ("size", 1), ("corner", np.nan)]
)
def test_one_whose_crops_lie_elsewhere_is_made_anew(member: Member, field: str, value: float) -> None:
    """As a stranger could make it, who brings it beside the data."""
    (cache,) = caches_of(member)
    file, header = cache_file(member.dataset.path, Kept.of(SMOOTH, "full"), None)
    content, end = file.read_bytes(), len(cache.blob)
    table, text = cache.table.copy(), json.dumps(header).encode()
    table[field][3] = value
    tail = table.tobytes() + text
    seal = np.array((end, end + table.nbytes, zlib.crc32(tail), cache_files.MAGIC), cache_files.SEAL)
    file.unlink()
    file.write_bytes(content[:end] + tail + seal.tobytes())
    caches_of(member)
    assert file.read_bytes() == content


def test_what_another_process_makes_is_waited_for(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    build, waited = cache_files.build, []

    def busy(*arguments: Any) -> None:
        raise UserError("x.crops: another process is writing this file; wait for its end or choose another name.")

    def finished(seconds: float) -> None:
        waited.append(seconds)
        monkeypatch.setattr(cache_files, "build", build)

    monkeypatch.setattr(cache_files, "build", busy)
    monkeypatch.setattr(cache_files.time, "sleep", finished)
    caches_of(member)
    assert len(waited) == 1


def test_rows_without_a_crop_come_from_their_images(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    whole = encode_png(smooth_image(0))
    bad = make_member(tmp_path / "bad.h5", make_sample, image=whole[: len(whole) // 2])
    caches = caches_of(bad)
    assert not caches[0].has(np.arange(24)).any()
    with pytest.raises(SampleFormatError, match=r"bad\.h5: data set 'images', row \d+ doesn't decode"):
        checked(batches(bad, caches=caches)[0, 0])
    with pytest.raises(SampleFormatError, match=r"bad\.h5: data set 'images', row 0 doesn't decode"):
        DeviceFaces([bad], caches, SMOOTH, None, CPU)


def test_margins_hold_the_crops() -> None:
    assert margin_of(GeometryOptions()) == 2.2
    assert margin_of(GeometryOptions(factor_range=(0.9, 1.6))) > 2.4
    assert margin_of(GeometryOptions(looseness=(0.2, 0.4))) == pytest.approx(2.6)


@pytest.mark.parametrize("color", [False, True])
def test_batches_made_on_the_device_are_those_of_the_loader(member: Member, color: bool) -> None:
    preset = OPTIONS.training_preset(size=65, tables=False, color=color)
    few = Member("few", member.dataset, member.rows[3:20], 2.0, ("rotation", "face_box"), loss_weight=0.5)
    members, caches = [member, few], open_caches([member, few], Kept.of(preset, "full"), None, 0, ram=False)
    loaded = TrainBatches(
        members, preset, batchsize=24, samples_per_epoch=48, seed=3, face_model="embedded-v1", caches=caches
    )
    faces = DeviceFaces(members, caches, preset, "embedded-v1", CPU)
    for step, there in enumerate(DeviceBatches(loaded, faces, lambda: 1)):
        here = checked(loaded[1, step]).unpack()
        found = there.tensors()
        for name, values in here.tensors().items():
            if name != "image":
                assert torch.allclose(values.float(), found[name].float(), rtol=0, atol=1e-5, equal_nan=True), name
        geometry = DrawnThere.of(loaded.drawn(1, step), CPU).select(loaded.part(step)).geometry
        places = faces.places(loaded.plan(1))[loaded.part(step)]
        maps = crop_maps(crop_squares(faces._boxes[places], geometry), geometry, 65)
        assert (faces.crops(places, maps) - here.image).abs().max() <= 0.51  # OpenCV rounds
        assert (there.image - here.image).abs().max() <= 1


class Traffic(TorchDispatchMode):
    """Notes operations between devices, and those that make a GPU wait though nothing of it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        kinds = {t.device.type for t in tree_leaves([args, kwargs, result]) if isinstance(t, torch.Tensor)}
        if len(kinds) > 1 or "linalg_inv" in str(func):
            self.found.append(str(func))
        return result


def test_batches_made_on_a_gpu_never_wait(member: Member) -> None:
    """Fake tensors refuse to mix devices and to tell their values; constants are on the device after one batch."""
    preset = OPTIONS.training_preset(size=33)
    caches, gpu = caches_of(member, preset=preset), torch.device("cuda")
    faces, loaded, traffic = (
        DeviceFaces([member], caches, preset, "embedded-v1", CPU),
        batches(member, preset),
        Traffic(),
    )
    sent = DrawnThere.of(loaded.drawn(0, 0), CPU).select(slice(0, 24))

    def there(value: Any) -> Any:
        return torch.empty(value.shape, dtype=value.dtype, device=gpu) if isinstance(value, torch.Tensor) else value

    constant.cache_clear()
    with FakeTensorMode():
        for name, value in vars(faces).items():
            vars(faces)[name] = {k: there(v) for k, v in value.items()} if isinstance(value, dict) else there(value)
        faces.device = gpu
        geometry = replace(sent.geometry, **{name: there(value) for name, value in vars(sent.geometry).items()})
        assert sent.changes is not None
        changes = (there(sent.changes[0]), there(sent.changes[1]), there(sent.changes[2]))
        places = torch.empty(24, dtype=torch.long, device=gpu)
        for mode in (nullcontext(), traffic):
            with mode:
                batch = faces.batch(places, DrawnThere(geometry, changes))
        assert {value.device.type for value in batch.tensors().values()} == {"cuda"}
    constant.cache_clear()
    assert traffic.found == []


def test_loaded_batches_go_to_a_gpu_in_two_copies_that_do_not_wait(member: Member) -> None:
    packed, copies = checked(batches(member)[0, 0]), []

    class Sent(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if len({t.device.type for t in tree_leaves([args, result]) if isinstance(t, torch.Tensor)}) > 1:
                copies.append((kwargs or {}).get("non_blocking"))
            return result

    with FakeTensorMode() as fake:
        here = PackedBatch(*(fake.from_tensor(tensor) for tensor in packed))
        with Sent():
            batch = here.to("cuda", non_blocking=True).unpack()
    assert copies == [True, True]
    assert {value.device.type for value in batch.tensors().values()} == {"cuda"}


def test_tables_on_the_device_are_those_of_the_loader(member: Member) -> None:
    loaded = batches(member, OPTIONS.training_preset(size=65), caches_of(member))
    images = checked(batches(member)[0, 0]).unpack().image[:, 0].numpy()
    found = dict.fromkeys(("equalize", "blur"), 0)
    for step in range(6):
        changes = loaded.drawn(0, 0).changes.select(slice(24 * step, 24 * step + 24))  # type: ignore[union-attr]
        for name in found:
            found[name] += len(changes.has(name))
        blurred = images.copy()
        tables = tabled(blurred, changes)
        steps, parameters = torch.from_numpy(changes.steps), torch.from_numpy(changes.parameters)
        there, found_tables = tabled_on_device(torch.from_numpy(images)[:, None].float(), steps, parameters)
        same = (there[:, 0].numpy() == blurred).all((1, 2))
        assert same.mean() > 0.9  # a blurred pixel may be rounded the other way
        assert np.abs(there[:, 0].numpy() - blurred).max() <= 1
        assert np.array_equal(found_tables.numpy()[same], tables[same])
    assert min(found.values()) > 5
