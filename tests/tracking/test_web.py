"""`ttc web`: what the server gives and refuses, and the built page in a browser."""

import http.client
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import PROJECT
from trackertraincode.commands import run
from trackertraincode.errors import ModelFileError, UserError
from trackertraincode.tracking.tracker import HeadPoseTracker
from trackertraincode.web import server as module
from trackertraincode.web.server import PAGE, PageServer, open_server, page_files


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder like that of the built page, with something beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "page"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "page.js").write_text("1")
    (folder / "ort" / "ort.wasm").write_bytes(b"\0asm")
    return folder


@contextmanager
def serving(server: PageServer) -> Iterator[PageServer]:
    """The server, which answers from a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(server: PageServer, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    """Response and body; the path is sent as it is."""
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(str(host), port, timeout=300)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_files_of_the_page_and_networks_are_served(page: Path, pose_model: Path, localizer: Path) -> None:
    files = page_files(page, [pose_model, localizer])
    with serving(open_server("127.0.0.1", None, files)) as server:
        for path, kind in (("/", "text/html; charset=utf-8"), ("/page.js", "text/javascript; charset=utf-8"),
                           ("/ort/ort.wasm", "application/wasm")):  # fmt: skip
            response, body = get(server, path)
            assert (response.status, response.headers["Content-Type"]) == (200, kind)
            assert len(body) == int(response.headers["Content-Length"]) > 0
        models = json.loads(get(server, "/models.json")[1])
        assert [model["name"] for model in models] == [pose_model.name, localizer.name]
        bodies = [get(server, f"/{model['path']}")[1] for model in models]
        assert bodies == [pose_model.read_bytes(), localizer.read_bytes()]
        assert get(server, "/page.js", "HEAD")[1] == b""


def test_networks_of_one_name_are_both_served(page: Path, pose_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other folder" / pose_model.name
    other.parent.mkdir()
    other.write_bytes(b"another one")
    with serving(open_server("127.0.0.1", None, page_files(page, [pose_model, other]))) as server:
        bodies = [get(server, f"/{model['path']}")[1] for model in json.loads(get(server, "/models.json")[1])]
    assert bodies == [pose_model.read_bytes(), b"another one"]


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/ort/../../secret.txt", "//etc/passwd", "/ort", "/ort/",
     "/page.js/", "/..\\secret.txt", "/secret.txt", "http://127.0.0.1/../secret.txt", "/%00"],
)  # fmt: skip
def test_nothing_outside_of_the_folder_is_served(path: str, page: Path) -> None:
    with serving(open_server("127.0.0.1", None, page_files(page, []))) as server:
        response, body = get(server, path)
        assert response.status == 404
        assert b"secret" not in body.replace(b"secret.txt", b"")
        assert get(server, "/", "POST")[0].status == 501


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET http://[/ HTTP/1.1", 400), (f"GET /{'x' * 70_000} HTTP/1.1", 414), ("GET / HTTP/9.9", 505),
     (f"GET / HTTP/1.1\r\nX: {'y' * 70_000}", 431), ("BREW / HTTP/1.1", 501)],
)  # fmt: skip
def test_what_no_browser_asks_is_refused(request_line: str, status: int, page: Path) -> None:
    with serving(open_server("127.0.0.1", None, page_files(page, []))) as server:
        with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=300) as connection:
            with suppress(ConnectionError):  # it may have answered and gone before it got everything
                connection.sendall(f"{request_line}\r\nConnection: close\r\n\r\n".encode())
            answer = connection.recv(200)  # without a first line where the version is that of no browser
            assert f" {status} ".encode() in answer or f"Error code: {status}".encode() in answer
        assert get(server, "/page.js")[1] == b"1"


def test_headers_keep_everything_on_this_machine(page: Path) -> None:
    with serving(open_server("127.0.0.1", None, page_files(page, []))) as server:
        for path in ("/", "/nowhere"):
            headers = get(server, path)[0].headers
            policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert all(
                "http" not in rule and "*" not in rule and "unsafe-inline" not in rule for rule in policy.values()
            )
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_only_this_machine_is_served_by_default(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stop(host: str, port: int | None, _: object) -> None:
        asked.append((host, port))
        raise UserError("enough")

    monkeypatch.setattr(module, "PAGE", page)
    monkeypatch.setattr(module, "check_built", lambda: None)
    monkeypatch.setattr(module, "open_server", stop)

    with pytest.raises(UserError, match="enough"):
        run(["web"])
    assert asked == [("127.0.0.1", None)]


def test_a_taken_port_is_said_in_one_line_and_another_is_found(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = page_files(page, [])
    with open_server("127.0.0.1", None, files) as first:
        taken = first.server_address[1]
        with pytest.raises(UserError, match=rf"^port {taken}: can't be used \(another program has it\); .* --port\.$"):
            open_server("127.0.0.1", taken, files)
        monkeypatch.setattr(module, "FIRST_PORT", taken)
        with open_server("127.0.0.1", None, files) as second:
            assert second.server_address[1] > taken


def test_addresses_with_colons_are_served(page: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with open_server("::1", None, page_files(page, [])) as server:
        assert re.fullmatch(r"http://\[::1\]:\d+/", server.url)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "\u2603" * 70])
def test_a_host_that_is_not_here_is_named(host: str) -> None:
    with pytest.raises(UserError, match=r"^--host .*: not an address of this machine"):
        open_server(host, None, {})


def test_without_the_built_page_the_command_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"the page isn't built; run `make web`"):
        module.check_built(tmp_path)


def test_files_that_are_no_networks_are_refused(page: Path, monkeypatch: pytest.MonkeyPatch, localizer: Path) -> None:
    monkeypatch.setattr(module, "check_built", lambda: None)
    with pytest.raises(ModelFileError, match="is a localizer"):
        run(["web", "--model", str(localizer)])


@pytest.fixture(scope="module")
def node() -> str:
    """The program; skips where it, or the packages that `make web` installs, are missing."""
    found = shutil.which("node")
    if found is None or not (PROJECT / "web" / "node_modules").is_dir():
        pytest.skip("Node.js and its packages aren't here: make web")
    return found


def run_node(node: str, *words: object) -> str:
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(PROJECT)}
    result = subprocess.run(
        [node, *map(str, words)], capture_output=True, text=True, cwd=PROJECT / "web", env=environment, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_what_the_pages_tests_ask_of_the_python_tracker_exists() -> None:
    for name in ("reference", "material"):
        runpy.run_path(str(PROJECT / "web" / "tests" / f"{name}.py"))


def test_the_pages_modules_answer_as_the_python_tracker(node: str) -> None:
    run_node(node, "--test", "tests/unit.test.mjs")


def test_the_page_in_a_browser_answers_as_the_python_tracker(
    node: str, pose_model: Path, localizer: Path, tmp_path: Path
) -> None:
    chromium = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    if not (PAGE / "index.html").is_file():
        pytest.skip("the page isn't built: make web")
    if not chromium.is_file():
        pytest.skip(f"there is no Chromium at {chromium}; CHROMIUM names another one")
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), image)
    pose = HeadPoseTracker(pose_model, localizer, whole_frames=True).update(image[..., ::-1])
    assert pose is not None
    with serving(open_server("127.0.0.1", None, page_files(PAGE, [pose_model, localizer]))) as server:
        shown = json.loads(run_node(node, "tests/look.mjs", server.url, tmp_path / "face.png"))
    assert shown["faults"] == []
    assert [shown[name] for name in ("pitch", "yaw", "roll")] == pytest.approx(pose.pitch_yaw_roll_deg, abs=0.06)
