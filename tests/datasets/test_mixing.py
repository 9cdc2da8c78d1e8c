"""Mixtures have exact frequencies and fixed orders; splits keep persons apart."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import write_samples
from trackertraincode.commands import parse
from trackertraincode.datasets.catalog import DATASETS, DatasetSpec, choose, find_file, load_catalog, parse_mixture
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.datasets.mixing import Member, epoch_counts, epoch_plan, open_mixture, open_whole, split_rows
from trackertraincode.errors import CatalogError
from trackertraincode.evaluation.protocols import find_protocol
from trackertraincode.sample.sample import Sample


@pytest.fixture
def write_file(make_sample: Callable[..., Sample]) -> Callable[..., Path]:
    def write(path: Path, count: int, **changes: Callable[[int], object]) -> Path:
        rows = ({"individual": None} | {k: f(i) for k, f in changes.items()} for i in range(count))
        return write_samples(path, (make_sample(i, **row) for i, row in enumerate(rows)))

    return write


def test_counts_have_the_exact_expectation() -> None:
    weights, samples, epochs = [92.0, 8.0, 0.37], 101, 4000
    counts = epoch_counts(weights, samples, seed=1, epoch=epochs - 1)
    exact = samples * np.array(weights) / sum(weights)
    assert (counts.sum(1) == samples).all()
    assert (np.abs(counts - exact) <= 1).all()
    assert counts.mean(0) == pytest.approx(exact, abs=0.03)


def test_counts_of_an_epoch_do_not_depend_on_later_ones() -> None:
    assert np.array_equal(epoch_counts([3, 2], 10, 0, 9)[:4], epoch_counts([3, 2], 10, 0, 3))


def test_each_row_comes_once_before_any_comes_again(tmp_path: Path, write_file: Callable[..., Path]) -> None:
    dataset = Hdf5PoseDataset(write_file(tmp_path / "a.h5", 7))
    members = [Member("a", dataset, np.arange(7), 3.0, ()), Member("b", dataset, np.arange(2, 5), 1.0, ())]
    plans = [epoch_plan(members, 8, seed=5, epoch=epoch) for epoch in range(21)]
    for index, member in enumerate(members):
        drawn = np.concatenate([plan[plan[:, 0] == index, 1] for plan in plans])
        whole = len(drawn) // len(member.rows) * len(member.rows)
        passes = np.bincount(drawn, minlength=7)[member.rows]
        assert passes.max() - passes.min() <= 1
        assert whole > 0
    assert np.array_equal(plans[3], epoch_plan(members, 8, seed=5, epoch=3))
    assert not np.array_equal(plans[3], epoch_plan(members, 8, seed=6, epoch=3))


@pytest.mark.parametrize("by", ["individual", "sequence"])
def test_a_person_or_sequence_is_never_on_both_sides(tmp_path: Path, write_file: Callable[..., Path], by: str) -> None:
    group = {"individual": lambda i: i // 5} if by == "individual" else {"sequence": lambda i: str(i // 5)}
    dataset = Hdf5PoseDataset(write_file(tmp_path / "a.h5", 50, **group))
    train, held_out = split_rows(dataset, np.arange(50), 0.2)
    assert (len(train), len(held_out)) == (40, 10)
    assert not set(train // 5) & set(held_out // 5)


def test_rows_without_a_face_are_left_out(
    tmp_path: Path, write_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their box is a place without one."""
    write_file(tmp_path / "a.h5", 40, has_face=lambda i: i % 4 != 1)
    write_file(tmp_path / "none.h5", 4, has_face=lambda _: False)
    monkeypatch.setenv("DATADIR", str(tmp_path))
    catalog = {
        name: DatasetSpec(file=f"{name}.h5", weight=1, labels=("box",), made_by="hand") for name in ("a", "none")
    }
    mixture = parse_mixture("a", catalog)
    (training,), (validation,) = open_mixture(mixture, 0.2)
    rows = np.concatenate([training.rows, validation.rows])
    assert sorted(rows.tolist()) == [i for i in range(40) if i % 4 != 1]
    assert np.array_equal(open_whole(mixture)[0].rows, np.sort(rows))
    for opened in (lambda m: open_mixture(m, 0.2), open_whole):
        with pytest.raises(CatalogError, match=r"data set none: .*none\.h5 has no rows with a face"):
            opened(parse_mixture("none", catalog))


