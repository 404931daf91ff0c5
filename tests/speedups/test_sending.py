"""`send` written out as an object: it is to whoever runs it, and whoever looks at it, what an `async def` is."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint

from krafka import Producer
from krafka._speedups.sending import SendSteps, SendVerb
from krafka._speedups.waiting import event_loop
from krafka.errors import BufferFullError, RecordValidationError
from tests.speedups.append_path import TOPIC, WALL_CLOCK, AppendPath

if TYPE_CHECKING:
    from krafka._speedups.delivery import Delivery

pytestmark = pytest.mark.anyio

ASYNCIO = ("asyncio", {"use_uvloop": False})


class Steps(SendSteps):
    """Appends to a path of its own, unless `full`; then `admit` does, when `room` is set."""

    def __init__(self) -> None:
        super().__init__(event_loop())
        self.path = AppendPath()
        self.full = False
        self.room = anyio.Event()
        self.admissions = 0

    def append(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Delivery:
        if self.full:
            raise BufferFullError("no room")
        return self.path.append(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )

    async def admit(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Delivery:
        self.admissions += 1
        await self.room.wait()
        return self.path.append(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )

    async def acknowledge_soon(self, base_offset: int = 0) -> None:
        await anyio.wait_all_tasks_blocked()
        self.path.opened[0].complete(base_offset, -1)

    @property
    def appended(self) -> int:
        """Records in batches."""
        return sum(batch.record_count for batch in self.path.opened)


def _itself(sending: Any) -> Any:
    return sending


@pytest.fixture
async def steps() -> Steps:
    return Steps()


async def test_it_waits_for_the_outcome(steps: Steps) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(steps.acknowledge_soon, 7)
        metadata = await steps.send(TOPIC, b"v")
    assert (metadata.topic, metadata.partition, metadata.offset) == (TOPIC, 0, 7)
    assert metadata.timestamp == WALL_CLOCK


async def test_every_field_goes_on(steps: Steps) -> None:
    bodies: list[bytes] = []

    async def look_and_acknowledge() -> None:
        await anyio.wait_all_tasks_blocked()
        (batch,) = steps.path.take_all()
        bodies.append(bytes(memoryview(batch.records)))
        steps.path.finish(batch)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_and_acknowledge)
        metadata = await steps.send(
            TOPIC, b"value", key=b"key", headers=[("name", b"of it")], partition=0, timestamp=5
        )
    assert metadata.timestamp == 5
    assert all(field in bodies[0] for field in (b"value", b"key", b"name", b"of it"))


async def test_nothing_happens_before_it_is_awaited(steps: Steps) -> None:
    sending = steps.send(TOPIC, b"v")
    await checkpoint()
    assert steps.appended == 0
    sending.close()
    with pytest.raises(RuntimeError, match="already awaited"):
        await sending
    assert steps.appended == 0


async def test_one_that_is_never_awaited_is_told_of(steps: Steps) -> None:
    sendings = [steps.send(TOPIC, b"v")]
    with pytest.warns(RuntimeWarning, match=r"'Producer\.send' was never awaited"):
        sendings.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps.send(TOPIC, b"v").close()


async def test_it_is_awaited_once(steps: Steps) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(steps.acknowledge_soon)
        sending = steps.send(TOPIC, b"v")
        await sending
    with pytest.raises(RuntimeError, match="already awaited"):
        await sending
    assert steps.appended == 1


async def test_what_is_wrong_with_a_record_comes_out_of_the_await(steps: Steps) -> None:
    sending = steps.send(TOPIC, "no bytes")
    with pytest.raises(RecordValidationError):
        await sending
    with pytest.raises(RuntimeError, match="already awaited"):
        await sending


async def test_a_record_that_has_to_wait_is_admitted_without_a_trace_of_why(steps: Steps) -> None:
    steps.full = True

    async def make_room() -> None:
        await anyio.wait_all_tasks_blocked()
        assert (steps.admissions, steps.appended) == (1, 0)
        steps.room.set()
        await steps.acknowledge_soon(3)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make_room)
        assert (await steps.send(TOPIC, b"v")).offset == 3


async def test_an_error_of_the_wait_for_room_has_no_other_behind_it(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(*_: Any) -> Delivery:
        await checkpoint()
        raise ValueError("no room came")

    monkeypatch.setattr(Steps, "admit", no_room)
    steps.full = True
    with pytest.raises(ValueError, match="no room came") as caught:
        await steps.send(TOPIC, b"v")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("full", [False, True], ids=["waiting for its outcome", "waiting for room"])
async def test_it_is_cancelled_where_it_waits(steps: Steps, full: bool) -> None:
    steps.full = full
    ended = []
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            try:
                await steps.send(TOPIC, b"v")
            finally:
                ended.append(steps.appended)

        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert ended == [0 if full else 1]


async def test_cancelled_before_it_is_awaited_it_appends_nothing(steps: Steps) -> None:
    async def send() -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        await steps.send(TOPIC, b"v")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert steps.appended == 0


async def test_an_error_thrown_in_ends_it(steps: Steps) -> None:
    sending = steps.send(TOPIC, b"v")
    with pytest.raises(ValueError, match="thrown"):
        sending.throw(ValueError("thrown"))
    with pytest.raises(RuntimeError, match="already awaited"):
        sending.send(None)
    assert steps.appended == 0
    sending = steps.send(TOPIC, b"v")
    with pytest.raises(KeyError):
        sending.throw(KeyError)


async def test_an_error_that_the_wait_for_room_gets_over_does_not_end_it(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pause:
        def __await__(self) -> Any:
            return (yield)

    async def stubborn(steps: Steps, topic: Any, value: Any, *_: Any) -> Delivery:
        for _ in range(2):
            try:
                await Pause()
            except ValueError:
                continue
        return steps.path.append(topic, value)

    monkeypatch.setattr(Steps, "admit", stubborn)
    steps.full = True
    sending = steps.send(TOPIC, b"v")

    sending.send(None)
    assert sending.cr_suspended
    assert sending.cr_await is not None
    sending.throw(ValueError("once"))
    assert steps.appended == 0
    sending.throw(ValueError("twice"))
    assert steps.appended == 1
    sending.close()


async def test_the_first_thing_sent_to_it_is_none(steps: Steps) -> None:
    sending = steps.send(TOPIC, b"v")
    with pytest.raises(TypeError, match="just-started"):
        sending.send(1)
    assert steps.appended == 0


async def test_it_is_a_coroutine_to_those_who_ask(steps: Steps) -> None:
    sending = steps.send(TOPIC, b"v")
    assert isinstance(sending, Coroutine)
    assert inspect.isawaitable(sending)
    assert asyncio.iscoroutine(sending)
    assert not asyncio.isfuture(sending)
    assert inspect.getcoroutinestate(sending) != inspect.CORO_SUSPENDED
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(_itself, sending))
        await anyio.wait_all_tasks_blocked()
        assert inspect.getcoroutinestate(sending) == inspect.CORO_SUSPENDED
        steps.path.opened[0].complete(0, -1)
    assert inspect.getcoroutinestate(sending) == inspect.CORO_CLOSED


@pytest.mark.parametrize("anyio_backend", [ASYNCIO], ids=["asyncio"])
async def test_asyncio_runs_it_in_each_of_its_ways(steps: Steps) -> None:
    ways: list[Any] = [asyncio.create_task, asyncio.ensure_future, asyncio.gather]
    for way in ways:
        future = way(steps.send(TOPIC, b"v"))
        assert "Producer.send" in repr(future) or way is ways[2]
        await asyncio.sleep(0)
        steps.path.finish(steps.path.take_all()[0])
        await asyncio.wait_for(future, 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(steps.send(TOPIC, b"v"), 0.01)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(steps.send(TOPIC, b"v"))
        await asyncio.sleep(0)
        task.print_stack()
        steps.path.finish(steps.path.take_all()[0])


@pytest.mark.parametrize("anyio_backend", [ASYNCIO], ids=["asyncio"])
async def test_tasks_that_are_written_in_python_run_it_too(steps: Steps) -> None:
    task_class: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
    for cancelled in (False, True):
        task = task_class(steps.send(TOPIC, b"v"), loop=asyncio.get_running_loop())
        await asyncio.sleep(0)
        if cancelled:
            task.cancel()
        else:
            steps.path.finish(steps.path.take_all()[0], 4)
        await asyncio.wait([task])
        assert task.cancelled() is cancelled
        assert cancelled or task.result().offset == 4


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_shows_where_it_waits(steps: Steps) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(steps.send, TOPIC, b"v"))
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
        steps.path.opened[0].complete(0, -1)


async def test_the_verb_is_the_function_it_stands_for(steps: Steps) -> None:
    described = Producer("localhost:9092").send
    verb = SendVerb(steps, described)
    assert inspect.iscoroutinefunction(verb)
    assert asyncio.iscoroutinefunction(verb)
    assert inspect.iscoroutinefunction(partial(verb, TOPIC))
    assert inspect.signature(verb) == inspect.signature(described)
    assert (verb.__name__, verb.__qualname__, verb.__module__) == ("send", "Producer.send", "krafka.producer")
    assert verb.__doc__ == described.__doc__
    assert verb.__self__ is described.__self__
    assert repr(verb) == repr(described)
    with pytest.raises(AttributeError):
        verb.nothing  # noqa: B018 - looking is what raises


async def test_the_verb_is_called_as_the_function_is(steps: Steps) -> None:
    verb = SendVerb(steps, Producer("localhost:9092").send)
    arguments: dict[str, Any] = {"key": b"k", "partition": 0}
    sendings = [
        verb(TOPIC),
        verb(TOPIC, b"v"),
        verb(topic=TOPIC, value=b"v"),
        verb(*(TOPIC, b"v"), **arguments),
        SendVerb.__call__(verb, TOPIC, b"v", **arguments),
    ]
    for sending in sendings:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(_itself, sending))
            await anyio.wait_all_tasks_blocked()
            steps.path.finish(steps.path.take_all()[0])
    wrong: Any = verb
    with pytest.raises(TypeError, match="send"):
        wrong()
    with pytest.raises(TypeError, match="send"):
        wrong(TOPIC, b"v", b"k")
    with pytest.raises(TypeError, match="send"):
        wrong(TOPIC, b"v", nonsense=1)


async def test_as_many_as_there_are_keep_nothing(steps: Steps) -> None:
    """The fields of one are gone with it, though its memory is kept for the next."""

    class Value(bytes):
        alive = 0

        def __init__(self, _: bytes) -> None:
            Value.alive += 1

        def __del__(self) -> None:
            Value.alive -= 1

    async def send() -> None:
        await steps.send(TOPIC, Value(b"v"), key=Value(b"k"))

    async with anyio.create_task_group() as tasks:
        for _ in range(3000):
            tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        for batch in steps.path.take_all():
            steps.path.finish(batch)
    gc.collect()
    assert Value.alive == 0
