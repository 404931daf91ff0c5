"""The broker of these tests, which takes some seconds to start, is one for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from secured import secured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka.testing import KafkaCluster


@pytest.fixture(scope="session")
def secured_kafka() -> Iterator[KafkaCluster]:
    cluster = secured()
    with cluster.sync:
        cluster.sync.create_topic("secured", partitions=3)
        yield cluster
