"""Awaiting a `Delivery` whose outcome is known: the same from everything that can await, and at no cost that stays."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

import pytest
from append_path import TOPIC, WALL_CLOCK, AppendPath

from krafka._speedups.record_metadata import RecordMetadata
from krafka.errors import DeliveryTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from krafka._speedups.delivery import Delivery

EXPECTED = RecordMetadata(TOPIC, 0, 7, WALL_CLOCK)


def by_hand(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waited")


def awaited(delivery: Delivery) -> Any:
    async def wait() -> Any:
        return await delivery

    return by_hand(wait())


def awaited_in_a_task(delivery: Delivery) -> Any:
    async def wait() -> Any:
        return await delivery

    return asyncio.run(wait())


def waited_for(delivery: Delivery) -> Any:
    async def wait() -> Any:
        return await asyncio.wait_for(delivery, 60)

    return asyncio.run(wait())


def gathered(delivery: Delivery) -> Any:
    async def wait() -> Any:
        first, second = await asyncio.gather(delivery, delivery)
        assert first == second
        return first

    return asyncio.run(wait())


def yielded_from(delivery: Delivery) -> Any:
    @types.coroutine
    def wait() -> Generator[Any, Any, Any]:
        return (yield from delivery.__await__())

    return by_hand(wait())


def next_of(delivery: Delivery) -> Any:
    steps = delivery.__await__()
    with pytest.raises(StopIteration) as stopped:
        next(steps)
    return stopped.value.value


def iterated(delivery: Delivery) -> Any:
    async def wait() -> Any:
        return await iter(delivery.__await__())  # type: ignore[misc]

    return by_hand(wait())


def traced(delivery: Delivery) -> Any:
    """As under a debugger, or where coverage is measured: the interpreter takes another way there."""

    def trace(*args: Any) -> Any:
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return awaited(delivery)
    finally:
        sys.settrace(before)


WAYS: list[Callable[[Delivery], Any]] = [
    awaited,
    awaited_in_a_task,
    waited_for,
    gathered,
    yielded_from,
    next_of,
    iterated,
    traced,
]

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.fixture
def delivered() -> Delivery:
    path = AppendPath()
    delivery = path.append(TOPIC, b"")
    path.opened[0].complete(7, -1)
    return delivery


@pytest.fixture
def failed() -> Delivery:
    path = AppendPath()
    delivery = path.append(TOPIC, b"")
    error = DeliveryTimeoutError("too late", possibly_written=True)
    error.__cause__ = OSError("the reason")
    path.opened[0].fail(error)
    return delivery


@every_way
def test_the_metadata(way: Callable[[Delivery], Any], delivered: Delivery) -> None:
    for _ in range(3):
        assert way(delivered) == EXPECTED


@every_way
def test_the_error(way: Callable[[Delivery], Any], failed: Delivery) -> None:
    depths = []
    for _ in range(5):
        with pytest.raises(DeliveryTimeoutError, match="too late") as caught:
            way(failed)
        assert caught.value is not failed.exception
        assert caught.value.possibly_written
        assert isinstance(caught.value.__cause__, OSError)
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(depths)) == 1
    assert failed.exception is not None
    assert failed.exception.__traceback__ is None


def test_errors_among_others(delivered: Delivery, failed: Delivery) -> None:
    async def wait() -> Any:
        return await asyncio.gather(delivered, failed, delivered, return_exceptions=True)

    first, error, last = asyncio.run(wait())
    assert first == last == EXPECTED
    assert isinstance(error, DeliveryTimeoutError)


def test_the_steps_of_an_await_end_the_same_each_time(delivered: Delivery, failed: Delivery) -> None:
    steps = delivered.__await__()
    for _ in range(3):
        with pytest.raises(StopIteration) as stopped:
            next(steps)
        assert stopped.value.value == EXPECTED
    steps = failed.__await__()
    for _ in range(3):
        with pytest.raises(DeliveryTimeoutError):
            next(steps)


@every_way
def test_nobody_keeps_what_was_awaited(way: Callable[[Delivery], Any], delivered: Delivery) -> None:
    metadata = way(delivered)
    gc.collect()
    assert sys.getrefcount(metadata) == 2


@every_way
def test_an_await_keeps_no_delivery_alive(way: Callable[[Delivery], Any], delivered: Delivery) -> None:
    way(delivered)
    gc.collect()
    before = sys.getrefcount(delivered)
    for _ in range(20):
        way(delivered)
    gc.collect()
    assert sys.getrefcount(delivered) == before
