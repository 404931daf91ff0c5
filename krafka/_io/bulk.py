"""A bulk send: records taken from an iterable as fast as the buffer has room, each noted in one result."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from krafka._speedups.delivery import SendResult
from krafka.errors import BufferFullError, KafkaError, MetadataNotReadyError, RecordValidationError
from krafka.records import ProducerRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka._io.engine import Engine

# How much goes in before other tasks, the senders among them, get their turn: a fifth of a millisecond's work or so.
CHUNK_RECORDS = 4096
CHUNK_BYTES = 512 * 1024


class BulkSend:
    """One `send_many` call in progress."""

    def __init__(self, engine: Engine) -> None:
        self.result = SendResult()
        self._engine = engine
        self._admission = engine.admission
        self._appender = engine.accumulator.appender
        self._since_yield = 0
        self._yield_at = self._appender.appended_bytes + CHUNK_BYTES
        self._hopeless: dict[str, KafkaError] = {}

    async def take_values(self, topic: str, values: Any) -> None:
        """Append every value to `topic`."""
        if hasattr(values, "__aiter__"):
            async with _closing(values):
                async for value in values:
                    await self._take(ProducerRecord(topic, value))
                    if self._appender.refusal is not None:
                        return
            return
        iterator = iter(values)
        while True:
            ended, waiting, reason = self._appender.append_many(
                self.result, topic, iterator, CHUNK_RECORDS, CHUNK_BYTES
            )
            if ended:
                return
            if isinstance(reason, (BufferFullError, MetadataNotReadyError)):
                await self._wait_with(topic, waiting, None, None, None, None)
            elif reason is not None:
                self.result.add_refused(reason)
            if self._appender.refusal is not None:
                self._refuse_rest(values, iterator, self._appender.refusal)
                return
            await checkpoint()

    async def take_records(self, records: Any) -> None:
        """Append every record."""
        if hasattr(records, "__aiter__"):
            async with _closing(records):
                async for record in records:
                    await self._take(record)
                    if self._appender.refusal is not None:
                        return
            return
        iterator = iter(records)
        for record in iterator:
            await self._take(record)
            if self._appender.refusal is not None:
                self._refuse_rest(records, iterator, self._appender.refusal)
                return

    def _refuse_rest(self, source: Any, iterator: Iterator[Any], refusal: KafkaError) -> None:
        # What has a length is told to its end; a generator may have none, and is not read for nothing.
        if hasattr(source, "__len__"):
            for _ in iterator:
                self.result.add_refused(refusal)

    async def _take(self, record: ProducerRecord) -> None:
        if not isinstance(record, ProducerRecord):
            raise TypeError(
                f"send_many(records) takes ProducerRecord objects, got {type(record).__name__}; "
                "for plain values call send_many(topic, values)"
            )
        try:
            delivery = self._appender.append(
                record.topic,
                record.value,
                key=record.key,
                headers=record.headers,
                partition=record.partition,
                timestamp=record.timestamp,
            )
        except (BufferFullError, MetadataNotReadyError):
            await self._wait_with(
                record.topic, record.value, record.key, record.headers, record.partition, record.timestamp
            )
        except KafkaError as error:
            self.result.add_refused(error)
        else:
            self.result.add_delivery(delivery)
        self._since_yield += 1
        if self._since_yield >= CHUNK_RECORDS or self._appender.appended_bytes >= self._yield_at:
            self._since_yield = 0
            self._yield_at = self._appender.appended_bytes + CHUNK_BYTES
            await checkpoint()

    async def _wait_with(
        self, topic: str, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> None:
        """Let one record wait its turn. Where one waited in vain for a topic's metadata, the next do not wait again."""
        if topic in self._hopeless:
            self.result.add_refused(self._hopeless[topic])
            return
        try:
            delivery = await self._admission.admit(
                topic, value, key, headers, partition, timestamp, self._engine.clock()
            )
        except KafkaError as error:
            self.result.add_refused(error)
            if not isinstance(error, RecordValidationError) and not self._engine.knows_topic(topic):
                self._hopeless[topic] = error
        else:
            self.result.add_delivery(delivery)


def _closing(source: Any) -> AbstractAsyncContextManager[Any]:
    # An async generator that is not read to its end has to be closed by whoever stops reading.
    return aclosing(source) if hasattr(source, "aclose") else nullcontext()
