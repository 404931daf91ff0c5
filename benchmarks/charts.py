"""Draws what `python -m benchmarks --json FILE` kept: one chart for each question.

python -m benchmarks.charts FILE --into FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import results, svg
from benchmarks.scenarios import THROUGHPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.results import Run

COLOURS = {
    "krafka": "#2f7fdb",
    "floor": "#b7791f",
    "franz-go": "#1a9c86",
    "rust-krafka": "#c96a2b",
    "Java": "#9a62c9",
    "confluent-kafka": "#d14b5a",
    "AIOProducer": "#d14b5a",
    "aiokafka": "#7d8590",
    "kafka-python": "#7d8590",
}
"""Seen on light and on dark ground."""
BEGIN, END = "<!-- charts -->", "<!-- end of the charts -->"
DASHES = {"uvloop": "7 4", "trio": "2 3"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A question, and which figures of which runs answer it."""

    name: str
    title: str
    axis: str
    modes: tuple[str, ...]
    figures: tuple[Callable[[Run], float], ...]
    """The first is written beside its row; it alone has its spread drawn, if it is the only one."""
    form: str
    scenarios: tuple[tuple[str, str], ...] = (("base", ""),)
    """Names, and what the chart calls each; rows of several event loops are shown where there is one scenario."""


PERCENTILES = tuple(results.percentile(name) for name in ("p50", "p99", "p999"))
CPU_AXIS = "µs of the client's CPU time for each record, median and spread of the rounds"
LATENCY_AXIS = "µs until a record is acknowledged: median, 99 % and 99.9 % of the records"
CHARTS = (
    Chart("cpu", "What a record costs", CPU_AXIS, THROUGHPUT, (results.cpu_us,), ".3g"),
    Chart(
        "rate",
        "How many records a second",
        "records/s, median and spread of the rounds",
        THROUGHPUT,
        (results.rate,),
        ",.0f",
    ),
    Chart("latency-one", "One record after the other", LATENCY_AXIS, ("one",), PERCENTILES, ",.0f"),
    Chart("latency-tasks", "1,000 tasks at once", LATENCY_AXIS, ("tasks",), PERCENTILES, ",.0f"),
    Chart(
        "tasks",
        "How many records a second, by number of tasks",
        "records/s, each awaited by its task, median and spread of the rounds",
        ("tasks",),
        (results.rate,),
        ",.0f",
        (("tasks-1", "1 task"), ("tasks-100", "100 tasks"), ("base", "1,000 tasks")),
    ),
    Chart(
        "cpu-by-size",
        "What a record costs, by size of the value",
        CPU_AXIS,
        THROUGHPUT,
        (results.cpu_us,),
        ".3g",
        (("value-10", "10 bytes"), ("base", "100 bytes"), ("value-1k", "1 KiB"), ("value-100k", "100 KiB")),
    ),
    Chart(
        "cpu-by-codec",
        "What a record of 1 KiB costs, by codec",
        CPU_AXIS,
        THROUGHPUT,
        (results.cpu_us,),
        ".3g",
        (("value-1k", "no codec"), ("lz4", "lz4"), ("snappy", "snappy"), ("zstd", "zstd"), ("gzip", "gzip")),
    ),
    Chart(
        "cpu-by-partitions",
        "What a record costs, by number of partitions",
        CPU_AXIS,
        THROUGHPUT,
        (results.cpu_us,),
        ".3g",
        (
            ("partitions-1", "1 partition"),
            ("base", "6 partitions"),
            ("partitions-100", "100 partitions"),
            ("partitions-1000", "1,000 partitions"),
        ),
    ),
    Chart(
        "cpu-by-linger",
        "What a record costs, by linger",
        CPU_AXIS,
        THROUGHPUT,
        (results.cpu_us,),
        ".3g",
        (("linger-0", "linger 0"), ("base", "linger 5 ms"), ("linger-50", "linger 50 ms")),
    ),
    Chart(
        "cpu-with",
        "What a record costs with more to do",
        CPU_AXIS,
        THROUGHPUT,
        (results.cpu_us,),
        ".3g",
        (
            ("base", "nothing more"),
            ("headers", "a key and two headers"),
            ("tls", "TLS"),
            ("replicated", "three brokers"),
        ),
    ),
    Chart(
        "idle",
        "What an idle producer costs that knows 1,000 topics",
        "% of a processor",
        ("idle",),
        (results.cpu_share,),
        ".3f",
        (("idle", ""),),
    ),
)


