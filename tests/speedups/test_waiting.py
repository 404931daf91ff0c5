"""Tasks that wait for one thing: woken together, cancelled one by one, in the manner of their event loop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from krafka._speedups.record_metadata import RecordMetadata
from krafka._speedups.waiting import event_loop
from tests.speedups.append_path import TOPIC, WALL_CLOCK, AppendPath

if TYPE_CHECKING:
    from krafka._speedups.delivery import Delivery

pytestmark = pytest.mark.anyio

ASYNCIO = ("asyncio", {"use_uvloop": False})
UVLOOP = ("asyncio", {"use_uvloop": True})

whose: ContextVar[int] = ContextVar("whose")


@pytest.fixture
def path() -> AppendPath:
    return AppendPath()


async def test_many_are_woken_in_their_order_each_in_its_context(path: AppendPath) -> None:
    deliveries = [path.append(TOPIC, b"%d" % number) for number in range(100)]
    told: list[tuple[int, int, int]] = []

    async def wait(number: int) -> None:
        whose.set(number)
        metadata = await deliveries[number]
        told.append((number, metadata.offset, whose.get()))

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(wait, number)
        await anyio.wait_all_tasks_blocked()
        path.opened[0].complete(7, -1)
        assert told == []
    assert sorted(told) == [(number, 7 + number, number) for number in range(100)]


@pytest.mark.parametrize("anyio_backend", [ASYNCIO], ids=["asyncio"])
async def test_the_loop_is_called_once_for_all(path: AppendPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards what a task costs that waits: a call of its own by the loop doubles it."""
    deliveries = [path.append(TOPIC, b"v") for _ in range(50)]
    loop = asyncio.get_running_loop()
    calls = 0

    async with anyio.create_task_group() as tasks:
        for delivery in deliveries:
            tasks.start_soon(outcome_of, delivery)
        await anyio.wait_all_tasks_blocked()
        call_soon = loop.call_soon

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            return call_soon(*arguments, **options)

        monkeypatch.setattr(loop, "call_soon", counted)
        path.opened[0].complete(0, -1)
        assert calls == 1
        monkeypatch.undo()


async def outcome_of(delivery: Delivery) -> RecordMetadata:
    return await delivery


async def test_one_is_cancelled_and_the_others_wait_on(path: AppendPath) -> None:
    delivery = path.append(TOPIC, b"v")
    told: list[int] = []
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def wait(number: int) -> None:
        with scopes[number]:
            await delivery
            told.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(wait, number)
        await anyio.wait_all_tasks_blocked()
        scopes[1].cancel()
        await anyio.wait_all_tasks_blocked()
        assert [scope.cancelled_caught for scope in scopes] == [False, True, False]
        path.opened[0].complete(0, -1)
    assert sorted(told) == [0, 2]


async def test_a_task_that_was_cancelled_waits_again(path: AppendPath) -> None:
    delivery = path.append(TOPIC, b"v")
    with anyio.move_on_after(0.01):
        await delivery
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(complete_soon, path)
        assert (await delivery).offset == 3


async def complete_soon(path: AppendPath) -> None:
    await anyio.wait_all_tasks_blocked()
    path.opened[0].complete(3, -1)


@pytest.mark.parametrize("cancelled_first", [True, False], ids=["cancelled", "woken"])
async def test_cancelled_and_woken_at_once_a_task_goes_on_once(
    path: AppendPath, cancelled_first: bool
) -> None:
    delivery = path.append(TOPIC, b"v")
    scope = anyio.CancelScope()
    ends: list[object] = []

    async def wait() -> None:
        with scope:
            ends.append(await delivery)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        if cancelled_first:
            scope.cancel()
        path.opened[0].complete(0, -1)
        if not cancelled_first:
            scope.cancel()
    assert len(ends) + scope.cancelled_caught == 1
    if cancelled_first:
        assert scope.cancelled_caught


async def test_a_wait_that_begins_late_ends_at_once(path: AppendPath) -> None:
    path.append(TOPIC, b"v")
    waiting = path.opened[0].wait()
    path.opened[0].complete(0, -1)
    with anyio.fail_after(1):
        await waiting


async def test_nobody_waits(path: AppendPath) -> None:
    delivery = path.append(TOPIC, b"v")
    with anyio.move_on_after(0.01):
        await delivery
    path.opened[0].complete(0, -1)
    await checkpoint()
    assert delivery.metadata == RecordMetadata(TOPIC, 0, 0, WALL_CLOCK)


