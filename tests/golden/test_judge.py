"""The golden batches are what they say, and the judge tells a good batch from a bad one."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING

import pytest

from golden.judge import GoldenBatch, JavaJudge, golden_batches, murmur2_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHES = {batch.name: batch for batch in golden_batches()}
HEADER = struct.Struct(">qiibIhiqqqhii")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="module")
def judge() -> Iterator[JavaJudge]:
    with JavaJudge() as judge:
        yield judge


def test_every_case_comes_in_every_codec() -> None:
    cases = {name.rpartition(".")[0] for name in BATCHES}
    assert len(cases) == 14
    assert BATCHES.keys() == {f"{case}.{codec}" for case in cases for codec in CODECS}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_a_batchs_header_agrees_with_the_index(batch: GoldenBatch) -> None:
    fields = HEADER.unpack_from(batch.data)
    base_offset, length, _epoch, magic, _crc, attributes, last_delta, base_time, max_time, *producer = fields
    times = [record.timestamp for record in batch.records]
    assert (base_offset, length, magic) == (0, len(batch.data) - 12, 2)
    assert attributes == CODECS.index(batch.compression) | (0x10 if batch.transactional else 0)
    assert (last_delta, producer[3]) == (len(batch.records) - 1, len(batch.records))
    assert (base_time, max_time) == (times[0], max(times))
    assert producer[:3] == [batch.producer_id, batch.producer_epoch, batch.base_sequence]


def test_murmur2_vectors_cover_every_tail_length() -> None:
    vectors = list(murmur2_vectors())
    assert len(vectors) == 2000
    assert {len(key) for key, *_ in vectors} == set(range(65))
    assert all((digest & 0x7FFFFFFF) % 6 == six for _, digest, six, _ in vectors)
    assert all((digest & 0x7FFFFFFF) % 100 == hundred for _, digest, _, hundred in vectors)


@pytest.mark.kafka
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_java_reads_and_takes_its_own_batches(batch: GoldenBatch, judge: JavaJudge) -> None:
    verdict = judge.judge(batch.data)
    assert (verdict.error, verdict.refusal) == (None, None)
    (read,) = verdict.batches
    assert read.records == batch.records
    assert (read.compression, read.transactional) == (batch.compression, batch.transactional)
    assert (read.producer_id, read.producer_epoch) == (batch.producer_id, batch.producer_epoch)
    assert read.base_sequence == batch.base_sequence


@pytest.mark.kafka
class TestBadBatches:
    @pytest.mark.parametrize("position", [21, 61, 70])
    def test_a_flipped_bit_is_a_bad_checksum(self, judge: JavaJudge, position: int) -> None:
        data = bytearray(BATCHES["single.none"].data)
        data[position] ^= 1
        verdict = judge.judge(data)
        assert verdict.batches == ()
        assert "CorruptRecordException" in str(verdict.refusal)

    def test_a_cut_batch_is_missed(self, judge: JavaJudge) -> None:
        verdict = judge.judge(BATCHES["single.none"].data[:-1])
        assert verdict.error == "75 bytes after the last whole batch"
        assert verdict.refusal == verdict.error

    def test_two_batches_are_readable_but_no_produce_request(self, judge: JavaJudge) -> None:
        verdict = judge.judge(BATCHES["single.none"].data + BATCHES["headers.gzip"].data)
        assert len(verdict.batches) == 2
        assert verdict.error is None
        assert "exactly one record batch" in str(verdict.refusal)

    def test_a_wrong_offset_delta_is_read_but_refused(self, judge: JavaJudge) -> None:
        crc32c = pytest.importorskip("crc32c")
        data = bytearray(BATCHES["headers.none"].data)
        struct.pack_into(">i", data, 23, 7)
        struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
        verdict = judge.judge(data)
        assert verdict.error is None
        assert "InvalidRecordException" in str(verdict.refusal)

    def test_the_judge_survives_rubbish(self, judge: JavaJudge) -> None:
        assert judge.judge(base64.b64decode("////" * 40)).error is not None
        assert judge.judge(b"").refusal is not None
        assert judge.judge(BATCHES["single.zstd"].data).refusal is None
