"""The producer with transactions against `FakeCluster` in simulated time, under seeded faults; each run is a number."""
