"""The cluster's own fixtures, as its users get them from the plugin."""

from krafka.testing.pytest_plugin import kafka, kafka_options, kafka_topic

__all__ = ["kafka", "kafka_options", "kafka_topic"]
