"""Partitioners through a whole producer: where records come to lie on a cluster with a partition nobody leads."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty import TOPIC, faulty

import krafka
from krafka import (
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    UniformStickyPartitioner,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

PARTITIONS = 6
LEADERLESS = 3
RECORDS = 600
KEYS = [b"key %d" % number for number in range(60)]

LEAST_PARTITIONS = {
    DefaultPartitioner(): PARTITIONS - 1,
    RoundRobinPartitioner(): PARTITIONS - 1,
    StickyPartitioner(50): PARTITIONS - 1,
    HashPartitioner(): 1,
    UniformStickyPartitioner(): 3,
    ConsistentRandomPartitioner(): PARTITIONS - 1,
    Fnv1aPartitioner(): PARTITIONS - 1,
}
"""How many partitions records without a key come to, at least."""

EACH = pytest.mark.parametrize("partitioner", LEAST_PARTITIONS, ids=repr)


@EACH
async def test_records_without_a_key_go_where_somebody_leads(partitioner: Any) -> None:
    async with faulty(3, PARTITIONS, ready=False, partitioner=partitioner, batch_size=2000) as (
        cluster,
        producer,
    ):
        cluster.move_leader(TOPIC, LEADERLESS, -1)
        deliveries = [await producer.enqueue(TOPIC, b"v" * 50) for _ in range(RECORDS)]
        placed = Counter([(await delivery).partition for delivery in deliveries])
        result = await producer.send_many(TOPIC, [b"v" * 50] * RECORDS)
        placed.update(metadata.partition for metadata in result)
        assert LEADERLESS not in placed
        assert len(placed) >= LEAST_PARTITIONS[partitioner]
        assert placed == {n: len(cluster.log(TOPIC, n)) for n in range(PARTITIONS) if cluster.log(TOPIC, n)}
        assert placed.total() == 2 * RECORDS


@EACH
async def test_records_with_a_key_go_where_it_says(partitioner: Any) -> None:
    async with faulty(3, PARTITIONS, partitioner=partitioner) as (_, producer):
        deliveries = [await producer.enqueue(TOPIC, b"v", key=key) for key in KEYS]
        placed = [(await delivery).partition for delivery in deliveries]
        records = [krafka.ProducerRecord(TOPIC, b"v", key=key) for key in KEYS]
        placed += [metadata.partition for metadata in await producer.send_many(records)]
    assert placed == [partitioner.partition(TOPIC, key, PARTITIONS) for key in KEYS * 2]


@pytest.mark.parametrize("partitioner", [StickyPartitioner(), UniformStickyPartitioner()], ids=repr)
async def test_a_partition_that_loses_its_leader_is_left_by_who_stays_there(partitioner: Any) -> None:
    async with faulty(3, PARTITIONS, partitioner=partitioner) as (cluster, producer):
        at = (await producer.send(TOPIC, b"v")).partition
        assert (await producer.send(TOPIC, b"v")).partition == at
        cluster.move_leader(TOPIC, at, -1)
        # By what is sent there the producer finds out. It waits for a leader, and nothing else does.
        stuck = await producer.enqueue(TOPIC, b"stuck", partition=at)
        while (moved := await producer.enqueue(TOPIC, b"v")).partition == at:
            await anyio.lowlevel.checkpoint()
        assert (await moved).partition != at
        assert not stuck.done
        cluster.move_leader(TOPIC, at, 1)
        assert (await stuck).partition == at


async def test_a_broker_that_does_not_answer_gets_less() -> None:
    async with faulty(2, 2, partitioner=UniformStickyPartitioner(), batch_size=1000) as (cluster, producer):
        held = cluster.fail("Produce", broker=cluster.leader(TOPIC, 0), hold=True)
        deliveries = []
        for _ in range(200):
            batch = [await producer.enqueue(TOPIC, b"v" * 100) for _ in range(9)]
            deliveries += batch
            for delivery in batch:
                if delivery.partition == 1:
                    await delivery
        held.release()
        placed = Counter([(await delivery).partition for delivery in deliveries])
    assert placed.total() == 1800
    assert placed[1] > 3 * placed[0] > 0


async def test_a_partitioner_of_ones_own_is_shown_the_record() -> None:
    class ByRegion:
        """Records of a region to its partition, the others where somebody leads."""

        def partition_record(
            self, record: krafka.ProducerRecord, available: Sequence[int], partition_count: int
        ) -> int:
            region = dict(record.headers).get("region")
            return available[-1] if region is None else int(region) % partition_count

    async with faulty(3, PARTITIONS, ready=False, partitioner=ByRegion()) as (cluster, producer):
        cluster.move_leader(TOPIC, PARTITIONS - 1, -1)
        assert (await producer.send(TOPIC, b"v", headers={"region": b"8"})).partition == 2
        assert (await producer.send(TOPIC, b"v")).partition == PARTITIONS - 2
        records = [krafka.ProducerRecord(TOPIC, b"v", headers=[("region", b"%d" % n)]) for n in range(3)]
        records.append(krafka.ProducerRecord(TOPIC, b"v", headers=[("region", b"nowhere")]))
        result = await producer.send_many(records)
        assert [result[n].partition for n in range(3)] == [0, 1, 2]
        ((index, error),) = result.failed
        assert index == 3
        assert isinstance(error, krafka.RecordValidationError)
        assert "partitioner ByRegion failed for a record of topic 'orders': ValueError" in str(error)
