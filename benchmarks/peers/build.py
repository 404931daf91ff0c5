"""Builds the producers that are not Python, when their sources are newer than what was built."""

from __future__ import annotations

import subprocess
from pathlib import Path

FRANZ_GO = Path(__file__).with_name("franz_go")


def franz_go() -> Path:
    """Return the program that runs franz-go, built anew if need be. Raises `RuntimeError` with the compiler's words."""
    target = FRANZ_GO / "franz_go"
    newest = max((FRANZ_GO / name).stat().st_mtime for name in ("main.go", "go.mod", "go.sum"))
    if target.exists() and target.stat().st_mtime >= newest:
        return target
    command = ["go", "build", "-o", str(target), "."]
    done = subprocess.run(  # noqa: S603 - this file's command, by whichever go is on the PATH
        command,
        cwd=FRANZ_GO,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"franz-go's program could not be built:\n{done.stderr}")
    return target
