"""confluent-kafka's Producer: librdkafka, blocking, with a callback for each record."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.clients import main
from benchmarks.measure import Measurement, Meter

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


def _producer(workload: Workload) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": workload.bootstrap,
            "enable.idempotence": True,
            "linger.ms": workload.linger * 1000,
            "batch.size": workload.batch_size,
            "compression.type": workload.compression,
            "queue.buffering.max.messages": 200_000,
        }
    )
    producer.list_topics(workload.topic)
    return producer


def _produce_all(producer: Producer, topic: str, values: list[bytes]) -> Outcomes:
    outcomes = Outcomes()
    take = outcomes.take
    produce = producer.produce
    for number, value in enumerate(values):
        while True:
            try:
                produce(topic, value, on_delivery=take)
                break
            except BufferError:
                producer.poll(0.01)
        if number % CALLS_BETWEEN_POLLS == 0:
            producer.poll(0)
    producer.flush()
    return outcomes


def awaited(workload: Workload) -> Measurement:
    """`produce` in a loop, a callback for each outcome."""
    producer = _producer(workload)
    _produce_all(producer, workload.topic, workload.repeated(workload.warmup))
    values = workload.repeated(workload.records)
    meter = Meter()
    outcomes = _produce_all(producer, workload.topic, values)
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


if __name__ == "__main__":
    main({run.__name__: run for run in (awaited, one)})
