"""What the append path and the accumulator make of records, as Kafka's own classes read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from append_path import TOPIC, WALL_CLOCK, AppendPath
from golden.judge import JavaJudge

from krafka._speedups.record_batch import batch_header
from krafka.compression import Compression, compressor

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def judge() -> Iterator[JavaJudge]:
    with JavaJudge() as judge:
        yield judge


@pytest.mark.parametrize("codec", Compression)
def test_java_reads_every_record_of_every_batch(codec: Compression, judge: JavaJudge) -> None:
    path = AppendPath(batch_size=100_000)
    for number in range(3000):
        path.append(
            TOPIC,
            bytearray(b"value %d" % number) * (number % 9) if number % 11 else None,
            key=b"key %d" % number if number % 3 else None,
            headers={"trace": b"%d" % number, "nothing": None} if number % 5 == 0 else None,
            timestamp=WALL_CLOCK - number if number % 2 else None,
        )
    path.append(TOPIC, bytes(300_000))
    number = 0
    sequence = 0
    for batch in path.take_all():
        records = memoryview(batch.records)
        body = records if codec is Compression.NONE else compressor(codec)(records)
        header = batch_header(
            body,
            count=batch.record_count,
            base_timestamp=batch.records.base_timestamp,
            max_timestamp=batch.records.max_timestamp,
            attributes=codec.id,
            producer_id=7,
            producer_epoch=1,
            base_sequence=sequence,
        )
        verdict = judge.judge(header + bytes(body))
        assert (verdict.error, verdict.refusal) == (None, None)
        (read,) = verdict.batches
        assert (read.count, read.base_sequence, read.compression) == (
            batch.record_count,
            sequence,
            codec.value,
        )
        sequence += batch.record_count
        for record in read.records:
            if number == 3000:
                assert (record.key, record.value) == (None, bytes(300_000))
                break
            expected = bytes(b"value %d" % number) * (number % 9) if number % 11 else None
            assert record.value == expected
            assert record.key == (b"key %d" % number if number % 3 else None)
            assert record.timestamp == (WALL_CLOCK - number if number % 2 else WALL_CLOCK)
            assert len(record.headers) == (2 if number % 5 == 0 else 0)
            number += 1
    assert sequence == 3001
