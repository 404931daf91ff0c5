"""Runs seeds from the command line, without pytest: the same as `pytest tests/simulation`, and digests of traces."""

from __future__ import annotations

import argparse
import sys

from tests.simulation_transactions.kind import TRANSACTIONS

from .runner import RECORDS, default_jobs, run_and_report, run_many


def main() -> int:
    """Run what the arguments say; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many to run")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one, and print all of it")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="processes")
    parser.add_argument("--stop-after", type=int, default=5, help="failing seeds to stop after")
    parser.add_argument("--brief", action="store_true", help="of a failing seed print one line")
    parser.add_argument("--digests", action="store_true", help="print a fingerprint of each seed's trace")
    parser.add_argument(
        "--transactions", action="store_true", help="the runs of tests/simulation_transactions"
    )
    arguments = parser.parse_args()
    kind = TRANSACTIONS if arguments.transactions else RECORDS
    if arguments.seed is not None:
        text, failure = run_and_report(arguments.seed, kind)
        print(text)
        return int(failure is not None)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    if arguments.digests:
        for seed in seeds:
            print(seed, kind.run_seed(seed).digest())
        return 0
    summary = run_many(seeds, kind, jobs=arguments.jobs, most_failures=arguments.stop_after)
    for failure in summary.failures:
        print(f"{failure.seed} {' '.join(failure.kinds)}" if arguments.brief else failure.report)
    print(summary)
    return int(bool(summary.failures))


if __name__ == "__main__":
    sys.exit(main())
