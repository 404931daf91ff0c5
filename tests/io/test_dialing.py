"""`dial`: which addresses are tried, when, which one wins, and that no socket of the others is left open."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from trio.testing import MockClock

from krafka._io import dialing
from krafka._io.dialing import dial

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

NAME = "kafka.test"
NO_TIMEOUT = 3600.0


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[tuple[Any, ...]]:
    """The address of a listener."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        yield listener.getsockname()


@contextlib.contextmanager
def refusing() -> Iterator[tuple[Any, ...]]:
    """An address where nothing listens, and nothing else can meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[Any, ...]) -> list[str]:
    """Have any name resolve to these addresses; gives the names asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM, 0, "", address)
            for address in addresses
        ]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return asked


class Sockets:
    """Passed as `prepare`: keeps every socket that a dial made. Those numbered in `silent` never get connected."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, silent: set[int] | None = None) -> None:
        self.all: list[socket.socket] = []
        self.made_at: list[float] = []
        self.waits = 0
        self.all_wait = anyio.Event()
        self.connect = anyio.Event()
        """Ends the wait of every silent socket, all at once."""
        self._silent = silent or set()
        self._wait_writable = anyio.wait_writable
        monkeypatch.setattr(anyio, "wait_writable", self._wait)

    def __call__(self, made: socket.socket) -> None:
        self.all.append(made)
        self.made_at.append(anyio.current_time())

    async def _wait(self, waiting: socket.socket) -> None:
        if self.all.index(waiting) in self._silent:
            self.waits += 1
            if self.waits == len(self._silent):
                self.all_wait.set()
            await self.connect.wait()
        await self._wait_writable(waiting)

    @property
    def open(self) -> list[socket.socket]:
        return [each for each in self.all if each.fileno() >= 0]


def nothing(made: socket.socket) -> None:
    """No options."""


async def connects_to(connected: socket.socket, address: tuple[Any, ...]) -> None:
    with connected:
        assert connected.getpeername() == address
        assert not connected.getblocking()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_needs_no_resolver(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve_to(monkeypatch)
    with listening(host) as address:
        await connects_to(await dial(host, address[1], nothing), address)
    assert asked == []


@pytest.mark.parametrize("name", [NAME, "localhost"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_name_is_resolved_without_blocking(
    host: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(host) as address:
        asked = resolve_to(monkeypatch, address)
        await connects_to(await dial(name, address[1], nothing), address)
    assert asked == [name]


async def test_a_name_that_the_system_knows() -> None:
    with listening() as address:
        await connects_to(await dial("localhost", address[1], nothing), address)


async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"]
    resolve_to(monkeypatch, *((host, 9092) for host in hosts))
    order = [address[3][0] for address in await dialing._resolve(NAME, 9092)]
    assert order == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


async def test_a_name_without_addresses_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch)
    with pytest.raises(socket.gaierror):
        await dial(NAME, 9092, nothing)


async def test_the_next_address_is_tried_as_soon_as_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "NEXT_ADDRESS_AFTER", NO_TIMEOUT)
    sockets = Sockets(monkeypatch)
    with refusing() as dead, listening() as alive, anyio.fail_after(60):
        resolve_to(monkeypatch, dead, alive)
        connected = await dial(NAME, 9092, sockets)
        assert sockets.open == [connected]
        assert len(sockets.all) == 2
        await connects_to(connected, alive)


async def test_the_next_address_is_tried_when_one_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "NEXT_ADDRESS_AFTER", 0.01)
    sockets = Sockets(monkeypatch, silent={0})
    with listening() as silent, listening() as alive, anyio.fail_after(60):
        resolve_to(monkeypatch, silent, alive)
        connected = await dial(NAME, 9092, sockets)
        assert sockets.open == [connected]
        assert len(sockets.all) == 2
        await connects_to(connected, alive)


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
)
async def test_a_silent_address_has_a_quarter_of_a_second_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch, silent={0, 1, 2})
    began = anyio.current_time()
    with listening() as address:
        resolve_to(monkeypatch, address, address, address)
        with anyio.move_on_after(10):
            await dial(NAME, 9092, sockets)
    assert [at - began for at in sockets.made_at] == [0, 0.25, 0.5]


async def test_an_address_that_is_slow_still_may_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "NEXT_ADDRESS_AFTER", 0.01)
    sockets = Sockets(monkeypatch, silent={0})
    connect = dialing._connect

    async def connect_and_release_the_other(address: Any, prepare: Any) -> socket.socket:
        try:
            return await connect(address, prepare)
        except ConnectionRefusedError:
            sockets.connect.set()
            raise

    monkeypatch.setattr(dialing, "_connect", connect_and_release_the_other)
    with listening() as slow, refusing() as dead, anyio.fail_after(60):
        resolve_to(monkeypatch, slow, dead)
        connected = await dial(NAME, 9092, sockets)
        assert len(sockets.all) == 2
        assert sockets.open == [connected]
        await connects_to(connected, slow)


async def test_of_two_that_connect_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "NEXT_ADDRESS_AFTER", 0.01)
    # Whoever has connected by then does not wait any more, cancelled or not.
    monkeypatch.setattr(anyio, "wait_writable", lambda waiting: anyio.lowlevel.checkpoint_if_cancelled())
    made: list[socket.socket] = []
    release = anyio.Event()
    connect = dialing._connect

    async def connect_together(address: Any, prepare: Any) -> socket.socket:
        opened = await connect(address, prepare)
        made.append(opened)
        if len(made) == 2:
            release.set()
        with anyio.CancelScope(shield=True):
            await release.wait()
        return opened

    monkeypatch.setattr(dialing, "_connect", connect_together)
    with listening() as one, listening() as other, anyio.fail_after(60):
        resolve_to(monkeypatch, one, other)
        connected = await dial(NAME, 9092, nothing)
        assert len(made) == 2
        assert [each for each in made if each.fileno() >= 0] == [connected]
        connected.close()


async def test_a_cancelled_dial_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "NEXT_ADDRESS_AFTER", 0.01)
    sockets = Sockets(monkeypatch, silent={0, 1})
    with listening() as one, listening() as other, anyio.fail_after(60):
        resolve_to(monkeypatch, one, other)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dial, NAME, 9092, sockets)
            await sockets.all_wait.wait()
            assert len(sockets.open) == 2
            tasks.cancel_scope.cancel()
    assert sockets.open == []


@pytest.mark.parametrize("cancelled_first", [False, True], ids=["connected first", "cancelled first"])
async def test_cancelled_as_it_connects_it_leaves_no_socket_without_an_owner(
    cancelled_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = Sockets(monkeypatch, silent={0})
    connected: list[socket.socket] = []
    with listening() as address, anyio.fail_after(60):

        async def run() -> None:
            connected.append(await dial("127.0.0.1", address[1], sockets))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await sockets.all_wait.wait()
            if cancelled_first:
                tasks.cancel_scope.cancel()
            sockets.connect.set()
            if not cancelled_first:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
    assert sockets.open == connected
    for each in connected:
        each.close()


async def test_cancelled_once_connected_the_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch)
    with listening() as address, anyio.CancelScope() as scope:
        check = dialing._check

        def check_and_cancel(opened: socket.socket) -> None:
            check(opened)
            scope.cancel()

        monkeypatch.setattr(dialing, "_check", check_and_cancel)
        connected = await dial("127.0.0.1", address[1], sockets)
        connected.close()
    assert len(sockets.all) == 1
    assert sockets.open == []


async def test_every_address_that_failed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch)
    with refusing() as one, refusing() as other:
        resolve_to(monkeypatch, one, other)
        with pytest.raises(OSError, match="none of 2 addresses") as caught:
            await dial(NAME, 9092, sockets)
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [ConnectionRefusedError] * 2
    for error, address in zip(group.exceptions, (one, other), strict=True):
        assert f"127.0.0.1 port {address[1]}" in str(error)
    assert sockets.open == []


async def test_the_only_address_that_failed_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as address:
        resolve_to(monkeypatch, address)
        with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1 port {address[1]}") as caught:
            await dial(NAME, 9092, nothing)
    assert caught.value.errno == errno.ECONNREFUSED


async def test_a_family_the_system_does_not_have_is_told_with_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        return [(12345, socket.SOCK_STREAM, 0, "", ("far.away", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(OSError, match=r"far\.away port 9092"):
        await dial(NAME, 9092, nothing)


class TestPrepare:
    async def test_it_comes_before_the_connection(self) -> None:
        def prepare(made: socket.socket) -> None:
            with pytest.raises(OSError, match="not connected"):
                made.getpeername()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)

        with listening() as address, await dial("127.0.0.1", address[1], prepare) as connected:
            # Linux reports twice what was asked.
            assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (20_000, 40_000)

    async def test_an_option_the_system_refuses(self) -> None:
        made: list[socket.socket] = []

        def prepare(opened: socket.socket) -> None:
            made.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, 12345, 1)

        with listening() as address, pytest.raises(OSError, match=f"127.0.0.1 port {address[1]}") as caught:
            await dial("127.0.0.1", address[1], prepare)
        assert caught.value.errno == errno.ENOPROTOOPT
        assert [each.fileno() for each in made] == [-1]

    async def test_an_error_without_a_number(self) -> None:
        def prepare(opened: socket.socket) -> None:
            raise OSError("refused by policy")

        with listening() as address, pytest.raises(OSError, match="refused by policy"):
            await dial("127.0.0.1", address[1], prepare)

    async def test_a_mistake_comes_out_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[socket.socket] = []

        def prepare(opened: socket.socket) -> None:
            made.append(opened)
            raise OverflowError("signed integer is greater than maximum")

        monkeypatch.setattr(dialing, "NEXT_ADDRESS_AFTER", NO_TIMEOUT)
        with listening() as one, listening() as other, anyio.fail_after(60):
            resolve_to(monkeypatch, one, other)
            with pytest.raises(OverflowError):
                await dial(NAME, 9092, prepare)
        assert [each.fileno() for each in made] == [-1]


async def test_a_client_that_meets_itself_is_not_connected() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made: list[socket.socket] = []

    def prepare(opened: socket.socket) -> None:
        made.append(opened)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", port))

    with pytest.raises(ConnectionRefusedError):
        await dial("127.0.0.1", port, prepare)
    assert [each.fileno() for each in made] == [-1]
