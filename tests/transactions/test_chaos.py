"""Transactions while three real brokers fail: committed ones whole and in order, aborted ones unseen, none open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krafka.testing import KafkaCluster

from .chaos import FAULTS, PROPERTIES, Plan, kill_by_turns, move_coordinators, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

UVLOOP = ("asyncio", {"use_uvloop": True})
TRIO = ("trio", {})
IMPATIENT = {"max_block": 2.0, "delivery_timeout": 3.0, "request_timeout": 1.0}
"""What a producer gives up soon is in doubt often."""


@pytest.fixture(scope="module")
def three_brokers(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """Three brokers with the first or the second version of transactions."""
    kafka = KafkaCluster(3, properties=PROPERTIES, transaction_version=request.param)
    with kafka.sync:
        yield kafka


@pytest.mark.parametrize(
    ("three_brokers", "anyio_backend", "faults", "options"),
    [
        pytest.param(2, TRIO, FAULTS, {}, id="v2-trio"),
        pytest.param(1, UVLOOP, (kill_by_turns, move_coordinators), IMPATIENT, id="v1-uvloop-impatient"),
    ],
    indirect=["three_brokers", "anyio_backend"],
)
async def test_transactions_while_brokers_fail(
    three_brokers: KafkaCluster,
    faults: tuple[Callable[..., Any], ...],
    options: dict[str, Any],
    transactions: int,
    seed: int,
) -> None:
    tally = await run(three_brokers, Plan(seed, transactions), "krafka", faults, **options)
    assert tally.committed + tally.aborted + tally.unknown >= transactions
    assert tally.committed > transactions // 10
    assert tally.invisible > 0
