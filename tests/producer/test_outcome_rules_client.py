"""What the producer does about every condition that it finds by itself is what the table of outcome rules says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from effects import Calls, connecting_in_vain
from faulty import HURRIED, TOPIC, causes, error_of, faulty

from krafka import AuthenticationError, Producer, ProducerCrashedError
from krafka._io.brokers import BrokerPool
from krafka._io.connection import Connection
from krafka._state.lives import BatchState, batch_state
from krafka._state.rules import CLIENT_RULES, Batch, Number, Rule, Written
from krafka.errors import CloseTimeoutError
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from krafka import Delivery, KafkaError

pytestmark = pytest.mark.anyio

SOON = 0.15
NEVER = 600.0
FAULTS: dict[str, dict[str, Any]] = {
    "the connection ended after the request was written, or a part of it": {"disconnect": True},
    "no answer came within `request_timeout`; the connection is closed": {"hold": True},
    "the answer is not what the protocol says; the connection is closed": {"correlation_id": 4242},
    "the answer leaves the partition out": {"edit": lambda response: response.responses.clear()},
}
UNWRITTEN = "the connection ended before the request was written"
UNREACHABLE = "there is no connection to the leader, and none can be opened"
CREDENTIALS = "the broker refuses the credentials"
VERSIONS = "the broker speaks no version of Produce that krafka does"
NEVER_SENT = "`delivery_timeout` passed before the batch was sent"
BETWEEN = "`delivery_timeout` passed while the batch waited to be sent again"
OVERDUE = "`delivery_timeout` passed while the batch was on the wire"
CLOSED_BEFORE = "the producer is closed, or its block left, before the batch was sent"
CLOSED_MIDWAY = "the producer is closed, or its block left, while the batch is on the wire"
CRASHED = "a background task of the producer failed, which is a bug"


class Doorman:
    """Connects to a cluster, or refuses to, as if the credentials were wrong."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.refuses = False

    async def connect(self, host: str, port: int) -> ByteStream:
        if self.refuses:
            raise AuthenticationError(f"{host}:{port} does not know this user")
        return await self.cluster.connect(host, port)


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: rules know no event loop, and every other test runs on each."""
    return "asyncio"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_every_condition_is_caused_here() -> None:
    assert set(CLIENT_RULES) == {
        *FAULTS,
        UNWRITTEN,
        UNREACHABLE,
        CREDENTIALS,
        VERSIONS,
        NEVER_SENT,
        BETWEEN,
        OVERDUE,
        CLOSED_BEFORE,
        CLOSED_MIDWAY,
        CRASHED,
    }


# -- what is sent again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [*FAULTS, UNWRITTEN])
async def test_an_answer_that_never_came_is_waited_for_again(
    condition: str, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = CLIENT_RULES[condition]
    async with faulty(request_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"before")
        strike(cluster, condition, monkeypatch)
        calls.counts.clear()
        assert (await producer.send(TOPIC, b"struck")).offset == 1
        assert bool(calls.counts["request_update"]) is rule.refreshes_metadata
    assert rule.batch in {Batch.RETRY, Batch.REFRESH_AND_RETRY}
    assert rule.number is Number.KEPT
    assert not calls.counts.keys() & {"refused", "lost", "out_of_order", "forgotten"}
    assert [(record.value, record.producer_epoch, record.sequence) for record in cluster.log(TOPIC)] == [
        (b"before", 0, 0),
        (b"struck", 0, 1),
    ]


@pytest.mark.parametrize("condition", [*FAULTS, UNWRITTEN])
async def test_without_retries_it_is_the_error_of_its_row(
    condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = CLIENT_RULES[condition]
    async with faulty(retries=0, request_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"before")
        strike(cluster, condition, monkeypatch)
        error = await error_of(await producer.enqueue(TOPIC, b"struck"))
        assert type(error) is rule.error
        assert error is not None
        assert error.possibly_written is rule.is_possibly_written()
        assert producer_goes_on(producer)


def strike(cluster: FakeCluster, condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if condition != UNWRITTEN:
        cluster.fail("Produce", **FAULTS[condition])
        return
    put = Connection.put

    def put_too_late(self: Connection, *request: Any) -> None:
        monkeypatch.setattr(Connection, "put", put)
        self.close("the test says so")
        put(self, *request)

    monkeypatch.setattr(Connection, "put", put_too_late)


def producer_goes_on(producer: Producer) -> bool:
    engine = producer._engine_or_none
    assert engine is not None
    return engine.failure is None


async def look_at_the_metadata(producer: Producer) -> None:
    """A new topic is what makes it look at once."""
    await producer.partitions_for("another")


async def test_without_a_connection_it_stays_in_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = CLIENT_RULES[UNREACHABLE]
    failed = connecting_in_vain(monkeypatch)
    async with faulty() as (cluster, producer):
        await producer.send(TOPIC, b"before")
        engine = producer._engine_or_none
        assert engine is not None
        cluster.stop_broker(1)
        await anyio.wait_all_tasks_blocked()
        delivery = await producer.enqueue(TOPIC, b"waiting")
        await failed.wait()
        (batch,) = engine.accumulator.incomplete
        assert batch_state(batch) in {BatchState.OPEN, BatchState.SEALED}
        assert rule.error in {type(cause) for cause in causes(batch.last_error or ValueError())}
        cluster.start_broker(1)
        assert (await delivery).offset == 1
    assert (rule.batch, rule.number) == (Batch.WAIT, Number.KEPT)
    assert {record.producer_epoch for record in cluster.log(TOPIC)} == {0}


# -- what ends a record ------------------------------------------------------------------------------------------------


def check_end(rule: Rule, error: KafkaError | None, calls: Calls, *, possibly_written: bool) -> None:
    """The error is its row's; where it says that an earlier attempt decides, it did."""
    assert error is not None
    assert type(error) is rule.error
    assert error.possibly_written is possibly_written
    assert rule.batch is Batch.FAIL
    if rule.written is not Written.EARLIER:
        assert rule.is_possibly_written() is possibly_written
    if rule.number in {Number.NONE, Number.HELD}:
        assert not calls.counts.keys() & {"refused", "lost"}
    elif rule.number is Number.UNRESOLVED:
        assert calls.counts["lost"] == 1


