"""Sequence numbers where things go wrong: one story a test, told against partitions that check as Kafka does."""

from __future__ import annotations

from typing import Any

import pytest
from oracle.parts import Fault, Sent
from oracle.simulation import TOPIC, UNKNOWN_PRODUCER_ID, Simulation

from krafka.errors import (
    DeliveryTimeoutError,
    InvalidRecordError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
)

NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
TOPIC_AUTHORIZATION_FAILED = 29
CLUSTER_AUTHORIZATION_FAILED = 31
INVALID_RECORD = 87


@pytest.fixture
def world() -> Simulation:
    """One broker that leads one partition, and a producer that may pipeline to it."""
    return started()


def started(
    *, partitions: int = 1, nodes: int = 1, identity: tuple[int, int] = (7, 0), **options: Any
) -> Simulation:
    world = Simulation(nodes=nodes, partitions=partitions, identity=identity, **options)
    world.refresh()
    world.give_identity()
    for partition in range(partitions):
        sent(world, partition)
    # The first acknowledgement of each partition opens the pipeline.
    for node_id in world.wires:
        while world.process(node_id):
            world.answer(node_id)
    return world


def sent(world: Simulation, partition: int = 0) -> Sent:
    """A record in a request of its own, on its way."""
    record = world.append(partition, 10)
    assert record is not None
    world.run_sender(world.leaders[partition])
    return record


def end(world: Simulation) -> None:
    world.calm_down()
    world.check_end()


def log(world: Simulation, partition: int = 0) -> list[bytes]:
    return world.logs[partition].values


def test_pipelined_batches_carry_numbers_one_after_another(world: Simulation) -> None:
    records = [sent(world) for _ in range(5)]
    assert len(world.wires[1].under_way) == 5
    (partition,) = world.partitions()
    assert [batch.base_sequence for batch in partition.in_flight] == [1, 2, 3, 4, 5]
    end(world)
    assert log(world)[1:] == [record.value for record in records]


def test_one_batch_of_an_unacknowledged_partition_is_in_flight() -> None:
    world = Simulation(nodes=1, partitions=1)
    world.refresh()
    world.give_identity()
    sent(world)
    sent(world)
    assert len(world.wires[1].under_way) == 1
    end(world)


def test_nothing_is_numbered_without_an_identity() -> None:
    world = Simulation(nodes=1, partitions=1)
    world.refresh()
    sent(world)
    assert not world.wires[1].under_way
    world.give_identity()
    assert world.run_sender(1) == 1
    end(world)


def test_a_batch_whose_answer_was_lost_is_sent_again_under_its_number(world: Simulation) -> None:
    record = sent(world)
    world.lose(1, processed=1)
    end(world)
    assert log(world).count(record.value) == 1
    assert record.delivery.metadata is not None
    assert record.delivery.metadata.offset == 1


def test_those_behind_a_refused_batch_go_on_in_a_new_epoch(world: Simulation) -> None:
    refused, behind = sent(world), sent(world)
    world.process(1, {0: Fault(INVALID_RECORD)})
    end(world)
    assert isinstance(refused.delivery.exception, InvalidRecordError)
    assert behind.delivery.metadata is not None
    assert world.accumulator.sequences is not None
    assert world.accumulator.sequences.producer_epoch == 1


def test_a_batch_appended_with_an_error_keeps_its_number_when_the_next_is_refused(world: Simulation) -> None:
    # Renumbered for the new epoch that the refusal calls for, the first batch would be appended a second time.
    appended, refused, behind = sent(world), sent(world), sent(world)
    world.process(1, {0: Fault(NOT_ENOUGH_REPLICAS_AFTER_APPEND, appended=True)})
    world.process(1, {0: Fault(INVALID_RECORD)})
    end(world)
    assert log(world).count(appended.value) == 1
    assert appended.delivery.metadata is not None
    assert refused.delivery.exception is not None
    assert behind.delivery.metadata is not None


