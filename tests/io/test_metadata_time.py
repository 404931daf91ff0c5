"""The metadata refresher against the clock: age, idleness, patience and the spacing of its attempts."""

from __future__ import annotations

import itertools
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest
from fake_net import FakeNet, Mode, pool_on
from trio.testing import MockClock

from krafka._io.metadata import FIRST_PATIENCE, REBOOTSTRAP_AFTER, MetadataRefresher
from krafka.config import ProducerConfig
from krafka.errors import MetadataTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from krafka._io.brokers import BrokerPool
    from krafka._state.cluster import Cluster

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    """Virtual time: the clock jumps whenever every task waits."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def start(
    tasks: TaskGroup,
    pool: BrokerPool,
    *,
    still_used: Callable[[str], bool] = lambda name: True,
    on_update: Callable[[Cluster], object] = lambda cluster: None,
    **options: float,
) -> MetadataRefresher:
    config = ProducerConfig(bootstrap_servers="a:9092", **options)
    refresher = MetadataRefresher(pool, config, still_used=still_used, on_update=on_update, random=Random(3))
    tasks.start_soon(refresher.run)
    return refresher


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


async def test_metadata_is_refreshed_when_it_is_old() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool, metadata_max_age=120.0)
        await refresher.wait_for_topic("orders", anyio.current_time() + 5)
        await anyio.sleep(500)
        assert gaps(net.broker("a").asked_at)[-4:] == pytest.approx([120.0] * 4)
        tasks.cancel_scope.cancel()


async def test_a_topic_unused_for_long_is_forgotten_and_a_used_one_is_not() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    net.add_topic("payments")
    updates: list[Cluster] = []
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(
            tasks,
            pool,
            still_used=lambda name: name == "payments",
            on_update=updates.append,
            metadata_max_age=60.0,
            metadata_max_idle=200.0,
        )
        for name in ("orders", "payments"):
            await refresher.wait_for_topic(name, anyio.current_time() + 5)
        await anyio.sleep(190)
        assert set(refresher.cluster.topics) == {"orders", "payments"}
        await anyio.sleep(100)
        assert set(refresher.cluster.topics) == set(updates[-1].topics) == {"payments"}
        last = net.broker("a").requests[-1].topics
        assert last is not None
        assert [entry.name for entry in last] == ["payments"]
        await refresher.wait_for_topic("orders", anyio.current_time() + 5)
        tasks.cancel_scope.cancel()


async def test_a_topic_somebody_waits_for_is_not_forgotten() -> None:
    net = FakeNet("a")
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool, still_used=lambda name: False, metadata_max_idle=1.0)
        began = anyio.current_time()

        async def create() -> None:
            await anyio.sleep(20)
            net.add_topic("orders")

        tasks.start_soon(create)
        await refresher.wait_for_topic("orders", began + 60)
        assert anyio.current_time() - began <= 22
        tasks.cancel_scope.cancel()


async def test_a_missing_topic_is_asked_for_with_growing_pauses_until_the_deadline() -> None:
    net = FakeNet("a")
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool, still_used=lambda name: False)
        began = anyio.current_time()
        with pytest.raises(MetadataTimeoutError, match=r"within 60 s \(max_block\)"):
            await refresher.wait_for_topic("orders", began + 60)
        assert anyio.current_time() - began == pytest.approx(60)
        waits = gaps(net.broker("a").asked_at)
        for wait, base in zip(waits, [0.1, 0.1, 0.2, 0.4, 0.8], strict=False):
            assert base * 0.8 <= wait <= base * 1.2
        assert all(0.8 <= wait <= 1.01 for wait in waits[5:])
        asked = len(waits)
        await anyio.sleep(30)
        assert len(gaps(net.broker("a").asked_at)) <= asked + 1
        tasks.cancel_scope.cancel()


async def test_a_new_topic_does_not_wait_for_the_pause_of_another() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool)
        refresher.add_topic("missing")
        await anyio.sleep(30.05)
        began = anyio.current_time()
        await refresher.wait_for_topic("orders", began + 5)
        assert anyio.current_time() == began
        tasks.cancel_scope.cancel()


async def test_updates_asked_for_again_and_again_are_spaced() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool)
        await refresher.wait_for_topic("orders", anyio.current_time() + 5)
        asked = len(net.broker("a").requests)
        for _ in range(1000):
            refresher.request_update()
            await anyio.sleep(0.01)
        assert 8 <= len(net.broker("a").requests) - asked <= 20
        tasks.cancel_scope.cancel()


async def test_a_broker_that_hangs_is_passed_over_long_before_its_request_timeout() -> None:
    net = FakeNet("a", "b")
    net.add_topic("orders", [1, 2])
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool)
        await refresher.wait_for_topic("orders", anyio.current_time() + 5)
        await anyio.sleep(1)
        net.broker("a").hangs = True
        net.add_topic("orders", [2, 2], epoch=1)
        refresher.request_update()
        began = anyio.current_time()
        await net.until(lambda: len(net.broker("b").requests) == 1)
        assert anyio.current_time() - began <= FIRST_PATIENCE + 0.5
        await anyio.sleep(0.01)
        leader = refresher.cluster.leader("orders", 0)
        assert leader is not None
        assert leader.node_id == 2
        assert net.broker("a").open_streams == 1, "what is under way with the slow broker goes on"
        tasks.cancel_scope.cancel()


async def test_a_cluster_that_is_slow_to_answer_is_heard_in_the_end() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    broker = net.broker("a")
    broker.hangs = True

    async def answer_slowly() -> None:
        while True:
            await anyio.sleep(0.5)
            if broker.asked_at and broker.unanswered and anyio.current_time() - broker.asked_at[-1] >= 12:
                broker.answer_now()

    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(answer_slowly)
        refresher = start(tasks, pool)
        began = anyio.current_time()
        await refresher.wait_for_topic("orders", began + 60)
        assert len(broker.requests) == 3
        assert broker.connects == 1
        tasks.cancel_scope.cancel()


async def test_long_without_metadata_the_bootstrap_servers_are_asked_again() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    async with pool_on(net, "seed") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool)
        await refresher.wait_for_topic("orders", anyio.current_time() + 5)
        await anyio.sleep(400)
        await pool.connection(1)
        net.broker("a").answer = lambda request: net.metadata(request).__class__(error_code=7)
        seed = net.broker("seed")
        (await pool.any_connection(avoid=pool.usable(1))).close()
        await anyio.sleep(0.1)
        asked = len(seed.requests)
        refresher.request_update()
        await anyio.sleep(REBOOTSTRAP_AFTER - 5)
        assert len(seed.requests) == asked
        await anyio.sleep(10)
        assert len(seed.requests) == asked + 1
        assert refresher.last_error is None
        tasks.cancel_scope.cancel()


async def test_when_brokers_come_back_waiting_callers_go_on() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    net.broker("a").mode = Mode.REFUSES
    async with pool_on(net, "a") as pool, anyio.create_task_group() as tasks:
        refresher = start(tasks, pool)

        async def come_back() -> None:
            await anyio.sleep(40)
            net.broker("a").mode = Mode.UP

        tasks.start_soon(come_back)
        began = anyio.current_time()
        await refresher.wait_for_topic("orders", began + 60)
        assert anyio.current_time() - began <= 42
        tasks.cancel_scope.cancel()
