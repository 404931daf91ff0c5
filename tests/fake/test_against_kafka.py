"""The fake cluster and Apache Kafka are asked the same things, byte for byte, and answer the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import pytest

from krafka.testing import FakeCluster, KafkaCluster
from krafka.testing._startup import run_tool

from .scripts import SCRIPTS, Peer, both_protocols, coordinators, expiry, fencing, first_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .scripts import Answers

pytestmark = pytest.mark.kafka

CLEANUP_MS = 200
PROPERTIES = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": str(CLEANUP_MS),
    "message.max.bytes": "1048588",
}


NEWEST = 2
OF_THE_SERVER = [first_protocol, fencing, both_protocols, expiry]
"""The scripts that ask for what the coordinator does in the cluster's version of transactions, not in the client's."""


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> Iterator[tuple[KafkaCluster, int]]:
    kafka = KafkaCluster(properties=PROPERTIES)
    with kafka.sync:
        if request.param != NEWEST:
            change = ["downgrade", "--feature", f"transaction.version={request.param}"]
            # The harness has no other way to Kafka's tools.
            distribution = kafka.sync._distribution
            assert distribution is not None
            run_tool(
                distribution,
                "org.apache.kafka.tools.FeatureCommand",
                ["--bootstrap-server", kafka.bootstrap, *change],
            )
        # The first to ask for a coordinator has Kafka create what it keeps its state in.
        with Peer(kafka.bootstrap, "first", create_topic=kafka.sync.create_topic, committed=list) as peer:
            coordinators(peer)
            peer.init("first")
        yield kafka, request.param


@pytest.mark.parametrize(
    ("real", "script"),
    [
        pytest.param(version, script, id=f"{script.__name__}-{version}")
        for version in (NEWEST, 1)
        for script in (SCRIPTS if version == NEWEST else OF_THE_SERVER)
    ],
    indirect=["real"],
)
def test_the_fake_answers_as_kafka_does(
    real: tuple[KafkaCluster, int], script: Callable[[Peer], Answers]
) -> None:
    kafka, version = real
    name = f"{script.__name__}-{time.monotonic_ns()}"
    with Peer(
        kafka.bootstrap,
        name,
        create_topic=kafka.sync.create_topic,
        committed=lambda topic: [each.value for each in kafka.sync.read(topic, isolation="read_committed")],
    ) as peer:
        expected = script(peer)
    with anyio.from_thread.start_blocking_portal() as portal:
        cluster = FakeCluster(ports=True, transaction_version=version)

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
