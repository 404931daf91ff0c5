"""What a record is made of, and why one cannot be sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from krafka.errors import KafkaError, MetadataNotReadyError, RecordTooLargeError, RecordValidationError

BytesLike: TypeAlias = bytes | bytearray | memoryview
"""What a key, a value or a header value may be made of."""

Serializable: TypeAlias = Any
"""A key or a value: `BytesLike` or None, or whatever the producer's serializer for it takes.

Not a type parameter of the producer: that would have to be told by its options, which may come from a file. What is
neither bytes nor serialized is refused when it is sent, with a text that says so.
"""

Headers: TypeAlias = Sequence[tuple[str, BytesLike | None]] | Mapping[str, BytesLike | None]
"""Name and value pairs; order is kept and names may repeat. A mapping serves where none repeats."""

Serializer: TypeAlias = Callable[
    [str, Any, list[tuple[str, BytesLike | None]]], Awaitable[BytesLike | None] | BytesLike | None
]
"""`serializer(topic, value, headers)`: bytes for a key or a value, or an awaitable of them; None is null.

It is called for a key or a value of None as well. `headers` is the record's own list, to which it may add.
"""

MAX_TOPIC_LENGTH = 249
"""Kafka's limit for a topic name (`Topic.validate`): the name and a partition number make a folder's name."""
MAX_FIELD_LENGTH = 2**31 - 1
"""The wire format's limit for a key, a value, a header name and a header value, in bytes."""
MAX_HEADERS = 10_000
"""Headers of one record. The format has no limit below `max_request_size`, but every consumer makes objects of them: a
record that would be a memory problem for all its readers is refused where it comes from."""
MAX_PARTITION = 2**31 - 1
MAX_TIMESTAMP = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class PartitionInfo(NamedTuple):
    """One partition of a topic as the metadata has it; `leader` is a broker's id, or None while there is none."""

    topic: str
    partition: int
    leader: int | None


def timestamp_ms(value: int | datetime) -> int:
    """`value` in epoch milliseconds, a datetime's microseconds cut off.

    Raises `RecordValidationError` for a naive datetime, a time before 1970 and other types.
    """
    return _checked_timestamp(value)


def _checked_timestamp(value: object) -> int:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise RecordValidationError(
                f"timestamp {value!r} has no time zone, so it names no moment; "
                "make it aware, as with datetime.now(timezone.utc)"
            )
        milliseconds = (value - _EPOCH) // _MILLISECOND
    elif isinstance(value, int) and not isinstance(value, bool):
        milliseconds = value
    else:
        raise RecordValidationError(
            f"timestamp must be int epoch milliseconds or an aware datetime, got {_shown(value)}"
        )
    if not 0 <= milliseconds <= MAX_TIMESTAMP:
        raise RecordValidationError(
            f"timestamp must be between 0 (1970-01-01 UTC) and {MAX_TIMESTAMP} milliseconds, got {value!r}"
        )
    return milliseconds


def header_items(headers: Headers) -> Sequence[tuple[str, BytesLike | None]]:
    """Headers as a sequence of pairs, whichever of the two forms they came in."""
    return tuple(headers.items()) if isinstance(headers, Mapping) else headers


def explain_invalid(
    topic: object,
    value: object,
    key: object,
    headers: object,
    partition: object,
    timestamp: object,
) -> RecordValidationError | None:
    """Why this record cannot be sent, or None if it can: the full check behind the compiled quick one."""
    problem = (
        _topic_problem(topic)
        or _bytes_problem("key", key)
        or _bytes_problem("value", value)
        or _headers_problem(headers)
        or _partition_problem(partition)
    )
    if problem is None and timestamp is not None:
        try:
            _checked_timestamp(timestamp)
        except RecordValidationError as error:
            problem = str(error)
    if problem is None:
        return None
    if isinstance(topic, str) and not problem.startswith("topic"):
        problem = f"record for topic {topic!r}: {problem}"
    return RecordValidationError(problem)


def not_a_record(item: object) -> TypeError:
    """The error of an item of a bulk call that is no record."""
    return TypeError(
        f"send_many(records) takes ProducerRecord objects, got {type(item).__name__}; "
        "for plain values call send_many(topic, values)"
    )


def too_large(
    partition: object, size: int, overhead: int, max_request_size: int, buffer_memory: int
) -> RecordTooLargeError:
    """The error of a record whose `size` bytes exceed one of the producer's limits, which it names."""
    if size + overhead > max_request_size:
        return RecordTooLargeError(
            f"a record for {partition} takes {size} bytes, {size + overhead} with its batch header; "
            f"this producer's max_request_size is {max_request_size} bytes; "
            "raise it (and the topic's max.message.bytes) or make the record smaller"
        )
    return RecordTooLargeError(
        f"a record for {partition} takes {size} bytes, more than all of this producer's buffer_memory "
        f"({buffer_memory} bytes); raise buffer_memory or make the record smaller"
    )


