"""The cluster snapshot: what a new answer may change, and what an old one may not."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka._state.cluster import (
    NO_TOPIC_ID,
    Broker,
    Cluster,
    PartitionMetadata,
    TopicMetadata,
    merge,
    with_leader,
    without_topics,
)
from krafka._wire.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from krafka.errors import ProtocolError

ID_ONE = b"1" * 16
ID_TWO = b"2" * 16


def partition(number: int, leader: int = 1, epoch: int = 0, error: int = 0) -> MetadataResponsePartition:
    return MetadataResponsePartition(
        partition_index=number, leader_id=leader, leader_epoch=epoch, error_code=error
    )


def topic(
    *partitions: MetadataResponsePartition,
    name: str | None = "orders",
    topic_id: bytes = ID_ONE,
    error: int = 0,
) -> MetadataResponseTopic:
    return MetadataResponseTopic(name=name, topic_id=topic_id, partitions=list(partitions), error_code=error)


def response(
    *topics: MetadataResponseTopic, nodes: tuple[int, ...] = (1, 2, 3), cluster_id: str | None = "one"
) -> MetadataResponse:
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=node, host=f"b{node}", port=9092) for node in nodes],
        topics=list(topics),
        cluster_id=cluster_id,
    )


def after(*responses: MetadataResponse, version: int = 13) -> Cluster:
    cluster = Cluster()
    for each in responses:
        cluster = merge(cluster, each, version=version)
    return cluster


def leaders(cluster: Cluster, name: str = "orders") -> list[tuple[int, int]]:
    return [(entry.leader_id, entry.leader_epoch) for entry in cluster.topics[name].partitions]


partitions_lists = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(-1, 6), st.sampled_from([0, 5, 9])), min_size=1, max_size=5
).map(lambda rows: [partition(number, *row) for number, row in enumerate(rows)])

topics = st.builds(
    lambda name, topic_id, partitions, error: topic(
        *([] if error else partitions), name=name, topic_id=topic_id, error=error
    ),
    st.sampled_from(["orders", "payments"]),
    st.sampled_from([ID_ONE, ID_TWO]),
    partitions_lists,
    st.sampled_from([0, 0, 0, 3, 5, 29]),
)

responses = st.builds(
    lambda entries, nodes: response(*{entry.name: entry for entry in entries}.values(), nodes=tuple(nodes)),
    st.lists(topics, max_size=3),
    st.sets(st.integers(1, 3), min_size=1),
)


@given(st.lists(responses, max_size=8), st.integers(0, 13))
def test_within_one_topic_id_epochs_and_partition_counts_never_go_back(
    history: list[MetadataResponse], version: int
) -> None:
    cluster = Cluster()
    for each in history:
        before, cluster = cluster, merge(cluster, each, version=version)
        for name, known in before.topics.items():
            now = cluster.topics[name]
            if now.topic_id != known.topic_id or not now.partitions:
                continue
            assert len(now.partitions) >= len(known.partitions)
            for old, new in zip(known.partitions, now.partitions, strict=False):
                assert new.leader_epoch >= old.leader_epoch
        assert set(cluster.brokers) == {broker.node_id for broker in each.brokers}


@given(st.lists(responses, max_size=6), st.integers(0, 13))
def test_a_snapshot_is_sound_and_tells_only_of_changes(history: list[MetadataResponse], version: int) -> None:
    cluster = Cluster()
    for each in history:
        before, cluster = cluster, merge(cluster, each, version=version)
        changed = (before.brokers, before.topics, before.cluster_id) != (
            cluster.brokers,
            cluster.topics,
            cluster.cluster_id,
        )
        assert cluster.generation == before.generation + changed
        assert (cluster is before) == (not changed)
        assert merge(cluster, each, version=version) is cluster
        named = {entry.name for entry in each.topics}
        for name, metadata in cluster.topics.items():
            assert [entry.partition for entry in metadata.partitions] == list(range(len(metadata.partitions)))
            if name not in named or metadata == before.topics.get(name):
                assert metadata is before.topics[name]


@given(st.lists(responses, min_size=1, max_size=6), st.data())
def test_a_leader_hint_needs_a_newer_epoch_and_an_address(
    history: list[MetadataResponse], data: st.DataObject
) -> None:
    cluster = after(*history)
    name = data.draw(st.sampled_from(["orders", "payments", "unknown"]))
    number, leader = data.draw(st.integers(-1, 5)), data.draw(st.integers(-1, 9))
    epoch = data.draw(st.integers(-1, 9))
    endpoints = data.draw(st.sampled_from([[], [Broker(leader, "new", 9092), Broker(77, "other", 9092)]]))
    hinted = with_leader(cluster, name, number, leader, epoch, endpoints)
    metadata = cluster.topics.get(name)
    known = metadata.partitions[number] if metadata and 0 <= number < len(metadata.partitions) else None
    if known is None or epoch <= known.leader_epoch or not (endpoints or leader in cluster.brokers):
        assert hinted is cluster
    else:
        assert hinted.topics[name].partitions[number] == PartitionMetadata(number, leader, epoch)
        found = hinted.leader(name, number)
        assert found is not None
        assert found.node_id == leader
        assert 77 not in hinted.brokers
        assert hinted.generation == cluster.generation + 1


def test_an_older_epoch_is_ignored_for_its_partition_only() -> None:
    cluster = after(
        response(topic(partition(0, 1, epoch=5), partition(1, 1, epoch=5))),
        response(topic(partition(0, 2, epoch=4), partition(1, 2, epoch=6))),
    )
    assert leaders(cluster) == [(1, 5), (2, 6)]


def test_a_leader_may_come_and_go_within_one_epoch() -> None:
    cluster = after(
        response(topic(partition(0, -1, epoch=5, error=5))), response(topic(partition(0, 2, epoch=5)))
    )
    assert leaders(cluster) == [(2, 5)]
    assert cluster.topics["orders"].partitions[0].error_code == 0


def test_partitions_are_added_and_a_lagging_broker_does_not_take_them_away() -> None:
    grown = after(response(topic(partition(0))), response(topic(partition(0), partition(1))))
    assert len(grown.topics["orders"].partitions) == 2
    assert merge(grown, response(topic(partition(0))), version=13) is grown


def test_a_topic_made_anew_replaces_the_old_one_whole() -> None:
    cluster = after(
        response(topic(partition(0, 1, epoch=9), partition(1, 1, epoch=9))),
        response(topic(partition(0, 2, epoch=0), topic_id=ID_TWO)),
    )
    assert leaders(cluster) == [(2, 0)]
    assert cluster.topics["orders"].topic_id == ID_TWO


def test_another_cluster_replaces_everything() -> None:
    cluster = after(
        response(topic(partition(0, 1, epoch=9)), topic(partition(0), name="payments")),
        response(topic(partition(0, 2, epoch=0)), nodes=(2,), cluster_id="two"),
    )
    assert leaders(cluster) == [(2, 0)]
    assert list(cluster.topics) == ["orders"]
    assert cluster.cluster_id == "two"


def test_a_response_without_a_cluster_id_keeps_the_known_one() -> None:
    cluster = after(response(topic(partition(0))), response(topic(partition(0)), cluster_id=None))
    assert cluster.cluster_id == "one"
    assert cluster.generation == 1


@pytest.mark.parametrize("error", [3, 5, 7, 100])
def test_a_passing_topic_error_leaves_its_partitions(error: int) -> None:
    known = after(response(topic(partition(0, 1, epoch=4))))
    cluster = merge(known, response(topic(topic_id=NO_TOPIC_ID, error=error)), version=13)
    assert leaders(cluster) == [(1, 4)]
    assert cluster.topics["orders"].error_code == error
    healed = merge(cluster, response(topic(partition(0, 1, epoch=4))), version=13)
    assert healed.topics == known.topics


@pytest.mark.parametrize("error", [17, 29, -1, 31999])
def test_a_lasting_topic_error_takes_its_partitions(error: int) -> None:
    cluster = after(response(topic(partition(0))), response(topic(error=error)))
    assert cluster.topics["orders"] == TopicMetadata("orders", ID_ONE, (), error)


def test_without_topic_ids_an_unknown_topic_was_deleted() -> None:
    old = topic(partition(0, 1, epoch=9), topic_id=NO_TOPIC_ID)
    gone = after(response(old), response(topic(topic_id=NO_TOPIC_ID, error=3)), version=9)
    assert gone.topics["orders"].partitions == ()
    again = merge(gone, response(topic(partition(0, 2, epoch=0), topic_id=NO_TOPIC_ID)), version=9)
    assert leaders(again) == [(2, 0)]


def test_without_topic_ids_fewer_partitions_mean_another_topic() -> None:
    cluster = after(
        response(topic(partition(0, 1, epoch=9), partition(1, 1, epoch=9), topic_id=NO_TOPIC_ID)),
        response(topic(partition(0, 2, epoch=0), topic_id=NO_TOPIC_ID)),
        version=9,
    )
    assert leaders(cluster) == [(2, 0)]


def test_brokers_with_and_without_topic_ids_may_answer_in_turn() -> None:
    with_id = response(topic(partition(0, 1, epoch=4)))
    without = response(topic(partition(0, 2, epoch=3), topic_id=NO_TOPIC_ID))
    known = after(with_id)
    assert merge(known, without, version=9) is known
    upgraded = merge(after(without, version=9), with_id, version=13)
    assert leaders(upgraded) == [(1, 4)]
    assert upgraded.topics["orders"].topic_id == ID_ONE


def test_epochs_of_old_brokers_are_not_trusted_but_their_leaders_are() -> None:
    assert leaders(after(response(topic(partition(0, 2, epoch=7))), version=8)) == [(2, -1)]
    known = after(response(topic(partition(0, 1, epoch=7))))
    assert leaders(merge(known, response(topic(partition(0, 2, epoch=3))), version=8)) == [(2, 7)]


def test_partitions_come_in_any_order_and_a_missing_one_has_no_leader() -> None:
    cluster = after(response(topic(partition(3), partition(0), partition(2))))
    assert leaders(cluster) == [(1, 0), (-1, -1), (1, 0), (1, 0)]
    assert cluster.leaderless("orders") == (1,)


@pytest.mark.parametrize("number", [-1, 2**31 - 1, 20_000])
def test_impossible_partition_numbers_are_a_protocol_error(number: int) -> None:
    with pytest.raises(ProtocolError, match=r"topic 'orders' lists 2 partitions with numbers"):
        after(response(topic(partition(0), partition(number))))


def test_topics_asked_by_id_are_left_out() -> None:
    assert after(response(topic(partition(0), name=None))).topics == {}


def test_leaders_are_found_by_their_address_only() -> None:
    cluster = after(response(topic(partition(0, 1), partition(1, 9), partition(2, -1)), nodes=(1, 2)))
    assert cluster.leader("orders", 0) == Broker(1, "b1", 9092)
    assert [cluster.leader("orders", number) for number in (1, 2, 3, -1)] == [None] * 4
    assert cluster.leader("unknown", 0) is None
    assert cluster.leaderless("orders") == (1, 2)
    assert cluster.leaderless("unknown") == ()


def test_topics_can_be_forgotten() -> None:
    cluster = after(response(topic(partition(0)), topic(partition(0), name="payments")))
    rest = without_topics(cluster, ["orders", "unknown"])
    assert list(rest.topics) == ["payments"]
    assert rest.generation == cluster.generation + 1
    assert without_topics(rest, ["orders"]) is rest


def test_a_snapshot_cannot_be_changed() -> None:
    cluster = after(response(topic(partition(0))))
    with pytest.raises(FrozenInstanceError):
        cluster.generation = 7  # type: ignore[misc]
    with pytest.raises(TypeError):
        cluster.brokers[9] = Broker(9, "h", 1)  # type: ignore[index]
    with pytest.raises(TypeError):
        cluster.topics["new"] = cluster.topics["orders"]  # type: ignore[index]
    assert str(cluster.brokers[1]) == "broker 1 (b1:9092)"
