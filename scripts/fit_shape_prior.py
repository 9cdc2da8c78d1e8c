"""Fit the mixture that judges how plausible shape coefficients are, per face model.

python scripts/fit_shape_prior.py $DATADIR/300wlp.h5          writes $DATADIR/shape_prior_bfm_noneck_v3.npz
"""

import argparse
from pathlib import Path

import numpy as np

from trackertraincode.cli import positive_int, run_main
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
from trackertraincode.errors import ConfigError, SampleFormatError
from trackertraincode.files import data_dir

COMPONENTS = 10
MIN_VARIANCE = 1e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="sample file with shape coefficients")
    parser.add_argument("--components", type=positive_int, default=COMPONENTS, help="Gaussians (default 10)")
    parser.add_argument("--output", type=Path, help="default: $DATADIR/shape_prior_FACEMODEL.npz")
    options = parser.parse_args()
    from sklearn.mixture import GaussianMixture

    dataset = Hdf5PoseDataset(options.file, labels=["shape"])
    shapes = dataset.labels.get("shape", np.empty((0, 50)))
    shapes = shapes[np.isfinite(shapes).all(1)]
    if len(shapes) < 10 * options.components:
        raise SampleFormatError(
            f"{options.file}: {len(shapes)} rows have shape coefficients, {10 * options.components} are needed to fit "
            f"{options.components} components; use a larger file or fewer --components."
        )
    mixture = GaussianMixture(options.components, covariance_type="diag", reg_covar=MIN_VARIANCE, random_state=0)
    mixture.fit(shapes.astype(np.float64))
    folder = data_dir()
    if options.output is None and folder is None:
        raise ConfigError("set DATADIR, or name the file to write with --output.")
    path = options.output or folder / f"shape_prior_{dataset.face_model}.npz"
    deviations = np.sqrt(mixture.covariances_).astype(np.float32)
    np.savez(
        path, weights=mixture.weights_.astype(np.float32), means=mixture.means_.astype(np.float32), stds=deviations
    )
    print(
        f"{path}: {options.components} components, mean log density {mixture.score(shapes):.2f} on {len(shapes)} rows"
    )
    return 0


if __name__ == "__main__":
    run_main(main)
