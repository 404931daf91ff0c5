"""The floor: requests of full batches, no more than five unanswered, over one anyio stream."""

from __future__ import annotations

import time
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from benchmarks.clients import main, run_on_loop
from benchmarks.floor.least import LARGEST_OVERHEAD, Filler, errors_in
from benchmarks.measure import Measurement, Meter

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from benchmarks.workload import Workload

MAX_IN_FLIGHT = 5
LARGEST_REQUEST = 6 * 65536
"""Bytes: a full batch for each partition of the base scenario."""
BULK = 100_000
LENGTH_BYTES = 4


class Exchange:
    """Requests out, answers in, on the one broker there is."""

    def __init__(self, stream: ByteStream, workload: Workload) -> None:
        self.acked = self.failed = 0
        self._stream = stream
        self._topic = workload.topic.encode()
        # One record at least, where that is larger than the clients' batches.
        batch_bytes = max(workload.batch_size, workload.value_size + LARGEST_OVERHEAD)
        batches = min(workload.partitions, max(LARGEST_REQUEST // batch_bytes, 1))
        self._filler = Filler(workload.partitions, batches, batch_bytes)
        self._unanswered: deque[int] = deque()
        self._room = anyio.Semaphore(MAX_IN_FLIGHT)
        self._received = bytearray()
        self._correlation_id = 0

    def _request(self) -> bytes:
        self._correlation_id += 1
        request, records = self._filler.take(self._topic, self._correlation_id, time.time_ns() // 1_000_000)
        self._unanswered.append(records)
        return request

    def _take_answers(self, data: bytes) -> int:
        received = self._received
        received += data
        answers = 0
        while len(received) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(received[:LENGTH_BYTES], "big")
            if len(received) < end:
                break
            records = self._unanswered.popleft()
            if errors_in(memoryview(bytes(received[LENGTH_BYTES:end]))):
                self.failed += records
            else:
                self.acked += records
            del received[:end]
            answers += 1
        return answers

    async def read(self, until: int) -> None:
        """Read answers for `until` records."""
        while self.acked + self.failed < until:
            for _ in range(self._take_answers(await self._stream.receive())):
                self._room.release()

    async def _send(self) -> None:
        request = self._request()
        await self._room.acquire()
        await self._stream.send(request)

    async def send_each(self, values: list[bytes]) -> None:
        """Append record by record; send whenever all batches are full."""
        append = self._filler.append
        for value in values:
            if append(value) is None:
                await self._send()
                append(value)
        await self._send()

    async def send_bulk(self, values: list[bytes], count: int) -> None:
        """Append in bulk `values`, over and over, `count` in all; send whenever all batches are full."""
        while count:
            chunk = values if count >= len(values) else values[:count]
            count -= len(chunk)
            at = 0
            while (at := self._filler.fill(chunk, at)) < len(chunk):
                await self._send()
        await self._send()

    async def send_one(self, value: bytes) -> None:
        """Send one record by itself and wait for its answer."""
        self._filler.append(value)
        await self._stream.send(self._request())
        while not self._take_answers(await self._stream.receive()):
            pass


async def _connect(workload: Workload) -> ByteStream:
    host, _, port = workload.bootstrap.split(",")[0].rpartition(":")
    context = workload.ssl_context()
    if context is None:
        return await anyio.connect_tcp(host.strip("[]"), int(port))
    return await anyio.connect_tcp(
        host.strip("[]"), int(port), ssl_context=context, tls_standard_compatible=False
    )


async def _measure(workload: Workload, *, bulk: bool) -> Measurement:
    async def run(exchange: Exchange, count: int) -> None:
        values = workload.values()
        values *= max(1, BULK // len(values))
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(exchange.read, exchange.acked + exchange.failed + count)
            if bulk:
                await exchange.send_bulk(values, count)
            else:
                await exchange.send_each(workload.repeated(count))

    async with await _connect(workload) as stream:
        exchange = Exchange(stream, workload)
        await run(exchange, workload.warmup)
        exchange.acked = exchange.failed = 0
        meter = Meter()
        await run(exchange, workload.records)
        return meter.stop(exchange.acked, failed=exchange.failed)


async def enqueue(workload: Workload) -> Measurement:
    """One compiled call a record."""
    return await _measure(workload, bulk=False)


async def send_many(workload: Workload) -> Measurement:
    """Records in bulk."""
    return await _measure(workload, bulk=True)


async def one(workload: Workload) -> Measurement:
    """One request after the other, each with one record."""
    async with await _connect(workload) as stream:
        exchange = Exchange(stream, workload)
        for value in workload.repeated(workload.warmup):
            await exchange.send_one(value)
        exchange.acked = exchange.failed = 0
        latencies: list[float] = []
        values = workload.repeated(workload.records)
        meter = Meter()
        for value in values:
            started = perf_counter()
            await exchange.send_one(value)
            latencies.append(perf_counter() - started)
        return meter.stop(exchange.acked, failed=exchange.failed, latencies=latencies)


if __name__ == "__main__":
    main({run.__name__: run_on_loop(run) for run in (enqueue, send_many, one)})
