"""What the answer to a batch means: done, to be sent again, or failed, and what that does to its numbering.

The rules are those of Kafka's Java client (`Sender.completeBatch`, `TransactionManager.canRetry`); which codes are
passing, which call for fresh metadata and which end the producer is said by the error classes themselves.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from krafka._speedups.record_batch import HEADER_SIZE
from krafka.errors import (
    ClusterAuthorizationFailedError,
    DuplicateSequenceNumberError,
    InvalidProducerIdMappingError,
    InvalidRecordError,
    KafkaError,
    KafkaStorageError,
    MessageTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
    RecordListTooLargeError,
    RequestTimedOutError,
    TransactionalIdAuthorizationFailedError,
    UnknownProducerIdError,
    UnknownServerError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
    error_for_code,
)

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
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


TOO_LARGE = (MessageTooLargeError, RecordListTooLargeError)
"""A batch too large for its broker: its records may not be."""


class Verdict(Enum):
    """What becomes of a batch after an answer, or after the end of the hope for one.

    SPLIT sends its records again in smaller batches; FAIL_NAMED fails those that the broker named and sends the rest.
    """

    ACKNOWLEDGE = auto()
    RETRY = auto()
    SPLIT = auto()
    FAIL_NAMED = auto()
    FAIL = auto()
    FAIL_PRODUCER = auto()


def partition_error(
    code: int, message: str | None, where: str, batch: ProducerBatch, *, base_offset: int = -1
) -> KafkaError:
    """The error of one partition in a Produce response; `where` names topic, partition and broker."""
    appended = code in POSSIBLY_WRITTEN_CODES or (code in LEADERSHIP_CODES and base_offset >= 0)
    if not batch.done and code in (each.code for each in TOO_LARGE):
        message = f"{message}; {_sizes(code, batch)}" if message else _sizes(code, batch)
    return error_for_code(code, f"{where}: {message}" if message else where, possibly_written=appended)


def record_errors_of(
    batch: ProducerBatch, error: KafkaError, messages: dict[int, str | None], where: str
) -> dict[int, KafkaError]:
    """The errors of the records that a broker named, by their index in the batch (KIP-467).

    One code is told for all: it is that of the only record named. Of several each may have another reason.
    """
    named = {index: text for index, text in messages.items() if 0 <= index < batch.record_count}
    kind = type(error) if len(named) == 1 else InvalidRecordError
    return {
        index: kind(f"{where}, record {index} of a batch of {batch.record_count}: {text or error.summary}")
        for index, text in named.items()
    }


def _sizes(code: int, batch: ProducerBatch) -> str:
    """What was too large, and for whom: brokers do not tell."""
    whose = "the topic's max.message.bytes (unless it has one: the broker's message.max.bytes)"
    if code == RecordListTooLargeError.code:
        whose = "the topic's segment.bytes (unless it has one: the broker's log.segment.bytes)"
    body = batch.body if batch.body is not None else b""
    records = "one record" if batch.record_count == 1 else f"{batch.record_count} records"
    return (
        f"a batch of {records}, {len(batch.records)} bytes encoded, {len(body) + HEADER_SIZE} bytes as it was sent, "
        f"is more than the broker takes; the limit is {whose}; raise it or send smaller records"
    )


def judge(
    batch: ProducerBatch,
    error: KafkaError,
    *,
    sequences: Sequences | None,
    retries: int | None,
    now: float,
    log_start_offset: int = -1,
    names_records: bool = False,
) -> Verdict:
    """Decide about a batch that was answered with `error`, or whose answer was lost with its connection.

    `retries` bounds how often it is sent again; None leaves that to its deadline. A batch whose deadline passed
    while it was on the wire has its outcome already and is never sent again. `names_records`: the answer says which
    records are to blame.
    """
    partition = batch.partition
    is_open = not batch.done and now < batch.deadline
    may_retry = is_open and (retries is None or batch.attempts <= retries)
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
    if error.is_retriable:
        return Verdict.RETRY if may_retry else Verdict.FAIL
    if is_open and not batch.possibly_written and batch.record_count > 1:
        # With an earlier attempt in the log, a broker would not know these records again in other batches.
        if isinstance(error, TOO_LARGE):
            return Verdict.SPLIT
        if names_records:
            return Verdict.FAIL_NAMED
    return Verdict.FAIL
