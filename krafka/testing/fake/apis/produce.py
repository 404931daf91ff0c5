"""Produce: batches checked and appended as Kafka's leaders do, partition by partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.frames import joined_records
from krafka._wire.produce import (
    ProduceResponse,
    ProduceResponseBatchIndexAndErrorMessage,
    ProduceResponseLeaderIdAndEpoch,
    ProduceResponseNodeEndpoint,
    ProduceResponsePartition,
    ProduceResponseTopic,
)
from krafka.compression import Compression
from krafka.errors import (
    FencedLeaderEpochError,
    InvalidRequiredAcksError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    TransactionalIdAuthorizationFailedError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
    UnsupportedCompressionTypeError,
)
from krafka.testing.fake.apis.handler import ApiHandler, Call, ConnectionDroppedError
from krafka.testing.fake.batches import BatchRefusedError, read_batch, transactional_producer
from krafka.testing.fake.limits import check_records, check_size
from krafka.testing.fake.verification import verify_records

if TYPE_CHECKING:
    from krafka._wire.produce import (
        ProduceRequest,
        ProduceRequestPartitionData,
        ProduceRequestTopicData,
    )
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.faults import Fault, Place
    from krafka.testing.fake.topics import FakePartition, FakeTopic

_BY_ID_FROM = 13
_ZSTD_FROM = 7
_LEADERS_TOLD_FROM = 10
_SECOND_PROTOCOL_FROM = 12
_LEADER_CODES = frozenset({NotLeaderOrFollowerError.code, FencedLeaderEpochError.code})
_ALL_REPLICAS = -1


def _places(cluster: FakeCluster, body: ProduceRequest) -> list[Place]:
    return [
        (_name(cluster, topic), partition.index)
        for topic in body.topic_data
        for partition in topic.partition_data
    ]


def _name(cluster: FakeCluster, data: ProduceRequestTopicData) -> str:
    topic = cluster.topic_by_id(data.topic_id)
    return data.name or (topic.name if topic else "")


def _answer(call: Call, body: ProduceRequest) -> ProduceResponse | None:
    batches = [partition.records or b"" for topic in body.topic_data for partition in topic.partition_data]
    nameless = body.transactional_id is None and any(
        transactional_producer(joined_records(each)) for each in batches
    )
    response = ProduceResponse(
        responses=[_topic(call, body, data, nameless=nameless) for data in body.topic_data]
    )
    answers = [answer for topic in response.responses for answer in topic.partition_responses]
    if body.acks == 0:
        if any(answer.error_code for answer in answers):
            raise ConnectionDroppedError("records without acknowledgement were refused")
        return None
    if call.request.version >= _LEADERS_TOLD_FROM:
        named = {answer.current_leader.leader_id for answer in answers} & set(call.cluster.brokers)
        response.node_endpoints = [
            ProduceResponseNodeEndpoint(node_id=node_id, host=host, port=port, rack=rack)
            for node_id, (host, port, rack) in call.cluster.addresses.items()
            if node_id in named
        ]
    return response


def _topic(
    call: Call, body: ProduceRequest, data: ProduceRequestTopicData, *, nameless: bool
) -> ProduceResponseTopic:
    name = _name(call.cluster, data)
    topic = call.cluster.topics.get(name)
    return ProduceResponseTopic(
        name=data.name,
        topic_id=data.topic_id,
        partition_responses=[
            _nameless(call, each.index) if nameless else _partition(call, body, name, topic, each)
            for each in data.partition_data
        ],
    )


def _nameless(call: Call, index: int) -> ProduceResponsePartition:
    code = TransactionalIdAuthorizationFailedError.code or 0
    return _refused(call, index, code, None, {}, None)


def _partition(
    call: Call, body: ProduceRequest, name: str, topic: FakeTopic | None, data: ProduceRequestPartitionData
) -> ProduceResponsePartition:
    partition = call.cluster.find_partition(name, data.index)
    fault = call.strike.code_for(name, data.index)
    if fault is not None and not fault.after_append:
        return _faulty(call, data.index, fault, partition)
    answer = ProduceResponsePartition(index=data.index)
    try:
        _append(call, body, topic, partition, data, answer)
    except BatchRefusedError as refusal:
        answer = _refused(call, data.index, refusal.code, refusal.message, refusal.record_errors, partition)
        if not refusal.tells_log_start:
            answer.log_start_offset = -1
    if fault is not None:
        appended_at = answer.base_offset
        answer = _faulty(call, data.index, fault, partition)
        # Kafka's delayed answers keep the offset of what was appended.
        answer.base_offset = appended_at
    return answer


def _append(
    call: Call,
    body: ProduceRequest,
    topic: FakeTopic | None,
    partition: FakePartition | None,
    data: ProduceRequestPartitionData,
    answer: ProduceResponsePartition,
) -> None:
    version = call.request.version
    if topic is None or partition is None:
        raise BatchRefusedError(
            UnknownTopicIdError if version >= _BY_ID_FROM and topic is None else UnknownTopicOrPartitionError,
            f"broker {call.broker_id} knows no {topic.name if topic else 'such topic'}-{data.index}",
            tells_log_start=False,
        )
    if partition.leader_id != call.broker_id:
        raise BatchRefusedError(
            NotLeaderOrFollowerError,
            f"broker {call.broker_id} does not lead {topic.name}-{partition.number}",
            tells_log_start=False,
        )
    if body.acks not in (-1, 0, 1):
        raise BatchRefusedError(
            InvalidRequiredAcksError,
            f"acks is {body.acks}, only -1, 0 and 1 are taken",
            tells_log_start=False,
        )
    records = joined_records(data.records or b"")
    producer = transactional_producer(records)
    if producer is not None and body.transactional_id is not None:
        verify_records(call, body.transactional_id, producer, partition.log)
    if body.acks == _ALL_REPLICAS:
        _check_replicas(call, topic, partition)
    check_size(topic, records)
    batch = read_batch(records)
    if batch.codec is Compression.ZSTD and version < _ZSTD_FROM:
        raise BatchRefusedError(UnsupportedCompressionTypeError, f"zstd needs Produce version {_ZSTD_FROM}")
    now_ms = call.cluster.now_ms()
    check_records(topic, batch, now_ms)
    append_time = now_ms if topic.stamps_append_time else None
    is_known = batch.is_transactional and version >= _SECOND_PROTOCOL_FROM
    appended = partition.log.append(batch, append_time=append_time, is_known=is_known)
    answer.base_offset = appended.base_offset
    if appended.is_duplicate or append_time is not None:
        # Kafka tells it of a batch that was there before even if the topic keeps the records' own.
        answer.log_append_time_ms = appended.newest_timestamp
    answer.log_start_offset = partition.log.start_offset


def _check_replicas(call: Call, topic: FakeTopic, partition: FakePartition) -> None:
    in_sync = sum(call.cluster.brokers[node_id].is_up for node_id in partition.replicas)
    if in_sync < min(topic.min_in_sync_replicas, len(partition.replicas)):
        raise BatchRefusedError(
            NotEnoughReplicasError,
            f"{in_sync} replicas are in sync, min.insync.replicas is {topic.min_in_sync_replicas}",
        )


def _faulty(
    call: Call, index: int, fault: Fault, partition: FakePartition | None
) -> ProduceResponsePartition:
    answer = _refused(call, index, fault.error_code, fault.message, dict(fault.record_errors), partition)
    if fault.log_start_offset is not None:
        answer.log_start_offset = fault.log_start_offset
    return answer


def _refused(
    call: Call,
    index: int,
    code: int,
    message: str | None,
    record_errors: dict[int, str],
    partition: FakePartition | None,
) -> ProduceResponsePartition:
    answer = ProduceResponsePartition(
        index=index,
        error_code=code,
        base_offset=-1,
        error_message=message,
        record_errors=[
            ProduceResponseBatchIndexAndErrorMessage(batch_index=at, batch_index_error_message=text)
            for at, text in sorted(record_errors.items())
        ],
    )
    if partition is not None:
        answer.log_start_offset = partition.log.start_offset
        tells = call.request.version >= _LEADERS_TOLD_FROM and call.cluster.leader_hints
        if tells and code in _LEADER_CODES and partition.leader_id != call.broker_id:
            answer.current_leader = ProduceResponseLeaderIdAndEpoch(
                leader_id=partition.leader_id, leader_epoch=partition.leader_epoch
            )
    return answer


HANDLER = ApiHandler("Produce", _places, _answer)
