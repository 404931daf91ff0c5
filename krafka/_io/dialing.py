"""From a host name to a connected socket, by whichever of its addresses answers first."""

from __future__ import annotations

import errno
import os
import socket
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Address = tuple[int, int, int, Any]

NEXT_ADDRESS_AFTER = 0.25
"""Seconds that one address may take before the next is tried beside it (RFC 8305, section 5)."""


async def dial(host: str, port: int, prepare: Callable[[socket.socket], object]) -> socket.socket:
    """Return a non-blocking socket connected to `host`; `prepare` is called with each socket before it connects.

    Raises `socket.gaierror` or ValueError for the name, or the OSError of the only address, or one whose cause is an
    ExceptionGroup with that of each address; and what `prepare` raises, if that is no OSError.
    """
    connected: socket.socket | None = None
    failures: list[OSError] = []
    bug: Exception | None = None

    async def attempt(address: Address, failed: anyio.Event) -> None:
        nonlocal connected, bug
        try:
            opened = await _connect(address, prepare)
        except OSError as error:
            failures.append(error)
            failed.set()
        except Exception as error:
            # Raised after the task group, which would wrap it.
            bug = error
            attempts.cancel_scope.cancel()
        else:
            if connected is None:
                connected = opened
                attempts.cancel_scope.cancel()
            else:
                opened.close()

    addresses = await _resolve(host, port)
    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                failed = anyio.Event()
                attempts.start_soon(attempt, address, failed)
                with anyio.move_on_after(NEXT_ADDRESS_AFTER):
                    await failed.wait()
    except BaseException:
        if connected is not None:
            connected.close()
        raise
    if connected is not None:
        return connected
    if bug is not None:
        raise bug
    if len(failures) == 1:
        raise failures[0]
    raise OSError(f"none of {len(failures)} addresses could be connected to") from ExceptionGroup(
        "each address failed", failures
    )


async def _resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name, the families in turn, as RFC 8305 (section 4) has it."""
    found: Iterable[tuple[int, int, int, str, Any]]
    try:
        # An address needs no resolver, whose thread would be the first one of this process.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    by_family: dict[int, list[Address]] = {}
    for family, kind, protocol, _, address in found:
        by_family.setdefault(family, []).append((family, kind, protocol, address))
    if not by_family:
        # A Python without IPv6, where the name has addresses of that kind alone.
        raise socket.gaierror(socket.EAI_NONAME, "it has no address that can be used here")
    return [each for each in chain.from_iterable(zip_longest(*by_family.values())) if each is not None]


async def _connect(address: Address, prepare: Callable[[socket.socket], object]) -> socket.socket:
    opened: socket.socket | None = None
    try:
        opened = socket.socket(*address[:3])
        opened.setblocking(False)
        prepare(opened)
        try:
            opened.connect(address[3])
        except (BlockingIOError, InterruptedError):
            await anyio.wait_writable(opened)
        _check(opened)
    except BaseException as error:
        if opened is not None:
            opened.close()
        if isinstance(error, OSError):
            where = f"{address[3][0]} port {address[3][1]}"
            raise OSError(error.errno, f"{error.strerror or error} ({where})") from error
        raise
    return opened


def _check(opened: socket.socket) -> None:
    code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if not code and opened.getsockname() == opened.getpeername():
        # Where nothing listens on a port that is given to clients, a client may get it, and so meet itself.
        code = errno.ECONNREFUSED
    if code:
        raise OSError(code, os.strerror(code))
