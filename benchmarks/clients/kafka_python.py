"""kafka-python's producer: pure Python, blocking, with a future for each record."""

from __future__ import annotations

from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kafka import KafkaProducer  # type: ignore[import-not-found, import-untyped, unused-ignore]

from benchmarks.clients import WINDOW, main
from benchmarks.measure import Measurement, Meter

if TYPE_CHECKING:
    from benchmarks.workload import Workload

OUTCOME_TIMEOUT = 60


def _producer(workload: Workload) -> Any:
    options: dict[str, Any] = {"linger_ms": int(workload.linger * 1000), "batch_size": workload.batch_size}
    if workload.compression != "none":
        options["compression_type"] = workload.compression
    if workload.ca_file:
        options |= {"security_protocol": "SSL", "ssl_cafile": workload.ca_file}
    producer = KafkaProducer(bootstrap_servers=workload.bootstrap, enable_idempotence=True, **options)
    producer.partitions_for(workload.topic)
    return producer


def _await_all(producer: Any, workload: Workload, values: list[bytes]) -> int:
    topic, headers = workload.topic, workload.header_pairs() or None
    keys = workload.keys(len(values)) or repeat(None)
    acked = 0
    futures = []
    for value, key in zip(values, keys, strict=False):
        futures.append(producer.send(topic, value, key, headers))
        if len(futures) >= WINDOW:
            for future in futures:
                future.get(OUTCOME_TIMEOUT)
                acked += 1
            futures.clear()
    for future in futures:
        future.get(OUTCOME_TIMEOUT)
        acked += 1
    return acked


def awaited(workload: Workload) -> Measurement:
    """`send` in a loop, every future waited for."""
    producer = _producer(workload)
    _await_all(producer, workload, workload.repeated(workload.warmup))
    values = workload.repeated(workload.records)
    meter = Meter()
    measurement = meter.stop(_await_all(producer, workload, values))
    producer.close()
    return measurement


def one(workload: Workload) -> Measurement:
    """`send` and its future, one after the other."""
    producer = _producer(workload)
    for value in workload.repeated(workload.warmup):
        producer.send(workload.topic, value).get(OUTCOME_TIMEOUT)
    latencies: list[float] = []
    values = workload.repeated(workload.records)
    meter = Meter()
    for value in values:
        started = perf_counter()
        producer.send(workload.topic, value).get(OUTCOME_TIMEOUT)
        latencies.append(perf_counter() - started)
    measurement = meter.stop(len(latencies), latencies=latencies)
    producer.close()
    return measurement


if __name__ == "__main__":
    main({run.__name__: run for run in (awaited, one)})
