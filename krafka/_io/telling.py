"""Tells interceptors what became of records: plain hooks at once, and awaits those of coroutine functions in turn."""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from krafka.interceptors import ProducerInterceptor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from krafka._speedups.record_metadata import RecordMetadata
    from krafka.errors import KafkaError

logger = logging.getLogger(__name__)

MAX_BACKLOG = 10_000
"""Acknowledgements that may wait for coroutine functions before new records have to: they take memory."""
LOGGED_EACH = 10
"""Failures of one hook that are logged each; of those after them, only number 16, 32, 64 and so on."""


def is_awaitable(answer: object) -> bool:
    """Whether a hook's answer is to be awaited."""
    return answer is not None and hasattr(type(answer), "__await__")


def discard(awaitable: object) -> None:
    """Let go of what nobody will await; a coroutine that was never started would complain."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


async def failure_of(awaitable: Awaitable[object]) -> BaseException | None:
    """Await a hook in a task of the producer; what it raised, unless that is the end of the wait for it."""
    try:
        await awaitable
    except Exception as failure:
        return failure
    except anyio.get_cancelled_exc_class() as failure:
        # On asyncio a hook also comes by this where it awaits a task of its own that was cancelled.
        if anyio.get_current_task().has_pending_cancellation():
            raise
        return failure
    return None


class Interceptor:
    """One of the user's interceptors: its name, those of its hooks that do anything, and how often they failed."""

    def __init__(self, interceptor: ProducerInterceptor) -> None:
        self.name = type(interceptor).__name__
        self.on_send: Callable[..., Any] | None = self._hook(interceptor, "on_send")
        self.on_acknowledgement: Callable[..., Any] | None = self._hook(interceptor, "on_acknowledgement")
        self.close: Callable[..., Any] | None = self._hook(interceptor, "close")
        self._failures: Counter[str] = Counter()

    @staticmethod
    def _hook(interceptor: ProducerInterceptor, name: str) -> Any:
        hook = getattr(interceptor, name)
        return None if getattr(hook, "__func__", None) is getattr(ProducerInterceptor, name) else hook

    def note_failure(self, hook: str, failure: BaseException, topic: object = None) -> None:
        """Log that a hook failed; one that fails for every record is logged ever more rarely."""
        self._failures[hook] += 1
        count = self._failures[hook]
        if count <= LOGGED_EACH or count & (count - 1) == 0:
            logger.error(
                "%s of the interceptor %s failed%s (failure %d of it): %s: %s",
                hook,
                self.name,
                "" if topic is None else f" for a record of topic {topic!r}",
                count,
                type(failure).__name__,
                failure,
                exc_info=failure,
            )


class Acknowledgements:
    """What interceptors are told, in order and once."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = tuple(interceptors)
        self._outcomes: deque[tuple[RecordMetadata, KafkaError | None, int | None]] = deque()
        self._is_telling = False
        self._backlog: deque[tuple[Interceptor, str, Awaitable[object]]] = deque()
        self._is_awaiting = False
        self._task: anyio.TaskInfo | None = None
        self._woken = anyio.Event()
        self._progress = anyio.Event()

    def tell(self, metadata: RecordMetadata, error: KafkaError | None, seen: int | None = None) -> None:
        """Tell the first `seen` interceptors, by default all, what became of a record; raises nothing of theirs.

        A hook that sends to the producer may bring about the next outcome: that is told when this one is through.
        """
        self._outcomes.append((metadata, error, seen))
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._outcomes:
                self._tell_each(*self._outcomes.popleft())
        finally:
            self._is_telling = False

    def _tell_each(self, metadata: RecordMetadata, error: KafkaError | None, seen: int | None) -> None:
        for interceptor in self._interceptors[:seen]:
            if interceptor.on_acknowledgement is None:
                continue
            try:
                answer = interceptor.on_acknowledgement(metadata, error)
            except Exception as failure:
                interceptor.note_failure("on_acknowledgement", failure, metadata.topic)
                continue
            if is_awaitable(answer):
                self._backlog.append((interceptor, metadata.topic, answer))
                self._woken.set()

    # -- hooks that are awaited -----------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether so many hooks wait to be awaited that no more records should come, but for those of a hook."""
        return len(self._backlog) >= MAX_BACKLOG and not self._in_own_task()

    def _in_own_task(self) -> bool:
        return self._task is not None and anyio.get_current_task() == self._task

    async def wait_for_room(self) -> None:
        """Return when no longer behind."""
        while self.is_behind:
            await self._progress.wait()

    async def wait_until_told(self) -> None:
        """Return when every hook was awaited; a hook that waits for this itself is not kept."""
        while (self._backlog or self._is_awaiting) and not self._in_own_task():
            await self._progress.wait()

    async def run(self) -> NoReturn:
        """Await hooks for ever, one after the other; never returns."""
        self._task = anyio.get_current_task()
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            await self._await_backlog()

    async def _await_backlog(self) -> None:
        while self._backlog:
            interceptor, topic, answer = self._backlog.popleft()
            self._is_awaiting = True
            try:
                failure = await failure_of(answer)
            except BaseException:
                logger.warning(
                    "the producer ended while on_acknowledgement of the interceptor %s was under way for a "
                    "record of topic %r",
                    interceptor.name,
                    topic,
                )
                raise
            finally:
                self._is_awaiting = False
                self._progress.set()
                self._progress = anyio.Event()
            if failure is not None:
                interceptor.note_failure("on_acknowledgement", failure, topic)

    async def finish(self, seconds: float) -> None:
        """Await what is left, then close every interceptor; at most `seconds` for the first, and for each of these."""
        with anyio.move_on_after(seconds, shield=True):
            await self._await_backlog()
        if self._backlog:
            logger.warning(
                "%d calls of on_acknowledgement were not awaited within close_timeout (%g s): the producer has ended",
                len(self._backlog),
                seconds,
            )
        while self._backlog:
            discard(self._backlog.popleft()[2])
        for interceptor in self._interceptors:
            if interceptor.close is not None:
                await self._close(interceptor, interceptor.close, seconds)

    @staticmethod
    async def _close(interceptor: Interceptor, close: Callable[[], Any], seconds: float) -> None:
        try:
            answer = close()
        except Exception as error:
            interceptor.note_failure("close", error)
            return
        if not is_awaitable(answer):
            return
        with anyio.move_on_after(seconds, shield=True) as scope:
            failure = await failure_of(answer)
            if failure is not None:
                interceptor.note_failure("close", failure)
        if scope.cancelled_caught:
            logger.warning(
                "close of the interceptor %s took longer than close_timeout (%g s) and was cancelled",
                interceptor.name,
                seconds,
            )
