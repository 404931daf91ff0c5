"""The tables of what was measured: medians, spreads, and ratios within each round."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import results
from benchmarks.scenarios import BY_NAME, CHUNKED, MODES, THROUGHPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.results import Run


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a title, column names, rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Group:
    """Modes that share a table, and what it shows of them."""

    modes: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Callable[[Sequence[Run], Sequence[Run]], tuple[str, ...]]


def tables(runs: Sequence[Run]) -> list[Table]:
    """For each scenario a table of throughput, and one of each other mode; runs that failed say so."""
    made: list[Table] = []
    for name in dict.fromkeys(run.scenario for run in runs):
        same = [run for run in runs if run.scenario == name]
        for group in GROUPS:
            chosen = [run for run in same if run.row.mode in group.modes]
            if chosen:
                shown = [mode for mode in group.modes if any(run.row.mode == mode for run in chosen)]
                modes = "; ".join(f"{mode}: {MODES[mode]}" for mode in shown)
                title = f"{name}: {BY_NAME[name].sentence}. {modes}"
                made.append(Table(title, ("", *group.columns), _rows(chosen, results.sound(same), group)))
    return made


def _rows(runs: Sequence[Run], yardsticks: Sequence[Run], group: Group) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for label in dict.fromkeys(run.label for run in runs):
        own = [run for run in runs if run.label == label]
        failed = [run for run in own if run.trouble is not None]
        if failed:
            rows.append((label, f"FAILED: {failed[0].trouble}"))
        else:
            rows.append((label, *group.cells(own, yardsticks)))
    return rows


def _throughput_cells(own: Sequence[Run], runs: Sequence[Run]) -> tuple[str, ...]:
    return (
        *_middle_and_spread(own, results.rate, ",.0f"),
        *_middle_and_spread(own, results.cpu_us, ".3g"),
        f"{median(1e6 / max(results.cpu_us(run), 1e-9) for run in own):,.0f}",
        *(_ratio(own, runs, other, results.cpu_us) for other in _yardsticks(own[0])),
        _middle(own, results.peak_mib, ".0f"),
    )


def _awaited_cells(own: Sequence[Run], runs: Sequence[Run]) -> tuple[str, ...]:
    p50 = results.percentile("p50")
    return (
        _middle(own, results.rate, ",.0f"),
        *_middle_and_spread(own, p50, ",.0f"),
        _middle(own, results.percentile("p99"), ",.0f"),
        _middle(own, results.percentile("p999"), ",.0f"),
        *(_ratio(own, runs, other, p50) for other in _yardsticks(own[0])),
        _middle(own, results.cpu_us, ".3g"),
        f"{median(1e6 / max(results.cpu_us(run), 1e-9) for run in own):,.0f}",
        _middle(own, results.peak_mib, ".0f"),
    )


def _chunked_cells(own: Sequence[Run], runs: Sequence[Run]) -> tuple[str, ...]:
    loop = own[0].row.variant or "asyncio"
    commits = own[0].row.mode == "transactions"
    return (
        *_middle_and_spread(own, results.rate, ",.0f"),
        *(_ratio(own, runs, f"krafka {loop} {mode}", results.rate) for mode in ("chunks", "send_many")),
        _middle(own, results.percentile("p50"), ",.0f"),
        _middle(own, results.percentile("p99"), ",.0f"),
        *(
            _middle(own, results.commit_percentile(name), ",.0f") if commits else "-"
            for name in ("p50", "p99")
        ),
        _middle(own, results.cpu_us, ".3g"),
        _middle(own, results.peak_mib, ".0f"),
    )


def _sustained_cells(own: Sequence[Run], _: Sequence[Run]) -> tuple[str, ...]:
    return (
        f"{sum(run.records for run in own):,}",
        *_middle_and_spread(own, results.rate, ",.0f"),
        _middle(own, results.cpu_us, ".3g"),
        _middle(own, lambda run: run.measured.idle_rss_mib or 0.0, ".0f"),
        _middle(own, results.peak_mib, ".0f"),
        _middle(own, results.peak_over_idle_mib, ".1f"),
        _middle(own, results.growth_mib, "+.2f"),
    )


def _idle_cells(own: Sequence[Run], runs: Sequence[Run]) -> tuple[str, ...]:
    krafka, franz_go, _ = _yardsticks(own[0])
    return (
        *_middle_and_spread(own, results.cpu_share, ".2f"),
        _ratio(own, runs, krafka, results.cpu_share),
        _ratio(own, runs, franz_go, results.cpu_share),
        _middle(own, results.peak_mib, ".0f"),
    )


RATIOS = ("krafka", "franz-go", "floor")
GROUPS = (
    Group(
        THROUGHPUT,
        (
            "records/s",
            "min-max",
            "CPU µs/record",
            "min-max",
            "records/CPU s",
            *(f"CPU ÷ {name}" for name in RATIOS),
            "MiB",
        ),
        _throughput_cells,
    ),
    *(
        Group(
            (mode,),
            (
                "records/s",
                "p50 µs",
                "min-max",
                "p99 µs",
                "p99.9 µs",
                *(f"p50 ÷ {name}" for name in RATIOS),
                "CPU µs/record",
                "records/CPU s",
                "MiB",
            ),
            _awaited_cells,
        )
        for mode in ("one", "tasks")
    ),
    Group(
        CHUNKED,
        (
            "records/s",
            "min-max",
            "÷ chunks",
            "÷ send_many",
            "p50 µs",
            "p99 µs",
            "commit p50",
            "commit p99",
            "CPU µs/record",
            "MiB",
        ),
        _chunked_cells,
    ),
    Group(
        ("sustained",),
        (
            "records",
            "records/s",
            "min-max",
            "CPU µs/record",
            "idle MiB",
            "peak MiB",
            "peak over idle",
            "MiB/min",
        ),
        _sustained_cells,
    ),
    Group(("idle",), ("CPU %", "min-max", "÷ krafka", "÷ franz-go", "MiB"), _idle_cells),
)


def _yardsticks(run: Run) -> tuple[str, str, str]:
    """The rows that a run's ratios are against: krafka's, franz-go's and the floor's."""
    mode = run.row.mode
    if mode not in THROUGHPUT:
        return f"krafka asyncio {mode}", f"franz-go {mode}", f"floor {run.row.variant or 'asyncio'} {mode}"
    floor_mode = "send_many" if mode == "send_many" else "enqueue"
    return "krafka asyncio enqueue", "franz-go awaited", f"floor {run.row.variant or 'asyncio'} {floor_mode}"


def _middle(runs: Sequence[Run], figure: Callable[[Run], float], form: str) -> str:
    return format(median(map(figure, runs)), form)


def _middle_and_spread(runs: Sequence[Run], figure: Callable[[Run], float], form: str) -> tuple[str, str]:
    figures = [figure(run) for run in runs]
    return format(median(figures), form), f"{min(figures):{form}} - {max(figures):{form}}"


def _ratio(own: Sequence[Run], runs: Sequence[Run], other: str, figure: Callable[[Run], float]) -> str:
    found = results.ratio(own, [run for run in runs if run.row.name == other], figure)
    return "-" if found is None else f"{found:.2f}"


# -- ways to show them -------------------------------------------------------------------------------------------------


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
    console = Console(width=None if sys.stdout.isatty() else 180)
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
