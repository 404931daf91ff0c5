"""The Kafka that benchmarks run against, and their topics: each run gets one of its own, and the log is the judge."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # re-exports

from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

# All compiler tiers, unlike a test's broker: what it takes to serve a client should not hide the client.
JAVA_OPTIONS = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC")
ADMIN_TIMEOUT = 30.0
POLL_INTERVAL = 0.05
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # confluent-kafka leaves it untyped


@contextmanager
def broker(bootstrap: str | None) -> Iterator[str]:
    """Give the address of a broker: the one named, or one started for the time of the block."""
    if bootstrap is not None:
        yield bootstrap
        return
    properties = {"log.segment.delete.delay.ms": "1000"}
    with KafkaCluster(1, java_options=JAVA_OPTIONS, properties=properties).sync as kafka:
        yield kafka.bootstrap


class Topics:
    """Makes, counts and deletes topics, through librdkafka's admin client."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    @contextmanager
    def fresh(self, name: str, partitions: int) -> Iterator[None]:
        """A new topic for the time of the block."""
        self._admin.create_topics([NewTopic(name, num_partitions=partitions)])[name].result(ADMIN_TIMEOUT)
        self._wait_for_leaders(name, partitions)
        try:
            yield
        finally:
            self._admin.delete_topics([name])[name].result(ADMIN_TIMEOUT)

    def _wait_for_leaders(self, name: str, partitions: int) -> None:
        # Only an answer of the leader itself shows that it leads; metadata promise it earlier.
        deadline = time.monotonic() + ADMIN_TIMEOUT
        while True:
            try:
                self.records_in(name, partitions)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"topic {name} has no leaders after {ADMIN_TIMEOUT:g} s") from error
            else:
                return
            time.sleep(POLL_INTERVAL)
            # librdkafka may keep "no leaders" as its answer for a topic it asked about too early.
            self._admin = AdminClient({"bootstrap.servers": self._bootstrap})

    def records_in(self, name: str, partitions: int) -> int:
        """How many records a topic holds that was new: its end offsets added up."""
        wanted = {TopicPartition(name, partition): _LATEST for partition in range(partitions)}
        answers = self._admin.list_offsets(wanted)
        return sum(answer.result(ADMIN_TIMEOUT).offset for answer in answers.values())
