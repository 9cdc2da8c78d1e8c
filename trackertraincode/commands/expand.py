"""Turn the faces of a sample file to large poses, up to the profile, with exact labels: a few images become many.

ttc expand aflw2k.h5 aflw2k_large.h5
ttc expand aflw2k.h5 aflw2k_large.zip --format 300wlp

Each face is laid on a head model and turned in steps of yaw, from its own to 90 degrees; some copies get closed eyes or a
light from the side. Original and copies form one sequence, so that validation never sees a copy of a training face.
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    OutputFile,
    add_engine_options,
    add_face_model_option,
    degrees,
    non_negative_int,
    output_folder,
    probability,
)
from trackertraincode.files import SAMPLES, check_format, check_outputs
from trackertraincode.light import names_in

FORMATS = ("hdf5", "300wlp")
RENDERERS = names_in("expansion.expand", "RENDERERS")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="sample file with poses, .h5")
    parser.add_argument(
        "destination", type=OutputFile(*SAMPLES, ".zip"), metavar="OUT", help="file to write: .h5, or .zip for 300wlp"
    )
    parser.add_argument("--yaw-step", type=degrees, default=5.0, help="one copy in each step of yaw, degrees")
    parser.add_argument("--prob-closed-eyes", type=probability, default=0.5, help="probability that a copy blinks")
    parser.add_argument("--prob-spotlight", type=probability, default=0.001, help="probability that a copy is relit")
    parser.add_argument("--format", choices=FORMATS, default="hdf5", help="what to write")
    parser.add_argument("--renderer", choices=RENDERERS, default=RENDERERS[0], help="what draws")
    parser.add_argument("--write-mesh", type=output_folder, help="also write what is turned, DIR/ROW.glb")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="the same seed gives the same copies")
    add_face_model_option(parser)
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    check_format(options.destination, options.format)
    check_outputs(
        [options.destination, options.skipped],
        [options.source, options.face_model],
        folders=[options.write_mesh],
        overwrite=options.overwrite,
    )
    import numpy as np

    from trackertraincode.conversion.run import ConvertOptions, run_converter, write_samples
    from trackertraincode.expansion.archive import write_300wlp
    from trackertraincode.expansion.expand import Settings, make_source

    settings = Settings(
        source=options.source.absolute(),
        face_model=options.face_model,
        yaw_step=float(np.radians(options.yaw_step)),
        closed_eyes=options.prob_closed_eyes,
        spotlight=options.prob_spotlight,
        seed=options.seed,
        renderer=options.renderer,
        meshes=options.write_mesh,
    )
    own = {name: getattr(options, name) for name in ("face_model", "yaw_step", "prob_closed_eyes", "prob_spotlight")}
    own |= {name: getattr(options, name) for name in ("seed", "renderer", "format", "write_mesh")}
    write = write_300wlp if options.format == "300wlp" else write_samples
    return run_converter(ConvertOptions.of(options), "expand_dataset", make_source(settings), own, write)
