"""The offsets of consumer groups, which producers commit in their transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from krafka.errors import (
    FencedInstanceIdError,
    IllegalGenerationError,
    InvalidProducerEpochError,
    UnknownMemberIdError,
)
from krafka.testing.fake.transactions import CoordinatorRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka.testing.fake.transactions import PartitionName

NO_GENERATION = -1


class FakeOffset(NamedTuple):
    """An offset as it was committed."""

    offset: int
    leader_epoch: int
    metadata: str | None


class _Pending:
    """Offsets of a transaction that has not ended."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.offsets: dict[PartitionName, FakeOffset] = {}


class FakeGroup:
    """A consumer group: its members, and the offsets that were committed for it.

    A group that nobody described has no members. Offsets are committed for it by whoever names neither a generation
    nor a member.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation: int = NO_GENERATION
        self.members: dict[str, str | None] = {}
        """Each member's id, and its `group.instance.id` if it has one."""
        self.offsets: dict[PartitionName, FakeOffset] = {}
        """What is committed, by topic and partition."""
        self._exists = False
        self._pending: dict[int, _Pending] = {}
        self._epochs: dict[int, int] = {}

    def describe(self, generation: int, members: Mapping[str, str | None]) -> None:
        """Have the group be in a generation with these members."""
        self.generation = generation
        self.members = dict(members)
        self._exists = True

    def check(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Refuse who is not a member of the present generation, as Kafka's classic groups do (KIP-447).

        Raises `CoordinatorRefusedError`.
        """
        if generation < 0 and not (self.members and (member_id or instance_id is not None)):
            return
        if not self._exists:
            raise CoordinatorRefusedError(IllegalGenerationError)
        if instance_id is not None:
            owner = next((each for each, name in self.members.items() if name == instance_id), None)
            if owner is None:
                raise CoordinatorRefusedError(UnknownMemberIdError)
            if owner != member_id:
                raise CoordinatorRefusedError(FencedInstanceIdError)
        elif member_id not in self.members:
            raise CoordinatorRefusedError(UnknownMemberIdError)
        if generation != self.generation:
            raise CoordinatorRefusedError(IllegalGenerationError)

    def is_in_transaction(self, producer: tuple[int, int]) -> bool:
        """Whether a producer committed offsets in its present transaction already."""
        pending = self._pending.get(producer[0])
        return pending is not None and pending.epoch == producer[1]

    def commit(self, producer: tuple[int, int], offsets: Mapping[PartitionName, FakeOffset]) -> None:
        """Note offsets that count once the producer's transaction is committed. Raises `CoordinatorRefusedError`."""
        producer_id, epoch = producer
        if epoch < self._epochs.get(producer_id, 0):
            raise CoordinatorRefusedError(InvalidProducerEpochError)
        self._epochs[producer_id] = epoch
        self._exists = True
        pending = self._pending.setdefault(producer_id, _Pending(epoch))
        pending.epoch = epoch
        pending.offsets.update(offsets)

    def end(self, producer: tuple[int, int], *, commit: bool) -> None:
        """A producer's transaction ended: its offsets count now, or never will."""
        self._epochs[producer[0]] = producer[1]
        pending = self._pending.pop(producer[0], None)
        if pending is not None and commit:
            self.offsets.update(pending.offsets)
