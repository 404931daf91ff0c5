"""A seed is a run: the same events in the same order in every process, whatever ran before it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .world import run_seed

ROOT = Path(__file__).parents[2]
FIRST = 40
SEEDS = 24


def digests_of_a_process(hash_seed: str) -> dict[int, str]:
    command = [
        sys.executable,
        "-m",
        "tests.simulation",
        "--digests",
        "--first-seed",
        str(FIRST),
        "--seeds",
        str(SEEDS),
    ]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    return {int(seed): digest for seed, digest in lines}


def test_a_seed_gives_the_same_trace_in_every_process_and_order() -> None:
    backwards = {seed: run_seed(seed).digest() for seed in reversed(range(FIRST, FIRST + SEEDS))}
    assert digests_of_a_process("1") == digests_of_a_process("2") == backwards
    assert len(set(backwards.values())) == SEEDS, "different seeds, different runs"
