"""A real Apache Kafka for tests: no Docker, no system Java, two PyPI packages."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003  # Sphinx resolves the annotations below
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from krafka.testing import _startup
from krafka.testing._distribution import DEFAULT_VERSION
from krafka.testing._engine import ClusterOptions, SyncKafkaCluster
from krafka.testing._reader import READ_UNCOMMITTED, ConsumedRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

T = TypeVar("T")


class KafkaCluster:
    """A Kafka cluster of ``brokers`` nodes on this machine, for the time of an ``async with`` block::

        async with KafkaCluster(3) as kafka:
            await kafka.create_topic("orders", partitions=6)
            ...produce to kafka.bootstrap...
            records = await kafka.read("orders")

    Works on asyncio and trio. The brokers are numbered from 1, each is a controller too, and they listen on
    127.0.0.1. Topics get 6 partitions and a replication factor of 3 (or the number of brokers if smaller)
    unless told otherwise, ``min.insync.replicas`` is one less. Kafka is downloaded on first use into
    ``$KRAFKA_CACHE_DIR`` or the user's cache folder; every later start does no network. Whatever ends the
    block, the brokers and their data are gone after it; should this process be killed, a watchdog process
    ends them. An exception out of the block keeps the brokers' logs and prints where they are. A cluster
    object starts once.

    :param brokers: how many; odd.
    :param version: Apache Kafka's version, from 3.9 on.
    :param properties: broker properties over the cluster's own, for every broker.
    :param tls: add a TLS listener, with an authority made for this cluster; see ``tls_bootstrap`` and
        ``ca_pem``.
    :param listeners: more listeners, name to security protocol (``{"SASL_PLAINTEXT": "SASL_PLAINTEXT"}``);
        what they need goes into ``properties``, and ``bootstrap_of(name)`` has their addresses.
    :param auto_create_topics: whether the brokers create a topic that is asked for.
    :param transaction_version: the ``transaction.version`` feature level (Kafka 4 on); None takes the
        version's own default.
    :param format_arguments: more arguments for ``kafka-storage format``, such as ``--add-scram``.
    :param java_options: options of each broker's JVM, by default small and quick to start.
    :param log_level: of the brokers' logs, ``"info"`` tells much more.
    :param start_timeout: seconds for all brokers to be ready, the download not counted.
    :param stop_timeout: seconds the brokers get to stop by themselves at the end before they are killed,
        which loses nothing, as their data goes too. Brokers stopped together outlast it: the last lack a
        quorum.

    The logger ``krafka.testing`` tells, at INFO, what a first start takes its time for. Starting and reading
    raise :class:`MissingExtraError` without the ``krafka[testing]`` extra and
    :class:`KafkaClusterError` for whatever else goes wrong.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        version: str = DEFAULT_VERSION,
        properties: Mapping[str, str] | None = None,
        tls: bool = False,
        listeners: Mapping[str, str] | None = None,
        auto_create_topics: bool = True,
        transaction_version: int | None = None,
        format_arguments: Sequence[str] = (),
        java_options: Sequence[str] = _startup.SMALL_JVM,
        log_level: str = "warn",
        start_timeout: float = 120.0,
        stop_timeout: float = 2.0,
    ) -> None:
        options = ClusterOptions(
            brokers=brokers,
            version=version,
            properties=dict(properties or {}),
            tls=tls,
            listeners=dict(listeners or {}),
            auto_create_topics=auto_create_topics,
            transaction_version=transaction_version,
            format_arguments=tuple(format_arguments),
            java_options=tuple(java_options),
            log_level=log_level,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
        )
        self._engine = SyncKafkaCluster(options, checkpoint=_check_cancelled)

    @property
    def sync(self) -> SyncKafkaCluster:
        """The same cluster by blocking calls, itself usable with a plain ``with``."""
        return self._engine

    async def __aenter__(self) -> Self:
        await _in_thread(self._engine.start)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failed = isinstance(exc, Exception)
        with anyio.CancelScope(shield=True):
            await _in_thread(lambda: self._engine.close(failed=failed))

    # -- addresses -------------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every broker, comma-separated: plain TCP."""
        return self._engine.bootstrap

    @property
    def tls_bootstrap(self) -> str:
        """``host:port`` of every broker's TLS listener. Raises KafkaClusterError without ``tls=True``."""
        return self._engine.tls_bootstrap

    def bootstrap_of(self, listener: str) -> str:
        """``host:port`` of every broker's listener of that name."""
        return self._engine.bootstrap_of(listener)

    @property
    def ca_pem(self) -> Path:
        """The file with the authority that signed the brokers' certificates, PEM."""
        return self._engine.tls_files.ca

    @property
    def client_pem(self) -> Path:
        """A client's key and certificate chain from the same authority, for brokers that require one, PEM."""
        return self._engine.tls_files.client

    @property
    def node_ids(self) -> tuple[int, ...]:
        """The brokers' numbers: 1 to ``brokers``."""
        return self._engine.node_ids

    # -- topics and records ----------------------------------------------------------------------------------

    async def create_topic(
        self, name: str, partitions: int = -1, replication: int = -1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic and wait until its leaders lead and all brokers know; -1 takes the cluster's default."""
        await _in_thread(lambda: self._engine.create_topic(name, partitions, replication, config))

    async def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until every broker has forgotten it."""
        await _in_thread(lambda: self._engine.delete_topic(name))

    async def leaders(self, topic: str) -> dict[int, int]:
        """Each partition's leader, by node id; -1 where there is none now."""
        return await _in_thread(lambda: self._engine.leaders(topic))

    async def in_sync_replicas(self, topic: str) -> dict[int, tuple[int, ...]]:
        """The node ids of each partition's in-sync replicas."""
        return await _in_thread(lambda: self._engine.in_sync_replicas(topic))

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Each partition's high watermark: the offset after its last replicated record."""
        return await _in_thread(lambda: self._engine.end_offsets(topic))

    async def read(
        self,
        topic: str,
        *,
        partition: int | None = None,
        from_offset: int = 0,
        timeout: float = 30.0,  # noqa: ASYNC109  # bounds the thread; a cancel scope around the call does too
        isolation: str = READ_UNCOMMITTED,
    ) -> list[ConsumedRecord]:
        """Return the records from ``from_offset`` to the end offsets at the call, by partition and offset.

        Byte-exact, null apart from empty, read through librdkafka so that another client judges what was
        written. ``isolation="read_committed"`` leaves out aborted transactions and stops before an open one.
        """
        return await _in_thread(
            lambda: self._engine.read(
                topic, partition=partition, from_offset=from_offset, timeout=timeout, isolation=isolation
            )
        )

    async def dump_log(self, topic: str, partition: int, *, broker: int | None = None) -> str:
        """Return Kafka's own ``DumpLogSegments --deep-iteration --print-data-log`` of one partition.

        On its leader, or on ``broker``, which may be down.
        """
        return await _in_thread(lambda: self._engine.dump_log(topic, partition, broker=broker))

    # -- faults ----------------------------------------------------------------------------------------------

    async def kill(self, node_id: int) -> None:
        """End a broker at once (SIGKILL)."""
        await _in_thread(lambda: self._engine.kill(node_id))

    async def stop(self, node_id: int) -> None:
        """Stop a broker cleanly: it hands its leaderships over first. Raises KafkaClusterError after 90 s."""
        await _in_thread(lambda: self._engine.stop(node_id))

    async def restart(self, node_id: int) -> None:
        """Start a broker again, with its ports and data; one that runs is stopped first. Waits for it."""
        await _in_thread(lambda: self._engine.restart(node_id))

    async def pause(self, node_id: int) -> None:
        """Hang a broker (SIGSTOP): its connections stay open and nothing answers."""
        await _in_thread(lambda: self._engine.pause(node_id))

    async def resume(self, node_id: int) -> None:
        """Let a paused broker go on (SIGCONT)."""
        await _in_thread(lambda: self._engine.resume(node_id))

    def log(self, node_id: int) -> str:
        """Everything a broker has logged so far, over all its starts."""
        return self._engine.log(node_id)


async def _in_thread(call: Callable[[], T]) -> T:
    """Run blocking work in a worker thread; it looks for cancellation itself, in its waits."""
    return await anyio.to_thread.run_sync(call)


def _check_cancelled() -> None:
    """Raise the event loop's cancellation if the call waiting for this thread was cancelled.

    Threads no event loop waits for, those of the blocking face, have nothing to look for.
    """
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:
        return
