"""The user's own code on a record's way in: interceptors, then serializers, called in order and never trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple

from krafka._io.telling import Acknowledgements, Interceptor, discard, is_awaitable
from krafka._speedups.delivery import Delivery, observe
from krafka._speedups.producer_record import ProducerRecord
from krafka._speedups.record_metadata import RecordMetadata
from krafka.errors import (
    KafkaError,
    ProducerStateError,
    RecordRejectedError,
    SendCancelledError,
    SerializationError,
)
from krafka.interceptors import RejectRecord
from krafka.records import MAX_PARTITION, diagnosed, header_items

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from krafka._io.admission import Waits
    from krafka.config import ProducerConfig
    from krafka.records import BytesLike, Serializer


class Fields(NamedTuple):
    """A record as it goes on to the append path, in the order of its arguments."""

    topic: str
    value: BytesLike | None
    key: BytesLike | None
    headers: Any
    partition: int | None
    timestamp: int | datetime | None


class Hooks:
    """The interceptors and serializers of one producer.

    Whoever calls `prepare` and gets fields has to end that record: by `follow` if it was accepted, else by `refused`.
    """

    def __init__(self, config: ProducerConfig, waits: Waits) -> None:
        self._interceptors = tuple(Interceptor(each) for each in config.interceptors)
        self._serializers = {"key": config.key_serializer, "value": config.value_serializer}
        self._serializes = any(each is not None for each in self._serializers.values())
        self._waits = waits
        self._coroutine_function = self._find_coroutine_function()
        self.acknowledgements = Acknowledgements(self._interceptors)
        self._tell = self.acknowledgements.tell

    def _find_coroutine_function(self) -> str | None:
        for interceptor in self._interceptors:
            if _is_coroutine_function(interceptor.on_send):
                return f"on_send of the interceptor {interceptor.name}"
        for field, serializer in self._serializers.items():
            if _is_coroutine_function(serializer):
                return f"{field}_serializer {_name_of(serializer)}"
        return None

    def check_nowait(self) -> None:
        """Raise `ProducerStateError` if a hook on the way in is known to be awaited."""
        if self._coroutine_function is not None:
            raise _cannot_wait(self._coroutine_function)

    async def prepare(self, record: ProducerRecord, *, may_wait: bool = True) -> Fields:
        """Show a record, one of `owned`, to the interceptors and serialize what comes of it.

        Not `may_wait`: it awaits nothing, and raises `ProducerStateError` where it would have to. Of a record that
        does not get through, those who saw it are told.
        """
        seen = 0
        shown = record
        try:
            for interceptor in self._interceptors:
                seen += 1
                if interceptor.on_send is not None:
                    shown = await self._show(interceptor, interceptor.on_send, shown, may_wait)
            return await self._serialized(shown, may_wait)
        except BaseException as error:
            self.refused(shown.topic, shown.partition, error, seen)
            raise

    async def _show(
        self, interceptor: Interceptor, on_send: Callable[..., Any], record: ProducerRecord, may_wait: bool
    ) -> ProducerRecord:
        # A list may be the caller's own, or one that is kept for the next record.
        record.headers = _tuple_of(record.headers)
        before = (record.topic, record.value, record.key, record.headers, record.partition, record.timestamp)
        what = f"on_send of the interceptor {interceptor.name}"
        answer, failure = await self._called(what, may_wait, on_send, record)
        if failure is None:
            if answer is None or answer is record:
                return record
            if isinstance(answer, ProducerRecord):
                # Another record may be one that is kept and given again, so it is not for others to change.
                return owned_copy(answer)
            failure = TypeError(f"it has to return a ProducerRecord or None, not {type(answer).__name__}")
        elif isinstance(failure, RejectRecord):
            raise RecordRejectedError(
                f"record for topic {before[0]!r} was refused by the interceptor {interceptor.name}: {failure}",
                interceptor=interceptor.name,
                reason=str(failure),
            ) from failure
        interceptor.note_failure("on_send", failure, before[0])
        return owned(*before)

    async def _serialized(self, record: ProducerRecord, may_wait: bool) -> Fields:
        key, value, headers = record.key, record.value, record.headers
        if self._serializes:
            added = _header_list(record)
            key = await self._bytes_of("key", key, record.topic, added, may_wait)
            value = await self._bytes_of("value", value, record.topic, added, may_wait)
            headers = tuple(added)
        return Fields(record.topic, value, key, headers, record.partition, record.timestamp)

    async def _bytes_of(
        self, field: str, data: Any, topic: str, headers: list[tuple[str, BytesLike | None]], may_wait: bool
    ) -> Any:
        serializer: Serializer | None = self._serializers[field]
        if serializer is None:
            return data
        what = f"{field}_serializer {_name_of(serializer)}"
        made, failure = await self._called(what, may_wait, serializer, topic, data, headers)
        where = f"record for topic {topic!r}: {what}"
        if failure is None:
            if made is None or isinstance(made, bytes | bytearray | memoryview):
                return made
            raise SerializationError(
                f"{where} returned {type(made).__name__} for a {field} of type {type(data).__name__}; "
                "it has to return bytes, bytearray, memoryview or None"
            )
        error = SerializationError(
            f"{where} failed for a {field} of type {type(data).__name__}: {type(failure).__name__}: {failure}"
        )
        if isinstance(failure, KafkaError) and failure.is_retriable:
            error.is_retriable = True
        raise error from failure

    async def _called(
        self, what: str, may_wait: bool, function: Callable[..., Any], *arguments: Any
    ) -> tuple[Any, Exception | None]:
        """What a hook answers, or the exception that it raised; what ends the wait for it is raised here."""
        try:
            answer = function(*arguments)
        except Exception as failure:
            return None, failure
        if not is_awaitable(answer):
            return answer, None
        try:
            if not may_wait:
                raise _cannot_wait(what)
            # A producer that closes waits for records that are here, and one that ends does not leave them here.
            with self._waits.one():
                try:
                    return await answer, None
                except Exception as failure:
                    return None, failure
        finally:
            discard(answer)
        raise AssertionError("unreachable: the wait returns or raises")

    # -- outcomes -------------------------------------------------------------------------------------------------

    def follow(self, delivery: Delivery) -> None:
        """Tell every interceptor of the outcome of a record that was accepted, once it is known."""
        if self._interceptors:
            observe(delivery, self._tell)

    def refused(
        self, topic: object, partition: object, error: BaseException, seen: int | None = None
    ) -> None:
        """Tell the first `seen` interceptors, by default all, that a record was not accepted."""
        # Kafka's own form for a record without a place; the topic may be anything, as it may not have been checked yet.
        name = str.__str__(topic) if isinstance(topic, str) else repr(topic)
        known = (
            isinstance(partition, int) and not isinstance(partition, bool) and 0 <= partition <= MAX_PARTITION
        )
        metadata = RecordMetadata(name, int(partition) if known else -1, -1, -1)  # type: ignore[call-overload]
        if not isinstance(error, KafkaError):
            stopped = SendCancelledError(
                f"the caller of a record for topic {name!r} was stopped before the record was accepted: "
                f"{type(error).__name__}"
            )
            stopped.__cause__ = error if isinstance(error, Exception) else None
            error = stopped
        self.acknowledgements.tell(metadata, error, seen)


def owned(topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any) -> ProducerRecord:
    """A record that hooks may change without changing the caller's."""
    return ProducerRecord(
        topic,
        value,
        key=key,
        headers=() if headers is None else headers,
        partition=partition,
        timestamp=timestamp,
    )