def test_a_refusal_after_a_lost_answer_does_not_say_that_the_record_is_not_written(world: Simulation) -> None:
    record, behind = sent(world), sent(world)
    world.lose(1, processed=2)
    world.pass_time(1)
    world.run_sender(1)
    world.process(1, {0: Fault(TOPIC_AUTHORIZATION_FAILED)})
    world.answer(1)
    error = record.delivery.exception
    assert isinstance(error, TopicAuthorizationFailedError)
    assert error.possibly_written
    assert "may have written it" in str(error)
    end(world)
    assert log(world).count(behind.value) == 1


def test_a_timeout_after_a_lost_answer_says_that_the_record_may_be_written(world: Simulation) -> None:
    record = sent(world)
    world.lose(1, processed=1)
    world.pass_time(200)
    error = record.delivery.exception
    assert isinstance(error, DeliveryTimeoutError)
    assert error.possibly_written
    end(world)


def test_a_timeout_after_refusals_says_that_the_record_is_not_written(world: Simulation) -> None:
    record = sent(world)
    world.process(1, {0: Fault(NOT_ENOUGH_REPLICAS)})
    world.answer(1)
    world.pass_time(200)
    error = record.delivery.exception
    assert isinstance(error, DeliveryTimeoutError)
    assert not error.possibly_written
    assert isinstance(error.__cause__, NotEnoughReplicasError)
    end(world)


@pytest.mark.parametrize("written", [0, 1])
def test_a_batch_ended_without_an_answer_leaves_those_behind_it_deliverable(
    world: Simulation, written: int
) -> None:
    lost = sent(world)
    world.lose(1, processed=written)
    world.pass_time(119)
    behind = world.append(0, 10)
    assert behind is not None
    world.pass_time(5)
    assert lost.delivery.done
    end(world)
    assert lost.delivery.exception is not None
    assert lost.delivery.exception.possibly_written
    assert log(world).count(lost.value) == written
    assert behind.delivery.metadata is not None


def test_after_a_lost_batch_the_next_one_needs_no_second_attempt() -> None:
    world = started(retries=0)
    lost = sent(world)
    world.lose(1)
    assert lost.delivery.exception is not None
    assert lost.delivery.exception.possibly_written
    later = sent(world)
    end(world)
    assert later.delivery.metadata is not None


def test_what_comes_behind_a_lost_batch_shows_that_it_was_written(world: Simulation) -> None:
    lost, behind = sent(world), sent(world)
    world.lose(1, processed=2)
    (partition,) = world.partitions()
    first = partition.in_flight[0]
    world.accumulator.withdraw(first, DeliveryTimeoutError("as if its time were up", possibly_written=True))
    later = world.append(0, 10)
    assert later is not None
    world.pass_time(1)
    # Until the next one's answer tells what became of the lost one, nothing is given a number.
    assert world.run_sender(1) == 1
    end(world)
    assert behind.delivery.metadata is not None
    assert later.delivery.metadata is not None
    assert log(world)[1:] == [lost.value, behind.value, later.value]
    assert partition.producer_epoch == 0


def test_batches_lost_in_any_order_leave_none_stuck_behind_them(world: Simulation) -> None:
    # The broker misses the second batch's number; that shows once the first one ended, whoever ended last.
    first, second, third = sent(world), sent(world), sent(world)
    world.lose(1)
    batches = list(world.partitions()[0].in_flight)
    for batch in (batches[0], batches[2]):
        world.accumulator.withdraw(
            batch, DeliveryTimeoutError("as if its time were up", possibly_written=True)
        )
    end(world)
    assert first.delivery.exception is not None
    assert third.delivery.exception is not None
    assert second.delivery.metadata is not None


