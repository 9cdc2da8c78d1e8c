"""Every command that writes files, with small inputs, and what is looked at after it ran undisturbed or not.

A new command fails test_reliability.py until it has a row here.
"""

import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
from program import Program

TINY = (
    "--ds tiny --width 0.25 --backbone repvgg_az --input-size 33 --epochs 2 --samples-per-epoch 64 --batchsize 16 "
    "--no-tensorboard --draw-every 0 --device cpu"
)
CATALOG = '[tiny]\nfile = "faces.h5"\nweight = 1\nlabels = ["pose", "landmarks", "box"]\n'


@dataclass(frozen=True)
class Case:
    """One command line. {i}, {o}: the folders of inputs and outputs."""

    words: str
    resume: str | None = None  # words that go on with an interrupted run; None: the same again

    def command(self, inputs: Path, outputs: Path, *, resume: bool = False) -> list[str]:
        words = self.resume if resume and self.resume else self.words
        return [word.format(i=inputs, o=outputs) for word in words.split()]


def resumed(words: str) -> Case:
    """Of the converters' engine."""
    return Case(words, f"{words} --resume")


def converting(name: str) -> Case:
    return resumed(f"convert {name} {{i}}/{name}.zip {{o}}/x.h5 --workers 2 --skipped {{o}}/skipped.txt")


DRAWN = TINY.replace("--no-tensorboard --draw-every 0", "--draw-every 1 --save-every 1")
CASES = {
    "convert aflw2k": converting("aflw2k"),
    "convert 300wlp": converting("300wlp"),
    "convert csv": resumed("convert csv {i}/labels.csv {o}/x.h5 --workers 2 --skipped {o}/skipped.txt"),
    "convert tgz": resumed("convert aflw2k {i}/aflw2k.tgz {o}/x.h5 --workers 2"),
    "render": resumed("render {o}/x.h5 -n 200 --size 96 --workers 2"),
    "render few": resumed("render {o}/x.h5 -n 48 --size 64 --workers 2"),
    "render shards": resumed("render {o}/x.h5 -n 200 --size 96 --shards 3 --workers 2"),
    "render zip": resumed("render {o}/x.zip -n 100 --size 96 --format 300wlp --workers 2"),
    "render zip of the other kind": resumed("render {o}/x.zip -n 100 --size 96 --format aflw2k --workers 2"),
    "expand": resumed("expand {i}/faces.h5 {o}/x.h5 --yaw-step 20 -n 160 --workers 2 --skipped {o}/skipped.txt"),
    "expand zip": resumed("expand {i}/faces.h5 {o}/x.zip -n 60 --format 300wlp --workers 2"),
    "expand with meshes": resumed(
        "expand {i}/faces.h5 {o}/x.h5 --yaw-step 30 -n 16 --write-mesh {o}/meshes --workers 0"
    ),
    "info": Case("info {i}/faces.h5 --histogram {o}/x.png"),
    "check": Case("check {i}/faces.h5 --bad-rows {o}/bad.txt --workers 2"),
    "view": Case("view {i}/faces.h5 {o}/x.png"),
    "join": Case("join {o}/x.h5 {i}/faces.h5 {i}/other.h5"),
    "fit": resumed("fit {i}/faces.h5 {o}/x.h5 --landmarks 2d --workers 2 --skipped {o}/skipped.txt"),
    "pseudolabels": resumed(
        "pseudolabels {i}/faces.h5 -c {i}/run/last.onnx {i}/run/last.ckpt --output {o}/x.h5 --replace --workers 2 "
        "--skipped {o}/skipped.txt"
    ),
    "review": Case("review {i}/faces.h5 --model {i}/run/last.onnx --report {o}/x.html --list {o}/bad.txt --workers 2"),
    "filter": Case("filter {i}/faces.h5 {o}/x.h5 --where size>0"),
    "train": Case(f"train {TINY} --workers 2 --with-swa --outdir {{o}}/run", "train --resume --outdir {o}/run"),
    "train with drawings": Case(f"train {DRAWN} --workers 2 --outdir {{o}}/run", "train --resume --outdir {o}/run"),
    "train without drawings": Case(
        f"train {TINY} --workers 2 --with-swa --no-onnx --no-plotting --outdir {{o}}/run",
        "train --resume --outdir {o}/run",
    ),
    "train on kept crops": Case(
        f"train {TINY} --workers 2 --cache disk --cache-dir {{o}}/crops --outdir {{o}}/run",
        "train --resume --outdir {o}/run",
    ),
    "train-localizer": Case(
        "train-localizer --scenes 48 -e 2 -b 8 --workers 2 --device cpu --outdir {o}/run --export {o}/x.onnx",
        "train-localizer --resume --outdir {o}/run --export {o}/x.onnx",
    ),
    "compare-runs": Case("compare-runs {i}/run --output {o}/x.png --json {o}/x.json"),
    "fit-shape-prior": Case("fit-shape-prior {i}/faces.h5 --components 2 --output {o}/x.npz"),
    "evaluate": Case(
        "evaluate {i}/run/last.onnx --ds {i}/faces.h5 --workers 1 --device cpu --json {o}/x.json --csv {o}/x.csv "
        "--report {o}/x.html --predictions {o}/rows.csv --vis rot --vis-folder {o}/pages"
    ),
    "evaluate to tables": Case(
        "evaluate {i}/run/last.onnx --ds {i}/faces.h5 --workers 1 --device cpu --json {o}/x.json --csv {o}/x.csv"
    ),
    "stability": Case("stability {i}/run/last.onnx --count 12 --device cpu --report {o}/x.html --json {o}/x.json"),
    "export": Case("export {i}/run/last.ckpt --output {o}/x.onnx"),
    "export int8": Case("export {i}/run/last.ckpt --quantize --calibration {i}/faces.h5 --output {o}/x.onnx"),
    "export fp16": Case("export {i}/run/last.ckpt --fp16 --output {o}/x.onnx"),
    **{
        f"track to {name or 'a folder'}": Case(
            f"track {{i}}/{source} --model {{i}}/run/last.onnx --localizer {{i}}/localizer.onnx "
            f"--output {{o}}/drawn{name} --csv {{o}}/x.csv --json {{o}}/x.json"
        )
        for name, source in ((".mp4", "video.avi"), (".avi", "frames"), ("", "frames"), (".jpg", "frames/007.jpg"))
    },
    "demo": Case("demo --outdir {o}/demo --faces 160 --test-faces 20 --epochs 1 --samples-per-epoch 64"),
}
WITHOUT_OUTPUTS = ("check-model", "web")
OF_OTHERS = ("train-default",)  # which runs the commands above, as demo does


