"""Compression in threads: each batch once, and no event loop that stands still."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from krafka._io.compressing import CompressionWorkers
from krafka.errors import NetworkError
from tests.speedups.append_path import AppendPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._speedups.batch import ProducerBatch

pytestmark = pytest.mark.anyio


def batches(*sizes: int) -> list[ProducerBatch]:
    """One batch of one record for each size."""
    path = AppendPath(partitions=len(sizes), batch_size=1 << 18)
    for partition, size in enumerate(sizes):
        path.append("orders", bytes([65 + partition]) * size, partition=partition)
    return path.take_all()


class Desk:
    """Takes what comes back, and says when enough has."""

    def __init__(self, expected: int) -> None:
        self.done: dict[ProducerBatch, bytes] = {}
        self.threads: set[int] = set()
        self.all_done = anyio.Event()
        self._expected = expected

    def take(self, batch: ProducerBatch, body: bytes) -> None:
        assert batch not in self.done
        self.threads.add(threading.get_ident())
        self.done[batch] = body
        if len(self.done) == self._expected:
            self.all_done.set()


async def compress_all(work: Callable[[Any], bytes], todo: list[ProducerBatch]) -> Desk:
    desk = Desk(len(todo))
    with anyio.fail_after(60):
        async with anyio.create_task_group() as task_group:
            CompressionWorkers(task_group, lambda _: work, desk.take).start(todo)
            await desk.all_done.wait()
    return desk


async def test_each_batch_comes_back_with_what_was_made_of_it() -> None:
    todo = batches(10, 2000, 300, 5)
    desk = await compress_all(bytes, todo)
    assert desk.done == {batch: bytes(batch.records) for batch in todo}


async def test_the_work_is_done_by_other_threads_and_told_in_this_one() -> None:
    workers: set[int] = set()

    def work(records: Any) -> bytes:
        workers.add(threading.get_ident())
        return b""

    desk = await compress_all(work, batches(2000, 2000))
    assert threading.get_ident() not in workers
    assert desk.threads == {threading.get_ident()}


async def test_a_batch_that_ends_before_its_turn_is_no_trouble() -> None:
    todo = batches(2000, 2000)
    contents = [bytes(batch.records) for batch in todo]
    desk = Desk(2)
    async with anyio.create_task_group() as task_group:
        CompressionWorkers(task_group, lambda _: bytes, desk.take).start(todo)
        for batch in todo:
            batch.fail(NetworkError("too late"))
        await desk.all_done.wait()
    assert [desk.done[batch] for batch in todo] == contents


async def test_the_event_loop_runs_meanwhile() -> None:
    may_go_on = threading.Event()
    turns = 0

    def work(records: Any) -> bytes:
        assert may_go_on.wait(60)
        return b"done"

    async def take_turns() -> None:
        nonlocal turns
        for _ in range(10):
            turns += 1
            await anyio.lowlevel.checkpoint()
        may_go_on.set()

    desk = Desk(1)
    async with anyio.create_task_group() as task_group:
        CompressionWorkers(task_group, lambda _: work, desk.take).start(batches(2000))
        task_group.start_soon(take_turns)
        await desk.all_done.wait()
    assert turns == 10


async def test_a_failing_codec_ends_the_task_group() -> None:
    def work(records: Any) -> bytes:
        raise ZeroDivisionError("the codec is broken")

    desk = Desk(1)
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as task_group:
            CompressionWorkers(task_group, lambda _: work, desk.take).start(batches(2000))
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
    assert desk.done == {}


async def test_an_end_does_not_wait_for_a_thread() -> None:
    begun, may_end = anyio.Event(), threading.Event()

    def work(records: Any) -> bytes:
        anyio.from_thread.run_sync(begun.set)
        assert may_end.wait(60)
        return b""

    desk = Desk(1)
    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as task_group:
                CompressionWorkers(task_group, lambda _: work, desk.take).start(batches(2000))
                await begun.wait()
                task_group.cancel_scope.cancel()
    finally:
        may_end.set()
    assert desk.done == {}
