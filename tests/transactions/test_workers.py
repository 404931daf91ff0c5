"""The programs of `examples/transactions`: each record is transformed exactly once, however often they are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from krafka import TransactionalProducer

from .workers import EXAMPLES, MARK, Run, find_violations

if TYPE_CHECKING:
    from pathlib import Path

    from krafka.testing import KafkaCluster

PROGRAMS = sorted(path.name for path in EXAMPLES.glob("*.py"))
SECONDS = 60.0
UNSTABLE_SECONDS = 2.0
SENT = {b"k": [b"1", b"2"], b"l": [b"3"]}


def written(*values: bytes, key: bytes | None = b"k") -> list[tuple[bytes | None, bytes | None]]:
    return [(key, MARK + value) for value in values]


def test_there_is_a_program_for_each_consumer() -> None:
    assert PROGRAMS == ["with_aiokafka.py", "with_confluent_kafka.py"]


@pytest.mark.parametrize(
    ("found", "violations"),
    [
        (written(b"1", b"2") + written(b"3", key=b"l"), []),
        (written(b"3", key=b"l") + written(b"1", b"2"), []),
        (written(b"1") + written(b"3", key=b"l"), ["b'invoice for 2' of b'k' -1"]),
        (written(b"1", b"2", b"2") + written(b"3", key=b"l"), ["b'invoice for 2' of b'k' +1"]),
        (written(b"2", b"1") + written(b"3", key=b"l"), ["b'k' is out of order"]),
        (
            written(b"1", b"2") + written(b"3", key=b"l") + written(b"4", key=None),
            ["b'invoice for 4' of None +1"],
        ),
    ],
)
def test_the_judge(found: list[tuple[bytes | None, bytes | None]], violations: list[str]) -> None:
    assert find_violations(SENT, found) == violations


@pytest.mark.kafka
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("program", "on_trio"),
    [
        pytest.param("with_aiokafka.py", False, id="aiokafka-asyncio"),
        pytest.param("with_confluent_kafka.py", False, id="confluent-asyncio"),
        pytest.param("with_confluent_kafka.py", True, id="confluent-trio"),
    ],
)
async def test_killed_workers(
    kafka: KafkaCluster, program: str, on_trio: bool, kills: int, seed: int, tmp_path: Path
) -> None:
    name = f"{program.removesuffix('.py')}-{on_trio}-{seed}"
    run = Run(kafka, name, EXAMPLES / program, tmp_path, seed, on_trio=on_trio)
    print(await run.run(kills))


# -- why the programs differ -----------------------------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_offsets_of_a_transaction_that_is_not_over(kafka: KafkaCluster, kafka_topic: str) -> None:
    """confluent-kafka waits for them; aiokafka gives those from before, behind which records are processed already."""
    group = kafka_topic
    partition = TopicPartition(kafka_topic, 0)
    async with TransactionalProducer(kafka.bootstrap, transactional_id=kafka_topic) as producer:
        async with producer.transaction():
            await producer.send(kafka_topic, b"first", partition=0)
            await producer.send_offsets_to_transaction({partition: 1}, group)
        async with producer.transaction():
            await producer.send(kafka_topic, b"second", partition=0)
            await producer.send_offsets_to_transaction({partition: 2}, group)
            consumer = AIOKafkaConsumer(
                bootstrap_servers=kafka.bootstrap, group_id=group, isolation_level="read_committed"
            )
            async with consumer:
                assert await consumer.committed(partition) == 1
            with pytest.raises(confluent_kafka.KafkaException):
                await anyio.to_thread.run_sync(committed, kafka, group, UNSTABLE_SECONDS)
        assert await anyio.to_thread.run_sync(committed, kafka, group, SECONDS) == 2


def committed(kafka: KafkaCluster, group: str, seconds: float) -> int:
    """The offset that confluent-kafka is told; the topic has the group's name."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    try:
        (found,) = consumer.committed([confluent_kafka.TopicPartition(group, 0)], seconds)
    finally:
        consumer.close()
    return int(found.offset)
