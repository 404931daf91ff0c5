"""What users test with: a real Apache Kafka without Docker, and pytest fixtures.

Importing this needs nothing; starting a Kafka needs ``pip install 'krafka[testing]'``.
"""

from __future__ import annotations

from krafka.testing._engine import SyncKafkaCluster
from krafka.testing._reader import ConsumedRecord
from krafka.testing.cluster import KafkaCluster
from krafka.testing.errors import KafkaClusterError, MissingExtraError

__all__ = ["ConsumedRecord", "KafkaCluster", "KafkaClusterError", "MissingExtraError", "SyncKafkaCluster"]
