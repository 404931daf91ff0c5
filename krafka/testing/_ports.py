"""Chooses ports that stay a broker's own while the broker is down."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

from krafka.testing.errors import KafkaClusterError

LOWEST_PORT = 15_000
DEFAULT_EPHEMERAL_START = 32_768
MAX_ATTEMPTS = 2_000
TAKEN = {errno.EADDRINUSE, errno.EACCES}


def ephemeral_start() -> int:
    """Return the first port the system hands out by itself, where it tells."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return DEFAULT_EPHEMERAL_START


class ClaimedPorts:
    """``count`` loopback ports nobody listens on, all below the ephemeral range, claimed until `release`.

    A port of the ephemeral range could go to any outgoing connection while its broker is down, even to a
    client's attempt to reach that very broker, which then connects to itself and keeps the port. Other clusters
    on this machine leave a claimed port alone, its broker up or not: a UDP socket on the same number is what they
    see, as TCP itself has no way to hold a port for another process. Other programs know nothing of that, so a
    start must still be ready to lose a port.
    """

    def __init__(self, count: int) -> None:
        self.ports: list[int] = []
        self._signs: list[socket.socket] = []
        highest = max(ephemeral_start(), LOWEST_PORT + 4_096)
        generator = random.SystemRandom()
        for _ in range(MAX_ATTEMPTS):
            if len(self.ports) == count:
                return
            self._try(generator.randrange(LOWEST_PORT, highest))
        self.release()
        raise KafkaClusterError(
            f"found {len(self.ports)} of {count} free loopback ports from {LOWEST_PORT} to {highest - 1}"
        )

    def release(self) -> None:
        """Leave the ports to others."""
        for sign in self._signs:
            sign.close()
        self._signs.clear()

    def _try(self, port: int) -> None:
        sign = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if _binds(sign, port) and _is_free(port):
            self.ports.append(port)
            self._signs.append(sign)
        else:
            sign.close()


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        # As Java's server sockets do: connections of an earlier cluster still in TIME_WAIT are no obstacle.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(candidate, port)


def _binds(candidate: socket.socket, port: int) -> bool:
    try:
        candidate.bind(("127.0.0.1", port))
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise
    return True
