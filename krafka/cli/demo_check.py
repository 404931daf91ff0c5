"""Compares what a producer said it wrote with what Kafka's own tools find in the topic, and tabulates both."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

from krafka.cli import kafka_tools

if TYPE_CHECKING:
    from krafka._speedups.producer_record import ProducerRecord
    from krafka.cli.kafka_tools import ReadRecord, StoredBatches
    from krafka.cli.wire_count import WireCount
    from krafka.producer import SendResult
    from krafka.testing import KafkaCluster

SAMPLE_SIZE = 3
COMPLAINTS_NAMED = 5


@dataclass(slots=True)
class Sent:
    """What was sent, what the producer said of it, and what it cost this process."""

    records: list[ProducerRecord]
    result: SendResult
    seconds: float
    cpu_seconds: float
    wire: WireCount


@dataclass(slots=True)
class Evidence:
    """What the broker's side says, and where it contradicts the producer."""

    end_offsets: dict[int, int]
    """By partition, from Kafka's GetOffsetShell."""
    stored: StoredBatches
    """From Kafka's DumpLogSegments."""
    read_back: int
    """Records that Kafka's ConsoleConsumer printed."""
    sample: list[ReadRecord]
    acknowledged: Counter[int]
    """By partition, from the producer's results."""
    complaints: list[str] = field(default_factory=list)


async def gather_evidence(cluster: KafkaCluster, topic: str, sent: Sent) -> Evidence:
    """Ask the tools, and compare. Raises `KafkaClusterError` when a tool fails."""
    expected: dict[tuple[int, int], ProducerRecord] = {}
    acknowledged: Counter[int] = Counter()
    failed = {index for index, _ in sent.result.failed}
    complaints: list[str] = []
    for index, record in enumerate(sent.records):
        if index in failed:
            continue
        metadata = sent.result[index]
        acknowledged[metadata.partition] += 1
        place = (metadata.partition, metadata.offset)
        if place in expected:
            complaints.append(f"two records were reported at partition {place[0]} offset {place[1]}")
        expected[place] = record
    end_offsets = await kafka_tools.end_offsets(cluster.bootstrap, topic)
    segments = sorted(
        segment
        for node_id in cluster.node_ids
        for segment in cluster.sync.data_folder(node_id).glob(f"{topic}-[0-9]*/*.log")
    )
    stored = await kafka_tools.stored_batches(segments)
    evidence = Evidence(end_offsets, stored, 0, [], acknowledged, complaints)
    _compare_counts(evidence)
    await _compare_records(cluster.bootstrap, topic, expected, evidence)
    del complaints[COMPLAINTS_NAMED:]
    return evidence


def _compare_counts(evidence: Evidence) -> None:
    for partition, end_offset in evidence.end_offsets.items():
        count = evidence.acknowledged[partition]
        if count != end_offset:
            evidence.complaints.append(
                f"partition {partition}: {count} records were acknowledged, but its end offset is {end_offset}"
            )
    unknown = evidence.acknowledged.keys() - evidence.end_offsets.keys()
    if unknown:
        evidence.complaints.append(
            f"records were acknowledged in partitions {sorted(unknown)}, which Kafka lacks"
        )
    total = evidence.acknowledged.total()
    if evidence.stored.records != total:
        evidence.complaints.append(
            f"{total} records were acknowledged, but the log's batches hold {evidence.stored.records}"
        )


async def _compare_records(
    bootstrap: str, topic: str, expected: dict[tuple[int, int], ProducerRecord], evidence: Evidence
) -> None:
    """Read every record back, in whatever order partitions come, and cross it off."""
    async with aclosing(kafka_tools.read_topic(bootstrap, topic, len(expected))) as found:
        async for record in found:
            evidence.read_back += 1
            if len(evidence.sample) < SAMPLE_SIZE:
                evidence.sample.append(record)
            original = expected.pop((record.partition, record.offset), None)
            if original is None:
                evidence.complaints.append(
                    f"partition {record.partition} offset {record.offset} holds a record never acknowledged there"
                )
            elif (original.key, original.value) != (record.key, record.value):
                evidence.complaints.append(
                    f"partition {record.partition} offset {record.offset} holds another record than was sent: "
                    f"{record.key!r}"
                )
    if expected:
        partition, offset = min(expected)
        evidence.complaints.append(
            f"{len(expected)} acknowledged records were not read back, the first of them "
            f"from partition {partition} offset {offset}"
        )


def partition_table(sent: Sent, evidence: Evidence) -> Table:
    """Each partition: the producer's count beside the broker's."""
    table = Table(title="What lies in the topic", title_justify="left")
    table.add_column("partition", justify="right")
    table.add_column("acknowledged to the producer", justify="right")
    table.add_column("end offset (GetOffsetShell)", justify="right")
    for partition, end_offset in evidence.end_offsets.items():
        table.add_row(str(partition), f"{evidence.acknowledged[partition]:,}", f"{end_offset:,}")
    table.add_section()
    table.add_row("all", f"{evidence.acknowledged.total():,}", f"{sum(evidence.end_offsets.values()):,}")
    table.caption = (
        f"{evidence.read_back:,} of {len(sent.records):,} read back by ConsoleConsumer, the first of them:"
    )
    table.caption_justify = "left"
    return table


def cost_table(sent: Sent, evidence: Evidence) -> Table:
    """What sending cost the client, its connections and the broker's disk."""
    count = len(sent.records)
    payload = sum(len(record.key or b"") + len(record.value or b"") for record in sent.records)
    stored = evidence.stored
    table = Table(title="What it cost", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("records a second", f"{count / sent.seconds:,.0f}")
    table.add_row("seconds", f"{sent.seconds:.3f}")
    table.add_row("client CPU a record", f"{sent.cpu_seconds / count * 1e6:.2f} µs")
    table.add_row("bytes of keys and values", f"{payload:,}")
    table.add_row("bytes sent / received", f"{sent.wire.sent_bytes:,} / {sent.wire.received_bytes:,}")
    table.add_row("requests", sent.wire.describe_requests())
    table.add_row(
        "batches (DumpLogSegments)",
        f"{stored.batches:,}, {stored.records / max(stored.batches, 1):,.1f} records each",
    )
    table.add_row("bytes in the broker's log", f"{stored.size:,}")
    return table
