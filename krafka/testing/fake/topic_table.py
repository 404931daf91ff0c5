"""The topics of a fake cluster, as its tests make, lead, read and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from krafka.testing.fake.topics import NO_LEADER, FakeTopic, is_legal_name, topic_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from krafka.testing.fake.broker import FakeBroker
    from krafka.testing.fake.log import FakeMarker, FakeRecord, Manners
    from krafka.testing.fake.topics import FakePartition


class TopicTable:
    """What a `FakeCluster` does with topics. All methods but `until` take effect at once, without waiting."""

    brokers: dict[int, FakeBroker]

    def __init__(
        self,
        *,
        default_partitions: int,
        replication: int,
        manners: Manners,
        defaults: Mapping[str, str] | None,
        random: Random,
    ) -> None:
        self.default_partitions = default_partitions
        self.topics: dict[str, FakeTopic] = {}
        """The topics by name."""
        self._replication = replication
        self._manners = manners
        self._defaults = topic_config(defaults)
        self._random = random
        self._awaited: anyio.Event | None = None

    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        *,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Create a topic, by default with `default_partitions`; the brokers lead its partitions in turn.

        Of the topic settings it heeds `cleanup.policy`, `max.message.bytes`, `message.timestamp.type`,
        `message.timestamp.before.max.ms`, `message.timestamp.after.max.ms` and `min.insync.replicas`; what `config`
        does not name is as in `topic_defaults`. Raises ValueError.
        """
        if not is_legal_name(name):
            raise ValueError(f"{name!r} is no legal name of a topic")
        if name in self.topics:
            raise ValueError(f"there is a topic {name!r} already")
        topic_id = self._random.getrandbits(128).to_bytes(16, "big")
        self.topics[name] = FakeTopic(name, topic_id, topic_config(config, self._defaults), [])
        self.add_partitions(name, self.default_partitions if partitions is None else partitions)

    def add_partitions(self, topic: str, count: int) -> None:
        """Let a topic grow to `count` partitions."""
        self._topic(topic).add_partitions(
            count,
            list(self.brokers),
            per_partition=self._replication,
            manners=self._manners,
        )
        for partition in self._topic(topic).partitions:
            if not (partition.leader_id == NO_LEADER or self.brokers[partition.leader_id].is_up):
                self._elect_any(partition)
                partition.tell()
        self.notify()

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records; one created later under the name has another id."""
        del self.topics[self._topic(name).name]
        self.notify()

    def log(self, topic: str, partition: int | None = None, *, committed: bool = False) -> list[FakeRecord]:
        """The records of a partition in order of their offsets, or of a topic, partition by partition.

        With `committed` only those that a consumer with `isolation.level=read_committed` is given: nothing of
        transactions that were aborted, and of each partition nothing from the first open transaction on.
        """
        chosen = self._topic(topic).partitions if partition is None else [self._partition(topic, partition)]
        logs = [each.log for each in chosen]
        return [record for log in logs for record in (log.committed() if committed else log.records)]

    def markers(self, topic: str, partition: int) -> list[FakeMarker]:
        """The ends of transactions in a partition, each of which takes up an offset among the records."""
        return list(self._partition(topic, partition).log.markers)

    def forget_producers(self, topic: str, partition: int) -> None:
        """Have a partition forget every producer, as Kafka does after `producer.id.expiration.ms`."""
        self._partition(topic, partition).log.forget_producers()

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Delete the records below an offset, as retention does: the log starts there now."""
        self._partition(topic, partition).log.delete_before(before_offset)

    def topic_by_id(self, topic_id: bytes) -> FakeTopic | None:
        """The topic with this id, if there is one."""
        return next((topic for topic in self.topics.values() if topic.topic_id == topic_id), None)

    def find_partition(self, topic: str, number: int) -> FakePartition | None:
        """A partition, if there is such a one."""
        found = self.topics.get(topic)
        return found.partitions[number] if found and 0 <= number < len(found.partitions) else None

    def leader(self, topic: str, partition: int) -> int:
        """The number of the broker that leads a partition now, -1 for none."""
        return self._partition(topic, partition).leader_id

    def _elect_any(self, partition: FakePartition) -> None:
        up = [node_id for node_id in partition.replicas if self.brokers[node_id].is_up]
        partition.elect(up[0] if up else NO_LEADER)

    def _topic(self, name: str) -> FakeTopic:
        topic = self.topics.get(name)
        if topic is None:
            raise ValueError(f"there is no topic {name!r}, only {sorted(self.topics)}")
        return topic

    def _partition(self, topic: str, number: int) -> FakePartition:
        partitions = self._topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise ValueError(f"topic {topic!r} has no partition {number}, only 0 to {len(partitions) - 1}")
        return partitions[number]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once something that happens in the cluster makes `condition()` true."""
        await checkpoint()
        while not condition():
            if self._awaited is None:
                self._awaited = anyio.Event()
            await self._awaited.wait()

    def notify(self) -> None:
        """Have `until` look again."""
        if self._awaited is not None:
            self._awaited.set()
            self._awaited = None
