"""Fixtures every test may use: each async test runs on asyncio, on asyncio with uvloop, and on trio."""

from __future__ import annotations

from typing import Any

import pytest

BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation", "krafka's simulation (tests/simulation)")
    group.addoption("--seeds", type=int, default=2000, help="how many seeds to run")
    group.addoption(
        "--transaction-seeds", type=int, default=1000, help="how many of tests/simulation_transactions"
    )
    group.addoption("--first-seed", type=int, default=0, help="the first of them")
    group.addoption("--seed", type=int, help="run this seed alone, and print all of it")


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param
