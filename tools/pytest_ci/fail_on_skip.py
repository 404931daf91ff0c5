"""A pytest plugin for CI: a skipped test is a failed one, unless its reason is on the list below and true here."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Allowed(NamedTuple):
    """A reason to skip, and how to tell that it holds on this machine."""

    reason: str
    """A regular expression for the whole text of the skip."""
    holds: Callable[[], bool]
    because: str


ALLOWED = (
    Allowed(
        r"the standard library has zstd",
        lambda: sys.version_info >= (3, 14),
        "from Python 3.14 on the zstandard package is not the one used",
    ),
)

_skips: Counter[str] = Counter()


def verdict(reason: str) -> str | None:
    """Why a skip for this reason is a failure; None if it is allowed."""
    reason = reason.removeprefix("Skipped: ")
    for allowed in ALLOWED:
        if re.fullmatch(allowed.reason, reason):
            if allowed.holds():
                _skips[f"{reason} ({allowed.because})"] += 1
                return None
            return f"skipped for a reason that does not hold on this machine: {reason}"
    return f"skipped for a reason that is not on the list of tools/pytest_ci/fail_on_skip.py: {reason}"


def _judge(report: Any) -> None:
    if report.outcome != "skipped":
        return
    expected = getattr(report, "wasxfail", None)
    reason = f"expected to fail: {expected}" if expected is not None else str(report.longrepr[2])
    complaint = verdict(reason)
    if complaint is not None:
        if expected is not None:
            del report.wasxfail
        report.outcome = "failed"
        report.longrepr = complaint


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's skip into a failure."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a whole module's skip into a failure."""
    report = yield
    _judge(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was allowed, and what may be."""
    terminalreporter.section("skipped tests")
    terminalreporter.line("A skip fails unless its reason is one of these, and true here:")
    for allowed in ALLOWED:
        state = "true here" if allowed.holds() else "not true here"
        terminalreporter.line(f"  {allowed.reason!r}: {allowed.because} ({state})")
    for reason, count in sorted(_skips.items()):
        terminalreporter.line(f"allowed {count}: {reason}")
    if not _skips:
        terminalreporter.line("nothing was skipped")
