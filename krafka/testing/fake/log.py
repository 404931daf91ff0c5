"""One partition's log, and what the partition remembers of each producer that wrote to it.

The checks are those of Kafka 4's `ProducerStateManager` and `ProducerAppendInfo`.
One log stands for all replicas: a record once appended is never lost, whoever leads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from krafka.errors import (
    DuplicateSequenceNumberError,
    InvalidProducerEpochError,
    InvalidTxnStateError,
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
    transactional: bool = False


class FakeMarker(NamedTuple):
    """The end of a transaction in a partition: a control record, at an offset of its own, that no consumer is given."""

    topic: str
    partition: int
    offset: int
    producer_id: int
    producer_epoch: int
    commit: bool


class _Aborted(NamedTuple):
    producer_id: int
    first_offset: int
    marker_offset: int


class Appended(NamedTuple):
    """What became of a batch: where it lies, and whether it lay there before."""

    base_offset: int
    is_duplicate: bool
    newest_timestamp: int


class _Remembered(NamedTuple):
    base_sequence: int
    last_sequence: int
    base_offset: int
    newest_timestamp: int


class _ProducerState:
    __slots__ = ("batches", "epoch", "last_sequence", "transaction_start")

    def __init__(self, epoch: int, transaction_start: int | None = None) -> None:
        self.epoch = epoch
        self.last_sequence = -1
        self.transaction_start = transaction_start
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
        self.markers: list[FakeMarker] = []
        self.start_offset: int = 0
        self.next_offset: int = 0
        self.batches: int = 0
        self._producers: dict[int, _ProducerState] = {}
        self._aborted: list[_Aborted] = []
        self._manners = manners

    @property
    def last_stable_offset(self) -> int:
        """The offset below which every transaction has ended; `read_committed` reads no further."""
        open_since = [
            state.transaction_start
            for state in self._producers.values()
            if state.transaction_start is not None
        ]
        return min(open_since, default=self.next_offset)

    def committed(self) -> list[FakeRecord]:
        """The records that a consumer with `isolation.level=read_committed` is given."""
        stable = self.last_stable_offset
        return [
            record
            for record in self.records
            if record.offset < stable and not (record.transactional and self._was_aborted(record))
        ]

    def _was_aborted(self, record: FakeRecord) -> bool:
        return any(
            aborted.producer_id == record.producer_id
            and aborted.first_offset <= record.offset < aborted.marker_offset
            for aborted in self._aborted
        )

    def is_in_transaction(self, producer: tuple[int, int]) -> bool:
        """Whether a producer with this id and epoch has a transaction open here."""
        state = self._producers.get(producer[0])
        return state is not None and state.transaction_start is not None and state.epoch == producer[1]

    def end_transaction(self, producer: tuple[int, int], *, commit: bool) -> None:
        """Append a transaction's marker; its epoch is the producer's from now on."""
        producer_id, epoch = producer
        state = self._producers.get(producer_id)
        if state is not None and state.transaction_start is not None and not commit:
            self._aborted.append(_Aborted(producer_id, state.transaction_start, self.next_offset))
        if state is None or state.epoch != epoch:
            state = self._producers[producer_id] = _ProducerState(epoch)
        state.transaction_start = None
        self.markers.append(
            FakeMarker(self.topic, self.partition, self.next_offset, producer_id, epoch, commit)
        )
        self.next_offset += 1

    def append(self, batch: Batch, *, append_time: int | None = None, is_known: bool = False) -> Appended:
        """Append a batch unless it is there already. Raises `BatchRefusedError`.

        `append_time` replaces the records' own timestamps (`message.timestamp.type=LogAppendTime`). `is_known` says
        that the producer's state is certain to be here, because each of its transactions has an epoch of its own
        (KIP-890): it begins with sequence 0 then.
        """
        newest = max(record.timestamp for record in batch.records) if append_time is None else append_time
        if batch.producer_id >= 0:
            last_sequence = (batch.base_sequence + len(batch.records) - 1) % SEQUENCES
            state = self._producers.get(batch.producer_id)
            if state is not None and (known := _find(state, batch, last_sequence)) is not None:
                return Appended(known.base_offset, is_duplicate=True, newest_timestamp=known.newest_timestamp)
            self._check(state, batch, is_known=is_known)
            if state is None or state.epoch != batch.producer_epoch:
                started = None if state is None else state.transaction_start
                state = self._producers[batch.producer_id] = _ProducerState(batch.producer_epoch, started)
            if batch.is_transactional and state.transaction_start is None:
                state.transaction_start = self.next_offset
            state.last_sequence = last_sequence
            state.batches.append(_Remembered(batch.base_sequence, last_sequence, self.next_offset, newest))
        base_offset = self.next_offset
        compression = batch.codec.value
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
                    compression=compression,
                    transactional=batch.is_transactional,
                )
            )
        self.next_offset += len(batch.records)
        self.batches += 1
        return Appended(base_offset, is_duplicate=False, newest_timestamp=newest)

    def _check(self, state: _ProducerState | None, batch: Batch, *, is_known: bool) -> None:
        who = f"producer {batch.producer_id} epoch {batch.producer_epoch} at {self.topic}-{self.partition}"
        if state is not None and batch.producer_epoch < state.epoch:
            raise BatchRefusedError(
                InvalidProducerEpochError, f"{who}: the epoch is older than {state.epoch}, the present one"
            )
        if is_known and batch.base_sequence != 0 and not (state and state.batches):
            raise BatchRefusedError(
                OutOfOrderSequenceNumberError,
                f"{who}: its first sequence in this transaction is 0, not {batch.base_sequence}",
            )
        self._check_sequence(state, batch, who)
        if state is not None and state.transaction_start is not None and not batch.is_transactional:
            raise BatchRefusedError(
                InvalidTxnStateError, f"{who}: its transaction is open, and the batch is no part of it"
            )

    def _check_sequence(self, state: _ProducerState | None, batch: Batch, who: str) -> None:
        if state is None:
            # It may begin with any sequence: its records may have been deleted, and its state with them.
            if self._manners.refuses_unknown_producers and batch.base_sequence != 0:
                raise BatchRefusedError(UnknownProducerIdError, f"{who}: nothing is known of this producer")
            return
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
