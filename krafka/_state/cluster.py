"""The snapshot of the cluster: which brokers there are, and which of them leads each partition in use."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from krafka.errors import LeaderNotAvailableError, ProtocolError, UnknownTopicOrPartitionError, error_for_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from krafka._wire.metadata import (
        MetadataResponse,
        MetadataResponsePartition,
        MetadataResponseTopic,
    )

NO_LEADER = -1
UNKNOWN_EPOCH = -1
NO_TOPIC_ID = bytes(16)

# Before this version a broker may report an old epoch while a reassignment runs (Kafka before 2.4).
_RELIABLE_EPOCHS_FROM = 9
# A real broker lists every partition; the bound keeps one hostile index from filling the memory.
_MAX_MISSING_PARTITIONS = 10_000


@dataclass(frozen=True, slots=True)
class Broker:
    """One broker as the cluster advertises it to clients of this listener."""

    node_id: int
    host: str
    port: int
    rack: str | None = None

    def __str__(self) -> str:
        return f"broker {self.node_id} ({self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class PartitionMetadata:
    """Where one partition is led."""

    partition: int
    leader_id: int
    """Node id of the leader, or -1 while there is none."""
    leader_epoch: int
    """Counts the elections of this partition; -1 where the broker does not tell it reliably."""
    error_code: int = 0
    """What the broker said about this partition: 5 while an election is going on."""


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """What is known of one topic."""

    name: str
    topic_id: bytes
    """The 16 bytes of the topic's id; zeros from brokers before Kafka 2.8."""
    partitions: tuple[PartitionMetadata, ...]
    """Indexed by partition number; empty while the topic is not known to exist."""
    error_code: int = 0
    """The topic's error in the last response. With a passing error the partitions known before stay."""


def _no_brokers() -> Mapping[int, Broker]:
    return MappingProxyType({})


def _no_topics() -> Mapping[str, TopicMetadata]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cluster:
    """An immutable picture of the cluster. What did not change keeps its identity from one to the next."""

    brokers: Mapping[int, Broker] = field(default_factory=_no_brokers)
    topics: Mapping[str, TopicMetadata] = field(default_factory=_no_topics)
    cluster_id: str | None = None
    generation: int = 0
    """Grows by one with each picture that differs from the one before."""

    def leader(self, topic: str, partition: int) -> Broker | None:
        """The broker to produce to, or None while the partition or its leader is not known."""
        metadata = self.topics.get(topic)
        if metadata is None or not 0 <= partition < len(metadata.partitions):
            return None
        return self.brokers.get(metadata.partitions[partition].leader_id)

    def leaderless(self, topic: str) -> tuple[int, ...]:
        """The partitions of a topic that nobody known leads."""
        metadata = self.topics.get(topic)
        if metadata is None:
            return ()
        return tuple(entry.partition for entry in metadata.partitions if entry.leader_id not in self.brokers)


def merge(cluster: Cluster, response: MetadataResponse, *, version: int) -> Cluster:
    """The picture after a Metadata response of `version`; the same object when it says nothing new.

    Brokers are replaced by the response's. Topics in the response replace the known ones, the others stay.
    Within one topic id the leader epochs decide: a partition with an older epoch than the known one comes
    from a broker that lags behind and is ignored, and partitions it does not list yet stay. A new topic id
    means that the topic was deleted and made again, a new cluster id that these addresses lead to another
    cluster: then nothing known before counts. Raises `ProtocolError` for impossible partition numbers.
    """
    moved = (
        None not in (cluster.cluster_id, response.cluster_id) and cluster.cluster_id != response.cluster_id
    )
    known_topics: Mapping[str, TopicMetadata] = {} if moved else cluster.topics
    topics = dict(known_topics)
    for entry in response.topics:
        if entry.name is not None:
            known = topics.get(entry.name)
            merged = _merge_topic(known, entry, entry.name, epochs=version >= _RELIABLE_EPOCHS_FROM)
            topics[entry.name] = known if known is not None and known == merged else merged
    brokers = {
        entry.node_id: Broker(entry.node_id, entry.host, entry.port, entry.rack) for entry in response.brokers
    }
    # Before version 2 there is no cluster id in the response.
    cluster_id = response.cluster_id if response.cluster_id is not None else cluster.cluster_id
    return _successor(cluster, brokers=brokers, topics=topics, cluster_id=cluster_id)


def with_leader(
    cluster: Cluster,
    topic: str,
    partition: int,
    leader_id: int,
    leader_epoch: int,
    endpoints: Iterable[Broker] = (),
) -> Cluster:
    """The picture after a Produce response named the new leader of a partition (KIP-951).

    The hint is taken only if its epoch is newer than the known one and the leader's address is known or
    among `endpoints`; otherwise the same object comes back. Of the endpoints only the leader's is used.
    """
    metadata = cluster.topics.get(topic)
    if metadata is None or not 0 <= partition < len(metadata.partitions):
        return cluster
    if leader_epoch <= metadata.partitions[partition].leader_epoch:
        return cluster
    brokers = dict(cluster.brokers)
    brokers.update((broker.node_id, broker) for broker in endpoints if broker.node_id == leader_id)
    if leader_id not in brokers:
        return cluster
    partitions = list(metadata.partitions)
    partitions[partition] = PartitionMetadata(partition, leader_id, leader_epoch)
    topics = {**cluster.topics, topic: replace(metadata, partitions=tuple(partitions))}
    return _successor(cluster, brokers=brokers, topics=topics, cluster_id=cluster.cluster_id)


