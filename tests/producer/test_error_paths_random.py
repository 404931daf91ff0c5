"""Faults at random: whatever happens, an acknowledged record is in the log once, in order, where it was said to be."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty import HURRIED, TOPIC, error_of, numbers

from krafka import Producer
from krafka.testing import FakeCluster

if TYPE_CHECKING:
    from krafka import Delivery

pytestmark = pytest.mark.anyio

BROKERS = 3
PARTITIONS = 4
RECORDS = 240
PASSING_CODES = [2, 3, 5, 6, 7, 9, 13, 14, 15, 16, 19, 20, 51, 56, 72, 74, 75, 89, 100, 103]
AFTER_APPEND_CODES = [3, 6, 7, 20, 56]
FINAL_CODES = [-1, 10, 29, 32, 42, 44, 47, 76, 87, 4242]


def spoil(cluster: FakeCluster, random: Random, *, final: bool) -> None:
    """Let one thing go wrong soon."""
    skip = random.randrange(3)
    after = random.random() < 0.5
    options: dict[str, Any] = {"skip": skip, "after_append": after}
    if random.random() < 0.4:
        options |= {"topic": TOPIC, "partition": random.randrange(PARTITIONS)}
    what = random.randrange(8 if final else 7)
    if what == 0:
        cluster.fail("Produce", disconnect=True, **options)
    elif what == 1:
        codes = AFTER_APPEND_CODES if after else PASSING_CODES
        cluster.fail("Produce", code=random.choice(codes), times=random.randint(1, 3), **options)
    elif what == 2:
        cluster.fail("Produce", cut_at=random.randrange(40), **options)
    elif what == 3:
        cluster.fail("Produce", delay=0.001 * random.random(), **options)
    elif what == 4:
        to = random.randint(1, BROKERS)
        cluster.move_leader(TOPIC, random.randrange(PARTITIONS), to, propagate=random.random() < 0.7)
    elif what == 5:
        cluster.drop_connections(random.randint(1, BROKERS))
    elif what == 6:
        cluster.fail("Metadata", code=5, skip=skip)
    else:
        cluster.fail("Produce", code=random.choice(FINAL_CODES), **(options | {"after_append": False}))
    if random.random() < 0.3:
        cluster.propagate()


async def run(seed: int, *, final: bool) -> None:
    random = Random(seed)
    async with FakeCluster(BROKERS, random=random) as cluster:
        cluster.create_topic(TOPIC, PARTITIONS)
        sent: list[tuple[int, int, Delivery]] = []
        options: dict[str, Any] = {
            "batch_size": random.choice([64, 200, 16384]),
            "max_in_flight": random.choice([1, 2, 5]),
            "linger": random.choice([0.0, 0.002]),
        }
        with anyio.fail_after(60):
            async with Producer(cluster.bootstrap, connector=cluster, **{**HURRIED, **options}) as producer:
                for number in range(RECORDS):
                    if random.random() < 0.15:
                        spoil(cluster, random, final=final)
                    if random.random() < 0.2:
                        await anyio.sleep(0.001 * random.random())
                    partition = random.randrange(PARTITIONS)
                    delivery = await producer.enqueue(TOPIC, b"%d:" % number, partition=partition)
                    sent.append((number, partition, delivery))
                cluster.propagate()
                await producer.flush()
                for _, _, delivery in sent:
                    await error_of(delivery)
        await judge(cluster, sent, final=final)


async def judge(cluster: FakeCluster, sent: list[tuple[int, int, Delivery]], *, final: bool) -> None:
    for partition in range(PARTITIONS):
        records = cluster.log(TOPIC, partition)
        written = numbers(records)
        assert written == sorted(set(written)), "twice, or out of order"
        at = {number: record.offset for number, record in zip(written, records, strict=True)}
        for number, its_partition, delivery in sent:
            if its_partition != partition:
                continue
            if delivery.exception is None:
                assert delivery.metadata is not None
                assert number in at, "lost"
                assert delivery.metadata.offset in {at[number], -1}
            else:
                assert final, f"record {number} failed: {delivery.exception!r}"
                assert number not in at or delivery.exception.possibly_written


@pytest.mark.parametrize("seed", range(12))
async def test_passing_faults_lose_nothing(seed: int) -> None:
    await run(seed, final=False)


@pytest.mark.parametrize("seed", range(12))
async def test_refusals_fail_their_own_records_only(seed: int) -> None:
    await run(1000 + seed, final=True)
