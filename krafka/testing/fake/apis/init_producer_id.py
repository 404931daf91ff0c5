"""InitProducerId: a producer id and epoch for each producer that asks (KIP-98, KIP-360)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.init_producer_id import InitProducerIdResponse
from krafka.errors import InvalidRequestError
from krafka.testing.fake.apis.handler import ApiHandler, Call, fenced_code, no_places
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.transactions import NO_EPOCH, NO_PRODUCER_ID, CoordinatorRefusedError

if TYPE_CHECKING:
    from krafka._wire.init_producer_id import InitProducerIdRequest

_FENCED_FROM = 4


def _answer(call: Call, body: InitProducerIdRequest) -> InitProducerIdResponse:
    fault = call.strike.code_for()
    if fault is not None and not fault.after_append:
        return _refusal(fault.error_code)
    try:
        producer_id, epoch = _initialize(call, body)
    except CoordinatorRefusedError as refusal:
        code = fault.error_code if fault else fenced_code(refusal, call, since=_FENCED_FROM)
        return _refusal(code)
    if fault is not None:
        return _refusal(fault.error_code)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=epoch)


def _refusal(code: int) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_EPOCH)


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
