"""A conversion by a scheduler and two workers that are killed at random moments: nothing is lost, nothing comes twice.

python tests/reliability/cluster.py --folder FOLDER --faces 2000 --kills 12 --seed 1

First workers are killed (-9) and started again by their nannies, then a second conversion loses its scheduler and is
resumed with another one. Both files must be those of a conversion without a scheduler, byte for byte. Needs Linux.
"""

import argparse
import contextlib
import filecmp
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from program import PROJECT, Ended, Program

PER_PART = 16  # faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for inputs and outputs")
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rng = options.folder.resolve(), Random(options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    archive, local = folder / f"{options.faces}.zip", folder / "local.h5"
    if not archive.is_file():
        run(folder, f"render {archive} -n {options.faces} --size 96 --format 300wlp --workers 2")
    run(folder, f"convert 300wlp {archive} {local} --workers 2")
    convert = f"convert 300wlp {archive} {{}} --resume --scheduler"
    with cluster(folder) as (address, nannies, _):
        program = begin(folder, f"{convert.format(folder / 'killed.h5')} {address}")
        moments = sorted(rng.uniform(0, 0.9) * options.faces / PER_PART for _ in range(options.kills))
        kills = kill_workers(program, nannies, folder / "killed.h5.parts", moments, rng)
        tell(f"{kills} workers killed", program.end(), local, folder / "killed.h5")
    with cluster(folder) as (address, _, scheduler):
        program = begin(folder, f"{convert.format(folder / 'resumed.h5')} {address}")
        parts = folder / "resumed.h5.parts"
        wait_for(program, parts, rng.uniform(0.2, 0.8) * options.faces / PER_PART)
        scheduler.kill()
        ended = program.end()
        done = len(list(parts.glob("*.part")))
        print(f"scheduler killed with {done} parts done: exit code {ended.code}, {ended.lines}", flush=True)
        if ended.code != 1 or len(ended.lines) != 1:
            sys.exit(1)
    with cluster(folder) as (address, _, _):
        ended = begin(folder, f"{convert.format(folder / 'resumed.h5')} {address}").end()
        tell("resumed", ended, local, folder / "resumed.h5")


def begin(folder: Path, words: str) -> Program:
    return Program(words.split(), folder)


def run(folder: Path, words: str) -> None:
    ended = begin(folder, words).end()
    assert ended.code == 0, ended.lines


def tell(what: str, ended: Ended, local: Path, other: Path) -> None:
    """Print how a conversion ended; exits with 1 unless its file is the local one's."""
    same = ended.code == 0 and filecmp.cmp(local, other, shallow=False)
    print(f"{what}: exit code {ended.code}, {'the same file' if same else 'ANOTHER FILE'} {ended.lines}", flush=True)
    if not same:
        sys.exit(1)
    other.unlink()


def wait_for(program: Program, parts: Path, count: float) -> bool:
    """Until so many parts are done; False where the program ends before."""
    while len(list(parts.glob("*.part"))) < count:
        if program.ends_within(0.05):
            return False
    return True


def kill_workers(
    program: Program, nannies: list[subprocess.Popen], parts: Path, moments: list[float], rng: Random
) -> int:
    """Kill a worker process each time that so many parts are done; how many."""
    for number, moment in enumerate(moments):
        while not (workers := [w for nanny in nannies for w in workers_of(nanny.pid)]):
            time.sleep(0.1)
        if not wait_for(program, parts, moment):
            return number
        time.sleep(rng.uniform(0, 0.2))
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
        print(f"killed a worker with {len(list(parts.glob('*.part')))} parts done", flush=True)
    return len(moments)


def workers_of(nanny: int) -> list[int]:
    """Processes that a nanny watches."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            is_child = int(status.read_text().rpartition(")")[2].split()[1]) == nanny
            if is_child and b"spawn_main" in status.with_name("cmdline").read_bytes():
                found.append(int(status.parent.name))
    return found


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen], subprocess.Popen]]:
    """Address of a scheduler, the processes that watch its two workers, and its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], "--no-dashboard"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", str(port))
    scratch = ("--nthreads", "1", "--local-directory", str(folder / "scratch"))
    nannies = [start("worker", address, *scratch) for _ in range(2)]
    try:
        yield address, nannies, scheduler
    finally:
        for process in (*nannies, scheduler):
            process.terminate()
        for process in (*nannies, scheduler):
            process.wait(60)


if __name__ == "__main__":
    main()
