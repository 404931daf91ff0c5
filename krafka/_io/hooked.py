"""The verbs of a producer that has interceptors or serializers: each record goes by the hooks before it is appended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from krafka._io.bulk import BulkSend, closing
from krafka._io.hooks import Hooks, owned, owned_copy
from krafka._speedups.batch import for_raising
from krafka._speedups.producer_record import ProducerRecord
from krafka.errors import BufferFullError, BufferTimeoutError, KafkaError, MetadataNotReadyError
from krafka.records import not_a_record

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from krafka._io.engine import Engine
    from krafka._io.hooks import Fields
    from krafka._speedups.delivery import Delivery

A_MOMENT = 0.1
"""Seconds for callers that wait to be told of the producer's end, where `close_timeout` leaves them less."""
RECORDS_BETWEEN_YIELDS = 256
"""How many records of a bulk call go through before other tasks get their turn: hooks take longer than appending."""


def hooked_verbs(engine: Engine) -> HookedVerbs | None:
    """What stands in front of a producer's verbs; None if its options name no hooks."""
    config = engine.config
    if config.interceptors or config.key_serializer is not None or config.value_serializer is not None:
        return HookedVerbs(engine)
    return None


class HookedVerbs:
    """Takes records as the producer's verbs do."""

    def __init__(self, engine: Engine) -> None:
        self.hooks = Hooks(engine.config, engine.admission.records)
        self._engine = engine
        self._appender = engine.accumulator.appender

    def enqueue_nowait(
        self,
        topic: Any,
        value: Any = None,
        *,
        key: Any = None,
        headers: Any = None,
        partition: Any = None,
        timestamp: Any = None,
    ) -> Delivery:
        """Take a record now; see `Producer.enqueue_nowait`."""
        self._check_open()
        self.hooks.check_nowait()
        if self.hooks.acknowledgements.is_behind:
            raise BufferFullError(self._behind())
        record = owned(topic, value, key, headers, partition, timestamp)
        fields = _without_waiting(self.hooks.prepare(record, may_wait=False))
        try:
            delivery = self._append(fields)
        except BaseException as error:
            self.hooks.refused(fields.topic, fields.partition, error)
            raise
        self.hooks.follow(delivery)
        return delivery

    async def enqueue(self, *fields: Any) -> Delivery:
        """Take a record, in the order of `Fields`, after what it has to wait for; see `Producer.enqueue`."""
        return await self._accept(owned(*fields), self._append)

    async def send(self, *fields: Any) -> Delivery:
        """The same for a record that nobody adds to; see `Producer.send`."""
        return await self._accept(owned(*fields), self._append_and_send)

    def bulk(self) -> HookedBulkSend:
        """A `send_many` call."""
        return HookedBulkSend(self._engine, self)

    async def _accept(self, record: ProducerRecord, append: Callable[[Fields], Delivery]) -> Delivery:
        self._check_open()
        await self.wait_for_room()
        fields = await self.hooks.prepare(record)
        try:
            delivery = self.appended(fields, append)
            if not isinstance(delivery, KafkaError):
                self.hooks.follow(delivery)
                return delivery
            delivery = await self._engine.admission.admit(*fields, self._engine.clock())
        except BaseException as error:
            self.hooks.refused(fields.topic, fields.partition, error)
            raise
        self.hooks.follow(delivery)
        return delivery

    def appended(
        self, fields: Fields, append: Callable[[Fields], Delivery] | None = None
    ) -> Delivery | BufferFullError | MetadataNotReadyError:
        """Append a record, or return why it has to wait. Raises what else is wrong with it."""
        if self._appender.refusal is not None:
            # It came before the producer was closed, and has been with a hook since; waiting records are still taken.
            return MetadataNotReadyError()
        try:
            return (append or self._append)(fields)
        except (BufferFullError, MetadataNotReadyError) as reason:
            return reason

    def _append(self, fields: Fields) -> Delivery:
        topic, value, key, headers, partition, timestamp = fields
        return self._appender.append(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )

    def _append_and_send(self, fields: Fields) -> Delivery:
        return self._engine.direct.append(*fields)

    def _check_open(self) -> None:
        self._appender.check_caller()
        if self._appender.refusal is not None:
            raise for_raising(self._appender.refusal)

    async def wait_for_room(self) -> None:
        """Return when the interceptors are not far behind; `BufferTimeoutError` after `max_block`."""
        acknowledgements = self.hooks.acknowledgements
        if not acknowledgements.is_behind:
            return
        with self._engine.admission.records.one():
            with anyio.move_on_after(self._engine.config.max_block) as scope:
                await acknowledgements.wait_for_room()
            if scope.cancelled_caught:
                raise BufferTimeoutError(f"{self._behind()} (max_block {self._engine.config.max_block:g} s)")

    async def finish(self, seconds: float) -> None:
        """The producer has ended: close the interceptors, once those whose callers were still waiting are told of."""
        with anyio.move_on_after(max(seconds, A_MOMENT), shield=True):
            await self._engine.admission.records.wait_until_empty()
        await self.hooks.acknowledgements.finish(seconds)

    @staticmethod
    def _behind() -> str:
        return (
            "the record has to wait, as too many acknowledgements wait for the interceptors; their on_acknowledgement "
            "takes longer than the records take to come"
        )


