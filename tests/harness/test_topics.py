"""Topics are made and asked about while brokers come, go and disagree; here the brokers are played."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest

from krafka.testing import KafkaClusterError, _topics
from krafka.testing._admin import (
    INVALID_REPLICATION_FACTOR,
    NONE,
    NOT_CONTROLLER,
    REQUEST_TIMED_OUT,
    TOPIC_ALREADY_EXISTS,
    UNKNOWN_TOPIC_OR_PARTITION,
    ClusterState,
    PartitionState,
    TopicState,
)
from krafka.testing._topics import WAIT_TIMEOUT, Topics
from krafka.testing.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

LOST = ConnectionResetError("the connection was lost")


class Played:
    """Brokers at ports 1, 2, ... that do what a script says, and a clock that only waiting moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.live = {1: 1, 2: 2, 3: 3}
        self.deaf: set[int] = set()
        """Brokers that break every connection at its first question."""
        self.changes: list[int | OSError | None] = []
        """What becomes of one attempt after the other to change something; of those after these, success."""
        self.attempts = 0
        self.leaders: dict[int, list[int]] = {}
        """What each broker says, time after time, about who leads the one partition; the last of it for good."""
        self.now = 0.0
        self.topics = Topics(lambda: self.live, 3, self.pause)
        monkeypatch.setattr(_topics, "AdminConnection", lambda port, timeout: PlayedConnection(self, port))
        monkeypatch.setattr(_topics, "time", SimpleNamespace(monotonic=lambda: self.now))

    def pause(self) -> None:
        self.now += 1

    def refuse(self, *outcomes: int | OSError | None) -> None:
        self.changes = list(outcomes)

    def change(self) -> None:
        self.attempts += 1
        outcome = self.changes.pop(0) if self.changes else None
        if isinstance(outcome, OSError):
            raise outcome
        if outcome is not None:
            raise RefusedError(f"refused with {outcome}", outcome)


class PlayedConnection:
    """One connection to a played broker."""

    def __init__(self, played: Played, port: int) -> None:
        self.played, self.port = played, port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return

    def create_topic(self, *_arguments: object) -> None:
        self.played.change()

    def delete_topic(self, *_arguments: object) -> None:
        self.played.change()

    def metadata(self, names: list[str]) -> ClusterState:
        if self.port in self.played.deaf:
            raise LOST
        said = self.played.leaders.get(self.port, [1])
        leader = said.pop(0) if len(said) > 1 else said[0]
        state = TopicState(NONE, {0: PartitionState(NONE, leader, (1, 2, 3), (1, 2, 3))})
        return ClusterState({}, 1, dict.fromkeys(names, state))

    def end_offsets(self, _topic: str, partitions: Iterable[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 100 + self.port)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(monkeypatch)


def create(played: Played, replication: int = -1) -> None:
    played.topics.create("t", 1, replication, {})


@pytest.mark.parametrize(
    "outcomes",
    [
        [NOT_CONTROLLER, INVALID_REPLICATION_FACTOR, None],
        [LOST, None],
        [REQUEST_TIMED_OUT, TOPIC_ALREADY_EXISTS],
        [LOST, NOT_CONTROLLER, TOPIC_ALREADY_EXISTS],
    ],
)
def test_a_topic_is_made_in_spite_of_what_passes(played: Played, outcomes: list[Any]) -> None:
    played.refuse(*outcomes)
    create(played)
    assert played.attempts == len(outcomes)


def test_a_topic_that_was_there_before_is_an_error(played: Played) -> None:
    played.refuse(NOT_CONTROLLER, TOPIC_ALREADY_EXISTS)
    with pytest.raises(KafkaClusterError, match=f"refused with {TOPIC_ALREADY_EXISTS}"):
        create(played)


@pytest.mark.parametrize(("live", "replication"), [({1: 1, 2: 2}, -1), ({1: 1, 2: 2, 3: 3}, 5)])
def test_more_replicas_than_live_brokers_are_an_error_at_once(
    played: Played, live: dict[int, int], replication: int
) -> None:
    played.live = live
    played.refuse(INVALID_REPLICATION_FACTOR)
    with pytest.raises(KafkaClusterError, match=f"refused with {INVALID_REPLICATION_FACTOR}"):
        create(played, replication)
    assert played.now == 0


def test_what_does_not_pass_ends_the_wait(played: Played) -> None:
    played.refuse(*[NOT_CONTROLLER] * 100)
    with pytest.raises(
        KafkaClusterError, match=r"creating topic 't' failed for 60 s: refused with 41"
    ) as caught:
        create(played)
    assert isinstance(caught.value.__cause__, RefusedError)
    assert played.now == WAIT_TIMEOUT + 1


def test_a_topic_deleted_unseen_is_deleted(played: Played) -> None:
    played.refuse(LOST, UNKNOWN_TOPIC_OR_PARTITION)
    played.topics.delete("t", wait=False)
    assert played.attempts == 2
    played.refuse(UNKNOWN_TOPIC_OR_PARTITION)
    with pytest.raises(KafkaClusterError):
        played.topics.delete("t", wait=False)


def test_every_broker_has_to_know_the_leader(played: Played) -> None:
    played.leaders = {3: [-1, -1, 1]}
    create(played)
    assert played.now == 2
    played.leaders = {2: [-1]}
    with pytest.raises(KafkaClusterError, match=r"have a leader .* does not on broker 2 after 60 s"):
        create(played)


def test_the_next_broker_answers_for_one_that_does_not(played: Played) -> None:
    played.deaf = {1, 2}
    assert played.topics.partitions("t")[0].leader == 1
    played.deaf = {1, 2, 3}
    with pytest.raises(KafkaClusterError, match=r"no broker of the cluster takes connections .*was lost"):
        played.topics.partitions("t")


def test_end_offsets_wait_for_a_leader_that_answers(played: Played) -> None:
    played.leaders = {1: [-1, 9, 2]}
    assert played.topics.end_offsets("t") == {0: 102}
    assert played.now == 2


def test_without_a_broker_nothing_is_waited_for(played: Played) -> None:
    played.live = {}
    with pytest.raises(KafkaClusterError, match="none runs"):
        create(played)
    assert played.now == 0
