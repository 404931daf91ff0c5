"""What takes part in the open transaction of a producer, and what its coordinator knows of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._state.partition import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka._state.partition import Partition
    from krafka._state.sequences import Sequences


class OpenTransaction:
    """The partitions of a transaction; in version 2 their leaders tell the coordinator of them (KIP-890).

    `started` says that the coordinator knows of the transaction, `maybe_started` that it may at least, `end_asked` that
    it may have ended it. `wanted` are the partitions that wait for it: to be told of them, or to be done with the last.
    """

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences
        self._partitions: dict[Partition, None] = {}
        self.wanted: list[Partition] = []
        self.started = False
        self.maybe_started = False
        self.end_asked = False

    def enlist(self, partition: Partition, *, at_once: bool) -> bool:
        """A partition has its first record; True if the coordinator is asked before that is sent."""
        if partition in self._partitions:
            return False
        self._partitions[partition] = None
        if at_once:
            partition.enrolled = True
            return False
        self.wanted.append(partition)
        return True

    def is_begun(self, version: int) -> bool:
        """Whether the coordinator takes an abort for that of this transaction, and of no other.

        In version 2 a transaction whose records were all refused may not have begun while the one before it is being
        completed; its abort would be taken for that of a producer which another has fenced.
        """
        if version == 1 or self.started:
            return True
        return any(partition.last_acked_sequence != NONE for partition in self._sent_to())

    def is_to_be_ended(self, version: int) -> bool:
        """Whether the coordinator may know anything of it that has to come to an end."""
        if self.started or self.maybe_started or self.end_asked:
            return True
        return version > 1 and any(True for _ in self._sent_to())

    def _sent_to(self) -> Iterator[Partition]:
        """The partitions that a record was sent to under the present epoch, which in version 2 is the transaction's."""
        return filter(self._sequences.is_current, self._partitions)

    def clear(self) -> None:
        """It has ended."""
        for partition in self._partitions:
            partition.enrolled = False
        self._partitions.clear()
        self.wanted.clear()
        self.started = self.maybe_started = self.end_asked = False
