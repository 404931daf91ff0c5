"""The command line: so many spoilt responses, under a seed, in so many processes; or one of them again."""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc

from .judge import Tally, attempt, case_of, judge
from .runner import report, run_in_processes


def main() -> int:
    """Run what the command line asks for; 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--responses", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes side by side")
    parser.add_argument(
        "--replay", type=int, metavar="NUMBER", help="show one response of the seed and what comes of it"
    )
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.seed, options.replay)
    began = time.monotonic()
    tally = run_in_processes(options.seed, options.responses, options.jobs)
    report(tally, options.seed, time.monotonic() - began)
    return 1 if tally.findings else 0


def replay(seed: int, number: int) -> int:
    """Show one case, and what is found."""
    case = case_of(seed, number)
    print(f"{case}\n  sound:  {case.specimen.frame.hex()}")
    print("  spoilt: " + " | ".join(chunk.hex() for chunk in case.chunks), flush=True)
    tally = Tally()
    tracemalloc.start()
    received = attempt(case)
    tracemalloc.stop()
    print(
        f"  {received.outcome!r}\n  {received.peak} bytes allocated, {received.seconds * 1e6:.0f} microseconds"
    )
    try:
        judge(received, tally)
    except AssertionError as finding:
        print(f"FOUND {finding}")
        return 1
    print(f"nothing found: {dict(tally.outcomes)} {dict(tally.refusals)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
