"""What each code means to each request to a coordinator, against a table written from Kafka's handlers by hand."""

from __future__ import annotations

import pytest

from krafka import AuthenticationError, ConnectionFailedError, ProducerFencedError, error_for_code
from krafka._state.coordinator_rules import Ask, Effect, effect_of, error_of
from krafka.errors import error_classes_by_code

RETRY, FIND, REFUSE, ABORT, FATAL = Effect
FENCED = {47: FATAL, 90: FATAL, 49: FATAL, 48: FATAL}
# producer-rules: TransactionManager's handlers of Kafka 4.3. Codes of errors that pass by themselves are retried.
EXPECTED: dict[Ask, dict[int, Effect]] = {
    Ask.FIND_COORDINATOR: {14: RETRY, 15: RETRY, 7: RETRY, 30: ABORT, 120: ABORT, 53: FATAL, 42: FATAL},
    Ask.INIT: {
        15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 7: FIND,
        53: REFUSE, 31: REFUSE, 120: REFUSE, 50: FATAL, 42: FATAL, **FENCED,
    },
    Ask.NEW_EPOCH: {15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 53: FATAL, 31: FATAL, **FENCED},
    Ask.VERSIONS: {7: FIND, 35: FATAL},
    Ask.ADD_PARTITIONS: {
        15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 3: RETRY,
        29: ABORT, 55: ABORT, 120: ABORT, 59: ABORT, -1: ABORT, 17: ABORT, 53: FATAL, **FENCED,
    },
    Ask.ADD_OFFSETS: {
        15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 30: ABORT, 120: ABORT, 59: ABORT, 53: FATAL, -1: FATAL, **FENCED,
    },
    Ask.COMMIT_OFFSETS: {
        15: FIND, 16: FIND, 7: FIND, 14: RETRY, 3: RETRY, 51: RETRY,
        30: ABORT, 82: ABORT, 120: ABORT, 25: ABORT, 22: ABORT, 113: ABORT, 53: FATAL, 43: FATAL, -1: FATAL, **FENCED,
    },
    Ask.COMMIT: {
        15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 7: FIND, 120: ABORT, 59: ABORT, 53: FATAL, -1: FATAL, **FENCED,
    },
    Ask.DESCRIBE: {15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 7: FIND, 53: FATAL, 105: FATAL},
    Ask.ABORT: {15: FIND, 16: FIND, 14: RETRY, 51: RETRY, 7: FIND, 120: FATAL, 53: FATAL, -1: FATAL, **FENCED},
}  # fmt: skip
CASES = [(ask, code, effect) for ask, rows in EXPECTED.items() for code, effect in rows.items()]


def test_every_request_is_in_the_table() -> None:
    assert set(EXPECTED) == set(Ask)


@pytest.mark.parametrize(("ask", "code", "effect"), CASES)
def test_a_code_has_the_effect_of_kafkas_handler(ask: Ask, code: int, effect: Effect) -> None:
    assert effect_of(ask, error_of(code, "somewhere", "billing-1")) is effect


@pytest.mark.parametrize("ask", Ask)
def test_what_passes_is_asked_again_and_what_nobody_knows_is_not(ask: Ask) -> None:
    named = EXPECTED[ask]
    for code, kind in error_classes_by_code().items():
        if code not in named:
            effect = effect_of(ask, error_for_code(code))
            assert (effect in {RETRY, FIND}) is kind.is_retriable, (ask, kind)
    assert effect_of(ask, error_for_code(4242)) in {FATAL, ABORT}


@pytest.mark.parametrize("ask", Ask)
def test_a_lost_connection_is_opened_again_and_a_refused_password_is_not_tried_again(ask: Ask) -> None:
    expected = RETRY if ask is Ask.FIND_COORDINATOR else FIND
    assert effect_of(ask, ConnectionFailedError("gone")) is expected
    assert effect_of(ask, AuthenticationError("no")) is FATAL


@pytest.mark.parametrize("code", [47, 90])
def test_an_old_epoch_says_who_may_have_taken_over_and_what_to_do(code: int) -> None:
    error = error_of(code, "EndTxn to commit at broker 1", "billing-1")
    assert isinstance(error, ProducerFencedError)
    assert error.is_fatal
    for word in ("EndTxn to commit at broker 1", "'billing-1'", "transaction_timeout", "close this producer"):
        assert word in str(error)
