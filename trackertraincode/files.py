"""Files that are whole or not there at all, outputs that destroy nothing, and where data lies."""

import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from trackertraincode.errors import SampleFormatError, UsageError, UserError
from trackertraincode.signatures import begins

SAMPLES = (".h5", ".hdf5")  # suffixes of files of samples
LOCK_FILE = "trackertraincode.lock"  # in a folder that one process writes to
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})")  # stem of a shard: set, number, how many
SAMPLED_BYTES = 1 << 20  # per place of a large file
ALMOST_FULL = 1 << 16  # free bytes with which no file of ours can be written
_KINDS = {  # suffix -> kind of file that is replaced without a question
    **dict.fromkeys(SAMPLES, "hdf5"), ".ckpt": "zip", ".zip": "zip", ".npz": "zip", ".png": "png", ".jpg": "jpeg",
    ".jpeg": "jpeg", ".pdf": "pdf", ".avi": "avi", ".mkv": "matroska",
    **dict.fromkeys((".mp4", ".mov"), "mp4"),
}  # fmt: skip
_TEXTS = {".json": (b"{", b"["), ".html": (b"<",)}  # suffix -> how such a text begins
_ANY = (".csv", ".txt", ".svg", ".onnx")  # suffixes of files that are replaced whatever is in them
_OF_SAMPLES = ("format_version", "images", "quats", "rois")  # of which a file of samples has one, published ones, too


def data_dir() -> Path | None:
    """$DATADIR as a path, None where it isn't set."""
    text = os.environ.get("DATADIR")
    return Path(text) if text else None


def shard_path(path: Path, number: int, count: int) -> Path:
    """faces.h5 -> faces-00003-of-00016.h5."""
    return path.with_name(f"{path.stem}-{number:05d}-of-{count:05d}{path.suffix}")


def files_of(path: Path) -> list[Path]:
    """The files of a data set: `path` itself, or those whose names match the pattern that its name is, sorted.

    Raises SampleFormatError where a pattern matches nothing, where a shard is missing, and where two sets of shards have
    such names.
    """
    files = matching(path)
    if files == [path]:
        return files
    if not files:
        raise SampleFormatError(f"{path}: no file has such a name; check the folder and the pattern.")
    shards = [match for file in files if (match := _SHARD.fullmatch(file.stem))]
    if not shards:
        return files
    sets = sorted({f"{match[1]}-*-of-{match[3]}{path.suffix}" for match in shards})
    if len(sets) > 1 or len(shards) < len(files):
        whole = [file.name for file in files if not _SHARD.fullmatch(file.stem)]
        raise SampleFormatError(
            f"{path}: its files are of several data sets, {' and '.join([*sets, *whole][:3])}; name one."
        )
    count, there = int(shards[0][3]), {int(match[2]) for match in shards}
    missing = [number for number in range(count) if number not in there]
    if missing:
        name = shard_path(path.with_name(shards[0][1] + path.suffix), missing[0], count).name
        raise SampleFormatError(
            f"{path}: {name} is missing, {len(missing)} of {count} shards; run what writes it again with --resume, or copy "
            "it here."
        )
    return files


def matching(path: Path) -> list[Path]:
    """All files of a name with * or ?; another name itself, whether there is such a file or not."""
    if not {"*", "?"} & set(path.name) or path.is_file():
        return [path]
    return sorted(
        file for file in path.parent.glob(re.sub(r"\*+", "*", path.name.replace("[", "[[]"))) if file.is_file()
    )


def cache_dir() -> Path | None:
    """Where this user's files go that can be made again: $TRACKERTRAINCODE_CACHE, else the platform's folder.

    None where the user has no home, as in containers with a number for a user.
    """
    chosen = os.environ.get("TRACKERTRAINCODE_CACHE")
    if chosen:
        return Path(chosen)
    places = {"win32": os.environ.get("LOCALAPPDATA"), "darwin": "~/Library/Caches"}
    place = places.get(sys.platform) or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(place).expanduser() / "trackertraincode"
    except RuntimeError:
        return None


def check_outputs(
    outputs: Iterable[Path | None],
    inputs: Iterable[Path | None],
    *,
    folders: Iterable[Path | None] = (),
    overwrite: bool = False,
) -> None:
    """Raise UserError, before any work, when files that will be written destroy something or can't be written.

    None stands for an option that isn't given. outputs, folders: files and folders that will be written. overwrite: also
    files that aren't what their names say. An output must be neither an input (links resolved) nor another output, and
    its folder, or the nearest that exists, must be one in which this process may write.
    """
    sources = [file for path in inputs if path is not None for file in matching(path)]
    written: list[Path] = []
    for path, is_folder in [*((p, False) for p in outputs), *((p, True) for p in folders)]:
        if path is None or is_stream(path):
            continue
        if any(_same(path, source) for source in sources):
            raise UserError(f"{path}: is also an input, which would be destroyed; choose another name for the output.")
        if any(_same(path, other) for other in written):
            raise UserError(f"{path}: two outputs have this name; choose another one for one of them.")
        written.append(path)
        if is_folder and path.is_file():
            raise UserError(f"{path}: is a file; the output is a folder, choose another name.")
        if not is_folder and path.is_dir():
            raise UserError(f"{path}: is a folder; name a file in it.")
        _check_writable(path if is_folder else path.parent)
        if not is_folder and not overwrite and path.is_file() and (other := _what_else(path)):
            raise UserError(f"{path}: exists and {other}; choose another name, or replace it with --overwrite.")


