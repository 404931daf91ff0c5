"""FindCoordinator: which broker answers for a group or a transactional id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.find_coordinator import FindCoordinatorResponse, FindCoordinatorResponseCoordinator
from krafka.errors import CoordinatorNotAvailableError, InvalidRequestError
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.topics import NO_LEADER

if TYPE_CHECKING:
    from krafka._wire.find_coordinator import FindCoordinatorRequest

_BATCHED_FROM = 4
_NOBODY = -1


def _answer(call: Call, body: FindCoordinatorRequest) -> FindCoordinatorResponse:
    if call.request.version >= _BATCHED_FROM:
        return FindCoordinatorResponse(
            coordinators=[_find(call, body.key_type, key) for key in body.coordinator_keys]
        )
    found = _find(call, body.key_type, body.key)
    return FindCoordinatorResponse(
        error_code=found.error_code,
        error_message=found.error_message,
        node_id=found.node_id,
        host=found.host,
        port=found.port,
    )


def _find(call: Call, key_type: int, key: str) -> FindCoordinatorResponseCoordinator:
    fault = call.strike.code_for()
    if fault is not None:
        return _nobody(key, fault.error_code, fault.message)
    if key_type not in set(KeyType):
        return _nobody(key, InvalidRequestError.code, f"{key_type} is no type of key")
    node_id = call.cluster.coordinators.told(KeyType(key_type), key)
    if node_id == NO_LEADER:
        return _nobody(key, CoordinatorNotAvailableError.code, "The coordinator is not available.")
    host, port, _ = call.cluster.addresses[node_id]
    return FindCoordinatorResponseCoordinator(
        key=key, node_id=node_id, host=host, port=port, error_code=0, error_message=None
    )


def _nobody(key: str, code: int | None, message: str | None) -> FindCoordinatorResponseCoordinator:
    return FindCoordinatorResponseCoordinator(
        key=key, node_id=_NOBODY, host="", port=_NOBODY, error_code=code or 0, error_message=message
    )


HANDLER = ApiHandler("FindCoordinator", no_places, _answer)
