"""The real Kafka of the harness, as its users get it from the plugin."""

from krafka.testing.pytest_plugin import kafka, kafka_options, kafka_topic

__all__ = ["kafka", "kafka_options", "kafka_topic"]