MADE_BY_COMMANDS = {
    "faces.h5": "render {o}/faces.h5 -n 200 --size 96 --seed 1",
    "other.h5": "render {o}/other.h5 -n 100 --size 96 --seed 2",
    "300wlp.zip": "render {o}/300wlp.zip -n 160 --size 96 --format 300wlp",
    "aflw2k.zip": "render {o}/aflw2k.zip -n 160 --size 96 --format aflw2k",
    "run": f"train {TINY} --workers 0 --outdir {{o}}/run",
    "localizer.onnx": "train-localizer --scenes 24 -e 1 --workers 0 --outdir {o}/run --export {o}/localizer.onnx",
}
NEEDS = {
    "aflw2k.tgz": "aflw2k.zip",
    "run": "faces.h5",
    "frames": "faces.h5",
    "video.avi": "frames",
    "labels.csv": "frames",
}


def make_inputs(folder: Path, names: Iterable[str]) -> None:
    """Files that these cases read, made by the commands themselves where they aren't there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "datasets.toml").write_text(CATALOG)
    words = " ".join(CASES[name].words for name in names)
    for name in (*MADE_BY_COMMANDS, *MAKE):
        if name == "faces.h5" or f"{{i}}/{name}" in words:
            _make_input(folder, name)


def _make_input(folder: Path, name: str) -> None:
    """One of them and what it needs, under another name until it is whole."""
    if (folder / name).exists():
        return
    if name in NEEDS:
        _make_input(folder, NEEDS[name])
    begun = folder / "begun"
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    if name in MAKE:
        MAKE[name](folder, begun / name)
    else:
        done = Program(Case(MADE_BY_COMMANDS[name]).command(folder, begun), folder).end()
        assert done.code == 0, f"{MADE_BY_COMMANDS[name]}: {done.lines}"
    (begun / name).rename(folder / name)


def _make_tgz(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(folder / "aflw2k.zip") as archive, tarfile.open(path, "w:gz") as packed:
        for member in archive.infolist():
            info = tarfile.TarInfo(member.filename)
            info.size = member.file_size
            packed.addfile(info, archive.open(member))


def _make_frames(folder: Path, path: Path) -> None:
    path.mkdir()
    with h5py.File(folder / "faces.h5") as file:
        for number, data in enumerate(file["images"][:60]):
            frame = cv2.resize(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), (320, 240))
            cv2.imwrite(str(path / f"{number:03d}.jpg"), frame)


def _make_video(folder: Path, path: Path) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (320, 240))
    for file in sorted((folder / "frames").iterdir()):
        video.write(np.asarray(cv2.imread(str(file))))
    video.release()


def _make_labels(_folder: Path, path: Path) -> None:
    rows = [f"frames/{number:03d}.jpg,80,40,240,200,0,{number},0\n" for number in range(60)]
    path.write_text("path,x0,y0,x1,y1,pitch,yaw,roll\n" + "".join(rows))


MAKE = {"aflw2k.tgz": _make_tgz, "frames": _make_frames, "video.avi": _make_video, "labels.csv": _make_labels}


class Table:
    """Counts per command, as a table of Markdown that is printed while it grows."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._sums = dict.fromkeys(columns, 0)
        self._print("command", columns)
        self._print("---", ["---:"] * len(columns))

    def add(self, name: str, counts: dict[str, int]) -> None:
        """A row."""
        self._sums = {column: total + counts[column] for column, total in self._sums.items()}
        self._print(name, [counts[column] for column in self._columns])

    def end(self) -> None:
        """The sums of all rows."""
        self._print("**all**", list(self._sums.values()))

    def _print(self, name: str, cells: Sequence[object]) -> None:
        print("|", " | ".join(map(str, [name, *cells])), "|", flush=True)
