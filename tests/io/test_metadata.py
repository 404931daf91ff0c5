"""The metadata refresher: one request for everybody, only for topics in use, and errors with their reason."""

from __future__ import annotations

import contextlib
import logging
import re
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_net import FakeNet, Mode, pool_on, topic

from krafka._io.metadata import MetadataRefresher
from krafka._state.cluster import Broker, Cluster, TopicMetadata
from krafka._wire.api import APIS_BY_KEY
from krafka._wire.metadata import MetadataRequest, MetadataResponse
from krafka.config import ProducerConfig
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidTopicError,
    KafkaError,
    MetadataTimeoutError,
    ProducerClosedError,
    ProducerCrashedError,
    RebootstrapRequiredError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


class Refreshing:
    """A refresher at work, and what it told."""

    def __init__(
        self, refresher: MetadataRefresher, pool: Any, updates: list[Cluster], used: set[str]
    ) -> None:
        self.refresher = refresher
        self.pool = pool
        self.updates = updates
        self.used = used

    async def topic(self, name: str, partition: int | None = None, *, within: float = 5) -> TopicMetadata:
        return await self.refresher.wait_for_topic(name, anyio.current_time() + within, partition)


@contextlib.asynccontextmanager
async def refreshing(
    net: FakeNet, *bootstrap: str, start: bool = True, **options: Any
) -> AsyncIterator[Refreshing]:
    options = {"retry_backoff": 0.001, "retry_backoff_max": 0.002, **options}
    config = ProducerConfig(bootstrap_servers=[f"{host}:9092" for host in bootstrap], **options)
    updates: list[Cluster] = []
    used: set[str] = set()
    async with pool_on(net, *bootstrap) as pool, anyio.create_task_group() as tasks:
        refresher = MetadataRefresher(
            pool, config, still_used=used.__contains__, on_update=updates.append, random=Random(3)
        )
        if start:
            tasks.start_soon(refresher.run)
        try:
            yield Refreshing(refresher, pool, updates, used)
        finally:
            tasks.cancel_scope.cancel()


def names(request: MetadataRequest) -> list[str | None]:
    assert request.topics is not None
    return [entry.name for entry in request.topics]


def hold_metadata_to(version: int) -> list[tuple[int, int, int]]:
    """Version ranges of a broker whose Metadata ends at `version`."""
    return [
        (
            api.key,
            api.min_version,
            min(version, api.max_version) if api.name == "Metadata" else api.max_version,
        )
        for api in APIS_BY_KEY.values()
    ]


async def test_a_topic_is_learned_and_its_brokers_reach_the_pool() -> None:
    net = FakeNet("a", "b")
    net.add_topic("orders", [1, 2, 1])
    async with refreshing(net, "a") as at:
        metadata = await at.topic("orders")
        assert [entry.leader_id for entry in metadata.partitions] == [1, 2, 1]
        assert at.refresher.cluster.topics["orders"] is metadata
        assert at.updates[-1] is at.refresher.cluster
        assert at.refresher.last_error is None
        assert (await at.pool.connection(2)).address == ("b", 9092)
        assert await at.topic("orders", 2) is metadata


async def test_only_topics_in_use_are_asked_for_and_none_at_the_start() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    net.add_topic("somebody else's")
    async with refreshing(net, "a") as at:
        await net.until(lambda: len(net.broker("a").requests) == 1)
        await at.topic("orders")
        assert [names(request) for request in net.broker("a").requests] == [[], ["orders"]]
        assert list(at.refresher.cluster.topics) == ["orders"]


async def test_a_known_topic_is_returned_without_another_request() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    async with refreshing(net, "a") as at:
        first = await at.topic("orders")
        asked = len(net.broker("a").requests)
        for _ in range(20):
            assert await at.topic("orders") is first
        assert len(net.broker("a").requests) == asked


