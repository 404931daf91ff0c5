"""The cluster itself, in plain blocking code, so that it serves tests of every event loop and of none."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from krafka.testing import _startup
from krafka.testing._admin import NONE, AdminConnection, ClusterState
from krafka.testing._distribution import DEFAULT_VERSION, load_distribution
from krafka.testing._ports import ClaimedPorts
from krafka.testing._process import BrokerProcess, Watchdog
from krafka.testing._properties import (
    CONTROLLER_LISTENER,
    INTERNAL_LISTENER,
    TLS_LISTENER,
    NodeAddress,
    broker_properties,
    default_replication,
    render_properties,
    tls_properties,
)
from krafka.testing._reader import READ_UNCOMMITTED, ConsumedRecord, read_records
from krafka.testing._tls import TlsFiles, make_tls_files
from krafka.testing._topics import Topics
from krafka.testing.errors import KafkaClusterError, PortInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from krafka.testing._distribution import KafkaDistribution

logger = logging.getLogger(__name__)

PORT_ATTEMPTS = 3
POLL_SECONDS = 0.03
PROBE_TIMEOUT = 5.0
# A broker hands its leaderships over first, and lacks a quorum for that where others are down.
STOP_SECONDS = 90.0
BIND_FAILURE = "Address already in use"
LOG_TAIL_LINES = 40
# Since Kafka 4.3, and before.
DUMP_CLASSES = ("org.apache.kafka.tools.DumpLogSegments", "kafka.tools.DumpLogSegments")


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What a cluster is made of; see :class:`krafka.testing.KafkaCluster` for the meanings."""

    brokers: int = 1
    version: str = DEFAULT_VERSION
    properties: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False
    listeners: Mapping[str, str] = field(default_factory=dict)
    auto_create_topics: bool = True
    transaction_version: int | None = None
    format_arguments: Sequence[str] = ()
    java_options: Sequence[str] = _startup.SMALL_JVM
    log_level: str = "warn"
    start_timeout: float = 120.0
    stop_timeout: float = 2.0

    def __post_init__(self) -> None:
        if self.brokers < 1 or self.brokers % 2 == 0:
            raise ValueError(
                f"brokers is {self.brokers}, but must be odd and at least 1: every broker is a "
                f"controller too, and a quorum of an even number gains nothing"
            )
        for name in self.listeners:
            if name in {INTERNAL_LISTENER, CONTROLLER_LISTENER}:
                raise ValueError(f"listeners names {name!r}, which the cluster keeps for itself")
        if self.start_timeout <= 0 or self.stop_timeout < 0:
            raise ValueError("start_timeout must be above 0 seconds, stop_timeout at least 0")

    @property
    def protocols(self) -> dict[str, str]:
        """The security protocol of every listener a client may use."""
        own = {TLS_LISTENER: "SSL"} if self.tls else {}
        return {INTERNAL_LISTENER: "PLAINTEXT", **own, **self.listeners}


def no_checkpoint() -> None:
    """Never give up a wait early: what a caller without cancellation passes."""


