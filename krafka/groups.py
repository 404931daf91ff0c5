"""What a transaction says of the consumers whose offsets it commits: their group, their place in it, the offsets."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, cast

from krafka.errors import ConfigError
from krafka.records import TopicPartition

if TYPE_CHECKING:
    from typing import Self

MAX_INT32 = 2**31 - 1
MAX_INT64 = 2**63 - 1

LIBRDKAFKA_FORM = re.compile(rb"CGMDv2:(.{4})([^\0]*)\0([^\0]*)\0(?:\x01|\0([^\0]*)\0)", re.DOTALL)
"""What `consumer_group_metadata()` of confluent-kafka gives: the generation, a C int, then the group id and the member
id, a zero byte behind each, and whether there is no instance id, or that id."""
GENERATION = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class OffsetAndMetadata:
    """An offset to commit, with what may go with it.

    Raises `ConfigError` that names the field, its bound and the value.
    """

    offset: int
    """The offset of the next record to process: one more than that of the last one processed."""
    leader_epoch: int = -1
    """The leader epoch of the last record processed, by which consumers notice a log that was cut short (KIP-320);
    -1, the default, where it is not known."""
    metadata: str = ""
    """A text that is stored with the offset. Brokers take 4096 bytes (`offset.metadata.max.bytes`)."""

    def __post_init__(self) -> None:
        _check_number("offset", self.offset, 0, MAX_INT64)
        _check_number("leader_epoch", self.leader_epoch, -1, MAX_INT32)
        _check_text("metadata", self.metadata)


@dataclass(frozen=True, slots=True)
class ConsumerGroupMetadata:
    """A consumer's place in its group, by which the broker refuses the offsets of one that lost it (KIP-447).

    `of()` takes it from a consumer. Raises `ConfigError` that names the field, its bound and the value.
    """

    group_id: str
    """The group's name, not empty."""
    generation_id: int = -1
    """The group's generation, or the member's epoch in a group of the new protocol (KIP-848); -1: no member."""
    member_id: str = ""
    """What the group's coordinator calls the consumer; empty: no member."""
    group_instance_id: str | None = None
    """The name of a static member, which it gave itself (KIP-345); None for others."""

    def __post_init__(self) -> None:
        _check_text("group_id", self.group_id)
        if not self.group_id:
            raise ConfigError("group_id is empty; give the consumer group's name", option="group_id")
        _check_number("generation_id", self.generation_id, -1, MAX_INT32)
        _check_text("member_id", self.member_id)
        if self.group_instance_id is not None:
            _check_text("group_instance_id", self.group_instance_id)

    @property
    def is_member(self) -> bool:
        """Whether it names a member of the group.

        Only then does the broker check that the consumer still has its partitions. Without it every offset is
        taken, and two consumers that both believe to have a partition are kept apart by the transactional id alone.
        """
        return self.generation_id >= 0 and bool(self.member_id)

    @classmethod
    def of(cls, consumer: object) -> Self:
        """The place that a consumer has in its group now.

        `consumer` is aiokafka's `AIOKafkaConsumer`, confluent-kafka's `Consumer`, or the bytes that the latter's
        `consumer_group_metadata()` gives: `of(await consumer.consumer_group_metadata())` serves its `AIOConsumer`.
        It belongs to the records that are polled next, so take it before the poll: the place that a consumer has
        after a rebalance would vouch for records of partitions that it lost in it.

        A consumer that has not joined its group yet, or was thrown out, gives a place that is no member's
        (`is_member`). aiokafka tells its generation and its member id to nobody: they are read from its coordinator,
        an attribute that is not public. confluent-kafka tells all of it.

        Raises TypeError for other objects, and `ConfigError` for a consumer without a group and for bytes that are
        not what librdkafka writes.
        """
        if isinstance(consumer, bytes):
            return cls(*_read_librdkafka(consumer))
        if callable(tell := getattr(consumer, "consumer_group_metadata", None)):
            told = tell()
            if isinstance(told, bytes):
                return cls(*_read_librdkafka(told))
            if iscoroutine(told):
                told.close()
                raise TypeError(
                    f"{type(consumer).__name__} has to be awaited for its place in the group: call "
                    "ConsumerGroupMetadata.of(await consumer.consumer_group_metadata())"
                )
        elif hasattr(consumer, "_coordinator") and hasattr(consumer, "_group_id"):
            return cls(*_ask_aiokafka(consumer))
        raise TypeError(
            "ConsumerGroupMetadata.of() takes a consumer of aiokafka or confluent-kafka, got "
            f"{type(consumer).__name__}; for others give the group's name, the generation and the member id"
        )


def _ask_aiokafka(consumer: object) -> tuple[str, int, str, str | None]:
    group_id = getattr(consumer, "_group_id")  # noqa: B009 - it is no attribute of object
    if group_id is None:
        raise ConfigError(
            "the consumer has no group, so there are no offsets of one to commit; give it a group_id",
            option="group_id",
        )
    # Absent before the consumer is started.
    coordinator = getattr(consumer, "_coordinator", None)
    return (
        group_id,
        getattr(coordinator, "generation", -1),
        getattr(coordinator, "member_id", ""),
        getattr(consumer, "_group_instance_id", None),
    )


def _read_librdkafka(data: bytes) -> tuple[str, int, str, str | None]:
    fields = LIBRDKAFKA_FORM.fullmatch(data)
    # Brokers deal in UTF-8 alone: what is not is damage, or another form.
    with suppress(UnicodeDecodeError):
        if fields is not None:
            generation, group_id, member_id, instance_id = fields.groups()
            (generation_id,) = GENERATION.unpack(generation)
            group_instance_id = None if instance_id is None else instance_id.decode()
            return group_id.decode(), generation_id, member_id.decode(), group_instance_id
    raise ConfigError(
        f"the consumer's group metadata is not in the form of librdkafka 1.6 to 2.16 that krafka knows: {data[:60]!r}; "
        "give ConsumerGroupMetadata the group, the generation and the member id yourself"
    )


def _check_number(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ConfigError(
            f"{name} must be a whole number from {lowest} to {highest}, got {value!r}", option=name
        )


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be str, got {value!r} ({type(value).__name__})", option=name)


def checked_offsets(
    offsets: Mapping[TopicPartition, int | OffsetAndMetadata]
    | Mapping[tuple[str, int], int | OffsetAndMetadata],
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The offsets to commit by partition, each with what goes with it; `ConfigError` for what is none."""
    checked: dict[TopicPartition, OffsetAndMetadata] = {}
    if not isinstance(offsets, Mapping):
        raise ConfigError(
            f"offsets must be a mapping from (topic, partition) to an offset, got {type(offsets).__name__}",
            option="offsets",
        )
    for place, offset in cast("Mapping[Any, int | OffsetAndMetadata]", offsets).items():
        if not isinstance(place, tuple) or len(place) != len(TopicPartition._fields):
            raise ConfigError(
                f"offsets must name (topic, partition), as a TopicPartition does, got {place!r}",
                option="offsets",
            )
        topic, partition = place
        _check_text("topic", topic)
        _check_number("partition", partition, 0, MAX_INT32)
        position = offset if isinstance(offset, OffsetAndMetadata) else OffsetAndMetadata(offset)
        checked[TopicPartition(topic, partition)] = position
    return checked
