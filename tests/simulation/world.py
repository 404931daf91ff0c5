"""One run: the cluster, the producer and its callers under a simulated clock, and the notes that were taken."""

from __future__ import annotations

import gc
import hashlib
import logging
import math
import sys
import traceback
import warnings
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import trio
import trio.testing
from trio._core import _run as trio_run

import krafka.producer
from krafka import KafkaError, Producer
from krafka._io import compressing
from krafka._io.engine import Engine
from krafka._state import topics as topics_module
from krafka.testing import FakeCluster

from .callers import Caller
from .judge import find_violations
from .plan import Plan, make_plan
from .weather import Weather
from .witness import LONGEST_PAUSE, Witness, make_witnesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from krafka import Delivery, RecordMetadata
    from krafka.testing.fake import ReceivedRequest

    from .judge import Logs
    from .record import Record

WALL_CLOCK = 1_700_000_000_000
LONGEST = 20_000.0
"""Simulated seconds after which a run is said to hang."""
SETTLING = 700.0
MOST_REQUESTS = 20_000
EPSILON = 1e-6


class BodyError(Exception):
    """What the body of the producer's block raises in some runs."""


class World:
    """A run of one plan: who takes part, what was noted, and which promises were broken."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.records: list[Record] = []
        self.violations: list[str] = []
        self.trace: list[tuple[Any, ...]] = []
        self.healed_at = 0.0
        self.left_at = 0.0
        self.engine: Engine
        self.producer: Producer
        self.weather: Weather
        self.witnesses: list[Witness] = []
        self._watchers: anyio.abc.TaskGroup
        self._callers_left = len(plan.callers)
        self._all_called = anyio.Event()

    # -- notes ----------------------------------------------------------------------------------------------------

    def note(self, what: str, *details: Any) -> None:
        """Add a line to the trace."""
        self.trace.append((anyio.current_time(), what, *details))

    def check(self, holds: bool, kind: str, text: str) -> None:
        """Note a broken promise unless it holds."""
        if not holds:
            self.violations.append(f"{kind}: {text}")

    def add(self, record: Record) -> None:
        """A caller is about to hand a record over."""
        self.records.append(record)
        self.note(
            "call", record.name, record.verb, record.topic, record.key, record.partition, len(record.value)
        )

    def acknowledged(self, record: Record, metadata: RecordMetadata) -> None:
        """A caller was told that its record is in the log."""
        record.acknowledged(metadata, anyio.current_time())
        self._check_told(record)
        self.note("acknowledged", record.name, metadata.partition, metadata.offset)

    def failed(self, record: Record, error: KafkaError, *, refused: bool = False) -> None:
        """A caller was told that its record failed."""
        record.failed(error, anyio.current_time(), refused=refused)
        self._check_told(record)
        self.note("failed", record.name, type(error).__name__, error.possibly_written, str(error))

    def _check_told(self, record: Record) -> None:
        for witness in self.witnesses:
            witness.check_told(record)

    def accepted(self, record: Record, delivery: Delivery) -> None:
        """A record is in the producer's hands."""
        record.delivery = delivery
        self._watchers.start_soon(self._watch, record, delivery)

    async def _watch(self, record: Record, delivery: Delivery) -> None:
        try:
            metadata = await delivery
        except KafkaError as error:
            self.failed(record, error)
        else:
            self.acknowledged(record, metadata)

    async def flush(self) -> None:
        """Flush, and check that every record that was accepted before has its outcome."""
        before = [record for record in self.records if record.delivery and not record.delivery.done]
        began = anyio.current_time()
        self.note("flush", len(before))
        try:
            await self.producer.flush()
        except KafkaError as error:
            self.check(self.producer.closed or self.engine.failure is not None, "flush", repr(error))
            return
        self.note("flushed")
        late = [record.name for record in before if record.delivery and not record.delivery.done]
        self.check(not late, "flush", f"returned before the outcomes of {late}")
        took = anyio.current_time() - began
        bound = self.plan.options["delivery_timeout"] + self.plan.fences_take
        self.check(took <= bound + EPSILON, "late", f"flush took {took:g} s")

    # -- the run --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole run, and the judgement."""
        try:
            with anyio.fail_after(LONGEST):
                await self._run()
        except TimeoutError:
            self.check(False, "hang", f"the run goes on after {LONGEST:g} s")
        except BaseException as error:
            trace = "".join(traceback.format_exception(error))
            self.check(False, "crash", f"{error!r}\n{trace}")
            if not isinstance(error, Exception):
                raise

    async def _run(self) -> None:
        plan = self.plan
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with FakeCluster(
            plan.brokers, random=Random(f"{plan.seed} cluster"), **plan.cluster
        ) as cluster:
            for topic in plan.topics:
                cluster.create_topic(topic.name, topic.partitions, config=topic.config)
            self._listen(cluster)
            self.weather = self._make_weather(cluster)
            async with anyio.create_task_group() as watchers, anyio.create_task_group() as sky:
                self._watchers = watchers
                await self._produce(cluster, sky)
                sky.cancel_scope.cancel()
            self.note("closed")
            self.weather.heal()
            # What brokers have not read yet they may still append.
            await anyio.sleep(SETTLING)
            logs = self.weather.logs()
        left = trio.lowlevel.current_statistics().tasks_living
        self.check(left == tasks, "tasks", f"{left - tasks} tasks are left")
        self.violations += self._judge(logs)

    def _make_weather(self, cluster: FakeCluster) -> Weather:
        return Weather(self, cluster)

    def _judge(self, logs: Logs) -> list[str]:
        return find_violations(self, logs)

    def _listen(self, cluster: FakeCluster) -> None:
        note_request = cluster.note

        def note(request: ReceivedRequest) -> None:
            if len(cluster.received) > MOST_REQUESTS:
                raise AssertionError(f"storm: more than {MOST_REQUESTS} requests")
            self.note("request", request.api, request.version, request.broker, request.connection)
            note_request(request)

        cluster.note = note  # type: ignore[method-assign]  # so that every request is in the trace

    async def _produce(self, cluster: FakeCluster, sky: anyio.abc.TaskGroup) -> None:
        plan = self.plan
        scope = anyio.CancelScope()
        leaving_since: list[float] = []
        raised: BaseException | None = None
        try:
            with scope:
                self.witnesses = make_witnesses(self)
                async with Producer(
                    cluster.bootstrap, connector=cluster, interceptors=self.witnesses, **plan.options
                ) as producer:
                    self.producer = producer
                    assert producer._engine_or_none is not None
                    self.engine = producer._engine_or_none
                    self._start(sky)
                    try:
                        await self._body(scope)
                    finally:
                        leaving_since.append(anyio.current_time())
                        self.note("leaving", plan.ending)
        except BodyError as error:
            raised = error
        self.left_at = anyio.current_time()
        took = self.left_at - leaving_since[0]
        self._judge_leaving(took, raised, scope)

    def _start(self, sky: anyio.abc.TaskGroup) -> None:
        events = self.plan.events
        for event in events:
            if event.at == 0.0:
                self.weather.do(event)
        sky.start_soon(self._blow, [event for event in events if event.at > 0.0])
        for caller in self.plan.callers:
            self._watchers.start_soon(self._call, Caller(self, caller))

    async def _blow(self, events: list[Any]) -> None:
        await self.weather.run(events)
        if self.plan.heals:
            await anyio.sleep(0.01)
            self.healed_at = anyio.current_time()
            self.weather.heal()

    async def _call(self, caller: Caller) -> None:
        try:
            await caller.run()
        finally:
            self._callers_left -= 1
            if not self._callers_left:
                self._all_called.set()

    async def _body(self, scope: anyio.CancelScope) -> None:
        plan = self.plan
        if plan.ending == "finish":
            await self._all_called.wait()
            return
        with anyio.move_on_after(plan.ends_at):
            await self._all_called.wait()
        if plan.ending == "close":
            await self._close()
        elif plan.ending == "raise":
            raise BodyError
        elif plan.ending == "cancel":
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    async def _close(self) -> None:
        limit = self.plan.close_timeout
        began = anyio.current_time()
        self.note("close", limit)
        timed_out = False
        try:
            await self.producer.close(timeout=limit)
        except krafka.CloseTimeoutError:
            timed_out = True
        took = anyio.current_time() - began
        bound = self._outcomes_take() if limit is None else limit
        self.check(took <= bound + EPSILON, "late", f"close(timeout={limit}) took {took:g} s, not {bound:g}")
        self.check(not timed_out or limit is not None, "close", "CloseTimeoutError without a timeout")
        self._check_all_done("close()")

    def _outcomes_take(self) -> float:
        """How long an end that waits may take: an outcome's time, or that of a question about partitions."""
        options = self.plan.options
        asks = any("nowait" in caller.verbs for caller in self.plan.callers)
        outcomes = max(options["delivery_timeout"], options["max_block"] if asks else 0.0)
        # A record that is with a hook when the end comes is waited for.
        hooks = LONGEST_PAUSE if self.plan.hooks == "slow" else 0.0
        return float(outcomes) + self.plan.fences_take + hooks

    def _judge_leaving(self, took: float, raised: BaseException | None, scope: anyio.CancelScope) -> None:
        ending = self.plan.ending
        hurried = ending in {"raise", "cancel"}
        bound = self.plan.options["close_timeout"] if hurried else self._outcomes_take()
        self.check(took <= bound + EPSILON, "late", f"leaving by {ending} took {took:g} s, not {bound:g}")
        self.check((raised is not None) == (ending == "raise"), "body", f"raised {raised!r} out of {ending}")
        self.check(scope.cancelled_caught == (ending == "cancel"), "body", "the cancellation was lost")
        self._check_all_done(f"the block left by {ending}")

    def _check_all_done(self, after: str) -> None:
        waiting = [each.name for each in self.records if each.delivery is not None and not each.delivery.done]
        self.check(not waiting, "outcome", f"after {after} the deliveries of {waiting} are not done")

    def digest(self) -> str:
        """A fingerprint of all that happened, in its order."""
        return hashlib.sha256(repr(self.trace).encode()).hexdigest()


