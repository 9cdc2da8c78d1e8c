"""Head poses to OpenTrack's input "UDP over network".

HeadPose --opentrack_values--> x, y, z, yaw, pitch, roll --encode--> 48 bytes --UDP--> OpenTrack
"""

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from trackertraincode.errors import UserError
from trackertraincode.tracking.pose import HeadPose

DATAGRAM = struct.Struct("<6d")  # x, y, z in cm; yaw, pitch, roll in degrees


def encode(values: Sequence[float]) -> bytes:
    """x, y, z in cm, yaw, pitch, roll in degrees -> a datagram."""
    return DATAGRAM.pack(*values)


class PoseSender:
    """Sends poses to one address; nobody needs to listen. A context manager."""

    def __init__(self, address: tuple[str, int], tell: Callable[[str], None]) -> None:
        """address: host and port. tell: gets a line when the network fails later on.

        Raises UserError when there is no such host.
        """
        host, port = address
        self._name = f"--udp [{host}]:{port}" if ":" in host else f"--udp {host}:{port}"
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it can't be a name"
            raise UserError(
                f"{self._name}: no such host ({reason}); give a name or an address, such as 127.0.0.1:4242."
            ) from error
        by_ipv4 = [info for info in found if info[0] == socket.AF_INET]  # OpenTrack listens to both, others may not
        family, kind, protocol, _, target = (by_ipv4 or found)[0]
        self._target: tuple[Any, ...] = target
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._tell = tell
        self._works: bool | None = None  # None: nothing was sent so far

    def send(self, pose: HeadPose) -> None:
        """Raises UserError when the system can't send the first pose; later ones are lost while the network fails."""
        try:
            self._socket.sendto(encode(pose.opentrack_values), self._target)
            self._works = True
        except (BlockingIOError, ConnectionError):
            return  # a full buffer, or nobody who listens yet: the next pose is newer anyway
        except OSError as error:
            line = f"{self._name}: nothing can be sent there ({error.strerror or error}); check address and network."
            if self._works is None:
                raise UserError(line) from error
            if self._works:
                self._tell(f"{line} Poses are sent again when that works.")
            self._works = False

    def __enter__(self) -> "PoseSender":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
