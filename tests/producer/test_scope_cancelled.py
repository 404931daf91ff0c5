"""A producer whose opening is cancelled: the cancellation comes out at once, whenever it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from faulty import HURRIED, TOPIC

from krafka import Producer, ProducerStateError
from krafka.testing import FakeCluster

pytestmark = pytest.mark.anyio


class Nowhere:
    """A connector that never comes to an end."""

    async def connect(self, host: str, port: int) -> Any:
        await anyio.sleep_forever()


def producer() -> Producer:
    return Producer("nowhere:1", connector=Nowhere(), **HURRIED)


async def test_opened_in_a_scope_that_was_cancelled_before() -> None:
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        scope.cancel()
        async with producer():
            await anyio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_some_turns_after_it_began_to_open(turns: int) -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as task_group:

            async def cancel() -> None:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                task_group.cancel_scope.cancel()

            task_group.start_soon(cancel)
            async with producer():
                await anyio.sleep_forever()


@pytest.mark.parametrize("turns", range(8))
async def test_its_task_is_cancelled_natively(turns: int, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        async with producer() as opened:
            assert not opened.closed
        return

    async def use() -> None:
        async with producer():
            await anyio.sleep_forever()

    task = asyncio.get_running_loop().create_task(use())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=20)
    assert done
    assert task.cancelled()


async def test_a_sibling_that_fails_at_once() -> None:
    async def fail() -> None:
        raise LookupError("the sibling")

    with anyio.fail_after(20), pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(fail)
            async with producer():
                await anyio.sleep_forever()
    assert caught.group_contains(LookupError)


async def test_records_still_get_close_timeout_once_it_is_open() -> None:
    async with FakeCluster() as cluster:
        cluster.create_topic(TOPIC, 1)
        with anyio.fail_after(20), anyio.CancelScope() as scope:
            async with Producer(cluster.bootstrap, connector=cluster, linger=3.0, **HURRIED) as opened:
                await opened.partitions_for(TOPIC)
                delivery = await opened.enqueue(TOPIC, b"v")
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert delivery.metadata is not None
        assert len(cluster.log(TOPIC)) == 1


async def test_opening_it_again_is_refused() -> None:
    once = producer()
    async with once:
        assert not once.closed
    with pytest.raises(ProducerStateError, match="opened before"):
        async with once:
            pytest.fail("it was opened twice")
