"""Requests whose connection breaks, and that arrive all the same: once their producer is at a later transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from krafka.testing.fake.apis import HANDLERS
from krafka.testing.fake.apis.handler import Call
from krafka.testing.fake.faults import Strike

if TYPE_CHECKING:
    from krafka.testing import FakeCluster
    from krafka.testing.fake import ReceivedRequest

    from .world import TransactionWorld

PASSED_BY = frozenset({"AddPartitionsToTxn", "AddOffsetsToTxn", "Produce", "TxnOffsetCommit", "EndTxn"})
"""The requests of a transaction that is under way; a stray arrives just before one of them."""


@dataclass(eq=False)
class _Stray:
    """A request that is still somewhere between its producer and its broker."""

    request: ReceivedRequest
    of: int
    later: int


class Strays:
    """What lies in a network that loses connections and no bytes: a proxy's buffers, or a slow way.

    The broker sees the connection end before it has read the request; the request is done later, as often as it was
    sent, and nobody is told of it.
    """

    def __init__(self, world: TransactionWorld, cluster: FakeCluster) -> None:
        self._world = world
        self._cluster = cluster
        self._astray: list[_Stray] = []

    def lead_astray(self, api: str, *, skip: int, later: int) -> None:
        """Let the request of an `api` that comes after `skip` others arrive late.

        That is after `later` requests of a transaction that its producer, or the next one, made after this one.
        """
        left = skip

        def is_chosen(request: ReceivedRequest) -> bool:
            nonlocal left
            if any(stray.request is request for stray in self._astray):
                return False
            left -= 1
            if left != -1:
                return False
            self._world.note("astray", request.api, request.connection)
            self._astray.append(_Stray(request, len(self._world.transactions), later))
            return True

        self._cluster.fail(api, when=is_chosen, disconnect=True)

    def passed_by(self, request: ReceivedRequest) -> None:
        """A broker is about to do a request; those that come in just before it do so now."""
        if request.api not in PASSED_BY:
            return
        present = len(self._world.transactions)
        for stray in list(self._astray):
            if stray.of == present or not self._is_serving(stray.request.broker):
                continue
            stray.later -= 1
            if stray.later < 0:
                self._astray.remove(stray)
                self._arrive(stray.request)

    def _is_serving(self, broker: int) -> bool:
        return self._cluster.brokers[broker].is_up and not self._cluster.brokers[broker].is_paused

    def _arrive(self, request: ReceivedRequest) -> None:
        self._world.note("arrived", request.api, request.connection)
        call = Call(self._cluster, request, Strike(None, []), anyio.current_time())
        body: Any = request.body
        HANDLERS[request.api].answer(call, body)
        self._cluster.notify()
