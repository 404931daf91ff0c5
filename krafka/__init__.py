"""krafka: a Kafka producer for structured-concurrency Python."""
