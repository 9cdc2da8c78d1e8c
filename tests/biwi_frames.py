"""The real frames of BIWI in archives as they are published, made from their labels."""

import struct
import tarfile
from pathlib import Path

import numpy as np
from archive_damage import Members
from scipy.spatial.transform import Rotation

FOCAL, CENTER = 517.679, np.array([320.0, 240.5])  # the colour camera of the data base


TRANSLATION = np.array([-24.0, 5.9, -13.2])  # mm


def calibration_text(rotation: np.ndarray) -> bytes:
    rows = [f"{FOCAL} 0 {CENTER[0]} ", f"0 {FOCAL} {CENTER[1]} ", "0 0 1 ", "", "0 0 0 0 ", ""]
    rows += [" ".join(f"{v:.8g}" for v in row) + " " for row in [*rotation, [], TRANSLATION, []]]
    return "\n".join([*rows, "640 480", ""]).encode()


def pose_text(rotation: np.ndarray, center: np.ndarray) -> bytes:
    rows = [*rotation, [], center]
    return ("\n".join(" ".join(f"{v:.8g}" for v in row) + " " for row in rows) + "\n").encode()


class Frames:
    """The real frames with their labels, read with other code than the converter's."""

    def __init__(self, folder: Path) -> None:
        labels = np.load(folder / "Biwi_plus.npz", allow_pickle=False)
        rows = {str(name): row for row, name in enumerate(labels["images"])}
        self.images = {f"01/{p.name}": p.read_bytes() for p in sorted(folder.glob("hpdb/01/*_rgb.png"))}
        self.depth: dict[str, Rotation] = {}
        self.centers: dict[str, np.ndarray] = {}
        self.color: dict[str, Rotation] = {}
        self.ypr = {name: labels["ypr"][rows[name]] for name in self.images}
        with tarfile.open(folder / "db_annotations.tgz") as archive:
            for name in self.images:
                member = archive.extractfile(name.replace("_rgb.png", "_pose.bin"))
                assert member is not None
                values = struct.unpack("<6f", member.read())
                self.centers[name] = np.array(values[:3])
                self.depth[name] = Rotation.from_euler("xyz", values[3:], degrees=True)
                pitch, yaw, roll = labels["pyr"][rows[name]] * [1, -1, -1]
                self.color[name] = Rotation.from_euler("xyz", [pitch, yaw, roll], degrees=True)
        first = next(iter(self.images))
        self.calibration = self.color[first] * self.depth[first].inv()

    def members(self, top: str) -> Members:
        found = {f"{top}01/rgb.cal": calibration_text(self.calibration.as_matrix())}
        for name, image in self.images.items():
            found[top + name] = image
            pose = pose_text(self.depth[name].as_matrix(), self.centers[name])
            found[top + name.replace("_rgb.png", "_pose.txt")] = pose
        return found
