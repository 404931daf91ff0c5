"""A producer and its connections take the steps of their tables: no other is ever seen, and each is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from effects import connecting_in_vain
from faulty import HURRIED, TOPIC, error_of

from krafka import ClusterAuthorizationFailedError, Producer, ProducerClosedError, ProducerCrashedError
from krafka._io.brokers import BrokerPool
from krafka._io.connection import Connection, ConnectionOptions
from krafka._io.engine import Engine
from krafka._state.lives import CONNECTION_LIFE, PRODUCER_LIFE, ConnectionState, ProducerState, State, Step
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.anyio


def producer_state(producer: Producer) -> ProducerState:
    engine = producer._engine_or_none
    if engine is None:
        return ProducerState.CLOSED if producer._closing else ProducerState.NEW
    if producer._finished.is_set():
        return ProducerState.CLOSED
    if engine.failure is not None:
        return ProducerState.FAILED
    return ProducerState.CLOSING if producer._closing else ProducerState.OPEN


def connection_state(connection: Connection) -> ConnectionState:
    if connection.close_reason is not None:
        return ConnectionState.CLOSED
    if connection.versions is not None:
        return ConnectionState.OPEN
    if connection._stream is not None:
        return ConnectionState.SHAKING_HANDS
    return ConnectionState.CONNECTING if connection._running else ConnectionState.NEW


def listed(life: Iterable[Step]) -> set[tuple[State | None, State]]:
    return {(before, step.after) for step in life for before in step.before or (None,)}


class Watcher:
    """Looks whenever an attribute of a producer, its engine or a connection is set, and keeps the steps it saw."""

    def __init__(self) -> None:
        self.steps: set[tuple[State | None, State]] = set()
        self._producers: dict[Producer, State | None] = {}
        self._connections: dict[Connection, State | None] = {}

    def look(self, item: object) -> None:
        if isinstance(item, Producer):
            self._producers.setdefault(item, None)
        elif isinstance(item, Connection):
            self._connections.setdefault(item, None)
            self._note(self._connections, item, connection_state(item))
        for producer in self._producers:
            if hasattr(producer, "_calls_since_yield"):
                self._note(self._producers, producer, producer_state(producer))

    def _note(self, known: dict[Any, State | None], item: object, state: State) -> None:
        if known[item] is not state:
            self.steps.add((known[item], state))
            known[item] = state


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Watcher:
    watcher = Watcher()

    def set_and_look(self: object, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if not isinstance(self, Connection) or hasattr(self, "_bug"):
            watcher.look(self)

    for owner in (Producer, Engine, Connection):
        monkeypatch.setattr(owner, "__setattr__", set_and_look, raising=False)
    return watcher


async def refused_for_good(cluster: FakeCluster, options: dict[str, Any], *, closing: bool) -> None:
    """What ends the producer comes while it is open, or while it waits for its records' outcomes."""
    async with Producer(cluster.bootstrap, **options) as producer:
        await producer.partitions_for(TOPIC)
        fault = cluster.fail("Produce", code=ClusterAuthorizationFailedError, hold=True)
        delivery = await producer.enqueue(TOPIC, b"v")
        async with anyio.create_task_group() as task_group:
            await fault.struck()
            if closing:
                task_group.start_soon(producer.close)
                await anyio.wait_all_tasks_blocked()
            fault.release()
            assert isinstance(await error_of(delivery), ClusterAuthorizationFailedError)


async def crash(cluster: FakeCluster, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(self: BrokerPool, _brokers: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched, pytest.raises(ProducerCrashedError):
        async with Producer(cluster.bootstrap, **options) as producer:
            await producer.partitions_for(TOPIC)
            patched.setattr(BrokerPool, "update", buggy)
            await producer.partitions_for("another")


async def test_a_producer_takes_the_steps_of_the_table_and_no_others(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        options = {**HURRIED, "connector": cluster.connector}
        with anyio.fail_after(20):
            async with Producer(cluster.bootstrap, **options) as producer:
                await producer.send(TOPIC, b"v")
            await refused_for_good(cluster, options, closing=False)
            await refused_for_good(cluster, options, closing=True)
            with pytest.raises(LookupError):
                async with Producer(cluster.bootstrap, close_timeout=0, **options) as producer:
                    await producer.send(TOPIC, b"v")
                    raise LookupError
            await crash(cluster, options, monkeypatch)
            unopened = Producer(cluster.bootstrap, **options)
            await unopened.close()
            with pytest.raises(ProducerClosedError, match="before it was opened"):
                async with unopened:
                    pytest.fail("a closed producer was opened")
    seen = {step for step in watcher.steps if isinstance(step[1], ProducerState)}
    assert seen == listed(PRODUCER_LIFE)


async def test_a_connection_takes_the_steps_of_the_table_and_no_others(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = connecting_in_vain(monkeypatch)
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        options = {**HURRIED, "connector": cluster.connector}
        with anyio.fail_after(20):
            async with Producer(cluster.bootstrap, **options) as producer:
                await producer.send(TOPIC, b"v")
                cluster.fail("Produce", disconnect=True)
                await producer.send(TOPIC, b"w")
                cluster.stop_broker(1)
                cluster.fail("ApiVersions", disconnect=True, times=2)
                delivery = await producer.enqueue(TOPIC, b"x")
                await failed.wait()
                cluster.start_broker(1)
                await delivery
            connection = Connection(("nowhere", 1), cluster.connector, ConnectionOptions())
            connection.close()
    seen = {step for step in watcher.steps if isinstance(step[1], ConnectionState)}
    assert seen == listed(CONNECTION_LIFE)
