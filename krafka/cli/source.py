"""Input bytes, a chunk at a time, without blocking the event loop: of a file, a pipe or a terminal."""

from __future__ import annotations

import os
import stat
import sys

import anyio
import anyio.to_thread

CHUNK_BYTES = 256 * 1024
STDIN = "-"


class Source:
    """An open input. `size` is a regular file's length in bytes when it was opened, else None."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self.name = name
        status = os.fstat(descriptor)
        regular = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if regular else None
        self.may_wait = not regular
        """Whether the next bytes may take any time to come, as from a pipe."""
        # Windows can wait for sockets only.
        self._by_event_loop = not regular and sys.platform != "win32"

    @classmethod
    def open(cls, path: str) -> Source:
        """Open a file, or standard input for `-`. Raises OSError."""
        if path == STDIN:
            if sys.stdin is None:
                raise OSError("standard input is closed")
            return cls(sys.stdin.fileno(), "standard input")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            # A folder can be opened, but not read.
            os.read(descriptor, 0)
            return cls(descriptor, path)
        except OSError:
            os.close(descriptor)
            raise

    @property
    def is_terminal(self) -> bool:
        """Whether somebody types the input."""
        return os.isatty(self._descriptor)

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self.name != "standard input":
            os.close(self._descriptor)

    async def read(self) -> bytes:
        """The next bytes, at most `CHUNK_BYTES`; empty at the end. Raises OSError."""
        while self._by_event_loop:
            try:
                await anyio.wait_readable(self._descriptor)
                return os.read(self._descriptor, CHUNK_BYTES)
            except BlockingIOError:
                # Somebody who shares the pipe was faster.
                continue
            except PermissionError:
                # epoll refuses what never blocks, /dev/null for one.
                self._by_event_loop = False
        # A file that is not waited for is not closed under a read either.
        return await anyio.to_thread.run_sync(
            os.read, self._descriptor, CHUNK_BYTES, abandon_on_cancel=self.may_wait
        )
