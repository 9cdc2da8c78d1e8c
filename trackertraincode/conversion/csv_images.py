"""Images that a CSV file names: where they lie, and their bytes, as far as the file may name them.

path in a cell --CsvImages.read--> bytes     all of them --CsvImages.files--> files on the disk
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trackertraincode.conversion.archive import MAX_MEMBER_BYTES, open_archive
from trackertraincode.errors import ArchiveError
from trackertraincode.files import resolved
from trackertraincode.spelling import as_spelled, has_root

COLUMN = "path"
_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")


def forward(image: str) -> str:
    """A path with forward slashes; bytes that aren't UTF-8 as `ttc track --csv` and other writers of text escape them."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), image).replace("\\", "/")


@dataclass(frozen=True)
class CsvImages:
    """Those beside a CSV file, or with it in a zip file."""

    source: Path  # a CSV file, or a zip file or folder with one in it
    member: str | None  # the CSV file in the zip file
    allow_outside: bool  # whether paths may lead out of the CSV file's folder

    def read(self, image: str, where: str) -> bytes:
        """image: what a cell holds. Raises ArchiveError when it can't be read, or may not be."""
        image = forward(image)
        if not image:
            raise ArchiveError(f"{where}, column '{COLUMN}' is empty.")
        if "://" in image:
            raise ArchiveError(
                f"{where}, column '{COLUMN}': '{image}' is an address; download the image and give its path."
            )
        if self.member is not None:
            member = posixpath.normpath(posixpath.join(posixpath.dirname(self.member), image))
            archive = open_archive(self.source)
            if member not in archive:
                raise ArchiveError(f"{where}, column '{COLUMN}': '{member}' is missing in {self.source}.")
            return archive.read(member)
        return self._read_file(image, f"{where}, column '{COLUMN}'")

    def _read_file(self, image: str, where: str) -> bytes:
        elsewhere = ArchiveError(f"{where}: '{image}' lies outside of the CSV file's folder; --allow-outside reads it.")
        if not self._may_look_at(image):
            raise elsewhere
        folder = self.source.parent
        path = folder / image
        try:
            path = as_spelled(path)
            if not self.allow_outside and not resolved(path).is_relative_to(resolved(folder)):
                raise elsewhere  # by a link
            if path.exists() and not path.is_file():
                raise ArchiveError(f"{where}: {path}: isn't a file, but a folder, a device or a pipe.")
            if path.stat().st_size > MAX_MEMBER_BYTES:
                raise ArchiveError(f"{where}: {path}: has {path.stat().st_size >> 20} MB; refused.")
            return path.read_bytes()
        except (OSError, ValueError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
            raise ArchiveError(f"{where}: {path}: {reason}.") from error

    def _may_look_at(self, image: str) -> bool:
        """Whether a path stays in the folder, or needn't. Otherwise nothing asks the disk, or another machine, for it."""
        leads_out = posixpath.normpath(image).startswith("..") or has_root(image)
        return self.allow_outside or not leads_out

    def files(self, images: Iterable[str]) -> Iterator[Path]:
        """Those on the disk; perhaps some aren't there."""
        if self.member is not None:
            return
        for image in map(forward, images):
            if image and "://" not in image and self._may_look_at(image):
                with suppress(OSError):  # names that are too long, folders that can't be entered
                    yield as_spelled(self.source.parent / image)
