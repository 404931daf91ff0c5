"""The table of outcome rules: complete, in step with the classes of errors, and the Java client's."""

from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode

from krafka._state.rules import (
    CLIENT_RULES,
    PRODUCE_RULES,
    Batch,
    Number,
    Producer,
    Rule,
    Transaction,
    Written,
    rule_for,
    rule_for_others,
)
from krafka.errors import (
    NotLeaderOrFollowerError,
    UnknownKafkaError,
    error_classes_by_code,
    error_for_code,
)

# Sender.completeBatch and the classes its tests ask for, in Kafka 4.3.1.
INVALID_METADATA = {3, 5, 6, 9, 13, 56, 72, 74, 100, 103}
RETRIABLE = {2, 7, 14, 15, 16, 19, 20, 51, 75, 89}
PRODUCER_FATAL = {31, 35, 49, 53, 90}
FAILS_ALONE = {-1, 8, 17, 21, 29, 42, 43, 44, 47, 48, 76, 120}
NAMES_RECORDS = {32, 87}

CODED = {rule.code: rule for rule in PRODUCE_RULES}
ALL = [*PRODUCE_RULES, *CLIENT_RULES.values()]
EVERY_CLASS = [*error_classes_by_code().values(), UnknownKafkaError]


def codes(batch: Batch) -> set[int | None]:
    return {rule.code for rule in PRODUCE_RULES if rule.batch is batch and not rule.ends_producer}


def name(rule: Rule) -> str:
    return f"{rule.error.__name__}-{rule.source}"


def test_a_code_has_one_row_and_rows_are_in_the_order_of_codes() -> None:
    in_order = [rule.code for rule in PRODUCE_RULES if rule.code is not None]
    assert in_order == sorted(set(in_order))
    assert len(in_order) == len(PRODUCE_RULES)


def test_what_becomes_of_the_batch_is_what_the_java_client_does() -> None:
    assert codes(Batch.REFRESH_AND_RETRY) == INVALID_METADATA
    assert codes(Batch.RETRY) == RETRIABLE
    assert codes(Batch.FAIL) == FAILS_ALONE
    assert codes(Batch.FAIL_NAMED) == NAMES_RECORDS
    # The Java client splits for 10 only; a segment is a limit like the other.
    assert codes(Batch.SPLIT) == {10, 18}
    assert codes(Batch.RENUMBER_AND_RETRY) == {45, 59}
    assert codes(Batch.ACKNOWLEDGE) == {46}
    assert {rule.code for rule in PRODUCE_RULES if rule.ends_producer} == PRODUCER_FATAL


def test_what_an_answer_says_about_the_log_is_what_brokers_do() -> None:
    by_written = {
        written: {rule.code for rule in PRODUCE_RULES if rule.written is written} for written in Written
    }
    assert by_written[Written.YES] == {46}
    assert by_written[Written.IF_OFFSET] == {3, 6}
    # 7, 20 and 56 may come from waiting for replicas after the append, -1 and 13 from anywhere.
    assert by_written[Written.MAYBE] == {-1, 7, 13, 20, 56}
    assert by_written[Written.EARLIER] == set()


@pytest.mark.parametrize("error_class", EVERY_CLASS, ids=lambda item: item.__name__)
def test_the_classes_say_of_themselves_what_the_table_says_of_them(error_class: type) -> None:
    rule = rule_for(error_class)
    assert rule.error is error_class
    assert rule.is_retried is error_class.is_retriable
    assert rule.refreshes_metadata is error_class.refreshes_metadata
    assert rule.ends_producer is error_class.is_fatal
    assert not error_class.requires_abort or rule.transaction is Transaction.ABORT
    # A class is certain of nothing; what is known about the log is said by the instance that was answered.
    assert not error_class.possibly_written


@pytest.mark.parametrize("code", [code for code in ErrorCode if code.value != 0], ids=lambda code: code.name)
def test_what_is_sent_again_is_what_an_independent_table_calls_retriable(code: ErrorCode) -> None:
    assert rule_for(error_classes_by_code()[code.value]).is_retried is code.retriable


@pytest.mark.parametrize("rule", ALL, ids=name)
def test_the_effects_of_a_row_fit_together(rule: Rule) -> None:
    assert rule.source
    assert (rule.producer is Producer.ENDS) == (rule.transaction is Transaction.FATAL)
    if rule.ends_producer:
        assert (rule.batch, rule.number) == (Batch.FAIL, Number.ENDED)
    if rule.is_retried or rule.batch is Batch.WAIT:
        assert (rule.number, rule.transaction) == (Number.KEPT, Transaction.CONTINUES)
    if rule.batch in {Batch.FAIL, Batch.FAIL_NAMED}:
        assert rule.transaction is not Transaction.CONTINUES
        # The number of what is surely not in the log is missing there; that of what may be is in doubt, never missing.
        if rule.number is Number.GAP:
            assert rule.written is Written.NO
        if rule.number in {Number.UNRESOLVED, Number.HELD}:
            assert rule.written in {Written.MAYBE, Written.EARLIER}
    assert (rule.number is Number.PARTS) == (rule.batch in {Batch.SPLIT, Batch.FAIL_NAMED})
    if rule.batch is Batch.ACKNOWLEDGE:
        assert (rule.written, rule.number) == (Written.YES, Number.TAKEN)
    if rule.batch is Batch.RENUMBER_AND_RETRY:
        assert rule.written is Written.NO
        assert rule.number in {Number.OUT_OF_ORDER, Number.FORGOTTEN}


@pytest.mark.parametrize("effect", [*Batch, *Written, *Number, *Producer, *Transaction], ids=str)
def test_no_effect_is_there_for_nothing(effect: object) -> None:
    effects = {
        value
        for rule in ALL
        for value in (rule.batch, rule.written, rule.number, rule.producer, rule.transaction)
    }
    assert effect in effects


@pytest.mark.parametrize("code", sorted(set(error_classes_by_code()) - set(CODED)))
def test_a_code_that_produce_is_not_answered_with_goes_by_its_class_and_proves_nothing(code: int) -> None:
    error_class = error_classes_by_code()[code]
    rule = rule_for(error_for_code(code))
    assert rule == rule_for_others(error_class)
    assert rule.written is Written.MAYBE
    number = Number.ENDED if rule.ends_producer else Number.UNRESOLVED
    assert rule.number is (Number.KEPT if error_class.is_retriable else number)


@pytest.mark.parametrize("code", [-2, 134, 4242, 32767])
def test_a_code_that_nobody_knows_fails_the_batch_and_proves_nothing(code: int) -> None:
    rule = rule_for(error_for_code(code))
    assert (rule.batch, rule.written) == (Batch.FAIL, Written.MAYBE)
    assert (rule.producer, rule.transaction) == (Producer.GOES_ON, Transaction.ABORT)
    assert rule.is_possibly_written()


def test_a_subclass_has_the_rule_of_its_code() -> None:
    class MineError(NotLeaderOrFollowerError):
        pass

    assert rule_for(MineError("x")) is CODED[6]


@pytest.mark.parametrize(
    ("code", "base_offset", "possibly_written"),
    [
        (6, -1, False),
        (6, 0, True),
        (3, 7, True),
        (19, 7, False),
        (20, -1, True),
        (10, -1, False),
        (46, 3, False),
    ],
)
def test_an_offset_in_a_refusal_of_a_lost_leader_shows_an_append(
    code: int, base_offset: int, possibly_written: bool
) -> None:
    assert CODED[code].is_possibly_written(base_offset) is possibly_written
