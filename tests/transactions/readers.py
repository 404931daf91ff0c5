"""What other clients and Kafka's own tools see of a cluster's transactions once all of them are over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as AiokafkaPartition
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from krafka.testing._startup import run_tool

from .judge import Evidence, Log, PartitionEnd, Place, log_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from krafka.testing import KafkaCluster

SECONDS = 120.0
SETTLE_SECONDS = 60.0
TRANSACTIONS_TOOL = "org.apache.kafka.tools.TransactionsCommand"
FINISHED = {"Empty", "CompleteCommit", "CompleteAbort"}


async def gather(kafka: KafkaCluster, topics: Sequence[str]) -> Evidence:
    """Read everything, committed and not, by librdkafka and by aiokafka, and ask Kafka's tools what is still open.

    Waits for markers, which brokers write after they have said that a transaction is over. The two readers of
    committed records have to agree.
    """
    ends = await settled_ends(kafka, topics)
    committed = log_of({topic: await kafka.read(topic, isolation="read_committed") for topic in topics})
    everything = log_of({topic: await kafka.read(topic) for topic in topics})
    again = await anyio.to_thread.run_sync(lambda: asyncio.run(_read_by_aiokafka(kafka.bootstrap, ends)))
    assert again == committed, _differences(again, committed)
    return Evidence(committed, everything, ends, await unfinished(kafka))


async def settled_ends(kafka: KafkaCluster, topics: Sequence[str]) -> list[PartitionEnd]:
    """The ends of all partitions as soon as no transaction is open in any, or after a minute as they are."""
    ends: list[PartitionEnd] = []
    with anyio.move_on_after(SETTLE_SECONDS):
        while not ends or any(end.last_stable_offset < end.high_watermark for end in ends):
            ends = await anyio.to_thread.run_sync(partition_ends, kafka, topics)
            await anyio.sleep(0.1)
    return ends


def partition_ends(kafka: KafkaCluster, topics: Iterable[str]) -> list[PartitionEnd]:
    """How far each partition goes, and how far its readers of committed records get, as librdkafka is told."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    partitions = [
        TopicPartition(topic, partition) for topic in topics for partition in kafka.sync.leaders(topic)
    ]
    found: dict[IsolationLevel, dict[tuple[str, int], int]] = {}
    for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        answers = admin.list_offsets(
            dict.fromkeys(partitions, OffsetSpec.latest()),
            isolation_level=isolation,
            request_timeout=SECONDS,
        )
        found[isolation] = {
            (each.topic, each.partition): answer.result(SECONDS).offset for each, answer in answers.items()
        }
    stable, all_of_it = found[IsolationLevel.READ_COMMITTED], found[IsolationLevel.READ_UNCOMMITTED]
    return [PartitionEnd(*each, stable[each], all_of_it[each]) for each in sorted(stable)]


async def unfinished(kafka: KafkaCluster) -> list[str]:
    """The transactions that Kafka's own tool lists as going on or as hanging, in words."""
    found = []
    for name, coordinator, producer_id, state, *_ in (await _lines(kafka, "list"))[1:]:
        if state not in FINISHED:
            found.append(f"{name} (producer id {producer_id}) is {state} at coordinator {coordinator}")
    for node_id in kafka.node_ids:
        arguments = ("find-hanging", "--broker-id", str(node_id), "--max-transaction-timeout", "0")
        for topic, partition, producer_id, *_ in (await _lines(kafka, *arguments))[1:]:
            found.append(f"broker {node_id} has {topic}-{partition} held open by producer id {producer_id}")
    return found


async def transaction_of(kafka: KafkaCluster, transactional_id: str) -> dict[str, str]:
    """What the coordinator says of a transactional id, by the titles of the columns that Kafka's tool prints."""
    head, row = await _lines(kafka, "describe", "--transactional-id", transactional_id)
    return dict(zip(head, row, strict=False))


async def _lines(kafka: KafkaCluster, *arguments: str) -> list[list[str]]:
    """The lines of a table that Kafka's tool prints, its heading first, each cell by itself."""
    distribution = kafka.sync._distribution
    assert distribution is not None
    printed = await anyio.to_thread.run_sync(
        run_tool, distribution, TRANSACTIONS_TOOL, ["--bootstrap-server", kafka.bootstrap, *arguments]
    )
    lines = [line.split("\t") for line in printed.splitlines() if line.strip()]
    return [[cell.strip() for cell in line] for line in lines]


async def _read_by_aiokafka(bootstrap: str, ends: Iterable[PartitionEnd]) -> Log:
    log: Log = {}
    wanted = {AiokafkaPartition(end.topic, end.partition): end.last_stable_offset for end in ends}
    wanted = {partition: end for partition, end in wanted.items() if end > 0}
    if not wanted:
        return log
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=int(SECONDS * 1000),
    )
    async with asyncio.timeout(SECONDS), consumer:
        consumer.assign(list(wanted))
        await consumer.seek_to_beginning(*wanted)
        while wanted:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    log[Place(record.topic, record.partition, record.offset)] = record.value
            # Behind the last committed record there may be markers and aborted ones: the position passes them.
            for partition in list(wanted):
                if await consumer.position(partition) >= wanted[partition]:
                    del wanted[partition]
    return log


def _differences(one: Log, other: Log) -> str:
    places = [place for place in one.keys() | other.keys() if one.get(place) != other.get(place)]
    shown = [
        f"{place}: {one.get(place)!r} by aiokafka, {other.get(place)!r} by librdkafka"
        for place in sorted(places)[:20]
    ]
    return f"two readers of committed records differ in {len(places)} places\n  " + "\n  ".join(shown)
