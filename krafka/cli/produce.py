"""Sends an input's records to a topic: reading, sending and settling in one stream, in bounded memory."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import anyio
from anyio.lowlevel import checkpoint

from krafka.cli.console import say, sending_progress
from krafka.cli.readers import InputError, Unsendable
from krafka.cli.report import Outcome, Outcomes, is_fault_of_record
from krafka.cli.signals import watch_signals
from krafka.errors import BufferFullError, CloseTimeoutError, KafkaError, MetadataNotReadyError
from krafka.producer import Producer

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from krafka.cli.readers import InputReader, Rows
    from krafka.cli.source import Source
    from krafka.config import ProducerConfig

# How many records go in before the senders get their turn and what is done is settled.
SLICE = 1_000


@dataclass(frozen=True, slots=True)
class ProduceJob:
    """What to send where. `report`, if given, is an open binary file."""

    config: ProducerConfig
    topic: str
    source: Source
    reader: InputReader
    headers: tuple[tuple[str, bytes], ...] | None = None
    partition: int | None = None
    report: BinaryIO | None = None
    quiet: bool = False


class ProduceRun:
    """One job being done; afterwards, what came of it. Made inside an event loop."""

    def __init__(self, job: ProduceJob) -> None:
        self.job = job
        self.outcomes = Outcomes(job.report)
        self.error: Exception | None = None
        """What ended the run early, other than a signal and `outcomes.stop_reason`."""
        self.interrupted: signal.Signals | None = None
        self.read_bytes = 0
        self.seconds = 0.0
        self.reached_end = False
        self._work = anyio.CancelScope()
        self._update: Callable[[int, int], None] = lambda _read, _acknowledged: None

    async def run(self) -> None:
        """Do the job; what goes wrong is told by the attributes, not raised, unless it is a bug."""
        began = time.perf_counter()
        async with anyio.create_task_group() as task_group:
            await task_group.start(watch_signals, self._interrupt)
            with sending_progress(self.job.source.size, quiet=self.job.quiet) as self._update:
                try:
                    await self._produce()
                except (KafkaError, InputError, OSError) as error:
                    self.error = error
                await self.outcomes.settle_all()
                await self.outcomes.flush_report()
            task_group.cancel_scope.cancel()
        self.seconds = time.perf_counter() - began

    def _interrupt(self, number: signal.Signals) -> None:
        self.interrupted = number
        self._work.cancel()
        say(
            f"krafka: {number.name}: waiting at most {self.job.config.close_timeout:g} s for what was sent; "
            "a second signal ends at once"
        )

    async def _produce(self) -> None:
        """Send all input and wait for every outcome, or as much of both as a signal leaves time for."""
        async with Producer(self.job.config) as producer:
            with self._work:
                await self._check_topic(producer)
                await self._read_and_send(producer)
                await self._settle(producer)
                return
            with anyio.move_on_after(self.job.config.close_timeout):
                await self._settle(producer)
                return
            # Leaving the block would wait once more.
            with contextlib.suppress(CloseTimeoutError):
                await producer.close(timeout=0)

    async def _settle(self, producer: Producer) -> None:
        """Wait for every outcome, but for no linger: nothing is to come that could share a batch."""
        await producer.flush()
        await self.outcomes.settle_all()

    async def _check_topic(self, producer: Producer) -> None:
        """Find out before the first line is read whether the topic can be sent to. Raises KafkaError, InputError."""
        partitions = await producer.partitions_for(self.job.topic)
        wanted = self.job.partition
        if wanted is not None and wanted >= len(partitions):
            raise InputError(
                f"topic {self.job.topic!r} has no partition {wanted}; it has partitions 0 to {len(partitions) - 1}"
            )

    async def _read_and_send(self, producer: Producer) -> None:
        while self.outcomes.stop_reason is None:
            chunk = await self._read_and_settle()
            if chunk is None or self.outcomes.stop_reason is not None:
                return
            rows = self.job.reader.feed(chunk) if chunk else self.job.reader.finish()
            await self._send(producer, rows)
            if not chunk and self.outcomes.stop_reason is None:
                self.reached_end = True
                return

    async def _read_and_settle(self) -> bytes | None:
        """The next bytes; None if one of the records sent before gave a reason to stop.

        Input that is slow to come leaves time to report what was sent already.
        """
        if not self.job.source.may_wait:
            return await self._read_chunk()
        chunk: bytes | None = None
        failure: OSError | None = None
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(self._settle_meanwhile, task_group.cancel_scope)
            try:
                chunk = await self._read_chunk()
            except OSError as error:
                failure = error
            task_group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return chunk

    async def _settle_meanwhile(self, reading: anyio.CancelScope) -> None:
        await self.outcomes.settle_all()
        await self.outcomes.flush_report()
        self._update(self.read_bytes, self.outcomes.acknowledged)
        if self.outcomes.stop_reason is not None:
            reading.cancel()

    async def _read_chunk(self) -> bytes:
        try:
            chunk = await self.job.source.read()
        except OSError as error:
            reason = error.strerror or error
            raise OSError(
                f"reading {self.job.source.name} failed after {self.read_bytes} bytes: {reason}"
            ) from error
        self.read_bytes += len(chunk)
        return chunk

    async def _send(self, producer: Producer, rows: Rows) -> None:
        keys = iter(rows.keys)
        for start in range(0, len(rows.values), SLICE):
            values = rows.values[start : start + SLICE]
            sent: list[Outcome] = []
            try:
                # `values` goes first: it is the one that ends, and must not cost a key then.
                for value, key in zip(values, keys, strict=False):
                    outcome = await self._outcome(producer, value, key)
                    sent.append(outcome)
                    if self.outcomes.stop_reason is not None:
                        return
            finally:
                # Also when cancelled on the way: these records are the producer's already.
                self.outcomes.add(rows.lines[start : start + len(sent)], sent)
            await self.outcomes.make_room()
            self._update(self.read_bytes, self.outcomes.acknowledged)
            await checkpoint()

    async def _outcome(self, producer: Producer, value: bytes | Unsendable, key: bytes | None) -> Outcome:
        """The delivery of one record, or why there is none."""
        if isinstance(value, Unsendable):
            return value
        job = self.job
        try:
            with contextlib.suppress(BufferFullError, MetadataNotReadyError):
                return producer.enqueue_nowait(
                    job.topic, value, key=key, headers=job.headers, partition=job.partition
                )
            return await producer.enqueue(
                job.topic, value, key=key, headers=job.headers, partition=job.partition
            )
        except KafkaError as error:
            if not is_fault_of_record(error):
                self.outcomes.stop(error)
            return error


async def produce_input(job: ProduceJob) -> ProduceRun:
    """Do a job, and return the run with what came of it."""
    run = ProduceRun(job)
    await run.run()
    return run