def test_what_persons_and_sequences_have_in_common_stays_together(
    tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    """Several persons in a sequence, a person in several, and rows whose person nobody named."""
    persons = [0, 1, 2, 3, 3, 4, None, 5, 5, None]
    sequences = ["a", "a", "b", "b", "c", "d", "d", "e", "e", "f"]
    rows = (make_sample(i, individual=p, sequence=s) for i, (p, s) in enumerate(zip(persons, sequences)))
    dataset = Hdf5PoseDataset(write_samples(tmp_path / "a.h5", rows, optional=("individual",)))
    together = [{0, 1}, {2, 3, 4}, {5, 6}, {7, 8}, {9}]
    for fraction in (0.2, 0.4, 0.6):
        train, held_out = split_rows(dataset, np.arange(10), fraction)
        assert len(held_out)
        assert all(group <= set(train.tolist()) or group <= set(held_out.tolist()) for group in together)


def test_a_single_sequence_is_not_split(tmp_path: Path, write_file: Callable[..., Path]) -> None:
    dataset = Hdf5PoseDataset(write_file(tmp_path / "a.h5", 5, sequence=lambda i: "one"))
    assert [len(part) for part in split_rows(dataset, np.arange(5), 0.02)] == [5, 0]


def test_mixture_grammar() -> None:
    def weights(text: str) -> dict[str, float]:
        return {chosen.name: chosen.weight for chosen in parse_mixture(text, DATASETS)}

    assert weights("300wlp:92+synface") == {"300wlp": 92.0, "synface": 10_000}
    assert weights("repro_300_wlp+wflw_lp") == {"repro_300_wlp": 60_000, "wflw_lp": 40_000}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("300wpl", r"'300wpl' is unknown; known are 300wlp, "),
        ("300wlp+300wlp", "names 300wlp twice"),
        ("300wlp:0", "'0' of 300wlp is not a number above 0"),
        ("300wlp:many", "'many' of 300wlp is not a number"),
        ("300wlp:nan", "'nan' of 300wlp is not a number"),
        ("300wlp+repro_300_wlp", "300wlp and repro_300_wlp show the same images"),
        ("300wlp+", "'' is unknown"),
    ],
)
def test_mixture_errors(text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        parse_mixture(text, DATASETS)


def test_missing_files_say_how_to_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    with pytest.raises(CatalogError, match=r"300wlp\.h5 is missing; make it with `ttc convert 300wlp`"):
        open_mixture([choose("300wlp", DATASETS)], 0.02)
    monkeypatch.delenv("DATADIR")
    with pytest.raises(CatalogError, match="set the environment variable DATADIR to the folder with 300wlp"):
        open_mixture([choose("300wlp", DATASETS)], 0.02)


def test_the_file_to_validate_on_is_needed_where_it_is_validated_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_file: Callable[..., Path]
) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    write_file(tmp_path / "mine.h5", 4)
    entry = DatasetSpec(
        file="mine.h5", weight=1.0, labels=("pose",), made_by="me", validation_file="other.h5",
        validation_made_by="ttc convert wflw --split test",
    )  # fmt: skip
    with pytest.raises(CatalogError, match=r"other\.h5 is missing; make it with `ttc convert wflw --split test`"):
        open_mixture([choose("mine", {"mine": entry})], 0.02)
    train, held_out = open_mixture([choose("mine", {"mine": entry})], 0.0)
    assert (len(train[0].rows), held_out) == (4, [])


MADE_BY = {text for spec in DATASETS.values() for text in (spec.made_by, spec.validation_made_by)}


@pytest.mark.parametrize("command", sorted(text for text in MADE_BY if text.startswith("ttc ")))
def test_every_command_in_the_catalog_exists(command: str) -> None:
    _, name, *more = command.split()
    files = ["a.zip", "a.h5"] if name == "convert" else ["a.h5"]
    parse([name, *more[:1], *files, *more[1:]])


