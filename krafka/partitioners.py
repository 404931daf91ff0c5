"""Which partition a record goes to."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from krafka._speedups.murmur2 import murmur2

_POSITIVE = 0x7FFFFFFF


@runtime_checkable
class Partitioner(Protocol):
    """Chooses partitions for records that do not name one.

    Called once per record on the event loop, so it must neither block nor await. A result outside
    `0 <= partition < partition_count` fails that record, and so does an exception.
    """

    def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
        """The partition for a record of `topic`, which has `partition_count` (>= 1); None means no key."""
        ...


class DefaultPartitioner:
    """Kafka's own choice for keys, turn and turn about without one.

    A key, the empty one included, goes where Kafka's Java client sends it (murmur2, sign bit
    cleared, modulo the partition count), so records of one key stay together whichever client wrote
    them. Records without a key take the topic's partitions in turn.
    """

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}

    def __repr__(self) -> str:
        return "DefaultPartitioner()"

    def __eq__(self, other: object) -> bool:
        """Whether `other` chooses by the same rule; whose turn it is does not count."""
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
        """The partition for a record; raises ValueError for a `partition_count` below 1."""
        if partition_count < 1:
            raise ValueError(f"topic {topic!r} must have at least 1 partition, got {partition_count}")
        if key is not None:
            return (murmur2(key) & _POSITIVE) % partition_count
        turn = self._turns.get(topic, 0)
        self._turns[topic] = turn + 1
        return turn % partition_count
