"""EndTxn: a transaction is committed or aborted; from version 5 on with a new epoch for the next (KIP-890)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.end_txn import EndTxnResponse
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places, whole_code
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.transactions import NO_EPOCH, NO_PRODUCER_ID

if TYPE_CHECKING:
    from krafka._wire.end_txn import EndTxnRequest

_FENCED_FROM = 2
_SECOND_PROTOCOL_FROM = 5


def _answer(call: Call, body: EndTxnRequest) -> EndTxnResponse:
    following = NO_PRODUCER_ID, NO_EPOCH

    def end() -> None:
        nonlocal following
        coordinators = call.cluster.coordinators
        coordinators.check(KeyType.TRANSACTION, body.transactional_id, call.broker_id)
        following = coordinators.table.end(
            body.transactional_id,
            (body.producer_id, body.producer_epoch),
            commit=body.committed,
            version=2 if call.request.version >= _SECOND_PROTOCOL_FROM else 1,
        )

    code = whole_code(call, end, fenced_since=_FENCED_FROM)
    if code:
        return EndTxnResponse(error_code=code)
    return EndTxnResponse(producer_id=following[0], producer_epoch=following[1])


HANDLER = ApiHandler("EndTxn", no_places, _answer)
