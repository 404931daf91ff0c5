"""Callers that are cancelled before they call: whose records are taken, and whose are not."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from faulty import TOPIC, faulty

pytestmark = pytest.mark.anyio
VERBS = pytest.mark.parametrize("verb", ["send", "enqueue"])


@VERBS
async def test_a_record_of_who_was_cancelled_by_another_is_not_taken(verb: str) -> None:
    async with faulty() as (cluster, producer):

        async def insist() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                await getattr(producer, verb)(TOPIC, b"late")

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(insist)
            await anyio.wait_all_tasks_blocked()
            task_group.cancel_scope.cancel()
        await producer.flush()
        assert cluster.log(TOPIC) == []


@VERBS
async def test_shielded_it_is_taken_all_the_same(verb: str) -> None:
    async with faulty() as (cluster, producer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await checkpoint()
            finally:
                with anyio.CancelScope(shield=True):
                    await getattr(producer, verb)(TOPIC, b"last words")
        await producer.flush()
        assert [record.value for record in cluster.log(TOPIC)] == [b"last words"]


async def test_who_cancelled_itself_meets_that_at_the_latest_in_the_wait(
    anyio_backend: tuple[str, Any],
) -> None:
    async with faulty() as (cluster, producer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await producer.send(TOPIC, b"v")
            pytest.fail("it was not cancelled")
        assert scope.cancelled_caught
        await producer.flush()
        # Under asyncio nobody but anyio could tell before, and to ask costs as much as the rest of the call.
        assert len(cluster.log(TOPIC)) == (anyio_backend[0] == "asyncio")
