"""What must hold after a run: between what callers were told and the logs, and inside the producer."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from krafka.errors import (
    BufferTimeoutError,
    DeliveryTimeoutError,
    InvalidRecordError,
    MetadataTimeoutError,
    ProducerClosedError,
    RecordValidationError,
)

from .plan import HARSH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from krafka._io.engine import Engine
    from krafka.testing.fake import FakeRecord
    from krafka.testing.fake.log import PartitionLog

    from .record import Record
    from .world import World

    Logs = Sequence[tuple[PartitionLog, list[FakeRecord]]]
    Places = dict[str, list[tuple[PartitionLog, FakeRecord]]]

EPSILON = 1e-6
COARSE = 0.002
"""What the clock that tells how long a batch is open may be wrong by."""
NAMES_RECORDS_FROM = 8
PROMPT = 20.0
"""Seconds within which everything arrives after the cluster is whole again."""
SOON = 0.5
"""Seconds within which everything arrives that nothing disturbs, but for its linger."""


def find_violations(world: World, logs: Logs) -> list[str]:
    """Every broken promise, each a line that begins with its kind and a colon."""
    records = {record.name: record for record in world.records}
    places: Places = {}
    violations: list[str] = []
    for log, entries in logs:
        violations += judge_log(world, records, places, log, entries)
    for record in world.records:
        violations += judge_record(world, record, places.get(record.name, []))
        violations += _judge_success(world, record)
    for witness in world.witnesses:
        violations += witness.violations(world.records)
    violations += judge_remains(world.engine)
    return violations


def name_of(entry: FakeRecord) -> str:
    """The name that the value of a record begins with."""
    return (entry.value or b"").split(b" ", 1)[0].decode()


def judge_log(
    world: World, records: dict[str, Record], places: Places, log: PartitionLog, entries: Sequence[FakeRecord]
) -> Iterator[str]:
    """One log by itself: nothing unknown, no holes, each caller's records in order."""
    where = f"{log.topic}-{log.partition}"
    last: dict[int, Record] = {}
    seen: set[str] = set()
    markers = {marker.offset for marker in log.markers}
    offsets = (offset for offset in count() if offset not in markers)
    for offset, entry in zip(offsets, entries, strict=False):
        at = f"{where} offset {entry.offset}"
        if entry.offset != offset:
            yield f"hole: {at} where {offset} is next"
        record = records.get(name_of(entry))
        if record is None or record.value != entry.value:
            yield f"unknown: {at} holds {entry.value!r:.60}, which nobody sent"
            continue
        places.setdefault(record.name, []).append((log, entry))
        if (record.topic, record.key, record.headers) != (log.topic, entry.key, entry.headers):
            yield f"content: {at} {record.name} differs from what was sent: {entry!r:.300}"
        if entry.compression != world.plan.compression_of(log.topic):
            yield f"codec: {at} {record.name} was compressed with {entry.compression}"
        if record.timestamp not in {None, entry.timestamp} and not _stamps(world, log.topic):
            yield f"content: {at} {record.name} has the timestamp {entry.timestamp}"
        if record.name in seen:
            if world.plan.idempotent:
                yield f"twice: {at} {record.name} lies in the log a second time; told was {record.told()}"
            continue
        seen.add(record.name)
        if not world.plan.idempotent and record.metadata is None:
            # Its last attempt may have lain unread at the broker when others were sent.
            continue
        if not world.plan.acknowledged and not world.plan.keeps_unacknowledged:
            # What a connection had when it ended may have been read after what was sent on the next.
            continue
        before = last.get(record.caller)
        if before is not None and before.index > record.index:
            yield f"order: {at} {record.name} lies behind {before.name}; told was {record.told()}"
        last[record.caller] = record


def _stamps(world: World, topic: str) -> bool:
    return any("message.timestamp.type" in each.config for each in world.plan.topics if each.name == topic)


def judge_record(
    world: World, record: Record, places: list[tuple[PartitionLog, FakeRecord]]
) -> Iterator[str]:
    """One record: an outcome, in time, and true."""
    found = (
        ", ".join(f"{log.topic}-{log.partition} offset {entry.offset}" for log, entry in places) or "nowhere"
    )
    told = f"{record.name} lies at {found}; told was {record.told()}"
    if record.outcomes != (0 if record.was_abandoned else 1):
        yield f"outcome: {record.name} has {record.outcomes} outcomes, by {record.verb}; {told}"
    if (record.metadata is None) == (record.error is None) and not record.was_abandoned:
        yield f"outcome: {told}"
    if record.delivery is not None:
        yield from _judge_delivery(record)
    if record.metadata is not None:
        offsets = [(log.partition, entry.offset) for log, entry in places]
        if not places and (world.plan.acknowledged or world.plan.keeps_unacknowledged):
            yield f"lost: {told}"
        # A duplicate whose offset no broker knows any more is acknowledged without one.
        unplaced = record.metadata.offset < 0 and (world.plan.idempotent or not world.plan.acknowledged)
        if record.metadata.offset >= 0 and not world.plan.acknowledged:
            yield f"offset: {told}, and nobody can have told it"
        if places and not unplaced and (record.metadata.partition, record.metadata.offset) not in offsets:
            yield f"offset: {told}"
    if places and record.was_refused:
        yield f"refused: {told}, but it never came into the producer's hands"
    if places and record.error is not None and not record.error.possibly_written:
        yield f"lie: {told}"
    for log, _ in places:
        if record.partition is not None and record.partition != log.partition:
            yield f"partition: {told}, but was sent to {record.partition}"
    yield from _judge_time(world, record)


