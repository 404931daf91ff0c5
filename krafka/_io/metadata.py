"""Keeps the snapshot of the cluster fresh, for the topics in use only, and has callers wait for a topic."""

from __future__ import annotations

import logging
import math
from random import Random
from typing import TYPE_CHECKING

import anyio

from krafka._io.brokers import same_error
from krafka._state.cluster import Cluster, TopicMetadata, merge, with_leader, without_topics
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic
from krafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    MetadataTimeoutError,
    ProducerClosedError,
    RebootstrapRequiredError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
    error_for_code,
)
from krafka.retry import kafka_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krafka._io.brokers import BrokerPool
    from krafka._io.connection import Connection
    from krafka._state.cluster import Broker
    from krafka._wire.metadata import MetadataResponse
    from krafka.config import ProducerConfig

logger = logging.getLogger(__name__)

# A broker that hangs takes no part in the cluster any more, so another one is asked long before
# request_timeout. The answer is waited for twice as long each time, lest a slow cluster never be heard.
FIRST_PATIENCE = 5.0
# Metadata that could not be had for so long is sought from the bootstrap servers (KIP-1102's default).
REBOOTSTRAP_AFTER = 300.0
# Older brokers create missing topics whatever the client says.
_AUTO_CREATE_CHOICE_FROM = 4


class _Topic:
    """One topic in use, and who uses it."""

    __slots__ = ("last_used", "needed", "waiters")

    def __init__(self, now: float) -> None:
        self.last_used = now
        self.needed = True
        self.waiters = 0


