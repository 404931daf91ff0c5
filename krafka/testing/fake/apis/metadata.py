"""Metadata: the brokers, and the leaders of partitions, as the cluster tells them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from krafka.errors import (
    InvalidTopicError,
    LeaderNotAvailableError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from krafka.testing.fake.apis.handler import ApiHandler, Call
from krafka.testing.fake.topics import NO_LEADER, is_legal_name

if TYPE_CHECKING:
    from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.faults import Place
    from krafka.testing.fake.topics import FakePartition, FakeTopic, Picture

# Version 0 has no null list: an empty one asks for all topics.
_EMPTY_MEANS_NONE_FROM = 1
_AUTO_CREATE_CHOICE_FROM = 4


def _places(cluster: FakeCluster, body: MetadataRequest) -> list[Place]:
    if body.topics is None:
        return [(name, None) for name in cluster.topics]
    return [(_name(cluster, entry), None) for entry in body.topics]


def _name(cluster: FakeCluster, entry: MetadataRequestTopic) -> str:
    topic = None if entry.name else cluster.topic_by_id(entry.topic_id)
    return entry.name or (topic.name if topic else "")


def _answer(call: Call, body: MetadataRequest) -> MetadataResponse:
    picture = call.cluster.picture(call.broker_id)
    wants_all = body.topics is None or (not body.topics and call.request.version < _EMPTY_MEANS_NONE_FROM)
    if wants_all:
        topics = [_told(call, picture, topic) for topic in picture.topics.values() if topic.is_told]
    else:
        may_create = body.allow_auto_topic_creation or call.request.version < _AUTO_CREATE_CHOICE_FROM
        topics = [_one(call, picture, entry, may_create=may_create) for entry in body.topics or ()]
    return MetadataResponse(
        brokers=[
            MetadataResponseBroker(node_id=node_id, host=host, port=port, rack=rack)
            for node_id, (host, port, rack) in picture.brokers.items()
        ],
        cluster_id=call.cluster.cluster_id,
        controller_id=min(picture.brokers, default=-1),
        topics=topics,
    )


def _one(
    call: Call, picture: Picture, entry: MetadataRequestTopic, *, may_create: bool
) -> MetadataResponseTopic:
    topic = picture.find(entry.name, entry.topic_id)
    if topic is not None:
        return _told(call, picture, topic)
    fault = call.strike.code_for(entry.name or "", None)
    if fault is not None:
        code: int | None = fault.error_code
    elif not entry.name:
        code = UnknownTopicIdError.code
    elif not is_legal_name(entry.name):
        code = InvalidTopicError.code
    else:
        if may_create and call.cluster.auto_create_topics and entry.name not in call.cluster.topics:
            # Like Kafka's controller, which creates it while this answer is on its way.
            call.cluster.create_topic(entry.name)
        code = UnknownTopicOrPartitionError.code
    return MetadataResponseTopic(name=entry.name, topic_id=entry.topic_id, error_code=code or 0)


def _told(call: Call, picture: Picture, topic: FakeTopic) -> MetadataResponseTopic:
    fault = call.strike.code_for(topic.name, None)
    if fault is not None and fault.partition is None:
        return MetadataResponseTopic(name=topic.name, topic_id=topic.topic_id, error_code=fault.error_code)
    told = MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[_partition(picture, partition) for partition in topic.partitions],
    )
    if fault is not None and fault.partition is not None and fault.partition < len(told.partitions):
        told.partitions[fault.partition].error_code = fault.error_code
        told.partitions[fault.partition].leader_id = NO_LEADER
    return told


def _partition(picture: Picture, partition: FakePartition) -> MetadataResponsePartition:
    leaderless = partition.told_leader == NO_LEADER
    alive = [node_id for node_id in partition.replicas if node_id in picture.brokers]
    return MetadataResponsePartition(
        error_code=LeaderNotAvailableError.code or 0 if leaderless else 0,
        partition_index=partition.number,
        leader_id=partition.told_leader,
        leader_epoch=partition.told_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=alive,
        offline_replicas=[node_id for node_id in partition.replicas if node_id not in alive],
    )


HANDLER = ApiHandler("Metadata", _places, _answer)
