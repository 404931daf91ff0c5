"""Retry policies: the bounds that always hold, what is retried and what is not, and the waits between attempts."""

from __future__ import annotations

import functools
import logging
import math
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka import RetryContext, RetryPolicy
from krafka.errors import (
    ConfigError,
    DeliveryTimeoutError,
    KafkaError,
    NotLeaderOrFollowerError,
    ProducerFencedError,
    RecordTooLargeError,
)
from krafka.retry import kafka_policy

HALF = 0.5  # the random number that leaves a wait as it is
AT_ONCE = RetryPolicy(initial_backoff=0, jitter_factor=0)


# -- waits -------------------------------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    assert RetryPolicy() == RetryPolicy(
        max_retries=3,
        initial_backoff=0.1,
        max_backoff=10.0,
        backoff_multiplier=2.0,
        jitter_factor=0.1,
        retry_possibly_written=False,
    )


def test_waits_double_up_to_the_maximum() -> None:
    policy = kafka_policy(0.1, 1.0)
    waits = [policy.backoff(attempt, HALF) for attempt in range(6)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_the_engines_jitter_spreads_by_a_fifth_each_way() -> None:
    policy = kafka_policy(0.1, 10.0)
    assert policy.backoff(0, 0.0) == pytest.approx(0.08)
    assert policy.backoff(0, 1.0) == pytest.approx(0.12)
    assert policy.with_jitter_factor(0).backoff(0, 0.0) == 0.1


@given(
    initial=st.floats(0, 100),
    factor=st.floats(1, 1000),
    multiplier=st.floats(1, 1000),
    jitter=st.floats(0, 1),
    attempt=st.integers(0, 10**6),
    random=st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_negative_or_above_the_maximum(
    initial: float, factor: float, multiplier: float, jitter: float, attempt: int, random: float
) -> None:
    policy = RetryPolicy(
        initial_backoff=initial,
        max_backoff=initial * factor,
        backoff_multiplier=multiplier,
        jitter_factor=jitter,
    )
    wait = policy.backoff(attempt, random)
    assert 0 <= wait <= policy.max_backoff
    assert wait >= min(initial, policy.max_backoff) * (1 - jitter) * (1 - 1e-9)


def test_a_negative_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        RetryPolicy().backoff(-1, HALF)


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named", "bound"),
    [
        ({"max_retries": -1}, "max_retries", "at least 0, or None"),
        ({"max_retries": True}, "max_retries", "whole number"),
        ({"max_retries": 3.0}, "max_retries", "whole number"),
        ({"initial_backoff": -0.1}, "initial_backoff", "from 0 to max_backoff, which is 10"),
        ({"initial_backoff": math.nan}, "initial_backoff", "from 0"),
        ({"initial_backoff": "1"}, "initial_backoff", "a number of seconds"),
        ({"initial_backoff": 11}, "initial_backoff", "set that first"),
        ({"max_backoff": 0.05}, "initial_backoff", "which is 0.05"),
        ({"max_backoff": math.inf}, "max_backoff", "finite"),
        ({"max_backoff": -1}, "max_backoff", "at least 0"),
        ({"backoff_multiplier": 0.5}, "backoff_multiplier", "at least 1"),
        ({"backoff_multiplier": math.inf}, "backoff_multiplier", "finite"),
        ({"jitter_factor": 1.1}, "jitter_factor", "from 0 to 1"),
        ({"jitter_factor": -0.1}, "jitter_factor", "from 0 to 1"),
        ({"jitter_factor": None}, "jitter_factor", "a number"),
        ({"retry_possibly_written": 1}, "retry_possibly_written", "True or False"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_name(fields: dict[str, Any], named: str, bound: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{named} must be .*{bound}.*, got ") as raised:
        RetryPolicy(**fields)
    assert raised.value.option == named


def test_each_builder_changes_its_field_and_no_other() -> None:
    changes: dict[str, Any] = {
        "max_retries": None,
        "initial_backoff": 0.5,
        "max_backoff": 5.0,
        "backoff_multiplier": 3.0,
        "jitter_factor": 0.4,
        "retry_possibly_written": True,
    }
    policy = RetryPolicy()
    for name, value in changes.items():
        changed = getattr(policy, f"with_{name}")(value)
        assert changed == RetryPolicy(**{name: value})
        assert changed != policy
        with pytest.raises(ConfigError, match=name):
            getattr(policy, f"with_{name}")("x")
    assert policy == RetryPolicy()


def test_a_policy_without_a_limit_always_allows_one_more() -> None:
    assert [RetryPolicy(max_retries=2).allows(failures) for failures in range(5)] == [True] * 3 + [False] * 2
    assert RetryPolicy(max_retries=None).allows(10**9)


# -- one operation -----------------------------------------------------------------------------------------------------


def test_failures_are_counted_until_the_retries_are_used_up() -> None:
    context = RetryContext(RetryPolicy(max_retries=2, jitter_factor=0), "load")
    error = NotLeaderOrFollowerError()
    assert [context.record_failure(error) for _ in range(3)] == [0.1, 0.2, None]
    assert context.attempts == 3
    assert context.gave_up == "the retries are used up (max_retries is 2)"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RecordTooLargeError("too large"), "RecordTooLargeError is not retriable"),
        (ProducerFencedError("fenced"), "ProducerFencedError is not retriable"),
        (OSError("disk"), "OSError is not retriable"),
        (TimeoutError(), "TimeoutError is not retriable"),
        (
            DeliveryTimeoutError("late", possibly_written=True),
            "what was sent may be in the log already (retry_possibly_written is False)",
        ),
    ],
    ids=repr,
)
def test_what_is_not_retried(error: Exception, why: str) -> None:
    context = RetryContext(RetryPolicy(), "load")
    assert context.gave_up is None
    assert context.record_failure(error) is None
    assert context.gave_up == why


def test_a_duplicate_is_risked_where_the_policy_says_so() -> None:
    late = DeliveryTimeoutError("late", possibly_written=True)
    policy = RetryPolicy().with_retry_possibly_written(retry=True)
    assert RetryContext(policy, "load").record_failure(late) is not None
    assert RetryContext(RetryPolicy(), "load").record_failure(DeliveryTimeoutError("late")) is not None


def test_the_jitter_is_drawn_from_the_random_given() -> None:
    error = NotLeaderOrFollowerError()
    waits = [
        [context.record_failure(error) for _ in range(3)]
        for context in (RetryContext(RetryPolicy(), "load", random=Random(seed)) for seed in (1, 1, 2))
    ]
    assert waits[0] == waits[1] != waits[2]


def test_success_and_failures_are_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "krafka.retry")
    calm = RetryContext(AT_ONCE, "calm")
    calm.record_success()
    assert (calm.attempts, caplog.messages) == (1, [])
    context = RetryContext(AT_ONCE, "load", random=Random(0))
    context.record_failure(NotLeaderOrFollowerError("moved"))
    context.record_success()
    assert caplog.messages == [
        "load failed at attempt 1, the next is in 0 s: moved",
        "load succeeded at attempt 2",
    ]
    assert (context.attempts, context.name, context.policy) == (2, "load", AT_ONCE)


@pytest.mark.anyio
async def test_no_attempt_begins_after_the_deadline_and_waits_are_cut_to_it() -> None:
    policy = RetryPolicy(initial_backoff=5, jitter_factor=0)
    context = RetryContext(policy, "load", deadline=anyio.current_time() + 1)
    wait = context.record_failure(NotLeaderOrFollowerError())
    assert wait is not None
    assert 0 < wait <= 1
    late = RetryContext(policy, "load", deadline=anyio.current_time())
    assert late.record_failure(NotLeaderOrFollowerError()) is None
    assert late.gave_up == "the deadline has passed"


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_a_wait_takes_its_time_and_lets_others_run(seconds: float) -> None:
    ran = anyio.Event()

    async def other() -> None:
        ran.set()

    began = anyio.current_time()
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(other)
        for _ in range(3):
            await RetryContext(RetryPolicy(), "load").wait(seconds)
        assert ran.is_set()
    assert anyio.current_time() - began >= seconds * 0.9


# -- run ---------------------------------------------------------------------------------------------------------------


class Flaky:
    """An operation that fails with each of these, and then returns what it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def work(self, *args: object) -> tuple[object, ...]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return args


@pytest.mark.anyio
async def test_run_tries_until_it_succeeds() -> None:
    flaky = Flaky(NotLeaderOrFollowerError(), DeliveryTimeoutError())
    assert await AT_ONCE.run(flaky.work, "orders", b"v") == ("orders", b"v")
    assert flaky.calls == 3


@pytest.mark.anyio
async def test_run_raises_the_last_error_itself_with_a_note() -> None:
    errors = [NotLeaderOrFollowerError(str(number)) for number in range(3)]
    flaky = Flaky(*errors)
    with pytest.raises(NotLeaderOrFollowerError) as raised:
        await AT_ONCE.with_max_retries(2).run(flaky.work)
    assert raised.value is errors[2]
    assert raised.value.__notes__ == [
        "Flaky.work: 3 attempts; the retries are used up (max_retries is 2)",
    ]
    assert flaky.calls == 3


@pytest.mark.anyio
async def test_run_leaves_every_other_exception_as_it_is() -> None:
    bug = ExceptionGroup("two", [KeyError("a"), NotLeaderOrFollowerError()])
    flaky = Flaky(bug)
    with pytest.raises(ExceptionGroup) as raised:
        await AT_ONCE.run(functools.partial(flaky.work, 1), name="the load")
    assert raised.value is bug
    assert bug.__notes__ == ["the load: 1 attempt; ExceptionGroup is not retriable"]
    assert flaky.calls == 1


@pytest.mark.anyio
async def test_run_keeps_to_the_deadline() -> None:
    flaky = Flaky(*(NotLeaderOrFollowerError() for _ in range(1_000_000)))
    with pytest.raises(NotLeaderOrFollowerError) as raised:
        await AT_ONCE.with_max_retries(None).run(
            functools.partial(flaky.work), deadline=anyio.current_time() + 0.02
        )
    assert 1 < flaky.calls < 1_000_000
    assert raised.value.__notes__ == [f"Flaky.work: {flaky.calls} attempts; the deadline has passed"]


@pytest.mark.anyio
async def test_cancellation_ends_an_attempt_and_a_wait_at_once() -> None:
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        await anyio.sleep_forever()

    with anyio.move_on_after(0.01) as scope:
        await AT_ONCE.run(hang)
    assert (scope.cancelled_caught, calls) == (True, 1)
    flaky = Flaky(*[NotLeaderOrFollowerError()] * 3)
    with anyio.move_on_after(0.01) as scope:
        await RetryPolicy(initial_backoff=9).run(flaky.work)
    assert (scope.cancelled_caught, flaky.calls) == (True, 1)


def test_every_error_of_krafkas_own_is_decided_by_its_attributes() -> None:
    for error in (KafkaError("x"), NotLeaderOrFollowerError("x")):
        retried = RetryContext(RetryPolicy(), "load").record_failure(error) is not None
        assert retried == error.is_retriable
