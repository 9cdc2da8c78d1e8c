"""A small HTTP server for the built page: a fixed table of files, and headers that keep everything on this machine.

page/, models --page_files--> {path: file} --PageServer--> browser
"""

import errno
import json
import mimetypes
import socket
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from trackertraincode.errors import UserError

PAGE = Path(__file__).resolve().parent / "page"  # made by web/build.mjs
FIRST_PORT, PORTS = 8023, 20  # tried one after the other where none is asked for
HEADERS = {
    "Content-Security-Policy": (  # nothing comes from elsewhere, nothing goes there
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
        "style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",  # with the next one: memory that WebAssembly's threads share
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_NOT_HERE = "--host {}: not an address of this machine; leave it out for 127.0.0.1."
TYPES = {  # that systems may not know, or know otherwise
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}


def check_built(page: Path = PAGE) -> None:
    """Raise UserError where the page isn't there."""
    if not (page / "index.html").is_file():
        raise UserError(
            f"{page}: the page isn't built; run `make web` in a clone of the repository (it needs Node.js 20 or newer), "
            "or install a wheel that holds it."
        )


def page_files(page: Path, models: Sequence[Path]) -> dict[str, Path | bytes]:
    """Path of a request -> the file, or the bytes, that answer it. models: listed in models.json."""
    files: dict[str, Path | bytes] = {
        f"/{path.relative_to(page).as_posix()}": path for path in sorted(page.rglob("*")) if path.is_file()
    }
    files["/"] = page / "index.html"
    paths = [f"models/{index}" for index in range(len(models))]
    files |= {f"/{path}": model for path, model in zip(paths, models)}
    files["/models.json"] = json.dumps([{"name": m.name, "path": p} for m, p in zip(models, paths)]).encode()
    return files


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from the server's table; what isn't in it isn't found."""

    server: "PageServer"
    server_version, sys_version = "trackertraincode", ""
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a connection may be silent

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        try:
            path = unquote(urlsplit(self.path).path)
        except ValueError:  # such as http://[
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        found = self.server.files.get(path)
        try:
            content = found.read_bytes() if isinstance(found, Path) else found
        except OSError:  # went away meanwhile
            content = None
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        suffix = Path("index.html" if path == "/" else path).suffix
        kind = TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


class PageServer(ThreadingHTTPServer):
    """Serves a table of files; a context manager."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there, two servers could share a port

    def __init__(self, host: str, port: int, files: Mapping[str, Path | bytes]) -> None:
        self.files = files
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), PageHandler)

    def server_bind(self) -> None:
        """Without asking the network for the name of this machine, which takes seconds where there is none."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves early is no error."""

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}/" if ":" in str(host) else f"http://{host!s}:{port}/"


def open_server(host: str, port: int | None, files: Mapping[str, Path | bytes]) -> PageServer:
    """port: None takes the first free one from FIRST_PORT. Raises UserError when it can't be had."""
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]:
        try:
            return PageServer(host, candidate, files)
        except (socket.gaierror, UnicodeError, TypeError) as error:  # the last two for words that are no names
            raise UserError(_NOT_HERE.format(host)) from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UserError(_NOT_HERE.format(host)) from error
            words = {errno.EADDRINUSE: "another program has it", errno.EACCES: "it is kept for the system"}
            reason = words.get(error.errno or 0, error.strerror)
    raise UserError(f"port {candidate}: can't be used ({reason}); choose another one with --port.")
