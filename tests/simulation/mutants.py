"""Breaks the producer on purpose, one rule at a time; says which seed finds it. `python -m tests.simulation.mutants`"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.simulation_transactions.mutations import ALL as TRANSACTIONAL

from .mutations import ALL, Mutation
from .runner import default_jobs

ROOT = Path(__file__).parents[2]
SEEDS = 500
SEEDS_OF_TRANSACTIONS = 1000
_CAUGHT = re.compile(r"^(\d+) (.+)$", re.MULTILINE)


class Catch(NamedTuple):
    """The first seed that found a mutant out of those that did, and by which kinds of broken promise."""

    seed: int
    kinds: str


def hunt(
    mutation: Mutation, *, seeds: int = SEEDS, first_seed: int = 0, jobs: int = 1, transactions: bool = False
) -> Catch | None:
    """Break a copy of the package, and run seeds until one notices; None if none of them does."""
    with tempfile.TemporaryDirectory(prefix="krafka-mutant-") as folder:
        copy = Path(folder)
        _copy(copy)
        apply(mutation, copy)
        command = [sys.executable, "-m", "tests.simulation", "--brief", "--stop-after", "1"]
        command += ["--seeds", str(seeds), "--first-seed", str(first_seed), "--jobs", str(jobs)]
        command += ["--transactions"] if transactions else []
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1} or "seeds in" not in done.stdout:
        raise RuntimeError(f"the simulation of {mutation.name!r} did not run:\n{done.stdout}{done.stderr}")
    found = _CAUGHT.search(done.stdout)
    return None if done.returncode == 0 or found is None else Catch(int(found[1]), found[2])


def _copy(target: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__", "*.pyx", "*.c", "cli")
    shutil.copytree(ROOT / "krafka", target / "krafka", ignore=skipped)
    for room in ("simulation", "simulation_transactions"):
        shutil.copytree(ROOT / "tests" / room, target / "tests" / room, ignore=skipped)
    # Modules that are Python means the same compiled; what is mutated is the source, so that is what has to run.
    for room in ("_state", "_io"):
        for compiled in (target / "krafka" / room).glob("*.so"):
            compiled.unlink()


def apply(mutation: Mutation, root: Path) -> None:
    """Edit the sources under `root`. Raises ValueError unless the text to replace is there exactly once."""
    path = root / mutation.path
    text = path.read_text()
    if (times := text.count(mutation.old)) != 1:
        raise ValueError(
            f"{mutation.name!r}: {mutation.path} has the text to replace {times} times, not once"
        )
    path.write_text(text.replace(mutation.old, mutation.new))


def main() -> int:
    """Hunt the mutants whose names contain the argument, or all; 1 if one got away."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="part of the mutants' names")
    parser.add_argument(
        "--seeds", type=int, help=f"how many each may take; {SEEDS}, or {SEEDS_OF_TRANSACTIONS}"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="processes")
    parser.add_argument("--transactions", action="store_true", help="those of tests/simulation_transactions")
    arguments = parser.parse_args()
    escaped = []
    mutations = TRANSACTIONAL if arguments.transactions else ALL
    usual = SEEDS_OF_TRANSACTIONS if arguments.transactions else SEEDS
    for mutation in (each for each in mutations if arguments.name in each.name):
        began = time.monotonic()
        catch = hunt(
            mutation,
            seeds=arguments.seeds or usual,
            first_seed=arguments.first_seed,
            jobs=arguments.jobs,
            transactions=arguments.transactions,
        )
        took = time.monotonic() - began
        what = "got away" if catch is None else f"seed {catch.seed}: {catch.kinds}"
        print(f"{mutation.name:58} {took:5.1f} s  {what}", flush=True)
        if catch is None:
            escaped.append(mutation.name)
    if escaped:
        print(f"{len(escaped)} got away: {', '.join(escaped)}")
    return int(bool(escaped))


if __name__ == "__main__":
    sys.exit(main())
