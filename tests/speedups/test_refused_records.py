"""Records that are refused leave nothing behind: the open batch is byte for byte what it was, as is all else."""

from __future__ import annotations

import contextlib
import mmap
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka._speedups.delivery import SendResult
from krafka._speedups.producer_record import ProducerRecord
from krafka.errors import RecordTooLargeError, RecordValidationError
from krafka.records import MAX_FIELD_LENGTH
from tests.speedups.append_path import ENDLESS, TOPIC, AppendPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bytes_of_size(size: int) -> Iterator[memoryview]:
    """As many bytes as that, none of which takes memory before somebody looks at it."""
    with mmap.mmap(-1, size) as mapping, memoryview(mapping) as view:
        yield view


class Odd(dict[str, bytes]):
    def items(self) -> Any:
        raise ZeroDivisionError("odd")


def released() -> memoryview:
    view = memoryview(b"v")
    view.release()
    return view


SMALL = 2000
"""The `max_request_size` of the path."""
HALF = [("first", b"1"), ("second", b"2" * 20)]
"""Headers that are in order, in front of one that is not."""
INVALID: list[dict[str, Any]] = [
    {"value": "text"},
    {"value": 5},
    {"value": memoryview(b"abcd")[::2]},
    {"value": released()},
    {"key": "text"},
    {"key": [b"k"]},
    {"headers": 5},
    {"headers": iter(HALF)},
    {"headers": Odd(a=b"")},
    {"headers": [*HALF, ("third",)]},
    {"headers": [*HALF, (None, b"")]},
    {"headers": [*HALF, (b"third", b"")]},
    {"headers": [*HALF, ("\ud800", b"")]},
    {"headers": [*HALF, ("third", "text")]},
    {"headers": [*HALF, ("third", released())]},
    {"headers": [("h", b"")] * 10_001},
    {"partition": -1},
    {"partition": True},
    {"partition": "1"},
    {"timestamp": -1},
    {"timestamp": "now"},
    {"timestamp": datetime(2026, 1, 1)},
    {"topic": b"orders"},
    {"topic": ["orders"]},
    {"topic": ""},
    {"topic": "."},
    {"topic": "größe"},
    {"topic": "\ud800"},
    {"topic": "x" * 250},
    {"topic": "x" * 32_768},
    {"value": bytes(SMALL)},
    {"key": bytes(SMALL)},
    {"headers": [("h", bytes(SMALL))]},
    {"headers": [("h" * SMALL, None)]},
]


def name_of(changes: dict[str, Any]) -> str:
    """A name for a test that is the same in every process."""
    return f"{'-'.join(changes)}-{INVALID.index(changes)}"


def by_append(path: AppendPath, record: dict[str, Any]) -> None:
    path.append(**record)


def by_append_granted(path: AppendPath, record: dict[str, Any]) -> None:
    arguments = [record.get(name) for name in ("topic", "value", "key", "headers", "partition", "timestamp")]
    path.appender.append_granted(*arguments, path.now, 0)  # type: ignore[arg-type]


def by_append_records(path: AppendPath, record: dict[str, Any]) -> None:
    result = SendResult()
    path.appender.append_records(result, iter([ProducerRecord(**record)]), 9, ENDLESS)
    raise result.failed[0][1]


def by_append_many(path: AppendPath, record: dict[str, Any]) -> None:
    result = SendResult()
    path.appender.append_many(result, record["topic"], iter([record["value"]]), 9, ENDLESS)
    raise result.failed[0][1]


WAYS = [by_append, by_append_granted, by_append_records]


def state_of(path: AppendPath) -> tuple[Any, ...]:
    """All that a record could have changed."""
    batch = path.partition.open_batch
    assert batch is not None
    return (
        batch,
        bytes(batch.records),
        batch.record_count,
        batch.charge,
        batch.deadline,
        batch.records.base_timestamp,
        batch.records.max_timestamp,
        list(path.partition.pending),
        path.appender.available,
        path.appender.appended_bytes,
        path.topic.appended,
        len(path.opened),
        len(path.sealed),
    )