async def test_who_is_cancelled_by_another_may_be_cancelled() -> None:
    """And who is not may be taken for such, but not under asyncio, where asking anyio is what is saved."""
    loop = event_loop()
    seen: list[bool] = []

    async def look() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(loop.may_be_cancelled())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert seen == [True]


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, UVLOOP], ids=["asyncio", "uvloop"])
class TestAsyncio:
    async def test_who_is_not_cancelled_is_not_looked_into(self) -> None:
        loop = event_loop()
        assert not loop.may_be_cancelled()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await checkpoint()
        assert not loop.may_be_cancelled()

    async def test_a_task_is_cancelled_with_its_message(self, path: AppendPath) -> None:
        task = asyncio.create_task(outcome_of(path.append(TOPIC, b"v")))
        await asyncio.sleep(0)
        assert task.cancel("no longer wanted")
        with pytest.raises(asyncio.CancelledError, match="no longer wanted"):
            await task

    async def test_futures_of_asyncio_wrap_it(self, path: AppendPath) -> None:
        first, second = path.append(TOPIC, b"v"), path.append(TOPIC, b"w")
        gathered = asyncio.gather(first, asyncio.wait_for(second, 5), asyncio.shield(first))
        await asyncio.sleep(0.01)
        path.opened[0].complete(4, -1)
        assert [metadata.offset for metadata in await gathered] == [4, 5, 4]

    async def test_between_tasks_those_go_on_at_once_that_are_woken(self, path: AppendPath) -> None:
        loop = path.appender.loop = event_loop()
        deliveries = [path.append(TOPIC, b"v") for _ in range(3)]
        later = path.append(TOPIC, bytes(5000))
        told: list[str] = []

        async def wait(number: int) -> None:
            await deliveries[number]
            told.append(f"{number} in {asyncio.current_task().get_name()}")  # type: ignore[union-attr]
            if number == 0:
                # Who is woken by a task, as one runs, goes on by the loop.
                path.opened[1].complete(0, -1)
            if number == 1:
                await asyncio.sleep(0)
                told.append("1 again")

        async def wait_later() -> None:
            await later
            told.append("later")

        def answer(base_offset: bytes) -> None:
            path.opened[0].complete(int(base_offset), -1)
            told.append("answered")

        tasks = [asyncio.create_task(wait(number), name=f"task {number}") for number in range(3)]
        tasks.append(asyncio.create_task(wait_later()))
        await asyncio.sleep(0)
        done = asyncio.get_running_loop().create_future()

        def call() -> None:
            loop.between_tasks(answer, b"7")
            told.append("over")
            done.set_result(None)

        asyncio.get_running_loop().call_soon(call)
        await done
        await asyncio.gather(*tasks)
        assert told[:5] == ["answered", "0 in task 0", "1 in task 1", "2 in task 2", "over"]
        assert sorted(told[5:]) == ["1 again", "later"]
        assert [delivery.metadata.offset for delivery in deliveries if delivery.metadata] == [7, 8, 9]

    async def test_what_a_call_between_tasks_raises_is_raised_and_those_it_woke_go_on(
        self, path: AppendPath
    ) -> None:
        loop = path.appender.loop = event_loop()
        waiting = asyncio.create_task(outcome_of(path.append(TOPIC, b"v")))
        await asyncio.sleep(0)
        seen: list[object] = []

        def answer(_: bytes) -> None:
            path.opened[0].complete(0, -1)
            raise ZeroDivisionError

        def call() -> None:
            with pytest.raises(ZeroDivisionError):
                loop.between_tasks(answer, b"")
            seen.append(waiting.done())

        asyncio.get_running_loop().call_soon(call)
        assert (await waiting).offset == 0
        assert seen == [True]

    async def test_one_task_at_a_time(self, path: AppendPath) -> None:
        path.append(TOPIC, b"v")
        waiting = path.opened[0].wait()

        async def wait() -> None:
            await waiting

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match="a wait of its own"):
                await waiting
            path.opened[0].complete(0, -1)


@pytest.mark.parametrize("between_tasks", [False, True])
def test_a_task_that_ends_the_program_does_not_keep_the_others_waiting(between_tasks: bool) -> None:
    path = AppendPath()
    told: list[int] = []

    async def wait(number: int, delivery: Delivery) -> None:
        await delivery
        if number == 1:
            raise KeyboardInterrupt
        told.append(number)

    loop = asyncio.new_event_loop()
    try:

        async def begin() -> list[asyncio.Task[None]]:
            path.appender.loop = event_loop()
            delivery = path.append(TOPIC, b"v")
            tasks = [asyncio.create_task(wait(number, delivery)) for number in range(4)]
            await asyncio.sleep(0)
            return tasks

        tasks = loop.run_until_complete(begin())
        waking = path.appender.loop
        assert waking is not None

        def answer(_: bytes) -> None:
            path.opened[0].complete(0, -1)

        if between_tasks:
            loop.call_soon(waking.between_tasks, answer, b"")
        else:
            loop.call_soon(answer, b"")
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.sleep(0.01))
        loop.run_until_complete(asyncio.sleep(0.01))
        assert told == [0, 2, 3]
        assert [task.done() for task in tasks] == [True] * 4
        assert isinstance(tasks[1].exception(), KeyboardInterrupt)
    finally:
        loop.close()
