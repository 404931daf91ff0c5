"""Record batches v2 in plain Python, from Kafka's protocol guide: encoded and decoded field by field."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import crc32c

from krafka.compression import Compression, decompressor

HEADER = struct.Struct(">qiibIhiqqqhii")
CRC_COVERS_FROM = 21
MAGIC = 2
CODEC_BITS = 0x07
LOG_APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10


class PlainRecord(NamedTuple):
    """One record as it lies in a batch; header names are the UTF-8 bytes of the wire."""

    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


@dataclass(frozen=True)
class PlainBatch:
    """One decoded batch."""

    base_offset: int
    partition_leader_epoch: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: list[PlainRecord] = field(default_factory=list)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def codec(self) -> int:
        return self.attributes & CODEC_BITS


def zigzag(value: int) -> int:
    """Interleave the signs: 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4."""
    return value * 2 if value >= 0 else -value * 2 - 1


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the high bit set on all but the last."""
    rest = zigzag(value)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(0x80 | (rest & 0x7F))
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def varbytes(data: bytes | None) -> bytes:
    """A length and the bytes; length -1 is null."""
    return varint(-1) if data is None else varint(len(data)) + data


def encode_record(record: PlainRecord, *, offset_delta: int, base_timestamp: int) -> bytes:
    """One record, its length in front."""
    body = b"\x00" + varint(record.timestamp - base_timestamp) + varint(offset_delta)
    body += varbytes(record.key) + varbytes(record.value)
    body += varint(len(record.headers))
    for name, value in record.headers:
        body += varbytes(name) + varbytes(value)
    return varint(len(body)) + body


def encode_records(records: list[PlainRecord]) -> bytes:
    """The records of one batch, without the batch header; the first one's timestamp is the base."""
    return b"".join(
        encode_record(record, offset_delta=index, base_timestamp=records[0].timestamp)
        for index, record in enumerate(records)
    )


def encode_batch(
    records: list[PlainRecord],
    *,
    attributes: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    body: bytes | None = None,
) -> bytes:
    """A whole batch as a producer sends it; `body` stands in for the records when they are compressed."""
    body = encode_records(records) if body is None else body
    covered = struct.pack(
        ">hiqqqhii",
        attributes,
        len(records) - 1,
        records[0].timestamp,
        max(record.timestamp for record in records),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    covered += body
    after_length = struct.pack(">ibI", -1, MAGIC, crc32c.crc32c(covered)) + covered
    return struct.pack(">qi", 0, len(after_length)) + after_length


class Cursor:
    """Takes bytes apart from the front; taking more than there is is an error."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        assert 0 <= size <= len(self.data) - self.at, f"{size} bytes wanted at {self.at} of {len(self.data)}"
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value // 2 if value % 2 == 0 else -(value + 1) // 2
        raise AssertionError("a varint of more than ten bytes")

    def varbytes(self) -> bytes | None:
        size = self.varint()
        assert size >= -1
        return None if size == -1 else self.take(size)


def decode_record(cursor: Cursor, *, offset_delta: int, base_timestamp: int) -> PlainRecord:
    """One record, which must fill the length it gives."""
    body = Cursor(cursor.take(cursor.varint()))
    assert body.take(1) == b"\x00", "no attributes are defined for a record"
    timestamp = base_timestamp + body.varint()
    assert body.varint() == offset_delta
    key, value = body.varbytes(), body.varbytes()
    headers = []
    for _ in range(body.varint()):
        name = body.varbytes()
        assert name is not None
        name.decode()
        headers.append((name, body.varbytes()))
    assert body.at == len(body.data), "bytes left over in a record"
    return PlainRecord(timestamp, key, value, tuple(headers))


def decode_batch(data: bytes) -> PlainBatch:
    """One batch, every redundant field of it checked."""
    (
        base_offset,
        length,
        leader_epoch,
        magic,
        checksum,
        attributes,
        last_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    ) = HEADER.unpack_from(data)
    assert length == len(data) - 12
    assert magic == MAGIC
    assert checksum == crc32c.crc32c(data[CRC_COVERS_FROM:])
    assert last_delta == count - 1
    body = data[HEADER.size :]
    codecs = {codec.id: codec for codec in Compression}
    codec = codecs[attributes & CODEC_BITS]
    if codec is not Compression.NONE:
        body = bytes(decompressor(codec)(body, 64 << 20))
    cursor = Cursor(body)
    records = [
        decode_record(cursor, offset_delta=index, base_timestamp=base_timestamp) for index in range(count)
    ]
    assert cursor.at == len(body), "bytes left over in a batch"
    assert max_timestamp == max(record.timestamp for record in records)
    return PlainBatch(
        base_offset,
        leader_epoch,
        attributes,
        last_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        records,
    )
