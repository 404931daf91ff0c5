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


def ephemeral_start() -> int:
    """Return the first port the system hands out by itself, where it tells."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return DEFAULT_EPHEMERAL_START


def free_ports(count: int) -> list[int]:
    """Return ``count`` loopback ports nobody listens on, all below the ephemeral range.

    A port of the ephemeral range could go to any outgoing connection while its broker is down, even to a
    client's attempt to reach that very broker, which then connects to itself and keeps the port. Nothing
    holds the ports returned, so a start must still be ready to lose one to another program.
    """
    highest = max(ephemeral_start(), LOWEST_PORT + 4_096)
    generator = random.SystemRandom()
    found: list[int] = []
    for _ in range(MAX_ATTEMPTS):
        if len(found) == count:
            return found
        port = generator.randrange(LOWEST_PORT, highest)
        if port not in found and _is_free(port):
            found.append(port)
    raise KafkaClusterError(
        f"found {len(found)} of {count} free loopback ports from {LOWEST_PORT} to {highest - 1}"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        # As Java's server sockets do: connections of an earlier cluster still in TIME_WAIT are no obstacle.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True
