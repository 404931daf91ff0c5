"""The whole producer under spoilt answers: damage costs no record anything, lies end no more than records."""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from trio.testing import MockClock

from krafka import KafkaError, Producer, ProducerCrashedError
from krafka.testing import FakeCluster

from .hostile_streams import HostileConnector, Hostility

if TYPE_CHECKING:
    from krafka import Delivery

pytestmark = pytest.mark.anyio

TOPIC = "orders"
PARTITIONS = 4
RECORDS = 120
SEEDS_A_TEST = 5
HURRIED: dict[str, Any] = {
    "retry_backoff": 0.001,
    "retry_backoff_max": 0.01,
    "reconnect_backoff": 0.001,
    "reconnect_backoff_max": 0.01,
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, logger="krafka")


async def produce(
    cluster: FakeCluster, hostility: Hostility, random: Random, **options: Any
) -> list[tuple[int, Delivery]]:
    """Records to random partitions through spoilt answers, and what became of each; all is well in the end."""
    options = {
        "batch_size": random.choice([64, 200, 16384]),
        "max_in_flight": random.choice([1, 2, 5]),
        "linger": random.choice([0.0, 0.002]),
        **HURRIED,
        **options,
    }
    sent: list[tuple[int, Delivery]] = []
    connector = HostileConnector(cluster.connector, hostility)
    async with Producer(cluster.bootstrap, connector=connector, **options) as producer:
        for number in range(RECORDS):
            if random.random() < 0.2:
                await anyio.sleep(0.001 * random.random())
            partition = random.randrange(PARTITIONS)
            try:
                delivery = await producer.enqueue(TOPIC, b"%d" % number, partition=partition)
            except KafkaError as error:
                if hostility.damage_only or isinstance(error, ProducerCrashedError):
                    raise
            else:
                sent.append((partition, delivery))
        await producer.flush()
        for _, delivery in sent:
            assert delivery.done
        memory = producer._engine_or_none.accumulator.appender.available  # type: ignore[union-attr]
        assert memory == producer.config.buffer_memory
    return sent


def written(cluster: FakeCluster, partition: int) -> list[int]:
    """The numbers of a partition's records in the order of the log."""
    return [int(record.value or b"") for record in cluster.log(TOPIC, partition)]


async def damage(seed: int) -> int:
    random = Random(seed)
    hostility = Hostility(random, (0.1, 0.2, 0.4)[seed % 3], damage_only=True)
    async with FakeCluster(3, random=random) as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        sent = await produce(cluster, hostility, random)
        assert len(sent) == RECORDS
        logs = {partition: written(cluster, partition) for partition in range(PARTITIONS)}
    for numbers in logs.values():
        assert numbers == sorted(set(numbers)), "twice, or out of order"
    for number, (partition, delivery) in enumerate(sent):
        assert delivery.exception is None, f"record {number} failed: {delivery.exception!r}"
        assert delivery.metadata is not None
        assert delivery.metadata.offset in {logs[partition].index(number), -1}
    return hostility.spoilt


async def lies(seed: int) -> int:
    random = Random(seed)
    hostility = Hostility(random, random.choice([0.05, 0.2]), damage_only=False)
    async with FakeCluster(3, random=random) as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        began = anyio.current_time()
        sent = await produce(
            cluster, hostility, random, delivery_timeout=2.0, request_timeout=0.5, max_block=2.0
        )
        assert anyio.current_time() - began < RECORDS * 2.0 + 10
        for partition in range(PARTITIONS):
            assert set(written(cluster, partition)) <= set(range(RECORDS))
    for _, delivery in sent:
        assert (delivery.exception is None) != (delivery.metadata is None)
        assert not isinstance(delivery.exception, ProducerCrashedError)
    return hostility.spoilt


@pytest.mark.parametrize("first", range(0, 3 * SEEDS_A_TEST, SEEDS_A_TEST))
async def test_damaged_answers_cost_no_record_anything(first: int) -> None:
    spoilt = 0
    with anyio.fail_after(60):
        for seed in range(first, first + SEEDS_A_TEST):
            spoilt += await damage(seed)
    assert spoilt > SEEDS_A_TEST


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
)
async def test_answers_that_lie_end_no_more_than_records() -> None:
    """Each record has one outcome in its time, whatever brokers claim; a quota of weeks needs a clock that jumps."""
    spoilt = 0
    for seed in range(1000, 1000 + 4 * SEEDS_A_TEST):
        spoilt += await lies(seed)
    assert spoilt > SEEDS_A_TEST
