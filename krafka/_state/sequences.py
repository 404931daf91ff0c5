"""Sequence numbers of an idempotent producer: which batch may be sent, under which number, and how a gap heals.

The rules are those of Kafka's Java client (`TransactionManager`, KIP-98 and KIP-360). Three are stricter. Until a
partition has its first acknowledgement under a producer epoch, one batch of it is in flight and no more, because a
broker takes any first number of an epoch it has no state for. And a batch that may be in the log under the number it
has is never given another: a new epoch waits until only batches from behind the gap are left, which no broker took.
Nor do so many go past one that is sent again that a broker no longer knew it for a duplicate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from krafka._speedups.record_batch import next_sequence

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka._state.partition import Partition

NONE = -1
LAST_EPOCH = 2**15 - 1
BATCHES_REMEMBERED = 5
"""How many of a producer's latest batches a broker knows again (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`)."""
SEQUENCES = 2**31


class Sequences:
    """The producer's identity and the numbering of its partitions.

    No number under which a record may be in a log is ever given to another. `transactional`: only the coordinator of
    its transactional id raises its epoch, and a partition gets nothing before it is enrolled in the transaction.
    """

    def __init__(self, *, transactional: bool = False) -> None:
        self.transactional = transactional
        self.producer_id = NONE
        self.producer_epoch = NONE

    @property
    def has_identity(self) -> bool:
        """Whether there is a producer id to stamp batches with; without one a new id has to be asked for."""
        return self.producer_id >= 0

    def set_identity(self, producer_id: int, producer_epoch: int) -> None:
        """Take the id and epoch that InitProducerId answered."""
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch

    def note_log(self, partition: Partition, topic_id: bytes) -> None:
        """The partition's topic has this id (KIP-516). A topic made anew has an empty log: it takes any number first.

        So one batch goes ahead of the others again; brokers before Kafka 2.8 tell no ids, and nothing of this.
        """
        if partition.topic_id == topic_id or not any(topic_id):
            return
        if any(partition.topic_id):
            partition.last_acked_sequence = NONE
        partition.topic_id = topic_id

    def may_send(self, partition: Partition, batch: ProducerBatch) -> bool:
        """Whether the next batch of a partition may go out now, as far as numbers are concerned."""
        if self.transactional and not partition.enrolled:
            return False
        if batch.base_sequence != NONE:
            return partition.in_flight[0] is batch and not is_behind_gap(partition, batch)
        if not self.has_identity or partition.unresolved or partition.gap != NONE:
            return False
        if partition.overtaken and _are_too_many_ahead(partition):
            return False
        if not self.is_current(partition):
            return not partition.in_flight
        return partition.last_acked_sequence != NONE or not partition.in_flight

    def stamp(self, partition: Partition, batch: ProducerBatch) -> None:
        """Number a batch that is sent for the first time; a batch sent again keeps its number."""
        if batch.base_sequence != NONE:
            return
        if not self.is_current(partition):
            self._restart(partition)
        self._number(partition, batch)
        partition.in_flight.append(batch)

    def acknowledged(self, partition: Partition, batch: ProducerBatch) -> None:
        """A batch is in the log."""
        if partition.in_flight[0] is not batch:
            partition.overtaken.append(batch.drain_order)
        partition.in_flight.remove(batch)
        if batch.producer_epoch != partition.producer_epoch or batch.producer_id != partition.producer_id:
            return
        last = last_sequence(batch)
        # A batch that was appended with an error and sent again is acknowledged after those that came behind it.
        if partition.last_acked_sequence == NONE or _follows(last, partition.last_acked_sequence):
            partition.last_acked_sequence = last

    def refused(self, partition: Partition, batch: ProducerBatch) -> None:
        """The broker refused a batch for good, so that its numbers are missing and nothing after it can be taken."""
        partition.in_flight.remove(batch)
        _note_gap(partition, batch)

    def replaced(self, partition: Partition, batch: ProducerBatch, parts: list[ProducerBatch]) -> None:
        """A batch that no broker took gave its records to others, which take over its place and its numbers.

        Numbers that are left over are free again if they were the last; otherwise they are missing from now on.
        """
        after = next_sequence(batch.base_sequence, batch.record_count)
        at = partition.in_flight.index(batch)
        partition.in_flight[at : at + 1] = parts
        sequence = batch.base_sequence
        for part in parts:
            part.producer_id = batch.producer_id
            part.producer_epoch = batch.producer_epoch
            part.base_sequence = sequence
            sequence = next_sequence(sequence, part.record_count)
        if sequence == after:
            return
        if partition.next_sequence == after:
            partition.next_sequence = sequence
        else:
            _note_gap(partition, parts[0])

    def lost(self, partition: Partition, batch: ProducerBatch) -> None:
        """A batch that was sent ended without an answer: nobody knows whether its numbers are in the log."""
        partition.in_flight.remove(batch)
        partition.unresolved = True

    def out_of_order(self, partition: Partition, batch: ProducerBatch) -> None:
        """The broker misses a number before this batch; note whether that shows a gap that only a new epoch heals.

        Behind a batch that is to be sent again it shows nothing; with all before it ended, one of them is missing.
        """
        if partition.in_flight[0] is batch:
            _note_gap(partition, batch)

    def forgotten(self, partition: Partition, batch: ProducerBatch, log_start_offset: int) -> None:
        """The broker no longer knows this producer (KIP-360): number anew if that is what its log says.

        Records before `log_start_offset` are gone, and with them what the broker knew of their producer.
        """
        if log_start_offset != NONE:
            _note_gap(partition, batch)

    def settle(self, partition: Partition) -> bool:
        """Heal a partition that has nothing on the wire; True if that took a new epoch, and batches carry new numbers.

        Without an identity to renumber under (the epochs of one are used up) the partition stays as it is until
        `set_identity`, and then has to be settled again.
        """
        if partition.unresolved and not partition.in_flight:
            if next_sequence(partition.last_acked_sequence, 1) != partition.next_sequence:
                partition.gap = 0
            partition.unresolved = False
        if partition.gap == NONE or not self.has_identity:
            return False
        if partition.in_flight and not is_behind_gap(partition, partition.in_flight[0]):
            return False
        if self.is_current(partition) and not self._raise_epoch():
            return False
        partition.gap = NONE
        partition.unresolved = False
        self._restart(partition)
        for batch in partition.in_flight:
            self._number(partition, batch)
        return True

    def _raise_epoch(self) -> bool:
        # KIP-360 lets a producer without a transactional id raise its own epoch; no broker has to be asked.
        if self.transactional:
            return False
        if self.producer_epoch >= LAST_EPOCH - 1:
            self.producer_id = self.producer_epoch = NONE
            return False
        self.producer_epoch += 1
        return True

    def is_current(self, partition: Partition) -> bool:
        """Whether a partition is numbered under the producer's present id and epoch."""
        return partition.producer_id == self.producer_id and partition.producer_epoch == self.producer_epoch

    def _restart(self, partition: Partition) -> None:
        partition.producer_id = self.producer_id
        partition.producer_epoch = self.producer_epoch
        partition.next_sequence = 0
        partition.last_acked_sequence = NONE
        partition.overtaken.clear()

    def _number(self, partition: Partition, batch: ProducerBatch) -> None:
        batch.producer_id = partition.producer_id
        batch.producer_epoch = partition.producer_epoch
        batch.base_sequence = partition.next_sequence
        partition.next_sequence = next_sequence(partition.next_sequence, batch.record_count)


def last_sequence(batch: ProducerBatch) -> int:
    """The number of a batch's last record."""
    return next_sequence(batch.base_sequence, batch.record_count - 1)


def is_behind_gap(partition: Partition, batch: ProducerBatch) -> bool:
    """Whether a number before this batch, or its own, is missing in the log, so that no broker takes it."""
    return NONE < partition.gap <= batch.drain_order


def _are_too_many_ahead(partition: Partition) -> bool:
    """Whether one more batch would push the oldest open one, which may be in the log, out of the broker's memory."""
    oldest = partition.in_flight[0].drain_order if partition.in_flight else math.inf
    partition.overtaken = [order for order in partition.overtaken if order > oldest]
    return len(partition.overtaken) + len(partition.in_flight) >= BATCHES_REMEMBERED


def _note_gap(partition: Partition, batch: ProducerBatch) -> None:
    if partition.gap == NONE or batch.drain_order < partition.gap:
        partition.gap = batch.drain_order


def _follows(sequence: int, other: int) -> bool:
    """Whether one number comes after another, with the way round the end taken into account."""
    return 0 < (sequence - other) % SEQUENCES < SEQUENCES // 2
