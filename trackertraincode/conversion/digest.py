"""SHA-256 of an archive, computed while its members are converted."""

import hashlib
from pathlib import Path
from threading import Thread


class Digest:
    """Reads a file in a thread of its own, which an interrupted program doesn't wait for."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread = Thread(target=self._run, daemon=True)
        self._outcome: str | OSError | None = None

    def begin(self) -> None:
        """Start reading; nothing when that is done already."""
        if self._thread.ident is None:
            self._thread.start()

    def result(self) -> str | None:
        """Hexadecimal digest, None for a folder or nothing; waits for it. Raises OSError when the file can't be read."""
        self.begin()
        self._thread.join()
        if isinstance(self._outcome, OSError):
            raise self._outcome
        return self._outcome

    def _run(self) -> None:
        try:
            if self._path is not None and self._path.is_file():
                with self._path.open("rb") as file:
                    self._outcome = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            self._outcome = error
