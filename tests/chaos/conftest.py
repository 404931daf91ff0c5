"""Three brokers, and how much chaos: `--chaos-records`, `--chaos-seed` (also as KRAFKA_CHAOS_RECORDS, ..._SEED)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krafka.testing import KafkaCluster
from tests import asked

from .brokers import revive_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS = 200_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--chaos-records", type=int, help=f"records of each storm (default {RECORDS})")
    group.addoption(
        "--chaos-seed", type=int, help="repeat the faults of an earlier run (default: a new seed)"
    )


@pytest.fixture(scope="session")
def chaos_records(request: pytest.FixtureRequest) -> int:
    """How many records a storm takes at least."""
    return asked.number(request, "chaos_records") or RECORDS


@pytest.fixture
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """The seed of a test's faults; shown with its failure."""
    return asked.seed(request, "chaos_seed")


@pytest.fixture(scope="package")
def three_brokers() -> Iterator[KafkaCluster]:
    """Three brokers for all tests here: three replicas, two of them in sync for a write."""
    # A replica that hangs holds up every write until it is thrown out: 30 s by default.
    kafka = KafkaCluster(3, properties={"replica.lag.time.max.ms": "4000"})
    with kafka.sync:
        yield kafka


@pytest.fixture
def kafka(three_brokers: KafkaCluster) -> Iterator[KafkaCluster]:
    """The three brokers, all of them up before the test and after."""
    revive_blocking(three_brokers)
    yield three_brokers
    revive_blocking(three_brokers)
