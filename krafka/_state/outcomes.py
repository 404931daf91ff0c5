"""What the answer to a batch means: done, to be sent again, or failed, and what that does to its numbering.

What each error means is said by the table in `krafka._state.rules`; here is what the table leaves to the batch: whether
there is time for another attempt, whether it has numbers, and whether it can be divided.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from krafka._speedups.batch import for_raising
from krafka._speedups.record_batch import HEADER_SIZE
from krafka._state.partition import NONE
from krafka._state.rules import Batch, Number, rule_for
from krafka.errors import (
    FencedLeaderEpochError,
    InvalidRecordError,
    NotLeaderOrFollowerError,
    RecordListTooLargeError,
    error_for_code,
)

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka._state.rules import Rule
    from krafka._state.sequences import Sequences
    from krafka.errors import KafkaError
    from krafka.retry import RetryPolicy

NAMES_LEADER = frozenset({NotLeaderOrFollowerError.code, FencedLeaderEpochError.code})
"""The refusals that come with the leader a broker knows (KIP-951)."""


class Verdict(Enum):
    """What becomes of a batch after an answer, or after the end of the hope for one.

    SPLIT sends its records again in smaller batches; FAIL_NAMED fails those that the broker named and sends the rest.
    EXPIRE is for one that would be sent again if its deadline had not passed.
    """

    ACKNOWLEDGE = auto()
    RETRY = auto()
    SPLIT = auto()
    FAIL_NAMED = auto()
    EXPIRE = auto()
    FAIL = auto()
    FAIL_PRODUCER = auto()


def partition_error(
    code: int, message: str | None, where: str, batch: ProducerBatch, *, base_offset: int = -1
) -> KafkaError:
    """The error of one partition in a Produce response; `where` names topic, partition and broker."""
    error = error_for_code(code, f"{where}: {message}" if message else where)
    rule = rule_for(error)
    if rule.batch is Batch.SPLIT and not batch.done:
        text = f"{message}; {_sizes(code, batch)}" if message else _sizes(code, batch)
        error = error_for_code(code, f"{where}: {text}")
    error.possibly_written = rule.is_possibly_written(base_offset)
    return error


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


def append_time(batch: ProducerBatch, told: int) -> int:
    """The broker's time for the records of an acknowledged batch, -1 if they keep their own.

    A broker that had the batch already answers with the newest timestamp in it, whoever's clock that is of.
    """
    is_batches_own = batch.attempts > 1 and not batch.done and told == batch.records.max_timestamp
    return -1 if is_batches_own else told


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
    retry_policy: RetryPolicy,
    now: float,
    log_start_offset: int = -1,
    names_records: bool = False,
) -> Verdict:
    """Decide about a batch that was answered with `error`, or whose answer was lost with its connection.

    `retry_policy` bounds how often it is sent again, besides its deadline. A batch whose deadline passed
    while it was on the wire has its outcome already and is never sent again. `names_records`: the answer says which
    records are to blame.
    """
    if error.possibly_written:
        batch.possibly_written = True
    batch.last_error = batch.partition.last_error = error
    rule = rule_for(error)
    if rule.ends_producer:
        return Verdict.FAIL_PRODUCER
    if rule.batch is Batch.ACKNOWLEDGE:
        return Verdict.ACKNOWLEDGE
    if batch.done:
        return Verdict.FAIL
    is_late = now >= batch.deadline
    renumbers = rule.batch is Batch.RENUMBER_AND_RETRY and sequences is not None
    if rule.is_retried or renumbers:
        if not retry_policy.allows(batch.attempts):
            return Verdict.FAIL
        if is_late:
            return Verdict.EXPIRE
        if sequences is not None and renumbers and _ends_with_gap(sequences, rule, batch, log_start_offset):
            return Verdict.FAIL
        return Verdict.RETRY
    # With an earlier attempt in the log, a broker would not know these records again in other batches.
    if batch.possibly_written or batch.record_count == 1:
        return Verdict.FAIL
    if rule.batch is Batch.SPLIT:
        return Verdict.EXPIRE if is_late else Verdict.SPLIT
    if rule.batch is Batch.FAIL_NAMED and names_records and not is_late:
        return Verdict.FAIL_NAMED
    return Verdict.FAIL


def _ends_with_gap(sequences: Sequences, rule: Rule, batch: ProducerBatch, log_start_offset: int) -> bool:
    """Note what a broker misses before a batch; True if the batch cannot get a number that fits."""
    if rule.number is Number.FORGOTTEN:
        sequences.forgotten(batch.partition, batch, log_start_offset)
    else:
        sequences.out_of_order(batch.partition, batch)
    # That would need a new epoch, which ends the transaction.
    return sequences.transactional and batch.partition.gap != NONE


def in_doubt(error: KafkaError) -> KafkaError:
    """The error for records that an attempt before the one it speaks of may have written."""
    if error.possibly_written:
        return error
    doubtful = for_raising(error)
    doubtful.args = (
        f"{error}; an earlier attempt, whose answer never came, may have written it all the same",
    )
    doubtful.possibly_written = True
    return doubtful
