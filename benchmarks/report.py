"""The tables of what was measured: medians, spreads, and ratios within each round."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import MODES, THROUGHPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.runner import Plan, Run

PACKAGES = ("krafka", "anyio", "trio", "uvloop", "crc32c", "confluent-kafka", "aiokafka", "kafka-python")
HEADLINES = {
    "throughput": (
        "records/s",
        "min-max",
        "CPU µs/record",
        "min-max",
        "CPU ÷ krafka",
        "CPU ÷ franz-go",
        "MiB",
    ),
    "latency": (
        "records/s",
        "p50 µs",
        "min-max",
        "p99 µs",
        "p999 µs",
        "p50 ÷ krafka",
        "CPU µs/record",
        "MiB",
    ),
}
YARDSTICK = {
    "throughput": "krafka asyncio enqueue",
    "one": "krafka asyncio one",
    "tasks": "krafka asyncio tasks",
}
"""The row that a group's ratios to krafka are against."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a title, column names, rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(runs: Sequence[Run]) -> list[Table]:
    """A table of throughput, one of each awaited mode; runs that failed say so."""
    groups = {"throughput": THROUGHPUT, "one": ("one",), "tasks": ("tasks",)}
    made: list[Table] = []
    for group, modes in groups.items():
        chosen = [run for run in runs if run.row.mode in modes]
        if chosen:
            make = _throughput_cells if group == "throughput" else _latency_cells
            columns = ("", *HEADLINES["throughput" if group == "throughput" else "latency"])
            title = "; ".join(f"{mode}: {MODES[mode]}" for mode in modes)
            made.append(Table(title, columns, _rows(chosen, YARDSTICK[group], make)))
    return made


def _rows(
    runs: Sequence[Run], yardstick: str, make: Callable[[Sequence[Run], Sequence[Run], str], tuple[str, ...]]
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for label in dict.fromkeys(run.label for run in runs):
        own = [run for run in runs if run.label == label]
        failed = [run for run in own if run.trouble is not None]
        if failed:
            rows.append((label, f"FAILED: {failed[0].trouble}"))
        else:
            rows.append((label, *make(own, runs, yardstick)))
    return rows


def _throughput_cells(own: Sequence[Run], runs: Sequence[Run], yardstick: str) -> tuple[str, ...]:
    rates = [run.records / seconds for run in own if (seconds := _of(run, "seconds"))]
    costs = [_cpu_us(run) for run in own]
    return (
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f} - {max(rates):,.0f}",
        f"{median(costs):.3g}",
        f"{min(costs):.3g} - {max(costs):.3g}",
        _ratio(own, runs, yardstick, _cpu_us),
        _ratio(own, runs, "franz-go awaited", _cpu_us),
        f"{median(_of(run, 'peak_rss_mib') for run in own):.0f}",
    )


def _latency_cells(own: Sequence[Run], runs: Sequence[Run], yardstick: str) -> tuple[str, ...]:
    middles = [_percentile(run, "p50") for run in own]
    return (
        f"{median(run.records / _of(run, 'seconds') for run in own):,.0f}",
        f"{median(middles):,.0f}",
        f"{min(middles):,.0f} - {max(middles):,.0f}",
        f"{median(_percentile(run, 'p99') for run in own):,.0f}",
        f"{median(_percentile(run, 'p999') for run in own):,.0f}",
        _ratio(own, runs, yardstick, lambda run: _percentile(run, "p50")),
        f"{median(map(_cpu_us, own)):.3g}",
        f"{median(_of(run, 'peak_rss_mib') for run in own):.0f}",
    )


def _of(run: Run, name: str) -> float:
    return float(getattr(run.measurement, name))


def _cpu_us(run: Run) -> float:
    return _of(run, "cpu_seconds") / run.records * 1e6


def _percentile(run: Run, name: str) -> float:
    assert run.measurement is not None and run.measurement.latency_us is not None  # noqa: S101, PT018 - awaited modes have it
    return run.measurement.latency_us[name]


def _ratio(own: Sequence[Run], runs: Sequence[Run], other: str, figure: Callable[[Run], float]) -> str:
    """The median over rounds of a figure divided by another row's in the same round: the machine's speed cancels."""
    others = {
        (run.round, run.batch_size): figure(run)
        for run in runs
        if run.row.name == other and run.trouble is None
    }
    ratios = [
        figure(run) / others[run.round, run.batch_size]
        for run in own
        if (run.round, run.batch_size) in others
    ]
    return f"{median(ratios):.2f}" if ratios else "-"


def show(made: Iterable[Table]) -> None:
    """Print tables, with rich if it is there."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an optional package
        from rich.table import Table as RichTable  # noqa: PLC0415
    except ModuleNotFoundError:
        for table in made:
            print("\n" + table.title)
            _show_plain(table)
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in made:
        rich_table = RichTable(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            rich_table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in table.rows:
            rich_table.add_row(*row)
        console.print(rich_table)


def _show_plain(table: Table) -> None:
    full = [row for row in table.rows if len(row) == len(table.columns)]
    widths = [max(map(len, column)) for column in zip(table.columns, *full, strict=True)]
    for row in (table.columns, *table.rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())


def markdown(made: Iterable[Table]) -> str:
    """The same tables for a page of documentation."""
    lines: list[str] = []
    for table in made:
        lines += [table.title, "", "| " + " | ".join(table.columns) + " |"]
        lines.append("| --- |" + " ---: |" * (len(table.columns) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        lines.append("")
    return "\n".join(lines)


def document(runs: Sequence[Run], plan: Plan) -> dict[str, Any]:
    """Everything that was measured, and on what, for `--json`."""
    return {"machine": machine(), "plan": asdict(plan), "runs": [asdict(run) for run in runs]}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
