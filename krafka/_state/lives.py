"""The states that a batch, a partition's numbers, a producer and a connection go through, and what moves them on.

Nothing here decides anything. The tables say what the code does, tests hold it to them (no other step is ever seen, and
each of these is), and the diagrams in the documentation are drawn from them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from krafka._state.partition import NONE

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka._state.partition import Partition
    from krafka._state.sequences import Sequences


class State(Enum):
    """A state; its value is what it means."""


class Step(NamedTuple):
    """What leads from any of some states to another; `before` is empty for how it begins."""

    before: tuple[State, ...]
    after: State
    when: str


# -- a batch ----------------------------------------------------------------------------------------------------------


class BatchState(State):
    """Where a batch is between its first record and the outcome of all of them."""

    OPEN = "takes records; there is one such batch for each partition"
    SEALED = "takes no more records and waits for its turn"
    ON_WIRE = "a request with it is written, or is about to be; the answer is awaited"
    WAITING = "waits to be sent again, before everything that was first sent after it"
    OVERDUE = "its records have failed, but its answer may still come; it keeps its memory and its numbers"
    ACKNOWLEDGED = "every record is in the log"
    FAILED = "its records have failed, each with an error"
    DIVIDED = "its records go on in other batches, its parts; those that a broker named have failed"


def batch_state(batch: ProducerBatch) -> BatchState:
    """The state of a batch."""
    if batch.divided:
        return BatchState.DIVIDED
    if batch.done:
        if batch.error is None:
            return BatchState.ACKNOWLEDGED
        return BatchState.OVERDUE if batch.on_wire else BatchState.FAILED
    if batch.partition.open_batch is batch:
        return BatchState.OPEN
    if batch.drain_order == NONE:
        return BatchState.SEALED
    return BatchState.WAITING if batch in batch.partition.pending else BatchState.ON_WIRE


BATCH_LIFE = (
    Step((), BatchState.OPEN, "A record is appended to a partition that has no open batch."),
    Step(
        (BatchState.OPEN,),
        BatchState.SEALED,
        "The next record does not fit, or the batch's turn has come: `linger` is over, somebody flushes or closes, "
        "or others wait for memory.",
    ),
    Step(
        (BatchState.SEALED,),
        BatchState.ON_WIRE,
        "The partition has a leader whose connection has room for a request; the batch is compressed and numbered.",
    ),
    Step(
        (BatchState.ON_WIRE,),
        BatchState.ACKNOWLEDGED,
        'The answer says that it is in the log. With `acks="none"`: its bytes are in the hands of the socket.',
    ),
    Step(
        (BatchState.ON_WIRE,),
        BatchState.WAITING,
        "The answer, or the end of the connection without one, calls for another attempt.",
    ),
    Step(
        (BatchState.WAITING,),
        BatchState.ON_WIRE,
        "`retry_backoff` is over, or a new leader is known. The number is the same, unless a new epoch gave another.",
    ),
    Step(
        (BatchState.ON_WIRE,),
        BatchState.FAILED,
        "The answer says that no attempt can succeed, or `retries` are used up.",
    ),
    Step(
        (BatchState.ON_WIRE,), BatchState.OVERDUE, "`delivery_timeout` has passed, or the producer has ended."
    ),
    Step((BatchState.OVERDUE,), BatchState.FAILED, "The answer comes, or the connection ends."),
    Step(
        (BatchState.ON_WIRE,),
        BatchState.DIVIDED,
        "The answer says that it is too large, or names some of its records as bad; and no attempt is in doubt.",
    ),
    Step((), BatchState.WAITING, "It is a part of such a batch, and takes over its place and its numbers."),
    Step(
        (BatchState.OPEN, BatchState.SEALED),
        BatchState.DIVIDED,
        "Its turn has come, and it is larger than what its broker has refused before as too large.",
    ),
    Step((), BatchState.SEALED, "It is a part of such a batch."),
    Step(
        (BatchState.OPEN, BatchState.SEALED, BatchState.WAITING),
        BatchState.FAILED,
        "`delivery_timeout` has passed, or the producer has ended.",
    ),
)


# -- a partition's numbers --------------------------------------------------------------------------------------------


class NumberingState(State):
    """Where the sequence numbers of a partition stand."""

    BEHIND = "has no numbers under the producer's present id and epoch; the next batch starts at 0 under them"
    FIRST = "numbered, nothing acknowledged yet: one batch at a time"
    FLOWING = "numbered and acknowledged: up to five batches at a time"
    UNRESOLVED = "a batch ended with its fate unknown: what is under way ends first, nothing new is numbered"
    GAP = "a number is missing in the log for good: nothing from behind it can be taken under this epoch"


def numbering_state(sequences: Sequences, partition: Partition) -> NumberingState:
    """The state of a partition's numbers."""
    if partition.gap != NONE:
        return NumberingState.GAP
    if partition.unresolved:
        return NumberingState.UNRESOLVED
    if partition.producer_id == NONE or not sequences.is_current(partition):
        return NumberingState.BEHIND
    if partition.last_acked_sequence == NONE:
        return NumberingState.FIRST
    return NumberingState.FLOWING


