"""The topics of a fake cluster: partitions, who leads them, and what brokers tell about that."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from krafka.testing.fake.log import PartitionLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krafka.testing.fake.log import Manners

NO_LEADER = -1
LONGEST_NAME = 249
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]+")

DEFAULT_CONFIG = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(1024 * 1024 + 12),
    "message.timestamp.after.max.ms": str(60 * 60 * 1000),
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
}
"""The topic settings a fake cluster heeds, and Kafka's defaults of them."""


class FakePartition:
    """One partition: its log, its replicas, its leader now and the leader that Metadata tells."""

    __slots__ = ("leader_epoch", "leader_id", "log", "number", "replicas", "told_epoch", "told_leader")

    def __init__(self, number: int, replicas: Sequence[int], log: PartitionLog) -> None:
        self.number: int = number
        self.replicas: tuple[int, ...] = tuple(replicas)
        self.log: PartitionLog = log
        self.leader_id: int = self.replicas[0]
        self.leader_epoch: int = 0
        self.told_leader: int = self.leader_id
        self.told_epoch: int = 0

    def elect(self, leader_id: int) -> None:
        """Have another broker lead, or nobody (`NO_LEADER`), under a new leader epoch."""
        if leader_id != self.leader_id:
            self.leader_id = leader_id
            self.leader_epoch += 1

    def tell(self) -> None:
        """Let Metadata tell the present leader."""
        self.told_leader = self.leader_id
        self.told_epoch = self.leader_epoch


@dataclass(eq=False)
class FakeTopic:
    """One topic."""

    name: str
    topic_id: bytes
    config: dict[str, str]
    partitions: list[FakePartition]
    is_told: bool = True

    @property
    def is_compacted(self) -> bool:
        """Whether every record needs a key."""
        return "compact" in self.config["cleanup.policy"]

    @property
    def max_message_bytes(self) -> int:
        """The largest batch taken."""
        return int(self.config["max.message.bytes"])

    @property
    def timestamp_bounds(self) -> tuple[int, int]:
        """How many milliseconds before and after the broker's time a record's own may be (KIP-937)."""
        return (
            int(self.config["message.timestamp.before.max.ms"]),
            int(self.config["message.timestamp.after.max.ms"]),
        )

    @property
    def min_in_sync_replicas(self) -> int:
        """Replicas that have to be there for acks=all."""
        return int(self.config["min.insync.replicas"])

    @property
    def stamps_append_time(self) -> bool:
        """Whether the broker's time replaces the records' own."""
        return self.config["message.timestamp.type"] == "LogAppendTime"

    def add_partitions(
        self, count: int, replicas: Sequence[int], *, per_partition: int, manners: Manners
    ) -> None:
        """Grow to `count` partitions; the brokers lead in turn."""
        for number in range(len(self.partitions), count):
            turn = number % len(replicas)
            placed = [*replicas[turn:], *replicas[:turn]][:per_partition]
            log = PartitionLog(self.name, number, manners)
            self.partitions.append(FakePartition(number, placed, log))


class Picture(NamedTuple):
    """What Metadata tell: brokers by number, with host, port and rack, and topics by name."""

    brokers: Mapping[int, tuple[str, int, str | None]]
    topics: Mapping[str, FakeTopic]

    @classmethod
    def of(
        cls, brokers: Mapping[int, tuple[str, int, str | None]], topics: Mapping[str, FakeTopic]
    ) -> Picture:
        """A picture that stays as it is, whatever becomes of the brokers, topics and leaders."""
        frozen = {
            name: replace(topic, partitions=[copy(partition) for partition in topic.partitions])
            for name, topic in topics.items()
        }
        return cls(dict(brokers), frozen)

    def find(self, name: str | None, topic_id: bytes) -> FakeTopic | None:
        """A topic that is told, by its name if it has one, or else by its id."""
        if name:
            topic = self.topics.get(name)
        else:
            topic = next((each for each in self.topics.values() if each.topic_id == topic_id), None)
        return topic if topic is not None and topic.is_told else None


def topic_config(
    config: Mapping[str, str] | None, defaults: Mapping[str, str] = DEFAULT_CONFIG
) -> dict[str, str]:
    """The whole configuration of a topic. Raises ValueError for a setting the fake does not heed, or its value."""
    for name, value in (config or {}).items():
        if name not in DEFAULT_CONFIG:
            raise ValueError(f"a fake topic has no setting {name!r}, only {sorted(DEFAULT_CONFIG)}")
        if DEFAULT_CONFIG[name].isdigit() and not value.isdigit():
            raise ValueError(f"the topic setting {name!r} is a number, not {value!r}")
    return {**defaults, **(config or {})}


def is_legal_name(name: str) -> bool:
    """Whether Kafka would create a topic of this name."""
    return len(name) <= LONGEST_NAME and name not in {".", ".."} and _LEGAL_NAME.fullmatch(name) is not None
