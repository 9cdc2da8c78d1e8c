"""300VW: frames, landmarks and the shared crop of real images made into videos; gaps and damage are reported."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from archive_damage import Members, check_damage, convert, write_folder, write_zip

from close import as_archives_count, known
from trackertraincode.conversion import w300vw
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.detection.mtcnn import Detections, MtcnnDetector
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.sample.images import decode

SCRIPT = "dsprocess_300vw.py"
TOP = "300VW_Dataset_2015_12_14"


def write_video(path: Path, frames: list[np.ndarray]) -> bytes:
    """Motion JPEG of (H, W, 3) BGR frames."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path.read_bytes()


def points_text(points: np.ndarray) -> bytes:
    lines = [f"{x:.6f} {y:.6f}" for x, y in points]
    return "\n".join(["version: 1.0", "n_points: 68", "{", *lines, "}", ""]).encode()


def read_points(path: Path) -> np.ndarray:
    return np.array([line.split() for line in path.read_text().splitlines()[3:71]], dtype=float)


class Videos:
    """The real frames as two videos of two frames each, numbered from 1."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.members: Members = {}
        self.frames: dict[str, list[np.ndarray]] = {}
        self.points: dict[str, list[np.ndarray]] = {}
        for number in ("401", "001"):  # in another order than the file's
            images = sorted((folder / number / "imgs").glob("*.jpg"))
            self.frames[number] = [decode(p.read_bytes(), color=True)[..., ::-1] for p in images]
            annotations = sorted((folder / number / "annot").glob("*.pts"))
            self.points[number] = [read_points(p) for p in annotations]
            self.members[f"{TOP}/{number}/vid.avi"] = write_video(work / f"{number}.avi", self.frames[number])
            for frame, path in enumerate(annotations, 1):
                self.members[f"{TOP}/{number}/annot/{frame:06d}.pts"] = path.read_bytes()


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return Videos(shared_data / "annotated_samples" / "300vw", tmp_path_factory.mktemp("videos"))


def small_points(frame: int) -> np.ndarray:
    """A face of 40 pixels that moves to the right."""
    angle = np.linspace(0, 2 * np.pi, 68)
    return np.stack([40 + frame + 20 * np.cos(angle), 40 + 20 * np.sin(angle)], axis=-1)


def small_video(path: Path, count: int) -> bytes:
    """Frames of 160 × 96 pixels whose grey tells their number."""
    return write_video(path, [np.full((96, 160, 3), 20 + 4 * frame, np.uint8) for frame in range(count)])


def small_archive(work: Path, frames: int, annotations: list[int], number: str = "003") -> Members:
    members = {f"{number}/vid.avi": small_video(work / "small.avi", frames)}
    return members | {f"{number}/annot/{f:06d}.pts": points_text(small_points(f - 1)) for f in annotations}


def greys(path: Path) -> list[int]:
    """Numbers of the frames in a file."""
    with Hdf5PoseDataset(path) as data:
        return [round((decode(sample.image).mean() - 20) / 4) for sample in data]


def test_real_frames_with_their_landmarks_and_one_crop_per_video(real: Videos, tmp_path: Path) -> None:
    convert(SCRIPT, write_zip(tmp_path / "a.zip", real.members), tmp_path / "a.h5", "--no-mtcnn", "--strict")
    with Hdf5PoseDataset(tmp_path / "a.h5") as data:
        assert known(data.sequence_starts).tolist() == [0, 2, 4]
        assert data.labels["individual"].tolist() == [1, 1, 401, 401]
        rows = [as_archives_count(sample) for sample in data]
    for number, samples in (("001", rows[:2]), ("401", rows[2:])):
        points = np.stack(real.points[number])
        longest = (points.max(1) - points.min(1)).max()
        scale = min(1.0, 1.5 * 129 / longest)
        height, width = real.frames[number][0].shape[:2]
        factors = np.array([round(width * scale) / width, round(height * scale) / height])
        low, high = points.min((0, 1)) * factors, points.max((0, 1)) * factors
        pad = max(10, np.linalg.norm(high - low) / 2)
        corner = np.maximum(0, np.floor(low - pad))
        end = np.minimum([round(width * scale), round(height * scale)], np.ceil(high + pad))
        for sample, frame, expected in zip(samples, real.frames[number], points):
            assert decode(sample.image).shape == tuple((end - corner)[::-1].astype(int))
            moved = (expected + 0.5) * factors - 0.5 - corner
            assert np.allclose(known(sample.landmarks_2d), moved, atol=1e-3)
            assert np.allclose(known(sample.face_box), [*moved.min(0), *moved.max(0)], atol=1e-3)
            size = (known(sample.face_box)[2:] - known(sample.face_box)[:2]).max()
            assert size < 1.5 * 129 + 1
            # what is around a landmark in the crop is what is around it in the frame
            stored = decode(sample.image, color=True)[..., ::-1].astype(np.float32)
            affine = np.array([[factors[0], 0, (factors[0] - 1) / 2 - corner[0]],
                               [0, factors[1], (factors[1] - 1) / 2 - corner[1]]])  # fmt: skip
            moved_frame = cv2.warpAffine(frame, affine, stored.shape[1::-1], flags=cv2.INTER_AREA).astype(np.float32)
            difference = cv2.GaussianBlur(stored, (0, 0), 2) - cv2.GaussianBlur(moved_frame, (0, 0), 2)
            assert np.abs(difference[12:-12, 12:-12]).mean() < 3


def test_zip_folder_and_worker_processes_give_the_same(tmp_path: Path) -> None:
    members = small_archive(tmp_path, 40, list(range(1, 41)))
    convert(SCRIPT, write_zip(tmp_path / "a.zip", members), tmp_path / "a.h5", "--no-mtcnn", "--strict")
    convert(SCRIPT, write_folder(tmp_path / "b", members), tmp_path / "b.h5", "--no-mtcnn", "--workers", 2)
    assert greys(tmp_path / "a.h5") == greys(tmp_path / "b.h5") == list(range(40))
    one, two = (Hdf5PoseDataset(tmp_path / f"{name}.h5").labels["landmarks_2d"] for name in "ab")
    assert np.array_equal(one, two)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_frames_are_found_from_any_item_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    monkeypatch.setattr(w300vw, "FRAMES_PER_ITEM", 4)
    archive = write_zip(tmp_path / "a.zip", small_archive(tmp_path, 12, list(range(1, 13))))
    source = w300vw.make_source(archive, mtcnn=False)
    for item in (source.items[start], source.items[0]):  # back again
        grey = [round((decode(s.image).mean() - 20) / 4) for s in source.convert(item)]
        assert grey == list(range(item.first, item.first + 4))


@pytest.mark.parametrize(
    ("frames", "annotations", "kept", "message"),
    [
        (5, range(1, 8), range(5), "5 frames, but 7 annotations; the common 5 are kept"),
        (7, range(1, 6), range(5), "7 frames, but 5 annotations; the common 5 are kept"),
        (6, (1, 2, 5, 6), (0, 1, 4, 5), "6 frames, but 4 annotations; the common 4 are kept"),
        (40, range(1, 71), range(40), "40 frames, but 70 annotations; the common 40 are kept"),
        (3, (0, 1, 2, 3), range(3), r"000000\.pts: frames count from 1"),
    ],
)
def test_the_common_part_is_kept_and_the_rest_reported(
    tmp_path: Path, frames: int, annotations, kept, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_zip(tmp_path / "a.zip", small_archive(tmp_path, frames, list(annotations)))
    convert(SCRIPT, source, tmp_path / "a.h5", "--no-mtcnn")
    assert greys(tmp_path / "a.h5") == list(kept)
    assert message.replace("\\", "") in capsys.readouterr().out
    with pytest.raises(UserError, match=rf"003/vid\.avi: .*{message}"):
        convert(SCRIPT, source, tmp_path / "b.h5", "--no-mtcnn", "--strict")
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"version: 1.0\nn_points: 68\n{\n1 2\n}\n", r"000002\.pts: 1 lines of points between braces, expected 68"),
        (points_text(small_points(1))[:-3], r"000002\.pts: 68 lines of points"),
        (points_text(small_points(1)).replace(b"\n}", b" 7\n}"), r"000002\.pts: line 71 has 3 numbers, expected 2"),
        (points_text(small_points(1)).replace(b"{\n", b"{\n99999"), r"000002\.pts: a face of 99\d+ pixels"),
        (points_text(small_points(1) * 0), r"000002\.pts: all 68 points lie on one line"),
    ],
)
def test_a_damaged_annotation_is_left_out_and_named(
    tmp_path: Path, text: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    members = small_archive(tmp_path, 4, [1, 2, 3, 4])
    source = write_zip(tmp_path / "a.zip", members | {"003/annot/000002.pts": text})
    convert(SCRIPT, source, tmp_path / "a.h5", "--no-mtcnn")
    assert greys(tmp_path / "a.h5") == [0, 2, 3]
    assert "1 annotations are left out" in capsys.readouterr().out
    with pytest.raises(UserError, match=message):
        convert(SCRIPT, source, tmp_path / "b.h5", "--no-mtcnn", "--strict")


def test_missing_and_damaged_videos_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = small_archive(tmp_path, 3, [1, 2, 3]) | small_archive(tmp_path, 3, [1, 2, 3], "004")
    without = {name: data for name, data in members.items() if name != "003/vid.avi"}
    convert(SCRIPT, write_zip(tmp_path / "a.zip", without), tmp_path / "a.h5", "--no-mtcnn")
    assert "003/vid.avi: is missing, 3 annotations are left out" in capsys.readouterr().out
    broken = write_zip(tmp_path / "b.zip", members | {"004/vid.avi": b"RIFF no video"})
    convert(SCRIPT, broken, tmp_path / "b.h5", "--no-mtcnn")
    assert "004/vid.avi: can't be decoded as a video" in capsys.readouterr().out
    assert greys(tmp_path / "a.h5") == greys(tmp_path / "b.h5") == [0, 1, 2]
    none = {name: data for name, data in members.items() if name.endswith(".pts")}
    with pytest.raises(ArchiveError, match=r"c\.zip: no VVV/vid\.avi"):
        convert(SCRIPT, write_zip(tmp_path / "c.zip", none), tmp_path / "c.h5", "--no-mtcnn")
    with pytest.raises(ArchiveError, match=r"d\.zip: no VVV/annot"):
        convert(SCRIPT, write_zip(tmp_path / "d.zip", {"x": b""}), tmp_path / "d.h5", "--no-mtcnn")


def test_detections_that_overlap_replace_the_landmarks_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_zip(tmp_path / "a.zip", small_archive(tmp_path, 2, [1, 2]))
    convert(SCRIPT, source, tmp_path / "a.h5", "--no-mtcnn")
    around = Hdf5PoseDataset(tmp_path / "a.h5").labels["face_box"]
    found = iter([around[0] + [-2, -6, 2, 3], around[1] + [30, 30, 30, 30]])
    monkeypatch.setattr(MtcnnDetector, "check", lambda self: None)
    monkeypatch.setattr(MtcnnDetector, "__call__", lambda self, _: Detections(next(found)[None], np.ones(1)))
    convert(SCRIPT, source, tmp_path / "b.h5")
    boxes = Hdf5PoseDataset(tmp_path / "b.h5").labels["face_box"]
    assert np.allclose(boxes, [around[0] + [-2, -6, 2, 3], around[1]])


def test_damaged_archives(tmp_path: Path) -> None:
    members = small_archive(tmp_path, 3, [1, 2, 3]) | small_archive(tmp_path, 3, [1, 2, 3], "004")
    build = lambda path, changed: write_zip(path.with_suffix(".zip"), changed)  # noqa: E731
    check_damage(SCRIPT, members, build, tmp_path, options=("--no-mtcnn",))


def test_a_copy_of_a_video_counts_once(tmp_path: Path) -> None:
    members = small_archive(tmp_path, 4, [1, 2, 3, 4])
    double = members | {f"copy/{name}": data for name, data in members.items()}
    convert(SCRIPT, write_zip(tmp_path / "a.zip", double), tmp_path / "a.h5", "--no-mtcnn", "--strict")
    assert greys(tmp_path / "a.h5") == [0, 1, 2, 3]


def test_other_videos_beside_the_annotated_one_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a smaller preview; of two none of which has the published name, nobody knows which one is annotated."""
    members = small_archive(tmp_path, 4, [1, 2, 3, 4])
    members["003/preview.mp4"] = write_video(tmp_path / "p.mp4", [np.full((48, 80, 3), 250, np.uint8)] * 4)
    convert(SCRIPT, write_folder(tmp_path / "a", members), tmp_path / "a.h5", "--no-mtcnn", "--strict")
    assert greys(tmp_path / "a.h5") == [0, 1, 2, 3]
    members["003/clip.avi"] = members.pop("003/vid.avi")
    others = small_archive(tmp_path, 2, [1, 2], "004")
    convert(SCRIPT, write_folder(tmp_path / "b", members | others), tmp_path / "b.h5", "--no-mtcnn")
    assert "003/vid.avi: is missing, 4 annotations are left out" in capsys.readouterr().out
    del members["003/preview.mp4"]
    convert(SCRIPT, write_folder(tmp_path / "c", members), tmp_path / "c.h5", "--no-mtcnn", "--strict")
    assert greys(tmp_path / "c.h5") == [0, 1, 2, 3]


def test_of_copies_the_one_with_video_and_annotations_is_taken(tmp_path: Path) -> None:
    members = {f"all/300vw/{name}": data for name, data in small_archive(tmp_path, 4, [1, 2, 3, 4]).items()}
    members |= {f"annotations/{n.split('/', 2)[2]}": data for n, data in members.items() if n.endswith(".pts")}
    convert(SCRIPT, write_folder(tmp_path / "a", members), tmp_path / "a.h5", "--no-mtcnn", "--strict")
    assert greys(tmp_path / "a.h5") == [0, 1, 2, 3]
