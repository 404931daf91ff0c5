"""What each fault of a schedule does to the cluster's coordinators; `tests.simulation.weather` has the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.weather import Weather

from .plan import TRANSACTIONAL_ID
from .strays import Strays

if TYPE_CHECKING:
    from krafka.testing import FakeCluster

    from .world import TransactionWorld

GROUPS = ("group-0", "group-1")
MEMBER = "member"


class TransactionWeather(Weather):
    """The faults of a run of transactions."""

    generation = 1

    def __init__(self, world: TransactionWorld, cluster: FakeCluster) -> None:
        super().__init__(world, cluster)
        self.strays = Strays(world, cluster)

    def heal(self) -> None:
        """The cluster is whole again, and everybody is told."""
        self._cluster.release_markers()
        super().heal()
        self._cluster.coordinators.brokers_changed()

    def _requests(self, *, api: str, **options: Any) -> None:
        self._cluster.fail(api, **options)

    _txn_code = _txn_code_after = _txn_disconnect = _txn_delay = _txn_late = _txn_hold = _requests
    _txn_stall = _txn_final = _txn_find = _requests

    def _move_coordinator(self, group: int | None, to: int, *, propagate: bool) -> None:
        if not self._cluster.brokers[to].is_up:
            return
        key = TRANSACTIONAL_ID if group is None else GROUPS[group]
        self._cluster.move_coordinator(key, to, group=group is not None, propagate=propagate)

    def _hold_markers(self) -> None:
        self._cluster.hold_markers()

    def _release_markers(self) -> None:
        self._cluster.release_markers()

    def _upgrade(self, to: int) -> None:
        """Another `transaction.version`, which producers hear of on their next connections."""
        if self._cluster.api_ranges[0][1] > 11:
            self._cluster.set_transaction_version(to)

    def _stray(self, api: str, *, skip: int, later: int) -> None:
        self.strays.lead_astray(api, skip=skip, later=later)

    def _group_moves_on(self) -> None:
        """The consumer lost its partitions to another."""
        self.generation += 1
        self._cluster.set_group(GROUPS[0], generation=self.generation, members={MEMBER: None})
