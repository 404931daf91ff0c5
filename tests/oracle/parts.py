"""The parts of the simulation that stand where the producer has connections, metadata and tasks."""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from krafka._io.direct import SenderWakes
from krafka._io.engine import Engine
from krafka._io.sender import produce_form
from krafka._state.accumulator import RecordAccumulator
from krafka._state.cluster import Broker, Cluster, with_leader
from krafka._state.partition import NONE
from krafka._state.sequences import Sequences
from krafka._state.topics import topic_handling
from krafka.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krafka._io.sender import ProduceExchange
    from krafka._speedups.delivery import Delivery
    from krafka._state.memory import Ticket
    from krafka._wire.produce import ProduceResponse
    from krafka.config import ProducerConfig
    from krafka.errors import KafkaError

    from .simulation import Simulation


class Metadata:
    """The producer's picture of the cluster, which lags behind until it is refreshed."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.last_error: KafkaError | None = None
        self.publish: Callable[[Cluster], object] = lambda _cluster: None
        self.wanted = False

    def request_update(self) -> None:
        self.wanted = True

    def fail(self, error: KafkaError) -> None:
        self.last_error = error

    def note_leader(
        self, topic: str, partition: int, leader_id: int, leader_epoch: int, brokers: Iterable[Broker] = ()
    ) -> bool:
        cluster = with_leader(self.cluster, topic, partition, leader_id, leader_epoch, brokers)
        changed = cluster is not self.cluster
        self.set(cluster)
        return changed

    def set(self, cluster: Cluster) -> None:
        if cluster is not self.cluster:
            self.cluster = cluster
            self.publish(cluster)


class Idle:
    """Stands where the engine has a part that this simulation drives by hand."""

    last_error = None

    def request(self) -> None:
        """The simulation gives identities when it likes."""

    def end(self, error: KafkaError) -> None:
        """Nothing waits in here."""

    def usable(self, node_id: int) -> None:
        """There are no connections, only wires."""

    @property
    def records(self) -> Idle:
        return self

    questions = records


@dataclass(eq=False)
class Waiter:
    """A record that waits for memory."""

    partition: int
    value: bytes
    entered: float
    ticket: Ticket | None = None
    granted: bool = False


@dataclass(eq=False)
class Exchange:
    """One Produce request under way."""

    request: Any
    on_response: Callable[[Any, float], object]
    exchange: ProduceExchange
    response: ProduceResponse | None = None


@dataclass(eq=False)
class Sent:
    """One record that the producer accepted."""

    value: bytes
    partition: int
    delivery: Delivery


class Wire:
    """The connection to one broker: what was written to it is processed, and answered, in that order."""

    def __init__(self, node_id: int) -> None:
        self.peer = f"broker {node_id}"
        self.under_way: deque[Exchange] = deque()
        self.left_behind: deque[Exchange] = deque()
        self.being_sent: ProduceExchange | None = None

    def api_version(self, _request: object) -> int:
        return 12

    def put(self, request: Any, _version: int, on_response: Callable[[Any, float], object], *_: Any) -> None:
        assert self.being_sent is not None
        # The sender fills in the same request again for the next.
        self.under_way.append(Exchange(copy(request), on_response, self.being_sent))


class SimulatedEngine(Engine):
    """The engine's decisions without its tasks."""

    def __init__(self, config: ProducerConfig, simulation: Simulation) -> None:
        self.config = config
        self.simulation = simulation
        self.clock = lambda: simulation.now
        self.retries = 0
        self.splits = 0
        self.retry_policy = RetryPolicy(max_retries=config.retries)
        self.failure = None
        self._wakes = SenderWakes(self._wake, _crash)
        self._refuses = False
        self.transactor = None
        self.batch_attributes = 0
        # Nothing sleeps here: the simulation looks at the time whenever that has moved.
        self.look_ahead = lambda now: None
        self.metadata: Any = Metadata()
        self.pool: Any = Idle()
        self.admission: Any = Idle()
        self._identity: Any = Idle()
        self._appended_before: dict[str, int] = {}
        self.accumulator = RecordAccumulator(
            config,
            sequences=Sequences() if config.idempotent else None,
            handling=topic_handling(config),
            monotonic=self.clock,
            wake=self._wakes.wake,
            wake_at=simulation.set_alarm,
            wall_clock=lambda: 1_700_000_000_000,
        )
        self.metadata.publish = self.accumulator.update

    def backoff(self, attempt: int, error: KafkaError | None = None) -> float:
        return float(min(self.config.retry_backoff * 2**attempt, self.config.retry_backoff_max))

    def _wake(self, node_id: int) -> None:
        # It has no senders that could be woken: the simulation looks who is to be.
        if node_id == NONE:
            self.metadata.request_update()
        else:
            self.simulation.woken.add(node_id)


def _crash(bug: Exception) -> None:
    raise bug


class Waker:
    def __init__(self, simulation: Simulation, node_id: int) -> None:
        self._simulation = simulation
        self._node_id = node_id
        self.form = produce_form(simulation.config)

    def hold(self) -> bool:
        return False

    def release(self) -> None:
        self._simulation.woken.add(self._node_id)


@dataclass
class Fault:
    """What goes wrong with one partition's batch at the broker."""

    code: int = 0
    appended: bool = False
    """The batch is appended before the error is answered."""
    omitted: bool = False
    """The answer leaves the partition out."""
