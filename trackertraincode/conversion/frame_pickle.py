"""Tables that pandas pickled, read without pandas: file --stand-ins--> blocks and axes --> columns by name.

DataFrame: BlockManager(blocks, axes), before pandas 1.3 its state {"0.14.1": {"blocks": ..., "axes": ...}}
block: values (columns of one type, rows), their places among the columns     axes: names of columns, rows
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from trackertraincode.errors import ArchiveError
from trackertraincode.pickles import StandIn, read_plain_pickle


class _Frame(StandIn):
    pass


class _Slice(StandIn):
    pass


STAND_INS: dict[str, type[StandIn]] = {
    "pandas.core.frame DataFrame": _Frame,
    "pandas.core.internals.managers BlockManager": StandIn,
    "pandas._libs.internals _unpickle_block": StandIn,
    "pandas.core.indexes.base _new_Index": StandIn,
    "pandas.core.indexes.base Index": StandIn,
    "pandas.core.indexes.range RangeIndex": StandIn,
    "pandas.core.indexes.numeric Int64Index": StandIn,
    "builtins slice": _Slice,
    "__builtin__ slice": _Slice,
}


def read_frame_pickle(path: Path) -> dict[str, np.ndarray]:
    """Columns by name, (rows,) each, of numbers or texts. Raises ArchiveError when it isn't a table of those."""
    try:
        frame = read_plain_pickle(path, STAND_INS)
        if not isinstance(frame, _Frame):
            raise pickle.UnpicklingError(f"it holds a {type(frame).__name__}")
        return _columns(frame)
    except FileNotFoundError as error:
        raise ArchiveError(f"{path}: no such file; check the path.") from error
    except (pickle.UnpicklingError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"{path}: not a table of numbers and texts that pandas pickled ({error}).") from error


def _columns(frame: StandIn) -> dict[str, np.ndarray]:
    manager = frame.state.get("_mgr") or frame.state["_data"]
    if manager.arguments:
        blocks, axes = manager.arguments
        pairs = [block.arguments[:2] for block in blocks]
    else:
        state = manager.state[3]["0.14.1"]
        axes, pairs = state["axes"], [(block["values"], block["mgr_locs"]) for block in state["blocks"]]
    names = axes[0].arguments[1]["data"].tolist()
    rows = {np.asarray(values).shape[1] for values, _ in pairs}
    if len(rows) != 1:
        raise ValueError(f"columns of {sorted(rows)} rows")
    found: dict[str, np.ndarray] = {}
    for values, places in pairs:
        found |= {names[place]: column for place, column in zip(_places(places, len(names)), values, strict=True)}
    return found


def _places(places: Any, count: int) -> list[int]:
    return list(range(count))[slice(*places.arguments)] if isinstance(places, _Slice) else np.asarray(places).tolist()
