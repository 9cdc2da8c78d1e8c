"""Landmark schemes as they are described, point by point, and real faces that are annotated with them."""

import json
from pathlib import Path

import numpy as np
from scipy.interpolate import interp1d


def slow_wflw(p: np.ndarray) -> np.ndarray:
    """Point by point, as the annotation schemes are described."""
    jaw = [p[i] for i in range(0, 33, 2)]
    right_brow = [p[33], (p[34] + p[41]) / 2, (p[35] + p[40]) / 2, (p[36] + p[39]) / 2, (p[37] + p[38]) / 2]
    left_brow = [(p[42] + p[50]) / 2, (p[43] + p[49]) / 2, (p[44] + p[48]) / 2, (p[45] + p[47]) / 2, p[46]]
    nose = [p[i] for i in range(51, 60)]
    right_eye = [p[60], (p[61] + p[62]) / 2, (p[62] + p[63]) / 2, p[64], (p[65] + p[66]) / 2, (p[66] + p[67]) / 2]
    left_eye = [p[68], (p[69] + p[70]) / 2, (p[70] + p[71]) / 2, p[72], (p[73] + p[74]) / 2, (p[74] + p[75]) / 2]
    mouth = [p[i] for i in range(76, 96)]
    return np.array(jaw + right_brow + left_brow + nose + right_eye + left_eye + mouth)


def slow_lapa(p: np.ndarray) -> np.ndarray:
    places = [1.5 + 29 * i / 16 for i in range(17)]
    jaw = list(interp1d(np.arange(33), p[:33], kind="quadratic", axis=0)(places))
    brows = list(slow_wflw(p[:98])[17:27])
    nose = [p[51], p[52], p[53], p[54], p[57], (p[58] + p[59]) / 2, p[60], (p[61] + p[62]) / 2, p[63]]
    right_eye = [p[66], (p[67] + p[68]) / 2, (p[68] + p[69]) / 2, p[70], (p[71] + p[72]) / 2, (p[72] + p[73]) / 2]
    left_eye = [p[75], (p[76] + p[77]) / 2, (p[77] + p[78]) / 2, p[79], (p[80] + p[81]) / 2, (p[81] + p[82]) / 2]
    mouth = [p[i] for i in range(84, 104)]
    return np.array(jaw + brows + nose + right_eye + left_eye + mouth)


def annotations(shared_data: Path, name: str) -> list[tuple[Path, np.ndarray]]:
    """Real faces of WFLW or LaPa: image file and (98 or 106, 2) points."""
    folder = shared_data / "annotated_samples" / name
    found = json.loads((folder / f"test_{name}.json").read_text())
    files = {image["id"]: folder / image["file_name"] for image in found["images"]}
    return [(files[a["image_id"]], np.array(a["keypoints"]).reshape(-1, 3)[:, :2]) for a in found["annotations"]]
