"""aiokafka's producer."""

from __future__ import annotations

import asyncio
from itertools import repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from benchmarks.clients import SETTLE, STRETCH, WINDOW, main, run_on_loop
from benchmarks.measure import Measurement, Meter, rss_mib

if TYPE_CHECKING:
    from benchmarks.workload import Workload


def _producer(workload: Workload, transactional_id: str | None = None) -> Any:
    context = workload.ssl_context()
    return AIOKafkaProducer(
        bootstrap_servers=workload.bootstrap,
        enable_idempotence=True,
        transactional_id=transactional_id,
        linger_ms=int(workload.linger * 1000),
        max_batch_size=workload.batch_size,
        compression_type=None if workload.compression == "none" else workload.compression,
        security_protocol="SSL" if context else "PLAINTEXT",
        ssl_context=context,
    )


async def _await_all(producer: Any, workload: Workload, values: list[bytes]) -> int:
    topic, headers = workload.topic, workload.header_pairs() or None
    keys = workload.keys(len(values)) or repeat(None)
    acked = 0
    futures = []
    for value, key in zip(values, keys, strict=False):
        futures.append(await producer.send(topic, value, key, headers=headers))
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
        await _await_all(producer, workload, workload.repeated(workload.warmup))
        values = workload.repeated(workload.records)
        meter = Meter()
        return meter.stop(await _await_all(producer, workload, values))


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


async def transactions(workload: Workload) -> Measurement:
    """`begin_transaction`, `send` in a loop, every future awaited, `commit_transaction`."""
    values = workload.repeated(workload.chunk)
    latencies: list[float] = []
    commits: list[float] = []

    async def send_all(producer: Any, count: int) -> int:
        acked = 0
        for _ in range(count // workload.chunk):
            started = perf_counter()
            await producer.begin_transaction()
            acked += await _await_all(producer, workload, values)
            sent = perf_counter()
            await producer.commit_transaction()
            ended = perf_counter()
            commits.append(ended - sent)
            latencies.append(ended - started)
        return acked

    async with _producer(workload, workload.topic) as producer:
        await send_all(producer, workload.warmup)
        commits.clear()
        latencies.clear()
        meter = Meter()
        acked = await send_all(producer, workload.records)
        return meter.stop(acked, latencies=latencies, commits=commits)


async def sustained(workload: Workload) -> Measurement:
    """`send` in a loop for a time, every future awaited."""
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        values = workload.repeated(STRETCH)
        idle_rss = rss_mib()
        await _await_all(producer, workload, values[: workload.warmup])
        acked = 0
        meter = Meter()
        while meter.seconds < workload.seconds:
            acked += await _await_all(producer, workload, values)
        return meter.stop(acked, records=acked, idle_rss_mib=idle_rss)


async def idle(workload: Workload) -> Measurement:
    """One `send_and_wait` to each topic, and nothing after that."""
    (value,) = workload.repeated(1)
    async with _producer(workload) as producer:
        await asyncio.gather(*(producer.send_and_wait(topic, value) for topic in workload.topics))
        await asyncio.sleep(SETTLE)
        meter = Meter()
        await asyncio.sleep(workload.seconds)
        return meter.stop(len(workload.topics))


if __name__ == "__main__":
    main({run.__name__: run_on_loop(run) for run in (awaited, one, tasks, transactions, sustained, idle)})
