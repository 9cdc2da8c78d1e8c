"""The converters, one table. A module of this package makes the source from the archive and the options named here.

    ttc convert NAME ARCHIVE OUT --OPTION  -->  conversion.MODULE.make_source(ARCHIVE, OPTION=...)  -->  run_converter

Imports nothing heavy, since `--help` reads this table.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackertraincode.arguments import FACE_MODEL, non_negative_int, positive_int, share
from trackertraincode.light import names_in

Option = tuple[tuple[str, ...], dict[str, Any]]  # arguments of argparse's add_argument


def option(*flags: str, **settings: Any) -> Option:
    return flags, settings


def switch(flag: str, default: bool, text: str) -> Option:
    """--flag and --no-flag."""
    return option(flag, action=argparse.BooleanOptionalAction, default=default, help=text)


@dataclass(frozen=True)
class Converter:
    """What the command line says of a converter."""

    module: str  # its make_source takes the archive and the options by their names
    source: str  # what the archive may be
    options: tuple[Option, ...]
    doc: str  # summary and examples

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options, as make_source calls them."""
        return tuple(flags[-1].lstrip("-").replace("-", "_") for flags, _ in self.options)


MTCNN = switch(
    "--mtcnn", True, "take the face detector's boxes where they overlap the landmarks; needs the extra [convert]"
)
BFM = option("--face-model", **FACE_MODEL)