async def test_time_is_up_before_it_is_sent(calls: Calls) -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        cluster.move_leader(TOPIC, 0, to=-1)
        await look_at_the_metadata(producer)
        error = await error_of(await producer.enqueue(TOPIC, b"v"))
        check_end(CLIENT_RULES[NEVER_SENT], error, calls, possibly_written=False)
        assert producer_goes_on(producer)


@pytest.mark.parametrize(("code", "possibly_written"), [(19, False), (20, True)])
async def test_time_is_up_between_two_attempts(code: int, possibly_written: bool, calls: Calls) -> None:
    async with faulty(delivery_timeout=SOON, retry_backoff=NEVER, retry_backoff_max=NEVER) as (
        cluster,
        producer,
    ):
        cluster.fail("Produce", code=code)
        error = await error_of(await producer.enqueue(TOPIC, b"v"))
        check_end(CLIENT_RULES[BETWEEN], error, calls, possibly_written=possibly_written)
        assert producer_goes_on(producer)


async def test_time_is_up_while_the_answer_is_awaited(calls: Calls) -> None:
    async with faulty(delivery_timeout=SOON) as (cluster, producer):
        await producer.send(TOPIC, b"before")
        fault = cluster.fail("Produce", hold=True, after_append=True)
        error = await error_of(await producer.enqueue(TOPIC, b"v"))
        check_end(CLIENT_RULES[OVERDUE], error, calls, possibly_written=True)
        fault.release()
        assert (await producer.send(TOPIC, b"behind")).offset == 2
    assert [(record.producer_epoch, record.sequence) for record in cluster.log(TOPIC)] == [
        (0, 0),
        (0, 1),
        (0, 2),
    ]


async def close_soon(producer: Producer) -> None:
    with pytest.raises(CloseTimeoutError):
        await producer.close(timeout=SOON)


async def test_it_is_closed_before_it_is_sent(calls: Calls) -> None:
    rule = CLIENT_RULES[CLOSED_BEFORE]
    async with faulty() as (cluster, producer):
        cluster.move_leader(TOPIC, 0, to=-1)
        await look_at_the_metadata(producer)
        delivery = await producer.enqueue(TOPIC, b"v")
        await close_soon(producer)
        check_end(rule, await error_of(delivery), calls, possibly_written=False)
        assert rule.ends_producer is producer.closed


async def test_it_is_closed_while_the_answer_is_awaited(calls: Calls) -> None:
    rule = CLIENT_RULES[CLOSED_MIDWAY]
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", hold=True)
        delivery = await producer.enqueue(TOPIC, b"v")
        await close_soon(producer)
        check_end(rule, await error_of(delivery), calls, possibly_written=True)
        assert rule.ends_producer is producer.closed


async def test_a_bug_ends_it(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = CLIENT_RULES[CRASHED]

    def buggy(_pool: BrokerPool, _brokers: object) -> None:
        raise ZeroDivisionError

    delivery: Delivery | None = None
    with pytest.raises(ProducerCrashedError):
        async with faulty() as (cluster, producer):
            cluster.move_leader(TOPIC, 0, to=-1)
            await look_at_the_metadata(producer)
            delivery = await producer.enqueue(TOPIC, b"v")
            monkeypatch.setattr(BrokerPool, "update", buggy)
            await producer.partitions_for("a-third")
    assert delivery is not None
    check_end(rule, await error_of(delivery), calls, possibly_written=False)
    assert rule.ends_producer


async def test_refused_credentials_end_the_producer(calls: Calls) -> None:
    rule = CLIENT_RULES[CREDENTIALS]
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        doorman = Doorman(cluster)
        async with Producer(cluster.bootstrap, connector=doorman, **HURRIED) as producer:
            await producer.send(TOPIC, b"before")
            doorman.refuses = True
            cluster.drop_connections()
            await anyio.wait_all_tasks_blocked()
            error = await error_of(await producer.enqueue(TOPIC, b"v"))
            check_end(rule, error, calls, possibly_written=False)
            assert rule.ends_producer is not producer_goes_on(producer)


async def test_a_broker_without_a_common_version_ends_the_producer(calls: Calls) -> None:
    rule = CLIENT_RULES[VERSIONS]
    async with faulty(cluster={"api_versions": {"Produce": None}}, idempotent=False) as (_, producer):
        error = await error_of(await producer.enqueue(TOPIC, b"v"))
        check_end(rule, error, calls, possibly_written=False)
        assert rule.ends_producer is not producer_goes_on(producer)
