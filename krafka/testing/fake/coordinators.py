"""Who coordinates what: the brokers that answer for transactional ids and groups, and the state those keep."""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING
from zlib import crc32

import anyio

from krafka.errors import CoordinatorNotAvailableError, NotCoordinatorError
from krafka.testing.fake.groups import FakeGroup
from krafka.testing.fake.topics import NO_LEADER
from krafka.testing.fake.transactions import CoordinatorRefusedError, TransactionTable

if TYPE_CHECKING:
    from krafka.testing.fake.cluster import FakeCluster
    from krafka.testing.fake.transactions import FakeTransaction


class KeyType(IntEnum):
    """What is coordinated, as FindCoordinator numbers it."""

    GROUP = 0
    TRANSACTION = 1


class Coordinators:
    """Places transactional ids and groups on brokers, and keeps transactions and offsets.

    The state outlives the brokers, as Kafka's replicated logs do: another coordinator goes on where one stopped.
    """

    def __init__(self, cluster: FakeCluster, *, version: int, max_timeout: float) -> None:
        self.table: TransactionTable = TransactionTable(
            version=version,
            max_timeout=max_timeout,
            new_producer_id=lambda: cluster.new_producer()[0],
            mark=self._mark,
            began=self._watch,
        )
        self.groups: dict[str, FakeGroup] = {}
        self.holds_markers = False
        self._cluster = cluster
        self._placed: dict[tuple[KeyType, str], int] = {}
        self._told: dict[tuple[KeyType, str], int] = {}
        self._alarm = anyio.Event()
        self._sleeps_until = inf
        self._is_watching = False

    def group(self, name: str) -> FakeGroup:
        """A group by name; every name has one."""
        return self.groups.setdefault(name, FakeGroup(name))

    # -- placement ------------------------------------------------------------------------------------------------

    def find(self, key_type: KeyType, key: str) -> int:
        """The broker that coordinates a group or a transactional id now, -1 for none."""
        place = key_type, key
        if place not in self._placed:
            self._placed[place] = self._told[place] = self._any(key)
        return self._placed[place]

    def told(self, key_type: KeyType, key: str) -> int:
        """The broker that FindCoordinator names, -1 for none."""
        self.find(key_type, key)
        return self._told[key_type, key]

    def move(self, key_type: KeyType, key: str, to: int) -> None:
        """Have another broker coordinate."""
        self.find(key_type, key)
        self._placed[key_type, key] = to

    def propagate(self) -> None:
        """Let FindCoordinator tell the present coordinators."""
        self._told.update(self._placed)

    def brokers_changed(self) -> None:
        """Replace coordinators that are down; go on with transactions that can be completed now."""
        for place, node_id in self._placed.items():
            if node_id == NO_LEADER or not self._cluster.brokers[node_id].is_up:
                self._placed[place] = self._any(place[1])
        self.table.complete_all()
        self._cluster.notify()

    def _any(self, key: str) -> int:
        up = [node_id for node_id, broker in self._cluster.brokers.items() if broker.is_up]
        return up[crc32(key.encode()) % len(up)] if up else NO_LEADER

    def check(self, key_type: KeyType, key: str, broker_id: int) -> None:
        """Refuse a request that reached another broker than the coordinator."""
        if self.find(key_type, key) != broker_id:
            raise CoordinatorRefusedError(NotCoordinatorError)

    def check_any(self, key_type: KeyType, key: str) -> None:
        """Refuse what needs a coordinator while there is none."""
        if self.find(key_type, key) == NO_LEADER:
            raise CoordinatorRefusedError(CoordinatorNotAvailableError)

    # -- markers --------------------------------------------------------------------------------------------------

    def _mark(self, transaction: FakeTransaction) -> None:
        if self.holds_markers:
            return
        producer = transaction.producer_id, transaction.producer_epoch
        for topic, number in list(transaction.partitions):
            partition = self._cluster.find_partition(topic, number)
            if partition is None:
                del transaction.partitions[topic, number]
            elif self._is_reachable(partition.leader_id):
                partition.log.end_transaction(producer, commit=transaction.commits)
                del transaction.partitions[topic, number]
        for group in list(transaction.groups):
            if self._is_reachable(self.find(KeyType.GROUP, group)):
                self.group(group).end(producer, commit=transaction.commits)
                del transaction.groups[group]

    def _is_reachable(self, node_id: int) -> bool:
        if node_id == NO_LEADER:
            return False
        broker = self._cluster.brokers[node_id]
        return broker.is_up and not broker.is_paused

    # -- the clock ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Have the transactions that are ongoing aborted in time."""
        deadline = self.table.next_deadline
        if not self._is_watching:
            self._is_watching = self._cluster.run_in_background(self._abort_in_time, "fake coordinator")
        elif deadline < self._sleeps_until:
            self._alarm.set()

    async def _abort_in_time(self) -> None:
        while True:
            self._alarm = anyio.Event()
            self._sleeps_until = self.table.next_deadline
            with anyio.CancelScope(deadline=self._sleeps_until):
                await self._alarm.wait()
            self.table.expire(anyio.current_time())
            self._cluster.notify()
