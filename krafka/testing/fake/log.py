"""One partition's log, and what the partition remembers of each producer that wrote to it.

The checks are those of Kafka 4's `ProducerStateManager` and `ProducerAppendInfo` for producers without transactions.
One log stands for all replicas: a record once appended is never lost, whoever leads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from krafka.errors import (
    DuplicateSequenceNumberError,
    InvalidProducerEpochError,
    OutOfOrderSequenceNumberError,
    UnknownProducerIdError,
)
from krafka.testing.fake.batches import BatchRefusedError

if TYPE_CHECKING:
    from krafka.testing.fake.batches import Batch

BATCHES_REMEMBERED = 5
SEQUENCES = 2**31


class FakeRecord(NamedTuple):
    """A record as it lies in a `FakeCluster`'s log.

    `timestamp` is epoch milliseconds; `sequence` is the record's own number, -1 from a producer without idempotence,
    as are then `producer_id` and `producer_epoch`. Records of one batch share `batch`, which counts the partition's
    batches from 0.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    producer_id: int
    producer_epoch: int
    sequence: int
    batch: int
    compression: str


class Appended(NamedTuple):
    """What became of a batch: where it lies, and whether it lay there before."""

    base_offset: int
    is_duplicate: bool


class _Remembered(NamedTuple):
    base_sequence: int
    last_sequence: int
    base_offset: int


class _ProducerState:
    __slots__ = ("batches", "epoch", "last_sequence")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.last_sequence = -1
        self.batches: deque[_Remembered] = deque(maxlen=BATCHES_REMEMBERED)


class Manners(NamedTuple):
    """What a partition does where brokers of different ages differ; the defaults are Kafka 4's."""

    refuses_unknown_producers: bool = False
    """UNKNOWN_PRODUCER_ID to a producer it knows nothing of, unless that starts with sequence 0."""
    answers_old_duplicates: bool = False
    """DUPLICATE_SEQUENCE_NUMBER, not OUT_OF_ORDER_SEQUENCE_NUMBER, for batches appended long ago."""


KAFKA_4 = Manners()


class PartitionLog:
    """The records of one partition in order of their offsets."""

    def __init__(self, topic: str, partition: int, manners: Manners = KAFKA_4) -> None:
        self.topic = topic
        self.partition = partition
        self.records: list[FakeRecord] = []
        self.start_offset: int = 0
        self.next_offset: int = 0
        self.batches: int = 0
        self._producers: dict[int, _ProducerState] = {}
        self._manners = manners

    def append(self, batch: Batch, *, append_time: int | None = None) -> Appended:
        """Append a batch unless it is there already. Raises `BatchRefusedError`.

        `append_time` replaces the records' own timestamps (`message.timestamp.type=LogAppendTime`).
        """
        if batch.producer_id >= 0:
            last_sequence = (batch.base_sequence + len(batch.records) - 1) % SEQUENCES
            state = self._producers.get(batch.producer_id)
            if state is not None and (known := _find(state, batch, last_sequence)) is not None:
                return Appended(known.base_offset, is_duplicate=True)
            self._check(state, batch)
            if state is None or state.epoch != batch.producer_epoch:
                state = self._producers[batch.producer_id] = _ProducerState(batch.producer_epoch)
            state.last_sequence = last_sequence
            state.batches.append(_Remembered(batch.base_sequence, last_sequence, self.next_offset))
        base_offset = self.next_offset
        for index, record in enumerate(batch.records):
            self.records.append(
                FakeRecord(
                    topic=self.topic,
                    partition=self.partition,
                    offset=base_offset + index,
                    timestamp=record.timestamp if append_time is None else append_time,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                    producer_id=batch.producer_id,
                    producer_epoch=batch.producer_epoch,
                    sequence=(batch.base_sequence + index) % SEQUENCES if batch.producer_id >= 0 else -1,
                    batch=self.batches,
                    compression=batch.codec.value,
                )
            )
        self.next_offset += len(batch.records)
        self.batches += 1
        return Appended(base_offset, is_duplicate=False)

    def _check(self, state: _ProducerState | None, batch: Batch) -> None:
        who = f"producer {batch.producer_id} epoch {batch.producer_epoch} at {self.topic}-{self.partition}"
        if state is None:
            # It may begin with any sequence: its records may have been deleted, and its state with them.
            if self._manners.refuses_unknown_producers and batch.base_sequence != 0:
                raise BatchRefusedError(UnknownProducerIdError, f"{who}: nothing is known of this producer")
            return
        if batch.producer_epoch < state.epoch:
            raise BatchRefusedError(
                InvalidProducerEpochError, f"{who}: the epoch is older than {state.epoch}, the present one"
            )
        if batch.producer_epoch > state.epoch:
            if batch.base_sequence != 0:
                raise BatchRefusedError(
                    OutOfOrderSequenceNumberError,
                    f"{who}: a new epoch begins with sequence 0, not {batch.base_sequence}",
                )
            return
        expected = (state.last_sequence + 1) % SEQUENCES
        if batch.base_sequence == expected:
            return
        behind = (expected - batch.base_sequence) % SEQUENCES
        if self._manners.answers_old_duplicates and behind < SEQUENCES // 2:
            raise BatchRefusedError(
                DuplicateSequenceNumberError, f"{who}: {batch.base_sequence} was appended long ago"
            )
        raise BatchRefusedError(
            OutOfOrderSequenceNumberError,
            f"{who}: sequence {batch.base_sequence} came where {expected} is next",
        )

    def forget_producers(self) -> None:
        """Drop what is remembered of producers, as Kafka does after `producer.id.expiration.ms`."""
        self._producers.clear()

    def delete_before(self, offset: int) -> None:
        """Delete the records below an offset, as retention does; what is known of their producers stays."""
        self.start_offset = max(self.start_offset, min(offset, self.next_offset))
        self.records = [record for record in self.records if record.offset >= self.start_offset]


def _find(state: _ProducerState, batch: Batch, last_sequence: int) -> _Remembered | None:
    if state.epoch != batch.producer_epoch:
        return None
    for known in state.batches:
        if (known.base_sequence, known.last_sequence) == (batch.base_sequence, last_sequence):
            return known
    return None
