"""Faults: which request each waits for, and what a broker does with that request instead of the usual."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from krafka.errors import KafkaError
    from krafka.testing.fake.requests import ReceivedRequest

Place = tuple[str, int | None]
"""A topic and a partition that a request names; None where it names the topic as a whole."""

WHOLE: Place = ("", None)
"""The place in a request that names no topic."""


class FaultOptions(TypedDict, total=False):
    """The options of a `Fault` as keyword arguments; `Fault` says what each means."""

    topic: str | None
    partition: int | None
    broker: int | None
    when: Callable[[ReceivedRequest], bool] | None
    times: int | None
    skip: int
    after_append: bool
    code: int | type[KafkaError]
    message: str | None
    record_errors: Mapping[int, str]
    log_start_offset: int | None
    disconnect: bool
    delay: float
    hold: bool
    throttle_time_ms: int
    edit: Callable[[Any], None] | None
    correlation_id: int | None
    frame_size: int | None
    cut_at: int | None
    stall: bool
    chunk_size: int | None
    chunk_delay: float


@dataclass(kw_only=True, eq=False)
class Fault:
    """Something that goes wrong with requests, `times` of them, and a record of how often it has.

    It waits for requests to `api` (Kafka's name, such as ``"Produce"``; None: any but ApiVersions) that name `topic`
    and `partition`, reach `broker` and satisfy `when(request)`, as far as these are given, lets `skip` of them pass and
    strikes the next `times` (None: all).

    Several faults may wait for the same request. Of those with a `code` the oldest that fits decides, for each
    partition; of the others the oldest that fits acts. One with a `code` and something else acts as both.

    By default the broker has not done what it was asked when the fault strikes; with `after_append` it has: the
    records are in the log, the metadata are read. What a fault can do, in any combination that makes sense:

    - `code`: the answer for the partitions or topics that fit, a number or a class of `krafka.errors`; with it
      `message`, `record_errors` (texts by index in the batch, KIP-467), `log_start_offset`.
    - `disconnect`: close the connection instead of answering.
    - `delay`: seconds the request is held up. `hold`: until `release()`. A broker answers a connection's
      requests in order, so those behind it on the same connection wait too.
    - `edit`: a callable that changes the response object before it is sent.
    - `throttle_time_ms`: what the answer tells about a quota. The broker leaves the waiting to the client.
    - `correlation_id`, `frame_size`: what the answer claims instead of the truth.
    - `cut_at`: only so many bytes of the answer are sent, then the connection is closed, or with `stall` stays
      open in silence for ever.
    - `chunk_size`, `chunk_delay`: the answer trickles in, so many bytes every so many seconds.
    """

    api: str | None = None
    topic: str | None = None
    partition: int | None = None
    broker: int | None = None
    when: Callable[[ReceivedRequest], bool] | None = None
    times: int | None = 1
    skip: int = 0
    after_append: bool = False
    code: int | type[KafkaError] = 0
    message: str | None = None
    record_errors: Mapping[int, str] = field(default_factory=dict)
    log_start_offset: int | None = None
    disconnect: bool = False
    delay: float = 0.0
    hold: bool = False
    throttle_time_ms: int = 0
    edit: Callable[[Any], None] | None = None
    correlation_id: int | None = None
    frame_size: int | None = None
    cut_at: int | None = None
    stall: bool = False
    chunk_size: int | None = None
    chunk_delay: float = 0.0
    hits: int = field(default=0, init=False)
    """Requests it has struck so far."""

    def __post_init__(self) -> None:
        if isinstance(self.code, type):
            if self.code.code is None:
                raise ValueError(f"no broker answers with {self.code.__name__}: it has no error code")
            self.code = self.code.code
        if self.partition is not None and self.topic is None:
            raise ValueError(f"a fault for partition {self.partition} needs the topic too")
        if not (self.code or self._is_whole):
            raise ValueError("the fault would do nothing: give it a code, disconnect=True, a delay, ...")
        self._released = anyio.Event()
        self._struck = anyio.Event()

    @property
    def _is_whole(self) -> bool:
        """Whether it does something to the request as a whole, apart from a code."""
        return bool(
            self.disconnect
            or self.delay
            or self.hold
            or self.throttle_time_ms
            or self.edit
            or self.stall
            or self.chunk_size is not None
            or self.correlation_id is not None
            or self.frame_size is not None
            or self.cut_at is not None
        )

    @property
    def error_code(self) -> int:
        """`code` as a number; 0 for none."""
        return self.code if isinstance(self.code, int) else self.code.code or 0

    def release(self) -> None:
        """Let the requests go that `hold` keeps, and keep no more."""
        self._released.set()

    async def struck(self, times: int = 1) -> None:
        """Return when the fault has struck so many requests."""
        while self.hits < times:
            await self._struck.wait()

    async def wait(self) -> None:
        """What the broker waits for: `delay`, then `release()`."""
        if self.delay:
            await anyio.sleep(self.delay)
        if self.hold:
            await self._released.wait()

    def covers(self, topic: str, partition: int | None) -> bool:
        """Whether a place in a request is one the fault is for."""
        if self.topic is None:
            return True
        return self.topic == topic and (
            self.partition is None or partition is None or self.partition == partition
        )

    def _fits(self, request: ReceivedRequest, places: Iterable[Place]) -> bool:
        if self.api is None:
            if request.api == "ApiVersions":
                return False
        elif self.api != request.api:
            return False
        if self.broker is not None and self.broker != request.broker:
            return False
        if self.topic is not None and not any(self.covers(*place) for place in places):
            return False
        return self.when is None or self.when(request)

    def _strike(self) -> None:
        self.hits += 1
        self._struck.set()
        self._struck = anyio.Event()


class Strike:
    """The faults that act on one request."""

    __slots__ = ("_coded", "whole")

    def __init__(self, whole: Fault | None, coded: list[Fault]) -> None:
        self.whole: Fault | None = whole
        self._coded = coded

    def code_for(self, topic: str = "", partition: int | None = None) -> Fault | None:
        """The fault that decides about the answer for a partition or topic, or about the whole by default."""
        return next((fault for fault in self._coded if fault.covers(topic, partition)), None)


class FaultScript:
    """The faults that wait, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Have one more fault wait for its requests."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Call off all that wait, and let go of what they hold."""
        for fault in self._waiting:
            fault.release()
        self._waiting.clear()

    def remove(self, fault: Fault) -> None:
        """Call off a fault, and let go of what it holds; nothing happens if it is not waiting any more."""
        fault.release()
        if fault in self._waiting:
            self._waiting.remove(fault)

    def strike(self, request: ReceivedRequest, places: list[Place]) -> Strike:
        """Choose the faults that act on a request, and count it for them."""
        whole: Fault | None = None
        coded: list[Fault] = []
        decided: set[Place] = set()
        for fault in list(self._waiting):
            if not fault._fits(request, places):  # noqa: SLF001 - the two are one mechanism
                continue
            covered = {place for place in places if fault.covers(*place)}
            acts_whole = whole is None and fault._is_whole  # noqa: SLF001 - as above
            acts_coded = bool(fault.error_code) and not covered <= decided
            if not (acts_whole or acts_coded):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if acts_whole:
                whole = fault
            if acts_coded:
                coded.append(fault)
                decided |= covered
            fault._strike()  # noqa: SLF001 - as above
            if fault.times is not None and fault.hits >= fault.times:
                self._waiting.remove(fault)
        return Strike(whole, coded)
