"""Many seeds in several processes, and what is printed of one that breaks a promise."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import signal
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .plan import Plan, make_plan
from .world import World, run_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from types import FrameType

SEEDS_AT_A_TIME = 20
BUSY_SECONDS = 60.0
"""CPU seconds after which a run is said to turn in circles; the usual one takes 0.05."""
TRACE_SHOWN = 150
VIOLATIONS_SHOWN = 12
RECORDS_SHOWN = 25
MOST_FAILURES = 5


class Kind(NamedTuple):
    """A kind of runs: how a seed is run, what it stands for, and the folder whose tests run it."""

    run_seed: Callable[[int], World]
    make_plan: Callable[[int], Plan]
    folder: str


RECORDS = Kind(run_seed, make_plan, "tests/simulation")


class BusyError(BaseException):
    """A run used up its CPU time."""


@dataclass(frozen=True)
class Failure:
    """A seed that broke a promise, and all there is to say about it."""

    seed: int
    kinds: tuple[str, ...]
    report: str


@dataclass
class Summary:
    """What came of many seeds."""

    seeds: int = 0
    records: int = 0
    acknowledged: int = 0
    requests: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Summary) -> None:
        """Count the seeds of another one too."""
        self.seeds += other.seeds
        self.records += other.records
        self.acknowledged += other.acknowledged
        self.requests += other.requests
        self.failures += other.failures

    def __str__(self) -> str:
        return (
            f"{self.seeds} seeds in {self.seconds:.1f} s: {self.records} records, {self.acknowledged} acknowledged, "
            f"{self.requests} requests, {len(self.failures)} seeds with broken promises"
        )


def replay_command(seed: int, kind: Kind = RECORDS) -> str:
    """The command that runs one seed again."""
    return f"pytest {kind.folder} --seed {seed}"


def report(world: World, kind: Kind = RECORDS, *, trace_shown: int = TRACE_SHOWN) -> str:
    """Everything about a run: its plan, what broke, the records concerned, the end of the trace."""
    shown = world.trace[-trace_shown:] if trace_shown else []
    records = sorted(world.records, key=lambda record: record.metadata is not None)
    again = replay_command(world.plan.seed, kind)
    lines = [
        f"seed {world.plan.seed} broke {len(world.violations)} promises; again: {again}",
        world.plan.describe(),
        f"the last {len(shown)} of {len(world.trace)} events:",
        *(f"  {entry[0]:9.4f} {' '.join(str(each)[:200] for each in entry[1:])}" for entry in shown),
        f"{len(world.records)} records, those without an acknowledgement first:",
        *(f"  {each}" for each in records[:RECORDS_SHOWN]),
        "broken promises:",
        *(f"  {violation[:3000]}" for violation in world.violations[:VIOLATIONS_SHOWN]),
    ]
    return "\n".join(lines)


def run_one(seed: int, kind: Kind = RECORDS) -> tuple[World | None, Failure | None]:
    """Run a seed within its CPU time; the failure says what went wrong, if anything did."""
    try:
        with _time_limit(BUSY_SECONDS):
            world = kind.run_seed(seed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        plan = kind.make_plan(seed).describe()
        again = replay_command(seed, kind)
        return None, Failure(
            seed, (type(error).__name__,), f"seed {seed} raised; again: {again}\n{plan}\n{text}"
        )
    if not world.violations:
        return world, None
    kinds = tuple(dict.fromkeys(violation.partition(":")[0] for violation in world.violations))
    return world, Failure(seed, kinds, report(world, kind))


def run_and_report(seed: int, kind: Kind = RECORDS) -> tuple[str, Failure | None]:
    """Run a seed: all of it as text, and what went wrong, if anything did."""
    world, failure = run_one(seed, kind)
    if world is None:
        assert failure is not None
        return failure.report, failure
    return report(world, kind, trace_shown=len(world.trace)), failure


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises `BusyError` in a block that burns more CPU than that."""

    def ring(_number: int, frame: FrameType | None) -> None:
        raise BusyError(f"still busy after {seconds:g} s of CPU: {traceback.format_stack(frame)[-3:]}")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def run_chunk(seeds: Sequence[int], kind: Kind = RECORDS) -> Summary:
    """Run some seeds in this process."""
    summary = Summary()
    for seed in seeds:
        world, failure = run_one(seed, kind)
        summary.seeds += 1
        if world is not None:
            summary.records += len(world.records)
            summary.acknowledged += sum(record.metadata is not None for record in world.records)
            summary.requests += sum(entry[1] == "request" for entry in world.trace)
        if failure is not None:
            summary.failures.append(failure)
    gc.collect()
    return summary


def run_many(
    seeds: Sequence[int],
    kind: Kind = RECORDS,
    *,
    jobs: int,
    most_failures: int = MOST_FAILURES,
    until: float = float("inf"),
) -> Summary:
    """Run seeds in `jobs` processes, until so many have failed; `until` is a time of `time.monotonic`."""
    began = time.monotonic()
    total = Summary()
    if jobs == 1:
        for chunk in _chunks(seeds):
            total.add(run_chunk(chunk, kind))
            if len(total.failures) >= most_failures or time.monotonic() > until:
                break
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), faulthandler.enable) as pool:
            _feed(pool, _chunks(seeds), kind, total, jobs, most_failures, until)
    total.failures.sort(key=lambda failure: failure.seed)
    total.seconds = time.monotonic() - began
    return total


def _feed(
    pool: ProcessPoolExecutor,
    chunks: Iterator[Sequence[int]],
    kind: Kind,
    total: Summary,
    jobs: int,
    most_failures: int,
    until: float,
) -> None:
    running: set[Future[Summary]] = set()
    while True:
        goes_on = len(total.failures) < most_failures and time.monotonic() < until
        while goes_on and len(running) < 2 * jobs and (chunk := next(chunks, None)) is not None:
            running.add(pool.submit(run_chunk, chunk, kind))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            total.add(future.result())


def _chunks(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    for at in range(0, len(seeds), SEEDS_AT_A_TIME):
        yield seeds[at : at + SEEDS_AT_A_TIME]


def default_jobs() -> int:
    """A process for each CPU this one may use, two at most."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
