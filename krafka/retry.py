"""When to try again, and how long to wait before: the producer's own rule, and a tool for who retries by hand."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import anyio
from anyio.lowlevel import checkpoint

from krafka.errors import ConfigError, KafkaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ArgsT = TypeVarTuple("_ArgsT")
_ResultT = TypeVar("_ResultT")

_logger = logging.getLogger(__name__)

KIP_580_JITTER = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to try again, and how long to wait before each attempt.

    Waits begin with `initial_backoff` and grow by `backoff_multiplier` from attempt to attempt, up to `max_backoff`;
    each is spread by up to `jitter_factor` of itself both ways, so that clients do not return in step. Times are
    seconds. Raises `ConfigError` that names the field, its bound and the value.
    """

    max_retries: int | None = 3
    """Attempts after the first one, 0 or more; None: no limit. Default 3."""
    initial_backoff: float = 0.1
    """Seconds before the second attempt: at least 0 and at most `max_backoff`. Default 0.1."""
    max_backoff: float = 10.0
    """Seconds that no wait exceeds, jitter included. Finite. Default 10."""
    backoff_multiplier: float = 2.0
    """By how much each wait is longer than the one before: at least 1, finite. Default 2."""
    jitter_factor: float = 0.1
    """The share by which a wait varies up and down, 0 to 1. Default 0.1."""
    retry_possibly_written: bool = False
    """Whether to try again after an error that says `possibly_written`. A producer drops the duplicates of its own
    retries only: to send such a record again may write it twice. Default False: such an error is the last."""

    def __post_init__(self) -> None:
        if not _is_count(self.max_retries):
            raise _refused(
                "max_retries", "a whole number of at least 0, or None for no limit", self.max_retries
            )
        _check("max_backoff", self.max_backoff, 0, math.inf, "a finite number of seconds, at least 0")
        _check(
            "initial_backoff",
            self.initial_backoff,
            0,
            self.max_backoff,
            f"a number of seconds from 0 to max_backoff, which is {self.max_backoff:g} (set that first)",
        )
        _check("backoff_multiplier", self.backoff_multiplier, 1, math.inf, "a finite number of at least 1")
        _check("jitter_factor", self.jitter_factor, 0, 1, "a number from 0 to 1")
        if not isinstance(self.retry_possibly_written, bool):
            raise _refused("retry_possibly_written", "True or False", self.retry_possibly_written)

    def with_max_retries(self, retries: int | None) -> RetryPolicy:
        """The same with another `max_retries`."""
        return replace(self, max_retries=retries)

    def with_initial_backoff(self, seconds: float) -> RetryPolicy:
        """The same with another `initial_backoff`; one beyond `max_backoff` is refused, so raise that before."""
        return replace(self, initial_backoff=seconds)

    def with_max_backoff(self, seconds: float) -> RetryPolicy:
        """The same with another `max_backoff`; one below `initial_backoff` is refused, so lower that before."""
        return replace(self, max_backoff=seconds)

    def with_backoff_multiplier(self, multiplier: float) -> RetryPolicy:
        """The same with another `backoff_multiplier`."""
        return replace(self, backoff_multiplier=multiplier)

    def with_jitter_factor(self, factor: float) -> RetryPolicy:
        """The same with another `jitter_factor`."""
        return replace(self, jitter_factor=factor)

    def with_retry_possibly_written(self, retry: bool) -> RetryPolicy:
        """The same with another `retry_possibly_written`."""
        return replace(self, retry_possibly_written=retry)

    def allows(self, failures: int) -> bool:
        """Whether `max_retries` allows another attempt after so many failed ones."""
        return self.max_retries is None or failures <= self.max_retries

    def backoff(self, attempt: int, random: float) -> float:
        """Seconds to wait after failure number `attempt`, counted from 0.

        `random` is a number in [0, 1), as `random.Random.random()` gives; a seeded source makes the
        waits repeatable. Raises ValueError for a negative `attempt`.
        """
        if attempt < 0:
            raise ValueError(f"attempt must be at least 0, got {attempt}")
        try:
            base = min(self.initial_backoff * self.backoff_multiplier**attempt, self.max_backoff)
        except OverflowError:
            base = self.max_backoff if self.initial_backoff else 0.0
        return min(base * (1 + self.jitter_factor * (2 * random - 1)), self.max_backoff)

    async def run(
        self,
        function: Callable[[Unpack[_ArgsT]], Awaitable[_ResultT]],
        *args: *_ArgsT,
        name: str | None = None,
        deadline: float = math.inf,
    ) -> _ResultT:
        """Await `function(*args)` until it returns, and return its result; by the rules of `RetryContext`.

        The last error is raised as it is, with a note that says how many attempts there were and why no more. Keyword
        arguments go by `functools.partial`. `name` stands for the operation in logs and in that note, and is the
        function's own unless given. Cancellation is no failure: it ends an attempt or a wait at once.
        """
        context = RetryContext(self, name or _name_of(function), deadline=deadline)
        while True:
            try:
                result = await function(*args)
            except Exception as error:
                wait = context.record_failure(error)
                if wait is None:
                    count = f"{context.attempts} attempt{'s' if context.attempts > 1 else ''}"
                    error.add_note(f"{context.name}: {count}; {context.gave_up}")
                    raise
            else:
                context.record_success()
                return result
            await context.wait(wait)


