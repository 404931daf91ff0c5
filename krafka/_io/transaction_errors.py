"""What is told of transactions that did not come to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.errors import (
    BufferFullError,
    CommitOutcomeUnknownError,
    InvalidTransactionStateError,
    MetadataNotReadyError,
    ProducerClosedError,
    TransactionAbortedError,
    TransactionTimeoutError,
)

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka.errors import KafkaError

NO_PART_OF_IT = (
    BufferFullError,
    MetadataNotReadyError,
    InvalidTransactionStateError,
    ProducerClosedError,
    TransactionAbortedError,
)
"""What leaves a transaction as it is: a call that may be made again or came out of turn, a record of the one before."""


def given_up(batch: ProducerBatch, reason: KafkaError | None) -> TransactionAbortedError:
    """The error of a batch whose transaction was aborted, maybe for a reason, before the batch had an outcome."""
    error = TransactionAbortedError(
        f"a batch of {batch.record_count} records for {batch.partition} was given up: its transaction was aborted"
        + (f"; the reason: {reason}" if reason is not None else "")
    )
    error.__cause__ = reason or batch.last_error
    return error


def timed_out(
    call: str, limit: float, last_reason: KafkaError | None, *, then: str = "it may be called again"
) -> TransactionTimeoutError:
    """The error of a call that was not done within `limit` seconds; `then` says what can be done about it."""
    error = TransactionTimeoutError(
        f"{call}() was not done within {limit:g} s (max_block); {then}{_because(last_reason)}"
    )
    error.__cause__ = last_reason
    return error


def outcome_unknown(limit: float, last_reason: KafkaError | None) -> CommitOutcomeUnknownError:
    """The error of a commit that was asked for and not answered within `limit` seconds."""
    error = CommitOutcomeUnknownError(
        f"the transaction coordinator was asked to commit and did not answer within {limit:g} s (max_block): the "
        "transaction may be committed, now or later; call commit_transaction() again until it returns"
        + _because(last_reason)
    )
    error.__cause__ = last_reason
    return error


def _because(last_reason: KafkaError | None) -> str:
    return f"; last reason: {last_reason}" if last_reason is not None else ""