class Threads:
    """Stands in for anyio's worker threads, which know nothing of simulated time: work takes a while of it."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def run_sync(self, work: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
        """What the work returns, some time later."""
        await anyio.sleep(self._random.choice([0.0, 0.0001, 0.001, 0.02]))
        return work(*arguments)


@contextmanager
def compressing_elsewhere(seed: int) -> Iterator[None]:
    """Let this seed compress on the event loop, or in what stands in for threads, from some size on."""
    random = Random(f"{seed} compression")
    moment = random.choice([math.inf, 1000, 100, 0])
    kept = topics_module.bytes_in_a_moment, compressing.to_thread
    topics_module.bytes_in_a_moment = lambda *_: moment
    compressing.to_thread = Threads(random)  # type: ignore[assignment]
    try:
        yield
    finally:
        topics_module.bytes_in_a_moment, compressing.to_thread = kept


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Every source of chance of trio and of the producer, for the time of one run."""
    wall = WALL_CLOCK

    def wall_clock() -> int:
        nonlocal wall
        wall += 1
        return wall

    allowed, state, engine = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate(), Engine
    unraisable: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda args: unraisable.append(f"{args.exc_value!r} in {args.object!r}")
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # as trio's own Hypothesis plugin does
    trio_run._r.seed(seed)
    krafka.producer.Engine = partial(  # type: ignore[misc, assignment]  # a producer has no public way to be seeded
        Engine, random=Random(f"{seed} engine"), wall_clock=wall_clock
    )
    logger = logging.getLogger("krafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # type: ignore[misc]
        trio_run._r.setstate(state)
        krafka.producer.Engine = engine  # type: ignore[misc]
        logger.setLevel(level)
        if collecting:
            gc.enable()
        sys.unraisablehook = hook
    if unraisable:
        raise AssertionError(f"errors that nobody could be told: {unraisable}")


def run_seed(seed: int) -> World:
    """Run one seed; the violations are the world's."""

    async def main() -> World:
        world = World(make_plan(seed))
        await world.run()
        return world

    with seeded(seed), compressing_elsewhere(seed):
        clock = trio.testing.MockClock(rate=0.0, autojump_threshold=0.0)
        return trio.run(main, clock=clock)
