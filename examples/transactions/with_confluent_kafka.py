"""Reads orders with confluent-kafka and writes invoices with krafka, each exactly once, whatever ends it and when.

    python with_confluent_kafka.py BOOTSTRAP SOURCE TARGET GROUP WORKER

Start as many workers as the source has partitions, or fewer. WORKER is a worker's own name, which it keeps when it is
started again: it gets the same partitions back, and the transaction that its predecessor left open is aborted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from krafka import ConsumerGroupMetadata, KafkaError, TransactionalProducer

if TYPE_CHECKING:
    from confluent_kafka import Message

BATCH = 100
POLL_SECONDS = 1.0
SECONDS = 30.0


def transform(order: bytes | None) -> bytes:
    """What becomes of a record; a real program does its work here."""
    return b"invoice for " + (order or b"")


async def work(bootstrap: str, source: str, target: str, group_id: str, worker: str) -> None:
    """Work until cancelled, or until an error that only a new start or a person can help."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group_id,
            "group.instance.id": worker,
            # Committed records only, and committed offsets only: it waits for those of a transaction that is ending.
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
    )
    try:
        # The producer comes first: it ends what its predecessor left open before any offset is asked for.
        async with TransactionalProducer(bootstrap, transactional_id=f"{group_id}-{worker}") as producer:
            consumer.subscribe([source])
            while True:
                # Taken before the poll: a rebalance during the poll makes it too old, which the broker notices.
                group = ConsumerGroupMetadata.of(consumer)
                messages = await anyio.to_thread.run_sync(consumer.consume, BATCH, POLL_SECONDS)
                records = [message for message in messages if read(message)]
                if not records:
                    continue
                if group.is_member and await process(producer, records, target, group):
                    continue
                await anyio.to_thread.run_sync(rewind, consumer, records)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(consumer.close)


def read(message: Message) -> bool:
    """Whether it is a record; an error that the consumer cannot help is raised."""
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise KafkaException(error)
    return False


async def process(
    producer: TransactionalProducer, records: list[Message], target: str, group: ConsumerGroupMetadata
) -> bool:
    """Write what becomes of the records, and that they were read, in one transaction; False if it was aborted."""
    offsets: dict[tuple[str, int], int] = {}
    try:
        async with producer.transaction():
            for record in records:
                await producer.enqueue(target, transform(record.value()), key=record.key())
                offsets[record.topic(), record.partition()] = record.offset() + 1
            await producer.send_offsets_to_transaction(offsets, group)
    except KafkaError as error:
        # A rebalance that took partitions away, a broker that was too slow: nothing of it counts, so do it again.
        if error.is_fatal:
            raise
        print(f"aborted, and to be done again: {error}", file=sys.stderr)
        return False
    return True


def rewind(consumer: Consumer, records: list[Message]) -> None:
    """Read the partitions of these records on from the committed offsets, as if nothing had been read since."""
    read_from = {(record.topic(), record.partition()) for record in records}
    lost = [each for each in consumer.assignment() if (each.topic, each.partition) in read_from]
    if lost:
        for each in consumer.committed(lost, SECONDS):
            offset = each.offset if each.offset >= 0 else OFFSET_BEGINNING
            consumer.seek(TopicPartition(each.topic, each.partition, offset))


if __name__ == "__main__":
    anyio.run(work, *sys.argv[1:])
