"""pytest fixtures: one Kafka for the whole session, a fresh topic or a fake cluster for each test that asks."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest

from krafka.testing.cluster import KafkaCluster
from krafka.testing.errors import KafkaClusterError
from krafka.testing.fake import FakeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

LONGEST_TOPIC = 200
LOG_TAIL_LINES = 60
_topic_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kafka_options() -> dict[str, Any]:
    """What :class:`krafka.testing.KafkaCluster` is made with; override it in ``conftest.py`` to change that."""
    return {}


@pytest.fixture(scope="session")
def kafka(kafka_options: dict[str, Any]) -> Iterator[KafkaCluster]:
    """A running cluster, one broker unless ``kafka_options`` says otherwise, shared by the session's tests.

    Started by blocking calls, so tests of any event loop can use it; ``kafka.sync`` serves tests of none.
    """
    cluster = KafkaCluster(**kafka_options)
    with cluster.sync:
        yield cluster


@pytest.fixture
def kafka_topic(kafka: KafkaCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a new topic, created with the cluster's defaults and deleted after the test."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name)[:LONGEST_TOPIC]
    name = f"{readable}-{next(_topic_numbers)}"
    kafka.sync.create_topic(name)
    yield name
    kafka.sync.delete_topic(name, wait=False)


@pytest.fixture
async def fake_kafka(anyio_backend: Any) -> AsyncIterator[FakeCluster]:
    """A new `krafka.testing.FakeCluster` of three brokers, for a test of anyio's pytest plugin.

    Connect with ``krafka.Producer(fake_kafka.bootstrap, connector=fake_kafka.connector)``.
    """
    async with FakeCluster(brokers=3) as cluster:
        yield cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the brokers' logs with a failure of a test that used them."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("kafka")
    if report.failed and isinstance(cluster, KafkaCluster):
        for node_id in cluster.node_ids:
            try:
                lines = cluster.log(node_id).splitlines()[-LOG_TAIL_LINES:]
            except KafkaClusterError:
                continue
            report.sections.append((f"log of Kafka broker {node_id}", "\n".join(lines)))
    return report
