"""The judge of a run: it finds each kind of broken promise, and none in a sound run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krafka import RecordMetadata
from krafka.errors import DeliveryTimeoutError, NetworkError

from .judge import find_violations
from .plan import make_plan
from .world import World, run_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.testing.fake import FakeRecord

    from .record import Record

    Log = list[FakeRecord]


def sound_run() -> tuple[World, list[tuple[Any, Log]], int]:
    """A run of deliveries that must all arrive, its logs, and which log has most records of one caller."""
    for seed in range(5000):
        plan = make_plan(seed)
        plain = plan.mood == "calm" and plan.must_deliver and plan.idempotent and plan.ending == "finish"
        if not plain or not any(caller.verbs == ("enqueue",) for caller in plan.callers):
            continue
        world = run_seed(seed)
        assert world.violations == []
        logs = world.weather.logs()
        longest = max(range(len(logs)), key=lambda at: len(by_enqueue(world, logs[at][1])))
        if len(by_enqueue(world, logs[longest][1])) >= 3:
            return world, logs, longest
    raise AssertionError("no seed is as plain as that")


def by_enqueue(world: World, log: Log) -> list[int]:
    """Where in a log the first such caller's records lie."""
    callers = [caller.number for caller in world.plan.callers if caller.verbs == ("enqueue",)]
    return [at for at, entry in enumerate(log) if (entry.value or b"").startswith(b"%d." % callers[0])]


def record_of(world: World, entry: FakeRecord) -> Record:
    return next(record for record in world.records if record.value == entry.value)


def at_offset(metadata: RecordMetadata, offset: int) -> RecordMetadata:
    return RecordMetadata(metadata.topic, metadata.partition, offset, metadata.timestamp)


def lose(world: World, log: Log, at: list[int]) -> None:
    log[at[0]] = log[at[1]]


def duplicate(world: World, log: Log, at: list[int]) -> None:
    log.append(log[at[0]]._replace(offset=len(log)))


def swap(world: World, log: Log, at: list[int]) -> None:
    first, last = log[at[0]], log[at[-1]]
    log[at[0]], log[at[-1]] = last._replace(offset=first.offset), first._replace(offset=last.offset)
    for where in (at[0], at[-1]):
        record = record_of(world, log[where])
        assert record.metadata is not None
        record.metadata = at_offset(record.metadata, log[where].offset)


def misplace(world: World, log: Log, at: list[int]) -> None:
    record = record_of(world, log[at[0]])
    assert record.metadata is not None
    record.metadata = at_offset(record.metadata, record.metadata.offset + 1)


def lie(world: World, log: Log, at: list[int]) -> None:
    record = record_of(world, log[at[0]])
    record.metadata, record.error = None, NetworkError("refused")


def doubt(world: World, log: Log, at: list[int]) -> None:
    record = record_of(world, log[at[0]])
    record.metadata, record.error = None, DeliveryTimeoutError("too late", possibly_written=True)


def tell_twice(world: World, log: Log, at: list[int]) -> None:
    record_of(world, log[at[0]]).outcomes = 2


def be_late(world: World, log: Log, at: list[int]) -> None:
    record = record_of(world, log[at[0]])
    assert record.ended_at is not None
    record.ended_at += 301.0


def refuse(world: World, log: Log, at: list[int]) -> None:
    record_of(world, log[at[0]]).was_refused = True


def alter(world: World, log: Log, at: list[int]) -> None:
    log[at[0]] = log[at[0]]._replace(key=b"another")


def invent(world: World, log: Log, at: list[int]) -> None:
    log[at[0]] = log[at[0]]._replace(value=b"0.1 never sent")


def skip_an_offset(world: World, log: Log, at: list[int]) -> None:
    log[-1] = log[-1]._replace(offset=log[-1].offset + 1)


def keep_memory(world: World, log: Log, at: list[int]) -> None:
    world.engine.accumulator.appender.available -= 1


def keep_a_batch(world: World, log: Log, at: list[int]) -> None:
    next(iter(world.engine.accumulator.partitions())).on_wire += 1


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose, "lost"),
        (duplicate, "twice"),
        (swap, "order"),
        (misplace, "offset"),
        (lie, "lie"),
        (doubt, "failed"),
        (tell_twice, "outcome"),
        (be_late, "late"),
        (refuse, "refused"),
        (alter, "content"),
        (invent, "unknown"),
        (skip_an_offset, "hole"),
        (keep_memory, "memory"),
        (keep_a_batch, "left"),
    ],
)
def test_a_spoilt_run_is_found_out(spoil: Callable[[World, Log, list[int]], None], kind: str) -> None:
    world, logs, longest = sound_run()
    log = list(logs[longest][1])
    logs[longest] = (logs[longest][0], log)
    assert find_violations(world, logs) == []
    spoil(world, log, by_enqueue(world, log))
    kinds = {violation.partition(":")[0] for violation in find_violations(world, logs)}
    assert kind in kinds
