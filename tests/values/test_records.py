"""Records: what may be sent, and an explanation for everything that may not."""

from __future__ import annotations

import dataclasses
import pickle
from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka import RecordMetadata
from krafka._speedups.producer_record import ProducerRecord
from krafka.errors import RecordValidationError
from krafka.records import (
    MAX_TIMESTAMP,
    TopicPartition,
    explain_invalid,
    header_items,
    timestamp_ms,
)


class _HugeBytes(bytes):
    """Claims the length it stands for, so that a test needs no 2 GiB."""

    def __len__(self) -> int:
        return 2**31


def explain(**changes: Any) -> str | None:
    fields: dict[str, Any] = {
        "topic": "orders",
        "value": b"v",
        "key": None,
        "headers": (),
        "partition": None,
        "timestamp": None,
    }
    error = explain_invalid(**{**fields, **changes})
    return None if error is None else str(error)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"value": None},
        {"value": b""},
        {"value": bytearray(b"v"), "key": memoryview(b"k")},
        {"topic": "a" * 249},
        {"topic": "A.b_c-0"},
        {"topic": "..."},
        {"headers": [("trace", b"1"), ("trace", None), ("", memoryview(b""))]},
        {"headers": {"trace": b"1"}},
        {"partition": 0},
        {"partition": 2**31 - 1},
        {"timestamp": 0},
        {"timestamp": MAX_TIMESTAMP},
        {"timestamp": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_kafka_takes_is_valid(changes: dict[str, Any]) -> None:
    assert explain(**changes) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"topic": b"orders"}, "topic must be str, got b'orders' (bytes)"),
        ({"topic": ""}, "topic is empty"),
        ({"topic": "a" * 250}, "250 characters long, Kafka's limit is 249"),
        ({"topic": "."}, "'.' is reserved"),
        ({"topic": ".."}, "'..' is reserved"),
        ({"topic": "a b"}, "'a b' may have only ASCII"),
        ({"topic": "a\n"}, "may have only ASCII"),
        ({"topic": "größe"}, "may have only ASCII"),
        (
            {"value": "text"},
            "'orders': value is str; encode it (.encode()), or give the producer a value_serializer",
        ),
        (
            {"key": "text"},
            "'orders': key is str; encode it (.encode()), or give the producer a key_serializer",
        ),
        ({"value": 5}, "value must be bytes, bytearray, memoryview or None, got 5 (int)"),
        ({"key": memoryview(b"abcd")[::2]}, "key is a memoryview that is not contiguous"),
        ({"value": _HugeBytes()}, "value is 2147483648 bytes long, the protocol's limit is 2147483647"),
        ({"headers": None}, "headers must be a sequence"),
        ({"headers": "ab"}, "headers must be a sequence"),
        ({"headers": [b"ab"]}, "header 0 must be a (name, value) tuple"),
        ({"headers": [("a", b"1"), ("b",)]}, "header 1 must be a (name, value) tuple"),
        ({"headers": [(b"a", b"1")]}, "header 0: name must be str, got b'a' (bytes)"),
        ({"headers": [("\ud800", b"1")]}, "header 0: name '\\ud800' is not valid Unicode"),
        ({"headers": [("a", "1")]}, "header 0 ('a'): value is str; encode it"),
        ({"headers": {"a": 1}}, "header 0 ('a'): value must be bytes"),
        ({"headers": [("a", b"")] * 10_001}, "it has 10001 headers, krafka's limit is 10000"),
        ({"headers": [(None, b"")]}, "header 0: name must be str, got None (NoneType)"),
        ({"partition": -1}, "partition must be between 0 and 2147483647, got -1"),
        ({"partition": 2**31}, "partition must be between 0 and 2147483647, got 2147483648"),
        ({"partition": True}, "partition must be int or None, got True (bool)"),
        ({"partition": "1"}, "partition must be int or None, got '1' (str)"),
        ({"timestamp": -1}, "timestamp must be between 0"),
        ({"timestamp": 2**63}, "timestamp must be between 0"),
        (
            {"timestamp": True},
            "timestamp must be int epoch milliseconds or an aware datetime, got True (bool)",
        ),
        (
            {"timestamp": 1.5},
            "timestamp must be int epoch milliseconds or an aware datetime, got 1.5 (float)",
        ),
        ({"timestamp": datetime(2026, 1, 1)}, "has no time zone"),
    ],
)
def test_what_kafka_does_not_take_is_explained(changes: dict[str, Any], named: str) -> None:
    text = explain(**changes)
    assert text is not None
    assert named in text


def test_a_long_value_is_cut_short_in_the_text() -> None:
    assert len(explain(value=["x" * 10_000]) or "") < 200


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.timezones()))
def test_an_aware_datetime_is_its_moment_to_the_millisecond(moment: datetime) -> None:
    milliseconds = timestamp_ms(moment)
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert start <= moment < start + timedelta(milliseconds=1)


