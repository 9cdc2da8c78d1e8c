"""Requests to the page's server, as no browser sends them: it answers from its table or refuses, and goes on answering."""

import http.client
import socket
import threading
from functools import cache
from pathlib import Path

import numpy as np
from harness import SECONDS, main, mutated

from trackertraincode.web.server import PageServer, open_server, page_files

NAME = "x.http"
SECRET = b"7c1d secret"
PATHS = (
    "/", "/index.html", "/models/0", "/models.json", "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt",
    "//etc/passwd", "/models/../../secret.txt", "/..\\secret.txt", "/models/0/../../secret.txt", "/%00", "/%ff",
    "/page.js?x=../secret.txt", "http://else.where/../secret.txt", "file:///etc/passwd", "*", "", "/[", "//[", "http://[/",
    "/\u202e", "/models/-1",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "G\0T")
LINES = (
    "Host: x", "Host: evil.example", "Range: bytes=0-", "Content-Length: 99999999999", "Content-Length: -1",
    "Expect: 100-continue", "Transfer-Encoding: chunked", "Connection: keep-alive", "Connection: close",
    "Upgrade: websocket", "A" * 70000, "X: " + "y" * 9000, ": ", " folded", "X\0: 1",
)  # fmt: skip


@cache
def server(folder: Path) -> PageServer:
    """One per process, which answers from a thread. folder: for its files, of the process's cases."""
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "page").mkdir()
    for name in ("index.html", "page.js"):
        (folder / "page" / name).write_text(name)
    (folder / "m.onnx").write_bytes(b"model")
    made = open_server("127.0.0.1", None, page_files(folder / "page", [folder / "m.onnx"]))
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return made


def make(rng: np.random.Generator) -> bytes:
    lines = []
    for _ in range(int(rng.integers(1, 3))):
        version = rng.choice(
            ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/9.9", "HTTP/", ""], p=[0.6, 0.1, 0.1, 0.1, 0.05, 0.05]
        )
        lines.append(f"{rng.choice(METHODS, p=[0.55, *[0.05] * 9])} {rng.choice(PATHS)} {version}")
        lines += [str(rng.choice(LINES)) for _ in range(int(rng.integers(4)))]
        if rng.random() < 0.02:
            lines += [f"X-{i}: 1" for i in range(200)]
        lines.append("")
    data = ("\r\n".join(lines) + "\r\n").encode("utf-8")
    return mutated(data, rng) if rng.random() < 0.5 else data


def read(path: Path) -> None:
    _, port, *_ = server(path.parent).server_address
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        answer = _talk(connection, path.read_bytes())
    assert SECRET not in answer
    assert b"root:" not in answer
    assert b"Traceback" not in answer
    again = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    again.request("GET", "/index.html")
    response = again.getresponse()
    assert (response.status, response.read()) == (200, b"index.html")
    again.close()


def _talk(connection: socket.socket, data: bytes) -> bytes:
    """All that comes until the server ends the connection."""
    answer = b""
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(1 << 16):
            answer += part
    except OSError:  # it ended the connection before
        pass
    return answer


if __name__ == "__main__":
    main(__doc__, NAME, make, read)
