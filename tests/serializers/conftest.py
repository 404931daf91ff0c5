"""Fixtures of the tests with a schema registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A schema registry of the test's own."""
    with FakeRegistry() as registry:
        yield registry