def test_the_same_moment_in_two_zones_is_one_timestamp() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert timestamp_ms(noon) == timestamp_ms(noon.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert timestamp_ms(noon) == 1_780_315_200_000


def test_a_moment_before_1970_is_refused() -> None:
    with pytest.raises(RecordValidationError, match="1970"):
        timestamp_ms(datetime(1969, 12, 31, tzinfo=UTC))


def test_header_items_keeps_pairs_and_unfolds_a_mapping() -> None:
    pairs = [("a", b"1"), ("a", None)]
    assert header_items(pairs) is pairs
    assert header_items({"a": b"1", "b": None}) == (("a", b"1"), ("b", None))


def test_a_record_keeps_null_and_empty_apart_and_can_be_changed() -> None:
    record = ProducerRecord("orders", b"", key=None)
    assert record != ProducerRecord("orders", None, key=None)
    assert ProducerRecord("orders").value is None
    record.headers = [*header_items(record.headers), ("trace", b"1")]
    assert record == ProducerRecord("orders", b"", headers=[("trace", b"1")])
    record.add_header("trace", None)
    assert record.headers == (("trace", b"1"), ("trace", None))
    given = {"a": b"1"}
    mapped = ProducerRecord("orders", headers=given)
    mapped.add_header("b", b"2")
    assert (mapped.headers, given) == ((("a", b"1"), ("b", b"2")), {"a": b"1"})
    with pytest.raises(TypeError):
        ProducerRecord("orders", b"v", b"k")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        record.colour = 1  # type: ignore[attr-defined]


def test_a_record_is_a_dataclass_to_those_who_ask() -> None:
    record = ProducerRecord("orders", b"v", key=b"k", headers=[("h", b"1")], partition=3, timestamp=5)
    names = ["topic", "value", "key", "headers", "partition", "timestamp"]
    assert [field.name for field in dataclasses.fields(record)] == names
    changed = dataclasses.replace(record, value=None)
    assert (changed.value, changed.key, record.value) == (None, b"k", b"v")
    assert dataclasses.asdict(record)["headers"] == [("h", b"1")]
    assert repr(record) == (
        "ProducerRecord(topic='orders', value=b'v', key=b'k', headers=[('h', b'1')], partition=3, timestamp=5)"
    )
    match record:
        case ProducerRecord("orders", b"v", key=b"k"):
            pass
        case _:
            pytest.fail("it did not match")


def test_a_record_can_be_copied_pickled_and_not_hashed() -> None:
    record = ProducerRecord("orders", b"v", key=b"k", headers=[("h", b"1")], partition=3, timestamp=5)
    for twin in (copy(record), deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert twin == record
        assert twin is not record
        twin.partition = 4
        assert twin != record
    assert record != ("orders", b"v", b"k", [("h", b"1")], 3, 5)
    with pytest.raises(TypeError, match="unhashable"):
        hash(record)


class Marked(ProducerRecord):
    """A kind of one's own, with a field more and an initializer of its own."""

    def __init__(self, mark: str) -> None:
        super().__init__("orders", mark.encode())
        self.mark = mark


def test_a_record_can_be_subclassed() -> None:
    marked = Marked("a")
    assert (marked.topic, marked.value, marked.mark) == ("orders", b"a", "a")
    assert repr(marked).startswith("Marked(topic='orders', value=b'a'")
    assert marked == Marked("a")
    assert marked != ProducerRecord("orders", b"a")
    assert copy(marked).mark == "a"


def test_metadata_is_as_the_tuple_of_its_fields() -> None:
    metadata = RecordMetadata("orders", 3, 2**40, 5)
    assert metadata == ("orders", 3, 2**40, 5) == metadata
    assert metadata == RecordMetadata(topic="orders", partition=3, offset=2**40, timestamp=5)
    assert hash(metadata) == hash(("orders", 3, 2**40, 5))
    assert metadata != RecordMetadata("orders", 3, 2**40, 6)
    assert metadata != "orders"
    topic, partition, offset, timestamp = metadata
    assert (topic, partition, offset, timestamp) == metadata
    assert pickle.loads(pickle.dumps(metadata)) == metadata == copy(metadata)
    assert repr(metadata) == f"RecordMetadata(topic='orders', partition=3, offset={2**40}, timestamp=5)"
    match metadata:
        case RecordMetadata(_, where, offset=at):
            assert (where, at) == (3, 2**40)
        case _:
            raise AssertionError(metadata)
    with pytest.raises(AttributeError):
        metadata.offset = 1  # type: ignore[misc]


def test_results_are_plain_tuples() -> None:
    assert TopicPartition(topic="orders", partition=3) == ("orders", 3)
