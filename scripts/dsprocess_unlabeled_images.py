"""Convert pictures and videos without labels to a sample file: every face that the detector finds, with its box.

python scripts/dsprocess_unlabeled_images.py my_pictures/ $DATADIR/unlabeled.h5
python scripts/dsprocess_unlabeled_images.py video.mp4 $DATADIR/video.h5 --every 5
"""

import argparse

from trackertraincode.cli import positive_int, run_main
from trackertraincode.conversion.run import converter_parser, run_converter
from trackertraincode.conversion.unlabeled import MIN_CONFIDENCE, MIN_FACE, make_source


def confidence(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 to 1, without 1")
    return value


def main() -> int:
    parser = converter_parser(__doc__, "folder (pictures and videos, subfolders too), zip file of pictures, or a video")
    parser.add_argument(
        "--min-confidence",
        type=confidence,
        default=MIN_CONFIDENCE,
        metavar="P",
        help=f"of the detector, above which a face counts (default: {MIN_CONFIDENCE})",
    )
    parser.add_argument(
        "--min-face",
        type=positive_int,
        default=MIN_FACE,
        metavar="PIXELS",
        help=f"smallest face that is looked for; less takes longer (default: {MIN_FACE})",
    )
    parser.add_argument("--all-faces", action="store_true", help="all faces instead of the largest of each picture")
    parser.add_argument("--every", type=positive_int, default=1, metavar="K", help="only every K-th frame of videos")
    options = parser.parse_args()
    source = make_source(options.source, options.min_confidence, options.min_face, options.all_faces, options.every)
    return run_converter(options, "dsprocess_unlabeled_images", source)


if __name__ == "__main__":
    run_main(main)
