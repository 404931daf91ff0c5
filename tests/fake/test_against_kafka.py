"""The fake cluster and Apache Kafka are asked the same things, byte for byte, and answer the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import pytest

from krafka.testing import FakeCluster, KafkaCluster

from .scripts import SCRIPTS, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .scripts import Answers

pytestmark = pytest.mark.kafka

CLEANUP_MS = 200
PROPERTIES = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": str(CLEANUP_MS),
    "message.max.bytes": "1048588",
}


@pytest.fixture(scope="module")
def real() -> Iterator[KafkaCluster]:
    kafka = KafkaCluster(properties=PROPERTIES)
    with kafka.sync:
        yield kafka


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_the_fake_answers_as_kafka_does(real: KafkaCluster, script: Callable[[Peer], Answers]) -> None:
    name = f"{script.__name__}-{time.monotonic_ns()}"
    with Peer(
        real.bootstrap,
        name,
        create_topic=real.sync.create_topic,
        committed=lambda topic: [each.value for each in real.sync.read(topic, isolation="read_committed")],
    ) as peer:
        expected = script(peer)
    with anyio.from_thread.start_blocking_portal() as portal:
        cluster = FakeCluster(ports=True)

        def create_topic(topic: str, *, partitions: int, config: dict[str, str]) -> None:
            portal.call(lambda: cluster.create_topic(topic, partitions, config=config))

        def committed(topic: str) -> list[Any]:
            return portal.call(lambda: [each.value for each in cluster.log(topic, committed=True)])

        with (
            portal.wrap_async_context_manager(cluster),
            Peer(cluster.bootstrap, name, create_topic=create_topic, committed=committed) as peer,
        ):
            answered = script(peer)
    assert len(expected) > 5
    differences = [
        f"step {number}, {theirs[0]}: Kafka {theirs[1]}, the fake {ours[1]}"
        for number, (theirs, ours) in enumerate(zip(expected, answered, strict=True))
        if theirs != ours
    ]
    assert not differences, "\n".join(differences)
