"""Interceptors that note what they are shown, and each verb as one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faulty import TOPIC, error_of

from krafka import KafkaError, ProducerInterceptor, ProducerRecord, RecordMetadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable

    from krafka import Producer

Told = tuple[RecordMetadata, KafkaError | None]


class Notes(ProducerInterceptor):
    """Notes every call, in `log` those of several interceptors in their order."""

    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.shown: list[ProducerRecord] = []
        self.told: list[Told] = []
        self.closed = 0

    def on_send(self, record: ProducerRecord) -> Any:
        self.log.append(f"{self.name} on_send")
        self.shown.append(record)

    def on_acknowledgement(self, metadata: RecordMetadata, error: KafkaError | None) -> Any:
        self.log.append(f"{self.name} on_acknowledgement")
        self.told.append((metadata, error))

    def close(self) -> Any:
        self.log.append(f"{self.name} close")
        self.closed += 1

    @property
    def errors(self) -> list[type[KafkaError] | None]:
        """The kind of each error told."""
        return [None if error is None else type(error) for _, error in self.told]

    @property
    def values(self) -> list[Any]:
        """The value of each record shown."""
        return [record.value for record in self.shown]


async def _each(results: Iterable[Awaitable[RecordMetadata]]) -> list[RecordMetadata | KafkaError]:
    told: list[RecordMetadata | KafkaError] = []
    for result in results:
        try:
            told.append(await result)
        except KafkaError as error:
            told.append(error)
    return told


async def by_send(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    return await _each(producer.send(TOPIC, value) for value in values)


async def by_send_record(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    return await _each(producer.send_record(ProducerRecord(TOPIC, value)) for value in values)


async def by_enqueue(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    told: list[Any] = []
    for value in values:
        try:
            told.append(await producer.enqueue(TOPIC, value))
        except KafkaError as error:
            told.append(error)
    return [each if isinstance(each, KafkaError) else await error_of(each) or each.metadata for each in told]


async def by_enqueue_nowait(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    told: list[Any] = []
    for value in values:
        try:
            told.append(producer.enqueue_nowait(TOPIC, value))
        except KafkaError as error:
            told.append(error)
    return [each if isinstance(each, KafkaError) else await error_of(each) or each.metadata for each in told]


async def _in_bulk(producer: Producer, *arguments: Any) -> list[RecordMetadata | KafkaError]:
    result = await producer.send_many(*arguments)
    failed = dict(result.failed)
    return [failed[index] if index in failed else result[index] for index in range(len(result))]


async def _later(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def by_values(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    return await _in_bulk(producer, TOPIC, values)


async def by_values_that_come(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    return await _in_bulk(producer, TOPIC, _later(values))


async def by_records(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    return await _in_bulk(producer, (ProducerRecord(TOPIC, value) for value in values))


async def by_records_that_come(producer: Producer, values: list[Any]) -> list[RecordMetadata | KafkaError]:
    return await _in_bulk(producer, _later(ProducerRecord(TOPIC, value) for value in values))


WAITING_VERBS: list[Any] = [
    by_send,
    by_send_record,
    by_enqueue,
    by_values,
    by_values_that_come,
    by_records,
    by_records_that_come,
]
VERBS: list[Any] = [*WAITING_VERBS, by_enqueue_nowait]
"""Each sends values in order and returns what their callers are told."""
