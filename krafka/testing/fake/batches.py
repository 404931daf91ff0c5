"""Record batches as a broker takes them apart: every redundant field checked, every record read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from krafka._speedups.checksum import crc32c
from krafka.compression import Compression, decompressor
from krafka.errors import (
    CorruptMessageError,
    InvalidRecordError,
    ProtocolError,
    UnsupportedCompressionTypeError,
)

if TYPE_CHECKING:
    from krafka.errors import KafkaError

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_COVERS_FROM = 12
_CRC_COVERS_FROM = 21
_MAGIC = 2
_ATTRIBUTES_LOW = 22
_PRODUCER = struct.Struct(">qh")
_PRODUCER_AT = 43
_CODEC_MASK = 0x07
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_MOST_RECORD_BYTES = 256 << 20
_VARINT_BYTES = 10
_CODECS = {codec.id: codec for codec in Compression}


class BatchRefusedError(Exception):
    """The batch is not appended; the answer is `code`, and `record_errors` say which records are to blame.

    Unless `tells_log_start`, the answer leaves out where the log starts: Kafka tells it with what the log itself
    refuses, not with what is refused before.
    """

    def __init__(
        self,
        error: type[KafkaError],
        message: str,
        record_errors: dict[int, str] | None = None,
        *,
        tells_log_start: bool = True,
    ) -> None:
        super().__init__(message)
        assert error.code is not None  # noqa: S101 - only classes of a broker's answers are raised here
        self.code: int = error.code
        self.message = message
        self.record_errors: dict[int, str] = record_errors or {}
        self.tells_log_start = tells_log_start


class BatchRecord(NamedTuple):
    """One record of a batch."""

    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Batch(NamedTuple):
    """A checked batch and its records."""

    size: int
    codec: Compression
    is_transactional: bool
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: tuple[BatchRecord, ...]


def transactional_producer(data: bytes) -> tuple[int, int] | None:
    """The producer id and epoch in the header of a transactional batch, None for any other."""
    if len(data) < _HEADER.size or not data[_ATTRIBUTES_LOW] & _TRANSACTIONAL:
        return None
    producer_id, epoch = _PRODUCER.unpack_from(data, _PRODUCER_AT)
    return producer_id, epoch


def read_batch(data: bytes) -> Batch:
    """Take the one batch of a partition in a Produce request apart.

    Raises `BatchRefusedError` with the code Kafka answers: CORRUPT_MESSAGE for damaged bytes, INVALID_RECORD for a
    batch that breaks the format's rules.
    """
    if len(data) < _HEADER.size:
        raise BatchRefusedError(
            InvalidRecordError,
            f"a batch of {len(data)} bytes is shorter than its header",
            tells_log_start=False,
        )
    (_, length, _, magic, checksum, attributes, last_offset_delta, base_timestamp, max_timestamp) = (
        _HEADER.unpack_from(data)[:9]
    )
    producer_id, producer_epoch, base_sequence, count = _HEADER.unpack_from(data)[9:]
    if magic != _MAGIC:
        raise BatchRefusedError(
            InvalidRecordError, f"the batch has magic {magic}, only {_MAGIC} is taken", tells_log_start=False
        )
    if length != len(data) - _LENGTH_COVERS_FROM:
        raise BatchRefusedError(
            InvalidRecordError,
            f"the batch says {length} bytes, {len(data) - _LENGTH_COVERS_FROM} came: one batch is expected",
            tells_log_start=False,
        )
    if checksum != crc32c(memoryview(data)[_CRC_COVERS_FROM:]):
        raise BatchRefusedError(
            CorruptMessageError, "the batch's checksum does not match its bytes", tells_log_start=False
        )
    if count < 1 or last_offset_delta != count - 1:
        raise BatchRefusedError(
            InvalidRecordError, f"{count} records do not go with the last offset delta {last_offset_delta}"
        )
    if attributes & _CONTROL:
        raise BatchRefusedError(InvalidRecordError, "a client may not write control records")
    if producer_id >= 0 and base_sequence < 0:
        raise BatchRefusedError(
            InvalidRecordError, f"a batch of producer {producer_id} has the sequence {base_sequence}"
        )
    codec = _CODECS.get(attributes & _CODEC_MASK)
    if codec is None:
        raise BatchRefusedError(
            UnsupportedCompressionTypeError, f"no codec has the number {attributes & _CODEC_MASK}"
        )
    records = _read_records(data, codec, count, base_timestamp)
    newest = max(record.timestamp for record in records)
    if max_timestamp != newest:
        raise BatchRefusedError(
            InvalidRecordError, f"the batch says its newest timestamp is {max_timestamp}, it is {newest}"
        )
    transactional = bool(attributes & _TRANSACTIONAL)
    return Batch(len(data), codec, transactional, producer_id, producer_epoch, base_sequence, tuple(records))


def _read_records(data: bytes, codec: Compression, count: int, base_timestamp: int) -> list[BatchRecord]:
    try:
        body = decompressor(codec)(memoryview(data)[_HEADER.size :], _MOST_RECORD_BYTES)
    except ProtocolError as error:
        raise BatchRefusedError(CorruptMessageError, str(error)) from error
    records = []
    at = 0
    try:
        for index in range(count):
            record, at = _read_record(body, at, index, base_timestamp)
            records.append(record)
    except IndexError as error:
        raise BatchRefusedError(InvalidRecordError, "the records end in the middle of a number") from error
    except ValueError as error:
        raise BatchRefusedError(InvalidRecordError, f"the records cannot be read: {error}") from error
    if at != len(body):
        raise BatchRefusedError(
            InvalidRecordError, f"{len(body) - at} bytes are left over behind {count} records"
        )
    return records


def _read_record(data: bytes, at: int, index: int, base_timestamp: int) -> tuple[BatchRecord, int]:
    """One record, and where it ends. Raises ValueError, or IndexError where the data end in a number."""
    size, at = _varint(data, at)
    end = at + size
    if size < 1 or end > len(data):
        raise ValueError(f"record {index} is said to have {size} bytes, {len(data) - at} follow")
    timestamp_delta, at = _varint(data, at + 1)
    offset_delta, at = _varint(data, at)
    if offset_delta != index:
        raise ValueError(f"record {index} has the offset delta {offset_delta}")
    key, at = _nullable(data, at, end)
    value, at = _nullable(data, at, end)
    header_count, at = _varint(data, at)
    headers = []
    for _ in range(header_count):
        name, at = _nullable(data, at, end)
        if name is None:
            raise ValueError(f"record {index} has a header without a name")
        header_value, at = _nullable(data, at, end)
        headers.append((name.decode(), header_value))
    if at != end:
        raise ValueError(f"record {index} is said to end {end - at} bytes from where it does")
    return BatchRecord(base_timestamp + timestamp_delta, key, value, tuple(headers)), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    value = byte & 0x7F
    for shift in range(7, 7 * _VARINT_BYTES, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + 1
    raise ValueError(f"a number of more than {_VARINT_BYTES} bytes")


def _nullable(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = _varint(data, at)
    if size == -1:
        return None, at
    if size < 0 or at + size > end:
        raise ValueError(f"{size} bytes are said to follow, {end - at} do")
    return data[at : at + size], at + size