async def test_a_storm_of_callers_leads_to_one_request() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    broker = net.broker("a")
    broker.hangs = True
    got: list[TopicMetadata] = []

    async def call(at: Refreshing) -> None:
        got.append(await at.topic("orders", within=30))

    async with refreshing(net, "a") as at:
        at.refresher.add_topic("orders")
        async with anyio.create_task_group() as callers:
            for _ in range(500):
                callers.start_soon(call, at)
            await net.until(lambda: bool(broker.unanswered))
            for _ in range(500):
                callers.start_soon(call, at)
            await anyio.wait_all_tasks_blocked()
            broker.hangs = False
            broker.answer_now()
        assert len(got) == 1000
        await anyio.sleep(0.02)
        assert [names(request) for request in broker.requests] == [["orders"]]


async def test_a_topic_that_is_created_while_the_caller_waits_is_found() -> None:
    net = FakeNet("a")
    broker = net.broker("a")

    def answer(request: MetadataRequest) -> MetadataResponse:
        if len(broker.requests) == 4:
            net.add_topic("orders")
        return net.metadata(request)

    broker.answer = answer
    async with refreshing(net, "a") as at:
        assert (await at.topic("orders")).error_code == 0
        assert len(broker.requests) == 4


async def test_a_topic_that_never_comes_is_a_timeout_caused_by_the_brokers_answer() -> None:
    net = FakeNet("a", "b")
    async with refreshing(net, "a") as at:
        with pytest.raises(MetadataTimeoutError) as failure:
            await at.topic("orders", within=0.5)
        text = str(failure.value)
        said = re.search(r"topic 'orders' within ([0-9.]+) s \(max_block\) from a:9092, b:9092", text)
        assert said is not None
        # The clock of uvloop goes in steps of a millisecond.
        assert float(said[1]) >= 0.5 - 0.002
        assert "UNKNOWN_TOPIC_OR_PARTITION (3)" in text
        assert isinstance(failure.value.__cause__, UnknownTopicOrPartitionError)
        assert not failure.value.possibly_written


async def test_a_timeout_without_any_broker_names_the_addresses_and_their_reasons() -> None:
    net = FakeNet()
    net.broker("a").mode = net.broker("b").mode = Mode.REFUSES
    async with refreshing(net, "a", "b") as at:
        with pytest.raises(MetadataTimeoutError, match="a:9092 failed: connection refused") as failure:
            await at.topic("orders", within=0.5)
        assert isinstance(failure.value.__cause__, ConnectionFailedError)
        assert "b:9092 failed: connection refused" in str(failure.value)
        assert isinstance(at.refresher.last_error, ConnectionFailedError)


async def test_a_timeout_before_any_answer_says_so() -> None:
    net = FakeNet()
    net.broker("a").mode = Mode.DROPS_PACKETS
    async with refreshing(net, "a") as at:
        with pytest.raises(MetadataTimeoutError, match="no broker has answered yet") as failure:
            await at.topic("orders", within=0.01)
        assert failure.value.__cause__ is None


@pytest.mark.parametrize(
    ("code", "error_class"),
    [(29, TopicAuthorizationFailedError), (17, InvalidTopicError), (-1, KafkaError), (31999, KafkaError)],
)
async def test_errors_that_waiting_does_not_mend_are_raised_at_once(
    code: int, error_class: type[KafkaError]
) -> None:
    net = FakeNet("a")
    net.add_topic("orders", error=code)
    async with refreshing(net, "a") as at:
        with pytest.raises(error_class, match="topic 'orders'") as failure:
            await at.topic("orders")
        assert not isinstance(failure.value, MetadataTimeoutError)
        assert failure.value.code == code


async def test_a_permission_granted_later_is_noticed_by_the_next_caller() -> None:
    net = FakeNet("a")
    net.add_topic("orders", error=29)
    async with refreshing(net, "a") as at:
        with pytest.raises(TopicAuthorizationFailedError):
            await at.topic("orders")
        net.add_topic("orders")
        assert len((await at.topic("orders")).partitions) == 1


