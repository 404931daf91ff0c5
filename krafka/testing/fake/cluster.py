"""A Kafka cluster inside the test's own process, whose brokers fail as the test wants them to."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import anyio
from anyio import AsyncContextManagerMixin
from anyio.lowlevel import checkpoint

from krafka._wire.api import APIS
from krafka.errors import ConnectionFailedError
from krafka.testing.fake.apis import HANDLERS
from krafka.testing.fake.broker import FakeBroker
from krafka.testing.fake.faults import Fault, FaultScript
from krafka.testing.fake.listener import Listener
from krafka.testing.fake.log import Manners
from krafka.testing.fake.streams import DEFAULT_CAPACITY, pair
from krafka.testing.fake.topics import NO_LEADER, FakeTopic, is_legal_name, topic_config

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from typing import Unpack

    from anyio.abc import ByteStream, TaskGroup

    from krafka.testing.fake.faults import FaultOptions
    from krafka.testing.fake.log import FakeRecord
    from krafka.testing.fake.requests import ReceivedRequest
    from krafka.testing.fake.topics import FakePartition

_PORT = 9092
_FIRST_PRODUCER_ID = 1000


class FakeCluster(AsyncContextManagerMixin):
    """Brokers that speak Kafka's protocol over streams in memory, and do whatever a test asks of them.

    .. code-block:: python

        async with FakeCluster(brokers=3) as cluster:
            cluster.create_topic("orders", partitions=6)
            cluster.fail("Produce", topic="orders", partition=0, code=NotLeaderOrFollowerError, times=2)
            async with krafka.Producer(cluster.bootstrap, connector=cluster.connector) as producer:
                await producer.send("orders", b"two coffees")
            (record,) = cluster.log("orders")
            assert cluster.requests["Produce"] >= 1

    It serves ApiVersions, Metadata, InitProducerId and Produce as Kafka 4 does: batches are decoded and checked,
    records of idempotent producers held to their sequences and epochs, leaders and replicas heeded. APIs it does
    not serve it does not advertise. It needs no thread, no other clock than the event loop's, which may be trio's
    `MockClock`, and nothing but krafka.

    :param brokers: how many; they are numbered from 1.
    :param ports: also listen on ports of 127.0.0.1, so that other clients, in other processes, can connect. Those
        built on librdkafka do not produce to it: they want to see Fetch among the APIs first.
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
        capacity: int = DEFAULT_CAPACITY,
        random: Random | None = None,
    ) -> None:
        if brokers < 1:
            raise ValueError(f"a cluster has at least 1 broker, got {brokers}")
        self.auto_create_topics = auto_create_topics
        self.default_partitions = default_partitions
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
        self.topics: dict[str, FakeTopic] = {}
        """The topics by name."""
        self.requests: Counter[str] = Counter()
        """How many requests came, by Kafka's name of the API."""
        self.received: list[ReceivedRequest] = []
        """The requests themselves, in the order they came."""
        self.script: FaultScript = FaultScript()
        self.api_ranges: dict[int, tuple[int, int]] = _ranges(api_versions or {})
        self._replication = min(replication or brokers, brokers)
        self._manners = Manners(refuses_unknown_producers, answers_old_duplicates)
        self._capacity = capacity
        self._ports = ports
        self._random = random or Random(0)  # noqa: S311 - makes names, guards nothing
        self._next_producer_id = _FIRST_PRODUCER_ID
        self._connections = 0
        self._changed = anyio.Event()
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
        self.told_brokers = {node_id: self.addresses[node_id] for node_id in self.told_brokers}

    async def _open(self, listener: Listener) -> None:
        if self._task_group is None:
            raise RuntimeError("the cluster listens only inside its `async with` block")
        await self._task_group.start(listener.run)

    # -- topics ---------------------------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        *,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Create a topic, by default with `default_partitions`; the brokers lead its partitions in turn.

        Of the topic settings it heeds `cleanup.policy`, `max.message.bytes`, `message.timestamp.type` and
        `min.insync.replicas`. Raises ValueError.
        """
        if not is_legal_name(name):
            raise ValueError(f"{name!r} is no legal name of a topic")
        if name in self.topics:
            raise ValueError(f"there is a topic {name!r} already")
        topic_id = self._random.getrandbits(128).to_bytes(16, "big")
        self.topics[name] = FakeTopic(name, topic_id, topic_config(config), [])
        self.add_partitions(name, self.default_partitions if partitions is None else partitions)

    def add_partitions(self, topic: str, count: int) -> None:
        """Let a topic grow to `count` partitions."""
        self._topic(topic).add_partitions(
            count,
            list(self.brokers),
            per_partition=self._replication,
            manners=self._manners,
        )
        for partition in self._topic(topic).partitions:
            if not (partition.leader_id == NO_LEADER or self.brokers[partition.leader_id].is_up):
                self._elect_any(partition)
                partition.tell()
        self.notify()

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records; one created later under the name has another id."""
        del self.topics[self._topic(name).name]
        self.notify()

    def log(self, topic: str, partition: int | None = None) -> list[FakeRecord]:
        """The records of a partition in order of their offsets, or of a topic, partition by partition."""
        if partition is not None:
            return list(self._partition(topic, partition).log.records)
        return [record for each in self._topic(topic).partitions for record in each.log.records]

    def forget_producers(self, topic: str, partition: int) -> None:
        """Have a partition forget every producer, as Kafka does after `producer.id.expiration.ms`."""
        self._partition(topic, partition).log.forget_producers()

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Delete the records below an offset, as retention does: the log starts there now."""
        self._partition(topic, partition).log.delete_before(before_offset)

    def topic_by_id(self, topic_id: bytes) -> FakeTopic | None:
        """The topic with this id, if there is one."""
        return next((topic for topic in self.topics.values() if topic.topic_id == topic_id), None)

    # -- leaders and brokers --------------------------------------------------------------------------------------

    def leader(self, topic: str, partition: int) -> int:
        """The number of the broker that leads a partition now, -1 for none."""
        return self._partition(topic, partition).leader_id

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
        self.notify()

    def propagate(self) -> None:
        """Let Metadata tell the present brokers and leaders."""
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
        if propagate:
            self.propagate()

    def pause_broker(self, node_id: int) -> None:
        """Hang a broker: its connections stay open, new ones are taken, and nothing is read or answered."""
        self.brokers[node_id].pause()

    def resume_broker(self, node_id: int) -> None:
        """Let a paused broker go on where it stopped."""
        self.brokers[node_id].resume()

    def drop_connections(self, node_id: int | None = None) -> None:
        """Close every connection of a broker, or of all; new ones are taken at once."""
        for broker in self.brokers.values() if node_id is None else [self.brokers[node_id]]:
            broker.drop_connections()

    def _elect_any(self, partition: FakePartition) -> None:
        up = [node_id for node_id in partition.replicas if self.brokers[node_id].is_up]
        partition.elect(up[0] if up else NO_LEADER)

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

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once something that happens in the cluster makes `condition()` true."""
        await checkpoint()
        while not condition():
            await self._changed.wait()

    # -- for the brokers ------------------------------------------------------------------------------------------

    def note(self, request: ReceivedRequest) -> None:
        """A broker took a request up."""
        self.requests[request.api] += 1
        self.received.append(request)
        self.notify()

    def notify(self) -> None:
        """Have `until` look again."""
        self._changed.set()
        self._changed = anyio.Event()

    def next_connection(self) -> int:
        """A number for a new connection."""
        self._connections += 1
        return self._connections

    def new_producer(self) -> tuple[int, int]:
        """A producer id that nobody has, and its first epoch."""
        self._next_producer_id += 1
        return self._next_producer_id, 0

    def _topic(self, name: str) -> FakeTopic:
        topic = self.topics.get(name)
        if topic is None:
            raise ValueError(f"there is no topic {name!r}, only {sorted(self.topics)}")
        return topic

    def _partition(self, topic: str, number: int) -> FakePartition:
        partitions = self._topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise ValueError(f"topic {topic!r} has no partition {number}, only 0 to {len(partitions) - 1}")
        return partitions[number]


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
