"""`ttc pseudolabels`: labels, spread and uncertainty of several models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch
from odd_faces import ODD, bare, rows_of
from onnx import TensorProto, helper, numpy_helper
from scipy.spatial.transform import Rotation

from close import angles_between, known
from conftest import run_script, write_samples
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.facemodel.embedded import embedded_head
from trackertraincode.labelling import pseudo
from trackertraincode.labelling.answers import answers
from trackertraincode.labelling.consensus import consensus
from trackertraincode.models.about import About
from trackertraincode.models.checkpoint import save_network
from trackertraincode.models.pose_network import NetworkConfig, build_network
from trackertraincode.sample.sample import MEASURES, Prediction, Sample

SCRIPT = "add_pose_pseudolabels.py"


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained checkpoints of different crops, and an ONNX file that always sees a head in the middle."""
    folder = tmp_path_factory.mktemp("models")
    paths = [folder / "a.ckpt", folder / "b.ckpt", folder / "c.onnx"]
    for seed, path in enumerate(paths[:2]):
        torch.manual_seed(seed)
        config = NetworkConfig(backbone="repvgg_az", width=0.25, input_size=33 + 8 * seed)
        save_network(path, build_network(config, embedded_head()), About())
    values = {"quat": [[0, 0, 0, 1]], "pos_size": [[0, 0, 0.5]], "box": [[-0.5, -0.5, 0.5, 0.5]]}
    constants = {name: np.array(value, np.float32) for name, value in values.items()}
    nodes = [helper.make_node("Constant", [], [n], value=numpy_helper.from_array(v)) for n, v in constants.items()]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["x"], ["unused"])],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 25, 25))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.model_version = 4
    onnx.save(model, paths[2])
    return paths


@pytest.fixture
def unlabelled(rendered: list[Sample], tmp_path: Path) -> Path:
    """The rendered faces without labels, but with boxes."""
    return write_samples(tmp_path / "a.h5", [bare(s, landmarks_2d=None) for s in rendered])


def test_together_models_are_nearer_to_the_truth_than_each_alone(
    rendered: list[Sample], unlabelled: Path, experts: Callable, tmp_path: Path
) -> None:
    alone, outputs = [], [tmp_path / f"{i}.h5" for i in range(4)]
    for seed, output in enumerate(outputs):
        experts(seed)
        run_script(SCRIPT, unlabelled, "-c", "a.ckpt", "--output", output, "--workers", 0)
        alone.append(list(rows_of(output)))
    experts(0, 1, 2, 3)
    run_script(SCRIPT, unlabelled, "-c", *["a.ckpt"] * 4, "--output", tmp_path / "all.h5", "--workers", 0)
    together = list(rows_of(tmp_path / "all.h5"))
    assert angles_between(together, rendered).mean() < 0.7 * min(
        angles_between(found, rendered).mean() for found in alone
    )
    for name in ("head", "landmarks"):
        errors = [np.mean([np.abs(getattr(a, name) - getattr(b, name)).mean() for a, b in zip(found, rendered)])
                  for found in (together, *alone)]  # fmt: skip
        assert errors[0] < 0.7 * min(errors[1:])
    assert np.mean([s.rotation_spread for s in together]) == pytest.approx(np.degrees(0.08) * np.sqrt(3 / 4), rel=0.2)
    assert np.mean([s.head_spread for s in together]) == pytest.approx(8.0 * np.sqrt(3 * 3 / 4), rel=0.2)
    assert [s.rotation_uncertainty for s in together] == pytest.approx([np.degrees(0.08)] * len(together), rel=1e-3)
    assert alone[0][0].rotation_spread is None
    assert all(np.allclose(known(a.shape), known(b.shape), atol=1e-6) for a, b in zip(together, rendered))


def test_rotations_are_averaged_as_rotations() -> None:
    """Between quaternions of either sign, against scipy's mean; the spread against angles by scipy."""
    rotations = [Rotation.random(5, rng=1) * Rotation.from_rotvec(0.2 * np.eye(3)[i % 3]) for i in range(4)]
    quats = [r.as_quat() * (-1) ** i for i, r in enumerate(rotations)]
    head = torch.tensor([[1.0, 2.0, 50.0]]).repeat(5, 1)
    said = consensus([Prediction(rotation=torch.from_numpy(q), head=head + i) for i, q in enumerate(quats)], None)
    means = [Rotation.concatenate([r[i] for r in rotations]).mean() for i in range(5)]
    for i, mean in enumerate(means):
        assert (Rotation.from_quat(said.mean.rotation[i].numpy()).inv() * mean).magnitude() < 1e-5
        distances = [np.degrees((mean.inv() * r[i]).magnitude()) for r in rotations]
        assert float(said.measures["rotation_spread"][i]) == pytest.approx(
            np.sqrt(np.mean(np.square(distances))), rel=1e-4
        )
    assert said.measures["head_spread"].numpy() == pytest.approx([100 / 51.5 * np.sqrt(3 * 1.25)] * 5)


