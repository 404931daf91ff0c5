"""Who asks to be told of a record is told once, when its batch is done, wherever the record went meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krafka._speedups.delivery import observe
from krafka.errors import InvalidRecordError, KafkaError
from tests.speedups.append_path import TOPIC, AppendPath

if TYPE_CHECKING:
    from krafka import Delivery, RecordMetadata

RECORDS = 10


class Told:
    """What was told of each record."""

    def __init__(self, deliveries: list[Delivery]) -> None:
        self.deliveries = deliveries
        self.of: dict[int, list[Any]] = {}

    def follow(self, index: int) -> None:
        """Ask to be told of one."""
        calls = self.of.setdefault(index, [])

        def note(metadata: RecordMetadata, error: KafkaError | None) -> None:
            assert self.deliveries[index].done
            calls.append((tuple(metadata), error))

        observe(self.deliveries[index], note)


def filled() -> tuple[AppendPath, Told]:
    path = AppendPath()
    deliveries = [path.append(TOPIC, bytes(20), timestamp=number) for number in range(RECORDS)]
    return path, Told(deliveries)


def test_when_the_batch_is_done_and_not_before() -> None:
    path, told = filled()
    for index in range(RECORDS):
        told.follow(index)
    (batch,) = path.take_all()
    assert told.of == {index: [] for index in range(RECORDS)}
    batch.complete(40, -1)
    assert told.of == {index: [((TOPIC, 0, 40 + index, index), None)] for index in range(RECORDS)}


def test_at_once_if_it_is_done() -> None:
    path, told = filled()
    (batch,) = path.take_all()
    batch.complete(40, 7)
    told.follow(3)
    assert told.of == {3: [((TOPIC, 0, 43, 7), None)]}


def test_a_failure_has_no_offset() -> None:
    path, told = filled()
    told.follow(0)
    told.follow(1)
    (batch,) = path.take_all()
    own, shared = InvalidRecordError("its own"), KafkaError("shared")
    batch.fail(shared, {1: own})
    told.follow(2)
    assert told.of == {
        0: [((TOPIC, 0, -1, -1), shared)],
        1: [((TOPIC, 0, -1, -1), own)],
        2: [((TOPIC, 0, -1, -1), shared)],
    }


@pytest.mark.parametrize("asked", ["before", "after"])
def test_when_the_part_is_done_that_a_record_went_to(asked: str) -> None:
    path, told = filled()
    (batch,) = path.take_all()
    if asked == "before":
        for index in range(RECORDS):
            told.follow(index)
    parts = batch.divide(batch.records.used // 2)
    if asked == "after":
        for index in range(RECORDS):
            told.follow(index)
    assert len(parts) > 1
    sizes = [part.record_count for part in parts]
    grandchildren = parts[0].divide(1)
    assert all(calls == [] for calls in told.of.values())
    grandchildren[1].complete(5, -1)
    assert told.of[1] == [((TOPIC, 0, 5, 1), None)]
    assert sum(map(len, told.of.values())) == 1
    error = KafkaError("gone")
    for part in (grandchildren[0], *grandchildren[2:], *parts[1:]):
        part.fail(error)
    assert batch.done
    assert sum(sizes) == RECORDS
    assert [told.of[index] for index in range(RECORDS) if index != 1] == [[((TOPIC, 0, -1, -1), error)]] * 9


@pytest.mark.parametrize("asked", ["before", "after"])
def test_those_to_blame_hear_of_it_before_the_others(asked: str) -> None:
    path, told = filled()
    (batch,) = path.take_all()
    if asked == "before":
        for index in range(RECORDS):
            told.follow(index)
    errors: dict[int, KafkaError] = {2: InvalidRecordError("two"), 7: InvalidRecordError("seven")}
    rest = batch.without(errors)
    if asked == "after":
        for index in range(RECORDS):
            told.follow(index)
    assert rest is not None
    assert {index: calls for index, calls in told.of.items() if calls} == {
        index: [((TOPIC, 0, -1, -1), error)] for index, error in errors.items()
    }
    rest.complete(0, -1)
    offsets = iter(range(RECORDS))
    assert [told.of[index] for index in range(RECORDS) if index not in errors] == [
        [((TOPIC, 0, next(offsets), index), None)] for index in range(RECORDS) if index not in errors
    ]


def test_one_that_raises_leaves_the_batch_as_it_has_to_be() -> None:
    def buggy(metadata: Any, error: Any) -> None:
        raise ZeroDivisionError

    path, told = filled()
    observe(told.deliveries[0], buggy)
    (batch,) = path.take_all()
    with pytest.raises(ZeroDivisionError):
        batch.complete(0, -1)
    assert batch.done
    assert all(delivery.done for delivery in told.deliveries)
