"""confluent-kafka's AIOProducer: librdkafka behind asyncio."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from confluent_kafka.aio import AIOProducer

from benchmarks.clients import WINDOW, main, run_on_loop
from benchmarks.clients.confluent_ import config
from benchmarks.measure import Measurement, Meter

if TYPE_CHECKING:
    from benchmarks.workload import Workload


def _producer(workload: Workload, *, call_batch: int) -> Any:
    """`call_batch` records are handed to librdkafka by one call to a thread."""
    return AIOProducer(config(workload), batch_size=call_batch, buffer_timeout=0.005)


async def _await_all(producer: Any, topic: str, values: list[bytes]) -> int:
    acked = 0
    futures = []
    for value in values:
        futures.append(await producer.produce(topic, value=value))
        if len(futures) >= WINDOW:
            await producer.flush()
            for future in futures:
                await future
                acked += 1
            futures.clear()
    await producer.flush()
    for future in futures:
        await future
        acked += 1
    return acked


async def awaited(workload: Workload) -> Measurement:
    """`produce` in a loop, every future awaited."""
    producer = _producer(workload, call_batch=1000)
    await _await_all(producer, workload.topic, workload.repeated(workload.warmup))
    values = workload.repeated(workload.records)
    meter = Meter()
    measurement = meter.stop(await _await_all(producer, workload.topic, values))
    await producer.close()
    return measurement


async def tasks(workload: Workload) -> Measurement:
    """Many tasks, each with its own `produce` and future after `produce` and future."""
    producer = _producer(workload, call_batch=min(workload.tasks, 100))
    latencies: list[float] = []

    async def send_each(values: list[bytes]) -> None:
        for value in values:
            started = perf_counter()
            await (await producer.produce(workload.topic, value=value))
            latencies.append(perf_counter() - started)

    async def send_all(count: int) -> None:
        values = workload.repeated(count // workload.tasks)
        await asyncio.gather(*(send_each(values) for _ in range(workload.tasks)))

    await send_all(workload.warmup)
    latencies.clear()
    meter = Meter()
    await send_all(workload.records)
    measurement = meter.stop(len(latencies), latencies=latencies)
    await producer.close()
    return measurement


if __name__ == "__main__":
    main({run.__name__: run_on_loop(run) for run in (awaited, tasks)})
