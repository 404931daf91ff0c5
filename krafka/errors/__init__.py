"""Every error krafka raises: `KafkaError`, its families, one class per Kafka error code, and krafka's own."""

from __future__ import annotations

from krafka.errors._base import *  # noqa: F403
from krafka.errors._client import *  # noqa: F403
