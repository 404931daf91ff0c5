"""What a record may cost on its way into a batch, counted and not timed: objects, and calls of Python code."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from krafka._speedups.delivery import SendResult
from krafka._speedups.listed import ListedValues
from krafka._speedups.producer_record import ProducerRecord
from krafka.partitioners import (
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    UniformStickyPartitioner,
)
from tests.speedups.append_path import TOPIC, AppendPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORDS = 1000
VALUE = b"v" * 20
KEY = b"k" * 8
HEADERS = [("trace", b"4bf92f35")]


@pytest.fixture(autouse=True)
def _nothing_collected_meanwhile() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def open_path(partitions: int = 3, partitioner: Any = None) -> AppendPath:
    """A path with a batch open for each partition, of a size that none of these tests fills."""
    path = AppendPath(
        partitions=partitions,
        batch_size=1 << 20,
        buffer_memory=1 << 26,
        partitioner=partitioner,
        stopped=False,
    )
    for partition in range(partitions):
        path.append(TOPIC, bytes(1 << 18), partition=partition)
    return path


def blocks_left_by(work: Callable[[], object]) -> int:
    """How many blocks of Python's memory are in use after the work that were not before it."""
    work()  # fills what Python keeps for later
    before = sys.getallocatedblocks()
    kept = work()
    after = sys.getallocatedblocks()
    del kept
    return after - before


def calls_of(work: Callable[[], object]) -> Counter[str]:
    """The functions that run during the work, those written in Python and those that Python code calls."""
    calls: Counter[str] = Counter()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            calls[argument.__qualname__] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    del calls["setprofile"]
    return calls


SOURCES = pytest.mark.parametrize("source_of", [iter, ListedValues])


def append_each(append: Any, kept: list[Any], **fields: Any) -> list[Any]:
    for at in range(RECORDS):
        kept[at] = append(TOPIC, VALUE, **fields)
    return kept


FIELDS = [{}, {"key": KEY}, {"key": KEY, "headers": HEADERS}, {"partition": 1, "timestamp": 5}]
BUILT_IN = pytest.mark.parametrize(
    "partitioner",
    [
        DefaultPartitioner(),
        RoundRobinPartitioner(),
        StickyPartitioner(7),
        HashPartitioner(),
        UniformStickyPartitioner(),
        ConsistentRandomPartitioner(),
        Fnv1aPartitioner(),
    ],
    ids=repr,
)


@BUILT_IN
@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: "+".join(fields) or "value")
def test_a_record_leaves_one_object(fields: dict[str, Any], partitioner: Any) -> None:
    path = open_path(partitioner=partitioner)
    kept = [None] * RECORDS
    assert blocks_left_by(lambda: append_each(path.append, kept, **fields)) <= RECORDS + 2


@BUILT_IN
@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: "+".join(fields) or "value")
def test_a_record_whose_delivery_nobody_keeps_leaves_nothing(
    fields: dict[str, Any], partitioner: Any
) -> None:
    path = open_path(partitioner=partitioner)

    def work() -> None:
        for _ in range(RECORDS):
            path.append(TOPIC, VALUE, **fields)

    assert blocks_left_by(work) <= 2


@BUILT_IN
@pytest.mark.parametrize("fields", FIELDS[:2], ids=lambda fields: "+".join(fields) or "value")
def test_a_record_runs_no_python(fields: dict[str, Any], partitioner: Any) -> None:
    append = open_path(partitioner=partitioner).append
    kept = [None] * RECORDS
    calls = calls_of(lambda: append_each(append, kept, **fields))
    assert max(calls.values()) == 1, calls


def test_a_delivery_is_no_trouble_for_the_garbage_collector() -> None:
    path = open_path()
    assert not gc.is_tracked(path.append(TOPIC, VALUE))


@SOURCES
@BUILT_IN
def test_bulk_records_leave_two_numbers_each(partitioner: Any, source_of: Any) -> None:
    path = open_path(partitioner=partitioner)
    values = [VALUE] * RECORDS
    result = SendResult()
    path.appender.append_many(result, TOPIC, source_of(values[:10]), 10, 1 << 20)

    def work() -> None:
        path.appender.append_many(result, TOPIC, source_of(values), RECORDS, 1 << 24)

    assert blocks_left_by(work) <= 12
    assert len(result) == 2 * RECORDS + 10


@SOURCES
@BUILT_IN
def test_bulk_records_run_no_python(partitioner: Any, source_of: Any) -> None:
    path = open_path(partitioner=partitioner)
    values = [VALUE] * RECORDS
    result = SendResult()
    calls = calls_of(lambda: path.appender.append_many(result, TOPIC, source_of(values), RECORDS, 1 << 24))
    assert max(calls.values()) == 1, calls


def test_a_partitioner_of_ones_own_is_seen_to_run_python() -> None:
    class First:
        def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
            return 0

    append = open_path(partitioner=First()).append
    calls = calls_of(lambda: append_each(append, [None] * RECORDS))
    assert max(calls.values()) == RECORDS


def test_a_rule_that_stays_looks_at_the_leaders_once_a_batch() -> None:
    asked = 0

    def loads(partitions: list[Any]) -> list[int]:
        nonlocal asked
        asked += 1
        return [0] * len(partitions)

    path = AppendPath(
        partitions=3,
        batch_size=4096,
        buffer_memory=1 << 26,
        partitioner=UniformStickyPartitioner(),
        loads=loads,
    )
    for _ in range(RECORDS):
        path.append(TOPIC, VALUE)
    assert asked == len(path.take_all()) > 5


def test_a_full_batch_tells_once_that_it_opened_and_once_that_it_is_full() -> None:
    path = AppendPath(partitions=1, batch_size=4096, buffer_memory=1 << 26)
    for _ in range(RECORDS):
        path.append(TOPIC, VALUE)
    batches = path.take_all()
    assert len(batches) > 5
    assert len(path.opened) == len(batches)
    assert len(path.sealed) == len(batches) - 1


def test_a_bulk_result_gives_the_garbage_collector_nothing_to_look_at() -> None:
    path = AppendPath(partitions=3, batch_size=4096, buffer_memory=1 << 26, stopped=False)
    result = SendResult()
    values = [VALUE] * RECORDS

    def work(times: int) -> int:
        before = len(gc.get_objects())
        for _ in range(times):
            path.appender.append_many(result, TOPIC, iter(values), RECORDS, 1 << 24)
            for batch in path.take_all():
                path.finish(batch)
            path.opened.clear()
            path.sealed.clear()
        return len(gc.get_objects()) - before

    few = work(2)
    assert work(20) <= few + 20
    assert result.failed == []


def test_a_record_object_costs_no_python_to_make() -> None:
    calls = calls_of(lambda: ProducerRecord(TOPIC, VALUE, key=KEY, headers=HEADERS))
    assert list(calls.values()) == [1], calls