@pytest.fixture
def path() -> AppendPath:
    """A path with an open batch of two records that has room for a few more."""
    made = AppendPath(max_request_size=SMALL, batch_size=1000)
    made.append(TOPIC, b"first", key=b"k", headers=[("h", b"1")])
    made.append(TOPIC, b"second")
    return made


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("changes", INVALID, ids=name_of)
def test_a_refused_record_leaves_nothing_behind(
    path: AppendPath, changes: dict[str, Any], way: Callable[[AppendPath, dict[str, Any]], None]
) -> None:
    before = state_of(path)
    with pytest.raises(RecordValidationError):
        way(path, {"topic": TOPIC, "value": b"v", **changes})
    assert state_of(path) == before


@pytest.mark.parametrize(
    "changes", [each for each in INVALID if set(each) <= {"value", "topic"}], ids=name_of
)
def test_a_refused_value_leaves_nothing_behind(path: AppendPath, changes: dict[str, Any]) -> None:
    before = state_of(path)
    with pytest.raises(RecordValidationError):
        by_append_many(path, {"topic": TOPIC, "value": b"v", **changes})
    assert state_of(path) == before


def test_a_record_larger_than_all_memory_leaves_the_open_batch_open() -> None:
    path = AppendPath(buffer_memory=5000, batch_size=1000)
    path.append(TOPIC, b"first")
    before = state_of(path)
    with pytest.raises(RecordTooLargeError, match="buffer_memory"):
        path.append(TOPIC, bytes(6000))
    assert state_of(path) == before


class TestSizesBeyondTheFormat:
    """Fields of 2 GiB and more, which `max_request_size` would forbid in any case: field and limit are named."""

    @pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
    @pytest.mark.parametrize("field", ["value", "key", "header"])
    def test_one_byte_too_many(
        self, path: AppendPath, field: str, way: Callable[[AppendPath, dict[str, Any]], None]
    ) -> None:
        before = state_of(path)
        with bytes_of_size(MAX_FIELD_LENGTH + 1) as huge:
            record: dict[str, Any] = {"topic": TOPIC, "value": b"v"}
            record |= {"headers": [*HALF, ("huge", huge)]} if field == "header" else {field: huge}
            named = r"header 2 \('huge'\): value" if field == "header" else field
            with pytest.raises(
                RecordValidationError, match=rf"{named} is 2147483648 bytes long, the protocol's limit"
            ) as caught:
                way(path, record)
            # A traceback keeps the record alive, and so the mapping.
            caught.value.__traceback__ = None
            caught.value.__cause__ = None
            del caught, record
        assert state_of(path) == before

    def test_items_count_as_the_bytes_they_are(self, path: AppendPath) -> None:
        with bytes_of_size(MAX_FIELD_LENGTH + 1) as huge, huge.cast("Q") as numbers:
            assert len(numbers) < MAX_FIELD_LENGTH
            with pytest.raises(RecordValidationError, match="value is 2147483648 bytes long") as caught:
                path.append(TOPIC, numbers)
            caught.value.__traceback__ = None
            caught.value.__cause__ = None

    def test_the_largest_field_is_too_large_for_a_request_only(self, path: AppendPath) -> None:
        before = state_of(path)
        with bytes_of_size(MAX_FIELD_LENGTH) as huge:
            with pytest.raises(RecordTooLargeError, match="max_request_size is 2000 bytes") as caught:
                path.append(TOPIC, huge)
            caught.value.__traceback__ = None
        assert state_of(path) == before


good = st.fixed_dictionaries(
    {"value": st.none() | st.binary(max_size=40)},
    optional={
        "key": st.none() | st.binary(max_size=20),
        "headers": st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3),
        "timestamp": st.integers(0, 2**41),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(good, st.none() | st.sampled_from(INVALID)), min_size=1, max_size=30))
def test_what_is_written_is_what_it_is_without_the_refused(records: Any) -> None:
    path = AppendPath(max_request_size=SMALL, batch_size=600)
    alone = AppendPath(max_request_size=SMALL, batch_size=600)
    for fields, wrong in records:
        if wrong is not None:
            with pytest.raises(RecordValidationError):
                path.append(**{"topic": TOPIC, **fields, **wrong})
        path.append(TOPIC, **fields)
        alone.append(TOPIC, **fields)
    batches, expected = path.take_all(), alone.take_all()
    assert [bytes(batch.records) for batch in batches] == [bytes(batch.records) for batch in expected]
