"""The states of a transactional producer: which lead where, and what each call is answered with in each."""

from __future__ import annotations

import pytest

from krafka import (
    InvalidTransactionStateError,
    MessageTooLargeError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionState,
)
from krafka._state.transaction_table import CALLS, TRANSITIONS, TransactionTable

STATES = list(TransactionState)
# The states of Kafka's own machine (TransactionManager.State), by the one that each is reached from, but for the way
# back from a commit that was given up.
WAYS = {
    ("Uninitialized", "Initializing"),
    ("Initializing", "Ready"),
    ("Initializing", "Uninitialized"),
    ("Ready", "InTransaction"),
    ("InTransaction", "Committing"),
    ("InTransaction", "Aborting"),
    ("InTransaction", "AbortableError"),
    ("Committing", "Ready"),
    ("Committing", "InTransaction"),
    ("Committing", "AbortableError"),
    ("Aborting", "Ready"),
    ("AbortableError", "Aborting"),
}
ALLOWED = {
    "init_transactions": {"Uninitialized"},
    "begin_transaction": {"Ready"},
    "send": {"InTransaction"},
    "send_offsets_to_transaction": {"InTransaction"},
    "commit_transaction": {"InTransaction", "Committing"},
    "abort_transaction": {"InTransaction", "AbortableError", "Aborting"},
}


def table_in(state: TransactionState) -> TransactionTable:
    table = TransactionTable()
    table.state = state
    if state in {TransactionState.ABORTABLE_ERROR, TransactionState.FATAL_ERROR}:
        table.error = MessageTooLargeError("too much of it")
    return table


def test_a_state_is_equal_to_its_name() -> None:
    assert TransactionState("InTransaction") is TransactionState.IN_TRANSACTION
    assert TransactionState.FATAL_ERROR == "FatalError"
    assert str(TransactionState.ABORTABLE_ERROR) == "AbortableError"


@pytest.mark.parametrize("new", STATES)
@pytest.mark.parametrize("state", STATES)
def test_each_state_leads_where_the_table_says(state: TransactionState, new: TransactionState) -> None:
    allowed = (state, new) in WAYS or (new == "FatalError" and state != "FatalError")
    assert (new in TRANSITIONS[state]) is allowed
    table = table_in(state)
    if allowed:
        assert table.swap(state, new)
        assert table.state is new
    else:
        with pytest.raises(AssertionError, match=f"from {state} to {new}"):
            table.swap(state, new)
        assert table.state is state


@pytest.mark.parametrize("expected", STATES)
def test_a_swap_from_another_state_changes_nothing(expected: TransactionState) -> None:
    for state in STATES:
        if state is not expected:
            table = table_in(state)
            assert not table.swap(expected, next(iter(TRANSITIONS[expected]), TransactionState.READY))
            assert table.state is state


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES)
def test_a_call_is_taken_where_it_fits_and_else_changes_nothing(state: TransactionState, call: str) -> None:
    table = table_in(state)
    if state in ALLOWED[call]:
        table.check(call)
        return
    if state in {TransactionState.ABORTABLE_ERROR, TransactionState.FATAL_ERROR}:
        with pytest.raises((MessageTooLargeError, TransactionAbortableError)):
            table.check(call)
    else:
        with pytest.raises(InvalidTransactionStateError) as raised:
            table.check(call)
        assert f"{call}()" in str(raised.value)
        assert str(state) in str(raised.value)
    assert table.state is state


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", [each for each in STATES if each is not TransactionState.FATAL_ERROR])
def test_no_call_is_taken_beside_one_that_changes_the_state(state: TransactionState, call: str) -> None:
    table = table_in(state)
    table.running = "commit_transaction"
    with pytest.raises(InvalidTransactionStateError, match=r"commit_transaction\(\) has not returned yet"):
        table.check(call)


def test_a_failed_transaction_is_not_committed_and_says_why() -> None:
    table = table_in(TransactionState.IN_TRANSACTION)
    reason = MessageTooLargeError("orders-1: too much of it")
    assert table.fail(reason)
    assert table.state is TransactionState.ABORTABLE_ERROR
    assert not table.fail(MessageTooLargeError("a later one"))
    with pytest.raises(MessageTooLargeError, match="orders-1") as raised:
        table.check("commit_transaction")
    assert raised.value is not reason
    assert raised.value.requires_abort
    with pytest.raises(TransactionAbortableError, match="orders-1") as refused:
        table.check("send")
    assert refused.value.__cause__ is reason
    assert "abort_transaction()" in str(refused.value)
    table.swap(TransactionState.ABORTABLE_ERROR, TransactionState.ABORTING)
    assert table.error is reason
    table.swap(TransactionState.ABORTING, TransactionState.READY)
    assert table.error is None


@pytest.mark.parametrize("state", ["Uninitialized", "Initializing", "Ready", "Aborting", "AbortableError"])
def test_only_an_open_transaction_fails(state: str) -> None:
    table = table_in(TransactionState(state))
    assert not table.fail(MessageTooLargeError())
    assert table.state == state


def test_the_first_reason_for_the_end_is_the_one_that_is_told() -> None:
    table = table_in(TransactionState.COMMITTING)
    assert table.end(ProducerFencedError("another took over"))
    assert not table.end(MessageTooLargeError())
    for call in CALLS:
        with pytest.raises(ProducerFencedError, match="another took over"):
            table.check(call)
