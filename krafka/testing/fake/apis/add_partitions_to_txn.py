"""AddPartitionsToTxn: partitions that are to take part in a transaction, asked for by clients (versions 0 to 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.add_partitions_to_txn import (
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResponsePartitionResult,
    AddPartitionsToTxnResponseTopicResult,
)
from krafka.errors import OperationNotAttemptedError, UnknownTopicOrPartitionError
from krafka.testing.fake.apis.handler import ApiHandler, Call, fenced_code
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.transactions import CoordinatorRefusedError

if TYPE_CHECKING:
    from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.faults import Place
    from krafka.testing.fake.transactions import PartitionName

_FENCED_FROM = 2


def _names(body: AddPartitionsToTxnRequest) -> list[PartitionName]:
    return [(topic.name, number) for topic in body.v3_and_below_topics for number in topic.partitions]


def _places(_cluster: FakeCluster, body: AddPartitionsToTxnRequest) -> list[Place]:
    return [*_names(body)]


def _answer(call: Call, body: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse:
    names = _names(body)
    codes = {name: code for name in names if (code := _refused(call, name))}
    if codes:
        # One partition that cannot be added keeps the others from being added.
        codes = {name: codes.get(name, OperationNotAttemptedError.code or 0) for name in names}
    else:
        try:
            _add(call, body)
        except CoordinatorRefusedError as refusal:
            codes = dict.fromkeys(names, fenced_code(refusal, call, since=_FENCED_FROM))
        for name in names:
            if (fault := call.strike.code_for(*name)) is not None:
                codes[name] = fault.error_code
    return AddPartitionsToTxnResponse(
        results_by_topic_v3_and_below=[
            AddPartitionsToTxnResponseTopicResult(
                name=topic.name,
                results_by_partition=[
                    AddPartitionsToTxnResponsePartitionResult(
                        partition_index=number, partition_error_code=codes.get((topic.name, number), 0)
                    )
                    for number in topic.partitions
                ],
            )
            for topic in body.v3_and_below_topics
        ]
    )


def _refused(call: Call, name: PartitionName) -> int:
    fault = call.strike.code_for(*name)
    if fault is not None and not fault.after_append:
        return fault.error_code
    return 0 if call.cluster.find_partition(*name) else UnknownTopicOrPartitionError.code or 0


def _add(call: Call, body: AddPartitionsToTxnRequest) -> None:
    coordinators = call.cluster.coordinators
    transactional_id = body.v3_and_below_transactional_id
    coordinators.check(KeyType.TRANSACTION, transactional_id, call.broker_id)
    producer = body.v3_and_below_producer_id, body.v3_and_below_producer_epoch
    coordinators.table.add(transactional_id, producer, call.now, partitions=_names(body))


HANDLER = ApiHandler("AddPartitionsToTxn", _places, _answer)
