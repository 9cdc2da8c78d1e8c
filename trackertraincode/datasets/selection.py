"""Parts and unions of sample files, read and written as streams.

    IN --filter_file(rows)--> OUT        FILES --join_files--> OUT        expression --select_where--> rows

Rows keep their order. Rows of one sequence that stay form one sequence; where only some of the joined files have
sequences, every sample of the others becomes its own.
"""

import ast
import hashlib
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode import __version__
from trackertraincode.datasets.dshdf5pose import Hdf5PoseDataset, PoseWriter
from trackertraincode.datasets.sample_file import LARGEST_INDEX
from trackertraincode.datasets.shards import open_samples
from trackertraincode.datasets.statistics import QUANTITIES
from trackertraincode.errors import ConfigError, SampleFormatError, closest_first
from trackertraincode.files import files_of
from trackertraincode.sample.fields import Kind
from trackertraincode.sample.sample import LABELS, Sample

SampleProgress = Callable[[Iterable[Sample], int], Iterable[Sample]]  # wraps a stream whose length is known

_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def rows_file(text: str) -> Path | None:
    """The file that a text for `parse_rows` names; None where it is a list of rows itself."""
    return Path(text) if _RANGE.fullmatch(text.split(",")[0].strip()) is None else None


def parse_rows(text: str, count: int) -> np.ndarray:
    """Such as "3,7,10-19" (the last included), or a file of such words -> (n,) sorted rows.

    In a file, words are separated by commas or white space, and # starts a comment. Raises ConfigError for other words
    and for rows that a file of `count` rows doesn't have.
    """
    source = "--rows"
    path = rows_file(text)
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"--rows {text!r}: neither rows such as 3,7,10-19 nor an existing file of them.")
        source = str(path)
        try:
            content = path.read_text(encoding="utf-8-sig")  # Windows' editors mark it so
        except UnicodeDecodeError:
            raise ConfigError(f"--rows {path}: isn't text; give a file of rows such as 3,7,10-19.") from None
        text = "\n".join(line.partition("#")[0] for line in content.splitlines())
    chosen = np.zeros(count, bool)
    for word in text.replace(",", " ").split():
        match = _RANGE.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise ConfigError(f"{source}: {word[:40]!r} isn't a row; give rows such as 3,7,10-19.")
        if last >= count:
            raise ConfigError(f"{source}: {word} is beyond the last row, {count - 1}.")
        chosen[first : last + 1] = True
    return np.flatnonzero(chosen)


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: np.divide, ast.USub: operator.neg,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: lambda a, b: (a < b) | (a > b), ast.And: np.logical_and, ast.Or: np.logical_or, ast.Not: np.logical_not,
}  # fmt: skip
_LONGEST = 1000  # characters of an expression, so that its depth stays within Python's own
_NAMES = ("row", *QUANTITIES)
_ALLOWED = (
    f"allowed are {', '.join(_NAMES)} (degrees, pixels, mm), numbers, + - * /, comparisons, and, or, not, abs(), "
    "brackets"
)