def test_checkpoints_and_onnx_files_of_any_crops_mix(networks: list[Path], unlabelled: Path, tmp_path: Path) -> None:
    def said_by(*models: Path) -> list[Sample]:
        output = tmp_path / f"{len(models)}{models[0].stem}.h5"
        run_script(SCRIPT, unlabelled, "-c", *models, "--output", output, "--workers", 0)
        return list(rows_of(output))

    alone, mixed = [said_by(model) for model in networks], said_by(*networks)
    for *each, together in zip(*alone, mixed):
        mean = Rotation.from_quat([s.rotation for s in each]).mean()
        assert (mean.inv() * Rotation.from_quat(together.rotation)).magnitude() < 1e-4
        assert np.allclose(together.head, np.mean([s.head for s in each], axis=0), atol=1e-3)
        assert np.allclose(together.landmarks, np.mean([s.landmarks for s in each[:2]], axis=0), atol=1e-3)
        assert np.allclose(together.shape, np.mean([s.shape for s in each[:2]], axis=0), atol=1e-6)
        x0, y0, x1, y1 = together.face_box
        assert each[2].head[:2] == pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2], abs=1.0)
        assert each[2].landmarks is None
        assert abs(together.landmarks[36:48:3, 2].mean()) < 1e-3
    with Hdf5PoseDataset(tmp_path / "3a.h5") as dataset:
        assert dataset.face_model == "embedded-v1"
        assert dataset.source["options"]["model 3"].endswith("c.onnx")


def test_labels_that_are_there_stay(rendered: list[Sample], experts: Callable, tmp_path: Path) -> None:
    mixed = [replace(s, rotation=s.rotation if i % 2 else None, head=None) for i, s in enumerate(rendered)]
    path = write_samples(tmp_path / "a.h5", mixed, optional=("rotation",))
    before = [replace(a, rotation=b.rotation) for a, b in zip(rows_of(path), rendered)]
    experts(0, 1)
    run_script(SCRIPT, path, "-c", "a.ckpt", "b.ckpt", "--workers", 0)
    found, rendered = list(rows_of(path)), before
    assert [np.array_equal(known(a.rotation), known(b.rotation)) for a, b in zip(found, rendered)] == [False, True] * 8
    assert all(np.array_equal(known(a.landmarks), known(b.landmarks)) for a, b in zip(found, rendered))
    assert all(a.head is not None and known(a.rotation_spread) > 0 for a in found)
    assert [a.image for a in found] == [b.image for b in rendered]
    experts(0, 1)
    run_script(SCRIPT, path, "-c", "a.ckpt", "b.ckpt", "--workers", 0, "--replace")
    found = list(rows_of(path))
    assert not any(np.array_equal(known(a.rotation), known(b.rotation)) for a, b in zip(found, rendered))
    assert not any(np.array_equal(known(a.landmarks), known(b.landmarks)) for a, b in zip(found, rendered))
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_what_was_said_of_a_label_goes_with_it(rendered: list[Sample], experts: Callable, tmp_path: Path) -> None:
    """Else filters would judge the new one by the old one's measures. Boxes, in which models look, stay."""
    old: dict[str, Any] = dict.fromkeys(MEASURES, 1.5)
    angles = np.array([1, 2, 3], np.float32)
    mixed = [
        replace(s, **old, stored_angles=angles, rotation=s.rotation if i % 2 else None) for i, s in enumerate(rendered)
    ]
    path = write_samples(tmp_path / "a.h5", mixed, optional=("rotation",))
    experts(0)
    words = (SCRIPT, path, "-c", "a.ckpt", "--workers", 0, "--output")
    run_script(*words, tmp_path / "added.h5")
    for i, sample in enumerate(rows_of(tmp_path / "added.h5")):
        assert (known(sample.rotation_uncertainty) == 1.5) == bool(i % 2)
        assert (sample.rotation_spread, sample.stored_angles is None) == ((1.5, False) if i % 2 else (None, True))
        assert (sample.head_spread, sample.fit_residual) == (1.5, 1.5 if i % 2 else None)
    run_script(*words, tmp_path / "replaced.h5", "--replace")
    for sample, before in zip(rows_of(tmp_path / "replaced.h5"), rendered):
        assert known(sample.rotation_uncertainty) not in (1.5, None)
        left = ("rotation_spread", "head_spread", "landmarks_spread", "fit_residual", "stored_angles")
        assert [getattr(sample, name) for name in left] == [None] * 5
        assert np.array_equal(known(sample.face_box), known(before.face_box))


