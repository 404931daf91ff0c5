"""Ends a cluster's brokers and removes its folder when the process that started them is gone.

Run as a script with the owner's process id, with nothing but the standard library. The owner writes one
command a line to standard input (``watch PID``, ``forget PID``, ``folder PATH``, ``done``); the end of that
input without ``done``, or a change of parent, means the owner died without cleaning up, however it died.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys

PARENT_POLL_SECONDS = 1.0


class Watched:
    """One broker, held by a pidfd where the system has them, so that a reused process id is never hit."""

    def __init__(self, process_id: int) -> None:
        self.process_id = process_id
        self.handle = -1
        if hasattr(os, "pidfd_open"):
            try:
                self.handle = os.pidfd_open(process_id)
            except OSError:
                self.handle = -1

    def kill(self) -> None:
        try:
            if self.handle >= 0 and hasattr(signal, "pidfd_send_signal"):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
            else:
                os.kill(self.process_id, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)


def read_commands(owner: int, watched: dict[int, Watched], folders: list[str]) -> bool:
    """Follow the owner's commands until it is done (True) or gone (False)."""
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], PARENT_POLL_SECONDS)
        if not readable:
            # A fork of the owner may hold the pipe open after the owner died.
            if os.getppid() != owner:
                return False
            continue
        chunk = os.read(0, 4096)
        if not chunk:
            return False
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            verb, _, argument = line.decode().partition(" ")
            if verb == "done":
                return True
            if verb == "watch":
                watched[int(argument)] = Watched(int(argument))
            elif verb == "forget":
                gone = watched.pop(int(argument), None)
                if gone is not None:
                    gone.close()
            elif verb == "folder":
                folders.append(argument)


def main() -> None:
    for interrupt in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(interrupt, signal.SIG_IGN)
    watched: dict[int, Watched] = {}
    folders: list[str] = []
    if read_commands(int(sys.argv[1]), watched, folders):
        return
    for broker in watched.values():
        broker.kill()
    for folder in folders:
        # A dying broker may still write for a moment, which makes a removal fail half way.
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            select.select([], [], [], 0.1)


if __name__ == "__main__":
    main()
    sys.exit(0)
