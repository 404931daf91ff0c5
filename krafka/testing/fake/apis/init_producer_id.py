"""InitProducerId: a producer id and epoch for each producer that asks (KIP-98, KIP-360)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.init_producer_id import InitProducerIdResponse
from krafka.errors import InvalidRequestError
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places, whole_code
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.transactions import NO_EPOCH, NO_PRODUCER_ID, CoordinatorRefusedError

if TYPE_CHECKING:
    from krafka._wire.init_producer_id import InitProducerIdRequest

_FENCED_FROM = 4


def _answer(call: Call, body: InitProducerIdRequest) -> InitProducerIdResponse:
    given = NO_PRODUCER_ID, NO_EPOCH

    def initialize() -> None:
        nonlocal given
        given = _initialize(call, body)

    code = whole_code(call, initialize, fenced_since=_FENCED_FROM)
    if code:
        given = NO_PRODUCER_ID, NO_EPOCH
    return InitProducerIdResponse(error_code=code, producer_id=given[0], producer_epoch=given[1])


def _initialize(call: Call, body: InitProducerIdRequest) -> tuple[int, int]:
    expected: tuple[int, int] | None = body.producer_id, body.producer_epoch
    if (body.producer_id == NO_PRODUCER_ID) is not (body.producer_epoch == NO_EPOCH):
        raise CoordinatorRefusedError(InvalidRequestError)
    if body.producer_id == NO_PRODUCER_ID:
        expected = None
    if body.transactional_id is None:
        # Kafka gives a new id to producers without transactions, whatever they had.
        return call.cluster.new_producer()
    coordinators = call.cluster.coordinators
    coordinators.check(KeyType.TRANSACTION, body.transactional_id, call.broker_id)
    transaction = coordinators.table.initialize(
        body.transactional_id, body.transaction_timeout_ms / 1000, expected
    )
    return transaction.producer_id, transaction.producer_epoch


HANDLER = ApiHandler("InitProducerId", no_places, _answer)