async def test_refused_credentials_are_raised_at_once_and_tried_again_only_on_request() -> None:
    net = FakeNet("a")
    broker = net.broker("a")
    net.add_topic("orders")
    broker.mode = Mode.REFUSES_CREDENTIALS
    async with refreshing(net, "a") as at:
        with pytest.raises(AuthenticationError):
            await at.topic("orders")
        connects = broker.connects
        await anyio.sleep(0.03)
        assert broker.connects == connects
        with pytest.raises(AuthenticationError):
            await at.topic("orders")
        broker.mode = Mode.UP
        await at.topic("orders")


async def test_a_partition_beyond_the_known_ones_is_waited_for() -> None:
    net = FakeNet("a")
    net.add_topic("orders", [1, 1])
    broker = net.broker("a")

    def answer(request: MetadataRequest) -> MetadataResponse:
        if len(broker.requests) == 5:
            net.add_topic("orders", [1, 1, 1])
        return net.metadata(request)

    async with refreshing(net, "a") as at:
        await at.topic("orders", 1)
        broker.answer = answer
        assert len((await at.topic("orders", 2)).partitions) == 3
        with pytest.raises(MetadataTimeoutError) as failure:
            await at.topic("orders", 7, within=0.02)
        text = r"topic 'orders' has 3 partition\(s\), and no partition 7 appeared within ([0-9.]+)"
        said = re.search(text, str(failure.value))
        assert said is not None
        # The clock of uvloop goes by milliseconds.
        assert float(said[1]) >= 0.018
        assert isinstance(failure.value.__cause__, UnknownTopicOrPartitionError)


async def test_a_topic_without_a_leader_is_usable_and_asked_for_until_it_has_one() -> None:
    net = FakeNet("a")
    net.add_topic("orders", [1, -1])
    broker = net.broker("a")
    async with refreshing(net, "a") as at:
        at.used.add("orders")
        metadata = await at.topic("orders", 1)
        assert metadata.partitions[1].leader_id == -1
        assert at.refresher.needs_refresh()
        asked = len(broker.requests)
        await net.until(lambda: len(broker.requests) >= asked + 3)
        net.add_topic("orders", [1, 1], epoch=1)
        while at.refresher.needs_refresh():
            seen = len(broker.requests)
            await net.until(lambda: len(broker.requests) > seen)  # noqa: B023 - awaited within the iteration
            await anyio.wait_all_tasks_blocked()
        assert at.refresher.cluster.leader("orders", 1) == Broker(1, "a", 9092)
        asked = len(broker.requests)
        await anyio.sleep(0.02)
        assert len(broker.requests) == asked


async def test_nobody_asks_for_the_leader_of_an_unused_topic() -> None:
    net = FakeNet("a")
    net.add_topic("orders", [-1])
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        # Who waited for the topic may still have it asked for once more.
        await anyio.sleep(0.02)
        at.refresher.request_update()
        asked = len(net.broker("a").requests)
        await net.until(lambda: len(net.broker("a").requests) > asked)
        await anyio.sleep(0.02)
        assert len(net.broker("a").requests) == asked + 1
        assert not at.refresher.needs_refresh()


async def test_many_requests_for_an_update_are_one_and_one_more_while_it_runs() -> None:
    net = FakeNet("a")
    broker = net.broker("a")
    async with refreshing(net, "a") as at:
        await net.until(lambda: len(broker.requests) == 1)
        await anyio.wait_all_tasks_blocked()
        broker.hangs = True
        for _ in range(100):
            at.refresher.request_update()
        await net.until(lambda: bool(broker.unanswered))
        for _ in range(100):
            at.refresher.request_update()
        broker.hangs = False
        broker.answer_now()
        await net.until(lambda: len(broker.requests) == 3)
        await anyio.sleep(0.02)
        assert len(broker.requests) == 3


