"""Batches that a device makes of kept crops, and how batches come to it."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from kept_crops import CPU, OPTIONS, batches, caches_of
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trackertraincode.augmentation.cache_files import open_caches
from trackertraincode.augmentation.crop import crop_maps, crop_squares
from trackertraincode.augmentation.crop_cache import Kept
from trackertraincode.augmentation.device_batches import DeviceBatches, DeviceFaces, DrawnThere
from trackertraincode.augmentation.intensity import tabled, tabled_on_device
from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.datasets.mixing import Member
from trackertraincode.geometry.constants import constant
from trackertraincode.sample.packed import PackedBatch


@pytest.mark.parametrize(
    ("color", "roi_override"), [(False, "original"), (True, "landmarks"), (False, "extent_to_forehead")]
)
def test_batches_made_on_the_device_are_those_of_the_loader(member: Member, color: bool, roi_override: str) -> None:
    preset = replace(OPTIONS, roi_override=roi_override).training_preset(size=65, tables=False, color=color)
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


def test_making_a_batch_is_one_graph(member: Member) -> None:
    preset = OPTIONS.training_preset(size=33)
    loaded = batches(member, preset)
    faces = DeviceFaces([member], caches_of(member, preset=preset), preset, "embedded-v1", CPU)
    places, drawn = faces.places(loaded.plan(0)), DrawnThere.of(loaded.drawn(0, 0), CPU)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    whole = torch.compile(faces.batch, fullgraph=True, backend="eager")  # raises at a break
    for step in range(2):
        part, made = loaded.part(step), []
        for make in (whole, faces.batch):
            torch.manual_seed(0)
            made.append(make(places[part], drawn.select(part)).tensors())
        torch.testing.assert_close(*made, equal_nan=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()


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
