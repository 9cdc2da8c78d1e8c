"""A contact sheet of a sample file: faces with box, head, pose axes and landmarks drawn, and their row numbers.

ttc view $DATADIR/aflw2k.h5 faces.png --count 24
ttc view $DATADIR/aflw2k.h5 faces.png --rows 0-11 --whole
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    IMAGES,
    Once,
    OutputFile,
    add_overwrite_option,
    edge_length,
    non_negative_int,
    positive_int,
)
from trackertraincode.files import check_outputs


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="sample file, .h5")
    parser.add_argument(
        "output", type=OutputFile(*IMAGES), metavar="IMAGE", help="contact sheet to write, .png or .jpg"
    )
    parser.add_argument(
        "--rows", action=Once, metavar="LIST", help="such as 3,7,10-19, or a file of row numbers (default: random)"
    )
    parser.add_argument("--count", type=positive_int, default=24, help="number of random rows")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the random rows")
    parser.add_argument("--columns", type=positive_int, default=6, help="images side by side")
    parser.add_argument("--edge", type=edge_length, default=240, help="longer side of each")
    parser.add_argument("--whole", action="store_true", help="whole images instead of squares around the faces")
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    check_outputs([options.output], [options.file], overwrite=options.overwrite)
    import numpy as np

    from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset
    from trackertraincode.datasets.hdf5_images import decoding
    from trackertraincode.datasets.selection import parse_rows
    from trackertraincode.errors import SampleFormatError
    from trackertraincode.sample.images import decode
    from trackertraincode.visualize import contact_sheet, cut_out, draw_sample, draw_text, write_image

    with Hdf5PoseDataset(options.file, labels=()) as dataset:
        if options.rows is not None:
            rows = parse_rows(options.rows, len(dataset))
        else:
            rng = np.random.default_rng(options.seed)
            rows = np.sort(rng.choice(len(dataset), min(options.count, len(dataset)), replace=False))
        if not len(rows):
            raise SampleFormatError(f"{options.file}: no rows to show.")
        drawn = []
        for row, sample in zip(rows.tolist(), dataset.stream(rows.tolist())):
            assert isinstance(sample.image, bytes)  # as all stored ones
            with decoding(options.file, row):
                image = decode(sample.image, color=True)
            face = (image, sample) if options.whole else cut_out(image, sample, options.edge)
            drawn.append(draw_text(draw_sample(*face, edge=options.edge if options.whole else None), [str(row)], 0.4))
    write_image(options.output, contact_sheet(drawn, options.columns))
    print(f"{options.output}: rows {', '.join(map(str, rows.tolist()))}")
    return 0
