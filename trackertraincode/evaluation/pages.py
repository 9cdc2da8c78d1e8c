"""Look at results: images with truth and prediction drawn, as sheets, as pages in a window or as files.

Result, rows --draw_row--> images --Pages--> contact sheets --show_window or write_pages-->
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trackertraincode.datasets.hdf5_images import decoding
from trackertraincode.datasets.spread import evenly_spread
from trackertraincode.errors import EvaluationError
from trackertraincode.evaluation.evaluate import Result
from trackertraincode.geometry.boxes import box_size
from trackertraincode.sample.images import decode
from trackertraincode.sample.sample import Prediction
from trackertraincode.visualize import contact_sheet, cut_out, draw_prediction, draw_text, write_image

COLUMNS, ROWS = 4, 3  # of a page
EDGE, FACTOR = 256, 1.4  # of each image: pixels, and its edge / longer box side
LEGEND = "Orange and coloured axes: predicted. Green: labels. Number: error of the rotation in degrees."
KEYS = {"right": 1, "pagedown": 1, " ": 1, "left": -1, "pageup": -1, "home": -(10**9), "end": 10**9}


def draw_row(result: Result, index: int) -> np.ndarray:
    """(EDGE, EDGE, 3) square around the index-th evaluated face. Raises SampleFormatError."""
    row = int(result.rows[index])
    with decoding(result.dataset.path, row):
        whole = decode(result.dataset.images([row])[0], color=True)
    labels = [_row_of(values, index) for values in (result.prediction, result.truth)]
    moved = []
    for values in labels:
        values["face_box"] = result.boxes[index].numpy()  # both cut out alike
        image, inside = cut_out(whole, values, EDGE, FACTOR)
        del inside["face_box"]
        moved.append(inside)
    return draw_text(draw_prediction(image, *moved), [f"{result.rotation_error(index):.1f}, row {row}"], 0.5)


ORDERS: dict[str, Callable[[Result], Tensor]] = {  # of --vis -> errors (n,)
    "rot": lambda result: result.rotation_errors,
    "kpts": lambda result: result.landmark_errors(3),
    "size": lambda result: (result.prediction.head - result.truth.head)[:, 2].abs() / box_size(result.boxes)[:, 0],
}


def worst(result: Result, count: int, order: str = "rot") -> list[int]:
    """Indices of the largest errors, largest first. Raises EvaluationError when there are none of this order."""
    errors = ORDERS[order](result)
    if errors.isnan().all():
        raise EvaluationError(f"{result.model}, {result.protocol}: there is nothing to sort images by {order}.")
    return errors.nan_to_num(-1.0).argsort(descending=True)[:count].tolist()


def spread(result: Result, count: int) -> list[int]:
    """Indices of rows evenly spread over the evaluated ones."""
    return evenly_spread(len(result.rows), count).tolist()


def sheet(result: Result, indices: Sequence[int], columns: int = COLUMNS) -> np.ndarray:
    """Contact sheet (H, W, 3) of evaluated faces."""
    return contact_sheet([draw_row(result, index) for index in indices], columns)


class Pages:
    """All faces of all results, worst first, a sheet at a time."""

    def __init__(self, results: Sequence[Result], order: str = "rot") -> None:
        per_page = COLUMNS * ROWS
        self._pages = [
            (result, indices[start : start + per_page])
            for result in results
            for indices in [worst(result, len(result.rows), order)]
            for start in range(0, len(indices), per_page)
        ]

    def __len__(self) -> int:
        return len(self._pages)

    def title(self, number: int) -> str:
        """Model, protocol, page."""
        result, _ = self._pages[number]
        return f"{result.model}, {result.protocol}: page {number + 1} of {len(self)}, worst first"

    def image(self, number: int) -> np.ndarray:
        """(H, W, 3). Raises SampleFormatError."""
        return sheet(*self._pages[number])


def has_display() -> bool:
    """Whether matplotlib can open windows here; not where it isn't installed."""
    try:
        from matplotlib import pyplot as plt
        from matplotlib.backends import BackendFilter, backend_registry
    except ModuleNotFoundError:
        return False

    return plt.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE)


def open_window(pages: Pages) -> Any:
    """A matplotlib figure that turns pages at left, right, page up, page down, home, end; q closes it."""
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(10.5, 8.2), layout="constrained")
    axis.set_axis_off()
    number = 0

    def show(wanted: int) -> None:
        nonlocal number
        number = min(max(wanted, 0), len(pages) - 1)
        axis.clear()
        axis.set_axis_off()
        axis.imshow(pages.image(number))
        axis.set_title(f"{pages.title(number)}\n{LEGEND}", fontsize=9)
        figure.canvas.draw_idle()

    for name in ("keymap.back", "keymap.forward", "keymap.home"):  # left and right are matplotlib's otherwise
        plt.rcParams[name] = []
    figure.canvas.mpl_connect("key_press_event", lambda event: show(number + KEYS.get(str(event.key), 0)))
    show(0)
    return figure


def write_pages(pages: Pages, folder: Path) -> list[Path]:
    """page_0001.jpg and so on; returns what was written. Raises SampleFormatError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(len(pages)):
        path = folder / f"page_{number + 1:04d}.jpg"
        write_image(path, draw_text(pages.image(number), [pages.title(number)], 0.5))
        written.append(path)
    return written


def page_through(results: Sequence[Result], folder: Path, order: str = "rot") -> str:
    """In a window, until it is closed; without a display, write all pages to a folder. Returns what was done, in words."""
    pages = Pages(results, order)
    if has_display():
        from matplotlib import pyplot as plt

        open_window(pages)
        plt.show()
        return f"{len(pages)} pages shown"
    written = write_pages(pages, folder)
    return f"no display for a window: {len(written)} pages written to {folder}, worst images first"


def _row_of(values: Prediction, index: int) -> dict[str, np.ndarray]:
    """One row as labels to draw: rotation (4,), head (3,), landmarks (68, 3)."""
    known = {name: getattr(values, name) for name in ("rotation", "head", "landmarks")}
    rows = {name: value[index] for name, value in known.items() if value is not None}
    return {name: row.numpy() for name, row in rows.items() if row.isfinite().all()}
