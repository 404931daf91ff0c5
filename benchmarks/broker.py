"""The Kafkas that benchmarks run against, and their topics: each run has its own, and the log is the judge."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # re-exports

from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# All compiler tiers, unlike a test's broker: what it takes to serve a client should not hide the client.
JAVA_OPTIONS = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC")
# Minutes of records do not fit on a disk: what is old enough goes, and soon.
PROPERTIES = {"log.segment.delete.delay.ms": "1000", "log.retention.check.interval.ms": "2000"}
SHORT_MEMORY = {"retention.bytes": str(64 << 20), "segment.bytes": str(16 << 20)}
ADMIN_TIMEOUT = 60.0
POLL_INTERVAL = 0.05
READ_AT_ONCE = 50_000
_LATEST = cast("OffsetSpec", OffsetSpec.latest())  # type: ignore[no-untyped-call]  # confluent-kafka leaves it so


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where a running Kafka is."""

    count: int
    bootstrap: str
    tls_bootstrap: str | None = None
    ca_file: str = ""
    """The authority of its TLS certificates."""


@contextmanager
def brokers(count: int, *, tls: bool) -> Iterator[Brokers]:
    """Start a Kafka of so many brokers for the time of the block."""
    cluster = KafkaCluster(count, java_options=JAVA_OPTIONS, properties=PROPERTIES, tls=tls)
    with cluster.sync as kafka:
        if tls:
            yield Brokers(count, kafka.bootstrap, kafka.tls_bootstrap, str(cluster.ca_pem))
        else:
            yield Brokers(count, kafka.bootstrap)


class Topics:
    """Makes, counts and deletes topics, through librdkafka's admin client."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin = self._connected()

    def _connected(self) -> AdminClient:
        # What fails raises; the rest of what librdkafka would log is that brokers end before it does.
        return AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})

    @contextmanager
    def fresh(
        self, names: Sequence[str], partitions: int, *, replicas: int = 1, short_memory: bool = False
    ) -> Iterator[None]:
        """New topics for the time of the block; with `short_memory` they keep only what came last."""
        config = SHORT_MEMORY if short_memory else {}
        topics = [NewTopic(name, partitions, replicas, config=config) for name in names]
        for created in self._admin.create_topics(topics).values():
            created.result(ADMIN_TIMEOUT)
        try:
            self._wait_for_leaders(names, partitions)
            yield
        finally:
            for deleted in self._admin.delete_topics(list(names)).values():
                deleted.result(ADMIN_TIMEOUT)

    def _wait_for_leaders(self, names: Sequence[str], partitions: int) -> None:
        # Only an answer of the leader itself shows that it leads; metadata promise it earlier.
        deadline = time.monotonic() + ADMIN_TIMEOUT
        while True:
            try:
                self.records_in(names, partitions)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    more = f" and {len(names) - 1} others" if names[1:] else ""
                    raise TimeoutError(
                        f"topic {names[0]}{more} has no leaders after {ADMIN_TIMEOUT:g} s"
                    ) from error
            else:
                return
            time.sleep(POLL_INTERVAL)
            # librdkafka may keep "no leaders" as its answer for a topic it asked about too early.
            self._admin = self._connected()

    def records_in(self, names: Sequence[str], partitions: int) -> int:
        """How many records topics hold that were new: their end offsets added up."""
        wanted = {
            TopicPartition(name, partition): _LATEST for name in names for partition in range(partitions)
        }
        answers = self._admin.list_offsets(wanted)
        return sum(answer.result(ADMIN_TIMEOUT).offset for answer in answers.values())

    def committed_in(self, name: str, partitions: int) -> int:
        """How many records a topic holds for those who read what is committed alone: read, and counted."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "nobody",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        consumer.assign([TopicPartition(name, partition, 0) for partition in range(partitions)])
        unread, found = set(range(partitions)), 0
        deadline = time.monotonic() + ADMIN_TIMEOUT
        try:
            while unread:
                for message in consumer.consume(READ_AT_ONCE, POLL_INTERVAL):
                    error = message.error()
                    if error is None:
                        found += 1
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                        unread.discard(cast("int", message.partition()))
                    else:
                        raise KafkaException(error)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"topic {name} was not read to its end in {ADMIN_TIMEOUT:g} s")
        finally:
            consumer.close()
        return found
