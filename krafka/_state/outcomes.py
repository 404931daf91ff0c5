"""What the answer to a batch means: done, to be sent again, or failed, and what that does to its numbering.

The rules are those of Kafka's Java client (`Sender.completeBatch`, `TransactionManager.canRetry`); which codes are
passing, which call for fresh metadata and which end the producer is said by the error classes themselves.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from krafka.errors import (
    ClusterAuthorizationFailedError,
    DuplicateSequenceNumberError,
    InvalidProducerIdMappingError,
    KafkaError,
    KafkaStorageError,
    NotEnoughReplicasAfterAppendError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
    RequestTimedOutError,
    TransactionalIdAuthorizationFailedError,
    UnknownProducerIdError,
    UnknownServerError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
    error_for_code,
)

if TYPE_CHECKING:
    from krafka._speedups.append import ProducerBatch
    from krafka._state.sequences import Sequences

POSSIBLY_WRITTEN_CODES = frozenset(
    {
        UnknownServerError.code,
        RequestTimedOutError.code,
        NotEnoughReplicasAfterAppendError.code,
        KafkaStorageError.code,
    }
)
"""A broker may answer these after it appended the batch."""

LEADERSHIP_CODES = frozenset({UnknownTopicOrPartitionError.code, NotLeaderOrFollowerError.code})
"""A leader that loses its partition while it waits for replicas answers these, with the offset of what it appended;
without an offset they came before. Every other refusal comes before (`DelayedProduce.tryComplete`)."""

ENDS_PRODUCER = (
    ClusterAuthorizationFailedError,
    UnsupportedVersionError,
    InvalidProducerIdMappingError,
    TransactionalIdAuthorizationFailedError,
    ProducerFencedError,
)
"""After these nothing this producer sends can succeed (`TransactionManager.maybeTransitionToErrorState`)."""


class Verdict(Enum):
    """What becomes of a batch after an answer, or after the end of the hope for one."""

    ACKNOWLEDGE = auto()
    RETRY = auto()
    FAIL = auto()
    FAIL_PRODUCER = auto()


def partition_error(code: int, message: str | None, where: str, *, base_offset: int = -1) -> KafkaError:
    """The error of one partition in a Produce response; `where` names topic, partition and broker."""
    appended = code in POSSIBLY_WRITTEN_CODES or (code in LEADERSHIP_CODES and base_offset >= 0)
    return error_for_code(code, f"{where}: {message}" if message else where, possibly_written=appended)


def judge(
    batch: ProducerBatch,
    error: KafkaError,
    *,
    sequences: Sequences | None,
    retries: int | None,
    now: float,
    log_start_offset: int = -1,
) -> Verdict:
    """Decide about a batch that was answered with `error`, or whose answer was lost with its connection.

    `retries` bounds how often it is sent again; None leaves that to its deadline. A batch whose deadline passed
    while it was on the wire has its outcome already and is never sent again.
    """
    partition = batch.partition
    may_retry = not batch.done and now < batch.deadline and (retries is None or batch.attempts <= retries)
    if error.possibly_written:
        batch.possibly_written = True
    batch.last_error = error
    if isinstance(error, DuplicateSequenceNumberError):
        return Verdict.ACKNOWLEDGE
    if sequences is not None and may_retry:
        if isinstance(error, OutOfOrderSequenceNumberError):
            sequences.out_of_order(partition, batch)
            return Verdict.RETRY
        if isinstance(error, UnknownProducerIdError):
            sequences.forgotten(partition, batch, log_start_offset)
            return Verdict.RETRY
    if isinstance(error, ENDS_PRODUCER):
        return Verdict.FAIL_PRODUCER
    return Verdict.RETRY if error.is_retriable and may_retry else Verdict.FAIL
