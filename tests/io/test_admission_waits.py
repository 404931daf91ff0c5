"""Waits that several others wait for: each learns when there are none left."""

from __future__ import annotations

import anyio
import pytest

from krafka._io.admission import Waits
from krafka.errors import ProducerClosedError

pytestmark = pytest.mark.anyio


async def test_everybody_who_waits_for_the_last_is_told() -> None:
    waits = Waits()
    over = anyio.Event()
    told: list[int] = []

    async def wait() -> None:
        with waits.one():
            await over.wait()

    async def wait_for_it(number: int) -> None:
        await waits.wait_until_empty()
        told.append(number)

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        for number in range(3):
            task_group.start_soon(wait_for_it, number)
        await anyio.wait_all_tasks_blocked()
        assert told == []
        over.set()
        await anyio.wait_all_tasks_blocked()
        everybody = sorted(told)
        task_group.cancel_scope.cancel()
    assert everybody == [0, 1, 2]


async def test_an_interruption_is_for_those_there_are() -> None:
    waits = Waits()
    error = ProducerClosedError("one end")
    ended: list[str] = []

    async def wait() -> None:
        try:
            with waits.one():
                await anyio.sleep_forever()
        except ProducerClosedError as raised:
            ended.append(str(raised))

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        waits.interrupt(error)
        await waits.wait_until_empty()
    with waits.one():
        ended.append("and on")
    assert ended == ["one end", "and on"]
