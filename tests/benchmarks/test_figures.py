"""What benchmarks make of their measurements: ratios, slopes, tables, budgets and charts, of figures made up here."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Run

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    # The programs are not installed, and this folder has their name.
    monkeypatch.syspath_prepend(str(ROOT))


def run(name: str = "krafka asyncio enqueue", scenario: str = "base", **changes: Any) -> Run:
    """A sound run of one second and a million records, with changes."""
    from benchmarks.catalogue import Row
    from benchmarks.measure import Measurement
    from benchmarks.results import Run

    client, *variant, mode = name.split()
    measured = {
        "acked": 1_000_000,
        "failed": 0,
        "seconds": changes.pop("seconds", 1.0),
        "cpu_seconds": changes.pop("cpu_seconds", 0.5),
        "peak_rss_mib": changes.pop("peak_rss_mib", 40.0),
        "latency_us": changes.pop("latency_us", {"p50": 200.0, "p99": 900.0, "p999": 4000.0}),
        "idle_rss_mib": changes.pop("idle_rss_mib", 30.0),
        "commit_us": changes.pop("commit_us", None),
    }
    given = {
        "scenario": scenario,
        "row": Row(client, client, mode, " ".join(variant)),
        "round": 0,
        "batch_size": 65536,
        "records": 1_000_000,
        "load": 0.0,
        "measurement": Measurement(**measured),
        "trouble": None,
        "memory": ((1.0, 30.0), (2.0, 40.0), (3.0, 40.0)) if mode == "sustained" else (),
    }
    return Run(**{**given, **changes})


def every_run() -> Iterator[Run]:
    """One of each row of each scenario, whether or not this machine could run it."""
    from benchmarks import catalogue, scenarios

    for scenario in scenarios.ALL:
        for client in catalogue.CLIENTS:
            for mode in set(scenario.modes) & set(client.modes):
                for variant in client.variants:
                    if variant in {"", *scenario.loops} and not set(scenario.needs) & set(client.lacks):
                        yield run(" ".join(filter(None, (client.name, variant, mode))), scenario.name)


# -- scenarios and rows ------------------------------------------------------------------------------------------------


def test_scenarios_have_names_of_their_own_and_krafka_in_them() -> None:
    from benchmarks import catalogue, scenarios

    assert len(scenarios.BY_NAME) == len(scenarios.ALL)
    for scenario in scenarios.ALL:
        rows, _ = catalogue.rows(scenario)
        modes = {row.mode for row in rows if row.client == "krafka"}
        assert modes == set(scenario.modes), scenario.name


def test_a_client_is_left_out_of_what_it_cannot_do() -> None:
    from benchmarks import catalogue, scenarios

    rows, left_out = catalogue.rows(scenarios.BY_NAME["replicated"])
    assert "floor" not in {row.client for row in rows}
    assert left_out["floor"] == "it talks to one broker"


def test_a_client_that_cannot_be_built_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import catalogue

    def build() -> Path:
        raise RuntimeError("no network")

    broken = catalogue.Client("franz-go", "franz_go", ("awaited",), build=build)
    monkeypatch.setattr(catalogue, "CLIENTS", (broken, catalogue.Client("krafka", "krafka_", ("one",))))
    assert catalogue.unbuildable({"franz-go", "krafka"}) == {"franz-go": "no network"}
    assert catalogue.unbuildable({"krafka"}) == {}


# -- figures -----------------------------------------------------------------------------------------------------------


def test_a_ratio_is_taken_within_rounds() -> None:
    from benchmarks import results

    # The second round is on a machine of half the speed; the third has no other to be compared with.
    own = [run(cpu_seconds=seconds, round=number) for number, seconds in enumerate((0.2, 0.4, 9.0))]
    others = [run("franz-go awaited", cpu_seconds=seconds, round=at) for at, seconds in enumerate((0.4, 0.8))]
    assert results.ratio(own, others, results.cpu_us) == 0.5
    assert results.ratio(own, [], results.cpu_us) is None


def test_growth_is_the_slope_without_the_start() -> None:
    from benchmarks import results

    flat = [(float(second), 20.0 if second < 60 else 80.0) for second in range(1, 301)]
    growing = [(second, mib + second / 30) for second, mib in flat]
    assert results.growth_mib(run(memory=tuple(flat))) == pytest.approx(0)
    assert results.growth_mib(run(memory=tuple(growing))) == pytest.approx(2)
    assert results.growth_mib(run(memory=())) == 0


def test_a_run_is_kept_and_taken_back() -> None:
    from benchmarks import results, scenarios

    runs = [run("krafka trio sustained", "sustained"), run(measurement=None, trouble="it ended with 1")]
    kept = json.loads(json.dumps(results.document(runs, [scenarios.BASE], {}, 3)))
    assert [results.Run.from_json(one) for one in kept["runs"]] == runs
    assert kept["scenarios"][0]["name"] == "base"


# -- tables ------------------------------------------------------------------------------------------------------------


def test_tables_have_a_row_for_each_and_a_cell_for_each_column() -> None:
    from benchmarks.report import tables

    runs = list(every_run())
    made = tables(runs)
    assert all(len(row) == len(table.columns) for table in made for row in table.rows)
    assert sum(len(table.rows) for table in made) == len(runs)
    assert tables([run(trouble="the log holds 1 records of 2")])[0].rows == [
        ("krafka asyncio enqueue 64 KiB", "FAILED: the log holds 1 records of 2")
    ]


def test_a_table_compares_with_the_three_yardsticks() -> None:
    from benchmarks.report import tables

    runs = [
        run("krafka asyncio enqueue", cpu_seconds=0.3),
        run("krafka trio enqueue", cpu_seconds=0.6),
        run("franz-go awaited", cpu_seconds=1.2),
        run("floor trio enqueue", cpu_seconds=0.1),
    ]
    (table,) = tables(runs)
    trio = dict(zip(table.columns, table.rows[1], strict=True))
    assert (trio["CPU ÷ krafka"], trio["CPU ÷ franz-go"], trio["CPU ÷ floor"]) == ("2.00", "0.50", "6.00")
    assert trio["records/CPU s"] == "1,666,667"


def test_transactions_are_compared_with_the_same_records_without_them() -> None:
    from benchmarks.budgets import table
    from benchmarks.report import tables

    commits = {"p50": 400.0, "p99": 2000.0, "p999": 2000.0}
    runs = [
        run("krafka trio transactions", "transactions", seconds=4.0, commit_us=commits),
        run("krafka asyncio chunks", "transactions", seconds=3.0),
        run("krafka trio chunks", "transactions", seconds=2.0),
        run("krafka trio send_many", "transactions", seconds=1.0),
        run("aiokafka asyncio transactions", "transactions", seconds=30.0, commit_us=commits),
    ]
    made = {
        row[0].rpartition(" 64")[0]: dict(zip(each.columns, row, strict=True))
        for each in tables(runs)
        for row in each.rows
    }
    ours, theirs = made["krafka trio transactions"], made["aiokafka asyncio transactions"]
    assert (ours["÷ chunks"], ours["÷ send_many"]) == ("0.50", "0.25")
    assert (theirs["÷ chunks"], theirs["÷ send_many"]) == ("0.10", "-")
    assert (ours["commit p50"], ours["commit p99"], ours["p50 µs"]) == ("400", "2,000", "200")
    assert made["krafka trio chunks"]["commit p50"] == "-"
    rows = {row[0]: row[1:] for row in table(runs).rows}
    assert rows["records/s of `transactions` ÷ `chunks`'"] == ("≥ 0.8", "-", "-", "0.50", "no")


def test_budgets_are_held_against_each_event_loop() -> None:
    from benchmarks import budgets

    runs = [
        run("franz-go awaited", cpu_seconds=1.0, seconds=3.0),
        run("krafka asyncio enqueue", cpu_seconds=0.4, seconds=1.0),
        run("krafka trio enqueue", cpu_seconds=0.5, seconds=1.0),
        run("krafka uvloop sustained", "sustained", peak_rss_mib=95.0),
    ]
    rows = {row[0]: row[1:] for row in budgets.table(runs).rows}
    assert rows["CPU of `enqueue` ÷ franz-go's"] == ("≤ 0.45", "0.40", "-", "0.50", "no")
    assert rows["records/s of `enqueue` ÷ franz-go's"] == ("≥ 1.5", "3.00", "-", "3.00", "yes")
    assert rows["`sustained`: peak over idle, MiB"] == ("≤ 64", "-", "65", "-", "no")
    assert rows["CPU of `awaited` ÷ franz-go's"] == ("≤ 0.6", "-", "-", "-", "not measured")


# -- charts ------------------------------------------------------------------------------------------------------------


def extent(element: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """Points an element reaches; letters are taken to be 0.56 of the font wide, which few sans-serif texts exceed."""
    numbers = {
        name: float(value) for name, value in element.attrib.items() if re.fullmatch(r"-?[\d.]+", value)
    }
    kind = element.tag.removeprefix(SVG)
    if kind == "line":
        yield from ((numbers[f"x{end}"], numbers[f"y{end}"]) for end in "12")
    elif kind == "circle":
        yield from (
            (numbers["cx"] + turn * numbers["r"], numbers["cy"] + turn * numbers["r"]) for turn in (-1, 1)
        )
    elif kind == "polyline":
        yield from (
            (float(x), float(y)) for x, y in (pair.split(",") for pair in element.attrib["points"].split())
        )
    elif kind == "text":
        width = len(element.text or "") * 13 * 0.56
        start = {"start": 0.0, "middle": -width / 2, "end": -width}[element.attrib["text-anchor"]]
        yield from (
            (numbers["x"] + start, numbers["y"] - 11),
            (numbers["x"] + start + width, numbers["y"] + 4),
        )


def test_every_chart_is_drawn_whole() -> None:
    from benchmarks import charts

    drawn = charts.draw(list(every_run()))
    assert set(drawn) == {*(chart.name for chart in charts.CHARTS), "memory"}
    for name, picture in drawn.items():
        root = ElementTree.fromstring(picture)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        outside = [
            (name, element.tag, element.text, x, y)
            for element in root
            for x, y in extent(element)
            if not (0 <= x <= width and 0 <= y <= height)
        ]
        assert outside == []
        assert "nan" not in picture


def test_a_chart_has_every_row() -> None:
    from benchmarks import charts

    runs = list(every_run())
    drawn = charts.draw(runs)
    for chart in charts.CHARTS:
        texts = [text.text for text in ElementTree.fromstring(drawn[chart.name]).iter(f"{SVG}text")]
        for scenario, heading in chart.scenarios:
            own = [one for one in runs if one.scenario == scenario and one.row.mode in chart.modes]
            if heading:
                assert texts.count(heading) == 1
                own = [one for one in own if one.row.variant in {"", "asyncio"}]
            assert own
            for client in {one.row.client for one in own}:
                labels = [text for text in texts if text and text.split()[0] == client]
                least = len([one for one in own if one.row.client == client])
                assert len(labels) >= least, (chart.name, client)
    curves = ElementTree.fromstring(drawn["memory"]).findall(f"{SVG}polyline")
    assert len(curves) == sum(one.row.mode == "sustained" for one in runs)


def test_a_chart_shows_who_failed() -> None:
    from benchmarks import charts

    broken = run("aiokafka asyncio awaited", measurement=None, trouble="it ended with 1")
    picture = charts.draw([run(), broken])["cpu"]
    texts = [text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert texts[texts.index("aiokafka asyncio awaited") + 1] == "failed"


def test_a_dot_lies_where_its_value_is() -> None:
    from benchmarks import svg

    picture = svg.rows(
        "title", "axis", [svg.Row(str(value), "red", "", (value,)) for value in (1.0, 10.0, 100.0)]
    )
    places = [float(dot.attrib["cx"]) for dot in ElementTree.fromstring(picture).iter(f"{SVG}circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
    assert places[1] - places[0] > 100


def test_names_of_curves_do_not_cover_each_other() -> None:
    from benchmarks import svg

    lines = [svg.Curve(str(number), "red", ((0.0, 50.0), (60.0, 100.0 + number / 10))) for number in range(6)]
    texts = ElementTree.fromstring(svg.curves("title", "axis", lines)).iter(f"{SVG}text")
    heights = sorted(float(text.attrib["y"]) for text in texts if text.attrib["fill"] == "red")
    assert min(after - before for before, after in pairwise(heights)) >= svg.LINE


def test_the_program_draws_a_kept_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import charts

    kept = tmp_path / "figures.json"
    kept.write_text(json.dumps({"runs": [asdict(run()), asdict(run("krafka trio idle", "idle"))]}))
    assert charts.main([str(kept), "--into", str(tmp_path / "charts")]) == 0
    written = {path.name for path in (tmp_path / "charts").iterdir()}
    assert written == {
        "cpu.svg",
        "rate.svg",
        "cpu-by-size.svg",
        "cpu-by-partitions.svg",
        "cpu-by-linger.svg",
        "cpu-with.svg",
        "idle.svg",
    }
    assert len(capsys.readouterr().out.splitlines()) == len(written)


def test_a_page_shows_what_was_drawn_last(tmp_path: Path) -> None:
    from benchmarks import charts

    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{charts.BEGIN}\n{charts.END}\n\nAfter.\n")
    charts.put_into(page, [tmp_path / "charts" / "old.svg"])
    charts.put_into(page, [tmp_path / "charts" / "cpu.svg", tmp_path / "charts" / "rate.svg"])
    assert re.findall(r":file: (.*)", page.read_text()) == ["charts/cpu.svg", "charts/rate.svg"]
    assert page.read_text().startswith("Before.\n\n")
    assert page.read_text().endswith("\n\nAfter.\n")
    page.write_text("No place for charts.")
    with pytest.raises(ValueError, match="has no lines <!-- charts -->"):
        charts.put_into(page, [])


def test_the_documentation_has_a_place_for_charts() -> None:
    from benchmarks import charts

    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.index(charts.BEGIN) < text.index(charts.END)


def test_the_program_holds_a_kept_file_to_the_budgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.__main__ import main

    kept = tmp_path / "figures.json"
    kept.write_text(json.dumps({"runs": [asdict(run()), asdict(run("franz-go awaited", cpu_seconds=2.0))]}))
    assert main(["--budgets", str(kept)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "CPU of `enqueue`" in line)
    assert "0.25" in line
    assert "yes" in line
