"""A real cluster whose brokers and connections fail all the time: what the producer reported is what the log says."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka import (
    BufferTimeoutError,
    CloseTimeoutError,
    DeliveryTimeoutError,
    KafkaError,
    Producer,
    ProducerClosedError,
)

from .brokers import heal, kill_all, kill_by_turns, pause_by_turns, revive, roll
from .faulty_streams import ChaosConnector, Fate
from .invariants import Outcome, Tally, check
from .workload import Workload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]
logger = logging.getLogger("chaos")

PARTITIONS = 6
PACE_SECONDS = 25.0
"""In which time `--chaos-records` are sent."""
TEST_SECONDS = 300.0
SLACK_SECONDS = 5.0
"""How late a promise about time may be kept on a machine that has much else to do."""
BUFFER_MEMORY = 8 * 2**20

ASYNCIO = pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio")
UVLOOP = pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")
TRIO = pytest.param(("trio", {}), id="trio")


@dataclass
class Storm:
    """One run: a cluster, a topic, a seed, and in the end how many records ended how."""

    kafka: KafkaCluster
    topic: str
    seed: int
    records: int
    rate: float
    connector: ChaosConnector | None = None
    options: dict[str, Any] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self, *faults: Callable[[KafkaCluster, Random], Awaitable[object]]) -> Tally:
        """Send records while the faults happen, one after the other; then hold what was told against the log."""
        random = Random(self.seed)
        with anyio.fail_after(TEST_SECONDS):
            async with leaves_nothing_behind(), self.producer() as producer:
                workload = Workload(
                    producer,
                    self.topic,
                    partitions=PARTITIONS,
                    records=self.records,
                    rate=self.rate,
                    random=Random(self.seed + 1),
                )
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(workload.run)
                    for fault in faults:
                        await fault(self.kafka, random)
                    workload.finish()
                outcomes = workload.outcomes
            assert len(outcomes) == workload.sent
            return await self.judge(outcomes)

    async def judge(self, outcomes: list[Outcome]) -> Tally:
        """Hold what was told against the log, as librdkafka reads it from a cluster that is whole again."""
        await heal(self.kafka, self.topic)
        log = await self.kafka.read(self.topic, timeout=120)
        result = check(outcomes, log, context=f"with seed {self.seed}, options {self.options}")
        logger.info(
            "%s, faults met: %s", result, None if self.connector is None else dict(self.connector.met)
        )
        return result

    @asynccontextmanager
    async def producer(self) -> AsyncGenerator[Producer]:
        """A producer of this run; in the end its memory has to be all there."""
        options = {
            "buffer_memory": BUFFER_MEMORY,
            "reconnect_backoff": 0.02,
            "reconnect_backoff_max": 0.2,
            "request_timeout": 4.0,
            "connect_timeout": 3.0,
            **self.options,
        }
        async with AsyncExitStack() as stack:
            if self.connector is not None:
                await stack.enter_async_context(self.connector.running())
            producer = Producer(self.kafka.bootstrap, connector=self.connector, **options)
            yield await stack.enter_async_context(producer)
        assert available_memory(producer) == BUFFER_MEMORY
        logger.info("the producer came to epoch %s", producer_epoch(producer))


def available_memory(producer: Producer) -> int:
    """Bytes of a producer's budget that nothing holds."""
    engine = producer._engine_or_none
    assert engine is not None
    return engine.accumulator.memory.available


def producer_epoch(producer: Producer) -> int:
    """How often the numbering of a producer's records had to start over."""
    engine = producer._engine_or_none
    assert engine is not None
    assert engine.accumulator.sequences is not None
    return engine.accumulator.sequences.producer_epoch


def drawn_options(seed: int) -> dict[str, Any]:
    """How a producer batches and pipelines, different for every seed."""
    random = Random(seed)
    return {
        "batch_size": random.choice([2_000, 8_000, 16_384]),
        "linger": random.choice([0.0, 0.0, 0.01]),
        "max_in_flight": random.choice([2, 3, 5, 5]),
    }


@asynccontextmanager
async def leaves_nothing_behind() -> AsyncGenerator[None]:
    """Fails if tasks were started inside that have not ended."""
    before = {task.id for task in anyio.get_running_tasks()}
    yield
    left = [task for task in anyio.get_running_tasks() if task.id not in before]
    assert not left


