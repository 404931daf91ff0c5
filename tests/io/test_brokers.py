"""The broker pool: one connection per broker, shared, retried with backoff, and let go."""

from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from fake_net import FakeNet, Mode, pool_on

from krafka._io.brokers import BrokerPool
from krafka._io.connection import Connection, ConnectionOptions
from krafka._state.cluster import Broker
from krafka._wire.metadata import MetadataRequest
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    KafkaError,
    NetworkError,
    ProducerClosedError,
)
from krafka.retry import kafka_policy

pytestmark = pytest.mark.anyio


def nodes(**hosts: int) -> dict[int, Broker]:
    return {node_id: Broker(node_id, host, 9092) for host, node_id in hosts.items()}


async def test_the_second_bootstrap_server_is_used_when_the_first_is_dead() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = Mode.REFUSES
    async with pool_on(net, "a", "b") as pool:
        for _ in range(10):
            connection = await pool.any_connection()
            assert connection.address == ("b", 9092)
        assert net.broker("b").connects == 1
        assert pool.connections_created == 1


async def test_an_error_names_every_address_with_its_reason() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = net.broker("b").mode = Mode.REFUSES
    async with pool_on(net, "a", "b") as pool:
        with pytest.raises(ConnectionFailedError) as failure:
            await pool.any_connection()
        assert "TCP connect to a:9092 failed: connection refused" in str(failure.value)
        assert "TCP connect to b:9092 failed: connection refused" in str(failure.value)
        assert isinstance(failure.value.__cause__, ExceptionGroup)
        assert len(failure.value.__cause__.exceptions) == 2
        assert failure.value.is_retriable
        assert pool.last_error is not None
        assert pool.connect_failures == 2


async def test_callers_of_one_broker_share_one_connect() -> None:
    net = FakeNet("a")
    got: list[Connection] = []

    async def call(pool: BrokerPool) -> None:
        got.append(await pool.connection(1))

    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1))
        async with anyio.create_task_group() as callers:
            for _ in range(50):
                callers.start_soon(call, pool)
        assert len(got) == 50
        assert len(set(map(id, got))) == 1
        assert net.broker("a").connects == 1
        assert pool.usable(1) is got[0]
        assert got[0].node_id == 1


async def test_callers_of_one_broker_share_its_failure_as_errors_of_their_own() -> None:
    net = FakeNet("a")
    net.broker("a").mode = Mode.REFUSES
    errors: list[KafkaError] = []

    async def call(pool: BrokerPool) -> None:
        try:
            await pool.connection(1)
        except ConnectionFailedError as error:
            errors.append(error)

    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1))
        async with anyio.create_task_group() as callers:
            for _ in range(20):
                callers.start_soon(call, pool)
        assert len(set(map(id, errors))) == 20
        assert len({id(error.__cause__) for error in errors}) == 1
        assert "broker 1 at a:9092" in str(errors[0])
        assert net.broker("a").connects == 1
        node_error = pool.node_error(1)
        assert node_error is errors[0].__cause__


async def test_cancelling_a_caller_harms_neither_the_attempt_nor_the_others() -> None:
    net = FakeNet("a")
    net.broker("a").mode = Mode.DROPS_PACKETS
    outcomes: list[str] = []

    async def call(pool: BrokerPool, name: str) -> None:
        try:
            await pool.connection(1)
        except ConnectionFailedError:
            outcomes.append(name)

    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1))
        async with anyio.create_task_group() as others:
            others.start_soon(call, pool, "other")
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as impatient:
                    impatient.start_soon(call, pool, "impatient")
                    await wait_all_tasks_blocked()
                    scope.cancel()
            await wait_all_tasks_blocked()
            assert outcomes == []
            assert net.broker("a").connects == 1
            pool.update({})
        assert outcomes == ["other"]


async def test_a_caller_cancelled_alone_leaves_the_connection_for_the_next() -> None:
    net = FakeNet("a")
    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await pool.connection(1)
        assert scope.cancelled_caught
        assert (await pool.connection(1)).is_usable
        assert net.broker("a").connects == 1


async def test_usable_follows_the_life_of_the_connection() -> None:
    net = FakeNet("a")
    async with pool_on(net, "seed") as pool:
        assert pool.usable(1) is None
        pool.update(nodes(a=1))
        assert pool.usable(1) is None
        connection = await pool.connection(1)
        assert pool.usable(1) is connection
        net.broker("a").drop_connections()
        await wait_all_tasks_blocked()
        assert pool.usable(1) is None
        assert pool.connections_closed == 1
        assert isinstance(pool.node_error(1), NetworkError)
        replacement = await pool.connection(1)
        assert replacement is not connection
        assert pool.usable(1) is replacement
        assert pool.node_error(1) is None
        assert (pool.connections_created, pool.connections_closed) == (2, 1)


