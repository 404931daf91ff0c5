"""A bulk send: records taken from an iterable as fast as the buffer has room, each noted in one result."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from krafka._speedups.delivery import SendResult
from krafka._speedups.listed import ListedValues
from krafka._speedups.producer_record import ProducerRecord
from krafka.errors import BufferFullError, KafkaError, MetadataNotReadyError, RecordValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from krafka._io.engine import Engine
    from krafka._speedups.delivery import Delivery

# How much goes in before other tasks, the senders among them, get their turn: a tenth of a millisecond's work for
# values in a list, half of one for others (fewer, and trio's turns would cost a sixth of all), and for records too.
CHUNK_VALUES = 8192
CHUNK_RECORDS = 2048
CHUNK_BYTES = 1024 * 1024
REQUESTS_AHEAD = 3
"""How many times what brokers are sent before they have to answer, and one request, may be under way: measured; with
less they have nothing to do now and then, as answers come in bursts."""


class BulkSend:
    """One `send_many` call in progress."""

    def __init__(self, engine: Engine) -> None:
        self.result = SendResult(engine.on_refused)
        self._engine = engine
        self._admission = engine.admission
        self._appender = engine.accumulator.appender
        self._append_records = partial(self._appender.append_records, self.result)
        self._topic: str | None = None
        self._since_yield = 0
        self._yield_at = self._appender.appended_bytes + CHUNK_BYTES
        self._hopeless: dict[str, KafkaError] = {}

    async def take_values(self, topic: str, values: Any) -> None:
        """Append every value to `topic`."""
        self._topic = topic
        to_record = partial(ProducerRecord, topic)
        if hasattr(values, "__aiter__"):
            await self._take_each(values, to_record)
        else:
            is_listed = type(values) is list or type(values) is tuple
            await self._take_chunks(
                values,
                ListedValues(values) if is_listed else iter(values),
                partial(self._appender.append_many, self.result, topic),
                CHUNK_VALUES,
                to_record,
            )

    async def take_records(self, records: Any) -> None:
        """Append every record."""
        if hasattr(records, "__aiter__"):
            await self._take_each(records, _same)
        else:
            await self._take_chunks(records, iter(records), self._append_records, CHUNK_RECORDS, _same)

    async def _take_each(self, source: Any, to_record: Callable[[Any], ProducerRecord]) -> None:
        async with closing(source):
            async for item in source:
                _, waiting, reason = self._append_records(iter((to_record(item),)), 1, CHUNK_BYTES)
                await self._note(waiting, reason)
                if self._appender.refusal is not None:
                    return
                self._since_yield += 1
                if self._since_yield >= CHUNK_RECORDS or self._appender.appended_bytes >= self._yield_at:
                    self._since_yield = 0
                    self._yield_at = self._appender.appended_bytes + CHUNK_BYTES
                    await self._let_go()

    async def _take_chunks(
        self,
        source: Any,
        iterator: Iterator[Any],
        append: Callable[..., Any],
        at_once: int,
        to_record: Callable[[Any], ProducerRecord],
    ) -> None:
        while True:
            ended, waiting, reason = append(iterator, at_once, CHUNK_BYTES)
            if ended:
                return
            await self._note(None if reason is None else to_record(waiting), reason)
            if self._appender.refusal is not None:
                self._refuse_rest(source, iterator, self._appender.refusal)
                return
            await self._let_go()

    async def _let_go(self) -> None:
        """Let others run; where more is under way than the brokers can be busy with, until that is no longer so.

        What goes out soon after it was written is still in the processor's cache, and memory that is given back soon is
        not memory that the process has to get first.
        """
        has_waited = False
        while self._is_ahead():
            oldest = next(iter(self._engine.accumulator.incomplete), None)
            if oldest is None or not oldest.on_wire:
                # It waits for a leader, or for its turn after a failure: others need not.
                break
            await oldest.wait()
            has_waited = True
        if not has_waited:
            await checkpoint()

    def _is_ahead(self) -> bool:
        config = self._engine.config
        # What a request to each broker holds, which is no more than a batch of each partition.
        requests = config.max_request_size * len(self._engine.accumulator.nodes)
        topic = None if self._topic is None else self._appender.topics.get(self._topic)
        if topic is not None:
            requests = min(requests, config.batch_size * len(topic.partitions))
        under_way = self._appender.buffer_memory - self._appender.available
        return under_way > REQUESTS_AHEAD * (config.max_in_flight + 1) * requests

    def _refuse_rest(self, source: Any, iterator: Iterator[Any], refusal: KafkaError) -> None:
        # What has a length is told to its end; a generator may have none, and is not read for nothing.
        if hasattr(source, "__len__"):
            for _ in iterator:
                self.result.add_refused(refusal)

    async def _note(self, record: ProducerRecord | None, reason: KafkaError | None) -> None:
        """Let a record that was not taken wait its turn, if that is the reason; else note the reason."""
        if reason is None or record is None:
            return
        outcome = await self._admitted(
            reason,
            record.topic,
            record.value,
            record.key,
            record.headers,
            record.partition,
            record.timestamp,
        )
        if isinstance(outcome, KafkaError):
            self.result.add_refused(outcome)
        else:
            self.result.add_delivery(outcome)

    async def _admitted(
        self,
        reason: KafkaError,
        topic: str,
        value: Any,
        key: Any,
        headers: Any,
        partition: Any,
        timestamp: Any,
    ) -> Delivery | KafkaError:
        if not isinstance(reason, (BufferFullError, MetadataNotReadyError)):
            return reason
        # Where one waited in vain for a topic's metadata, the next do not wait again.
        if topic in self._hopeless:
            return self._hopeless[topic]
        try:
            return await self._admission.admit(
                topic, value, key, headers, partition, timestamp, self._engine.clock()
            )
        except KafkaError as error:
            if not isinstance(error, RecordValidationError) and not self._engine.knows_topic(topic):
                self._hopeless[topic] = error
            return error


def _same(record: ProducerRecord) -> ProducerRecord:
    return record


def closing(source: Any) -> AbstractAsyncContextManager[Any]:
    """A block that closes an async iterable at its end, if that can be closed."""
    # An async generator that is not read to its end has to be closed by whoever stops reading.
    return aclosing(source) if hasattr(source, "aclose") else nullcontext()
