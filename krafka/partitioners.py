"""Which partition a record goes to."""

from __future__ import annotations

from random import randrange
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from krafka._speedups.key_hashes import crc32, fnv1a, siphash13
from krafka._speedups.murmur2 import murmur2
from krafka._speedups.topic_buffer import SpreadRule
from krafka.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krafka._speedups.producer_record import ProducerRecord

_POSITIVE = 0x7FFFFFFF
_MOST_RECORDS = 2**31 - 1
_RECORDS_A_BATCH = 100
"""What stands for a batch where sizes are not known."""


@runtime_checkable
class Partitioner(Protocol):
    """Chooses partitions for records that do not name one.

    Called once per record on the event loop, so it must neither block nor await. A result outside
    `0 <= partition < partition_count` fails that record, and so does an exception.
    """

    def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
        """The partition for a record of `topic`, which has `partition_count` (>= 1); None means no key."""
        ...


@runtime_checkable
class RecordPartitioner(Protocol):
    """Chooses partitions by more than the key: it is shown the record, and which partitions have a leader.

    A partitioner with both methods is asked by this one. It is called as a `Partitioner` is, and its
    answers are checked in the same way.
    """

    def partition_record(self, record: ProducerRecord, available: Sequence[int], partition_count: int) -> int:
        """The partition for `record`, of any from 0 to `partition_count - 1`.

        `available` are the partitions that have a leader, in ascending order; all of them while none has,
        so it is never empty. The record is a copy: what is changed in it changes nothing.
        """
        ...


class _BuiltIn:
    """What the partitioners here have in common: what they are told, and when two are the same."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        """Whether `other` chooses by the same rule; whose turn it is does not count."""
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
        """The partition for a record; raises ValueError for a `partition_count` below 1."""
        if partition_count < 1:
            raise ValueError(f"topic {topic!r} must have at least 1 partition, got {partition_count}")
        return self._choose(topic, key, partition_count)

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        raise NotImplementedError

    def _turn(self, topic: str) -> int:
        """How many records of the topic have taken their turn before this one."""
        turn = self._turns.get(topic, 0)
        self._turns[topic] = turn + 1
        return turn


def _by_murmur2(key: bytes, count: int) -> int:
    return (murmur2(key) & _POSITIVE) % count


class DefaultPartitioner(_BuiltIn):
    """Kafka's own choice for keys, turn and turn about without one.

    A key, the empty one included, goes where Kafka's Java client sends it (murmur2, sign bit
    cleared, modulo the partition count), so records of one key stay together whichever client wrote
    them. Records without a key take the topic's partitions in turn, those that have a leader.
    """

    __slots__ = ()

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        return self._turn(topic) % count if key is None else _by_murmur2(key, count)


class RoundRobinPartitioner(_BuiltIn):
    """Every record takes the next of the topic's partitions that have a leader, whatever its key.

    Records of one key do not stay together. As Kafka's Java client's class of that name.
    """

    __slots__ = ()

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        return self._turn(topic) % count


class StickyPartitioner(_BuiltIn):
    """Records without a key stay with one partition for `batch_threshold` records of their topic, then with the next.

    Keys go where `DefaultPartitioner` sends them. `batch_threshold` is 100 unless given; one that is not an
    int from 1 to 2147483647 is a `ConfigError`. A partition that loses its leader is left at once. The
    idea is that of KIP-480, counted in records as the Rust client krafka does it;
    `UniformStickyPartitioner` counts bytes.
    """

    __slots__ = ("_batch_threshold",)

    def __init__(self, batch_threshold: int = 100) -> None:
        super().__init__()
        if isinstance(batch_threshold, bool) or not isinstance(batch_threshold, int):
            raise ConfigError(
                f"batch_threshold must be int, a number of records, got {batch_threshold!r} "
                f"({type(batch_threshold).__name__})",
                option="partitioner",
            )
        if not 1 <= batch_threshold <= _MOST_RECORDS:
            raise ConfigError(
                f"batch_threshold must be between 1 and {_MOST_RECORDS} records, got {batch_threshold}",
                option="partitioner",
            )
        self._batch_threshold = batch_threshold

    @classmethod
    def with_batch_threshold(cls, batch_threshold: int) -> Self:
        """Another partitioner of this kind, which stays for so many records; raises `ConfigError` as the class does."""
        return cls(batch_threshold)

    @property
    def batch_threshold(self) -> int:
        """For how many records it stays with a partition."""
        return self._batch_threshold

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_threshold={self._batch_threshold})"

    def __eq__(self, other: object) -> bool:
        """Whether `other` chooses by the same rule; where it stays at the moment does not count."""
        return isinstance(other, StickyPartitioner) and (type(other), other.batch_threshold) == (
            type(self),
            self._batch_threshold,
        )

    def __hash__(self) -> int:
        return hash((type(self), self._batch_threshold))

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        if key is not None:
            return _by_murmur2(key, count)
        return self._turn(topic) // self._batch_threshold % count


class HashPartitioner(_BuiltIn):
    """Keys by SipHash-1-3, the same on every machine and in every process; records without a key go to partition 0.

    A key's hash is that of Rust's `DefaultHasher` for a slice of bytes: SipHash-1-3 with the key
    (0, 0) of the key's length as 64 bits, little-endian, and the key; its partition is that as an unsigned
    number modulo the partition count. The empty key goes to partition 0, too. For programs that come from the Rust
    client krafka, whose class of that name this is; other clients know none of it.
    """

    __slots__ = ()

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        return siphash13(key) % count if key else 0


class UniformStickyPartitioner(_BuiltIn):
    """Records without a key stay with one partition for about a batch, then with one that chance and load choose.

    Keys go where `DefaultPartitioner` sends them. The others of a topic share a partition until about
    `batch_size` bytes of them went there, and leave it where its batch is full. The next is drawn among the
    partitions that have a leader, the likelier the fewer batches wait for that leader, so that a slow broker
    gets less. A partition that loses its leader is left at once. This is what Kafka's Java client does
    since 3.3 (KIP-480, KIP-794); its class of that name, which it has no more, ignored keys.

    Asked through `partition` it is told neither sizes nor leaders: it stays for 100 records, and draws
    among all partitions alike.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, int] = {}

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        if key is not None:
            return _by_murmur2(key, count)
        place = self._places.get(topic)
        if self._turn(topic) % _RECORDS_A_BATCH == 0 or place is None or place >= count:
            place = self._places[topic] = _drawn(count)
        return place


