"""What a request may cost, counted and not timed: the instructions of Python that krafka runs for it, and wake-ups."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from faulty import TOPIC, faulty

import krafka
from krafka._io import engine
from krafka._io.sender import NodeSender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

PACKAGE = Path(krafka.__file__).parent
# The fake cluster in the same process uses what else there is, too.
COUNTED = tuple(str(PACKAGE / part) for part in ("_io", "_state", "producer.py"))
SENDS = 20
PARTITIONS = 6

# Counted on Python 3.11, and a tenth more: other Pythons have other instructions, but not that many more.
MOST_FOR_A_SEND = 157
MOST_FOR_A_BATCH = 31

BY_TIME = ("Alarm._wake", "Alarm.run", "Alarm._run_in_calls", "Engine._ring")
"""What runs as often as the clock will have it: the slower the machine, the oftener for a batch."""


async def instructions_of(work: Callable[[], Awaitable[object]]) -> tuple[int, Counter[str]]:
    """How many instructions of Python code in krafka run meanwhile, in all and by function."""
    by_function: Counter[str] = Counter()

    def enter(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(COUNTED):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        function = frame.f_code.co_qualname

        def step(frame: Any, event: str, argument: Any) -> Any:
            if event == "opcode":
                by_function[function] += 1
            return step

        return step

    sys.settrace(enter)
    try:
        await work()
    finally:
        sys.settrace(None)
    for function in [function for function in by_function if function.startswith(BY_TIME)]:
        del by_function[function]
    return sum(by_function.values()), by_function


async def test_an_awaited_send_on_an_idle_producer() -> None:
    async with faulty() as (_, producer):
        await producer.send(TOPIC, b"v")

        async def work() -> None:
            for _ in range(SENDS):
                await producer.send(TOPIC, b"v")

        total, by_function = await instructions_of(work)
    assert SENDS < total <= SENDS * MOST_FOR_A_SEND, by_function.most_common(30)


async def test_batches_of_full_requests() -> None:
    async with faulty(partitions=PARTITIONS, batch_size=2000, linger=0.1) as (cluster, producer):
        values = [b"v" * 100] * 3000
        await producer.send_many(TOPIC, values)
        before = len(cluster.log(TOPIC, 0))

        async def work() -> None:
            await producer.send_many(TOPIC, values)

        total, by_function = await instructions_of(work)
        added = [entry for n in range(PARTITIONS) for entry in cluster.log(TOPIC, n)[before:]]
    batches = len({(entry.partition, entry.batch) for entry in added})
    assert batches > 100
    assert batches < total <= batches * MOST_FOR_A_BATCH, (batches, total, by_function.most_common(30))


async def test_records_of_an_open_batch_wake_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    wakes = 0

    class Counted(NodeSender):
        def wake(self) -> None:
            nonlocal wakes
            wakes += 1
            super().wake()

    monkeypatch.setattr(engine, "NodeSender", Counted)
    async with faulty(linger=5.0) as (_, producer):
        await producer.enqueue(TOPIC, b"v")
        await producer.flush()
        wakes = 0
        for _ in range(100):
            await producer.enqueue(TOPIC, b"v")
            await anyio.lowlevel.checkpoint()
        assert wakes == 0
        await producer.flush()


async def test_idle_topics_cost_nothing() -> None:
    async with faulty() as (cluster, producer):
        await producer.send(TOPIC, b"v")

        async def work() -> None:
            for _ in range(SENDS):
                await producer.send(TOPIC, b"v")

        alone, _ = await instructions_of(work)
        for number in range(100):
            cluster.create_topic(f"idle-{number}", 10)
            await producer.partitions_for(f"idle-{number}")
        await producer.send(TOPIC, b"v")
        among_others, by_function = await instructions_of(work)
    assert among_others <= alone * 1.05, by_function.most_common(30)
