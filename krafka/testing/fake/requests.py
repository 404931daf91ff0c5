"""What a broker of a fake cluster was asked, as tests see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from krafka._wire.schema import Request


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedRequest:
    """One request that reached a broker.

    `api` is Kafka's name of the API, `body` the decoded request, `connection` a number for each connection to the
    cluster, `received_at` the event loop's time in seconds when the broker took it up.
    """

    api: str
    version: int
    correlation_id: int
    client_id: str | None
    body: Request[Any]
    broker: int
    connection: int
    received_at: float
