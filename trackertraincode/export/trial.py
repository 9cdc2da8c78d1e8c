"""Load a model as OpenTrack does and run it on three crops, in a process of its own.

python -m trackertraincode.export.trial model.onnx --> JSON: what the session says of in- and outputs, and faults of values

Models are programs: they may loop for ever, take all memory or crash natively. Here that ends with this process.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trackertraincode.errors import ModelFileError
from trackertraincode.models.onnx_model import OUTPUTS, open_session
from trackertraincode.workers import end_with_parent, run_program

TIME_LIMIT = 60.0  # seconds for loading and three crops
MEMORY_LIMIT = 4 << 30  # bytes of addresses, on Linux
LARGEST_INPUT = 10_000_000  # numbers
ANY_BATCH = 3  # crops that models of any batch size are tried with

FLOAT = "tensor(float)"

Port = tuple[str, str, list[int | str | None]]  # name, type, shape


@dataclass(frozen=True)
class Trial:
    """What came of it."""

    inputs: tuple[Port, ...] = ()  # as ONNX Runtime's session has them; empty when it can't load the file
    outputs: tuple[Port, ...] = ()
    faults: tuple[str, ...] = ()  # of running it, one line each


def try_model(path: Path) -> Trial:
    """Run this module on a file. Its outputs' shapes are those that ONNX Runtime infers, not those stored in the file."""
    try:
        code, answer = run_program([__name__, path.absolute()], os.environ, captured=True, limit=TIME_LIMIT)
        inputs, outputs, faults = json.loads(answer if code == 0 else b"")
    except subprocess.TimeoutExpired:
        return Trial(faults=(f"doesn't run: no answer within {TIME_LIMIT:g} s, as if it looped for ever",))
    except ValueError:
        return Trial(faults=(f"doesn't run: ends the process (code {code}), for lack of memory or by a crash",))
    return Trial(tuple(map(tuple, inputs)), tuple(map(tuple, outputs)), tuple(faults))


def _main() -> None:
    end_with_parent(lambda: os._exit(1))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    print(json.dumps(_run(Path(sys.argv[1]))))


def _run(path: Path) -> tuple[list[Port], list[Port], list[str]]:
    inputs: list[Port] = []
    outputs: list[Port] = []
    try:
        session = open_session(path)
        inputs, outputs = (
            [(v.name, v.type, v.shape) for v in g] for g in (session.get_inputs(), session.get_outputs())
        )
        shape = [n if isinstance(n, int) else ANY_BATCH for n in inputs[0][2]]
        if math.prod(shape) > LARGEST_INPUT:
            return inputs, outputs, [f"doesn't run: its input has {math.prod(shape):,} numbers"]
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
        images = [noise, np.full(shape, -0.5), np.full(shape, 0.5)]  # grey noise, black, white
        answers = [session.run(None, {inputs[0][0]: image.astype(np.float32)}) for image in images]
        values = {port[0]: [answer[i] for answer in answers] for i, port in enumerate(outputs)}
        faults = [fault for port in outputs for fault in _value_faults(*port, values[port[0]])]
        return inputs, outputs, list(dict.fromkeys(faults))
    except ModelFileError as error:
        reason = str(error).removeprefix(f"{path}: ")
    except MemoryError:
        reason = "takes too much memory"
    except Exception as error:  # ONNX Runtime's errors have no common base class
        reason = (str(error).splitlines() or ["unknown reason"])[0][:200]
    return inputs, outputs, [f"doesn't run: {reason}"]


def _value_faults(name: str, kind: str, shape: list[int | str | None], answers: list[np.ndarray]) -> list[str]:
    """answers: to each image, of any shape."""
    faults: list[str] = []
    if kind != FLOAT:  # the contract names that
        return faults
    for values in answers:
        values = np.asarray(values)
        if all(isinstance(n, int) for n in shape) and list(values.shape) != shape:
            return [f"output {name!r} has the shape {shape} in the file, {list(values.shape)} when it runs"]
        if not np.isfinite(values).all():
            return [f"output {name!r} has values that are not finite"]
        if name.endswith("_tril") and values.ndim >= 2:
            if (np.triu(values, 1) != 0).any():
                faults.append(f"output {name!r} is not lower triangular")
            if (np.diagonal(values, axis1=-2, axis2=-1) <= 0).any():
                faults.append(f"output {name!r} has diagonal elements that aren't above 0")
        elif name in OUTPUTS["rotation"].names and np.abs(np.linalg.norm(values, axis=-1) - 1).max(initial=0) > 1e-3:
            faults.append(f"output {name!r} isn't of length 1")
    return faults


if __name__ == "__main__":
    _main()