async def test_a_refresh_can_be_waited_for_and_is_not_the_one_under_way() -> None:
    net = FakeNet("a")
    broker = net.broker("a")
    broker.hangs = True
    returned_after: list[int] = []

    async def call(at: Refreshing) -> None:
        await at.refresher.wait_for_refresh(anyio.current_time() + 30)
        returned_after.append(len(broker.requests) - len(broker.unanswered))

    async with refreshing(net, "a") as at:
        async with anyio.create_task_group() as callers:
            await net.until(lambda: len(broker.unanswered) == 1)
            callers.start_soon(call, at)
            await anyio.wait_all_tasks_blocked()
            broker.answer_now()
            await net.until(lambda: len(broker.unanswered) == 1)
            assert returned_after == []
            broker.answer_now()
        assert returned_after == [2]
        await at.refresher.wait_for_refresh(anyio.current_time() + 0.5)
        assert len(broker.requests) == 3, "the deadline ends the wait for an answer that does not come"


async def test_a_snapshot_that_did_not_change_is_not_announced() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        known = at.refresher.cluster
        updates = len(at.updates)
        for _ in range(3):
            asked = len(net.broker("a").requests)
            at.refresher.request_update()
            await net.until(lambda: len(net.broker("a").requests) > asked)  # noqa: B023 - awaited here
            await anyio.wait_all_tasks_blocked()
        assert at.refresher.cluster is known
        assert len(at.updates) == updates


async def test_an_answer_without_brokers_is_ignored_and_asked_again() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    broker = net.broker("a")

    def answer(request: MetadataRequest) -> MetadataResponse:
        response = net.metadata(request)
        if len(broker.requests) < 3:
            response.brokers = []
        return response

    broker.answer = answer
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        assert len(broker.requests) == 3


async def test_a_broker_that_lags_behind_does_not_take_a_leader_back() -> None:
    net = FakeNet("a", "b")
    net.add_topic("orders", [2], epoch=8)
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        net.add_topic("orders", [1], epoch=7)
        asked = len(net.broker("a").requests)
        at.refresher.request_update()
        await net.until(lambda: len(net.broker("a").requests) > asked)
        await anyio.wait_all_tasks_blocked()
        assert at.refresher.cluster.topics["orders"].partitions[0].leader_id == 2


async def test_a_hint_moves_the_leader_before_the_metadata_does() -> None:
    net = FakeNet("a", "b")
    net.add_topic("orders", [1], epoch=3)
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        asked = len(net.broker("a").requests)
        fresh = Broker(7, "c", 9092)
        assert not at.refresher.note_leader("orders", 0, 7, 3, [fresh])
        assert at.refresher.note_leader("orders", 0, 7, 4, [fresh])
        assert at.updates[-1].leader("orders", 0) == fresh
        assert (await at.pool.connection(7)).address == ("c", 9092)
        assert len(net.broker("a").requests) == asked


async def test_a_broker_that_says_start_over_sends_the_client_to_its_bootstrap_servers() -> None:
    net = FakeNet("a")
    net.add_topic("orders")
    broker = net.broker("a")

    async with refreshing(net, "seed") as at:
        await at.topic("orders")
        await at.pool.connection(1)
        (await at.pool.any_connection()).close()
        await net.until(lambda: broker.open_streams == 0)
        await at.pool.connection(1)

        def answer(request: MetadataRequest) -> MetadataResponse:
            return MetadataResponse(error_code=RebootstrapRequiredError.code or 0)

        broker.answer = answer
        net.add_topic("payments")
        seed = net.broker("seed")
        asked, connects = len(seed.requests), seed.connects
        await at.topic("payments")
        assert len(broker.requests) == 1
        assert len(seed.requests) == asked + 1
        assert seed.connects == connects + 1
        assert (await at.pool.any_connection()).address == ("a", 9092)


async def test_the_choice_not_to_create_topics_is_sent() -> None:
    net = FakeNet("a")
    async with refreshing(net, "a", allow_auto_create_topics=False) as at:
        with pytest.raises(MetadataTimeoutError):
            await at.topic("orders", within=0.02)
        assert not any(request.allow_auto_topic_creation for request in net.broker("a").requests)


async def test_a_broker_that_cannot_keep_from_creating_topics_is_refused() -> None:
    net = FakeNet("a")
    net.broker("a").api_ranges = hold_metadata_to(3)
    async with refreshing(net, "a", allow_auto_create_topics=False) as at:
        with pytest.raises(UnsupportedVersionError, match="allow_auto_create_topics"):
            await at.topic("orders")
        assert net.broker("a").requests == []


