"""krafka: each of its verbs."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

import krafka
from benchmarks.clients import SETTLE, STRETCH, WINDOW, main, run_on_loop
from benchmarks.measure import Measurement, Meter, rss_mib

if TYPE_CHECKING:
    from benchmarks.workload import Workload
    from krafka.config import ProducerOptions

CALLS_BETWEEN_YIELDS = 1000


def _options(workload: Workload) -> ProducerOptions:
    return {
        "batch_size": workload.batch_size,
        "linger": workload.linger,
        "compression": krafka.Compression(workload.compression),
        "tls": workload.ssl_context() or False,
    }


def _producer(workload: Workload) -> krafka.Producer:
    return krafka.Producer(workload.bootstrap, **_options(workload))


async def _enqueue_all(
    producer: krafka.Producer, workload: Workload, values: list[bytes], _: list[bytes]
) -> None:
    enqueue_nowait, topic = producer.enqueue_nowait, workload.topic
    for start in range(0, len(values), CALLS_BETWEEN_YIELDS):
        for value in values[start : start + CALLS_BETWEEN_YIELDS]:
            try:
                enqueue_nowait(topic, value)
            except krafka.BufferFullError:
                await producer.enqueue(topic, value)
        await checkpoint()


async def _enqueue_all_with_headers(
    producer: krafka.Producer, workload: Workload, values: list[bytes], keys: list[bytes]
) -> None:
    enqueue_nowait, topic = producer.enqueue_nowait, workload.topic
    headers = workload.header_pairs()
    for start in range(0, len(values), CALLS_BETWEEN_YIELDS):
        end = start + CALLS_BETWEEN_YIELDS
        for value, key in zip(values[start:end], keys[start:end], strict=True):
            try:
                enqueue_nowait(topic, value, key=key, headers=headers)
            except krafka.BufferFullError:
                await producer.enqueue(topic, value, key=key, headers=headers)
        await checkpoint()


async def enqueue(workload: Workload) -> Measurement:
    """`enqueue_nowait` in a loop, then `flush`; no `Delivery` is kept."""
    enqueue_all = _enqueue_all_with_headers if workload.headers else _enqueue_all
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        await enqueue_all(
            producer, workload, workload.repeated(workload.warmup), workload.keys(workload.warmup)
        )
        await producer.flush()
        values, keys = workload.repeated(workload.records), workload.keys(workload.records)
        meter = Meter()
        await enqueue_all(producer, workload, values, keys)
        await producer.flush()
        return meter.stop(None)


async def _await_all(
    producer: krafka.Producer, workload: Workload, values: list[bytes], _: list[bytes]
) -> int:
    enqueue_nowait, topic = producer.enqueue_nowait, workload.topic
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


async def _await_all_with_headers(
    producer: krafka.Producer, workload: Workload, values: list[bytes], keys: list[bytes]
) -> int:
    enqueue_nowait, topic = producer.enqueue_nowait, workload.topic
    headers = workload.header_pairs()
    acked = 0
    for start in range(0, len(values), WINDOW):
        deliveries = []
        end = start + WINDOW
        for value, key in zip(values[start:end], keys[start:end], strict=True):
            try:
                deliveries.append(enqueue_nowait(topic, value, key=key, headers=headers))
            except krafka.BufferFullError:
                deliveries.append(await producer.enqueue(topic, value, key=key, headers=headers))
        for delivery in deliveries:
            await delivery
            acked += 1
    return acked


async def awaited(workload: Workload) -> Measurement:
    """`enqueue_nowait` in a loop, every `Delivery` awaited one by one."""
    await_all = _await_all_with_headers if workload.headers else _await_all
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        await await_all(
            producer, workload, workload.repeated(workload.warmup), workload.keys(workload.warmup)
        )
        values, keys = workload.repeated(workload.records), workload.keys(workload.records)
        meter = Meter()
        return meter.stop(await await_all(producer, workload, values, keys))


async def _send_many(
    producer: krafka.Producer, workload: Workload, values: list[bytes], keys: list[bytes]
) -> krafka.SendResult:
    if not workload.headers:
        return await producer.send_many(workload.topic, values)
    topic, headers = workload.topic, workload.header_pairs()
    return await producer.send_many(
        krafka.ProducerRecord(topic, value, key=key, headers=headers)
        for value, key in zip(values, keys, strict=True)
    )


async def send_many(workload: Workload) -> Measurement:
    """One `send_many`."""
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        await _send_many(
            producer, workload, workload.repeated(workload.warmup), workload.keys(workload.warmup)
        )
        values, keys = workload.repeated(workload.records), workload.keys(workload.records)
        meter = Meter()
        result = await _send_many(producer, workload, values, keys)
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


async def chunks(workload: Workload) -> Measurement:
    """`send_many` after `send_many`."""
    values = workload.repeated(workload.chunk)
    latencies: list[float] = []
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        for _ in range(workload.warmup // workload.chunk):
            await producer.send_many(workload.topic, values)
        failed = 0
        meter = Meter()
        for _ in range(workload.records // workload.chunk):
            started = perf_counter()
            failed += len((await producer.send_many(workload.topic, values)).failed)
            latencies.append(perf_counter() - started)
        return meter.stop(workload.records - failed, failed=failed, latencies=latencies)


async def transactions(workload: Workload) -> Measurement:
    """`begin_transaction`, `send_many`, `commit_transaction`."""
    values = workload.repeated(workload.chunk)
    latencies: list[float] = []
    commits: list[float] = []
    producer = krafka.TransactionalProducer(
        workload.bootstrap, transactional_id=workload.topic, **_options(workload)
    )

    async def send_all(count: int) -> None:
        for _ in range(count // workload.chunk):
            started = perf_counter()
            await producer.begin_transaction()
            (await producer.send_many(workload.topic, values)).raise_for_errors()
            sent = perf_counter()
            await producer.commit_transaction()
            ended = perf_counter()
            commits.append(ended - sent)
            latencies.append(ended - started)

    async with producer:
        await producer.partitions_for(workload.topic)
        await send_all(workload.warmup)
        commits.clear()
        latencies.clear()
        meter = Meter()
        await send_all(workload.records)
        return meter.stop(workload.records, latencies=latencies, commits=commits)


async def sustained(workload: Workload) -> Measurement:
    """`enqueue_nowait` in a loop for a time, then `flush`."""
    async with _producer(workload) as producer:
        await producer.partitions_for(workload.topic)
        values = workload.repeated(STRETCH)
        idle_rss = rss_mib()
        await _enqueue_all(producer, workload, values[: workload.warmup], [])
        await producer.flush()
        sent = 0
        meter = Meter()
        while meter.seconds < workload.seconds:
            await _enqueue_all(producer, workload, values, [])
            sent += len(values)
        await producer.flush()
        return meter.stop(None, records=sent, idle_rss_mib=idle_rss)


async def idle(workload: Workload) -> Measurement:
    """One `send` to each topic, and nothing after that."""
    (value,) = workload.repeated(1)
    async with _producer(workload) as producer:
        async with anyio.create_task_group() as task_group:
            for topic in workload.topics:
                task_group.start_soon(producer.send, topic, value)
        await anyio.sleep(SETTLE)
        meter = Meter()
        await anyio.sleep(workload.seconds)
        return meter.stop(len(workload.topics))


if __name__ == "__main__":
    modes = (enqueue, awaited, send_many, one, tasks, chunks, transactions, sustained, idle)
    main({run.__name__: run_on_loop(run) for run in modes})
