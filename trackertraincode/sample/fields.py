"""The sample format as one table; reader, writer, checker and README all read it."""

from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    """What a value is, which decides how an affine map moves it."""

    IMAGE = "image"
    ROTATION = "rotation"
    HEAD = "head"
    BOX = "box"
    POINTS = "points"
    SEGMENTATION = "segmentation"
    COEFFICIENTS = "coefficients"
    FLAG = "flag"
    INDEX = "index"


@dataclass(frozen=True)
class Field:
    """One HDF5 data set of the format."""

    attribute: str  # name on Sample and Batch
    kind: Kind
    shape: tuple[int, ...]  # of one row
    dtype: str  # of new files
    category: str | None  # the HDF5 attribute; None: not written
    doc: str


FIELDS = {  # HDF5 name -> one row of it
    "images": Field("image", Kind.IMAGE, (), "vlen uint8", "img", "one encoded JPEG or PNG file"),
    "quats": Field("rotation", Kind.ROTATION, (4,), "float32", "q", "unit quaternion i, j, k, w; head to image frame"),
    "coords": Field("head", Kind.HEAD, (3,), "float32", "xys", "head centre x, y and head radius; pixels"),
    "rois": Field("face_box", Kind.BOX, (4,), "float32", "roi", "face box x0, y0, x1, y1; pixels"),
    "rois_pt2d": Field("points_box", Kind.BOX, (4,), "float32", "roi", "hull of AFLW2000-3D's pt2d, -1 entries too"),
    "pt3d_68": Field("landmarks", Kind.POINTS, (68, 3), "float32", "pts", "iBUG landmarks; pixels, z into the screen"),
    "pt2d_68": Field("landmarks_2d", Kind.POINTS, (68, 2), "float32", "pts", "iBUG landmarks; pixels"),
    "shapeparams": Field("shape", Kind.COEFFICIENTS, (50,), "float32", "", "40 shape + 10 expression coefficients"),
    "hasface": Field("has_face", Kind.FLAG, (), "bool", "", "whether the picture shows a face"),
    "semseg": Field("segmentation", Kind.SEGMENTATION, (), "vlen uint8", "seg", "label image as PNG file"),
    "individual": Field("individual", Kind.INDEX, (), "int64", None, "number of the person or sequence"),
}

LEGACY_NAMES = {"keys": "images", "seg_image": "semseg"}  # old spelling -> today's

SEQUENCE_STARTS = "sequence_starts"  # (S + 1,): sequence k is the rows [starts[k], starts[k + 1])

LABELS = {  # attribute -> field, for all that is an array of numbers
    field.attribute: field for field in FIELDS.values() if field.kind not in (Kind.IMAGE, Kind.SEGMENTATION)
}

BY_ATTRIBUTE = {field.attribute: name for name, field in FIELDS.items()}  # attribute -> HDF5 name