async def test_a_bootstrap_connection_becomes_the_node_of_its_address() -> None:
    net = FakeNet("a", "b")
    async with pool_on(net, "a") as pool:
        connection = await pool.any_connection()
        assert connection.node_id is None
        pool.update(nodes(a=1, b=2))
        assert pool.usable(1) is connection
        assert await pool.connection(1) is connection
        assert connection.node_id == 1
        assert net.broker("a").connects == 1


async def test_a_broker_that_is_not_known_is_an_error_naming_those_that_are() -> None:
    net = FakeNet("a", "b")
    async with pool_on(net, "a") as pool:
        pool.update(nodes(a=1, b=2))
        with pytest.raises(ConnectionFailedError, match=r"broker 9 .* \(known brokers: 1, 2\)"):
            await pool.connection(9)


async def test_a_broker_that_becomes_known_while_the_caller_is_held_back_is_used() -> None:
    net = FakeNet("a")
    async with pool_on(net, "seed", backoff=kafka_policy(30.0, 30.0)) as pool:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as others:
                others.start_soon(pool.connection, 1)
                await wait_all_tasks_blocked()
                pool.update(nodes(a=1))
        assert pool.usable(1) is not None


async def test_an_idle_connection_to_a_removed_broker_ends() -> None:
    net = FakeNet("a", "b")
    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1, b=2))
        await pool.connection(1)
        kept = await pool.connection(2)
        pool.update(nodes(b=2))
        await net.until(lambda: net.broker("a").open_streams == 0)
        assert pool.usable(1) is None
        assert pool.usable(2) is kept


async def test_a_connection_to_a_removed_broker_may_finish_what_is_under_way() -> None:
    net = FakeNet("a")
    broker = net.broker("a")
    broker.hangs = True
    answers = []

    async def ask(connection: Connection) -> None:
        answers.append(await connection.request(MetadataRequest()))

    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1))
        connection = await pool.connection(1)
        async with anyio.create_task_group() as callers:
            callers.start_soon(ask, connection)
            await net.until(lambda: bool(broker.unanswered))
            pool.update({})
            await wait_all_tasks_blocked()
            assert pool.usable(1) is None
            assert broker.open_streams == 1
            broker.answer_now()
        assert len(answers) == 1
        pool.update({})
        await net.until(lambda: broker.open_streams == 0)


async def test_a_broker_that_moved_is_connected_to_at_its_new_address() -> None:
    net = FakeNet("old", "new")
    async with pool_on(net, "seed") as pool:
        pool.update(nodes(old=1))
        await pool.connection(1)
        pool.update(nodes(new=1))
        assert pool.usable(1) is None
        assert (await pool.connection(1)).address == ("new", 9092)
        await net.until(lambda: net.broker("old").open_streams == 0)


async def test_any_connection_prefers_the_fewest_in_flight_and_avoids_the_throttled() -> None:
    net = FakeNet("a", "b", "c")
    net.broker("a").hangs = True
    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1, b=2, c=3))
        busy, throttled, free = [await pool.connection(node_id) for node_id in (1, 2, 3)]
        throttled.throttled_until = anyio.current_time() + 60
        async with anyio.create_task_group() as callers:
            callers.start_soon(busy.request, MetadataRequest())
            await net.until(lambda: bool(net.broker("a").unanswered))
            assert await pool.any_connection() is free
            assert await pool.any_connection(avoid=free) is busy
            net.broker("a").answer_now()
        assert net.broker("seed").connects == 0


async def test_a_connection_to_avoid_is_given_when_there_is_no_other() -> None:
    net = FakeNet("a")
    async with pool_on(net, "a") as pool:
        only = await pool.any_connection()
        assert await pool.any_connection(avoid=only) is only
        net.broker("b").mode = Mode.REFUSES
        pool.update(nodes(a=1, b=2))
        assert await pool.any_connection(avoid=only) is only
        assert net.broker("b").connects == 1


async def test_bootstrap_servers_are_tried_when_every_known_broker_fails() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = net.broker("b").mode = Mode.REFUSES
    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1, b=2))
        assert (await pool.any_connection()).address == ("seed", 9092)
        assert net.broker("a").connects == net.broker("b").connects == 1


