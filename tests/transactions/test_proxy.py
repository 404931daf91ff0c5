"""The proxy itself: clients stay on it, and each fate is what it says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import confluent_kafka
import pytest
from aiokafka import AIOKafkaProducer

import krafka
from krafka._wire.produce import ProduceRequest

from .proxy import Fate, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECONDS = 60.0
PRODUCE = ProduceRequest.API_KEY
NONE, DUPLICATE = 0, 46


@asynccontextmanager
async def proxied(kafka: KafkaCluster) -> AsyncGenerator[Proxy]:
    with anyio.fail_after(SECONDS):
        async with Proxy(kafka.bootstrap).running() as proxy:
            yield proxy


async def values(kafka: KafkaCluster, topic: str) -> list[bytes | None]:
    return [record.value for record in await kafka.read(topic)]


async def test_krafka_stays_on_it(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy, krafka.Producer(proxy.bootstrap) as producer:
        await producer.send(kafka_topic, b"value")
        assert proxy.requests[PRODUCE] == 1
    assert await values(kafka, kafka_topic) == [b"value"]


async def test_confluent_stays_on_it(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy:
        producer = confluent_kafka.Producer({"bootstrap.servers": proxy.bootstrap, "log_level": 0})
        producer.produce(kafka_topic, b"value")
        assert await anyio.to_thread.run_sync(producer.flush, SECONDS) == 0
        assert proxy.requests[PRODUCE] == 1
    assert await values(kafka, kafka_topic) == [b"value"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_aiokafka_stays_on_it(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy, AIOKafkaProducer(bootstrap_servers=proxy.bootstrap) as producer:
        await producer.send_and_wait(kafka_topic, b"value")
        assert proxy.requests[PRODUCE] == 1
    assert await values(kafka, kafka_topic) == [b"value"]


async def test_a_request_that_is_held(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy, krafka.Producer(proxy.bootstrap) as producer:
        caught = proxy.catch(ProduceRequest)
        await producer.send(kafka_topic, b"value", partition=0)
        assert proxy.requests[PRODUCE] == 2
        assert (await caught.wait()).acks == -1
        assert await values(kafka, kafka_topic) == [b"value"]
        (told,) = (await caught.deliver()).responses[0].partition_responses
        assert told.error_code in {NONE, DUPLICATE}
    assert await values(kafka, kafka_topic) == [b"value"]


async def test_a_request_that_is_wanted_for_what_it_says(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy, krafka.Producer(proxy.bootstrap) as producer:
        await producer.partitions_for(kafka_topic)
        caught = proxy.catch(
            ProduceRequest, wanted=lambda request: request.topic_data[0].partition_data[0].index == 1
        )
        await producer.send(kafka_topic, b"one", partition=0)
        assert not caught.seen.is_set()
        await producer.send(kafka_topic, b"two", partition=1)
        request = await caught.wait()
    assert [each.index for each in request.topic_data[0].partition_data] == [1]


async def test_an_answer_that_is_lost(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy, krafka.Producer(proxy.bootstrap) as producer:
        caught = proxy.catch(ProduceRequest, Fate.LOSE_ANSWER)
        await producer.send(kafka_topic, b"value", partition=0)
        await caught.wait()
        assert proxy.requests[PRODUCE] == 2
    assert await values(kafka, kafka_topic) == [b"value"]


async def test_requests_that_never_arrive(kafka: KafkaCluster, kafka_topic: str) -> None:
    async with proxied(kafka) as proxy, krafka.Producer(proxy.bootstrap, delivery_timeout=2.0) as producer:
        with proxy.cutting(ProduceRequest), pytest.raises(krafka.DeliveryTimeoutError) as raised:
            await producer.send(kafka_topic, b"lost", partition=0)
        assert raised.value.possibly_written
        await producer.send(kafka_topic, b"value", partition=0)
    assert await values(kafka, kafka_topic) == [b"value"]