def test_a_late_acknowledgement_does_not_turn_the_count_back(world: Simulation) -> None:
    sent(world)
    sent(world)
    world.process(1, {0: Fault(NOT_ENOUGH_REPLICAS_AFTER_APPEND, appended=True)})
    world.process(1)
    world.answer(1)
    world.answer(1)
    (partition,) = world.partitions()
    assert partition.last_acked_sequence == 2
    world.pass_time(1)
    world.run_sender(1)
    world.process(1)
    world.answer(1)
    assert partition.last_acked_sequence == 2
    end(world)


def test_a_topic_that_was_dropped_does_not_start_its_numbers_over() -> None:
    # The broker would take number 0 for the duplicate of the first record, and the new record would be lost.
    world = started()
    assert world.drop_topic()
    assert not world.engine.knows_topic(TOPIC)
    world.refresh()
    record = sent(world)
    end(world)
    assert log(world).count(record.value) == 1


def test_numbers_of_a_dropped_topic_are_forgotten_with_their_epoch() -> None:
    world = started()
    world.drop_topic()
    sequences = world.accumulator.sequences
    assert sequences is not None
    assert len(world.partitions()) == 1
    sequences.set_identity(99, 0)
    world.refresh()
    world.drop_topic()
    assert not world.partitions()


def test_other_partitions_follow_a_new_epoch_once_they_are_idle() -> None:
    world = started(partitions=2)
    refused, other = sent(world, 0), sent(world, 1)
    world.process(1, {0: Fault(INVALID_RECORD)})
    world.answer(1)
    later = sent(world, 1)
    # The other partition's batch is on the wire under the old epoch, so nothing new may follow it yet.
    assert len(world.wires[1].under_way) == 1
    end(world)
    assert refused.delivery.exception is not None
    assert other.delivery.metadata is not None
    assert later.delivery.metadata is not None
    assert [partition.producer_epoch for partition in world.partitions()] == [1, 1]


def test_when_the_epochs_are_used_up_a_new_id_is_asked_for() -> None:
    world = started(identity=(7, 2**15 - 2))
    refused, behind = sent(world), sent(world)
    world.process(1, {0: Fault(INVALID_RECORD)})
    world.process(1)
    world.answer(1)
    world.answer(1)
    assert world.engine.needs_identity
    world.pass_time(1)
    # What lies behind the gap is not offered to the broker under numbers it cannot take.
    assert world.run_sender(1) == 0
    end(world)
    assert refused.delivery.exception is not None
    assert behind.delivery.metadata is not None
    assert world.partitions()[0].producer_id == 8


def test_a_broker_that_forgot_the_producer_is_written_to_in_a_new_epoch(world: Simulation) -> None:
    record, behind = sent(world), sent(world)
    world.process(1, {0: Fault(UNKNOWN_PRODUCER_ID)})
    world.process(1, {0: Fault(UNKNOWN_PRODUCER_ID)})
    end(world)
    assert record.delivery.metadata is not None
    assert behind.delivery.metadata is not None
    assert log(world)[1:] == [record.value, behind.value]


def test_the_next_leader_gets_nothing_before_the_old_one_answered() -> None:
    world = started(nodes=2)
    first = sent(world)
    world.move_leader(0, 2)
    world.refresh()
    second = world.append(0, 10)
    assert second is not None
    assert world.run_sender(2) == 0
    world.process(1)
    world.answer(1)
    # The old leader refused the first; both are the new one's now, the first in front.
    assert world.run_sender(2) == 2
    end(world)
    assert log(world)[1:] == [first.value, second.value]


def test_a_fatal_refusal_ends_every_record_and_says_which_may_be_written() -> None:
    world = started(partitions=2)
    first, second = world.append(0, 10), world.append(1, 10)
    assert first is not None
    assert second is not None
    waiting = [world.append(0, 10) for _ in range(3)]
    world.run_sender(1)
    world.process(1, {0: Fault(CLUSTER_AUTHORIZATION_FAILED)})
    world.answer(1)
    end(world)
    assert first.delivery.exception is not None
    assert second.delivery.done
    assert all(record is not None and record.delivery.exception is not None for record in waiting)
