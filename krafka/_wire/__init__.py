"""The Kafka protocol: messages to bytes and back."""
