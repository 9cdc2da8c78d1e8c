"""Rendered scenes depend on seed and index alone, and hold what they say."""

from pathlib import Path

import pytest

from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.facemodel import load
from trackertraincode.facemodel.anny_head import NAME as ANNY
from trackertraincode.facemodel.embedded import NAME as EMBEDDED
from trackertraincode.localizer import scenes
from trackertraincode.localizer.scenes import SCENE_SIZE, make_scene, write_scenes
from trackertraincode.sample.images import decode


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    first, again, other = make_scene(3, 5), make_scene(3, 5), make_scene(4, 5)
    assert first.image == again.image
    assert first.image != other.image


def test_faces_are_inside_and_both_kinds_occur() -> None:
    made = [make_scene(0, i) for i in range(16)]
    assert {s.has_face for s in made} == {True, False}
    for scene in made:
        height, width = decode(scene.image).shape
        assert scene.face_box is not None
        x0, y0, x1, y1 = scene.face_box
        assert (width, height) == SCENE_SIZE
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_workers_make_the_same_file(tmp_path: Path) -> None:
    for workers in (0, 1):
        write_scenes(tmp_path / f"{workers}.h5", 3, 7, workers)
    alone, with_worker = (Hdf5PoseDataset(tmp_path / f"{w}.h5") for w in (0, 1))
    assert [bytes(d) for d in alone.images(range(3))] == [bytes(d) for d in with_worker.images(range(3))]


def test_files_say_whose_heads_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other versions of anny have other heads; the embedded head needs none."""
    monkeypatch.setattr(load, "package_version", lambda: "0.6.2")
    monkeypatch.setattr(scenes, "make_scene", lambda seed, index, _: make_scene(seed, index))  # anny may be missing
    for head, expected in ((EMBEDDED, {"head": EMBEDDED}), (ANNY, {"head": ANNY, "anny": "0.6.2"})):
        path = tmp_path / f"{head}.h5"
        write_scenes(path, 1, 7, 0, head)
        assert Hdf5PoseDataset(path).source.items() >= expected.items()
        assert ("anny" in Hdf5PoseDataset(path).source) == (head == ANNY)
