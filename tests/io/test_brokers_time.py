"""The broker pool against the clock: backoff, silent addresses and how long connections last."""

from __future__ import annotations

import itertools

import anyio
import pytest
from fake_net import FakeNet, Mode, pool_on
from trio.testing import MockClock

from krafka._io.brokers import NEXT_BROKER_AFTER
from krafka._io.connection import ConnectionOptions
from krafka._state.cluster import Broker
from krafka._wire.metadata import MetadataRequest
from krafka.errors import ConnectionFailedError
from krafka.retry import RetryPolicy

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """Virtual time: the clock jumps whenever every task waits."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


EXACT = RetryPolicy(initial_backoff=0.05, max_backoff=0.8, jitter_factor=0)


def always(seconds: float) -> RetryPolicy:
    """The same wait each time."""
    return RetryPolicy(initial_backoff=seconds, max_backoff=seconds, jitter_factor=0)


async def test_attempts_are_spaced_by_a_backoff_that_doubles_up_to_its_maximum() -> None:
    net = FakeNet("a")
    net.broker("a").mode = Mode.REFUSES
    async with pool_on(net, "seed", backoff=EXACT) as pool:
        pool.update({1: Broker(1, "a", 9092)})
        for _ in range(8):
            with pytest.raises(ConnectionFailedError):
                await pool.connection(1)
        times = net.broker("a").connected_at
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 0.8, 0.8])


async def test_the_backoff_is_not_paid_by_who_comes_after_it() -> None:
    net = FakeNet("a")
    net.broker("a").mode = Mode.REFUSES
    async with pool_on(net, "seed", backoff=EXACT) as pool:
        pool.update({1: Broker(1, "a", 9092)})
        with pytest.raises(ConnectionFailedError):
            await pool.connection(1)
        await anyio.sleep(10)
        net.broker("a").mode = Mode.UP
        began = anyio.current_time()
        await pool.connection(1)
        assert anyio.current_time() == began


async def test_connections_that_break_right_after_the_handshake_are_backed_off_more_and_more() -> None:
    net = FakeNet("a")
    broker = net.broker("a")
    async with pool_on(net, "seed", backoff=EXACT) as pool:
        pool.update({1: Broker(1, "a", 9092)})
        for _ in range(5):
            await pool.connection(1)
            broker.drop_connections()
            await net.until(lambda: broker.open_streams == 0)
        waits = [later - earlier for earlier, later in itertools.pairwise(broker.connected_at)]
        assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4])
        await pool.connection(1)
        await anyio.sleep(1)
        broker.drop_connections()
        await net.until(lambda: broker.open_streams == 0)
        await pool.connection(1)
        assert broker.connected_at[-1] - broker.connected_at[-2] == pytest.approx(1.05)


async def test_a_connection_that_nobody_used_leaves_no_backoff_and_no_error_behind() -> None:
    net = FakeNet("a")
    broker = net.broker("a")
    idle = 0.1
    async with pool_on(
        net, "seed", backoff=EXACT, options=ConnectionOptions(connections_max_idle=idle)
    ) as pool:
        pool.update({1: Broker(1, "a", 9092)})
        for _ in range(5):
            await pool.connection(1)
            await anyio.sleep(1.5 * idle)
            assert broker.open_streams == 0
            assert pool.last_error is None
        waits = [later - earlier for earlier, later in itertools.pairwise(broker.connected_at)]
        assert waits == pytest.approx([1.5 * idle] * 4)


async def test_an_address_that_stays_silent_does_not_hold_up_the_next() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = Mode.DROPS_PACKETS
    async with pool_on(net, "a", "b") as pool:
        waits = []
        for _ in range(6):
            began = anyio.current_time()
            connection = await pool.any_connection()
            waits.append(anyio.current_time() - began)
            assert connection.address == ("b", 9092)
            connection.close()
            await net.until(lambda: net.broker("b").open_streams == 0)
            await anyio.sleep(1)
        assert max(waits) <= NEXT_BROKER_AFTER + 0.01
        assert net.broker("a").connects == 1


async def test_a_failure_beside_a_silent_address_leads_to_the_next_at_once() -> None:
    net = FakeNet("a", "b", "c")
    net.broker("a").mode = Mode.DROPS_PACKETS
    net.broker("b").mode = Mode.REFUSES
    async with pool_on(net, "a", "b", "c") as pool:
        for _ in range(12):
            began = anyio.current_time()
            connection = await pool.any_connection()
            assert anyio.current_time() - began <= NEXT_BROKER_AFTER
            assert connection.address == ("c", 9092)
            connection.close()
            await net.until(lambda: net.broker("c").open_streams == 0)
            await anyio.sleep(1)
        assert net.broker("b").connects > 1


async def test_a_new_connection_waits_for_the_last_outcome_of_the_old() -> None:
    """Else requests sent on the new one could overtake the retries of those lost with the old one."""
    net = FakeNet("a")
    broker = net.broker("a")
    broker.hangs = True
    order: list[str] = []

    def lost(outcome: object, now: float) -> None:
        order.append("lost")

    async with pool_on(net, "seed", backoff=EXACT) as pool:
        pool.update({1: Broker(1, "a", 9092)})
        connection = await pool.connection(1)
        broker.streams[0].slow_close = 0.9
        await connection.send(MetadataRequest(), on_response=lost)
        connection.close("as the test wants it")
        await anyio.sleep(0.01)
        assert pool.usable(1) is None
        await pool.connection(1)
        order.append("connected")
    assert order == ["lost", "connected"]


async def test_addresses_in_backoff_come_last_and_their_reasons_are_kept() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = Mode.REFUSES
    async with pool_on(net, "a", "b", backoff=always(5)) as pool:
        pool.update({1: Broker(1, "a", 9092)})
        with pytest.raises(ConnectionFailedError):
            await pool.connection(1)
        began = anyio.current_time()
        connection = await pool.any_connection()
        assert connection.address == ("b", 9092)
        assert anyio.current_time() == began
        assert net.broker("a").connects == 1
        connection.close()
        net.broker("b").mode = Mode.REFUSES
        await anyio.sleep(3)
        with pytest.raises(ConnectionFailedError, match=r"a:9092: .*refused") as failure:
            await pool.any_connection()
        assert "b:9092" in str(failure.value)


async def test_when_all_are_in_backoff_the_first_to_leave_it_is_tried_first() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = net.broker("b").mode = Mode.REFUSES
    async with pool_on(net, "a", "b", backoff=always(2)) as pool:
        pool.update({1: Broker(1, "a", 9092), 2: Broker(2, "b", 9092)})
        for node_id in (1, 2):
            with pytest.raises(ConnectionFailedError):
                await pool.connection(node_id)
            await anyio.sleep(0.5)
        net.broker("a").mode = Mode.UP
        began = anyio.current_time()
        assert (await pool.any_connection()).address == ("a", 9092)
        assert anyio.current_time() - began == pytest.approx(1.0)
        assert net.broker("b").connects == 1


async def test_close_does_not_wait_for_backoffs() -> None:
    net = FakeNet("a")
    net.broker("a").mode = Mode.REFUSES
    async with pool_on(net, "a", backoff=always(60)) as pool:
        with pytest.raises(ConnectionFailedError):
            await pool.any_connection()
        async with anyio.create_task_group() as callers:
            callers.start_soon(pool.any_connection)
            await anyio.sleep(1)
            callers.cancel_scope.cancel()
        began = anyio.current_time()
        await pool.close()
        assert anyio.current_time() == began
