"""confluent-kafka's Producer: librdkafka, blocking, with a callback for each record."""

from __future__ import annotations

import time
from time import perf_counter
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.clients import SETTLE, STRETCH, main
from benchmarks.measure import Measurement, Meter, rss_mib

if TYPE_CHECKING:
    from benchmarks.workload import Workload

CALLS_BETWEEN_POLLS = 1024


class Outcomes:
    """Counts the outcomes that callbacks report."""

    def __init__(self) -> None:
        self.acked = self.failed = 0

    def take(self, error: KafkaError | None, _: Message) -> None:
        """Count one."""
        if error is None:
            self.acked += 1
        else:
            self.failed += 1


def config(workload: Workload) -> dict[str, str | int | float | bool]:
    """librdkafka's properties for a workload."""
    tls = {"security.protocol": "ssl", "ssl.ca.location": workload.ca_file} if workload.ca_file else {}
    return {
        "bootstrap.servers": workload.bootstrap,
        "enable.idempotence": True,
        "linger.ms": workload.linger * 1000,
        "batch.size": workload.batch_size,
        "compression.type": workload.compression,
        **tls,
    }


def _producer(workload: Workload) -> Producer:
    producer = Producer({**config(workload), "queue.buffering.max.messages": 200_000})
    producer.list_topics(workload.topic)
    return producer


def _produce_all(
    producer: Producer, workload: Workload, values: list[bytes], _: list[bytes], outcomes: Outcomes
) -> None:
    topic, produce, take = workload.topic, producer.produce, outcomes.take
    for number, value in enumerate(values):
        while True:
            try:
                produce(topic, value, on_delivery=take)
                break
            except BufferError:
                producer.poll(0.01)
        if number % CALLS_BETWEEN_POLLS == 0:
            producer.poll(0)


def _produce_all_with_headers(
    producer: Producer, workload: Workload, values: list[bytes], keys: list[bytes], outcomes: Outcomes
) -> None:
    topic, produce, take = workload.topic, producer.produce, outcomes.take
    headers: list[tuple[str, str | bytes | None]] = [*workload.header_pairs()]
    for number, (value, key) in enumerate(zip(values, keys, strict=True)):
        while True:
            try:
                produce(topic, value, key, on_delivery=take, headers=headers)
                break
            except BufferError:
                producer.poll(0.01)
        if number % CALLS_BETWEEN_POLLS == 0:
            producer.poll(0)


def awaited(workload: Workload) -> Measurement:
    """`produce` in a loop, a callback for each outcome."""
    produce_all = _produce_all_with_headers if workload.headers else _produce_all
    producer = _producer(workload)
    warmup = workload.warmup
    produce_all(producer, workload, workload.repeated(warmup), workload.keys(warmup), Outcomes())
    producer.flush()
    values, keys = workload.repeated(workload.records), workload.keys(workload.records)
    outcomes = Outcomes()
    meter = Meter()
    produce_all(producer, workload, values, keys, outcomes)
    producer.flush()
    return meter.stop(outcomes.acked, failed=outcomes.failed)


def one(workload: Workload) -> Measurement:
    """`produce`, then `poll` until the outcome is there."""
    producer = _producer(workload)
    outcomes = Outcomes()

    def send(value: bytes) -> None:
        producer.produce(workload.topic, value, on_delivery=outcomes.take)
        while len(producer):
            producer.poll(1)

    for value in workload.repeated(workload.warmup):
        send(value)
    outcomes.acked = outcomes.failed = 0
    latencies: list[float] = []
    values = workload.repeated(workload.records)
    meter = Meter()
    for value in values:
        started = perf_counter()
        send(value)
        latencies.append(perf_counter() - started)
    return meter.stop(outcomes.acked, failed=outcomes.failed, latencies=latencies)


def transactions(workload: Workload) -> Measurement:
    """`begin_transaction`, `produce` in a loop, `flush`, `commit_transaction`."""
    properties = {**config(workload), "transactional.id": workload.topic}
    producer = Producer({**properties, "queue.buffering.max.messages": 200_000})
    producer.list_topics(workload.topic)
    producer.init_transactions()
    values = workload.repeated(workload.chunk)
    outcomes = Outcomes()
    latencies: list[float] = []
    commits: list[float] = []

    def send_all(count: int) -> None:
        for _ in range(count // workload.chunk):
            started = perf_counter()
            producer.begin_transaction()
            _produce_all(producer, workload, values, [], outcomes)
            producer.flush()
            sent = perf_counter()
            producer.commit_transaction()
            ended = perf_counter()
            commits.append(ended - sent)
            latencies.append(ended - started)

    send_all(workload.warmup)
    outcomes.acked = outcomes.failed = 0
    commits.clear()
    latencies.clear()
    meter = Meter()
    send_all(workload.records)
    return meter.stop(outcomes.acked, failed=outcomes.failed, latencies=latencies, commits=commits)


def sustained(workload: Workload) -> Measurement:
    """`produce` in a loop for a time, a callback for each outcome."""
    producer = _producer(workload)
    values = workload.repeated(STRETCH)
    idle_rss = rss_mib()
    _produce_all(producer, workload, values[: workload.warmup], [], Outcomes())
    producer.flush()
    outcomes = Outcomes()
    sent = 0
    meter = Meter()
    while meter.seconds < workload.seconds:
        _produce_all(producer, workload, values, [], outcomes)
        sent += len(values)
    producer.flush()
    return meter.stop(outcomes.acked, failed=outcomes.failed, records=sent, idle_rss_mib=idle_rss)


def idle(workload: Workload) -> Measurement:
    """One record to each topic, and nothing after that but `poll`, as its users have to."""
    producer = _producer(workload)
    outcomes = Outcomes()
    (value,) = workload.repeated(1)
    for topic in workload.topics:
        producer.produce(topic, value, on_delivery=outcomes.take)
    producer.flush()
    time.sleep(SETTLE)
    meter = Meter()
    while meter.seconds < workload.seconds:
        producer.poll(1)
    return meter.stop(outcomes.acked, failed=outcomes.failed)


if __name__ == "__main__":
    main({run.__name__: run for run in (awaited, one, transactions, sustained, idle)})
