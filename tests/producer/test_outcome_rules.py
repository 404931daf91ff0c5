"""What the producer does with every error is what the table of outcome rules says: each is caused, and looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from effects import Calls, Effects
from faulty import ONE_RECORD_A_BATCH, TOPIC, error_of, faulty, offsets

from krafka._state.rules import Batch, Number, Producer, Rule, Written, rule_for
from krafka.errors import UnknownKafkaError, error_classes_by_code

if TYPE_CHECKING:
    from krafka import Delivery, KafkaError

pytestmark = pytest.mark.anyio

UNKNOWN = 4242
CODES = [*error_classes_by_code(), UNKNOWN]


def rule_of(code: int) -> Rule:
    return rule_for(error_classes_by_code().get(code, UnknownKafkaError))


def expected(rule: Rule) -> Effects:
    """A single record cannot be split, and where nobody is named everybody is to blame."""
    if rule.batch is Batch.SPLIT or rule.batch is Batch.FAIL_NAMED:
        return Effects(Batch.FAIL, Number.GAP, rule.producer)
    return Effects(rule.batch, rule.number, rule.producer)


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: rules know no event loop, and every other test runs on each."""
    return "asyncio"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


async def outcome(producer: Any, value: bytes) -> tuple[KafkaError | None, int]:
    delivery = await producer.enqueue(TOPIC, value)
    error = await error_of(delivery)
    return error, delivery.metadata.offset if error is None else -1


@pytest.mark.parametrize("code", CODES)
async def test_an_answer_has_the_effects_of_its_row(code: int, calls: Calls) -> None:
    rule = rule_of(code)
    async with faulty(batch_size=ONE_RECORD_A_BATCH) as (cluster, producer):
        await producer.send(TOPIC, b"before")
        cluster.fail("Produce", code=code, after_append=rule.written is Written.YES, log_start_offset=0)
        calls.counts.clear()
        error, offset = await outcome(producer, b"struck")
        number = calls.number(error, offset)
        engine = producer._engine_or_none
        assert engine is not None
        ended = Producer.GOES_ON
        if engine.failure is not None:
            ended, number = Producer.ENDS, Number.ENDED
        assert Effects(calls.batch(error, offset, number), number, ended) == expected(rule)
        assert bool(calls.counts["request_update"]) is rule.refreshes_metadata
        if error is not None:
            assert type(error) is rule.error
            assert error.code == code
            assert error.is_fatal is rule.ends_producer
            assert error.possibly_written is rule.is_possibly_written()
        if not rule.ends_producer:
            assert (await producer.send(TOPIC, b"behind")).offset == len(cluster.log(TOPIC)) - 1
    values = [record.value for record in cluster.log(TOPIC)]
    assert values == [
        b"before",
        *([b"struck"] if error is None else []),
        *([] if rule.ends_producer else [b"behind"]),
    ]


@pytest.mark.parametrize(
    ("code", "after_append"),
    [
        (code, after_append)
        for code in CODES
        for after_append in (False, True)
        if rule_of(code).batch is not Batch.ACKNOWLEDGE
        # No broker answers these after it appended.
        and not (after_append and rule_of(code).written is Written.NO)
    ],
)
async def test_without_retries_the_error_says_of_the_log_what_its_row_says(
    code: int, after_append: bool
) -> None:
    rule = rule_of(code)
    async with faulty(retries=0) as (cluster, producer):
        cluster.fail("Produce", code=code, after_append=after_append)
        error, _ = await outcome(producer, b"v")
        assert error is not None
        assert type(error) is rule.error
        assert error.possibly_written is rule.is_possibly_written(0 if after_append else -1)
        assert error.possibly_written or not cluster.log(TOPIC)


@pytest.mark.parametrize("code", CODES)
async def test_without_numbers_what_would_be_renumbered_fails_and_the_rest_is_the_same(
    code: int, calls: Calls
) -> None:
    rule = rule_of(code)
    async with faulty(idempotent=False) as (cluster, producer):
        await producer.send(TOPIC, b"before")
        cluster.fail("Produce", code=code, after_append=rule.written is Written.YES)
        calls.counts.clear()
        error, offset = await outcome(producer, b"struck")
        batch = Batch.FAIL if rule.batch is Batch.RENUMBER_AND_RETRY else expected(rule).batch
        assert calls.batch(error, offset, Number.NONE) is batch
        assert producer.closed is False
        if error is not None:
            assert type(error) is rule.error
    assert not calls.counts.keys() & {"refused", "lost", "out_of_order", "forgotten"}


# -- batches that are divided ------------------------------------------------------------------------------------------


def codes_of(batch: Batch) -> list[int]:
    return [code for code in CODES if rule_of(code).batch is batch and not rule_of(code).ends_producer]


def enqueue_one_batch(producer: Any) -> list[Delivery]:
    return [producer.enqueue_nowait(TOPIC, b"%d" % number) for number in range(4)]


@pytest.mark.parametrize("code", codes_of(Batch.SPLIT))
async def test_what_is_split_is_sent_in_parts_that_take_over_its_numbers(code: int) -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=code)
        assert await offsets(enqueue_one_batch(producer)) == [0, 1, 2, 3]
        assert cluster.requests["Produce"] == 3
    assert rule_of(code).number is Number.PARTS
    assert [(record.producer_epoch, record.sequence) for record in cluster.log(TOPIC)] == [
        (0, number) for number in range(4)
    ]


@pytest.mark.parametrize("code", codes_of(Batch.FAIL_NAMED))
async def test_who_is_named_fails_and_the_others_take_over_the_numbers(code: int) -> None:
    rule = rule_of(code)
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=code, record_errors={1: "bad"})
        named, *others = (deliveries := enqueue_one_batch(producer))[1:2] + deliveries[:1] + deliveries[2:]
        assert type(await error_of(named)) is rule.error
        assert await offsets(others) == [0, 1, 2]
    assert rule.number is Number.PARTS
    assert [(record.producer_epoch, record.sequence) for record in cluster.log(TOPIC)] == [
        (0, number) for number in range(3)
    ]


@pytest.mark.parametrize("code", codes_of(Batch.FAIL))
async def test_of_what_fails_as_a_whole_no_record_is_saved_by_another_that_is_named(code: int) -> None:
    async with faulty() as (cluster, producer):
        cluster.fail("Produce", code=code, record_errors={1: "bad"})
        errors = [await error_of(delivery) for delivery in enqueue_one_batch(producer)]
        assert all(error is not None for error in errors)
        assert cluster.requests["Produce"] == 1
    assert cluster.log(TOPIC) == []