class HookedBulkSend(BulkSend):
    """One `send_many` call in progress, each of whose records goes by the hooks."""

    def __init__(self, engine: Engine, verbs: HookedVerbs) -> None:
        super().__init__(engine)
        self._verbs = verbs

    async def take_values(self, topic: str, values: Any) -> None:
        """Append every value to `topic`."""
        await self._take(values, partial(ProducerRecord, topic))

    async def take_records(self, records: Any) -> None:
        """Append every record."""
        await self._take(records, _record_of)

    async def _take(self, source: Any, to_record: Callable[[Any], ProducerRecord]) -> None:
        if hasattr(source, "__aiter__"):
            async with closing(source):
                async for item in source:
                    await self._take_one(to_record(item))
                    if self._appender.refusal is not None:
                        return
            return
        iterator = iter(source)
        for item in iterator:
            await self._take_one(to_record(item))
            if self._appender.refusal is not None:
                self._refuse_rest(source, iterator, self._appender.refusal)
                return

    async def _take_one(self, record: ProducerRecord) -> None:
        self._since_yield += 1
        if self._since_yield >= RECORDS_BETWEEN_YIELDS:
            self._since_yield = 0
            await checkpoint()
        if self._appender.refusal is not None:
            self.result.add_refused(self._appender.refusal)
            return
        try:
            await self._verbs.wait_for_room()
            fields = await self._verbs.hooks.prepare(record)
        except KafkaError as error:
            self.result.add_refused(error)
            return
        hooks = self._verbs.hooks
        try:
            outcome = await self._outcome(fields)
        except BaseException as error:
            hooks.refused(fields.topic, fields.partition, error)
            raise
        if isinstance(outcome, KafkaError):
            hooks.refused(fields.topic, fields.partition, outcome)
            self.result.add_refused(outcome)
        else:
            hooks.follow(outcome)
            self.result.add_delivery(outcome)

    async def _outcome(self, fields: Fields) -> Delivery | KafkaError:
        try:
            outcome = self._verbs.appended(fields)
        except KafkaError as error:
            return error
        return await self._admitted(outcome, *fields) if isinstance(outcome, KafkaError) else outcome


def _record_of(item: Any) -> ProducerRecord:
    if not isinstance(item, ProducerRecord):
        raise not_a_record(item)
    return owned_copy(item)


def _without_waiting(preparation: Coroutine[Any, Any, Fields]) -> Fields:
    """Run what awaits nothing."""
    try:
        preparation.send(None)
    except StopIteration as end:
        fields: Fields = end.value
        return fields
    preparation.close()
    raise AssertionError("a hook was awaited where nothing can wait")
