"""Bytes from a broker gone wrong, by the million: `python -m tests.fuzz --responses 1000000 --seed 1 --jobs 2`."""