def test_a_model_that_is_given_twice_is_refused(unlabelled: Path, networks: list[Path], tmp_path: Path) -> None:
    """Its spread would be 0, whatever it says."""
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(networks[0].read_bytes())
    for words in (
        (SCRIPT, unlabelled, "-c"),
        ("review_labels.py", unlabelled, "--report", tmp_path / "r.html", "--model"),
    ):
        said = run_script(*words, *networks[:2], copy, "--workers", 0, expect=1)
        assert f"copy.ckpt: is the same model as {networks[0]}, which agrees with itself" in said


def test_coefficients_of_another_face_model_are_left_out(
    rendered: list[Sample], unlabelled: Path, experts: Callable, tmp_path: Path
) -> None:
    experts(0, 1, about={"face_model": "bfm_noneck_v3"})
    path = write_samples(tmp_path / "own.h5", [replace(s, rotation=None) for s in rendered])
    text = run_script(SCRIPT, path, "-c", "a.ckpt", "b.ckpt", "--output", tmp_path / "b.h5", "--workers", 0)
    assert "coefficients of bfm_noneck_v3 are left out: the file has those of embedded-v1" in text
    for sample, before in zip(rows_of(tmp_path / "b.h5"), rendered):
        assert np.array_equal(known(sample.shape), known(before.shape))
    experts(0, 1, about={})
    text = run_script(SCRIPT, unlabelled, "-c", "a.ckpt", "b.ckpt", "--output", tmp_path / "c.h5", "--workers", 0)
    assert "coefficients are left out: the models give none" in text
    assert all(sample.shape is None for sample in rows_of(tmp_path / "c.h5"))


def test_replacing_keeps_coefficients_where_models_give_none(
    rendered: list[Sample], experts: Callable, tmp_path: Path
) -> None:
    path = write_samples(tmp_path / "a.h5", rendered, face_model="embedded-v1")
    experts(0, about={})
    run_script(SCRIPT, path, "-c", "a.ckpt", "--replace", "--output", tmp_path / "b.h5", "--workers", 0)
    for sample, before in zip(rows_of(tmp_path / "b.h5"), rendered):
        assert np.array_equal(known(sample.shape), known(before.shape))
        assert not np.array_equal(known(sample.rotation), known(before.rotation))
    assert Hdf5PoseDataset(tmp_path / "b.h5").face_model == "embedded-v1"


def test_rows_are_chosen_by_spread(unlabelled: Path, experts: Callable, tmp_path: Path) -> None:
    experts(0, 1)
    words = (SCRIPT, unlabelled, "-c", "a.ckpt", "b.ckpt", "--workers", 0, "--output")
    run_script(*words, tmp_path / "all.h5")
    spreads = [known(s.rotation_spread) for s in rows_of(tmp_path / "all.h5")]
    limit = float(np.median(spreads))
    experts(0, 1)
    text = run_script(*words, tmp_path / "some.h5", "--filter", limit)
    assert f"{len(spreads) // 2} samples written, {len(spreads) // 2} skipped" in text
    assert "the models differ by" in text
    run_script("dsfilter.py", tmp_path / "all.h5", tmp_path / "same.h5", "--where", f"rotation_spread <= {limit}")
    some, same = (list(rows_of(tmp_path / name)) for name in ("some.h5", "same.h5"))
    assert [s.image for s in some] == [s.image for s in same]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no box", "row 0: no face box"),
        ("a box far outside", "row 0: the face box lies outside of the image of 96 × 96"),
        ("a box without end", "row 0: the face box is more than 4 times as large as the image"),
        ("no image", "row 0: image of .* without a frame header"),
    ],
)
def test_reasons_name_file_and_row(kind: str, reason: str, rendered: list[Sample], tmp_path: Path) -> None:
    path = write_samples(tmp_path / "a.h5", [ODD[kind][0](rendered[0])], optional=("face_box",))
    (item,) = pseudo.label_rows(path, pseudo.PseudoOptions(models=()), None, [0])
    with pytest.raises(pseudo.ArchiveError, match=rf"a\.h5: {reason}"):
        pseudo.finish(pseudo.PseudoOptions(models=()), item)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-c", "a.ckpt", "--filter", "3"), "--filter needs at least two models"),
        (("-c", "a.ckpt", "b.ckpt", "--filter", "3"), "which FILE itself would lose; name an --output"),
        (("-c", "a.ckpt", "--shards", "2"), "--shards writes other files than FILE"),
        (("-c", "a.ckpt", "-n", "3"), "which FILE itself would lose; name an --output"),
    ],
)
def test_the_file_itself_loses_no_rows(words: tuple[str, ...], message: str, unlabelled: Path) -> None:
    assert message in run_script(SCRIPT, unlabelled, *words, expect=2)