@pytest.fixture
def storm(kafka: KafkaCluster, kafka_topic: str, chaos_seed: int, chaos_records: int) -> Storm:
    return Storm(kafka, kafka_topic, chaos_seed, chaos_records // 8, chaos_records / PACE_SECONDS)


# -- one kind of fault: with time enough to deliver, everything is delivered -----------------------------------


@pytest.mark.parametrize(
    ("anyio_backend", "compression"),
    [
        pytest.param(*ASYNCIO.values, "none", id="asyncio-none"),
        pytest.param(*TRIO.values, "zstd", id="trio-zstd"),
    ],
)
async def test_connections_that_break(storm: Storm, compression: str) -> None:
    storm.connector = ChaosConnector(storm.seed)
    storm.options = {"compression": compression, "request_timeout": 1.5, **drawn_options(storm.seed)}
    result = await storm.run()
    assert result.failed == 0
    assert len(storm.connector.met) >= len(Fate) // 2


@pytest.mark.parametrize("anyio_backend", [TRIO])
async def test_killed_brokers(storm: Storm) -> None:
    result = await storm.run(kill_by_turns)
    assert result.failed == 0


@pytest.mark.parametrize("anyio_backend", [UVLOOP])
async def test_hung_brokers(storm: Storm) -> None:
    storm.options = {"compression": "lz4"}
    result = await storm.run(pause_by_turns)
    assert result.failed == 0


@pytest.mark.parametrize("anyio_backend", [TRIO])
async def test_rolled_brokers(storm: Storm) -> None:
    storm.options = {"compression": "snappy", "linger": 0.02}
    result = await storm.run(roll)
    assert result.failed == 0


# -- everything at once, and little time -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("anyio_backend", "compression"),
    [
        pytest.param(*TRIO.values, "none", id="trio-none"),
        pytest.param(*ASYNCIO.values, "lz4", id="asyncio-lz4"),
    ],
)
async def test_everything_at_once(storm: Storm, compression: str, chaos_records: int) -> None:
    storm.connector = ChaosConnector(storm.seed)
    # Short enough that some batches end with their fate unknown, from which the numbering has to recover.
    storm.options = {
        "compression": compression,
        "delivery_timeout": 4.0,
        "max_block": 3.0,
        "request_timeout": 1.5,
        **drawn_options(storm.seed),
    }
    storm.records = chaos_records
    result = await storm.run(kill_by_turns, pause_by_turns, roll)
    # How many depends on the machine: where it is busy, few make it within their time. Some have to.
    assert result.acknowledged > chaos_records // 50


# -- a cluster that is away ------------------------------------------------------------------------------------


AWAY_SECONDS = 12.0
"""Longer than a request may take, a connection, and all pauses between attempts together."""


@pytest.mark.parametrize("anyio_backend", [ASYNCIO])
async def test_a_cluster_away_for_a_while(storm: Storm) -> None:
    async def away(kafka: KafkaCluster, random: Random) -> None:
        await anyio.sleep(2)
        await kill_all(kafka)
        await anyio.sleep(AWAY_SECONDS)
        await revive(kafka)

    # What is enqueued meanwhile has to fit, so that nobody waits for memory.
    storm.rate = min(storm.rate, 1_000)
    storm.records = min(storm.records, 15_000)
    storm.options = {"delivery_timeout": 90.0}
    result = await storm.run(away)
    assert result.failed == 0
    assert result.unplaced == 0


@pytest.mark.parametrize("anyio_backend", [TRIO])
async def test_a_cluster_that_stays_away(storm: Storm) -> None:
    storm.options = {"delivery_timeout": 5.0, "max_block": 3.0, "request_timeout": 1.5}
    outcomes: list[Outcome] = []
    waits: list[float] = []

    async def send(producer: Producer, caller: int, number: int, partition: int) -> KafkaError | None:
        value = b"%d %d " % (caller, number) + b"x" * 1000
        entered = anyio.current_time()
        metadata, error = None, None
        try:
            metadata = await producer.send(storm.topic, value, partition=partition)
        except KafkaError as raised:
            error = raised
        waits.append(anyio.current_time() - entered)
        outcomes.append(Outcome(value, None, partition, caller, number, metadata, error))
        return error

    async def send_until_closed(producer: Producer, caller: int) -> None:
        numbers = count()
        while not isinstance(
            await send(producer, caller, next(numbers), caller % (PARTITIONS - 1)), ProducerClosedError
        ):
            pass

    with anyio.fail_after(TEST_SECONDS):
        async with (
            leaves_nothing_behind(),
            storm.producer() as producer,
            anyio.create_task_group() as callers,
        ):
            for caller in range(100):
                callers.start_soon(send_until_closed, producer, caller)
            assert await send(producer, 100, 0, PARTITIONS - 1) is None
            await kill_all(storm.kafka)
            assert isinstance(await send(producer, 100, 1, PARTITIONS - 1), DeliveryTimeoutError)
            assert isinstance(await send(producer, 100, 2, PARTITIONS - 1), DeliveryTimeoutError)
            # A partition of its own, so that this record has all its time before it when the closing begins.
            delivery = producer.enqueue_nowait(storm.topic, b"too late", partition=PARTITIONS - 1)
            began = anyio.current_time()
            with pytest.raises(CloseTimeoutError, match="1 s"):
                await producer.close(timeout=1.0)
            assert anyio.current_time() - began < 1.0 + SLACK_SECONDS
            outcomes.append(Outcome(b"too late", None, PARTITIONS - 1, 100, 3, None, delivery.exception))
        result = await storm.judge(outcomes)
    assert max(waits) < 5.0 + SLACK_SECONDS
    assert result.failed >= 200
    told = {type(outcome.error) for outcome in outcomes}
    assert told <= {type(None), DeliveryTimeoutError, BufferTimeoutError, ProducerClosedError}
    assert isinstance(delivery.exception, ProducerClosedError)
    assert not delivery.exception.possibly_written