def without_topics(cluster: Cluster, names: Iterable[str]) -> Cluster:
    """The picture without the topics named; the same object when none of them was in it."""
    gone = frozenset(names)
    topics = {name: metadata for name, metadata in cluster.topics.items() if name not in gone}
    return _successor(cluster, brokers=cluster.brokers, topics=topics, cluster_id=cluster.cluster_id)


def _successor(
    cluster: Cluster,
    *,
    brokers: Mapping[int, Broker],
    topics: Mapping[str, TopicMetadata],
    cluster_id: str | None,
) -> Cluster:
    changes: dict[str, Any] = {}
    if brokers != cluster.brokers:
        changes["brokers"] = MappingProxyType(dict(brokers))
    if topics != cluster.topics:
        changes["topics"] = MappingProxyType(dict(topics))
    if cluster_id != cluster.cluster_id:
        changes["cluster_id"] = cluster_id
    if not changes:
        return cluster
    return replace(cluster, generation=cluster.generation + 1, **changes)


def _merge_topic(
    known: TopicMetadata | None, entry: MetadataResponseTopic, name: str, *, epochs: bool
) -> TopicMetadata:
    if entry.error_code:
        return _topic_with_error(known, entry, name)
    topic_id = entry.topic_id
    before: tuple[PartitionMetadata, ...] = ()
    if known is not None:
        if NO_TOPIC_ID in (known.topic_id, topic_id) or known.topic_id == topic_id:
            before = known.partitions
        if topic_id == NO_TOPIC_ID:
            # During a rolling upgrade brokers with and without topic ids answer in turn.
            topic_id = known.topic_id
            if topic_id == NO_TOPIC_ID and len(entry.partitions) < len(before):
                # Partitions are never taken away, so without ids fewer of them mean another topic.
                before = ()
    partitions = _merge_partitions(before, entry.partitions, name, epochs=epochs)
    return TopicMetadata(name, topic_id, partitions)


def _topic_with_error(known: TopicMetadata | None, entry: MetadataResponseTopic, name: str) -> TopicMetadata:
    """A passing error leaves the partitions known: a broker that is just starting knows no topic yet."""
    if known is not None and error_for_code(entry.error_code).is_retriable:
        # Without ids this is the only sign of a deletion, and the epochs of the next topic restart at 0.
        deleted = entry.error_code == UnknownTopicOrPartitionError.code and known.topic_id == NO_TOPIC_ID
        if not deleted:
            return replace(known, error_code=entry.error_code)
    return TopicMetadata(name, entry.topic_id, (), entry.error_code)


def _merge_partitions(
    before: tuple[PartitionMetadata, ...],
    entries: Iterable[MetadataResponsePartition],
    topic: str,
    *,
    epochs: bool,
) -> tuple[PartitionMetadata, ...]:
    by_number = {entry.partition_index: entry for entry in entries}
    highest = max(by_number, default=-1)
    if min(by_number, default=0) < 0 or highest >= len(by_number) + len(before) + _MAX_MISSING_PARTITIONS:
        raise ProtocolError(
            f"Metadata response: topic {topic!r} lists {len(by_number)} partitions with numbers from "
            f"{min(by_number)} to {highest}; numbers start at 0 and have no such gaps"
        )
    merged: list[PartitionMetadata] = []
    for number in range(max(highest + 1, len(before))):
        known = before[number] if number < len(before) else None
        entry = by_number.get(number)
        if entry is not None:
            merged.append(_merge_partition(known, entry, epochs=epochs))
        elif known is not None:
            merged.append(known)
        else:
            merged.append(
                PartitionMetadata(number, NO_LEADER, UNKNOWN_EPOCH, LeaderNotAvailableError.code or 0)
            )
    return tuple(merged)


def _merge_partition(
    known: PartitionMetadata | None, entry: MetadataResponsePartition, *, epochs: bool
) -> PartitionMetadata:
    leader_epoch = entry.leader_epoch if epochs else UNKNOWN_EPOCH
    if known is not None:
        if leader_epoch == UNKNOWN_EPOCH:
            # An answer without an epoch is believed; the known epoch still tells older answers apart.
            leader_epoch = known.leader_epoch
        unchanged = (
            leader_epoch == known.leader_epoch
            and entry.leader_id == known.leader_id
            and entry.error_code == known.error_code
        )
        if unchanged or leader_epoch < known.leader_epoch:
            return known
    return PartitionMetadata(entry.partition_index, entry.leader_id, leader_epoch, entry.error_code)
