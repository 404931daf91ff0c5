"""The compiled encoder against the plain one: the same bytes for any records, however they are handed over."""

from __future__ import annotations

import gc
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from golden.judge import GoldenBatch, golden_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.record_batch import (
    PlainRecord,
    decode_batch,
    encode_batch,
    encode_records,
)

from krafka._speedups.record_batch import (
    HEADER_SIZE,
    RecordBuffer,
    batch_header,
    next_sequence,
)
from krafka.compression import Compression, compressor
from krafka.records import MAX_HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_SEQUENCE = 2**31 - 1
SOMETIMES = settings(max_examples=150, deadline=None)

sizes = st.one_of(st.integers(0, 40), st.sampled_from([62, 63, 64, 65, 127, 128, 8191, 8192, 16384]))
some_bytes = st.one_of(st.binary(max_size=40), sizes.map(bytes))
fields = st.none() | some_bytes
names = st.text(max_size=12) | st.sampled_from(["", "trace", "tracé", "追跡", "🦀" * 20])
headers = st.lists(st.tuples(names, fields), max_size=12)
timestamps = st.one_of(
    st.integers(1_700_000_000_000, 1_700_000_000_200),
    st.integers(0, 2**63 - 1),
    st.sampled_from([0, 2**63 - 1]),
)
records = st.lists(st.tuples(timestamps, fields, fields, headers), min_size=1, max_size=10)


def plain(timestamp: int, key: Any, value: Any, pairs: Any = ()) -> PlainRecord:
    def as_bytes(data: Any) -> bytes | None:
        return None if data is None else bytes(data)

    return PlainRecord(
        timestamp,
        as_bytes(key),
        as_bytes(value),
        tuple((name.encode(), as_bytes(data)) for name, data in pairs),
    )


def filled(*each: tuple[int, Any, Any, Any]) -> RecordBuffer:
    buffer = RecordBuffer()
    for timestamp, key, value, pairs in each:
        buffer.append(timestamp, key, value, pairs)
    return buffer


@SOMETIMES
@given(records)
def test_records_are_encoded_as_the_plain_encoder_does(
    each: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
) -> None:
    buffer = filled(*each)
    assert bytes(buffer) == encode_records([plain(*record) for record in each])
    assert buffer.count == len(each)
    assert buffer.base_timestamp == each[0][0]
    assert buffer.max_timestamp == max(record[0] for record in each)
    assert len(buffer) == buffer.used == len(bytes(buffer)) <= buffer.capacity


@SOMETIMES
@given(
    records,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**15 - 1),
    st.integers(0, LAST_SEQUENCE),
    st.sampled_from([0, 0x10]),
)
def test_a_batch_is_the_plain_encoders_batch(
    each: list[tuple[int, Any, Any, Any]], producer_id: int, epoch: int, sequence: int, attributes: int
) -> None:
    buffer = filled(*each)
    stamp = {"producer_id": producer_id, "producer_epoch": epoch, "base_sequence": sequence}
    header = batch_header(
        buffer,
        count=buffer.count,
        base_timestamp=buffer.base_timestamp,
        max_timestamp=buffer.max_timestamp,
        attributes=attributes,
        **stamp,
    )
    plain_records = [plain(*record) for record in each]
    assert header + bytes(buffer) == encode_batch(plain_records, attributes=attributes, **stamp)
    decoded = decode_batch(header + bytes(buffer))
    assert decoded.records == plain_records
    assert (decoded.producer_id, decoded.producer_epoch, decoded.base_sequence) == (
        producer_id,
        epoch,
        sequence,
    )


@pytest.mark.parametrize("codec", Compression)
def test_a_compressed_batch_is_decoded_to_its_records(codec: Compression) -> None:
    each = [(1_700_000_000_000 + n, b"key %d" % n, b"value" * 50, [("n", b"%d" % n)]) for n in range(500)]
    buffer = filled(*each)
    body = bytes(buffer) if codec is Compression.NONE else compressor(codec)(memoryview(buffer))
    header = batch_header(
        body,
        count=500,
        base_timestamp=buffer.base_timestamp,
        max_timestamp=buffer.max_timestamp,
        attributes=codec.id,
    )
    decoded = decode_batch(header + body)
    assert decoded.codec == codec.id
    assert decoded.records == [plain(*record) for record in each]


def test_stamping_again_changes_the_header_only() -> None:
    buffer = filled((5, b"k", b"v", None))
    body = memoryview(buffer)

    def stamped(epoch: int) -> bytes:
        return batch_header(
            body,
            count=1,
            base_timestamp=5,
            max_timestamp=5,
            producer_id=9,
            producer_epoch=epoch,
            base_sequence=3,
        )

    before = bytes(body)
    first, second = stamped(0), stamped(1)
    assert first != second
    assert stamped(0) == first
    assert bytes(body) == before
    assert decode_batch(second + before).producer_epoch == 1


@pytest.mark.parametrize("count", [128, 129, 16_384, 16_385])
def test_offset_deltas_of_several_bytes(count: int) -> None:
    buffer = filled(*[(7, None, b"", None)] * count)
    assert bytes(buffer) == encode_records([PlainRecord(7, None, b"")] * count)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 63, 64, 10_000])
def test_any_number_of_headers_up_to_the_limit(count: int) -> None:
    pairs = [(f"h{n % 7}", b"%d" % n if n % 3 else None) for n in range(count)]
    assert bytes(filled((1, None, b"v", pairs))) == encode_records([plain(1, None, b"v", pairs)])


