"""Datagrams are what OpenTrack's UDP input decodes, with its plugin's signs; wrong addresses are named."""

import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trackertraincode.commands import run
from trackertraincode.errors import UserError
from trackertraincode.sample.images import encode_png
from trackertraincode.tracking import tracker
from trackertraincode.tracking.camera import PluginCamera
from trackertraincode.tracking.networks import PoseModel
from trackertraincode.tracking.pose import HeadPose
from trackertraincode.tracking.sources import Frame
from trackertraincode.tracking.udp import PoseSender
from trackertraincode.tracking.video import AnnotatedOutput


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """Stands for OpenTrack."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(300)
        yield opened


def decoded(receiver: socket.socket) -> np.ndarray:
    """(6,) x, y, z, yaw, pitch, roll, read as the plugin `tracker-udp` does on a PC."""
    return np.frombuffer(receiver.recv(48), "<f8")


def pose_of(rotation: Rotation, head: tuple[float, float, float] = (320, 240, 60)) -> HeadPose:
    return HeadPose(rotation.as_quat(), np.array(head), np.zeros(4), PluginCamera(640, 480, np.radians(56.0)))


def test_a_datagram_is_the_world_pose(receiver: socket.socket) -> None:
    """Turning by the angles, in the plugin's order of axes, gives the world's rotation again."""
    rotations = Rotation.random(50, rng=0)
    with PoseSender(receiver.getsockname(), print) as sender:
        for seed, rotation in enumerate(rotations):
            x, y, radius = np.random.default_rng(seed).uniform([0, 0, 20], [640, 480, 150])
            pose = pose_of(rotation, (x, y, radius))
            sender.send(pose)
            values = decoded(receiver)
            assert values[:3] == pytest.approx(
                np.array([-pose.position_mm.z, pose.position_mm.y, -pose.position_mm.x]) / 10
            )
            yaw, pitch, roll = values[3:]
            again = Rotation.from_euler("YZX", [-yaw, pitch, -roll], degrees=True)
            assert (again.inv() * Rotation.from_quat(pose.world_rotation)).magnitude() < 1e-6


@pytest.mark.parametrize(
    ("axis", "wanted"), [((0, -20, 0), (-20, 0, 0)), ((-20, 0, 0), (0, 20, 0)), ((0, 0, 20), (0, 0, 20))]
)
def test_left_up_and_clockwise_are_positive(
    receiver: socket.socket, axis: tuple[float, ...], wanted: tuple[float, ...]
) -> None:
    """Turns about the image's axes: right of the image, up, clockwise as seen, of a head straight ahead."""
    with PoseSender(receiver.getsockname(), print) as sender:
        sender.send(pose_of(Rotation.from_rotvec(axis, degrees=True)))
    assert decoded(receiver)[3:] == pytest.approx(wanted, abs=1e-6)


def test_right_above_and_far_are_positive(receiver: socket.socket) -> None:
    with PoseSender(receiver.getsockname(), print) as sender:
        sender.send(pose_of(Rotation.identity(), (500, 100, 60)))
    x, y, z = decoded(receiver)[:3]
    assert x > 0
    assert y > 0
    assert z > 50


def test_the_command_sends_each_pose_that_it_writes(
    receiver: socket.socket, pose_model: Path, localizer: Path, tmp_path: Path
) -> None:
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(encode_png(np.zeros((48, 64), np.uint8)))
    words = ["--model", pose_model, "--localizer", localizer, "--udp", f"127.0.0.1:{receiver.getsockname()[1]}"]
    assert run(["track", str(tmp_path), *map(str, words)]) == 0
    for _ in range(3):
        assert np.isfinite(decoded(receiver)).all()


