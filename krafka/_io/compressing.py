"""Compression that would hold the event loop up: done by threads, as many as there are processors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from anyio.abc import TaskGroup

    from krafka._speedups.batch import ProducerBatch
    from krafka.compression import Compressor

    Work: TypeAlias = tuple[ProducerBatch, memoryview]


class CompressionWorkers:
    """Compresses batches in threads, and tells `compressed` of each.

    Batches of less than `job_bytes` share a thread's turn, because handing work over costs as much as compressing some.
    """

    def __init__(
        self,
        task_group: TaskGroup,
        compress: Compressor,
        compressed: Callable[[ProducerBatch, bytes], object],
        *,
        job_bytes: float,
    ) -> None:
        self._task_group = task_group
        self._compress = compress
        self._compressed = compressed
        self._job_bytes = job_bytes
        # Its own: what users wait for in anyio's threads must not be in the way of records, nor records in theirs.
        self._limiter = CapacityLimiter(os.cpu_count() or 1)

    def start(self, batches: Iterable[ProducerBatch]) -> None:
        """Compress these, soon."""
        for job in self._jobs(batches):
            self._task_group.start_soon(self._run, job, name="krafka compression")

    def _jobs(self, batches: Iterable[ProducerBatch]) -> Iterator[list[Work]]:
        job: list[Work] = []
        size = 0
        for batch in batches:
            # From here on the view keeps the records where they are, whatever becomes of the batch meanwhile.
            records = memoryview(batch.records)
            job.append((batch, records))
            size += len(records)
            if size >= self._job_bytes:
                yield job
                job, size = [], 0
        if job:
            yield job

    async def _run(self, job: list[Work]) -> None:
        bodies = await to_thread.run_sync(
            self._compress_all, job, abandon_on_cancel=True, limiter=self._limiter
        )
        for (batch, _), body in zip(job, bodies, strict=True):
            self._compressed(batch, body)

    def _compress_all(self, job: list[Work]) -> list[bytes]:
        return [self._compress(records) for _, records in job]
