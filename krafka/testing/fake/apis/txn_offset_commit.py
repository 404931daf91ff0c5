"""TxnOffsetCommit: offsets that count for a group once the transaction is committed (KIP-98, KIP-447)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.txn_offset_commit import (
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)
from krafka.errors import OffsetMetadataTooLargeError, UnknownTopicOrPartitionError
from krafka.testing.fake.apis.handler import ApiHandler, Call
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.groups import FakeOffset
from krafka.testing.fake.transactions import CoordinatorRefusedError
from krafka.testing.fake.verification import verify_offsets

if TYPE_CHECKING:
    from krafka._wire.txn_offset_commit import TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.faults import Place
    from krafka.testing.fake.transactions import PartitionName

LONGEST_METADATA = 4096
"""Kafka's default of `offset.metadata.max.bytes`."""

_Wanted = dict["PartitionName", "TxnOffsetCommitRequestPartition"]


def _wanted(body: TxnOffsetCommitRequest) -> _Wanted:
    return {(topic.name, each.partition_index): each for topic in body.topics for each in topic.partitions}


def _places(_cluster: FakeCluster, body: TxnOffsetCommitRequest) -> list[Place]:
    return [*_wanted(body)]


def _answer(call: Call, body: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
    wanted = _wanted(body)
    codes = {name: code for name, each in wanted.items() if (code := _refused(call, name, each))}
    taken = {name: each for name, each in wanted.items() if name not in codes}
    if taken:
        try:
            _commit(call, body, taken)
        except CoordinatorRefusedError as refusal:
            codes.update(dict.fromkeys(taken, refusal.code))
    for name in taken:
        if (fault := call.strike.code_for(*name)) is not None:
            codes[name] = fault.error_code
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    TxnOffsetCommitResponsePartition(
                        partition_index=each.partition_index,
                        error_code=codes.get((topic.name, each.partition_index), 0),
                    )
                    for each in topic.partitions
                ],
            )
            for topic in body.topics
        ]
    )


def _refused(call: Call, name: PartitionName, wanted: TxnOffsetCommitRequestPartition) -> int:
    fault = call.strike.code_for(*name)
    if fault is not None and not fault.after_append:
        return fault.error_code
    if call.cluster.find_partition(*name) is None:
        return UnknownTopicOrPartitionError.code or 0
    if len(wanted.committed_metadata or "") > LONGEST_METADATA:
        return OffsetMetadataTooLargeError.code or 0
    return 0


def _commit(call: Call, body: TxnOffsetCommitRequest, wanted: _Wanted) -> None:
    coordinators = call.cluster.coordinators
    coordinators.check(KeyType.GROUP, body.group_id, call.broker_id)
    producer = body.producer_id, body.producer_epoch
    group = coordinators.group(body.group_id)
    verify_offsets(call, group, body.transactional_id, producer)
    group.check(body.member_id, body.group_instance_id, body.generation_id)
    group.commit(
        producer,
        {
            name: FakeOffset(each.committed_offset, each.committed_leader_epoch, each.committed_metadata)
            for name, each in wanted.items()
        },
    )


HANDLER = ApiHandler("TxnOffsetCommit", _places, _answer)
