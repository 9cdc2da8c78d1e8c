"""A web page that tracks heads in the browser: camera, image or video; nothing leaves this machine.

ttc web                                             with the networks that `ttc track` takes
ttc web --model pose.onnx --localizer loc.onnx      with these
"""

import argparse
import contextlib
from pathlib import Path

from trackertraincode.cli import port_number
from trackertraincode.commands.track import LOCALIZER, MODEL, find_file


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, help=f"pose network, .onnx (default: {MODEL} of the places of `ttc track`)"
    )
    parser.add_argument(
        "--localizer", type=Path, help=f"face localizer, .onnx (default: {LOCALIZER} of the same places)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default 127.0.0.1: this machine only)"
    )
    parser.add_argument("--port", type=port_number, help="port to serve on (default: the first free one from 8023)")


def run(options: argparse.Namespace) -> int:
    from trackertraincode.web.server import PAGE, check_built, open_server, page_files

    check_built()
    model, localizer = options.model or find_file(MODEL), options.localizer or find_file(LOCALIZER)
    _check_networks(model, localizer)
    files = page_files(PAGE, [path.absolute() for path in (model, localizer) if path is not None])
    with open_server(options.host, options.port, files) as server, contextlib.suppress(KeyboardInterrupt):
        missing = [word for word, path in (("pose network", model), ("localizer", localizer)) if path is None]
        hint = f" (there is no {' and no '.join(missing)}; drop one onto the page)" if missing else ""
        print(f"{server.url} - Ctrl-C ends{hint}", flush=True)
        server.serve_forever()
    return 0


def _check_networks(model: Path | None, localizer: Path | None) -> None:
    """Raise ModelFileError for files that are none, rather than let the page say it."""
    from trackertraincode.tracking.networks import LocalizerModel, PoseModel

    if model is not None:
        PoseModel(model)
    if localizer is not None:
        LocalizerModel(localizer)
