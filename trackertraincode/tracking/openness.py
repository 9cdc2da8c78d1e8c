"""How far eyes and mouth are open, from landmarks alone."""

import numpy as np

from trackertraincode.geometry.single import to_matrix

# Corners of the opening, and pairs of points opposite each other on its upper and lower edge; iBUG numbers.
OPENINGS = {
    "eye_right": ((36, 39), ((37, 41), (38, 40))),
    "eye_left": ((42, 45), ((43, 47), (44, 46))),
    "mouth": ((60, 64), ((61, 67), (62, 66), (63, 65))),
}


def openness(landmarks: np.ndarray, rotation: np.ndarray) -> tuple[float, ...]:
    """(68, 3) landmarks, (4,) i, j, k, w of the head -> right eye, left eye, mouth: height of the opening over its width.

    Lengths are those of the face seen from the front: landmarks are turned back and their depth is dropped, as closed
    lids lie behind each other. Eyes: (|37 - 41| + |38 - 40|) / (2 |36 - 39|), and likewise for the left one; mouth: the
    inner lip's (|61 - 67| + |62 - 66| + |63 - 65|) / (3 |60 - 64|). "Right" is the subject's.
    """
    front = landmarks @ to_matrix(rotation)[:, :2]  # of the transposed rotation the first two rows
    values = []
    for corners, pairs in OPENINGS.values():
        width = np.linalg.norm(front[corners[0]] - front[corners[1]])
        height = np.mean([np.linalg.norm(front[upper] - front[lower]) for upper, lower in pairs])
        values.append(float(height / max(width, np.finfo(np.float32).tiny)))
    return tuple(values)
