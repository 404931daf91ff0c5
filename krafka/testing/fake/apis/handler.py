"""What the module of an API provides, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from krafka.testing.fake.faults import WHOLE

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
