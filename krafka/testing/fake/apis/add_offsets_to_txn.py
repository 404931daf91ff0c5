"""AddOffsetsToTxn: a group whose offsets are to be committed in a transaction (KIP-98)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnResponse
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places, whole_code
from krafka.testing.fake.coordinators import KeyType

if TYPE_CHECKING:
    from krafka._wire.add_offsets_to_txn import AddOffsetsToTxnRequest

_FENCED_FROM = 2


def _answer(call: Call, body: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse:
    def add() -> None:
        coordinators = call.cluster.coordinators
        coordinators.check(KeyType.TRANSACTION, body.transactional_id, call.broker_id)
        producer = body.producer_id, body.producer_epoch
        coordinators.table.add(body.transactional_id, producer, call.now, groups=[body.group_id])

    return AddOffsetsToTxnResponse(error_code=whole_code(call, add, fenced_since=_FENCED_FROM))


HANDLER = ApiHandler("AddOffsetsToTxn", no_places, _answer)
