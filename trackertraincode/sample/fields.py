"""What a stored field is. Which fields there are, `Sample` says: each of its fields carries one of these."""

import dataclasses
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Any

SEQUENCE_STARTS = "sequence_starts"  # HDF5 name, (S + 1,): sequence k is the rows [starts[k], starts[k + 1])


class Kind(str, Enum):
    """What a value is, which decides how an affine map moves it."""

    IMAGE = "image"
    ROTATION = "rotation"
    HEAD = "head"
    BOX = "box"
    POINTS = "points"
    ANGLES = "angles"  # as an archive states them, of the whole image: no map moves them
    SEGMENTATION = "segmentation"
    COEFFICIENTS = "coefficients"  # of the face model that the file names
    FLAG = "flag"
    INDEX = "index"
    MEASURE = "measure"  # of how good labels are, by which rows are chosen: no map moves it; a head radius is 100 mm


@dataclass(frozen=True)
class Field:
    """One HDF5 data set of the format, one attribute of `Sample`, and one of `Batch` where it is trained."""

    name: str  # in HDF5
    kind: Kind
    shape: tuple[int, ...]  # of one row
    category: str | None  # the HDF5 attribute; None: not written
    doc: str
    _: KW_ONLY
    attribute: str = ""  # of Sample and Batch
    dtype: str = "float32"  # of new files
    trained: str | None = None  # the word for it in catalogs (labels = [...]); None: isn't trained
    legacy_name: str | None = None  # HDF5 name in old files

    @property
    def unit(self) -> str:
        """The last words of `doc`."""
        return self.doc.rpartition("; ")[2]


def stored(*arguments: Any, **options: Any) -> Any:
    """A field of `Sample` that files have, None where a sample lacks it; the arguments are those of `Field`."""
    field = Field(*arguments, **options)
    default: Any = dataclasses.MISSING if field.kind is Kind.IMAGE else None
    return dataclasses.field(default=default, metadata={"stored": field})


def stored_fields(of: type) -> dict[str, Field]:
    """HDF5 name -> field, in the order of the dataclass."""
    found = ((f.name, f.metadata["stored"]) for f in dataclasses.fields(of) if "stored" in f.metadata)
    return {field.name: dataclasses.replace(field, attribute=attribute) for attribute, field in found}
