"""Head pose by MediaPipe's face mesh on a file's images, scored as `ttc evaluate` scores the networks of this package.

    pip install mediapipe==0.10.21 h5py        # in an environment of its own: it needs other versions of numpy and protobuf
    python benchmarks/peer_mediapipe.py look aflw2k.h5 meshes.npz
    python benchmarks/peer_mediapipe.py score aflw2k.h5 meshes.npz --fit-rows 400          # in the usual environment

look: the whole image is given to face detector and mesh, 468 points in 3-D. score: rotation by an orthogonal fit of those
points to a mean face. The package keeps its own mean face in files that it doesn't install, so here it is the mean of the
meshes of the first --fit-rows images, turned once so that the mean rotation there is the labels'; these rows are not scored.
"""

import argparse
from pathlib import Path

import cv2
import h5py
import numpy as np

FAR = 30.0  # points beyond so many standard deviations of a mesh aren't of a face


def look(options: argparse.Namespace) -> None:
    """Writes `meshes`, (N, 468, 3) pixels, x right, y down, z away; nan where no face was found."""
    import mediapipe

    with h5py.File(options.data) as file, mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, min_detection_confidence=options.confidence
    ) as mesh:  # fmt: skip
        meshes = np.full((len(file["images"]), 468, 3), np.nan)
        for row, encoded in enumerate(file["images"]):
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
            found = None if image is None else mesh.process(image[..., ::-1].copy()).multi_face_landmarks
            if image is not None and found:
                height, width = image.shape[:2]
                points = np.array([(point.x, point.y, point.z) for point in found[0].landmark])
                meshes[row] = points * (width, height, width)
    np.savez_compressed(options.answers, meshes=meshes)
    print(f"{options.answers}: {np.isfinite(meshes[:, 0, 0]).sum()} faces in {len(meshes)} images")


def score(options: argparse.Namespace) -> None:
    """Prints errors by |yaw| of the rows of protocol aflw2k3d from --fit-rows on."""
    import torch
    from tabulate import tabulate

    from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
    from trackertraincode.evaluation.metrics import bootstrap_interval, euler_errors, geodesic_errors
    from trackertraincode.evaluation.protocols import aflw_rows
    from trackertraincode.geometry.euler import matrix_to_aflw
    from trackertraincode.geometry.rotation import matrix_to_quat, mean_rotation, quat_to_matrix

    meshes = np.load(options.answers)["meshes"]
    dataset = Hdf5PoseDataset(options.data)
    rows = aflw_rows(dataset)
    true = quat_to_matrix(torch.from_numpy(dataset.labels["rotation"]).double())
    found = np.isfinite(meshes).all((1, 2))
    fitted = rows[(rows < options.fit_rows) & found[rows]]
    scored = rows[rows >= options.fit_rows]

    turn = fit_rotations(meshes, mean_face(meshes[fitted]))
    offset = mean_rotation(torch.from_numpy(turn[fitted]).transpose(-1, -2) @ true[fitted])
    predicted = matrix_to_quat(torch.from_numpy(turn[scored]) @ offset)
    truth = matrix_to_quat(true[scored])
    yaw = torch.rad2deg(matrix_to_aflw(true[scored])[:, 1]).abs().numpy()
    table = []
    for name, low, high in (("all", 0, 100), ("|yaw| below 30", 0, 30), ("30 to 60", 30, 60), ("60 and more", 60, 100)):
        inside = (yaw >= low) & (yaw < high)
        answered = torch.from_numpy(inside & found[scored])
        errors = euler_errors(predicted[answered], truth[answered])
        geodesic = geodesic_errors(predicted[answered], truth[answered])
        measures = [*errors.T, errors.mean(-1), geodesic]
        cells = [f"{m.mean():.2f} ({low:.2f}–{high:.2f})" for m in measures for low, high in [bootstrap_interval(m)]]
        table.append([name, f"{int(answered.sum())} of {int(inside.sum())}", *cells])
    print(tabulate(table, headers=["rows", "found", "pitch", "yaw", "roll", "MAE", "geodesic"], tablefmt="github"))


def mean_face(meshes: np.ndarray, rounds: int = 5) -> np.ndarray:
    """(n, 468, 3) meshes of any pose and size -> (468, 3): centred, of size 1, their mean after alignment to it."""
    normal = meshes - meshes.mean(1, keepdims=True)
    normal /= np.linalg.norm(normal, axis=(1, 2), keepdims=True)
    mean = normal[0]
    for _ in range(rounds):
        mean = (normal @ fit_rotations(normal, mean)).mean(0)
        mean /= np.linalg.norm(mean)
    return mean


def fit_rotations(meshes: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(N, 468, 3), (468, 3) -> (N, 3, 3): mesh ≈ scale R face + shift, least squares; nan where the mesh is."""
    from trackertraincode.facemodel.similarity import best_similarity

    found = np.isfinite(meshes).all((1, 2))
    rotations = np.full((len(meshes), 3, 3), np.nan)
    rotations[found] = best_similarity(meshes[found], face)[1].swapaxes(-1, -2)
    return rotations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for action in (look, score):
        command = commands.add_parser(action.__name__)
        command.set_defaults(action=action)
        command.add_argument("data", type=Path)
        command.add_argument("answers", type=Path)
        if action is look:
            command.add_argument("--confidence", type=float, default=0.5, help="of the detector, at least")
        else:
            command.add_argument("--fit-rows", type=int, default=400)
    options = parser.parse_args()
    options.action(options)


if __name__ == "__main__":
    main()