def diagnosed(
    error: Exception,
    topic: object,
    value: object,
    key: object,
    headers: object,
    partition: object,
    timestamp: object,
) -> RecordValidationError:
    """Why a record could not be encoded: what the full check says, or else the error that came."""
    try:
        invalid = explain_invalid(topic, value, key, () if headers is None else headers, partition, timestamp)
    except Exception:
        # What could not be encoded may not let itself be looked at either: a memoryview that was released, say.
        invalid = None
    return invalid or RecordValidationError(
        f"record for topic {topic!r} cannot be encoded: {type(error).__name__}: {error}"
    )


def not_known_yet(
    topic: object, value: object, key: object, headers: object, partition: object, timestamp: object
) -> KafkaError:
    """The error of a record whose topic has no metadata: what is wrong with the record, or that it has to wait."""
    invalid = explain_invalid(topic, value, key, () if headers is None else headers, partition, timestamp)
    return invalid or MetadataNotReadyError(
        f"the partitions of topic {topic!r} are not known yet; await enqueue() or send(), which fetch them"
    )


def _shown(value: object) -> str:
    """A value with its type, short enough for a log line."""
    text = repr(value)
    if len(text) > 60:
        text = f"{text[:57]}..."
    return f"{text} ({type(value).__name__})"


def _topic_problem(topic: object) -> str | None:
    if not isinstance(topic, str):
        return f"topic must be str, got {_shown(topic)}"
    if not topic:
        return "topic is empty; give the topic's name"
    if len(topic) > MAX_TOPIC_LENGTH:
        shown = f"{topic[:40]!r}..."
        return f"topic name is {len(topic)} characters long, Kafka's limit is {MAX_TOPIC_LENGTH}: {shown}"
    if topic in {".", ".."}:
        return f"topic name {topic!r} is reserved by Kafka"
    if _LEGAL_TOPIC.fullmatch(topic) is None:
        return f"topic name {topic!r} may have only ASCII letters, digits, '.', '_' and '-', as Kafka demands"
    return None


def _bytes_problem(field: str, data: object) -> str | None:
    if data is None:
        return None
    if isinstance(data, str):
        hint = f", or give the producer a {field}_serializer" if field in {"key", "value"} else ""
        return f"{field} is str; encode it (.encode()){hint}"
    if isinstance(data, memoryview):
        if not data.c_contiguous:
            return f"{field} is a memoryview that is not contiguous; copy it with bytes()"
        length = data.nbytes
    elif isinstance(data, bytes | bytearray):
        length = len(data)
    else:
        return f"{field} must be bytes, bytearray, memoryview or None, got {_shown(data)}"
    if length > MAX_FIELD_LENGTH:
        return f"{field} is {length} bytes long, the protocol's limit is {MAX_FIELD_LENGTH}"
    return None


def _headers_problem(headers: object) -> str | None:
    if isinstance(headers, Mapping):
        headers = tuple(headers.items())
    if not isinstance(headers, Sequence) or isinstance(headers, str | bytes | bytearray | memoryview):
        return f"headers must be a sequence of (name, value) pairs or a mapping, got {_shown(headers)}"
    if len(headers) > MAX_HEADERS:
        return f"it has {len(headers)} headers, krafka's limit is {MAX_HEADERS}"
    for index, header in enumerate(headers):
        if not isinstance(header, tuple) or len(header) != 2:
            return f"header {index} must be a (name, value) tuple, got {_shown(header)}"
        name, value = header
        if not isinstance(name, str):
            return f"header {index}: name must be str, got {_shown(name)}"
        try:
            length = len(name.encode())
        except UnicodeEncodeError as error:
            return f"header {index}: name {name!r} is not valid Unicode text ({error.reason})"
        if length > MAX_FIELD_LENGTH:
            return f"header {index}: name is {length} bytes long, the protocol's limit is {MAX_FIELD_LENGTH}"
        problem = _bytes_problem(f"header {index} ({name!r}): value", value)
        if problem is not None:
            return problem
    return None


def _partition_problem(partition: object) -> str | None:
    if partition is None:
        return None
    if not isinstance(partition, int) or isinstance(partition, bool):
        return f"partition must be int or None, got {_shown(partition)}"
    if not 0 <= partition <= MAX_PARTITION:
        return f"partition must be between 0 and {MAX_PARTITION}, got {partition}"
    return None
