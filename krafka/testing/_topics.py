"""Makes, deletes and describes a cluster's topics, through whichever of its brokers answers."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from krafka.testing._admin import (
    INVALID_REPLICATION_FACTOR,
    NONE,
    NOT_CONTROLLER,
    REQUEST_TIMED_OUT,
    TOPIC_ALREADY_EXISTS,
    UNKNOWN_TOPIC_OR_PARTITION,
    AdminConnection,
    PartitionState,
    TopicState,
    error_name,
)
from krafka.testing.errors import KafkaClusterError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

REQUEST_TIMEOUT = 10.0
# Far above what anything here takes: on a machine with other things to do, brokers are slow to agree.
WAIT_TIMEOUT = 60.0


class Topics:
    """The topics of a cluster whose brokers come and go.

    ``live_ports`` gives the ports of the brokers that run and are not paused; ``replication`` is what the brokers
    take for a topic that names none; ``pause`` lets a moment pass in a wait, and may raise to end it.
    """

    def __init__(
        self, live_ports: Callable[[], Mapping[int, int]], replication: int, pause: Callable[[], None]
    ) -> None:
        self._live_ports = live_ports
        self._replication = replication
        self._pause = pause

    def create(self, name: str, partitions: int, replication: int, config: Mapping[str, str]) -> None:
        """Create a topic and wait until its leaders lead and every live broker knows it."""

        def ask(connection: AdminConnection) -> None:
            connection.create_topic(name, partitions, replication, config, REQUEST_TIMEOUT)

        replicas = self._replication if replication < 0 else replication
        self._change(f"creating topic {name!r}", ask, done=TOPIC_ALREADY_EXISTS, replicas=replicas)
        self._wait_for(name, lambda state: state.has_all_leaders, "have a leader for every partition")
        # A broker is told of a leadership before it takes it up: until then it refuses the first records.
        self.end_offsets(name)

    def delete(self, name: str, *, wait: bool) -> None:
        """Delete a topic; with ``wait``, return when every live broker has forgotten it."""

        def ask(connection: AdminConnection) -> None:
            connection.delete_topic(name, REQUEST_TIMEOUT)

        self._change(f"deleting topic {name!r}", ask, done=UNKNOWN_TOPIC_OR_PARTITION)
        if wait:
            self._wait_for(name, lambda state: state.error != NONE, "be gone")

    def partitions(self, name: str) -> dict[int, PartitionState]:
        """Return a topic's partitions as one live broker sees them. Raises KafkaClusterError."""
        state = self._ask(f"asking for topic {name!r}", lambda broker: broker.metadata([name]).topics[name])
        if state.error != NONE:
            raise KafkaClusterError(f"topic {name!r}: {error_name(state.error)}")
        return dict(sorted(state.partitions.items()))

    def end_offsets(self, name: str) -> dict[int, int]:
        """Return each partition's high watermark, asked of its leader."""
        deadline = time.monotonic() + WAIT_TIMEOUT
        while True:
            try:
                return self._end_offsets_now(name)
            except (KafkaClusterError, OSError) as error:
                # A leader may have moved between the two questions.
                if time.monotonic() > deadline:
                    raise KafkaClusterError(f"no end offsets of topic {name!r}: {error}") from error
            self._pause()

    def _end_offsets_now(self, name: str) -> dict[int, int]:
        by_leader: dict[int, list[int]] = {}
        for partition, state in self.partitions(name).items():
            by_leader.setdefault(state.leader, []).append(partition)
        ports = self._live_ports()
        offsets: dict[int, int] = {}
        for leader, partitions in by_leader.items():
            if leader not in ports:
                raise KafkaClusterError(f"partitions {partitions} are led by {leader}, which does not answer")
            with AdminConnection(ports[leader], REQUEST_TIMEOUT) as connection:
                offsets |= connection.end_offsets(name, partitions)
        return dict(sorted(offsets.items()))

    # -- asking ----------------------------------------------------------------------------------------------

    def _ask(self, purpose: str, question: Callable[[AdminConnection], T]) -> T:
        """Put a question that changes nothing to one live broker after the other, until one answers it."""
        last: OSError | None = None
        for port in self._live_ports().values():
            try:
                with AdminConnection(port, REQUEST_TIMEOUT) as connection:
                    return question(connection)
            except OSError as error:
                last = error
        raise _nobody_answers(purpose, last) from last

    def _change(
        self, purpose: str, request: Callable[[AdminConnection], None], *, done: int, replicas: int = 1
    ) -> None:
        """Have something changed; ask again while the brokers are only too busy with each other for it.

        ``done`` is the refusal that means success after an attempt whose end nobody saw.
        """
        deadline = time.monotonic() + WAIT_TIMEOUT
        in_doubt = False
        while True:
            trouble: OSError | RefusedError
            with self._connect(purpose) as connection:
                try:
                    request(connection)
                except OSError as error:
                    in_doubt, trouble = True, error
                except RefusedError as error:
                    if in_doubt and error.code == done:
                        return
                    if not self._passes(error.code, replicas):
                        raise
                    in_doubt, trouble = in_doubt or error.code == REQUEST_TIMED_OUT, error
                else:
                    return
            if time.monotonic() > deadline:
                raise KafkaClusterError(f"{purpose} failed for {WAIT_TIMEOUT:g} s: {trouble}") from trouble
            self._pause()

    def _passes(self, code: int, replicas: int) -> bool:
        """Whether a refusal is of the moment: the controller moves, or a broker that runs is not let in yet."""
        if code == INVALID_REPLICATION_FACTOR:
            return replicas <= len(self._live_ports())
        return code in {NOT_CONTROLLER, REQUEST_TIMED_OUT}

    def _connect(self, purpose: str) -> AdminConnection:
        """Connect to the first broker that runs, is not paused and accepts."""
        last: OSError | None = None
        for port in self._live_ports().values():
            try:
                return AdminConnection(port, REQUEST_TIMEOUT)
            except OSError as error:
                last = error
        raise _nobody_answers(purpose, last) from last

    def _wait_for(self, name: str, condition: Callable[[TopicState], bool], wanted: str) -> None:
        """Wait until every live broker says so: any of them may be a client's first."""
        waiting = dict(self._live_ports())
        deadline = time.monotonic() + WAIT_TIMEOUT
        while waiting:
            node_id, port = next(iter(waiting.items()))
            with contextlib.suppress(OSError), AdminConnection(port, REQUEST_TIMEOUT) as connection:
                if condition(connection.metadata([name]).topics[name]):
                    del waiting[node_id]
                    continue
            if time.monotonic() > deadline:
                raise KafkaClusterError(
                    f"topic {name!r} was to {wanted}, but does not on broker {node_id} after {WAIT_TIMEOUT:g} s"
                )
            self._pause()


def _nobody_answers(purpose: str, last: OSError | None) -> KafkaClusterError:
    said = "none runs" if last is None else str(last)
    return KafkaClusterError(f"{purpose} failed: no broker of the cluster takes connections ({said})")
