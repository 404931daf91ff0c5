"""Compiles the floor where it lies, when its source is newer than what was compiled."""

from __future__ import annotations

import importlib.machinery
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("least.pyx")


def least() -> Path:
    """Return the compiled module, made anew if need be. Raises `RuntimeError` with the compiler's words."""
    target = SOURCE.with_name("least" + importlib.machinery.EXTENSION_SUFFIXES[0])
    if target.exists() and target.stat().st_mtime >= SOURCE.stat().st_mtime:
        return target
    cythonize = "from Cython.Build.Cythonize import main; main()"
    command = [sys.executable, "-c", cythonize, "-i", "-f", "-3", "-q", str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this file's command
    if done.returncode:
        raise RuntimeError(f"the floor could not be compiled:\n{done.stdout}{done.stderr}")
    return target
