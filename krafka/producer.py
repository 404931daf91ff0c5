"""The producer: its scope and its verbs."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, overload

import anyio
import anyio.abc
from anyio import AsyncContextManagerMixin
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from krafka._io.bulk import BulkSend
from krafka._io.engine import Engine
from krafka._io.hooked import hooked_verbs
from krafka._speedups.batch import for_raising
from krafka._speedups.delivery import Delivery, SendResult
from krafka._speedups.sending import SendVerb
from krafka.config import ProducerConfig
from krafka.errors import (
    BufferFullError,
    CloseTimeoutError,
    ConfigError,
    KafkaError,
    MetadataNotReadyError,
    ProducerClosedError,
    ProducerCrashedError,
    ProducerStateError,
)
from krafka.records import PartitionInfo, explain_invalid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
    from datetime import datetime
    from typing import Unpack

    from krafka._io.hooked import HookedVerbs
    from krafka._io.transport import Connector
    from krafka._speedups.producer_record import ProducerRecord
    from krafka._speedups.record_metadata import RecordMetadata
    from krafka.config import BootstrapServers, ProducerOptions
    from krafka.records import Headers, Serializable

__all__ = ["Delivery", "Producer", "SendResult"]

# How many `enqueue` calls go through before other tasks, the senders among them, get their turn.
CALLS_BETWEEN_YIELDS = 64


class Producer(AsyncContextManagerMixin):
    """Sends records to a Kafka cluster; open while its `async with` block is.

    ``async with Producer("localhost:9092") as producer:`` starts the background tasks (a sender for each broker, the
    metadata refresh) in a task group of the block; they end with it. The constructor does no I/O and needs no
    event loop; it raises `ConfigError` for a bad option. `bootstrap_servers` is as in `ProducerConfig`, or a whole
    `ProducerConfig`, whose options the keyword arguments then override. `connector` opens the streams to brokers
    and is TCP, with TLS if `tls` asks for it, unless given.

    Leaving the block waits for every record like `close()`. When the block is left by an exception or cancelled, it
    waits at most `close_timeout` for them, and the exception comes out as it is, never inside an ExceptionGroup. A
    failure in a background task (a bug of krafka) cancels the block and comes out as `ProducerCrashedError`.

    A producer belongs to the event loop, thread and process it was opened in; elsewhere it raises
    `ProducerStateError`.
    """

    def __init__(
        self,
        bootstrap_servers: BootstrapServers | ProducerConfig | None = None,
        *,
        connector: Connector | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None:
        if isinstance(bootstrap_servers, ProducerConfig):
            self._config = bootstrap_servers.replace(**options) if options else bootstrap_servers
        elif bootstrap_servers is None:
            raise ConfigError(
                "bootstrap_servers is missing; give the brokers to connect to first, as host:port"
            )
        else:
            self._config = ProducerConfig(bootstrap_servers=bootstrap_servers, **options)
        if connector is not None and not callable(getattr(connector, "connect", None)):
            raise ConfigError(
                f"connector must have a method connect(host, port), got {type(connector).__name__}",
                option="connector",
            )
        self._check_config(self._config)
        self._connector = connector
        self._engine_or_none: Engine | None = None
        self._hooked: HookedVerbs | None = None
        self._background: anyio.CancelScope | None = None
        self._finished = anyio.Event()
        self._entered = False
        self._closing = False
        self._calls_since_yield = 0

    def _check_config(self, config: ProducerConfig) -> None:
        if config.transactional_id is not None:
            raise ConfigError(
                "transactional_id is for a TransactionalProducer, and this is a Producer; make one of those, or leave "
                f"it out, got {config.transactional_id!r}",
                option="transactional_id",
            )

    @property
    def config(self) -> ProducerConfig:
        """The options in force."""
        return self._config

    @property
    def closed(self) -> bool:
        """True from the start of `close()` on, and after the block."""
        return self._closing

    # -- scope ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Producer]:
        if self._closing and not self._entered:
            raise ProducerClosedError("this producer was closed before it was opened; make a new one")
        if self._entered:
            raise ProducerStateError(
                "this producer was opened before; a producer is opened once, make a new one"
            )
        self._entered = True
        body_error: BaseException | None = None
        try:
            async with anyio.create_task_group() as host:
                await host.start(self._run_background, name="krafka producer")
                # A cancelled block still gets close_timeout for its records; leaving it cancels this scope itself. Who
                # is cancelled before, while the producer opens, has nobody who would.
                if self._background is not None:
                    self._background.shield = True
                try:
                    await self._prepare()
                    yield self
                    await self._barrier()
                except GeneratorExit:
                    raise
                except BaseException as error:
                    await self._barrier_in_a_hurry()
                    if isinstance(error, anyio.get_cancelled_exc_class()):
                        raise
                    # Raised after the task group, which would wrap it.
                    body_error = error
                finally:
                    self._stop_background()
        except BaseExceptionGroup as group:
            self._raise_crash(group, body_error)
        if body_error is not None:
            raise body_error

    async def _prepare(self) -> None:
        """Do what comes between the start of the background tasks and the block's body."""

    async def _run_background(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            async with anyio.create_task_group() as task_group:
                engine = Engine(self._config, task_group, connector=self._connector)
                self._engine_or_none = engine
                self._background = task_group.cancel_scope
                self._hooked = hooked_verbs(engine)
                if self._hooked is None:
                    self._shorten("enqueue_nowait", engine.accumulator.appender.append)
                    self._shorten("send", SendVerb(engine.direct, self.send))
                else:
                    self._shorten("enqueue_nowait", self._hooked.enqueue_nowait)
                    acknowledgements = self._hooked.hooks.acknowledgements
                    task_group.start_soon(acknowledgements.run, name="krafka interceptors")
                engine.start()
                task_status.started()
        finally:
            try:
                self._end_records()
                if self._hooked is not None:
                    await self._hooked.finish(self._config.close_timeout)
            finally:
                self._finished.set()

    def _shorten(self, verb: str, way: Callable[..., object]) -> None:
        """Make a verb the instance's own attribute: calls go past this class, unless a subclass has that verb."""
        if getattr(type(self), verb) is getattr(Producer, verb):
            self.__dict__[verb] = way

    def _end_records(self) -> None:
        """Give every record without an outcome one, whatever ended the background tasks."""
        self._closing = True
        engine = self._engine_or_none
        if engine is None:
            return
        failure = sys.exception()
        error: KafkaError
        if failure is None or isinstance(failure, anyio.get_cancelled_exc_class()):
            error = ProducerClosedError("the producer was closed before the record was delivered")
        else:
            error = ProducerCrashedError(
                f"a background task of the producer failed: {_first_leaf(failure)!r}"
            )
            error.__cause__ = _first_leaf(failure)
        engine.shut(engine.failure or error, refusal=engine.failure or _closed())

    async def _barrier(self) -> None:
        """Take no more records, and wait for the outcome of each that was sent before."""
        if self._engine_or_none is None:
            return
        if not self._closing:
            self._closing = True
            self._engine_or_none.refuse(_closed())
        await self._engine_or_none.admission.records.wait_until_empty()
        await self._engine_or_none.wind_up()
        if self._hooked is not None:
            await self._hooked.hooks.acknowledgements.wait_until_told()

    async def _barrier_in_a_hurry(self) -> None:
        if self._config.close_timeout > 0 and not self._finished.is_set():
            with anyio.move_on_after(self._config.close_timeout, shield=True):
                await self._barrier()

    def _stop_background(self) -> None:
        self._closing = True
        if self._background is not None:
            self._background.cancel()

    @staticmethod
    def _raise_crash(group: BaseExceptionGroup[BaseException], body_error: BaseException | None) -> None:
        bug = _first_leaf(group)
        if not isinstance(bug, Exception):
            # Trio may raise KeyboardInterrupt in any task, ours included.
            raise bug
        if body_error is not None:
            body_error.add_note(f"meanwhile a background task of the krafka producer failed: {bug!r}")
            return
        raise ProducerCrashedError(
            f"a background task of the producer failed, which is a bug in krafka: {bug!r}"
        ) from bug

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the verb's promise, not a wait
        """Take no more records, wait for the outcome of each that was sent before, and end the background tasks.

        Past `timeout` seconds (None: no limit) the producer is torn down all the same, the records left fail with
        `ProducerClosedError`, and this raises `CloseTimeoutError`; cancelling it does the same teardown. A call after
        the first returns at once.
        """
        engine = self._engine_or_none
        if self._closing or engine is None:
            await checkpoint()
            self._closing = True
            return
        engine.accumulator.appender.check_caller()
        try:
            with anyio.move_on_after(timeout) as scope:
                await self._barrier()
        finally:
            left = len(engine.accumulator.incomplete)
            self._stop_background()
        await self._finished.wait()
        if scope.cancelled_caught:
            raise CloseTimeoutError(
                f"closing took longer than its timeout of {timeout:g} s; {left} batches without an outcome have failed"
            )

    # -- verbs ----------------------------------------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        value: Serializable = None,
        *,
        key: Serializable = None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> RecordMetadata:
        """Send a record and return where it lies once it is acknowledged as `acks` asks.

        `value=None` is a tombstone; `key` chooses the partition unless `partition` does; both are bytes-like, or what
        the serializers take; `headers` are (name, value) pairs or a mapping; `timestamp` is epoch milliseconds or an
        aware datetime, by default now.

        Raises `RecordValidationError` (the record cannot be sent; `RecordTooLargeError` if for its size,
        `SerializationError` or `RecordRejectedError` if for a serializer or an interceptor), `MetadataTimeoutError` and
        `BufferTimeoutError` (after `max_block`), `DeliveryTimeoutError` (after `delivery_timeout`), or the `KafkaError`
        the broker answered. `error.possibly_written` tells whether the record may be in the log all the same.
        Cancelled before the record found room it was not accepted; cancelled later it is delivered without this caller.
        Under asyncio a scope that the calling task cancelled itself, and has not waited in since, is met in the wait.
        """
        # Opening puts the compiled `SendVerb` in this method's place, unless there are hooks.
        engine = self._engine_or_none
        if engine is not None and self._hooked is None:
            return await engine.direct.send(
                topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
            )
        await checkpoint_if_cancelled()
        if self._hooked is None:
            raise self._not_open()
        return await (await self._hooked.send(topic, value, key, headers, partition, timestamp))

    async def send_record(self, record: ProducerRecord) -> RecordMetadata:
        """Send a `ProducerRecord`; as `send`."""
        return await self.send(
            record.topic,
            record.value,
            key=record.key,
            headers=record.headers,
            partition=record.partition,
            timestamp=record.timestamp,
        )

    async def enqueue(
        self,
        topic: str,
        value: Serializable = None,
        *,
        key: Serializable = None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> Delivery:
        """Put a record into the producer's buffer, waiting for room if need be, and return its `Delivery`.

        Records enqueued one after the other to a partition are appended there in that order. Arguments and errors are
        those of `send`, but the outcome is the delivery's. Each call checks for cancellation; every 64th also yields.
        """
        self._calls_since_yield += 1
        if self._calls_since_yield >= CALLS_BETWEEN_YIELDS:
            self._calls_since_yield = 0
            await checkpoint()
        elif self._engine_or_none is None:
            await checkpoint_if_cancelled()
        elif self._engine_or_none.loop.may_be_cancelled():
            await self._engine_or_none.loop.checkpoint_if_cancelled()
        if self._hooked is not None:
            return await self._hooked.enqueue(topic, value, key, headers, partition, timestamp)
        try:
            return self.enqueue_nowait(
                topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
            )
        except (BufferFullError, MetadataNotReadyError):
            pass  # as in `send`
        return await self._admit(topic, value, key, headers, partition, timestamp)

    def enqueue_nowait(
        self,
        topic: str,
        value: Serializable = None,
        *,
        key: Serializable = None,
        headers: Headers | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
    ) -> Delivery:
        """Put a record into the producer's buffer now and return its `Delivery`; never waits.

        Arguments are those of `send`. Raises `RecordValidationError`, `BufferFullError` (no room in `buffer_memory`)
        or `MetadataNotReadyError` (the topic's partitions are not known yet: `enqueue` or `partitions_for` fetch
        them); the last two are `anyio.WouldBlock` too. A loop of these calls has to yield now and then, or nothing is
        sent. A serializer or an `on_send` that is a coroutine function cannot be awaited here: `ProducerStateError`.
        """
        # Only before the block is entered; opening puts the compiled append in this method's place.
        raise self._not_open()

    @overload
    async def send_many(
        self, topic: str, values: Iterable[Serializable] | AsyncIterable[Serializable], /
    ) -> SendResult: ...

    @overload
    async def send_many(
        self, records: Iterable[ProducerRecord] | AsyncIterable[ProducerRecord], /
    ) -> SendResult: ...

    async def send_many(self, topic_or_records: Any, values: Any = None, /) -> SendResult:
        """Send many records in order and return when each has its outcome: ``send_many(topic, values)`` or
        ``send_many(records)``, of any iterable or async iterable, taken only as fast as the buffer has room.

        A record that fails, fails alone; the `SendResult` has one outcome for each, in order. A producer that fails or
        is closed meanwhile takes no more: every record left of a sequence is refused, of another iterable the next
        one, and that is not read any further. Raises only the error of a producer that had failed or was closed before,
        what the iterable raises, and cancellation; records taken before that are delivered all the same.
        """
        engine = self._opened()
        await checkpoint()
        if engine.failure is not None:
            raise for_raising(engine.failure)
        bulk = BulkSend(engine) if self._hooked is None else self._hooked.bulk()
        if isinstance(topic_or_records, str):
            if values is None or isinstance(values, str | bytes | bytearray | memoryview):
                raise TypeError(
                    f"send_many(topic, values) needs an iterable of values, got {type(values).__name__}"
                )
            await bulk.take_values(topic_or_records, values)
        elif values is not None:
            raise TypeError("send_many takes a topic and values, or records alone")
        else:
            await bulk.take_records(topic_or_records)
        await bulk.result.wait()
        return bulk.result

    async def flush(self) -> None:
        """Return when every record accepted before this call has its outcome, in every linger mode.

        Failures are the deliveries' to report. Records accepted meanwhile are not waited for.
        """
        engine = self._opened()
        await checkpoint()
        await engine.flush()

    async def partitions_for(self, topic: str) -> list[PartitionInfo]:
        """Return the topic's partitions in order, fetching its metadata if need be, within `max_block`.

        Raises `RecordValidationError` for what is no topic's name, `MetadataTimeoutError` with the reason as its cause,
        or the `KafkaError` that says why it cannot be had.
        """
        engine = self._opened()
        await checkpoint()
        problem = explain_invalid(topic, None, None, (), None, None)
        if problem is not None:
            raise problem
        with engine.admission.questions.one():
            metadata = await engine.metadata.wait_for_topic(topic, engine.clock() + self._config.max_block)
        return [
            PartitionInfo(
                topic, partition.partition, partition.leader_id if partition.leader_id >= 0 else None
            )
            for partition in metadata.partitions
        ]

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _admit(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Delivery:
        engine = self._opened()
        return await engine.admission.admit(topic, value, key, headers, partition, timestamp, engine.clock())

    def _opened(self) -> Engine:
        if self._engine_or_none is None or self._closing:
            raise self._not_open()
        self._engine_or_none.accumulator.appender.check_caller()
        return self._engine_or_none

    def _not_open(self) -> KafkaError:
        if self._engine_or_none is not None and self._engine_or_none.failure is not None:
            return self._engine_or_none.failure
        if self._closing or self._entered:
            return _closed()
        return ProducerStateError(
            "the producer is not open; use it inside `async with Producer(...) as producer:`"
        )


def _closed() -> ProducerClosedError:
    return ProducerClosedError("the producer is closed; make a new one")


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
