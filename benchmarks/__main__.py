"""Measures krafka beside other producers, and beside the least work that could be done.

    python -m benchmarks [--scenario NAME ... | --all] [--only PATTERN ...] [--rounds N] [--json FILE]
    python -m benchmarks --list
    python -m benchmarks --budgets FILE

It starts Kafkas of its own unless --bootstrap names one. docs/performance.md tells what is measured, and how.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import budgets, catalogue, report, results, scenarios
from benchmarks.broker import Brokers, brokers
from benchmarks.machine import machine
from benchmarks.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.catalogue import Row
    from benchmarks.scenarios import Scenario

ROUNDS = 3
BROKER_WARMUP = 3_000_000
Chosen = list[tuple["Scenario", list["Row"]]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    what = parser.add_argument_group("what runs")
    add = what.add_argument
    add("--scenario", nargs="+", choices=scenarios.BY_NAME, metavar="NAME", help="which ones (base)")
    add("--all", action="store_true", help="every scenario: hours")
    add(
        "--only",
        nargs="+",
        metavar="PATTERN",
        help="rows with this in the name, or that match it with * and ?",
    )
    add("--rounds", type=int, default=ROUNDS, metavar="N", help="how often each row runs (%(default)s)")
    add("--quick", action="store_true", help="a smoke run of some seconds; its figures mean nothing")
    add(
        "--list",
        action="store_true",
        help="name the scenarios and their rows, and what is missing for others",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--bootstrap",
        metavar="HOST:PORT",
        help="a Kafka that runs, one broker without TLS; default: start some",
    )
    where.add_argument(
        "--broker-warmup",
        type=int,
        default=BROKER_WARMUP,
        metavar="N",
        help="records before anything is measured (%(default)s)",
    )
    change = parser.add_argument_group("changes to every chosen scenario")
    for name, (_, kind, metavar, help_text) in CHANGES.items():
        change.add_argument(f"--{name}", type=kind, metavar=metavar, help=help_text)
    change.add_argument("--compression", choices=("none", "gzip", "snappy", "lz4", "zstd"))
    change.add_argument("--batch-size", type=int, nargs="+", metavar="BYTES", help="one or more")
    results_group = parser.add_argument_group("results")
    add = results_group.add_argument
    add("--json", type=Path, metavar="FILE", help="keep every figure of every run")
    add("--markdown", type=Path, metavar="FILE", help="keep the tables")
    add("--budgets", type=Path, metavar="FILE", help="run nothing: hold a kept file to the design's budgets")
    return parser


CHANGES: dict[str, tuple[str, type, str, str]] = {
    "records": ("records", int, "N", "in a throughput run"),
    "awaited-records": ("awaited_records", int, "N", "one by one"),
    "tasks": ("tasks", int, "N", "sending at once"),
    "task-records": ("task_records", int, "N", "of each task"),
    "seconds": ("seconds", float, "SECONDS", "of sustained and idle runs"),
    "size": ("value_size", int, "BYTES", "of a value"),
    "partitions": ("partitions", int, "N", "of a topic"),
    "linger": ("linger", float, "SECONDS", "in throughput runs"),
}


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    """What was asked for, with the changes that were asked for."""
    names = options.scenario or ["base"]
    wanted = scenarios.ALL if options.all else [scenarios.BY_NAME[name] for name in dict.fromkeys(names)]
    changes = {
        field: value
        for name, (field, *_) in CHANGES.items()
        if (value := getattr(options, name.replace("-", "_"))) is not None
    }
    if options.compression is not None:
        changes["compression"] = options.compression
    if options.batch_size is not None:
        changes["batch_sizes"] = tuple(options.batch_size)
    changed = [replace(scenario, **changes) for scenario in wanted]
    return [scenario.quick() for scenario in changed] if options.quick else changed


def _matching(rows: Sequence[Row], patterns: Sequence[str] | None) -> list[Row]:
    if patterns is None:
        return list(rows)
    return [
        row
        for row in rows
        if any(pattern in row.name or fnmatchcase(row.name, pattern) for pattern in patterns)
    ]


def _choose(options: argparse.Namespace) -> Chosen:
    """The scenarios with their rows; tells who is left out, and why."""
    chosen: Chosen = []
    told: set[str] = set()
    for scenario in _scenarios(options):
        rows, left_out = catalogue.rows(scenario)
        if options.bootstrap is not None and (scenario.brokers > 1 or scenario.tls):
            _tell(f"left out: {scenario.name} (--bootstrap names one broker without TLS)")
            continue
        _tell_left_out(left_out, scenario.name, told)
        if matching := _matching(rows, options.only):
            chosen.append((scenario, matching))
    return chosen


def _tell_left_out(left_out: Mapping[str, str], scenario: str, told: set[str]) -> None:
    for client, reason in left_out.items():
        where = f" of {scenario}" if reason in catalogue.BY_NAME[client].lacks.values() else ""
        line = f"left out{where}: {client} ({reason})"
        if line not in told:
            told.add(line)
            _tell(line)


def _built(chosen: Chosen) -> Chosen:
    """The same without the clients that cannot be built here; tells which."""
    clients = {row.client for _, rows in chosen for row in rows}
    failed = catalogue.unbuildable(clients)
    for client, reason in failed.items():
        _tell(f"left out: {client} ({reason})")
    kept = [(scenario, [row for row in rows if row.client not in failed]) for scenario, rows in chosen]
    return [(scenario, rows) for scenario, rows in kept if rows]


def _run(options: argparse.Namespace, chosen: Chosen) -> list[results.Run]:
    """Run scenarios; those that need the same brokers one after the other, on the same brokers."""
    runs: list[results.Run] = []
    for count in dict.fromkeys(scenario.brokers for scenario, _ in chosen):
        same = [(scenario, rows) for scenario, rows in chosen if scenario.brokers == count]
        with _brokers(options.bootstrap, count, tls=any(scenario.tls for scenario, _ in same)) as kafka:
            runs += _run_on(kafka, options, same)
    return runs


def _run_on(kafka: Brokers, options: argparse.Namespace, chosen: Chosen) -> list[results.Run]:
    runner = Runner(kafka, 1 if options.quick else options.rounds, _tell)
    runner.warm_up(0 if options.quick else options.broker_warmup)
    return [run for scenario, rows in chosen for run in runner.run_all(scenario, rows)]


def _brokers(bootstrap: str | None, count: int, *, tls: bool) -> AbstractContextManager[Brokers]:
    return brokers(count, tls=tls) if bootstrap is None else nullcontext(Brokers(1, bootstrap))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _list(chosen: Chosen) -> None:
    for scenario, rows in chosen:
        print(f"{scenario.name}: {scenario.sentence}")
        for row in rows:
            print(f"    {row.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; 1 if any row failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.budgets is not None:
        kept = json.loads(options.budgets.read_text())
        report.show([budgets.table([results.Run.from_json(run) for run in kept["runs"]])])
        return 0
    if options.list and options.scenario is None:
        options.all = True
    chosen = _choose(options)
    if options.list:
        _list(chosen)
        return 0
    chosen = _built(chosen)
    if not chosen:
        parser.error("no row of these scenarios can run and matches --only; --list names them")
    about = machine()
    runs = _run(options, chosen)
    made = report.tables(runs)
    if any(run.row.client == "krafka" and run.scenario in budgets.SCENARIOS for run in runs):
        made.append(budgets.table(runs))
    report.show(made)
    if options.json is not None:
        kept = results.document(runs, [scenario for scenario, _ in chosen], about, options.rounds)
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(report.markdown(made))
    return 1 if any(run.trouble is not None for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
