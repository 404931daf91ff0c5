"""The way into the buffer for a record that cannot be appended at once: it waits for metadata, or for memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio

from krafka._speedups.batch import for_raising
from krafka.errors import (
    BufferFullError,
    BufferTimeoutError,
    DeliveryTimeoutError,
    MetadataNotReadyError,
    RecordValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from krafka._io.engine import Engine
    from krafka._speedups.delivery import Delivery
    from krafka.errors import KafkaError


class Waits:
    """Waits of one kind, which an error can end."""

    def __init__(self) -> None:
        # Ordered, so that what happens to them happens in the order they came.
        self._scopes: dict[anyio.CancelScope, KafkaError | None] = {}
        self._empty = anyio.Event()
        self._error: KafkaError | None = None

    async def wait_until_empty(self) -> None:
        """Return when none is left."""
        while self._scopes:
            if self._empty.is_set():
                # Others may be waiting for the one that is not.
                self._empty = anyio.Event()
            await self._empty.wait()

    def end(self, error: KafkaError) -> None:
        """End all with this error, those to come included."""
        self._error = error
        self.interrupt(error)

    def interrupt(self, error: KafkaError) -> None:
        """End those that there are with this error."""
        for scope in self._scopes:
            self._scopes[scope] = error
            scope.cancel()

    @contextmanager
    def one(self) -> Generator[None]:
        """A wait, from here to the end of the block."""
        if self._error is not None:
            raise for_raising(self._error)
        error: KafkaError | None = None
        with anyio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                yield
                return
            finally:
                error = self._scopes.pop(scope)
                if not self._scopes:
                    self._empty.set()
        assert error is not None  # noqa: S101 - only interrupt() cancels the scope
        raise for_raising(error)


class Admission:
    """Takes records that have to wait, each no longer than `max_block`, memory in the order they came."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.records = Waits()
        self.questions = Waits()
        """Waits of those that have no record here, which a close need not wait for."""

    async def admit(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any, entered: float
    ) -> Delivery:
        """Append a record that entered the producer at `entered`, after what it has to wait for.

        Cancelled, it was not accepted. Raises `MetadataTimeoutError`, `BufferTimeoutError`, `DeliveryTimeoutError`
        or `RecordValidationError`.
        """
        appender = self._engine.accumulator.appender
        memory = self._engine.accumulator.memory
        appender.check_caller()
        deadline = entered + min(self._engine.config.max_block, self._engine.config.delivery_timeout)
        grant = 0
        try:
            with self.records.one():
                while True:
                    delivery: Delivery | None = None
                    needed = 0
                    try:
                        delivery, grant = appender.append_granted(
                            topic, value, key, headers, partition, timestamp, entered, grant
                        )
                    except MetadataNotReadyError:
                        pass
                    except BufferFullError as full:
                        needed = full.needed
                    # What comes of the waits is an error of its own, not one of handling these.
                    if delivery is not None:
                        return delivery
                    if needed == 0:
                        await self._wait_for_metadata(topic, partition, deadline)
                    else:
                        memory.release(grant)
                        grant = 0
                        grant = await self._wait_for_memory(needed, topic, entered, deadline)
        finally:
            memory.release(grant)
        raise AssertionError("unreachable: the loop returns or raises")

    async def _wait_for_metadata(self, topic: str, partition: int | None, deadline: float) -> None:
        metadata = self._engine.metadata
        limit = (
            "max_block"
            if self._engine.config.max_block <= self._engine.config.delivery_timeout
            else "delivery_timeout"
        )
        known = await metadata.wait_for_topic(topic, deadline, limit=limit)
        if partition is not None and partition >= len(known.partitions):
            # The topic may have grown since; one fresh look tells, no need to wait for max_block.
            await metadata.wait_for_refresh(deadline)
            known = await metadata.wait_for_topic(topic, deadline, limit=limit)
            if partition >= len(known.partitions):
                raise RecordValidationError(
                    f"record for topic {topic!r}: there is no partition {partition}; "
                    f"the topic has partitions 0 to {len(known.partitions) - 1}"
                )

    async def _wait_for_memory(self, needed: int, topic: str, entered: float, deadline: float) -> int:
        accumulator = self._engine.accumulator
        memory = accumulator.memory
        if not memory.waiting:
            accumulator.expedite()
        granted = anyio.Event()
        ticket = memory.join(needed, granted.set)
        try:
            with anyio.CancelScope(deadline=deadline):
                await granted.wait()
        except BaseException:
            memory.leave(ticket)
            raise
        if not ticket.granted:
            # What is free may be enough for this one, though it was too little to move the line at once.
            memory.serve()
        if ticket.granted:
            granted_bytes, ticket.granted = ticket.granted, 0
            return granted_bytes
        memory.leave(ticket)
        raise self._out_of_memory(needed, topic, entered)

    def _out_of_memory(
        self, needed: int, topic: str, entered: float
    ) -> BufferTimeoutError | DeliveryTimeoutError:
        engine = self._engine
        memory = engine.accumulator.memory
        waited = engine.clock() - entered
        cause = engine.metadata.last_error or engine.pool.last_error
        text = (
            f"a record for topic {topic!r} waited {waited:.3g} s for {needed} bytes of buffer_memory "
            f"({memory.available} of {engine.config.buffer_memory} are free, {memory.waiting} others wait); "
            "the brokers take records more slowly than they come"
            + (f", last reason: {cause}" if cause is not None else "")
        )
        error: BufferTimeoutError | DeliveryTimeoutError
        if engine.config.delivery_timeout < engine.config.max_block:
            error = DeliveryTimeoutError(f"{text} (delivery_timeout {engine.config.delivery_timeout:g} s)")
        else:
            error = BufferTimeoutError(f"{text} (max_block {engine.config.max_block:g} s)")
        error.__cause__ = cause
        return error
