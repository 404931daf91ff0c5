"""The wait between attempts: doubling, jitter, and the bounds that always hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka.errors import ConfigError
from krafka.retry import ExponentialBackoff

HALF = 0.5  # the random number that leaves a wait as it is


def test_waits_double_up_to_the_maximum() -> None:
    backoff = ExponentialBackoff(0.1, 1.0)
    waits = [backoff.delay(attempt, HALF) for attempt in range(6)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_spreads_by_a_fifth_each_way() -> None:
    backoff = ExponentialBackoff(0.1, 10.0)
    assert backoff.delay(0, 0.0) == pytest.approx(0.08)
    assert backoff.delay(0, 1.0) == pytest.approx(0.12)
    assert ExponentialBackoff(0.1, 10.0, jitter=0.0).delay(0, 0.0) == 0.1


@given(
    initial=st.floats(0, 100),
    factor=st.floats(1, 1000),
    multiplier=st.floats(1, 1000),
    jitter=st.floats(0, 1, exclude_max=True),
    attempt=st.integers(0, 10**6),
    random=st.floats(0, 1, exclude_max=True),
)
def test_no_wait_is_negative_or_above_the_maximum(
    initial: float, factor: float, multiplier: float, jitter: float, attempt: int, random: float
) -> None:
    maximum = initial * factor
    wait = ExponentialBackoff(initial, maximum, multiplier, jitter).delay(attempt, random)
    assert 0 <= wait <= maximum
    assert wait >= min(initial, maximum) * (1 - jitter) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((-0.1, 1.0), "initial"),
        ((math.nan, 1.0), "initial"),
        ((math.inf, math.inf), "initial"),
        ((2.0, 1.0), "maximum"),
        ((0.1, math.inf), "maximum"),
        ((0.1, 1.0, 0.5), "multiplier"),
        ((0.1, 1.0, 2.0, 1.0), "jitter"),
        ((0.1, 1.0, 2.0, -0.1), "jitter"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments: tuple[float, ...], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{named} must be .*got"):
        ExponentialBackoff(*arguments)


def test_a_negative_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        ExponentialBackoff(0.1, 1.0).delay(-1, HALF)
