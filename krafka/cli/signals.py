"""Ctrl-C and SIGTERM: the first asks a command to finish early, the second ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import anyio

from krafka.cli.console import restore_terminal, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskStatus


async def watch_signals(
    on_first: Callable[[signal.Signals], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call `on_first` at the first SIGINT or SIGTERM; at the next one, end this process at once.

    Where an event loop cannot receive signals (asyncio on Windows) this returns, and Ctrl-C stays Python's own.
    """
    with contextlib.ExitStack() as stack:
        try:
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        except NotImplementedError:
            task_status.started()
            return
        task_status.started()
        first = True
        async for number in signals:
            if not first:
                restore_terminal()
                say(f"krafka: ended at once by a second signal ({number.name})")
                # Nothing may run any more, so that nothing can wait.
                os._exit(exit_code(number))
            first = False
            on_first(number)


def exit_code(number: signal.Signals) -> int:
    """What a shell reports for a process ended by this signal: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number
