"""InitProducerId: a producer id for each producer that asks, without transactions (KIP-98)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.init_producer_id import InitProducerIdResponse
from krafka.errors import TransactionalIdNotFoundError
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places

if TYPE_CHECKING:
    from krafka._wire.init_producer_id import InitProducerIdRequest


def _answer(call: Call, body: InitProducerIdRequest) -> InitProducerIdResponse:
    fault = call.strike.code_for()
    if fault is not None and not fault.after_append:
        return InitProducerIdResponse(error_code=fault.error_code)
    if body.transactional_id is not None:
        # Without coordinators there is none for this id either.
        return InitProducerIdResponse(error_code=TransactionalIdNotFoundError.code or 0)
    producer_id, epoch = call.cluster.new_producer()
    if fault is not None:
        return InitProducerIdResponse(error_code=fault.error_code)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=epoch)


HANDLER = ApiHandler("InitProducerId", no_places, _answer)
