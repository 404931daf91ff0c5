"""The calls of one producer that change its transactions, and what is checked of each."""

from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

from krafka import KafkaError, TransactionalProducer, TransactionState
from krafka.errors import InvalidTransactionStateError, ProducerClosedError
from tests.simulation.world import EPSILON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .plan import LifePlan
    from .world import TransactionWorld

State = TransactionState


class Calls:
    """A producer, and how long its calls take, what they raise and what state they leave."""

    def __init__(self, world: TransactionWorld, plan: LifePlan) -> None:
        self.world = world
        self.plan = plan
        self.options = world.plan.options
        self.random = Random(f"{world.plan.seed} life {plan.number}")
        self.producer: TransactionalProducer
        self.left_at = inf
        self._is_left = False
        self._closed_since = inf
        self.closes_in_peace = plan.ending in {"finish", "exit"} or (
            plan.ending == "close" and plan.close_timeout is None
        )

    @property
    def _state(self) -> State:
        return self.producer.transaction_state

    def _check_time(self, what: str, took: float, bound: float) -> None:
        self.world.check(took <= bound + EPSILON, "late", f"{what} took {took:g} s, not {bound:g}")

    def _check_outlived(self, what: str, began: float) -> None:
        """What a producer was asked for before its end does not go on after that."""
        outlived = anyio.current_time() - self.left_at
        self.world.check(
            not (began <= self.left_at and outlived > EPSILON),
            "late",
            f"{what} of {self.plan.number} ended {outlived:g} s after the producer",
        )

    async def _impatiently(
        self, call: str, bound: float, patience: float | None
    ) -> tuple[KafkaError | None, bool]:
        error: KafkaError | None = None
        with anyio.move_on_after(patience) as scope:
            error = await self.call(call, bound)
        return error, scope.cancelled_caught

    async def call(self, name: str, bound: float, *arguments: Any) -> KafkaError | None:
        """Call a verb of the producer, and check how long that takes and what state it leaves; what it raised."""
        verb: Callable[..., Awaitable[None]] = getattr(self.producer, name)
        began = anyio.current_time()
        self.world.note(name, self.plan.number, str(self._state))
        error: KafkaError | None = None
        try:
            await verb(*arguments)
        except KafkaError as raised:
            error = raised
        finally:
            took = anyio.current_time() - began
            self.world.note(f"{name} ended", self.plan.number, repr(error)[:200], str(self._state))
            self._check_time(f"{name} of {self.plan.number}", took, bound)
            self._check_outlived(name, began)
        self._judge_error(name, began, error)
        return error

    def _judge_error(self, name: str, began: float, error: KafkaError | None) -> None:
        """What a call raised fits the state, and no call is cut off by an end that waits."""
        if name == "send_offsets_to_transaction" and error is not None:
            taken_up = isinstance(error, InvalidTransactionStateError | ProducerClosedError) or self._is_left
            self.world.check(
                taken_up or self._state not in {State.IN_TRANSACTION, State.COMMITTING},
                "state",
                f"{self._state} after {name} raised {error!r}",
            )
        elif isinstance(error, ProducerClosedError) and began < self._closed_since:
            self.world.check(not self.closes_in_peace, "close", f"{name} was cut off: {error!r}")
        if isinstance(error, InvalidTransactionStateError) and not self._is_left:
            self.world.check(name == "send_offsets_to_transaction", "state", f"{name} was refused: {error!r}")
        if error is not None and error.is_fatal and not isinstance(error, ProducerClosedError):
            self.world.check(self._state is State.FATAL_ERROR, "state", f"{self._state} after {error!r}")
        if self._state is State.FATAL_ERROR and error is not None and not self._is_left:
            self.world.check(
                error.is_fatal or isinstance(error, ProducerClosedError) or error.possibly_written,
                "error",
                f"{name} raised {error!r}, which is not fatal, and the state is",
            )

    async def _check_only_commit(self) -> None:
        """While the outcome of a commit is unknown every other call is refused, and changes nothing."""
        name = self.random.choice(["abort_transaction", "begin_transaction", "init_transactions"])
        try:
            await getattr(self.producer, name)()
        except KafkaError as error:
            if not isinstance(error, InvalidTransactionStateError):
                self.world.check(
                    error.is_fatal or self.producer.closed, "error", f"{name} in doubt raised {error!r}"
                )
        else:
            self.world.check(False, "state", f"{name} was taken while a commit was in doubt")

    async def _check_fatal(self) -> None:
        """Nothing is possible in `FatalError`, and every call says why."""
        for name in ("begin_transaction", "commit_transaction", "abort_transaction", "init_transactions"):
            try:
                await getattr(self.producer, name)()
            except KafkaError:
                continue
            self.world.check(False, "state", f"{name} was taken in FatalError")
