"""Answers that are well-formed and make no sense: each costs an attempt, not the producer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty import TOPIC, error_of, faulty
from trio.testing import MockClock

from krafka import Producer
from krafka.errors import DeliveryTimeoutError, ProtocolError
from krafka.testing import FakeCluster, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._wire.init_producer_id import InitProducerIdResponse
    from krafka._wire.metadata import MetadataResponse

pytestmark = pytest.mark.anyio


def identity(producer_id: int, producer_epoch: int) -> Callable[[InitProducerIdResponse], None]:
    def edit(response: InitProducerIdResponse) -> None:
        response.producer_id, response.producer_epoch = producer_id, producer_epoch

    return edit


@pytest.mark.parametrize(("producer_id", "producer_epoch"), [(-1, 0), (-7, 3), (5, -1)])
async def test_an_impossible_producer_id_is_refused_and_another_asked_for(
    producer_id: int, producer_epoch: int
) -> None:
    fault = Fault(api="InitProducerId", edit=identity(producer_id, producer_epoch), times=2)
    async with faulty(faults=[fault]) as (cluster, producer):
        assert (await producer.send(TOPIC, b"x")).offset == 0
        assert cluster.requests["InitProducerId"] == 3


async def test_impossible_producer_ids_are_asked_for_with_pauses_and_named_in_the_end() -> None:
    fault = Fault(api="InitProducerId", edit=identity(-1, 0), times=None)
    hurry: dict[str, Any] = {"delivery_timeout": 0.5, "request_timeout": 0.4, "retry_backoff": 0.05}
    async with faulty(faults=[fault], **hurry, retry_backoff_max=0.1) as (cluster, producer):
        error = await error_of(await producer.enqueue(TOPIC, b"x"))
        assert isinstance(error, DeliveryTimeoutError)
        assert isinstance(error.__cause__, ProtocolError)
        assert "producer id -1 and epoch 0; neither can be negative" in str(error)
        assert cluster.requests["InitProducerId"] < 20


@pytest.mark.parametrize("port", [-1, 0, 65536, 2**31 - 1])
async def test_a_port_in_metadata_that_cannot_be_one(port: int) -> None:
    def edit(response: MetadataResponse) -> None:
        for broker in response.brokers:
            broker.port = port

    async with FakeCluster(ports=True) as cluster:
        cluster.create_topic(TOPIC)
        cluster.fail("Metadata", edit=edit)
        with anyio.fail_after(10):
            async with Producer(cluster.bootstrap, retry_backoff=0.01) as producer:
                assert (await producer.send(TOPIC, b"x")).offset == 0


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
)
async def test_a_quota_of_weeks_ends_with_the_connection_it_was_told_on() -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", throttle_time_ms=2**31 - 1)
        await producer.send(TOPIC, b"x")
        throttled = await producer.enqueue(TOPIC, b"y")
        await anyio.sleep(0.1)
        assert not throttled.done
        cluster.drop_connections(1)
        assert (await throttled).offset == 1
