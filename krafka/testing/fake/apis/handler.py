"""What the module of an API provides, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from krafka.errors import InvalidProducerEpochError, ProducerFencedError
from krafka.testing.fake.faults import WHOLE
from krafka.testing.fake.transactions import CoordinatorRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._wire.schema import Response
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.faults import Place, Strike
    from krafka.testing.fake.requests import ReceivedRequest


class ConnectionDroppedError(Exception):
    """The broker has no other way to say what is wrong than to close the connection."""


@dataclass(slots=True)
class Call:
    """One request on its way through a handler."""

    cluster: FakeCluster
    request: ReceivedRequest
    strike: Strike
    now: float

    @property
    def broker_id(self) -> int:
        """The broker that answers."""
        return self.request.broker


class ApiHandler(NamedTuple):
    """How one API is answered.

    `places` lists the topics and partitions a request names, so that faults can be for some of them. `answer` does what
    is asked and gives the response, or None for a request without one; it heeds the faults with a code. It raises
    `ConnectionDroppedError`.
    """

    name: str
    places: Callable[[FakeCluster, Any], list[Place]]
    answer: Callable[[Call, Any], Response | None]


def no_places(_cluster: FakeCluster, _body: object) -> list[Place]:
    """For requests that name no topic: a fault's code is for the answer as a whole."""
    return [WHOLE]


def whole_code(call: Call, act: Callable[[], None], *, fenced_since: int) -> int:
    """Do what a request that names no topic asks for, and give the error code of the answer."""
    fault = call.strike.code_for()
    if fault is not None and not fault.after_append:
        return fault.error_code
    code = 0
    try:
        act()
    except CoordinatorRefusedError as refusal:
        code = fenced_code(refusal, call, since=fenced_since)
    return code if fault is None else fault.error_code


def fenced_code(refusal: CoordinatorRefusedError, call: Call, *, since: int) -> int:
    """The code a refusal has in the request's version: only from `since` on there is PRODUCER_FENCED (KIP-588)."""
    if refusal.error is ProducerFencedError and call.request.version < since:
        return InvalidProducerEpochError.code or 0
    return refusal.code
