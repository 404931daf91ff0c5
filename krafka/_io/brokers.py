"""Connections to the cluster's brokers: opened when needed, shared, backed off, adopted and retired."""

from __future__ import annotations

import copy
import logging
import math
from random import Random
from typing import TYPE_CHECKING

import anyio

from krafka._io.transport import format_address
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    KafkaError,
    ProducerClosedError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anyio.abc import TaskGroup

    from krafka._io.connection import Connection
    from krafka._state.cluster import Broker
    from krafka.retry import RetryPolicy

logger = logging.getLogger(__name__)

# Every broker refuses the same credentials and speaks about the same versions: trying the next is no help.
_FATAL = (AuthenticationError, UnsupportedVersionError)

# How long one silent address may hold up the search for any broker before the next is tried beside it.
NEXT_BROKER_AFTER = 1.0


def same_error(error: KafkaError) -> KafkaError:
    """A copy of `error`, caused by it: one for each caller who raises it, so that no traceback is shared."""
    fresh = copy.copy(error)
    fresh.__cause__ = error
    return fresh


class _Endpoint:
    """One address, and what became of the attempts to reach it."""

    __slots__ = ("failures", "host", "last_error", "link", "port", "retry_at")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.link: _Link | None = None
        self.failures = 0
        self.retry_at = -math.inf
        self.last_error: KafkaError | None = None

    def __str__(self) -> str:
        return format_address(self.host, self.port)

    def usable(self, now: float | None = None) -> Connection | None:
        """The connection to this address if requests can go out on it now."""
        link = self.link
        if link is None or link.connection is None or not link.connection.is_usable_at(now):
            return None
        return link.connection


class _Link:
    """One connection from the wish for it to its end: one task, shared by everybody who needs it.

    It is also the task status under which the connection runs, so it learns when the handshake is over.
    """

    __slots__ = (
        "_listeners",
        "_on_started",
        "connection",
        "ended",
        "endpoint",
        "error",
        "opened",
        "scope",
        "started_at",
    )

    def __init__(self, endpoint: _Endpoint, on_started: Callable[[_Link], None]) -> None:
        self.endpoint = endpoint
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.opened: Connection | None = None
        self.connection: Connection | None = None
        self.error: KafkaError | None = None
        self.started_at: float | None = None
        self._on_started = on_started
        self._listeners: list[anyio.Event] = []

    @property
    def settled(self) -> bool:
        """Whether it is known if the attempt succeeded."""
        return self.connection is not None or self.error is not None

    def listen(self, event: anyio.Event) -> None:
        """Have `event` set when the attempt succeeds or fails."""
        self._listeners.append(event)

    def started(self, value: None = None) -> None:
        """The handshake is over: the connection can be used."""
        self.connection = self.opened
        self._on_started(self)
        self._tell()

    def fail(self, error: KafkaError) -> None:
        """The attempt came to nothing. The first reason given stays; a connection that started has none."""
        if not self.settled:
            self.error = error
            self._tell()

    def end(self, reason: str) -> None:
        """Close the connection, or stop the attempt and fail it with `reason`."""
        if self.connection is not None:
            self.connection.close(reason)
        else:
            self.fail(ConnectionFailedError(f"connecting to {self.endpoint} was given up: {reason}"))
            self.scope.cancel()

    def _tell(self) -> None:
        for event in self._listeners:
            event.set()
        self._listeners.clear()


