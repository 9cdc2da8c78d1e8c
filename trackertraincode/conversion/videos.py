"""Frames of videos, which may lie in archives; each process keeps the one open that it reads."""

import os
import tempfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from trackertraincode.conversion.archive import VIDEO_EXTENSIONS, open_archive
from trackertraincode.errors import ArchiveError, UserError
from trackertraincode.files import utf8_name

BYTES_PER_FRAME = 16  # no video packs frames closer; more frames than that are a damaged header's


class Video:
    """Frames of one video, forwards."""

    def __init__(self, source: Path, name: str) -> None:
        """source: the archive or folder with the member `name`, or the video itself.

        Raises ArchiveError when it is damaged or no video.
        """
        self.name = name
        self.position = 0  # of the next frame
        is_video = source.is_file() and source.suffix.lower() in VIDEO_EXTENSIONS
        path = source if is_video else open_archive(source).file(name)
        if path is not None:
            self._open(path)
        else:  # an open file can be deleted, but on Windows, where it stays in the temporary folder
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                path = Path(folder) / f"video{Path(name).suffix}"
                path.write_bytes(open_archive(source).read(name))
                self._open(path)

    def read(self, index: int) -> np.ndarray | None:
        """Frame (H, W, 3) RGB, or None after the last one. The index, from 0, must not be below `position`.

        Raises ArchiveError when the frame is damaged.
        """
        while self.position <= index:
            if not self._grab():
                return None
        found, image = self._capture.retrieve()
        if not found or image.dtype != np.uint8:
            raise ArchiveError(f"{self.name}: frame {index + 1} can't be decoded.")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def told(self) -> int:
        """Number of frames as the header says, or counted where it can't be right."""
        told = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return told if 0 < told <= self._bytes // BYTES_PER_FRAME else self.count()

    def count(self) -> int:
        """Number of frames; nothing can be read afterwards."""
        while self._grab():
            pass
        return self.position

    def _open(self, path: Path) -> None:
        self._bytes = path.stat().st_size
        try:
            self._capture = cv2.VideoCapture(utf8_name(path.absolute()))  # before a colon would stand a protocol
        except UserError as error:
            raise ArchiveError(str(error)) from None
        if not self._capture.isOpened():
            raise ArchiveError(
                f"{self.name}: can't be decoded as a video; it is damaged, or of a kind that isn't known."
            )

    def _grab(self) -> bool:
        try:
            found = self._capture.grab()
        except cv2.error:
            found = False
        self.position += found
        return found


@cache
def _opened() -> dict[tuple[int, Path, str], Video]:
    """One video per process, which is the key's first part."""
    return {}


def open_video(source: Path, name: str, index: int | None) -> Video:
    """The one that is open where it is this video and not behind the frame, else a new one. None: any frame.

    Raises ArchiveError when the member is damaged or no video.
    """
    key = (os.getpid(), source, name)
    kept = _opened()
    video = kept.get(key)
    if video is None or (index is not None and video.position > index):
        for other in [k for k in kept if k[0] == key[0]]:  # one that a fork inherited can't be closed
            del kept[other]
        video = kept[key] = Video(source, name)
    return video