def test_own_catalog_adds_and_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_file: Callable[..., Path]
) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    write_file(tmp_path / "mine.h5", 10)
    (tmp_path / "datasets.toml").write_text(
        '[mine]\nfile = "mine.h5"\nlabels = ["pose", "landmarks_xy"]\nvalidation_rows = [0, 4]\n[biwi]\nweight = 5\n'
    )
    catalog = load_catalog()
    assert catalog["biwi"].weight == 5
    assert catalog["biwi"].file == DATASETS["biwi"].file
    train, held_out = open_mixture([choose("mine", catalog)], 0.02)
    assert (train[0].rows.tolist(), held_out[0].rows.tolist()) == ([4, 5, 6, 7, 8, 9], [0, 1, 2, 3])
    assert (train[0].labels, train[0].depth_known) == (("rotation", "head", "landmarks"), False)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('[x]\nfile = "a.h5"\n', r"\[x\] lacks labels"),
        ('[x]\nfile = "a.h5"\nlabels = ["poes"]\n', r"labels has 'poes'; choose among pose"),
        ('[x]\nfiel = "a.h5"\n', "unknown key 'fiel'"),
        ('[x]\nfile = "a.h5"\nlabels = [["pose", "box"]]\n', r"labels has \['pose', 'box'\]; choose among pose"),
        ("[x]\nfile = 3\nlabels = []\n", "file = 3 has the wrong type"),
        ('[x]\nfile = "a"\nlabels = []\nrows = [4, 2]\n', r"rows = \[4, 2\], expected \[first\]"),
        ('[x]\nfile = "a"\nlabels = []\nweight = -1\n', "weight = -1, expected a number above 0"),
        ('[x]\nfile = "a.h5"\nlabels = []\n', "labels is empty, so that it would train nothing; choose among pose"),
        ("x = 3\n", "x must be a table"),
        ("[x\n", "not a TOML file"),
        (f"x = {'[' * 5000}", "not a TOML file"),
        ('[x]\nfile = "a\\u0000b"\nlabels = []\n', "a text has a zero byte"),
    ],
)
def test_own_catalog_errors(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(entry)
    with pytest.raises(CatalogError, match=rf"mine\.toml: .*{message}|mine\.toml: {message}"):
        load_catalog(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_catalog(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.toml")
    with pytest.raises(CatalogError, match=r"mine\.toml: isn't a file, but a folder, a device or a pipe"):
        load_catalog(tmp_path / "mine.toml")


def test_weighting_moves_weights_from_sampling_to_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_file: Callable[..., Path]
) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    catalog = {
        name: DatasetSpec(file=write_file(tmp_path / f"{name}.h5", 4).name, weight=1.0, labels=("pose",), made_by="x")
        for name in "ab"
    }
    train, _ = open_mixture(parse_mixture("a:3+b:1", catalog), 0.0, ds_weighting=True)
    assert [m.weight for m in train] == [1.0, 1.0]
    assert [m.loss_weight for m in train] == [1.5, 0.5]


def test_a_person_is_on_one_side_of_the_split_even_where_other_rows_have_no_person(
    tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    persons = [0, 1, 0, None, 1, None, 0, 2, 3, None]
    faces = (make_sample(i, individual=person) for i, person in enumerate(persons))
    write_samples(tmp_path / "a.h5", faces, optional=("individual",))
    train, held_out = split_rows(Hdf5PoseDataset(tmp_path / "a.h5"), np.arange(10), 0.4)
    sides = [{persons[row] for row in rows} - {None} for rows in (train, held_out)]
    assert not sides[0] & sides[1]
    assert len(held_out)


def test_a_row_without_a_person_is_nobody_else(tmp_path: Path, make_sample: Callable[..., Sample]) -> None:
    faces = (make_sample(i, individual=person) for i, person in enumerate([None, 5, 5]))
    write_samples(tmp_path / "a.h5", faces, optional=("individual",))
    train, held_out = split_rows(Hdf5PoseDataset(tmp_path / "a.h5"), np.arange(3), 0.5)
    assert {tuple(train), tuple(held_out)} == {(0,), (1, 2)}


@pytest.mark.parametrize("name", ["faces.h5", "FACES.H5", "a/faces.hdf5"])
def test_paths_of_sample_files_are_told_from_names(name: str) -> None:
    assert find_file(name, DATASETS) == Path(name)
    assert find_protocol(name, DATASETS).dataset == name


@pytest.mark.parametrize(("folder", "why"), [(None, "DATADIR isn't set"), ("gone", "gone, where there is no folder")])
def test_a_name_of_ones_own_says_why_its_catalog_was_not_read(
    folder: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATADIR", raising=False)
    if folder is not None:
        monkeypatch.setenv("DATADIR", str(tmp_path / folder))
    with pytest.raises(
        CatalogError, match=rf"'office' is unknown; .* Add your own in \$DATADIR/datasets\.toml \(.*{why}\)"
    ):
        find_file("office", load_catalog())