@pytest.mark.parametrize("kind", ["no box", "no image"])
def test_the_file_itself_loses_no_row_that_cannot_be_labelled(
    kind: str, rendered: list[Sample], networks: list[Path], tmp_path: Path
) -> None:
    samples = [ODD["usual"][0](rendered[0]), ODD[kind][0](rendered[1])]
    path = write_samples(tmp_path / "a.h5", samples, optional=("face_box",))
    before = path.read_bytes()
    text = run_script(SCRIPT, path, "-c", networks[0], "--workers", 0, expect=1)
    assert "row 1: " in text
    assert "The file itself would lose this row; name an --output, which leaves it out." in text
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_the_file_itself_loses_no_data_sets(unlabelled: Path) -> None:
    with h5py.File(unlabelled, "a") as file:
        file["mine"] = np.zeros(3)
    before = unlabelled.read_bytes()
    assert "would lose what isn't part of the format (mine)" in run_script(SCRIPT, unlabelled, "-c", "a.ckpt", expect=1)
    assert unlabelled.read_bytes() == before


def test_odd_rows_are_counted_and_harm_no_others(
    odd_faces: tuple[Path, list[str]], networks: list[Path], tmp_path: Path
) -> None:
    path, kinds = odd_faces
    words = ("-c", *networks, "--output", tmp_path / "b.h5", "--workers", 0)
    text = run_script(SCRIPT, path, *words, "--skipped", tmp_path / "skipped.txt")
    usable = [i for i, kind in enumerate(kinds) if ODD[kind][2]]
    assert f"{len(usable)} samples written, {len(kinds) - len(usable)} skipped" in text
    listed = [int(line.split("\t")[0]) for line in (tmp_path / "skipped.txt").read_text().splitlines()]
    assert listed == [i for i in range(len(kinds)) if i not in usable]


def test_an_interrupted_run_leaves_the_file_and_goes_on_where_it_stopped(
    networks: list[Path], unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pseudo, "ITEMS_PER_TASK", 6)
    words = (unlabelled, "-c", *networks[:2], "--workers", 0)
    run_script(SCRIPT, *words, "--output", tmp_path / "whole.h5")
    before = unlabelled.read_bytes()
    looked: list[int] = []

    def interrupted(*arguments: Any) -> list[Prediction]:
        looked.append(1)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return answers(*arguments)

    monkeypatch.setattr(pseudo, "answers", interrupted)
    run_script(SCRIPT, *words, expect=130)
    assert unlabelled.read_bytes() == before
    run_script(SCRIPT, *words, "--resume")
    assert len(looked) == 4
    for a, b in zip(rows_of(unlabelled), rows_of(tmp_path / "whole.h5"), strict=True):
        assert np.array_equal(known(a.rotation), known(b.rotation))
        assert a.image == b.image
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "whole.h5"]


@pytest.mark.parametrize("in_place", [False, True])
def test_images_without_a_face_get_no_labels(
    rendered: list[Sample], networks: list[Path], tmp_path: Path, in_place: bool
) -> None:
    """As `ttc convert widerface` writes them, with the middle half of the image for a box; they stay as they are."""
    faceless = [2, 5]
    samples = [bare(s, landmarks_2d=None) for s in rendered[:8]]
    source = write_samples(tmp_path / "a.h5", [replace(s, has_face=i not in faceless) for i, s in enumerate(samples)])
    output = source if in_place else tmp_path / "b.h5"
    words = [] if in_place else ["--output", output]
    assert "8 samples" in run_script(SCRIPT, source, "-c", networks[0], *words, "--workers", 0)
    found = list(rows_of(output))
    assert [sample.rotation is None for sample in found] == [i in faceless for i in range(8)]
    assert [bool(sample.has_face) for sample in found] == [i not in faceless for i in range(8)]
    assert np.array_equal(known(found[2].face_box), known(samples[2].face_box))