def draw(runs: Sequence[Run]) -> dict[str, str]:
    """Every chart there are figures for, by name."""
    drawn = {}
    for chart in CHARTS:
        lines = list(_lines(chart, runs))
        if lines:
            drawn[chart.name] = svg.rows(chart.title, chart.axis, lines)
    if memory := _memory(runs):
        title = "Memory while records are sent as fast as they are taken"
        drawn["memory"] = svg.curves(title, "MiB, over seconds", memory)
    return drawn


def _lines(chart: Chart, runs: Sequence[Run]) -> Iterator[svg.Row | svg.Heading]:
    for scenario, heading in chart.scenarios:
        own = [run for run in runs if run.scenario == scenario and run.row.mode in chart.modes]
        if heading:
            own = [run for run in own if run.row.variant in {"", "asyncio"}]
        if not own:
            continue
        if heading:
            yield svg.Heading(heading)
        for label, same in _by_label(own, with_loop=not heading).items():
            yield _row(chart, label, same)


def _by_label(runs: Sequence[Run], *, with_loop: bool) -> dict[str, list[Run]]:
    """Runs of the same row; the batch size is in its label where there are several, the mode likewise."""
    sizes = {run.batch_size for run in runs}
    modes = {run.row.mode for run in runs}
    found: dict[str, list[Run]] = {}
    for run in runs:
        parts = [run.row.client]
        if with_loop or run.row.client not in {"krafka", "floor", "aiokafka"}:
            parts.append(run.row.variant)
        if len(modes) > 1:
            parts.append(run.row.mode)
        if len(sizes) > 1:
            parts.append(f"{run.batch_size // 1024} KiB")
        found.setdefault(" ".join(filter(None, parts)), []).append(run)
    return found


def _row(chart: Chart, label: str, same: Sequence[Run]) -> svg.Row:
    runs = results.sound(same)
    colour = COLOURS[same[0].row.client]
    if len(runs) < len(same):
        return svg.Row(label, colour, "failed")
    values = tuple(median(map(figure, runs)) for figure in chart.figures)
    spread = None
    if len(chart.figures) == 1:
        first = [chart.figures[0](run) for run in runs]
        spread = min(first), max(first)
    return svg.Row(label, colour, format(values[0], chart.form), values, spread)


def _memory(runs: Sequence[Run]) -> list[svg.Curve]:
    return [
        svg.Curve(
            " ".join(filter(None, (run.row.client, run.row.variant))),
            COLOURS[run.row.client],
            run.memory,
            DASHES.get(run.row.variant, ""),
        )
        for run in results.sound(runs)
        if run.memory and run.round == 0
    ]


def put_into(page: Path, pictures: Sequence[Path]) -> None:
    """Have a page show these pictures, and no others, where its two comments are. Raises `ValueError` without them."""
    text = page.read_text()
    before, found, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found and found_end):
        raise ValueError(f"{page} has no lines {BEGIN} and {END} to put the charts between")
    # In the page itself rather than beside it: an image by itself would not know the page's colours.
    shown = "".join(
        f"```{{raw}} html\n:file: {os.path.relpath(path, page.parent)}\n```\n\n" for path in pictures
    )
    page.write_text(f"{before}{BEGIN}\n\n{shown}{END}{after}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the charts of a kept file into a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.charts", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("file", type=Path, help="what `python -m benchmarks --json FILE` wrote")
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="where the SVG files go")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page of documentation to show them in")
    options = parser.parse_args(arguments)
    runs = [results.Run.from_json(run) for run in json.loads(options.file.read_text())["runs"]]
    options.into.mkdir(parents=True, exist_ok=True)
    paths = {options.into / f"{name}.svg": picture for name, picture in draw(runs).items()}
    for path, picture in paths.items():
        path.write_text(picture)
        print(path)
    if options.page is not None:
        put_into(options.page, list(paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