class BrokerPool:
    """Broker connections by node id, and from the bootstrap addresses while the nodes are not known.

    A node shares what there is with the bootstrap server of the same address, so the connection that fetched
    the first metadata becomes that node's, and an address has one connection at a time. Each connection lives
    in a task of `task_group`; cancelling a caller who waits for one neither stops the attempt nor touches the
    others who wait.

    `open_connection` makes a `Connection` for an address and the node id known for it; `run` is called here.
    After a failure an address is left alone for `backoff`, which grows with each failure until a connection
    has lasted for the backoff's maximum. `clock` gives seconds and is the event loop's clock.
    """

    def __init__(
        self,
        bootstrap: Sequence[tuple[str, int]],
        open_connection: Callable[[tuple[str, int], int | None], Connection],
        task_group: TaskGroup,
        *,
        backoff: RetryPolicy,
        clock: Callable[[], float] = anyio.current_time,
        random: Random | None = None,
    ) -> None:
        self._open_connection = open_connection
        self._task_group = task_group
        self._retry_policy = backoff
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._endpoints: dict[tuple[str, int], _Endpoint] = {}
        self._bootstrap = tuple(self._endpoint(host, port) for host, port in dict.fromkeys(bootstrap))
        self._nodes: dict[int, _Endpoint] = {}
        self._bootstrap_first = False
        self._links: set[_Link] = set()
        self._retired: set[_Link] = set()
        self._updated = anyio.Event()
        self._all_ended: anyio.Event | None = None
        self._last_error: KafkaError | None = None
        self.connections_created = 0
        """Connections whose handshake succeeded, since the pool was made."""
        self.connections_closed = 0
        """Those of them that have ended."""
        self.connect_failures = 0
        """Attempts that did not come to a usable connection."""

    @property
    def last_error(self) -> KafkaError | None:
        """The latest failure of a connection; None again as soon as a connection succeeds."""
        return self._last_error

    @property
    def addresses(self) -> list[str]:
        """The addresses in use as `host:port`, for texts: the nodes' if known, else the bootstrap's."""
        return [str(endpoint) for endpoint in self._nodes.values() or self._bootstrap]

    def node_error(self, node_id: int) -> KafkaError | None:
        """Why the broker could last not be reached; None once a connection to it succeeded."""
        endpoint = self._nodes.get(node_id)
        return None if endpoint is None else endpoint.last_error

    def usable(self, node_id: int, now: float | None = None) -> Connection | None:
        """The connection to a broker if it is there and can be used now. Never waits."""
        endpoint = self._nodes.get(node_id)
        return None if endpoint is None else endpoint.usable(now)

    async def connection(self, node_id: int) -> Connection:
        """The connection to a broker, opened if necessary, after what is left of the address's backoff.

        Raises `ConnectionFailedError` when this attempt fails or the broker is not in the metadata,
        `AuthenticationError` or `UnsupportedVersionError` when trying again would be no help, and
        `ProducerClosedError` after `close()`.
        """
        await anyio.lowlevel.checkpoint()
        self._check_open()
        endpoint = self._nodes.get(node_id)
        if endpoint is None:
            # Callers come back after a failure, so one that costs no time would have them spin.
            with anyio.move_on_after(self._retry_policy.backoff(0, self._random.random())):
                await self._updated.wait()
            self._check_open()
            endpoint = self._nodes.get(node_id)
        if endpoint is None:
            known = ", ".join(map(str, sorted(self._nodes))) or "none"
            raise ConnectionFailedError(
                f"broker {node_id} is not in the cluster's metadata (known brokers: {known}); it may have "
                "just left or joined"
            )
        link = self._link(endpoint)
        while not link.settled:
            event = anyio.Event()
            link.listen(event)
            await event.wait()
        if link.connection is not None:
            return link.connection
        if isinstance(link.error, (*_FATAL, ProducerClosedError)):
            raise same_error(link.error)
        raise ConnectionFailedError(
            f"broker {node_id} at {endpoint} cannot be used: {link.error}"
        ) from link.error

    async def any_connection(self, *, avoid: Connection | None = None) -> Connection:
        """A connection to whichever broker, for requests that every broker answers.

        Prefers the open connection with the fewest requests in flight that is not throttled; then tries the
        known brokers in random order, those in backoff last, and the bootstrap servers after them (KIP-899).
        An address that stays silent does not hold up the others for longer than `NEXT_BROKER_AFTER`.
        `avoid` is a connection that did not answer: it is given only when there is no other.

        Raises `ConnectionFailedError` naming every address with its reason when all have failed, and at once
        the errors of `connection()` that trying elsewhere does not help.
        """
        await anyio.lowlevel.checkpoint()
        self._check_open()
        best = self._best_open(avoid)
        if best is not None:
            return best
        try:
            return await self._connect_any(avoid)
        except ConnectionFailedError:
            if avoid is not None and avoid.is_usable:
                return avoid
            raise

    def update(self, brokers: Mapping[int, Broker]) -> None:
        """Take the brokers of new metadata; connections to addresses it no longer names end once idle."""
        self._nodes = {
            node_id: self._endpoint(broker.host, broker.port) for node_id, broker in brokers.items()
        }
        self._bootstrap_first = False
        self._updated.set()
        self._updated = anyio.Event()
        needed = {*self._nodes.values(), *self._bootstrap}
        for address, endpoint in list(self._endpoints.items()):
            if endpoint not in needed:
                del self._endpoints[address]
                self._retire(endpoint)
        for node_id, endpoint in self._nodes.items():
            if (adopted := endpoint.usable()) is not None and adopted.node_id is None:
                adopted.node_id = node_id
        for link in self._retired:
            _end_if_idle(link)

    def rebootstrap(self) -> None:
        """Let `any_connection()` start from the bootstrap servers, their names resolved anew (KIP-1102).

        That lasts until the next `update()`; the nodes known so far stay reachable by id.
        """
        self._bootstrap_first = True
        for endpoint in self._bootstrap:
            # What is being opened is fresh, and what has requests under way answers and keeps their order.
            if (connection := endpoint.usable()) is not None and connection.in_flight == 0:
                self._retire(endpoint)

    async def close(self) -> None:
        """End every connection and attempt, and return when their tasks have ended. Idempotent.

        Whoever waits for a connection gets `ProducerClosedError`.
        """
        if self._all_ended is None:
            self._all_ended = anyio.Event()
            self._updated.set()
        if not self._links:
            self._all_ended.set()
        for link in self._links:
            link.fail(ProducerClosedError(f"the producer was closed while connecting to {link.endpoint}"))
            link.end("the producer is closed")
        await self._all_ended.wait()

    def _check_open(self) -> None:
        # A task group that is cancelled takes no more tasks in a moment.
        if self._all_ended is not None or self._task_group.cancel_scope.cancel_called:
            raise ProducerClosedError("the producer is closed; its connections are gone")

    def _endpoint(self, host: str, port: int) -> _Endpoint:
        endpoint = self._endpoints.get((host, port))
        if endpoint is None:
            endpoint = self._endpoints[host, port] = _Endpoint(host, port)
        return endpoint

    def _link(self, endpoint: _Endpoint) -> _Link:
        previous = endpoint.link
        if previous is not None:
            if not previous.settled or endpoint.usable() is not None:
                return previous
            self._detach(previous)
            previous.end("it has idled too long")
        self._check_open()
        link = endpoint.link = _Link(endpoint, self._note_start)
        self._links.add(link)
        self._task_group.start_soon(self._run, link, previous, name=f"krafka connection to {endpoint}")
        return link

    async def _run(self, link: _Link, previous: _Link | None) -> None:
        """The life of one connection; network faults end here, bugs go on to the task group."""
        endpoint = link.endpoint
        try:
            with link.scope:
                if previous is not None:
                    # Its requests have their outcome before a new connection can overtake them.
                    await previous.ended.wait()
                await anyio.sleep(max(0.0, endpoint.retry_at - self._clock()))
                link.opened = self._open_connection((endpoint.host, endpoint.port), self._node_id(endpoint))
                await link.opened.run(task_status=link)
        except KafkaError as error:
            if link.connection is not None:
                raise
            if not link.settled:
                level = logging.DEBUG if endpoint.failures else logging.WARNING
                logger.log(level, "no connection to %s: %s", endpoint, error)
                self._note_failure(endpoint, error)
                self.connect_failures += 1
                link.fail(error)
        finally:
            self._ended(link)

    def _node_id(self, endpoint: _Endpoint) -> int | None:
        return next((node_id for node_id, other in self._nodes.items() if other is endpoint), None)

    def _retire(self, endpoint: _Endpoint) -> None:
        """Give no more requests to what is open to an address; what is under way there may finish."""
        link = endpoint.link
        if link is not None:
            self._detach(link)
            self._retired.add(link)
            _end_if_idle(link)

    def _detach(self, link: _Link) -> None:
        """Part a connection from its address, and judge by its end when the address may be tried again."""
        endpoint = link.endpoint
        if endpoint.link is not link:
            return
        endpoint.link = None
        connection = link.connection
        if self._all_ended is not None or connection is None or connection.has_idled:
            return
        if connection.close_reason is not None:
            lasted = self._clock() - (link.started_at or 0.0)
            if lasted >= self._retry_policy.max_backoff:
                endpoint.failures = 0
            self._note_failure(endpoint, connection.close_reason)

    def _ended(self, link: _Link) -> None:
        link.fail(ConnectionFailedError(f"connecting to {link.endpoint} was given up"))
        self._detach(link)
        if link.connection is not None:
            self.connections_closed += 1
        link.ended.set()
        self._retired.discard(link)
        self._links.discard(link)
        if self._all_ended is not None and not self._links:
            self._all_ended.set()

    def _note_start(self, link: _Link) -> None:
        link.started_at = self._clock()
        link.endpoint.last_error = self._last_error = None
        self.connections_created += 1

    def _note_failure(self, endpoint: _Endpoint, error: KafkaError) -> None:
        self._last_error = endpoint.last_error = error
        delay = self._retry_policy.backoff(endpoint.failures, self._random.random())
        endpoint.failures += 1
        endpoint.retry_at = self._clock() + delay

    def _best_open(self, avoid: Connection | None) -> Connection | None:
        now = self._clock()
        groups: list[Iterable[_Endpoint]] = [self._nodes.values(), self._bootstrap]
        for group in groups[1:] if self._bootstrap_first else groups:
            usable = [connection for endpoint in group if (connection := endpoint.usable()) is not None]
            others = [connection for connection in usable if connection is not avoid]
            if others:
                return min(others, key=lambda each: (each.throttled_until > now, each.in_flight))
        return None

    def _candidates(self, avoid: Connection | None) -> list[_Endpoint]:
        """The addresses to try, in order; those in backoff only when there are no others."""
        groups = [list(dict.fromkeys(self._nodes.values())), list(self._bootstrap)]
        if self._bootstrap_first:
            groups.reverse()
        for group in groups:
            self._random.shuffle(group)
        everyone = [
            endpoint
            for endpoint in dict.fromkeys(groups[0] + groups[1])
            if avoid is None or endpoint.usable() is not avoid
        ]
        now = self._clock()
        ready = [endpoint for endpoint in everyone if endpoint.retry_at <= now]
        return ready or sorted(everyone, key=lambda endpoint: endpoint.retry_at)

    async def _connect_any(self, avoid: Connection | None) -> Connection:
        candidates = self._candidates(avoid)
        links: list[_Link] = []
        for endpoint in candidates:
            links.append(self._link(endpoint))
            patience = math.inf if len(links) == len(candidates) else NEXT_BROKER_AFTER
            connection = await _first_connection(links, patience)
            if connection is not None:
                return connection
        raise self._unreachable(links)

    def _unreachable(self, links: Iterable[_Link]) -> ConnectionFailedError:
        """One error for all addresses: those just tried, and those left out because they are in backoff."""
        errors = {link.endpoint: link.error for link in links if link.error is not None}
        for endpoint in (*self._nodes.values(), *self._bootstrap):
            if endpoint not in errors and endpoint.last_error is not None:
                errors[endpoint] = endpoint.last_error
        reasons = "; ".join(f"{endpoint}: {error}" for endpoint, error in errors.items())
        unreachable = ConnectionFailedError(f"no broker could be reached: {reasons or 'none is known'}")
        causes = list(errors.values())
        if causes:
            unreachable.__cause__ = (
                causes[0] if len(causes) == 1 else ExceptionGroup("every address failed", causes)
            )
        return unreachable


def _end_if_idle(link: _Link) -> None:
    if link.connection is None or link.connection.in_flight == 0:
        link.end(f"{link.endpoint} is no longer in use by the cluster, or its name is to be resolved anew")


async def _first_connection(links: Sequence[_Link], patience: float) -> Connection | None:
    """The first of the connections to come up; None when the newest failed or `patience` seconds passed.

    With endless patience None means that all have failed. Raises the failures that end every attempt.
    """
    with anyio.move_on_after(patience):
        while True:
            for link in links:
                if link.connection is not None:
                    return link.connection
                if isinstance(link.error, (*_FATAL, ProducerClosedError)):
                    raise same_error(link.error)
            pending = [link for link in links if not link.settled]
            if not pending or (links[-1].settled and patience < math.inf):
                return None
            event = anyio.Event()
            for link in pending:
                link.listen(event)
            await event.wait()
    return None