class SyncKafkaCluster:
    """A real Kafka cluster driven by blocking calls; use ``with``. Brokers are numbered from 1.

    Waiting methods call ``checkpoint`` some thirty times a second; an exception out of it ends the wait.
    """

    def __init__(self, options: ClusterOptions, *, checkpoint: Callable[[], None] = no_checkpoint) -> None:
        self.options = options
        self.checkpoint = checkpoint
        self._folder: Path | None = None
        self._watchdog: Watchdog | None = None
        self._tls_files: TlsFiles | None = None
        self._nodes: tuple[NodeAddress, ...] = ()
        self._brokers: dict[int, BrokerProcess] = {}
        self._claim: ClaimedPorts | None = None
        self._distribution: KafkaDistribution | None = None
        self._topics = Topics(self._live_ports, default_replication(options.brokers), self._pause)
        self.kept_logs: Path | None = None

    # -- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(failed=isinstance(exc, Exception))

    def start(self) -> None:
        """Start every broker and return when all of them know each other. Raises KafkaClusterError."""
        if self._folder is not None:
            raise KafkaClusterError("this cluster was started already")
        if sys.platform == "win32":
            raise KafkaClusterError(
                "a test cluster needs POSIX processes and signals; on Windows run it under WSL"
            )
        distribution = self._distribution = load_distribution(self.options.version)
        seed = _startup.bootstrap_checkpoint(distribution, self._format_arguments())
        _startup.ensure_archive(distribution)
        logger.info("starting %d brokers of Kafka %s", self.options.brokers, distribution.version)
        self._folder = Path(tempfile.mkdtemp(prefix="krafka-cluster-"))
        try:
            self._watchdog = Watchdog()
            self._watchdog.remove_folder(self._folder)
            if self.options.tls:
                self._tls_files = make_tls_files(self._folder / "tls")
            self._start_on_free_ports(distribution, seed)
        except BaseException as error:
            self.close(failed=isinstance(error, Exception))
            raise

    def close(self, *, failed: bool = False) -> None:
        """End every broker and remove their data; when ``failed``, keep the logs and print where they are."""
        try:
            self._end_brokers()
            if failed and self._brokers:
                self._keep_logs()
        finally:
            self._release_ports()
            if self._watchdog is not None:
                self._watchdog.close()
                self._watchdog = None
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _end_brokers(self) -> None:
        brokers = list(self._brokers.values())
        try:
            for broker in brokers:
                broker.terminate()
            deadline = time.monotonic() + self.options.stop_timeout
            for broker in brokers:
                broker.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for broker in brokers:
                broker.kill()

    def _release_ports(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _keep_logs(self) -> None:
        self.kept_logs = Path(tempfile.mkdtemp(prefix="krafka-cluster-logs-"))
        for node_id, broker in self._brokers.items():
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(broker.log_path, self.kept_logs / f"broker-{node_id}.log")
        print(f"krafka.testing: the Kafka brokers' logs are kept in {self.kept_logs}", file=sys.stderr)

    def _format_arguments(self) -> tuple[str, ...]:
        chosen = tuple(self.options.format_arguments)
        if self.options.transaction_version is not None:
            chosen += ("--feature", f"transaction.version={self.options.transaction_version}")
        return chosen

    def _start_on_free_ports(self, distribution: KafkaDistribution, seed: bytes) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._prepare(distribution, seed, attempt)
            try:
                for broker in self._brokers.values():
                    broker.start()
                self.wait_until_ready()
            except PortInUseError:
                for broker in self._brokers.values():
                    broker.kill()
                if attempt == PORT_ATTEMPTS:
                    raise
            else:
                return

    def _prepare(self, distribution: KafkaDistribution, seed: bytes, attempt: int) -> None:
        """Choose ports, write configurations and format fresh folders."""
        if self._folder is None or self._watchdog is None:
            raise KafkaClusterError("the cluster has no folder")
        options = self.options
        names = (*options.protocols, CONTROLLER_LISTENER)
        self._release_ports()
        self._claim = ClaimedPorts(options.brokers * len(names))
        ports = iter(self._claim.ports)
        self._nodes = tuple(
            NodeAddress(node_id, {name: next(ports) for name in names})
            for node_id in range(1, options.brokers + 1)
        )
        cluster_id = _startup.new_id()
        self._brokers = {}
        for node in self._nodes:
            home = self._folder / f"attempt-{attempt}" / f"broker-{node.node_id}"
            data_folder = home / "data"
            _startup.format_folder(data_folder, node.node_id, cluster_id, seed)
            properties = broker_properties(
                node,
                self._nodes,
                options.protocols,
                data_folder,
                auto_create_topics=options.auto_create_topics,
            )
            if self._tls_files is not None:
                properties |= tls_properties(self._tls_files.server, self._tls_files.ca)
            properties |= options.properties
            configuration = home / "node.properties"
            configuration.write_text(render_properties(properties))
            command = _startup.java_command(
                distribution,
                _startup.MAIN_CLASS,
                [str(configuration)],
                (
                    *_startup.archive_options(distribution),
                    f"-Dorg.slf4j.simpleLogger.defaultLogLevel={options.log_level}",
                    "-Dorg.slf4j.simpleLogger.showDateTime=true",
                    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                    *options.java_options,
                ),
            )
            self._brokers[node.node_id] = BrokerProcess(
                node.node_id, command, home / "broker.log", self._watchdog
            )

    def wait_until_ready(self) -> None:
        """Return once every running broker answers and sees every other running one.

        Raises KafkaClusterError after ``start_timeout``, or as soon as a broker that was started has ended.
        """
        started = list(self._live_ports())
        deadline = time.monotonic() + self.options.start_timeout
        # One pass over all has to go well: while the others start, a broker may be thrown out once more.
        while (missing := self._first_missing(started)) is not None:
            node_id, known = missing
            if time.monotonic() > deadline:
                raise KafkaClusterError(
                    f"broker {node_id} was not ready within {self.options.start_timeout:g} s ({known}); "
                    f"its log ends:\n{self._tail(node_id)}"
                )
            self._pause()

    def _first_missing(self, started: Sequence[int]) -> tuple[int, str] | None:
        """Return the first broker that does not see all of ``started``, and what it sees instead."""
        self._check_running(started)
        for node_id in started:
            state = self._probe(node_id)
            if state is None:
                return node_id, "no answer"
            if not set(started) <= state.brokers.keys():
                return node_id, f"it knows brokers {sorted(state.brokers)}"
        return None

    def _check_running(self, started: Sequence[int]) -> None:
        for node_id in started:
            broker = self._brokers[node_id]
            if broker.running:
                continue
            tail = self._tail(node_id)
            error = PortInUseError if BIND_FAILURE in tail else KafkaClusterError
            raise error(f"broker {node_id} ended with exit code {broker.exit_code}; its log ends:\n{tail}")

    def _probe(self, node_id: int) -> ClusterState | None:
        try:
            with AdminConnection(self._port(node_id), PROBE_TIMEOUT) as connection:
                if connection.api_versions_error() != NONE:
                    return None
                return connection.metadata()
        except OSError:
            return None

    def _pause(self) -> None:
        self.checkpoint()
        time.sleep(POLL_SECONDS)

    def _tail(self, node_id: int) -> str:
        return "\n".join(self._brokers[node_id].log().splitlines()[-LOG_TAIL_LINES:])

    # -- addresses -------------------------------------------------------------------------------------------

    def bootstrap_of(self, listener: str) -> str:
        """Return the ``host:port`` list of one listener, by its name."""
        if listener not in self.options.protocols:
            known = ", ".join(self.options.protocols)
            raise KafkaClusterError(f"the cluster has no listener {listener!r}; it has {known}")
        if not self._nodes:
            raise KafkaClusterError("the cluster is not started, so it has no ports yet")
        # The certificate names localhost too, but the ports are bound on IPv4's loopback only.
        return ",".join(f"127.0.0.1:{node.ports[listener]}" for node in self._nodes)

    @property
    def bootstrap(self) -> str:
        return self.bootstrap_of(INTERNAL_LISTENER)

    @property
    def tls_bootstrap(self) -> str:
        return self.bootstrap_of(TLS_LISTENER)

    @property
    def tls_files(self) -> TlsFiles:
        """The authority and certificates made for this cluster. Raises KafkaClusterError without ``tls=True``."""
        if self._tls_files is None:
            raise KafkaClusterError("the cluster has no certificates; start it with tls=True")
        return self._tls_files

    @property
    def node_ids(self) -> tuple[int, ...]:
        return tuple(range(1, self.options.brokers + 1))

    def _port(self, node_id: int) -> int:
        return self._nodes[node_id - 1].ports[INTERNAL_LISTENER]

    def _live_ports(self) -> dict[int, int]:
        return {
            node_id: self._port(node_id) for node_id, broker in self._brokers.items() if broker.responsive
        }

    def broker(self, node_id: int) -> BrokerProcess:
        """Return one broker's process. Raises KafkaClusterError for a number the cluster does not have."""
        if node_id not in self._brokers:
            raise KafkaClusterError(f"there is no broker {node_id}; the cluster has {sorted(self._brokers)}")
        return self._brokers[node_id]

    # -- faults ----------------------------------------------------------------------------------------------

    def kill(self, node_id: int) -> None:
        self.broker(node_id).kill()

    def pause(self, node_id: int) -> None:
        self.broker(node_id).pause()

    def resume(self, node_id: int) -> None:
        self.broker(node_id).resume()

    def stop(self, node_id: int, timeout: float = STOP_SECONDS) -> None:
        """Stop one broker cleanly. Raises KafkaClusterError when it takes longer, and leaves it to its ending."""
        broker = self.broker(node_id)
        broker.terminate()
        deadline = time.monotonic() + timeout
        while not broker.wait(0.0):
            if time.monotonic() > deadline:
                raise KafkaClusterError(f"broker {node_id} did not stop within {timeout:g} s of being asked")
            self._pause()

    def restart(self, node_id: int) -> None:
        """Start a broker again, with its ports and data, and wait until the running ones know it."""
        broker = self.broker(node_id)
        if broker.running:
            self.stop(node_id)
        broker.start()
        self.wait_until_ready()

    def log(self, node_id: int) -> str:
        return self.broker(node_id).log()

    # -- topics ----------------------------------------------------------------------------------------------

    def create_topic(
        self, name: str, partitions: int = -1, replication: int = -1, config: Mapping[str, str] | None = None
    ) -> None:
        self._topics.create(name, partitions, replication, config or {})

    def delete_topic(self, name: str, *, wait: bool = True) -> None:
        """Delete a topic; unless ``wait`` is False, return when every broker has forgotten it."""
        self._topics.delete(name, wait=wait)

    def leaders(self, topic: str) -> dict[int, int]:
        """Return each partition's leader, -1 where there is none now."""
        return {number: state.leader for number, state in self._topics.partitions(topic).items()}

    def in_sync_replicas(self, topic: str) -> dict[int, tuple[int, ...]]:
        """Return the in-sync replicas of each partition."""
        return {number: state.isr for number, state in self._topics.partitions(topic).items()}

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return each partition's high watermark, asked of its leader."""
        return self._topics.end_offsets(topic)

    def read(
        self,
        topic: str,
        *,
        partition: int | None = None,
        from_offset: int = 0,
        timeout: float = 30.0,
        isolation: str = READ_UNCOMMITTED,
    ) -> list[ConsumedRecord]:
        ends = self.end_offsets(topic)
        if partition is not None and partition not in ends:
            raise KafkaClusterError(f"topic {topic!r} has no partition {partition}; it has {sorted(ends)}")
        starts = dict.fromkeys(ends if partition is None else (partition,), from_offset)
        return read_records(
            # A broker that hangs takes a client's connection, and says nothing to it.
            ",".join(f"127.0.0.1:{port}" for port in self._live_ports().values()),
            topic,
            starts,
            ends,
            isolation=isolation,
            timeout=timeout,
            checkpoint=self.checkpoint,
        )

    def dump_log(self, topic: str, partition: int, *, broker: int | None = None) -> str:
        """Return what Kafka's own log dumper says of one partition's segments on one broker."""
        node_id = self.leaders(topic).get(partition, -1) if broker is None else broker
        segments = sorted(self.data_folder(node_id).glob(f"{topic}-{partition}/*.log"))
        if not segments or self._distribution is None:
            raise KafkaClusterError(f"broker {node_id} has no log of topic {topic!r} partition {partition}")
        return dump_segments(self._distribution, segments)

    def data_folder(self, node_id: int) -> Path:
        """Return where one broker keeps its logs."""
        return self.broker(node_id).log_path.parent / "data"


def dump_segments(distribution: KafkaDistribution, segments: Sequence[Path]) -> str:
    """Run Kafka's DumpLogSegments over log files, all named as Kafka names them, and return its text."""
    files = ",".join(map(str, segments))
    arguments = ["--deep-iteration", "--print-data-log", "--files", files]
    main_class = distribution.find_class(DUMP_CLASSES)
    return _startup.run_tool(distribution, main_class, arguments)
