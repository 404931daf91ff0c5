"""The topics of a fake cluster: partitions, who leads them, and what brokers tell about that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def topic_config(config: Mapping[str, str] | None) -> dict[str, str]:
    """The whole configuration of a topic. Raises ValueError for a setting the fake does not heed."""
    unknown = sorted(set(config or {}) - set(DEFAULT_CONFIG))
    if unknown:
        raise ValueError(f"a fake topic has no setting {unknown[0]!r}, only {sorted(DEFAULT_CONFIG)}")
    return {**DEFAULT_CONFIG, **(config or {})}


def is_legal_name(name: str) -> bool:
    """Whether Kafka would create a topic of this name."""
    return len(name) <= LONGEST_NAME and name not in {".", ".."} and _LEGAL_NAME.fullmatch(name) is not None
