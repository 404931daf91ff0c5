"""The design's budgets as a table, and whether what was measured keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import results
from benchmarks.report import Table
from benchmarks.scenarios import EVENT_LOOPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.results import Run


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit for one of krafka's figures, on each event loop."""

    name: str
    mode: str
    figure: Callable[[Run], float]
    limit: float
    other: str | None = None
    """The row the figure is divided by, `{loop}` in it being the event loop; None: the figure itself has the limit."""
    at_least: bool = False
    scenario: str = "base"
    form: str = ".2f"

    def measured(self, runs: Sequence[Run], loop: str) -> float | None:
        """The figure on one event loop; None where it was not measured."""
        own = results.chosen(runs, self.scenario, f"krafka {loop} {self.mode}")
        if not own:
            return None
        if self.other is None:
            return median(map(self.figure, own))
        others = results.chosen(runs, self.scenario, self.other.format(loop=loop))
        return results.ratio(own, others, self.figure)

    def is_met(self, measured: float) -> bool:
        """Whether the figure keeps the limit."""
        return measured >= self.limit if self.at_least else measured <= self.limit


FRANZ_GO = "franz-go awaited"
BUDGETS = (
    Budget("CPU of `enqueue` ÷ franz-go's", "enqueue", results.cpu_us, 0.45, FRANZ_GO),
    Budget("CPU of `awaited` ÷ franz-go's", "awaited", results.cpu_us, 0.60, FRANZ_GO),
    Budget("CPU of `send_many` ÷ franz-go's", "send_many", results.cpu_us, 0.22, FRANZ_GO),
    Budget("records/s of `enqueue` ÷ franz-go's", "enqueue", results.rate, 1.5, FRANZ_GO, at_least=True),
    Budget(
        "records/s of `enqueue` ÷ the floor's",
        "enqueue",
        results.rate,
        0.7,
        "floor {loop} enqueue",
        at_least=True,
    ),
    Budget("p50 of `one` ÷ the floor's", "one", results.percentile("p50"), 1.25, "floor {loop} one"),
    Budget(
        "records/s of `tasks` ÷ aiokafka's",
        "tasks",
        results.rate,
        5.0,
        "aiokafka asyncio tasks",
        at_least=True,
        form=".1f",
    ),
    Budget(
        "records/s of `transactions` ÷ `chunks`'",
        "transactions",
        results.rate,
        0.8,
        "krafka {loop} chunks",
        at_least=True,
        scenario="transactions",
    ),
    # buffer_memory and 32 MiB: both are 32.
    Budget(
        "`sustained`: peak over idle, MiB",
        "sustained",
        results.peak_over_idle_mib,
        64.0,
        scenario="sustained",
        form=".0f",
    ),
    Budget("`sustained`: growth, MiB a minute", "sustained", results.growth_mib, 1.0, scenario="sustained"),
)

SCENARIOS = frozenset(budget.scenario for budget in BUDGETS)
"""Those that have any."""


def table(runs: Sequence[Run]) -> Table:
    """Each budget with its limit, what was measured on each event loop, and whether it is met on all of them."""
    return Table(
        "Budgets", ("budget", "limit", *EVENT_LOOPS, "met"), [_row(runs, budget) for budget in BUDGETS]
    )


def _row(runs: Sequence[Run], budget: Budget) -> tuple[str, ...]:
    measured = [budget.measured(runs, loop) for loop in EVENT_LOOPS]
    verdicts = [budget.is_met(figure) for figure in measured if figure is not None]
    return (
        budget.name,
        f"{'≥' if budget.at_least else '≤'} {budget.limit:g}",
        *("-" if figure is None else format(figure, budget.form) for figure in measured),
        "not measured" if not verdicts else "yes" if all(verdicts) else "no",
    )
