"""What users test with: a real Apache Kafka without Docker, a scriptable fake cluster, and pytest fixtures.

Importing this and the fake cluster need nothing; starting a Kafka needs ``pip install 'krafka[testing]'``.
"""

from __future__ import annotations

from krafka.testing._engine import SyncKafkaCluster
from krafka.testing._reader import ConsumedRecord
from krafka.testing.cluster import KafkaCluster
from krafka.testing.errors import KafkaClusterError, MissingExtraError
from krafka.testing.fake import (
    FakeBroker,
    FakeCluster,
    FakeGroup,
    FakeMarker,
    FakeOffset,
    FakeRecord,
    FakeTransaction,
    Fault,
    FaultOptions,
    ReceivedRequest,
    TransactionState,
)

__all__ = [
    "ConsumedRecord",
    "FakeBroker",
    "FakeCluster",
    "FakeGroup",
    "FakeMarker",
    "FakeOffset",
    "FakeRecord",
    "FakeTransaction",
    "Fault",
    "FaultOptions",
    "KafkaCluster",
    "KafkaClusterError",
    "MissingExtraError",
    "ReceivedRequest",
    "SyncKafkaCluster",
    "TransactionState",
]
