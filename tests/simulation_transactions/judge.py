"""What must hold after a run: each transaction is whole or not there, by what its owner was told."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from krafka.errors import (
    DeliveryTimeoutError,
    InvalidTransactionStateError,
    ProducerClosedError,
    RecordValidationError,
)
from krafka.testing.fake.transactions import TransactionState as FakeState
from tests.simulation.judge import EPSILON, judge_log, judge_record, judge_remains, name_of

from .ledger import Fate
from .plan import TRANSACTIONAL_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka.testing.fake.log import PartitionLog
    from tests.simulation.judge import Logs, Places
    from tests.simulation.record import Record

    from .ledger import SentOffsets, Transaction
    from .life import Life
    from .world import TransactionWorld

WouldBlock = ("BufferFullError", "MetadataNotReadyError")
SHOWN = 6


def find_violations(world: TransactionWorld, logs: Logs) -> list[str]:
    """Every broken promise, each a line that begins with its kind and a colon."""
    records = {record.name: record for record in world.records}
    places: Places = {}
    violations: list[str] = []
    for log, entries in logs:
        violations += judge_log(world, records, places, log, entries)
    for record in world.records:
        violations += judge_record(world, record, places.get(record.name, []))
    visible = _visible(logs)
    for transaction in world.transactions:
        violations += _judge_transaction(world, transaction, visible)
    violations += _judge_order(world, logs)
    violations += _judge_ends(world, logs)
    for witness in world.witnesses:
        violations += witness.violations(world.records)
    for life in world.lives:
        violations += judge_remains(life.engine)
        violations += _judge_lateness(life)
    if world.plan.must_succeed:
        for transaction in world.transactions:
            violations += _judge_success(transaction, has_refusals=world.plan.mood == "refused")
    return violations


def _visible(logs: Logs) -> dict[str, int]:
    """How often readers of committed records are given each."""
    visible: dict[str, int] = {}
    for log, _ in logs:
        for entry in log.committed():
            visible[name_of(entry)] = visible.get(name_of(entry), 0) + 1
    return visible


def _judge_transaction(
    world: TransactionWorld, transaction: Transaction, visible: dict[str, int]
) -> Iterator[str]:
    seen = [record for record in transaction.records if record.name in visible]
    commits = {sent.offset: _commits(world, sent) for sent in transaction.offsets}
    taken = [sent for sent in transaction.offsets if commits[sent.offset]]
    for record in seen:
        if visible[record.name] > 1:
            yield f"twice: {record.name} of {transaction} is given to readers {visible[record.name]} times"
    for sent in taken:
        if commits[sent.offset] > 1:
            yield f"twice: {sent} of {transaction} was committed {commits[sent.offset]} times"
    if transaction.fate in {Fate.ABORTED, Fate.NOT_COMMITTED}:
        if seen or taken:
            yield f"atomicity: {transaction} shows {_names(seen)} {taken or ''}"
    elif transaction.fate is Fate.COMMITTED or seen or taken:
        yield from _judge_whole(transaction, seen, taken)


def _judge_whole(transaction: Transaction, seen: list[Record], taken: list[SentOffsets]) -> Iterator[str]:
    """A transaction that is committed has all that it was given."""
    missing = [record for record in transaction.records if record.metadata is not None and record not in seen]
    failed = [record for record in transaction.records if _counts_as_failed(record)]
    lost = [sent for sent in transaction.offsets if sent.taken and sent not in taken]
    refused = [sent for sent in transaction.offsets if not (sent.taken or sent.may_be_taken)]
    if missing:
        yield f"atomicity: {transaction} does not show {_names(missing)}"
    if lost:
        yield f"atomicity: {transaction} does not show {lost}"
    if failed:
        yield f"atomicity: {transaction} is committed without {_names(failed)}: {failed[0].told()}"
    if refused:
        yield f"atomicity: {transaction} is committed without {refused}"


def _counts_as_failed(record: Record) -> bool:
    """Whether a transaction must not be committed without this one: it was asked for while that was open."""
    error = record.error
    if error is None or type(error).__name__ in WouldBlock:
        return False
    return not isinstance(error, InvalidTransactionStateError | ProducerClosedError)


def _commits(world: TransactionWorld, sent: SentOffsets) -> int:
    return sum(
        sent.offset in {each.offset for each in commit.values()}
        for commit in world.committed_offsets[sent.group]
    )


def _names(records: list[Record]) -> str:
    return ", ".join(record.name for record in records[:SHOWN]) + (" ..." if len(records) > SHOWN else "")


def _judge_order(world: TransactionWorld, logs: Logs) -> Iterator[str]:
    """Of each producer what is committed lies in the order of its transactions."""
    owners = {
        record.name: transaction for transaction in world.transactions for record in transaction.records
    }
    for log, _ in logs:
        found = [owners[name] for entry in log.committed() if (name := name_of(entry)) in owners]
        for before, after in pairwise(found):
            if (before.life, before.number) > (after.life, after.number) and before.life == after.life:
                yield f"order: {log.topic}-{log.partition} has {after} behind {before}"


def _judge_ends(world: TransactionWorld, logs: Logs) -> Iterator[str]:
    """Nothing is left open, once the coordinator had its time."""
    for log, _ in logs:
        if log.last_stable_offset != log.next_offset:
            yield f"hanging: {_place(log)} can be read to {log.last_stable_offset} of {log.next_offset}"
    known = world.cluster.transactions.get(TRANSACTIONAL_ID)
    if known is not None and (known.state is FakeState.ONGOING or known.is_completing):
        yield f"hanging: {known}"
    # A record that is refused may leave others behind it that wait for as long as they may, and its owner for them.
    is_prompt = world.plan.must_succeed and world.plan.mood != "refused"
    if world.overdue and is_prompt and world.lives[-1].closes_in_peace:
        yield f"hanging: nobody ended {world.overdue[-1]}, but the coordinator when its time was up"


def _judge_lateness(life: Life) -> Iterator[str]:
    for transaction in life.transactions:
        for record in transaction.records:
            if record.ended_at is None or record.verb == "many":
                continue
            if record.called_at <= life.left_at < record.ended_at - EPSILON:
                yield f"late: {record.name} had its outcome after the producer was left: {record.told()}"


def _place(log: PartitionLog) -> str:
    return f"{log.topic}-{log.partition}"


def _judge_success(transaction: Transaction, *, has_refusals: bool) -> Iterator[str]:
    """Where nothing is in the way for long, a transaction fails for nothing but a record of its own."""
    error = transaction.error
    reasons = [record.error for record in transaction.records if record.error is not None]
    if any(isinstance(reason, RecordValidationError) for reason in reasons):
        return
    if has_refusals and any(not isinstance(reason, DeliveryTimeoutError) for reason in reasons):
        return
    if any(sent.may_be_taken for sent in transaction.offsets) and not (error is not None and error.is_fatal):
        return
    if error is not None and not isinstance(error, ProducerClosedError | InvalidTransactionStateError):
        yield f"failed: {transaction} should not have: {error!r}"
