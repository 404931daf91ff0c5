"""A Kafka cluster inside the test's own process, whose brokers fail as the test wants them to."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
from anyio import AsyncContextManagerMixin
from anyio.lowlevel import checkpoint

from krafka._wire.api import APIS
from krafka.errors import ConnectionFailedError
from krafka.testing.fake.apis import HANDLERS
from krafka.testing.fake.apis.api_versions import NEWEST_TRANSACTION_VERSION
from krafka.testing.fake.broker import MOST_REQUEST_BYTES, FakeBroker
from krafka.testing.fake.coordinators import Coordinators, KeyType
from krafka.testing.fake.faults import Fault, FaultScript
from krafka.testing.fake.listener import Listener
from krafka.testing.fake.log import Manners
from krafka.testing.fake.streams import DEFAULT_CAPACITY, pair
from krafka.testing.fake.topic_table import TopicTable
from krafka.testing.fake.topics import NO_LEADER, Picture

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
    from typing import Unpack

    from anyio.abc import ByteStream, TaskGroup

    from krafka.testing.fake.faults import FaultOptions
    from krafka.testing.fake.groups import FakeGroup
    from krafka.testing.fake.requests import ReceivedRequest
    from krafka.testing.fake.transactions import FakeTransaction

_PORT = 9092
_FIRST_PRODUCER_ID = 1000
FETCH_KEY = 1
FETCH_VERSIONS = (4, 18)


class FakeCluster(TopicTable, AsyncContextManagerMixin):
    """Brokers that speak Kafka's protocol over streams in memory, and do whatever a test asks of them.

    .. code-block:: python

        async with FakeCluster(brokers=3) as cluster:
            cluster.create_topic("orders", partitions=6)
            cluster.fail("Produce", topic="orders", partition=0, code=NotLeaderOrFollowerError, times=2)
            async with krafka.Producer(cluster.bootstrap, connector=cluster.connector) as producer:
                await producer.send("orders", b"two coffees")
            (record,) = cluster.log("orders")
            assert cluster.requests["Produce"] >= 1

    It serves what a producer asks for, transactions included, as Kafka 4 does: batches are decoded and checked,
    records of idempotent producers held to their sequences and epochs, transactions to their states, leaders,
    replicas, coordinators and the topics' settings heeded. It advertises what it serves; through a port also Fetch,
    without which librdkafka does not produce, and who uses that loses the connection. It needs no thread, nothing but
    krafka, and for what takes time no other clock than the event loop's, which may be trio's `MockClock`.

    :param brokers: how many; they are numbered from 1.
    :param ports: also listen on ports of 127.0.0.1, so that other clients, in other processes, can connect.
    :param auto_create_topics: whether Metadata creates a topic it is asked for, with `default_partitions`.
    :param replication: replicas of each partition, as many as there are brokers unless given; only brokers among
        them can lead it.
    :param api_versions: by Kafka's name of an API the lowest and highest version advertised, to pose as another
        Kafka, or None not to advertise it: ``{"Produce": (3, 7), "InitProducerId": None}``.
    :param leader_hints: whether Produce names the new leader to who asks the old one (KIP-951).
    :param refuses_unknown_producers: whether a partition answers a producer it knows nothing of with
        UNKNOWN_PRODUCER_ID unless that starts with sequence 0, as Kafka did before KIP-360.
    :param answers_old_duplicates: whether batches that were appended so long ago that their offsets are forgotten
        are answered with DUPLICATE_SEQUENCE_NUMBER instead of OUT_OF_ORDER_SEQUENCE_NUMBER.
    :param transaction_version: the transactions it tells clients to make: 2 (KIP-890), 1, or 0 for a Kafka that tells
        nothing of it. It serves all of them.
    :param transaction_max_timeout: seconds; a producer that asks for more is refused.
    :param topic_defaults: settings of topics, where `create_topic` is given none.
    :param max_request_size: bytes; who announces a larger request loses the connection (`socket.request.max.bytes`).
    :param wall_clock: seconds since 1970, for the broker's time in topics with `LogAppendTime` and to judge the
        timestamps of records by; `time.time` unless given.
    :param capacity: bytes a connection in memory holds in each direction before its sender waits.
    :param random: the source of topic ids; the same each time unless given.

    All methods but `until` and `listen` take effect at once, without waiting.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        ports: bool = False,
        auto_create_topics: bool = True,
        default_partitions: int = 1,
        replication: int | None = None,
        api_versions: Mapping[str, tuple[int, int] | None] | None = None,
        leader_hints: bool = True,
        refuses_unknown_producers: bool = False,
        answers_old_duplicates: bool = False,
        transaction_version: int = NEWEST_TRANSACTION_VERSION,
        transaction_max_timeout: float = 900.0,
        topic_defaults: Mapping[str, str] | None = None,
        max_request_size: int = MOST_REQUEST_BYTES,
        wall_clock: Callable[[], float] = time.time,
        capacity: int = DEFAULT_CAPACITY,
        random: Random | None = None,
    ) -> None:
        if brokers < 1:
            raise ValueError(f"a cluster has at least 1 broker, got {brokers}")
        _check_transaction_version(transaction_version)
        super().__init__(
            default_partitions=default_partitions,
            replication=min(replication or brokers, brokers),
            manners=Manners(refuses_unknown_producers, answers_old_duplicates),
            defaults=topic_defaults,
            random=random or Random(0),  # noqa: S311 - makes names, guards nothing
        )
        self.auto_create_topics = auto_create_topics
        self.transaction_version: int = transaction_version
        self.features_epoch: int = 0
        """How often the cluster-wide features were changed, which ApiVersions tells along with them (KIP-584)."""
        self.max_request_size = max_request_size
        self.leader_hints = leader_hints
        self.cluster_id = "fake-cluster"
        self.brokers: dict[int, FakeBroker] = {
            node_id: FakeBroker(self, node_id) for node_id in range(1, brokers + 1)
        }
        """The brokers by number."""
        self.addresses: dict[int, tuple[str, int, str | None]] = {
            node_id: (f"fake-{node_id}", _PORT, None) for node_id in self.brokers
        }
        """Host, port and rack that each broker tells clients."""
        self.told_brokers: dict[int, tuple[str, int, str | None]] = dict(self.addresses)
        """The brokers that Metadata tells now."""
        self.requests: Counter[str] = Counter()
        """How many requests came, by Kafka's name of the API."""
        self.received: list[ReceivedRequest] = []
        """The requests themselves, in the order they came."""
        self.script: FaultScript = FaultScript()
        self.api_ranges: dict[int, tuple[int, int]] = _ranges(api_versions or {})
        self.coordinators: Coordinators = Coordinators(
            self, version=transaction_version, max_timeout=transaction_max_timeout
        )
        self._wall_clock = wall_clock
        self._capacity = capacity
        self._ports = ports
        self._next_producer_id = _FIRST_PRODUCER_ID
        self._connections = 0
        self._task_group: TaskGroup | None = None
        self._listeners: dict[int, Listener] = {}

    # -- scope ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[FakeCluster]:
        body_error: BaseException | None = None
        async with anyio.create_task_group() as task_group:
            self._task_group = task_group
            try:
                if self._ports:
                    await self.listen()
                yield self
            except GeneratorExit:
                raise
            except BaseException as error:
                if isinstance(error, anyio.get_cancelled_exc_class()):
                    raise
                # Raised after the task group, which would wrap it.
                body_error = error
            finally:
                self._task_group = None
                task_group.cancel_scope.cancel()
        if body_error is not None:
            raise body_error

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, comma-separated."""
        return ",".join(f"{host}:{port}" for host, port, _ in self.addresses.values())

    @property
    def connector(self) -> FakeCluster:
        """What a producer of this process connects through: ``Producer(..., connector=cluster.connector)``."""
        return self

    async def connect(self, host: str, port: int) -> ByteStream:
        """Open a connection in memory. Raises `ConnectionFailedError` where no broker is, or where it is down."""
        await checkpoint()
        broker = next(
            (self.brokers[node_id] for node_id, at in self.addresses.items() if at[:2] == (host, port)), None
        )
        if broker is None or not broker.is_up or self._task_group is None:
            raise ConnectionFailedError(f"TCP connect to {host}:{port} failed: connection refused")
        client, server = pair(self._capacity)
        self._task_group.start_soon(broker.serve, server, name=f"fake broker {broker.node_id}")
        return client

    async def listen(self) -> None:
        """Listen on a port of 127.0.0.1 for each broker, and have clients told those from now on."""
        for node_id, broker in self.brokers.items():
            if node_id not in self._listeners:
                listener = self._listeners[node_id] = Listener(broker)
                await self._open(listener)
                self.addresses[node_id] = ("127.0.0.1", listener.port, self.addresses[node_id][2])
        # librdkafka tells by Fetch whether a broker takes today's format of batches.
        self.api_ranges[FETCH_KEY] = FETCH_VERSIONS
        self.told_brokers = {node_id: self.addresses[node_id] for node_id in self.told_brokers}

    async def _open(self, listener: Listener) -> None:
        if self._task_group is None:
            raise RuntimeError("the cluster listens only inside its `async with` block")
        await self._task_group.start(listener.run)

    # -- leaders and brokers --------------------------------------------------------------------------------------

    def move_leader(self, topic: str, partition: int, to: int, *, propagate: bool = True) -> None:
        """Have another broker lead a partition, or with -1 none.

        Without `propagate` Metadata go on telling the leader they told before until `propagate()` is called.
        """
        if to != NO_LEADER and to not in self.brokers:
            raise ValueError(f"there is no broker {to}, only {sorted(self.brokers)}")
        moved = self._partition(topic, partition)
        moved.elect(to)
        if propagate:
            moved.tell()
        self.coordinators.brokers_changed()

    def propagate(self) -> None:
        """Let Metadata tell the present brokers and leaders, and FindCoordinator the present coordinators."""
        self.coordinators.propagate()
        self.told_brokers = {
            node_id: self.addresses[node_id] for node_id, broker in self.brokers.items() if broker.is_up
        }
        for topic in self.topics.values():
            for partition in topic.partitions:
                partition.tell()
        self.notify()

    def stop_broker(self, node_id: int, *, propagate: bool = True) -> None:
        """Stop a broker: connections break, new ones are refused, another replica leads what it led."""
        broker = self.brokers[node_id]
        broker.is_up = False
        broker.resume()
        broker.drop_connections()
        if listener := self._listeners.get(node_id):
            listener.close()
        for topic in self.topics.values():
            for partition in topic.partitions:
                if partition.leader_id == node_id:
                    self._elect_any(partition)
        self.coordinators.brokers_changed()
        if propagate:
            self.propagate()

    def start_broker(self, node_id: int, *, propagate: bool = True) -> None:
        """Start a broker again, at its old address; it leads what nobody leads and it has a replica of."""
        self.brokers[node_id].is_up = True
        listener = self._listeners.get(node_id)
        if listener is not None and self._task_group is not None:
            self._task_group.start_soon(listener.run)
        for topic in self.topics.values():
            for partition in topic.partitions:
                if partition.leader_id == NO_LEADER:
                    self._elect_any(partition)
        self.coordinators.brokers_changed()
        if propagate:
            self.propagate()

    def pause_broker(self, node_id: int) -> None:
        """Hang a broker: its connections stay open, new ones are taken, and nothing is read or answered."""
        self.brokers[node_id].pause()

    def resume_broker(self, node_id: int) -> None:
        """Let a paused broker go on where it stopped."""
        self.brokers[node_id].resume()
        self.coordinators.brokers_changed()

    def freeze_metadata(self, node_id: int | None = None) -> None:
        """Have a broker, or all of them, go on telling the brokers, topics and leaders that it tells now.

        The others tell what changes, so a client that asks one after the other is given an older picture after a
        newer one.
        """
        for broker in self._chosen(node_id):
            broker.picture = Picture.of(self.told_brokers, self.topics)

    def thaw_metadata(self, node_id: int | None = None) -> None:
        """End `freeze_metadata`, for a broker or for all of them."""
        for broker in self._chosen(node_id):
            broker.picture = None

    def picture(self, node_id: int) -> Picture:
        """What a broker's Metadata tell now."""
        return self.brokers[node_id].picture or Picture(self.told_brokers, self.topics)

    def read_slowly(
        self, node_id: int | None = None, *, chunk_size: int = 1024, delay: float = 0.0, after: int = 0
    ) -> None:
        """Have a broker, or all, read at most `chunk_size` bytes at a time, and wait `delay` seconds before each.

        It begins once so many more bytes as `after` says were read from a connection at the usual pace.
        """
        for broker in self._chosen(node_id):
            broker.pace.slow_down(chunk_size, delay, after)

    def stop_reading(self, node_id: int | None = None, *, after: int = 0) -> None:
        """Have a broker, or all, read nothing more from any connection once it read `after` more bytes from it.

        Requests that it has whole by then are answered. What clients send fills the connection's buffers until their
        own sending has to wait.
        """
        for broker in self._chosen(node_id):
            broker.pace.stop(after)

    def read_normally(self, node_id: int | None = None) -> None:
        """End `read_slowly` and `stop_reading`, for a broker or for all of them."""
        for broker in self._chosen(node_id):
            broker.pace.restore()

    def _chosen(self, node_id: int | None) -> list[FakeBroker]:
        return list(self.brokers.values()) if node_id is None else [self.brokers[node_id]]

    def drop_connections(self, node_id: int | None = None) -> None:
        """Close every connection of a broker, or of all; new ones are taken at once."""
        for broker in self._chosen(node_id):
            broker.drop_connections()

    # -- transactions and groups ----------------------------------------------------------------------------------

    @property
    def transactions(self) -> Mapping[str, FakeTransaction]:
        """What is known of each transactional id."""
        return self.coordinators.table.by_id

    def coordinator(self, key: str, *, group: bool = False) -> int:
        """The number of the broker that coordinates a transactional id, or a group; -1 for none."""
        return self.coordinators.find(KeyType.GROUP if group else KeyType.TRANSACTION, key)

    def move_coordinator(self, key: str, to: int, *, group: bool = False, propagate: bool = True) -> None:
        """Have another broker coordinate a transactional id, or a group. Transactions and offsets go with it.

        The old one answers NOT_COORDINATOR. Without `propagate` FindCoordinator goes on telling the one it told before
        until `propagate()` is called.
        """
        if to not in self.brokers:
            raise ValueError(f"there is no broker {to}, only {sorted(self.brokers)}")
        self.coordinators.move(KeyType.GROUP if group else KeyType.TRANSACTION, key, to)
        if propagate:
            self.coordinators.propagate()
        self.notify()

    def set_transaction_version(self, version: int) -> None:
        """Have the cluster tell clients to make other transactions from now on, as `kafka-features.sh` does.

        A client hears of it on the next connection that it opens.
        """
        _check_transaction_version(version)
        self.transaction_version = version
        self.features_epoch += 1
        self.coordinators.table.version = version

    def hold_markers(self) -> None:
        """Keep transactions that are ended from being completed, until `release_markers`.

        Until then their records are not committed, and who goes on to the next transaction is answered
        CONCURRENT_TRANSACTIONS.
        """
        self.coordinators.holds_markers = True

    def release_markers(self) -> None:
        """Complete what `hold_markers` held."""
        self.coordinators.holds_markers = False
        self.coordinators.table.complete_all()
        self.notify()

    def set_group(self, group: str, *, generation: int, members: Mapping[str, str | None]) -> None:
        """Have a consumer group be in a generation, with members by id and their `group.instance.id` or None.

        TxnOffsetCommit from anybody else is refused with UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID or ILLEGAL_GENERATION;
        who names no member and no generation is not checked.
        """
        self.coordinators.group(group).describe(generation, members)

    def committed_offsets(self, group: str) -> dict[tuple[str, int], int]:
        """The offsets that are committed for a group, by topic and partition."""
        return {name: each.offset for name, each in self.coordinators.group(group).offsets.items()}

    @property
    def groups(self) -> Mapping[str, FakeGroup]:
        """The groups that offsets were committed for, with all that was committed."""
        return self.coordinators.groups

    # -- faults and observation -----------------------------------------------------------------------------------

    def fail(self, api: str | None = None, **options: Unpack[FaultOptions]) -> Fault:
        """Have requests go wrong; `Fault` says which, and how. Returns the fault, to release it or to wait for it."""
        if api is not None and api not in HANDLERS:
            raise ValueError(f"no broker here serves {api!r}, only {sorted(HANDLERS)}")
        fault = Fault(api=api, **options)
        self.script.add(fault)
        return fault

    def heal(self, fault: Fault | None = None) -> None:
        """Call off a fault, or all of them, and let go of what they hold."""
        if fault is None:
            self.script.clear()
        else:
            self.script.remove(fault)

    # -- for the brokers ------------------------------------------------------------------------------------------

    def note(self, request: ReceivedRequest) -> None:
        """A broker took a request up."""
        self.requests[request.api] += 1
        self.received.append(request)
        self.notify()

    def now_ms(self) -> int:
        """The brokers' time, in milliseconds since 1970."""
        return int(self._wall_clock() * 1000)

    def run_in_background(self, task: Callable[[], Coroutine[Any, Any, None]], name: str) -> bool:
        """Run a task until the cluster's block ends; False outside of it."""
        if self._task_group is None:
            return False
        self._task_group.start_soon(task, name=name)
        return True

    def next_connection(self) -> int:
        """A number for a new connection."""
        self._connections += 1
        return self._connections

    def new_producer(self) -> tuple[int, int]:
        """A producer id that nobody has, and its first epoch."""
        self._next_producer_id += 1
        return self._next_producer_id, 0


def _check_transaction_version(version: int) -> None:
    if not 0 <= version <= NEWEST_TRANSACTION_VERSION:
        raise ValueError(f"transaction_version is 0 to {NEWEST_TRANSACTION_VERSION}, got {version}")


def _ranges(changes: Mapping[str, tuple[int, int] | None]) -> dict[int, tuple[int, int]]:
    """The versions advertised, by API key."""
    unknown = sorted(set(changes) - set(HANDLERS))
    if unknown:
        raise ValueError(f"no broker here serves {unknown[0]!r}, only {sorted(HANDLERS)}")
    ranges: dict[int, tuple[int, int]] = {}
    for api in APIS:
        chosen = changes.get(api.name, (api.min_version, api.max_version))
        if api.name in HANDLERS and chosen is not None:
            ranges[api.key] = chosen
    return ranges
