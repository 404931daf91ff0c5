"""One broker connection: requests out in order, responses back in that order, an outcome for each."""

from __future__ import annotations

import logging
import math
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from krafka._io import endings
from krafka._io.handshake import StreamExchange, shake_hands
from krafka._io.line import RequestLine
from krafka._io.tcp import TcpStream
from krafka._io.transport import close_stream
from krafka._io.writer import STREAM_ERRORS
from krafka._speedups.waiting import two_turns
from krafka.errors import ConnectionFailedError, KafkaError, NetworkError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import ByteStream, TaskStatus

    from krafka._io.authentication import Authenticator
    from krafka._io.transport import Connector
    from krafka._io.writer import RequestWriter
    from krafka._speedups.waiting import EventLoop
    from krafka._wire.schema import Request, Response

    ResponseT = TypeVar("ResponseT", bound=Response)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What every connection of a client has in common; times in seconds, sizes in bytes.

    `connect_timeout` bounds the handshake here; the connector bounds what comes before it.
    `software_name` and `software_version` show up in the broker's metrics (KIP-511).
    """

    client_id: str = "krafka"
    request_timeout: float = 30.0
    connect_timeout: float = 10.0
    connections_max_idle: float = 540.0
    max_frame_size: int = 100 * 1024 * 1024
    software_name: str = "krafka"
    software_version: str = "unknown"
    authenticator: Authenticator | None = None


class Connection(RequestLine):
    """A connection to one broker, alive while its `run` is.

    `address` is (host, port) and `node_id` the broker's id where it is known; both name the broker in
    errors and logs. `clock` gives seconds and must be the clock of the event loop; with a `loop` those who wait in
    its terms go on as soon as they are answered, where it can do that.

    The stream belongs to `run`: it is opened, read and closed there. Requests may come from any task of
    the event loop; each is answered by exactly one call of its `on_response`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        connector: Connector,
        options: ConnectionOptions,
        clock: Callable[[], float] = anyio.current_time,
        *,
        node_id: int | None = None,
        loop: EventLoop | None = None,
    ) -> None:
        super().__init__(
            address,
            node_id,
            options.client_id,
            options.max_frame_size,
            options.connections_max_idle,
            clock,
            self._crash,
        )
        self.has_idled = False
        """Whether it was closed because nobody used it, which says nothing against the broker."""
        self._connector = connector
        self._options = options
        self._loop = loop
        self._scope: anyio.CancelScope | None = None
        self._running = False
        self._stream: ByteStream | None = None
        self._version_by_class: dict[type[Request[Any]], int] = {}
        self._bug: Exception | None = None
        self._lifetime = math.inf
        self._used_before = math.inf

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent: the handshake is done, nothing ended it, it has not idled too long.

        Ask before each use after a pause: a broker may drop a connection that idled, without a word,
        and a machine that was suspended may find out only by the clock.
        """
        return self.is_usable_at(None)

    def api_version(self, request_class: type[Request[Any]]) -> int:
        """The version both sides speak best. Raises `UnsupportedVersionError` when there is none."""
        version = self._version_by_class.get(request_class)
        if version is None:
            if self.versions is None:
                raise self._refusal()
            version = self._version_by_class[request_class] = self.versions.version_for(request_class)
        return version

    def close(self, reason: str = "it is no longer needed") -> None:
        """Begin to close; requests without an answer fail. `run` ends soon after; more calls do nothing."""
        self._shut(NetworkError(f"the connection to {self.peer} was closed: {reason}"), logging.DEBUG)

    # ------------------------------------------------------------------ requests

    @overload
    async def send(
        self,
        request: Request[ResponseT],
        *,
        on_response: Callable[[ResponseT | KafkaError, float], object],
        version: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        expect_response: Literal[True] = True,
    ) -> None: ...

    @overload
    async def send(
        self,
        request: Request[ResponseT],
        *,
        on_response: Callable[[KafkaError | None, float], object],
        version: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        expect_response: Literal[False],
    ) -> None: ...

    @overload
    async def send(
        self,
        request: Request[ResponseT],
        *,
        on_response: Callable[[ResponseT | KafkaError | None, float], object],
        version: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
        expect_response: bool,
    ) -> None: ...

    async def send(
        self,
        request: Request[Any],
        *,
        on_response: Callable[[Any, float], object],
        version: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - bounds the answer, which outlives this call
        expect_response: bool = True,
    ) -> None:
        """Queue a request behind those queued before, and see that it is written.

        `on_response(outcome, now)` is called exactly once and must not raise: with the decoded response
        or a `KafkaError` whose `possibly_written` says whether any byte may have left, or, when
        `expect_response` is False (acks=0), with None once the bytes are in the stream's hands. The
        answer has to come within `timeout` seconds (default `request_timeout`) of this call; when it
        does not, the connection is closed, since Kafka answers in order and nothing behind it can come.

        On a closed connection `on_response` is called at once with a `NetworkError`. Raises, before
        anything is queued and without a call of `on_response`: `UnsupportedVersionError` when there is
        no common version, and cancellation.
        """
        await checkpoint_if_cancelled()
        self.post(
            request,
            on_response=on_response,
            version=version,
            timeout=timeout,
            expect_response=expect_response,
        )

    def post(
        self,
        request: Request[Any],
        *,
        on_response: Callable[[Any, float], object],
        version: int | None = None,
        timeout: float | None = None,
        expect_response: bool = True,
        now: float | None = None,
        through: bool = False,
    ) -> None:
        """As `send`, for those who must not be cancelled, or cannot wait; maybe they know the time.

        `through` has the request pass those that are parked, for what they are parked for.
        """
        if now is None:
            now = self._clock()
        if self.close_reason is not None or self.versions is None:
            on_response(self._refusal(), now)
            return
        if version is None:
            version = self.api_version(type(request))
        if timeout is None:
            timeout = self._options.request_timeout
        self.put(request, version, on_response, expect_response, timeout, now, through)

    async def request(
        self,
        request: Request[ResponseT],
        *,
        version: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the connection's deadline for the answer, as in send()
        through: bool = False,
    ) -> ResponseT:
        """Send a request and wait for its response. Raises the `KafkaError` that came instead.

        Cancelled while waiting, the answer is abandoned and the connection lives on.
        """
        answered = anyio.Event()
        outcome: ResponseT | KafkaError | None = None

        def on_response(received: ResponseT | KafkaError, now: float) -> None:
            nonlocal outcome
            outcome = received
            answered.set()

        await checkpoint_if_cancelled()
        self.post(request, on_response=on_response, version=version, timeout=timeout, through=through)
        await answered.wait()
        assert outcome is not None  # noqa: S101 - for the type checker; the event is set after it
        if isinstance(outcome, KafkaError):
            raise outcome
        return outcome

    # ------------------------------------------------------------------ the connection's own task

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Open the stream, shake hands, report started, then read until the connection ends.

        Before started: raises `ConnectionFailedError` (its cause a `ProtocolError` when something answered
        that is no broker), `UnsupportedVersionError`, or the error the broker answered with. After: ends
        of any kind are `close_reason`, not exceptions; the only exception is a bug, such as an
        `on_response` that raised.
        """
        if self._running:
            raise RuntimeError("a Connection runs once; make a new one")
        self._running = True
        try:
            with anyio.CancelScope() as self._scope:
                if self.close_reason is not None:
                    self._scope.cancel()
                await self._connect_and_serve(task_status)
        finally:
            self._fail_pending()
            if self._bug is not None:
                raise self._bug
        if self.versions is None:
            raise ConnectionFailedError(f"connecting to {self.peer} was given up") from self.close_reason

    async def _connect_and_serve(self, task_status: TaskStatus[None]) -> None:
        try:
            await checkpoint_if_cancelled()
            self._stream = await self._connector.connect(*self.address)
            await self._shake_hands(self._stream)
            await self._serve(self._stream, task_status)
        except BaseException as error:
            # Known before the stream is closed, so that a writer does not take that for the broker's doing.
            if isinstance(error, KafkaError):
                self._shut(error, logging.DEBUG)
            else:
                self.close("its task ended")
            raise
        finally:
            if self._stream is not None:
                await close_stream(self._stream)

    async def _shake_hands(self, stream: ByteStream) -> None:
        options = self._options
        exchange = StreamExchange(
            stream, self._frames, client_id=options.client_id, peer=self.peer, host=self.address[0]
        )
        versions, self._lifetime = await shake_hands(exchange, options, self.address[0])
        self.requests_sent = exchange.requests_sent
        self.bytes_sent = exchange.bytes_sent
        self.bytes_received = exchange.bytes_received
        self.last_used = self._clock()
        if versions.throttle_time_ms > 0:
            self.throttled_until = self.last_used + versions.throttle_time_ms / 1000
        self.begin(stream, exchange.requests_sent, partial(self._shut_broken, "writing to"))
        self.versions = versions
        logger.debug("connected to %s", self.peer)

    async def _serve(self, stream: ByteStream, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as task_group:
            assert self._writer is not None  # noqa: S101 - for the type checker; it was begun before
            task_group.start_soon(self._watch)
            task_group.start_soon(self._write, self._writer)
            if (authenticator := self._options.authenticator) is not None and self._lifetime < math.inf:
                task_group.start_soon(self._keep_session, authenticator)
            task_status.started()
            await self._read(stream)

    async def _read(self, stream: ByteStream) -> None:
        try:
            if isinstance(stream, TcpStream):
                await stream.pump(
                    self.take if self._loop is None else partial(self._loop.between_tasks, self.take)
                )
            let_others_first = self._way_to_let_others_first(stream)
            while True:
                self.take(await stream.receive())
                if self.in_flight == 0:
                    await let_others_first()
        except ProtocolError as error:
            self._shut(error, logging.WARNING)
        except anyio.EndOfStream as error:
            self._shut_at_end_of_stream(error)
        except STREAM_ERRORS as error:
            self._shut_broken("reading from", error)
        except Exception as error:
            self._crash(error)

    def _way_to_let_others_first(self, stream: ByteStream) -> Callable[[], Awaitable[None]]:
        if self._loop is None or not isinstance(stream, TcpStream):
            return two_turns
        # The producer's context, not that of whoever reads: tasks that are started meanwhile inherit it.
        run = copy_context().run
        failures: list[BaseException] = []

        def read() -> bool:
            try:
                if received := stream.receive_now():
                    run(self.take, received)
            except BaseException as error:
                failures.append(error)
            return not failures

        place = self._loop.reading_place(stream.raw_socket, read, lambda: self.in_flight > 0)
        if place is None:
            return two_turns

        async def offer() -> None:
            await place.offer()
            if failures:
                raise failures[0]

        return offer

    async def _write(self, writer: RequestWriter) -> None:
        try:
            await writer.run()
        except Exception as error:
            self._crash(error)

    # ------------------------------------------------------------------ authenticating again

    async def _keep_session(self, authenticator: Authenticator) -> None:
        assert self.versions is not None  # noqa: S101 - the handshake told them
        try:
            await authenticator.keep_session(self, self.versions, self._lifetime)
        except Exception as error:
            self._crash(error)

    def park(self) -> None:
        """Hold back what is sent from now on, until `unpark`: a broker takes nothing while it authenticates."""
        self._used_before = self.last_used if self.in_flight == 0 else math.inf
        self._pipeline.park()

    def unpark(self) -> None:
        """Send what was held back."""
        if self.in_flight == 0:
            # It went on idling: what the client and the broker had to say to each other is no use of the connection.
            self.last_used = min(self.last_used, self._used_before)
        self._pipeline.unpark()
        if self._writer is not None:
            self._writer.push()

    async def ask(self, request: Request[ResponseT], version: int) -> ResponseT:
        """As `request`, while all others are parked. Its bytes are in no traceback."""
        return await self.request(request, version=version, through=True)

    def end(self, reason: KafkaError) -> None:
        """Close because of an error that makes the connection useless."""
        self._shut(reason, logging.WARNING)

    # ------------------------------------------------------------------ deadlines

    async def _watch(self) -> None:
        """Close the connection when an answer is overdue, or when it has idled too long.

        Requests do not touch this task unless their deadline is earlier than its next waking, and with
        equal timeouts none is.
        """
        while True:
            self._rearm = anyio.Event()
            now = self._clock()
            overdue = self._pipeline.earliest_deadline()
            if overdue is not None:
                if overdue.deadline <= now:
                    self._shut(endings.overdue(overdue, self.peer, self.in_flight), logging.WARNING)
                    return
                self._wakes_at = overdue.deadline
            else:
                idle_until = self.last_used + self._options.connections_max_idle
                if idle_until <= now:
                    self.has_idled = True
                    self.close(
                        f"no request for {self._options.connections_max_idle:g} s (connections_max_idle)"
                    )
                    return
                self._wakes_at = min(idle_until, now + self._options.request_timeout)
            with anyio.move_on_after(self._wakes_at - now):
                await self._rearm.wait()

    # ------------------------------------------------------------------ endings

    def _shut(self, reason: KafkaError, level: int) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            if self.versions is not None:
                logger.log(level, "%s", reason)
            if self._scope is not None:
                self._scope.cancel()

    def _shut_at_end_of_stream(self, error: anyio.EndOfStream) -> None:
        reason = endings.end_of_stream(
            error,
            self.peer,
            held_bytes=self._frames.held_bytes,
            in_flight=self.in_flight,
            was_answered=self._pipeline.answered > 0 or self._options.authenticator is not None,
        )
        self._shut(reason, logging.WARNING if self.in_flight else logging.INFO)

    def _shut_broken(self, doing: str, error: Exception) -> None:
        self._shut(endings.broken(doing, error, self.peer, self.address[0]), logging.WARNING)

    def _crash(self, error: Exception) -> None:
        """Close because of a bug. All requests get their outcomes first, then run() raises the first bug."""
        if self._bug is None:
            self._bug = error
        self._shut(
            NetworkError(f"the connection to {self.peer} was closed by a bug in the client: {error!r}"),
            logging.ERROR,
        )

    def _refusal(self) -> NetworkError:
        return endings.refusal(self.peer, self.close_reason)

    def _fail_pending(self) -> None:
        """Give every request without an outcome its error."""
        now = self._clock()
        written, queued = self._pipeline.drain()
        for possibly_written, requests in ((True, written), (False, queued)):
            for pending in requests:
                failure = endings.unanswered(pending, self.close_reason, possibly_written=possibly_written)
                self._deliver(pending, failure, now)
