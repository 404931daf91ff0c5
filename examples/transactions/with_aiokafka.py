"""Reads orders with aiokafka and writes invoices with krafka, each exactly once, whatever ends it and when.

    python with_aiokafka.py BOOTSTRAP SOURCE TARGET GROUP WORKER

Start as many workers as the source has partitions, or fewer. WORKER is a worker's own name, which it keeps when it is
started again: it gets the same partitions back.

Each partition that a worker reads has a producer of its own, whose transactional id is the partition's. aiokafka does
not wait for the offsets of a transaction that is just ending: who gets a partition could read on from where it was
before that. The new producer ends it first, whosever it was, and only then is the offset asked for.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError

from krafka import ConsumerGroupMetadata, KafkaError, TransactionalProducer

if TYPE_CHECKING:
    from aiokafka import TopicPartition
    from aiokafka.structs import ConsumerRecord

BATCH = 100
POLL_MS = 1000


def transform(order: bytes | None) -> bytes:
    """What becomes of a record; a real program does its work here."""
    return b"invoice for " + (order or b"")


async def work(bootstrap: str, source: str, target: str, group_id: str, worker: str) -> None:
    """Work until cancelled, or until an error that only a new start or a person can help."""
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=group_id,
        group_instance_id=worker,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
    )
    async with consumer:
        while True:
            await work_until_rebalance(consumer, bootstrap, target)


async def work_until_rebalance(consumer: AIOKafkaConsumer, bootstrap: str, target: str) -> None:
    """Process what comes until the consumer's place in its group is another, then end all producers."""
    group = ConsumerGroupMetadata.of(consumer)
    producers: dict[TopicPartition, TransactionalProducer] = {}
    async with AsyncExitStack() as stack:
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
            if ConsumerGroupMetadata.of(consumer) != group:
                # These may be records of partitions that have just come, and have no producer yet.
                await rewind(consumer, *batches)
                return
            for partition, records in batches.items():
                if partition not in producers:
                    # It ends what whoever had the partition before left open. Then the committed offset is the last.
                    name = f"{group.group_id}-{partition.topic}-{partition.partition}"
                    producer = TransactionalProducer(bootstrap, transactional_id=name)
                    producers[partition] = await stack.enter_async_context(producer)
                    await rewind(consumer, partition)
                elif not await process(producers[partition], partition, records, target, group):
                    await rewind(consumer, partition)


async def process(
    producer: TransactionalProducer,
    partition: TopicPartition,
    records: list[ConsumerRecord[bytes, bytes]],
    target: str,
    group: ConsumerGroupMetadata,
) -> bool:
    """Write what becomes of the records, and that they were read, in one transaction; False if it was aborted."""
    try:
        async with producer.transaction():
            for record in records:
                await producer.enqueue(target, transform(record.value), key=record.key)
            await producer.send_offsets_to_transaction({partition: records[-1].offset + 1}, group)
    except KafkaError as error:
        # A rebalance that took the partition away, a broker that was too slow: nothing of it counts, so do it again.
        # Whoever is fenced has been replaced by another worker, and is not to begin again by itself.
        if error.is_fatal:
            raise
        print(f"aborted, and to be done again: {error}", file=sys.stderr)
        return False
    return True


async def rewind(consumer: AIOKafkaConsumer, *partitions: TopicPartition) -> None:
    """Read on from the committed offsets, as if nothing had been read since."""
    for partition in consumer.assignment().intersection(partitions):
        committed = await consumer.committed(partition)
        # A rebalance may take it away meanwhile. Who has it then begins where this would have.
        with suppress(IllegalStateError):
            if committed is None:
                await consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, committed)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
