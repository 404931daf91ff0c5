"""aiokafka's producer."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from benchmarks.clients import WINDOW, main, run_on_loop
from benchmarks.measure import Measurement, Meter

if TYPE_CHECKING:
    from benchmarks.workload import Workload


def _producer(workload: Workload) -> Any:
    return AIOKafkaProducer(
        bootstrap_servers=workload.bootstrap,
        enable_idempotence=True,
        linger_ms=int(workload.linger * 1000),
        max_batch_size=workload.batch_size,
        compression_type=None if workload.compression == "none" else workload.compression,
    )


async def _await_all(producer: Any, topic: str, values: list[bytes]) -> int:
    acked = 0
    futures = []
    for value in values:
        futures.append(await producer.send(topic, value))
        if len(futures) >= WINDOW:
            for future in futures:
                await future
                acked += 1
            futures.clear()
    for future in futures:
        await future
        acked += 1
    return acked


async def awaited(workload: Workload) -> Measurement:
    """`send` in a loop, every future awaited."""
    async with _producer(workload) as producer:
        await _await_all(producer, workload.topic, workload.repeated(workload.warmup))
        values = workload.repeated(workload.records)
        meter = Meter()
        return meter.stop(await _await_all(producer, workload.topic, values))


async def one(workload: Workload) -> Measurement:
    """`send_and_wait` after `send_and_wait`."""
    async with _producer(workload) as producer:
        for value in workload.repeated(workload.warmup):
            await producer.send_and_wait(workload.topic, value)
        latencies: list[float] = []
        values = workload.repeated(workload.records)
        meter = Meter()
        for value in values:
            started = perf_counter()
            await producer.send_and_wait(workload.topic, value)
            latencies.append(perf_counter() - started)
        return meter.stop(len(latencies), latencies=latencies)


async def tasks(workload: Workload) -> Measurement:
    """Many tasks, each with its own `send_and_wait` after `send_and_wait`."""
    latencies: list[float] = []

    async def send_each(producer: Any, values: list[bytes]) -> None:
        for value in values:
            started = perf_counter()
            await producer.send_and_wait(workload.topic, value)
            latencies.append(perf_counter() - started)

    async def send_all(producer: Any, count: int) -> None:
        values = workload.repeated(count // workload.tasks)
        await asyncio.gather(*(send_each(producer, values) for _ in range(workload.tasks)))

    async with _producer(workload) as producer:
        await send_all(producer, workload.warmup)
        latencies.clear()
        meter = Meter()
        await send_all(producer, workload.records)
        return meter.stop(len(latencies), latencies=latencies)


if __name__ == "__main__":
    main({run.__name__: run_on_loop(run) for run in (awaited, one, tasks)})