async def test_known_brokers_come_before_bootstrap_servers() -> None:
    net = FakeNet("a")
    async with pool_on(net, "seed") as pool:
        await pool.any_connection()
        pool.update(nodes(a=1))
        node = await pool.connection(1)
        assert await pool.any_connection() is node


async def test_rebootstrap_connects_to_the_bootstrap_servers_anew() -> None:
    net = FakeNet("a")
    async with pool_on(net, "seed") as pool:
        first = await pool.any_connection()
        pool.update(nodes(a=1))
        node = await pool.connection(1)
        pool.rebootstrap()
        again = await pool.any_connection()
        assert again.address == ("seed", 9092)
        assert again is not first
        assert pool.usable(1) is node
        pool.update(nodes(a=1))
        assert await pool.any_connection() is node


async def test_rebootstrap_leaves_a_connection_that_has_requests_under_way() -> None:
    net = FakeNet()
    broker = net.broker("seed")
    broker.hangs = True
    async with pool_on(net, "seed") as pool:
        busy = await pool.any_connection()
        async with anyio.create_task_group() as callers:
            callers.start_soon(busy.request, MetadataRequest())
            await net.until(lambda: bool(broker.unanswered))
            pool.rebootstrap()
            assert await pool.any_connection() is busy
            broker.answer_now()
        assert broker.connects == 1


async def test_refused_credentials_are_raised_at_once_and_not_tried_elsewhere() -> None:
    net = FakeNet("a", "b")
    net.broker("a").mode = net.broker("b").mode = Mode.REFUSES_CREDENTIALS
    async with pool_on(net, "a", "b") as pool:
        with pytest.raises(AuthenticationError, match="refused the credentials"):
            await pool.any_connection()
        assert net.broker("a").connects + net.broker("b").connects == 1
        assert isinstance(pool.last_error, AuthenticationError)
        pool.update(nodes(a=1))
        with pytest.raises(AuthenticationError):
            await pool.connection(1)


async def test_close_ends_connections_and_attempts_and_tells_those_who_wait() -> None:
    net = FakeNet("a", "b")
    net.broker("b").mode = Mode.DROPS_PACKETS
    outcomes: list[str] = []

    async def call(pool: BrokerPool) -> None:
        try:
            await pool.connection(2)
        except ProducerClosedError as error:
            outcomes.append(str(error))

    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1, b=2))
        await pool.connection(1)
        async with anyio.create_task_group() as callers:
            callers.start_soon(call, pool)
            await net.until(lambda: net.broker("b").connects == 1)
            await pool.close()
        assert outcomes == ["the producer was closed while connecting to b:9092"]
        assert net.broker("a").open_streams == 0
        assert pool.last_error is None
        await pool.close()
        for call_again in (pool.any_connection(), pool.connection(1)):
            with pytest.raises(ProducerClosedError):
                await call_again


async def test_a_bug_in_a_connection_reaches_the_task_group_and_nobody_waits_for_ever() -> None:
    outcomes: list[KafkaError] = []

    def open_connection(address: tuple[str, int], node_id: int | None) -> Connection:
        raise ZeroDivisionError("a bug")

    async def call(pool: BrokerPool) -> None:
        try:
            await pool.any_connection()
        except ConnectionFailedError as error:
            outcomes.append(error)

    async with anyio.create_task_group() as callers:
        with pytest.raises(ExceptionGroup) as crash:
            async with anyio.create_task_group() as connections:
                pool = BrokerPool(
                    [("a", 9092)], open_connection, connections, backoff=kafka_policy(0.001, 0.002)
                )
                callers.start_soon(call, pool)
                await anyio.sleep_forever()
        assert crash.group_contains(ZeroDivisionError)
    assert len(outcomes) == 1


async def test_a_connection_that_idled_is_replaced_without_a_failed_request() -> None:
    net = FakeNet("a")
    async with pool_on(net, "seed") as pool:
        pool.update(nodes(a=1))
        idled = await pool.connection(1)
        idled.last_used -= 541
        assert pool.usable(1) is None
        fresh = await pool.connection(1)
        assert fresh is not idled
        assert fresh.is_usable
        await net.until(lambda: net.broker("a").open_streams == 1)
        assert pool.last_error is None


async def test_options_reach_the_connection() -> None:
    net = FakeNet("a")
    async with pool_on(net, "a", options=ConnectionOptions(client_id="billing")) as pool:
        await pool.any_connection()
        assert pool.addresses == ["a:9092"]
