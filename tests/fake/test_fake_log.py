"""What the fake cluster's partitions take and refuse: the rules of Kafka's brokers for batches and producers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from krafka._speedups.checksum import crc32c
from krafka._speedups.record_batch import RecordBuffer, batch_header
from krafka.compression import Compression, compressor
from krafka.testing.fake.batches import BatchRefusedError, read_batch
from krafka.testing.fake.log import Manners, PartitionLog

if TYPE_CHECKING:
    from collections.abc import Callable

CORRUPT_MESSAGE = 2
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
DUPLICATE_SEQUENCE_NUMBER = 46
INVALID_PRODUCER_EPOCH = 47
UNKNOWN_PRODUCER_ID = 59
UNSUPPORTED_COMPRESSION_TYPE = 76
INVALID_RECORD = 87


def batch(
    count: int = 1,
    *,
    producer_id: int = 7,
    epoch: int = 0,
    sequence: int = 0,
    codec: Compression = Compression.NONE,
    attributes: int = 0,
) -> bytes:
    records = RecordBuffer()
    for number in range(count):
        records.append(
            1000 + number,
            b"k%d" % number,
            None if number % 3 == 2 else b"v%d" % number,
            [("h", b"x"), ("n", None)],
        )
    body = compressor(codec)(memoryview(records))
    header = batch_header(
        body,
        count=count,
        base_timestamp=records.base_timestamp,
        max_timestamp=records.max_timestamp,
        attributes=codec.id | attributes,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
    )
    return header + body


def changed(data: bytes, at: int, value: bytes, *, repair_checksum: bool = True) -> bytes:
    damaged = bytearray(data)
    damaged[at : at + len(value)] = value
    if repair_checksum:
        damaged[17:21] = struct.pack(">I", crc32c(memoryview(damaged)[21:]))
    return bytes(damaged)


def append(
    log: PartitionLog, count: int = 1, *, sequence: int, epoch: int = 0, producer_id: int = 7
) -> tuple[int, bool]:
    appended = log.append(read_batch(batch(count, sequence=sequence, epoch=epoch, producer_id=producer_id)))
    return appended.base_offset, appended.is_duplicate


def refusal(call: Callable[[], object]) -> int:
    with pytest.raises(BatchRefusedError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("codec", list(Compression))
def test_a_batch_is_read_whole(codec: Compression) -> None:
    read = read_batch(batch(4, producer_id=9, epoch=3, sequence=11, codec=codec))
    assert (read.producer_id, read.producer_epoch, read.base_sequence, read.codec) == (9, 3, 11, codec)
    assert not read.is_transactional
    assert [record.timestamp for record in read.records] == [1000, 1001, 1002, 1003]
    assert [record.key for record in read.records] == [b"k0", b"k1", b"k2", b"k3"]
    assert [record.value for record in read.records] == [b"v0", b"v1", None, b"v3"]
    assert {record.headers for record in read.records} == {(("h", b"x"), ("n", None))}
    assert read_batch(batch(attributes=0x10)).is_transactional


GOOD = batch(3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", INVALID_RECORD),
        (GOOD[:40], INVALID_RECORD),
        (GOOD[:-1], INVALID_RECORD),
        (GOOD + b"\0", INVALID_RECORD),
        (GOOD + GOOD, INVALID_RECORD),
        (changed(GOOD, 70, b"\xff", repair_checksum=False), CORRUPT_MESSAGE),
        (changed(GOOD, 16, b"\x01"), INVALID_RECORD),
        (changed(GOOD, 23, struct.pack(">i", 5)), INVALID_RECORD),
        (changed(GOOD, 35, struct.pack(">q", 5)), INVALID_RECORD),
        (changed(GOOD, 57, struct.pack(">i", 0)), INVALID_RECORD),
        (changed(changed(GOOD, 57, struct.pack(">i", 2)), 23, struct.pack(">i", 1)), INVALID_RECORD),
        (changed(changed(GOOD, 57, struct.pack(">i", 4)), 23, struct.pack(">i", 3)), INVALID_RECORD),
        (changed(GOOD, 61, b"\xff\xff\x7f"), INVALID_RECORD),
        (changed(GOOD, 61, b"\x01"), INVALID_RECORD),
        (batch(attributes=0x20), INVALID_RECORD),
        (batch(sequence=-1), INVALID_RECORD),
        (changed(GOOD, 21, b"\x00\x07"), UNSUPPORTED_COMPRESSION_TYPE),
        (changed(GOOD, 21, b"\x00\x01"), CORRUPT_MESSAGE),
    ],
    ids=[
        "empty",
        "half a header",
        "cut short",
        "bytes behind",
        "two batches",
        "damaged",
        "old magic",
        "wrong last delta",
        "wrong newest timestamp",
        "no records",
        "more records than said",
        "fewer records than said",
        "record too long",
        "record of negative length",
        "control records",
        "no sequence",
        "no such codec",
        "not gzip at all",
    ],
)
def test_a_batch_that_breaks_the_format(data: bytes, code: int) -> None:
    assert refusal(lambda: read_batch(data)) == code


def test_sequences_go_on_from_batch_to_batch() -> None:
    log = PartitionLog("t", 0)
    assert append(log, 3, sequence=0) == (0, False)
    assert append(log, 2, sequence=3) == (3, False)
    assert refusal(lambda: append(log, sequence=6)) == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal(lambda: append(log, sequence=0)) == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert append(log, sequence=5) == (5, False)
    assert [(record.offset, record.sequence, record.batch) for record in log.records] == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 2, 0),
        (3, 3, 1),
        (4, 4, 1),
        (5, 5, 2),
    ]


def test_sequences_go_round() -> None:
    log = PartitionLog("t", 0)
    last = 2**31 - 1
    assert append(log, 2, sequence=last - 2) == (0, False)
    assert append(log, 3, sequence=last) == (2, False)
    assert [record.sequence for record in log.records] == [last - 2, last - 1, last, 0, 1]
    assert append(log, 3, sequence=last) == (2, True)
    assert append(log, sequence=2) == (5, False)


def test_the_last_five_batches_are_known_again() -> None:
    log = PartitionLog("t", 0)
    for sequence in range(7):
        append(log, sequence=sequence)
    for sequence in range(2, 7):
        assert append(log, sequence=sequence) == (sequence, True)
    assert refusal(lambda: append(log, sequence=1)) == OUT_OF_ORDER_SEQUENCE_NUMBER
    # The same first sequence with another number of records is another batch.
    assert refusal(lambda: append(log, 2, sequence=6)) == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert len(log.records) == 7


def test_epochs_only_grow_and_begin_at_zero() -> None:
    log = PartitionLog("t", 0)
    append(log, sequence=0, epoch=4)
    assert refusal(lambda: append(log, sequence=1, epoch=3)) == INVALID_PRODUCER_EPOCH
    assert refusal(lambda: append(log, sequence=1, epoch=5)) == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert append(log, sequence=0, epoch=5) == (1, False)
    assert append(log, sequence=0, epoch=5) == (1, True)
    assert refusal(lambda: append(log, sequence=1, epoch=4)) == INVALID_PRODUCER_EPOCH


def test_an_unknown_producer_may_begin_anywhere_unless_the_broker_is_strict() -> None:
    log = PartitionLog("t", 0)
    assert append(log, sequence=17) == (0, False)
    log.forget_producers()
    assert append(log, sequence=3) == (1, False)
    strict = PartitionLog("t", 0, Manners(refuses_unknown_producers=True))
    assert refusal(lambda: append(strict, sequence=17)) == UNKNOWN_PRODUCER_ID
    assert append(strict, sequence=0) == (0, False)


def test_a_broker_that_says_duplicate() -> None:
    log = PartitionLog("t", 0, Manners(answers_old_duplicates=True))
    for sequence in range(7):
        append(log, sequence=sequence)
    assert refusal(lambda: append(log, sequence=0)) == DUPLICATE_SEQUENCE_NUMBER
    assert refusal(lambda: append(log, sequence=8)) == OUT_OF_ORDER_SEQUENCE_NUMBER


def test_producers_do_not_know_each_other_and_plain_ones_are_not_counted() -> None:
    log = PartitionLog("t", 0)
    append(log, sequence=0, producer_id=1)
    append(log, sequence=0, producer_id=2)
    for _ in range(2):
        append(log, sequence=-1, epoch=-1, producer_id=-1)
    assert [record.producer_id for record in log.records] == [1, 2, -1, -1]
    assert [record.sequence for record in log.records] == [0, 0, -1, -1]


def test_retention_takes_records_and_leaves_offsets() -> None:
    log = PartitionLog("t", 0)
    append(log, 5, sequence=0)
    log.delete_before(3)
    assert [record.offset for record in log.records] == [3, 4]
    assert append(log, sequence=5) == (5, False)
    log.delete_before(99)
    assert (log.records, log.start_offset, log.next_offset) == ([], 6, 6)
