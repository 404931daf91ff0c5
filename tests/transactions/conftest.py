"""How much of it: `--transactions`, `--kills`, `--transactions-seed`, or as variables such as KRAFKA_TRANSACTIONS."""

from __future__ import annotations

import pytest

from tests import asked

TRANSACTIONS = 24
KILLS = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("transactions")
    group.addoption(
        "--transactions", type=int, help=f"transactions while brokers fail (default {TRANSACTIONS})"
    )
    group.addoption(
        "--kills", type=int, help=f"how often workers are killed and started again (default {KILLS})"
    )
    group.addoption(
        "--transactions-seed", type=int, help="repeat the dice of an earlier run (default: a new seed)"
    )


@pytest.fixture
def transactions(request: pytest.FixtureRequest) -> int:
    """How many transactions are run while brokers fail."""
    return asked.number(request, "transactions") or TRANSACTIONS


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often workers are killed."""
    return asked.number(request, "kills") or KILLS


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of a test's dice; shown with its failure."""
    return asked.seed(request, "transactions_seed")
