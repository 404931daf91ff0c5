"""What krafka costs beside other producers and beside the least work that could be done: `python -m benchmarks`."""
