"""One run: the cluster, the producers of one transactional id one after the other, and the notes that were taken."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import trio
import trio.testing

from krafka.testing.fake.transactions import FakeTransaction
from tests.simulation.world import World, compressing_elsewhere, seeded

from .judge import find_violations
from .life import Life
from .plan import TRANSACTIONAL_ID, TransactionPlan, make_plan
from .weather import GROUPS, MEMBER, TransactionWeather

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from krafka.testing import FakeCluster
    from krafka.testing.fake import ReceivedRequest
    from krafka.testing.fake.transactions import TransactionTable
    from tests.simulation.judge import Logs

    from .ledger import Transaction

OFFSETS_BEGIN = 100


class _Noted(dict[Any, Any]):
    """The committed offsets of a group, and each commit of some by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[dict[Any, Any]] = []

    def update(self, offsets: Any) -> None:  # type: ignore[override]  # the fake group gives a mapping, and no more
        self.commits.append(dict(offsets))
        super().update(offsets)


class TransactionWorld(World):
    """A run of one plan: who takes part, what was noted, and which promises were broken."""

    plan: TransactionPlan
    weather: TransactionWeather

    def __init__(self, plan: TransactionPlan) -> None:
        super().__init__(plan)
        self.lives: list[Life] = []
        # Each life ends by itself.
        self.left_at = inf
        self.cluster: FakeCluster
        self.committed_offsets: dict[str, list[dict[Any, Any]]] = {}
        self.overdue: list[str] = []
        """What the coordinator aborted because it was open for too long."""
        self._sky: anyio.abc.TaskGroup
        self._offset = OFFSETS_BEGIN

    @property
    def transactions(self) -> list[Transaction]:
        """All of them, those of each life in the order they were made."""
        return [transaction for life in self.lives for transaction in life.transactions]

    def next_offset(self) -> int:
        """An offset that was not given before."""
        self._offset += 1
        return self._offset

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task until it ends, whatever becomes of the producers."""
        self._watchers.start_soon(task)

    def opened(self, life: Life) -> None:
        """A producer begins; with the first of them the weather does."""
        self.engine, self.producer = life.engine, life.producer
        self.lives.append(life)
        if len(self.lives) == 1:
            for event in self.plan.events:
                if event.at == 0.0:
                    self.weather.do(event)
            self._sky.start_soon(self._blow, [event for event in self.plan.events if event.at > 0.0])

    def _listen(self, cluster: FakeCluster) -> None:
        super()._listen(cluster)
        note_request = cluster.note

        def note(request: ReceivedRequest) -> None:
            note_request(request)
            self.weather.strays.passed_by(request)

        cluster.note = note  # type: ignore[method-assign]  # so that others may come in just before it

    def _make_weather(self, cluster: FakeCluster) -> TransactionWeather:
        return TransactionWeather(self, cluster)

    async def _produce(self, cluster: FakeCluster, sky: anyio.abc.TaskGroup) -> None:
        self.cluster, self._sky = cluster, sky
        self._prepare()
        async with anyio.create_task_group() as lives:
            for plan in self.plan.lives:
                life = Life(self, plan)
                lives.start_soon(self._live, life)
                following = plan.number + 1
                if following < len(self.plan.lives) and self.plan.lives[following].overlaps:
                    await life.is_ready.wait()
                    await anyio.sleep(self.plan.horizon * 0.1)
                else:
                    await life.is_over.wait()

    async def _live(self, life: Life) -> None:
        try:
            await life.run()
        finally:
            life.is_over.set()

    def _prepare(self) -> None:
        coordinators = self.cluster.coordinators
        if self.plan.first_epoch is not None:
            coordinators.table.by_id[TRANSACTIONAL_ID] = FakeTransaction(
                TRANSACTIONAL_ID,
                self.cluster.new_producer()[0],
                self.plan.options["transaction_timeout"],
                producer_epoch=self.plan.first_epoch,
            )
        self._watch_the_time(coordinators.table)
        for name in GROUPS:
            offsets = coordinators.group(name).offsets = _Noted()
            self.committed_offsets[name] = offsets.commits
        self.cluster.set_group(GROUPS[0], generation=1, members={MEMBER: None})

    def _watch_the_time(self, table: TransactionTable) -> None:
        expire = table.expire

        def noted(now: float) -> None:
            late = [str(each) for each in table.by_id.values() if each.deadline <= now]
            self.overdue += late
            for each in late:
                self.note("overdue", each)
            expire(now)

        table.expire = noted  # type: ignore[method-assign]  # so that what is left open is not forgotten

    def _judge(self, logs: Logs) -> list[str]:
        return find_violations(self, logs)


def run_seed(seed: int) -> TransactionWorld:
    """Run one seed; the violations are the world's."""

    async def main() -> TransactionWorld:
        world = TransactionWorld(make_plan(seed))
        await world.run()
        return world

    with seeded(seed), compressing_elsewhere(seed):
        clock = trio.testing.MockClock(rate=0.0, autojump_threshold=0.0)
        return trio.run(main, clock=clock)
