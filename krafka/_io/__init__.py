"""Everything that awaits: connections, brokers, metadata, the sender."""
