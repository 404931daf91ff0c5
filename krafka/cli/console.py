"""What the command line tells its user, on standard error: errors, warnings, progress."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


def say(text: str) -> None:
    """Write a line to standard error; nobody listening there is no reason to stop."""
    if sys.stderr is None:
        # Closed from the start; print() would take standard output instead.
        return
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def say_error(text: str) -> None:
    """Write an error line."""
    say(f"krafka: error: {text}")


class _WarningLine(logging.Handler):
    """Prints log records as lines, but not the same reason twice in a row, once as a cause and once as its effect."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._last_reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self._last_reason and self._last_reason in text:
            return
        self._last_reason = text.partition(": ")[2]
        say(f"krafka: {record.levelname.lower()}: {text}")


@contextlib.contextmanager
def library_warnings(*, quiet: bool) -> Generator[None]:
    """Show what the library warns of as lines of this command; with `quiet`, its errors only."""
    handler = _WarningLine(logging.ERROR if quiet else logging.WARNING)
    logger = logging.getLogger("krafka")
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def terminal() -> Console | None:
    """A console on standard error if a person looks at it."""
    console = Console(stderr=True)
    return console if console.is_terminal else None


@contextlib.contextmanager
def sending_progress(total_bytes: int | None, *, quiet: bool) -> Generator[Callable[[int, int], None]]:
    """A progress line on a terminal: call what is yielded with the bytes read and the records acknowledged."""
    console = None if quiet else terminal()
    if console is None:
        yield lambda _read, _acknowledged: None
        return
    columns = (
        SpinnerColumn(),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[acknowledged]:,} acknowledged"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total_bytes, acknowledged=0)

        def update(read: int, acknowledged: int) -> None:
            progress.update(task, completed=read, acknowledged=acknowledged)

        yield update


@contextlib.contextmanager
def sending_records(total: int) -> Generator[Callable[[int], None]]:
    """A progress line on a terminal: call what is yielded with the number of records taken since the last call."""
    console = terminal()
    if console is None:
        yield lambda _taken: None
        return
    columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        yield lambda taken: progress.advance(task, taken)


@contextlib.contextmanager
def spinner(text: str) -> Generator[None]:
    """Say what takes a while: a spinner on a terminal, a line elsewhere."""
    console = terminal()
    if console is None:
        say(text)
        yield
        return
    with console.status(text):
        yield


def restore_terminal() -> None:
    """Show the cursor that a progress line hides; for a process that ends on the spot."""
    console = terminal()
    if console is not None:
        console.show_cursor(True)
