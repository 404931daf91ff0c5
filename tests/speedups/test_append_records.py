"""Records appended in bulk: as one by one, noted in one result, and no further than there is room."""

from __future__ import annotations

import pytest

from krafka import ProducerRecord
from krafka._speedups.delivery import SendResult
from krafka.errors import BufferFullError, KafkaError, MetadataNotReadyError, RecordValidationError
from tests.speedups.append_path import ENDLESS, TOPIC, WALL_CLOCK, AppendPath

MUCH = 1 << 30


class Special(ProducerRecord):
    """A user's own kind of record."""


def record(value: bytes | None = b"v", **fields: object) -> ProducerRecord:
    return ProducerRecord(TOPIC, value, **fields)  # type: ignore[arg-type]


def test_each_record_keeps_what_is_its_own() -> None:
    path = AppendPath(partitions=3)
    result = SendResult()
    records = [
        record(b"a", partition=2, timestamp=5),
        record(b"b", partition=0, headers=[("h", b"1")]),
        Special(TOPIC, None, key=b"", partition=2),
        record(memoryview(b"d"), partition=2, headers={"h": None}, timestamp=6),  # type: ignore[arg-type]
    ]
    assert path.appender.append_records(result, iter(records), 100, MUCH) == (True, None, None)
    for batch in path.take_all():
        path.finish(batch, 10)
    assert [(each.partition, each.offset, each.timestamp) for each in result] == [
        (2, 10, 5),
        (0, 10, WALL_CLOCK),
        (2, 11, WALL_CLOCK),
        (2, 12, 6),
    ]


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_no_more_than_the_limit_is_taken_from_the_iterator(limit: int) -> None:
    path = AppendPath()
    result = SendResult()
    records = iter([record() for _ in range(10)])
    assert path.appender.append_records(result, records, limit, MUCH) == (False, None, None)
    assert len(result) == limit
    assert len(list(records)) == 10 - limit


def test_bytes_are_a_limit_too() -> None:
    path = AppendPath()
    result = SendResult()
    records = iter([record(bytes(100)) for _ in range(10)])
    assert path.appender.append_records(result, records, 100, 150) == (False, None, None)
    assert len(result) == 2


def test_a_bad_record_fails_alone() -> None:
    path = AppendPath()
    result = SendResult()
    records = [record(), record("text"), record(), ProducerRecord("a b", b"v"), record()]  # type: ignore[arg-type]
    assert path.appender.append_records(result, iter(records), 100, MUCH) == (True, None, None)
    for batch in path.take_all():
        path.finish(batch)
    assert [index for index, _ in result.failed] == [1, 3]
    assert all(isinstance(error, RecordValidationError) for _, error in result.failed)
    assert [result[at].offset for at in (0, 2, 4)] == [0, 1, 2]


def test_what_has_to_wait_is_handed_back() -> None:
    path = AppendPath(buffer_memory=4096, batch_size=1024)
    result = SendResult()
    records = [record(bytes([at]) * 500) for at in range(100)]
    ended, waiting, reason = path.appender.append_records(result, iter(records), 1000, MUCH)
    assert not ended
    assert isinstance(reason, BufferFullError)
    assert waiting is records[len(result)]
    unknown = ProducerRecord("unknown", b"v")
    ended, waiting, reason = path.appender.append_records(result, iter([unknown]), 1, MUCH)
    assert (ended, waiting) == (False, unknown)
    assert isinstance(reason, MetadataNotReadyError)


def test_a_producer_that_refuses_says_so_for_the_first() -> None:
    path = AppendPath()
    path.appender.refuse_with(KafkaError("over"))
    result = SendResult()
    first = record()
    ended, waiting, reason = path.appender.append_records(result, iter([first, record()]), 100, MUCH)
    assert (ended, waiting, str(reason)) == (False, first, "over")
    assert len(result) == 0


@pytest.mark.parametrize("item", [b"v", None, (TOPIC, b"v")], ids=repr)
def test_what_is_no_record_is_a_mistake_of_the_caller(item: object) -> None:
    path = AppendPath()
    result = SendResult()
    with pytest.raises(TypeError, match="takes ProducerRecord objects, got"):
        path.appender.append_records(result, iter([record(), item]), 100, MUCH)  # type: ignore[list-item]
    assert len(result) == 1


def test_what_the_iterator_raises_comes_out() -> None:
    def broken() -> object:
        yield record()
        raise LookupError("broken")

    path = AppendPath()
    result = SendResult()
    with pytest.raises(LookupError, match="broken"):
        path.appender.append_records(result, broken(), 100, ENDLESS)  # type: ignore[arg-type]
    assert len(result) == 1
