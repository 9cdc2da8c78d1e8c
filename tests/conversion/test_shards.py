"""Data sets written as several files: the samples of one file, none cut apart, resumed where they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trackertraincode.conversion.run import ConvertOptions, Source, run_converter
from trackertraincode.conversion.shards import Groups, plan_shards
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.sample.images import encode_png
from trackertraincode.sample.sample import Sample


def groups_of(sequences: list[int], persons: list[int]) -> Groups:
    groups = Groups()
    for sequence, person in zip(sequences, persons):
        groups.add(None if sequence < 0 else str(sequence), None if person < 0 else person)
    return groups


@pytest.mark.parametrize("seed", range(20))
def test_shards_are_all_rows_once_and_cut_no_sequence_or_person(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sequences, persons = rng.integers(-1, 30, 200), rng.integers(-20, 40, 200)
    groups = groups_of(sequences.tolist(), persons.tolist())
    most = len(groups.connected()[0])
    shards = plan_shards(groups, int(rng.integers(1, most + 1)))
    assert sorted(np.concatenate(shards).tolist()) == list(range(200))
    assert all(len(shard) and (np.diff(shard) > 0).all() for shard in shards)
    for names in (sequences, persons):
        homes = [set(names[shard][names[shard] >= 0].tolist()) for shard in shards]
        assert sum(map(len, homes)) == len(set.union(*homes))
    with pytest.raises(ConfigError, match=f"--shards {most + 1}: .* there are only {most} of them; ask for fewer"):
        plan_shards(groups, most + 1)


def test_shards_of_small_groups_are_even_and_in_order() -> None:
    shards = plan_shards(groups_of([i // 3 for i in range(96)], [-1] * 96), 8)
    assert [len(shard) for shard in shards] == [12] * 8
    assert np.concatenate(shards).tolist() == list(range(96))


def make(number: int) -> list[Sample]:
    image = encode_png(np.full((8, 100), number % 256, np.uint8))  # as wide as the boxes
    box = np.array([0, 0, number + 1, 5.0])
    return [
        Sample(image=image, name=f"item {number}", face_box=box, sequence=str(number // 10), individual=number // 20)
    ]


def options(folder: Path, **changes: Any) -> ConvertOptions:
    defaults: dict[str, Any] = {"source": folder / "x.zip", "destination": folder / "out.h5", "workers": 0}
    return ConvertOptions(**(defaults | changes))


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., None]:
    def run(**changes: object) -> None:
        run_converter(options(tmp_path, **changes), "test", Source(items=range(100), convert=make))

    return run


def test_shards_are_what_one_file_is(tmp_path: Path, convert: Callable[..., None]) -> None:
    convert(shards=3, workers=2)
    convert()
    one, several = Hdf5PoseDataset(tmp_path / "out.h5"), Hdf5PoseDataset(tmp_path / "out-*.h5")
    assert len(several) == 100
    for name, values in one.labels.items():
        np.testing.assert_array_equal(several.labels[name], values)
    np.testing.assert_array_equal(several.sequence_starts, one.sequence_starts)
    assert several.images(range(100)) == one.images(range(100))
    names = ["out.h5", *(f"out-0000{k}-of-00003.h5" for k in range(3))]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_shards_that_are_done_are_not_written_again(
    tmp_path: Path, convert: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PoseWriter.write
    written: list[str] = []

    def interrupted(self: PoseWriter, sample: Sample) -> None:
        if len(written) == 50:
            raise KeyboardInterrupt
        written.append(sample.name)
        write(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(PoseWriter, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(shards=3)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5.parts"]  # none has its name before all are there
    first = (tmp_path / "out.h5.parts" / "out-00000-of-00003.h5").stat()
    convert(shards=3, resume=True)
    assert (tmp_path / "out-00000-of-00003.h5").stat().st_mtime_ns == first.st_mtime_ns
    assert (Hdf5PoseDataset(tmp_path / "out-*.h5").labels["face_box"][:, 2] - 1).tolist() == list(range(100))


def test_shards_with_other_fields_are_named(tmp_path: Path) -> None:
    def uneven(number: int) -> list[Sample]:
        sample = make(number)[0]
        return [sample if number < 50 else Sample(image=sample.image, name=sample.name, sequence=sample.sequence)]

    with pytest.raises(SampleFormatError, match=r"out-0000\d-of-00002\.h5: its first sample .* only one has"):
        run_converter(options(tmp_path, shards=2), "test", Source(items=range(100), convert=uneven))
    assert list(tmp_path.iterdir()) == []


def test_too_many_shards_throw_no_work_away(tmp_path: Path) -> None:
    seen: list[int] = []

    def noted(number: int) -> list[Sample]:
        seen.append(number)
        return make(number)

    source = Source(items=range(40), convert=noted)
    with pytest.raises(ConfigError, match="there are only 2 of them; ask for fewer shards"):
        run_converter(options(tmp_path, shards=3), "test", source)
    assert len(seen) == 40
    run_converter(options(tmp_path, shards=2, resume=True), "test", source)
    assert len(seen) == 40
    assert len(list(tmp_path.glob("out-*-of-*.h5"))) == 2