NUMBERING_LIFE = (
    Step((), NumberingState.BEHIND, "The partition becomes known."),
    Step(
        (NumberingState.BEHIND,),
        NumberingState.FIRST,
        "A batch is numbered, with nothing under way that has numbers of an older id or epoch.",
    ),
    Step((NumberingState.FIRST,), NumberingState.FLOWING, "A batch is acknowledged."),
    Step(
        (NumberingState.FLOWING,),
        NumberingState.FIRST,
        "The topic was made anew (its id is another, KIP-516): its log is empty, and takes any number first.",
    ),
    Step(
        (NumberingState.FIRST, NumberingState.FLOWING),
        NumberingState.BEHIND,
        "Another partition needed a new epoch, or the last epoch of the id was used up and a new id is asked for.",
    ),
    Step(
        (
            NumberingState.BEHIND,
            NumberingState.FIRST,
            NumberingState.FLOWING,
            NumberingState.UNRESOLVED,
        ),
        NumberingState.GAP,
        "A broker refuses a numbered batch for good, or misses a number before the first batch under way, or has "
        "forgotten this producer.",
    ),
    Step(
        (NumberingState.BEHIND, NumberingState.FIRST, NumberingState.FLOWING),
        NumberingState.UNRESOLVED,
        "A batch that was sent ends, and nobody knows whether it is in the log.",
    ),
    Step(
        (NumberingState.UNRESOLVED,),
        NumberingState.FLOWING,
        "What was under way has ended, and the broker has acknowledged up to the last number given: none is missing.",
    ),
    Step(
        (NumberingState.UNRESOLVED,),
        NumberingState.BEHIND,
        "The same, while another partition needed a new epoch.",
    ),
    Step(
        (NumberingState.UNRESOLVED,),
        NumberingState.FIRST,
        "What was under way has ended, and a number may be missing: the epoch is raised (KIP-360), and the next batch "
        "starts at 0.",
    ),
    Step(
        (NumberingState.GAP,),
        NumberingState.FIRST,
        "Of what is under way only batches from behind the gap are left, which no broker took: the epoch is raised "
        "(KIP-360), and they are numbered anew from 0.",
    ),
)


# -- a producer -------------------------------------------------------------------------------------------------------


class ProducerState(State):
    """Where a producer is between its constructor and the end of its block."""

    NEW = "made; it has done no I/O"
    OPEN = "takes records"
    CLOSING = "takes no more records, and waits for the outcome of each that it took"
    FAILED = "cannot go on: every record has failed, and new ones are refused with the same error"
    CLOSED = "every record has its outcome, and the background tasks are gone"


PRODUCER_LIFE = (
    Step((), ProducerState.NEW, "The constructor has checked every option."),
    Step((ProducerState.NEW,), ProducerState.OPEN, "Its `async with` block is entered."),
    Step(
        (ProducerState.OPEN,),
        ProducerState.CLOSING,
        "`close()` is called, or the block is left, as it also is when a background task fails by a bug.",
    ),
    Step(
        (ProducerState.CLOSING,),
        ProducerState.CLOSED,
        "Every record has its outcome. Or the time for that is over: the `timeout` of `close()`, `close_timeout` after "
        "an exception, none after a bug. What is left fails with `ProducerClosedError`, or `ProducerCrashedError`.",
    ),
    Step(
        (ProducerState.OPEN, ProducerState.CLOSING),
        ProducerState.FAILED,
        "A broker's answer or refusal shows that nothing this producer sends can succeed.",
    ),
    Step((ProducerState.FAILED,), ProducerState.CLOSED, "`close()` is called, or the block is left."),
    Step(
        (ProducerState.NEW,),
        ProducerState.CLOSED,
        "`close()` is called; the block cannot be entered any more.",
    ),
)


# -- a connection -----------------------------------------------------------------------------------------------------


class ConnectionState(State):
    """Where a connection to a broker is."""

    NEW = "made, not yet started"
    CONNECTING = "opens TCP, and TLS if asked for"
    SHAKING_HANDS = "asks the broker which versions it speaks (ApiVersions)"
    OPEN = "carries requests and answers, each in order"
    CLOSED = "closing or closed; no request may be sent any more"


CONNECTION_LIFE = (
    Step((), ConnectionState.NEW, "A request for this broker has no connection to go by."),
    Step(
        (ConnectionState.NEW,),
        ConnectionState.CONNECTING,
        "The connection before it has ended, and what is left of `reconnect_backoff` is over.",
    ),
    Step((ConnectionState.CONNECTING,), ConnectionState.SHAKING_HANDS, "The stream is open."),
    Step((ConnectionState.SHAKING_HANDS,), ConnectionState.OPEN, "The broker has answered."),
    Step(
        (ConnectionState.CONNECTING, ConnectionState.SHAKING_HANDS),
        ConnectionState.CLOSED,
        "It is refused, fails or does not finish within `connect_timeout`; or nobody needs it any more.",
    ),
    Step(
        (ConnectionState.NEW,),
        ConnectionState.CLOSED,
        "It is closed before it starts.",
    ),
    Step(
        (ConnectionState.OPEN,),
        ConnectionState.CLOSED,
        "The broker closes it, or it breaks; an answer is overdue (`request_timeout`) or is not what the protocol "
        "says; it has idled for `connections_max_idle`; or nobody needs it any more. Every request without an answer "
        "fails, and says whether it was written.",
    ),
)