def _judge_delivery(record: Record) -> Iterator[str]:
    delivery = record.delivery
    assert delivery is not None
    if (
        not delivery.done
        or delivery.metadata != record.metadata
        or _kind(delivery.exception) != _kind(record.error)
    ):
        yield (
            f"outcome: {record.name} was told {record.told()}, its delivery says {delivery.metadata} "
            f"and {delivery.exception!r}"
        )


def _kind(error: BaseException | None) -> str:
    return repr(error)


def _judge_time(world: World, record: Record) -> Iterator[str]:
    if record.ended_at is None or record.verb == "many":
        return
    took = record.ended_at - record.called_at
    if took > world.plan.options["delivery_timeout"] + EPSILON:
        yield f"late: {record.name} had its outcome after {took:g} s: {record.told()}"
    if record.verb != "nowait" and record.called_at <= world.left_at < record.ended_at - EPSILON:
        after = record.ended_at - world.left_at
        yield f"late: {record.name} had its outcome {after:g} s after the producer was left: {record.told()}"
    options = world.plan.options
    patience = options["delivery_timeout"] - options["linger"] - max(options["delivery_timeout"] / 100, 0.01)
    if type(record.error) is DeliveryTimeoutError and took < patience - COARSE:
        yield f"early: {record.name} was given up after {took:g} s: {record.told()}"
    blocked = record.was_refused or isinstance(record.error, (BufferTimeoutError, MetadataTimeoutError))
    if blocked and took > world.plan.options["max_block"] + EPSILON:
        yield f"late: {record.name} was refused after {took:g} s: {record.told()}"


def _judge_success(world: World, record: Record) -> Iterator[str]:
    """Where nothing is in the way in the end, every record that can be sent arrives, and soon."""
    plan = world.plan
    if record.was_abandoned or isinstance(record.error, RecordValidationError) or record.verb == "nowait":
        return
    if _is_closed_early(world, record) or plan.mood in HARSH or not plan.must_deliver:
        return
    if not plan.acknowledged and any(topic.config for topic in plan.topics):
        # A refusal that cannot be told ends the connection, and others wait for the next.
        return
    if record.metadata is None:
        if not _is_unwelcome(world, record):
            yield f"failed: {record.name} should have arrived: {record.told()}"
        return
    if record.verb == "many" or record.ended_at is None:
        return
    if plan.mood == "calm":
        if record.ended_at - record.called_at > plan.options["linger"] + SOON:
            yield f"slow: {record.name} took {record.ended_at - record.called_at:g} s, and nothing was in its way"
    elif world.healed_at and record.ended_at > max(world.healed_at, record.called_at) + PROMPT:
        yield f"slow: {record.name} took until {record.ended_at:g}, the cluster was whole at {world.healed_at:g}"


def _is_closed_early(world: World, record: Record) -> bool:
    """Whether it met a producer that was being closed; of a bulk send's records any may have."""
    if world.plan.ending != "exit":
        return False
    in_bulk = record.verb == "many" and isinstance(record.error, ProducerClosedError)
    return in_bulk or record.called_at >= world.plan.ends_at


def _is_unwelcome(world: World, record: Record) -> bool:
    """Whether its topic refuses this record by its own rules."""
    config = next(each.config for each in world.plan.topics if each.name == record.topic)
    if record.key is None and "cleanup.policy" in config:
        return True
    if (
        record.error is not None
        and record.error.possibly_written
        and {"cleanup.policy", "max.message.bytes"} & set(config)
    ):
        # What an earlier attempt may have written is not sent again in another batch.
        return True
    if "cleanup.policy" in config and isinstance(record.error, InvalidRecordError):
        # Brokers name the records to blame from Produce version 8 on (KIP-467); before, all of a batch fail for one.
        _, latest = world.plan.cluster.get("api_versions", {}).get("Produce", (0, NAMES_RECORDS_FROM))
        return bool(latest < NAMES_RECORDS_FROM)
    overhead = 120
    return len(record.value) + overhead > int(config.get("max.message.bytes", 1 << 20))


def judge_remains(engine: Engine) -> Iterator[str]:
    """What is left in the producer: nothing."""
    accumulator = engine.accumulator
    held = engine.config.buffer_memory - accumulator.memory.available
    if held:
        yield f"memory: {held} bytes of buffer_memory are not free again"
    if accumulator.memory.waiting:
        yield f"memory: {accumulator.memory.waiting} wait for memory"
    if accumulator.incomplete:
        yield f"left: {len(accumulator.incomplete)} batches are incomplete"
    for partition in accumulator.partitions():
        if not partition.is_idle:
            yield f"left: {partition} is not idle: {partition.pending} {partition.open_batch} {partition.in_flight}"
    for node in accumulator.nodes.values():
        if node.in_flight:
            yield f"left: {node.in_flight} requests to broker {node.node_id} count as under way"