def test_100_frames_are_sent_as_the_rows_say(
    receiver: socket.socket, localizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a head that turns and moves, after the filter."""

    class Turning(PoseModel):
        input_size = 33
        calls = 0

        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
            self.calls += 1
            phase = self.calls / 15
            rotation = Rotation.from_rotvec([0.3 * np.sin(phase), 0.8 * np.sin(0.7 * phase), 0.2]).as_quat()
            answer = {"rotation": rotation, "head": [0.1 * np.sin(phase), 0.0, 0.5], "face_box": [-0.5, -0.5, 0.5, 0.5]}
            return {name: np.array(values, np.float32) for name, values in answer.items()}

    monkeypatch.setattr(tracker, "PoseModel", Turning)
    with AnnotatedOutput(tmp_path / "v.avi") as output:
        for index in range(100):
            output.write(Frame(str(index), np.zeros((48, 64, 3), np.uint8)))
    words = ["--localizer", localizer, "--udp", f"127.0.0.1:{receiver.getsockname()[1]}", "--json", tmp_path / "p.json"]
    assert run(["track", str(tmp_path / "v.avi"), *map(str, words)]) == 0
    rows = json.loads((tmp_path / "p.json").read_text())
    assert len(rows) == 100
    camera = PluginCamera(64, 48, np.radians(56.0))
    for row in rows:
        x, y, z, yaw, pitch, roll = decoded(receiver)
        assert [x, y, z] == pytest.approx([-row["world_z_mm"] / 10, row["world_y_mm"] / 10, -row["world_x_mm"] / 10])
        rotation, head = ([row[name] for name in names] for names in (("qi", "qj", "qk", "qw"), ("x", "y", "radius")))
        world = camera.place(np.array(rotation), np.array(head)).rotation
        again = Rotation.from_euler("YZX", [-yaw, pitch, -roll], degrees=True)
        assert (again.inv() * Rotation.from_quat(world)).magnitude() < 1e-6


def test_poses_that_nobody_wants_are_no_error(receiver: socket.socket) -> None:
    address = receiver.getsockname()
    receiver.close()
    with PoseSender(address, print) as sender:
        for _ in range(3):
            sender.send(pose_of(Rotation.identity()))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 80 + ".invalid", "1.2.3.4.5"])
def test_hosts_that_do_not_exist_are_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asking the network, where some name servers know an address for everything, and others never answer."""
    monkeypatch.setattr(socket, "getaddrinfo", partial(socket.getaddrinfo, flags=socket.AI_NUMERICHOST))
    with pytest.raises(UserError, match=rf"--udp {host}:4242: no such host"):
        PoseSender((host, 4242), print)


def test_of_a_host_with_two_addresses_the_older_kind_is_taken(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of localhost, which on many systems is ::1 first; who listens at 127.0.0.1 only would get nothing."""
    port = receiver.getsockname()[1]
    kind = socket.SOCK_DGRAM, socket.IPPROTO_UDP, ""
    found = [(socket.AF_INET6, *kind, ("::1", port, 0, 0)), (socket.AF_INET, *kind, ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with PoseSender(("localhost", port), print) as sender:
        sender.send(pose_of(Rotation.identity()))
    assert decoded(receiver).shape == (6,)


class Unreachable:
    """A socket whose network fails when it shall."""

    fails = True

    def sendto(self, *_: object) -> None:
        if self.fails:
            raise OSError(101, "Network is unreachable")

    def close(self) -> None:
        pass


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Unreachable:
    opened = Unreachable()
    monkeypatch.setattr(socket, "socket", lambda *_: SimpleNamespace(**{
        "sendto": opened.sendto, "close": opened.close, "setblocking": lambda _: None
    }))  # fmt: skip
    return opened


@pytest.mark.usefixtures("unreachable")
def test_what_the_network_refuses_is_said() -> None:
    with (
        PoseSender(("127.0.0.1", 4242), print) as sender,
        pytest.raises(UserError, match=r"--udp 127\.0\.0\.1:4242: nothing can be sent there \(Network is unreach"),
    ):
        sender.send(pose_of(Rotation.identity()))


def test_a_network_that_fails_for_a_while_loses_these_poses_alone(unreachable: Unreachable) -> None:
    """And says so once each time; an hour of tracking doesn't end with the Wi-Fi."""
    told: list[str] = []
    with PoseSender(("127.0.0.1", 4242), told.append) as sender:
        for fails in (False, True, True, False, True):
            unreachable.fails = fails
            sender.send(pose_of(Rotation.identity()))
    assert len(told) == 2
    assert "nothing can be sent there (Network is unreachable)" in told[0]
    assert "Poses are sent again when that works" in told[0]


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":4242", "localhost:0", "localhost:65536", "a:b", "a:²"]
)
def test_addresses_without_host_or_port_are_wrong_usage(address: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["track", "x.png", f"--udp={address}"])
    assert stopped.value.code == 2
    assert "expected HOST:PORT, such as 127.0.0.1:4242" in capsys.readouterr().err
