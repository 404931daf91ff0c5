"""One program for each client: `python -m benchmarks.clients.NAME WORKLOAD` prints one line with its `Measurement`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.measure import Measurement

WINDOW = 20_000
"""How many outcomes a client that has no bound of its own may be owed before they are awaited."""
STRETCH = 100_000
"""How many records mode "sustained" sends between two looks at the clock."""
SETTLE = 1.0
"""Seconds between the last record and the measurement, in mode "idle"."""
LARGE_BLOCK = 1 << 20


def main(modes: dict[str, Callable[[Workload], Measurement]]) -> None:
    """Run the workload of the command line and print what it came to."""
    workload = Workload.from_json(sys.argv[1])
    _teach_malloc()
    print(modes[workload.mode](workload).to_json())


def _teach_malloc() -> None:
    """Have glibc take blocks such as asyncio's 256 KiB receive buffer from the heap, in every client alike.

    It maps such a block anew for each answer until a larger mapped one was freed once: three system calls and a page
    fault, a quarter of the CPU of a small program's round trip. Any program of some size has done that long ago.
    """
    block = bytearray(LARGE_BLOCK)
    del block


def run_on_loop(run: Callable[[Workload], Awaitable[Measurement]]) -> Callable[[Workload], Measurement]:
    """Make a client's coroutine function one that runs on the workload's event loop."""

    def on_loop(workload: Workload) -> Measurement:
        import anyio  # noqa: PLC0415 - the clients without an event loop do without it

        if workload.variant == "trio":
            return anyio.run(run, workload, backend="trio")
        options = {"use_uvloop": workload.variant == "uvloop"}
        return anyio.run(run, workload, backend="asyncio", backend_options=options)

    return on_loop
