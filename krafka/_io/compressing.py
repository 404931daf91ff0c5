"""Compression that would hold the event loop up: done by threads, as many as there are processors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anyio.abc import TaskGroup

    from krafka._speedups.batch import ProducerBatch
    from krafka.compression import Compressor


class CompressionWorkers:
    """Compresses batches in threads, each with what `compressor_of` it gives, and tells `compressed` of each."""

    def __init__(
        self,
        task_group: TaskGroup,
        compressor_of: Callable[[ProducerBatch], Compressor],
        compressed: Callable[[ProducerBatch, bytes], object],
    ) -> None:
        self._task_group = task_group
        self._compressor_of = compressor_of
        self._compressed = compressed
        # Its own: what users wait for in anyio's threads must not be in the way of records, nor records in theirs.
        self._limiter = CapacityLimiter(os.cpu_count() or 1)

    def start(self, batches: Iterable[ProducerBatch]) -> None:
        """Compress these, soon."""
        for batch in batches:
            # From here on the view keeps the records where they are, whatever becomes of the batch meanwhile.
            self._task_group.start_soon(
                self._run, batch, memoryview(batch.records), name="krafka compression"
            )

    async def _run(self, batch: ProducerBatch, records: memoryview) -> None:
        body = await to_thread.run_sync(
            self._compressor_of(batch), records, abandon_on_cancel=True, limiter=self._limiter
        )
        self._compressed(batch, body)