def check_format(destination: Path, chosen: str) -> None:
    """Raise UsageError where the name of an output says another kind of file than --format does."""
    if (destination.suffix.lower() == ".zip") != (chosen != "hdf5"):
        right = "one that ends with .zip" if chosen != "hdf5" else "one that ends with .h5, or a --format of archives"
        raise UsageError(f"{destination}: isn't a file of --format {chosen}; give {right}")


def resolved(path: Path) -> Path:
    """The file itself, links followed; a link that leads to itself is its own end. `Path.resolve` raises there."""
    return Path(os.path.realpath(path))


def utf8_name(path: Path | str) -> str:
    """The name, for libraries that take no other than UTF-8: OpenCV is killed by one. Raises UserError for such a name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{path}: has a name that isn't UTF-8, by which it can't be opened; rename it, or the folder that it is in."
        ) from None
    return str(path)


def is_sample_file(name: str) -> bool:
    """Whether what may be the name of a data set is a path of a file of samples."""
    return name.lower().endswith(SAMPLES)


def is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe, such as /dev/stdout, that can't be replaced by a file."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.normcase(resolved(one)) == os.path.normcase(resolved(other))


def _check_writable(folder: Path) -> None:
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise UserError(f"{existing}: is a file, not a folder, so nothing can be written there; check the path.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{existing}: not permitted to write in this folder; check the rights or choose another path.")


def _what_else(path: Path) -> str | None:
    """Why a file isn't such as are written here with its suffix; None for these, and for an empty one."""
    with path.open("rb") as file:
        start = file.read(16)
    suffix = path.suffix.lower()
    if not start or suffix in _ANY:
        return None
    if suffix not in {**_KINDS, **_TEXTS}:
        return "its name doesn't say that it may be replaced"
    if not (begins(start, _KINDS[suffix]) if suffix in _KINDS else start.lstrip().startswith(_TEXTS[suffix])):
        return f"isn't a {path.suffix} file"
    return "has no samples in it" if suffix in SAMPLES and not _has_samples(path) else None


def _has_samples(path: Path) -> bool:
    """Whether an HDF5 file isn't another program's, such as weights of Keras; a damaged one may be replaced."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return not len(file) or any(name in file or name in file.attrs for name in _OF_SAMPLES)
    except (OSError, RuntimeError):
        return True


def fingerprint(path: Path) -> dict[str, Any]:
    """Size of a file and the SHA-256 of its first, middle and last megabyte with that size: fast on huge files."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - SAMPLED_BYTES // 2), max(0, size - SAMPLED_BYTES)}):
            file.seek(start)
            digest.update(file.read(SAMPLED_BYTES))
    return {"file": str(path), "bytes": size, "sampled_sha256": digest.hexdigest()}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, NAME.tmp/NAME beside `path`: the file has its name only when it is complete.

    Folders are made. At the end the file is on the disk before it replaces an older one (or what a link points to); where
    nothing was written, nothing is replaced. After an exception, Ctrl-C included, nothing is left, and what a killed
    process left goes with the next one. Raises UserError when another process is writing this file, or when NAME.tmp is
    something else.
    """
    if is_stream(path):
        yield path
        return
    path = resolved(path) if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(path.name + ".tmp")
    busy = f"{path}: another process is writing this file; wait for its end or choose another name."
    try:
        _make_own(folder, path)
        with locked(folder / LOCK_FILE, busy), ExitStack() as stack:
            _empty(folder)
            stack.callback(_empty, folder)
            temporary = folder / path.name
            with _naming(path, temporary):
                yield temporary
                if temporary.is_file():
                    with temporary.open("rb+") as file:
                        os.fsync(file.fileno())
                    temporary.replace(path)
    finally:
        with suppress(OSError):
            folder.rmdir()  # fails where another process or something else is in it


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Errors of writing name the file; a full disk is one, whatever a library makes of it."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(temporary) in (error.filename, error.filename2):
            # a new one, since a name that was added to HDF5's errors doesn't come with them from a worker process
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
        raise
    except RuntimeError as error:  # torch says no more than that it couldn't write
        if shutil.disk_usage(temporary.parent).free < ALMOST_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def _make_own(folder: Path, path: Path) -> None:
    """Make the folder for temporary files of `path`; one that a killed process left is taken."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / LOCK_FILE).is_file()):
            raise UserError(f"{folder}: is needed for a temporary file; move what is there out of the way.") from None
    except OSError as error:
        error.filename = str(path)
        raise


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        if left.name != LOCK_FILE:
            left.unlink()


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, which is removed at the end. Raises UserError with the text `busy` when another process has it.

    The lock of a process ends with it, however it ends.
    """
    with path.open("a") as file:
        if not _lock(file) or not path.is_file():  # its owner may just have finished
            raise UserError(busy)
        try:
            yield
        finally:
            if sys.platform == "win32":
                file.close()  # an open file can't be removed there
            path.unlink(missing_ok=True)


def _lock(file: IO[str]) -> bool:
    """Lock an open file for this process; False when another one has it. Where a disk knows no locks: True."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