class ConsistentRandomPartitioner(_BuiltIn):
    """Keys by CRC-32, as librdkafka's `consistent_random`, its default; records without a key anywhere.

    A key's partition is its CRC-32 (zlib's) modulo the partition count. A record whose key is None or empty
    goes to any partition that has a leader, drawn for each. For programs that come from librdkafka
    (confluent-kafka), so that keys stay where they are.
    """

    __slots__ = ()

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        return crc32(key) % count if key else _drawn(count)


class Fnv1aPartitioner(_BuiltIn):
    """Keys by FNV-1a, as librdkafka's `fnv1a_random` and Sarama's hash partitioner; records without a key anywhere.

    A key's partition, the empty key's included, is the absolute value of its 32-bit FNV-1a taken as a
    signed number, modulo the partition count. A record without a key goes to any partition that has a
    leader, drawn for each.
    """

    __slots__ = ()

    def _choose(self, topic: str, key: bytes | None, count: int) -> int:
        return _drawn(count) if key is None else fnv1a(key) % count


def _drawn(count: int) -> int:
    return randrange(count)  # noqa: S311 - spreads records, guards nothing


_RULES: dict[type[Any], SpreadRule] = {
    DefaultPartitioner: SpreadRule("murmur2", "in turn"),
    RoundRobinPartitioner: SpreadRule(None, "in turn"),
    HashPartitioner: SpreadRule("siphash13", "first", empty_is_key=False),
    UniformStickyPartitioner: SpreadRule("murmur2", "stay for bytes"),
    ConsistentRandomPartitioner: SpreadRule("crc32", "at random", empty_is_key=False),
    Fnv1aPartitioner: SpreadRule("fnv1a", "at random"),
}


def rule_of(partitioner: object) -> SpreadRule | None:
    """The rule by which the append path does what this partitioner does; None for one that has to be asked.

    A subclass is asked, since it may choose otherwise.
    """
    if type(partitioner) is StickyPartitioner:
        return SpreadRule("murmur2", "stay for records", stay=partitioner.batch_threshold)
    return _RULES.get(type(partitioner))
