"""The whole producer against `FakeCluster` in simulated time, under seeded faults; each run is a number."""
