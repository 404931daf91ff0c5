"""What a broker asks the transaction's coordinator before it appends (KIP-890): is this part of a transaction?

With the second version of the protocol the question adds what it asks about; with the first it must have been added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.errors import (
    ConcurrentTransactionsError,
    CoordinatorNotAvailableError,
    InvalidProducerEpochError,
    InvalidTxnStateError,
    NotEnoughReplicasError,
    ProducerFencedError,
    TransactionAbortableError,
)
from krafka.testing.fake.batches import BatchRefusedError
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.transactions import CoordinatorRefusedError

if TYPE_CHECKING:
    from krafka.errors import KafkaError
    from krafka.testing.fake.apis.handler import Call
    from krafka.testing.fake.groups import FakeGroup
    from krafka.testing.fake.log import PartitionLog

_PRODUCE_ADDS_FROM = 12
_PRODUCE_KNOWS_ABORTABLE_FROM = 11
_OFFSETS_ADD_FROM = 5
_OFFSETS_KNOW_ABORTABLE_FROM = 4


def verify_records(call: Call, transactional_id: str, producer: tuple[int, int], log: PartitionLog) -> None:
    """Refuse a batch that is not part of its producer's transaction. Raises `BatchRefusedError`."""
    if log.is_in_transaction(producer):
        return
    partition = log.topic, log.partition
    version = call.request.version
    coordinators = call.cluster.coordinators
    try:
        coordinators.check_any(KeyType.TRANSACTION, transactional_id)
        if version >= _PRODUCE_ADDS_FROM:
            coordinators.table.add(transactional_id, producer, call.now, partitions=[partition])
        else:
            coordinators.table.verify(transactional_id, producer, partition=partition)
    except CoordinatorRefusedError as refusal:
        error = _as_told(refusal.error, knows_abortable=version >= _PRODUCE_KNOWS_ABORTABLE_FROM)
        if error is CoordinatorNotAvailableError or (
            error is ConcurrentTransactionsError and version < _PRODUCE_ADDS_FROM
        ):
            # What clients of all ages take as a reason to ask again, and nothing else.
            error = NotEnoughReplicasError
        raise BatchRefusedError(
            error,
            f"{log.topic}-{log.partition} takes no part in the transaction of {transactional_id!r} "
            f"with producer id {producer[0]} and epoch {producer[1]}: {error.__name__}",
            tells_log_start=False,
        ) from refusal


def verify_offsets(call: Call, group: FakeGroup, transactional_id: str, producer: tuple[int, int]) -> None:
    """Refuse offsets that are not part of their producer's transaction. Raises `CoordinatorRefusedError`."""
    if group.is_in_transaction(producer):
        return
    version = call.request.version
    coordinators = call.cluster.coordinators
    try:
        coordinators.check_any(KeyType.TRANSACTION, transactional_id)
        if version >= _OFFSETS_ADD_FROM:
            coordinators.table.add(transactional_id, producer, call.now, groups=[group.name])
        else:
            coordinators.table.verify(transactional_id, producer, group=group.name)
    except CoordinatorRefusedError as refusal:
        raise CoordinatorRefusedError(
            _as_told(refusal.error, knows_abortable=version >= _OFFSETS_KNOW_ABORTABLE_FROM)
        ) from refusal


def _as_told(error: type[KafkaError], *, knows_abortable: bool) -> type[KafkaError]:
    if error is ProducerFencedError:
        return InvalidProducerEpochError
    if error is TransactionAbortableError and not knows_abortable:
        return InvalidTxnStateError
    return error
