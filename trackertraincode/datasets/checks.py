"""Is a sample file what the sample format says? Every row that isn't is named.

file --check_file--> Fault(row, field, what is wrong), one after the other, in constant memory
       rows --RowChecks, in worker processes--> faults and what is remembered of these rows
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

from trackertraincode.datasets import dshdf5
from trackertraincode.datasets.plausibility import Whole
from trackertraincode.datasets.row_checks import COMPARED, Fault, check_rows, without_path
from trackertraincode.datasets.shards import Samples, open_samples
from trackertraincode.errors import SampleFormatError
from trackertraincode.facemodel.head_model import HeadModel
from trackertraincode.facemodel.load import OWN_MODELS, load_head_model
from trackertraincode.files import files_of
from trackertraincode.sample.fields import SEQUENCE_STARTS
from trackertraincode.workers import Workers, map_in_order

CHUNK_ROWS = 64  # images in memory at once, per worker


@dataclass(frozen=True)
class RowChecks:
    """How rows of a file are checked; can be pickled."""

    path: Path
    usable: tuple[str, ...]  # attributes whose structure is right
    model: Callable[[], HeadModel] | None  # to compare landmarks with

    def run(self, rows: range) -> tuple[list[Fault], Whole]:
        """All faults of some rows, in their order, and what is remembered of them."""
        whole, model = Whole(), None if self.model is None else self.model()
        found = check_rows(_opened(self.path), self.usable, rows, model, whole)
        return sorted(found, key=lambda fault: -1 if fault.row is None else fault.row), whole


@lru_cache(maxsize=1)
def _opened(path: Path) -> Samples:
    """Once per worker."""
    return open_samples(path)


def check_file(
    path: Path,
    face_model: Callable[[], HeadModel] | None = None,
    workers: Workers = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
    whole: Whole | None = None,
) -> Iterator[Fault]:
    """All faults of a file, those of its structure first.

    face_model: gives what to compare landmarks with pose and coefficients by; can be pickled, is cached; left out where
    it isn't the file's. progress: told how many rows are done, and of how many. whole: gets what its `suspicions` need.
    Raises SampleFormatError when the file can't be opened at all.
    """
    for part in files_of(path):
        dshdf5.open_file(part).close()
    try:
        file = open_samples(path)
    except SampleFormatError as error:
        yield Fault(None, "", without_path(error, path))
        return
    with file:
        count = len(file)
        if count == 0:
            yield Fault(None, file.name("image"), "no rows")
        usable = []
        for attribute in file.fields:
            fault = _fault_of_structure(file, attribute)
            if fault is None:
                usable.append(attribute)
            else:
                yield fault
        try:
            _ = file.starts
        except SampleFormatError as error:
            yield Fault(None, SEQUENCE_STARTS, without_path(error, path))
        is_its_own = face_model is not None and face_model().name == file.face_model
    checks = RowChecks(path, tuple(usable), face_model if is_its_own else None)
    tasks = [range(start, min(start + CHUNK_ROWS, count)) for start in range(0, count, CHUNK_ROWS)]
    try:
        for rows, (found, remembered) in zip(tasks, map_in_order(checks.run, tasks, workers)):
            yield from found
            if whole is not None:
                whole.add(remembered)
            progress(rows.stop, count)
    finally:
        _opened.cache_clear()  # of this process, where it has no workers


def head_model_for(path: Path, face_model: Path | None) -> tuple[Callable[[], HeadModel] | None, str]:
    """What gives the model to compare a file's landmarks with, None where there is nothing to compare; what that leaves out.

    face_model: bfm_noneck_v3.pkl, None to look in $DATADIR. Raises SampleFormatError, ModelFileError.
    """
    if face_model is not None:
        _load(face_model)  # which is named where it can't be used, even where it isn't needed
    with open_samples(path) as file:
        if not set(COMPARED) <= set(file.fields):
            return None, f"landmarks aren't compared with the pose: that needs {', '.join(COMPARED)}"
        wanted = file.face_model
    model = OWN_MODELS[wanted] if wanted in OWN_MODELS else partial(_load, face_model)
    if model().name != wanted:
        return None, f"landmarks aren't compared with the pose: that needs {wanted}, given as --face-model"
    return model, ""


@cache
def _load(path: Path | None) -> HeadModel:
    return load_head_model(path)


def _fault_of_structure(file: Samples, attribute: str) -> Fault | None:
    """What is wrong with a field as a whole."""
    try:
        file.check(attribute)
    except SampleFormatError as error:
        return Fault(None, "", without_path(error, file.path))
    return None
