"""A scriptable fake cluster: Kafka's protocol in memory, with faults on demand."""

from __future__ import annotations

from krafka.testing.fake.broker import FakeBroker
from krafka.testing.fake.cluster import FakeCluster
from krafka.testing.fake.faults import Fault, FaultOptions
from krafka.testing.fake.groups import FakeGroup, FakeOffset
from krafka.testing.fake.log import FakeMarker, FakeRecord
from krafka.testing.fake.requests import ReceivedRequest
from krafka.testing.fake.transactions import FakeTransaction, TransactionState

__all__ = [
    "FakeBroker",
    "FakeCluster",
    "FakeGroup",
    "FakeMarker",
    "FakeOffset",
    "FakeRecord",
    "FakeTransaction",
    "Fault",
    "FaultOptions",
    "ReceivedRequest",
    "TransactionState",
]
