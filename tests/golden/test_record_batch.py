"""krafka's batches are Java's byte for byte where the codec leaves no choice, and Java takes all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden.judge import GoldenBatch, JavaJudge, JudgedRecord, golden_batches, murmur2_vectors
from krafka._speedups.murmur2 import murmur2
from krafka._speedups.record_batch import HEADER_SIZE, RecordBuffer, batch_header
from krafka.compression import Compression, compressor, decompressor
from krafka.partitioners import DefaultPartitioner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRANSACTIONAL = 0x10
BATCHES = {batch.name: batch for batch in golden_batches()}
PLAIN = {name: batch for name, batch in BATCHES.items() if batch.compression == "none"}

timestamps = st.integers(0, 2**43)
payloads = st.none() | st.binary(max_size=300)
header_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
headers = st.lists(st.tuples(header_keys, payloads), max_size=4)


@pytest.fixture(scope="module")
def judge() -> Iterator[JavaJudge]:
    with JavaJudge() as judge:
        yield judge


def encode(
    records: Sequence[JudgedRecord],
    codec: Compression,
    *,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
) -> bytes:
    """Build a whole batch with krafka's own builder, as its producer would send it."""
    buffer = RecordBuffer()
    for record in records:
        buffer.append(
            record.timestamp,
            record.key,
            record.value,
            [(key.decode(), value) for key, value in record.headers],
        )
    body = compressor(codec)(bytes(buffer))
    header = batch_header(
        body,
        count=buffer.count,
        base_timestamp=buffer.base_timestamp,
        max_timestamp=buffer.max_timestamp,
        attributes=codec.id | (TRANSACTIONAL if transactional else 0),
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )
    return header + body


def encode_golden(batch: GoldenBatch) -> bytes:
    return encode(
        batch.records,
        Compression(batch.compression),
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
        transactional=batch.transactional,
    )


@pytest.mark.parametrize("batch", PLAIN.values(), ids=PLAIN.keys())
def test_uncompressed_batches_equal_javas(batch: GoldenBatch) -> None:
    assert encode_golden(batch) == batch.data


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_javas_compressed_records_decompress_to_the_same_bytes(batch: GoldenBatch) -> None:
    plain = BATCHES[f"{batch.name.rpartition('.')[0]}.none"].data[HEADER_SIZE:]
    decompress = decompressor(Compression(batch.compression))
    assert decompress(batch.data[HEADER_SIZE:], len(plain)) == plain


def test_keys_hash_as_javas_do() -> None:
    default = DefaultPartitioner()
    for key, digest, of_six, of_hundred in murmur2_vectors():
        assert murmur2(key) & 0xFFFFFFFF == digest & 0xFFFFFFFF
        assert default.partition("topic", key, 6) == of_six
        assert default.partition("topic", key, 100) == of_hundred


@pytest.mark.kafka
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_java_reads_back_what_went_in(batch: GoldenBatch, judge: JavaJudge) -> None:
    verdict = judge.judge(encode_golden(batch))
    assert (verdict.error, verdict.refusal) == (None, None)
    (read,) = verdict.batches
    assert read.records == batch.records
    assert (read.compression, read.transactional) == (batch.compression, batch.transactional)
    assert (read.producer_id, read.producer_epoch) == (batch.producer_id, batch.producer_epoch)
    assert read.base_sequence == batch.base_sequence
    assert read.max_timestamp == max(record.timestamp for record in batch.records)


@pytest.mark.kafka
@pytest.mark.parametrize("codec", Compression)
def test_java_reads_a_megabyte_that_does_not_compress(codec: Compression, judge: JavaJudge) -> None:
    records = tuple(JudgedRecord(i, 1_700_000_000_000 + i, None, os.urandom(50_000), ()) for i in range(20))
    verdict = judge.judge(encode(records, codec))
    assert verdict.refusal is None
    assert verdict.batches[0].records == records


@pytest.mark.kafka
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.lists(st.tuples(timestamps, payloads, payloads, headers), min_size=1, max_size=8),
    st.sampled_from(Compression),
)
def test_java_reads_whatever_is_appended(
    judge: JavaJudge,
    drawn: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    codec: Compression,
) -> None:
    records = tuple(
        JudgedRecord(offset, timestamp, key, value, tuple((name.encode(), data) for name, data in pairs))
        for offset, (timestamp, key, value, pairs) in enumerate(drawn)
    )
    verdict = judge.judge(encode(records, codec))
    assert verdict.refusal is None
    assert verdict.batches[0].records == records