def owned_copy(record: ProducerRecord) -> ProducerRecord:
    """The same of another record."""
    return owned(record.topic, record.value, record.key, record.headers, record.partition, record.timestamp)


def _tuple_of(headers: Any) -> Any:
    if type(headers) is tuple:
        return headers
    if headers is None:
        return ()
    # What is no headers at all stays as it is, and is refused as such when it is to be encoded.
    with suppress(Exception):
        if isinstance(headers, Mapping | Sequence) and not isinstance(headers, str | bytes | bytearray):
            return tuple(header_items(headers))
    return headers


def _header_list(record: ProducerRecord) -> list[tuple[str, BytesLike | None]]:
    headers: Any = record.headers
    try:
        return [] if headers is None else list(header_items(headers))
    except Exception as error:
        raise diagnosed(
            error, record.topic, None, None, headers, record.partition, record.timestamp
        ) from error


def _is_coroutine_function(function: Any) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - it asks of what kind it is


def _name_of(function: Any) -> str:
    name: str = getattr(function, "__qualname__", None) or type(function).__name__
    return name


def _cannot_wait(what: str) -> ProducerStateError:
    return ProducerStateError(
        f"enqueue_nowait cannot wait for {what}, which is to be awaited; "
        "await enqueue() or send(), or give one that is no coroutine function"
    )
