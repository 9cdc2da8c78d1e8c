"""What evaluation writes, and what it says of models and data that it can't use."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from conftest import run_script, without_images, write_samples
from trackertraincode.errors import CatalogError, ModelFileError
from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
from trackertraincode.evaluation.html_report import result_sections, write_report
from trackertraincode.evaluation.pages import worst
from trackertraincode.evaluation.plots import plot_label
from trackertraincode.evaluation.predictor import load_predictor, load_predictors
from trackertraincode.evaluation.report import format_table, write_csv, write_json, write_predictions
from trackertraincode.models.checkpoint import load_network, save_network
from trackertraincode.sample.images import encode_jpeg
from trackertraincode.sample.sample import Sample


def test_weights_that_are_not_finite_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        network, about = load_network(checkpoint)
        with torch.no_grad():
            next(network.parameters()).flatten()[0] = value
        save_network(tmp_path / "bad.ckpt", network, about)
        with pytest.raises(ModelFileError, match=r"bad\.ckpt: has weights that are not finite"):
            load_predictor(tmp_path / "bad.ckpt")


def test_outputs_that_are_not_finite_are_refused(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    network, about = load_network(checkpoint)
    with torch.no_grad():
        for values in network.parameters():
            values.mul_(1e30)
    save_network(tmp_path / "huge.ckpt", network, about)
    with pytest.raises(ModelFileError, match=r"huge\.ckpt: output \w+ has values that are not finite"):
        evaluate(load_predictor(tmp_path / "huge.ckpt"), "aflw2k3d", EvaluationOptions(file=faces, progress=False))


def test_rows_of_one_table_can_be_told_apart(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Models of one name in different folders, and crop factors; which row is best is asked among the same crops."""
    for folder in ("x", "y"):
        (tmp_path / folder / "out").mkdir(parents=True)
        (tmp_path / folder / "out" / "m.ckpt").write_bytes(checkpoint.read_bytes())
    models = [tmp_path / folder / "out" / "m.ckpt" for folder in ("x", "y")]
    table = run_script("evaluate_pose_network.py", "--ds", "aflw2k3d", "--data", faces, "--comprehensive-roi", *models)
    lines = [line for line in table.splitlines() if "m.ckpt" in line and "aflw2k3d ×" in line]
    assert len(lines) == 10
    assert len({line.split()[0] + line.split("×")[1].split()[0] for line in lines}) == 10
    assert all(any(str(model) in line for line in lines) for model in models)


