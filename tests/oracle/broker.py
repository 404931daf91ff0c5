"""Partitions as a Kafka cluster keeps them: a log, and what it remembers of each producer that wrote to it.

The checks are those of Kafka 4's `ProducerStateManager` and `ProducerAppendInfo` for producers without transactions.
One replica stands for all, so a record once appended is never lost, whoever leads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH = 47
LAST_SEQUENCE = 2**31 - 1
BATCHES_REMEMBERED = 5


class RememberedBatch(NamedTuple):
    base_sequence: int
    last_sequence: int
    base_offset: int


@dataclass
class ProducerState:
    """What a partition knows of one producer id."""

    epoch: int
    last_sequence: int
    batches: deque[RememberedBatch] = field(default_factory=lambda: deque(maxlen=BATCHES_REMEMBERED))


class RefusedError(Exception):
    """The batch is not appended; `code` is the answer."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def after(sequence: int, increment: int) -> int:
    """The sequence number `increment` later; the numbers go round from 2**31 - 1 to 0."""
    return (sequence + increment) % (LAST_SEQUENCE + 1)


@dataclass
class PartitionLog:
    """One partition's log."""

    values: list[bytes] = field(default_factory=list)
    producers: dict[int, ProducerState] = field(default_factory=dict)

    def append(
        self, values: list[bytes], *, producer_id: int, producer_epoch: int, base_sequence: int
    ) -> tuple[int, bool]:
        """Append a batch; returns its base offset and whether it was there already. Raises `RefusedError`."""
        if producer_id < 0:
            self.values.extend(values)
            return len(self.values) - len(values), False
        last_sequence = after(base_sequence, len(values) - 1)
        state = self.producers.get(producer_id)
        if state is not None and state.epoch == producer_epoch:
            for batch in state.batches:
                if (batch.base_sequence, batch.last_sequence) == (base_sequence, last_sequence):
                    return batch.base_offset, True
        self._check(state, producer_epoch, base_sequence)
        if state is None or state.epoch != producer_epoch:
            state = self.producers[producer_id] = ProducerState(producer_epoch, -1)
        base_offset = len(self.values)
        self.values.extend(values)
        state.last_sequence = last_sequence
        state.batches.append(RememberedBatch(base_sequence, last_sequence, base_offset))
        return base_offset, False

    def _check(self, state: ProducerState | None, epoch: int, base_sequence: int) -> None:
        if state is None:
            # A producer it knows nothing of may start anywhere: its records may have been deleted with its state.
            return
        if epoch < state.epoch:
            raise RefusedError(INVALID_PRODUCER_EPOCH, f"epoch {epoch} is older than {state.epoch}")
        if epoch > state.epoch:
            if base_sequence != 0:
                raise RefusedError(OUT_OF_ORDER_SEQUENCE_NUMBER, f"epoch {epoch} begins at {base_sequence}")
        elif base_sequence != after(state.last_sequence, 1):
            raise RefusedError(OUT_OF_ORDER_SEQUENCE_NUMBER, f"{base_sequence} follows {state.last_sequence}")

    def forget(self, producer_id: int) -> None:
        """Drop a producer's state, as a broker does after `producer.id.expiration.ms`."""
        self.producers.pop(producer_id, None)
