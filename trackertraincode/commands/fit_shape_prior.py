"""Fit the mixture that judges how plausible shape coefficients are, per face model.

ttc fit-shape-prior $DATADIR/300wlp.h5          writes $DATADIR/shape_prior_bfm_noneck_v3.npz
"""

import argparse
import re
from pathlib import Path

from trackertraincode.arguments import OutputFile, add_overwrite_option, positive_int
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.files import check_outputs, data_dir, whole_file

MIN_VARIANCE = 1e-4


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="sample file with shape coefficients, .h5")
    parser.add_argument("--components", type=positive_int, default=10, help="Gaussians")
    parser.add_argument(
        "--output", type=OutputFile(".npz"), help="file to write (default: $DATADIR/shape_prior_FACEMODEL.npz)"
    )
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    folder = data_dir()
    if options.output is None and folder is None:
        raise ConfigError("set DATADIR, or name the file to write with --output.")
    check_outputs([options.output], [options.file], folders=[folder], overwrite=options.overwrite)
    import numpy as np
    from sklearn.mixture import GaussianMixture

    from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset

    dataset = Hdf5PoseDataset(options.file, labels=["shape"])
    path = options.output
    if path is None:
        if not re.fullmatch(r"[\w.-]+", dataset.face_model or ""):
            raise SampleFormatError(
                f"{options.file}: its face model is {str(dataset.face_model)[:40]!r}, which can't be part of a file's name; "
                "name the file to write with --output."
            )
        path = Path(str(folder)) / f"shape_prior_{dataset.face_model}.npz"
        check_outputs([path], [options.file], overwrite=options.overwrite)
    shapes = dataset.labels.get("shape", np.empty((0, 50)))
    shapes = shapes[np.isfinite(shapes).all(1)]
    if len(shapes) < 10 * options.components:
        raise SampleFormatError(
            f"{options.file}: {len(shapes)} rows have shape coefficients, {10 * options.components} are needed to fit "
            f"{options.components} components; use a larger file or fewer --components."
        )
    mixture = GaussianMixture(options.components, covariance_type="diag", reg_covar=MIN_VARIANCE, random_state=0)
    mixture.fit(shapes.astype(np.float64))
    values = {"weights": mixture.weights_, "means": mixture.means_, "stds": np.sqrt(mixture.covariances_)}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: value.astype(np.float32) for name, value in values.items()})
    print(
        f"{path}: {options.components} components, mean log density {mixture.score(shapes):.2f} on {len(shapes)} rows"
    )
    return 0
