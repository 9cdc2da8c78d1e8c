"""A web page that tracks heads in the browser: camera, image or video; nothing leaves this machine.

ttc web                                             with the networks of this package
ttc web --model pose.onnx --localizer loc.onnx      with these
"""

import argparse
import contextlib
from pathlib import Path

from trackertraincode.arguments import port_number
from trackertraincode.pretrained import DEFAULT, localizer, pose_network


def add_options(parser: argparse.ArgumentParser) -> None:
    for name, what in (("--model", "pose network"), ("--localizer", "face localizer")):
        parser.add_argument(
            name,
            type=Path,
            default=Path(DEFAULT),
            metavar="MODEL",
            help=f"{what}, .onnx (default: that of this package)",
        )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=port_number, help="port to serve on (default: the first free one from 8023)")


def run(options: argparse.Namespace) -> int:
    from trackertraincode.web.server import PAGE, check_built, open_server, page_files

    check_built()
    model, finder = pose_network(options.model), localizer(options.localizer)
    _check_networks(model, finder)
    files = page_files(PAGE, [model.absolute(), finder.absolute()])
    with open_server(options.host, options.port, files) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"{server.url} - Ctrl-C ends", flush=True)
        server.serve_forever()
    return 0


def _check_networks(model: Path, finder: Path) -> None:
    """Raise ModelFileError for files that are none, rather than let the page say it."""
    from trackertraincode.tracking.networks import LocalizerModel, PoseModel

    PoseModel(model)
    LocalizerModel(finder)
