"""Whatever happens between producer and cluster, in whatever order: no loss, no duplicate, no lie, no leak.

Hypothesis chooses what callers, brokers, connections, leaders and the clock do; `oracle.simulation` checks the rest.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle.parts import Fault
from oracle.simulation import (
    DUPLICATE_SEQUENCE_NUMBER,
    Simulation,
)

NODES = 2
PARTITIONS = 2

node_ids = st.integers(1, NODES)
partition_numbers = st.integers(0, PARTITIONS - 1)

refusals = st.sampled_from([2, 3, 6, 10, 17, 19, 29, 47, 56, 74, 87, 89, 4321])
"""Answers of a broker that did not append; 4321 is a code nobody knows."""
after_appending = st.sampled_from([-1, 7, 20, 56])
"""Answers that may come although the batch is in the log."""

faults = st.one_of(
    refusals.map(Fault),
    after_appending.map(lambda code: Fault(code, appended=True)),
    st.just(Fault(omitted=True)),
    st.just(Fault(DUPLICATE_SEQUENCE_NUMBER, appended=True)),
)


class IdempotentProducer(RuleBasedStateMachine):
    """An idempotent producer with acks=all."""

    IDEMPOTENT = True

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation()

    @initialize(
        linger=st.sampled_from([0.0, 0.05]),
        max_in_flight=st.sampled_from([1, 2, 5]),
        retries=st.sampled_from([None, None, 2]),
        buffer_memory=st.sampled_from([3000, 100_000]),
        first_epoch=st.sampled_from([0, 32764]),
        has_identity=st.booleans(),
    )
    def begin(
        self,
        linger: float,
        max_in_flight: int,
        retries: int | None,
        buffer_memory: int,
        first_epoch: int,
        has_identity: bool,
    ) -> None:
        self.world = Simulation(
            nodes=NODES,
            partitions=PARTITIONS,
            identity=(7, first_epoch),
            linger=linger,
            max_in_flight=max_in_flight,
            retries=retries,
            batch_size=300,
            buffer_memory=buffer_memory,
            idempotent=self.IDEMPOTENT,
        )
        self.world.refresh()
        if has_identity:
            self.world.give_identity()

    # -- callers

    @rule(partition=partition_numbers, size=st.sampled_from([0, 10, 100, 400]), times=st.integers(1, 4))
    def append(self, partition: int, size: int, times: int) -> None:
        if self.known() and self.world.engine.failure is None:
            for _ in range(times):
                self.world.append(partition, size)

    @rule(partition=partition_numbers, size=st.sampled_from([0, 100, 1500]))
    def append_or_wait(self, partition: int, size: int) -> None:
        if self.known() and self.world.engine.failure is None:
            self.world.append_or_wait(partition, size)

    @precondition(lambda self: self.world.waiters)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.world.give_up(data.draw(st.sampled_from(self.world.waiters)))

    @rule()
    def flush(self) -> None:
        self.world.accumulator.expedite()

    def known(self) -> bool:
        return self.world.engine.knows_topic("orders")

    # -- senders and brokers

    @rule(node_id=node_ids)
    def send(self, node_id: int) -> None:
        self.world.run_sender(node_id)

    @rule(node_id=node_ids)
    def exchange(self, node_id: int) -> None:
        self.world.run_sender(node_id)
        self.world.process(node_id)
        self.world.answer(node_id)

    @rule(node_id=node_ids)
    def process(self, node_id: int) -> None:
        self.world.process(node_id)

    @rule(node_id=node_ids, partition=partition_numbers, fault=faults)
    def process_badly(self, node_id: int, partition: int, fault: Fault) -> None:
        self.world.process(node_id, {partition: fault})

    @rule(node_id=node_ids)
    def answer(self, node_id: int) -> None:
        self.world.answer(node_id)

    @rule(node_id=node_ids, processed=st.integers(0, 3), unsent=st.integers(0, 2), late=st.booleans())
    def lose(self, node_id: int, processed: int, unsent: int, *, late: bool) -> None:
        self.world.lose(node_id, processed=processed, unsent=unsent, late=late)

    @rule(node_id=node_ids)
    def process_late(self, node_id: int) -> None:
        self.world.process_late(node_id)

    # -- the cluster

    @rule(partition=partition_numbers, node_id=st.sampled_from([1, 2, -1]))
    def move_leader(self, partition: int, node_id: int) -> None:
        self.world.move_leader(partition, node_id)

    @rule()
    def refresh(self) -> None:
        self.world.refresh()

    @rule()
    def drop_topic(self) -> None:
        self.world.drop_topic()

    @rule()
    def give_identity(self) -> None:
        self.world.give_identity()

    # -- time

    @rule(seconds=st.sampled_from([0.01, 0.2, 1.5, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)
        self.world.check_deadlines()

    @rule(sure=st.integers(0, 30), node_id=node_ids, partition=partition_numbers)
    def end_producer(self, sure: int, node_id: int, partition: int) -> None:
        if sure == 30:
            self.world.process(node_id, {partition: Fault(31)})
            while self.world.answer(node_id):
                pass

    @invariant()
    def memory_is_accounted_for(self) -> None:
        self.world.check_memory()

    def teardown(self) -> None:
        self.world.calm_down()
        self.world.check_end()


class PlainProducer(IdempotentProducer):
    """A producer without sequence numbers: records may be written twice, but none is lost and none lied about."""

    IDEMPOTENT = False


# How fast a shared machine draws examples says nothing about what they show.
ENOUGH = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestIdempotentProducer = IdempotentProducer.TestCase
TestIdempotentProducer.settings = ENOUGH
TestPlainProducer = PlainProducer.TestCase
TestPlainProducer.settings = ENOUGH
