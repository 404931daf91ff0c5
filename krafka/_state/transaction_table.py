"""The states of a transactional producer, and which call is allowed in which: one table of each."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from krafka._speedups.batch import for_raising
from krafka.errors import InvalidTransactionStateError, TransactionAbortableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka.errors import KafkaError


class TransactionState(StrEnum):
    """Where a transactional producer stands; the members are equal to their names as text."""

    UNINITIALIZED = "Uninitialized"
    """The coordinator has not been asked for a producer id yet: `init_transactions()` does that."""
    INITIALIZING = "Initializing"
    """It is being asked, and fences whoever used the `transactional_id` before."""
    READY = "Ready"
    """A transaction may begin."""
    IN_TRANSACTION = "InTransaction"
    """Records may be sent; they become visible together when the transaction is committed."""
    COMMITTING = "Committing"
    """A commit is under way, or its outcome is unknown: then only the same commit may be asked for again."""
    ABORTING = "Aborting"
    """An abort is under way, or was not finished: then it may be asked for again."""
    ABORTABLE_ERROR = "AbortableError"
    """A record or offset of the transaction failed: it can only be aborted. The producer goes on after that."""
    FATAL_ERROR = "FatalError"
    """The producer is closed, or cannot go on: another one has taken over, or may not do what it was asked to."""


_UNINITIALIZED, _INITIALIZING, _READY, _IN_TRANSACTION, _COMMITTING, _ABORTING, _ABORTABLE, _FATAL = (
    TransactionState
)

TRANSITIONS: Mapping[TransactionState, frozenset[TransactionState]] = MappingProxyType(
    {
        _UNINITIALIZED: frozenset({_INITIALIZING, _FATAL}),
        _INITIALIZING: frozenset({_READY, _UNINITIALIZED, _FATAL}),
        _READY: frozenset({_IN_TRANSACTION, _FATAL}),
        _IN_TRANSACTION: frozenset({_COMMITTING, _ABORTING, _ABORTABLE, _FATAL}),
        # Back to a transaction that goes on: the commit was given up before the coordinator was asked for it.
        _COMMITTING: frozenset({_READY, _IN_TRANSACTION, _ABORTABLE, _FATAL}),
        _ABORTING: frozenset({_READY, _FATAL}),
        _ABORTABLE: frozenset({_ABORTING, _FATAL}),
        _FATAL: frozenset(),
    }
)
"""To which states each state leads; Kafka's own (`TransactionManager.State`), but that a commit may be given up."""

CALLS: Mapping[str, frozenset[TransactionState]] = MappingProxyType(
    {
        "init_transactions": frozenset({_UNINITIALIZED}),
        "begin_transaction": frozenset({_READY}),
        "send": frozenset({_IN_TRANSACTION}),
        "send_offsets_to_transaction": frozenset({_IN_TRANSACTION}),
        "commit_transaction": frozenset({_IN_TRANSACTION, _COMMITTING}),
        "abort_transaction": frozenset({_IN_TRANSACTION, _ABORTABLE, _ABORTING}),
    }
)
"""In which states each call is allowed, as long as no other that changes the state is running."""

_ADVICE: Mapping[TransactionState, str] = MappingProxyType(
    {
        _UNINITIALIZED: "call init_transactions() first",
        _INITIALIZING: "wait for init_transactions() to return",
        _READY: "no transaction is open: call begin_transaction() first, or use `async with producer.transaction():`",
        _IN_TRANSACTION: "a transaction is open: commit or abort it first",
        _COMMITTING: "the outcome of the commit is unknown: call commit_transaction() again until it returns",
        _ABORTING: "the abort was not finished: call abort_transaction() again until it returns",
        _ABORTABLE: "a record or offset of the transaction failed: call abort_transaction()",
        _FATAL: "close this producer and make a new one",
    }
)


class TransactionTable:
    """The present state of one producer's transactions; nobody else changes it.

    `error` is why the state is an error; `running` is the call that changes the state and has not returned.
    """

    def __init__(self) -> None:
        self.state = TransactionState.UNINITIALIZED
        self.error: KafkaError | None = None
        self.running: str | None = None

    def swap(self, expected: TransactionState, new: TransactionState) -> bool:
        """Go from one state to another; False, and nothing is changed, if the present state is not the one expected."""
        if self.state is not expected:
            return False
        if new not in TRANSITIONS[expected]:
            raise AssertionError(f"there is no way from {expected} to {new}")
        self.state = new
        if new not in {_ABORTABLE, _ABORTING, _FATAL}:
            self.error = None
        return True

    def fail(self, error: KafkaError) -> bool:
        """The open transaction can only be aborted, for this reason; False if it is past that, or there is none."""
        changed = self.swap(_IN_TRANSACTION, _ABORTABLE) or self.swap(_COMMITTING, _ABORTABLE)
        if changed:
            self.error = error
        return changed

    def end(self, error: KafkaError) -> bool:
        """The producer cannot go on, for this reason; False if there was another before."""
        if self.state is _FATAL:
            return False
        self.swap(self.state, _FATAL)
        self.error = error
        return True

    def check(self, call: str) -> None:
        """Raise what a call that is not allowed now is answered with, else nothing.

        That is the reason itself where a commit meets a failed transaction, or any call a producer that cannot go on;
        `TransactionAbortableError` for other calls in a failed transaction, and `InvalidTransactionStateError`.
        """
        refusal = self.refusal(call)
        if refusal is not None:
            raise refusal

    def refusal(self, call: str) -> KafkaError | None:
        """What `check` raises; None if the call is allowed."""
        if self.state is _FATAL and self.error is not None:
            return for_raising(self.error)
        if self.running is None and self.state in CALLS[call]:
            return None
        if self.running is None and self.state is _ABORTABLE and self.error is not None:
            return self._failed(call, self.error)
        advice = _ADVICE[self.state] if self.running is None else f"{self.running}() has not returned yet"
        return InvalidTransactionStateError(f"{call}() is not allowed in state {self.state}: {advice}")

    @staticmethod
    def _failed(call: str, error: KafkaError) -> KafkaError:
        if call == "commit_transaction":
            reason = for_raising(error)
            reason.requires_abort = True
            return reason
        refusal = TransactionAbortableError(
            f"{call}() is not allowed in state {_ABORTABLE}: {_ADVICE[_ABORTABLE]}; the reason: {error}"
        )
        refusal.__cause__ = error
        return refusal
