"""Files of one data set are read as the joined file is, and what is wrong with them is named."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import run_script
from trackertraincode.augmentation.loader import TrainBatches, checked
from trackertraincode.augmentation.presets import AugmentationOptions
from trackertraincode.datasets import shards
from trackertraincode.datasets.catalog import DatasetSpec, choose
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import open_mixture
from trackertraincode.datasets.sample_file import SampleFile
from trackertraincode.datasets.shards import open_samples
from trackertraincode.errors import CatalogError, SampleFormatError
from trackertraincode.files import files_of, shard_path
from trackertraincode.sample.sample import Sample

COUNTS = (6, 9, 3)  # samples of each shard, in sequences of three


@pytest.fixture
def pattern(tmp_path: Path, write_file: Callable, full_sample: Callable[[int], Sample]) -> Path:
    """Shards beside joined.h5, which has the same rows."""
    samples = [full_sample(seed) for seed in range(sum(COUNTS))]
    write_file(samples, "joined.h5")
    for number, (count, start) in enumerate(zip(COUNTS, (0, 6, 15))):
        write_file(samples[start : start + count], shard_path(Path("faces.h5"), number, 3).name)
    return tmp_path / "faces-*.h5"


@pytest.mark.parametrize("rows", [None, range(4, 16), [17, 0, 7, 7, 5, 6], range(0)], ids=str)
def test_rows_of_shards_are_those_of_the_joined_file(
    pattern: Path, rows: list[int] | range | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "OPEN_SHARDS", 2)
    with open_samples(pattern) as several, SampleFile(pattern.with_name("joined.h5")) as one:
        assert (len(several), several.fields, several.labels) == (len(one), one.fields, one.labels)
        assert np.array_equal(several.starts, one.starts)  # type: ignore[arg-type]
        for label in one.labels:
            np.testing.assert_array_equal(several.label(label, rows), one.label(label, rows))
            assert several.label(label, rows).dtype == one.label(label, rows).dtype
        for attribute in ("image", "segmentation"):
            wanted = range(len(one)) if rows is None else rows
            assert several.images(wanted, attribute) == one.images(wanted, attribute)


def test_training_batches_of_shards_are_those_of_the_joined_file(pattern: Path) -> None:
    batches = []
    for path in (pattern, pattern.with_name("joined.h5")):
        spec = DatasetSpec(file=str(path), weight=1, labels=("pose", "landmarks", "box"), made_by="hand")
        training, validation = open_mixture([choose("x", {"x": spec})], 0.3)
        preset = AugmentationOptions().training_preset(size=33)
        made = TrainBatches(training, preset, batchsize=8, samples_per_epoch=32, seed=3, face_model="embedded-v1")
        batches.append([checked(made[1, step]).unpack().tensors() for step in range(4)] + [validation[0].rows])
    for one, other in zip(*batches):
        if isinstance(one, np.ndarray):
            assert np.array_equal(one, other)
            continue
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def test_tools_take_a_pattern(pattern: Path, tmp_path: Path) -> None:
    assert "18 samples" in run_script("dsinfo.py", pattern).splitlines()[0]
    run_script("dsview.py", pattern, tmp_path / "x.png", "--rows", "5-7")
    for source, out in ((pattern, "a.h5"), (pattern.with_name("joined.h5"), "b.h5")):
        run_script("dsfilter.py", source, tmp_path / out, "--rows", "3,5-16")
        assert "72 faults in 18 rows" in run_script("dscheck.py", source, "--workers", 0, expect=1)  # random labels
    with h5py.File(tmp_path / "a.h5") as a, h5py.File(tmp_path / "b.h5") as b:
        assert set(a) == set(b)
        assert all(np.array_equal(x, y) for name in a for x, y in zip(a[name][...], b[name][...]))
    shard = tmp_path / "faces-00001-of-00003.h5"
    assert "is also an input" in run_script("dsfilter.py", pattern, shard, "--rows", "3", expect=1)


def test_a_shard_that_is_given_beside_its_pattern_is_not_joined_twice(pattern: Path, tmp_path: Path) -> None:
    shard = pattern.with_name("faces-00001-of-00003.h5")
    said = run_script("dsjoin.py", tmp_path / "all.h5", pattern, shard, expect=1)
    assert "faces-00001-of-00003.h5: is given twice" in said
    assert "18 samples of 3 files" in run_script("dsjoin.py", tmp_path / "all.h5", pattern)


def test_a_missing_shard_is_named(pattern: Path) -> None:
    (pattern.parent / "faces-00001-of-00003.h5").unlink()
    with pytest.raises(SampleFormatError, match=r"faces-00001-of-00003\.h5 is missing, 1 of 3 shards;"):
        Hdf5PoseDataset(pattern)
    spec = DatasetSpec(file=str(pattern), weight=1, labels=("pose",), made_by="ttc x")
    with pytest.raises(SampleFormatError, match="00001-of-00003"):
        _ = choose("x", {"x": spec}).path
    with pytest.raises(SampleFormatError, match="no file has such a name"):
        Hdf5PoseDataset(pattern.with_name("other-*.h5"))
    spec = DatasetSpec(file=str(pattern.with_name("other-*.h5")), weight=1, labels=("pose",), made_by="ttc x")
    with pytest.raises(CatalogError, match=r"other-\*\.h5 is missing; make it with `ttc x`"):
        _ = choose("x", {"x": spec}).path


def test_shards_stand_for_the_file_that_the_catalog_names(pattern: Path) -> None:
    spec = DatasetSpec(file=str(pattern.with_name("faces.h5")), weight=1, labels=("pose",), made_by="ttc x")
    found = choose("x", {"x": spec}).path
    assert len(files_of(found)) == 3
    assert len(Hdf5PoseDataset(found)) == 18
    pattern.with_name("joined.h5").rename(spec.file)
    assert str(choose("x", {"x": spec}).path) == spec.file
    pattern.with_name("faces.h5").unlink()
    pattern.with_name("faces-00001-of-00003.h5").unlink()
    with pytest.raises(SampleFormatError, match=r"faces-00001-of-00003\.h5 is missing, 1 of 3 shards;"):
        _ = choose("x", {"x": spec}).path


def test_files_of_two_sets_are_not_one(pattern: Path) -> None:
    (pattern.parent / "faces-00000-of-00001.h5").write_bytes(b"")
    with pytest.raises(SampleFormatError, match=r"several data sets, faces-\*-of-00001\.h5 and faces-\*-of-00003\.h5"):
        Hdf5PoseDataset(pattern)


def test_shards_of_two_runs_are_not_one(
    tmp_path: Path, write_file: Callable, make_sample: Callable[..., Sample]
) -> None:
    for number, sha256 in enumerate("ab"):
        source = {"converter": "x", "sha256": sha256, "shard": [number, 2]}
        write_file([make_sample(number)], shard_path(Path("faces.h5"), number, 2).name, source=source)
    with pytest.raises(
        SampleFormatError, match=r"faces-00001-of-00002\.h5 and faces-00000-of-00002\.h5 are shards of diff"
    ):
        Hdf5PoseDataset(tmp_path / "faces-*.h5")
    source = {"converter": "x", "sha256": "a", "shard": [1, 2]}
    write_file([make_sample(1)], shard_path(Path("faces.h5"), 1, 2).name, source=source)
    assert len(Hdf5PoseDataset(tmp_path / "faces-*.h5")) == 2


def test_brackets_in_names_of_shards_are_letters(tmp_path: Path, write_file: Callable, make_sample: Callable) -> None:
    for number in range(2):
        write_file([make_sample(number)], shard_path(Path("faces [v1].h5"), number, 2).name)
    assert len(Hdf5PoseDataset(tmp_path / "faces [v1]-*.h5")) == 2
    spec = DatasetSpec(file=str(tmp_path / "faces [v1]-*.h5"), weight=1, labels=("pose",), made_by="ttc x")
    assert choose("x", {"x": spec}).path == tmp_path / "faces [v1]-*.h5"


def test_files_with_other_fields_or_common_persons_are_named(
    tmp_path: Path, write_file: Callable, make_sample: Callable[..., Sample]
) -> None:
    write_file([make_sample(0, individual=1), make_sample(1, individual=2)], "a.h5")
    write_file([make_sample(2, individual=2)], "b.h5")
    with pytest.raises(SampleFormatError, match=r"person 2 is in a\.h5 and in b\.h5"):
        Hdf5PoseDataset(tmp_path / "?.h5")
    write_file([make_sample(2, individual=3, rotation=None)], "b.h5")
    with pytest.raises(SampleFormatError, match=r"a\.h5 has rotation, which b\.h5 lacks"):
        Hdf5PoseDataset(tmp_path / "?.h5")