@pytest.mark.parametrize("version", [0, 1, 4, 7, 8, 9, 10, 12, 13])
async def test_every_version_of_metadata_serves(version: int) -> None:
    net = FakeNet("a", "b")
    net.add_topic("orders", [1, 2], epoch=5)
    net.broker("a").api_ranges = hold_metadata_to(version)
    async with refreshing(net, "a") as at:
        metadata = await at.topic("orders")
        assert [entry.leader_id for entry in metadata.partitions] == [1, 2]
        assert metadata.partitions[0].leader_epoch == (5 if version >= 9 else -1)
        assert (metadata.topic_id != bytes(16)) == (version >= 10)


async def test_topics_nobody_asked_for_are_left_out() -> None:
    net = FakeNet("a")
    net.add_topic("orders")

    def answer(request: MetadataRequest) -> MetadataResponse:
        response = net.metadata(request)
        response.topics.append(topic("unasked"))
        return response

    net.broker("a").answer = answer
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        assert list(at.refresher.cluster.topics) == ["orders"]


async def test_a_fatal_end_of_the_producer_reaches_those_who_wait_and_those_who_come() -> None:
    net = FakeNet("a")
    outcomes: list[BaseException] = []

    async def call(at: Refreshing) -> None:
        try:
            await at.topic("orders")
        except ProducerCrashedError as error:
            outcomes.append(error)

    async with refreshing(net, "a") as at:
        async with anyio.create_task_group() as callers:
            callers.start_soon(call, at)
            callers.start_soon(call, at)
            await anyio.wait_all_tasks_blocked()
            at.refresher.fail(ProducerCrashedError("the sender died"))
        await call(at)
        assert [str(error) for error in outcomes] == ["the sender died"] * 3
        assert len(set(map(id, outcomes))) == 3


async def test_the_refresher_ends_with_its_pool() -> None:
    net = FakeNet("a")
    async with refreshing(net, "a", start=False) as at:
        await at.pool.close()
        with anyio.fail_after(60):
            await at.refresher.run()
        assert isinstance(at.refresher.last_error, ProducerClosedError)


async def test_a_caller_who_waits_when_the_pool_is_closed_is_told() -> None:
    net = FakeNet("a")
    outcomes: list[ProducerClosedError] = []

    async def call(at: Refreshing) -> None:
        try:
            await at.topic("orders")
        except ProducerClosedError as error:
            outcomes.append(error)

    async with refreshing(net, "a") as at, anyio.create_task_group() as callers:
        callers.start_soon(call, at)
        await anyio.wait_all_tasks_blocked()
        await at.pool.close()
    assert len(outcomes) == 1


async def test_a_cancelled_caller_leaves_the_others_waiting() -> None:
    net = FakeNet("a")
    got: list[TopicMetadata] = []

    async def call(at: Refreshing) -> None:
        got.append(await at.topic("orders"))

    async with refreshing(net, "a") as at:
        async with anyio.create_task_group() as callers:
            callers.start_soon(call, at)
            with anyio.move_on_after(0.01) as scope:
                await at.topic("orders")
            assert scope.cancelled_caught
            assert got == []
            net.add_topic("orders")
        assert len(got) == 1


async def test_an_address_that_leads_to_another_cluster_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    net = FakeNet("a")
    net.add_topic("orders", [1], epoch=9)
    async with refreshing(net, "a") as at:
        await at.topic("orders")
        net.cluster_id = "cluster-two"
        net.add_topic("orders", [1], epoch=0)
        asked = len(net.broker("a").requests)
        with caplog.at_level(logging.WARNING, "krafka"):
            at.refresher.request_update()
            await net.until(lambda: len(net.broker("a").requests) > asked)
            await anyio.wait_all_tasks_blocked()
        assert at.refresher.cluster.topics["orders"].partitions[0].leader_epoch == 0
        assert "belongs to cluster cluster-two, not cluster-one as before" in caplog.text