def test_more_headers_than_the_limit_are_refused() -> None:
    buffer = RecordBuffer()
    with pytest.raises(ValueError, match="10001 headers, the limit is 10000"):
        buffer.append(1, None, b"v", [("h", b"")] * (MAX_HEADERS + 1))
    assert buffer.count == 0


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview], ids=["bytes", "bytearray", "memoryview"])
def test_any_bytes_like_object_will_do(make: Callable[[bytes], Any]) -> None:
    buffer = filled((1, make(b"key"), make(b"value"), [("h", make(b"header"))]))
    assert bytes(buffer) == encode_records([plain(1, b"key", b"value", [("h", b"header")])])


class Name(str):
    """A header name of a class of one's own."""


class Data(bytes):
    """Bytes of a class of one's own."""


@pytest.mark.parametrize(
    "given_headers",
    [
        [("a", b"1"), ("b", None)],
        (("a", b"1"), ("b", None)),
        {"a": b"1", "b": None},
        MappingProxyType({"a": b"1", "b": None}),
        [(Name("a"), Data(b"1")), ("b", None)],
    ],
    ids=["list", "tuple", "dict", "mapping", "subclasses"],
)
def test_headers_come_as_pairs_or_as_a_mapping(given_headers: Any) -> None:
    expected = encode_records([plain(1, None, b"v", [("a", b"1"), ("b", None)])])
    assert bytes(filled((1, None, b"v", given_headers))) == expected


@pytest.mark.parametrize(
    "bad",
    [
        iter([("a", b"1")]),
        {("a", b"1")},
        {"a": b"1"}.items(),
        [["a", b"1"]],
        [("a",)],
        [("a", b"1", b"2")],
        [(b"a", b"1")],
        [("a", "1")],
        ["ab"],
        5,
    ],
    ids=["iterator", "set", "items", "list-pair", "one", "three", "bytes-name", "str-value", "str", "int"],
)
def test_other_headers_are_refused_and_leave_the_buffer_alone(bad: Any) -> None:
    buffer = filled((1, None, b"v", None))
    before = bytes(buffer)
    with pytest.raises(TypeError):
        buffer.append(1, None, b"v", bad)
    assert bytes(buffer) == before


def test_a_name_that_is_no_text_is_refused() -> None:
    buffer = RecordBuffer()
    with pytest.raises(UnicodeEncodeError):
        buffer.append(1, None, b"v", [("\ud800", b"")])
    assert (buffer.count, buffer.used) == (0, 0)


@pytest.mark.parametrize("bad", ["text", 5, ["list"], memoryview(b"abcd")[::2]])
def test_other_values_are_refused(bad: Any) -> None:
    buffer = RecordBuffer()
    for key, value, pairs in ((bad, b"", None), (b"", bad, None), (b"", b"", [("h", bad)])):
        with pytest.raises((TypeError, BufferError)):
            buffer.append(1, key, value, pairs)
    assert (buffer.count, buffer.used) == (0, 0)


def test_what_was_borrowed_is_given_back() -> None:
    key, value, header = bytearray(b"k"), bytearray(b"v"), bytearray(b"h")
    buffer = RecordBuffer()
    buffer.append(1, key, value, [("h", header)] * 20)
    with pytest.raises(TypeError):
        buffer.append(1, key, value, [("h", header)] * 20 + [("h", "text")])
    gc.collect()
    for array in (key, value, header):
        # Resizing fails while anybody holds a view.
        array.extend(b"more")


def test_a_mapping_may_use_the_buffer_itself() -> None:
    buffer = RecordBuffer()

    class Reentrant(dict[str, bytes]):
        def items(self) -> Any:
            buffer.append(1, None, b"inner", None)
            return super().items()

    buffer.append(1, None, b"outer", Reentrant(a=b"1"))
    expected = encode_records([plain(1, None, b"inner"), plain(1, None, b"outer", [("a", b"1")])])
    assert bytes(buffer) == expected


def test_the_encoded_records_are_read_only_and_stay_where_they_are_while_viewed() -> None:
    buffer = filled((1, None, b"v", None))
    view = memoryview(buffer)
    assert view.readonly
    assert view.nbytes == len(buffer)
    with pytest.raises(BufferError, match="cannot grow while a view"):
        buffer.append(1, None, bytes(10_000), None)
    assert buffer.count == 1
    view.release()
    buffer.append(1, None, bytes(10_000), None)
    assert buffer.count == 2


def test_an_empty_buffer_has_no_bytes() -> None:
    assert bytes(RecordBuffer()) == b""
    assert len(RecordBuffer(100)) == 0


@given(st.integers(0, LAST_SEQUENCE), st.integers(0, LAST_SEQUENCE))
def test_sequence_numbers_go_round_from_the_last_to_zero(sequence: int, increment: int) -> None:
    assert next_sequence(sequence, increment) == (sequence + increment) % 2**31


def test_the_number_after_the_last_is_zero() -> None:
    assert next_sequence(LAST_SEQUENCE, 1) == 0
    assert next_sequence(LAST_SEQUENCE - 2, 5) == 2
    assert next_sequence(-1, 1) == 0


@pytest.mark.parametrize("batch", list(golden_batches()), ids=lambda batch: batch.name)
def test_the_plain_decoder_reads_what_java_wrote(batch: GoldenBatch) -> None:
    decoded = decode_batch(batch.data)
    assert decoded.records == [tuple(record[1:]) for record in batch.records]
    assert decoded.is_transactional == batch.transactional
    assert (decoded.producer_id, decoded.producer_epoch) == (batch.producer_id, batch.producer_epoch)
    assert decoded.base_sequence == batch.base_sequence
    assert decoded.codec == Compression(batch.compression).id


def test_the_header_size_is_kafkas() -> None:
    assert HEADER_SIZE == 61