CONVERTERS = {  # adding a data set is adding an entry and its module
    "300wlp": Converter(
        "w300lp",
        "300W-LP.zip, or the folder it was unpacked to",
        (
            BFM,
            option("--subset", choices=("original", "large", "both"), default="both",
                   help="original images, large poses, or both"),
            switch("--reconstruct-head-bbox", False,
                   "box around the posed face mesh, forehead to chin, instead of around the landmarks"),
        ),
        "Convert 300W-LP to a sample file.\n\nttc convert 300wlp 300W-LP.zip $DATADIR/300wlp.h5",
    ),
    "300wlp_list": Converter(
        "w300lp_list",
        "file.pkl, the list of 300W-LP of pipelines for RepVGG, beside the images that it names, or its folder",
        (),
        "Convert the images, angles and crops of a pickled list of 300W-LP to a sample file.\n\n"
        "ttc convert 300wlp_list 300W_LP/file.pkl $DATADIR/300wlp_list.h5",
    ),
    "aflw2k": Converter(
        "aflw2k",
        "AFLW2000-3D.zip, or the folder it was unpacked to",
        (
            BFM,
            option("--close-eyes", action="store_true",
                   help="draw the upper lids over all visible eyes, for aflw2k3d-closedeyes"),
        ),
        "Convert AFLW2000-3D to a sample file.\n\n"
        "ttc convert aflw2k AFLW2000-3D.zip $DATADIR/aflw2k.h5\n"
        "ttc convert aflw2k AFLW2000-3D.zip $DATADIR/aflw2k_closedeyes.h5 --close-eyes",
    ),
    "biwi": Converter(
        "biwi",
        "zip file or folder of the database, or BIWI_done.npz",
        (
            option("--opal-annotation", type=Path,
                   help="biwi_ann.txt of opal23_headpose: its frames and boxes, instead of those of the face detector MTCNN"),
            option("--published-projection", action="store_true",
                   help="project at 65 degrees, as the published script did, instead of with the intrinsics of rgb.cal"),
        ),
        "Convert the BIWI Kinect head pose database, or FSA-Net's BIWI_done.npz, to a sample file.\n\n"
        "ttc convert biwi kinect_head_pose_db.zip $DATADIR/biwi-v3.h5 --opal-annotation biwi_ann.txt",
    ),
    "synface": Converter(
        "synface",
        "dataset_100000.zip, or the folder it was unpacked to",
        (switch("--segmentation", True, "store the label images, about 6 KB per face"),),
        "Convert Microsoft's FaceSynthetics to a sample file.\n\n"
        "ttc convert synface dataset_100000.zip $DATADIR/microsoft_synface_100000-v1.1.h5",
    ),
    "wflw": Converter(
        "wflw",
        "folder or zip file with WFLW_images and WFLW_annotations",
        (
            option("--split", choices=("train", "test"), default="train", help="which list of faces"),
            option("--min-box-width", type=non_negative_int, default=129, metavar="PIXELS",
                   help="leave out faces with narrower boxes; usual inputs of networks have 129 pixels"),
        ),
        "Convert WFLW to sample files: one for training, one for testing.\n\n"
        "ttc convert wflw WFLW/ $DATADIR/wflw_train.h5\n"
        "ttc convert wflw WFLW/ $DATADIR/wflw_test.h5 --split test",
    ),
    "lapa": Converter(
        "lapa",
        "LaPa's zip file, or the folder it was unpacked to",
        (
            option("--split", choices=("all", *names_in("conversion.lapa", "SPLITS")), default="all",
                   help="which part"),
            option("--only-megaface", action="store_true", help="only images that come from MegaFace"),
            MTCNN,
            switch("--segmentation", True, "store the label images"),
        ),
        "Convert LaPa to a sample file.\n\nttc convert lapa LaPa.zip $DATADIR/lapa.h5",
    ),
    "300w": Converter(
        "w300",
        "a zip file of 300W, AFW, HELEN, LFPW or IBUG, or a folder of what they unpack to",
        (MTCNN,),
        "Convert 300W and its parts, images beside .pts files of 68 landmarks, to a sample file.\n\n"
        "ttc convert 300w 300w.zip $DATADIR/300w.h5",
    ),
    "300vw": Converter(
        "w300vw",
        "300VW's zip file, or the folder it was unpacked to",
        (MTCNN,),
        "Convert 300VW to a sample file.\n\nttc convert 300vw 300VW_Dataset.zip $DATADIR/300vw.h5",
    ),
    "widerface": Converter(
        "widerface",
        "folder with WIDER_train.zip, WIDER_val.zip and wider_face_split.zip, or what they unpack to",
        (
            option("--max-size", type=positive_int, default=640, metavar="PIXELS", help="longest side of stored images"),
            option("--seed", type=non_negative_int, default=123, help="of the random sections"),
        ),
        "Convert WIDER FACE to a sample file for the localizer: images of one face, and of none.\n\n"
        "ttc convert widerface FOLDER_WITH_THE_THREE_ZIP_FILES $DATADIR/widerfacessingle.h5",
    ),
    "pointing04": Converter(
        "pointing04",
        "the folder HeadPoseImageDatabase, or a zip of it",
        (),
        "Convert INRIA Pointing'04 (Head Pose Image Database) to a sample file.\n\n"
        "ttc convert pointing04 HeadPoseImageDatabase $DATADIR/pointing04.h5",
    ),
    "panoptic": Converter(
        "panoptic",
        "folder of one or more sequences of CMU Panoptic, or a zip of it",
        (option("--every", type=positive_int, default=60, metavar="K", help="only every K-th frame"),),
        "Convert CMU Panoptic to a sample file: the heads that its HD cameras see well.\n\n"
        "ttc convert panoptic FOLDER_OF_SEQUENCES $DATADIR/panoptic.h5",
    ),
    "replicantface": Converter(
        "replicantface",
        "the folder of ReplicantFace, or a zip of it",
        (),
        "Convert ReplicantFace to a sample file.\n\nttc convert replicantface replicantface/ $DATADIR/replicantface.h5",
    ),
    "unlabeled_images": Converter(
        "unlabeled",
        "folder (images and videos, subfolders too), zip file of images, or a video",
        (
            option("--min-confidence", type=share, default=0.9,
                   help="of the detector, above which a face counts"),
            option("--min-face", type=positive_int, default=40, metavar="PIXELS",
                   help="smallest face that is looked for; less takes longer"),
            option("--all-faces", action="store_true", help="all faces instead of the largest of each image"),
            option("--every", type=positive_int, default=1, metavar="K", help="only every K-th frame of videos"),
        ),
        "Convert images and videos without labels to a sample file: the largest face of each that the detector finds.\n\n"
        "ttc convert unlabeled_images my_images/ $DATADIR/unlabeled.h5\n"
        "ttc convert unlabeled_images video.mp4 $DATADIR/video.h5 --every 5",
    ),
    "csv": Converter(
        "csv_labels",
        "CSV file, or a folder or zip file that holds one beside the images",
        (
            option("--upright", action="store_true",
                   help="labels count pixels of images as they are shown: those with an orientation tag (EXIF) are turned"),
            option("--allow-outside", action="store_true",
                   help="read images whose paths are absolute or lead out of the CSV file's folder"),
        ),
        "Convert your own images, with labels in a CSV file, to a sample file.\n\n"
        "ttc convert csv my_faces/labels.csv $DATADIR/my_faces.h5\n\n"
        + names_in("conversion.csv_labels", "COLUMNS_HELP"),
    ),
}  # fmt: skip
