"""The exceptions that a user can cause; everything else that is raised is a bug of ours.

A message is one clear line that names file, field and row, says what was found, what is right and what to do.
"""

from collections.abc import Sequence
from difflib import get_close_matches


class UserError(Exception):
    """Base of all errors that the command line reports as one line, without a traceback.

    A name in a file or of one can have line breaks.
    """

    def __str__(self) -> str:
        return super().__str__().replace("\r", "\\r").replace("\n", "\\n")


class UsageError(UserError):
    """Options of a command don't go together; reported as wrong usage."""


class SampleFormatError(UserError):
    """An HDF5 sample file breaks the sample format."""


class ArchiveError(UserError):
    """A downloaded archive is damaged, incomplete or dangerous."""


class CatalogError(UserError):
    """A data set name is unknown, or its file is missing."""


class ConfigError(UserError):
    """An option, a recipe or a combination of options is wrong."""


class ModelFileError(UserError):
    """A checkpoint, an ONNX file or a face model can't be used."""


class EvaluationError(UserError):
    """A protocol can't be applied to the given data or model."""


class WorkerError(UserError):
    """A worker process died, or what it made is gone."""


def closest_first(word: str, known: Sequence[str]) -> list[str]:
    """The known words, those most like `word` first."""
    close = get_close_matches(word, known, n=len(known), cutoff=0.5)
    return close + [k for k in known if k not in close]
