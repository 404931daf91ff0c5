"""Sequence numbers of an idempotent producer: which batch may be sent, under which number, and how a gap heals.

The rules are those of Kafka's Java client (`TransactionManager`, KIP-98 and KIP-360). One differs: until a partition
has its first acknowledgement under a producer epoch, one batch of it is in flight and no more, because a broker takes
any first number of an epoch it has no state for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._speedups.record_batch import next_sequence

if TYPE_CHECKING:
    from krafka._speedups.append import ProducerBatch
    from krafka._state.partition import Partition

NONE = -1
LAST_EPOCH = 2**15 - 1


class Sequences:
    """The producer's identity and the numbering of its partitions. No number is ever given to a second record."""

    def __init__(self) -> None:
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

    def may_send(self, partition: Partition, batch: ProducerBatch) -> bool:
        """Whether the next batch of a partition may go out now, as far as numbers are concerned."""
        if batch.base_sequence != NONE:
            return partition.in_flight[0] is batch
        if not self.has_identity or partition.unresolved_next != NONE or partition.wants_new_epoch:
            return False
        if not self._is_current(partition):
            return not partition.in_flight
        return partition.last_acked_sequence != NONE or not partition.in_flight

    def stamp(self, partition: Partition, batch: ProducerBatch) -> None:
        """Number a batch that is sent for the first time; a batch sent again keeps its number."""
        if batch.base_sequence != NONE:
            return
        if not self._is_current(partition):
            self._restart(partition)
        self._number(partition, batch)
        partition.in_flight.append(batch)

    def acknowledged(self, partition: Partition, batch: ProducerBatch, base_offset: int) -> None:
        """A batch is in the log."""
        partition.in_flight.remove(batch)
        if batch.producer_epoch != partition.producer_epoch or batch.producer_id != partition.producer_id:
            return
        partition.last_acked_sequence = last_sequence(batch)
        if base_offset >= 0:
            partition.last_acked_offset = base_offset + batch.record_count - 1

    def refused(self, partition: Partition, batch: ProducerBatch) -> None:
        """The broker refused a batch for good, so that its numbers are missing and nothing after it can be taken."""
        partition.in_flight.remove(batch)
        partition.wants_new_epoch = True

    def lost(self, partition: Partition, batch: ProducerBatch) -> None:
        """A batch that was sent ended without an answer: nobody knows whether its numbers are in the log."""
        partition.in_flight.remove(batch)
        partition.unresolved_next = next_sequence(last_sequence(batch), 1)

    def out_of_order(self, partition: Partition, batch: ProducerBatch) -> None:
        """The broker misses a number before this batch; note whether that shows a gap that only a new epoch heals."""
        if partition.unresolved_next == NONE:
            missing = next_sequence(partition.last_acked_sequence, 1) == batch.base_sequence
        else:
            missing = partition.unresolved_next == batch.base_sequence
        if missing and self._is_current_batch(batch):
            partition.wants_new_epoch = True

    def forgotten(self, partition: Partition, batch: ProducerBatch, log_start_offset: int) -> None:
        """The broker no longer knows this producer (KIP-360): number anew if that is what its log says.

        Records before `log_start_offset` are gone, and with them what the broker knew of their producer.
        """
        if log_start_offset == NONE or not self._is_current_batch(batch):
            return
        partition.wants_new_epoch = True

    def settle(self, partition: Partition) -> bool:
        """Heal a partition that has nothing on the wire; True if that took a new epoch, and batches carry new numbers.

        Without an identity to renumber under (the epochs of one are used up) the partition stays as it is until
        `set_identity`, and then has to be settled again.
        """
        if partition.unresolved_next != NONE and not partition.in_flight:
            if next_sequence(partition.last_acked_sequence, 1) != partition.next_sequence:
                partition.wants_new_epoch = True
            partition.unresolved_next = NONE
        if not partition.wants_new_epoch or not self.has_identity:
            return False
        if self._is_current(partition) and not self._raise_epoch():
            return False
        partition.wants_new_epoch = False
        partition.unresolved_next = NONE
        self._restart(partition)
        for batch in partition.in_flight:
            self._number(partition, batch)
        return True

    def _raise_epoch(self) -> bool:
        # KIP-360 lets a producer without a transactional id raise its own epoch; no broker has to be asked.
        if self.producer_epoch >= LAST_EPOCH - 1:
            self.producer_id = self.producer_epoch = NONE
            return False
        self.producer_epoch += 1
        return True

    def _is_current(self, partition: Partition) -> bool:
        return partition.producer_id == self.producer_id and partition.producer_epoch == self.producer_epoch

    def _is_current_batch(self, batch: ProducerBatch) -> bool:
        partition: Partition = batch.partition
        return (
            batch.producer_id == partition.producer_id and batch.producer_epoch == partition.producer_epoch
        )

    def _restart(self, partition: Partition) -> None:
        partition.producer_id = self.producer_id
        partition.producer_epoch = self.producer_epoch
        partition.next_sequence = 0
        partition.last_acked_sequence = NONE

    def _number(self, partition: Partition, batch: ProducerBatch) -> None:
        batch.producer_id = partition.producer_id
        batch.producer_epoch = partition.producer_epoch
        batch.base_sequence = partition.next_sequence
        partition.next_sequence = next_sequence(partition.next_sequence, batch.record_count)


def last_sequence(batch: ProducerBatch) -> int:
    """The number of a batch's last record."""
    return next_sequence(batch.base_sequence, batch.record_count - 1)
