"""krafka: each of its verbs."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

import krafka
from benchmarks.clients import WINDOW, main, run_on_loop
from benchmarks.measure import Measurement, Meter

if TYPE_CHECKING:
    from benchmarks.workload import Workload

CALLS_BETWEEN_YIELDS = 1000


def _producer(workload: Workload) -> krafka.Producer:
    return krafka.Producer(
        workload.bootstrap,
        batch_size=workload.batch_size,
        linger=workload.linger,
        compression=krafka.Compression(workload.compression),
    )


async def _enqueue_all(producer: krafka.Producer, topic: str, values: list[bytes]) -> None:
    enqueue_nowait = producer.enqueue_nowait
    for start in range(0, len(values), CALLS_BETWEEN_YIELDS):
        for value in values[start : start + CALLS_BETWEEN_YIELDS]:
            try:
                enqueue_nowait(topic, value)
            except krafka.BufferFullError:
                await producer.enqueue(topic, value)
        await checkpoint()
    await producer.flush()


async def enqueue(workload: Workload) -> Measurement:
    """`enqueue_nowait` in a loop, then `flush`; no `Delivery` is kept."""
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        await _enqueue_all(producer, workload.topic, workload.repeated(workload.warmup))
        values = workload.repeated(workload.records)
        meter = Meter()
        await _enqueue_all(producer, workload.topic, values)
        return meter.stop(None)


async def _await_all(producer: krafka.Producer, topic: str, values: list[bytes]) -> int:
    enqueue_nowait = producer.enqueue_nowait
    acked = 0
    for start in range(0, len(values), WINDOW):
        deliveries = []
        for value in values[start : start + WINDOW]:
            try:
                deliveries.append(enqueue_nowait(topic, value))
            except krafka.BufferFullError:
                deliveries.append(await producer.enqueue(topic, value))
        for delivery in deliveries:
            await delivery
            acked += 1
    return acked


async def awaited(workload: Workload) -> Measurement:
    """`enqueue_nowait` in a loop, every `Delivery` awaited one by one."""
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        await _await_all(producer, workload.topic, workload.repeated(workload.warmup))
        values = workload.repeated(workload.records)
        meter = Meter()
        return meter.stop(await _await_all(producer, workload.topic, values))


async def send_many(workload: Workload) -> Measurement:
    """One `send_many`."""
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        await producer.send_many(workload.topic, workload.repeated(workload.warmup))
        values = workload.repeated(workload.records)
        meter = Meter()
        result = await producer.send_many(workload.topic, values)
        failed = len(result.failed)
        return meter.stop(len(result) - failed, failed=failed)


async def one(workload: Workload) -> Measurement:
    """`send` after `send`."""
    async with _producer(workload) as producer:
        topic = workload.topic
        for value in workload.repeated(workload.warmup):
            await producer.send(topic, value)
        latencies: list[float] = []
        values = workload.repeated(workload.records)
        meter = Meter()
        for value in values:
            started = perf_counter()
            await producer.send(topic, value)
            latencies.append(perf_counter() - started)
        return meter.stop(len(latencies), latencies=latencies)


async def tasks(workload: Workload) -> Measurement:
    """Many tasks, each with its own `send` after `send`."""
    latencies: list[float] = []

    async def send_each(producer: krafka.Producer, values: list[bytes]) -> None:
        for value in values:
            started = perf_counter()
            await producer.send(workload.topic, value)
            latencies.append(perf_counter() - started)

    async def send_all(producer: krafka.Producer, count: int) -> None:
        values = workload.repeated(count // workload.tasks)
        async with anyio.create_task_group() as task_group:
            for _ in range(workload.tasks):
                task_group.start_soon(send_each, producer, values)

    async with _producer(workload) as producer:
        await send_all(producer, workload.warmup)
        latencies.clear()
        meter = Meter()
        await send_all(producer, workload.records)
        return meter.stop(len(latencies), latencies=latencies)


if __name__ == "__main__":
    main({run.__name__: run_on_loop(run) for run in (enqueue, awaited, send_many, one, tasks)})
