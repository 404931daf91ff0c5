"""What a producer does while nobody uses it: next to nothing, however many topics it knows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from krafka import Producer
from krafka._wire.metadata import MetadataRequest
from krafka.testing import FakeCluster

HOUR = 3600.0
TOPICS = [f"topic-{number}" for number in range(1000)]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Wakings(trio.abc.Instrument):
    """Counts by name how often trio ran tasks, those of brokers aside, and keeps when."""

    def __init__(self) -> None:
        self.started_at = anyio.current_time()
        self.at: dict[str, list[float]] = {}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not task.name.startswith("fake "):
            self.at.setdefault(task.name, []).append(anyio.current_time())

    @property
    def by_task(self) -> dict[str, int]:
        return {name: len(times) for name, times in self.at.items()}


async def use_once(cluster: FakeCluster, producer: Producer) -> None:
    """One record to each topic, all at once, so that their metadata are asked for together."""
    for topic in TOPICS:
        cluster.create_topic(topic)
    async with anyio.create_task_group() as task_group:
        for topic in TOPICS:
            task_group.start_soon(producer.send, topic, b"once")
    assert sum(len(cluster.log(topic)) for topic in TOPICS) == len(TOPICS)
    cluster.received.clear()


def topics_asked_for(cluster: FakeCluster) -> list[int]:
    """How many topics each request was about, of which all are Metadata's."""
    return [
        len(request.body.topics or ())
        for request in cluster.received
        if isinstance(request.body, MetadataRequest)
    ]


async def idle(seconds: float) -> Wakings:
    wakings = Wakings()
    trio.lowlevel.add_instrument(wakings)
    await anyio.sleep(seconds)
    trio.lowlevel.remove_instrument(wakings)
    (me,) = (name for name in wakings.at if "krafka" not in name)
    assert len(wakings.at.pop(me)) == 1
    return wakings


async def test_topics_nobody_uses_are_asked_for_only_when_their_metadata_are_old() -> None:
    async with (
        FakeCluster() as cluster,
        Producer(cluster.bootstrap, connector=cluster.connector, metadata_max_idle=math.inf) as producer,
    ):
        await use_once(cluster, producer)
        await idle(HOUR + 1)
        assert {request.api for request in cluster.received} == {"Metadata"}
        assert topics_asked_for(cluster) == [len(TOPICS)] * 12
        times = [request.received_at for request in cluster.received]
        assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([300] * 11)


async def test_topics_nobody_uses_are_forgotten() -> None:
    async with (
        FakeCluster() as cluster,
        Producer(cluster.bootstrap, connector=cluster.connector) as producer,
    ):
        await use_once(cluster, producer)
        await idle(HOUR + 1)
        assert {request.api for request in cluster.received} == {"Metadata"}
        asked = topics_asked_for(cluster)
        assert len(asked) == 12
        assert asked[2:] == [0] * 10


async def test_nothing_else_wakes_a_producer_that_nobody_uses() -> None:
    """Without refreshes: each connection looks at its deadlines now and then until it has idled too long."""
    async with (
        FakeCluster(brokers=3) as cluster,
        Producer(
            cluster.bootstrap,
            connector=cluster.connector,
            metadata_max_age=math.inf,
            linger=0.05,
            request_timeout=30,
            connections_max_idle=540,
        ) as producer,
    ):
        await use_once(cluster, producer)
        wakings = await idle(HOUR)
        assert cluster.received == []
        connections = 3
        looks = connections * (540 / 30 + 1)
        deadlines_of_records = 3
        ends_of_connections = connections * 6
        assert sum(wakings.by_task.values()) <= looks + deadlines_of_records + ends_of_connections
        assert max(time for times in wakings.at.values() for time in times) <= wakings.started_at + 541
        again = await idle(HOUR)
        assert again.by_task == {}


async def test_a_refresh_wakes_few_tasks_however_many_topics_it_is_about() -> None:
    async with (
        FakeCluster() as cluster,
        Producer(cluster.bootstrap, connector=cluster.connector, metadata_max_idle=math.inf) as producer,
    ):
        await use_once(cluster, producer)
        wakings = await idle(HOUR + 1)
        refreshes = len(cluster.received)
        looks = sum(count for name, count in wakings.by_task.items() if name.endswith("_watch"))
        assert looks <= HOUR / producer.config.request_timeout + 1
        # The refresher's own three, two for the connection's writer and four for its reader, which lets those go
        # first who wait for the answer; the last turn of that may be left from before.
        assert sum(wakings.by_task.values()) - looks <= 9 * refreshes + 3
