"""The judge of a run of transactions: it finds each kind of broken promise, and none in a sound run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krafka.testing.fake.transactions import TransactionState as FakeState

from .judge import find_violations
from .ledger import Fate, SentOffsets, Transaction
from .plan import TRANSACTIONAL_ID, make_plan
from .world import TransactionWorld, run_seed

if TYPE_CHECKING:
    from collections.abc import Callable


def sound_run() -> TransactionWorld:
    """A run whose first producer made a transaction with records and offsets, and others with records."""
    for seed in range(5000):
        plan = make_plan(seed)
        if plan.mood != "calm" or not plan.must_succeed or plan.lives[0].transactions < 4:
            continue
        world = run_seed(seed)
        assert world.violations == []
        made = committed(world)
        if len(made) >= 2 and any(sent.taken for sent in made[0].offsets):
            return world
    raise AssertionError("no seed is as plain as that")


def committed(world: TransactionWorld) -> list[Transaction]:
    return [
        transaction
        for transaction in world.lives[0].transactions
        if transaction.fate is Fate.COMMITTED and any(record.metadata for record in transaction.records)
    ]


def call_it_aborted(world: TransactionWorld, transaction: Transaction) -> None:
    transaction.fate = Fate.ABORTED


def call_it_refused(world: TransactionWorld, transaction: Transaction) -> None:
    transaction.fate = Fate.NOT_COMMITTED


def hide_one(world: TransactionWorld, transaction: Transaction) -> None:
    record = next(record for record in transaction.records if record.metadata is not None)
    for topic in world.cluster.topics.values():
        for partition in topic.partitions:
            partition.log.records = [each for each in partition.log.records if each.value != record.value]


def hide_half_of_what_is_in_doubt(world: TransactionWorld, transaction: Transaction) -> None:
    transaction.fate = Fate.UNKNOWN
    hide_one(world, transaction)


def show_one_twice(world: TransactionWorld, transaction: Transaction) -> None:
    record = next(record for record in transaction.records if record.metadata is not None)
    for topic in world.cluster.topics.values():
        for partition in topic.partitions:
            log = partition.log
            log.records += [each for each in log.records if each.value == record.value]


def lose_the_offsets(world: TransactionWorld, transaction: Transaction) -> None:
    for sent in transaction.offsets:
        world.committed_offsets[sent.group].clear()


def commit_offsets_twice(world: TransactionWorld, transaction: Transaction) -> None:
    commits = world.committed_offsets[transaction.offsets[0].group]
    commits.append(commits[0])


def commit_without_offsets(world: TransactionWorld, transaction: Transaction) -> None:
    transaction.offsets.append(SentOffsets(transaction.offsets[0].group, 1))


def swap_numbers(world: TransactionWorld, transaction: Transaction) -> None:
    other = committed(world)[1]
    transaction.number, other.number = other.number, transaction.number


def leave_it_open(world: TransactionWorld, transaction: Transaction) -> None:
    world.cluster.transactions[TRANSACTIONAL_ID].state = FakeState.ONGOING


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (call_it_aborted, "atomicity"),
        (call_it_refused, "atomicity"),
        (hide_one, "atomicity"),
        (hide_half_of_what_is_in_doubt, "atomicity"),
        (show_one_twice, "twice"),
        (lose_the_offsets, "atomicity"),
        (commit_offsets_twice, "twice"),
        (commit_without_offsets, "atomicity"),
        (swap_numbers, "order"),
        (leave_it_open, "hanging"),
    ],
)
def test_a_spoilt_run_is_found_out(spoil: Callable[[TransactionWorld, Transaction], None], kind: str) -> None:
    world = sound_run()
    assert find_violations(world, world.weather.logs()) == []
    spoil(world, committed(world)[0])
    violations = find_violations(world, world.weather.logs())
    assert kind in {violation.partition(":")[0] for violation in violations}