class RetryContext:
    """One operation being tried: counts its attempts, and tells after each failure how long to wait, or to give up.

    `name` stands for the operation in logs. `deadline` is a time of `anyio.current_time()`: no attempt is begun
    after it, and a wait is cut to end there; it interrupts no attempt, which is what `anyio.fail_after` is for. A
    context is for one operation; the next one needs another. `random` draws the jitter and is seeded by the
    system unless given.
    """

    __slots__ = ("_attempts", "_deadline", "_gave_up", "_name", "_policy", "_random")

    def __init__(
        self, policy: RetryPolicy, name: str, *, deadline: float = math.inf, random: Random | None = None
    ) -> None:
        self._policy = policy
        self._name = name
        self._deadline = deadline
        self._random = random or Random()  # noqa: S311 - spreads retries, guards nothing
        self._attempts = 0
        self._gave_up: str | None = None

    @property
    def policy(self) -> RetryPolicy:
        """The policy it goes by."""
        return self._policy

    @property
    def name(self) -> str:
        """What is being tried."""
        return self._name

    @property
    def attempts(self) -> int:
        """How many attempts ended so far."""
        return self._attempts

    @property
    def gave_up(self) -> str | None:
        """Why there is no further attempt; None unless `record_failure` said so."""
        return self._gave_up

    def record_success(self) -> None:
        """Count an attempt that succeeded."""
        self._attempts += 1
        if self._attempts > 1:
            _logger.info("%s succeeded at attempt %d", self._name, self._attempts)

    def record_failure(self, error: BaseException) -> float | None:
        """Count an attempt that failed; return the seconds to wait before the next, or None if there is to be none.

        There is none after an error that is not retriable (`KafkaError.is_retriable`; any other exception is not, as
        nothing says that the same call may succeed later), after one that says `possibly_written` unless the
        policy's `retry_possibly_written` allows it, when `max_retries` are used up, and past the deadline. `gave_up`
        tells which it was. With a deadline, call it in the event loop.
        """
        self._attempts += 1
        remaining = math.inf if self._deadline == math.inf else self._deadline - anyio.current_time()
        self._gave_up = self._obstacle(error, remaining)
        if self._gave_up is not None:
            return None
        wait = min(self._policy.backoff(self._attempts - 1, self._random.random()), remaining)
        _logger.info(
            "%s failed at attempt %d, the next is in %.3g s: %s", self._name, self._attempts, wait, error
        )
        return wait

    def _obstacle(self, error: BaseException, remaining: float) -> str | None:
        """What stands against another attempt."""
        policy = self._policy
        if not isinstance(error, KafkaError) or not error.is_retriable:
            return f"{type(error).__name__} is not retriable"
        if error.possibly_written and not policy.retry_possibly_written:
            return "what was sent may be in the log already (retry_possibly_written is False)"
        if not policy.allows(self._attempts):
            return f"the retries are used up (max_retries is {policy.max_retries})"
        return "the deadline has passed" if remaining <= 0 else None

    async def wait(self, backoff: float) -> None:
        """Sleep for so many seconds, as `record_failure` returned them; a wait of 0 lets others run."""
        if backoff > 0:
            await anyio.sleep(backoff)
        else:
            await checkpoint()


def kafka_policy(
    initial_backoff: float, max_backoff: float, *, max_retries: int | None = None
) -> RetryPolicy:
    """Kafka's own rule for waits between attempts (KIP-580): doubling, with jitter of a fifth."""
    return RetryPolicy(
        max_retries=max_retries,
        initial_backoff=initial_backoff,
        max_backoff=max_backoff,
        jitter_factor=KIP_580_JITTER,
    )


def _name_of(function: object) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _check(name: str, value: object, low: float, high: float, rule: str) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not low <= value <= high
        or value == math.inf
    ):
        raise _refused(name, rule, value)


def _refused(name: str, rule: str, value: object) -> ConfigError:
    return ConfigError(f"{name} must be {rule}, got {value!r}", option=name)
