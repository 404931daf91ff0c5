"""Measures krafka beside other producers, and beside the least work that could be done.

    python -m benchmarks [--rounds N] [--only PATTERN ...] [--json FILE]

It starts a Kafka of its own unless --bootstrap names one. docs/performance.md tells what is measured, and how.
"""

from __future__ import annotations

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import catalogue, report, runner
from benchmarks.broker import broker

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = {
    "rounds": 1,
    "records": 20_000,
    "awaited_records": 200,
    "tasks": 50,
    "task_records": 10,
    "broker_warmup": 0,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--bootstrap", metavar="HOST:PORT", help="a Kafka that runs (one broker); default: start one")
    add("--rounds", type=int, default=3, metavar="N", help="how often each row runs (%(default)s)")
    add("--records", type=int, default=1_000_000, metavar="N", help="in a throughput run (%(default)s)")
    add("--awaited-records", type=int, default=3_000, metavar="N", help="one by one (%(default)s)")
    add("--tasks", type=int, default=1_000, metavar="N", help="sending at once (%(default)s)")
    add("--task-records", type=int, default=50, metavar="N", help="of each task (%(default)s)")
    add("--size", type=int, default=100, metavar="BYTES", help="of a value (%(default)s)")
    add("--partitions", type=int, default=6, metavar="N", help="of the topic (%(default)s)")
    add("--compression", default="none", choices=("none", "gzip", "snappy", "lz4", "zstd"))
    add("--batch-size", type=int, nargs="+", default=[65536], metavar="BYTES", help="one or more (65536)")
    add("--linger", type=float, default=0.005, metavar="SECONDS", help="in throughput runs (%(default)s)")
    add(
        "--broker-warmup",
        type=int,
        default=3_000_000,
        metavar="N",
        help="records before anything is measured",
    )
    add(
        "--only",
        nargs="+",
        metavar="PATTERN",
        help="rows whose name has this in it, or matches it with * and ?",
    )
    add("--json", type=Path, metavar="FILE", help="keep every figure of every run")
    add("--markdown", type=Path, metavar="FILE", help="keep the tables")
    add("--quick", action="store_true", help="a smoke run of some seconds; its figures mean nothing")
    add("--list", action="store_true", help="name the rows, and what is missing for others")
    return parser


def _chosen(rows: Sequence[catalogue.Row], patterns: Sequence[str] | None) -> list[catalogue.Row]:
    if patterns is None:
        return list(rows)
    return [
        row
        for row in rows
        if any(pattern in row.name or fnmatchcase(row.name, pattern) for pattern in patterns)
    ]


def _plan(options: argparse.Namespace) -> runner.Plan:
    if options.quick:
        vars(options).update(QUICK)
    return runner.Plan(
        rounds=options.rounds,
        records=options.records,
        awaited_records=options.awaited_records,
        tasks=options.tasks,
        task_records=options.task_records,
        size=options.size,
        partitions=options.partitions,
        compression=options.compression,
        batch_sizes=tuple(options.batch_size),
        linger=options.linger,
        broker_warmup=options.broker_warmup,
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; 1 if any row failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    every, missing = catalogue.rows(options.compression)
    rows = _chosen(every, options.only)
    for client, lacking in missing.items():
        _tell(f"left out: {client} ({lacking})")
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0
    if not rows:
        parser.error("--only matches no row; --list names them")
    plan = _plan(options)
    with broker(options.bootstrap) as bootstrap:
        runs = runner.run_all(bootstrap, rows, plan, _tell)
    made = report.tables(runs)
    report.show(made)
    if options.json is not None:
        options.json.write_text(json.dumps(report.document(runs, plan), indent=1) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(report.markdown(made))
    return 1 if any(run.trouble is not None for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