class MetadataRefresher:
    """The current `cluster`, and the task that asks brokers for the next.

    It asks on `request_update()`, for a new topic, while a topic somebody needs has no metadata or no
    leader, and every `metadata_max_age` seconds; a failure, or an answer that tells nothing new, is followed
    by a growing `retry_backoff`. Only topics in use are asked for. At each refresh `still_used(name)` tells
    whether records of the topic are buffered or were accepted since it was last called; a topic unused for
    `metadata_max_idle` seconds is forgotten.

    `on_update` is called with every snapshot that differs from the one before, from the refresher's task or
    from the caller of `note_leader()`.
    """

    def __init__(
        self,
        pool: BrokerPool,
        config: ProducerConfig,
        *,
        still_used: Callable[[str], bool],
        on_update: Callable[[Cluster], object],
        clock: Callable[[], float] = anyio.current_time,
        random: Random | None = None,
    ) -> None:
        self.cluster = Cluster()
        self.last_error: KafkaError | None = None
        """Why the latest refresh failed; None once one succeeded."""
        self._pool = pool
        self._config = config
        self._retry_policy = kafka_policy(config.retry_backoff, config.retry_backoff_max)
        self._still_used = still_used
        self._on_update = on_update
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._topics: dict[str, _Topic] = {}
        self._asked = False
        self._asking: frozenset[str] = frozenset()
        self._new_topics = False
        self._requested = True
        self._rounds = 0
        self._fruitless = 0
        self._not_before = -math.inf
        self._expires = math.inf
        self._rebootstrap_at = math.inf
        self._failure: KafkaError | None = None
        self._silent: Connection | None = None
        self._silences = 0
        self._wake = anyio.Event()
        self._changed = anyio.Event()

    # ------------------------------------------------------------------ what others ask

    def add_topic(self, name: str) -> None:
        """Keep metadata of a topic from now on; the first is asked for at once."""
        self._track(name)

    def request_update(self) -> None:
        """Have the metadata refreshed as soon as the backoff allows. Never waits; many calls are one."""
        if not self._requested:
            self._requested = True
            self._wake.set()

    def note_leader(
        self,
        topic: str,
        partition: int,
        leader_id: int,
        leader_epoch: int,
        endpoints: Iterable[Broker] = (),
    ) -> bool:
        """Take a new leader from a Produce response (KIP-951). False when the hint tells nothing new."""
        cluster = with_leader(self.cluster, topic, partition, leader_id, leader_epoch, endpoints)
        if cluster is self.cluster:
            return False
        self._publish(cluster)
        self._notify()
        return True

    def fail(self, error: KafkaError) -> None:
        """The producer cannot go on: everybody who waits for a topic, now or later, gets this error."""
        self._failure = error
        self._notify()

    async def wait_for_topic(
        self, name: str, deadline: float, partition: int | None = None, *, limit: str = "max_block"
    ) -> TopicMetadata:
        """The topic's metadata once it is known to have partitions, and `partition` among them if given.

        `deadline` is in the clock's seconds; `limit` names the option it comes from, for the text.

        Raises `MetadataTimeoutError` at the deadline, with the last real reason as its cause. What waiting
        does not mend is raised at once: the topic's `TopicAuthorizationFailedError`, `InvalidTopicError` or
        other error that is not retriable; `AuthenticationError`, `UnsupportedVersionError` or
        `ProducerClosedError` of the connection; and what `fail()` was given. A topic that is unknown may be
        about to be created, so it is waited for.
        """
        await anyio.lowlevel.checkpoint()
        began = self._clock()
        rounds_before = self._rounds
        topic = self._track(name)
        topic.waiters += 1
        try:
            while True:
                if self._failure is not None:
                    raise same_error(self._failure)
                metadata = self.cluster.topics.get(name)
                if metadata is not None and len(metadata.partitions) > (partition or 0):
                    return metadata
                if self._rounds > rounds_before:
                    self._raise_if_hopeless(name)
                remaining = deadline - self._clock()
                if remaining <= 0:
                    raise self._timed_out(name, partition, self._clock() - began, limit)
                if name not in self._asking:
                    self.request_update()
                changed = self._changed
                with anyio.move_on_after(remaining):
                    await changed.wait()
        finally:
            topic.waiters -= 1

    async def wait_for_refresh(self, deadline: float) -> None:
        """Return once brokers have been asked anew, whatever came of it, or at the deadline."""
        # The answer under way may be older than what the caller wants to know.
        enough = self._rounds + (2 if self._asked else 1)
        self.request_update()
        while self._rounds < enough and self._failure is None and self._clock() < deadline:
            changed = self._changed
            with anyio.move_on_after(deadline - self._clock()):
                await changed.wait()

    def needs_refresh(self) -> bool:
        """Whether a topic somebody needs has no metadata yet, a passing error, or leaderless partitions."""
        return any(
            (topic.needed or topic.waiters > 0) and self._is_unsettled(name)
            for name, topic in self._topics.items()
        )

    # ------------------------------------------------------------------ the task

    async def run(self) -> None:
        """Refresh until cancelled, or until the pool is closed."""
        while True:
            await self._wait_until_due()
            try:
                await self._refresh()
            except ProducerClosedError as error:
                self._note_failure(error)
                return
            except KafkaError as error:
                self._note_failure(error)

    async def _wait_until_due(self) -> None:
        while True:
            self._wake = anyio.Event()
            delay = self._due() - self._clock()
            if delay <= 0:
                return
            with anyio.move_on_after(delay):
                await self._wake.wait()

    def _due(self) -> float:
        if self._new_topics and self.last_error is None:
            return -math.inf
        return max(self._not_before, -math.inf if self._requested else self._expires)

    async def _refresh(self) -> None:
        """Ask one broker once, and take what it says."""
        connection = await self._pool.any_connection(avoid=self._silent)
        version = connection.api_version(MetadataRequest)
        if version < _AUTO_CREATE_CHOICE_FROM and not self._config.allow_auto_create_topics:
            raise UnsupportedVersionError(
                f"{connection.peer} cannot be kept from creating topics (Metadata v{version}, "
                f"v{_AUTO_CREATE_CHOICE_FROM} is needed for allow_auto_create_topics=False); upgrade it to "
                "Kafka 2.1 or later"
            )
        names = self._topics_to_ask()
        # What is requested from here on is not answered by this request.
        self._requested = self._new_topics = False
        self._asked = True
        self._asking = frozenset(names)
        try:
            response = await self._ask(connection, names)
            self._take(response, version, connection)
        finally:
            self._asked = False
            self._asking = frozenset()

    def _topics_to_ask(self) -> list[str]:
        """The topics in use, after those that nobody used for long have been forgotten."""
        now = self._clock()
        idle = []
        for name, topic in self._topics.items():
            # Asked even while somebody waits: the answer counts from one call to the next.
            used = self._still_used(name)
            topic.needed = used or topic.waiters > 0
            if topic.needed:
                topic.last_used = now
            elif now - topic.last_used >= self._config.metadata_max_idle:
                idle.append(name)
        for name in idle:
            del self._topics[name]
        if idle:
            logger.debug("topics unused for %g s are forgotten: %s", self._config.metadata_max_idle, idle)
            self._publish(without_topics(self.cluster, idle))
        return list(self._topics)

    async def _ask(self, connection: Connection, names: list[str]) -> MetadataResponse:
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=name) for name in names],
            allow_auto_topic_creation=self._config.allow_auto_create_topics,
        )
        patience = min(FIRST_PATIENCE * 2**self._silences, self._config.request_timeout)
        with anyio.move_on_after(patience):
            response: MetadataResponse = await connection.request(
                request, timeout=self._config.request_timeout
            )
            self._silent = None
            self._silences = 0
            return response
        self._silent = connection
        self._silences += 1
        raise RequestTimedOutError(f"{connection.peer} did not answer Metadata within {patience:g} s")

    def _take(self, response: MetadataResponse, version: int, connection: Connection) -> None:
        if response.error_code:
            if response.error_code == RebootstrapRequiredError.code:
                self._pool.rebootstrap()
            raise error_for_code(response.error_code, f"Metadata request to {connection.peer} failed")
        if not response.brokers:
            raise LeaderNotAvailableError(
                f"{connection.peer} knows no brokers yet, not even itself; it is probably starting"
            )
        # Version 0 takes an empty list of topics for a wish to hear of all of them.
        response.topics = [entry for entry in response.topics if entry.name in self._asking]
        before = self.cluster
        cluster = merge(before, response, version=version)
        if None not in (before.cluster_id, cluster.cluster_id) and before.cluster_id != cluster.cluster_id:
            logger.warning(
                "%s belongs to cluster %s, not %s as before",
                connection.peer,
                cluster.cluster_id,
                before.cluster_id,
            )
        if self.last_error is not None:
            logger.info("metadata could be refreshed again, by %s", connection.peer)
        self.last_error = None
        now = self._clock()
        self._expires = now + self._config.metadata_max_age
        self._fruitless = self._fruitless + 1 if cluster is before else 0
        # Also when no broker changed: the nodes have been heard of, so the bootstrap servers step back.
        self._pool.update(cluster.brokers)
        self._publish(cluster)
        if self.needs_refresh():
            self._requested = True
        self._finish_round(now)

    def _note_failure(self, error: KafkaError) -> None:
        now = self._clock()
        if self.last_error is None:
            self._rebootstrap_at = now + REBOOTSTRAP_AFTER
        level = logging.DEBUG if self.last_error is not None else logging.WARNING
        logger.log(level, "metadata could not be refreshed: %s", error)
        self.last_error = error
        self._fruitless += 1
        self._expires = now + self._config.metadata_max_age
        # Trying again does not mend a fatal error, so that waits until somebody asks.
        self._requested = not error.is_fatal
        if now >= self._rebootstrap_at:
            logger.warning(
                "no metadata for %g s: starting over from the bootstrap servers", REBOOTSTRAP_AFTER
            )
            self._rebootstrap_at = now + REBOOTSTRAP_AFTER
            self._pool.rebootstrap()
        self._finish_round(now)

    def _finish_round(self, now: float) -> None:
        delay = self._retry_policy.backoff(max(0, self._fruitless - 1), self._random.random())
        self._not_before = now + delay
        self._rounds += 1
        self._notify()

    # ------------------------------------------------------------------ small steps

    def _track(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(self._clock())
            self._new_topics = self._requested = True
            self._wake.set()
        return topic

    def _publish(self, cluster: Cluster) -> None:
        before = self.cluster
        if cluster is before:
            return
        self.cluster = cluster
        if cluster.brokers is not before.brokers:
            self._pool.update(cluster.brokers)
        self._on_update(cluster)

    def _notify(self) -> None:
        changed = self._changed
        self._changed = anyio.Event()
        changed.set()

    def _is_unsettled(self, name: str) -> bool:
        metadata = self.cluster.topics.get(name)
        if metadata is None:
            return True
        if metadata.error_code:
            return error_for_code(metadata.error_code).is_retriable
        return not metadata.partitions or bool(self.cluster.leaderless(name))

    def _raise_if_hopeless(self, name: str) -> None:
        if self.last_error is not None:
            if self.last_error.is_fatal:
                raise same_error(self.last_error)
            return
        error = self._topic_error(name)
        if error is not None and not error.is_retriable:
            raise error

    def _topic_error(self, name: str) -> KafkaError | None:
        metadata = self.cluster.topics.get(name)
        if metadata is None or not metadata.error_code:
            return None
        summary = error_for_code(metadata.error_code).summary
        return error_for_code(metadata.error_code, f"topic {name!r}: {summary}")

    def _timed_out(self, name: str, partition: int | None, waited: float, limit: str) -> MetadataTimeoutError:
        within = f"within {waited:.3g} s ({limit}) from {', '.join(self._pool.addresses)}"
        metadata = self.cluster.topics.get(name)
        cause = self.last_error or self._topic_error(name)
        if metadata is not None and metadata.partitions:
            count = len(metadata.partitions)
            text = f"topic {name!r} has {count} partition(s), and no partition {partition} appeared {within}"
            cause = cause or UnknownTopicOrPartitionError(
                f"topic {name!r}: partition {partition} is not among 0..{count - 1}"
            )
        else:
            text = f"no metadata of topic {name!r} {within}"
        cause = cause or self._pool.last_error
        error = MetadataTimeoutError(f"{text}; last reason: {cause or 'no broker has answered yet'}")
        error.__cause__ = cause
        return error