def test_rows_without_a_face_do_not_count(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Their poses are of nobody."""
    path = Path(shutil.copy(faces, tmp_path / "faces.h5"))
    with h5py.File(path, "a") as file:
        flags = np.arange(len(file["quats"])) % 3 != 1
        if "hasface" in file:
            del file["hasface"]
        file["hasface"] = flags
        for row in np.flatnonzero(~flags):
            file["quats"][row] = [1.0, 0.0, 0.0, 0.0]
    for name in ("aflw2k3d", "aflw2k3d-landmarks", str(path)):
        result = evaluate(load_predictor(checkpoint), name, EvaluationOptions(file=path, progress=False))
        assert flags[result.rows].all()
        assert result.rows.max() > 2


def test_numbers_of_fewer_rows_than_others_say_so(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(faces, tmp_path / "faces.h5"))
    with h5py.File(path, "a") as file:
        count = len(file["quats"])
        file["coords"][3:] = np.nan
        file["pt3d_68"][2:] = np.nan
    result = evaluate(load_predictor(checkpoint), str(path), EvaluationOptions(file=path, progress=False))
    row = result.row()
    assert row["n"] == count
    assert f"XY and S are of 3 of {count} rows, those with a head" in row["marks"]
    assert f"NME is of 2 of {count} rows, those with landmarks" in row["marks"]
    table = format_table([row])
    assert all(mark in table for mark in row["marks"])
    whole = evaluate(load_predictor(checkpoint), "aflw2k3d", EvaluationOptions(file=faces, progress=False)).row()
    assert not any(" of " in mark and "rows, those with" in mark for mark in whole["marks"])


def test_marks_are_told_apart_and_the_errors_of_one_row_are_those_of_all(faces: Path, checkpoint: Path) -> None:
    result = evaluate(load_predictor(checkpoint), "aflw2k3d", EvaluationOptions(file=faces, progress=False))
    rows = [result.row() | {"model": name, "marks": marks} for name, marks in (("A", ["one", "two"]), ("B", ["three"]))]
    text = format_table(rows)
    assert "A*,**" in text
    assert "B***" in text
    assert [result.rotation_error(i) for i in range(3)] == pytest.approx(result.rotation_errors[:3].tolist())


def test_models_of_one_name_have_their_paths_as_names(checkpoint: Path, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "run" / "m.ckpt" for folder in ("x", "y")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(checkpoint.read_bytes())
    assert [p.name for p in load_predictors(paths)] == [str(path) for path in paths]
    assert [p.name for p in load_predictors(paths[:1])] == ["run/m.ckpt"]


def test_angles_that_nobody_labelled_do_not_count(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate(load_predictor(checkpoint), "pointing04", EvaluationOptions(file=faces, progress=False))
    row = result.row()
    assert (row["roll"], row["geodesic"], row["maev"]) == (None, None, None)
    assert torch.equal(result.rotation_errors, result.mean_angles)
    assert worst(result, 1) == [int(result.mean_angles.argmax())]
    write_predictions([result], tmp_path / "p.csv")
    (first, *_) = csv.DictReader((tmp_path / "p.csv").open())
    assert (first["factor"], first["geodesic"]) == ("1.1", "")
    assert len(result_sections([result])) == 4
    assert row["mae"] == pytest.approx((row["pitch"] + row["yaw"]) / 2)
    assert "–" in format_table([row])


def test_nobody_labelled_the_roll_of_pointing04_in_files_of_any_name(
    faces: Path, checkpoint: Path, make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    source = {"converter": "dsprocess_pointing04"}
    joined = {"converter": "dsjoin", "of": [{}, 3, {"converter": "dsfilter", "of": [source]}]}
    heads, both = (
        write_samples(tmp_path / f"{name}.h5", (make_sample(seed) for seed in range(2)), source=told)
        for name, told in (("heads", source), ("both", joined))
    )
    for path, known in ((heads, False), (both, False), (faces, True)):
        row = evaluate(load_predictor(checkpoint), str(path), EvaluationOptions(progress=False)).row()
        assert [row[name] is not None for name in ("roll", "geodesic")] == [known, known]
        assert row["pitch"] is not None


@pytest.mark.parametrize(
    ("converter", "marks"),
    [
        ("dsprocess_aflw2k", []),
        ("dsprocess_csv", ["the file was made by dsprocess_csv, not by `ttc convert aflw2k`"]),
        ("expand_dataset", ["the file was made by expand_dataset, not by `ttc convert aflw2k`"]),
    ],
)
def test_files_of_other_images_than_the_protocols_are_marked(
    converter: str, marks: list[str], checkpoint: Path, make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    source = {"converter": "dsfilter", "of": [{"converter": converter}]}
    path = write_samples(tmp_path / "aflw2k.h5", (make_sample(seed) for seed in range(2)), source=source)
    options = EvaluationOptions(file=path, progress=False)
    assert evaluate(load_predictor(checkpoint), "aflw2k3d-landmarks", options).row()["marks"] == marks
    assert evaluate(load_predictor(checkpoint), str(path), EvaluationOptions(progress=False)).row()["marks"] == []


@pytest.mark.parametrize(
    ("protocol", "options", "marks"),
    [
        ("aflw2k3d-landmarks", {"close_eyes": "False"}, []),
        ("aflw2k3d-landmarks", {"close_eyes": "True"}, ["the file was made with --close-eyes"]),
        ("aflw2k3d-landmarks", {"count": "400"}, ["the file has no more than the first 400 of its archive"]),
        ("aflw2k3d-closedeyes", {"close_eyes": "False"}, ["the file was made without --close-eyes"]),
        ("biwi", {"published_projection": "False"}, []),
        ("biwi", {"opal_annotation": "biwi_ann.txt"}, ["the file was made with --opal-annotation"]),
        ("biwi-opal", {"opal_annotation": "biwi_ann.txt", "published_projection": "False"}, []),
        (
            "biwi-opal",
            {"published_projection": "True"},
            ["the file was made without --opal-annotation", "the file was made with --published-projection"],
        ),
    ],
)
def test_files_made_with_other_options_than_the_protocol_has_are_marked(
    protocol: str, options: dict[str, str], marks: list[str], checkpoint: Path, make_sample: Callable, tmp_path: Path
) -> None:
    made = {"converter": f"dsprocess_{'biwi' if 'biwi' in protocol else 'aflw2k'}", "options": options}
    source = {"converter": "dsjoin", "of": [made, {"converter": made["converter"], "of": 3}]}
    image = encode_jpeg(np.zeros((480, 640), np.uint8))
    samples = (make_sample(seed, image=image, sequence="01") for seed in range(2))
    path = write_samples(tmp_path / "a.h5", samples, source=source)
    found = evaluate(load_predictor(checkpoint), protocol, EvaluationOptions(file=path, progress=False)).row()["marks"]
    assert [mark for mark in found if "mean face" not in mark] == marks


def test_crops_are_no_frames_of_biwi(checkpoint: Path, make_sample: Callable, tmp_path: Path) -> None:
    path = write_samples(tmp_path / "a.h5", [make_sample(0, head=None)], source={"converter": "dsprocess_biwi"})
    options = EvaluationOptions(file=path, progress=False)
    marks = evaluate(load_predictor(checkpoint), "biwi", options).row()["marks"]
    assert marks == ["images are crops: the file has no heads, as of FSA-Net's BIWI_done.npz"]


def test_report_is_one_file(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    results = [evaluate(load_predictor(checkpoint), "aflw2k3d", EvaluationOptions(file=faces, progress=False))]
    write_report(tmp_path / "r.html", "Test <&>", result_sections(results))
    text = (tmp_path / "r.html").read_text()
    assert "Test &lt;&amp;&gt;" in text
    assert text.count("data:image/") == 3
    assert "http" not in without_images(text)


def test_dollar_signs_in_names_are_drawn_as_they_stand(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a$^{b$c"  # no formula
    odd.mkdir()
    (odd / "tiny.ckpt").write_bytes(checkpoint.read_bytes())
    results = [evaluate(load_predictor(odd / "tiny.ckpt"), "aflw2k3d", EvaluationOptions(file=faces, progress=False))]
    write_report(tmp_path / "r.html", "Test", result_sections(results))
    assert "a$^{b$c/tiny.ckpt" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "ONNX Runtime can't load it"), (b"junk" * 99, "can't load it: no ONNX file")]
)
def test_files_that_are_no_models_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"bad\.onnx: {message}|bad\.onnx: .*{message}"):
        load_predictor(tmp_path / "bad.onnx")
    with pytest.raises(ModelFileError, match=r"a model is a \.ckpt or an \.onnx file"):
        load_predictor(tmp_path / "model.pth")
    with pytest.raises(ModelFileError, match=r"gone\.onnx: no such file"):
        load_predictor(tmp_path / "gone.onnx")


def test_missing_data_says_how_to_make_it(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADIR", str(tmp_path))
    with pytest.raises(CatalogError, match=r"aflw2k\.h5 is missing; make it with `ttc convert aflw2k`"):
        evaluate(load_predictor(checkpoint), "aflw2k3d", EvaluationOptions())


@pytest.mark.slow
def test_script_prints_a_table_and_writes_json(faces: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = run_script(
        "evaluate_pose_network.py", "--ds", "aflw2k3d", checkpoint, "--data", faces, "--json", tmp_path / "r.json"
    )
    assert "geodesic°" in output
    (row,) = json.loads((tmp_path / "r.json").read_text())
    expected = {"model", "protocol", "n", "pitch", "yaw", "roll", "mae", "geodesic", "xy", "size", "nme3d"}
    assert expected <= set(row)
    assert row["mae"] == pytest.approx((row["pitch"] + row["yaw"] + row["roll"]) / 3)
    output = run_script("evaluate_pose_network.py", "--ds", "alfw2k3d", checkpoint, expect=1)
    assert "protocol 'alfw2k3d' is unknown; choose among aflw2k3d" in output


def test_names_of_bytes_that_are_no_letters_are_written_in_a_readable_way(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.h5") if os.name == "posix" else "a\udcff.h5"
    write_json([{"data": name}], tmp_path / "a.json")
    write_csv([{"data": name}], tmp_path / "a.csv")
    write_report(tmp_path / "a.html", name, [])
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == [{"data": name}]
    assert plot_label(f"${name}") == r"\$a\udcff.h5"
    for file in ("a.csv", "a.html"):
        assert "a\\udcff.h5" in (tmp_path / file).read_text(encoding="utf-8")