def select_where(expression: str, values: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Rows (n,) for which an expression such as "abs(yaw) > 60 and size >= 40" is true.

    values: of QUANTITIES, (count,) each; a comparison with a missing label (NaN) is false. The expression is walked
    node by node, nothing of it runs as Python. Raises ConfigError for anything that isn't allowed in it.
    """
    if len(expression) > _LONGEST:
        raise ConfigError(f"--where: {len(expression)} characters are too many, the longest has {_LONGEST}.")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        with np.errstate(all="ignore"):
            result = _evaluate(tree, {"row": np.arange(count), **values})
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ConfigError(f"--where {expression!r}: not an expression ({error}); {_ALLOWED}.") from None
    if not _is_truth(result):
        raise ConfigError(f"--where {expression!r}: gives a number, expected a condition such as abs(yaw) > 60.")
    return np.flatnonzero(np.broadcast_to(result, (count,)))


def _is_truth(value: Any) -> bool:
    return np.asarray(value).dtype == np.bool_


def _evaluate(node: ast.expr, values: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return np.float64(number)
        case ast.Name(id=name) if name in _NAMES:
            if name not in values:
                raise ConfigError(f"--where: the file has no labels that tell {name}; it has {', '.join(values)}.")
            return values[name]
        case ast.Name(id=name):
            raise ConfigError(f"--where: {name!r} is unknown; known are {', '.join(closest_first(name, _NAMES))}.")
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _apply(op, _evaluate(operand, values))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _apply(op, _evaluate(left, values), _evaluate(right, values))
        case ast.BoolOp(op=op, values=parts):
            result = _evaluate(parts[0], values)
            for part in parts[1:]:
                result = _apply(op, result, _evaluate(part, values))
            return result
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _OPERATORS for op in ops):
            terms = [_evaluate(term, values) for term in (left, *others)]
            return np.logical_and.reduce([_apply(op, a, b) for op, a, b in zip(ops, terms[:-1], terms[1:])])
        case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
            value = _evaluate(argument, values)
            if _is_truth(value):
                raise ConfigError(
                    f"--where: {ast.unparse(node)!r} is of a condition; write abs(yaw) > 3, with a number in it."
                )
            return np.abs(value)
    raise ConfigError(f"--where: {ast.unparse(node)!r} isn't allowed; {_ALLOWED}.")


def _apply(op: ast.AST, *terms: Any) -> Any:
    """One operator. Logic takes conditions, everything else takes numbers."""
    logical = isinstance(op, ast.And | ast.Or | ast.Not)
    if any(_is_truth(term) != logical for term in terms):
        raise ConfigError(
            "--where: and, or, not combine conditions, everything else combines numbers; "
            "write abs(yaw) > 60 and size > 40, with brackets where they are needed."
        )
    return _OPERATORS[type(op)](*terms)


def filter_file(
    path: Path, destination: Path, rows: np.ndarray, options: Mapping[str, str], progress: SampleProgress
) -> int:
    """Write the given rows (n,), sorted, to a new file; how many there are.

    options: what chose them, for the file's provenance. Raises ConfigError when no row is left, SampleFormatError.
    """
    if not len(rows):
        raise ConfigError(f"{path}: no row was chosen, so nothing is written; loosen --where or --rows.")
    with Hdf5PoseDataset(path, labels=()) as dataset:
        source = _provenance("dsfilter", [dataset], options)
        with PoseWriter(
            destination, source=source, face_model=dataset.face_model, optional=optional_labels(dataset)
        ) as writer:
            for sample in progress(dataset.stream(rows.tolist(), exact=True), len(rows)):
                writer.write(sample)
        return writer.count


def join_files(
    paths: Sequence[Path], destination: Path, progress: SampleProgress, *, same_persons: bool = False
) -> tuple[int, tuple[str, ...]]:
    """Write all samples of several files, one file after the other, to a new one.

    Returns how many there are, and the fields that are left out: those with no value for "absent" that only some files
    have. Where only some say whether rows show a face, those of the others do. Numbers of persons are shifted from the
    second file on so that none occurs in two files; with same_persons they stay.

    Raises SampleFormatError when the files' coefficients are of different face models, ConfigError when there is no row.
    """
    datasets = [Hdf5PoseDataset(path, labels=()) for path in paths]
    face_models = {dataset.face_model: dataset.path for dataset in datasets if "shape" in dataset.fields}
    if len(face_models) > 1:
        (one, path), (other, where) = list(face_models.items())[:2]
        raise SampleFormatError(
            f"{where}: field 'shapeparams' is of face model {other}, but that of {path} is of {one}; coefficients of "
            "one mean nothing in the other. Convert both with the same --face-model."
        )
    if not any(map(len, datasets)):
        raise ConfigError(f"{', '.join(str(path) for path in paths)}: no rows in it, so nothing is written.")
    every = set.intersection(*(set(dataset.fields) for dataset in datasets))
    some = dict.fromkeys(field for dataset in datasets for field in dataset.fields if field not in every)
    optional = tuple(dict.fromkeys(label for dataset in datasets for label in optional_labels(dataset)))
    true = {field: True for field in some if field in LABELS and LABELS[field].kind is Kind.FLAG}
    left_out: dict[str, Any] = dict.fromkeys(field for field in some if field not in (*optional, *true))
    source = _provenance("dsjoin", datasets, {"same_persons": str(same_persons)})
    with PoseWriter(destination, source=source, face_model=next(iter(face_models), None), optional=optional) as writer:
        for sample in progress(_joined(datasets, same_persons), sum(len(d) for d in datasets)):
            said: dict[str, Any] = {field: value for field, value in true.items() if getattr(sample, field) is None}
            writer.write(replace(sample, **left_out, **said))
    return writer.count, tuple(left_out)


def _joined(datasets: Sequence[Hdf5PoseDataset], same_persons: bool) -> Iterator[Sample]:
    """All samples, with sequences of their own file."""
    any_sequences = any(dataset.sequence_starts is not None for dataset in datasets)
    shift = 0
    for number, dataset in enumerate(datasets):
        greatest = shift - 1
        for row, sample in enumerate(dataset.stream(exact=True)):
            sequence = f"{number}/{row if sample.sequence is None else sample.sequence}" if any_sequences else None
            individual = sample.individual
            if individual is not None and individual < 0:
                raise SampleFormatError(
                    f"{dataset.path}: field 'individual', row {row} has {individual}, expected whole numbers from 0; number "
                    "its persons anew."
                )
            if individual is not None and not same_persons:
                if individual > LARGEST_INDEX - shift:
                    raise SampleFormatError(
                        f"{dataset.path}: field 'individual', row {row} has {individual}, and {shift} more, so that it isn't "
                        f"one of the files before, is above {LARGEST_INDEX}; give persons smaller numbers, or use "
                        "--same-persons."
                    )
                individual += shift
                greatest = max(greatest, individual)
            yield replace(sample, sequence=sequence, individual=individual, name=f"{dataset.path}, {sample.name}")
        dataset.close()
        shift = greatest + 1


def optional_labels(dataset: Hdf5PoseDataset) -> tuple[str, ...]:
    """Labels that some rows may lack: all that have a value for "absent"."""
    return tuple(a for a in dataset.fields if a in LABELS and LABELS[a].kind is not Kind.FLAG)


def _provenance(tool: str, datasets: Sequence[Hdf5PoseDataset], options: Mapping[str, str]) -> dict[str, Any]:
    return {
        "converter": tool,
        "version": __version__,
        "archive": ", ".join(dataset.path.name for dataset in datasets),
        "sha256": ", ".join(_sha256(dataset.path) for dataset in datasets),
        "options": dict(options),
        "of": [dataset.source for dataset in datasets],
    }


def origins_of(source: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What made a file's rows first, before they were filtered and joined, as `source` is; {} of old files."""
    left = [source]
    while left:
        one = left.pop()
        inner = one.get("of")
        if isinstance(inner, list):
            left += [entry for entry in inner if isinstance(entry, dict)]
        else:
            yield one


def converters_of(source: Mapping[str, Any]) -> set[str]:
    """Names of the tools that wrote a file's rows first, see `origins_of`; empty for old files."""
    return {str(origin.get("converter", "")) for origin in origins_of(source)} - {""}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for part in files_of(path):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def count_rows(path: Path) -> int:
    """Samples in a file. Raises SampleFormatError."""
    with open_samples(path) as file:
        return len(file)


def unknown_data_sets(path: Path) -> tuple[str, ...]:
    """Data sets that a copy leaves out, since the format doesn't know them."""
    with open_samples(path) as file:
        return file.unknown
